"""The search: degrees, stages and expert placement."""

from __future__ import annotations

import time
from fractions import Fraction

from optimizer.certificate.meshes import lattice
from optimizer.certificate.optimality import prove
from optimizer.certificate.statement import relative_gap, slack, statement, tolerance_of
from optimizer.domain.problem import Problem
from optimizer.errors import InternalError
from optimizer.figures.objective import Scored, key, objective_of
from optimizer.figures.serving import Evaluation, evaluate
from optimizer.search.search import Found, Progress, Search
from optimizer.solve.joint import Joint, mesh_of, proved_skews, solve_jointly, trusted_layers
from optimizer.solve.places import all_placed, waits, within_places
from optimizer.solve.result import Solved, proved_bound
from optimizer.verify.constraints import violations

__all__ = ["Solved", "solve"]


def solve(
    problem: Problem, *, time_limit_s: float | None = None, top: int = 1, progress: Progress | None = None
) -> Solved:
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
    else:
        search, outcome = _searched(problem, top, deadline, progress)
        joint = Joint(search, outcome, {}, proved_bound(problem, outcome))
    search, outcome, placements, bound = joint.search, joint.outcome, joint.placements, joint.bound
    best, waiting = _chosen(problem, search), waits(problem)
    fitting = best is not None
    if best is not None:
        best = within_places(problem, best, deadline, search.skews)
    evaluation = None if best is None else _priced(problem, search, best)
    if best is None:
        status = "infeasible" if outcome.complete and not fitting else "unknown"
    else:
        within = bound is not None and relative_gap(best.value, bound) <= tolerance_of(problem)
        status = "optimal" if within else "feasible"
    # an unfinished search may prove its best, but no order of what comes after
    ranked = outcome.complete or status == "feasible"
    others = (
        tuple(s for s in outcome.best if best is not None and s.layout.shape != best.layout.shape) if ranked else ()
    )
    if waiting:
        others = tuple(sorted(all_placed(problem, others, search.skews), key=lambda scored: key(problem, scored)))
    trusted = [name for (ep, _), placed in placements.items() for name in trusted_layers(placed, ep)]
    if placements and others and status == "optimal" and best is not None and bound is not None:
        trusted += _unproved_order(joint, best, others, bound)
    if waiting and others and status == "optimal" and "top" not in trusted:
        trusted.append("top")  # the proof leaves out the wait that may keep layouts from the list
    entries = [
        {"ep": ep, "redundant": redundant, "placement": placed.to_json(), "certificate": placed.certificate}
        for (ep, redundant), placed in placements.items()
    ]
    certificate = statement(
        problem, search.lattice_json(), status, best, evaluation, bound=bound,
        top=others, placements=entries,
        trusted=trusted,
    )  # fmt: skip
    placed = placements.get(mesh_of(best)) if best else None
    return Solved(
        problem=problem,
        status=status,
        best=best,
        evaluation=evaluation,
        bound=bound,
        tally=outcome.tally,
        wall_s=time.monotonic() - started,
        certificate=certificate if status != "unknown" else {},
        top=others,
        placement=placed.to_json() if placed else None,
        waiting=fitting and best is None,
        search=None if problem.expert_loads else search,
    )


def _searched(problem: Problem, top: int, deadline: float | None, progress: Progress | None) -> tuple[Search, Found]:
    """A search to its end; interrupted, what is left is bounded from what was found."""
    search = Search(problem, wanted=top, deadline=deadline, progress=progress)
    try:
        return search, search.run()
    except KeyboardInterrupt:
        return search, search.stopped()


def _unproved_order(joint: Joint, best: Scored, others: tuple[Scored, ...], bound: Fraction) -> list[str]:
    """`top` where a better placement of a layout not listed could come between those that are."""
    search, problem = joint.search, joint.search.problem
    listed = {scored.layout.shape: slack(problem, scored.value, bound) for scored in (best, *others)}
    own_lattice = lattice(problem, search.axes)
    proof = prove(problem, own_lattice, list(listed.values())[-1], listed, proved_skews(problem, joint.placements))
    return ["top"] if proof.counterexample is not None else []


def _chosen(problem: Problem, search: Search) -> Scored | None:
    """The first by exact comparison of what the search decided; ties go by the stated order."""
    return min(search.decided(), key=lambda scored: key(problem, scored), default=None)


def _priced(problem: Problem, search: Search, best: Scored) -> Evaluation:
    """The layout priced anew by the reference, and judged by the verifier."""
    skew = search.skews.of(best.layout.shape)
    evaluation = evaluate(problem, best.layout, imbalance=skew)
    broken = violations(problem, best.layout, evaluation, imbalance=skew)
    if broken or objective_of(problem, evaluation) != best.value:
        message = f"the search's layout does not hold: {broken[0] if broken else 'its objective differs'}"
        raise InternalError(message)
    return evaluation
