"""How many copies each expert gets: the divisor method, for all layers at once.

With the even split the largest share is least when ``r_e = ceil(w_e / T)`` for the least T that fits the slots; adding
copies one by one to the largest share (highest averages, as in apportionment) reaches it.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BISECTIONS = 40


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
    if slots == experts:
        return np.ones((layers, experts), dtype=np.int64)
    low = weights.sum(axis=1) / slots
    high = weights.max(axis=1)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            needed = np.where(weights > 0, np.ceil(weights / middle[:, None]), 1.0)
        fits = np.clip(needed, 1, devices).sum(axis=1) <= slots
        high = np.where(fits, middle, high)
        low = np.where(fits, low, middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = np.where(weights > 0, np.ceil(weights / high[:, None]), 1.0)
    counts = np.clip(needed, 1, devices).astype(np.int64)
    rows = np.arange(layers)
    spare = slots - counts.sum(axis=1)
    while spare.max() > 0:
        shares = np.where(counts < devices, weights / counts, -1.0)
        counts[rows, shares.argmax(axis=1)] += spare > 0
        spare = slots - counts.sum(axis=1)
    return counts
