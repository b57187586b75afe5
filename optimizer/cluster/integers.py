"""The fleet program as CP-SAT's: the same variables, rows and objective in integers, rounded against the fleet."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from math import lcm

from ortools.math_opt.python import mathopt  # type: ignore[import-untyped]  # ortools ships no types for it
from ortools.sat.python import cp_model

from optimizer.fleet.program import Program

_LARGEST = 2**58
"""Sums of products stay below this, with room for CP-SAT's own."""
_STEPS = 2**24
"""Steps in which CP-SAT sees an amount that is no integer; the amount itself is computed exactly afterwards."""

_PATIENCE_S, _GAP = 3.0, 1e-9
"""Seconds after which CP-SAT is shown where another solver would start, and the gap at which that one is done."""


@dataclass(frozen=True)
class FoundFleet:
    """What CP-SAT decided: `complete` where it searched all there is; no point where it found none."""

    point: dict[str, Fraction] | None
    complete: bool


class _Enough(cp_model.CpSolverSolutionCallback):
    """Ends the search at a point that is no worse than one that is taken for the best."""

    def __init__(self, best: int | None) -> None:
        super().__init__()
        self.best, self.met = best, False

    def on_solution_callback(self) -> None:
        """As CP-SAT calls it."""
        if self.best is not None and self.objective_value <= self.best:
            self.met = True
            self.stop_search()


class IntegerProgram:
    """A program in CP-SAT."""

    def __init__(self, program: Program, seed: int) -> None:
        self.program, self.seed = program, seed
        self.model = cp_model.CpModel()
        self.units: dict[str, Fraction] = {}
        self.variables: dict[str, cp_model.IntVar] = {}
        for variable in program.variables.values():
            unit = variable.upper / _STEPS if variable.continuous and variable.upper else Fraction(1)
            self.units[variable.name] = unit
            self.variables[variable.name] = self.model.new_int_var(
                int(variable.lower), int(variable.upper / unit), variable.name
            )
        for row in program.rows.values():
            self._post(row.terms, row.least)

    def _integers(self, terms: Mapping[str, Fraction], least: Fraction) -> tuple[dict[str, int], int]:
        """Coefficients and right side of Σ ≥ least in integers: exactly where they are small enough, else rounded up.

        Rounded, every factor goes down and the right side up, which no fleet that breaks the row survives.
        """
        scaled = {name: factor * self.units[name] for name, factor in terms.items()}
        scale = Fraction(lcm(least.denominator, *(f.denominator for f in scaled.values())))
        widest = sum((abs(f) * abs(self._most(name)) for name, f in scaled.items()), abs(least)) or Fraction(1)
        if scale * widest > _LARGEST:
            scale = _LARGEST / widest
        floors = {name: (f * scale).numerator // (f * scale).denominator for name, f in scaled.items()}
        return floors, -((-least * scale).numerator // (-least * scale).denominator) if least else 0

    def _most(self, name: str) -> Fraction:
        return self.program.variables[name].upper / self.units[name]

    def _post(self, terms: Mapping[str, Fraction], least: Fraction) -> None:
        factors, bound = self._integers(terms, least)
        names = list(factors)
        total = cp_model.LinearExpr.weighted_sum([self.variables[n] for n in names], [factors[n] for n in names])
        self.model.add(total >= bound)

    def _cost(self, terms: Mapping[str, Fraction]) -> cp_model.LinearExprT:
        factors, _ = self._integers(terms, Fraction(0))
        return cp_model.LinearExpr.weighted_sum([self.variables[n] for n in factors], list(factors.values()))

    def decide(self, seconds: float | None, then: Mapping[str, Fraction]) -> FoundFleet:
        """The point of least objective; among equal ones that of least `then`.

        Parameters
        ----------
        seconds
            How long to search; None: to the end.
        then
            Terms of what decides between equals.
        """
        objective = self._cost(self.program.objective)
        self.model.minimize(objective)
        began = time.monotonic()
        solver = self._solver(None if seconds is None else min(seconds / 4, _PATIENCE_S))
        status, enough = solver.solve(self.model), False
        if seconds is not None and status in {cp_model.FEASIBLE, cp_model.UNKNOWN}:
            start, best = self._suggested(seconds / 2)
            for name, value in start.items():
                self.model.add_hint(self.variables[name], value)
            factors, _ = self._integers(self.program.objective, Fraction(0))
            stop = _Enough(sum(factor * start[name] for name, factor in factors.items()) if best else None)
            solver = self._solver(seconds - (time.monotonic() - began))
            status, enough = solver.solve(self.model, stop), stop.met
        if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            return FoundFleet(None, status == cp_model.INFEASIBLE)
        counts = {name: solver.value(variable) for name, variable in self.variables.items()}
        complete = enough or status == cp_model.OPTIMAL
        if complete and then:
            self.model.add(objective <= round(solver.objective_value))
            self.model.minimize(self._cost(then))
            self.model.clear_hints()  # type: ignore[no-untyped-call]  # ortools' own
            for name, variable in self.variables.items():
                self.model.add_hint(variable, counts[name])
            again = self._solver(seconds)
            if again.solve(self.model) in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
                counts = {name: again.value(variable) for name, variable in self.variables.items()}
        return FoundFleet(self._exactly(counts), complete)

    def _suggested(self, seconds: float) -> tuple[dict[str, int], bool]:
        """Where a solver of linear relaxations, HiGHS, would start, and whether it takes that for the best there is."""
        model = mathopt.Model()
        variables = {
            variable.name: model.add_variable(
                lb=float(variable.lower), ub=float(variable.upper), is_integer=not variable.continuous
            )
            for variable in self.program.variables.values()
        }
        for row in self.program.rows.values():
            added = model.add_linear_constraint(lb=float(row.least))
            for name, factor in row.terms.items():
                added.set_coefficient(variables[name], float(factor))
        for name, factor in self.program.objective.items():
            model.objective.set_linear_coefficient(variables[name], float(factor))
        settings = mathopt.SolveParameters(time_limit=timedelta(seconds=seconds), relative_gap_tolerance=_GAP)
        solution = mathopt.solve(model, mathopt.SolverType.HIGHS, params=settings)
        if not solution.has_primal_feasible_solution():
            return {}, False
        values = solution.variable_values(list(variables.values()))
        start = {name: round(value / float(self.units[name])) for name, value in zip(variables, values, strict=True)}
        return start, solution.termination.reason == mathopt.TerminationReason.OPTIMAL

    def _solver(self, seconds: float | None) -> cp_model.CpSolver:
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = self.seed
        if seconds is not None:
            solver.parameters.max_time_in_seconds = max(seconds, 0.01)
        return solver

    def _exactly(self, counts: Mapping[str, int]) -> dict[str, Fraction]:
        """The point with amounts as large as its counts allow; each row has at most one of them."""
        point = {name: Fraction(value) * self.units[name] for name, value in counts.items()}
        amounts = {variable.name for variable in self.program.variables.values() if variable.continuous}
        for name in amounts:
            most = self.program.variables[name].upper
            for row in self.program.rows.values():
                factor = row.terms.get(name, Fraction(0))
                if factor < 0:
                    others = sum((f * point[n] for n, f in row.terms.items() if n != name), Fraction(0))
                    most = min(most, (others - row.least) / -factor)
            point[name] = max(most, Fraction(0))
        return point
