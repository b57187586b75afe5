"""Quantities: the one parser from text with a unit to an exact number in the base unit, and back for people.

Base units: bytes, bytes/s, FLOP/s, FLOP, seconds, dollars, dollars per hour, dollars per token, tokens/s, requests/s,
and 1 for ratios and counts. Everything is exact: ``80 GiB`` is the integer 80 * 2**30, ``0.1 s`` is the fraction 1/10.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from enum import Enum
from fractions import Fraction
from math import ceil, floor, inf, nextafter
from types import MappingProxyType
from typing import Final

DECIMAL: Final[Mapping[str, int]] = MappingProxyType(
    {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
)
BINARY: Final[Mapping[str, int]] = MappingProxyType({"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50})
_ALL: Final[Mapping[str, int]] = MappingProxyType({**DECIMAL, "K": 10**3, **BINARY})
_LARGE: Final[Mapping[str, int]] = MappingProxyType({**DECIMAL, "E": 10**18})
_SHORT_SCALE: Final[Mapping[str, int]] = MappingProxyType(
    {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
)


def _scaled(prefixes: Mapping[str, int], *units: str, scale: Fraction | int = 1) -> dict[str, Fraction]:
    return {prefix + unit: Fraction(factor) * scale for unit in units for prefix, factor in prefixes.items()}


def _printed(unit: str, prefixes: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(prefix + unit for prefix in reversed([*prefixes]))


_POWERS: Final[Mapping[str, int]] = MappingProxyType({"": 1, "k": 10**3, "M": 10**6})
_BYTE_RATES = _scaled(_ALL, "B/s") | _scaled(_ALL, "b/s", "bit/s", scale=Fraction(1, 8))
_BYTE_RATES |= _scaled(DECIMAL, "bps", scale=Fraction(1, 8)) | _scaled(DECIMAL, "Bps")
_TIMES = {
    "ps": Fraction(1, 10**12),
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "\N{MICRO SIGN}s": Fraction(1, 10**6),
    "\N{GREEK SMALL LETTER MU}s": Fraction(1, 10**6),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}


class Dimension(Enum):
    """What a quantity measures.

    ``noun`` names it in messages, ``base`` is what results call its base unit, ``units`` maps every accepted unit to
    its size in the base unit, ``shown`` lists the units a message recommends, ``largest`` bounds the value so that sums
    of products stay inside 64 bits, and ``printed`` lists the units in which a value is written, largest first: the
    first that leaves at least 1.
    """

    BYTES = (
        "a size in bytes",
        "bytes",
        _scaled(_ALL, "B"),
        ("B", "kB", "MB", "GB", "TB", "PB", "KiB", "MiB", "GiB"),
        10**18,
        _printed("B", DECIMAL),
    )
    BYTES_PER_SECOND = (
        "a bandwidth",
        "bytes/s",
        _BYTE_RATES,
        ("MB/s", "GB/s", "TB/s", "GiB/s", "Mb/s", "Gb/s", "Tb/s"),
        10**18,
        _printed("B/s", DECIMAL),
    )
    FLOPS = (
        "a compute rate",
        "FLOP/s",
        _scaled(_LARGE, "FLOP/s", "FLOPS", "OP/s", "OPS"),
        ("GFLOP/s", "TFLOP/s", "PFLOP/s", "TOPS"),
        10**18,
        _printed("FLOP/s", _LARGE),
    )
    FLOP = (
        "an amount of compute",
        "FLOP",
        _scaled(_LARGE, "FLOP", "OP"),
        ("GFLOP", "TFLOP", "PFLOP"),
        10**30,
        _printed("FLOP", _LARGE),
    )
    SECONDS = (
        "a time",
        "s",
        _TIMES,
        ("ns", "us", "ms", "s", "min", "h"),
        10**9,
        ("d", "h", "min", "s", "ms", "us", "ns"),
    )
    DOLLARS = ("an amount of money", "$", _scaled(_SHORT_SCALE, "$", "USD"), ("$",), 10**15, ("$",))
    DOLLARS_PER_HOUR = ("a price per hour", "$/h", _scaled({"": 1}, "$/h", "USD/h"), ("$/h",), 10**9, ("$/h",))
    DOLLARS_PER_TOKEN = (
        "a price per token",
        "$/token",
        {"$/token": Fraction(1), "$/ktok": Fraction(1, 10**3), "$/Mtok": Fraction(1, 10**6)},
        ("$/Mtok", "$/token"),
        10**6,
        ("$/Mtok",),
    )
    TOKENS_PER_SECOND = (
        "a token rate",
        "tokens/s",
        _scaled(_SHORT_SCALE, "tokens/s", " tokens/s", "tok/s", " tok/s", "token/s"),
        ("tokens/s", "k tokens/s"),
        10**15,
        ("tokens/s",),
    )
    PER_SECOND = (
        "a request rate",
        "requests/s",
        {
            **_scaled({"": 1}, "/s", "requests/s", "request/s", "req/s"),
            **_scaled({"": 1}, "/min", "requests/min", "req/min", scale=Fraction(1, 60)),
        },
        ("requests/s", "requests/min"),
        10**12,
        ("requests/s",),
    )
    WATTS = ("a power", "W", _scaled(_POWERS, "W"), ("W", "kW", "MW"), 10**12, _printed("W", _POWERS))
    RATIO = ("a ratio", "ratio", {"": Fraction(1), "%": Fraction(1, 100), "x": Fraction(1)}, ("%",), 10**9, ("%",))
    COUNT = ("a count", "", _scaled(_SHORT_SCALE, ""), ("k", "M", "B", "T"), 10**15, ("T", "B", "M", ""))

    def __init__(
        self,
        noun: str,
        base: str,
        units: dict[str, Fraction],
        shown: tuple[str, ...],
        largest: int,
        printed: tuple[str, ...],
    ) -> None:
        self.noun = noun
        self.base = base
        self.units: Mapping[str, Fraction] = MappingProxyType(units)
        self.shown = shown
        self.largest = largest
        self.printed = printed

    @property
    def suffix(self) -> str:
        """The base unit as names of results end in it: ``bytes_per_s``, ``dollars_per_h``; empty for counts."""
        return self.base.lower().replace("$", "dollars").replace("/", "_per_")


class QuantityError(ValueError):
    """A quantity that cannot be read.

    Parameters
    ----------
    message
        What is wrong, in plain words.
    suggestion
        The whole quantity as its author probably meant it, where that can be guessed.
    """

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.suggestion = suggestion


_SHAPE = re.compile(r"(?P<number>[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?)(?P<unit>.*)")
_QUOTIENT = re.compile(r"[0-9]+/[1-9][0-9]*")
_NOT_FINITE = re.compile(r"[-+]?\.?(?:nan|inf|infinity)\b", re.IGNORECASE)
_LONGEST_TEXT = 64
_LARGEST_EXPONENT = 400
_FINEST = Fraction(1, 10**24)
_FRACTION = re.compile(r"-?[0-9]+(?:/0*[1-9][0-9]*|(?:\.[0-9]+)?(?:e[-+]?[0-9]{1,3})?)")
_LONGEST_FRACTION = 4_000
"""Characters: Python itself refuses integers of more than 4300 digits."""


def parse_fraction(text: str) -> Fraction:
    """The exact number that a document gives as ``n/d`` or as a decimal; its size is bounded by its length.

    Raises
    ------
    ValueError
        Anything else: Python's own `Fraction` would write out the zeros of ``1e999999999``.
    """
    if len(text) > _LONGEST_FRACTION or not _FRACTION.fullmatch(text):
        raise ValueError(f"{_excerpt(text)!r} is not a fraction")
    return Fraction(text)


def _excerpt(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."


def _split(text: str) -> tuple[Fraction, str]:
    """Split into number and unit a text such as ``80 GB``, ``2s`` or ``$1.5/h``."""
    stripped = text.strip()
    if not stripped:
        raise QuantityError("an empty text is not a quantity")
    if len(stripped) > _LONGEST_TEXT:
        raise QuantityError(f"{_excerpt(stripped)!r} is too long for a quantity")
    if _NOT_FINITE.match(stripped):
        raise QuantityError(f"{stripped!r} is not a finite number")
    if stripped.startswith("$"):
        stripped = re.sub(r"^\$\s*([-+.0-9eE_]+)\s*([kKMBT]?)", r"\1 \2$", stripped)
    if _QUOTIENT.fullmatch(stripped):
        return Fraction(stripped), ""
    match = _SHAPE.fullmatch(stripped)
    if match is None:
        raise QuantityError(f"{stripped!r} is not a quantity: write a number and a unit, such as '80 GB' or '50 ms'")
    number, unit = match["number"].replace("_", ""), match["unit"].strip()
    _, _, exponent = number.lower().partition("e")
    if exponent and abs(int(exponent)) > _LARGEST_EXPONENT:
        raise QuantityError(f"{stripped!r} is out of range")
    return Fraction(number), unit


def _dimensions_of(unit: str) -> list[Dimension]:
    return [dimension for dimension in Dimension if unit and unit in dimension.units]


def _refuse_unit(text: str, unit: str, dimension: Dimension) -> QuantityError:
    """Explain why ``unit`` does not measure ``dimension``, with the nearest unit that does."""
    others = [measured for measured in _dimensions_of(unit) if measured is not dimension]
    wanted = ", ".join(dimension.shown)
    if others:
        return QuantityError(f"{text!r} is {others[0].noun}, where {dimension.noun} is wanted ({wanted})")
    same_letters = [known for known in dimension.units if known.casefold() == unit.casefold()]
    near = same_letters or difflib.get_close_matches(unit, [known for known in dimension.units if known], 1, 0.5)
    suggestion = f"{text[: len(text) - len(unit)].rstrip()} {near[0]}" if near else None
    return QuantityError(f"unknown unit {unit!r} for {dimension.noun}: use {wanted}", suggestion)


Rounding = Callable[[Fraction], int]
"""To a whole number: `round`, `floor` or `ceil`."""


def plain(value: Fraction | int, rounding: Rounding = round) -> int | float:
    """JSON number: an integer where it is one, else the nearest float; with `floor` or `ceil` the nearest on that side.

    The side is that of the shortest decimal that prints the float, as which it is read again.
    """
    exact = Fraction(value)
    if exact.denominator == 1:
        return exact.numerator
    number = float(exact)
    read = Fraction(repr(number))
    if (rounding is ceil and read < exact) or (rounding is floor and read > exact):
        return nextafter(number, inf if rounding is ceil else -inf)
    return number


def eased(value: Fraction | float, stated: Fraction | float) -> Rounding:
    """How a limit's new value is rounded so that it is no tighter: away from what is stated."""
    return ceil if value > stated else floor


def counted(count: int, plural: str) -> str:
    """How many there are, in words: 1 node, 2 nodes."""
    return f"{count:,} {plural.removesuffix('s') if count == 1 else plural}"


def parse_quantity(value: object, dimension: Dimension, *, largest: Fraction | int | None = None) -> Fraction:
    """Exact value of a quantity in its base unit.

    Parameters
    ----------
    value
        Text with a unit (``"80 GB"``, ``"2s"``, ``"30%"``, ``"671B"``), or a number in the base unit. A float is read
        as the shortest decimal that prints it, so that ``0.1`` is one tenth.
    dimension
        What the quantity must measure.
    largest
        Upper limit, in the base unit; the dimension's own where left out.

    Raises
    ------
    QuantityError
        Unknown unit, wrong dimension, or a value that is negative, not finite, not a number, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction | str):
        kind = "true or false" if isinstance(value, bool) else "nothing" if value is None else type(value).__name__
        raise QuantityError(f"{dimension.noun} is wanted, not {_PLAIN_KINDS.get(kind, kind)}")
    if isinstance(value, int | Fraction):
        text, number, unit = "", Fraction(value), ""
    else:
        text = value.strip() if isinstance(value, str) else repr(value)
        number, unit = _split(text)
        # "1.5e3 $/ h" and "5 tokens / s" are as clear as without the blanks.
        unit = re.sub(r"\s*/\s*", "/", unit)
    if unit and unit not in dimension.units:
        raise _refuse_unit(text, unit, dimension)
    result = number * dimension.units[unit] if unit else number
    shown = text or _excerpt(str(number) if number.numerator.bit_length() < _BITS_SHOWN else "an enormous number")
    if result < 0:
        raise QuantityError(f"{shown} is negative")
    limit = dimension.largest if largest is None else largest
    if result > limit:
        percent = dimension is Dimension.RATIO and not unit and 2 * limit <= result <= 100 * limit
        message = f"{shown} is too large: at most {format_quantity(limit, dimension)}"
        raise QuantityError(message, f"{shown}%" if percent else None)
    if 0 < result < _FINEST:
        raise QuantityError(f"{shown} is too small to mean anything")
    return result


_PLAIN_KINDS: Final = MappingProxyType({"dict": "a mapping", "list": "a list", "CommentedMap": "a mapping"})
_BITS_SHOWN = 200

_SIGNIFICANT = 4


def _decimal(value: Fraction, rounding: Rounding) -> str:
    """Decimal text of ``value`` to four significant digits, integers in full."""
    if value == 0:
        return "0"
    places = _SIGNIFICANT - 1
    magnitude = abs(value)
    while magnitude >= 10 and places > 0:
        magnitude, places = magnitude / 10, places - 1
    while magnitude < 1:
        magnitude, places = magnitude * 10, places + 1
    text = format(float(Fraction(rounding(value * 10**places), 10**places)), f",.{places}f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_quantity(value: Fraction | float, dimension: Dimension, rounding: Rounding = round) -> str:
    """Text for people, four significant digits: ``81.2 GB``, ``47.3 ms``, ``93.1%``, ``671 B``.

    Parameters
    ----------
    value
        Value in the base unit of ``dimension``.
    dimension
        What ``value`` measures.
    rounding
        Of the last digit: half-even, or to one side.
    """
    exact = Fraction(value)
    unit = _printed_unit(exact, dimension)
    return _with_unit(_decimal(exact / dimension.units[unit], rounding), unit)


def in_full(value: Fraction | float, dimension: Dimension) -> str:
    """Text for people with all digits: ``81.200000001 GB``; counts without a unit."""
    exact = Fraction(value)
    unit = "" if dimension is Dimension.COUNT else _printed_unit(exact, dimension)
    return _with_unit(f"{plain(exact / dimension.units[unit]):,}", unit)


def _printed_unit(value: Fraction, dimension: Dimension) -> str:
    return next((unit for unit in dimension.printed if abs(value) >= dimension.units[unit]), dimension.printed[-1])


def _with_unit(number: str, unit: str) -> str:
    return f"{number}{'' if unit == '%' else ' '}{unit}".rstrip()


def amount(value: object, unit: str | None, stated: object = None) -> str:
    """A number of a result as people read it, by the name that its base unit has there.

    Parameters
    ----------
    stated
        What the limit is where `value` eases it: the last digit is rounded so that it is no tighter.
    """
    dimension = next((kind for kind in Dimension if unit and kind.suffix == unit), None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return " ".join(filter(None, (str(value), unit)))
    if dimension is None:
        number = f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
        return f"{number} {(unit or '').removesuffix('s') if value == 1 else unit or ''}".rstrip()
    exact = Fraction(str(value))
    return format_quantity(exact, dimension, eased(value, stated) if isinstance(stated, int | float) else round)


def named(name: str) -> tuple[str, str]:
    """A figure's name in words, and its base unit; both as they are where the name ends in no unit."""
    bases = {kind.suffix: kind.base for kind in Dimension if kind.base not in ("", "ratio")} | {"per_s": "1/s"}
    endings = [suffix for suffix in bases if name.endswith(f"_{suffix}")]
    if not endings:
        return name.replace("_", " "), ""
    longest = max(endings, key=len)
    return name.removesuffix(f"_{longest}").replace("_", " "), bases[longest]
