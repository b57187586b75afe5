"""Numbers of YAML 1.2 and JSON, read exactly where a number written with an exponent is whole."""

import math
import re
from fractions import Fraction

_INTEGER = re.compile(r"[-+]?[0-9][0-9_]*")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MOST_DIGITS = 400
_EXACT_UP_TO = 10**18
HALF_CHARACTER = "half a surrogate pair is not a character"


class ScalarError(ValueError):
    """A number that no field can hold."""


def is_text(text: str) -> bool:
    """Whether a text can be written again: half of a surrogate pair, which an escape can name, cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def read_float(text: str) -> float | int:
    """Float, or the integer that ``10e9`` says exactly.

    Raises
    ------
    ScalarError
        Beyond the range of floating-point numbers.
    """
    plain = text.replace("_", "")
    value = float(plain)
    if math.isinf(value):
        raise ScalarError(f"{_short(text)} is out of range")
    if "e" in plain.lower() and abs(value) <= _EXACT_UP_TO and value.is_integer() and value != 0:
        exact = Fraction(plain)
        if exact.denominator == 1:
            return int(exact)
    return value


def read_integer(text: str) -> int:
    """Integer of decimal digits.

    Raises
    ------
    ScalarError
        More digits than any quantity has.
    """
    if len(text) > _MOST_DIGITS:
        raise ScalarError(f"{_short(text)} is out of range")
    return int(text)


def refuse_not_finite(text: str) -> None:
    """Refuse NaN and infinity, which JSON's own grammar does not have either."""
    raise ScalarError(f"{text} is not a finite number")


def read_plain(text: str) -> str | float | bool | None:
    """Value of an unquoted YAML 1.2 scalar (core schema).

    Raises
    ------
    ScalarError
        NaN, infinity, or a number out of range.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return read_integer(text)
    if _BASED.fullmatch(text):
        if len(text) > _MOST_DIGITS:
            raise ScalarError(f"{_short(text)} is out of range")
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return read_float(text)
    if _NOT_FINITE.fullmatch(text):
        refuse_not_finite(text)
    return text


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
