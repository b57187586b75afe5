"""Local search over all layers at once: pairs of devices share out their copies anew until the hottest is cool enough.

Hot devices (above a limit that sinks towards the goal) are paired with cooler ones; every pair may end anywhere below
the limit, so the search drifts over the plateau of placements that are as good instead of stopping at the first
local optimum. Every layer sees the same random numbers whichever layers are searched beside it.
"""

import time
from dataclasses import dataclass

import numpy as np

from optimizer.solve.placement.repartition import WHOLE_TABLE_SLOTS, best_halving
from optimizer.solve.placement.replicas import Floats, Ints

_SINK = 0.7
_CHECK_CLOCK = 8


@dataclass(slots=True)
class Search:
    """State of the search: experts, shares and device loads in units of the mean device load, and the best so far."""

    held: Ints
    """Expert of each slot, ``[layers, devices, slots]``."""
    values: Floats
    """Share of each slot, the same shape."""
    load: Floats
    """Device load, ``[layers, devices]``."""
    best: Floats
    """Least maximum found, ``[layers]``."""
    best_held: Ints
    """Placement that has it."""

    @classmethod
    def start(cls, shares: Floats, held: Ints) -> "Search":
        """Search from a placement; ``shares[layer, expert]`` is the load of one copy."""
        values = shares[np.arange(len(held))[:, None, None], held]
        load = values.sum(axis=2)
        return cls(held.copy(), values, load, load.max(axis=1), held.copy())


def descend(search: Search, floor: Floats, goal: Floats, *, rounds: int, seed: int, deadline: float | None) -> int:
    """Lower every layer's maximum device load until it is at most its goal; returns the rounds done.

    Parameters
    ----------
    search
        Changed in place.
    floor
        Proved lower bound of each layer, ``[layers]``.
    goal
        Good enough, ``[layers]``.
    rounds
        Most rounds; one round looks at each hot device, or at each pair of one pairing, once.
    seed
        Of the random pairings.
    deadline
        ``time.monotonic()`` at which to stop, if any.
    """
    layers, devices, slots = search.held.shape
    if devices < 2:
        return 0
    rng = np.random.default_rng(seed)
    mixing = np.full(layers, slots <= WHOLE_TABLE_SLOTS) | (floor > 1)
    for turn in range(rounds):
        active = np.nonzero(search.best > goal)[0]
        if not len(active) or (deadline is not None and turn % _CHECK_CLOCK == 0 and time.monotonic() >= deadline):
            return turn
        shuffle, positions = rng.permutation(devices), rng.permutation(slots)
        draw: Floats = rng.random(devices)
        limit = floor[active] + _SINK * (search.best[active] - floor[active])
        mixed = mixing[active] & (turn % 3 > 0)
        if mixed.any():
            _share_out(search, *_all_pairs(active[mixed], limit[mixed], shuffle, draw), positions)
        if not mixed.all():
            ruled = active[~mixed]
            _share_out(search, *_hot_pairs(search.load[ruled], limit[~mixed], shuffle, draw, ruled), positions)
        top = search.load[active].max(axis=1)
        better = top < search.best[active]
        if better.any():
            improved = active[better]
            search.best[improved] = top[better]
            search.best_held[improved] = search.held[improved]
    return rounds


Pairs = tuple[Ints, Ints, Ints, Floats, Floats]
"""Layer, two devices, the place of the target in its room, and the limit, of each pair."""


def _all_pairs(layers: Ints, limit: Floats, shuffle: Ints, draw: Floats) -> Pairs:
    """Pair all devices by the shuffle."""
    half = len(shuffle) // 2
    count = len(layers)
    first, second = np.tile(shuffle[:half], count), np.tile(shuffle[half : 2 * half], count)
    return np.repeat(layers, half), first, second, np.tile(draw[:half], count), np.repeat(limit, half)


def _hot_pairs(load: Floats, limit: Floats, shuffle: Ints, draw: Floats, active: Ints) -> Pairs:
    """Pair the hottest devices above the limit with the others, which take turns by the shuffle."""
    devices = load.shape[1]
    half = devices // 2
    by_heat = np.argsort(-load, axis=1, kind="stable")
    ranked = np.take_along_axis(load, by_heat, axis=1)
    cool = by_heat[:, devices - half :]
    partner = cool[:, shuffle[shuffle < half]]
    wanted = ranked[:, :half] > limit[:, None]
    row, rank = np.nonzero(wanted)
    return active[row], by_heat[row, rank], partner[row, rank], draw[rank], limit[row]


def _share_out(
    search: Search, layer: Ints, hot: Ints, cold: Ints, chance: Floats, bound: Floats, positions: Ints
) -> None:
    slots = search.held.shape[2]
    values = np.concatenate([search.values[layer, hot], search.values[layer, cold]], axis=1)
    experts = np.concatenate([search.held[layer, hot], search.held[layer, cold]], axis=1)
    total = values.sum(axis=1)
    room = np.maximum(2 * bound - total, 0.0)
    target = total / 2 + (chance - 0.5) * room
    order = best_halving(values, experts, target, positions)
    values, experts = np.take_along_axis(values, order, axis=1), np.take_along_axis(experts, order, axis=1)
    load_hot, load_cold = values[:, :slots].sum(axis=1), values[:, slots:].sum(axis=1)
    kept = np.maximum(load_hot, load_cold) <= np.maximum(
        np.maximum(search.load[layer, hot], search.load[layer, cold]), bound
    )
    layer, hot, cold = layer[kept], hot[kept], cold[kept]
    search.values[layer, hot], search.values[layer, cold] = values[kept, :slots], values[kept, slots:]
    search.held[layer, hot], search.held[layer, cold] = experts[kept, :slots], experts[kept, slots:]
    search.load[layer, hot], search.load[layer, cold] = load_hot[kept], load_cold[kept]
