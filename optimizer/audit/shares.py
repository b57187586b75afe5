"""Shares said of the rows of a table: ``The lease makes up 69% of the monthly total``.

A share names its part and its whole. The whole is the total of a column that its words name, the part a row, several
rows, or some of them: only where none of these gives the figure, nor what they leave, is it accused.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.deployment import Sentence
from optimizer.audit.document import Kind, Segment
from optimizer.audit.scope import clause_span, denied
from optimizer.audit.tokens import Number, Token, numbers_of, tokenize
from optimizer.audit.verdict import Contradiction

_WHOLE: Final = re.compile(
    r"\s+of\s+(?!(?:its|their|these|those)\b)([a-z][^.,;:()–—\d]*?)(?=\s*$|[.,;:()–—]|\s(?:and|while|so|which|but|because"
    r"|hence)\b|\s(?:with|for|at)\s+(?:about\s+)?\d)",
    re.IGNORECASE,
)
_OF_SOME: Final = re.compile(r"\b(?:from|in|at|on|by|for|with|than|is|are|to|that|we|it)\b", re.IGNORECASE)
"""Among the words of a whole: it is only some of it (``of the tokens from cache``), or a sentence goes on."""
_WORD: Final = re.compile(r"\b[\w.-]*[A-Za-z][\w.-]*\w|\b[A-Z]\b|\b\d+[A-Z]\b")
_EMPTY: Final = frozenset(
    ["the", "an", "of", "our", "its", "this", "that", "whole", "entire", "overall", "sum", "total", "all"]
)
_TOTAL: Final = re.compile(r"^\W*(?:(?:grand\s+)?total|sum|overall|all|altogether)\b", re.IGNORECASE)
_OF_TOTAL: Final = re.compile(r"\b(?:total|sum|whole)\b", re.IGNORECASE)
_OTHER_PART: Final = re.compile(
    r"\b(?:each|every|per|half|rest|remain\w*|others?|without|apart|except|excluding|besides|more|less|over|under|least"
    r"|most|below|above|up to|cheaper|dearer|lower|higher|sav\w+|instead)\b"
    r"|\b(?:by|at|to|from|of)\s+(?:about\s+|roughly\s+)?[~≈]?$",
    re.IGNORECASE,
)
"""Beside a share: it is no part of the whole, or only bounded."""
_ALL_BUT: Final = "all but "
_LEAST_ROWS: Final = 3
_SLACK: Final = 0.03
"""Share by which a share without decimals may miss what the table gives: that may be rounded."""


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: words that name it and those beside it, the totals of its rows, and a figure for each row."""

    words: set[str]
    beside: set[str]
    wholes: tuple[float, ...]
    parts: dict[str, float]


def find_misshares(
    segments: Sequence[Segment], tokens: Sequence[list[Token]], said: Sequence[Sentence]
) -> Iterator[Contradiction]:
    """Percentages of a table's total that no row or rows of it make up."""
    columns: list[_Column] | None = None
    names: dict[str, set[str]] = {}
    for sentence in said:
        text = sentence.text
        if sentence.code or sentence.cells or sentence.refuted:
            continue
        for number in numbers_of(tokenize(text)):
            of = _WHOLE.match(text, number.number_end) if number.unit is lexicon.PERCENT else None
            if of is None or _OF_SOME.search(of[1]) or denied(text, number.start, number.number_end):
                continue
            if columns is None:
                columns, names = list(_columns(segments, tokens)), _names(segments)
            yield from _judged(sentence, number, of[1], columns, names)


def _judged(
    sentence: Sentence, number: Number, whole: str, columns: Sequence[_Column], names: dict[str, set[str]]
) -> Iterator[Contradiction]:
    text = sentence.text
    subject = text[clause_span(text, number.start, number.end)[0] : number.start]
    named, stated = _words(whole), float(number.value)
    if _OTHER_PART.search(subject) or not (named or _OF_TOTAL.search(whole)):
        return
    named_in = [column for column in columns if named <= column.words] or [
        column for column in columns if named <= column.words | column.beside and named & column.words
    ]
    found = [list(_readings(column, subject, names)) for column in named_in]
    readings = list(itertools.chain(*found)) if all(found) else []
    slack = 2 * float(number.half) if number.decimal else max(2 * float(number.half), _SLACK * stated)
    if readings and all(abs(value - stated) > slack for value, _ in readings):
        value, part = min(readings, key=lambda one: (one[1].startswith(_ALL_BUT), abs(one[0] - stated)))
        told = f"{part} is {value * 100:.3g} % of {whole}, not {stated * 100:g} %"
        yield Contradiction((sentence.at(number.start).line,), "share", (number.value,), told)


def _words(text: str) -> set[str]:
    return {match[0].lower().removesuffix("s") for match in _WORD.finditer(text)} - _EMPTY


def _head(label: str) -> str:
    return re.split(r"[,(:]", label)[0].strip().lower()


def _readings(column: _Column, subject: str, names: dict[str, set[str]]) -> Iterator[tuple[float, str]]:
    """What the part may be: each row that it names, or those together."""
    words = _words(subject)
    rows = list(column.parts)
    told = [[word in _words(_head(label)) for label in rows] for word in words] + [
        [word in names.get(_head(label), ()) for label in rows] for word in words
    ]
    sets = {tuple(itertools.compress(rows, one)) for one in told if any(one) and not all(one)}
    if sets:
        together = {label for some in sets for label in some}
        sets |= {(label,) for label in together} | {tuple(label for label in rows if label in together)}
    for some in sorted(sets):
        for whole in column.wholes:
            value = sum(column.parts[label] for label in some) / whole
            yield from ((value, " + ".join(some)), (1 - value, _ALL_BUT + " + ".join(some)))


def _names(segments: Sequence[Segment]) -> dict[str, set[str]]:
    """Words of every cell of the rows of one label, in whatever table: what kind of thing it is."""
    found: dict[str, set[str]] = {}
    for segment in segments:
        if segment.kind is Kind.CELL and segment.row >= 0:
            found.setdefault(_head(segment.row_label or segment.text), set()).update(_words(segment.text))
    return found


def _columns(segments: Sequence[Segment], tokens: Sequence[list[Token]]) -> Iterator[_Column]:
    """Columns of figures of one kind with a total among their rows, or of shares."""
    blocks: dict[int, dict[str, list[int]]] = {}
    for index, segment in enumerate(segments):
        if segment.kind is Kind.CELL and segment.row >= 0 and segment.column_label:
            blocks.setdefault(segment.block, {}).setdefault(segment.column_label, []).append(index)
    for named in blocks.values():
        beside = _words(" ".join(named))
        for label, indices in list(named.items())[1:]:
            cells = {segments[index].row_label.strip(): numbers_of(tokens[index]) for index in indices}
            figures = {name: one[0] for name, one in cells.items() if name and len(one) == 1}
            if len(figures) < _LEAST_ROWS or len({one.unit.dimensions for one in figures.values()}) > 1:
                continue
            words = _words(" ".join((label, *segments[indices[0]].section[-2:])))
            parts: dict[str, float] = {}
            shares = all(one.unit is lexicon.PERCENT for one in figures.values())
            for name, one in figures.items():
                value, sofar = float(one.value), sum(parts.values())
                if len(parts) > 1 and (_TOTAL.match(name) or abs(sofar - value) <= value / 1000):
                    yield _Column(words | _words(name), beside, (value, sofar), dict(parts))
                parts[name] = value
            if shares and abs(sum(parts.values()) - 1) < _SLACK:
                yield _Column(words, beside, (1.0,), parts)
