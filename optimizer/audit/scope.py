"""Which of the things that a document names a sentence speaks of, and whether its author says so outright.

The nearest words that name any thing tell which; others take a figure back: deny it, suppose it, or tell what was
measured or is wished for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from optimizer.audit.deployment import Sentence, Whole, models_in
from optimizer.audit.facts import outside_quotation
from optimizer.readers.catalog import names

_OPENING: Final = 3
"""Sentences that say what a document is about, as its title does."""
_FAMILY: Final = re.compile(
    r"\b(?:(?i:Llama|Qwen|Mi[sx]tral|Gemma|GLM|DeepSeek|Kimi|Phi|GPT|Falcon|Yi)[- ]?(?:V|K)?\d[\w.]*"
    r"(?:[- ]\d+(?:\.\d+)?[Bb]\b|-(?!Instruct|Base|Chat)[A-Z]\w+)?"
    r"|[A-Z][A-Za-z]+(?:[- ][A-Z0-9][\w.]*)*-\d+(?:\.\d+)?[Bb]\b)"
)
"""A name as models of known families have it, or with a size, which the catalog may not know."""
_BESIDE_IT: Final = re.compile(
    r"\b(?:re-?rankers?|(?<!no )(?<!without )(?<!without a )(?:drafters?\b|drafts?\s+(?:models?|networks?|heads?"
    r"|tokens?)|(?:speculat\w+|\dB)\b[^.;]{0,40}\bdrafts?)|embedd(?:er|ing model)s?|encoders?|vision tower"
    r"|(?:distil\w+\b.*)(?:teachers?|students?)|adapters?|(?:guard|reward|safety|teacher|student) models?)\b",
    re.IGNORECASE,
)
_NAME: Final = 16
"""Characters behind a family and its number that may still belong to the name."""
_SIZED: Final = re.compile(r"([a-z]+).*?-(\d+(?:\.\d+)?b)\b")
_COMMA: Final = re.compile(r"[,;:]\s")
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
SENT: Final = re.compile(r"\b(?:sen[dt]|submit(?:ted)?|fired?|post(?:ed)?|issued?|injected|replayed)\b", re.IGNORECASE)
"""Where requests are a load, whatever the cache holds of them."""
_REPLACED: Final = re.compile(r"\b(?:instead of|in place of|rather than|unlike)\b[^,;]*$", re.IGNORECASE)
_BEHIND: Final = re.compile(
    r"\b(?:never|cannot|impossible|above|beyond|in theory|roofline|ceiling|floor|bounds?|typo|wrong|nobody|no one"
    r"|refused|rejected|(?:ruled|left) out|excluded)\b|which .{0,12}not\b|\?!?\s*$",
    re.IGNORECASE,
)
"""Behind a figure, wherever in the sentence."""
_SECTION: Final = re.compile(r"\b(?:rejected|not granted|hypothe\w+|considered|what if|withdrawn)\b", re.IGNORECASE)


def scoped(sentence: Sentence, find: Callable[[str], Sequence[str]]) -> Sequence[str]:
    """What a sentence names, else its paragraph, its headings, the row that a heading is the name of, or the title.

    Of the title, only where it names but one.
    """
    whole, headings = sentence.whole, sentence.section[1:]
    for text in (
        sentence.text,
        whole.paragraphs.get(sentence.segment, ""),
        " ".join(headings),
        *(row for heading in headings for row in rows_called(whole).get(heading, ())),
    ):
        if found := find(text):
            return found
    said = whole.said
    opening = (*said[0].section[:1], *(one.text for one in said[:_OPENING] if not one.cells)) if said else ()
    title = find(" ".join(opening))
    return title if len(title) == 1 else ()


@lru_cache(maxsize=8)
def rows_called(whole: Whole) -> dict[str, list[str]]:
    """Rows by what they are called."""
    rows: dict[str, list[str]] = {}
    for one in whole.said:
        for label, (cell, _) in [*one.cells.items()][:1]:
            rows.setdefault(cell if len(one.cells) > 1 else label, []).append(one.text)
    return rows


def models_of(sentence: Sentence) -> Sequence[str]:
    """Models that a sentence may mean: those that it names, else all of the document, or its section's to there.

    None where unknown ones are among them.
    """
    named = models_in(sentence.text) or _every(sentence.whole)
    return named or _named((*sentence.section, *(one.text for one in sentence.whole.ahead(sentence))))


@lru_cache(maxsize=8)
def _every(whole: Whole) -> Sequence[str]:
    headings = {" ".join(section) for section in whole.sections}
    return _named((*headings, *(one.text for one in whole.said))) and tuple(
        sorted(whole.models.union(*map(models_in, headings)))
    )


def _named(texts: Sequence[str]) -> Sequence[str]:
    """Models that texts name; none where they name one that the catalog has not."""
    return () if any(map(names_another, texts)) else tuple(sorted({name for text in texts for name in models_in(text)}))


def of_another(sentence: Sentence, end: int) -> bool:
    """Whether a sentence names its models in a later clause alone: ``puts 4 of 8 on each GPU, gpt-oss-120b …``."""
    clause = _COMMA.search(sentence.text, end)
    return clause is not None and not models_in(sentence.text[: clause.start()]) and bool(models_in(sentence.text))


@lru_cache(maxsize=1024)
def names_another(text: str) -> bool:
    """Whether a text names a model that the catalog has not, or another network beside the one that is served."""
    return _BESIDE_IT.search(text) is not None or names_unknown(text)


@lru_cache(maxsize=1024)
def names_unknown(text: str) -> bool:
    """Whether a text names a model that the catalog has not."""
    return any(
        not models_in(match[0])
        and not models_in(text[match.start() : match.end() + _NAME])
        and not _generation().fullmatch(match[0])
        for match in _FAMILY.finditer(text)
    )


@lru_cache(maxsize=1)
def _generation() -> re.Pattern[str]:
    """A family with its generation or with a size that the catalog has of it: no other model than the one named."""
    sized = {(one[1], one[2]) for name in names("models") if (one := _SIZED.match(name))}
    known = "|".join(sorted(f"{family}[- ]?{re.escape(size)}" for family, size in sized))
    return re.compile(rf"[A-Za-z]+[- ]?[VK]?\d(?:[.-]?\d)?[.,;:]?|{known}", re.IGNORECASE)


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
