"""The bound that a search leaves behind, exact and in the objective's unit."""

from __future__ import annotations

from fractions import Fraction

from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.figures.objective import better
from optimizer.search.pricing import MARGIN
from optimizer.search.search import Found

_LOOSER = Fraction(4 * MARGIN)
"""How much a bound in floats is loosened, relatively, before it is claimed."""


def proved_bound(problem: Problem, found: Found) -> Fraction | None:
    """What no layout can beat: the best value of a complete search, else of what is left and what was found.

    None where there is no layout to bound.
    """
    if not found.best:
        return None
    value = found.best[0].value
    if found.complete or found.bound is None:
        return value if found.complete else None
    left = _in_its_unit(problem, Fraction(found.bound))
    return left if better(problem, left, value) else value


def _in_its_unit(problem: Problem, raw: Fraction) -> Fraction:
    """A bound of `Search`, where larger is better, loosened in the measure of the objective, as the objective."""
    scale = problem.scale
    if scale.measure is not Measure.DEVICES:
        raw += abs(raw) * _LOOSER
    if scale.measure is Measure.CONTEXT:
        raw = Fraction(int(raw))
    return scale.value(raw if scale.measure.rises else -raw)
