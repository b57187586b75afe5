"""The CP-SAT model over what the sieves left: one literal for each candidate, degrees channelled, limits linear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ortools.sat.python import cp_model

from optimizer.domain.problem import Problem
from optimizer.errors import InternalError
from optimizer.figures.objective import Scored, key
from optimizer.figures.partition import Track
from optimizer.rules import RULES
from optimizer.rules.pipeline import post_cuts

DEGREES = ("tp", "cp", "dp", "pp", "etp", "ep", "edp", "batch")
_CUT_CANDIDATES = 4
"""Pipelined candidates whose cuts are variables of the model; the cuts of the others are the reference's."""

Cuts = Sequence[tuple[Track, int]]


def choose(problem: Problem, candidates: Sequence[Scored], cuts: Sequence[Cuts | None] = ()) -> Scored:
    """The best candidate by the solver; ties go by the stated order, coded in the objective as ranks.

    Parameters
    ----------
    candidates
        Layouts priced exactly, each the best of its degrees.
    cuts
        For pipelined candidates, the tracks whose limits their stage cuts must keep.

    Raises
    ------
    InternalError
        Where the solver's choice is not the first by exact comparison.
    """
    order = sorted(range(len(candidates)), key=lambda i: key(problem, candidates[i]))
    rank = {i: n for n, i in enumerate(order)}
    model = cp_model.CpModel()
    literals = [model.new_bool_var(f"candidate_{i}") for i in range(len(candidates))]
    model.add_exactly_one(literals)
    for name in DEGREES:
        values = [getattr(c.layout, name) for c in candidates]
        degree = model.new_int_var(min(values), max(values), name)
        model.add(cp_model.LinearExpr.weighted_sum(literals, values) == degree)
    for rule in RULES:
        rule(problem).post(model, literals, candidates)
    posted = 0
    for i in order:
        own = cuts[i] if i < len(cuts) else None
        if own is not None and posted < _CUT_CANDIDATES:
            post_cuts(model, own, candidates[i].layout.pp, f"candidate_{i}")
            posted += 1
    model.minimize(cp_model.LinearExpr.weighted_sum(literals, [rank[i] for i in range(len(candidates))]))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = problem.seed
    status = solver.solve(model)
    if status != cp_model.OPTIMAL:
        message = f"the solver says {solver.status_name(status)} of candidates that the reference accepts"
        raise InternalError(message)
    chosen = next(i for i, literal in enumerate(literals) if solver.boolean_value(literal))
    if chosen != order[0]:
        message = "the solver's choice is not the best by exact comparison"
        raise InternalError(message)
    return candidates[chosen]


def limited(track: Track, limit: int) -> Track:
    """A track with a limit of its own."""
    return replace(track, limit=limit)
