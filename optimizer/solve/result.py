"""The answer of a solve, its bound, and its JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

from optimizer.certificate.reading import RESULT_SCHEMA
from optimizer.certificate.statement import relative_gap
from optimizer.domain.cluster import Cluster
from optimizer.domain.layout import Layout, slotted
from optimizer.domain.margins import accuracy
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.domain.uncertainty import MOST_TIES, TIES
from optimizer.errors import Exit
from optimizer.figures.derivation import Figure, derive, figures_json
from optimizer.figures.objective import Scored, better
from optimizer.figures.serving import Evaluation
from optimizer.search.pricing import MARGIN
from optimizer.search.search import Found, Search, Tally
from optimizer.solve.places import all_placed

EXITS = {"optimal": Exit.YES, "feasible": Exit.YES, "infeasible": Exit.NO}

_LOOSER = Fraction(4 * MARGIN)
"""How much a bound in floats is loosened, relatively, before it is claimed."""


def opening(
    status: str, question: Problem | Cluster, unit: str, value: Fraction | None, bound: Fraction | None
) -> dict[str, Any]:
    """What a result of a problem and one of a cluster begin with, ``shardproof/result/1``."""
    objective: dict[str, Any] = {"name": unit, "value": None, "bound": None, "gap": None}
    if value is not None:
        objective["value"] = float(value)
        if bound is not None:
            objective |= {"bound": float(bound), "gap": float(relative_gap(value, bound))}
    return {
        "schema": RESULT_SCHEMA,
        "status": status,
        "problem": question.model_dump(mode="json") | {"digest": question.digest},
        "objective": objective,
    }


def proved_bound(problem: Problem, outcome: Found) -> Fraction | None:
    """What no layout can beat: the best value of a complete search, else of what is left and what was found.

    None where there is no layout to bound.
    """
    if not outcome.best:
        return None
    value = outcome.best[0].value
    if outcome.complete or outcome.bound is None:
        return value if outcome.complete else None
    remaining = _in_its_unit(problem, Fraction(outcome.bound))
    return remaining if better(problem, remaining, value) else value


def _in_its_unit(problem: Problem, raw: Fraction) -> Fraction:
    """A bound of `Search`, where larger is better, loosened in the measure of the objective, as the objective."""
    scale = problem.scale
    if scale.measure is not Measure.DEVICES:
        raw += abs(raw) * _LOOSER
    if scale.measure is Measure.CONTEXT:
        raw = Fraction(int(raw))
    return scale.value(raw if scale.measure.rises else -raw)


@dataclass(frozen=True)
class Solved:
    """What a solve found; `status` is `optimal`, `feasible`, `infeasible` or `unknown`.

    Attributes
    ----------
    bound
        Proved bound on the objective, exact and in its unit; None where there is nothing to bound.
    top
        Further layouts, best first, where they were asked for.
    conflict
        Where nothing fits: the limits that conflict, as `explain` names them; empty where time ran out before.
    waiting
        A layout keeps all limits but for the wait for a free place, and none was found that keeps them with it.
    search
        What found it, where its experts need no placement: it knows what lies near. A result that was
        pickled has none.
    """

    problem: Problem
    status: str
    best: Scored | None
    evaluation: Evaluation | None
    bound: Fraction | None
    tally: Tally
    wall_s: float
    certificate: dict[str, Any]
    top: tuple[Scored, ...] = ()
    conflict: list[dict[str, Any]] = field(default_factory=list)
    placement: dict[str, Any] | None = None
    waiting: bool = False
    search: Search | None = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """For other processes: without the search, which holds rules that are closures."""
        return self.__dict__ | {"search": None}

    @property
    def layout(self) -> Layout | None:
        """The best layout found."""
        return self.best.layout if self.best else None

    @property
    def exit_status(self) -> Exit:
        """0 with a layout, 1 where nothing fits, 3 where time ran out first."""
        return EXITS.get(self.status, Exit.STOPPED)

    def ties(self) -> list[dict[str, Any]] | None:
        """A few layouts on as many devices that runs would not tell from the best; None where that is not known.

        Exact values, of degrees of powers of two; there may be more.
        """
        apart = TIES.get(self.problem.scale.measure)
        if self.best is None or self.search is None or apart is None:
            return None
        return [
            slotted(near.layout) | {"value": float(near.value), "ratio": float(near.value / self.best.value)}
            for near in all_placed(self.problem, self.search.near(self.best, apart, MOST_TIES))
        ]  # fmt: skip

    @cached_property
    def derived(self) -> dict[str, Figure]:
        """Every figure of the best layout with its derivation; empty where nothing fits."""
        if self.best is None or self.evaluation is None:
            return {}
        return derive(self.problem, self.best.layout, self.evaluation)

    def answer(self) -> dict[str, Any]:
        """As `to_json`, with how far to trust the times, and the ties."""
        document = self.to_json()
        if self.evaluation is not None:
            document["accuracy"] = accuracy(self.problem.margin, document["figures"], self.problem.asked)
            ties = self.ties()
            if ties is not None:
                document["ties"] = ties
        return document

    def to_json(self) -> dict[str, Any]:
        """``shardproof/result/1``."""
        layout = figures = value = None
        if self.best is not None and self.evaluation is not None:
            value = self.best.value
            layout = self.best.layout.to_json() | {"placement": self.placement}
            figures = figures_json(self.problem, self.best.layout, self.evaluation, self.derived)
        document: dict[str, Any] = {
            **opening(self.status, self.problem, self.problem.objective_row.unit, value, self.bound),
            "layout": layout,
            "figures": figures,
            "search": {
                "candidates": self.tally.points,
                "excluded": {family.value: count for family, count in sorted(self.tally.excluded.items())},
                "dismissed_by_bound": self.tally.dismissed,
                "priced": self.tally.priced,
                "decided_exactly": self.tally.exact,
                "wall_s": self.wall_s,
            },
            "certificate": self.certificate,
        }
        if self.status == "infeasible":
            document["conflict"] = self.conflict
        if self.top:
            document["top"] = [
                {"layout": s.layout.to_json(), "value": float(s.value)} for s in (self.best, *self.top) if s is not None
            ]
        return document
