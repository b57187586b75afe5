"""Two slots a device: how low the hottest device can be, by a linear program over replica counts.

For a threshold ``T`` the counts ``y[e,r]`` must pair up: for every ``v <= T / 2`` at most as many copies are larger
than ``T - v`` as are smaller than ``v``. The program minimises the worst violation; where it cannot vanish, its dual
values are the multipliers of the certificate, rounded to whole numbers and checked exactly. Rows are added as they are
violated.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]  # ortools ships no types for it

from optimizer.certificate.thresholds import check_threshold
from optimizer.errors import InternalError
from optimizer.solve.placement.pairing import fold
from optimizer.solve.placement.replicas import Floats, Ints
from optimizer.solve.placement.search import seconds_left

_GRID = 1024
_MORE_COPIES = 4
_FIRST_ROWS = 24
_NEW_ROWS = 6
_ROW_ROUNDS = 8
_WHOLE = 10**6
_FEASIBLE = 1e-7
_ROUND = 1e-6
_MOST_LOOSE = 8


@dataclass(frozen=True, slots=True)
class Bisected:
    """Highest threshold refuted, with its witness, and fractional counts at the lowest that was not."""

    threshold: Fraction | None
    witness: dict[str, Any] | None
    counts: Floats | None


def bisect_threshold(
    load: Sequence[int], devices: int, low: Fraction, high: Fraction, *, tolerance: float, deadline: float | None
) -> Bisected:
    """Narrow the hottest device's least load, in tokens, between a proved bound and a placement's value."""
    best = Bisected(None, None, None)
    mean = sum(load) / devices
    below, above = float(low), float(high)
    trial = above - tolerance * mean
    while above - below > tolerance * mean / 2 and seconds_left(deadline) > 0:
        threshold = Fraction(int(trial * _GRID), _GRID)
        witness, counts = _refute(load, devices, threshold)
        if witness is not None:
            best = Bisected(threshold, witness, best.counts)
            below = trial
        else:
            best = Bisected(best.threshold, best.witness, counts)
            above = trial
        trial = (below + above) / 2
    return best


def _refute(  # noqa: PLR0912 - one linear program, posted and solved row by row
    load: Sequence[int], devices: int, threshold: Fraction
) -> tuple[dict[str, Any] | None, Floats | None]:
    """Witness that no placement stays within the threshold, or else fractional counts of a near miss."""
    weights = np.array(load, dtype=np.float64)
    limit = float(threshold)
    spare = 2 * devices - len(load)
    fewest = np.maximum(1, np.ceil(weights / limit)).astype(np.int64)
    if fewest.sum() > 2 * devices:
        return None, None
    owner = np.repeat(np.arange(len(load)), _MORE_COPIES)
    copies = (fewest[:, None] + np.arange(_MORE_COPIES)).ravel()
    allowed = copies <= np.minimum(devices, fewest[owner] + spare)
    owner, copies = owner[allowed], copies[allowed]
    shares = weights[owner] / copies
    values = np.unique(np.floor(shares[shares <= limit / 2] * _GRID)) / _GRID
    values = values[values > 0]
    if not len(values):
        return None, None
    signs = (shares > limit - values[:, None]).astype(np.float64) - (shares < values[:, None])
    rows = signs * copies
    solver = pywraplp.Solver.CreateSolver("GLOP")
    if solver is None:
        raise InternalError("OR-Tools offers no GLOP")
    excess = solver.NumVar(0.0, solver.infinity(), "")
    y = [solver.NumVar(0.0, 1.0, "") for _ in owner]
    for expert in range(len(load)):
        one = solver.Constraint(1.0, 1.0)
        for column in np.nonzero(owner == expert)[0].tolist():
            one.SetCoefficient(y[column], 1.0)
    total = solver.Constraint(2.0 * devices, 2.0 * devices)
    for column, count in enumerate(copies.tolist()):
        total.SetCoefficient(y[column], float(count))
    solver.Minimize(excess)
    posted: dict[int, Any] = {}
    fresh = np.unique(np.linspace(0, len(values) - 1, _FIRST_ROWS).astype(int)).tolist()
    solution = np.zeros(len(owner))
    for _ in range(_ROW_ROUNDS):
        for row in fresh:
            posted[row] = solver.Constraint(-solver.infinity(), 0.0)
            posted[row].SetCoefficient(excess, -1.0)
            for column in np.nonzero(rows[row])[0].tolist():
                posted[row].SetCoefficient(y[column], float(rows[row, column]))
        if solver.Solve() != pywraplp.Solver.OPTIMAL:
            return None, None
        solution = np.array([variable.solution_value() for variable in y])
        violated = rows @ solution - excess.solution_value()
        if excess.solution_value() > _FEASIBLE:
            points = [
                (Fraction(int(values[row] * _GRID), _GRID), round(-constraint.dual_value() * _WHOLE))
                for row, constraint in posted.items()
            ]
            witness = _witness(load, devices, threshold, [point for point in points if point[1] > 0])
            if witness is not None:
                return witness, None
        worst = np.argsort(-violated, kind="stable")[:_NEW_ROWS]
        fresh = [row for row in worst.tolist() if violated[row] > _FEASIBLE and row not in posted]
        if not fresh:
            break
    counts = np.zeros(len(load))
    np.add.at(counts, owner, copies * solution)
    return None, counts


def _witness(
    load: Sequence[int], devices: int, threshold: Fraction, points: list[tuple[Fraction, int]]
) -> dict[str, Any] | None:
    """Certificate with the best whole price for the multipliers, if it holds exactly."""
    if not points:
        return None
    slots = 2 * devices
    spare = slots - len(load)
    weights = np.array(load, dtype=np.float64)[:, None]
    copies = np.arange(1, min(devices, 1 + spare) + 1)
    shares = weights / copies
    signed = np.zeros(shares.shape)
    for value, multiplier in points:
        signed += multiplier * ((shares > float(threshold - value)).astype(np.float64) - (shares < float(value)))
    cost = np.where(shares <= float(threshold), signed * copies, np.inf)
    low, high = -(10**9), 10**9
    while high - low > 1:
        middle = (low + high) // 2
        taken = copies[(cost + middle * copies).argmin(axis=1)].sum()
        low, high = (middle, high) if taken > slots else (low, middle)
    for price in (low, high):
        if check_threshold(load, devices, threshold, points, price) is None:
            listed = [[str(value), multiplier] for value, multiplier in points]
            return {"kind": "threshold", "threshold": str(threshold), "points": listed, "price": price}
    return None


def best_rounding(fractional: Floats, weights: Floats, devices: int) -> Ints:
    """Whole counts near fractional ones, two slots a device, that fold best.

    All ways to round the few experts whose count is not whole are tried; where one does not fill the slots, copies are
    added to the largest shares or taken from the smallest.
    """
    base = np.maximum(1, np.floor(fractional + _ROUND)).astype(np.int64)
    part = fractional - base
    loose = np.nonzero(part > _ROUND)[0]
    loose = loose[np.argsort(-part[loose], kind="stable")][:_MOST_LOOSE]
    best, best_value = base, np.inf
    for way in itertools.product((0, 1), repeat=len(loose)):
        counts = base.copy()
        counts[loose] += np.array(way, dtype=np.int64)
        _fill(counts, weights, devices)
        value = float(fold(np.repeat(weights / counts, counts)).max())
        if value < best_value:
            best, best_value = counts, value
    return best


def _fill(counts: Ints, weights: Floats, devices: int) -> None:
    while counts.sum() < 2 * devices:
        counts[np.where(counts < devices, weights / counts, -1.0).argmax()] += 1
    while counts.sum() > 2 * devices:
        counts[np.where(counts > 1, weights / np.maximum(counts - 1, 1), np.inf).argmin()] -= 1
