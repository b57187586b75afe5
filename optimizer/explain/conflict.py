"""A minimal set of limits that nothing keeps together, and the least change of all its numbers by one factor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from optimizer.domain.limit_table import Limit, LimitValue, limits_of
from optimizer.domain.problem import Problem
from optimizer.explain.feasible import fits, fits_but_for_waits
from optimizer.figures.objective import Scored
from optimizer.search.search import Progress


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
    # the proof leaves the wait for a free place out; where it alone is in the way, what is found with it decides
    some = fits_but_for_waits if fits_but_for_waits(problem) is None else fits
    needed, reduced = limits_of(problem), problem
    for done, limit in enumerate(list(needed)):
        without = limit.drop(reduced)
        if some(without) is None:
            reduced = without
            needed.remove(limit)
        if progress is not None:
            progress("conflict", done + 1, len(limits_of(problem)))
    members = tuple(Member(limit, some(limit.drop(reduced))) for limit in needed)
    return Conflict(members, reduced)


_LARGEST = 64


@dataclass(frozen=True)
class JointRelaxation:
    """All numbers of the conflict relaxed by one factor: the least largest relative change, all weights equal.

    Attributes
    ----------
    factor
        Times and memory and devices multiplied by it, rates divided.
    below
        A factor, this little smaller, at which nothing fits.
    """

    factor: Fraction
    below: Fraction
    changes: tuple[tuple[str, LimitValue, LimitValue, str | None], ...]
    scored: Scored


def _scaled(problem: Problem, limits: Sequence[Limit], factor: Fraction) -> Problem:
    for limit in limits:
        if limit.times is not None:
            problem = limit.times(problem, factor)
    return problem


def joint(problem: Problem, minimal_conflict: Conflict) -> JointRelaxation | None:
    """The least factor, to one part in 1,024, by which all numbers of the conflict relaxed make something fit."""
    limits = [member.limit for member in minimal_conflict.members if member.limit.times is not None]
    if any(limit.name == "memory_utilization" for limit in limits):
        # the one is the share of the other that may be used
        limits = [limit for limit in limits if limit.name != "memory"]
    if len(limits) < 2:
        return None
    low, high = Fraction(1), Fraction(2)
    witness = fits(_scaled(problem, limits, high))
    while witness is None:
        low, high = high, 2 * high
        if high > _LARGEST:
            return None
        witness = fits(_scaled(problem, limits, high))
    while high - low > low / 1024:
        middle = (low + high) / 2
        tried = fits(_scaled(problem, limits, middle))
        low, high, witness = (low, middle, tried) if tried is not None else (middle, high, witness)
    new = _scaled(problem, limits, high)
    changes = tuple((limit.name, limit.of(problem), limit.of(new), limit.unit) for limit in limits)
    return JointRelaxation(high, low, changes, witness)
