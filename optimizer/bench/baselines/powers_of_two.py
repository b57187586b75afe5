"""The grid that most planners walk: every degree, batch and chunk a power of two."""

from __future__ import annotations

from itertools import product
from random import Random

from optimizer.bench.pricing import Priced, Pricer, layout_of, replica_counts
from optimizer.domain.lattice import axes
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape

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


def propose(problem: Problem, pricer: Pricer) -> Priced | None:
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
