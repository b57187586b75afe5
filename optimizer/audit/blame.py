"""Equations that the document itself calls wrong or puts right: its author is right to quote them, or is wrong himself.

A figure quoted, struck by a diff or claimed by somebody else needs nothing but its correction. One in the document's
own voice counts as wrong only where words beside it, in the same sentence or row, or beside its correction, say so.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.compare import rounding, tolerance
from optimizer.audit.document import Kind, Segment, rows_of
from optimizer.audit.equation import Equation, by_segment
from optimizer.audit.facts import QUOTATION, Role, label_role, outside_quotation, segment_role
from optimizer.audit.tokens import Mark, Number, Token, tokenize
from optimizer.audit.verdict import Contradiction, Verdict, shown

_ENDS: Final = re.compile(r"[.!?…](?=[\s\"'”»)\]]|$)")
_REACH: Final = 200
_WRONG: Final = r"(?:wrong|incorrect|false|erroneous|mistaken|miscalculated|not\s+(?:right|correct|true))"
_HOW: Final = (
    r"(?:(?:plainly|clearly|simply|obviously|just|also|both|all|of\s+course|arithmetically|mathematically)\s+)*"
)
_CLOSED: Final = r"^[\s\"'”»`*_)\]]*"
_AFTER: Final = re.compile(
    _CLOSED + r"(?:,?\s*(?:and\s+)?(?P<which>which|that|this|it)\s+(?:is|was)\s+|(?P<copula>(?:is|was|are)\s+)"
    r"|(?P<remark>[(\[—–:,-]\s*))" + _HOW + _WRONG + r"\b(?P<rest>.*)$",
    re.IGNORECASE | re.DOTALL,
)
_SIGN_AFTER: Final = re.compile(r"^[\s\"'”»`*_)\]]*[(\[—–-]?\s*[❌✗✘]")
_SIGN_BEFORE: Final = re.compile(r"^\W*[❌✗✘]\W*$")
_BEFORE: Final = re.compile(
    r"(?:\b(?:wrongly|incorrectly|falsely|erroneously|mistakenly)\s+(?:\w+\s+){1,3}?(?:that\s+|as\s+|to\s+)?"
    r"|^\W*(?:wrong|incorrect|false)\s*:"
    r"|\bit\s+is\s+(?:wrong|incorrect|false|not\s+true)\s+that"
    r"|\b(?:the|an?|its|this)\s+(?:wrong|incorrect|false|erroneous|mistaken)\s+(?:\w+\s+){0,2}?)"
    r"\W*$",
    re.IGNORECASE,
)
_INSTEAD: Final = re.compile(
    r"(?:\b(?:it|this|that|which|the\s+(?:product|sum|total|result|answer|correct\s+\w+|right\s+\w+))\s+"
    r"(?:is|equals|gives|makes)|\b(?:should|ought\s+to)\s+(?:be|have\s+been|read)|\b(?:the\s+)?correct(?:\s+\w+)?:)"
    r"\s+(?:exactly\s+|really\s+|actually\s+|in\s+fact\s+)?(?=\d)",
    re.IGNORECASE,
)
_OPEN: Final = re.compile(
    r"\b(?:if|whether|unless|suppos\w*|assum\w*|imagine|would|could|might|may|never|nobody|no\s+one|nothing|hardly"
    r"|does\s+not|did\s+not|is\s+not|isn['’]t|was\s+not|wasn['’]t)\b",
    re.IGNORECASE,
)
"""Before an equation: it is supposed, or what follows is denied."""
_TAKEN_BACK: Final = re.compile(
    r"^\W*(?:about|if|unless|only|when|where|side|way)\b|\b(?:but|yet|though|although|however)\b.{0,40}"
    r"\b(?:right|correct|true|holds)\b|\?",
    re.IGNORECASE | re.DOTALL,
)
_GOES_ON: Final = re.compile(
    r"\s*(?:$|[^\w\s]|(?:by|because|since|as|for|here|there|in|on|at|and|but|too|again|though|yet|although|however"
    r"|throughout|everywhere)\b)",
    re.IGNORECASE,
)
"""Behind the word, lest it is one about something else: ``is false precision``."""
_SAID: Final = re.compile(
    r"\b(?:says?|said|claims?|claimed|thinks?|thought|argues?|argued|calls?|called|reports?|reported|believes?"
    r"|according)\b",
    re.IGNORECASE,
)
_CELL: Final = re.compile(r"\W*(?:wrong|incorrect|miscalculated|does\s+not\s+hold)\W*|\s*[❌✗✘]\s*", re.IGNORECASE)
_RIGHT_CELL: Final = re.compile(r"\W*(?:right|correct|ok|okay|holds|confirmed|true)\W*|\s*[✔✓✅☑]\s*", re.IGNORECASE)
_COLUMN: Final = re.compile(r"\W*(?:wrong|incorrect|mistaken|erroneous)(?:\s+\w+)?\W*", re.IGNORECASE)
_ASKED: Final = re.compile(r"wrong|incorrect|error|mistake|fault", re.IGNORECASE)
_TAIL: Final = re.compile(r"\b(?:wrong|incorrect)\W*$", re.IGNORECASE)
_ANY: Final = re.compile(
    r"wrong|incorrect|false|erroneous|mistaken|miscalculated|not\s+(?:right|correct|true)|should|ought|[❌✗✘]|\bnot\b",
    re.IGNORECASE,
)
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
_NEAR: Final = 160
_FOLLOWING: Final = 3
_FURTHEST: Final = 60
"""Segments behind a quotation among which its correction is looked for."""
_MOST_TOKENS: Final = 100
"""Tokens behind a wrong equation, or of a paragraph behind it, among which its correction is looked for."""
_MOST_AGAIN: Final = 16
"""Places where one piece of arithmetic comes back that are looked at."""
_MOST: Final = 400
"""Wrong equations of one document that are looked into."""


@dataclass(frozen=True, slots=True)
class _Words:
    """The sentence around an equation: what stands before and behind it, and how it ends."""

    before: str
    after: str
    asked: bool


def blame(segments: Sequence[Segment], equations: Sequence[Equation]) -> list[Contradiction]:
    """Mark the equations that the text calls wrong; what it says wrongly of them comes back."""
    found: list[Contradiction] = []
    rows = rows_of(segments)
    for _, group in groupby(sorted(equations, key=lambda item: (item.segment, item.start)), key=lambda e: e.segment):
        own = list(group)
        segment = segments[own[0].segment]
        if segment.kind is Kind.CELL and len(own) == 1:
            own[0].called_wrong = own[0].verdict is Verdict.FAILS and _row_says_so(own[0], segment, segments, rows)
        if not _ANY.search(segment.text):
            continue
        for number, equation in enumerate(own):
            following = own[number + 1].start if number + 1 < len(own) else len(segment.text)
            words = _around(segment.text, equation, following)
            if words.asked or not _calls(words, segment.text[equation.start : equation.end]):
                continue
            if equation.verdict is Verdict.FAILS:
                equation.called_wrong = True
                found += _miscorrected(equation, words)
            elif equation.verdict is Verdict.HOLDS and _accuses(words):
                equation.called_wrong = True
                told = f"{equation.text} is called wrong, but it is right: {equation.arithmetic}"
                found.append(Contradiction((equation.place.line,), "accusation", (equation.stated,), told))
    return found


def _around(text: str, equation: Equation, following: int) -> _Words:
    """Sentence of an equation, as far as the ``following`` one."""
    start, end = equation.start, equation.end
    before = text[max(0, start - _REACH) : start]
    begin = max((mark.end() for mark in _ENDS.finditer(before) if mark.end() < len(before)), default=0)
    after = text[end : end + _REACH]
    stop = _ENDS.search(after)
    asked = stop is not None and stop[0] == "?"
    after = after if stop is None else after[: stop.start()]
    return _Words(before[begin:], after[: max(0, following - end)], asked)


def _calls(words: _Words, own: str) -> bool:
    """Whether the sentence says of the equation that it is wrong, in whatever words."""
    if _OPEN.search(words.before):
        return False
    if _TAIL.search(own) or _SIGN_BEFORE.match(words.before) or _SIGN_AFTER.match(words.after):
        return True
    if _BEFORE.search(words.before) and outside_quotation(words.before):
        return True
    match = _AFTER.match(words.after)
    if match is not None:
        quoted = not outside_quotation(words.before + words.after[: match.start("rest")])
        return not quoted and _GOES_ON.match(match["rest"]) is not None and not _TAKEN_BACK.search(match["rest"])
    return False


def _accuses(words: _Words) -> bool:
    """Whether a right equation is called wrong itself, and not by somebody else or the use that is made of it.

    What goes on behind the word (``wrong because``) may tell of the use.
    """
    match = _AFTER.match(words.after)
    if match is None or words.before.rstrip().endswith(("=", "≈", "→")):
        return False
    rest = match["rest"]
    if _ASKED.search(words.before) or "not" in words.before.lower().split():
        return False
    if match["copula"] and _SAID.search(words.before):
        return False
    plain = re.match(r"^[\s\"'”»`*_)\]]*(?:[,;:—–-]|$)", rest) is not None
    return plain and not (match["remark"] and match["remark"].strip() in {",", ":", "-", "–", "—"})


def _miscorrected(equation: Equation, words: _Words) -> Iterator[Contradiction]:
    """``8 × 4 = 33 is wrong, it is 34``: the figure given instead is wrong as well."""
    match = _INSTEAD.search(words.after)
    if match is None or equation.evaluated is None:
        return
    tokens = tokenize(words.after[match.end() :])
    other = tokens[0] if tokens and isinstance(tokens[0], Number) else None
    alone = len(tokens) == 1 or (len(tokens) > 1 and tokens[1].sign in {",", ";", ")", "not", "instead"})
    if other is None or other.unit != equation.unit or not alone or other.per or other.approximate:
        return
    if other.nouns and not set(other.nouns) <= set(re.findall(r"\w+", equation.text.lower())):
        return
    exact = equation.evaluated * equation.unit.scale
    half = Fraction(0) if not other.decimal and not other.unit.scaled else tolerance(
        other, other.unit.scale, approximate=False
    )  # fmt: skip
    if abs(other.value - exact) > half and exact.denominator == 1:
        told = f"{shown(other.value, other.unit)} is given instead, but {equation.arithmetic}"
        yield Contradiction((equation.place.line,), "correction", (other.value, exact), told)


def _row_says_so(equation: Equation, segment: Segment, segments: Sequence[Segment], rows: dict[int, list[int]]) -> bool:
    """Whether the column is that of wrong figures, or a cell of the row says just that the row is wrong."""
    if _COLUMN.fullmatch(segment.column_label):
        return True
    if label_role(segment.column_label) is Role.CALCULATED:
        return False
    others = [segments[index] for index in rows.get(segment.row, ()) if index != equation.segment]
    if any(label_role(other.column_label) is Role.CLAIMED for other in others):
        return False
    arithmetic = sum("=" in other.text for other in others)
    if any(_RIGHT_CELL.fullmatch(other.text) for other in others):
        return False
    return not arithmetic and any(
        _CELL.fullmatch(other.text) and not _ASKED.search(other.column_label) for other in others
    )


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
        said = f"{before.text if before.section == segment.section else ''} {segment.text[: right.start]}"[-_NEAR:]
    return any(_SAYS_SO.search(part) is not None for part in (said, _sentence(segment.text, right.end)))


def _sentence(text: str, start: int) -> str:
    """The rest of the sentence from ``start``."""
    stop = text.find(". ", start)
    return text[start : stop if 0 <= stop < start + _NEAR else start + _NEAR]


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
            said, behind = text[max(begin, item.start - _NEAR) : item.start], _sentence(text, item.end)
            if _SAYS_SO.search(said) or _SAYS_SO.search(behind[: _NEAR // 2]):
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
