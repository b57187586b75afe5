"""Which of the things that a document names a sentence speaks of: the nearest words that name any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from optimizer.audit.deployment import Sentence, models_in

_OPENING: Final = 3
"""Sentences that say what a document is about, as its title does."""


def scoped(sentence: Sentence, find: Callable[[str], Sequence[str]]) -> Sequence[str]:
    """What a sentence names, else its paragraph, else its headings, else the title where it names but one."""
    for text in (sentence.text, sentence.whole.paragraphs.get(sentence.segment, ""), " ".join(sentence.section[1:])):
        if found := find(text):
            return found
    said = sentence.whole.said
    title = find(" ".join((*said[0].section[:1], *(one.text for one in said[:_OPENING])))) if said else ()
    return title if len(title) == 1 else ()


def models_of(sentence: Sentence) -> Sequence[str]:
    """Models that a sentence may speak of."""
    return scoped(sentence, models_in) or sorted(sentence.whole.models)


def before(sentence: Sentence) -> Iterator[Sentence]:
    """The other sentences of its section to the end of its line, the nearest first."""
    for one in reversed(sentence.whole.sections[sentence.section]):
        if one is not sentence and one.place.line <= sentence.place.line:
            yield one
