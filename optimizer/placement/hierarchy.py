"""Groups kept within nodes: the best laying of groups on nodes is found exactly, and each node is placed by itself.

From a placement in service, the few best layings that a budget of moves reaches are starts of a search for balance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from optimizer.errors import InternalError, SpecError
from optimizer.figures.placement import moves
from optimizer.figures.placement_bounds.budget import MOST_GROUPS, layings_within
from optimizer.figures.placement_bounds.hierarchy import best_laying, node_bounds
from optimizer.placement import effort
from optimizer.placement.counts import Floats, Ints
from optimizer.placement.exchange import Marks
from optimizer.placement.question import Layer, Question
from optimizer.placement.search import balance_loads

Laying = tuple[tuple[int, ...], ...]
"""Groups of each node."""


@dataclass(frozen=True, slots=True)
class Start:
    """A valid placement ``[devices, slots]``, and the experts that no device may come to hold."""

    held: Ints
    forbidden: Marks


def _nodes(question: Question) -> tuple[int, int, int]:
    """Nodes, devices of a node, and experts of a group."""
    if question.node_size is None or question.groups is None:
        raise InternalError("no nodes or groups")
    return question.devices // question.node_size, question.node_size, question.experts // question.groups


def _experts_of(laying: Laying, size: int) -> list[list[int]]:
    return [[group * size + place for group in node for place in range(size)] for node in laying]


def _best_laying(question: Question, layer: int) -> tuple[Fraction, Laying]:
    """Bound on max over mean of a layer under its worst workload, and the laying of groups on nodes that has it."""
    nodes, _, _ = _nodes(question)
    costs: dict[tuple[int, ...], Fraction] = {}
    for row in question.rows(layer):
        scale = Fraction(question.devices, sum(row) or 1)
        for chosen, bound in node_bounds(row, question.devices, question.slots, nodes, question.groups or 1).items():
            costs[chosen] = max(costs.get(chosen, Fraction(0)), bound * scale)
    return best_laying(costs, question.groups or 1)


def balance_on_nodes(question: Question, *, goal: float, deadline: float | None) -> Ints:
    """Placement of every layer, each node of its best laying balanced by itself; ``[layers, devices, slots]``."""
    nodes, per_node, size = _nodes(question)
    chosen = [_best_laying(question, layer) for layer in range(question.layers)]
    experts = np.array([node_experts for _, laying in chosen for node_experts in _experts_of(laying, size)])
    scale = np.array([max(float(bound), 1e-12) for bound, _ in chosen])
    loads = np.repeat(question.normalised() / scale[:, None, None], nodes, axis=0)
    loads = np.take_along_axis(loads, experts[:, None, :], axis=2)
    held = balance_loads(question, loads, per_node, np.ones(len(experts)), goal=goal, deadline=deadline)
    named = np.take_along_axis(experts[:, None, :], held.reshape(len(held), 1, -1), axis=2)
    return named.reshape(question.layers, question.devices, question.slots)


def starts_within(layer: Layer, budget: int) -> list[Start]:
    """Placement in service made valid; with groups on nodes for the most promising layings, and for the nearest one.

    Raises
    ------
    SpecError
        None is within the budget.
    """
    question, current = layer.question, layer.service
    heat = np.array(layer.rows, dtype=np.float64).sum(axis=0)
    if question.hierarchy == "free":
        nodes, size = 1, question.experts
        layings: list[Laying] = [((0,),)]
        least = 0
        aim = f"make the placement in service of layer {layer.index} of those with experts valid"
    else:
        nodes, _, size = _nodes(question)
        layings, least = _layings_within(layer, budget)
        aim = f"bring the router's groups of layer {layer.index} of those with experts onto nodes of their own"
    starts: list[tuple[int, Start]] = []
    per_node = question.devices // nodes
    for laying in layings:
        forbidden = np.ones((question.devices, question.experts), dtype=bool)
        held: list[list[int]] = []
        for node, experts in enumerate(_experts_of(laying, size)):
            devices = slice(node * per_node, (node + 1) * per_node)
            forbidden[devices, experts] = False
            held += _repaired([list(slots) for slots in current[devices]], experts, heat)
        cost = moves(current, held)
        least = least or cost
        if cost <= budget:
            starts.append((cost, Start(np.array(held), forbidden)))
    if not starts:
        raise SpecError(f"experts.max_moves: {budget} moves do not {aim}; {least} would")
    nearest = min(range(len(starts)), key=lambda number: starts[number][0])
    return [starts[number][1] for number in sorted({*range(len(starts))[: effort.LAYINGS - 1], nearest})]


def _layings_within(layer: Layer, budget: int) -> tuple[list[Laying], int]:
    """Layings within a budget, the most promising first, and the fewest moves that lay groups on nodes, if counted."""
    question = layer.question
    nodes, _, _ = _nodes(question)
    if question.groups is None or question.groups > MOST_GROUPS:
        return [_laid_now(layer)], 0
    layings: dict[Laying, Fraction] = {}
    least = 0
    for row in layer.rows:
        options = layings_within(row, layer.service, question.slots, nodes, question.groups, None)
        least = options[0][0]
        for cost, bound, laying in options:
            if cost <= budget:
                layings[laying] = max(layings.get(laying, Fraction(0)), bound / max(1, sum(row)))
    return sorted(layings, key=lambda laying: (layings[laying], laying)), least


def _laid_now(layer: Layer) -> Laying:
    """Groups by the node where most of their copies are, the fullest first, no more on a node than belong there."""
    nodes, per_node, size = _nodes(layer.question)
    groups = layer.question.experts // size
    on = np.zeros((groups, nodes), dtype=np.int64)
    for device, held in enumerate(layer.service):
        for expert in held:
            on[expert // size, device // per_node] += 1
    laid: list[list[int]] = [[] for _ in range(nodes)]
    homeless = set(range(groups))
    for place in np.argsort(-on, axis=None, kind="stable").tolist():
        group, node = divmod(place, nodes)
        if group in homeless and len(laid[node]) < groups // nodes:
            laid[node].append(group)
            homeless.remove(group)
    return tuple(tuple(sorted(some)) for some in laid)


def _repaired(held: list[list[int]], experts: Sequence[int], heat: Floats) -> list[list[int]]:
    """A node's devices with the fewest changes that make them hold these experts alone, each somewhere, none twice."""
    mine, free = set(experts), []
    for device in held:
        seen: set[int] = set()
        for slot, expert in enumerate(device):
            if expert not in mine or expert in seen:
                free.append((device, slot))
                device[slot] = -1
            seen.add(expert)
    copies = {expert: sum(expert in device for device in held) for expert in experts}
    missing = [expert for expert in experts if not copies[expert]]
    while len(missing) > len(free):
        # The coolest copy of an expert with several makes room.
        device, slot = min(
            ((device, n) for device in held for n, e in enumerate(device) if e >= 0 and copies[e] > 1),
            key=lambda at: (heat[at[0][at[1]]] / copies[at[0][at[1]]], at[0][at[1]]),
        )
        copies[device[slot]] -= 1
        device[slot] = -1
        free.append((device, slot))
    for device, slot in free:
        if missing:
            expert = missing.pop()
        else:
            expert = max((e for e in experts if e not in device), key=lambda e: (heat[e] / copies[e], -e))
        device[slot] = expert
        copies[expert] += 1
    return held
