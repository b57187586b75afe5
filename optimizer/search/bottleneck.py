"""The costliest stage of the best cuts of many pipelines at once, in floats.

The vectorised twin of `figures/partition.py`: a bound is reached iff filling each stage as far as it goes uses no more
stages than there are; where it fails, no cuts do better than the least stage that was refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from optimizer.search.lattice import Floats, Ints

_CELLS = 1 << 21
"""Pipelines × layers that are cut together: small enough to stay in cache."""

_RAISED = 8
"""How often a bound that fails is raised; what is left then is a bound still."""

_ROUNDING = 1 + 1e-13
"""Sums of layers that differ by less are equal."""


def bottleneck(order: Sequence[int], costs: Floats, last: Floats, first: Floats, pp: Ints) -> Floats:
    """Least cost of the costliest stage over all ways to cut each pipeline.

    Parameters
    ----------
    order
        Kind of each layer, first to last.
    costs
        Cost of a layer: kinds × pipelines.
    last, first
        What the last and the first stage add, of each pipeline.
    pp
        Stages of each pipeline, none of them without a layer.
    """
    costliest = np.zeros(costs.shape[1])
    most = max(1, _CELLS // (len(order) + 1))
    deepest = np.argsort(-pp, kind="stable")
    for start in range(0, len(pp), most):
        pipelines = deepest[start : start + most]
        layers = costs[:, pipelines][np.asarray(order)]
        layers[0] += first[pipelines]
        layers[-1] += last[pipelines]
        costliest[pipelines] = _cut(layers, pp[pipelines])
    return costliest


def _cut(layers: Floats, stages: Ints) -> Floats:
    """Of pipelines in the order of their depth, the deepest first."""
    sums = np.concatenate([np.zeros((1, layers.shape[1])), np.cumsum(layers, axis=0)])
    bound: Floats = np.maximum(sums[-1] / stages, layers.max(axis=0))
    undecided = np.flatnonzero((stages > 1) & (stages < len(layers)))
    for _ in range(_RAISED):
        if not len(undecided):
            break
        fits, refused = _filled(sums[:, undecided], bound[undecided] * _ROUNDING, stages[undecided])
        undecided, refused = undecided[~fits], refused[~fits]
        bound[undecided] = np.maximum(refused, bound[undecided])
    return bound


def _filled(sums: Floats, most: Floats, stages: Ints) -> tuple[NDArray[np.bool_], Floats]:
    """Whether stages of at most so much reach the last layer, and the least stage that was refused."""
    layers, count = len(sums) - 1, len(most)
    at, refused = np.zeros(count, dtype=np.int64), np.full(count, np.inf)
    for stage in range(int(stages[0])):
        pipelines = np.arange(np.searchsorted(-stages, -stage, side="left"))  # those with more stages than this
        start = sums[at[pipelines], pipelines]
        stop = _furthest(sums, at[pipelines], start + most[pipelines], pipelines)
        beyond = sums[np.minimum(stop + 1, layers), pipelines] - start
        refused[pipelines] = np.where(stop < layers, np.minimum(refused[pipelines], beyond), refused[pipelines])
        at[pipelines] = stop
    return at == layers, refused


def _furthest(sums: Floats, low: Ints, most: Floats, pipelines: Ints) -> Ints:
    """The last layer boundary, from `low` on, up to which the sum is at most so much."""
    high = np.full_like(low, len(sums) - 1)
    while np.any(low < high):
        middle = (low + high + 1) // 2
        within = sums[middle, pipelines] <= most
        low, high = np.where(within, middle, low), np.where(within, high, middle - 1)
    return low
