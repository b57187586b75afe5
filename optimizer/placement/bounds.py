"""Lower bounds with their witnesses that counting gives: of one load, over several loads, and within a budget of moves.

They are quick enough to state the goal before the search begins; linear programs (`price_bound`, `pairing_program`)
better them.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from optimizer.figures.placement import Devices, device_loads, replica_counts
from optimizer.figures.placement_bounds.balance import bound_of, combined, envelope_copies
from optimizer.figures.placement_bounds.budget import MOST_GROUPS, budget_bound
from optimizer.figures.placement_bounds.hierarchy import hierarchical_bound
from optimizer.placement.counts import divisor_replicas
from optimizer.placement.question import Layer, Question
from optimizer.placement.result import LayerPlacement

Witness = dict[str, Any]
WitnessedBound = tuple[Fraction, Witness]


def counting_witness(load: Sequence[int], devices: int, slots_per_device: int) -> Witness:
    """Witness of the best counting bound of one layer: average, count, or topj without replicas.

    Parameters
    ----------
    load
        Tokens of each expert.
    devices, slots_per_device
        Devices, and slots of each.
    """
    total, slots = sum(load), devices * slots_per_device
    witness: Witness = {"kind": "average"}
    if total and slots == len(load):
        topj = {"kind": "topj", "heaviest": _best_topj(load, slots_per_device)}
        if bound_of(load, devices, slots_per_device, topj) > 1:
            witness = topj
    elif total and max(load) * devices > total:
        counts = divisor_replicas(np.array([load], dtype=np.float64), slots, devices)[0]
        share = max(Fraction(weight, int(count)) for weight, count in zip(load, counts, strict=True))
        if share * devices > total and sum(int(weight // share) + 1 for weight in load) > slots:
            witness = {"kind": "count", "threshold": str(share)}
    return witness


def _best_topj(load: Sequence[int], slots_per_device: int) -> int:
    """The number of heaviest experts whose bound is largest, found in floats; any answer is a valid witness."""
    ascending = np.sort(np.array(load, dtype=np.float64))
    experts = len(load)
    prefix = np.concatenate([[0.0], np.cumsum(ascending)])
    heaviest = np.arange(1, experts + 1)[:, None]
    hosts = np.arange(1, experts // slots_per_device + 1)[None, :]
    lightest = np.clip(hosts * slots_per_device - heaviest, 0, None)
    sums = prefix[-1] - prefix[experts - heaviest] + prefix[lightest]
    possible = (hosts * slots_per_device >= heaviest) & (hosts <= heaviest)
    values = np.where(possible, sums / hosts, np.inf).min(axis=1)
    return int(values.argmax()) + 1


def counted_bound(question: Question, layer: int) -> WitnessedBound:
    """Best counting bound on a layer's objective; over several workloads one for each, or for all."""
    parts = [_one(question, row) for row in question.rows(layer)]
    if len(parts) == 1:
        return parts[0]
    alone = question.together([bound for bound, _ in parts])
    known: list[WitnessedBound] = [(alone, {"kind": "scenario", "bounds": [witness for _, witness in parts]})]
    if question.split == "even":
        known += [*_envelope(question, layer), *_mixed(question, layer)]
    return max(known, key=lambda bound: bound[0])


def _one(question: Question, row: Sequence[int]) -> WitnessedBound:
    devices, slots, node_size, groups = question.devices, question.slots, question.node_size, question.groups
    # However loads are split, an expert needs as many copies as counting says.
    if question.hierarchy == "free" or (question.split != "even" and question.spare) or not node_size or not groups:
        witness = counting_witness(row, devices, slots)
        return bound_of(row, devices, slots, witness), witness
    bound = hierarchical_bound(row, devices, slots, devices // node_size, groups) if sum(row) else Fraction(1)
    return bound, {"kind": "hierarchical"}


def _envelope(question: Question, layer: int) -> Iterable[WitnessedBound]:
    """Bound on the worst workload by the copies that the largest shares need, where it is above the mean."""
    rows = [row for row in question.rows(layer) if sum(row)]
    if question.robust != "worst" or not rows:
        return []
    largest = np.array([[weight / sum(row) for weight in row] for row in rows]).max(axis=0, keepdims=True)
    counts = divisor_replicas(largest, question.devices * question.slots, question.devices)[0].tolist()
    threshold = max(
        Fraction(weight * question.devices, sum(row) * count)
        for row in rows
        for weight, count in zip(row, counts, strict=True)
    )
    if threshold <= 1 or envelope_copies(rows, question.devices, threshold) <= question.devices * question.slots:
        return []
    return [(threshold, {"kind": "envelope", "threshold": str(threshold)})]


def _mixed(question: Question, layer: int) -> Iterable[WitnessedBound]:
    """Bounds by mixes of the workloads: any pair or all for the worst one, the weights themselves for the mean."""
    rows = question.rows(layer)
    loaded = [number for number, row in enumerate(rows) if sum(row)]
    mixes: list[list[Fraction]] = []
    if question.robust == "mean" and len(loaded) == len(rows):
        mixes = [list(question.weights)]
    elif question.robust == "worst" and len(loaded) > 1:
        mixes = [
            [Fraction(number in chosen, size) for number in range(len(rows))]
            for size in sorted({2, len(loaded)})
            for chosen in itertools.combinations(loaded, size)
        ]
    if question.hierarchy == "free":
        for parts in mixes:
            load = combined(rows, parts)
            witness = counting_witness(load, question.devices, question.slots)
            bound = bound_of(load, question.devices, question.slots, witness)
            yield bound, {"kind": "combination", "parts": [str(part) for part in parts], "bound": witness}


def with_budget_bound(layer: Layer, placement: LayerPlacement) -> LayerPlacement:
    """The layer with the bound that holds within the budget of moves, where that is better than its own."""
    question = layer.question
    if question.max_moves is None or question.split != "even":
        return placement
    nodes = None if question.node_size is None else question.devices // question.node_size
    parts, values = [], []
    for row in layer.rows:
        bound, witness = Fraction(1), {"kind": "average"}
        for tried in budget_witnesses(question, row, layer.service, question.max_moves) if sum(row) else ():
            tokens = budget_bound(row, layer.service, question.slots, question.max_moves, tried, nodes, question.groups)
            if (value := tokens * question.devices / sum(row)) > bound:
                bound, witness = value, tried
        parts.append(witness)
        values.append(bound)
    bound = question.together(values)
    if bound < placement.bound or (bound == placement.bound and placement.witness["kind"] != "solver"):
        return placement
    return replace(
        placement, bound=bound, witness=parts[0] if len(parts) == 1 else {"kind": "scenario", "bounds": parts}
    )


def budget_witnesses(question: Question, row: Sequence[int], current: Devices, budget: int) -> Iterable[Witness]:
    """Witnesses of what one load keeps within a budget of moves."""
    yield relief(row, current, budget)
    yield from relieved(row, current, budget)
    if question.hierarchy == "node" and question.groups is not None and question.groups <= MOST_GROUPS:
        yield {"kind": "laying"}


def relief(row: Sequence[int], current: Devices, budget: int) -> Witness:
    """As many of the hottest devices as bound best, found in floats."""
    copies = np.maximum(np.array(replica_counts(current, len(row))), 1)
    shares = (np.array(row, dtype=np.float64) / copies)[np.array(current)]
    order = np.argsort(-shares.sum(axis=1), kind="stable")
    values = []
    for count in range(1, len(order) + 1):
        slots = np.sort(shares[order[:count]], axis=None)
        values.append(slots[: max(0, len(slots) - budget)].sum() / count)
    return {"kind": "relief", "devices": sorted(order[: int(np.argmax(values)) + 1].tolist())}


def relieved(row: Sequence[int], current: Devices, budget: int) -> Iterable[Witness]:
    """Hot devices without a common expert, one more than the moves reach."""
    loads = device_loads(row, current)
    chosen: list[int] = []
    seen: set[int] = set()
    for device in sorted(range(len(current)), key=lambda device: (-loads[device], device)):
        if seen.isdisjoint(current[device]) and len(set(current[device])) == len(current[device]):
            seen.update(current[device])
            chosen.append(device)
            if len(chosen) > 2 * budget:
                yield {"kind": "relieved", "threshold": str(loads[device]), "devices": sorted(chosen)}
                return
