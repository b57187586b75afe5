"""Local search over all layers at once: pairs of devices share out their copies anew until the hottest is cool enough.

Hot devices (above a limit that sinks towards the goal) are paired with cooler ones; every pair may end anywhere below
the limit, so the search drifts over the plateau of placements that are as good instead of stopping at the first
local optimum. Every layer sees the same random numbers whichever layers are searched beside it.
"""

import time
from dataclasses import dataclass

import numpy as np

from optimizer.placement.drift import drift
from optimizer.placement.repartition import WHOLE_TABLE_SLOTS, best_halving
from optimizer.placement.replicas import Floats, Ints

_SINK_FEW_SLOTS, _SINK_MANY_SLOTS = 0.97, 0.5
_FEW_HOT = 8
_SHAKE = 8
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

    def part(self, layers: Ints) -> "Search":
        """A search of its own over some of the layers."""
        return Search(
            self.held[layers], self.values[layers], self.load[layers], self.best[layers], self.best_held[layers]
        )

    def adopt(self, layers: Ints, other: "Search", source: Ints) -> None:
        """Take over layers of another search, and go on from their best."""
        self.best[layers], self.best_held[layers] = other.best[source], other.best_held[source]
        self.held[layers], self.values[layers] = other.held[source], other.values[source]
        self.load[layers] = other.load[source]


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
    sink = _SINK_FEW_SLOTS if slots <= WHOLE_TABLE_SLOTS else _SINK_MANY_SLOTS
    sizes = (1, 2) if slots > 3 else (1,)
    for turn in range(rounds):
        active = np.nonzero(search.best > goal)[0]
        if not len(active) or (deadline is not None and turn % _CHECK_CLOCK == 0 and time.monotonic() >= deadline):
            return turn
        shuffle, positions = rng.permutation(devices), rng.permutation(slots)
        draw = rng.random((devices,))
        priorities = rng.random((devices * slots * slots,))
        limit = floor[active] + sink * (search.best[active] - floor[active])
        hot = (search.load[active] > limit[:, None]).sum(axis=1)
        cooling = mixing[active] & (hot <= _FEW_HOT)
        roam = cooling & (turn % 4 > 0)
        if roam.any():
            drift(
                search.held, search.values, search.load, active[roam], limit[roam],
                size=sizes[turn % len(sizes)], shift=1 + int(draw[0] * 3), draw=priorities,
            )  # fmt: skip
        scanned = (cooling & (turn % 4 == 0)) | (~mixing[active] & (hot <= _FEW_HOT) & (turn % 2 == 0))
        if scanned.any():
            _scan(search, active[scanned], positions)
        many = ~cooling & ~scanned
        mixed = many & ((mixing[active] & (turn % 3 > 0)) | (turn % _SHAKE == 1))
        if mixed.any():
            _share_out(search, *_all_pairs(active[mixed], limit[mixed], shuffle, draw), positions)
        many &= ~mixed
        if many.any():
            ruled = active[many]
            _share_out(search, *_hot_pairs(search.load[ruled], limit[many], shuffle, draw, ruled), positions)
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


def _scan(search: Search, layers: Ints, positions: Ints) -> None:
    """Share the hottest device out with each other device, and keep the best outcome of each layer."""
    devices, slots = search.held.shape[1:]
    load = search.load[layers]
    hottest = load.argmax(axis=1)
    partners = np.arange(devices - 1)[None, :]
    partners = partners + (partners >= hottest[:, None])
    base = (layers * devices)[:, None]
    both = np.stack([np.broadcast_to(base + hottest[:, None], partners.shape), base + partners], axis=2).reshape(-1, 2)
    values = search.values.reshape(-1, slots).take(both, axis=0).reshape(-1, 2 * slots)
    experts = search.held.reshape(-1, slots).take(both, axis=0).reshape(-1, 2 * slots)
    order = best_halving(values, experts, values.sum(axis=1) / 2, positions)
    shared = np.take_along_axis(values, order, axis=1).reshape(-1, 2, slots)
    outcome = shared.sum(axis=2).max(axis=1).reshape(len(layers), -1)
    chosen = outcome.argmin(axis=1) + np.arange(len(layers)) * (devices - 1)
    chosen = chosen[outcome.min(axis=1) < load.max(axis=1)]
    both, shared = both[chosen], shared[chosen]
    search.values.reshape(-1, slots)[both] = shared
    search.held.reshape(-1, slots)[both] = np.take_along_axis(experts[chosen], order[chosen], axis=1).reshape(
        -1, 2, slots
    )
    search.load.reshape(-1)[both] = shared.sum(axis=2)


def _share_out(
    search: Search, layer: Ints, hot: Ints, cold: Ints, chance: Floats, bound: Floats, positions: Ints
) -> None:
    devices, slots = search.held.shape[1:]
    both = np.stack([layer * devices + hot, layer * devices + cold], axis=1)
    all_values, all_held = search.values.reshape(-1, slots), search.held.reshape(-1, slots)
    loads = search.load.reshape(-1)
    values = all_values.take(both, axis=0).reshape(-1, 2 * slots)
    experts = all_held.take(both, axis=0).reshape(-1, 2 * slots)
    total = values.sum(axis=1)
    room = np.maximum(2 * bound - total, 0.0)
    target = total / 2 + (chance - 0.5) * room
    order = best_halving(values, experts, target, positions)
    changed = np.nonzero((order[:, 0] != 0) | (order[:, 1:] < order[:, :-1]).any(axis=1))[0]
    order, both, bound = order[changed], both[changed], bound[changed]
    shared = np.take_along_axis(values[changed], order, axis=1).reshape(-1, 2, slots)
    load = shared.sum(axis=2)
    kept = load.max(axis=1) <= np.maximum(loads.take(both).max(axis=1), bound)
    changed, both = changed[kept], both[kept]
    all_values[both] = shared[kept]
    all_held[both] = np.take_along_axis(experts[changed], order[kept], axis=1).reshape(-1, 2, slots)
    loads[both] = load[kept]
