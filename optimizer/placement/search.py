"""All layers of a free mesh, or of nodes by themselves: deal, then search, with other copy counts where these matter.

One workload: pairs of devices share out their copies anew (`descent`), and variants of the copy counts are searched
side by side. Several workloads: `robust`.
"""

import time

import numpy as np

from optimizer.placement import effort
from optimizer.placement.counts import Floats, Ints, divisor_replicas, transferred
from optimizer.placement.descent import Descent, descend
from optimizer.placement.processes import each, seconds_left, workers
from optimizer.placement.question import Question
from optimizer.placement.robust import Aim, balance_robustly


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
    if loads.shape[1] > 1:
        aim = Aim(question.robust, np.array([float(part) for part in question.weights]), float(question.tail))
        return balance_robustly(
            loads, aim, devices, question.slots, floor=floor, goal=goal, seed=question.seed, deadline=deadline
        )
    weights, slots, enough = loads[:, 0], question.slots, floor + goal
    few = 2 < slots < effort.MANY_SLOTS and question.devices * slots > effort.MANY_DEVICE_SLOTS
    rounds = (effort.ROUNDS_PER_SLOT_OF_FEW if few else effort.ROUNDS_PER_SLOT) * question.devices * slots
    begun = time.monotonic()
    if start is None:
        counts = divisor_replicas(weights, devices * slots, devices)
        search = Descent.dealt(weights, counts, devices)
        until = None if deadline is None else begun + effort.SEARCH_TURNS[0][0] * (deadline - begun)
        first = min(effort.FIRST_ROUNDS, rounds)
        descend(search, floor, enough, rounds=first, seed=question.seed, deadline=until)
    else:
        counts = np.stack([np.bincount(held.ravel(), minlength=weights.shape[1]) for held in start])
        search = Descent.start(weights / counts, start)
    open_layers = np.nonzero(search.best > enough)[0]
    if len(open_layers):
        processes = max(1, min(workers(), len(open_layers) // effort.LAYERS_A_PROCESS))
        # Dealt in turn, so that the easy layers do not all go to one process.
        parts = [open_layers[first::processes] for first in range(processes)]
        tasks = [
            (search.part(part), weights[part], counts[part], floor[part], enough[part], rounds, question.seed,
             (begun, deadline))
            for part in parts
        ]  # fmt: skip
        for part, cooler in zip(parts, each(search_on, tasks, deadline=deadline), strict=True):
            search.adopt(part, cooler, np.arange(len(part)))
    return search.best_held


def search_on(
    search: Descent, weights: Floats, copies: Ints, floor: Floats, enough: Floats, rounds: int, seed: int,
    time_span: tuple[float, float | None],
) -> Descent:  # fmt: skip
    """Search with the copies given and with others, in turn, until every layer is cool enough or the work is done.

    Parameters
    ----------
    search
        Placements to start from.
    weights, copies, floor, enough
        Loads and copies ``[layers, experts]``; lower bound and goal of each layer.
    rounds, seed, time_span
        Work, random seed, and the ``time.monotonic()`` at which the search began and at which it ends, if it must.
    """
    begun, deadline = time_span
    turns = [(rounds // len(effort.SEARCH_TURNS), effort.ATTEMPTS, effort.FAR, turn) for turn in effort.SEARCH_TURNS]
    # What is left is a few layers that their counts hold back, if only by a little.
    turns += [(rounds // effort.VARIANT_PART, 1, 1.0, (1.0, 1.0))] * effort.LAST_TURNS
    for number, (work, attempts, far, ends) in enumerate(turns):
        until = [None if deadline is None else begun + end * (deadline - begun) for end in ends]
        descend(search, floor, enough, rounds=work, seed=seed + 1 + number, deadline=until[0])
        _try_variants(
            search, weights, copies, floor, enough, attempts=attempts, rounds=rounds // effort.VARIANT_PART, far=far,
            seed=seed + number, deadline=until[1],
        )  # fmt: skip
    return search


def _try_variants(
    search: Descent, weights: Floats, counts: Ints, floor: Floats, enough: Floats, *, attempts: int, rounds: int,
    far: float, seed: int, deadline: float | None,
) -> None:  # fmt: skip
    """Look for better copy counts of the layers more than ``far`` times their goal's excess above the floor.

    Several variants of every such layer, in each a few copies change hands, are searched side by side from anew; the
    best becomes the layer's placement.
    """
    devices, slots = search.held.shape[1:]
    if devices * slots == weights.shape[1]:
        return
    rng = np.random.default_rng(seed)
    for attempt in range(attempts):
        draws = rng.random((effort.VARIANTS, 1 + attempt, 2))
        open_layers = np.nonzero(search.best > floor + far * (enough - floor))[0]
        if not len(open_layers) or seconds_left(deadline) <= 0:
            return
        rows = np.repeat(open_layers, effort.VARIANTS)
        tried = np.stack(
            [transferred(weights[row], counts[row], devices, draws[n % effort.VARIANTS]) for n, row in enumerate(rows)]
        )
        variant = Descent.dealt(weights[rows], tried, devices)
        descend(variant, floor[rows], enough[rows], rounds=rounds, seed=seed + attempt, deadline=deadline)
        winner = (
            variant.best.reshape(-1, effort.VARIANTS).argmin(axis=1) + np.arange(len(open_layers)) * effort.VARIANTS
        )
        better = variant.best[winner] < search.best[open_layers]
        improved, source = open_layers[better], winner[better]
        counts[improved] = tried[source]
        search.adopt(improved, variant, source)
