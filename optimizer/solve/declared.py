"""The answer of the declarative model, with the certificate that any answer has."""

from __future__ import annotations

import time

from optimizer.certificate.meshes import lattice
from optimizer.certificate.statement import statement
from optimizer.declarative import decide
from optimizer.domain.families import Family
from optimizer.domain.lattice import axes
from optimizer.domain.problem import Problem
from optimizer.figures.objective import Scored
from optimizer.figures.operating_point import Point
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.figures.serving import Evaluation, Timing, evaluate
from optimizer.search.search import Tally
from optimizer.solve.places import placed
from optimizer.solve.result import Solved


def solve_declared(problem: Problem, *, time_limit_s: float | None = None) -> Solved:
    """The best layout by the declarative model; the lattice is counted for the certificate alone.

    Raises
    ------
    SpecError
        Where the program would be too large.
    """
    started = time.monotonic()
    decided = decide(problem, deadline=None if time_limit_s is None else started + time_limit_s)
    value, evaluation = decided.best or (None, None)
    best = None
    if evaluation is not None and value is not None:
        best = Scored(evaluation.layout, _point(evaluation), value, evaluation.throughput)
        best = placed(problem, best)
        evaluation = None if best is None else evaluate(problem, best.layout)
    if best is None:
        status = "infeasible" if decided.complete and decided.best is None else "unknown"
    else:
        status = "optimal" if decided.complete and best.value == value else "feasible"
    meshes = lattice(problem, axes(problem))
    bound = value if decided.complete and best is not None else None
    certificate = statement(problem, meshes.to_json(), status, best, evaluation, bound=bound)
    depths_and_chunks = len(meshes.axes.pp) * len(meshes.axes.chunks)
    excluded = {Family(name): count * depths_and_chunks for name, count in meshes.excluded.items()}
    points = (meshes.count + sum(meshes.excluded.values())) * depths_and_chunks
    return Solved(
        problem=problem, status=status, best=best, evaluation=evaluation, bound=bound,
        tally=Tally(points=points, excluded=excluded, exact=decided.rounds), wall_s=time.monotonic() - started,
        certificate=certificate if status != "unknown" else {},
    )  # fmt: skip


def _point(evaluation: Evaluation) -> Point:
    layout, longest = evaluation.layout, max(evaluation.stage_ticks)
    cycle = layout.pp * max(evaluation.cycle_ticks) / TICKS_PER_SECOND
    capacity = evaluation.request_capacity / layout.dp
    timing = Timing(cycle, evaluation.ttft_s, evaluation.tpot_s, evaluation.queue_s, evaluation.load, capacity)
    return Point(layout.batch, evaluation.cuts, longest, None, evaluation.ttft_s, evaluation.memory_bytes, timing)
