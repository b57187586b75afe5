"""Failing equations that the document itself calls wrong: its author is right to quote them.

Only what is plain counts: the words stand against the equation, in the same sentence or table row, outside quotation
marks, and neither asked, supposed nor denied.
"""

import re
from collections.abc import Sequence
from typing import Final

from optimizer.audit.document import Kind, Segment, rows_of
from optimizer.audit.equation import Equation, by_segment
from optimizer.audit.statements import Role, label_role, outside_quotation
from optimizer.audit.verdict import Verdict

_ENDS: Final = re.compile(r"[.!?…](?=[\s\"'”»)\]]|$)")
_REACH: Final = 200
_WRONG: Final = r"(?:wrong|incorrect|false|erroneous|mistaken|miscalculated|not\s+(?:right|correct|true))"
_HOW: Final = (
    r"(?:(?:plainly|clearly|simply|obviously|just|also|both|all|of\s+course|arithmetically|mathematically)\s+)*"
)
_CLOSED: Final = r"^[\s\"'”»`*_)\]]*"
_AFTER: Final = re.compile(
    _CLOSED
    + r"(?:,?\s*(?:and\s+)?(?:which|that|this|it)\s+(?:is|was)\s+|(?:is|was|are)\s+|[(\[—–:,-]\s*)"
    + _HOW
    + _WRONG
    + r"\b(?P<rest>.*)$",
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
_CELL: Final = re.compile(r"\W*(?:wrong|incorrect|miscalculated|does\s+not\s+hold)\W*|\s*[❌✗✘]\s*", re.IGNORECASE)
_RIGHT_CELL: Final = re.compile(r"\W*(?:right|correct|ok|okay|holds|confirmed|true)\W*|\s*[✔✓✅☑]\s*", re.IGNORECASE)
_COLUMN: Final = re.compile(r"\W*(?:wrong|incorrect|mistaken|erroneous)(?:\s+\w+)?\W*", re.IGNORECASE)
_ASKED: Final = re.compile(r"wrong|incorrect|error|mistake|fault", re.IGNORECASE)
_TAIL: Final = re.compile(r"\b(?:wrong|incorrect)\W*$", re.IGNORECASE)


def blame(segments: Sequence[Segment], equations: Sequence[Equation]) -> None:
    """Mark the failing equations that the text calls wrong."""
    rows = rows_of(segments)
    for index, own in by_segment(equations).items():
        segment = segments[index]
        starts = [*sorted(equation.start for equation in own)[1:], len(segment.text)]
        for equation, following in zip(sorted(own, key=lambda one: one.start), starts, strict=True):
            alone = segment.kind is Kind.CELL and len(own) == 1
            if equation.verdict is Verdict.FAILS:
                equation.called_wrong = _calls(segment.text, equation, following) or (
                    alone and _row_says_so(equation, segment, segments, rows)
                )


def _calls(text: str, equation: Equation, following: int) -> bool:
    """Whether the sentence, as far as the ``following`` equation, says that one is wrong, in whatever words."""
    before = _ENDS.split(text[max(0, equation.start - _REACH) : equation.start])[-1]
    after = text[equation.end : equation.end + _REACH]
    stop = _ENDS.search(after)
    if _OPEN.search(before) or (stop is not None and stop[0] == "?"):
        return False
    after = after[: min(stop.start() if stop else _REACH, max(0, following - equation.end))]
    if _TAIL.search(text, equation.start, equation.end) or _SIGN_BEFORE.match(before) or _SIGN_AFTER.match(after):
        return True
    if _BEFORE.search(before) and outside_quotation(before):
        return True
    match = _AFTER.match(after)
    if match is None or not outside_quotation(before + after[: match.start("rest")]):
        return False
    return _GOES_ON.match(match["rest"]) is not None and not _TAKEN_BACK.search(match["rest"])


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
