"""Layouts whose requests wait no longer for a free place than a limit on TTFT leaves.

The search and the proof leave that wait out (`figures.places`), so that what they find is a bound. Here their best is
given as many places as the wait asks for, within memory; where no number of places will do, the search is asked for
what serves a higher rate, until the wait at the rate asked for is short enough.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Final

from optimizer.domain.lattice import LARGEST_BATCH
from optimizer.domain.limit_table import first_limits, with_rate
from optimizer.domain.problem import Problem
from optimizer.figures.objective import Scored, key, objective_of
from optimizer.figures.rates import last_kept
from optimizer.figures.serving import Evaluation, evaluate
from optimizer.figures.skew import Skews
from optimizer.search.search import Search
from optimizer.verify.constraints import violations

_HIGHER: Final = 64
"""Parts of the rate asked for by which it is raised: an answer is within one of them of the least rate that will do."""
_HIGHEST: Final = 16
"""Times the rate asked for up to which it is raised."""


def waits(problem: Problem) -> bool:
    """Whether a limit on TTFT is kept only where the wait for a free place is short enough."""
    work = problem.workload
    return work.queued_rate is not None and work.decodes and bool(first_limits(problem))


def placed(problem: Problem, scored: Scored, skews: Skews | None = None) -> Scored | None:
    """A layout with the fewest places, its own at least, with which all limits are kept; None where none will do.

    As it is where nothing waits.

    Parameters
    ----------
    skews
        Balance of placed experts, where loads are measured.
    """
    if not waits(problem):
        return scored
    layout = scored.layout
    imbalance = None if skews is None else skews.of(layout.shape)

    @cache
    def priced(batch: int) -> Evaluation:
        return evaluate(problem, layout.model_copy(update={"batch": batch}), imbalance=imbalance)

    def at(batch: int) -> Scored:
        evaluation = priced(batch)
        point = replace(scored.point, batch=batch, memory_bytes=evaluation.memory_bytes)
        return Scored(evaluation.layout, point, objective_of(problem, evaluation), evaluation.throughput)

    def keeps(batch: int, *, wait: bool) -> bool:
        evaluation = priced(batch)
        return not violations(problem, evaluation.layout, evaluation, imbalance=imbalance, waits=wait)

    if keeps(layout.batch, wait=True):
        return at(layout.batch)
    if problem.search.batch is not None:
        more = sorted(batch for batch in problem.search.batch if batch > layout.batch)
        return next((at(batch) for batch in more if keeps(batch, wait=True)), None)
    pp, own = layout.pp, -(-layout.batch // layout.pp)
    over = 2 * own
    while over * pp <= LARGEST_BATCH and keeps(over * pp, wait=False):
        over *= 2
    most = last_kept(lambda micro: keeps(micro * pp, wait=False), own, over)
    if most * pp <= layout.batch or not keeps(most * pp, wait=True):
        return None
    return at(pp * (last_kept(lambda micro: not keeps(micro * pp, wait=True), own, most) + 1))


def within_places(
    problem: Problem, best: Scored, deadline: float | None = None, skews: Skews | None = None
) -> Scored | None:
    """The best layout found whose requests wait no longer for a place than a limit leaves; None where none is."""
    found = placed(problem, best, skews)
    if found is not None or problem.expert_loads:
        return found
    kept: list[Scored] = []

    def fails(part: int) -> bool:
        """Whether the best at a higher rate will not do either."""
        rate = problem.workload.request_rate
        assert rate is not None  # noqa: S101 - requests come at it
        if deadline is not None and time.monotonic() > deadline:
            return True
        asked = with_rate(problem, rate * (1 + Fraction(part, _HIGHER)))
        served = list(all_placed(problem, Search(asked, deadline=deadline).run().best))
        kept.extend(served)
        return not served

    last, part = 0, 1
    while part <= _HIGHEST * _HIGHER and fails(part):
        last, part = part, 2 * part
    if kept:
        last_kept(fails, last, part)
    return min(kept, key=lambda scored: key(problem, scored), default=None)


def all_placed(problem: Problem, listed: Iterable[Scored], skews: Skews | None = None) -> Iterator[Scored]:
    """Those of a list that keep their limits with some number of places."""
    return (one for one in (placed(problem, scored, skews) for scored in listed) if one is not None)
