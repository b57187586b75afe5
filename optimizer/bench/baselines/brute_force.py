"""Every layout, priced by the reference one by one: what the search must equal. For small problems only."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise, product
from math import comb, prod

from optimizer.bench.pricing import BudgetedPricer, PricedLayout, layout_of, replica_counts
from optimizer.domain.lattice import axes
from optimizer.domain.layout import Layout, Stage
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.partition import even_cuts
from optimizer.figures.rates import last_kept


def cuts(layers: int, stages: int) -> Iterator[tuple[int, ...]]:
    """Every way to cut the layers into that many stages."""
    for chosen in combinations(range(1, layers), stages - 1):
        yield tuple(end - start for start, end in pairwise((0, *chosen, layers)))


def _with_cuts(layout: Layout, parts: tuple[int, ...]) -> Layout:
    stages = tuple(Stage(first_layer=sum(parts[:i]), layers=count) for i, count in enumerate(parts))
    return layout.model_copy(update={"stages": stages})


def _shapes(problem: Problem) -> Iterator[Shape]:
    lattice = axes(problem)
    for tp in lattice.tp:
        for cp in lattice.cp:
            for etp in lattice.etp:
                for ep in lattice.ep:
                    for pp in lattice.pp:
                        for redundant, overlap in product(lattice.redundant, lattice.overlap):
                            shape = Shape(tp, cp, etp, ep, pp, redundant, overlap)
                            if shape.devices <= problem.devices and (shape.spread or not overlap):
                                yield shape


def _largest_batch(pricer: BudgetedPricer, layout: Layout) -> int:
    """Largest batch that all stages together have room for: whatever the cuts, their sum is the same."""
    if pricer.problem.search.batch is not None:
        return max(pricer.problem.search.batch)
    low, high = 0, 1

    def fits(batch: int) -> bool:
        evaluation = pricer.evaluation(layout.model_copy(update={"batch": batch}))
        total = sum(stage.total_bytes for stage in evaluation.memory)
        return total <= layout.pp * pricer.problem.capacity_bytes and evaluation.steps.share <= 1

    while fits(high) and high < 2**16:
        low, high = high, 2 * high
    return last_kept(fits, low, high)


def propose(problem: Problem, pricer: BudgetedPricer) -> tuple[PricedLayout | None, bool] | None:
    """The best of all layouts, and whether all stage cuts were among them; None where there are too many layouts."""
    points: list[tuple[Layout, int]] = []
    work = narrow = 0
    layers, lattice = problem.model.layer_count, axes(problem)
    spanned = prod(
        map(len, (lattice.tp, lattice.cp, lattice.etp, lattice.ep, lattice.pp, lattice.redundant, lattice.chunks))
    )
    if spanned > 20 * pricer.budget:
        return None
    for shape in _shapes(problem):
        for chunk in lattice.chunks:
            for replicas in replica_counts(problem, pricer, shape):
                layout = layout_of(problem, shape, replicas, chunk)
                if not pricer.valid(layout):
                    continue
                most = _largest_batch(pricer, layout)
                if most:
                    points.append((layout, most))
                narrow += most
                work += most * comb(layers - 1, shape.pp - 1)
                if narrow > pricer.budget:
                    return None
    complete = work <= pricer.budget
    for layout, most in points:
        ways = cuts(layers, layout.pp) if complete else [even_cuts(layers, layout.pp)]
        for parts in ways:
            cut = _with_cuts(layout, parts)
            for batch in problem.search.batch or range(1, most + 1):
                pricer.price(cut.model_copy(update={"batch": batch}))
    return pricer.best, complete
