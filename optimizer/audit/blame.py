"""Equations that the document itself calls wrong: its author is right to quote them, or accuses them wrongly.

Only what is plain counts: the words stand against the equation, in the same sentence or table row, outside quotation
marks, and neither asked, supposed nor denied.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Final

from optimizer.audit.compare import tolerance
from optimizer.audit.document import Kind, Segment, rows_of
from optimizer.audit.equation import Equation
from optimizer.audit.statements import Role, label_role, outside_quotation
from optimizer.audit.tokens import Number, tokenize
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
