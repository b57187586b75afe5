"""How much the answer depends on the efficiencies of the cost model: least worst-case regret, and where it changes.

A decision is the degrees, the chunk and the replicas; batch and stage cuts follow the efficiencies that turn out. Its
regret at a point of the box is how far, relatively, its best objective falls short of the optimum there; a decision
that then keeps no limit regrets everything. Minimax over the decisions among the `NEAR` best at some point of the grid:
the centre, both ends of each efficiency alone, and every corner of those efficiencies that alone change the optimum's
value. Within that grid and those decisions it is exact; the worst case between grid points is not searched.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from optimizer.domain.layout import slotted
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.domain.uncertainty import EFFICIENCIES, LARGEST_CHANGE, PRECISION, Factors, with_factors
from optimizer.errors import SpecError
from optimizer.figures.costs import CostBook
from optimizer.figures.memory import MemoryBook
from optimizer.figures.objective import Scored, best_layout, better
from optimizer.figures.rates import effective_rates
from optimizer.search.search import Progress, Search

NEAR = 3
"""Best decisions of each point that are compared."""

DecidedShape = tuple[Shape, int | None]


@dataclass(frozen=True)
class Threshold:
    """Where the answer changes when one efficiency alone does.

    Attributes
    ----------
    holds_at, changes_at
        Multiples of the efficiency at which the answer is still optimal and no longer; None: optimal over the range.
    scored
        What is better there.
    """

    efficiency: str
    direction: str
    holds_at: Fraction
    changes_at: Fraction | None
    scored: Scored | None


@dataclass(frozen=True)
class Robustness:
    """The decision of least worst-case regret.

    Attributes
    ----------
    nominal, robust
        The optimum at the stated efficiencies; the robust decision's best layout there.
    nominal_regret, robust_regret
        Worst regrets over the grid; None: it keeps no limit at some point of it.
    worst
        Factors at which the robust decision regrets most.
    grid, decisions
        How many points and decisions were compared.
    infeasible
        Points of the grid at which nothing at all fits; they count for no decision.
    """

    box: tuple[tuple[str, Fraction], ...]
    nominal: Scored
    nominal_regret: Fraction | None
    robust: Scored
    robust_regret: Fraction | None
    worst: Factors
    grid: int
    decisions: int
    infeasible: int
    thresholds: tuple[Threshold, ...]

    @property
    def same(self) -> bool:
        """Whether the optimum is itself the robust decision."""
        return self.nominal is self.robust

    def to_json(self) -> dict[str, Any]:
        """``shardproof/robust/1``."""

        def regret(value: Fraction | None) -> float | None:
            return None if value is None else float(value)

        return {
            "schema": "shardproof/robust/1",
            "box": {name: float(share) for name, share in self.box},
            "proved_over": f"{self.grid} points of the box (centre, ends, corners) and the {self.decisions} decisions "
            f"among the {NEAR} best of some of them; batch and stage cuts adapt to each point",
            "infeasible_points": self.infeasible,
            "nominal": {
                **slotted(self.nominal.layout),
                "worst_regret": regret(self.nominal_regret),
            },
            "robust": {
                **slotted(self.robust.layout),
                "worst_regret": regret(self.robust_regret),
            },
            "same": self.same,
            "worst_at": {name: float(factor) for name, factor in self.worst},
            "thresholds": [
                {
                    "efficiency": t.efficiency,
                    "direction": t.direction,
                    "holds_at": float(t.holds_at),
                    "changes_at": None if t.changes_at is None else float(t.changes_at),
                    **slotted(None if t.scored is None else t.scored.layout),
                }
                for t in self.thresholds
            ],
        }


def uncertainty_box(problem: Problem, share: Fraction | Mapping[str, Fraction]) -> Mapping[str, Fraction]:
    """Uncertainty of each efficiency that is uncertain: of all of them, where one share is given.

    Raises
    ------
    SpecError
        An unknown efficiency, an uncertainty that is no share, or measured loads, of which nothing is told.
    """
    box = dict.fromkeys(EFFICIENCIES, share) if isinstance(share, Fraction) else dict(share)
    for name, uncertainty in box.items():
        if name not in EFFICIENCIES:
            raise SpecError(f"unknown efficiency {name!r}; efficiencies: {', '.join(EFFICIENCIES)}")
        if not 0 < uncertainty < 1:
            raise SpecError(f"uncertainty of {name} is {uncertainty}: it must be above 0% and below 100%")
    if problem.expert_loads:
        raise SpecError("balanced experts are priced: leave out experts.load")
    return box


def _decision(scored: Scored) -> DecidedShape:
    return scored.layout.shape, scored.layout.prefill_chunk


class _At:
    """The problem at one point of the box: decisions priced, the optimum and the next of so many known."""

    def __init__(self, problem: Problem, factors: Factors, wanted: int = NEAR) -> None:
        self.factors, self.problem = factors, with_factors(problem, factors)
        self.near = [(scored, _decision(scored)) for scored in Search(self.problem, wanted=wanted).run().best]
        self.best = self.near[0] if self.near else None
        self._costs = CostBook(self.problem, effective_rates(self.problem.priced_hardware))
        self._memory = MemoryBook(self.problem)

    @property
    def optimum(self) -> Fraction | None:
        """The best objective value; None where nothing fits."""
        return None if self.best is None else self.best[0].value

    def value(self, decision: DecidedShape) -> Scored | None:
        shape, chunk = decision
        return best_layout(self.problem, shape, chunk, self._costs.of(shape), self._memory.memory(shape))

    def regret(self, decision: DecidedShape) -> Fraction | None:
        """Relative shortfall; None where the decision keeps no limit though another does."""
        assert self.best is not None  # noqa: S101 - asked only where something fits
        reached, best = self.value(decision), self.best[0].value
        if reached is None:
            return None
        lost = best - reached.value if self.problem.objective_row.maximised else reached.value - best
        return lost / abs(best) if best else lost


def robust(
    problem: Problem, share: Fraction | Mapping[str, Fraction], progress: Progress | None = None
) -> Robustness | None:
    """The decision of least worst-case regret over a box of efficiencies; None where nothing fits at its centre.

    Parameters
    ----------
    share
        Uncertainty of all efficiencies, or of each that is uncertain: 1/5 is 20% up and down.

    Raises
    ------
    SpecError
        As `uncertainty_box`.
    """
    box = tuple(uncertainty_box(problem, share).items())
    points = []
    for done, point in enumerate(_grid(problem, box)):
        points.append(point)
        if progress is not None:
            progress("efficiencies", done + 1, 1 + 2 * len(box))
    centre = points[0]
    if centre.best is None:
        return None
    nominal, answer = centre.best
    decisions = list(dict.fromkeys(d for p in points for _, d in p.near))
    compared = [p for p in points if p.best is not None]
    worst = {d: _worst(compared, d) for d in decisions}
    # of equal regrets the better decision at the centre, which comes first
    chosen = min(decisions, key=lambda d: (worst[d][0] is None, worst[d][0] or 0))
    scored = nominal if worst[chosen][0] == worst[answer][0] else centre.value(chosen)
    if scored is nominal:
        chosen = answer
    if scored is None:
        scored, chosen = nominal, answer
    return Robustness(
        box, nominal, worst[answer][0], scored, worst[chosen][0], worst[chosen][1], len(points), len(decisions),
        len(points) - len(compared), tuple(_thresholds(problem, answer, dict(box))),
    )  # fmt: skip


def _worst(points: list[_At], decision: DecidedShape) -> tuple[Fraction | None, Factors]:
    largest, where = Fraction(-1), points[0].factors
    for point in points:
        regret = point.regret(decision)
        if regret is None:
            return None, point.factors
        if regret > largest:
            largest, where = regret, point.factors
    return largest, where


def _grid(problem: Problem, box: tuple[tuple[str, Fraction], ...]) -> Iterator[_At]:
    """Centre, ends, and corners of the efficiencies whose ends change the optimum's value."""
    centre = _At(problem, ())
    yield centre
    moving = []
    for name, uncertainty in box:
        ends = [_At(problem, ((name, 1 + sign * uncertainty),)) for sign in (-1, 1)]
        if any(end.optimum != centre.optimum for end in ends):
            moving.append((name, uncertainty))
        yield from ends
    if len(moving) > 1:
        for signs in itertools.product((-1, 1), repeat=len(moving)):
            corner = tuple(
                (name, 1 + sign * uncertainty) for sign, (name, uncertainty) in zip(signs, moving, strict=True)
            )
            yield _At(problem, corner)


def _thresholds(problem: Problem, answer: DecidedShape, box: Mapping[str, Fraction]) -> Iterator[Threshold]:
    for name in box:
        for direction, far in (("lower", Fraction(1, LARGEST_CHANGE)), ("higher", Fraction(LARGEST_CHANGE))):
            yield _threshold(problem, answer, name, direction, far)


def _beaten(problem: Problem, answer: DecidedShape, name: str, factor: Fraction) -> tuple[Scored, DecidedShape] | None:
    """What is better than the answer with one efficiency changed."""
    at = _At(problem, ((name, factor),), wanted=1)
    if at.best is None:
        return None
    reached = at.value(answer)
    return at.best if reached is None or better(problem, at.best[0].value, reached.value) else None


def _threshold(problem: Problem, answer: DecidedShape, name: str, direction: str, far: Fraction) -> Threshold:
    winner = _beaten(problem, answer, name, far)
    if winner is None:
        return Threshold(name, direction, far, None, None)
    holds, changes = Fraction(1), far
    while abs(changes - holds) > PRECISION:
        middle = (holds + changes) / 2
        rival = _beaten(problem, answer, name, middle)
        if rival is None:
            holds = middle
        else:
            changes, winner = middle, rival
    return Threshold(name, direction, holds, changes, winner[0])
