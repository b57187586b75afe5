"""Search state of several layers under several workloads, and the pairs of devices that share out their copies anew."""

from dataclasses import dataclass

import numpy as np

from optimizer.placement.aim import Aim
from optimizer.placement.repartition import WHOLE_TABLE_SLOTS, halvings, tagged
from optimizer.placement.replicas import Floats, Ints

_PART = 4


@dataclass(slots=True)
class VectorSearch:
    """Placements of several layers under several workloads, and the best seen."""

    weights: Floats
    """``[layers, workloads, experts]`` in units of the mean device load."""
    held: Ints
    values: Floats
    """Share of each slot, ``[layers, devices, slots, workloads]``."""
    load: Floats
    """``[layers, devices, workloads]``."""
    best: Floats
    best_held: Ints

    @classmethod
    def start(cls, weights: Floats, held: Ints, aim: Aim) -> "VectorSearch":
        """Search from a placement."""
        empty = np.zeros(0)
        search = cls(weights, held.copy(), empty, empty, np.full(len(held), np.inf), held.copy())
        search.refresh()
        search.note(aim)
        return search

    def refresh(self) -> None:
        """Recompute shares and loads from the placement."""
        layers, _, experts = self.weights.shape
        counts = np.stack([np.bincount(held.ravel(), minlength=experts) for held in self.held])
        shares = (self.weights / np.maximum(counts, 1)[:, None, :]).transpose(0, 2, 1)
        self.values = shares[np.arange(layers)[:, None, None], self.held]
        self.load = self.values.sum(axis=2)

    def note(self, aim: Aim) -> None:
        """Keep the placements that are the best so far."""
        now = aim.value(self.load.max(axis=1))
        better = now < self.best
        self.best[better] = now[better]
        self.best_held[better] = self.held[better]


def raised(base: Floats, power: int) -> Floats:
    """``base ** power`` for a power of two, by squaring."""
    result = base * base
    for _ in range(power.bit_length() - 2):
        result *= result
    return result


def share_out_pairs(search: VectorSearch, aim: Aim, power: int, shuffle: Ints, positions: Ints) -> None:
    """Share out every pair of one pairing so that the p-norm of the pair is least.

    Parameters
    ----------
    search
        Changed in place.
    aim
        Objective, which says how much each workload counts.
    power
        ``p``, a power of two.
    shuffle, positions
        Permutations of the devices (neighbours make pairs) and of the slots (where many, the first take part).
    """
    layers, devices, slots, workloads = search.values.shape
    half = devices // 2
    rows = np.arange(layers)[:, None, None]
    both = np.broadcast_to(shuffle[: 2 * half].reshape(1, half, 2), (layers, half, 2))
    experts = search.held[rows, both].reshape(-1, 2 * slots)
    values = search.values[rows, both].reshape(-1, 2 * slots, workloads)
    if slots <= WHOLE_TABLE_SLOTS:
        moving, table = np.arange(2 * slots), halvings(slots, whole=True)
    else:
        moving = np.concatenate([positions[:_PART], positions[:_PART] + slots])
        table = halvings(_PART, whole=False)
    staying = np.setdiff1d(np.arange(slots), moving)
    first = np.matmul(values[:, moving].transpose(0, 2, 1), table.side_a)
    first += values[:, staying].sum(axis=1)[:, :, None]
    second = values.sum(axis=1)[:, :, None] - first
    pull = np.repeat(aim.pull(search.load, power), half, axis=0)
    cost = np.einsum("ns,nsw->nw", pull, raised(first, power) + raised(second, power))
    tags, _ = tagged(np.zeros(experts.shape), experts)
    off = tags[:, moving] @ table.side_a + (tags[:, staying].sum(axis=1) - tags.sum(axis=1) / 2)[:, None]
    cost[np.abs(off) > 1.0] = np.inf
    order = np.tile(np.arange(2 * slots), (len(values), 1))
    order[:, moving] = moving[table.order[cost.argmin(axis=1)]]
    values = np.take_along_axis(values, order[:, :, None], axis=1).reshape(layers, half, 2, slots, workloads)
    search.held[rows, both] = np.take_along_axis(experts, order, axis=1).reshape(layers, half, 2, slots)
    search.values[rows, both] = values
    search.load[rows, both] = values.sum(axis=3)
