"""Nodes that groups of co-activated experts visit, for many groups at once, and what moving a copy would change."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.figures.locality import Group
from optimizer.placement.counts import Floats, Ints
from optimizer.placement.exchange import LayerState

MOST_NODES = 62
"""Nodes that fit the bits of one machine word."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of one layer as arrays: experts ``[groups, largest]``, -1 where a group is smaller, and counts."""

    chosen: Ints
    count: Ints
    experts: int

    @classmethod
    def of(cls, groups: Sequence[Group], experts: int) -> "Groups":
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
class Visits:
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
