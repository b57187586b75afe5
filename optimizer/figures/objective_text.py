"""The value of an objective, of a layout's or of a fleet's, as its row says it to people."""

from __future__ import annotations

from fractions import Fraction

from optimizer.domain.fleet import TOLD
from optimizer.domain.objectives import objective_of_unit
from optimizer.figures.derivation_figure import shown
from optimizer.units import named


def objective_text(name: str, value: float) -> str:
    """A value with its unit and what it is of, by the objective's name in results."""
    row = objective_of_unit(name)
    if row is not None and value in row.apart:
        return row.apart[int(value)]
    if row is not None:
        dimension, told = row.dimension, row.told or f"{row.words} {{}}"
    elif name in TOLD:
        dimension, told = TOLD[name]
    else:
        return f"{named(name)[0]} {value:,.6g}"
    return told.format(shown(Fraction(value), dimension))


def titled(name: str) -> str:
    """What an objective or another figure is, by its name in results, with its unit in brackets."""
    row, (words, unit) = objective_of_unit(name), named(name)
    if row is not None:
        words, unit = row.words, row.dimension.base
    return f"{words} ({unit})" if unit else words
