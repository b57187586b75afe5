"""The frontier of a result: every point a layout that keeps all limits, none dominated, and none missing.

A point is missing if some layout is not matched or beaten in every objective by a listed one. Those vectors make up a
union of boxes, each below a corner in every objective; a corner is a goal, and no layout meets any of them. With two
objectives a corner lies between each two neighbours; each further point replaces the corners that it lies below by
those beside it (Klamroth, Lacour and Vanderpooten 2015). A point has its whole batch in flight, whatever the request
rate: it trades throughput against the latency at that throughput.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import inf

from optimizer.certificate.goals import Firsts, Goal, beating, goal
from optimizer.certificate.meshes import MeshCount
from optimizer.certificate.optimality import unmet
from optimizer.certificate.priced import Books, evaluated
from optimizer.certificate.reading import keys, layout_of
from optimizer.certificate.verdict import Check, Rejected, brief, equal
from optimizer.domain.objectives import objective_of_unit
from optimizer.domain.problem import Problem
from optimizer.figures.objective import objective_of

Vector = tuple[Fraction, ...]
BoxIndex = tuple[int, ...]
Corner = tuple[int | None, ...]
"""What a vector must fall short of in each objective, by its place among the values of all points; None: nothing."""


def check_front(problem: Problem, lattice: MeshCount, stated: object, check: Check) -> None:
    """Check the frontier that a result states.

    Raises
    ------
    Rejected
        At the first point that is not as stated, or with a layout that is missing.
    """
    front = keys("pareto", stated, frozenset({"objectives", "points"}))
    views = _views(problem, front["objectives"])
    vectors: list[Vector] = []
    books = Books(problem)
    if not isinstance(front["points"], list):
        raise Rejected("pareto.points", "not a list")
    for number, point in enumerate(front["points"]):
        item = f"pareto.points[{number}]"
        keys(item, point, frozenset({"values", "layout", "redundant"}))
        layout = layout_of(item + ".layout", point)
        evaluation = evaluated(problem, lattice, layout, item, full=True, waits=False, books=books)
        values = [objective_of(view, evaluation) for view in views]
        equal(item + ".values", point["values"], [float(value) for value in values])
        vector = tuple(-v if view.objective_row.maximised else v for v, view in zip(values, views, strict=True))
        if vectors and vector <= vectors[-1]:
            raise Rejected(item, "not after the one before it")
        vectors.append(vector)
    # places among all values of an objective: integers, which are quicker to compare than fractions
    levels = [sorted({vector[at] for vector in vectors}) for at in range(len(views))]
    places = [tuple(map(bisect_left, levels, vector)) for vector in vectors]
    corners = [
        tuple(None if value is None else level[value] for level, value in zip(levels, corner, strict=True))
        for corner in _neighbours(_corners(places, len(views)), 0)
    ]
    limits = goal(problem, None)
    proof = unmet(problem, lattice, [_goal(limits, views, corner) for corner in corners])
    if proof.counterexample is not None:
        missing = proof.counterexample.layout.told
        raise Rejected("pareto.points", f"{missing} is missing: no point is as good in every objective")
    check.checked.append(f"frontier: {len(vectors)} points, each feasible, none dominated, none missing")


def _views(problem: Problem, stated: object) -> list[Problem]:
    """The problem with each objective that the frontier is of."""
    if not isinstance(stated, list) or not all(isinstance(unit, str) for unit in stated):
        raise Rejected("pareto.objectives", f"{brief(stated)} are not objectives")
    rows = [objective_of_unit(unit) for unit in stated]
    known = [row for row in rows if row is not None]
    several = 2 <= len(known) <= 3 and len(known) == len(rows) and len(set(stated)) == len(stated)
    if not several or problem.expert_loads or not all(row.traded for row in known):
        raise Rejected("pareto.objectives", "not two or three different objectives of this problem")
    for row in known:
        message = row.untold(problem)
        if message is not None:
            raise Rejected("pareto.objectives", message)
    return [problem.model_copy(update={"objective": row.name}) for row in known]


def _corners(points: Sequence[BoxIndex], count: int) -> list[Corner]:
    """Corners of what no point is as good as, from points in ascending order of their first objective.

    What a point cuts off in the other objectives is open to vectors whose first objective is less than the point's.

    Raises
    ------
    Rejected
        Where another point is as good as one in every objective.
    """
    opened: dict[Corner, int | None] = {(None,) * (count - 1): None}
    corners: list[Corner] = []
    for number, (first, *rest) in enumerate(points):
        cut = [c for c in opened if all(most is None or value < most for value, most in zip(rest, c, strict=True))]
        if not cut:
            raise Rejected(f"pareto.points[{number}]", "another point is as good in every objective")
        corners += [(first, *c) for c in cut if opened.pop(c) != first]
        for at in range(count - 1):
            new_corners = list(dict.fromkeys((*c[:at], rest[at], *c[at + 1 :]) for c in cut))
            # of what was open before only corners as far in this objective may hold one of these
            rivals = new_corners + [c for c in opened if c[at] == rest[at]]
            opened |= {c: first for c in new_corners if not any(c != other and _within(c, other) for other in rivals)}
    return corners + [(None, *c) for c in opened]


def _neighbours(corners: Sequence[Corner], axis: int) -> Sequence[Corner]:
    """Corners in an order in which those of each half, quarter, … lie near to each other."""
    if len(corners) < 2:
        return corners
    ordered = sorted(corners, key=lambda corner: inf if (place := corner[axis]) is None else place)
    half, other = len(ordered) // 2, (axis + 1) % len(ordered[0])
    return [*_neighbours(ordered[:half], other), *_neighbours(ordered[half:], other)]


def _within(one: Corner, other: Corner) -> bool:
    """Whether all that lies below one corner lies below the other."""
    return all(b is None or (a is not None and a <= b) for a, b in zip(one, other, strict=True))


def _earliest(one: Firsts, other: Firsts) -> Firsts:
    """Both sets of limits on the time to the first token."""
    limits = dict(one)
    for percentile, limit in other:
        limits[percentile] = min(limit, limits.get(percentile, limit))
    return tuple(limits.items())


def _goal(limits: Goal, views: Sequence[Problem], corner: Sequence[Fraction | None]) -> Goal:
    """All limits, and less than the corner in every objective."""
    joined = limits
    for view, most in zip(views, corner, strict=True):
        if most is None:
            continue
        aim = beating(view, limits, -most if view.objective_row.maximised else most)
        joined = replace(
            joined,
            above=max((v for v in (joined.above, aim.above) if v is not None), default=None),
            total_above=max((v for v in (joined.total_above, aim.total_above) if v is not None), default=None),
            cycle=min((v for v in (joined.cycle, aim.cycle) if v is not None), default=None),
            first=_earliest(joined.first, aim.first),
            memory=min(joined.memory, aim.memory),
            devices=min(joined.devices, aim.devices),
            strict=joined.strict | aim.strict,
        )
    return joined
