"""All layers of a free mesh, or of nodes by themselves: deal, search, and other copy counts where these matter."""

import time

import numpy as np

from optimizer.placement import effort
from optimizer.placement.counts import Floats, Ints, divisor_replicas, transferred
from optimizer.placement.descent import Aim, Descent, descend
from optimizer.placement.processes import each, seconds_left, workers
from optimizer.placement.question import Question


def balance_loads(
    question: Question, loads: Floats, devices: int, floor: Floats, *, goal: float, deadline: float | None,
    start: Ints | None = None,
) -> Ints:  # fmt: skip
    """Placement of every layer with the even split, without side constraints; ``[layers, devices, slots]``.

    Parameters
    ----------
    question
        Its slots, objective, seed and size, by which the work is measured.
    loads
        In units of the mean device load, ``[layers, workloads, experts]``.
    devices
        Devices of a layer.
    floor, goal
        Lower bound of each layer's objective, and the excess over it at which a layer is done.
    deadline
        ``time.monotonic()`` at which to stop.
    start
        Placement to go on from; dealt anew where not given.
    """
    slots, aim = question.slots, Aim.of(question)
    few = 2 < slots < effort.MANY_SLOTS and question.devices * slots > effort.MANY_DEVICE_SLOTS
    rounds = effort.ROUNDS_PER_SLOT_OF_FEW if few else effort.ROUNDS_PER_SLOT
    rounds = (rounds if loads.shape[1] == 1 else effort.ROUNDS_PER_SLOT_OF_SEVERAL) * question.devices * slots
    begun = time.monotonic()
    if start is None:
        until = None if deadline is None else begun + effort.SEARCH_TURNS[0][0] * (deadline - begun)
        search = _begun(aim, loads, devices, slots, floor, floor + goal, question.seed, until)
        descend(search, rounds=min(effort.FIRST_ROUNDS, rounds), seed=question.seed, deadline=until)
    else:
        search = Descent.start(aim, loads, start, floor, floor + goal)
    open_layers = np.nonzero(search.best > search.goal)[0]
    if len(open_layers):
        processes = max(1, min(workers(), len(open_layers) // effort.LAYERS_A_PROCESS))
        # Dealt in turn, so that the easy layers do not all go to one process.
        parts = [open_layers[first::processes] for first in range(processes)]
        tasks = [(search.part(part), rounds, question.seed, (begun, deadline)) for part in parts]
        for part, cooler in zip(parts, each(search_on, tasks, deadline=deadline), strict=True):
            search.adopt(part, cooler, np.arange(len(part)))
    return search.best_held


def _begun(
    aim: Aim, loads: Floats, devices: int, slots: int, floor: Floats, goal: Floats, seed: int, deadline: float | None
) -> Descent:  # fmt: skip
    """Copies dealt out; over several workloads the best of counts by their largest loads, by the mean, and between."""
    if loads.shape[1] == 1:
        return Descent.dealt(aim, loads, divisor_replicas(loads[:, 0], devices * slots, devices), devices, floor, goal)
    mixes = [loads.max(axis=1), loads.mean(axis=1), np.sqrt((loads**2).mean(axis=1))]
    counts = divisor_replicas(np.concatenate(mixes), devices * slots, devices)
    every = np.tile(np.arange(len(loads)), len(mixes))
    search = Descent.dealt(aim, loads[every], counts, devices, floor[every], goal[every])
    descend(search, rounds=effort.PAIR_ROUNDS, seed=seed, deadline=deadline)
    return search.part(search.best.reshape(len(mixes), -1).argmin(axis=0) * len(loads) + np.arange(len(loads)))


def search_on(search: Descent, rounds: int, seed: int, time_span: tuple[float, float | None]) -> Descent:
    """Search with the copies given and with others, in turn, until every layer is cool enough or the work is done.

    Parameters
    ----------
    search
        Placements to start from.
    rounds, seed, time_span
        Work, random seed, and the ``time.monotonic()`` at which the search began and at which it ends, if it must.
    """
    begun, deadline = time_span
    turns = [(rounds // len(effort.SEARCH_TURNS), effort.FAR, turn) for turn in effort.SEARCH_TURNS]
    if search.weights.shape[1] == 1:
        # What is left is a few layers that their counts hold back, if only by a little.
        turns += [(rounds // effort.VARIANT_PART, 1.0, (1.0, 1.0))] * effort.LAST_TURNS
    for number, (work, far, ends) in enumerate(turns):
        until = [None if deadline is None else begun + end * (deadline - begun) for end in ends]
        descend(search, rounds=work, seed=seed + 1 + number, deadline=until[0])
        _try_variants(search, rounds // effort.VARIANT_PART, far, seed + number, until[1])
    return search


def _try_variants(search: Descent, rounds: int, far: float, seed: int, deadline: float | None) -> None:
    """Look for better copy counts of the layers more than ``far`` times their goal's excess above the floor.

    Several variants of every such layer, in each a copy changes hands, are searched side by side from anew; the best
    becomes the layer's placement.
    """
    devices, slots = search.held.shape[1:]
    experts = search.weights.shape[2]
    layers = np.nonzero(search.best > search.floor + far * (search.goal - search.floor))[0]
    if devices * slots == experts or not len(layers) or seconds_left(deadline) <= 0:
        return
    draws = np.random.default_rng(seed).random((effort.VARIANTS, 2))
    rows, mix = np.repeat(layers, effort.VARIANTS), search.weights.max(axis=1)
    counts = [
        transferred(mix[layer], np.bincount(search.best_held[layer].ravel(), minlength=experts), devices, *draw)
        for layer in layers for draw in draws
    ]  # fmt: skip
    variant = search.part(rows).dealt_anew(np.stack(counts))
    descend(variant, rounds=rounds, seed=seed, deadline=deadline)
    winner = variant.best.reshape(-1, effort.VARIANTS).argmin(axis=1) + np.arange(len(layers)) * effort.VARIANTS
    better = variant.best[winner] < search.best[layers]
    search.adopt(layers[better], variant, winner[better])
