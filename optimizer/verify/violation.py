"""One violated constraint, with its witness and its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from optimizer.domain.families import Family
from optimizer.units import Dimension, format_quantity, in_full, plain


@dataclass(frozen=True, slots=True)
class Violation:
    """A constraint that a layout violates.

    Attributes
    ----------
    message
        Says which part violates it, with the numbers.
    numbers
        The same numbers in base units, by name.
    """

    family: Family
    message: str
    numbers: Mapping[str, Fraction | int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"({self.family}) {self.message}"

    def to_json(self) -> dict[str, Any]:
        """One entry of ``violations``."""
        numbers = {name: plain(value) for name, value in self.numbers.items()}
        return {"family": str(self.family), "message": str(self), "numbers": numbers}


def against(value: Fraction | int, limit: Fraction | int, dimension: Dimension, word: str) -> str:
    """``81.2 GB of 72 GB``, with all digits where four do not tell the two apart."""
    left, right = format_quantity(value, dimension), format_quantity(limit, dimension)
    if left == right:
        left, right = in_full(value, dimension), in_full(limit, dimension)
    return f"{left} {word} {right}"
