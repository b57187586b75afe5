"""A minimal set of limits that nothing keeps together, found and proved by deletion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from optimizer.domain.limit_table import Limit, limits_of
from optimizer.domain.problem import Problem
from optimizer.explain.limits import fits
from optimizer.figures.objective import Scored

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Member:
    """A limit of the conflict, and a layout that keeps all the others of it."""

    limit: Limit
    without: Scored | None


@dataclass(frozen=True)
class Conflict:
    """A minimal set of limits in conflict.

    Attributes
    ----------
    members
        Empty where not even dropping everything helps: then the model does not fit these devices at all.
    alone
        The problem with only these limits.
    """

    members: tuple[Member, ...]
    alone: Problem


def conflict(problem: Problem, progress: Progress | None = None) -> Conflict:
    """A minimal conflict of an infeasible problem: nothing keeps all of it, something keeps it less any one member.

    Limits are left out one after the other, those first that are easiest to do without, and stay out wherever the
    rest still conflicts.
    """
    left, alone = limits_of(problem), problem
    for done, limit in enumerate(list(left)):
        without = limit.drop(alone)
        if fits(without) is None:
            alone = without
            left.remove(limit)
        if progress is not None:
            progress("conflict", done + 1, len(limits_of(problem)))
    members = tuple(Member(limit, fits(limit.drop(alone))) for limit in left)
    return Conflict(members, alone)
