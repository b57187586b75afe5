"""What the model's error means: answers that it cannot tell apart, and problems at other efficiencies."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem

TIES: Mapping[Measure, Fraction] = {
    **dict.fromkeys((Measure.REQUESTS, Measure.DEVICE_REQUESTS, Measure.CYCLE), Fraction(19, 100)),
    Measure.FIRST: Fraction(25, 100),
}
"""How far apart two predictions must be for their order to be that of measurements in 90% of pairs, as a share.

Of 1,298 closed-loop runs (`domain.margins.SOURCE`), in pairs of layouts at the same lengths and concurrency, by
`python -m benchmarks.margins TABLE.csv` on 2026-11-29. Throughput and TPOT: 50 pairs on as many devices; the one that
was predicted the better was the measured one in 21 of the 45 less than 19% apart, and in all 5 further apart; 49 are of
two releases. Of 82 pairs of one (`python -m benchmarks.layouts`) 39 are in the wrong order, none of them more than
17.5% apart. TTFT: of 1,568 pairs on any number of devices, in 90% of those 25% or further apart."""

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
