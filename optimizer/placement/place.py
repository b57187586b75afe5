"""The one entry: from a question to a placement of every layer with its certificate."""

import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np

from optimizer.figures.placement import max_over_mean
from optimizer.figures.placement_bounds.balance import bound_of
from optimizer.placement import effort
from optimizer.placement.bounds import WitnessedBound, counted_bound, with_budget_bound
from optimizer.placement.counts import Ints, divisor_replicas
from optimizer.placement.descent import Aim, Descent, descend
from optimizer.placement.free_split import exchanged_for_split, split_freely
from optimizer.placement.hierarchy import balance_on_nodes
from optimizer.placement.layer_model import balanced
from optimizer.placement.locality import brought_together, with_visits
from optimizer.placement.moves import align_on_nodes, with_fewest_moves, within_budget
from optimizer.placement.price_bound import price_and_place
from optimizer.placement.processes import each
from optimizer.placement.question import Layer, Question
from optimizer.placement.result import DeviceExperts, LayerPlacement, PlacementResult, tuples
from optimizer.placement.search import balance_loads
from optimizer.placement.two_slots import place_two_slots

_STAGES = (
    balanced, split_freely, exchanged_for_split, with_budget_bound, with_visits, brought_together, with_fewest_moves,
)  # fmt: skip
"""What comes after the search, layer by layer, each doing nothing where it is not asked for."""


def place(question: Question, *, time_limit_s: float | None = None) -> PlacementResult:
    """Place the experts of every layer so that the hottest device is as cool as can be, and prove how cool that is.

    Parameters
    ----------
    question
        What to place, where, and what counts as good.
    time_limit_s
        Seconds after which the best so far is returned.

    Raises
    ------
    SpecError
        No placement is within the budget of moves.
    """
    begun = time.monotonic()
    deadline = None if time_limit_s is None else begun + time_limit_s
    layers = [Layer(question, index, deadline) for index in range(question.layers)]
    if question.empty_slots:
        limit = None if time_limit_s is None else time_limit_s * effort.RELAXED_PART
        relaxed = place(padded(question), time_limit_s=limit).layers
        placements = [without_blanks(layer, placement) for layer, placement in zip(layers, relaxed, strict=True)]
    else:
        bounds = [counted_bound(question, layer) for layer in range(question.layers)]
        until = deadline
        later = question.split == "free" or question.nearness is not None or question.max_moves is not None
        if time_limit_s is not None and later:
            until = begun + time_limit_s * effort.SEARCH_PART
        held = _search(question, bounds, until)
        ids = question.layer_ids or range(question.layers)
        placements = [
            layer.placed(LayerPlacement(number, (), Fraction(0), *bound, ()), tuples(devices))
            for layer, number, bound, devices in zip(layers, ids, bounds, held, strict=True)
        ]
    for stage in _STAGES:
        placements = [stage(layer, placement) for layer, placement in zip(layers, placements, strict=True)]
    names = question.names or [f"load {number}" for number in range(len(question.loads))]
    return PlacementResult(
        tuple(placements), question.devices, question.slots, question.tolerance, tuple(names), question.terms,
        question.current is not None, time.monotonic() - begun,
    )  # fmt: skip


def _search(question: Question, bounds: list[WitnessedBound], deadline: float | None) -> Ints:
    """Placement of every layer, ``[layers, devices, slots]``; betters the bounds."""
    # Where many slots make it cheap, a tenth of the tolerance.
    goal = float(question.tolerance) * (0.1 if question.slots >= effort.MANY_SLOTS else 0.99)
    if question.max_moves is not None:
        return within_budget(question, goal=1 + goal, deadline=deadline)
    if question.hierarchy == "node":
        held = balance_on_nodes(question, goal=goal, deadline=deadline)
    elif question.slots == 2 and len(question.loads) == 1:
        held = place_two_slots(question, bounds, goal=goal, deadline=deadline)
    else:
        held = _searched_and_priced(question, bounds, goal, deadline)
    if question.current is not None:
        pairs = zip(held, question.current, strict=True)
        held = np.stack([align_on_nodes(new, np.array(old), question.kept_within) for new, old in pairs])
    return held


def _searched_and_priced(question: Question, bounds: list[WitnessedBound], goal: float, deadline: float | None) -> Ints:
    """Search, then prices; in turn where three slots a device leave gaps that only prices close."""
    begun = time.monotonic()
    priced = len(question.loads) == 1 and question.split == "even" and question.spare
    turns = effort.TURNS if priced and deadline is not None and question.slots == 3 else effort.TURNS[-1:]
    held: Ints | None = None
    for search_part, price_part, wide in turns:
        ends = [None if deadline is None else begun + part * (deadline - begun) for part in (search_part, price_part)]
        floor = np.array([float(bound) for bound, _ in bounds])
        held = balance_loads(
            question, question.normalised(), question.devices, floor, goal=goal, deadline=ends[0], start=held
        )
        if priced:
            held = _priced(question, held, bounds, wide * question.tolerance, ends[1])
    assert held is not None  # noqa: S101 - there is a turn
    return held


def _priced(
    question: Question, held: Ints, bounds: list[WitnessedBound], wide: Fraction, deadline: float | None
) -> Ints:
    """Cooler placements and better bounds for the layers with a wide gap to their bound, the widest first."""
    rows = question.loads[0]
    gaps = [
        max_over_mean(row, devices) - bound
        for row, devices, (bound, _) in zip(rows, held.tolist(), bounds, strict=True)
    ]
    layers = sorted((n for n, gap in enumerate(gaps) if gap > wide), key=lambda layer: (-gaps[layer], layer))
    fineness = effort.PRICE_FINENESS * float(question.tolerance)
    work = partial(price_and_place, tolerance=fineness, seed=question.seed, deadline=deadline)
    tasks = [(rows[layer], held[layer], bounds[layer][0]) for layer in layers]
    cooler = held.copy()
    for layer, (witness, placed) in zip(layers, each(work, tasks, deadline=deadline), strict=True):
        cooler[layer] = placed
        if witness is not None:
            bound = bound_of(rows[layer], question.devices, question.slots, witness)
            bounds[layer] = max(bounds[layer], (bound, witness), key=lambda known: known[0])
    return cooler


def padded(question: Question) -> Question:
    """The same without empty slots: each holds a blank expert of its own."""
    blanks = [0] * question.empty_slots
    return replace(question, loads=[[[*row, *blanks] for row in load] for load in question.loads], empty_slots=0)


def without_blanks(layer: Layer, padded: LayerPlacement) -> LayerPlacement:
    """The padded layer's bound, and its placement without blanks or, where these met, another; fuller devices first."""
    experts = layer.question.experts
    blanks = [sum(expert >= experts for expert in held) for held in padded.devices]
    met = max(blanks) > 1 or sum(blanks) > layer.question.empty_slots
    return layer.placed(padded, _stripped(_searched(layer, padded) if met else padded.devices, experts))


def _stripped(devices: Sequence[Sequence[int]], experts: int) -> DeviceExperts:
    real = [tuple(sorted(expert for expert in held if expert < experts)) for held in devices]
    return tuple(sorted(real, key=lambda held: -len(held)))


def _searched(layer: Layer, padded: LayerPlacement) -> DeviceExperts:
    """Balance one layer with one blank expert of so many copies."""
    question, loads = layer.question, layer.loads
    devices, blanks = question.devices, question.empty_slots
    counts = divisor_replicas(loads.max(axis=0, keepdims=True), devices * question.slots - blanks, devices)
    copies, goal = np.append(counts, blanks)[None], np.array([float(padded.bound + question.tolerance / 2)])
    search = Descent.dealt(
        Aim.of(question), np.pad(loads, ((0, 0), (0, 1)))[None], copies, devices, np.ones(1), goal
    )  # fmt: skip
    rounds = effort.ROUNDS_PER_SLOT * devices * question.slots
    descend(search, rounds=rounds, seed=question.seed, deadline=layer.deadline)
    return tuples(search.best_held[0])
