"""Two slots a device: with the copies given, the largest share belongs beside the smallest, and so on inwards.

So only the replica counts are searched; folding the sorted shares gives the hottest device they allow at once.
"""

import numpy as np

from optimizer.placement.replicas import Floats, Ints


def fold(values: Floats) -> Floats:
    """Loads of the devices that pair the largest share with the smallest, ``[..., slots / 2]``."""
    ascending = np.sort(values, axis=-1)
    half = values.shape[-1] // 2
    sums: Floats = ascending[..., :half] + ascending[..., : half - 1 : -1]
    return sums


def hottest(weights: Floats, counts: Ints) -> float:
    """Hottest device of the folded copies of one layer, in the unit of the weights."""
    return float(fold(np.repeat(weights / counts, counts)).max())


def paired(weights: Floats, counts: Ints) -> Ints:
    """Fold each layer's copies into devices, ``[layers, devices, 2]``; an expert never meets itself.

    Where the two middle shares belong to one expert, its copy changes places with the nearest pair that stays as cool.
    """
    placed = []
    for row, count in zip(weights, counts, strict=True):
        order = np.argsort(row / count, kind="stable")
        copies = np.repeat(order, count[order])
        half = len(copies) // 2
        pairs = np.stack([copies[:half], copies[: half - 1 : -1]], axis=1)
        for number in range(half - 1, -1, -1):
            if pairs[number, 0] == pairs[number, 1]:
                expert = pairs[number, 0]
                other = next(n for n in range(number - 1, -1, -1) if expert not in pairs[n])
                pairs[number, 1], pairs[other, 1] = pairs[other, 1], pairs[number, 1]
        placed.append(pairs)
    return np.stack(placed)


def hottest_placed(weights: Floats, counts: Ints) -> float:
    """Hottest device of one layer as ``paired`` places it: hotter than folded where an expert would meet itself."""
    pairs = paired(weights[None], counts[None])[0]
    return float((weights / counts)[pairs].sum(axis=1).max())
