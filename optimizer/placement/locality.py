"""Fewer nodes visited at the balance found: experts chosen together are laid on one node, as the second objective.

Three ways, each kept where it helps and the balance stays within the allowance: whole devices change nodes, which no
balance feels; copies change devices where loads allow; and copies are shared out among the nodes anew, nodes alike in
load, before each node's devices are balanced by themselves. Small layers are solved by CP-SAT.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from optimizer.figures.locality import nodes_visited
from optimizer.figures.placement_bounds.locality import best_partners
from optimizer.placement import effort
from optimizer.placement.counts import Floats, Ints
from optimizer.placement.descent import Aim, Descent, deal, descend
from optimizer.placement.exchange import MOST_NODES, ExchangeStep, Groups, LayerState, Visiting, best_swaps
from optimizer.placement.layer_model import fewest_visits
from optimizer.placement.moves import align_on_nodes
from optimizer.placement.question import Layer
from optimizer.placement.result import DeviceExperts, LayerPlacement, Visits, tuples

_MARGIN = 1e-9


def with_visits(layer: Layer, placement: LayerPlacement) -> LayerPlacement:
    """The layer with the nodes that its groups visit, and a bound on them, where co-activation was given."""
    question, nearness = layer.question, layer.question.nearness
    if nearness is None:
        return placement
    groups, size = nearness.groups[layer.index], nearness.node_size
    bound, witness = best_partners(groups, question.experts, question.devices, question.slots, size)
    visits = nodes_visited(groups, placement.devices, question.experts, size)
    return replace(placement, visits=Visits(visits, sum(group[0] for group in groups), bound, witness))


def brought_together(layer: Layer, placement: LayerPlacement) -> LayerPlacement:
    """The layer with its experts laid so that fewest nodes are visited within the allowance.

    Groups kept on nodes by ``hierarchy`` and freely split loads are left where they are.
    """
    question, nearness, visited = layer.question, layer.question.nearness, placement.visits
    fixed = question.hierarchy != "free" or question.split != "even"
    if nearness is None or visited is None or fixed or visited.nodes == visited.bound or layer.seconds_left <= 0:
        return placement
    groups, node_size = nearness.groups[layer.index], nearness.node_size
    limit = max(placement.max_over_mean, placement.bound + nearness.allowance)
    best, fewest = placement.devices, visited.nodes

    def keep(devices: DeviceExperts | None, *, sure: bool = False) -> None:
        """Go on from a placement with fewer visits, if it is sure to be, or is, within the limits."""
        nonlocal best, fewest
        if devices is not None and (sure or (layer.within_budget(devices) and layer.value(devices) <= limit)):
            visits = nodes_visited(groups, devices, question.experts, node_size)
            best, fewest = (devices, visits) if visits < fewest else (best, fewest)

    ways = _Ways(layer, node_size, Groups.of(groups, question.experts), float(limit) - _MARGIN)
    for way in (ways.devices, ways.copies, ways.nodes):
        if fewest > visited.bound and ways.node[-1] < MOST_NODES and layer.seconds_left > 0:
            keep(way(np.array(best)))
    if fewest > visited.bound and layer.seconds_left > 0:
        devices, least = fewest_visits(layer, groups, node_size, limit, best) or (None, 0)
        keep(devices, sure=True)
        if least > visited.bound:
            visited = replace(visited, bound=least, witness={"kind": "solver"})
    if best != placement.devices:
        if question.current is not None and question.max_moves is None:
            best = tuples(align_on_nodes(np.array(best), np.array(layer.service), node_size))
        placement = layer.placed(placement, best)
    return replace(placement, visits=replace(visited, nodes=fewest))


@dataclass(frozen=True, slots=True)
class _Ways:
    """One layer, and the ways to change it."""

    layer: Layer
    node_size: int
    groups: Groups
    limit: float

    @property
    def node(self) -> Ints:
        """Node of each device, the last perhaps with fewer devices."""
        return np.arange(self.layer.question.devices) // self.node_size

    def devices(self, held: Ints) -> DeviceExperts | None:
        """Whole devices change nodes while pairs of experts come together."""
        if self.layer.question.max_moves is not None:
            return None
        count, node = len(held), self.node
        member = np.zeros((count, self.layer.question.experts))
        member[np.arange(count)[:, None], held] = 1.0
        bonds = member @ self.groups.pairs() @ member.T
        order = np.arange(count)
        for _ in range(count * 4):
            mine = bonds[np.ix_(order, order)]
            pull = np.stack([mine[:, node == n].sum(axis=1) for n in range(node[-1] + 1)], axis=1)
            here = pull[np.arange(count), node] - np.diag(mine)
            gain = pull[:, node] + pull[:, node].T - here[:, None] - here[None, :] - 2 * mine
            gain[node[:, None] == node[None, :]] = 0.0
            one, two = divmod(int(gain.argmax()), count)
            if gain[one, two] <= _MARGIN:
                break
            order[one], order[two] = order[two], order[one]
        return tuples(held[order])

    def copies(self, held: Ints) -> DeviceExperts | None:
        """Copies change devices, every device below the limit, or below the hottest where an average is meant."""
        state = LayerState.of(self.layer.loads, held)
        limit = np.full(state.load.shape, self.limit)
        if self.layer.question.robust != "worst" and len(limit) > 1:
            limit[:] = state.load.max(axis=1, keepdims=True)
        return tuples(self._exchanged(state, Visiting(self.groups, self.node), limit).held)

    def nodes(self, held: Ints) -> DeviceExperts | None:
        """Copies are shared out among the nodes anew, then each node is balanced by itself; one workload only."""
        question, size = self.layer.question, self.node_size
        if len(question.loads) > 1 or question.max_moves is not None or question.devices % size:
            return None
        nodes = question.devices // size
        state = LayerState.of(self.layer.loads, held.reshape(nodes, -1))
        limit = np.full(state.load.shape, size * self.limit)
        state = self._exchanged(state, Visiting(self.groups, np.arange(nodes)), limit)
        shares = (state.weights / state.counts)[0]
        start = np.empty((nodes, size, question.slots), dtype=np.int64)
        for node, on in enumerate(state.on):
            experts = np.nonzero(on)[0]
            dealt = deal((shares[experts] * on[experts])[None], on[experts][None], size)
            start[node] = experts[dealt[0]]
        every = np.zeros((nodes, 1, question.experts))
        every[:, 0] = shares * state.on
        search = Descent.start(Aim.of(question), every, start, state.load[0] / size, np.full(nodes, self.limit))
        rounds = effort.ROUNDS_PER_SLOT * size * question.slots
        descend(search, rounds=rounds, seed=question.seed, deadline=self.layer.deadline)
        return tuples(search.best_held.reshape(question.devices, question.slots))

    def _exchanged(self, state: LayerState, visiting: Visiting, limit: Floats) -> LayerState:
        """Exchange copies between nodes until no exchange helps, from the start and after kicks."""
        rng = np.random.default_rng(self.layer.question.seed)
        fewest, best, home = np.inf, state, visiting.node[state.home]
        for kick in range(1 + effort.KICKS):
            tried = LayerState.of(state.weights, best.held)
            if kick:
                drawn = np.where(home[:, None] == home[None, :], 0.0, -rng.random((len(home), len(home))))
                self._take(tried, best_swaps(tried, drawn, 4 * effort.KICKED, limit), limit, effort.KICKED)
            visits = self._descend(tried, visiting, limit)
            if visits < fewest:
                fewest, best = visits, tried
        return best

    def _descend(self, state: LayerState, visiting: Visiting, limit: Floats) -> float:
        """Take the exchanges that help most, many together or, where they get in each other's way, fewer."""
        visits = visiting.value(state)
        while self.layer.seconds_left > 0:
            steps = best_swaps(state, visiting.swaps(state), effort.EXCHANGES, limit)
            together = [(steps, len(steps) // part) for part in (1, 4, 16)]
            for some, most in [*together, *(([step], 1) for step in steps[: effort.SINGLES])]:
                taken = self._take(state, some, limit, most)
                if (visited := visiting.value(state)) < visits:
                    visits = visited
                    break
                for step in reversed(taken):
                    step.undo(state, -1)
            else:
                break
        return visits

    def _take(self, state: LayerState, steps: Sequence[ExchangeStep], limit: Floats, most: int) -> list[ExchangeStep]:
        """Take exchanges of different experts, best first, that together keep loads and moves in bounds."""
        used: set[int] = set()
        taken: list[ExchangeStep] = []
        for step in steps:
            experts = {int(state.flat[step.slot]), int(state.flat[step.other])}
            if len(taken) == most or experts & used:
                continue
            step.take(state)
            if self.layer.within_budget(state.held.tolist()) and (state.load <= limit).all():
                used |= experts
                taken.append(step)
            else:
                step.undo(state, -1)
        return taken
