"""One workload, nothing else asked: deal, then share out pairs of devices, all layers side by side."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from optimizer.placement.construct import deal
from optimizer.placement.descent import Search, descend
from optimizer.placement.processes import each, workers
from optimizer.placement.replicas import Floats, Ints, divisor_replicas
from optimizer.placement.variants import try_variants

_LAYERS_WORTH_A_THREAD = 16
_LAYERS_WORTH_A_PROCESS = 4
_FIRST_ROUNDS = 400
_SHARES = ((0.3, 0.45), (0.65, 0.75), (0.9, 1.0))
"""Parts of the time after which search and variants, in turn, end."""

_ATTEMPTS = 4
_VARIANT_PART = 20
_LAST_TURNS = 6


def balance(
    weights: Floats, floor: Floats, devices: int, slots: int, *, goal: float, rounds: int, seed: int,
    deadline: float | None, counts: Ints | None = None, start: Ints | None = None,
) -> tuple[Ints, Floats]:  # fmt: skip
    """Placement of every layer with the even split, without side constraints.

    Parameters
    ----------
    weights
        Loads in units of the mean device load, ``[layers, experts]``.
    floor
        Lower bound of each layer, in the same unit.
    devices, slots
        Devices, and slots of each.
    goal
        Excess over the floor at which a layer is done.
    rounds, seed, deadline
        As for ``descend``.
    counts
        Copies of each expert; by the divisor method where not given.
    start
        Placement to go on from; dealt anew where not given.

    Returns
    -------
    held, maximum
        Expert of each slot ``[layers, devices, slots]``, and the hottest device of each layer.
    """
    if start is not None:
        counts = np.stack([np.bincount(held.ravel(), minlength=weights.shape[1]) for held in start])
    copies = divisor_replicas(weights, devices * slots, devices) if counts is None else counts
    search = Search.start(weights / copies, deal(weights, copies, devices) if start is None else start)
    enough, begun = floor + goal, time.monotonic()
    first_rounds = min(_FIRST_ROUNDS, rounds) if start is None else 0

    def first(rows: Ints) -> Search:
        part = search.part(rows)
        until = None if deadline is None else begun + _SHARES[0][0] * (deadline - begun)
        descend(part, floor[rows], enough[rows], rounds=first_rounds, seed=seed, deadline=until)
        return part

    # Layers of many slots are done before processes would have begun; of few slots, hardly one.
    parts = np.array_split(np.arange(len(weights)), max(1, min(workers(), len(weights) // _LAYERS_WORTH_A_THREAD)))
    with ThreadPoolExecutor(len(parts)) as pool:
        for rows, found in zip(parts, pool.map(first, parts), strict=True):
            search.adopt(rows, found, np.arange(len(rows)))
    open_layers = np.nonzero(search.best > enough)[0]
    if len(open_layers):
        processes = max(1, min(workers(), len(open_layers) // _LAYERS_WORTH_A_PROCESS))
        # Dealt in turn, so that the easy layers do not all go to one process.
        parts = [open_layers[first::processes] for first in range(processes)]
        asked = [
            (search.part(rows), weights[rows], copies[rows], floor[rows], enough[rows], rounds, seed, (begun, deadline))
            for rows in parts
        ]
        for rows, cooler in zip(parts, each(search_on, asked, deadline=deadline), strict=True):
            search.adopt(rows, cooler, np.arange(len(rows)))
    return search.best_held, search.best


def search_on(
    search: Search, weights: Floats, copies: Ints, floor: Floats, enough: Floats, rounds: int, seed: int,
    time_span: tuple[float, float | None],
) -> Search:  # fmt: skip
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

    def until(part: float) -> float | None:
        return None if deadline is None else begun + part * (deadline - begun)

    for part, share in enumerate(_SHARES):
        descend(
            search, floor, enough, rounds=rounds // len(_SHARES), seed=seed + 1 + part, deadline=until(share[0])
        )  # fmt: skip
        try_variants(
            search, weights, copies, floor, enough, attempts=_ATTEMPTS, rounds=rounds // _VARIANT_PART,
            seed=seed + part, deadline=until(share[1]),
        )  # fmt: skip
    # What is left is a few layers that their counts hold back, if only by a little.
    for part in range(_LAST_TURNS):
        try_variants(
            search, weights, copies, floor, enough, attempts=1, rounds=rounds // _VARIANT_PART, far=1.0,
            seed=seed + len(_SHARES) + part, deadline=deadline,
        )  # fmt: skip
        descend(
            search, floor, enough, rounds=rounds // _VARIANT_PART, seed=seed + 1 + len(_SHARES) + part,
            deadline=deadline,
        )  # fmt: skip
    return search
