"""One figure with its derivation: formula, the numbers put in, the result, and its physical bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from optimizer.units import Dimension, format_quantity, plain

FigureValue = int | Fraction
Inputs = Mapping[str, FigureValue | str]


def shown(value: FigureValue, dimension: Dimension) -> str:
    """Text for people; counts in full."""
    exact = Fraction(value)
    if dimension is Dimension.COUNT and exact.denominator == 1:
        return f"{exact.numerator:,}"
    return format_quantity(exact, dimension)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure and where it comes from.

    Attributes
    ----------
    value
        Exact, in the base unit of `dimension`.
    formula, substituted
        The formula, and the same with its numbers put in.
    inputs
        Those numbers, by name.
    bound
        The same figure at rated peaks with zero overhead, where it is a time or a rate.
    error
        90% of what engines log lies within this much of it, where it was fitted to logs.
    """

    name: str
    value: FigureValue
    dimension: Dimension
    formula: str
    substituted: str
    inputs: Inputs = field(default_factory=dict)
    bound: FigureValue | None = None
    error: FigureValue = 0

    @property
    def unit(self) -> str:
        """Name of the base unit; empty for counts."""
        return self.dimension.base

    @property
    def result_text(self) -> str:
        """The value for people."""
        return shown(self.value, self.dimension)

    @property
    def bound_text(self) -> str | None:
        """The bound for people."""
        return None if self.bound is None else shown(self.bound, self.dimension)

    def __str__(self) -> str:
        """``tpot = pp · max A ÷ e = 4 · 12.3 ms ÷ 1 = 49.2 ms``, in one line."""
        chain = [self.name, self.formula, self.substituted, self.result_text]
        return " = ".join(part for i, part in enumerate(chain) if part and part not in chain[:i])

    def to_json(self) -> dict[str, Any]:
        """Derivation of one figure."""
        return {
            "name": self.name,
            "value": plain(self.value),
            "unit": self.unit,
            "formula": self.formula,
            "substituted": self.substituted,
            "result": self.result_text,
            "inputs": {name: value if isinstance(value, str) else plain(value) for name, value in self.inputs.items()},
            "bound": None if self.bound is None else plain(self.bound),
        }


class Sheet(dict[str, Figure]):
    """Figures by name, in the order they were derived."""

    def put(
        self,
        name: str,
        value: FigureValue,
        dimension: Dimension,
        formula: str,
        substituted: str = "",
        *,
        inputs: Inputs | None = None,
        bound: FigureValue | None = None,
        error: FigureValue = 0,
    ) -> None:
        """Add one figure."""
        self[name] = Figure(name, value, dimension, formula, substituted, inputs or {}, bound, error)

    def count(
        self, name: str, value: FigureValue, formula: str, substituted: str = "", **inputs: FigureValue | str
    ) -> None:
        """Add a count."""
        self.put(name, value, Dimension.COUNT, formula, substituted, inputs=inputs)
