"""Search over all layers at once: pairs of devices share out their copies anew until the hottest is cool enough.

One workload: every pair may end anywhere below a limit that sinks towards the goal, so the search drifts over the
plateau of placements that are as good instead of stopping at the first local optimum. Between, bundles of nearly equal
load change places: sorting all bundles (some copies of one device) shows at once which differ by so little that both
devices stay below the limit. Several workloads: pairs are shared out by the p-norm of the loads with growing ``p``,
smooth where the maximum is flat, and near the maximum in the end. Every layer sees the same random numbers whichever
layers are searched beside it.
"""

import itertools
import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from optimizer.placement import effort
from optimizer.placement.counts import Floats, Ints
from optimizer.placement.processes import seconds_left
from optimizer.placement.question import Question


@dataclass(frozen=True, slots=True)
class Aim:
    """Objective over workloads, in floats, and how much each workload pulls on the search."""

    robust: str
    weights: Floats
    tail: float

    @classmethod
    def of(cls, question: Question) -> "Aim":
        """Objective of a question."""
        return cls(question.robust, np.array([float(part) for part in question.weights]), float(question.tail))

    def value(self, worst: Floats) -> Floats:
        """Objective of each layer from its hottest device under each workload, ``[layers, workloads]``."""
        value: Floats = worst.max(axis=1) if self.robust == "worst" else (worst * self._taken(worst)).sum(axis=1)
        return value

    def _taken(self, worst: Floats) -> Floats:
        """Part of the objective that each workload is, ``[layers, workloads]``."""
        if self.robust == "mean":
            return np.broadcast_to(self.weights, worst.shape)
        order = np.argsort(-worst, axis=1, kind="stable")
        sorted_weights = self.weights[order]
        before = np.cumsum(sorted_weights, axis=1) - sorted_weights
        tail_weights = np.clip(self.tail - before, 0.0, sorted_weights)
        weights = np.empty_like(worst)
        np.put_along_axis(weights, order, tail_weights / tail_weights.sum(axis=1, keepdims=True), axis=1)
        return weights

    def pull(self, load: Floats, power: float) -> Floats:
        """Weight of each workload in the p-norm, ``[layers, workloads]``; loads ``[layers, devices, workloads]``."""
        if self.robust == "worst":
            return np.ones((len(load), load.shape[2]))
        worst = load.max(axis=1)
        norm = np.maximum(((load / np.maximum(worst, 1e-9)[:, None, :]) ** power).sum(axis=1), 1e-9)
        share = self._taken(worst) + 0.05 * self.weights
        pull: Floats = share * norm ** (1 / power - 1) * np.maximum(worst, 1e-3) ** (1 - power)
        scaled: Floats = pull / pull.max(axis=1, keepdims=True)
        return scaled


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
    """Placements of several layers under search, in units of the mean device load, and the best so far."""

    aim: Aim
    weights: Floats
    """Loads, ``[layers, workloads, experts]``."""
    floor: Floats
    """Proved lower bound of each layer's objective."""
    goal: Floats
    """Good enough, ``[layers]``."""
    held: Ints
    """Expert of each slot, ``[layers, devices, slots]``."""
    values: Floats
    """Share of each slot, ``[layers, devices, slots, workloads]``."""
    load: Floats
    """Device load, ``[layers, devices, workloads]``."""
    best: Floats
    """Least objective found, ``[layers]``."""
    best_held: Ints
    """Placement that has it."""

    @classmethod
    def start(cls, aim: Aim, weights: Floats, held: Ints, floor: Floats, goal: Floats) -> "Descent":
        """Search from a placement."""
        counts = np.stack([np.bincount(layer.ravel(), minlength=weights.shape[2]) for layer in held])
        shares = (weights / np.maximum(counts, 1)[:, None, :]).transpose(0, 2, 1)
        values = shares[np.arange(len(held))[:, None, None], held]
        load = values.sum(axis=2)
        return cls(aim, weights, floor, goal, held.copy(), values, load, aim.value(load.max(axis=1)), held.copy())

    @classmethod
    def dealt(cls, aim: Aim, weights: Floats, counts: Ints, devices: int, floor: Floats, goal: Floats) -> "Descent":
        """Search from copies dealt out by the experts' largest loads; counts ``[layers, experts]``."""
        return cls.start(aim, weights, deal(weights.max(axis=1), counts, devices), floor, goal)

    def dealt_anew(self, counts: Ints) -> "Descent":
        """The same layers with other copies."""
        return Descent.dealt(self.aim, self.weights, counts, self.held.shape[1], self.floor, self.goal)

    def begin_from_best(self, layers: Ints) -> None:
        """Search these layers from their best placement on."""
        here = (self.weights[layers], self.best_held[layers], self.floor[layers], self.goal[layers])
        self.adopt(layers, Descent.start(self.aim, *here), np.arange(len(layers)))

    def part(self, layers: Ints) -> "Descent":
        """A search of its own over some of the layers."""
        return replace(self, **{name: getattr(self, name)[layers] for name in _OF_LAYERS})

    def adopt(self, layers: Ints, other: "Descent", source: Ints) -> None:
        """Take over layers of another search."""
        for name in _OF_LAYERS:
            getattr(self, name)[layers] = getattr(other, name)[source]

    def note(self, layers: Ints) -> None:
        """Keep the placements of layers that are the best so far."""
        value = self.aim.value(self.load[layers].max(axis=1))
        better = value < self.best[layers]
        improved = layers[better]
        self.best[improved], self.best_held[improved] = value[better], self.held[improved]


_OF_LAYERS = ("weights", "floor", "goal", "held", "values", "load", "best", "best_held")


def descend(search: Descent, *, rounds: int, seed: int, deadline: float | None) -> None:
    """Lower every layer's objective until it is at most its goal.

    Parameters
    ----------
    search
        Changed in place.
    rounds
        Most rounds.
    seed
        Of the random pairings.
    deadline
        ``time.monotonic()`` at which to stop, if any.
    """
    devices, slots, workloads = search.values.shape[1:]
    rng = np.random.default_rng(seed)
    sizes, sink = [1], effort.SINK_MANY_SLOTS if slots >= effort.MANY_SLOTS else effort.SINK_FEW_SLOTS
    while sizes[-1] < slots // 2 and devices * math.comb(slots, sizes[-1]) < effort.BUNDLES:
        sizes.append(sizes[-1] + 1)
    for turn in range(rounds if devices > 1 else 0):
        active = np.nonzero(search.best > search.goal)[0]
        if not len(active) or seconds_left(deadline) <= 0:
            return
        shuffle, positions, draws = rng.permutation(devices), rng.permutation(slots), rng.random((devices,))
        limit = search.floor[active] + sink * (search.best[active] - search.floor[active])
        priorities = rng.random((devices * math.comb(slots, sizes[-1]),))
        sweep, place = divmod(turn, effort.PAIR_ROUNDS)
        if workloads > 1 and not place:
            search.begin_from_best(active)
        if workloads == 1 and turn % 4:
            size, shift = sizes[turn % len(sizes)], 1 + int(draws[0] * 3)
            _drift(search, active, limit, size=size, shift=shift, draw=priorities)
        else:
            late = place >= effort.PAIR_ROUNDS // 2
            power = effort.POWERS[-1 if late else sweep % len(effort.POWERS)]
            _share_out(search, active, limit, power, shuffle, draws, positions)
        search.note(active)


def _share_out(
    search: Descent, layers: Ints, limit: Floats, power: int, shuffle: Ints, draw: Floats, positions: Ints
) -> None:
    """Share out neighbours in the shuffle; an expert that both devices hold stays on both.

    One workload: each pair ends anywhere below the limit, as the draw has it. Several: the norm of the power, a power
    of two, is least.
    """
    devices, slots, workloads = search.values.shape[1:]
    half = devices // 2
    pairs, rows = shuffle[: 2 * half].reshape(half, 2), layers[:, None, None]
    experts = search.held[rows, pairs].reshape(-1, 2 * slots)
    values = search.values[rows, pairs].reshape(-1, 2 * slots, workloads)
    ways, on_first = _ways(slots, positions)
    # One product of matrices, not one for each pair.
    first = (values.transpose(0, 2, 1).reshape(-1, 2 * slots) @ on_first).reshape(-1, workloads, on_first.shape[1])
    total = values.sum(axis=1)
    if workloads == 1:
        total, most = total[:, 0], np.repeat(limit, half)
        target = total / 2 + (np.tile(draw[:half], len(layers)) - 0.5) * np.maximum(2 * most - total, 0.0)
        cost = np.abs(first[:, 0] - target[:, None])
    else:
        pull = np.repeat(search.aim.pull(search.load[layers], power), half, axis=0)
        cost = np.einsum("nw,nwx->nx", pull, _raised(first, power) + _raised(total[:, :, None] - first, power))
    pair, one, other = np.nonzero(experts[:, :slots, None] == experts[:, None, slots:])
    np.add.at(cost, pair, np.where(on_first[one] == on_first[slots + other], np.inf, 0.0))
    chosen = cost.argmin(axis=1)
    order = ways[chosen]
    if workloads == 1:
        load = first[np.arange(len(order)), 0, chosen]
        before = search.load[rows, pairs, 0].reshape(-1, 2).max(axis=1)
        order[np.maximum(load, total - load) > np.maximum(before, most)] = np.arange(2 * slots)
    shape = (len(layers), half, 2, slots)
    search.held[rows, pairs] = np.take_along_axis(experts, order, axis=1).reshape(shape)
    shared = np.take_along_axis(values, order[:, :, None], axis=1).reshape(*shape, workloads)
    search.values[rows, pairs], search.load[rows, pairs] = shared, shared.sum(axis=3)


def _raised(base: Floats, power: int) -> Floats:
    """``base ** power`` for a power of two, by squaring."""
    for _ in range(power.bit_length() - 1):
        base = base * base
    return base


def _ways(slots: int, positions: Ints) -> tuple[Ints, Floats]:
    """Ways to share out the slots of two devices: positions of either ``[ways, 2k]``, and a mark for the first's.

    All ways where slots are few; else those of the first positions. The first way leaves everything where it is.
    """
    if slots < effort.MANY_SLOTS:
        return _halvings(slots, whole=True)
    moving = np.concatenate([positions[: effort.PART_SLOTS], positions[: effort.PART_SLOTS] + slots])
    order, _ = _halvings(effort.PART_SLOTS, whole=False)
    ways = np.tile(np.arange(2 * slots), (len(order), 1))
    ways[:, moving] = moving[order]
    return ways, _marked(ways)


@cache
def _halvings(slots: int, *, whole: bool) -> tuple[Ints, Floats]:
    """All ways to halve ``2 * slots`` positions, as `_ways` has them; ``whole`` counts (A, B) and (B, A) as one."""
    size = 2 * slots
    sides = [side for side in itertools.combinations(range(size), slots) if not whole or side[0] == 0]
    ways = np.array([[*side, *(place for place in range(size) if place not in side)] for side in sides])
    return ways, _marked(ways)


def _marked(ways: Ints) -> Floats:
    marks = np.zeros(ways.shape)
    np.put_along_axis(marks, ways[:, : ways.shape[1] // 2], 1.0, axis=1)
    return np.ascontiguousarray(marks.T)


@cache
def _bundles(slots: int, size: int) -> Ints:
    """Ways to take so many of a device's slots, ``[ways, size]``."""
    return np.array(list(itertools.combinations(range(slots), size)), dtype=np.int64)


def _drift(search: Descent, layers: Ints, limit: Floats, *, size: int, shift: int, draw: Floats) -> None:
    """Exchange bundles that lie ``shift`` apart in the order by load, wherever both devices stay below the limit.

    Parameters
    ----------
    search
        Of one workload; changed in place.
    layers, limit
        Layers to work on, and the limit of each.
    size
        Copies in a bundle.
    shift
        Distance in the order by load of the two bundles exchanged.
    draw
        Priorities in [0, 1), at least one for each bundle: which exchange a device takes part in if it could in many.
    """
    held, values, load = search.held, search.values[..., 0], search.load[..., 0]
    devices, slots = held.shape[1:]
    inside = _bundles(slots, size)
    bundle = values[layers][:, :, inside].sum(axis=3).reshape(len(layers), -1)
    order = bundle.argsort(axis=1)
    ascending = np.take_along_axis(bundle, order, axis=1)
    step, room = ascending[:, shift:] - ascending[:, :-shift], limit[:, None] - load[layers]
    light, heavy = order[:, :-shift] // len(inside), order[:, shift:] // len(inside)
    fits = (step <= np.take_along_axis(room, light, axis=1)) & (light != heavy) & (step > 0)
    row, place = np.nonzero(fits)
    both = np.stack([order[row, place], order[row, place + shift]])
    layer, device, slot = layers[row], both // len(inside), inside[both % len(inside)]
    arriving, there = held[layer[:, None], device[:, :, None], slot], held[layer, device[::-1]]
    apart = np.nonzero(~(arriving[..., None] == there[:, :, None, :]).any(axis=(0, 2, 3)))[0]
    by_priority = apart[np.argsort(draw[place[apart]] + (room[row, device[1]][apart] < 0), kind="stable")]
    winner, key = np.empty(held.shape[0] * devices, dtype=np.int64), layer * devices + device
    # Of repeated indices the last assignment stands, so the highest priority wins each device.
    winner[key.T[by_priority]] = by_priority[:, None]
    chosen = apart[(winner[key[:, apart]] == apart).all(axis=0)]
    at, where = (layer[chosen, None], device[:, chosen, None], slot[:, chosen]), (layer[chosen], device[:, chosen])
    held[at], values[at] = held[at][::-1], values[at][::-1]
    load[where] = values[where].sum(axis=2)
