"""How long requests that come at random wait for a free place, beside the queue of prompts that TTFT has.

A rank has b places. With all of them taken a request keeps its own for S = b ÷ requests/s of the whole batch (Little's
law), so that at r requests/s a = r·S places are taken on average. All of them are with the chance of Erlang's delay
formula,

    C = B ÷ (1 − ρ·(1 − B)), ρ = a ÷ b, B = B(b), B(0) = 1, B(k) = a·B(k − 1) ÷ (k + a·B(k − 1))   (Erlang 1917),

and as all requests keep a place equally long a request waits C·S ÷ (2·b·(1 − ρ)) times

    1 + (1 − ρ)·(b − 1)·(√(4 + 5·b) − 2) ÷ (16·ρ·b)

on average (M/D/b; Cosmetatos, *Operational Research Quarterly* 26, 1975). Steps with fewer sequences are shorter: at
low loads both are more than what an engine shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import Final

from optimizer.domain.objectives import Measure, Objective
from optimizer.domain.problem import Problem
from optimizer.figures.objective import value_of
from optimizer.figures.percentiles import logarithm
from optimizer.figures.serving import Evaluation

_GRID: Final = 1 << 96
"""Parts that what is lost is rounded up to, so that its digits do not grow with the places."""
_CHANCES: Final = 10**6
"""Parts that a chance is rounded up to: no engine shows fewer."""
_ROOT: Final = 1 << 32
"""Parts that a root is rounded up to."""


@dataclass(frozen=True, slots=True)
class PlaceWait:
    """Wait for a place of a rank.

    Attributes
    ----------
    taken
        Places taken on average, a.
    kept_s
        What a request keeps a place with all of them taken, S.
    chance
        Share of requests that find every place taken.
    correction
        What the mean wait is more than half of that with times of any spread.
    mean_s
        Mean wait of all requests; None where as many come as are served: it grows without end.
    """

    taken: Fraction
    kept_s: Fraction
    chance: Fraction
    correction: Fraction
    mean_s: Fraction | None

    def longest_s(self, percentile: int | None) -> Fraction | None:
        """Mean wait, or what so many percent of requests wait at most; None where it grows without end.

        Those that find every place taken wait longer than t with chance e^−(t ÷ their mean), as in M/M/b.
        """
        if percentile is None or self.mean_s is None:
            return self.mean_s
        ratio = self.chance * 100 / (100 - percentile)
        return self.mean_s / self.chance * logarithm(ratio) if ratio > 1 else Fraction(0)


def wait_at_load(problem: Problem, evaluation: Evaluation) -> PlaceWait | None:
    """Wait for a place of a layout at its request rate; None where nothing comes at random, or none decodes."""
    rate, ranks = problem.workload.queued_rate, evaluation.layout.dp
    if rate is None or not problem.workload.decodes or evaluation.endless:
        return None
    # of places that are no whole micro-batches fewer may serve more
    capacity = max(evaluation.whole_capacity, evaluation.request_capacity)
    return place_wait(evaluation.layout.batch, rate / ranks, capacity / ranks)


def value_with_wait(
    row: Objective, problem: Problem, evaluation: Evaluation, wait: PlaceWait | None
) -> Fraction | None:
    """The value of an objective, a TTFT with the wait for a free place beside it; None where either has no end."""
    value, scale = value_of(row, problem, evaluation), row.scale_of(problem)
    if value is None or wait is None or scale.measure is not Measure.FIRST:
        return value
    waited = wait.longest_s(scale.percentile)
    return None if waited is None else value + waited


def place_wait(places: int, rate: Fraction, capacity: Fraction) -> PlaceWait:
    """Wait for one of a rank's places.

    Parameters
    ----------
    places
        Sequences that the rank takes at once, at least 1.
    rate, capacity
        Requests/s that come to it, and that it serves with every place taken.
    """
    kept_s = places / capacity
    taken = rate * kept_s
    if taken >= places:
        return PlaceWait(taken, kept_s, Fraction(1), Fraction(1), None)
    # in whole numbers: fractions would be reduced at every place
    lost_parts, whole = _GRID, taken.denominator * _GRID
    for place in range(1, places + 1):
        offered = taken.numerator * lost_parts
        lost_parts = -(-_GRID * offered // (place * whole + offered))
    lost = Fraction(lost_parts, _GRID)
    load = taken / places
    chance = Fraction(-(-lost * _CHANCES // (1 - load * (1 - lost))), _CHANCES)
    root = Fraction(isqrt((4 + 5 * places) * _ROOT * _ROOT) + 1, _ROOT)
    more = 1 + (1 - load) * (places - 1) * (root - 2) / (16 * load * places)
    return PlaceWait(taken, kept_s, chance, more, chance * kept_s / (2 * places * (1 - load)) * more)
