"""The load that a layout serves in time: requests/s at which limits on latency still hold, queue included.

Request capacity is at a load of 1, where the queue of random arrivals has no end; with a limit on the time to first
token fewer requests are served in time. What is asked here is the evaluation at other rates, so that no premise on
queue or batch is stated twice.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from optimizer.domain.limit_table import bounds_of, with_rate
from optimizer.domain.objectives import Objective
from optimizer.domain.problem import Problem
from optimizer.figures.costs import build_costs
from optimizer.figures.memory import build_memory
from optimizer.figures.places import value_with_wait, wait_at_load
from optimizer.figures.rates import effective_rates, last_kept
from optimizer.figures.serving import Evaluation, evaluate

STEPS: Final = 4096
"""Parts of the request capacity that are told apart: finer than any measurement of it (a ratio)."""


def goodput(problem: Problem, evaluation: Evaluation) -> tuple[Fraction, Fraction] | None:
    """What part of a layout's capacity it serves within all limits on latency, of arrivals at random.

    Returns
    -------
    tuple of Fraction, or None
        As `most_in_time`, in 1/`STEPS`; None where nothing arrives at random, or nothing limits a latency.
    """
    if problem.workload.queued_rate is None or not _limits(problem):
        return None
    return most_in_time(problem, evaluation, STEPS)


def most_in_time(problem: Problem, evaluation: Evaluation, steps: int) -> tuple[Fraction, Fraction]:
    """The most requests/s at which a layout keeps all limits on latency and no queue grows without end.

    Returns
    -------
    tuple of Fraction
        The part, in 1/`steps` (0: none), and the requests/s that it is of: the capacity with the whole batch in flight.
    """
    layout, limits = evaluation.layout, _limits(problem)
    costs = build_costs(problem, layout.shape, effective_rates(problem.priced_hardware), evaluation.imbalance)
    memory = build_memory(problem, layout.shape)
    capacity = evaluate(with_rate(problem, None), layout, costs=costs, memory=memory).request_capacity

    def in_time(part: int) -> bool:
        asked = with_rate(problem, capacity * Fraction(part, steps))
        found = evaluate(asked, layout, costs=costs, memory=memory)
        if found.load >= 1:
            return False
        wait = wait_at_load(asked, found)
        values = ((row, value_with_wait(row, problem, found, wait), bound) for row, bound in limits)
        return all(value is not None and row.keeps(value, bound) for row, value, bound in values)

    return Fraction(last_kept(in_time, 0, steps + 1), steps), capacity


def _limits(problem: Problem) -> list[tuple[Objective, Fraction]]:
    """Limits on latencies, each with the prediction that keeps it at the confidence asked."""
    return [
        (row.objective, row.predicted(problem, value))
        for row, value in bounds_of(problem)
        if row.timed(problem) is not None
    ]
