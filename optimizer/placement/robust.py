"""Several workloads: one placement that is good under all of them.

Loads are vectors over workloads. Pairs of devices share out their copies anew, all layers at once, by the p-norm of
the loads with growing ``p``: smooth where the maximum is flat, and near the maximum in the end.
"""

from dataclasses import dataclass

import numpy as np

from optimizer.placement import effort
from optimizer.placement.counts import Floats, Ints, divisor_replicas
from optimizer.placement.descent import Descent, deal
from optimizer.placement.processes import each, seconds_left, workers
from optimizer.placement.repartition import WHOLE_TABLE_SLOTS, halvings, tagged


@dataclass(frozen=True, slots=True)
class Aim:
    """Objective over workloads, in floats, and how much each workload pulls on the search."""

    robust: str
    weights: Floats
    tail: float

    def value(self, worst: Floats) -> Floats:
        """Objective of each layer from its hottest device under each workload, ``[layers, workloads]``."""
        if self.robust == "worst":
            best: Floats = worst.max(axis=1)
            return best
        total: Floats = (worst * self._taken(worst)).sum(axis=1)
        return total

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


def _started(weights: Floats, held: Ints, aim: Aim) -> Descent:
    """Search from a placement of loads ``[layers, workloads, experts]``."""
    counts = np.stack([np.bincount(layer.ravel(), minlength=weights.shape[2]) for layer in held])
    return Descent.start((weights / counts[:, None, :]).transpose(0, 2, 1), held, aim.value)


def balance_robustly(
    weights: Floats, aim: Aim, devices: int, slots: int, *, floor: Floats, goal: float, seed: int,
    deadline: float | None,
) -> Ints:  # fmt: skip
    """Placement of every layer under several workloads with the even split.

    Parameters
    ----------
    weights
        Loads in units of the mean device load, ``[layers, workloads, experts]``.
    aim
        Objective over workloads.
    devices, slots
        Devices, and slots of each.
    floor, goal
        Lower bound of each layer's objective, and the excess over it at which a layer is done.
    seed, deadline
        Of the random pairings; ``time.monotonic()`` at which to stop.

    Returns
    -------
    Ints
        Expert of each slot, ``[layers, devices, slots]``.
    """
    # Two parts whatever the machine, so that the same seed gives the same placement everywhere.
    parts = [np.arange(first, len(weights), 2) for first in range(min(2, len(weights)))]
    ends = [deadline] * len(parts)
    if deadline is not None and workers() == 1:
        # One after the other: each has its share of the time.
        ends = [deadline - seconds_left(deadline) * later / len(parts) for later in reversed(range(len(parts)))]
    tasks = [
        (weights[part], aim, devices, slots, floor[part] + goal, seed, end)
        for part, end in zip(parts, ends, strict=True)
    ]
    held = np.empty((len(weights), devices, slots), dtype=np.int64)
    for part, placed in zip(parts, each(balance_part, tasks, deadline=deadline), strict=True):
        held[part] = placed
    return held


def balance_part(
    weights: Floats, aim: Aim, devices: int, slots: int, enough: Floats, seed: int, deadline: float | None
) -> Ints:
    """Some of the layers; as for ``balance_robustly``."""
    rng = np.random.default_rng(seed)
    search = _first(weights, aim, devices, slots, rng, deadline)
    for sweep in range(2 + devices * slots):
        open_layers = np.nonzero(search.best > enough)[0]
        if not len(open_layers) or seconds_left(deadline) <= 0:
            break
        power = effort.POWERS[sweep % len(effort.POWERS)]
        part, every = _started(weights[open_layers], search.best_held[open_layers], aim), np.arange(len(open_layers))
        for turn in range(effort.PAIR_ROUNDS):
            shuffle, positions = rng.permutation(devices), rng.permutation(slots)
            if seconds_left(deadline) <= 0:
                break
            now = power if turn < effort.PAIR_ROUNDS // 2 else effort.POWERS[-1]
            _share_out_pairs(part, aim, now, shuffle, positions)
            part.note(every, aim.value(part.load.max(axis=1)))
        better = np.nonzero(part.best < search.best[open_layers])[0]
        search.adopt(open_layers[better], part, better)
    return search.best_held


def _first(
    weights: Floats, aim: Aim, devices: int, slots: int, rng: np.random.Generator, deadline: float | None
) -> Descent:
    """Best of several replica vectors after a few rounds: by the worst workload, the mean, and between."""
    layers = len(weights)
    mixes = [weights.max(axis=1), weights.mean(axis=1), np.sqrt((weights**2).mean(axis=1))]
    held = np.concatenate([deal(mix, divisor_replicas(mix, devices * slots, devices), devices) for mix in mixes])
    search = _started(np.concatenate([weights] * len(mixes)), held, aim)
    for turn in range(effort.MIX_ROUNDS):
        if seconds_left(deadline) <= 0:
            break
        power = effort.POWERS[turn * len(effort.POWERS) // effort.MIX_ROUNDS]
        _share_out_pairs(search, aim, power, rng.permutation(devices), rng.permutation(slots))
        search.note(np.arange(len(held)), aim.value(search.load.max(axis=1)))
    chosen = search.best.reshape(len(mixes), layers).argmin(axis=0) * layers + np.arange(layers)
    return _started(weights, search.best_held[chosen], aim)


def _raised(base: Floats, power: int) -> Floats:
    """``base ** power`` for a power of two, by squaring."""
    raised = base * base
    for _ in range(power.bit_length() - 2):
        raised *= raised
    return raised


def _share_out_pairs(search: Descent, aim: Aim, power: int, shuffle: Ints, positions: Ints) -> None:
    """Share out every pair of one pairing so that the p-norm of the pair is least.

    The power is a power of two. Neighbours in the shuffle make pairs; where slots are many, those first in the
    positions take part.
    """
    layers, devices, slots, workloads = search.values.shape
    half = devices // 2
    rows = np.arange(layers)[:, None, None]
    device_pairs = np.broadcast_to(shuffle[: 2 * half].reshape(1, half, 2), (layers, half, 2))
    experts = search.held[rows, device_pairs].reshape(-1, 2 * slots)
    values = search.values[rows, device_pairs].reshape(-1, 2 * slots, workloads)
    if slots <= WHOLE_TABLE_SLOTS:
        moving, table = np.arange(2 * slots), halvings(slots, whole=True)
    else:
        moving = np.concatenate([positions[: effort.PART_SLOTS], positions[: effort.PART_SLOTS] + slots])
        table = halvings(effort.PART_SLOTS, whole=False)
    staying = np.setdiff1d(np.arange(slots), moving)
    first = np.matmul(values[:, moving].transpose(0, 2, 1), table.side_a)
    first += values[:, staying].sum(axis=1)[:, :, None]
    second = values.sum(axis=1)[:, :, None] - first
    pull = np.repeat(aim.pull(search.load, power), half, axis=0)
    cost = np.einsum("ns,nsw->nw", pull, _raised(first, power) + _raised(second, power))
    tags, _ = tagged(np.zeros(experts.shape), experts)
    off = tags[:, moving] @ table.side_a + (tags[:, staying].sum(axis=1) - tags.sum(axis=1) / 2)[:, None]
    cost[np.abs(off) > 1.0] = np.inf
    order = np.tile(np.arange(2 * slots), (len(values), 1))
    order[:, moving] = moving[table.order[cost.argmin(axis=1)]]
    values = np.take_along_axis(values, order[:, :, None], axis=1).reshape(layers, half, 2, slots, workloads)
    search.held[rows, device_pairs] = np.take_along_axis(experts, order, axis=1).reshape(layers, half, 2, slots)
    search.values[rows, device_pairs] = values
    search.load[rows, device_pairs] = values.sum(axis=3)
