"""Exact value of written arithmetic, and the interval its rounded numbers leave open."""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from optimizer.audit import lexicon
from optimizer.audit.expression import Node
from optimizer.audit.lexicon import Dimensions
from optimizer.audit.tokens import Number

_CHAINED: Final = {"+", "-", "*", "/", "//", "%"}
_LARGEST_EXPONENT: Final = 512
_MOST_BITS: Final = 8192


class EvaluationError(ArithmeticError):
    """Division by zero, or a number too large to write out."""


@dataclass(slots=True)
class Value:
    """``point`` from the digits written; ``low`` to ``high`` when every rounded number may be off by half a digit.

    ``exact`` is false as soon as a decimal, a percentage or a scaled unit took part; ``percent_only`` says that
    nothing but percentages was rounded.
    """

    point: Fraction
    low: Fraction
    high: Fraction
    dimensions: Dimensions = lexicon.NONE
    scale: Fraction = Fraction(1)
    exact: bool = True
    percent_only: bool = True
    coherent: bool = True


def evaluate(node: Node, *, binary: bool = False, bare: bool = False) -> Value:
    """Value of ``node``; with ``binary`` GB reads as GiB, with ``bare`` every unit is left off.

    Raises
    ------
    EvaluationError
        For a division by zero or an absurdly large number.
    """
    if node.number is not None:
        return _number(node.number, binary=binary, bare=bare)
    arguments = _spine(node)
    values = [evaluate(argument, binary=binary, bare=bare) for argument in arguments]
    if node.operator in _CHAINED and len(values) > 2:
        signs = _signs(node)
        total = values[0]
        for sign, value in zip(signs, values[1:], strict=True):
            total = _apply(sign, total, value)
        return total
    result = _operation(node, values)
    if node.unit is not lexicon.ONE and not bare:
        result = _times(result, node.unit.scale, dimensions=node.unit.dimensions, exact=False)
    return result


def _spine(node: Node) -> tuple[Node, ...]:
    """Operands of a run of left-nested operations, so that long sums need no recursion."""
    if node.operator not in _CHAINED:
        return node.arguments
    operands = []
    while node.operator in _CHAINED:
        operands.append(node.arguments[1])
        node = node.arguments[0]
    return (node, *reversed(operands))


def _signs(node: Node) -> list[str]:
    signs = []
    while node.operator in _CHAINED:
        signs.append(node.operator)
        node = node.arguments[0]
    return signs[::-1]


_ROUNDED: Final = 100
"""Whole numbers of so many gigabytes or more are results, and rounded; smaller ones are sizes of devices."""


def _number(number: Number, *, binary: bool, bare: bool) -> Value:
    unit = number.unit
    scale = Fraction(1) if bare else unit.other if binary and unit.other is not None else unit.scale
    percent = unit is lexicon.PERCENT
    rounded = number.decimal or percent or number.approximate or (unit.scaled and number.digits >= _ROUNDED)
    half = number.half_digit * scale if rounded else Fraction(0)
    if number.approximate:
        half = max(half, abs(number.digits) * scale / 20)
    point = number.digits if scale == 1 else number.digits * scale
    low, high = (point - half, point + half) if half else (point, point)
    return Value(
        point, low, high, lexicon.NONE if bare else unit.dimensions, scale,
        exact=not (number.decimal or unit.scaled or number.approximate), percent_only=not half or percent,
    )  # fmt: skip


def _times(value: Value, scale: Fraction, **fields: Any) -> Value:
    return replace(
        value, point=value.point * scale, low=value.low * scale, high=value.high * scale, scale=scale, **fields
    )


def _operation(node: Node, values: list[Value]) -> Value:
    first = values[0]
    if node.operator == "group":
        return first
    if node.operator == "neg":
        return replace(first, point=-first.point, low=-first.high, high=-first.low)
    if node.operator == "sqrt":
        point, low, high = (_root(end) for end in (first.point, first.low, first.high))
        return Value(point, low, high, exact=point * point == first.point)
    if node.operator in {"+", "-", "*", "/", "//", "%", "^"}:
        return _apply(node.operator, first, values[1])
    point, low, high = (_rounded(node.operator, end) for end in (first.point, first.low, first.high))
    return replace(first, point=point, low=low, high=high)


def _rounded(name: str, value: Fraction) -> Fraction:
    return Fraction(math.ceil(value) if name == "ceil" else math.floor(value) if name == "floor" else round(value))


def _root(value: Fraction) -> Fraction:
    """Square root, exact for a square, else to twelve decimals."""
    if value < 0:
        raise EvaluationError("root of a negative number")
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    if top * top == value.numerator and bottom * bottom == value.denominator:
        return Fraction(top, bottom)
    return Fraction(math.isqrt(value.numerator * 10**24 // value.denominator), 10**12)


def _apply(sign: str, left: Value, right: Value) -> Value:
    exact = left.exact and right.exact
    percent = left.percent_only and right.percent_only
    coherent = left.coherent and right.coherent
    if sign in {"+", "-"}:
        left, right = _aligned(left, right)
        coherent &= left.dimensions == right.dimensions
        flip = sign == "-"
        point = left.point - right.point if flip else left.point + right.point
        low = left.low - right.high if flip else left.low + right.low
        high = left.high - right.low if flip else left.high + right.high
        return Value(point, low, high, left.dimensions, left.scale, exact, percent, coherent)
    if sign == "^":
        return _power(left, right, exact=exact)
    if sign in {"//", "%"}:
        if right.point == 0:
            raise EvaluationError("division by zero")
        whole = Fraction(left.point // right.point) if sign == "//" else left.point % right.point
        return Value(whole, whole, whole, exact=exact, coherent=coherent)
    if sign == "/":
        if right.point == 0:
            raise EvaluationError("division by zero")
        point = left.point / right.point
        if right.low <= 0 <= right.high or (left.low is left.high and right.low is right.high):
            corners = [point]
        else:
            corners = [a / b for a in (left.low, left.high) for b in (right.low, right.high)]
        dimensions = _combine(left.dimensions, right.dimensions, -1)
    else:
        point = left.point * right.point
        if left.low is left.high and right.low is right.high:
            corners = [point]
        else:
            corners = [a * b for a in {left.low, left.high} for b in {right.low, right.high}]
        dimensions = _combine(left.dimensions, right.dimensions, 1)
    _bounded(point)
    scale = left.scale if left.dimensions != lexicon.NONE or right.dimensions == lexicon.NONE else right.scale
    return Value(point, min(corners), max(corners), dimensions, scale, exact, percent, coherent)


def _aligned(left: Value, right: Value) -> tuple[Value, Value]:
    """In ``0.62 + 18.58 GB`` the bare number has the unit of the other."""
    if left.dimensions == lexicon.NONE and left.scale == 1:
        return _times(left, right.scale, dimensions=right.dimensions), right
    if right.dimensions == lexicon.NONE and right.scale == 1:
        return left, _times(right, left.scale, dimensions=left.dimensions)
    return left, right


def _power(left: Value, right: Value, *, exact: bool) -> Value:
    power = right.point
    if power.denominator != 1 or abs(power) > _LARGEST_EXPONENT or (left.point == 0 and power < 0):
        raise EvaluationError("exponent out of range")
    exponent = int(power)
    if (left.point.numerator.bit_length() + left.point.denominator.bit_length()) * max(abs(exponent), 1) > _MOST_BITS:
        raise EvaluationError("number too large")
    point = left.point**exponent
    dimensions: Dimensions = tuple(part * exponent for part in left.dimensions)  # type: ignore[assignment]
    ends = sorted((left.low**exponent, left.high**exponent)) if left.low > 0 else [point, point]
    return Value(point, ends[0], ends[1], dimensions, left.scale, exact, left.percent_only, left.coherent)


def _combine(left: Dimensions, right: Dimensions, sign: int) -> Dimensions:
    return tuple(a + sign * b for a, b in zip(left, right, strict=True))  # type: ignore[return-value]


def _bounded(value: Fraction) -> None:
    if value.numerator.bit_length() + value.denominator.bit_length() > _MOST_BITS:
        raise EvaluationError("number too large")
