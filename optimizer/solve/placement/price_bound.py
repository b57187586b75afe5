"""Three slots a device and more: how low the hottest device can be, by prices for copy sizes.

A linear program looks for prices of size classes under which the experts' cheapest copies cost more than all devices
can hold within ``T``. Devices enter as cuts: the dearest choice of ``k`` classes that fits, found by dynamic
programming. Prices are rounded to whole numbers and checked exactly, so the program is never trusted.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]  # ortools ships no types for it

from optimizer.certificate.prices import check_price
from optimizer.errors import InternalError
from optimizer.solve.placement.clock import seconds_left
from optimizer.solve.placement.replicas import Floats

_CLASSES = 120
_MORE_COPIES = 6
_CUTS = 250
_WHOLE = 10**6


def price_witness(
    load: Sequence[int], devices: int, slots: int, low: Fraction, high: Fraction, *, tolerance: float,
    deadline: float | None,
) -> dict[str, Any] | None:  # fmt: skip
    """Witness of the highest threshold refuted between two device loads in tokens, if any."""
    mean = sum(load) / devices
    below, above = float(low), float(high)
    best = None
    trial = below + tolerance * mean
    while above - below > tolerance * mean and seconds_left(deadline) > 0:
        # Classes are whole tokens wide, so the threshold is their multiple.
        width = max(1, int(trial) // _CLASSES)
        threshold = Fraction(width * _CLASSES)
        found = _refute(load, devices, slots, width, deadline) if threshold > below else None
        if found is None:
            above = trial
        else:
            best = {
                "kind": "price",
                "threshold": str(threshold),
                "sizes": [str(width * size) for size in range(_CLASSES + 1)],
                "prices": found,
            }
            below = max(float(threshold), below + tolerance * mean / 4)
        trial = (below + above) / 2
    return best


def _refute(load: Sequence[int], devices: int, slots: int, width: int, deadline: float | None) -> list[int] | None:
    weights = np.array(load, dtype=np.float64)
    limit = width * _CLASSES
    fewest = np.maximum(1, np.ceil(weights / limit)).astype(np.int64)
    spare = devices * slots - len(load)
    if fewest.sum() > devices * slots:
        return None
    solver = pywraplp.Solver.CreateSolver("GLOP")
    if solver is None:
        raise InternalError("OR-Tools offers no GLOP")
    solver.SetSolverSpecificParametersAsString("use_dual_simplex: true use_preprocessing: false")
    price = [solver.NumVar(-1.0, 1.0, "") for _ in range(_CLASSES + 1)]
    held = solver.NumVar(-float(slots), float(slots), "")
    objective = solver.Objective()
    objective.SetMaximization()
    objective.SetCoefficient(held, -float(devices))
    for expert, weight in enumerate(load):
        cheapest = solver.NumVar(-solver.infinity(), solver.infinity(), "")
        objective.SetCoefficient(cheapest, 1.0)
        least = int(fewest[expert])
        for copies in range(least, min(least + _MORE_COPIES, devices, least + spare) + 1):
            row = solver.Constraint(-solver.infinity(), 0.0)
            row.SetCoefficient(cheapest, 1.0)
            row.SetCoefficient(price[min(_CLASSES, weight // copies // width)], -float(copies))
    for _ in range(_CUTS):
        if seconds_left(deadline) <= 0 or solver.Solve() != pywraplp.Solver.OPTIMAL or objective.Value() < 1e-6:
            return None
        prices = np.array([variable.solution_value() for variable in price])
        dearest, chosen = _dearest(prices, slots)
        if dearest <= held.solution_value() + 1e-7:
            whole = [round(value * _WHOLE) for value in prices.tolist()]
            sizes = [Fraction(width * size) for size in range(_CLASSES + 1)]
            refuted = check_price(load, devices, slots, Fraction(limit), sizes, whole) is None
            return whole if refuted else None
        cut = solver.Constraint(-solver.infinity(), 0.0)
        cut.SetCoefficient(held, -1.0)
        for size in sorted(set(chosen)):
            cut.SetCoefficient(price[size], float(chosen.count(size)))
    return None


def _dearest(prices: Floats, slots: int) -> tuple[float, list[int]]:
    """Dearest choice of ``slots`` classes whose lower ends add up to at most the threshold."""
    room = _CLASSES
    worth = np.zeros(room + 1)
    picks: list[np.ndarray] = []
    for _ in range(slots):
        options = np.full((room + 1, room + 1), -np.inf)
        for size in range(room + 1):
            options[size, size:] = worth[: room + 1 - size] + prices[size]
        picks.append(options.argmax(axis=0))
        worth = options.max(axis=0)
    chosen, left = [], room
    for pick in reversed(picks):
        size = int(pick[left])
        chosen.append(size)
        left -= size
    return float(worth[room]), chosen
