"""Random search with the problem's seed: degrees and chunk at random, each at its largest batch."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from optimizer.bench.pricing import Priced, Pricer, layout_of, replica_counts
from optimizer.domain.lattice import axes
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape

DRAWS_EACH = 10
"""Draws for each evaluation of the budget, at most: most of them are no layout."""


def propose(problem: Problem, pricer: Pricer) -> Priced | None:
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
