"""What the model's error means: answers that it cannot tell apart, and problems at other efficiencies."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem

TIES: Mapping[Measure, Fraction] = {
    **dict.fromkeys((Measure.REQUESTS, Measure.DEVICE_REQUESTS, Measure.CYCLE), Fraction(5, 100)),
    Measure.FIRST: Fraction(44, 100),
}
"""How far apart two predictions are, as a share, beyond which none was in the wrong order.

Of 53 pairs of layouts on as many devices, of one engine release, at the same lengths and concurrency (`python -m
benchmarks.layouts`, 2026-11-29): 46 are in the right order of throughput and 45 of TPOT, the others at most 3.9% and
4.6% apart; 39 are in that of TTFT, the others at most 43.6%."""

MOST_TIES = 5
"""Layouts that are listed beside an answer."""

EFFICIENCIES = ("hbm", "attention_hbm", "compute", "links", "latency", "launch")
"""What is uncertain; `compute` is every number format, attention's and experts', `links` and `latency` every tier."""

PRECISION = Fraction(1, 128)
"""Thresholds are found to this much of the efficiency's own value."""

LARGEST_CHANGE = 2
"""Thresholds are sought between half and twice each efficiency."""

Factors = tuple[tuple[str, Fraction], ...]
"""Efficiencies by name, each with what multiplies it."""


def tied(problem: Problem, one: Fraction, other: Fraction) -> bool:
    """Whether two values of the objective are closer than what measurements tell apart."""
    apart = TIES.get(problem.scale.measure)
    return apart is not None and max(one, other) <= (1 + apart) * min(one, other)


def with_factors(problem: Problem, factors: Factors) -> Problem:
    """A copy whose efficiencies are multiplied; shares of a peak end at 1."""
    return problem.model_copy(update={"hardware": problem.hardware.scaled(dict(factors))})
