"""Whole replica counts from a linear program's fractional ones, many at a time.

Systematic sampling (Madow, 1949): the experts in random order, each gets the whole numbers that its stretch of the
running total passes. So every count is rounded down or up with the right chance, and the total stays what it was.
"""

import numpy as np

from optimizer.placement.replicas import Floats, Ints

_WHOLE = 1e-6


def rounded(mean: Floats, samples: int, rng: np.random.Generator) -> Ints:
    """Random roundings of fractional counts ``[experts]`` with a whole total, ``[samples, experts]``."""
    whole = np.floor(mean + _WHOLE).astype(np.int64)
    rest = np.where(mean - whole < _WHOLE, 0.0, mean - whole)
    counts = np.tile(whole, (samples, 1))
    between = np.nonzero(rest)[0]
    if len(between):
        order = rng.permuted(np.tile(between, (samples, 1)), axis=1)
        running = np.cumsum(rest[order], axis=1)
        running[:, -1] = round(float(rest.sum()))
        passed = np.floor(running + rng.random((samples, 1))).astype(np.int64)
        np.put_along_axis(counts, order, whole[order] + np.diff(passed, axis=1, prepend=0), axis=1)
    return counts
