"""The one entry: from loads to a placement of every layer with its certificate."""

import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Literal

import numpy as np

from optimizer.certificate.balance import bound_of
from optimizer.certificate.hierarchy import hierarchical_bound
from optimizer.certificate.workloads import combined
from optimizer.errors import InternalError
from optimizer.figures.placement import max_over_mean, moves, split_device_loads
from optimizer.figures.robust import CVAR_TAIL, aggregate
from optimizer.placement.aim import Aim
from optimizer.placement.align import align_on_nodes
from optimizer.placement.bounds import Witness, average_witness, counting_witness
from optimizer.placement.clock import seconds_left
from optimizer.placement.hierarchy import balance_on_nodes, layings
from optimizer.placement.layer_model import best_balance
from optimizer.placement.locality import Nearness
from optimizer.placement.node_budget import place_on_nodes_within
from optimizer.placement.priced import price_and_place
from optimizer.placement.processes import each
from optimizer.placement.question import Current, Loads, Question, ask
from optimizer.placement.rebalance import frontier
from optimizer.placement.refine import refined
from optimizer.placement.replicas import Floats, Ints
from optimizer.placement.result import Devices, LayerPlacement, PlacementResult
from optimizer.placement.robust import balance_robustly
from optimizer.placement.robust_bounds import combined_witness, envelope_witness
from optimizer.placement.search import balance
from optimizer.placement.split import free_shares
from optimizer.placement.two_slots import place_two_slots

TOLERANCE = Fraction(1, 10_000)
"""Gap, in mean device loads, within which a layer counts as proved."""

_FINE_SLOTS = 6
_ROUNDS_PER_SLOT, _ROUNDS_PER_SLOT_OF_FEW = 20, 200
_EXACT_S = 5.0
_PAIR = 2
_MANY_SLOTS = 100
_FINE = 3
_ONE_TURN = ((1.0, 1.0, 10),)
_TURNS = ((0.35, 0.65, 50), (0.75, 0.95, 10), (1.0, 1.0, 10))
"""Parts of the time after which search, then prices, end, and the gap in tolerances that calls for prices."""


def place(
    loads: Sequence[Loads] | Loads,
    devices: int,
    slots_per_device: int,
    *,
    node_size: int | None = None,
    groups: int | None = None,
    hierarchy: Literal["free", "node"] = "free",
    robust: Literal["worst", "mean", "cvar"] = "worst",
    weights: Sequence[Fraction | int | float] | None = None,
    cvar_tail: Fraction = CVAR_TAIL,
    current: Current | None = None,
    max_moves: int | None = None,
    split: Literal["even", "free"] = "even",
    tolerance: Fraction = TOLERANCE,
    time_limit_s: float | None = None,
    seed: int = 0,
    layer_ids: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    solver_bounds: bool = True,
    nearness: Nearness | None = None,
) -> PlacementResult:
    """Place the experts of every layer so that the hottest device is as cool as can be, and prove how cool that is.

    Parameters
    ----------
    loads
        Tokens ``[layer][expert]``, or several such loads.
    devices, slots_per_device
        Devices of the expert mesh, and the expert slots of each; every slot is filled.
    node_size, groups, hierarchy
        With ``hierarchy="node"`` each of the router's ``groups`` lives on one node of ``node_size`` devices.
    robust, weights, cvar_tail
        Objective over several loads, their weights, and the tail of ``cvar``.
    current, max_moves
        Placement in service, ``[layer][device][slot]``, and the most experts of a layer that may be loaded anew.
    split
        ``even``: copies carry equal parts. ``free``: the parts are chosen as well.
    tolerance
        Gap, in mean device loads, that counts as proved.
    time_limit_s
        Seconds after which the best so far is returned.
    seed
        Of the random choices; the same seed gives the same placement unless time ran out.
    layer_ids, names
        The model's own layer indices and the names of the loads, for the result.
    solver_bounds
        Whether CP-SAT's word is taken for a bound that no other argument reaches; such a layer's witness says so.
    nearness
        Co-activated experts to be laid on few nodes, as second objective.

    Raises
    ------
    SpecError
        The question does not fit together.
    """
    begun = time.monotonic()
    question = ask(
        loads, devices, slots_per_device, node_size=node_size, groups=groups, hierarchy=hierarchy, robust=robust,
        weights=weights, tail=cvar_tail, current=current, max_moves=max_moves, split=split, tolerance=tolerance,
        seed=seed,
    )  # fmt: skip
    deadline = None if time_limit_s is None else begun + time_limit_s
    ids = list(layer_ids) if layer_ids is not None else list(range(question.layers))
    ruled: dict[int, Fraction] = {}
    found, witnesses = _search(question, deadline, ruled if solver_bounds else None)
    placed = [
        _answer(
            question,
            index,
            layer,
            tuple(tuple(sorted(map(int, slots))) for slots in held),
            witness,
            deadline,
            ruled.get(index),
        )
        for index, (layer, held, witness) in enumerate(zip(ids, found, witnesses, strict=True))
    ]
    result = PlacementResult(
        tuple(placed), devices, slots_per_device, tolerance,
        tuple(names) if names is not None else tuple(f"load {number}" for number in range(len(question.loads))),
        question.terms, current is not None, time.monotonic() - begun,
    )  # fmt: skip
    return replace(refined(question, result, nearness, deadline), wall_s=time.monotonic() - begun)


def _goal(question: Question) -> float:
    """Excess at which a layer is done: a tenth of the tolerance where many slots make that cheap."""
    return float(question.tolerance) * (0.1 if question.slots >= _FINE_SLOTS else 0.99)


def _rounds(question: Question) -> int:
    """Rounds of the search, by size: work, not time, ends it."""
    few = _PAIR < question.slots < _FINE_SLOTS and question.devices * question.slots > _MANY_SLOTS
    return (_ROUNDS_PER_SLOT_OF_FEW if few else _ROUNDS_PER_SLOT) * question.devices * question.slots


def _search(
    question: Question, deadline: float | None, ruled: dict[int, Fraction] | None
) -> tuple[Ints, list[Witness]]:
    """Placement of every layer, and the witness of its bound; better bounds on CP-SAT's word go into ``ruled``."""
    witnesses = [_witness(question, layer) for layer in range(question.layers)]
    if question.current is not None and question.max_moves is not None:
        by_node = question.hierarchy == "node"
        within = place_on_nodes_within(question, goal=1 + _goal(question)) if by_node else _with_budget(question)
        return within, witnesses
    if question.hierarchy == "node":
        held = balance_on_nodes(
            question,
            layings(question),
            goal=_goal(question),
            rounds=_rounds(question),
            deadline=deadline,
        )
    else:
        bounds = [bound_for(question, layer, witnesses[layer]) for layer in range(question.layers)]
        if question.slots == _PAIR and len(question.loads) == 1:
            even = question.split == "even"
            held, better, solved = place_two_slots(
                question.loads[0], question.normalised(0), question.devices, bounds, goal=_goal(question),
                seed=question.seed, deadline=deadline, solver_bounds=even and ruled is not None,
            )  # fmt: skip
            if ruled is not None:
                ruled.update(solved)
            if even:
                witnesses = [better.get(layer, witness) for layer, witness in enumerate(witnesses)]
        else:
            held, witnesses = _searched_and_priced(question, bounds, witnesses, deadline)
    if question.current is not None:
        size = question.node_size if question.hierarchy == "node" and question.node_size else question.devices
        pairs = zip(held, question.current, strict=True)
        held = np.stack([align_on_nodes(new, np.array(old), size) for new, old in pairs])
    return held, witnesses


def _searched_and_priced(
    question: Question, bounds: list[Fraction], witnesses: list[Witness], deadline: float | None
) -> tuple[Ints, list[Witness]]:
    """Search, then prices; in turn where three slots a device leave gaps that only prices close."""
    begun = time.monotonic()
    priced = len(question.loads) == 1 and question.split == "even"
    turns = _TURNS if priced and deadline is not None and question.slots == _PAIR + 1 else _ONE_TURN
    held = None
    for search_part, price_part, wide in turns:

        def until(part: float) -> float | None:
            return None if deadline is None else begun + part * (deadline - begun)

        proved = [
            max(bound, bound_for(question, layer, found))
            for layer, (bound, found) in enumerate(zip(bounds, witnesses, strict=True))
        ]
        held = _free(question, np.array([float(bound) for bound in proved]), until(search_part), start=held)
        if priced:
            held, witnesses = _priced(question, held, proved, witnesses, wide * question.tolerance, until(price_part))
    if held is None:
        raise InternalError("no turn of search")
    return held, witnesses


def _priced(
    question: Question, held: Ints, bounds: list[Fraction], witnesses: list[Witness], wide: Fraction,
    deadline: float | None,
) -> tuple[Ints, list[Witness]]:  # fmt: skip
    """Cooler placements and better witnesses for the layers with a wide gap to their bound, the widest first."""
    if question.devices * question.slots == question.experts:
        return held, witnesses
    rows = question.loads[0]
    values = [max_over_mean(row, devices) for row, devices in zip(rows, held.tolist(), strict=True)]
    gaps = [value - bound for value, bound in zip(values, bounds, strict=True)]
    layers = [layer for layer in range(question.layers) if gaps[layer] > wide]
    layers.sort(key=lambda layer: (-gaps[layer], layer))
    work = partial(
        price_and_place, tolerance=float(_FINE * question.tolerance), seed=question.seed, deadline=deadline
    )  # fmt: skip
    asked = [(rows[layer], held[layer], bounds[layer]) for layer in layers]
    cooler, better = held.copy(), list(witnesses)
    for layer, (found, placed) in zip(layers, each(work, asked, deadline=deadline), strict=True):
        cooler[layer] = placed
        if found is not None and bound_of(rows[layer], question.devices, question.slots, found) > bounds[layer]:
            better[layer] = found
    return cooler, better


def _free(question: Question, floor: Floats, deadline: float | None, start: Ints | None = None) -> Ints:
    if len(question.loads) == 1:
        held, _ = balance(
            question.normalised(0), floor, question.devices, question.slots, goal=_goal(question),
            rounds=_rounds(question),
            seed=question.seed, deadline=deadline, start=start,
        )  # fmt: skip
        return held
    loads = np.stack([question.normalised(workload) for workload in range(len(question.loads))], axis=1)
    aim = Aim(question.robust, np.array([float(weight) for weight in question.weights]), float(question.tail))
    return balance_robustly(
        loads, aim, question.devices, question.slots, floor=floor, goal=_goal(question), seed=question.seed,
        deadline=deadline,
    )  # fmt: skip


def _with_budget(question: Question) -> Ints:
    if question.current is None or question.max_moves is None:
        raise InternalError("a budget of moves without a placement in service")
    loads = np.stack([question.normalised(workload) for workload in range(len(question.loads))], axis=1)
    return np.stack(
        [
            np.array(
                frontier(
                    question.rows(layer), loads[layer], np.array(question.current[layer]), budget=question.max_moves,
                    goal=1 + _goal(question),
                )[-1].devices
            )
            for layer in range(question.layers)
        ]
    )  # fmt: skip


def _witness(question: Question, layer: int) -> Witness:
    """Witness of the layer's bound; over several workloads one for each."""
    parts = [_one_witness(question, row) for row in question.rows(layer)]
    if len(parts) == 1:
        return parts[0]
    own: Witness = {"kind": "scenario", "bounds": parts}
    others = []
    if question.split == "even" and question.robust == "worst":
        others.append(envelope_witness(question.rows(layer), question.devices, question.slots))
    if question.split == "even" and question.hierarchy == "free":
        others.append(combined_witness(question, layer))
    best, witness = max(
        (other for other in others if other is not None), key=lambda other: other[0], default=(Fraction(0), own)
    )
    return witness if best > bound_for(question, layer, own) else own


def _one_witness(question: Question, row: Sequence[int]) -> Witness:
    if question.split == "free" and question.devices * question.slots > question.experts:
        return average_witness()
    if question.hierarchy == "node":
        return {"kind": "hierarchical"}
    return counting_witness(row, question.devices, question.slots)


def bound_for(question: Question, layer: int, witness: Witness) -> Fraction:
    """Bound on the layer's objective that the witness proves."""
    if witness["kind"] == "envelope":
        return Fraction(witness["threshold"])
    if witness["kind"] == "combination":
        load = combined(question.rows(layer), [Fraction(part) for part in witness["parts"]])
        return bound_of(load, question.devices, question.slots, witness["bound"])
    parts = witness["bounds"] if witness["kind"] == "scenario" else [witness]
    bounds = [
        _hierarchical(question, row) if part["kind"] == "hierarchical" and sum(row) else
        Fraction(1) if part["kind"] == "hierarchical" else
        bound_of(row, question.devices, question.slots, part)
        for row, part in zip(question.rows(layer), parts, strict=True)
    ]  # fmt: skip
    return aggregate(bounds, question.weights, question.robust, question.tail)


def _hierarchical(question: Question, row: Sequence[int]) -> Fraction:
    if question.node_size is None or question.groups is None:
        raise InternalError("a hierarchy without nodes or groups")
    nodes = question.devices // question.node_size
    return hierarchical_bound(row, question.devices, question.slots, nodes, question.groups)


def _answer(
    question: Question, index: int, layer: int, devices: Devices, witness: Witness, deadline: float | None,
    ruled: Fraction | None,
) -> LayerPlacement:  # fmt: skip
    rows = question.rows(index)
    shares = None
    values = [max_over_mean(row, devices) for row in rows]
    if question.split == "free":
        heaviest = max(range(len(rows)), key=lambda number: values[number])
        shares = free_shares(rows[heaviest], devices)
        values = [
            max(split_device_loads(row, devices, shares)) * len(devices) / sum(row) if sum(row) else Fraction(1)
            for row in rows
        ]
    value = aggregate(values, question.weights, question.robust, question.tail)
    bound = bound_for(question, index, witness)
    if ruled is not None and ruled > bound:
        bound, witness = ruled, {"kind": "solver", "checked": witness}
    if question.split == "even" and value - bound > question.tolerance:
        answer = best_balance(question, index, devices, time_limit_s=min(_EXACT_S, seconds_left(deadline)))
        found, ruled = (None, bound) if answer is None else answer
        if ruled > bound:
            bound, witness = ruled, {"kind": "solver", "checked": witness.get("checked", witness)}
        if found is not None:
            exact = [max_over_mean(row, found) for row in rows]
            if aggregate(exact, question.weights, question.robust, question.tail) < value:
                devices, values = found, exact
                value = aggregate(exact, question.weights, question.robust, question.tail)
    moved = None if question.current is None else moves(question.current[index], devices)
    return LayerPlacement(layer, devices, value, bound, witness, tuple(values), moved, shares)
