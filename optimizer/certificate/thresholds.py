"""The thresholds of a result: at what multiple of one efficiency its layout is still the best, and is no longer.

Each end is derived anew: where the layout's degrees and chunk still hold, nothing in the lattice beats their best;
where they no longer do, the stated layout keeps every limit and is better than anything of theirs.
"""

from __future__ import annotations

from fractions import Fraction

from optimizer.certificate.aims import Aims
from optimizer.certificate.decision import Decision
from optimizer.certificate.goals import goal
from optimizer.certificate.meshes import MeshCount
from optimizer.certificate.optimality import prove
from optimizer.certificate.priced import evaluated
from optimizer.certificate.reading import keys, layout_of
from optimizer.certificate.verdict import Check, Rejected, brief, equal, number
from optimizer.domain.layout import Layout, slotted
from optimizer.domain.problem import Problem
from optimizer.domain.uncertainty import EFFICIENCIES, LARGEST_CHANGE, PRECISION, with_factors
from optimizer.figures.costs import CostBook
from optimizer.figures.memory import MemoryBook
from optimizer.figures.objective import best_layout, better, objective_of
from optimizer.figures.rates import effective_rates

SCHEMA = "shardproof/robust/1"
_KEYS = frozenset(
    {
        "schema", "box", "proved_over", "infeasible_points", "nominal", "robust", "same", "worst_at", "thresholds",
    }
)  # fmt: skip
_THRESHOLD = frozenset({"efficiency", "direction", "holds_at", "changes_at", "layout", "redundant"})
_REGRETS = ("proved_over", "infeasible_points", "nominal.worst_regret", "robust", "same", "worst_at")
"""Of the grid of efficiencies, which the search alone compares."""


def check_uncertainty(problem: Problem, lattice: MeshCount, stated: object, check: Check) -> None:
    """Check what a result says of wrong efficiencies; the grid of regrets is named as not checked.

    Raises
    ------
    Rejected
        At the first threshold that is not as stated.
    """
    if stated is None:
        check.not_checked.append("uncertainty: nothing is stated")
        return
    uncertainty = keys("uncertainty", stated, _KEYS)
    equal("uncertainty.schema", uncertainty["schema"], SCHEMA)
    if problem.expert_loads:
        raise Rejected("uncertainty", "balanced experts are priced, and loads were measured")
    box = uncertainty["box"]
    if not isinstance(box, dict) or not box or not box.keys() <= set(EFFICIENCIES):
        raise Rejected("uncertainty.box", f"{brief(box)} is not of efficiencies")
    for name, share in box.items():
        number(f"uncertainty.box.{name}", share)
        if not 0 < share < 1:
            raise Rejected(f"uncertainty.box.{name}", f"{brief(share)} is no share")
    nominal = keys("uncertainty.nominal", uncertainty["nominal"], frozenset({"layout", "redundant", "worst_regret"}))
    layout = layout_of("uncertainty.nominal.layout", nominal)
    answer = _Answer(problem, lattice, layout)
    answer.holds("uncertainty.nominal", Fraction(1), None)
    _thresholds(answer, list(box), uncertainty["thresholds"])
    check.checked.append("thresholds: where the layout is still the best, and where another is better")
    check.not_checked += ["uncertainty.box", *(f"uncertainty.{name}" for name in _REGRETS)]


def _thresholds(answer: _Answer, box: list[str], stated: object) -> None:
    wanted = [(name, direction) for name in box for direction in ("lower", "higher")]
    if not isinstance(stated, list) or len(stated) != len(wanted):
        raise Rejected("uncertainty.thresholds", f"not {len(wanted)} thresholds")
    for place, (entry, (name, direction)) in enumerate(zip(stated, wanted, strict=True)):
        item = f"uncertainty.thresholds[{place}]"
        keys(item, entry, _THRESHOLD)
        equal(f"{item}.efficiency", entry["efficiency"], name)
        equal(f"{item}.direction", entry["direction"], direction)
        far = Fraction(1, LARGEST_CHANGE) if direction == "lower" else Fraction(LARGEST_CHANGE)
        holds_at = _factor(f"{item}.holds_at", entry["holds_at"], far)
        answer.holds(f"{item}.holds_at", holds_at, name)
        if entry["changes_at"] is None:
            equal(f"{item}.holds_at", entry["holds_at"], float(far))
            equal(item, {"layout": entry["layout"], "redundant": entry["redundant"]}, slotted(None))
            continue
        changes = _factor(f"{item}.changes_at", entry["changes_at"], far)
        step = far - 1
        while abs(step) > PRECISION:
            step /= 2
        if changes - holds_at != step or ((holds_at - 1) / step).denominator != 1:
            raise Rejected(f"{item}.changes_at", f"not beyond holds_at by a step of {abs(step)}")
        layout = layout_of(f"{item}.layout", entry)
        answer.beaten_by(item, changes, name, layout)


def _factor(item: str, stated: object, far: Fraction) -> Fraction:
    """A multiple between 1 and the farthest, written as the float that it is."""
    number(item, stated)
    if type(stated) is not float or not min(Fraction(1), far) <= Fraction(stated) <= max(Fraction(1), far):
        raise Rejected(item, f"{brief(stated)} is not between 1 and {far}")
    return Fraction(stated)


class _Answer:
    """The nominal layout's degrees and chunk, whose best batch, cuts and replicas follow the efficiencies."""

    def __init__(self, problem: Problem, lattice: MeshCount, layout: Layout) -> None:
        self.problem, self.lattice, self.layout = problem, lattice, layout
        self.value = objective_of(
            problem, evaluated(problem, lattice, layout, "uncertainty.nominal.layout", waits=False)
        )
        self.shape = layout.shape

    def holds(self, item: str, factor: Fraction, name: str | None) -> None:
        """Reject unless the degrees' best is the best of all where one efficiency is multiplied."""
        problem = self._at(factor, name)
        best = self._best(problem)
        if best is None and prove(problem, self.lattice, None).counterexample is not None:
            raise Rejected(item, f"the layout's degrees keep no limit at × {float(factor):.6g}, others do")
        if name is None and self.value != best:
            raise Rejected(item, "the layout is not the best of its degrees")
        if best is not None and prove(problem, self.lattice, best).counterexample is not None:
            raise Rejected(item, f"other degrees are better at × {float(factor):.6g}")

    def beaten_by(self, item: str, factor: Fraction, name: str, layout: Layout) -> None:
        """Reject unless a layout is better than anything of the degrees where one efficiency is multiplied."""
        problem = self._at(factor, name)
        value = objective_of(problem, evaluated(problem, self.lattice, layout, f"{item}.layout", waits=False))
        best = self._best(problem)
        if best is not None and not better(problem, value, best):
            raise Rejected(f"{item}.layout", f"no better than the result's degrees at × {float(factor):.6g}")
        if prove(problem, self.lattice, value).counterexample is not None:
            raise Rejected(f"{item}.layout", f"not the best at × {float(factor):.6g}")

    def _at(self, factor: Fraction, name: str | None) -> Problem:
        return self.problem if name is None else with_factors(self.problem, ((name, factor),))

    def _best(self, problem: Problem) -> Fraction | None:
        """Best value of the degrees: a proposal, above which the checker's own decision finds nothing."""
        costs = CostBook(problem, effective_rates(problem.priced_hardware)).of(self.shape)
        memory, chunk = MemoryBook(problem).memory(self.shape), self.layout.prefill_chunk
        proposed = best_layout(problem, self.shape, chunk, costs, memory)
        value = None if proposed is None else proposed.value
        if Decision(problem, self.shape, chunk, costs, memory).found(Aims(goal(problem, value))) is not None:
            raise Rejected("uncertainty", "the best batch and cuts of the layout's degrees are not certain")
        return value
