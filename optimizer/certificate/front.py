"""The frontier of a result: every point a layout that keeps all limits, none dominated, and none missing.

A point is missing if some layout is not matched or beaten in every objective by a listed one. Those vectors make up a
union of boxes, each below a corner in every objective; a corner is a goal, and no layout meets any of them. With two
objectives a corner lies between each two neighbours; each further point replaces the corners that it lies below by
those beside it (Klamroth, Lacour and Vanderpooten 2015). A point has its whole batch in flight, whatever the request
rate: it trades throughput against the latency at that throughput.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from optimizer.certificate.goals import Firsts, Goal, goal
from optimizer.certificate.meshes import Lattice
from optimizer.certificate.optimality import unmet
from optimizer.certificate.priced import evaluated
from optimizer.certificate.reading import keys, layout_of
from optimizer.certificate.verdict import Check, Rejected, brief, equal
from optimizer.domain.objectives import objective_of_unit
from optimizer.domain.problem import Problem
from optimizer.figures.objective import objective_of

Vector = tuple[Fraction, ...]
Corner = tuple[Fraction | None, ...]
"""What a vector must fall short of in each objective; None: nothing."""


def check_front(problem: Problem, lattice: Lattice, stated: object, check: Check) -> None:
    """Check the frontier that a result states.

    Raises
    ------
    Rejected
        At the first point that is not as stated, or with a layout that is missing.
    """
    front = keys("pareto", stated, frozenset({"objectives", "points"}))
    views = _views(problem, front["objectives"])
    vectors: list[Vector] = []
    if not isinstance(front["points"], list):
        raise Rejected("pareto.points", "not a list")
    for number, point in enumerate(front["points"]):
        item = f"pareto.points[{number}]"
        keys(item, point, frozenset({"values", "layout", "redundant"}))
        layout = layout_of(item + ".layout", point)
        found = evaluated(problem, lattice, layout, item, full=True)
        values = [objective_of(view, found) for view in views]
        equal(item + ".values", point["values"], [float(own) for own in values])
        vector = tuple(-v if view.objective_row.maximised else v for v, view in zip(values, views, strict=True))
        if vectors and vector <= vectors[-1]:
            raise Rejected(item, "not after the one before it")
        if any(all(a <= b for a, b in zip(other, vector, strict=True)) for other in vectors):
            raise Rejected(item, "another point is as good in every objective")
        vectors.append(vector)
    if any(_dominates(one, two) for one in vectors for two in vectors):
        raise Rejected("pareto.points", "one is dominated by another")
    proof = unmet(problem, lattice, [_goal(problem, views, corner) for corner in _corners(vectors, len(views))])
    if proof.counterexample is not None:
        own = proof.counterexample.layout
        degrees = ", ".join(f"{n}={getattr(own, n)}" for n in ("tp", "cp", "dp", "pp", "etp", "ep", "edp", "batch"))
        raise Rejected("pareto.points", f"{degrees} is missing: no point is as good in every objective")
    check.checked.append(f"frontier: {len(vectors)} points, each feasible, none dominated, none missing")


def _dominates(one: Vector, two: Vector) -> bool:
    return one != two and all(a <= b for a, b in zip(one, two, strict=True))


def _views(problem: Problem, stated: object) -> list[Problem]:
    """The problem with each objective that the frontier is of."""
    if not isinstance(stated, list) or not all(isinstance(unit, str) for unit in stated):
        raise Rejected("pareto.objectives", f"{brief(stated)} are not objectives")
    rows = [objective_of_unit(unit) for unit in stated]
    found = [row for row in rows if row is not None]
    several = 2 <= len(found) <= 3 and len(found) == len(rows) and len(set(stated)) == len(stated)
    if not several or problem.expert_loads or not all(row.traded for row in found):
        raise Rejected("pareto.objectives", "not two or three different objectives of this problem")
    for row in found:
        message = row.unfit(problem.workload) or row.refusal(problem.hardware)
        if message is not None:
            raise Rejected("pareto.objectives", message)
    return [problem.model_copy(update={"objective": row.name}) for row in found]


def _corners(vectors: Sequence[Vector], count: int) -> list[Corner]:
    corners: list[Corner] = [(None,) * count]
    for vector in vectors:
        cut = [c for c in corners if all(most is None or own < most for own, most in zip(vector, c, strict=True))]
        kept = [corner for corner in corners if corner not in cut]
        beside = [(*c[:at], vector[at], *c[at + 1 :]) for c in cut for at in range(count)]
        corners = kept + [
            one for number, one in enumerate(beside)
            if not any(_within(one, other) for other in kept)
            and not any(_within(one, other) and (one != other or at < number) for at, other in enumerate(beside)
                        if at != number)
        ]  # fmt: skip
    return corners


def _within(one: Corner, other: Corner) -> bool:
    """Whether all that lies below one corner lies below the other."""
    return all(b is None or (a is not None and a <= b) for a, b in zip(one, other, strict=True))


def _earliest(one: Firsts, other: Firsts) -> Firsts:
    """Both sets of limits on the time to the first token."""
    found = dict(one)
    for percentile, limit in other:
        found[percentile] = min(limit, found.get(percentile, limit))
    return tuple(found.items())


def _goal(problem: Problem, views: Sequence[Problem], corner: Corner) -> Goal:
    """All limits of the problem, and less than the corner in every objective."""
    found = goal(problem, None)
    for view, most in zip(views, corner, strict=True):
        if most is None:
            continue
        own = goal(view, -most if view.objective_row.maximised else most)
        found = replace(
            found,
            above=max((v for v in (found.above, own.above) if v is not None), default=None),
            total_above=max((v for v in (found.total_above, own.total_above) if v is not None), default=None),
            cycle=min((v for v in (found.cycle, own.cycle) if v is not None), default=None),
            first=_earliest(found.first, own.first),
            memory=min(found.memory, own.memory),
            devices=min(found.devices, own.devices),
            strict=found.strict | own.strict,
        )
    return found
