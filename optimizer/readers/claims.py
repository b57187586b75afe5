"""Claims about a layout: a name, a value as written, and how far off it may be."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from optimizer.errors import Fault, SpecError
from optimizer.readers.document import Document
from optimizer.readers.messages import kind_of, nearest
from optimizer.readers.places import PathStep
from optimizer.units import Dimension, QuantityError, parse_quantity

_NUMBER = re.compile(r"(?P<whole>[0-9][0-9_]*)?(?:\.(?P<decimals>[0-9_]*))?(?:[eE](?P<exponent>[-+]?[0-9]+))?")
_MOST_EXPONENT = 400


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim.

    Attributes
    ----------
    value
        In the base unit of `dimension`.
    half
        Half a unit of the last digit written, in the base unit; 0 for a bare whole count, which is meant exactly.
    half_below
        The same below the value: a tenth of it where the digits are a power of ten written as such, since below
        ``1e2`` one digit is worth 10 and not 100.
    scale
        Size of the unit written.
    unit
        The unit as written; empty for a bare number.
    tolerance
        Largest relative or absolute difference that the author allows, where given.
    text
        The claim as written.
    """

    name: str
    value: Fraction
    dimension: Dimension
    half: Fraction
    half_below: Fraction
    scale: Fraction
    unit: str
    text: str
    tolerance: Fraction | None = None
    line: int | None = None
    column: int | None = None

    @property
    def slack(self) -> Fraction:
        """How far above the claim the derived value may be."""
        return self.half if self.tolerance is None else self.tolerance

    @property
    def least(self) -> Fraction:
        """Smallest derived value of which the claim is true."""
        return self.value - (self.half_below if self.tolerance is None else self.tolerance)

    @property
    def most(self) -> Fraction:
        """Largest derived value of which the claim is true."""
        return self.value + self.slack

    @property
    def exactly(self) -> Claim:
        """The same claim of a whole number, whose digits round nothing; a tolerance given stays."""
        return replace(self, half=Fraction(0), half_below=Fraction(0))

    def rescaled(self, scale: Fraction, unit: str) -> Claim:
        """The same digits in another unit."""
        factor = scale / self.scale
        return replace(
            self, value=self.value * factor, half=self.half * factor, half_below=self.half_below * factor, scale=scale,
            unit=unit, tolerance=None if self.tolerance is None else self.tolerance * factor,
        )  # fmt: skip


def last_digit(number: str) -> Fraction:
    """One unit of the last digit of a number as written: 0.01 for ``0.62``, 10⁹ for ``10e9``, 1 for ``120000``."""
    match = _NUMBER.match(number.lstrip("+-"))
    if match is None:
        return Fraction(1)
    decimals = len((match["decimals"] or "").replace("_", ""))
    exponent = int(match["exponent"] or 0)
    if abs(exponent) > _MOST_EXPONENT:
        return Fraction(1)
    return Fraction(10) ** (exponent - decimals)


def _spacing(value: Fraction) -> Fraction:
    """How far the digits that a program prints of a double may be from what it rounded: the distance of doubles."""
    return Fraction(math.ulp(float(value))) if abs(value) < sys.float_info.max else Fraction(0)


def _split(text: str) -> tuple[str, str]:
    stripped = text.strip().removeprefix("$").lstrip()
    match = _NUMBER.match(stripped.lstrip("+-"))
    number = match.group() if match else ""
    return number, re.sub(r"\s*/\s*", "/", stripped.lstrip("+-")[len(number) :].strip())


@dataclass(frozen=True, slots=True)
class ClaimReader:
    """Reads the ``claims`` of a document.

    Parameters
    ----------
    dimensions
        What each known claim measures; a name that is not among them is kept with the dimension that its unit says.
    """

    dimensions: dict[str, Dimension] = field(default_factory=dict)

    def read(self, document: Document, at: Sequence[PathStep] = ("claims",)) -> tuple[Claim, ...]:
        """Claims in the order written.

        Raises
        ------
        SpecError
            Not a mapping, a name that is misspelt, or a value that is no quantity of its dimension.
        """
        written = document.get(at)
        if written is None:
            return ()
        if not isinstance(written, dict):
            raise document.error(f"a mapping of claims is wanted, not {kind_of(written)}", at)
        faults: list[Fault] = []
        claims: list[Claim] = []
        for name in written:
            try:
                claims.append(self._claim(document, (*at, name)))
            except SpecError as error:
                faults.extend(error.faults)
        if faults:
            raise SpecError(*faults)
        return tuple(claims)

    def _claim(self, document: Document, at: tuple[PathStep, ...]) -> Claim:
        name, value = str(at[-1]), document.get(at)
        if name not in self.dimensions and (meant := _misspelt(name, list(self.dimensions))):
            raise SpecError(document.fault("unknown claim", at, meant, key=True))
        tolerance: Any = None
        if isinstance(value, dict):
            unknown = [key for key in value if key not in {"value", "tolerance"}]
            if unknown:
                where = (*at, unknown[0])
                raise SpecError(
                    document.fault("unknown key", where, nearest(unknown[0], ["value", "tolerance"]), key=True)
                )
            if "value" not in value:
                raise document.error("is required but missing", (*at, "value"))
            tolerance, at = value.get("tolerance"), (*at, "value")
            value = value["value"]
        claim = self.quantity(name, value, document, at)
        if tolerance is None:
            return claim
        place = (*at[:-1], "tolerance")
        try:
            slack = parse_tolerance(tolerance, claim)
        except QuantityError as error:
            raise document.error(str(error), place, error.suggestion) from None
        return replace(claim, tolerance=slack)

    def quantity(self, name: str, value: object, document: Document, at: tuple[PathStep, ...]) -> Claim:
        """The claim that a value is, without a tolerance.

        Raises
        ------
        SpecError
            A value that is no quantity of its dimension.
        """
        line, column = document.locate(at)
        text = value if isinstance(value, str) else _as_written(document, value, line, column)
        number, unit = _split(text)
        dimension = self.dimensions.get(name) or _dimension_of(unit)
        try:
            exact = parse_quantity(value, dimension)
        except QuantityError as error:
            raise document.error(str(error), at, error.suggestion) from None
        scale = dimension.units.get(unit, Fraction(1)) if unit else Fraction(1)
        bare_count = dimension is Dimension.COUNT and not unit and not set(number) & set(".eE")
        half = Fraction(0) if bare_count else max(last_digit(number) * scale / 2, _spacing(exact))
        lone_power_of_ten = not set(number).isdisjoint("eE") and exact == 2 * half
        below = half / 10 if lone_power_of_ten else half
        return Claim(name, exact, dimension, half, below, scale, unit, text.strip(), None, line, column)


def _misspelt(name: str, known: list[str]) -> str | None:
    """Known name that differs by a slip; a name of its own is no slip."""
    meant = nearest(name, known)
    if meant is None or abs(len(meant) - len(name)) > 2:
        return None
    differing = sum(left != right for left, right in zip(sorted(meant), sorted(name), strict=False))
    return meant if differing <= max(2, len(name) // 3) or sorted(meant) == sorted(name) else None


def _dimension_of(unit: str) -> Dimension:
    """What an unknown claim measures, by its unit alone."""
    if not unit:
        return Dimension.COUNT
    return next((dimension for dimension in Dimension if unit in dimension.units), Dimension.COUNT)


def _as_written(document: Document, value: object, line: int, column: int) -> str:
    """Digits of a number as the file has them: a reader keeps the value of ``10e9`` but not how it was written."""
    lines = document.text.splitlines()
    if isinstance(value, int | float | Fraction) and not isinstance(value, bool) and 0 < line <= len(lines):
        match = _NUMBER.match(lines[line - 1], column - 1)
        if match and match.group() and Fraction(match.group().replace("_", "").rstrip(".")) == _exact(value):
            return match.group()
    return str(value)


def _exact(value: float | Fraction) -> Fraction:
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


def parse_tolerance(written: object, claim: Claim) -> Fraction:
    """Largest difference: ``5%`` of the claim, or a quantity of its dimension.

    Raises
    ------
    QuantityError
        Neither.
    """
    if isinstance(written, str) and written.strip().endswith("%") and claim.dimension is not Dimension.RATIO:
        return parse_quantity(written, Dimension.RATIO) * claim.value
    return parse_quantity(written, claim.dimension)
