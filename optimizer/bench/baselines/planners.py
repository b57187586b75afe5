"""What planners and practitioners do, beside the search: the rule of thumb, powers of two, random search.

The rule, as the vLLM documentation puts it (docs.vllm.ai, "Parallelism and Scaling"): tensor parallelism as wide as a
node where one device is too small, pipeline parallelism over nodes where one node is too small. What is left becomes
replicas. Experts are spread over the tensor-parallel ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from random import Random

from optimizer.bench.pricing import BudgetedPricer, PricedLayout, better, layout_of, replica_counts
from optimizer.domain.lattice import Axes, axes
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape

CHUNKS = (8192, 2048, 512)
"""Prompt tokens a step, in the order tried; 8,192 and 2,048 are vLLM's defaults for large and small devices."""


def chunks(axes: Axes) -> list[int | None]:
    """The values of `CHUNKS` that the problem allows, or whatever it allows."""
    if axes.chunks == (None,):
        return [None]
    allowed = [chunk for chunk in CHUNKS if chunk in axes.chunks]
    return [*allowed] or [*axes.chunks][-1:]


def _degrees(problem: Problem, axes: Axes) -> Iterator[list[tuple[int, int]]]:
    """TP and PP in the order of the rule, a list for each school: the narrowest TP that will do, or the whole node."""
    node = problem.hardware.devices_per_node
    widths = [tp for tp in axes.tp if tp <= node and tp & (tp - 1) == 0] or [axes.tp[0]]
    deeper = [(widths[-1], pp) for pp in axes.pp[1:]]
    yield [(tp, axes.pp[0]) for tp in widths] + deeper
    yield [(widths[-1], axes.pp[0]), *deeper]


def _at(problem: Problem, pricer: BudgetedPricer, axes: Axes, tp: int, pp: int) -> PricedLayout | None:
    """The best chunk and expert mesh of these degrees."""
    best: PricedLayout | None = None
    for etp, ep in ((1, tp), (tp, 1)) if problem.model.moe is not None else ((1, 1),):
        if etp not in axes.etp or ep not in axes.ep:
            continue
        shape = Shape(tp, axes.cp[0], etp, ep, pp, axes.redundant[0])
        for chunk in chunks(axes):
            for replicas in replica_counts(problem, pricer, shape):
                layout = layout_of(problem, shape, replicas, chunk)
                priced = pricer.best_batch(layout) if pricer.valid(layout) else None
                if priced is not None:
                    best = priced if better(problem, priced, best) else best
                    break
    return best


def rule_of_thumb(problem: Problem, pricer: BudgetedPricer) -> PricedLayout | None:
    """The first degrees of the rule that keep every limit, at their largest batch; the better school."""
    lattice = axes(problem)
    if not (lattice.tp and lattice.pp and lattice.etp and lattice.ep and lattice.cp):
        return None
    best: PricedLayout | None = None
    for school in _degrees(problem, lattice):
        for tp, pp in school:
            priced = _at(problem, pricer, lattice, tp, pp)
            if priced is not None:
                best = priced if better(problem, priced, best) else best
                break
            if pricer.spent:
                return best
    return best


BATCHES = tuple(2**k for k in range(13))
"""1 to 4,096 sequences a rank."""


def _powers(values: tuple[int, ...]) -> list[int]:
    return [value for value in values if value & (value - 1) == 0]


def grid(problem: Problem) -> list[tuple[Shape, int | None]]:
    """Degrees and chunks of the grid: TP within the node, no context parallelism."""
    lattice, node = axes(problem), problem.hardware.devices_per_node
    points = []
    chunks = [chunk for chunk in lattice.chunks if chunk is None or chunk & (chunk - 1) == 0] or [lattice.chunks[-1]]
    cp = lattice.cp[0] if lattice.cp else 1
    for tp in _powers(lattice.tp):
        for etp in _powers(lattice.etp):
            if tp > node or etp > node:
                continue
            for ep in _powers(lattice.ep):
                for pp in _powers(lattice.pp):
                    for redundant, overlap in product(lattice.redundant, lattice.overlap):
                        shape = Shape(tp, cp, etp, ep, pp, redundant, overlap)
                        if shape.devices <= problem.devices and (shape.spread or not overlap):
                            points += [(shape, chunk) for chunk in chunks]
    return points


def powers_of_two(problem: Problem, pricer: BudgetedPricer) -> PricedLayout | None:
    """The best of the grid; where the budget is too small for all of it, of a random part (seed of the problem)."""
    points = grid(problem)
    if len(points) * len(BATCHES) > pricer.budget:
        Random(problem.seed).shuffle(points)  # noqa: S311 - a sample, no secret
    for shape, chunk in points:
        for replicas in replica_counts(problem, pricer, shape):
            if pricer.spent:
                return pricer.best
            layout = layout_of(problem, shape, replicas, chunk)
            if pricer.valid(layout):
                pricer.best_batch(layout, BATCHES)
    return pricer.best


DRAWS_EACH = 10
"""Draws for each evaluation of the budget, at most: most of them are no layout."""


def random_search(problem: Problem, pricer: BudgetedPricer) -> PricedLayout | None:
    """The best of what the budget allows to draw."""
    lattice, rng = axes(problem), Random(problem.seed)  # noqa: S311 - a sample, no secret
    if not (lattice.tp and lattice.cp and lattice.pp and lattice.etp and lattice.ep):
        return None
    for _ in range(DRAWS_EACH * pricer.budget):
        if pricer.spent:
            break
        tp, cp, etp, ep, pp, redundant = (
            rng.choice(values)
            for values in (lattice.tp, lattice.cp, lattice.etp, lattice.ep, lattice.pp, lattice.redundant)
        )
        shape, chunk = Shape(tp, cp, etp, ep, pp, redundant), rng.choice(lattice.chunks)
        if shape.spread and lattice.overlap:
            shape = replace(shape, overlap=rng.choice(lattice.overlap))
        if shape.devices > problem.devices or shape.overlap not in lattice.overlap:
            continue
        counts = list(replica_counts(problem, pricer, shape))
        if not counts:
            continue
        layout = layout_of(problem, shape, rng.choice(counts), chunk)
        if pricer.valid(layout):
            pricer.best_batch(layout)
    return pricer.best
