"""From a placement in service to a better one with few experts loaded anew.

Steps are taken by the potential they save for each expert loaded; a step that undoes an earlier one gives its load
back. The placements passed on the way are the frontier of moves against balance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from optimizer.figures.placement import max_over_mean, moves
from optimizer.placement.replicas import Floats, Ints
from optimizer.placement.result import Devices
from optimizer.placement.steps import LayerState, replace, replace_change, swap, swap_change

_POWERS = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_TRIES = 12
_STALL = 1e-9
_MOST_STEPS = 2000


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """Fewest moves found for a balance."""

    moves: int
    max_over_mean: Fraction
    devices: Devices


def repaired(held: Ints, experts: int) -> Ints:
    """Placement in service made valid: missing experts take the place of doubles, so that the search can start."""
    fixed = held.copy()
    counts = np.bincount(fixed.ravel(), minlength=experts)
    for device in fixed:
        seen: set[int] = set()
        for slot, expert in enumerate(device):
            if int(expert) in seen:
                counts[expert] -= 1
                here = set(map(int, device))
                device[slot] = next(e for e in np.argsort(counts, kind="stable").tolist() if e not in here)
                counts[device[slot]] += 1
            seen.add(int(device[slot]))
    for missing in np.nonzero(counts == 0)[0]:
        most = counts[fixed].astype(np.int64)
        slot = int(most.argmax())
        counts[fixed.reshape(-1)[slot]] -= 1
        fixed.reshape(-1)[slot] = missing
        counts[missing] += 1
    return fixed


def _loaded(flat: Ints, home: Ints, original: np.ndarray) -> Ints:
    """1 for each slot whose expert was not on its device in the placement in service."""
    return (~original[home, flat]).astype(np.int64)


def _best_steps(state: LayerState, omega: Floats, original: np.ndarray, room: int) -> list[tuple[float, str, int, int]]:
    devices, slots = state.held.shape
    flat, home = state.held.ravel(), np.repeat(np.arange(devices), slots)
    loaded = _loaded(flat, home, original)
    found: list[tuple[float, str, int, int]] = []
    free, change = replace_change(state, omega)
    cost = (~original[home[free]]).astype(np.int64) - loaded[free, None]
    found += [(worth, "replace", int(free[one]), two) for worth, one, two in _cheapest(change, cost, room)]
    cost = _swap_cost(flat, home, original, loaded)
    found += [(worth, "swap", one, two) for worth, one, two in _cheapest(swap_change(state, omega), cost, room)]
    return sorted(found)[:_TRIES]


def _cheapest(change: Floats, cost: Ints, room: int) -> list[tuple[float, int, int]]:
    """Steps within the room that save most for each move."""
    worth = np.where(cost <= room, change / np.maximum(cost, 0.25), np.inf)
    if not worth.size:
        return []
    places = np.argpartition(worth, min(_TRIES, worth.size - 1), axis=None)[:_TRIES].tolist()
    return [
        (float(worth.flat[place]), *divmod(place, worth.shape[1])) for place in places if worth.flat[place] < -_STALL
    ]


def _swap_cost(flat: Ints, home: Ints, original: np.ndarray, loaded: Ints) -> Ints:
    arriving = (~original[home][:, flat]).astype(np.int64)
    cost: Ints = arriving + arriving.T - loaded[:, None] - loaded[None, :]
    return cost


def frontier(
    rows: Sequence[Sequence[int]], weights: Floats, current: Ints, *, budget: int, goal: float
) -> list[FrontierPoint]:
    """Placements on the way from the current one, each with fewer moves and worse balance than the next.

    Parameters
    ----------
    rows
        Tokens of each expert under each workload.
    weights
        The same in units of the mean device load, ``[workloads, experts]``.
    current
        Placement in service, ``[devices, slots]``.
    budget
        Most experts loaded anew.
    goal
        Worst load over mean at which to stop.

    Returns
    -------
    list of FrontierPoint
        By moves, ascending; the first is the placement in service, repaired where it was not valid.
    """
    start = repaired(current, weights.shape[1])
    original = np.zeros((len(current), weights.shape[1]), dtype=bool)
    original[np.arange(len(current))[:, None], current] = True
    before = [tuple(map(int, held)) for held in current]
    points: dict[int, FrontierPoint] = {}
    state = LayerState.of(weights, start)
    _note(points, rows, before, state)
    for power in _POWERS:
        for _ in range(_MOST_STEPS):
            if state.load.max() <= goal:
                break
            omega = np.maximum(state.load, 1e-9) ** (power - 2)
            room = budget - moves(before, [tuple(map(int, held)) for held in state.held])
            steps = _best_steps(state, omega, original, room)
            if not any(_take(state, name, one, two, power) for _, name, one, two in steps):
                break
            _note(points, rows, before, state)
    kept: list[FrontierPoint] = []
    for count in sorted(points):
        if not kept or points[count].max_over_mean < kept[-1].max_over_mean:
            kept.append(points[count])
    return kept


def _take(state: LayerState, name: str, one: int, two: int, power: float) -> bool:
    """Take the step if the true potential falls; otherwise leave the state as it was."""
    before, held = (state.load**power).sum(), state.held.copy()
    if name == "replace":
        replace(state, one, two)
    else:
        swap(state, one, two)
    if (state.load**power).sum() < before * (1 - _STALL):
        return True
    state.held[:] = held
    state.refresh()
    return False


def _note(
    points: dict[int, FrontierPoint], rows: Sequence[Sequence[int]], before: Sequence[Sequence[int]], state: LayerState
) -> None:
    devices = tuple(tuple(map(int, held)) for held in state.held)
    count = moves(before, devices)
    value = max(max_over_mean(row, devices) for row in rows)
    if count not in points or value < points[count].max_over_mean:
        points[count] = FrontierPoint(count, value, devices)
