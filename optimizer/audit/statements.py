"""What a document says: one statement per figure, with the words around it and whose figure it is."""

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Final

from optimizer.audit.document import Kind, Place, Segment
from optimizer.audit.lexicon import Unit
from optimizer.audit.tokens import Number

AXES: Final = ("tp", "cp", "dp", "pp", "ep", "etp", "edp")
"""Axes of parallelism, as facts are named."""
EXPERT_COUNTS: Final = frozenset({"experts_per_gpu", "experts_per_gpu_per_layer", "expert_instances"})
"""Names of claims that count the experts of a device."""
WORDS: Final = frozenset({"model", "hardware", "precision", "mixed_layers"})
"""Facts that are words: their value is no quantity."""
NO_SEGMENT: Final = -1
"""Place of a figure that a data block gives: it stands in no running text."""
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
LABEL: Final = re.compile(r"^\W{0,12}([A-Za-z`(][^:=|;]{0,80}?)\s*(?::|=(?!=))(?:\s|$|\*|(?=[~≈\d]))")
QUOTATION: Final = re.compile(r"[\"“”«»]")
_REFUSED: Final = re.compile(
    r"\b(?:not|never|instead of|rather than)\s+(?:the\s+|exactly\s+|just\s+|specified\s+)*[\"~≈]?\s*$"
)
_FROM: Final = re.compile(r"\bfrom\s+[\"~≈]?\s*$")
_TO: Final = re.compile(r"\bto\b|→|->")
_FROM_TO: Final = re.compile(r"\bfrom\b.*\bto\s+[\"~≈]?\s*$|(?:→|->)\s*[~≈]?$")
_CLAIMED_AFTER: Final = re.compile(r"^\W*(?:as\s+)?(?:was\s+)?claimed\b")
_CLAIMED_BEFORE: Final = re.compile(r"\bclaim(?:ed|s)\b[^.]{0,25}$")
_REACH: Final = 80


class Role(StrEnum):
    """Whose figure it is: the document's own, one it quotes in order to judge it, or its correction."""

    STATED = "stated"
    CLAIMED = "claimed"
    CALCULATED = "calculated"


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """``name`` is a fact or a claim of the interface; ``value`` counts in base units."""

    name: str
    value: Fraction
    place: Place
    text: str
    role: Role
    segment: int
    unit: Unit
    number: Number | None = None
    sure: bool = True
    section: tuple[str, ...] = ()
    near: str = ""


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
    label = LABEL.match(segment.text[:120])
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


def own_role(text: str, start: int, end: int) -> Role | None:
    """Role that its clause gives to one figure, over the segment's."""
    before, after = text[max(0, start - _REACH) : start].lower(), text[end : end + _REACH].lower()
    if _REFUSED.search(before) or (_FROM.search(before) and _TO.search(after)):
        return Role.CLAIMED
    if _FROM_TO.search(before):
        return Role.CALCULATED
    return Role.CLAIMED if _CLAIMED_AFTER.search(after) or _CLAIMED_BEFORE.search(before) else None
