"""Fewer nodes visited at the balance found: experts chosen together are laid on one node, as the second objective.

Three ways, each kept where it helps and the balance stays within the allowance: whole devices change nodes, which no
balance feels; copies change devices where loads allow; and copies are shared out among the nodes anew, nodes alike in
load, before each node's devices are balanced by themselves. Small layers are solved by CP-SAT.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from optimizer.certificate.locality import best_partners
from optimizer.figures.locality import Group, nodes_visited
from optimizer.figures.placement import max_over_mean, moves
from optimizer.figures.robust import aggregate
from optimizer.placement.align import align_on_nodes
from optimizer.placement.clock import seconds_left
from optimizer.placement.construct import deal
from optimizer.placement.descent import Search, descend
from optimizer.placement.layer_model import fewest_visits
from optimizer.placement.question import Question
from optimizer.placement.replicas import Floats, Ints
from optimizer.placement.result import Devices, LayerPlacement, PlacementResult, Visits
from optimizer.placement.spread import Copies, exchange, settle
from optimizer.placement.visits import MOST_NODES, Groups

_WIDE_BAND = 0.02
_NODE_PART = 0.5
_ROUNDS_PER_SLOT = 20
_MARGIN = 1e-9


@dataclass(frozen=True, slots=True)
class Nearness:
    """What is asked: groups of co-activated experts of each layer, the devices of a node, and what balance may cost.

    ``allowance`` is in mean device loads over the better of the bound and the balance found.
    """

    measure: str
    node_size: int
    groups: Sequence[Sequence[Group]]
    allowance: Fraction


def bring_together(
    question: Question, result: PlacementResult, asked: Nearness, deadline: float | None
) -> PlacementResult:
    """The result with every layer's experts laid so that fewest nodes are visited within the allowance.

    Groups kept on nodes by ``hierarchy`` and freely split loads are left where they are; their visits are counted.
    """
    layers = tuple(
        _layer(question, index, layer, asked, deadline) for index, layer in enumerate(result.layers)
    )  # fmt: skip
    terms = result.terms | {"coactivation": asked.measure, "locality_node_size": asked.node_size,
                            "balance_allowance": str(asked.allowance)}  # fmt: skip
    return replace(result, layers=layers, terms=terms)


def _layer(
    question: Question, index: int, layer: LayerPlacement, asked: Nearness, deadline: float | None
) -> LayerPlacement:
    groups, rows = asked.groups[index], question.rows(index)
    limit = max(layer.max_over_mean, layer.bound + asked.allowance)
    lone = sum(group[0] for group in groups)

    def visits(devices: Devices) -> int:
        return nodes_visited(groups, devices, question.experts, asked.node_size)

    def value(devices: Devices) -> Fraction:
        return aggregate([max_over_mean(row, devices) for row in rows], question.weights, question.robust,
                         question.tail)  # fmt: skip

    best = layer.devices
    fewest = visits(best)
    bound, witness = best_partners(groups, question.experts, question.devices, question.slots, asked.node_size)
    if question.hierarchy == "free" and question.split == "even" and fewest > bound:
        ways = _Ways(question, index, asked.node_size, Groups.of(groups, question.experts), float(limit), deadline)
        for way in (ways.devices, ways.copies, ways.nodes):
            if fewest == bound or ways.nodes_used > MOST_NODES or seconds_left(deadline) <= 0:
                break
            found = way(np.array(best))
            if found is None or value(found) > limit or not ways.kept(found):
                continue
            if (count := visits(found)) < fewest:
                best, fewest = found, count
        if fewest > bound:
            exact = fewest_visits(question, index, groups, asked.node_size, limit, best)
            if exact is not None:
                found_by_solver, least = exact
                if visits(found_by_solver) < fewest:
                    best, fewest = found_by_solver, visits(found_by_solver)
                if least > bound:
                    bound, witness = least, {"kind": "solver"}
        if question.current is not None and question.max_moves is None and best != layer.devices:
            best = _tuples(align_on_nodes(np.array(best), np.array(question.current[index]), asked.node_size))
    moved = None if question.current is None else moves(question.current[index], best)
    if best != layer.devices:
        layer = replace(
            layer, devices=best, max_over_mean=value(best), moves=moved,
            workloads=tuple(max_over_mean(row, best) for row in rows),
        )  # fmt: skip
    return replace(layer, visits=Visits(fewest, lone, bound, witness))


def _tuples(held: Ints) -> Devices:
    return tuple(tuple(sorted(map(int, slots))) for slots in held)


@dataclass(frozen=True, slots=True)
class _Ways:
    """One layer, and the ways to change it."""

    question: Question
    index: int
    node_size: int
    groups: Groups
    limit: float
    deadline: float | None

    @property
    def nodes_used(self) -> int:
        """Nodes, the last perhaps with fewer devices."""
        return -(-self.question.devices // self.node_size)

    def kept(self, devices: Devices) -> bool:
        """Whether the budget of moves is kept."""
        question = self.question
        if question.current is None or question.max_moves is None:
            return True
        return moves(question.current[self.index], devices) <= question.max_moves

    def _shares(self, held: Ints) -> Floats:
        """Load of each copy, ``[workloads, devices, slots]``, in mean device loads."""
        counts = np.bincount(held.ravel(), minlength=self.question.experts)
        loads = np.array(self.question.rows(self.index), dtype=np.float64)
        total = loads.sum(axis=1, keepdims=True)
        shares: Floats = (loads * self.question.devices / np.where(total > 0, total, 1.0) / counts)[:, held]
        return shares

    def devices(self, held: Ints) -> Devices | None:
        """Whole devices change nodes while pairs of experts come together."""
        if self.question.max_moves is not None:
            return None
        count = len(held)
        member = np.zeros((count, self.question.experts))
        member[np.arange(count)[:, None], held] = 1.0
        bonds = member @ self.groups.pairs() @ member.T
        order, node = np.arange(count), np.arange(count) // self.node_size
        for _ in range(count * 4):
            mine = bonds[np.ix_(order, order)]
            pull = np.stack([mine[:, node == n].sum(axis=1) for n in range(self.nodes_used)], axis=1)
            own = pull[np.arange(count), node] - np.diag(mine)
            gain = pull[:, node] + pull[:, node].T - own[:, None] - own[None, :] - 2 * mine
            gain[node[:, None] == node[None, :]] = 0.0
            one, two = divmod(int(gain.argmax()), count)
            if gain[one, two] <= _MARGIN:
                break
            order[one], order[two] = order[two], order[one]
        return _tuples(held[order])

    def copies(self, held: Ints) -> Devices | None:
        """Copies change devices, every device below the limit."""
        devices, slots = held.shape
        shares = self._shares(held).reshape(len(self.question.loads), -1)
        home = np.repeat(np.arange(devices), slots)
        flat = Copies(
            held.ravel(), home, np.arange(devices) // self.node_size, shares,
            np.maximum(self._tops(shares, home), 0.0), np.ones(devices, dtype=np.int64),
        )  # fmt: skip
        exchange(
            flat, self.groups, seed=self.question.seed,
            allowed=None if self.question.max_moves is None else lambda bins: self.kept(_gathered(flat.expert, bins)),
        )  # fmt: skip
        return _gathered(flat.expert, flat.bin)

    def _tops(self, shares: Floats, home: Ints) -> Floats:
        """Largest load of each device under each workload: the limit, or the hottest now where an average is meant."""
        devices = self.question.devices
        if self.question.robust == "worst" or len(shares) == 1:
            return np.full((len(shares), devices), self.limit - _MARGIN)
        hottest = [np.bincount(home, weights=own, minlength=devices).max() for own in shares]
        return np.repeat(np.array(hottest)[:, None], devices, axis=1)

    def nodes(self, held: Ints) -> Devices | None:
        """Copies are shared out among the nodes anew, then each node is balanced by itself; one workload only."""
        question, size = self.question, self.node_size
        if len(question.loads) > 1 or question.max_moves is not None or question.devices % size:
            return None
        shares = self._shares(held)[0].ravel()
        home = np.repeat(np.arange(question.devices) // size, question.slots)
        room = np.full(self.nodes_used, size, dtype=np.int64)
        tight = 1.0 + _NODE_PART * max(self.limit - 1.0, 0.0)
        wide = max(tight, 1.0 + _WIDE_BAND)
        flat = Copies(
            held.ravel(), home, np.arange(self.nodes_used), shares[None],
            np.full((1, self.nodes_used), wide * size), room,
        )  # fmt: skip
        exchange(flat, self.groups, seed=question.seed)
        flat.most[:] = tight * size
        if not settle(flat, self.groups):
            return None
        exchange(flat, self.groups, seed=question.seed)
        by_expert = np.zeros(question.experts)
        by_expert[flat.expert] = shares
        start = np.empty((self.nodes_used, size, question.slots), dtype=np.int64)
        for node in range(self.nodes_used):
            experts, counts = np.unique(flat.expert[flat.bin == node], return_counts=True)
            dealt = deal((by_expert[experts] * counts)[None], counts[None], size)
            start[node] = experts[dealt[0]]
        search = Search.start(np.tile(by_expert, (self.nodes_used, 1)), start)
        low = np.array([flat.loads()[0, node] / size for node in range(self.nodes_used)])
        descend(
            search, low, np.full(self.nodes_used, self.limit - _MARGIN),
            rounds=_ROUNDS_PER_SLOT * size * question.slots, seed=question.seed, deadline=self.deadline,
        )  # fmt: skip
        return _tuples(search.best_held.reshape(question.devices, question.slots))


def _gathered(experts: Ints, bins: Ints) -> Devices:
    order = np.argsort(bins, kind="stable")
    devices = int(bins.max()) + 1
    return _tuples(experts[order].reshape(devices, -1))
