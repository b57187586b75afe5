"""Does a written figure follow from written arithmetic? Every reading is tried before anything is accused."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.evaluate import EvaluationError, Value, evaluate
from optimizer.audit.expression import Node
from optimizer.audit.tokens import Number
from optimizer.audit.verdict import Verdict, plain, shown

_ABOUT: Final = Fraction(1, 20)
_LOOSELY: Final = Fraction(1, 10)
_MOST_FACTORS: Final = 12
_COARSE: Final = 1000
"""A whole number that ends in three noughts or more was rounded, said or not."""

_CONVERSIONS: Final = {
    Fraction(value)
    for value in (8, 24, 60, 365, 1000, 1024, 3600, 86400, 10**6, 3_600_000, 10**9, 10**12, 2**20, 2**30, 2**40)
}
_SECONDS: Final = {Fraction(value) for value in (24, 60, 365, 1000, 3600, 86400, 10**6)}
"""Factors that convert times and rates."""
_CONFUSIONS: Final = (
    (Fraction(2), "a factor 2 (2 bytes per parameter counted twice, or once too often)"),
    (Fraction(1, 2), "a factor 2 left out (2 bytes per parameter: parameters taken for bytes)"),
    (Fraction(8), "a factor 8 (bytes and bits)"),
    (Fraction(1, 8), "a factor 8 left out (bytes and bits)"),
    (Fraction(1000), "a factor 1000 (one unit prefix)"),
    (Fraction(1, 1000), "a factor 1000 (one unit prefix)"),
    (Fraction(10**6), "a factor 10^6 (two unit prefixes)"),
    (Fraction(1, 10**6), "a factor 10^6 (two unit prefixes)"),
    (Fraction(100), "a factor 100 (a ratio written as a percentage)"),
    (Fraction(1, 100), "a factor 100 (a percentage read as a ratio)"),
    (Fraction(10), "a factor 10 (a decimal place)"),
    (Fraction(1, 10), "a factor 10 (a decimal place)"),
)
_PREFIXES: Final = (Fraction(1, 1000), Fraction(1000))
_CONFUSED: Final = dict(_CONFUSIONS)


@dataclass(slots=True)
class Judgement:
    """Verdict on one stated figure: ``evaluated`` and ``stated`` in base units, and why."""

    verdict: Verdict
    stated: Fraction
    evaluated: Fraction | None
    reading: str = ""
    explanation: str = ""


@dataclass(slots=True)
class _Reading:
    value: Value
    stated: Fraction
    half: Fraction
    name: str


def tolerance(number: Number, scale: Fraction, *, approximate: bool) -> Fraction:
    """Half a unit of the last digit written; about 5 % where the author wrote "about"."""
    if not approximate:
        return number.half_digit if scale == 1 else number.half_digit * scale
    widest = max(_last_significant(number) / 2, abs(number.digits) * _ABOUT)
    return widest if scale == 1 else widest * scale


def rounding(number: Number, scale: Fraction, *, approximate: bool) -> Fraction:
    """``tolerance`` of a figure that may be rounded; a whole number without a prefix is none."""
    if not (number.decimal or number.unit.scaled or number.approximate):
        return Fraction(0)
    return tolerance(number, scale, approximate=approximate)


def _last_significant(number: Number) -> Fraction:
    """Unit of the last digit that is not a trailing zero of an integer."""
    if number.decimal or not number.digits or not number.half_digit:
        return number.half_digit * 2
    if number.half_digit.denominator == 2 and number.digits.denominator == 1:
        whole, zeros = number.digits.numerator, 1
        while not whole % (zeros * 10):
            zeros *= 10
        return Fraction(zeros)
    unit = number.half_digit * 2
    while (number.digits / (unit * 10)).denominator == 1:
        unit *= 10
    return unit


def judge(expression: Node, stated: Number, *, approximate: bool) -> Judgement:
    """Judge ``expression = stated``, exactly where both are whole numbers, else to the digits written."""
    try:
        known = evaluate(expression)
        if (
            stated.unit is lexicon.ONE
            and not stated.decimal
            and not approximate
            and known.exact
            and known.point == stated.digits
        ):
            return Judgement(Verdict.HOLDS, stated.digits, known.point)
        made = _readings(expression, known, stated, approximate=approximate)
        first = next(made)
        if _matches(first, stated, approximate=approximate):
            return Judgement(Verdict.HOLDS, first.stated, first.value.point)
        readings = [first, *made]
    except EvaluationError as error:
        return Judgement(Verdict.UNSUPPORTED, stated.value, None, explanation=str(error))
    for reading in readings:
        if _matches(reading, stated, approximate=approximate):
            natural = not reading.name or _BILLIONS in reading.name
            verdict = Verdict.HOLDS if natural else Verdict.AMBIGUOUS
            return Judgement(verdict, reading.stated, reading.value.point, reading.name, _note(reading, first, stated))
    for reading in readings:
        if not reading.name and (why := _nearly(reading, stated, approximate=approximate)) is not None:
            verdict, name = why
            return Judgement(
                verdict, reading.stated, reading.value.point, "; ".join(filter(None, (reading.name, name)))
            )
    value, target = first.value, first.stated
    for reread in (_converted, _unsaid, _per_million, _implied_prefix, _rest):
        if (made_out := reread(expression, stated, approximate=approximate)) is not None:
            return made_out
    if not value.coherent or _mismatch(value, stated):
        return _units_apart(expression, stated, first, approximate=approximate)
    if expression.doubtful():
        return Judgement(Verdict.UNSUPPORTED, target, value.point, explanation="a sign may be no operator")
    if any(not lexicon.UNSPACED_ONLY.isdisjoint(number.nouns) for number in expression.numbers()):
        return Judgement(Verdict.UNSUPPORTED, target, value.point, explanation="a letter may be a unit or a symbol")
    nearest = next((reading for reading in readings if not reading.name and _apart(reading) < _NEAR), first)
    return Judgement(
        Verdict.FAILS,
        nearest.stated,
        nearest.value.point,
        explanation=_explain(expression, stated, first, approximate=approximate),
    )


_PREFIXED: Final = re.compile(r"[kKMGTPmgt]i?(?:[Bb]|Wh?|wh?|FLOP|g\b|Hz|hz|J|j|V|VA|va)(?![A-Za-z])|m?s$")
_BILLIONS: Final = f"{lexicon.SPACED_B.name} as {lexicon.SPACED_B.other_name}"
"""How ``70 B × 2 bytes = 140 GB`` is meant: the letter counts parameters."""
_NEAR: Final = 3
"""A bare result within this factor was meant in the stated unit."""
_LARGEST_IMPLIED: Final = 10_000
"""Larger products count bytes or operations, not gigabytes."""


def _apart(reading: _Reading) -> Fraction:
    """How many times the stated and the evaluated figure differ, one way or the other."""
    low, high = sorted((abs(reading.value.point), abs(reading.stated)))
    return high / low if low else Fraction(10**99)


def _units_apart(expression: Node, stated: Number, first: _Reading, *, approximate: bool) -> Judgement:
    """The units of the two sides do not fit: only the numbers can, and of a sum of money they must.

    ``48 × $2.20 × 730 h = $70,080``: what a price is for goes without saying, but its figures stay.
    """
    bare = evaluate(expression, bare=True)
    half = tolerance(stated, Fraction(1), approximate=approximate)
    if abs(bare.point - stated.digits) <= half:
        return Judgement(Verdict.HOLDS, first.stated, first.stated, "numbers alone")
    told = "the units on the two sides differ"
    priced = stated.unit.dimensions == lexicon.DOLLARS and any(n.unit.dimensions[3] for n in expression.numbers())
    priced &= not expression.doubtful()
    slack = half + abs(stated.digits) * _NEARLY
    if priced and not any(abs(bare.point * factor - stated.digits) <= slack for factor in _UNSAID_FACTORS):
        evaluated = bare.point * stated.unit.scale
        return Judgement(Verdict.FAILS, first.stated, evaluated, explanation=f"{told}; so do the numbers")
    return Judgement(Verdict.UNSUPPORTED, first.stated, first.value.point, explanation=told)


_NEARLY: Final = Fraction(1, 100)
_UNSAID_FACTORS: Final = tuple(
    Fraction(time) ** sign * Fraction(10) ** power
    for time in (1, 7, 8, 12, 24, 60, 168, 365, 730, 3600, 86400, 8760)
    for sign in (1, -1)
    for power in range(-12, 13)
)
"""What arithmetic may leave out: a prefix, and the hours or seconds that a price is for."""


def _converted(expression: Node, stated: Number, *, approximate: bool) -> Judgement | None:
    """``0.5 s × 1000 = 500 ms``: a bare factor converts the unit, and the numbers alone agree."""
    if stated.unit.dimensions == lexicon.NONE:
        return None
    numbers = list(expression.numbers())
    factor = next((n for n in numbers if n.unit is lexicon.ONE and n.digits in _CONVERSIONS), None)
    others = {n.unit.name for n in numbers if n.unit.dimensions != lexicon.NONE}
    if factor is None or stated.unit.name in others:
        return None
    if not others and (stated.unit.dimensions[1] == 0 or factor.digits not in _SECONDS):
        return None
    count = Fraction(math.prod((lexicon.SCALES[part].scale for part in _scale_letters(stated)), start=1))
    alone, half = evaluate(expression, bare=True), tolerance(stated, count, approximate=approximate)
    if not alone.low - half <= stated.digits * count <= alone.high + half:
        return None
    reading = f"numbers alone: {plain(factor.digits)} converts the unit"
    return Judgement(Verdict.HOLDS, stated.value, stated.value, reading)


def _unsaid(expression: Node, stated: Number, *, approximate: bool) -> Judgement | None:
    """``512 chips × 43.1 days × 24 h = 529,613 chip-hours``, ``8 × 700 W = 5.6``: a result whose unit is unsaid.

    It counts in the units of the arithmetic, in a prefix of them, or in the time that its noun ends with.
    """
    value = evaluate(expression)
    if stated.unit.dimensions != lexicon.NONE or value.dimensions == lexicon.NONE:
        return None
    alone = evaluate(expression, bare=True)
    half = tolerance(stated, stated.unit.scale, approximate=approximate)
    if abs(alone.point - stated.value) <= (
        Fraction(0) if alone.exact and not stated.unit.scaled and not approximate else half
    ):
        return Judgement(Verdict.HOLDS, stated.value, alone.point, "numbers alone")
    times = [lexicon.TIMES[last] for noun in stated.nouns if (last := noun.rpartition("-")[2]) in lexicon.TIMES]
    points = [value.point / time.scale for time in times if value.dimensions == lexicon.SECONDS]
    points += [alone.point * prefix for prefix in (*_PREFIXES, stated.unit.scale)]
    point = next((point for point in points if abs(point - stated.value) <= half), None)
    return None if point is None else Judgement(Verdict.HOLDS, stated.value, point, "in the unit that is unsaid")


def _per_million(expression: Node, stated: Number, *, approximate: bool) -> Judgement | None:
    """``$2,736 / 746.5 = $3.67 per million``, ``20,183M × $0.90 = $18,165``: the price counts millions, unsaid.

    Or ``3.5B × 0.53 B = 1.9 GB``, where the second letter is for bytes.
    """
    numbers = [*expression.numbers(), stated]
    money = [number.unit for number in numbers if number.unit.dimensions[3]]
    billions = [number for number in numbers if number.unit.name == "B"]
    if not (money or len(billions) > 1) or any(unit.scale >= 1000 for unit in money):
        return None
    alone = evaluate(expression, bare=True)
    if abs(alone.point - stated.digits) > tolerance(stated, Fraction(1), approximate=approximate):
        return None
    return Judgement(Verdict.HOLDS, stated.value, stated.value, "numbers alone")


def _implied_prefix(expression: Node, stated: Number, *, approximate: bool) -> Judgement | None:
    """``116.4 × 8,760 ≈ 1,020 MWh``, ``8 × 80 = 0.64 TB``: bare numbers whose unit has the next smaller prefix."""
    if any(number.unit is not lexicon.ONE for number in expression.numbers()):
        return None
    unit = stated.nouns[0] if stated.unit is lexicon.ONE and stated.nouns else stated.unit.name
    if _PREFIXED.match(unit) is None:
        return None
    value = evaluate(expression).point
    counted = not any(number.decimal for number in expression.numbers())
    if (
        counted
        and value >= _LARGEST_IMPLIED
        and stated.unit.dimensions in {lexicon.BYTES, lexicon.FLOPS, lexicon.BANDWIDTH}
    ):
        return None
    thousand = Fraction(1000)
    if abs(value - stated.digits * thousand) > tolerance(stated, thousand, approximate=approximate):
        return None
    reading = f"true if the bare numbers are in a thousandth of {unit}"
    return Judgement(Verdict.AMBIGUOUS, stated.value, value / thousand * stated.unit.scale, reading)


def _rest(expression: Node, stated: Number, *, approximate: bool) -> Judgement | None:
    """``5.3 / 4.8 = +10%``, ``99.9% of 30 d = 43.2 min left``: by how much it is more, or what is left of it."""
    value, first = evaluate(expression), next(expression.numbers())
    points = []
    if stated.unit is lexicon.PERCENT and value.dimensions == lexicon.NONE:
        points = [value.point - 1, 1 - value.point]
    elif first.unit is lexicon.PERCENT and first.value:
        points = [value.point / first.value - value.point]
    half = tolerance(stated, stated.unit.scale, approximate=approximate)
    point = next((point for point in points if abs(point - stated.value) <= half), None)
    told = "of what is more, or what is left"
    return None if point is None else Judgement(Verdict.AMBIGUOUS, stated.value, point, told)


def _scale_letters(stated: Number) -> list[str]:
    """``1.04M requests/day`` keeps its M when the unit is left off."""
    return [letter for letter in ("K", "M", "B", "T") if stated.unit.name.startswith((f"{letter} ", f"{letter}/"))]


def _mismatch(value: Value, stated: Number) -> bool:
    dimensions = stated.unit.dimensions
    return value.dimensions != dimensions and lexicon.NONE not in {value.dimensions, dimensions}


def _readings(expression: Node, value: Value, stated: Number, *, approximate: bool) -> Iterator[_Reading]:
    unit = stated.unit

    def reading(of: Value, scale: Fraction, name: str = "") -> _Reading:
        return _Reading(
            of,
            stated.digits if scale == 1 else stated.digits * scale,
            tolerance(stated, scale, approximate=approximate),
            name,
        )

    yield reading(value, unit.scale)
    numbers = list(expression.numbers())
    if unit is lexicon.ONE:
        percent = all(number.unit is lexicon.PERCENT for number in numbers)
        for scale in dict.fromkeys(number.unit.scale for number in numbers):
            if scale != 1 and (scale != Fraction(1, 100) or percent):
                yield reading(value, scale)
        if value.dimensions == lexicon.NONE and any(number.digits == 100 for number in numbers):
            yield reading(value, Fraction(1))
    elif value.dimensions == lexicon.NONE and value.scale == 1:
        hundred = any(number.digits == 100 for number in numbers) or not _divides(expression)
        if unit is not lexicon.PERCENT or hundred:
            yield reading(_times(value, unit.scale), unit.scale)
    if any(number.unit.other is not None for number in (*numbers, stated)):
        yield from _binary_readings(expression, stated, value, reading)


def _binary_readings(
    expression: Node, stated: Number, value: Value, reading: Callable[..., _Reading]
) -> Iterator[_Reading]:
    unit = stated.unit
    binary = evaluate(expression, binary=True)
    if unit.other is not None:
        yield reading(value, unit.other, f"{unit.name} of the result read as {unit.other_name}")
        yield reading(binary, unit.other, f"{unit.name} read as {unit.other_name} throughout")
    if binary.point != value.point:
        names = sorted(
            {f"{n.unit.name} as {n.unit.other_name}" for n in expression.numbers() if n.unit.other is not None}
        )
        yield reading(binary, unit.scale, f"{', '.join(names)} in the arithmetic")


def _times(value: Value, scale: Fraction) -> Value:
    return Value(value.point * scale, value.low * scale, value.high * scale, exact=value.exact,
                 percent_only=value.percent_only)  # fmt: skip


def _divides(node: Node) -> bool:
    stack = [node]
    while stack:
        node = stack.pop()
        if node.operator == "/":
            return True
        stack.extend(node.arguments)
    return False


def _strict(reading: _Reading, stated: Number, *, approximate: bool) -> bool:
    """Whole numbers on both sides: equality, not nearness."""
    return not (approximate or stated.decimal or stated.unit.scaled or not reading.value.exact)


def _matches(reading: _Reading, stated: Number, *, approximate: bool) -> bool:
    value = reading.value
    if value.point == reading.stated:
        return True
    if _strict(reading, stated, approximate=approximate):
        return False
    if abs(value.point - reading.stated) <= reading.half:
        return True
    if not value.percent_only or value.low == value.high:
        return False
    return value.low - reading.half <= reading.stated <= value.high + reading.half


def _nearly(reading: _Reading, stated: Number, *, approximate: bool) -> tuple[Verdict, str] | None:
    value, target = reading.value, reading.stated
    if value.low != value.high and value.low - reading.half <= target <= value.high + reading.half:
        return Verdict.AMBIGUOUS, "true if the rounded numbers in it carry more digits than written"
    if approximate and abs(value.point - target) <= _LOOSELY * abs(target):
        return Verdict.AMBIGUOUS, "about right: within 10 %"
    if approximate:
        return None
    step = 2 * reading.half if reading.half else Fraction(1)
    steps = value.point / step
    coarse = _last_significant(stated) * reading.stated / stated.digits if stated.digits else Fraction(0)
    if (
        not stated.decimal
        and coarse >= _COARSE * stated.unit.scale
        and abs(stated.digits) > _last_significant(stated) * 9
        and abs(value.point - target) <= coarse / 2
    ):
        return Verdict.AMBIGUOUS, "rounded to the digits that are not zero"
    if steps.denominator != 1:
        if math.floor(steps) * step == target and value.point > 0:
            return Verdict.AMBIGUOUS, "cut off rather than rounded"
        if math.ceil(steps) * step == target and not stated.decimal and not stated.unit.scaled:
            return Verdict.AMBIGUOUS, "rounded up"
        if _strict(reading, stated, approximate=approximate) and round(value.point) == target:
            return Verdict.AMBIGUOUS, "rounded to a whole number"
        if not stated.decimal and abs(value.point - target) <= coarse / 2:
            return Verdict.AMBIGUOUS, "rounded to the digits that are not zero"
    return None


def _note(reading: _Reading, first: _Reading, stated: Number) -> str:
    if not reading.name:
        return ""
    return f"as written: {shown(first.value.point, stated.unit)}"


def factors(node: Node) -> list[Number] | None:
    """Numbers of a pure product, in order; None if anything but multiplication is in it."""
    found: list[Number] = []
    stack = [node]
    while stack:
        node = stack.pop()
        if node.number is not None:
            found.append(node.number)
        elif node.operator in {"*", "group"}:
            stack.extend(reversed(node.arguments))
        else:
            return None
    return found


def subsets(values: list[Fraction], target: Fraction) -> list[tuple[int, ...]]:
    """Indices of the proper subsets of ``values`` whose product is ``target``; the largest subsets only."""
    if len(values) > _MOST_FACTORS:
        return []
    if len(values) == 2:
        return [(index,) for index in (0, 1) if values[index] == target]
    for size in range(len(values) - 1, 0, -1):
        found = [
            chosen
            for chosen in combinations(range(len(values)), size)
            if math.prod((values[index] for index in chosen), start=Fraction(1)) == target
        ]
        if found:
            return found
    return []


def _explain(expression: Node, stated: Number, first: _Reading, *, approximate: bool) -> str:
    notes = []
    numbers = factors(expression)
    if numbers is not None and len(numbers) > 1 and not stated.decimal:
        chosen = subsets([number.digits for number in numbers], stated.digits)
        notes += list(dict.fromkeys(_without(numbers, indices, stated) for indices in chosen))
    value, target = first.value.point, first.stated
    if not notes and value != 0:
        name = _CONFUSED.get(target / value)
        if name is None and not _strict(first, stated, approximate=approximate) and first.half < abs(target) / 20:
            name = next((told for by, told in _CONFUSIONS if abs(value * by - target) <= first.half), None)
        if name is not None:
            notes.append(f"the stated figure is reproduced by {name}")
    return "; ".join(notes)


def _without(numbers: list[Number], indices: tuple[int, ...], stated: Number) -> str:
    kept = " × ".join(_named(numbers[index]) for index in indices)
    dropped = ", ".join(_named(number) for index, number in enumerate(numbers) if index not in indices)
    return f"{plain(stated.digits)} = {kept}: the factor {dropped} is left out"


def _named(number: Number) -> str:
    nouns = " ".join((*number.nouns, *(f"per {word}" for word in number.per)))
    return plain(number.digits) + (f" {nouns}" if nouns else "")
