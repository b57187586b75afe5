"""Which of the things that a document names a sentence speaks of: the nearest words that name any."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from optimizer.audit.deployment import Sentence, Whole, models_in
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
