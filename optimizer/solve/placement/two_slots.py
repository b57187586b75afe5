"""Devices of two slots: anneal the replica counts, bound them by linear programs, anneal again from the roundings."""

import time
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from optimizer.solve.placement.bounds import Witness
from optimizer.solve.placement.pairing import WARM, anneal_counts, paired
from optimizer.solve.placement.pairing_bound import best_rounding, bisect_threshold
from optimizer.solve.placement.replicas import Floats, Ints
from optimizer.solve.placement.search import seconds_left

_STEPS = 4000
_STEPS_PER_SLOT = 12
_STALE = 1e-3
_FIRST_PART, _BOUND_PART = 0.35, 0.8


def place_two_slots(
    loads: Sequence[Sequence[int]], weights: Floats, devices: int, floor: list[Fraction], *, goal: float, seed: int,
    deadline: float | None,
) -> tuple[Ints, dict[int, Witness]]:  # fmt: skip
    """Placement of every layer, and better witnesses where linear programs found them.

    Parameters
    ----------
    loads, weights
        Tokens ``[layer][expert]``, and the same in units of the mean device load.
    devices
        Devices, two slots each.
    floor
        Lower bound of each layer, max over mean.
    goal, seed, deadline
        As for ``anneal_counts``.
    """
    begun = time.monotonic()
    experts = weights.shape[1]
    steps = min(_STEPS, _STEPS_PER_SLOT * 2 * devices)
    lowest = np.array([float(bound) for bound in floor])

    def until(part: float) -> float | None:
        return None if deadline is None else begun + part * (deadline - begun)

    counts, best = anneal_counts(
        weights, devices, lowest, goal=goal, steps=steps, seed=seed, deadline=until(_FIRST_PART)
    )
    witnesses: dict[int, Witness] = {}
    if 2 * devices > experts:
        starts = {}
        gaps = best - lowest
        for layer in np.argsort(-gaps, kind="stable").tolist():
            if gaps[layer] <= goal or seconds_left(until(_BOUND_PART)) <= 0:
                break
            mean = Fraction(sum(loads[layer]), devices)
            found = bisect_threshold(
                loads[layer], devices, floor[layer] * mean, Fraction(best[layer]) * mean, tolerance=_STALE,
                deadline=until(_BOUND_PART),
            )  # fmt: skip
            if found.witness is not None:
                witnesses[layer] = found.witness
            if found.counts is not None:
                starts[layer] = best_rounding(found.counts, weights[layer], devices)
        if starts:
            rows = np.array(sorted(starts))
            again, hottest = anneal_counts(
                weights[rows], devices, lowest[rows], goal=goal, steps=steps, seed=seed, deadline=deadline,
                start=np.stack([starts[row] for row in rows.tolist()]), heat=WARM,
            )  # fmt: skip
            better = hottest < best[rows]
            counts[rows[better]] = again[better]
    return paired(weights, counts), witnesses
