"""From a placement in service to one with groups kept on nodes, within a budget of moves: a frontier for each node."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from optimizer.certificate.budget import MOST_GROUPS, layings_within
from optimizer.errors import SpecError
from optimizer.figures.placement import device_loads, moves
from optimizer.figures.robust import aggregate
from optimizer.placement.question import Question
from optimizer.placement.rebalance import FrontierPoint, frontier
from optimizer.placement.replicas import Floats, Ints
from optimizer.placement.result import Devices

_LAYINGS = 6

Laid = tuple[tuple[int, ...], ...]
"""Groups of each node."""


def place_on_nodes_within(question: Question, *, goal: float) -> Ints:
    """Placement of every layer with groups kept on nodes, within the budget; ``[layers, devices, slots]``.

    Raises
    ------
    SpecError
        No placement that keeps the groups on nodes is within the budget.
    """
    budget = question.max_moves or 0
    return np.stack(
        [np.array(node_frontier(question, layer, budget, goal=goal)[-1].devices) for layer in range(question.layers)]
    )


def node_frontier(question: Question, layer: int, budget: int, *, goal: float) -> list[FrontierPoint]:
    """Moves against balance of one layer with groups kept on nodes; the first point is the fewest moves that do so.

    Raises
    ------
    SpecError
        As `place_on_nodes_within`.
    """
    if question.current is None or question.node_size is None or question.groups is None:
        raise ValueError("no placement in service, or no nodes")
    current, rows = question.current[layer], question.rows(layer)
    nodes = question.devices // question.node_size
    layings: dict[Laid, Fraction] = {}
    if question.groups <= MOST_GROUPS:
        for row in rows:
            found = layings_within(row, current, question.slots, nodes, question.groups, None)
            if found[0][0] > budget:
                raise SpecError(_too_few(layer, budget, found[0][0]))
            for cost, bound, laid in found:
                if cost <= budget:
                    layings[laid] = max(layings.get(laid, Fraction(0)), bound / max(1, sum(row)))
    else:
        layings[_laid_now(question, layer)] = Fraction(0)
    points: list[FrontierPoint] = []
    ranked = sorted(layings, key=lambda laid: (layings[laid], laid))
    fewest = min(layings, key=lambda laid: (_cost(question, layer, laid), laid))
    for laid in dict.fromkeys([*ranked[: _LAYINGS - 1], fewest]):
        points += _on_laying(question, layer, laid, budget, goal)
    kept: list[FrontierPoint] = []
    for point in sorted(points, key=lambda point: (point.moves, point.max_over_mean)):
        if point.moves <= budget and (not kept or point.max_over_mean < kept[-1].max_over_mean):
            kept.append(point)
    if not kept:
        raise SpecError(_too_few(layer, budget))
    return kept


def _too_few(layer: int, budget: int, least: int | None = None) -> str:
    known = "" if least is None else f"; {least} would"
    return (
        f"experts.max_moves: {budget} moves do not bring the router's groups of layer {layer} of those with experts "
        f"onto nodes of their own{known}"
    )


def _cost(question: Question, layer: int, laid: Laid) -> int:
    if question.current is None:
        return 0
    return moves(question.current[layer], _start(question, layer, laid))


def _laid_now(question: Question, layer: int) -> Laid:
    """Groups by the node where most of their copies are, the fullest first, no more on a node than belong there."""
    assert question.current is not None  # noqa: S101 - asked by those who have it
    assert question.node_size is not None  # noqa: S101 - the same
    groups, size = question.groups or 1, question.experts // (question.groups or 1)
    nodes = question.devices // question.node_size
    on = np.zeros((groups, nodes), dtype=np.int64)
    for device, held in enumerate(question.current[layer]):
        for expert in held:
            on[expert // size, device // question.node_size] += 1
    laid: list[list[int]] = [[] for _ in range(nodes)]
    homeless = set(range(groups))
    for place in np.argsort(-on, axis=None, kind="stable").tolist():
        group, node = divmod(place, nodes)
        if group in homeless and len(laid[node]) < groups // nodes:
            laid[node].append(group)
            homeless.remove(group)
    return tuple(tuple(sorted(some)) for some in laid)


def _start(question: Question, layer: int, laid: Sequence[Sequence[int]]) -> Devices:
    """The placement in service with the fewest changes that bring every group onto its node."""
    assert question.current is not None  # noqa: S101 - asked by those who have it
    assert question.node_size is not None  # noqa: S101 - the same
    size, each = question.node_size, question.experts // (question.groups or 1)
    heat = np.array(question.rows(layer), dtype=np.float64).sum(axis=0)
    found: list[tuple[int, ...]] = []
    for node, some in enumerate(laid):
        experts = [group * each + place for group in some for place in range(each)]
        held = [list(own) for own in question.current[layer][node * size : (node + 1) * size]]
        found += [tuple(own) for own in _repaired(held, experts, heat)]
    return tuple(found)


def _repaired(held: list[list[int]], experts: Sequence[int], heat: Floats) -> list[list[int]]:
    mine, free = set(experts), []
    for own in held:
        seen: set[int] = set()
        for slot, expert in enumerate(own):
            if expert not in mine or expert in seen:
                free.append((own, slot))
                own[slot] = -1
            seen.add(expert)
    copies = {expert: sum(expert in own for own in held) for expert in experts}
    missing = [expert for expert in experts if not copies[expert]]
    while len(missing) > len(free):
        # The coolest copy of an expert with several makes room.
        own, slot = min(
            ((own, slot) for own in held for slot, expert in enumerate(own) if expert >= 0 and copies[expert] > 1),
            key=lambda at: (heat[at[0][at[1]]] / copies[at[0][at[1]]], at[0][at[1]]),
        )
        copies[own[slot]] -= 1
        own[slot] = -1
        free.append((own, slot))
    for own, slot in free:
        if missing:
            expert = missing.pop()
        else:
            expert = max((e for e in experts if e not in own), key=lambda e: (heat[e] / copies[e], -e))
        own[slot] = expert
        copies[expert] += 1
    return held


def _on_laying(
    question: Question, layer: int, laid: Sequence[Sequence[int]], budget: int, goal: float
) -> list[FrontierPoint]:
    """Frontier for one laying: each node's own, put together so that the worst node is best for each count of moves."""
    assert question.current is not None  # noqa: S101 - asked by those who have it
    assert question.node_size is not None  # noqa: S101 - the same
    rows, current, size = question.rows(layer), question.current[layer], question.node_size
    each = question.experts // (question.groups or 1)
    start = _start(question, layer, laid)
    left = budget - moves(current, start)
    if left < 0:
        return []
    own: list[list[tuple[int, float, Devices]]] = []
    for node, some in enumerate(laid):
        experts = [group * each + place for group in some for place in range(each)]
        local = {expert: number for number, expert in enumerate(experts)}
        devices = start[node * size : (node + 1) * size]
        mine = [[row[expert] for expert in experts] for row in rows]
        scale = np.array([[question.devices / max(1, sum(row))] for row in rows])
        points = frontier(
            mine, np.array(mine, dtype=np.float64) * scale, np.array([[local[e] for e in held] for held in devices]),
            budget=left, goal=goal,
        )  # fmt: skip
        own.append([])
        for point in points:
            value = max(
                float(max(device_loads(row, point.devices))) * float(factor[0])
                for row, factor in zip(mine, scale, strict=True)
            )
            own[-1].append((point.moves, value, tuple(tuple(experts[e] for e in held) for held in point.devices)))
    found = []
    for top in sorted({value for points in own for _, value, _ in points}, reverse=True):
        chosen = [next((p for p in points if p[1] <= top), None) for points in own]
        if any(point is None for point in chosen):
            break
        devices = tuple(held for point in chosen if point is not None for held in point[2])
        count = moves(current, devices)
        if count <= budget:
            found.append(FrontierPoint(count, _value(question, rows, devices), devices))
    return found


def _value(question: Question, rows: Sequence[Sequence[int]], devices: Devices) -> Fraction:
    values = [
        max(device_loads(row, devices)) * question.devices / sum(row) if sum(row) else Fraction(1) for row in rows
    ]
    return aggregate(values, question.weights, question.robust, question.tail)
