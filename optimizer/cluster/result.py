"""The answer for a cluster, and its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from optimizer.domain.cluster import Cluster
from optimizer.domain.fleet import Fleet, measure_of
from optimizer.errors import Exit
from optimizer.fleet.ceiling import Ceiling
from optimizer.fleet.column import Column
from optimizer.fleet.program import DerivationStep, Lemma, Program
from optimizer.solve.result import EXITS, opening
from optimizer.verify.fleet import FleetVerdict
from optimizer.verify.fleet_document import fleet_json


@dataclass(frozen=True)
class SolvedFleet:
    """What was decided; `status` is `optimal`, `feasible`, `infeasible` or `unknown`.

    Attributes
    ----------
    bound
        Proved bound on the objective, exact and in its unit.
    ceilings
        What the proof says of layouts that are not among the columns; empty: it is over fleets of the columns.
    all_looked_at
        Whether time sufficed to look for columns of every demand, role, pool and size.
    program, lemmas, steps
        The integer program that is proved, rows that were derived first, and the derivation.
    """

    cluster: Cluster
    columns: Sequence[Column]
    status: str
    fleet: Fleet | None
    verdict: FleetVerdict | None
    bound: Fraction | None
    wall_s: float
    seconds: dict[str, float]
    certificate: dict[str, Any]
    conflict: list[dict[str, Any]] = field(default_factory=list)
    ceilings: Sequence[Ceiling] = ()
    all_looked_at: bool = True
    program: Program | None = None
    lemmas: Sequence[Lemma] = ()
    steps: Sequence[DerivationStep] = ()

    @property
    def value(self) -> Fraction | None:
        """The objective of the fleet."""
        return self.verdict.value if self.verdict is not None else None

    @property
    def exit_status(self) -> Exit:
        """0 with a fleet, 1 where none fits, 3 where time ran out first."""
        return EXITS.get(self.status, Exit.STOPPED)

    def to_json(self) -> dict[str, Any]:
        """``shardproof/result/1`` of a cluster."""
        fleet = None
        value = None if self.fleet is None else self.value
        if self.fleet is not None and self.verdict is not None and value is not None:
            fleet = fleet_json(self.cluster, self.columns, self.fleet, self.verdict)
        document: dict[str, Any] = {
            **opening(self.status, self.cluster, measure_of(self.cluster), value, self.bound),
            "layout": None,
            "figures": {},
            "fleet": fleet,
            "search": {"candidates": len(self.columns), "wall_s": self.wall_s, "seconds": self.seconds},
            "certificate": self.certificate,
        }
        if self.status == "infeasible":
            document["conflict"] = self.conflict
        return document
