"""Values that a program hands over, as a file would hold them: mappings, lists, text, numbers, true, false, nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from pathlib import PurePath

from optimizer.domain.quantity import plain_number
from optimizer.errors import Fault, SpecError
from optimizer.readers.json_text import DEEPEST
from optimizer.readers.places import PathStep, dotted

VALUES = "<values>"
"""What stands for the file's name where there is none."""

_MOST_DIGITS = 400
"""More than any quantity has, as in the readers of text."""


def plain_value(value: object, at: tuple[PathStep, ...] = ()) -> object:
    """A value without the types that no file knows, each number kept exactly.

    Arrays and scalars of NumPy and its like become lists and numbers, fractions and decimals numbers (or the text
    ``1/3``), paths text, and ranges and tuples lists.

    Parameters
    ----------
    at
        Where it stands, for what is wrong with it.

    Raises
    ------
    SpecError
        A number that is not finite or out of range, or a type that is none of these, by the name of its field.
    """
    if len(at) > DEEPEST:
        raise _refused(f"nested deeper than {DEEPEST} levels", at)
    array_or_scalar = getattr(value, "tolist", None)
    if callable(array_or_scalar):
        return plain_value(array_or_scalar(), at)
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float | Fraction | Decimal):
        return _plain_number(value, at)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        names = {key: _key(key, at) for key in value}
        if len(set(names.values())) < len(names):
            raise _refused("two keys are the same text", at)
        return {name: plain_value(value[key], (*at, name)) for key, name in names.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [plain_value(inner, (*at, index)) for index, inner in enumerate(value)]
    raise _refused(f"no file holds a value of type {type(value).__name__}", at)


def _plain_number(value: float | Fraction | Decimal, at: tuple[PathStep, ...]) -> int | float | str:
    if not (value.is_finite() if isinstance(value, Decimal) else isinstance(value, int | Fraction) or isfinite(value)):
        raise _refused(f"{value} is not a finite number", at)
    if isinstance(value, float):
        return float(value)
    # the exponent of a decimal first: as a fraction all its zeros would be written out
    huge = isinstance(value, Decimal) and value != 0 and abs(value.adjusted()) > _MOST_DIGITS
    exact = Fraction(0) if huge else Fraction(value)
    if huge or max(abs(exact.numerator), exact.denominator) >= 10**_MOST_DIGITS:
        raise _refused("is out of range", at)
    try:
        return plain_number(exact)
    except OverflowError:
        return f"{exact.numerator}/{exact.denominator}"


def _key(key: object, at: tuple[PathStep, ...]) -> str:
    """A key as text: JSON writes numbers so."""
    if isinstance(key, str):
        return key
    if isinstance(key, int) or hasattr(key, "tolist"):
        return str(key)
    raise _refused(f"a key is text, not of type {type(key).__name__}", at)


def _refused(message: str, at: tuple[PathStep, ...]) -> SpecError:
    return SpecError(Fault(VALUES, None, None, dotted(at), message))
