"""One line of a benchmark: what one method answered to one scenario, and what that took."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter, ValidationError

from optimizer.certificate.reading import rational
from optimizer.certificate.verdict import Rejected
from optimizer.errors import Fault, SpecError
from optimizer.readers.json_text import read_json
from optimizer.readers.messages import message_of
from optimizer.readers.places import dotted

SCHEMA = "shardproof/bench/1"


def _named(objective: Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(objective.get("name"), str) and isinstance(objective.get("value"), float | int | None):
        return objective
    raise ValueError("has no name and value")


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
    objective: Annotated[Mapping[str, Any], AfterValidator(_named)]
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


@lru_cache(1)
def _shape() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def read_line(line: str, source: str, number: int | None = None) -> Record:
    """A record from its JSON line.

    Parameters
    ----------
    source, number
        Where the line stands, for the message.

    Raises
    ------
    SpecError
        Not JSON, or not a line of ``shardproof/bench/1``.
    """
    try:
        document = read_json(line, source)
    except SpecError as error:
        first = error.faults[0]
        raise SpecError(Fault(source, number, first.column, first.field, first.message)) from None
    try:
        return from_json(document)
    except ValueError as error:
        raise SpecError(Fault(source, number, 1, None, f"no record of a benchmark: {error}")) from None


def from_json(document: object) -> Record:
    """A record from the data of its JSON line.

    Raises
    ------
    ValueError
        Not a line of ``shardproof/bench/1``.
    """
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        raise ValueError(f"not a line of {SCHEMA}")
    plain = {"gap": None, "candidates": 0, "peak_bytes": None, "certificate": None}
    try:
        record = _shape().validate_json(json.dumps(plain | dict(document)), strict=True)
        if record.objective.get("exact") is not None:
            rational("objective.exact", record.objective["exact"])
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise ValueError(f"{dotted(fault['loc'])}: {message_of(fault)[0]}") from None
    except Rejected as error:
        raise ValueError(str(error)) from None
    return record
