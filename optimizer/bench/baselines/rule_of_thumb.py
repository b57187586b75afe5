"""The rule practitioners use: TP within the node, then PP, then DP; the largest batch that fits.

As the vLLM documentation puts it (docs.vllm.ai, "Parallelism and Scaling"): tensor parallelism as wide as a node where
one device is too small, pipeline parallelism over nodes where one node is too small. What is left becomes replicas.
Experts are spread over the tensor-parallel ranks.
"""

from __future__ import annotations

from collections.abc import Iterator

from optimizer.bench.pricing import Priced, Pricer, better, layout_of, replica_counts
from optimizer.domain.lattice import Axes, axes
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape

CHUNKS = (8192, 2048, 512)
"""Prompt tokens a step, in the order tried; 8,192 and 2,048 are vLLM's defaults for large and small devices."""


def chunks(own: Axes) -> list[int | None]:
    """The values of `CHUNKS` that the problem allows, or whatever it allows."""
    if own.chunks == (None,):
        return [None]
    allowed = [chunk for chunk in CHUNKS if chunk in own.chunks]
    return [*allowed] or [*own.chunks][-1:]


def _degrees(problem: Problem, own: Axes) -> Iterator[list[tuple[int, int]]]:
    """TP and PP in the order of the rule, a list for each school: the narrowest TP that will do, or the whole node."""
    node = problem.hardware.devices_per_node
    widths = [tp for tp in own.tp if tp <= node and tp & (tp - 1) == 0] or [own.tp[0]]
    deeper = [(widths[-1], pp) for pp in own.pp[1:]]
    yield [(tp, own.pp[0]) for tp in widths] + deeper
    yield [(widths[-1], own.pp[0]), *deeper]


def _at(problem: Problem, pricer: Pricer, own: Axes, tp: int, pp: int) -> Priced | None:
    """The best chunk and expert mesh of these degrees."""
    best: Priced | None = None
    for etp, ep in ((1, tp), (tp, 1)) if problem.model.moe is not None else ((1, 1),):
        if etp not in own.etp or ep not in own.ep:
            continue
        shape = Shape(tp, own.cp[0], etp, ep, pp, own.redundant[0])
        for chunk in chunks(own):
            for replicas in replica_counts(problem, pricer, shape):
                layout = layout_of(problem, shape, replicas, chunk)
                priced = pricer.best_batch(layout) if pricer.valid(layout) else None
                if priced is not None:
                    best = priced if better(problem, priced, best) else best
                    break
    return best


def propose(problem: Problem, pricer: Pricer) -> Priced | None:
    """The first degrees of the rule that keep every limit, at their largest batch; the better school."""
    lattice = axes(problem)
    if not (lattice.tp and lattice.pp and lattice.etp and lattice.ep and lattice.cp):
        return None
    best: Priced | None = None
    for school in _degrees(problem, lattice):
        for tp, pp in school:
            priced = _at(problem, pricer, lattice, tp, pp)
            if priced is not None:
                best = priced if better(problem, priced, best) else best
                break
            if pricer.spent:
                return best
    return best
