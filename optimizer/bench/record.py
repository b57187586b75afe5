"""One line of a benchmark: what one method answered to one scenario, and what that took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

SCHEMA = "shardproof/bench/1"


@dataclass(frozen=True)
class Record:
    """One JSON line, ``shardproof/bench/1``.

    Attributes
    ----------
    status
        ``optimal``, ``feasible``, ``infeasible`` and ``unknown`` as in results (a baseline that found nothing:
        ``unknown``); ``failed`` where the method broke down.
    objective
        ``name``, ``value``, ``bound`` and the ``exact`` value as ``n/d``.
    candidates
        Layouts of the lattice, or those that a baseline priced.
    work
        Counts that do not depend on the machine: rows priced, decisions of the reference, evaluations.
    wall_s, check_s, peak_bytes
        Duration of the method and of the certificate's check; most memory of the process that ran it.
    certificate
        ``accepted``, ``rejected: …``, or null for methods without one.
    digest
        Of the problem.
    margin
        Baselines only: how many times better the search's value is; 1 where equal.
    """

    scenario: str
    method: str
    status: str
    objective: Mapping[str, Any]
    gap: float | None
    candidates: int
    wall_s: float
    peak_bytes: int | None
    certificate: str | None
    work: Mapping[str, int] = field(default_factory=dict)
    check_s: float | None = None
    layout: Mapping[str, Any] | None = None
    digest: str = ""
    margin: float | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """The JSON line."""
        return {"schema": SCHEMA, **asdict(self)}

    @property
    def exact(self) -> Fraction | None:
        """The value without rounding."""
        text = self.objective.get("exact")
        return None if text is None else Fraction(text)


def from_json(document: Mapping[str, Any]) -> Record:
    """A record from its JSON line.

    Raises
    ------
    ValueError
        Not a line of ``shardproof/bench/1``.
    """
    if document.get("schema") != SCHEMA:
        raise ValueError(f"not a line of {SCHEMA}")
    known = {name: value for name, value in document.items() if name in Record.__dataclass_fields__}
    missing = [name for name in ("scenario", "method", "status", "objective", "wall_s") if name not in known]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    plain = {"gap": None, "candidates": 0, "peak_bytes": None, "certificate": None}
    return Record(**(plain | known))
