"""The declarative model solved: CP-SAT until nothing can be better, exact numbers where its rounding leaves it open."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

from ortools.sat.python import cp_model

from optimizer.declarative.exact import Choice, best_cuts
from optimizer.declarative.families import FAMILIES
from optimizer.declarative.measures import reach
from optimizer.declarative.statement import LayoutProgram, ProgramFamily
from optimizer.domain.families import Family
from optimizer.domain.layout import Layout
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.errors import InternalError
from optimizer.figures.objective import objective_of
from optimizer.figures.room import next_longer
from optimizer.figures.serving import Evaluation, evaluate
from optimizer.verify.constraints import violations
from optimizer.verify.violation import Violation

_ROUNDED = frozenset({Family.TTFT, Family.TPOT, Family.REQUEST_RATE, Family.LIMIT})
"""Limits on times, which the program sees rounded; all others it has exactly."""
_ROUNDING = Fraction(1, 10**6)
"""Relative error of the program's times, at most."""
_MOST_SPARE = 2**52


_WHOLE = frozenset({Measure.MEMORY, Measure.DEVICES, Measure.CONTEXT})
"""Measures in whole numbers: the program has them exactly, and asks for what is strictly better."""


_At = tuple[int, int, int, int]
"""Row, replicas, step point and batch."""


@dataclass(frozen=True)
class _Settled:
    """A choice that exact numbers have decided: with these cuts, or with any where none are listed."""

    at: _At
    cuts: tuple[int, ...]


@dataclass(frozen=True)
class Declared:
    """What the declarative model answers.

    Attributes
    ----------
    best
        The objective of the best layout, exact, and the layout priced; None where none was found.
    complete
        Whether nothing can be better, or where there is no layout, whether nothing fits.
    rounds
        How often CP-SAT was asked.
    """

    best: tuple[Fraction, Evaluation] | None
    complete: bool
    rounds: int


def decide(
    problem: Problem, *, deadline: float | None = None, families: Sequence[type[ProgramFamily]] = FAMILIES
) -> Declared:
    """The best layout of a problem by its declarative model.

    Parameters
    ----------
    deadline
        `time.monotonic()` at which to stop with what there is; None: none.
    families
        The constraint families; tests leave some out.

    Raises
    ------
    SpecError
        Where the program is too large, or the problem has measured loads of experts.
    InternalError
        Where the judge of layouts refuses what the program allows.
    """
    best: tuple[Fraction, Evaluation] | None = None
    settled: list[_Settled] = []
    rounds, program = 0, LayoutProgram(problem, families)
    if program.empty:
        return Declared(None, complete=True, rounds=0)
    while True:
        _aim(program, problem, None if best is None else best[0])
        _without(program, settled)
        rounds += 1
        try:
            solution = _solve(program, deadline)
        except _UndecidedError:
            return Declared(best, complete=False, rounds=rounds)
        if solution is None:
            return Declared(best, complete=True, rounds=rounds)
        at, layout = solution
        priced = _judged(program, at, layout)
        if problem.scale.measure not in _WHOLE:
            settled.append(_Settled(at, ()))
        elif priced is None:
            settled.append(_Settled(at, tuple(stage.layers for stage in layout.stages or ())))
        if priced is not None and (best is None or _rank(problem, priced) < _rank(problem, best)):
            best = priced
        program = LayoutProgram(problem, families, program.prices)


def _rank(problem: Problem, priced: tuple[Fraction, Evaluation]) -> tuple[Fraction, Fraction, int]:
    """Best first: the objective, more throughput, fewer devices."""
    value, evaluation = priced
    return (-value if problem.objective_row.maximised else value), -evaluation.throughput, evaluation.devices


def _aim(program: LayoutProgram, problem: Problem, value: Fraction | None) -> None:
    """Ask for a layout that may be better than a value; what is to spare is made most."""
    if value is None:
        return
    scale, spare = problem.scale, program.up_to(_MOST_SPARE, "spare", least=0)
    level: Fraction | None = scale.level(value)
    if scale.measure in {Measure.MEMORY, Measure.DEVICES}:
        level = Fraction(int(level or 0) - 1)
    elif scale.measure is Measure.CONTEXT:
        longer = next_longer(problem, int(level or 0))
        level = None if longer is None else Fraction(longer)
    if level is None:
        program.model.add_bool_or([])  # nothing is longer
        return
    reach(program, scale.measure, level, spare)
    program.model.maximize(spare)


def _without(program: LayoutProgram, settled: Sequence[_Settled]) -> None:
    """Leave out what is decided."""
    for decided in settled:
        row, *values = decided.at
        same = [program.chosen[row]]
        pairs = list(zip((program.replicas, program.step, program.batch), values, strict=True))
        pairs += zip(program.ends, accumulate(decided.cuts), strict=False)
        for variable, value in pairs:
            equal = program.model.new_bool_var("as decided")
            program.model.add(variable != value).only_enforce_if(~equal)
            same.append(equal)
        program.model.add_bool_or([~literal for literal in same])


class _UndecidedError(Exception):
    """Time ran out before CP-SAT had an answer."""


def _solve(program: LayoutProgram, deadline: float | None) -> tuple[_At, Layout] | None:
    """A point of the program; None where there is none."""
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    # OR-Tools 9.15: this rule misreads enforced rows of two variables with large coefficients, and takes feasible
    # programs for infeasible ones; leaving out presolve does not help
    solver.parameters.auto_detect_greater_than_at_least_one_of = False
    # tables of thousands of steps take presolve minutes, and the search seconds
    solver.parameters.cp_model_presolve = False
    solver.parameters.random_seed = program.problem.seed
    if deadline is not None:
        solver.parameters.max_time_in_seconds = max(deadline - time.monotonic(), 0.01)
    status = solver.solve(program.model)
    if status == cp_model.INFEASIBLE:
        return None
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        if deadline is None:
            raise InternalError(f"CP-SAT answers {solver.status_name(status)} to the declarative model")
        raise _UndecidedError
    row, step = solver.value(program.row), solver.value(program.step)
    at = (row, solver.value(program.replicas), step, solver.value(program.batch))
    shape, experts = program.rows[row], program.problem.model.moe is not None
    ends = [0, *(solver.value(end) for end in program.ends[: shape.pp])]
    cuts = tuple(b - a for a, b in pairwise(ends))
    dp, edp = solver.value(program.dp), solver.value(program.edp)
    layout = _choice(program, at).layout(cuts, experts=experts)
    replicas = solver.value(program.replicas)
    stated = layout.model_copy(update={"dp": dp * replicas, "edp": edp * replicas if experts else 1})
    return at, stated


def _choice(program: LayoutProgram, at: _At) -> Choice:
    row, replicas, step, batch = at
    return Choice(program.rows[row], replicas, batch, program.chunks[program.prices.steps[step].chunk])


def _judged(program: LayoutProgram, at: _At, layout: Layout) -> tuple[Fraction, Evaluation] | None:
    """The best layout of what was chosen, priced and judged exactly; None where only rounding let it through.

    Raises
    ------
    InternalError
        Where more than rounding stands against the layout.
    """
    problem, choice = program.problem, _choice(program, at)
    evaluation = evaluate(problem, layout)
    broken = [v for v in violations(problem, layout, evaluation, waits=False) if not _by_rounding(v)]
    if broken:
        raise InternalError(f"the declarative model's layout does not hold: {broken[0]}")
    exact, row = layout, at[0]
    if problem.scale.measure not in _WHOLE:
        # of equal rounded times the best cuts
        cuts = best_cuts(problem, choice, program.prices.costs[row], program.prices.memory[row])
        if cuts is None:
            return None
        exact = choice.layout(cuts, experts=problem.model.moe is not None)
        evaluation = evaluate(problem, exact)
    violated = violations(problem, exact, evaluation, waits=False)
    if not violated:
        return objective_of(problem, evaluation), evaluation
    if problem.scale.measure in _WHOLE and all(_by_rounding(violation) for violation in violated):
        return None
    raise InternalError(f"the declarative model's layout does not hold: {violated[0]}")


def _by_rounding(violation: Violation) -> bool:
    """Whether a limit is missed by no more than the program's times are rounded by."""
    if violation.family is Family.BATCH:
        return "load" in violation.numbers
    if violation.family not in _ROUNDED:
        return False
    reached, limit = (Fraction(value) for value in list(violation.numbers.values())[:2])
    return abs(reached - limit) <= _ROUNDING * abs(limit)
