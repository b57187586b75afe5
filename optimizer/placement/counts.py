"""How many copies each expert gets: by the divisor method, by rounding fractional counts, by handing copies on.

With the even split the largest share is least when ``r_e = ceil(w_e / T)`` for the least T that fits the slots; adding
copies one by one to the largest share (highest averages, as in apportionment) reaches it.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WHOLE = 1e-6


def divisor_replicas(weights: Floats, slots: int, devices: int) -> Ints:
    """Replica counts that make the largest share least, filling every slot.

    Parameters
    ----------
    weights
        Load, ``[layers, experts]``, any unit.
    slots
        Slots of a layer over all devices, between ``experts`` and ``experts * devices``.
    devices
        Most copies of one expert: a second copy on the same device is useless.

    Returns
    -------
    Ints
        ``[layers, experts]``, at least 1 and at most ``devices`` each, every row adding up to ``slots``.
    """
    layers, experts = weights.shape
    # At this threshold copies fit whatever they are rounded up to.
    fitting = weights.sum(axis=1, keepdims=True) / max(1, slots - experts)
    counts = np.clip(np.ceil(weights / np.where(fitting > 0, fitting, 1.0)), 1, devices).astype(np.int64)
    while (spare := slots - counts.sum(axis=1)).max() > 0:
        shares = np.where(counts < devices, weights / counts, -1.0)
        counts[np.arange(layers), shares.argmax(axis=1)] += spare > 0
    return counts


def rounded(mean: Floats, samples: int, rng: np.random.Generator) -> Ints:
    """Random roundings of fractional counts ``[experts]`` with a whole total, ``[samples, experts]``.

    Systematic sampling (Madow, 1949): the experts in random order, each gets the whole numbers that its stretch of the
    running total passes. So every count is rounded down or up with the right chance, and the total stays what it was.
    """
    whole = np.floor(mean + _WHOLE).astype(np.int64)
    fraction = np.where(mean - whole < _WHOLE, 0.0, mean - whole)
    counts = np.tile(whole, (samples, 1))
    between = np.nonzero(fraction)[0]
    if len(between):
        order = rng.permuted(np.tile(between, (samples, 1)), axis=1)
        running = np.cumsum(fraction[order], axis=1)
        running[:, -1] = round(float(fraction.sum()))
        passed = np.floor(running + rng.random((samples, 1))).astype(np.int64)
        np.put_along_axis(counts, order, whole[order] + np.diff(passed, axis=1, prepend=0), axis=1)
    return counts


def transferred(weights: Floats, counts: Ints, devices: int, give: float, take: float) -> Ints:
    """Replica counts after one expert gave a copy to another.

    Parameters
    ----------
    weights, counts
        Loads and copies of one layer.
    devices
        Most copies of an expert.
    give, take
        In [0, 1): which expert gives, and how far down the order by share the taker stands.
    """
    changed, givers, by_share = counts.copy(), np.nonzero(counts > 1)[0], np.argsort(-weights / counts, kind="stable")
    if len(givers):
        giver, taker = givers[int(give * len(givers))], by_share[int(take * take * len(by_share))]
        if giver != taker and counts[taker] < devices:
            changed[[giver, taker]] += (-1, 1)
    return changed
