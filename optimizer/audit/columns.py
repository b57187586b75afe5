"""One row of a table against the rule that all its other rows keep.

A column may be the product, the quotient, the sum or the difference of others, times some number, or a change between
two. Which rules a table has its numbers tell: how unlikely the rows are to agree by chance, in bits, less the bits that
it takes to choose one of so many rules. The one row that breaks a rule is wrong, unless it keeps another or says why.
"""

import itertools
import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.deployment import devices_in, precisions_in
from optimizer.audit.document import Kind, Segment
from optimizer.audit.lexicon import Dimensions
from optimizer.audit.quantities import header
from optimizer.audit.tables import TOTAL
from optimizer.audit.tokens import Mark, Number, Token, numbers_of
from optimizer.audit.verdict import Contradiction, plain

_NO_ROW: Final = re.compile(rf"{TOTAL.pattern}|^\W*(?:average|avg|mean|max|min|median)\b", re.IGNORECASE)
_SIGN: Final = re.compile(r"\s*([+\-−–])?\s*")
_CHANGE: Final = re.compile(r"change|delta|Δ|diff|improve|gain|saving|reduc|increase|growth|vs\b|%", re.IGNORECASE)
_COUNT: Final = re.compile(r"(?<![\d.,])[1-9]\d?(?![\d.,])")
_ENOUGH: Final = 6.0
"""Bits that make a rule: on the labelled tables what breaks one of more is wrong, and of fewer than four mostly not."""
_MOST_BITS: Final = 14.0
"""Of one row, however many its digits."""
_FEW_DIVISORS: Final = 9
_BY_CHANCE: Final = 1 / 8
"""How often sizes, degrees and other small numbers times powers of two and ten agree. Assumed."""
_OFF: Final = math.log(1.06)
"""A row that is nearer than this is rounded, or measured: of products and sums half of it."""
_SAME: Final = math.log(1.1)
_SPREAD: Final = 12.0
"""Powers of e over which a document's numbers lie. Assumed."""
_CONVERSIONS: Final = (3600.0, 86400.0, 8760.0, 720.0, 730.0, 24.0, 12.0, 8.0)
_PREFIXES: Final = tuple(power * math.log(10) for power in (0, 3, 6, -3, -6))
_PARAMETER: Final = 16
"""Bytes of a parameter are fewer: any part of a model may have its own."""
_TWO: Final = 2
_FEWEST: Final = 3
_MOST_COLUMNS: Final = 8
_MOST_ROWS: Final = 400
_MOST_JOINED: Final = 100
_CLOSE: Final = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class _Cell:
    """A cell with one figure: its value with its sign, and between what it lies, as a part and as a result."""

    value: float
    number: Number
    segment: Segment
    part: tuple[float, float]
    result: tuple[float, float]

    @property
    def kind(self) -> Dimensions:
        """Its dimensions."""
        return self.number.unit.dimensions

    @property
    def percent(self) -> bool:
        """Whether it is per cent."""
        return self.number.unit is lexicon.PERCENT

    @property
    def divisible(self) -> bool:
        """Whether its digits are those of a small number times powers of two and ten."""
        digits = self.number.digits.numerator or 1
        while digits % 10 == 0:
            digits //= 10
        return digits // (digits & -digits) <= _FEW_DIVISORS


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """The figures of a row by the headings of their columns, and all that it says."""

    cells: dict[str, _Cell]
    text: str

    @property
    def named(self) -> tuple[list[str], list[str]]:
        """The devices and the precisions that it is of."""
        return devices_in(self.text), precisions_in(self.text)


class _Stated:
    """Logarithms of the numbers that a document states, and of those that go without saying, by their dimensions."""

    def __init__(self, numbers: Iterator[Number]) -> None:
        self._given = {(float(one.value), one.unit.dimensions) for one in numbers if one.value > 0}
        self._given |= {(value, lexicon.NONE) for value in _CONVERSIONS}
        self._known: dict[Dimensions, list[float]] = {}

    def bits(self, kind: Dimensions, low: float, high: float) -> float:
        """How unlikely it is that some of the numbers of a kind lies between two logarithms by chance."""
        if (known := self._known.get(kind)) is None:
            # bytes are written with their unit, all else in thousands or millions of something
            prefixes, least = (_PREFIXES[:1], _PARAMETER) if kind[0] else (_PREFIXES, 0)
            known = self._known[kind] = sorted(
                sign * (math.log(value) + prefix) for value, of in self._given for sign in (1, -1)
                if value > least and tuple(sign * power for power in of) == kind for prefix in prefixes
            )  # fmt: skip
        some = [len(known)] if bisect_left(known, low) < bisect_right(known, high) else []
        some += [_FEWEST] if low <= 0 <= high else []
        width = max(high - low, 1e-4) / _SPREAD
        return min(_MOST_BITS, max((-math.log2(min(1.0, number * width)) for number in some), default=0.0))


@dataclass(frozen=True, slots=True)
class _Rule:
    """The last of some columns by the others: these to the power of ``signs``, or added with them.

    ``changed``: the last is by how much the first is more than the second.
    """

    columns: tuple[str, ...]
    signs: tuple[int, ...]
    added: bool = False
    changed: bool = False

    @property
    def fixed(self) -> bool:
        """Whether there is no number that all is multiplied by."""
        return self.added or self.changed

    def kind(self, kinds: Sequence[Dimensions]) -> Dimensions | None:
        """Dimensions of the number that all is multiplied by; none where what is added is of several."""
        *parts, last = kinds
        if self.added:
            return lexicon.NONE if {*parts} == {last} else None
        a, b, c, d, e = (power - sum(sign * part[at] for sign, part in zip(self.signs, parts, strict=True))
                         for at, power in enumerate(last))  # fmt: skip
        return a, b, c, d, e

    def _together(self, values: Sequence[float]) -> float:
        if self.added:
            return sum(sign * value for value, sign in zip(values, self.signs, strict=True))
        return math.prod(value**sign for value, sign in zip(values, self.signs, strict=True))

    def factor(self, row: _Row) -> tuple[float, float] | None:
        """Logarithms between which a row's number lies that all is multiplied by."""
        *parts, last = (row.cells[name] for name in self.columns)
        low, high = (self.changed + end for end in last.result)
        ends = [one.part[::sign] for one, sign in zip(parts, self.signs, strict=True)]
        if not self.added and min(map(min, ends)) <= 0:
            return None
        least, most = (self._together(values) for values in zip(*ends, strict=True))
        return (math.log(low / most) - _CLOSE, math.log(high / least) + _CLOSE) if min(low, least) > 0 else None

    def of(self, row: _Row, factor: float) -> float:
        """What the last column should be."""
        return self._together([row.cells[name].value for name in self.columns[:-1]]) * factor - self.changed

    def told(self, factor: float) -> str:
        """The rule in words."""
        names = [name.strip() for name in self.columns[:-1]]
        if self.changed:
            return f"({names[0]} − {names[1]}) / {names[1]}"
        more, less = (" + ", " − ") if self.added else (" × ", " / ")
        up, down = ([name for name, sign in zip(names, self.signs, strict=True) if sign == one] for one in (1, -1))
        number = [] if f"{factor:.2g}" == "1" else [f"{factor:.4g}"]
        return less.join([more.join([*up, *number] or ["1"]), *down])


@dataclass(frozen=True, slots=True, eq=False)
class _Keeping:
    """A rule, the rows that keep it, each with what it leaves open, and the others, each with how far it is off.

    ``low`` and ``high`` are logarithms between which the number lies that the keepers share.
    """

    rule: _Rule
    kept: list[tuple[_Row, float]]
    bad: list[tuple[_Row, float]]
    kind: Dimensions
    low: float
    high: float

    @property
    def factor(self) -> float:
        """The number that the keepers share."""
        return 1.0 if self.low <= 0 <= self.high else math.exp((self.low + self.high) / 2)

    def keeps(self, row: _Row) -> bool:
        """Whether a row is one of those that keep the rule."""
        return any(one is row for one, _ in self.kept)

    def bits(self, stated: _Stated) -> float:
        """How unlikely it is that the rows which keep a rule do so by chance, in bits."""
        names = self.rule.columns
        different = {tuple(row.cells[name].value for name in names): (row, width) for row, width in self.kept}
        changing = [len({values[at] for values in different}) > 1 for at in range(len(names))]
        if not (changing[-1] if self.rule.added else all(changing)) or self._compares():
            return 0.0  # a column that never changes proves nothing
        coarse = [all(row.cells[name].divisible for name in names) for row, _ in different.values()]
        if all(coarse) and len(names) < _FEWEST:
            return 0.0
        bits = [min(_MOST_BITS, -math.log2(min(1.0, max(width, _BY_CHANCE * few))))
                for (_, width), few in zip(different.values(), coarse, strict=True)]  # fmt: skip
        if self.rule.fixed:
            return sum(bits)
        return sum(bits) - max(bits) + stated.bits(self.kind, self.low, self.high)

    def _compares(self) -> bool:
        """Whether two columns are of two alternatives: ``A | B``, ``before | after``."""
        percent = [self.kept[0][0].cells[name].percent for name in self.rule.columns]
        if self.rule.signs != (1,) or any(self.kind) or percent[0] != percent[1]:
            return False
        middle = (self.low + self.high) / 2
        times = math.copysign(math.log(max(1, round(math.exp(abs(middle))))), middle)
        unnamed = not any(len(name) > _TWO and header(name)[0] for name in self.rule.columns)
        return abs(middle) < _SAME or (unnamed and not self.low <= times <= self.high)


def find_outliers(segments: Sequence[Segment], tokens: Sequence[list[Token]]) -> Iterator[Contradiction]:
    """One row against the rule of all the others, of one table or of two about the same things."""
    blocks: dict[int, list[int]] = {}
    for index, segment in enumerate(segments):
        if segment.kind is Kind.CELL and segment.row >= 0 and segment.column_label:
            blocks.setdefault(segment.block, []).append(index)
    tables = [one for one in blocks.values() if segments[one[-1]].row - segments[one[0]].row <= _MOST_ROWS]
    grids = [_grid(segments, tokens, indices) for indices in tables]
    stated = _Stated(one for line in tokens for one in numbers_of(line))
    told: set[int] = set()
    for labels, rows in grids:
        yield from _outliers(labels, list(rows.values()), stated, told)
    for (left, first), (right, second) in itertools.combinations(grids, 2):
        shared = [label for label in first if label and label in second]
        labels = list(dict.fromkeys([*left, *right]))
        if len(shared) >= _FEWEST and len(first) + len(second) <= _MOST_JOINED and len(labels) <= _MOST_COLUMNS:
            joined = [
                _Row({**second[label].cells, **first[label].cells}, f"{first[label].text} {second[label].text}")
                for label in shared
            ]
            yield from _outliers(labels, joined, stated, told)


def _grid(
    segments: Sequence[Segment], tokens: Sequence[list[Token]], indices: Sequence[int]
) -> tuple[list[str], dict[str, _Row]]:
    """Headings of columns with figures of one kind, and rows without totals by their label (numbered where twice)."""
    rows: dict[int, dict[str, _Cell]] = {}
    texts: dict[int, list[str]] = {}
    named: dict[int, str] = {}
    for index in indices:
        segment = segments[index]
        if not _NO_ROW.match(segment.row_label):
            texts.setdefault(segment.row, []).append(segment.text)
            named[segment.row] = segment.row_label.strip()
            if (cell := _cell(segment, tokens[index])) is not None:
                rows.setdefault(segment.row, {}).setdefault(segment.column_label, cell)
    labels = dict.fromkeys(segments[index].column_label for index in indices)
    kept = [label for label in labels if sum(label in cells for cells in rows.values()) >= _FEWEST]
    once = Counter(named[at] for at in rows)
    return kept[:_MOST_COLUMNS], {
        named[at] if once[named[at]] == 1 else f"\0{at}": _Row(cells, " ".join(texts[at])) for at, cells in rows.items()
    }


def _cell(segment: Segment, tokens: Sequence[Token]) -> _Cell | None:
    """The one figure of a cell, or an equation's result; with other words in the first column alone."""
    numbers = numbers_of(tokens)
    if not numbers or (len(numbers) > 1 and "=" not in segment.text):
        return None
    number, text = numbers[-1], segment.text
    noted = any(token.mark is Mark.WORD and token.sign != "x" for token in tokens) or text[number.end :].strip(" x×*")
    if number.approximate or number.bound or (noted and segment.row_label):
        return None
    counted = not (number.decimal or number.unit.scaled or number.unit is lexicon.PERCENT)
    sign = _SIGN.fullmatch(text, 0, number.start)
    value = float(number.value) * (-1 if sign and sign[1] in {"-", "−", "–"} else 1)
    half = float(number.half)
    # a count is exact; as a result it may be rounded, or cut off
    part, result = (0.0, 2 * half) if counted else (half, half)
    return _Cell(value, number, segment, (value - part, value + part), (value - half, value + result))


def _rules(labels: Sequence[str], rows: Sequence[_Row]) -> Iterator[_Rule]:
    """Rules that the figures of a table may follow; products of four excuse, and accuse nobody."""
    percent = {label for label in labels if all(row.cells[label].percent for row in rows if label in row.cells)}

    for size in range(2, 5 if len(labels) < _MOST_COLUMNS - 1 else 4):
        for columns in itertools.combinations(labels, size):
            for signs in itertools.product((1, -1), repeat=size - 1):
                yield _Rule(columns, signs)
                if size == _FEWEST and max(signs) > 0 and percent.isdisjoint(columns):
                    yield _Rule(columns, signs, added=True)
    for at, last in enumerate(labels):
        if last in percent and _CHANGE.search(last):
            others = [label for label in labels if label != last]
            yield from (_Rule((*pair, last), (1, -1), changed=True) for pair in itertools.permutations(others, 2))
        for first in (0, 1):
            if at - first >= _FEWEST and percent.isdisjoint(labels[first : at + 1]):
                yield _Rule(tuple(labels[first : at + 1]), (1,) * (at - first), added=True)


def _read(rule: _Rule, rows: Sequence[_Row]) -> _Keeping | None:
    """Rows by whether they have the number that most of them share."""
    found = ((row, rule.factor(row)) for row in rows if row.cells.keys() >= {*rule.columns})
    ends = [(row, *factor) for row, factor in found if factor is not None]
    kinds = {rule.kind(one) for one in {tuple(row.cells[name].kind for name in rule.columns) for row, *_ in ends}}
    kind = kinds.pop() if len(kinds) == 1 else None
    if len(ends) < _FEWEST or kind is None:
        return None
    lows, highs = sorted(low for _, low, _ in ends), sorted(high for *_, high in ends)
    shared = 0.0 if rule.fixed else max(lows, key=lambda low: bisect_right(lows, low) - bisect_left(highs, low))
    kept = [one for one in ends if one[1] <= shared <= one[2]]
    low, high = max((one[1] for one in kept), default=0.0), min((one[2] for one in kept), default=0.0)
    low, high = (0.0, 0.0) if rule.fixed else (low, high)
    bad = [(row, max(start - high, low - end)) for row, start, end in ends if not start <= shared <= end]
    return _Keeping(rule, [(row, end - start) for row, start, end in kept], bad, kind, low, high)


def _outliers(labels: Sequence[str], rows: Sequence[_Row], stated: _Stated, told: set[int]) -> Iterator[Contradiction]:
    """The row that alone breaks a rule, of the likeliest rules first."""
    readings = [one for rule in _rules(labels, rows) if (one := _read(rule, rows)) is not None]
    accusing = [one for one in readings if len(one.rule.columns) <= _FEWEST or one.rule.added]
    cost = math.log2(max(1, len(accusing)))
    weighed = sorted(((one.bits(stated) - cost, at) for at, one in enumerate(accusing)), reverse=True)
    likely = [accusing[at] for bits, at in weighed if bits >= _ENOUGH]
    for one in likely:
        if len(one.bad) != 1 or one.bad[0][1] < _OFF / (2 if one.factor == 1 else 1) or _excused(one, readings, likely):
            continue
        (row, _), factor = one.bad[0], one.factor
        cells = [row.cells[name] for name in one.rule.columns]
        if not told.isdisjoint(cell.segment.row for cell in cells):
            continue
        last = cells[-1]
        told.add(last.segment.row)
        exact, stands = Fraction(one.rule.of(row, factor)).limit_denominator(10**9), Fraction(last.value)
        scale, sign = (Fraction(1, 100), " %") if last.percent else (last.number.unit.scale, "")
        digits = last.number.digits * (-1 if stands < 0 else 1)
        text = f"{one.rule.columns[-1].strip()}: every other row is {one.rule.told(factor)}, which here is "
        text += f"{plain(Fraction(f'{float(exact / scale):.4g}'))}{sign}, not {plain(digits)}{sign}"
        yield Contradiction((last.segment.place(last.number.start).line,), "column", (stands, exact), text)


def _excused(one: _Keeping, readings: Sequence[_Keeping], likely: Sequence[_Keeping]) -> bool:
    """Whether the row that breaks a rule keeps another, has what is right beside it, or says why it differs."""
    ((row, off),), columns = one.bad, {*one.rule.columns}
    for other in readings if not one.rule.fixed else ():
        more = {*other.rule.columns}
        closed = row.cells.keys() >= more and all(bad is row and by < _OFF for bad, by in other.bad)
        one_else = len(columns) == len(more) == _FEWEST and len(columns & more) == _TWO
        if other is not one and closed and (columns <= more or one_else):
            return True
    if any(one.rule.columns[-1] == other.rule.columns[-1] and other.keeps(row) for other in likely):
        return True
    right = one.rule.of(row, one.factor)
    if any(abs(cell.value - right) <= abs(right) / 1000 for cell in row.cells.values()):
        return True
    kept = [other.named for other, _ in one.kept]
    if any(mine and all(name == kept[0][at] for name in (of[at] for of in kept)) and kept[0][at] not in ([], mine)
           for at, mine in enumerate(row.named)):  # fmt: skip
        return True
    return any(abs(math.log(int(number)) - off) < _OFF / 2 for number in _COUNT.findall(row.text))
