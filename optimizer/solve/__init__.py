"""The search: degrees, stages and expert placement."""

from __future__ import annotations

import time

from optimizer.certificate.statement import statement
from optimizer.errors import InternalError
from optimizer.figures.objective import MAXIMISED, fewest_devices, objective_value
from optimizer.figures.serving import evaluate, tokens_of_request
from optimizer.solve.master import choose
from optimizer.solve.result import Result
from optimizer.solve.search import Found, Progress, Search
from optimizer.solve.structure import structure
from optimizer.spec.problem import Problem
from optimizer.verify.constraints import violations

__all__ = ["Result", "solve"]


def solve(
    problem: Problem, *, time_limit_s: float | None = None, top: int = 1, progress: Progress | None = None
) -> Result:
    """The best layout of a problem, proved; or the proof that none fits.

    Parameters
    ----------
    time_limit_s
        Seconds after which the best layout so far is returned with a true bound.
    top
        How many layouts, distinct in their degrees, to return in order.
    progress
        Called with a phase's name, what is done and what there is.

    Raises
    ------
    InternalError
        Where search and reference contradict each other.
    """
    started = time.monotonic()
    deadline = None if time_limit_s is None else started + time_limit_s
    search = Search(problem, wanted=top, deadline=deadline, progress=progress)
    try:
        found = search.run()
    except KeyboardInterrupt:
        found = search.interrupted()
    best = choose(problem, candidates, [search.cut_tracks(c) for c in candidates]) if (candidates := search.decided()) else None
    evaluation = None
    if best is not None:
        evaluation = evaluate(problem, best.layout, redundant=search.redundant_of(best))
        broken = violations(problem, best.layout, evaluation)
        if broken or objective_value(problem, evaluation.shape, best.layout.replicas, best.point) != best.value:
            message = f"the search's layout does not hold: {broken[0] if broken else 'its objective differs'}"
            raise InternalError(message)
    if found.complete:
        status = "optimal" if best else "infeasible"
    else:
        status = "feasible" if best else "unknown"
    others = tuple(s for s in found.best if s is not best)
    certificate = statement(
        problem, structure(search), status, best, evaluation, others, ["bound"] if status == "feasible" else []
    )
    return Result(
        problem=problem,
        status=status,
        best=best,
        evaluation=evaluation,
        bound=None if found.complete else _bound(problem, found),
        tally=found.tally,
        wall_s=time.monotonic() - started,
        certificate=certificate if status != "unknown" else {},
        top=others,
    )


def _bound(problem: Problem, found: Found) -> float | None:
    """A search bound (larger is better, in requests, seconds or bytes) in the objective's unit."""
    if found.bound is None or not found.best:
        return None
    name, raw = problem.objective, found.bound
    value = float(found.best[0].value)
    tokens = tokens_of_request(problem.workload)
    if name in ("throughput_per_device", "throughput"):
        own = raw * tokens
    elif fewest_devices(problem):
        own = value * (-raw) / found.best[0].layout.devices
    elif name == "cost":
        price = problem.hardware.device.price or 0
        own = float(price) / 3600 / (raw * tokens) * 10**6
    elif name == "tpot":
        own = -raw / float(problem.workload.tokens_per_step)
    elif name == "ttft":
        own = -raw
    else:
        own = problem.capacity_bytes + raw
    return max(own, value) if name in MAXIMISED else min(own, value)


