"""Words by which an author takes a figure back: denies it, supposes it, or tells what was measured or is wished for."""

import re
from typing import Final

from optimizer.audit.deployment import Sentence
from optimizer.audit.statements import outside_quotation

_CLAUSE: Final = re.compile(
    r"[,;:()]\s|\s[–—(]|\b(?:so|but|although|because|which|while|whereas|hence|thus)\b", re.IGNORECASE
)
_LABELLED: Final = re.compile(_CLAUSE.pattern.replace(";:", ";"), re.IGNORECASE)
"""Between clauses, a label being one with what it labels."""
_DENIED: Final = re.compile(
    r"\b(?:not|never|neither|nor|cannot|wrong\w*|instead|rather|claim\w*|says?|said|unlike)\b|n['’]t\b|≠|\?",
    re.IGNORECASE,
)
_SUPPOSED: Final = re.compile(r"\b(?:if|unless|until|suppose\w*|would|could|might)\b", re.IGNORECASE)
_APART: Final = re.compile(
    r"\b(?:target|limit|budget|timeout|slo|goal|deadline|measur\w+|observ\w+|seen|saw|print\w*|trial|previous\w*"
    r"|vendor|ideal\w*|theor\w*|tops?|load test|bench\w*|allowed|objective)\b",
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
_TAKEN_BACK: Final = re.compile(
    r"\b(?:not|never|cannot|neither|nor|none|nobody|nothing|wrong\w*|impossible|reject\w*|refus\w*|refuted|beyond"
    r"|exceed\w*|fails?|oom|typo|drafts?|earlier|former\w*|previous\w*|originally|used to|mistaken?\w*|in theory"
    r"|too (?:big|large|long|much|many|high|fast|good)|theor\w+|roofline|ceilings?|floors?|bounds?|ideal\w*"
    r"|says?|said|claim\w*|assert\w*|quotes?|quoted|advertis\w+|vendors?|competitors?|old)\b|n['’]t\b|[?≠✗❌]",
    re.IGNORECASE,
)
"""In the clause of a figure: its author does not say that it is so."""
IF: Final = re.compile(r"\b(?:if|unless|suppose\w*)\b", re.IGNORECASE)
"""Ahead of a figure that is only supposed."""
_AHEAD: Final = re.compile(
    r"\bin theory\b|\bwithout\b(?! (?:any )?(?:redun|specul))|\b(?:wrong|incorrect)\b|[✗❌]", re.IGNORECASE
)
_REPLACED: Final = re.compile(r"\b(?:instead of|in place of|rather than|unlike)\b[^,;]*$", re.IGNORECASE)
_BEHIND: Final = re.compile(
    r"\b(?:never|cannot|impossible|above|beyond|in theory|roofline|ceiling|floor|bounds?|typo|wrong|nobody|no one"
    r"|refused|rejected|(?:ruled|left) out|excluded)\b|which .{0,12}not\b|\?!?\s*$",
    re.IGNORECASE,
)
"""Behind a figure, wherever in the sentence."""
_SECTION: Final = re.compile(r"\b(?:rejected|not granted|hypothe\w+|considered|what if|withdrawn)\b", re.IGNORECASE)


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
    return _APART.search(clause_of(text, start, end, _LABELLED)) is not None


def asserted(sentence: Sentence, start: int, end: int, *, conditional: bool = False) -> bool:
    """Whether a sentence says outright (``conditional``: or on a condition) what stands between two characters."""
    text = sentence.text
    clause = clause_of(text, start, end)
    return not (
        _TAKEN_BACK.search(clause)
        or (not conditional and _SUPPOSED.search(clause))
        or _AHEAD.search(text, 0, start)
        or _REPLACED.search(text, 0, start)
        or _BEHIND.search(text, end)
        or not outside_quotation(text[:start])
        or sentence.refuted
        or _SECTION.search(" ".join(sentence.section))
    )
