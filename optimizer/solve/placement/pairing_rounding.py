"""Two slots a device: whole replica counts from a linear program's fractional ones, many at a time.

Systematic sampling (Madow, 1949): the experts in random order, each gets the whole numbers that its stretch of the
running total passes. So every count is rounded down or up with the right chance, and the total stays what it was.
"""

import numpy as np

from optimizer.solve.placement.pairing import fold
from optimizer.solve.placement.pairing_program import Counted
from optimizer.solve.placement.replicas import Floats, Ints

_SAMPLES = 64
_WHOLE = 1e-6


def round_counts(weights: Floats, counted: Counted, rng: np.random.Generator) -> Ints:
    """Coolest of some random roundings, counts ``[experts]``.

    Parameters
    ----------
    weights
        Load of each expert.
    counted
        The linear program's answer.
    rng
        Source of the samples.
    """
    mean = np.zeros(len(weights))
    for (expert, copies), part in counted.parts.items():
        mean[expert] += copies * part
    whole = np.floor(mean + _WHOLE)
    rest = np.where(mean - whole < _WHOLE, 0.0, mean - whole)
    counts = np.tile(whole.astype(np.int64), (_SAMPLES, 1))
    open_experts = np.nonzero(rest)[0]
    if not len(open_experts):
        return whole.astype(np.int64)
    order = rng.permuted(np.tile(open_experts, (_SAMPLES, 1)), axis=1)
    running = np.cumsum(rest[order], axis=1)
    running[:, -1] = round(float(rest.sum()))
    passed = np.floor(running + rng.random((_SAMPLES, 1))).astype(np.int64)
    np.put_along_axis(counts, order, whole.astype(np.int64)[order] + np.diff(passed, axis=1, prepend=0), axis=1)
    shares = np.repeat((weights / counts).ravel(), counts.ravel()).reshape(_SAMPLES, -1)
    best: Ints = counts[fold(shares).max(axis=1).argmin()]
    return best
