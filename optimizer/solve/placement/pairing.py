"""Two slots a device: with the copies given, the largest share belongs beside the smallest, and so on inwards.

So only the replica counts are searched: several annealing chains for each layer, side by side, in which one expert
gives a copy to another. Folding the sorted shares gives the hottest device of the best placement at once.
"""

import time

import numpy as np

from optimizer.solve.placement.replicas import Floats, Ints, divisor_replicas

_CHAINS = 6
_TRIES = 8
HOT, WARM = 4e-3, 4e-4
"""Relative rise of the hottest device that a chain accepts at first: from nowhere, and from a good start."""

_COLD = 2e-5
_NORM_DOUBLINGS = 6
_CHECK_CLOCK = 16


def fold(values: Floats) -> Floats:
    """Loads of the devices that pair the largest share with the smallest, ``[..., slots / 2]``."""
    ascending = np.sort(values, axis=-1)
    half = values.shape[-1] // 2
    sums: Floats = ascending[..., :half] + ascending[..., : half - 1 : -1]
    return sums


def hottest(weights: Floats, counts: Ints) -> float:
    """Hottest device of the folded copies of one layer, in the unit of the weights."""
    return float(fold(np.repeat(weights / counts, counts)).max())


def _energy(sums: Floats) -> Floats:
    top = np.maximum(sums.max(axis=1), 1e-12)
    scaled = sums / top[:, None]
    for _ in range(_NORM_DOUBLINGS):
        scaled *= scaled
    norm: Floats = top * scaled.sum(axis=1) ** (1 / 2**_NORM_DOUBLINGS)
    return norm


def anneal_counts(
    weights: Floats,
    devices: int,
    floor: Floats,
    *,
    goal: float,
    steps: int,
    seed: int,
    deadline: float | None,
    start: Ints | None = None,
    heat: float = HOT,
) -> tuple[Ints, Floats]:
    """Replica counts of every layer for devices of two slots, and the hottest device they allow.

    Parameters
    ----------
    weights
        Loads in units of the mean device load, ``[layers, experts]``.
    devices
        Devices, two slots each.
    floor, goal
        Lower bound of each layer, and the excess over it at which all chains of a layer may stop.
    steps, seed, deadline
        Work, random seed, and ``time.monotonic()`` at which to stop.
    start, heat
        Counts to start from, by the divisor method where not given, and how freely they may change at first.

    Returns
    -------
    counts, hottest
        ``[layers, experts]`` and ``[layers]``.
    """
    layers, experts = weights.shape
    slots = 2 * devices
    start = divisor_replicas(weights, slots, devices) if start is None else start
    best_counts, best = start.copy(), _hottest(weights, start)
    if experts in {slots, 1}:
        return best_counts, best
    rng = np.random.default_rng(seed)
    chain_layer = np.repeat(np.arange(layers), _CHAINS)
    loads = weights[chain_layer]
    counts = start[chain_layer]
    chains = np.arange(len(counts))
    owner = np.stack([np.repeat(np.arange(experts), row) for row in counts])
    energy = _energy(fold(np.take_along_axis(loads / counts, owner, axis=1)))
    for step in range(steps):
        if deadline is not None and step % _CHECK_CLOCK == 0 and time.monotonic() >= deadline:
            break
        if step % 64 == 0 and (best <= floor + goal).all():
            break
        now = heat * (_COLD / heat) ** (step / steps)
        # One set of draws serves every layer, so that a layer's answer does not depend on its neighbours.
        tries = np.tile(rng.integers(0, slots, (_CHAINS, _TRIES)), (layers, 1))
        receiver = np.tile(rng.integers(0, slots, _CHAINS), layers)
        chance = np.tile(rng.random((_CHAINS,)), layers)
        candidates = owner[chains[:, None], tries]
        can = counts[chains[:, None], candidates] > 1
        place = tries[chains, can.argmax(axis=1)]
        giver, taker = owner[chains, place], owner[chains, receiver]
        allowed = can.any(axis=1) & (giver != taker) & (counts[chains, taker] < devices)
        trial = counts.copy()
        trial[chains, giver] -= allowed
        trial[chains, taker] += allowed
        moved = owner.copy()
        moved[chains, place] = np.where(allowed, taker, giver)
        sums = fold(np.take_along_axis(loads / trial, moved, axis=1))
        after = _energy(sums)
        kept = allowed & (after - energy < -now * np.log(np.maximum(chance, 1e-12)) * energy)
        counts[kept], owner[kept], energy[kept] = trial[kept], moved[kept], after[kept]
        top = np.where(kept, sums.max(axis=1), np.inf).reshape(layers, _CHAINS)
        winner = top.argmin(axis=1)
        found = top[np.arange(layers), winner]
        better = found < best
        best[better] = found[better]
        best_counts[better] = counts.reshape(layers, _CHAINS, experts)[better, winner[better]]
    return best_counts, best


def _hottest(weights: Floats, counts: Ints) -> Floats:
    values = np.stack([np.repeat(row / count, count) for row, count in zip(weights, counts, strict=True)])
    hottest: Floats = fold(values).max(axis=1)
    return hottest


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
