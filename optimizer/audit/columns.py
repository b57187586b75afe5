"""Tables whose rows all follow one rule (``total = nodes × GPUs``, a change in per cent, a share) but for one row."""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.contradictions import Contradiction
from optimizer.audit.document import Kind, Segment
from optimizer.audit.tokens import Mark, Number, Token, numbers_of
from optimizer.audit.verdict import plain

_SIGN: Final = re.compile(r"\s*(?P<sign>[+\-−–])?\s*")
_REST: Final = re.compile(r"\s*[x×]?\s*")
_TOTAL: Final = re.compile(r"^\W*(?:total|sum|overall|average|avg|mean|max|min|median)\b", re.IGNORECASE)
_CHANGE: Final = re.compile(r"change|delta|Δ|diff|improve|gain|saving|reduc|increase|growth|vs\b|%", re.IGNORECASE)
_OVER_FIRST: Final = re.compile(r"speed[- ]?up|relative|scal(?:e|ing)|normali[sz]ed|faster", re.IGNORECASE)
_SUMMED: Final = re.compile(r"^\W*(?:total|sum|overall|all)\b", re.IGNORECASE)
_FEWEST: Final = 4
"""Rows that must follow a rule for the one that does not to be wrong; fewer, where the header names the rule."""
_ROUNDED: Final = 0.05
_MOST_COLUMNS: Final = 7
_MOST_ROWS: Final = 400


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell with one figure and nothing else: its value with its sign, and half a unit of its last digit."""

    value: float
    half: float
    percent: bool
    number: Number
    segment: Segment
    sign: int


_Row = list[_Cell | None]
_Breach = tuple[_Cell, str, Fraction]


@dataclass(frozen=True, slots=True)
class _Rule:
    """A figure of one column from those of two others; ``of`` gives it from two values."""

    told: str
    of: Callable[[float, float], float]
    fewest: int = _FEWEST

    def exact(self, a: _Cell, b: _Cell) -> Fraction:
        """What the rule gives, free of the floats' last digits."""
        return Fraction(self.of(a.value, b.value)).limit_denominator(10**9)


_ARITHMETIC: Final = (
    _Rule("{a} × {b}", lambda a, b: a * b, fewest=3),
    _Rule("{a} + {b}", lambda a, b: a + b),
    _Rule("{a} − {b}", lambda a, b: a - b),
)
_QUOTIENT: Final = _Rule("{a} / {b}", lambda a, b: a / b, fewest=3)
_CHANGED: Final = _Rule("({b} − {a}) / {a}", lambda a, b: (b - a) / a, fewest=3)


_SPED: Final = _Rule("first / row", lambda a, b: a / b, fewest=3)
_GREW: Final = _Rule("row / first", lambda a, b: b / a, fewest=3)


def find_outliers(segments: Sequence[Segment], tokens: Sequence[list[Token]]) -> Iterator[Contradiction]:
    """One row against the rule of all the others."""
    blocks: dict[int, list[int]] = {}
    for index, segment in enumerate(segments):
        if segment.kind is Kind.CELL and segment.row >= 0 and segment.column_label:
            blocks.setdefault(segment.block, []).append(index)
    for indices in blocks.values():
        if segments[indices[-1]].row - segments[indices[0]].row > _MOST_ROWS:
            continue
        labels, rows = _grid(segments, tokens, indices)
        if len(labels) > 1 and 2 < len(rows) <= _MOST_ROWS:
            yield from _outliers(labels, rows)


def _grid(
    segments: Sequence[Segment], tokens: Sequence[list[Token]], indices: Sequence[int]
) -> tuple[list[str], list[_Row]]:
    """Headers of the columns that hold figures, and the rows without totals."""
    found: dict[int, dict[str, _Cell]] = {}
    counts: dict[str, int] = {}
    for index in indices:
        segment = segments[index]
        if _TOTAL.match(segment.row_label):
            continue
        cell = _cell(segment, tokens[index])
        row = found.setdefault(segment.row, {})
        if cell is not None and segment.column_label not in row:
            row[segment.column_label] = cell
            counts[segment.column_label] = counts.get(segment.column_label, 0) + 1
    labels = [label for label, count in counts.items() if count > 2][:_MOST_COLUMNS]
    return labels, [[row.get(label) for label in labels] for row in found.values() if row]


def _cell(segment: Segment, tokens: Sequence[Token]) -> _Cell | None:
    numbers = numbers_of(tokens)
    if len(numbers) != 1 or numbers[0].approximate or numbers[0].bound:
        return None
    number, text = numbers[0], segment.text
    sign = _SIGN.fullmatch(text, 0, number.start)
    others = [token for token in tokens if token is not number and token.mark is not Mark.OPERATOR]
    rest = _REST.fullmatch(text, number.end)
    if sign is None or others or rest is None:
        return None
    minus = -1 if sign["sign"] in {"-", "−", "–"} else 1
    percent = number.unit is lexicon.PERCENT
    rounded = number.decimal or percent or number.unit.scaled or rest[0].strip()
    half = number.half if rounded else 0
    return _Cell(float(number.value) * minus, float(half), percent, number, segment, minus)


def _outliers(labels: Sequence[str], rows: Sequence[_Row]) -> Iterator[Contradiction]:
    """The first breach of each row."""
    told: set[int] = set()
    for target, label in enumerate(labels):
        for cell, rule, exact in _breaches(labels, rows, target):
            if cell.segment.row in told:
                continue
            told.add(cell.segment.row)
            scale, sign = (Fraction(1, 100), " %") if cell.percent else (cell.number.unit.scale, "")
            yield Contradiction(
                (cell.segment.place(cell.number.start).line,), "column", (cell.number.value * cell.sign, exact),
                f"{label.strip()}: every other row is {rule} {plain(exact / scale)}{sign}, "
                f"not {plain(cell.number.digits * cell.sign)}{sign}",
            )  # fmt: skip


def _breaches(labels: Sequence[str], rows: Sequence[_Row], target: int) -> Iterator[_Breach]:
    """Cells of one column that alone break a rule, the rule as it is told, and what it gives there."""
    percent = all(cell.percent for row in rows if (cell := row[target]) is not None)
    if percent:
        yield from _shares(labels, rows, target)
    elif _SUMMED.search(labels[target]):
        yield from _row_sums(labels, rows, target)
    if _OVER_FIRST.search(labels[target]):
        yield from _relative(labels, rows, target)
    others = [index for index in range(len(labels)) if index != target]
    for a, b in itertools.permutations(others, 2):
        for rule in _rules(labels[target], percent=percent):
            if (a > b and rule.told in {"{a} × {b}", "{a} + {b}"}) or (not percent and target < max(a, b)):
                continue
            bad = _one_bad(rule, rows, target, a, b)
            if bad is not None:
                cell, exact = bad
                yield cell, f"{rule.told.format(a=labels[a].strip(), b=labels[b].strip())}, which here is", exact


def _rules(label: str, *, percent: bool) -> tuple[_Rule, ...]:
    """Rules that the figures of a column may follow."""
    if not percent:
        return (*_ARITHMETIC, _QUOTIENT)
    return (_CHANGED, _QUOTIENT) if _CHANGE.search(label) else (_QUOTIENT,)


def _relative(labels: Sequence[str], rows: Sequence[_Row], target: int) -> Iterator[_Breach]:
    """Speed-ups over the first row: its time over that of each, or the other way round for a rate."""
    for source in range(len(labels)):
        base = rows[0][source]
        if source == target or base is None or not base.value:
            continue
        for rule in (_SPED, _GREW):
            cells = [
                (cell, part) for row in rows if (cell := row[target]) is not None and (part := row[source]) is not None
            ]
            fits = [(cell, part, _fits(rule.of, cell, base, part)) for cell, part in cells]
            bad = [(cell, part) for cell, part, kept in fits if kept is False]
            if len(bad) != 1 or not _far(rule.of(base.value, bad[0][1].value), bad[0][0].value):
                continue
            kept = {cell.value for cell, _, fit in fits if fit}
            if len(kept) >= rule.fewest:
                cell, part = bad[0]
                yield (
                    cell,
                    f"{labels[source].strip()} against the first row's, which here gives",
                    rule.exact(base, part),
                )


def _one_bad(rule: _Rule, rows: Sequence[_Row], target: int, a: int, b: int) -> tuple[_Cell, Fraction] | None:
    """The one cell that breaks a rule which all other rows keep, and what the rule gives there."""
    bad: tuple[_Cell, Fraction] | None = None
    kept: list[tuple[float, float, float]] = []
    for row in rows:
        result, left, right = row[target], row[a], row[b]
        if result is None or left is None or right is None:
            continue
        fits = _fits(rule.of, result, left, right)
        if fits is None:
            continue
        if fits:
            kept.append((result.value, left.value, right.value))
        elif bad is not None or (rule is _QUOTIENT and not _far(rule.of(left.value, right.value), result.value)):
            return None
        else:
            bad = result, rule.exact(left, right)
    if bad is None:
        return None
    # A column of ones or of noughts makes a rule of any two columns, and a column that never changes proves little.
    enough = all(len({row[place] for row in kept}) > 1 for place in range(3))
    return bad if enough and len({row[0] for row in kept}) >= rule.fewest else None


def _far(exact: float, stated: float) -> bool:
    """Whether a ratio is off by more than figures that were rounded before they were printed explain."""
    return abs(exact - stated) > _ROUNDED * abs(exact)


def _fits(of: Callable[[float, float], float], result: _Cell, left: _Cell, right: _Cell) -> bool | None:
    """Whether a row keeps the rule within the digits written; None where it cannot be reckoned or says too little."""
    try:
        ends = [of(left.value + x * left.half, right.value + y * right.half) for x in (-1, 0, 1) for y in (-1, 0, 1)]
    except ZeroDivisionError:
        return None
    slack = 2 * result.half + 1e-9 * abs(result.value)
    low, high = min(ends) - slack, max(ends) + slack
    if result.value and high - low > abs(result.value) / 4:
        return None
    return low <= result.value <= high


def _shares(labels: Sequence[str], rows: Sequence[_Row], target: int) -> Iterator[_Breach]:
    """Shares in per cent of the sum of another column."""
    for source in range(len(labels)):
        if source == target:
            continue
        parts = [cell for row in rows if (cell := row[source]) is not None]
        total = sum(cell.value for cell in parts)
        if len(parts) != len(rows) or total <= 0 or any(cell.percent or cell.value < 0 for cell in parts):
            continue
        bad = [
            (cell, part)
            for row in rows
            if (cell := row[target]) is not None and (part := row[source]) is not None
            and abs(cell.value - part.value / total) > 2 * cell.half + 1e-9
        ]  # fmt: skip
        kept = {cell.value for row in rows if (cell := row[target]) is not None} - {cell.value for cell, _ in bad}
        if len(bad) == 1 and len(kept) >= _FEWEST:
            cell, part = bad[0]
            exact = part.number.value / sum(item.number.value for item in parts)
            yield cell, f"its share of {labels[source].strip()}, which here is", exact


def _row_sums(labels: Sequence[str], rows: Sequence[_Row], target: int) -> Iterator[_Breach]:
    """A column of totals: the sum of all columns before it, with or without the first, which may number the rows."""
    for first in (0, 1):
        places = range(first, target)
        full = [
            (total, parts)
            for row in rows
            if (total := row[target]) is not None
            and len(parts := [cell for place in places if (cell := row[place]) is not None]) == len(places) > 1
        ]
        bad = [(total, parts) for total, parts in full if not _adds_up(total, parts)]
        kept = {total.value for total, _ in full} - {total.value for total, _ in bad}
        if len(bad) == 1 and len(full) > 2 and len(kept) > 1:
            total, parts = bad[0]
            summed = ", ".join(labels[at].strip() for at in places)
            exact = sum((cell.number.value * cell.sign for cell in parts), Fraction(0))
            yield total, f"the sum of {summed}, which here is", exact
            return


def _adds_up(total: _Cell, parts: Sequence[_Cell]) -> bool:
    slack = total.half + sum(cell.half for cell in parts) + 1e-9 * abs(total.value)
    return abs(total.value - sum(cell.value for cell in parts)) <= slack
