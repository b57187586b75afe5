"""Where a document says two things: parts against a total, two ratios, uneven stages."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from optimizer.audit import lexicon
from optimizer.audit.compare import rounding
from optimizer.audit.document import Kind, Segment
from optimizer.audit.facts import JudgedClaim
from optimizer.audit.statements import EXPERT_COUNTS
from optimizer.audit.tokens import Number, Token, numbers_of
from optimizer.audit.verdict import Verdict, number, plain, shown

_WITHIN: Final = re.compile(r"^\W*(?:[–—└├↳]|incl|of\b)|\bof which\b|\bthereof\b", re.IGNORECASE)
"""Rows that are part of another row."""
_MINUS: Final = re.compile(r"[-−–(]\s*[$€]?\s*$")
_MORE_THAN_SUM: Final = re.compile(r"%|\b(?:incl\w*|with|after|net|tax|vat|plus|less)\b", re.IGNORECASE)
"""A total of more, or less, than its rows."""
_LABEL: Final = re.compile(r"[A-Za-z][\w ,./()-]{1,60}")
_NEARLY: Final = Fraction(1, 4)
"""Share by which parts that somebody added up wrongly may miss their total. Assumed: others are no sum."""
_MOST_ADDED: Final = 64
_TOTAL: Final = re.compile(r"^\W*(?:in\s+)?(?:sub-?total|total|sum|overall|all(?!-)|together)\b", re.IGNORECASE)
_AMID: Final = re.compile(r"^\W*(?:sub-?total|total|sum)\b", re.IGNORECASE)
"""A total that rows may follow."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Figures that cannot all be right, or (``disputes``) that differ because they may mean different things."""

    lines: tuple[int, ...]
    name: str
    values: tuple[Fraction, ...]
    explanation: str

    def to_json(self) -> dict[str, Any]:
        """Entry of ``contradictions`` or ``disputes``."""
        return {
            "lines": list(self.lines),
            "name": self.name,
            "values": [number(value) for value in self.values],
            "explanation": self.explanation,
        }


def find_contradictions(
    segments: tuple[Segment, ...], tokens: list[list[Token]], ratios: list[JudgedClaim]
) -> list[Contradiction]:
    """Contradictions in document order."""
    found = [*_sums(segments, tokens), *_two_ratios(ratios)]
    return sorted(found, key=lambda item: (item.lines, item.name))


def find_disputes(judged: list[JudgedClaim]) -> Iterator[Contradiction]:
    """Different counts of experts per device, each true of something."""
    counts = [item for item in judged if item.statement.name in EXPERT_COUNTS]
    first: dict[tuple[str, Fraction], JudgedClaim] = {}
    for item in counts:
        first.setdefault((item.statement.name, item.statement.value), item)
    values = {item.statement.value for item in first.values()}
    if len(values) < 2:
        return
    told, open_ones = [], []
    for item in first.values():
        true_as = [reading.reading for reading, holds in item.readings if holds]
        if true_as:
            told.append(
                f"{item.statement.text!r} is {plain(item.statement.value)} {' and '.join(dict.fromkeys(true_as))}"
            )
        else:
            open_ones.append(f"{item.statement.text!r} is {item.verdict}")
    lines = tuple(sorted({item.statement.place.line for item in first.values()}))
    joined = "; ".join([*told, *open_ones])
    verdict = (
        "these count different things and do not contradict each other"
        if not open_ones
        else "not settled by the facts given"
    )
    yield Contradiction(lines, "experts_per_gpu", tuple(sorted(values)), f"{verdict}: {joined}")


def _rounding(item: Number) -> Fraction:
    return rounding(item, item.unit.scale, approximate=item.approximate)


def _two_ratios(ratios: list[JudgedClaim]) -> Iterator[Contradiction]:
    """The same two figures, compared by two different ratios."""
    right = {item.derived: item for item in ratios if item.verdict is Verdict.HOLDS and item.derived is not None}
    for item in ratios:
        same = right.get(item.derived) if item.derived is not None else None
        if item.verdict is Verdict.UNSUPPORTED and same is not None:
            one, other = same.statement, item.statement
            lines = tuple(sorted((one.place.line, other.place.line)))
            told = f"{one.text} on line {one.place.line} is that of {same.derived and same.derived.substituted}; "
            told += f"{other.text} on line {other.place.line} is not"
            yield Contradiction(lines, "ratio", (one.value, other.value), told)


_Row = tuple[str, Number, Segment]


def _sums(segments: tuple[Segment, ...], tokens: list[list[Token]]) -> Iterator[Contradiction]:
    """A "total" row that the rows above it do not add up to, although they nearly do or another column does."""
    groups: dict[tuple[int, str], list[_Row]] = {}
    named: dict[int, str] = {}
    lists = 0
    for index, segment in enumerate(segments):
        if segment.row >= 0 and _TOTAL.match(segment.text):
            named.setdefault(segment.row, segment.text)
        lists += not segment.item
        numbers = numbers_of(tokens[index])
        # the result of an equation, or what is behind a label
        numbers = numbers[-1:] if "=" in segment.text or (segment.item and ":" in segment.text) else numbers
        if len(numbers) != 1:
            continue
        if segment.kind is Kind.CELL and segment.column_label:
            groups.setdefault((segment.block, segment.column_label), []).append(
                (named.get(segment.row, segment.row_label), numbers[0], segment)
            )
        elif segment.kind is Kind.CODE and numbers[0].unit.dimensions != lexicon.NONE:
            label = segment.text[: numbers[0].start].strip(" |:=\t")
            if _LABEL.fullmatch(label):
                groups.setdefault((segment.block, "\0code"), []).append((label, numbers[0], segment))
        elif segment.item and ":" in segment.text and numbers[0].unit.dimensions != lexicon.NONE:
            # a list ends where a paragraph begins
            key = (-1 - lists, "/".join(segment.section))
            groups.setdefault(key, []).append((segment.text.partition(":")[0], numbers[0], segment))
    groups = {key: _to_total(rows) for key, rows in groups.items()}
    adding = {block for (block, _), rows in groups.items() if _adds_up(rows)}
    for (block, column), rows in groups.items():
        beside = [other for (at, name), other in groups.items() if at == block and name != column]
        yield from _sum(rows, beside, confirmed=block in adding)


def _to_total(rows: list[_Row]) -> list[_Row]:
    """The rows up to the first total; others may follow a plain one."""
    at = next((at for at, row in enumerate(rows) if _AMID.match(row[0])), len(rows))
    return rows[: at + 1] if at > 1 else rows


def _adds_up(rows: list[tuple[str, Number, Segment]]) -> bool:
    """Whether the last row of a column is exactly the sum of the rows above it, so that the table is one of sums."""
    values = [item.value for _, item, _ in rows]
    return len(values) > 2 and _TOTAL.match(rows[-1][0]) is not None and sum(values[:-1]) == values[-1] != 0


def _sum(rows: list[_Row], beside: Sequence[list[_Row]], *, confirmed: bool) -> Iterator[Contradiction]:
    """The breach of a total; ``confirmed``: another column of the table adds up exactly."""
    totals = [row for row in rows if _TOTAL.match(row[0])]
    parts = [row for row in rows if not _TOTAL.match(row[0])]
    if len(totals) != 1 or not 1 < len(parts) <= _MOST_ADDED or rows[-1] is not totals[0]:
        return
    total, values = totals[0][1], [item.value for _, item, _ in parts]
    alike = all(item.unit.dimensions == total.unit.dimensions and item.per == total.per for _, item, _ in parts)
    less = any(_MINUS.search(segment.text[: item.start]) for _, item, segment in parts)
    if any(_WITHIN.search(label) for label, _, _ in parts) or _MORE_THAN_SUM.search(totals[0][0]) or not alike or less:
        return
    value = sum(values, Fraction(0))
    slack = sum((_rounding(item) for _, item, _ in rows), Fraction(0))
    if any(item.unit.scale != total.unit.scale for _, item, _ in parts):
        slack += total.unit.scale  # rounded up as likely as off
    # between the least and the greatest of its rows a "total" is a mean, a maximum or what one of them decides
    if abs(value - total.value) <= slack or total.value <= max(values):
        return
    if not (confirmed or abs(value - total.value) <= max(value, total.value) * _NEARLY):
        return
    if any(abs(weighted - total.value) <= slack for weighted in _weighted(parts, beside)):
        return
    lines = tuple(segment.place(item.start).line for _, item, segment in rows)
    added = " + ".join(shown(item.value, item.unit) for _, item, _ in parts)
    told = f"the parts add up to {shown(value, total.unit)} ({added}), not {shown(total.value, total.unit)}"
    yield Contradiction(lines, "total", (value, total.value), told)


def _weighted(parts: Sequence[_Row], beside: Sequence[list[_Row]]) -> Iterator[Fraction]:
    """Sums of the parts, each taken as often as another column of its row says."""
    for column in beside:
        counts = {segment.row: item.value for _, item, segment in column}
        if all(segment.row in counts for _, _, segment in parts):
            yield sum((item.value * counts[segment.row] for _, item, segment in parts), Fraction(0))
