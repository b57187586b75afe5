"""One layer under search, and its neighbourhood: two copies change places, or a copy makes way for another expert's.

All steps are weighed at once by what they would change of a potential, so that a step costs a few products of matrices.
A potential is a norm of the loads, the experts loaded anew, or the nodes visited.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.figures.locality import TokenGroup
from optimizer.placement.counts import Floats, Ints

Marks = NDArray[np.bool_]


@dataclass(slots=True)
class LayerState:
    """One layer under search; every step keeps it up to date, and the same step backwards undoes it."""

    weights: Floats
    """Loads ``[workloads, experts]`` in units of the mean device load."""
    held: Ints
    """Expert of each slot, ``[devices, slots]``."""
    forbidden: Marks
    """Experts that a device may never come to hold, ``[devices, experts]``."""
    on: Ints
    """Copies of each expert on each device, ``[devices, experts]``."""
    counts: Ints
    """Copies of each expert."""
    load: Floats
    """Device loads, ``[workloads, devices]``."""
    home: Ints
    """Device of each slot, slots counted through."""

    @classmethod
    def of(cls, weights: Floats, held: Ints, forbidden: Marks | None = None) -> "LayerState":
        """State of a placement; ``forbidden[device, expert]`` is what may never be held."""
        devices, slots = held.shape
        counts = np.bincount(held.ravel(), minlength=weights.shape[1])
        on = np.zeros((devices, weights.shape[1]), dtype=np.int64)
        np.add.at(on, (np.arange(devices)[:, None], held), 1)
        load = (weights / counts)[:, held].sum(axis=2)
        barred = np.zeros(on.shape, dtype=bool) if forbidden is None else forbidden
        return cls(weights, held.copy(), barred, on, counts, load, np.repeat(np.arange(devices), slots))

    @property
    def flat(self) -> Ints:
        """Expert of each slot, slots counted through; a view."""
        return self.held.reshape(-1)

    @property
    def shares(self) -> Floats:
        """Load of each slot, ``[workloads, slots]``."""
        shares: Floats = (self.weights / self.counts)[:, self.flat]
        return shares

    def swappable(self) -> Marks:
        """Which two slots may swap experts."""
        there = (self.forbidden | (self.on > 0))[self.home][:, self.flat]
        return ~(there | there.T)

    def swapped(self) -> Floats:
        """Load of each slot's device after its swap with another, ``[workloads, slots, slots]``."""
        shares, load = self.shares, self.load[:, self.home]
        after: Floats = load[:, :, None] - shares[:, :, None] + shares[:, None, :]
        return after

    def replaceable(self) -> tuple[Ints, Marks]:
        """Slots whose expert is held elsewhere too, and which experts they may get, ``[those slots, experts]``."""
        slots = np.nonzero(self.counts[self.flat] > 1)[0]
        there = (self.forbidden | (self.on > 0))[self.home[slots]]
        return slots, ~(there | (self.counts >= len(self.held)))

    def swap(self, one: int, two: int) -> None:
        """Swap the experts of two slots."""
        flat, pair = self.flat, [one, two]
        leaving = flat[pair]
        coming, devices = leaving[::-1], self.home[pair]
        share = self.weights / self.counts
        self.load[:, devices] += share[:, coming] - share[:, leaving]
        self.on[devices, leaving] -= 1
        self.on[devices, coming] += 1
        flat[pair] = coming

    def replace(self, slot: int, expert: int) -> None:
        """Give a slot to another expert."""
        device, pair = self.home[slot], [int(self.flat[slot]), expert]
        before = (self.weights / self.counts)[:, pair] @ self.on[:, pair].T
        self.counts[pair] += (-1, 1)
        self.on[device, pair] += (-1, 1)
        self.load += (self.weights / self.counts)[:, pair] @ self.on[:, pair].T - before
        self.flat[slot] = expert


def members(held: Ints, experts: int) -> Marks:
    """Which device holds which expert, ``[devices, experts]``."""
    member = np.zeros((len(held), experts), dtype=bool)
    member[np.arange(len(held))[:, None], held] = True
    return member


@dataclass(frozen=True, slots=True)
class Norm:
    """``sum pull * load ** power`` over workloads and devices, which follows the hottest device as the power grows.

    Changes are weighed by ``sum omega * load ** 2`` with ``omega = pull * load ** (power - 2)``: iteratively reweighted
    least squares.
    """

    power: float
    pull: Floats | float = 1.0
    """Weight of each workload and device, ``[workloads, devices]``."""

    def value(self, state: LayerState) -> float:
        """The norm, to its power."""
        return float((self.pull * state.load**self.power).sum())

    def omega(self, state: LayerState) -> Floats:
        """Weights of the squared loads, ``[workloads, devices]``."""
        omega: Floats = self.pull * np.maximum(state.load, 1e-9) ** (self.power - 2)
        return omega

    def swaps(self, state: LayerState) -> Floats:
        """Change of the weighed squares."""
        change = np.zeros((len(state.home), len(state.home)))
        for share, load, weight in zip(state.shares, state.load, self.omega(state), strict=True):
            step = share[None, :] - share[:, None]
            pull, mass = (weight * load)[state.home], weight[state.home]
            change += step * (2 * (pull[:, None] - pull[None, :]) + (mass[:, None] + mass[None, :]) * step)
        return change

    def replacements(self, state: LayerState, slots: Ints) -> Floats:
        """Change of the weighed squares: copies left carry more, the new expert's copies less."""
        leaving, home = state.flat[slots], state.home[slots]
        counts, member = state.counts, (state.on > 0).astype(np.float64)
        change = np.zeros((len(slots), len(counts)))
        for weights, load, weight in zip(state.weights, state.load, self.omega(state), strict=True):
            share = weights / counts
            rise = (weights / np.maximum(counts - 1, 1) - share)[leaving]
            fresh = weights / (counts + 1)
            fall = share - fresh
            pull, mass = (weight * load) @ member, weight @ member
            mass_here, pull_here = weight[home], (weight * load)[home]
            together = (member[:, leaving].T * weight) @ member
            together *= (-2 * rise)[:, None] * fall
            step = fresh - share[leaving][:, None]
            change += together
            change += (2 * rise * (pull[leaving] - pull_here) + rise**2 * (mass[leaving] - mass_here))[:, None]
            change += fall**2 * mass - 2 * fall * pull
            change += step * (2 * pull_here[:, None] + mass_here[:, None] * step)
        return change


@dataclass(frozen=True, slots=True)
class MovedExperts:
    """Experts on devices that do not hold them in service: the moves."""

    service: Marks
    """Placement in service, ``[devices, experts]``."""

    def value(self, state: LayerState) -> float:
        """Moves."""
        return float(((state.on > 0) & ~self.service).sum())

    def _loaded(self, state: LayerState) -> Ints:
        return (~self.service[state.home, state.flat]).astype(np.int64)

    def swaps(self, state: LayerState) -> Floats:
        """Further moves."""
        loaded = self._loaded(state)
        coming = (~self.service[state.home][:, state.flat]).astype(np.float64)
        further: Floats = coming + coming.T - loaded[:, None] - loaded[None, :]
        return further

    def replacements(self, state: LayerState, slots: Ints) -> Floats:
        """Further moves."""
        further: Floats = (~self.service[state.home[slots]]).astype(np.float64) - self._loaded(state)[slots, None]
        return further


@dataclass(frozen=True, slots=True)
class ExchangeStep:
    """A step and what it is worth: the lower the better."""

    worth: float
    slot: int
    other: int
    """The other slot of a swap, or the expert that takes the slot."""
    swaps: bool = True

    def take(self, state: LayerState) -> int:
        """Take the step; returns the expert that was in the slot."""
        leaving = int(state.flat[self.slot])
        if self.swaps:
            state.swap(self.slot, self.other)
        else:
            state.replace(self.slot, self.other)
        return leaving

    def undo(self, state: LayerState, leaving: int) -> None:
        """Undo the step."""
        ExchangeStep(0.0, self.slot, self.other if self.swaps else leaving, self.swaps).take(state)


def best_swaps(
    state: LayerState, change: Floats, most: int, limit: Floats, among: Marks | None = None
) -> list[ExchangeStep]:
    """Swaps that lower a potential, the best first, at most so many.

    Parameters
    ----------
    state
        The layer.
    change
        What each swap would add to the potential, ``[slots, slots]``.
    most
        Most swaps.
    limit
        Largest load of each device, ``[workloads, devices]``.
    among
        Which two slots may swap, ``[slots, slots]``; any where not given.
    """
    fits = (state.swapped() <= limit[:, state.home, None]).all(axis=0)
    allowed = state.swappable() & fits & fits.T & (True if among is None else among)
    return [ExchangeStep(*low) for low in _lowest(change, np.triu(allowed), most)]


def best_steps(state: LayerState, norm: Norm, most: int, price: MovedExperts, room: float) -> list[ExchangeStep]:
    """Steps that lower the norm and cost no more moves than there is room for, at most so many.

    The best first, by what they save for each move; one that undoes an earlier step costs a quarter of a move.
    """
    steps: list[ExchangeStep] = []
    slots, may_replace = state.replaceable()
    every = np.arange(len(state.home))
    for allowed, worth, cost, names, swaps in (
        (may_replace, norm.replacements(state, slots), price.replacements(state, slots), slots, False),
        (np.triu(state.swappable()), norm.swaps(state), price.swaps(state), every, True),
    ):
        lowest = _lowest(worth / np.maximum(cost, 0.25), allowed & (cost <= room), most)
        steps += [ExchangeStep(low, int(names[one]), two, swaps) for low, one, two in lowest]
    return sorted(steps, key=lambda step: (step.worth, step.swaps, step.slot, step.other))[:most]


def take_best(state: LayerState, norm: Norm, most: int, price: MovedExperts, room: float) -> bool:
    """Take the best step after which the norm is truly lower, if there is one among the most promising."""
    before = norm.value(state)
    for step in best_steps(state, norm, most, price, room):
        leaving = step.take(state)
        if norm.value(state) < before * (1 - 1e-9):
            return True
        step.undo(state, leaving)
    return False


def _lowest(worth: Floats, allowed: Marks, most: int) -> list[tuple[float, int, int]]:
    """The lowest entries below nothing, in order."""
    worth = np.where(allowed, worth, np.inf)
    if not worth.size:
        return []
    places = np.argpartition(worth, min(most, worth.size - 1), axis=None)[:most].tolist()
    low = [(float(worth.flat[place]), *divmod(place, worth.shape[1])) for place in places if worth.flat[place] < -1e-9]
    return sorted(low)


MOST_NODES = 62
"""Nodes that fit the bits of one machine word."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of one layer as arrays: experts ``[groups, largest]``, -1 where a group is smaller, and counts."""

    chosen: Ints
    count: Ints
    experts: int

    @classmethod
    def of(cls, groups: Sequence[TokenGroup], experts: int) -> "Groups":
        """Groups of two experts and more; a lone expert visits one node wherever it is."""
        several = [group for group in groups if len(group) > 2]
        widest = max((len(group) - 1 for group in several), default=2)
        chosen = np.full((len(several), widest), -1, dtype=np.int64)
        for row, group in enumerate(several):
            chosen[row, : len(group) - 1] = group[1:]
        return cls(chosen, np.array([group[0] for group in several], dtype=np.int64), experts)

    def pairs(self) -> Floats:
        """How often two experts are chosen together, ``[experts, experts]``."""
        together = np.zeros((self.experts, self.experts))
        for one in range(self.chosen.shape[1]):
            for two in range(one):
                both = (self.chosen[:, one] >= 0) & (self.chosen[:, two] >= 0)
                np.add.at(together, (self.chosen[both, one], self.chosen[both, two]), self.count[both])
        return together + together.T

    def visited(self, held: NDArray[np.bool_]) -> Ints:
        """Nodes each group visits, as bits, by preferring nodes that it must visit, then those that serve most.

        Parameters
        ----------
        held
            Whether a node holds a copy, ``[experts, nodes]``.
        """
        masks = self._masks(held)
        single = (masks & (masks - 1)) == 0
        visited: Ints = np.bitwise_or.reduce(np.where(single, masks, 0), axis=1)
        while True:
            missing = (masks != 0) & ((masks & visited[:, None]) == 0)
            rows = np.nonzero(missing.any(axis=1))[0]
            if not len(rows):
                return visited
            wanted = np.where(missing[rows], masks[rows], 0)
            served = np.stack([((wanted >> node) & 1).sum(axis=1) for node in range(held.shape[1])], axis=1)
            visited[rows] |= 1 << served.argmax(axis=1)

    def total(self, held: NDArray[np.bool_]) -> int:
        """Nodes that all groups visit."""
        return int((self.count * np.bitwise_count(self.visited(held))).sum())

    def _masks(self, held: NDArray[np.bool_]) -> Ints:
        masks = (held.astype(np.int64) << np.arange(held.shape[1])).sum(axis=1)
        chosen_masks: Ints = np.where(self.chosen >= 0, masks[self.chosen], 0)
        return chosen_masks

    def change(self, held: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """What a copy is worth where it is and elsewhere, if nothing else moves.

        Returns
        -------
        leave, arrive
            ``leave[expert, node, other]``: further visits if the only copy on ``node`` moved to ``other``;
            ``arrive[expert, node, other]``: visits of ``node`` saved by one more copy on ``other``.
        """
        nodes = held.shape[1]
        visited, masks = self.visited(held), self._masks(held)
        usable = masks & visited[:, None]
        alone = (usable != 0) & ((usable & (usable - 1)) == 0)
        row, place = np.nonzero(alone)
        expert, weight = self.chosen[row, place], self.count[row].astype(np.float64)
        node = np.log2(usable[row, place]).astype(np.int64)
        relied = np.bincount(row * nodes + node, minlength=len(visited) * nodes)
        sole = weight * (relied[row * nodes + node] == 1)
        key, size = expert * nodes + node, self.experts * nodes
        freed = np.bincount(key, weights=sole, minlength=size)
        leave = np.empty((self.experts, nodes, nodes))
        saved = np.empty((self.experts, nodes, nodes))
        for other in range(nodes):
            there = (visited[row] >> other) & 1
            further = np.bincount(key, weights=weight * (1 - there), minlength=size)
            leave[:, :, other] = (further - freed).reshape(self.experts, nodes)
            saved[:, :, other] = np.bincount(key, weights=sole * there, minlength=size).reshape(self.experts, nodes)
        return leave, saved


@dataclass(frozen=True, slots=True)
class Visiting:
    """Nodes visited by groups, as a potential of copies on bins (devices, or nodes)."""

    groups: Groups
    node: Ints
    """Node of each bin."""

    def _on_nodes(self, state: LayerState) -> Ints:
        on = np.zeros((int(self.node.max()) + 1, self.groups.experts), dtype=np.int64)
        np.add.at(on, self.node, state.on)
        return on.T

    def value(self, state: LayerState) -> float:
        """Nodes that all groups visit."""
        return float(self.groups.total(self._on_nodes(state) > 0))

    def swaps(self, state: LayerState) -> Floats:
        """Further visits if two slots swapped, each copy judged alone; none within a node."""
        on_nodes, expert, home = self._on_nodes(state), state.flat, self.node[state.home]
        leave, arrive = self.groups.change(on_nodes > 0)
        only = on_nodes[expert, home] == 1
        moved = np.where(only[:, None], leave[expert, home] + arrive[expert, home], 0.0)
        moved -= np.where(on_nodes[expert] == 0, arrive.sum(axis=1)[expert], 0.0)
        change: Floats = moved[:, home] + moved[:, home].T
        change[home[:, None] == home[None, :]] = 0.0
        return change
