"""The words around a number, and whose figure it is."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from optimizer.audit.document import Kind, Segment
from optimizer.audit.statements import Context, Role
from optimizer.audit.tokens import Number

_CLAIMED: Final = re.compile(
    r"\b(claim(?:s|ed)?|current(?:ly)?|previous(?:ly)?|old|before|as documented|documented|"
    r"script output|output(?![ -]+(?:tok|len|seq|rate|throughput|speed|per|size))|"
    r"reported|original(?:ly)?|specified|quoted|advertised|stated|wrong|incorrect(?:ly)?|misstated"
    r"|document(?:ation)? (?:says|error))\b"
)
_CALCULATED: Final = re.compile(
    r"\b(calculat(?:ed|ion|es)|actual(?:ly)?|reality|real|should be|correct(?:ed|ion)?|expected|realistic|computed|"
    r"derived|verified|verification|measured|new|after|recomputed|in fact|limit|true)\b"
)
_LABEL: Final = re.compile(r"^\W{0,12}([A-Za-z`(][^:=|;]{0,80}?)\s*(?::|=(?!=))(?:\s|$|\*|(?=[~≈\d]))")
_CLAUSE: Final = re.compile(r"[;|=≈\u2022]|[.!?](?=\s|$)|(?<=\s)[–—](?=\s)|,(?=\s)")
_STOP: Final = re.compile(r"[;|=≈\u2022]|[.!?](?=\s|$)")
_LISTED: Final = re.compile(
    r"\b(?:weights|parameters|cache|activations)\s*,\s*(?:the\s+|and\s+)*(?:kv|cache|activations|weights|optimizer|gradients)\b"
)
"""Parts of the memory in a list: its commas end no clause."""
QUOTATION: Final = re.compile(r"[\"“”«»]")
_QUOTES: Final = str.maketrans({"“": '"', "”": '"', "«": '"', "»": '"'})
_ROLE_WORDS: Final = re.compile(
    "not|never|instead|rather|from|→|->|vs|versus|against|claim|calculated|computed|in reality"
)
"""Without one of these, a clause gives no role of its own."""
_REFUSED: Final = re.compile(
    r"\b(?:not|never|instead of|rather than)\s+(?:the\s+|exactly\s+|just\s+|specified\s+)*[\"~≈]?\s*$"
)
_FROM: Final = re.compile(r"\bfrom\s+[\"~≈]?\s*$")
_TO: Final = re.compile(r"\bto\b|→|->")
_FROM_TO: Final = re.compile(r"\bfrom\b.*\bto\s+[\"~≈]?\s*$|(?:→|->)\s*[~≈]?$")
_AGAINST: Final = re.compile(r"\b(?:vs\.?|versus|against)\s+[~≈]?\s*$")
_CLAIMED_AFTER: Final = re.compile(r"^\W*(?:as\s+)?(?:was\s+)?claimed\b")
_CLAIMED_BEFORE: Final = re.compile(r"\bclaim(?:ed|s)\b[^.]{0,25}$")
_CALCULATED_AFTER: Final = re.compile(r"^\W*(?:is\s+)?(?:calculated|computed|in reality)\b")
_LABEL_REACH: Final = 120
_AFTER: Final = 60
_BEFORE: Final = 90


def without_full_stops(text: str) -> str:
    """``text`` of the same length, in which the points of "i.e." and "e.g." end no sentence."""
    return text.replace("i.e.", "i,e,").replace("e.g.", "e,g,")


def outside_quotation(text: str) -> bool:
    """Whether no quotation is open at the end of ``text``."""
    return len(QUOTATION.findall(text)) % 2 == 0


def segment_role(segment: Segment) -> Role:
    """Role that a segment's column header, label or introduction gives to every figure in it."""
    if segment.removed:
        return Role.CLAIMED
    if segment.kind is Kind.CELL:
        return label_role(segment.column_label) or label_role(segment.row_label) or Role.STATED
    label = _LABEL.match(segment.text[:120])
    role = label_role(label[1]) if label else None
    return role or label_role(segment.before) or Role.STATED


@lru_cache(maxsize=256)  # the labels of a table come back in every row
def label_role(label: str) -> Role | None:
    """Role named by a label such as "Document claims" or "Should be"; None if it names none."""
    lowered = label.lower()
    if not lowered:
        return None
    claimed = _CLAIMED.search(lowered)
    calculated = _CALCULATED.search(lowered)
    if claimed and calculated:
        return Role.CLAIMED if claimed.start() < calculated.start() else Role.CALCULATED
    return Role.CLAIMED if claimed else Role.CALCULATED if calculated else None


class Surroundings:
    """Reads the contexts of one segment's numbers; ``role`` is the segment's own, ``above`` what stands over it."""

    def __init__(self, segment: Segment, role: Role, above: Callable[[], str]) -> None:
        self.text = segment.text
        self.role = role
        self.above = above
        self.cell = f"{segment.row_label} {segment.column_label}".lower() if segment.kind is Kind.CELL else None
        self.read = False
        self.label: re.Match[str] | None = None
        self.gives_roles = self.listed = False

    def _read(self) -> None:
        """What the whole line tells, once a number needs it."""
        lowered = self.text.lower()
        self.read = True
        self.label = _LABEL.match(self.text[:_LABEL_REACH])
        self.gives_roles = _ROLE_WORDS.search(lowered) is not None
        self.listed = _LISTED.search(lowered) is not None

    def _label_before(self, at: int) -> re.Match[str] | None:
        """The segment's label, if it ends before offset ``at``."""
        if self.label is not None and self.label.end() <= at:
            return self.label
        return _LABEL.match(self.text[:at]) if at <= _LABEL_REACH and self.text[at - 1 : at] in {":", "="} else None

    def context(self, number: Number) -> Context:
        """Context of ``number``."""
        text = self.text
        if self.cell is not None and not text[: number.start].strip() and not text[number.end :].strip():
            return Context(self.cell, "", "", self.above, self.role, quoted=False)
        if not self.read:
            self._read()
        start = max(0, number.start - _BEFORE)
        before = text[start : number.start].translate(_QUOTES).lower()
        after = text[number.end : number.end + _AFTER].lower()
        label = self._label_before(number.start)
        sentence = text.rfind(". ", start, number.start) + 2
        own_label = _LABEL.match(text[sentence : number.start]) if sentence > 1 else None
        label = own_label or label
        named = label[1].lower() if label else ""
        if self.cell is not None:
            named = self.cell
        if own_label is not None:
            clause = _CLAUSE.split(text[sentence + own_label.end() : number.start].translate(_QUOTES).lower())[-1]
        elif label is not None and start == 0 and len(before) >= label.end():
            clause = _CLAUSE.split(before[label.end() :])[-1]
        else:
            clause = _CLAUSE.split(before)[-1]
        following = (_STOP if self.listed and _LISTED.search(after) else _CLAUSE).split(after, 1)[0]
        role = (_own_role(clause, following, before) if self.gives_roles else None) or self.role
        quoted = before.count('"') % 2 == 1
        return Context(named, clause.strip(), following.strip(" :"), self.above, role, quoted)


def _own_role(before: str, after: str, whole: str) -> Role | None:
    """Role that the clause gives to this one number, over the segment's."""
    if _ROLE_WORDS.search(whole) is None and _ROLE_WORDS.search(after) is None:
        return None
    tail = before[-40:]
    if _REFUSED.search(tail):
        return Role.CLAIMED
    if _FROM.search(tail) and _TO.search(after):
        return Role.CLAIMED
    if _FROM_TO.search(whole[-80:]):
        return Role.CALCULATED
    if "calculated" in after and _AGAINST.search(tail):
        return Role.CALCULATED
    if _CLAIMED_AFTER.search(after) or _CLAIMED_BEFORE.search(tail):
        return Role.CLAIMED
    if _CALCULATED_AFTER.search(after):
        return Role.CALCULATED
    return None
