"""Tables and lists that contradict themselves: a total against its rows."""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.compare import rounding
from optimizer.audit.document import Kind, Segment
from optimizer.audit.tokens import Number, Token, numbers_of
from optimizer.audit.verdict import Contradiction, shown

_WITHIN: Final = re.compile(r"^\W*(?:[–—└├↳]|incl|of\b)|\bof which\b|\bthereof\b", re.IGNORECASE)
"""Rows that are part of another row."""
_MINUS: Final = re.compile(r"[-−–(]\s*[$€]?\s*$")
_MORE_THAN_SUM: Final = re.compile(r"%|\b(?:incl\w*|with|after|net|tax|vat|plus|less)\b", re.IGNORECASE)
"""A total of more, or less, than its rows."""
_LABEL: Final = re.compile(r"[A-Za-z][\w ,./()-]{1,60}")
_NEARLY: Final = Fraction(1, 4)
"""Share by which parts that somebody added up wrongly may miss their total. Assumed: others are no sum."""
_MOST_ADDED: Final = 64
TOTAL: Final = re.compile(r"^\W*(?:in\s+)?(?:sub-?total|total|sum|overall|all(?!-)|together)\b", re.IGNORECASE)
_AMID: Final = re.compile(r"^\W*(?:sub-?total|total|sum)\b", re.IGNORECASE)
"""A total that rows may follow."""
_TWO: Final = 2

_Row = tuple[str, Number, Segment]


def find_sums(segments: Sequence[Segment], tokens: Sequence[list[Token]]) -> Iterator[Contradiction]:
    """A "total" row that the rows above it do not add up to, although they nearly do or another column does."""
    groups: dict[tuple[int, str], list[_Row]] = {}
    named: dict[int, str] = {}
    lists = 0
    for index, segment in enumerate(segments):
        if segment.row >= 0 and TOTAL.match(segment.text):
            named.setdefault(segment.row, segment.text)
        lists += not segment.item
        labelled = segment.item and ":" in segment.text
        # the result of an equation, or what is behind a label
        numbers = numbers_of(tokens[index])[-1 if "=" in segment.text or labelled else 0 :]
        if len(numbers) != 1:
            continue
        (one,), key = numbers, (segment.block, segment.column_label)
        label = named.get(segment.row, segment.row_label)
        if segment.kind is not Kind.CELL:
            if one.unit.dimensions == lexicon.NONE:
                continue
            # a list ends where a paragraph begins
            key = (segment.block, "\0code") if segment.kind is Kind.CODE else (-1 - lists, "/".join(segment.section))
            label = segment.text[: one.start].strip(" |:=\t") if key[1] == "\0code" else segment.text.partition(":")[0]
            if not (labelled if key[1] != "\0code" else _LABEL.fullmatch(label)):
                continue
        if key[1] or segment.kind is not Kind.CELL:
            groups.setdefault(key, []).append((label, one, segment))
    groups = {key: _to_total(rows) for key, rows in groups.items()}
    adding = {block for (block, _), rows in groups.items() if _adds_up(rows)}
    for (block, column), rows in groups.items():
        beside = [other for (at, name), other in groups.items() if at == block and name != column]
        yield from _sum(rows, beside, confirmed=block in adding)


def _to_total(rows: list[_Row]) -> list[_Row]:
    """The rows up to the first total; others may follow a plain one."""
    at = next((at for at, row in enumerate(rows) if _AMID.match(row[0])), len(rows))
    return rows[: at + 1] if at > 1 else rows


def _adds_up(rows: Sequence[_Row]) -> bool:
    """Whether the last row of a column is exactly the sum of the rows above it, so that the table is one of sums."""
    values = [item.value for _, item, _ in rows]
    return len(values) > _TWO and TOTAL.match(rows[-1][0]) is not None and sum(values[:-1]) == values[-1] != 0


def _sum(rows: Sequence[_Row], beside: Sequence[list[_Row]], *, confirmed: bool) -> Iterator[Contradiction]:
    """The breach of a total; ``confirmed``: another column of the table adds up exactly."""
    *parts, last = rows
    total, values = last[1], [item.value for _, item, _ in parts]
    alone = TOTAL.match(last[0]) and not any(TOTAL.match(label) for label, _, _ in parts)
    if not alone or not 1 < len(parts) <= _MOST_ADDED or _MORE_THAN_SUM.search(last[0]):
        return
    alike = all(item.unit.dimensions == total.unit.dimensions and item.per == total.per for _, item, _ in parts)
    less = any(_WITHIN.search(label) or _MINUS.search(cell.text[: item.start]) for label, item, cell in parts)
    value = sum(values, Fraction(0))
    slack = sum((rounding(item, item.unit.scale, approximate=item.approximate) for _, item, _ in rows), Fraction(0))
    if any(item.unit.scale != total.unit.scale for _, item, _ in parts):
        slack += total.unit.scale  # rounded up as likely as off
    off = abs(value - total.value)
    # between the least and the greatest of its rows a "total" is a mean, a maximum or what one of them decides
    if not alike or less or off <= slack or total.value <= max(values):
        return
    if not (confirmed or off <= max(value, total.value) * _NEARLY):
        return
    for column in beside:  # each part as often as another column of its row says
        counts = {segment.row: item.value for _, item, segment in column}
        weighted = sum((item.value * counts.get(segment.row, 0) for _, item, segment in parts), Fraction(0))
        if abs(weighted - total.value) <= slack:
            return
    lines = tuple(segment.place(item.start).line for _, item, segment in rows)
    added = " + ".join(shown(item.value, item.unit) for _, item, _ in parts)
    told = f"the parts add up to {shown(value, total.unit)} ({added}), not {shown(total.value, total.unit)}"
    yield Contradiction(lines, "total", (value, total.value), told)
