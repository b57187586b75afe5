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
    *((Fraction(1000) ** sign, "a factor 1000 (one unit prefix)") for sign in (1, -1)),
    *((Fraction(10**6) ** sign, "a factor 10^6 (two unit prefixes)") for sign in (1, -1)),
    (Fraction(100), "a factor 100 (a ratio written as a percentage)"),
    (Fraction(1, 100), "a factor 100 (a percentage read as a ratio)"),
    *((Fraction(10) ** sign, "a factor 10 (a decimal place)") for sign in (1, -1)),
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

    @property
    def natural(self) -> bool:
        """Whether nothing is read otherwise than as written, but for a letter that counts billions."""
        return not self.name or _BILLIONS in self.name


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
            verdict = Verdict.HOLDS if reading.natural else Verdict.AMBIGUOUS
            return Judgement(verdict, reading.stated, reading.value.point, reading.name, _note(reading, first, stated))
    for reading in readings:
        counted = reading.natural or _KIBI in reading.name
        if counted and (why := _nearly(reading, stated, approximate=approximate)) is not None:
            verdict, name = why
            return Judgement(
                verdict, reading.stated, reading.value.point, "; ".join(filter(None, (reading.name, name)))
            )
    value, target = first.value, first.stated
    if (made_out := _reread(expression, stated, value, approximate=approximate)) is not None:
        return made_out
    if not value.coherent or _mismatch(value, stated):
        return _without_units(expression, stated, first, approximate=approximate)
    if expression.doubtful():
        return Judgement(Verdict.UNSUPPORTED, target, value.point, explanation="a sign may be no operator")
    if any(not lexicon.UNSPACED_ONLY.isdisjoint(number.nouns) for number in expression.numbers()):
        return Judgement(Verdict.UNSUPPORTED, target, value.point, explanation="a letter may be a unit or a symbol")
    nearest = next((reading for reading in readings if reading.natural and _apart(reading) < _NEAR), first)
    return Judgement(
        Verdict.FAILS,
        nearest.stated,
        nearest.value.point,
        explanation=_explain(expression, stated, first, approximate=approximate),
    )


_PREFIXED: Final = re.compile(r"[kKMGTPmgt]i?(?:[Bb]|Wh?|wh?|FLOP|g\b|Hz|hz|J|j|V|VA|va)(?![A-Za-z])|m?s$")
_BILLIONS: Final = f"{lexicon.SPACED_B.name} as {lexicon.SPACED_B.other_name}"
"""How ``70 B × 2 bytes = 140 GB`` is meant: the letter counts parameters."""
_KIBI: Final = "K as Ki"
_NEAR: Final = 3
"""A bare result within this factor was meant in the stated unit."""
_LARGEST_IMPLIED: Final = 10_000
"""Larger products count bytes or operations, not gigabytes."""


def _apart(reading: _Reading) -> Fraction:
    """How many times the stated and the evaluated figure differ, one way or the other."""
    low, high = sorted((abs(reading.value.point), abs(reading.stated)))
    return high / low if low else Fraction(10**99)


def _without_units(expression: Node, stated: Number, first: _Reading, *, approximate: bool) -> Judgement:
    """The units of the two sides do not fit: of a sum of money the numbers must.

    ``48 × $2.20 × 730 h = $70,080``: what a price is for goes without saying, but its figures stay.
    """
    told = "the units on the two sides differ"
    point, digits = evaluate(expression, bare=True).point, stated.digits
    slack = tolerance(stated, Fraction(1), approximate=approximate) + abs(digits) * _NEARLY
    priced = stated.unit.dimensions == lexicon.DOLLARS and any(n.unit.dimensions[3] for n in expression.numbers())
    if not priced or expression.doubtful() or any(abs(point * by - digits) <= slack for by in _UNSAID_FACTORS):
        return Judgement(Verdict.UNSUPPORTED, first.stated, first.value.point, explanation=told)
    return Judgement(Verdict.FAILS, first.stated, point * stated.unit.scale, explanation=f"{told}; so do the numbers")


_NEARLY: Final = Fraction(1, 100)
_UNSAID_FACTORS: Final = tuple(
    Fraction(time) ** sign * Fraction(10) ** power
    for time in (1, 7, 8, 12, 24, 60, 168, 365, 730, 3600, 86400, 8760)
    for sign in (1, -1)
    for power in range(-12, 13)
)
"""What arithmetic may leave out: a prefix, and the hours or seconds that a price is for."""


def _reread(expression: Node, stated: Number, value: Value, *, approximate: bool) -> Judgement | None:
    """The first reading in which something goes without saying that gives the figure."""
    for verdict, told, scale, points in _unsaid(expression, stated, value):
        half = tolerance(stated, scale, approximate=approximate)
        point = next((point for point in points if abs(point - stated.digits * scale) <= half), None)
        if point is not None:
            return Judgement(verdict, stated.value, point * stated.unit.scale / scale, told)
    return None


def _unsaid(expression: Node, stated: Number, value: Value) -> Iterator[tuple[Verdict, str, Fraction, list[Fraction]]]:
    """Readings, each with what it is told as, the scale in which the stated digits count, and what they may be."""
    alone, unit, one = evaluate(expression, bare=True), stated.unit, Fraction(1)
    numbers = list(expression.numbers())
    bare = unit.dimensions == lexicon.NONE
    # ``0.5 s × 1000 = 500 ms``: a bare factor converts the unit
    factor = next((n for n in numbers if n.unit is lexicon.ONE and n.digits in _CONVERSIONS), None)
    others = {n.unit.name for n in numbers if n.unit.dimensions != lexicon.NONE}
    timed = unit.dimensions[1] and factor is not None and factor.digits in _SECONDS
    if factor is not None and not bare and unit.name not in others and (others or timed):
        count = Fraction(math.prod((lexicon.SCALES[part].scale for part in _scale_letters(stated)), start=1))
        nearest = min(max(stated.digits * count, alone.low), alone.high)
        yield Verdict.HOLDS, f"numbers alone: {plain(factor.digits)} converts the unit", count, [nearest]
    # ``512 chips × 43.1 days × 24 h = 529,613 chip-hours``, ``8 × 700 W = 5.6``: in the units of the arithmetic, a
    # prefix of them, or the time that the noun ends with
    if bare and value.dimensions != lexicon.NONE:
        times = [lexicon.TIMES[last] for noun in stated.nouns if (last := noun.rpartition("-")[2]) in lexicon.TIMES]
        points = [value.point / time.scale for time in times if value.dimensions == lexicon.SECONDS]
        points += [alone.point * prefix for prefix in (one, *_PREFIXES, unit.scale)]
        yield Verdict.HOLDS, "in the unit that is unsaid", unit.scale, points
    # ``$2,736 / 746.5 = $3.67 per million``, ``20,183M × $0.90 = $18,165``: the price counts millions; or
    # ``3.5B × 0.53 B = 1.9 GB``, where the second letter is for bytes
    money = [number.unit for number in (*numbers, stated) if number.unit.dimensions[3]]
    billions = [number for number in numbers if number.unit.name == "B"]
    priced = (money or len(billions) > 1) and all(unit.scale < _THOUSAND for unit in money)
    if priced or not value.coherent or _mismatch(value, stated):
        yield Verdict.HOLDS, "numbers alone", one, [alone.point]
    # ``$0.90 / (1,510 × 3,600) = $0.166``: prices of tokens are those of a million
    if priced and money and _divides(expression):
        yield Verdict.AMBIGUOUS, "true of a million", one, [alone.point * _THOUSAND**2]
    # ``116.4 × 8,760 ≈ 1,020 MWh``, ``8 × 80 = 0.64 TB``: bare numbers whose unit has the next smaller prefix
    name = stated.nouns[0] if unit is lexicon.ONE and stated.nouns else unit.name
    small = value.point < _LARGEST_IMPLIED or any(number.decimal for number in numbers)
    small |= unit.dimensions not in {lexicon.BYTES, lexicon.FLOPS, lexicon.BANDWIDTH}
    if small and _PREFIXED.match(name) and all(number.unit is lexicon.ONE for number in numbers):
        yield Verdict.AMBIGUOUS, f"true if the bare numbers are in a thousandth of {name}", _THOUSAND, [value.point]
    # ``5.3 / 4.8 = +10%``, ``99.9% of 30 d = 43.2 min left``: by how much it is more, or what is left of it
    if unit is lexicon.PERCENT and value.dimensions == lexicon.NONE:
        yield Verdict.AMBIGUOUS, _REST, unit.scale, [value.point - 1, 1 - value.point]
        if value.point > _MOST_TIMES:  # ``72 / 0.8 = 90 %``, of a load of 72 %
            yield Verdict.AMBIGUOUS, "true of a percentage", one, [value.point]
    elif numbers[0].unit is lexicon.PERCENT and numbers[0].value:
        yield Verdict.AMBIGUOUS, _REST, unit.scale, [value.point / numbers[0].value - value.point]


_THOUSAND: Final = Fraction(1000)
_MOST_TIMES: Final = 2
"""A quotient of more is written as times, not as per cent of something: its dividend was per cent already."""
_REST: Final = "of what is more, or what is left"


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
