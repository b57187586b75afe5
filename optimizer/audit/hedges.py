"""Words by which an author takes a figure back: denies it, supposes it, or tells what was measured or is wished for."""

import re
from typing import Final

from optimizer.audit.context import outside_quotation

_CLAUSE: Final = re.compile(
    r"[,;:()]\s|\s[–—(]|\b(?:so|but|although|because|which|while|whereas|hence|thus)\b", re.IGNORECASE
)
_DENIED: Final = re.compile(
    r"\b(?:not|never|neither|nor|cannot|wrong\w*|instead|rather|claim\w*|says?|said|unlike)\b|n['’]t\b|≠|\?",
    re.IGNORECASE,
)
_SUPPOSED: Final = re.compile(r"\b(?:if|unless|would|could|might)\b", re.IGNORECASE)
_APART: Final = re.compile(
    r"\b(?:target|limit|budget|timeout|slo|goal|deadline|measur\w+|observ\w+|print\w*|trial|previous\w*|vendor|ideal\w*"
    r"|theor\w*|tops?|load test|bench\w*|allowed|objective)\b",
    re.IGNORECASE,
)

OTHERWISE: Final = re.compile(
    r"\b(?:not|never|cannot|nor|if|unless|until|whether|would|could|should|might|may|can|option\w*|alternativ\w*|reject\w*"
    r"|scenario|variant|baseline|example|case|plan|phase|both|candidate|propos\w+|recommend\w*|fallback|default"
    r"|later|earlier|previous\w*|before|after|old|new|was|were|tr(?:y|ied)|test\w*|now|then|from|instead|than"
    r"|measured|observed|compar\w*|versus|vs|prefill|decode)\b|n['’]t\b|[?<>≤≥→]",
    re.IGNORECASE,
)
"""In a text that may speak of another deployment, time or thing than the one beside it."""


def clause_span(text: str, start: int, end: int, ends: re.Pattern[str] = _CLAUSE) -> tuple[int, int]:
    """Where the clause around a stretch of a sentence begins and stops, which `ends` bound."""
    behind = ends.search(text, end)
    first = max((match.end() for match in ends.finditer(text, 0, start)), default=0)
    return first, behind.start() if behind else len(text)


def clause_of(text: str, start: int, end: int, ends: re.Pattern[str] = _CLAUSE) -> str:
    """The clause around a stretch of a sentence."""
    first, last = clause_span(text, start, end, ends)
    return text[first:last]


def refused(text: str, start: int, end: int) -> bool:
    """Whether a figure is quoted or denied in its clause."""
    return not outside_quotation(text[:start]) or _DENIED.search(clause_of(text, start, end)) is not None


def denied(text: str, start: int, end: int) -> bool:
    """Whether a figure is refused, or supposed in its sentence."""
    return refused(text, start, end) or _SUPPOSED.search(text[:start] + clause_of(text, start, end)) is not None


def set_apart(text: str, start: int, end: int) -> bool:
    """Whether its clause makes a figure one that was measured, is a limit, or is somebody else's."""
    return _APART.search(clause_of(text, start, end)) is not None
