"""Figures of a sentence with the words beside them, what they are of, and the shapes that they list.

The words of a figure are those up to the figures beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.deployment import Sentence
from optimizer.audit.facts import Derivation
from optimizer.audit.known_figures import JudgedClaims, claim_at, verdict_of
from optimizer.audit.lexicon import ONE, UNITS, Unit
from optimizer.audit.statements import AXES
from optimizer.audit.tokens import Number, numbers_of, tokenize

_OF_THESE: Final = re.compile(r"\s*of\s+(?:the|all|its|our)?\s*")
_LABELLED_UNIT: Final = re.compile(r"\(([KMGT]i?B)(?:[^()]*)\)\s*:\s*[~≈]?$")


@dataclass(frozen=True, slots=True)
class Said:
    """A figure of a sentence, in base units, with the words up to the figures beside it."""

    sentence: Sentence
    number: Number
    before: str
    after: str
    value: Fraction
    unit: Unit

    @property
    def words(self) -> str:
        """Words before and after."""
        return f"{self.before} {self.after}"

    def claim(self, name: str, readings: Sequence[Derivation], share: Fraction, note: str = "") -> JudgedClaims:
        """Its verdict: right where one of the readings, the most likely first, is within a share of it."""
        if not readings:
            return
        best = min(readings, key=lambda one: abs(one.value - self.value))
        right = abs(best.value - self.value) <= best.value * share
        shown_first = [best, *(one for one in readings if one is not best)] if right else list(readings)
        verdict = verdict_of(right=right)
        yield claim_at(self.sentence, self.span, name, self.value, self.unit, verdict, shown_first, note)

    @property
    def span(self) -> re.Match[str]:
        """Where it stands."""
        return stretch(self.sentence.text, self.number.start, max(self.number.end, self.number.number_end))


_ANYTHING: Final = re.compile(r".+", re.DOTALL)


def stretch(text: str, start: int, end: int) -> re.Match[str]:
    """A stretch of a text as a match."""
    found = _ANYTHING.match(text, start, end)
    assert found is not None  # noqa: S101 - a figure has a character
    return found


def figures_of(sentence: Sentence) -> list[Said]:
    """Figures of a sentence, in order; a degree is none."""
    text = sentence.text.lower()
    numbers = numbers_of(tokenize(sentence.text))
    found = []
    for at, number in enumerate(numbers):
        begin = numbers[at - 1].number_end if at else 0
        last = at + 1
        while last < len(numbers) and _OF_THESE.fullmatch(text, numbers[last - 1].number_end, numbers[last].start):
            last += 1
        end = numbers[last].start if last < len(numbers) else len(text)
        before, after = text[begin : number.start], text[number.number_end : end]
        unit = number.unit
        labelled = _LABELLED_UNIT.search(sentence.text, 0, number.start) if unit is ONE and sentence.cells else None
        unit = UNITS[labelled[1]] if labelled else unit
        if not set(AXES).isdisjoint(number.nouns):
            continue
        found.append(Said(sentence, number, before, after, number.digits * unit.scale, unit))
    return found


_TOKENS: Final = re.compile(r"[\s-]*(?:cached\s+)?tokens?\b(?!\s*/)")

_TOKENS_LABEL: Final = re.compile(
    r"(?:^|[;:]\s*)(?:kv\s+|cached?\s+)?tokens?(?:\s+(?:held|that fit|in (?:the )?cache)|,[^:;]*)?\s*:\s*[~≈]?$"
)


def is_tokens(said: Said) -> bool:
    """Whether it counts tokens."""
    named = _TOKENS.match(said.after) or (said.sentence.cells and _TOKENS_LABEL.search(said.before))
    return said.unit.dimensions == lexicon.NONE and bool(named)
