"""One workload, nothing else asked: deal, then share out pairs of devices, all layers side by side."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from optimizer.solve.placement.construct import deal
from optimizer.solve.placement.descent import Search, descend
from optimizer.solve.placement.replicas import Floats, Ints, divisor_replicas
from optimizer.solve.placement.variants import try_variants

_LAYERS_WORTH_A_THREAD = 16
_SHARES = ((0.3, 0.45), (0.65, 0.75), (0.9, 1.0))
"""Parts of the time after which search and variants, in turn, end."""

_ATTEMPTS = 4
_VARIANT_PART = 20


def workers() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def balance(
    weights: Floats, floor: Floats, devices: int, slots: int, *, goal: float, rounds: int, seed: int,
    deadline: float | None, counts: Ints | None = None,
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

    Returns
    -------
    held, maximum
        Expert of each slot ``[layers, devices, slots]``, and the hottest device of each layer.
    """

    def chunk(rows: Ints) -> tuple[Ints, Floats]:
        some = weights[rows]
        copies = divisor_replicas(some, devices * slots, devices) if counts is None else counts[rows]
        search = Search.start(some / copies, deal(some, copies, devices))
        low = floor[rows]
        enough = low + goal
        begun = time.monotonic()

        def until(part: float) -> float | None:
            return None if deadline is None else begun + part * (deadline - begun)

        for part, share in enumerate(_SHARES):
            descend(search, low, enough, rounds=rounds // len(_SHARES), seed=seed + part, deadline=until(share[0]))
            try_variants(
                search, some, copies, low, enough, attempts=_ATTEMPTS, rounds=rounds // _VARIANT_PART,
                seed=seed + part, deadline=until(share[1]),
            )  # fmt: skip
        return search.best_held, search.best

    threads = max(1, min(workers(), len(weights) // _LAYERS_WORTH_A_THREAD))
    parts = np.array_split(np.arange(len(weights)), threads)
    if threads == 1:
        return chunk(parts[0])
    with ThreadPoolExecutor(threads) as pool:
        done = list(pool.map(chunk, parts))
    return np.concatenate([held for held, _ in done]), np.concatenate([best for _, best in done])


def seconds_left(deadline: float | None) -> float:
    """Seconds until the deadline, infinite without one."""
    return float("inf") if deadline is None else deadline - time.monotonic()
