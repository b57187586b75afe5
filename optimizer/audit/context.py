"""The words around a number, and whose figure it is."""

import re
from typing import Final

from optimizer.audit.document import Kind, Segment
from optimizer.audit.statements import Context, Role
from optimizer.audit.tokens import Number

_CLAIMED: Final = re.compile(
    r"\b(claim(?:s|ed)?|current(?:ly)?|previous(?:ly)?|old|before|as documented|documented|script output|output|"
    r"reported|original(?:ly)?|specified|quoted|advertised|stated|wrong|incorrect(?:ly)?|misstated"
    r"|document(?:ation)? (?:says|error))\b"
)
_CALCULATED: Final = re.compile(
    r"\b(calculat(?:ed|ion|es)|actual(?:ly)?|reality|real|should be|correct(?:ed|ion)?|expected|realistic|computed|"
    r"derived|verified|verification|measured|new|after|recomputed|in fact|limit|true)\b"
)
_LABEL: Final = re.compile(r"^\W{0,12}([A-Za-z`(][^:=|]{0,80}?)\s*(?::|=(?!=))(?:\s|$|\*|(?=[~≈\d]))")
_CLAUSE: Final = re.compile(r"[;|=≈\u2022]|[.!?](?=\s|$)|(?<=\s)[–—](?=\s)|,(?=\s)")
_STOP: Final = re.compile(r"[;|=≈\u2022]|[.!?](?=\s|$)")
_LISTED: Final = re.compile(
    r"\b(?:weights|parameters|cache|activations)\s*,\s*(?:the\s+|and\s+)*(?:kv|cache|activations|weights|optimizer|gradients)\b"
)
"""Parts of the memory in a list: its commas end no clause."""
_QUOTES: Final = str.maketrans({"“": '"', "”": '"', "«": '"', "»": '"'})
_ROLE_WORDS: Final = (
    "not", "never", "instead", "rather", "from", "→", "->", "vs", "versus", "against", "claim", "calculated",
    "computed", "in reality",
)  # fmt: skip
"""Without one of these, a clause gives no role of its own."""
_LABEL_REACH: Final = 120
_AFTER: Final = 60
_BEFORE: Final = 90


def segment_role(segment: Segment) -> Role:
    """Role that a segment's column header, label or introduction gives to every figure in it."""
    if segment.removed:
        return Role.CLAIMED
    if segment.kind is Kind.CELL:
        return label_role(segment.column_label) or label_role(segment.row_label) or Role.STATED
    label = _LABEL.match(segment.text[:120])
    found = label_role(label[1]) if label else None
    return found or label_role(segment.before) or Role.STATED


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


def read_context(segment: Segment, number: Number, role: Role, topic: str) -> Context:
    """Context of ``number`` in ``segment``; ``role`` is the segment's own."""
    text = segment.text
    start = max(0, number.start - _BEFORE)
    before = text[start : number.start].translate(_QUOTES).lower()
    after = text[number.end : number.end + _AFTER].lower()
    label = _LABEL.match(text[: min(number.start, _LABEL_REACH)])
    sentence = text.rfind(". ", max(0, number.start - _BEFORE), number.start) + 2
    own_label = _LABEL.match(text[sentence : number.start]) if sentence > 1 else None
    label = own_label or label
    named = label[1].lower() if label else ""
    if segment.kind is Kind.CELL:
        named = f"{segment.row_label} {segment.column_label}".lower()
    clause = _CLAUSE.split(before)[-1]
    if own_label is not None:
        clause = _CLAUSE.split(text[sentence + own_label.end() : number.start].translate(_QUOTES).lower())[-1]
    elif label is not None and start == 0:
        clause = _CLAUSE.split(before[label.end() :])[-1] if len(before) >= label.end() else clause
    following = (_STOP if _LISTED.search(after) else _CLAUSE).split(after)[0]
    own = _own_role(clause, following, before) or role
    quoted = before.count('"') % 2 == 1
    return Context(named, clause.strip(), following.strip(" :"), topic, own, quoted)


def _own_role(before: str, after: str, whole: str) -> Role | None:
    """Role that the clause gives to this one number, over the segment's."""
    if not any(word in whole or word in after for word in _ROLE_WORDS):
        return None
    tail = before[-40:]
    if re.search(
        r"\b(?:not|never|instead of|rather than)\s+(?:the\s+|exactly\s+|just\s+|specified\s+)*[\"~≈]?\s*$", tail
    ):
        return Role.CLAIMED
    if re.search(r"\bfrom\s+[\"~≈]?\s*$", tail) and re.search(r"\bto\b|→|->", after):
        return Role.CLAIMED
    if re.search(r"\bfrom\b.*\bto\s+[\"~≈]?\s*$|(?:→|->)\s*[~≈]?$", whole[-80:]):
        return Role.CALCULATED
    if re.search(r"\b(?:vs\.?|versus|against)\s+[~≈]?\s*$", tail) and "calculated" in after:
        return Role.CALCULATED
    if re.search(r"^\W*(?:as\s+)?(?:was\s+)?claimed\b", after) or re.search(r"\bclaim(?:ed|s)\b[^.]{0,25}$", tail):
        return Role.CLAIMED
    if re.search(r"^\W*(?:is\s+)?(?:calculated|computed|in reality)\b", after):
        return Role.CALCULATED
    return None
