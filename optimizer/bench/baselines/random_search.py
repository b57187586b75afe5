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
    own, rng = axes(problem), Random(problem.seed)  # noqa: S311 - a sample, no secret
    if not (own.tp and own.cp and own.pp and own.etp and own.ep):
        return None
    for _ in range(DRAWS_EACH * pricer.budget):
        if pricer.spent:
            break
        tp, cp, etp, ep, pp, redundant = (
            rng.choice(values) for values in (own.tp, own.cp, own.etp, own.ep, own.pp, own.redundant)
        )
        shape, chunk = Shape(tp, cp, etp, ep, pp, redundant), rng.choice(own.chunks)
        if shape.spread and own.overlap:
            shape = replace(shape, overlap=rng.choice(own.overlap))
        if shape.devices > problem.devices or shape.overlap not in own.overlap:
            continue
        counts = list(replica_counts(problem, pricer, shape))
        if not counts:
            continue
        layout = layout_of(problem, shape, rng.choice(counts), chunk)
        if pricer.valid(layout):
            pricer.best_batch(layout)
    return pricer.best
