"""What a linear constraint family has: a coefficient of each candidate, a limit, and a sentence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

from ortools.sat.python import cp_model

from optimizer.domain.families import Family
from optimizer.domain.problem import Problem
from optimizer.figures.objective import Scored

Candidate = Scored

PICOSECONDS = 10**12
LARGEST = 2**53
"""Coefficients stay below this, so that no sum of one chosen literal overflows."""


def floor(value: Fraction | int) -> int:
    """Largest integer not above `value`, within the solver's range."""
    value = Fraction(value)
    return min(value.numerator // value.denominator, LARGEST)


class Rule(ABC):
    """One family over one problem."""

    family: ClassVar[Family]

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @abstractmethod
    def limit(self) -> Fraction | None:
        """What the coefficients of the chosen candidate may be at most; None: the problem sets no limit."""

    @abstractmethod
    def coefficient(self, candidate: Candidate) -> Fraction:
        """The candidate's figure, in the unit of the limit."""

    @abstractmethod
    def sentence(self, candidate: Candidate) -> str:
        """Why a candidate breaks the limit, with its numbers."""

    scale: ClassVar[int] = 1
    """Integer units of one unit of the figure."""

    def holds(self, candidate: Candidate) -> bool:
        """Whether the candidate keeps the limit, exactly."""
        limit = self.limit()
        return limit is None or self.coefficient(candidate) <= limit

    def post(
        self, model: cp_model.CpModel, literals: Sequence[cp_model.IntVar], candidates: Sequence[Candidate]
    ) -> cp_model.Constraint | None:
        """Add the constraint; both sides are rounded down, which keeps every candidate that holds exactly."""
        limit = self.limit()
        if limit is None:
            return None
        terms = [floor(self.coefficient(c) * self.scale) for c in candidates]
        return model.add(cp_model.LinearExpr.weighted_sum(list(literals), terms) <= floor(limit * self.scale))
