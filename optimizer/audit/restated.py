"""Wrong equations that the document itself puts right: it works the same arithmetic again, or gives the true result.

A figure quoted, struck by a diff or claimed by somebody else needs nothing but its correction. A figure in the
document's own voice counts as corrected only where words beside the correction say so.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.compare import rounding
from optimizer.audit.document import Kind, Segment, rows_of
from optimizer.audit.equation import Equation, by_segment
from optimizer.audit.statements import QUOTATION, Role, label_role, outside_quotation, segment_role
from optimizer.audit.tokens import Mark, Number, Token, tokenize
from optimizer.audit.verdict import Verdict

_SAYS_SO: Final = re.compile(
    r"\b(?:wrong\w*|incorrect\w*|false|mis(?:take|taken|calculat\w*|read|count\w*|print\w*|typed)|slips?|typos?"
    r"|swapp?\w*|transpos\w*|digits?|recount\w*|redo|recomput\w*|recalculat\w*|correct(?:ed|ion|ly|s)?|should|must"
    r"|ought|read|instead|actual\w*|in fact|really|nope|no(?=[,.:])|errors?|erroneous\w*|off by|by a factor|fixed"
    r"|false alarm|reproduce|forgot\w*|lost|verified|hmm|wait|not even"
    r"|(?:I|we) (?:get|find|obtain|count))\b|n[’']t\b|[❌✗✘✖]",
    re.IGNORECASE,
)
_SAYS_SO_OF_A_QUOTE: Final = re.compile(r"\bnot\b|\bis\b|\balarm\b|^\W*[−-]\d", re.IGNORECASE)
_REFUSED: Final = re.compile(
    r"\b(?:not|instead of|rather than|nor|says?|claims?)\s+(?:the\s+)?[\"“~≈]*\s*$", re.IGNORECASE
)
_RIGHT_COLUMN: Final = re.compile(r"\b(?:correct\w*|should|actual\w*|right|true|fixed|is)\b", re.IGNORECASE)
_FIGURES: Final = re.compile(r"\d[\d,.]*")
_ATTRIBUTED: Final = re.compile(
    r"\b(?:says?|said|claims?|claimed|writes?|wrote|states?|stated|asserts?|reports?|reported)\b[^.;:=]{0,40}$"
)
_REACH: Final = 160
_FOLLOWING: Final = 3
_FURTHEST: Final = 60
"""Segments behind a quotation among which its correction is looked for."""
_MOST_TOKENS: Final = 100
"""Tokens behind a wrong equation, or of a paragraph behind it, among which its correction is looked for."""
_MOST_AGAIN: Final = 16
"""Places where one piece of arithmetic comes back that are looked at."""
_MOST: Final = 400
"""Wrong equations of one document that are looked into."""


def find_restated(segments: Sequence[Segment], tokens: Sequence[list[Token]], equations: Sequence[Equation]) -> None:
    """Mark the wrong equations that the document corrects."""
    failing = (item for item in equations if item.verdict is Verdict.FAILS and not item.called_wrong)
    wrong = [item for item in failing if "≠" not in item.text][:_MOST]
    if not wrong:
        return
    ends = {_last_operand(item) for item in wrong}
    again: dict[tuple[object, ...], list[Equation]] = {}
    for item in equations:
        right = item.verdict in {Verdict.HOLDS, Verdict.AMBIGUOUS} and item.arithmetic and "≠" not in item.text
        if right and _last_operand(item) in ends:
            for key in _keys(item):
                if len(beside := again.setdefault(key, [])) < _MOST_AGAIN:
                    beside.append(item)
    spans = by_segment(equations)
    rows = rows_of(segments)
    for item in wrong:
        segment = segments[item.segment]
        if segment_role(segment) is Role.CALCULATED:
            continue
        quoted = _quoted(segment, item)
        item.called_wrong = (
            segment.removed
            or any(
                _corrects(segments, item, other, quoted=quoted) for key in _keys(item) for other in again.get(key, ())
            )
            or _cell_corrects(segments, tokens, item, rows.get(segment.row, ()))
            or _text_corrects(segments, tokens, item, spans, quoted=quoted)
        )


def _last_operand(equation: Equation) -> str:
    """Last figure of the arithmetic, as a first sign that two equations are one."""
    figures = _FIGURES.findall(equation.arithmetic.rpartition(" = ")[0])
    return figures[-1] if figures else ""


def _keys(equation: Equation) -> Iterator[tuple[object, ...]]:
    """The arithmetic as a run of signs and values, once in base units and once in the digits written."""
    written = tokenize(equation.arithmetic.rpartition(" = ")[0])
    signs = [item for item in written if isinstance(item, Number) or item.mark is Mark.OPERATOR]
    yield ("value", *(item.value if isinstance(item, Number) else item.sign for item in signs))
    yield ("digits", *(item.digits if isinstance(item, Number) else item.sign for item in signs))


def _quoted(segment: Segment, equation: Equation) -> bool:
    """Whether somebody else says it: in quotation marks, a block quote, or under a label such as "claimed"."""
    before = segment.text[: equation.start]
    marks = not outside_quotation(before) and QUOTATION.search(segment.text, equation.end) is not None
    told = _ATTRIBUTED.search(before) is not None
    return marks or told or segment.quoted or segment_role(segment) is Role.CLAIMED


def _corrects(segments: Sequence[Segment], wrong: Equation, right: Equation, *, quoted: bool) -> bool:
    """Whether ``right`` works the arithmetic of ``wrong`` again in order to put it right."""
    segment = segments[right.segment]
    if segment.removed or _quoted(segment, right):
        return False
    if quoted:
        return True
    if (right.segment, right.start) < (wrong.segment, wrong.start):
        return False
    if right.segment == wrong.segment:
        said = segment.text[wrong.stated_start : right.start]
    elif segment.kind is Kind.CELL:
        said = ""
    else:
        before = segments[right.segment - 1] if right.segment else segment
        said = f"{before.text if before.section == segment.section else ''} {segment.text[: right.start]}"[-_REACH:]
    return any(_SAYS_SO.search(part) is not None for part in (said, _sentence(segment.text, right.end)))


def _sentence(text: str, start: int) -> str:
    """The rest of the sentence from ``start``."""
    stop = text.find(". ", start)
    return text[start : stop if 0 <= stop < start + _REACH else start + _REACH]


def _cell_corrects(
    segments: Sequence[Segment], tokens: Sequence[list[Token]], wrong: Equation, row: Sequence[int]
) -> bool:
    """Whether another cell of the row gives the true result and says, or stands in a column that says, what it is."""
    for index in row:
        cell = segments[index]
        if index == wrong.segment or not any(_is_result(item, wrong) for item in tokens[index]):
            continue
        named = label_role(cell.column_label) is Role.CALCULATED or _RIGHT_COLUMN.search(cell.column_label) is not None
        if named or _SAYS_SO.search(cell.text) is not None:
            return True
    return False


def _text_corrects(
    segments: Sequence[Segment], tokens: Sequence[list[Token]], wrong: Equation, spans: Mapping[int, list[Equation]], *,
    quoted: bool,
) -> bool:  # fmt: skip
    """Whether the text behind gives the true result, with words that say that the other was wrong."""
    if segments[wrong.segment].kind is Kind.CELL:
        return False
    for index in range(wrong.segment, min(wrong.segment + (_FURTHEST if quoted else 1) + 1, len(segments))):
        text = segments[index].text
        begin = wrong.end if index == wrong.segment else 0
        near = index - wrong.segment <= _FOLLOWING
        first = bisect_left(tokens[index], begin, key=lambda token: token.start)
        behind_it = tokens[index][first : first + _MOST_TOKENS]
        for item in behind_it:
            if not _is_result(item, wrong) or _REFUSED.search(text, begin, item.start):
                continue
            if any(
                other.start <= item.start < other.end and item.start != other.stated_start
                for other in spans.get(index, ())
            ):
                continue
            said, behind = text[max(begin, item.start - _REACH) : item.start], _sentence(text, item.end)
            if _SAYS_SO.search(said) or _SAYS_SO.search(behind[: _REACH // 2]):
                return True
            if quoted and near and _SAYS_SO_OF_A_QUOTE.search(said + behind):
                return True
    return False


def _is_result(token: Token, wrong: Equation) -> bool:
    """Whether ``token`` is what the arithmetic of ``wrong`` really gives, within the digits written."""
    if not isinstance(token, Number) or wrong.evaluated is None or not token.digits:
        return False
    exact = wrong.evaluated
    if token.unit is lexicon.ONE or token.unit == wrong.unit:
        return abs(token.digits - exact) <= rounding(token, Fraction(1), approximate=False)
    if token.unit.dimensions not in {wrong.unit.dimensions, lexicon.NONE}:  # "47.3k" of tokens/s leaves them out
        return False
    exact *= wrong.unit.scale
    return abs(token.value - exact) <= rounding(token, token.unit.scale, approximate=False)
