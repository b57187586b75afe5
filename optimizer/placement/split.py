"""The parts that copies carry, chosen instead of even: a linear program for a given placement."""

from collections.abc import Sequence
from fractions import Fraction

from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]  # ortools ships no types for it

from optimizer.placement.linear_program import new_program, solved
from optimizer.placement.result import Devices

_GRID = 10**9

Shares = tuple[tuple[Fraction, ...], ...]


def even_shares(devices: Devices) -> Shares:
    """Every copy of an expert carries the same part."""
    counts: dict[int, int] = {}
    for held in devices:
        for expert in held:
            counts[expert] = counts.get(expert, 0) + 1
    return tuple(tuple(Fraction(1, counts[expert]) for expert in held) for held in devices)


def free_shares(load: Sequence[int], devices: Devices) -> Shares:
    """Parts of each slot that make the hottest device coolest, in billionths, adding up to 1 for every expert.

    Parameters
    ----------
    load
        Tokens of each expert.
    devices
        Experts of each device.
    """
    total = sum(load)
    if total == 0:
        return even_shares(devices)
    solver = new_program()
    hottest = solver.NumVar(0.0, solver.infinity(), "hottest")
    slots: dict[int, list[tuple[int, int, pywraplp.Variable]]] = {}
    for device, held in enumerate(devices):
        row = solver.Constraint(-solver.infinity(), 0.0)
        row.SetCoefficient(hottest, -1.0)
        for slot, expert in enumerate(held):
            part = solver.NumVar(0.0, 1.0, "")
            row.SetCoefficient(part, load[expert] * len(devices) / total)
            slots.setdefault(expert, []).append((device, slot, part))
    for copies in slots.values():
        whole = solver.Constraint(1.0, 1.0)
        for _, _, part in copies:
            whole.SetCoefficient(part, 1.0)
    solver.Minimize(hottest)
    if not solved(solver):
        return even_shares(devices)
    parts = [[Fraction(0)] * len(held) for held in devices]
    for copies in slots.values():
        left = _GRID
        for device, slot, part in copies[:-1]:
            given = min(left, max(0, round(part.solution_value() * _GRID)))
            parts[device][slot] = Fraction(given, _GRID)
            left -= given
        device, slot, _ = copies[-1]
        parts[device][slot] = Fraction(left, _GRID)
    return tuple(tuple(row) for row in parts)
