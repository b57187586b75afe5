"""Search over all layers at once: pairs of devices share out their copies anew until the hottest is cool enough.

Hot devices (above a limit that sinks towards the goal) are paired with cooler ones; every pair may end anywhere below
the limit, so the search drifts over the plateau of placements that are as good instead of stopping at the first
local optimum. Between, bundles of nearly equal load change places: sorting all bundles (single copies, or pairs of
copies of one device) shows at once which differ by so little that both devices stay below the limit. Every layer sees
the same random numbers whichever layers are searched beside it.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from optimizer.placement import effort
from optimizer.placement.counts import Floats, Ints
from optimizer.placement.exchange import Marks
from optimizer.placement.processes import seconds_left
from optimizer.placement.repartition import WHOLE_TABLE_SLOTS, best_halving


def deal(weights: Floats, counts: Ints, devices: int) -> Ints:
    """Deal the copies out, one row of ``devices`` copies at a time, never two of one expert to a device.

    Copies of one expert lie side by side in the order by share, so only the first run of a row can have begun in the
    row before; its copies go to devices that do not hold the expert yet.

    Parameters
    ----------
    weights
        Load, ``[layers, experts]``.
    counts
        Copies of each expert, ``[layers, experts]``, at most ``devices`` each, every row adding up to the slots.
    devices
        Devices; divides the slots.

    Returns
    -------
    Ints
        Expert of each slot, ``[layers, devices, slots per device]``.
    """
    layers, _ = weights.shape
    per_device = int(counts[0].sum()) // devices
    shares = weights / counts
    order = np.argsort(-shares, axis=1, kind="stable")
    sorted_counts = np.take_along_axis(counts, order, axis=1)
    copies = np.stack([np.repeat(order[layer], sorted_counts[layer]) for layer in range(layers)])
    values = np.take_along_axis(shares, copies, axis=1)
    held = np.empty((layers, devices, per_device), dtype=np.int64)
    load = np.zeros((layers, devices))
    for row in range(per_device):
        here = slice(row * devices, (row + 1) * devices)
        carried = (held[:, :, :row] == copies[:, None, None, row * devices]).any(axis=2)
        by_load = np.lexsort((load, carried), axis=1)
        np.put_along_axis(held[:, :, row], by_load, copies[:, here], axis=1)
        np.put_along_axis(load, by_load, np.take_along_axis(load, by_load, axis=1) + values[:, here], axis=1)
    return held


@dataclass(slots=True)
class Descent:
    """Placements of several layers, shares and device loads in units of the mean device load, and the best so far.

    Over several workloads shares and loads have them as last axis.
    """

    held: Ints
    """Expert of each slot, ``[layers, devices, slots]``."""
    values: Floats
    """Share of each slot, the same shape."""
    load: Floats
    """Device load, ``[layers, devices]``."""
    best: Floats
    """Least objective found, ``[layers]``."""
    best_held: Ints
    """Placement that has it."""

    @classmethod
    def start(cls, shares: Floats, held: Ints, objective: Callable[[Floats], Floats] | None = None) -> "Descent":
        """Search from a placement; ``shares[layer, expert]`` is the load of one copy.

        The objective is of the hottest device, under each workload where there are several.
        """
        values = shares[np.arange(len(held))[:, None, None], held]
        load = values.sum(axis=2)
        hottest = load.max(axis=1)
        return cls(held.copy(), values, load, objective(hottest) if objective else hottest, held.copy())

    @classmethod
    def dealt(cls, weights: Floats, counts: Ints, devices: int) -> "Descent":
        """Search from copies dealt out, loads and counts ``[layers, experts]``."""
        return cls.start(weights / counts, deal(weights, counts, devices))

    def part(self, layers: Ints) -> "Descent":
        """A search of its own over some of the layers."""
        return Descent(
            self.held[layers], self.values[layers], self.load[layers], self.best[layers], self.best_held[layers]
        )

    def adopt(self, layers: Ints, other: "Descent", source: Ints) -> None:
        """Take over layers of another search, and go on from their best."""
        self.best[layers], self.best_held[layers] = other.best[source], other.best_held[source]
        self.held[layers], self.values[layers] = other.held[source], other.values[source]
        self.load[layers] = other.load[source]

    def note(self, layers: Ints, hottest: Floats) -> None:
        """Keep the placements of layers that are the best so far."""
        better = hottest < self.best[layers]
        improved = layers[better]
        self.best[improved], self.best_held[improved] = hottest[better], self.held[improved]


def descend(search: Descent, floor: Floats, goal: Floats, *, rounds: int, seed: int, deadline: float | None) -> None:
    """Lower every layer's maximum device load until it is at most its goal.

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
        return
    rng = np.random.default_rng(seed)
    mixing = np.full(layers, slots <= WHOLE_TABLE_SLOTS) | (floor > 1)
    sink = effort.SINK_FEW_SLOTS if slots <= WHOLE_TABLE_SLOTS else effort.SINK_MANY_SLOTS
    sizes = (1, 2) if slots > 3 else (1,)
    for turn in range(rounds):
        active = np.nonzero(search.best > goal)[0]
        if not len(active) or seconds_left(deadline) <= 0:
            return
        shuffle, positions = rng.permutation(devices), rng.permutation(slots)
        draw = rng.random((devices,))
        priorities = rng.random((devices * slots * slots,))
        limit = floor[active] + sink * (search.best[active] - floor[active])
        roam = mixing[active] & (turn % 4 > 0)
        if roam.any():
            _drift(
                search.held, search.values, search.load, active[roam], limit[roam],
                size=sizes[turn % len(sizes)], shift=1 + int(draw[0] * 3), draw=priorities,
            )  # fmt: skip
        if not roam.all():
            anyhow = mixing[active[~roam]] | (turn % effort.SHAKE == 1)
            _share_out(search, active[~roam], limit[~roam], anyhow, shuffle, draw, positions)
        search.note(active, search.load[active].max(axis=1))


def _share_out(
    search: Descent, layers: Ints, limit: Floats, anyhow: Marks, shuffle: Ints, draw: Floats, positions: Ints
) -> None:  # fmt: skip
    """Share out neighbours in the shuffle, each pair to end anywhere below the limit, as the draw has it.

    Pairs that are below the limit already are left as they are in layers that are not shared out ``anyhow``.
    """
    devices, slots = search.held.shape[1:]
    half, count = devices // 2, len(layers)
    pairs = np.stack([shuffle[:half], shuffle[half : 2 * half]], axis=1)
    device_pairs = (layers[:, None, None] * devices + pairs).reshape(-1, 2)
    most, chance = np.repeat(limit, half), np.tile(draw[:half], count)
    all_values, all_held = search.values.reshape(-1, slots), search.held.reshape(-1, slots)
    loads = search.load.reshape(-1)
    wanted = np.repeat(anyhow, half) | (loads.take(device_pairs).max(axis=1) > most)
    device_pairs, most, chance = device_pairs[wanted], most[wanted], chance[wanted]
    values = all_values.take(device_pairs, axis=0).reshape(-1, 2 * slots)
    experts = all_held.take(device_pairs, axis=0).reshape(-1, 2 * slots)
    total = values.sum(axis=1)
    target = total / 2 + (chance - 0.5) * np.maximum(2 * most - total, 0.0)
    order = best_halving(values, experts, target, positions)
    changed = np.nonzero((order[:, 0] != 0) | (order[:, 1:] < order[:, :-1]).any(axis=1))[0]
    order, device_pairs, most = order[changed], device_pairs[changed], most[changed]
    shared = np.take_along_axis(values[changed], order, axis=1).reshape(-1, 2, slots)
    load = shared.sum(axis=2)
    cooler = load.max(axis=1) <= np.maximum(loads.take(device_pairs).max(axis=1), most)
    changed, device_pairs = changed[cooler], device_pairs[cooler]
    all_values[device_pairs] = shared[cooler]
    all_held[device_pairs] = np.take_along_axis(experts[changed], order[cooler], axis=1).reshape(-1, 2, slots)
    loads[device_pairs] = load[cooler]


@cache
def _bundles(slots: int, size: int) -> Ints:
    """Ways to take so many of a device's slots, ``[ways, size]``."""
    return np.array(list(itertools.combinations(range(slots), size)), dtype=np.int64)


def _drift(
    held: Ints, values: Floats, load: Floats, layers: Ints, limit: Floats, *, size: int, shift: int, draw: Floats
) -> None:
    """Exchange bundles that lie ``shift`` apart in the order by load, wherever both devices stay below the limit.

    Parameters
    ----------
    held, values, load
        Expert and share of each slot ``[all layers, devices, slots]`` and device loads; changed in place.
    layers, limit
        Layers to work on, and the limit of each.
    size
        Copies in a bundle.
    shift
        Distance in the order by load of the two bundles exchanged.
    draw
        Priorities in [0, 1), at least one for each bundle: which exchange a device takes part in if it could in many.
    """
    devices, slots = held.shape[1:]
    inside = _bundles(slots, size)
    some = values[layers]
    bundle = some[:, :, inside].sum(axis=3).reshape(len(layers), -1)
    order = bundle.argsort(axis=1)
    ascending = np.take_along_axis(bundle, order, axis=1)
    step = ascending[:, shift:] - ascending[:, :-shift]
    light_device, heavy_device = order[:, :-shift] // len(inside), order[:, shift:] // len(inside)
    room = limit[:, None] - load[layers]
    before = np.take_along_axis(room, heavy_device, axis=1)
    fits = (step <= np.take_along_axis(room, light_device, axis=1)) & (light_device != heavy_device) & (step > 0)
    row, place = np.nonzero(fits)
    if not len(row):
        return
    layer = layers[row]
    light, heavy = light_device[row, place], heavy_device[row, place]
    from_light, from_heavy = inside[order[row, place] % len(inside)], inside[order[row, place + shift] % len(inside)]
    mine = held[layer[:, None], light[:, None], from_light]
    theirs = held[layer[:, None], heavy[:, None], from_heavy]
    doubled = (mine[:, :, None] == held[layer, heavy][:, None, :]).any(axis=(1, 2))
    doubled |= (theirs[:, :, None] == held[layer, light][:, None, :]).any(axis=(1, 2))
    priority = draw[place] + (before[row, place] < 0) - 4.0 * doubled
    keys = np.concatenate([layer * devices + light, layer * devices + heavy])
    by_priority = np.argsort(priority, kind="stable")
    winner = np.empty(held.shape[0] * devices, dtype=np.int64)
    # Of repeated indices the last assignment stands, so the highest priority wins each device.
    winner[keys.reshape(2, -1).T[by_priority].ravel()] = np.repeat(by_priority, 2)
    number = np.arange(len(row))
    chosen = np.nonzero((winner[keys[: len(row)]] == number) & (winner[keys[len(row) :]] == number) & ~doubled)[0]
    layer, light, heavy = layer[chosen], light[chosen], heavy[chosen]
    at_light = (layer[:, None], light[:, None], from_light[chosen])
    at_heavy = (layer[:, None], heavy[:, None], from_heavy[chosen])
    held[at_light], held[at_heavy] = theirs[chosen], mine[chosen]
    values[at_light], values[at_heavy] = values[at_heavy], values[at_light]
    load[layer, light] = values[layer, light].sum(axis=1)
    load[layer, heavy] = values[layer, heavy].sum(axis=1)
