"""The best bound that a budget of moves gives, beside those that hold without one."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from optimizer.certificate.budget import MOST_GROUPS, budget_bound
from optimizer.figures.placement import Devices, device_loads, replica_counts
from optimizer.figures.robust import aggregate
from optimizer.placement.question import Question
from optimizer.placement.result import LayerPlacement

Witness = dict[str, Any]


def with_budget_bound(question: Question, index: int, layer: LayerPlacement) -> LayerPlacement:
    """The layer with the bound that holds within the budget of moves, where that is better than its own."""
    if question.current is None or question.max_moves is None or question.split != "even":
        return layer
    current, parts, values = question.current[index], [], []
    for row in question.rows(index):
        witness = _witness(question, row, current, question.max_moves)
        bound = Fraction(1)
        if sum(row):
            bound = _proved(question, row, current, question.max_moves, witness) * question.devices / sum(row)
        # the mean is a bound of its own, and better where the budget relieves every device
        parts.append(witness if bound > 1 else {"kind": "average"})
        values.append(max(bound, Fraction(1)))
    bound = aggregate(values, question.weights, question.robust, question.tail)
    if bound < layer.bound or (bound == layer.bound and layer.witness["kind"] != "solver"):
        return layer
    return replace(layer, bound=bound, witness=parts[0] if len(parts) == 1 else {"kind": "scenario", "bounds": parts})


def _proved(question: Question, row: Sequence[int], current: Devices, budget: int, witness: Witness) -> Fraction:
    nodes = None if question.node_size is None else question.devices // question.node_size
    return budget_bound(row, current, question.slots, budget, witness, nodes, question.groups)


def _witness(question: Question, row: Sequence[int], current: Devices, budget: int) -> Witness:
    """The best witness for one load."""
    found = [_relief(row, current, budget), _relieved(row, current, budget)]
    if question.hierarchy == "node" and question.groups is not None and question.groups <= MOST_GROUPS:
        found.append({"kind": "laying"})
    return max(
        (witness for witness in found if witness is not None),
        key=lambda witness: _proved(question, row, current, budget, witness),
    )


def _relief(row: Sequence[int], current: Devices, budget: int) -> Witness:
    """As many of the hottest devices as bound best, found in floats."""
    copies = np.maximum(np.array(replica_counts(current, len(row))), 1)
    held, load = np.array(current), np.array(row, dtype=np.float64)
    shares = (load / copies)[held]
    order = np.argsort(-shares.sum(axis=1), kind="stable")
    best, best_count = -np.inf, 1
    for count in range(1, len(order) + 1):
        slots = np.sort(shares[order[:count]], axis=None)
        value = slots[: max(0, len(slots) - budget)].sum() / count
        if value > best:
            best, best_count = value, count
    chosen = sorted(int(device) for device in order[:best_count])
    return {"kind": "relief", "devices": chosen}


def _relieved(row: Sequence[int], current: Devices, budget: int) -> Witness | None:
    """Hot devices without a common expert, one more than the moves reach."""
    loads = device_loads(row, current)
    chosen: list[int] = []
    seen: set[int] = set()
    for device in sorted(range(len(current)), key=lambda device: (-loads[device], device)):
        if seen.isdisjoint(current[device]) and len(set(current[device])) == len(current[device]):
            seen.update(current[device])
            chosen.append(device)
            if len(chosen) > 2 * budget:
                return {"kind": "relieved", "threshold": str(loads[device]), "devices": sorted(chosen)}
    return None
