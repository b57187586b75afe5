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
from optimizer.audit.verdict import plain

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


_A_TOKEN: Final = re.compile(
    r"\W*(?:of\s+(?:kv|cache|kv[- ]cache)\W+)?(?:per|for each|for every|for one|each|a|every|/)\s*"
    r"(?:cached\s+|single\s+)?token\b"
)
_TOKEN_BEFORE: Final = re.compile(
    r"\b(?:per|each|every|a|one)\s+(?:bf16\s+|fp8\s+|cached\s+)?token\b(?:[^.;,\d]{0,32}|(?:,\s*|\s*\()(?:bf16|fp16|fp8|int8)\)?(?:\s+\w+)?:\s*[~≈]?)$"
)
_TOKENS: Final = re.compile(r"[\s-]*(?:cached\s+)?tokens?\b(?!\s*/)")

_TOKENS_LABEL: Final = re.compile(
    r"(?:^|[;:]\s*)(?:kv\s+|cached?\s+)?tokens?(?:\s+(?:held|that fit|in (?:the )?cache)|,[^:;]*)?\s*:\s*[~≈]?$"
)


def is_tokens(said: Said) -> bool:
    """Whether it counts tokens."""
    named = _TOKENS.match(said.after) or (said.sentence.cells and _TOKENS_LABEL.search(said.before))
    return said.unit.dimensions == lexicon.NONE and bool(named)


def is_of_a_token(said: Said) -> bool:
    """Whether it is bytes of a token."""
    named = "token" in said.number.per or _A_TOKEN.match(said.after) or _TOKEN_BEFORE.search(said.before)
    return said.unit.dimensions == lexicon.BYTES and bool(named)


_LAYERS: Final = re.compile(r"\s*(?:transformer\s+|decoder\s+|attention\s+)?layers?\b")
_KV_HEADS: Final = re.compile(r"\s*(?:kv|key-value|key/value)[- ]heads?\b")
_HEAD_SIZE: Final = re.compile(r"\bhead[-_ ](?:dim\w*|size)(?:\s+(?:of|is)|\s*[:=])?\s*$")
_WIDTHS: Final = (
    (1, re.compile(r"\b(?:fp8|int8|e4m3|e5m2|8-bit|one byte|1 byte)\b", re.IGNORECASE)),
    (2, re.compile(r"\b(?:bf16|fp16|16-bit|two bytes|2 bytes)\b", re.IGNORECASE)),
)
_FORMULA: Final = "2 × layers × kv_heads × head_dim × bytes"


def of_shapes(figures: Sequence[Said], at: int, *, of_device: bool) -> list[Derivation]:
    """Bytes of a token, or of its part on a device, by the layers, heads and head size before a figure; none if unsaid.

    Keys and values of grouped-query attention, as engines allocate them: ``2 × layers × kv_heads × head_dim × bytes``.
    """
    bare = [one for one in figures[:at] if one.unit is lexicon.ONE]
    found = [[one.value for one in bare if pattern.match(one.after)] for pattern in (_LAYERS, _KV_HEADS)]
    found.append([one.value for one in bare if _HEAD_SIZE.search(one.before)])
    if any(len(each) != 1 for each in found) or any(one.unit.dimensions == lexicon.BYTES for one in figures[:at]):
        return []
    (layers,), (heads,), (size,) = found
    sentence = figures[at].sentence
    widths = [width for width, pattern in _WIDTHS if pattern.search(sentence.text)] or [2]
    derivations = []
    for width in widths:
        for parts in sorted({1, *sentence.whole.every("tp")} if of_device else {1}):
            told = f"2 × {plain(layers)} × {plain(heads)} × {plain(size)} × {width}" + f" ÷ {parts}" * (parts > 1)
            value = 2 * layers * heads * size * width / parts
            derivations.append(Derivation("of the shapes beside it", value, _FORMULA, told))
    return derivations
