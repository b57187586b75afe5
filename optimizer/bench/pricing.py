"""Prices what a baseline proposes: the exact reference, the verifier's constraints, and a count of evaluations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import CostBook, Costs
from optimizer.figures.memory import Memory, MemoryBook
from optimizer.figures.objective import fewest_devices, objective_of
from optimizer.figures.placement import CVAR_TAIL, aggregate, linear_placement, max_over_mean
from optimizer.figures.rates import effective_rates
from optimizer.figures.serving import Evaluation, evaluate
from optimizer.figures.skew import Skews, load_weights, placeable
from optimizer.figures.topology import replicas_that_fit
from optimizer.verify.constraints import violations
from optimizer.verify.structure import structural_violations

LARGEST_BATCH = 2**16
"""No baseline tries a larger batch."""


Arrange = Callable[[Sequence[int], int, int], list[list[int]]]
"""Experts of each device, from a layer's load, the devices and the slots of each."""


def in_order(load: Sequence[int], devices: int, slots: int) -> list[list[int]]:
    """Experts in the order of their ids, as engines lay them out."""
    return linear_placement(len(load), devices, slots)


@dataclass(frozen=True)
class PricedLayout:
    """A layout that keeps every constraint; `value` is in the objective's own unit."""

    layout: Layout
    value: Fraction
    throughput: Fraction


def better(problem: Problem, one: PricedLayout, than: PricedLayout | None) -> bool:
    """Whether a layout beats another: objective first, then throughput."""
    if than is None:
        return True
    sign = 1 if problem.objective_row.maximised else -1
    return (sign * one.value, one.throughput) > (sign * than.value, than.throughput)


class BudgetedPricer:
    """Prices layouts of one problem and counts how often; stops at a budget.

    Parameters
    ----------
    problem
        What is asked.
    evaluations
        Layouts that may be priced; `spent` tells whether they are used up.
    arrange
        How experts are placed where loads were measured.
    """

    def __init__(self, problem: Problem, evaluations: int, arrange: Arrange = in_order) -> None:
        self.problem, self.budget = problem, evaluations
        self.evaluations = 0
        self.best: PricedLayout | None = None
        self._costs = CostBook(problem, effective_rates(problem.priced_hardware))
        self._memory = MemoryBook(problem)
        self._coefficients: dict[Shape, tuple[Costs, Memory]] = {}
        self._sizes = tuple(tier.size for tier in problem.hardware.tiers)
        self._arrange = arrange
        self._skews = Skews(problem)

    @property
    def spent(self) -> bool:
        """Whether the budget is used up."""
        return self.evaluations >= self.budget

    def valid(self, layout: Layout) -> bool:
        """Whether a layout keeps the constraints that need no figure, whatever its batch."""
        listed = self.problem.search.batch
        if listed is not None:
            layout = layout.model_copy(update={"batch": listed[0]})
        if not placeable(self.problem, layout.shape):
            return False
        return not structural_violations(self.problem, layout)

    def skew(self, shape: Shape) -> tuple[Fraction, ...] | None:
        """Hottest device ÷ mean of each layer with its experts arranged; None where no loads were measured."""
        moe, mesh = self.problem.model.moe, (shape.ep, shape.redundant)
        if not self.problem.expert_loads or moe is None:
            return None
        if mesh not in self._skews.placed:
            slots = (moe.experts + shape.redundant) // shape.ep
            weights = load_weights(self.problem)
            robust = self.problem.experts.robust if self.problem.experts else "worst"
            hottest = []
            for rows in zip(*(load.rows for load in self.problem.expert_loads), strict=True):
                together = [sum(column) for column in zip(*rows, strict=True)]
                devices = self._arrange(together, shape.ep, slots)
                hottest.append(aggregate([max_over_mean(row, devices) for row in rows], weights, robust, CVAR_TAIL))
            self._skews.placed[mesh] = hottest
        return self._skews.of(shape)

    def evaluation(self, layout: Layout) -> Evaluation:
        """Figures of a layout."""
        self.evaluations += 1
        shape = layout.shape
        skew = self.skew(shape)
        if shape not in self._coefficients:
            # One shape is priced at many batches in a row; few are ever needed again.
            if len(self._coefficients) > 64:
                self._coefficients.clear()
            self._coefficients[shape] = (self._costs.costs(shape, skew), self._memory.memory(shape))
        costs, memory = self._coefficients[shape]
        return evaluate(self.problem, layout, imbalance=skew, costs=costs, memory=memory)

    def price(self, layout: Layout) -> tuple[PricedLayout | None, set[str]]:
        """A layout if it keeps every constraint, else the families that it violates; remembers the best."""
        evaluation = self.evaluation(layout)
        broken = violations(self.problem, layout, evaluation, imbalance=self.skew(layout.shape))
        if broken:
            return None, {str(violation.family) for violation in broken}
        priced = PricedLayout(layout, objective_of(self.problem, evaluation), evaluation.throughput)
        if better(self.problem, priced, self.best):
            self.best = priced
        return priced, set()

    def replicas(self, shape: Shape) -> int:
        """Most replicas of a shape that fit the devices."""
        return replicas_that_fit(self._sizes, self.problem.devices, shape.devices)

    def best_batch(self, layout: Layout, batches: Iterable[int] | None = None) -> PricedLayout | None:
        """The best of several batches: those given, else 1, 2, 4, … and by halving the largest that fits.

        A batch fits unless memory or a latency forbids it; too few requests/s forbid no larger one.
        """
        listed = self.problem.search.batch
        best: PricedLayout | None = None

        def tried(batch: int) -> bool:
            nonlocal best
            priced, broken = self.price(layout.model_copy(update={"batch": batch}))
            if priced is not None and better(self.problem, priced, best):
                best = priced
            return broken <= {"request_rate"}

        if listed is not None or batches is not None:
            allowed = sorted(set(listed if listed is not None else ()) or set(batches or ()))
            for batch in allowed:
                if self.spent or not tried(batch):
                    break
            return best
        low, high = 0, 1
        while high <= LARGEST_BATCH and not self.spent and tried(high):
            low, high = high, 2 * high
        while high - low > 1 and low and not self.spent:
            middle = (low + high) // 2
            low, high = (middle, high) if tried(middle) else (low, middle)
        return best


def layout_of(problem: Problem, shape: Shape, replicas: int, chunk: int | None, batch: int = 1) -> Layout:
    """Layout of some replicas with even stages; a dense model has no expert mesh."""
    dense = problem.model.moe is None
    return Layout(
        tp=shape.tp, cp=shape.cp, dp=shape.dp * replicas, pp=shape.pp, etp=shape.etp, ep=shape.ep,
        edp=1 if dense else shape.edp * replicas, batch=batch, prefill_chunk=chunk, redundant_slots=shape.redundant,
        overlap=shape.overlap_name,
    )  # fmt: skip


def replica_counts(problem: Problem, pricer: BudgetedPricer, shape: Shape) -> Iterator[int]:
    """Replica counts worth a try: the most there may be, and where fewer devices are better 1, 2, … up to it."""
    most, search = pricer.replicas(shape), problem.search
    named = (
        (search.dp, shape.dp),
        (None if problem.model.moe is None else search.edp, shape.edp),
        (search.devices, shape.devices),
    )
    allowed: Sequence[int] = range(1, most + 1)
    for values, degree in named:
        if values is not None:
            allowed = [
                count
                for count in sorted({value // degree for value in values})
                if count in allowed and count * degree in values
            ]
    if fewest_devices(problem):
        yield from allowed
    else:
        yield from allowed[-1:]
