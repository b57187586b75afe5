"""Freely split loads: the parts that copies carry by a linear program, and exchanges that it judges."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]  # ortools ships no types for it

from optimizer.figures.placement import replica_counts, split_device_loads
from optimizer.placement import effort
from optimizer.placement.exchange import LayerState
from optimizer.placement.linear_program import new_program, solved
from optimizer.placement.processes import seconds_left
from optimizer.placement.question import Layer
from optimizer.placement.result import DeviceExperts, LayerPlacement, Shares, tuples

_GRID = 10**9
_NEAR = 1e-6


def free_shares(load: Sequence[int], devices: DeviceExperts, deadline: float | None = None) -> Shares:
    """Parts of each slot that make the hottest device coolest, in billionths, adding up to 1 for every expert.

    Parameters
    ----------
    load
        Tokens of each expert.
    devices
        Experts of each device.
    deadline
        ``time.monotonic()`` from which on copies share evenly.
    """
    total, counts = sum(load), replica_counts(devices, len(load))
    parts = [[Fraction(1, counts[expert]) for expert in held] for held in devices]
    if seconds_left(deadline) <= 0:
        return tuple(map(tuple, parts))
    solver = new_program()
    hottest = solver.NumVar(0.0, solver.infinity(), "hottest")
    slots: dict[int, list[tuple[int, int, pywraplp.Variable]]] = {}
    for device, held in enumerate(devices):
        row = solver.Constraint(-solver.infinity(), 0.0)
        row.SetCoefficient(hottest, -1.0)
        for slot, expert in enumerate(held):
            part = solver.NumVar(0.0, 1.0, "")
            row.SetCoefficient(part, load[expert] * len(devices) / max(1, total))
            slots.setdefault(expert, []).append((device, slot, part))
    for copies in slots.values():
        whole = solver.Constraint(1.0, 1.0)
        for _, _, part in copies:
            whole.SetCoefficient(part, 1.0)
    solver.Minimize(hottest)
    if total and solved(solver):
        for copies in slots.values():
            left = _GRID
            for device, slot, part in copies[:-1]:
                units = min(left, max(0, round(part.solution_value() * _GRID)))
                parts[device][slot] = Fraction(units, _GRID)
                left -= units
            device, slot, _ = copies[-1]
            parts[device][slot] = Fraction(left, _GRID)
    return tuple(map(tuple, parts))


def split_freely(layer: Layer, placement: LayerPlacement) -> LayerPlacement:
    """The layer split as well as can be.

    The linear program splits one workload, the heaviest; the others follow its parts.
    """
    return placement if layer.question.split != "free" else _split(layer, placement, placement.devices)


def exchanged_for_split(layer: Layer, placement: LayerPlacement) -> LayerPlacement:
    """The layer with a better placement for a free split, where one is found.

    Groups kept on nodes, and budgets of moves, leave the placement as it is.
    """
    question = layer.question
    if question.split != "free" or question.hierarchy != "free" or question.max_moves is not None:
        return placement
    best = current = placement
    rng = np.random.default_rng(question.seed)
    for turn in range(effort.SPLIT_TRIES if question.spare else 0):
        devices = None
        if best.gap > question.tolerance and layer.seconds_left > 0:
            devices = _changed(layer, current, rng)
        if devices is None:
            break
        tried = _split(layer, placement, devices)
        if tried.max_over_mean < best.max_over_mean:
            best = tried
        # Some improvements take two exchanges, the first of which makes things worse.
        worse = effort.SPLIT_WORSE * (1 - turn / effort.SPLIT_TRIES) * rng.random()
        if float(tried.max_over_mean) <= float(current.max_over_mean) * (1 + worse):
            current = tried
    return best


def _split(layer: Layer, placement: LayerPlacement, devices: DeviceExperts) -> LayerPlacement:
    """The best split for the workload that it leaves hottest."""
    ways = [layer.placed(placement, devices, free_shares(row, devices, layer.deadline)) for row in layer.rows]
    return min(ways, key=lambda way: way.max_over_mean)


def _changed(layer: Layer, placement: LayerPlacement, rng: np.random.Generator) -> DeviceExperts | None:
    """Another placement: a copy of a hottest device changes places, or is copied in place of an idle copy."""
    loads = [split_device_loads(row, placement.devices, placement.shares or ()) for row in layer.rows if sum(row)]
    heat = np.array([[float(load / sum(row)) for load in row] for row in loads]).max(axis=0)
    hot = heat >= heat.max() * (1 - _NEAR)
    if hot.all():
        return None
    state = LayerState.of(layer.loads, np.array(placement.devices))
    may_swap, (slots, may_replace) = state.swappable(), state.replaceable()
    for _ in range(effort.SPLIT_TRIES):
        # Which devices a split fills is one choice of many: another hot one may be the right partner too.
        partners = hot if rng.random() < effort.SPLIT_HOT else ~hot
        hot_slot = int(rng.choice(np.nonzero(hot[state.home])[0]))
        partner = int(rng.choice(np.nonzero(partners[state.home])[0]))
        expert, idle = int(state.flat[hot_slot]), int(np.searchsorted(slots, partner))
        if idle < len(slots) and slots[idle] == partner and may_replace[idle, expert] and rng.random() < 0.5:
            state.replace(partner, expert)
        elif may_swap[hot_slot, partner]:
            state.swap(hot_slot, partner)
        else:
            continue
        return tuples(state.held)
    return None
