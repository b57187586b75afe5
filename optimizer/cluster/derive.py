"""The proof of a fleet's bound: branch and bound over the linear relaxation, each leaf with multipliers of its rows.

GLOP proposes multipliers in floats; what they prove is computed from them exactly, so that no float is trusted.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, frexp

from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]  # ortools ships no types for it

from optimizer.errors import InternalError
from optimizer.fleet.program import Box, Program, Step, derived_bound

MOST_STEPS = 4_001
"""Steps of a derivation; beyond them the answer is `feasible` with the bound reached. A checker takes about a
millisecond a step on programs of a few hundred rows."""
_WHOLE = 1e-7
_BITS = 44
"""Binary digits that multipliers are rounded to: fewer than floats have, more than the tolerance asks for."""
_SIMPLE = 20_000
"""Largest denominator of a multiplier that is taken for a simple ratio; with those a bound is met exactly."""


@dataclass(frozen=True)
class Derivation:
    """Steps from the root on, and the bound of the objective that they prove; None: nothing keeps the rows."""

    steps: tuple[Step, ...]
    bound: Fraction | None


@dataclass(frozen=True)
class _Relaxed:
    """One node's relaxation: what its multipliers prove, and where its point is not whole."""

    step: Step
    bound: Fraction | None
    branch: tuple[str, int] | None


class _Relaxation:
    """The linear relaxation in GLOP; and the same with every row made soft, whose multipliers prove it empty."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.names = list(program.variables)
        self.rows = list(program.rows.values())
        # rows are scaled so that their largest factor is 1
        self.scales = [max((abs(f) for f in row.terms.values()), default=Fraction(1)) for row in self.rows]
        self.hard = self._build(soft=False)
        self.soft: tuple[pywraplp.Solver, list[pywraplp.Variable], list[pywraplp.Constraint]] | None = None

    def _build(self, *, soft: bool) -> tuple[pywraplp.Solver, list[pywraplp.Variable], list[pywraplp.Constraint]]:
        solver = pywraplp.Solver.CreateSolver("GLOP")
        if solver is None:
            raise InternalError("OR-Tools offers no GLOP")
        variables = []
        for name in self.names:
            own = self.program.variables[name]
            variables.append(solver.NumVar(float(own.lower), float(own.upper), ""))
        index = dict(zip(self.names, variables, strict=True))
        goal = solver.Objective()
        goal.SetMinimization()
        rows = []
        for row, scale in zip(self.rows, self.scales, strict=True):
            added = solver.Constraint(float(row.least / scale), solver.infinity())
            for name, factor in row.terms.items():
                added.SetCoefficient(index[name], float(factor / scale))
            if soft:
                slack = solver.NumVar(0.0, solver.infinity(), "")
                added.SetCoefficient(slack, 1.0)
                goal.SetCoefficient(slack, 1.0)
            rows.append(added)
        if not soft:
            for name, factor in self.program.objective.items():
                goal.SetCoefficient(index[name], float(factor))
        return solver, variables, rows

    def solve(self, box: Mapping[str, Box]) -> _Relaxed:
        """Multipliers of a box, and a variable to split."""
        solver, variables, rows = self.hard
        self._bound(variables, box)
        status = solver.Solve()
        if status == pywraplp.Solver.OPTIMAL:
            multipliers = self._multipliers(rows)
            bound = self.program.proved(multipliers, box, feasible=True)
            split = self._split([v.solution_value() for v in variables], box)
            return _Relaxed(Step(multipliers=multipliers), bound, split)
        if self.soft is None:
            self.soft = self._build(soft=True)
        solver, variables, rows = self.soft
        self._bound(variables, box)
        if solver.Solve() != pywraplp.Solver.OPTIMAL:
            raise InternalError("GLOP does not solve a relaxation without hard rows")
        multipliers = self._multipliers(rows)
        if self.program.proved(multipliers, box, feasible=False) > 0:
            return _Relaxed(Step(multipliers=multipliers, empty=True), None, None)
        bound = self.program.proved({}, box, feasible=True)
        return _Relaxed(Step(), bound, self._split([v.solution_value() for v in variables], box))

    def _bound(self, variables: list[pywraplp.Variable], box: Mapping[str, Box]) -> None:
        for name, variable in zip(self.names, variables, strict=True):
            low, high = box[name]
            variable.SetBounds(float(low), float(high))

    def _multipliers(self, rows: list[pywraplp.Constraint]) -> dict[str, Fraction]:
        found = {}
        for row, scale, added in zip(self.rows, self.scales, rows, strict=True):
            value = _short(max(added.dual_value(), 0.0) / float(scale))
            if value:
                found[row.name] = value
        return found

    def _split(self, point: list[float], box: Mapping[str, Box]) -> tuple[str, int] | None:
        """The least whole integer variable: choices first, then what the objective counts. None: all are whole."""
        best, found = (0, _WHOLE), None
        for name, value in zip(self.names, point, strict=True):
            own = self.program.variables[name]
            if own.continuous:
                continue
            away = min(value - floor(value), ceil(value) - value)
            rank = 2 if own.choice else int(name in self.program.objective)
            if away > _WHOLE and (rank, away) > best:
                best, found = (rank, away), (name, floor(value))
        if found is not None:
            return found
        # whole in floats, yet not good enough: split what is still open
        for name, value in zip(self.names, point, strict=True):
            low, high = box[name]
            if low < high and not self.program.variables[name].continuous:
                return name, max(int(low), min(round(value), int(high) - 1))
        return None


def _short(value: float) -> Fraction:
    """A multiplier as the simple ratio that it probably is, else rounded: either proves what it proves."""
    simple = Fraction(value).limit_denominator(_SIMPLE)
    if abs(value - float(simple)) <= 1e-11 * value:
        return simple
    scale = Fraction(2) ** (_BITS - frexp(value)[1])
    return round(Fraction(value) * scale) / scale


def derive(program: Program, value: Fraction | None, tolerance: Fraction, deadline: float | None) -> Derivation:
    """Prove that nothing is better than a value, as far as `MOST_STEPS` and the deadline allow.

    Parameters
    ----------
    value
        The objective of the fleet that was found; None: that there is none.
    tolerance
        Relative gap that needs no further split.
    """
    relaxation = _Relaxation(program)
    enough = None if value is None else value - abs(value) * tolerance
    whole = program.box
    steps: list[Step] = []
    open_: list[tuple[float, int, dict[str, Box], _Relaxed]] = []

    def add(changed: dict[str, Box]) -> int:
        found = relaxation.solve(whole | changed)
        steps.append(found.step)
        done = found.step.empty or found.branch is None
        if not done and not (enough is not None and found.bound is not None and found.bound >= enough):
            heapq.heappush(open_, (float(found.bound or 0), len(steps) - 1, changed, found))
        return len(steps) - 1

    add({})
    while open_ and len(steps) + 2 <= MOST_STEPS and not (deadline is not None and time.monotonic() > deadline):
        _, at, changed, found = heapq.heappop(open_)
        assert found.branch is not None  # noqa: S101 - by `add`
        name, split = found.branch
        low, high = changed.get(name, whole[name])
        below = add({**changed, name: (low, Fraction(split))})
        above = add({**changed, name: (Fraction(split + 1), high)})
        steps[at] = Step(variable=name, split=split, low=below, high=above)
    return Derivation(tuple(steps), derived_bound(program, steps))
