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
    rounds, own = 0, LayoutProgram(problem, families)
    if own.empty:
        return Declared(None, complete=True, rounds=0)
    while True:
        _aim(own, problem, None if best is None else best[0])
        _without(own, settled)
        rounds += 1
        try:
            found = _solve(own, deadline)
        except _UndecidedError:
            return Declared(best, complete=False, rounds=rounds)
        if found is None:
            return Declared(best, complete=True, rounds=rounds)
        at, layout = found
        priced = _judged(own, at, layout)
        if problem.scale.measure not in _WHOLE:
            settled.append(_Settled(at, ()))
        elif priced is None:
            settled.append(_Settled(at, tuple(stage.layers for stage in layout.stages or ())))
        if priced is not None and (best is None or _rank(problem, priced) < _rank(problem, best)):
            best = priced
        own = LayoutProgram(problem, families, own.prices)


def _rank(problem: Problem, priced: tuple[Fraction, Evaluation]) -> tuple[Fraction, Fraction, int]:
    """Best first: the objective, more throughput, fewer devices."""
    value, own = priced
    return (-value if problem.objective_row.maximised else value), -own.throughput, own.devices


def _aim(own: LayoutProgram, problem: Problem, value: Fraction | None) -> None:
    """Ask for a layout that may be better than a value; what is to spare is made most."""
    if value is None:
        return
    scale, spare = problem.scale, own.up_to(_MOST_SPARE, "spare", least=0)
    level: Fraction | None = scale.level(value)
    if scale.measure in {Measure.MEMORY, Measure.DEVICES}:
        level = Fraction(int(level or 0) - 1)
    elif scale.measure is Measure.CONTEXT:
        longer = next_longer(problem, int(level or 0))
        level = None if longer is None else Fraction(longer)
    if level is None:
        own.model.add_bool_or([])  # nothing is longer
        return
    reach(own, scale.measure, level, spare)
    own.model.maximize(spare)


def _without(own: LayoutProgram, settled: Sequence[_Settled]) -> None:
    """Leave out what is decided."""
    for one in settled:
        row, *values = one.at
        same = [own.chosen[row]]
        pairs = list(zip((own.replicas, own.step, own.batch), values, strict=True))
        pairs += zip(own.ends, accumulate(one.cuts), strict=False)
        for variable, value in pairs:
            equal = own.model.new_bool_var("as decided")
            own.model.add(variable != value).only_enforce_if(~equal)
            same.append(equal)
        own.model.add_bool_or([~literal for literal in same])


class _UndecidedError(Exception):
    """Time ran out before CP-SAT had an answer."""


def _solve(own: LayoutProgram, deadline: float | None) -> tuple[_At, Layout] | None:
    """A point of the program; None where there is none."""
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    # OR-Tools 9.15: this rule misreads enforced rows of two variables with large coefficients, and takes feasible
    # programs for infeasible ones; leaving out presolve does not help
    solver.parameters.auto_detect_greater_than_at_least_one_of = False
    # tables of thousands of steps take presolve minutes, and the search seconds
    solver.parameters.cp_model_presolve = False
    solver.parameters.random_seed = own.problem.seed
    if deadline is not None:
        solver.parameters.max_time_in_seconds = max(deadline - time.monotonic(), 0.01)
    status = solver.solve(own.model)
    if status == cp_model.INFEASIBLE:
        return None
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        if deadline is None:
            raise InternalError(f"CP-SAT answers {solver.status_name(status)} to the declarative model")
        raise _UndecidedError
    row, step = solver.value(own.row), solver.value(own.step)
    at = (row, solver.value(own.replicas), step, solver.value(own.batch))
    shape, experts = own.rows[row], own.problem.model.moe is not None
    ends = [0, *(solver.value(end) for end in own.ends[: shape.pp])]
    cuts = tuple(b - a for a, b in pairwise(ends))
    dp, edp = solver.value(own.dp), solver.value(own.edp)
    layout = _choice(own, at).layout(cuts, experts=experts)
    replicas = solver.value(own.replicas)
    stated = layout.model_copy(update={"dp": dp * replicas, "edp": edp * replicas if experts else 1})
    return at, stated


def _choice(own: LayoutProgram, at: _At) -> Choice:
    row, replicas, step, batch = at
    return Choice(own.rows[row], replicas, batch, own.chunks[own.prices.steps[step].chunk])


def _judged(own: LayoutProgram, at: _At, layout: Layout) -> tuple[Fraction, Evaluation] | None:
    """The best layout of what was chosen, priced and judged exactly; None where only rounding let it through.

    Raises
    ------
    InternalError
        Where more than rounding stands against the layout.
    """
    problem, choice = own.problem, _choice(own, at)
    evaluation = evaluate(problem, layout)
    broken = [v for v in violations(problem, layout, evaluation) if not _by_rounding(v)]
    if broken:
        raise InternalError(f"the declarative model's layout does not hold: {broken[0]}")
    exact, row = layout, at[0]
    if problem.scale.measure not in _WHOLE:
        # of equal rounded times the best cuts
        cuts = best_cuts(problem, choice, own.prices.costs[row], own.prices.memory[row])
        if cuts is None:
            return None
        exact = choice.layout(cuts, experts=problem.model.moe is not None)
        evaluation = evaluate(problem, exact)
    found = violations(problem, exact, evaluation)
    if not found:
        return objective_of(problem, evaluation), evaluation
    if problem.scale.measure in _WHOLE and all(_by_rounding(violation) for violation in found):
        return None
    raise InternalError(f"the declarative model's layout does not hold: {found[0]}")


def _by_rounding(violation: Violation) -> bool:
    """Whether a limit is missed by no more than the program's times are rounded by."""
    if violation.family is Family.BATCH:
        return "load" in violation.numbers
    if violation.family not in _ROUNDED:
        return False
    found, limit = (Fraction(value) for value in list(violation.numbers.values())[:2])
    return abs(found - limit) <= _ROUNDING * abs(limit)
