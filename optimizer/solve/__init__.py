"""The search: degrees, stages and expert placement."""

from __future__ import annotations

import time

from optimizer.certificate.statement import statement, tolerance_of
from optimizer.errors import InternalError
from optimizer.figures.objective import MAXIMISED, Scored, fewest_devices, objective_value
from optimizer.figures.serving import Evaluation, evaluate, tokens_of_request
from optimizer.figures.shape import shape_of
from optimizer.solve.joint import mesh_of, relative_gap, solve_jointly, trusted_layers
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
    if problem.expert_loads:
        joint = solve_jointly(problem, wanted=top, deadline=deadline, progress=progress)
        search, found, placements, bound = joint.search, joint.found, joint.placements, joint.bound
    else:
        search = Search(problem, wanted=top, deadline=deadline, progress=progress)
        placements = {}
        try:
            found = search.run()
        except KeyboardInterrupt:
            found = search.interrupted()
        bound = found.best[0].value if found.best and found.complete else None
    best = _chosen(problem, search)
    evaluation = None if best is None else _priced(problem, search, best)
    if not found.complete:
        status = "feasible" if best else "unknown"
    elif best is None:
        status = "infeasible"
    else:
        within = bound is not None and relative_gap(best.value, bound) <= tolerance_of(problem)
        status = "optimal" if within else "feasible"
    others = tuple(s for s in found.best if s is not best)
    trusted = ["bound"] if status == "feasible" and bound is None else []
    entries = [
        {"ep": ep, "redundant": redundant, "placement": placed.to_json(), "certificate": placed.certificate}
        for (ep, redundant), placed in placements.items()
    ]
    certificate = statement(
        problem, structure(search), status, best, evaluation, bound=bound,
        top=[(s, search.redundant_of(s)) for s in others], placements=entries,
        trusted=trusted + [name for (ep, _), placed in placements.items() for name in trusted_layers(placed, ep)],
    )  # fmt: skip
    placed = placements.get(mesh_of(search, best)) if best else None
    return Result(
        problem=problem,
        status=status,
        best=best,
        evaluation=evaluation,
        bound=float(bound) if bound is not None else _bound(problem, found),
        tally=found.tally,
        wall_s=time.monotonic() - started,
        certificate=certificate if status != "unknown" else {},
        top=others,
        placement=placed.to_json() if placed else None,
    )


def _chosen(problem: Problem, search: Search) -> Scored | None:
    candidates = search.decided()
    if not candidates:
        return None
    return choose(problem, candidates, [search.cut_tracks(c) for c in candidates])


def _priced(problem: Problem, search: Search, best: Scored) -> Evaluation:
    """The layout priced anew by the reference, and judged by the verifier."""
    redundant = search.redundant_of(best)
    skew = search.skews.of(shape_of(best.layout, redundant))
    evaluation = evaluate(problem, best.layout, redundant=redundant, imbalance=skew)
    broken = violations(problem, best.layout, evaluation, imbalance=skew)
    if broken or objective_value(problem, evaluation.shape, best.layout.replicas, best.point) != best.value:
        message = f"the search's layout does not hold: {broken[0] if broken else 'its objective differs'}"
        raise InternalError(message)
    return evaluation


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
