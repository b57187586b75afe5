"""The efficiencies of the cost model that may be wrong, and a problem with some of them multiplied."""

from __future__ import annotations

from fractions import Fraction

from optimizer.domain.problem import Problem

EFFICIENCIES = ("hbm", "attention_hbm", "compute", "links", "latency", "launch")
"""What is uncertain; `compute` is every number format, attention's and experts', `links` and `latency` every tier."""

PRECISION = Fraction(1, 128)
"""Thresholds are found to this much of the efficiency's own value."""

LARGEST_CHANGE = 2
"""Thresholds are sought between half and twice each efficiency."""

Factors = tuple[tuple[str, Fraction], ...]
"""Efficiencies by name, each with what multiplies it."""


def with_factors(problem: Problem, factors: Factors) -> Problem:
    """A copy whose efficiencies are multiplied; shares of a peak end at 1."""
    return problem.model_copy(update={"hardware": problem.hardware.scaled(dict(factors))})
