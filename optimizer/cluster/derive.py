"""The proof of a fleet's bound: branch and bound over the linear relaxation, each leaf with multipliers of its rows.

GLOP proposes multipliers in floats; what they prove is computed from them exactly, so that no float is trusted.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor, frexp, inf
from statistics import fmean

from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]  # ortools ships no types for it

from optimizer.errors import InternalError
from optimizer.fleet.program import Box, DerivationStep, Lemma, Program, derived_bound

MOST_STEPS = 4_001
"""Steps of a derivation; beyond them the answer is `feasible` with the bound reached. A checker takes about a
millisecond a step on programs of a few hundred rows."""
_WHOLE = 1e-7
_SEEN, _TRIED = 2, 12
"""How often a variable's halves are looked at before what they gave is believed, and how many of a node's at most."""
_EMPTY, _LEAST_GAIN = 1e9, 1e-9
"""What an empty half counts as having gained, and no gain."""
_BITS = 44
"""Binary digits that multipliers are rounded to: fewer than floats have, more than the tolerance asks for."""
_SIMPLE = 20_000
"""Largest denominator of a multiplier that is taken for a simple ratio; with those a bound is met exactly."""


@dataclass(frozen=True)
class DerivedBound:
    """Steps from the root on, and the bound of the objective that they prove; None: nothing keeps the rows.

    They may use the rows of lemmas.
    """

    steps: tuple[DerivationStep, ...]
    bound: Fraction | None
    lemmas: tuple[Lemma, ...] = ()


@dataclass(frozen=True)
class _Relaxed:
    """One node's relaxation: what its multipliers prove, and where its point is not whole.

    Attributes
    ----------
    value
        Its objective in floats.
    open
        Integer variables that are not whole, with their values; or one that is, where the point is not good enough.
    """

    step: DerivationStep
    bound: Fraction | None
    value: float = 0.0
    open: tuple[tuple[str, float], ...] = ()


class _Relaxation:
    """The linear relaxation in GLOP; and the same with every row made soft, whose multipliers prove it empty."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.names = list(program.variables)
        self.rows = list(program.rows.values())
        # rows are scaled so that their largest factor is 1
        self.scales = [max((abs(f) for f in row.terms.values()), default=Fraction(1)) for row in self.rows]
        self.divisors = [float(scale) for scale in self.scales]
        self.held: dict[int, dict[str, Box]] = {}
        self.hard = self._build(soft=False)
        self.soft: tuple[pywraplp.Solver, list[pywraplp.Variable], list[pywraplp.Constraint]] | None = None

    def _build(self, *, soft: bool) -> tuple[pywraplp.Solver, list[pywraplp.Variable], list[pywraplp.Constraint]]:
        solver = pywraplp.Solver.CreateSolver("GLOP")
        if solver is None:
            raise InternalError("OR-Tools offers no GLOP")
        variables = []
        for name in self.names:
            variable = self.program.variables[name]
            variables.append(solver.NumVar(float(variable.lower), float(variable.upper), ""))
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
            open_ = self._open([v.solution_value() for v in variables], box)
            return _Relaxed(DerivationStep(multipliers=multipliers), bound, solver.Objective().Value(), open_)
        if self.soft is None:
            self.soft = self._build(soft=True)
        solver, variables, rows = self.soft
        self._bound(variables, box)
        if solver.Solve() != pywraplp.Solver.OPTIMAL:
            raise InternalError("GLOP does not solve a relaxation without hard rows")
        multipliers = self._multipliers(rows)
        if self.program.proved(multipliers, box, feasible=False) > 0:
            return _Relaxed(DerivationStep(multipliers=multipliers, empty=True), None)
        bound = self.program.proved({}, box, feasible=True)
        return _Relaxed(DerivationStep(), bound, float(bound), self._open([v.solution_value() for v in variables], box))

    def value(self, box: Mapping[str, Box]) -> float:
        """The objective of a box in floats; infinite where it is empty."""
        solver, variables, _ = self.hard
        self._bound(variables, box)
        objective: float = solver.Objective().Value() if solver.Solve() == pywraplp.Solver.OPTIMAL else inf
        return objective

    def _bound(self, variables: list[pywraplp.Variable], box: Mapping[str, Box]) -> None:
        held = self.held.setdefault(id(variables), dict(self.program.box))
        for name, variable in zip(self.names, variables, strict=True):
            if box[name] != held[name]:
                low, high = held[name] = box[name]
                variable.SetBounds(float(low), float(high))

    def _multipliers(self, rows: list[pywraplp.Constraint]) -> dict[str, Fraction]:
        multipliers = {}
        for row, divisor, added in zip(self.rows, self.divisors, rows, strict=True):
            dual = added.dual_value()
            if dual > 0 and (value := _short(dual / divisor)):
                multipliers[row.name] = value
        return multipliers

    def _open(self, point: list[float], box: Mapping[str, Box]) -> tuple[tuple[str, float], ...]:
        fractional = [
            (name, value)
            for name, value in zip(self.names, point, strict=True)
            if not self.program.variables[name].continuous and abs(value - round(value)) > _WHOLE
        ]
        if fractional:
            return tuple(fractional)
        # whole in floats, yet not good enough: split what is still open
        for name, value in zip(self.names, point, strict=True):
            low, high = box[name]
            if low < high and not self.program.variables[name].continuous:
                return ((name, max(int(low), min(round(value), int(high) - 1)) + 0.5),)
        return ()


class _Splitting:
    """Which variable to split: that whose halves were seen to raise the bound most (Benichou et al. 1971).

    A variable that was split less than `_SEEN` times is tried first (Achterberg, Koch and Martin 2005).
    """

    def __init__(self, relaxation: _Relaxation, deadline: float | None) -> None:
        self.relaxation, self.deadline = relaxation, deadline
        self.gains: dict[str, list[tuple[float, float]]] = {}

    def choose(self, relaxed: _Relaxed, box: dict[str, Box]) -> tuple[str, int]:
        """A variable and the value below which its lower half ends."""
        if len(relaxed.open) == 1 or not relaxed.step.multipliers:
            name, value = relaxed.open[0]
            return name, floor(value)
        nearest = sorted(relaxed.open, key=lambda branch: abs(branch[1] - floor(branch[1]) - 0.5))
        fresh = [branch for branch in nearest if len(self.gains.get(branch[0], ())) < _SEEN][:_TRIED]
        for name, value in fresh:
            if self.deadline is not None and time.monotonic() > self.deadline:
                break
            low, high = box[name]
            below = self.relaxation.value(box | {name: (low, Fraction(floor(value)))})
            above = self.relaxation.value(box | {name: (Fraction(floor(value) + 1), high)})
            part = value - floor(value)
            gains = max(below - relaxed.value, 0.0) / part, max(above - relaxed.value, 0.0) / (1 - part)
            self.gains.setdefault(name, []).append(gains)
        return max(
            ((name, floor(value)) for name, value in nearest),
            key=lambda branch: self._score(branch, dict(relaxed.open)),
        )

    def _score(self, branch: tuple[str, int], values: Mapping[str, float]) -> float:
        seen = self.gains.get(branch[0])
        if not seen:
            return 0.0
        part = values[branch[0]] - branch[1]
        below, above = (min(fmean(side), _EMPTY) for side in zip(*seen, strict=True))
        return max(below * part, _LEAST_GAIN) * max(above * (1 - part), _LEAST_GAIN)


def _short(value: float) -> Fraction:
    """A multiplier as the simple ratio that it probably is, else rounded: either proves what it proves."""
    simple = Fraction(value).limit_denominator(_SIMPLE)
    if abs(value - float(simple)) <= 1e-11 * value:
        return simple
    scale = Fraction(2) ** (_BITS - frexp(value)[1])
    return round(Fraction(value) * scale) / scale


def relaxed_at_root(program: Program) -> tuple[Mapping[str, Fraction], Fraction | None]:
    """Multipliers of the relaxation, and the bound that they prove; None: that nothing keeps the rows."""
    relaxed = _Relaxation(program).solve(program.box)
    return relaxed.step.multipliers, relaxed.bound


def derive(
    program: Program, value: Fraction | None, tolerance: Fraction, deadline: float | None, *,
    most: int = MOST_STEPS, first: Mapping[str, Box] | None = None,
) -> DerivedBound:  # fmt: skip
    """Prove that nothing is better than a value, as far as the deadline allows.

    Parameters
    ----------
    value
        The objective of the fleet that was found; None: that there is none.
    tolerance
        Relative gap that needs no further split.
    most
        Steps at most.
    first
        Variables that are split before others, each with the part of its box in which the tree goes on.
    """
    relaxation = _Relaxation(program)
    splitting = _Splitting(relaxation, deadline)
    enough = None if value is None else value - abs(value) * tolerance
    whole = program.box
    steps: list[DerivationStep] = []
    open_: list[tuple[float, int, dict[str, Box], _Relaxed]] = []

    def add(changed: dict[str, Box]) -> int:
        relaxed = relaxation.solve(whole | changed)
        steps.append(relaxed.step)
        done = relaxed.step.empty or not relaxed.open
        if not done and not (enough is not None and relaxed.bound is not None and relaxed.bound >= enough):
            heapq.heappush(open_, (float(relaxed.bound or 0), len(steps) - 1, changed, relaxed))
        return len(steps) - 1

    def split(at: int, changed: dict[str, Box], name: str, value: int) -> tuple[int, int]:
        low, high = changed.get(name, whole[name])
        below = add({**changed, name: (low, Fraction(value))})
        above = add({**changed, name: (Fraction(value + 1), high)})
        steps[at] = DerivationStep(variable=name, split=value, low=below, high=above)
        return below, above

    main, within = add({}), dict[str, Box]()
    for name, part in (first or {}).items():
        node = next((entry for entry in open_ if entry[1] == main), None)
        if node is None:
            break
        open_.remove(node)
        lower = part[0] == within.get(name, whole[name])[0]
        halves = split(main, within, name, int(part[1]) if lower else int(part[0]) - 1)
        main, within = halves[0] if lower else halves[1], {**within, name: part}
    heapq.heapify(open_)
    while open_ and len(steps) + 2 <= most and not (deadline is not None and time.monotonic() > deadline):
        _, at, changed, relaxed = heapq.heappop(open_)
        split(at, changed, *splitting.choose(relaxed, whole | changed))
    return DerivedBound(tuple(steps), derived_bound(program, steps))
