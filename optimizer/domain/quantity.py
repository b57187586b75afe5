"""Types of the fields that hold a quantity: text with a unit or a number in, an exact number in the base unit out.

Integers where the base unit cannot be split (bytes, devices, tokens) or is fine enough (bytes/s, FLOP/s); fractions
elsewhere. Every type bounds its value, so that sums of products of them stay inside 64 bits.
"""

from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from optimizer.units import Dimension, QuantityError, format_quantity, parse_quantity

LONGEST_SECONDS = 10**6
"""Longest time of a limit or a latency: 10**18 picoseconds."""


def _whole(dimension: Dimension, *, least: int = 0, largest: int | None = None) -> BeforeValidator:
    def read(value: object) -> int:
        exact = parse_quantity(value, dimension, largest=largest)
        if exact.denominator != 1:
            raise QuantityError(f"{value} is not whole")
        if exact < least:
            raise QuantityError(f"must be at least {format_quantity(least, dimension)}, not {value}")
        return int(exact)

    return BeforeValidator(read)


def fraction_of(
    dimension: Dimension, *, positive: bool = False, largest: int | None = None
) -> tuple[BeforeValidator, PlainSerializer]:
    """How a field reads and writes a quantity: ``Annotated[Fraction, *fraction_of(D), schema_of(D, example=…)]``."""

    def read(value: object) -> Fraction:
        exact = parse_quantity(value, dimension, largest=largest)
        if positive and exact == 0:
            raise QuantityError("must be more than 0")
        return exact

    return BeforeValidator(read), PlainSerializer(plain_number, return_type=int | float | str)


def plain_number(value: Fraction) -> int | float | str:
    """Number that reads back as exactly ``value``: an integer, a decimal, or the text ``1/3`` where no decimal does."""
    if value.denominator == 1:
        return int(value)
    nearest = float(value)
    return nearest if Fraction(repr(nearest)) == value else f"{value.numerator}/{value.denominator}"


def schema_of(dimension: Dimension, *, example: str) -> WithJsonSchema:
    """What a JSON Schema says of a quantity."""
    return WithJsonSchema(
        {
            "description": f"{dimension.noun}: text with a unit, or a number in the base unit",
            "anyOf": [{"type": "string", "pattern": "^[^a-zA-Z]*[0-9]"}, {"type": "number", "minimum": 0}],
            "examples": [example],
        }
    )


_BYTES = schema_of(Dimension.BYTES, example="80 GB")
_SECONDS = schema_of(Dimension.SECONDS, example="50 ms")
_RATIO = schema_of(Dimension.RATIO, example="90%")
_COUNT = schema_of(Dimension.COUNT, example="1024")

Bytes = Annotated[int, _whole(Dimension.BYTES), _BYTES]
PositiveBytes = Annotated[int, _whole(Dimension.BYTES, least=1), _BYTES]
BytesPerSecond = Annotated[
    int, _whole(Dimension.BYTES_PER_SECOND, least=1), schema_of(Dimension.BYTES_PER_SECOND, example="50 GB/s")
]
Flops = Annotated[int, _whole(Dimension.FLOPS, least=1), schema_of(Dimension.FLOPS, example="989 TFLOP/s")]
Seconds = Annotated[Fraction, *fraction_of(Dimension.SECONDS, largest=LONGEST_SECONDS), _SECONDS]
PositiveSeconds = Annotated[Fraction, *fraction_of(Dimension.SECONDS, positive=True, largest=LONGEST_SECONDS), _SECONDS]
Dollars = Annotated[Fraction, *fraction_of(Dimension.DOLLARS), schema_of(Dimension.DOLLARS, example="1000 $")]
DollarsPerHour = Annotated[
    Fraction, *fraction_of(Dimension.DOLLARS_PER_HOUR), schema_of(Dimension.DOLLARS_PER_HOUR, example="1.5 $/h")
]
PositiveRate = Annotated[
    Fraction,
    *fraction_of(Dimension.PER_SECOND, positive=True),
    schema_of(Dimension.PER_SECOND, example="40 requests/s"),
]
Rate = Annotated[Fraction, *fraction_of(Dimension.PER_SECOND), schema_of(Dimension.PER_SECOND, example="40 requests/s")]
Watts = Annotated[Fraction, *fraction_of(Dimension.WATTS), schema_of(Dimension.WATTS, example="10.2 kW")]
Ratio = Annotated[Fraction, *fraction_of(Dimension.RATIO, largest=1), _RATIO]
PositiveRatio = Annotated[Fraction, *fraction_of(Dimension.RATIO, positive=True, largest=1), _RATIO]
Factor = Annotated[Fraction, *fraction_of(Dimension.RATIO, positive=True, largest=10**6), _RATIO]
Multiple = Annotated[Fraction, *fraction_of(Dimension.RATIO, largest=10**18), _RATIO]
"""A plain number of any size."""
Count = Annotated[int, _whole(Dimension.COUNT), _COUNT]
