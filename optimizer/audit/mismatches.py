"""Figures that cannot all be right: what does not fit, stages against layers, two values."""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.contradictions import Contradiction
from optimizer.audit.document import Kind, Segment
from optimizer.audit.facts import Facts
from optimizer.audit.tokens import Number, Token, numbers_of
from optimizer.audit.verdict import plain, shown

_FITS: Final = re.compile(
    r"[^.;:|?]{0,80}?\bfits?\s+(?:\w+ly\s+|well\s+|still\s+)?(?:on|in|into|within|inside)\s+"
    r"(?:an?|one|the|each|every|its|our|single)?\s*(?:single\s+)?(?:[A-Za-z][\w-]*\s+){0,2}(?:(?:memory|hbm|vram)\s+of\s+(?:an?|one|the|each|every)\s+(?:single\s+)?(?:[A-Za-z][\w-]*\s+){0,2})?",
    re.IGNORECASE,
)
_THIS: Final = re.compile(
    r"\W*(?:x\W+)?(?:(?:confirmed|checked|verified|so|thus|hence)\s+(?:that\s+)?)?"
    r"(?:this|that|it|which|(?:the|all)\s+(?:[\w-]+\s+){0,2}?(?P<noun>weights|model|parameters|sum|total|cache))\b",
    re.IGNORECASE,
)
_UNSURE: Final = re.compile(
    r"\b(?:not?|never|nor|cannot|if|unless|whether|would|could|should|might|may|only|barely|hardly|half|quarter|across"
    r"|until|once|without|after|both|two|three|four|eight|together|claims?|claimed|says?|said|wrong\w*|checks?)\b"
    r"|n['’]t\b|\?|[❌✗✘]",
    re.IGNORECASE,
)
_STAGES: Final = re.compile(
    r"\b(?:each|every)\s+(?:one\s+)?(?:of\s+(?:the\s+|its\s+|our\s+)?(?P<count>\d{1,4})\s+)?(?:pipeline\s+|PP\s+)?stages?\s+"
    r"(?:holds?|has|have|takes?|gets?|runs?|contains?|carries|owns?)\s+(?:exactly\s+)?(?P<layers>\d{1,4})\s+"
    r"(?:transformer\s+|decoder\s+|model\s+)?layers?\b(?P<rest>[^.;]*)",
    re.IGNORECASE,
)
_UNEVEN: Final = re.compile(
    r"\b(?:except|last|first|remain\w*|uneven\w*|up to|at most|about|dense|moe|or|extra|virtual|chunk\w*|roughly)\b",
    re.IGNORECASE,
)
_CALLED: Final = re.compile(
    r"\b(?P<name>(?:maximum|max|total|global|overall|peak)\s+(?!of\b)[a-z][a-z-]+(?:\s+(?!of\b|is\b)[a-z][a-z-]+)?)"
    r"\s*(?::|=|\bof\b|\bis\b)\W{0,4}$",
    re.IGNORECASE,
)
"""A name with a superlative, of which a deployment has one value."""
_SUPERLATIVE: Final = re.compile(r"max|total|global|overall|peak", re.IGNORECASE)
_OTHERWISE: Final = re.compile(
    r"\b(?:prefill|decode|option|alternative|scenario|variant|example|phase|per|each|every|before|after|previous\w*|now"
    r"|old|new|vs|versus|baseline|target|stage|pool|plan|case|model [a-z0-9]|v\d|section|from|instead|layer|expert)\b",
    re.IGNORECASE,
)
_NAME_REACH: Final = 60


def find_mismatches(
    segments: Sequence[Segment], tokens: Sequence[list[Token]], table: Facts
) -> Iterator[Contradiction]:
    """Mismatches in document order, kind by kind."""
    yield from _misfits(segments, tokens)
    yield from _stages(segments, table)
    yield from _said_twice(segments, tokens)


def _misfits(segments: Sequence[Segment], tokens: Sequence[list[Token]]) -> Iterator[Contradiction]:
    """``70.3 GB fits on one 64 GB device``, under whatever reading of the units leaves most room."""
    for index, segment in enumerate(segments):
        text = segment.text
        if segment.kind is Kind.CODE or segment.quoted or segment.removed or " fit" not in text:
            continue
        numbers = numbers_of(tokens[index])
        pairs = [
            (need, room, need.number_end, max(text.rfind(". ", 0, need.start) + 1, need.start - 120, 0), need.start)
            for need, room in pairwise(numbers)
        ]
        room = next((item for item in numbers if item.unit.dimensions == lexicon.BYTES), None)
        if room is not None and (above := _figure_above(segments, tokens, index)) is not None:
            pairs.append((above[0], room, above[1], 0, room.start))
        for need, room, behind, start, at in pairs:
            if need.unit.dimensions != lexicon.BYTES or room.unit.dimensions != lexicon.BYTES:
                continue
            plural = room.nouns and room.nouns[-1].endswith("s")
            if plural or _FITS.fullmatch(text, behind, room.start) is None or _UNSURE.search(text, start, room.start):
                continue
            least = min(need.value, need.digits * (need.unit.other or need.unit.scale)) - need.half
            most = max(room.value, room.digits * (room.unit.other or room.unit.scale))
            if least > most:
                told = f"{shown(need.value, need.unit)} do not fit in {shown(room.value, room.unit)}"
                yield Contradiction((segment.place(at).line,), "fit", (need.value, room.value), told)


def _figure_above(segments: Sequence[Segment], tokens: Sequence[list[Token]], index: int) -> tuple[Number, int] | None:
    """``... = 44.1 GB per GPU``, and in the next line ``This fits``: the figure, and where "This" ends."""
    segment = segments[index]
    start = _THIS.match(segment.text)
    if not index or segments[index - 1].section != segment.section or start is None:
        return None
    noun, before = start["noun"], numbers_of(tokens[index - 1])
    if not before or (noun and noun.lower() not in segments[index - 1].text.lower()):
        return None
    return before[-1], start.end()


def _stages(segments: Sequence[Segment], table: Facts) -> Iterator[Contradiction]:
    """``Each of the 7 stages holds 14 layers`` of a model of 96."""
    layers = table.values("layers")
    if table.values("mixed_layers"):
        return
    for segment in segments:
        if segment.kind is Kind.CODE or segment.quoted or "stage" not in segment.text.lower():
            continue
        for match in _STAGES.finditer(segment.text):
            count = Fraction(int(match["count"])) if match["count"] else table.one("pp")
            each = Fraction(int(match["layers"]))
            others = [value for value in layers if value != each]
            if count is None or len(others) != 1 or _UNEVEN.search(match[0]) or _UNSURE.search(segment.text):
                continue
            if count * each != others[0]:
                line = segment.place(match.start()).line
                told = (
                    f"{plain(count)} stages of {plain(each)} layers are {plain(count * each)}, not {plain(others[0])}"
                )
                yield Contradiction((line,), "layers", (count * each, others[0]), told)


def _said_twice(segments: Sequence[Segment], tokens: Sequence[list[Token]]) -> Iterator[Contradiction]:
    """``Maximum concurrency: 40 requests``, and later "the maximum concurrency of 64 requests"."""
    found: dict[tuple[str, tuple[object, ...]], list[tuple[Number, int]]] = {}
    for index, segment in enumerate(segments):
        if segment.kind not in {Kind.PROSE, Kind.CELL} or segment.quoted or segment.removed:
            continue
        text = segment.text
        if _SUPERLATIVE.search(text) is None:
            continue
        for token in tokens[index]:
            if not isinstance(token, Number) or token.bound or token.approximate:
                continue
            match = _CALLED.search(text, max(0, token.start - _NAME_REACH), token.start)
            if match is None or _UNSURE.search(text):
                continue
            if _OTHERWISE.search(text, max(0, match.start() - _NAME_REACH), token.end + 1):
                continue
            if any(_OTHERWISE.search(title) for title in segment.section[1:]):
                continue
            name = " ".join(match["name"].lower().split())
            key = (name, (token.unit.dimensions, token.nouns[:1], token.per))
            found.setdefault(key, []).append((token, index))
    for (name, _), places in found.items():
        first, line = places[0][0], segments[places[0][1]].place(places[0][0].start).line
        for other, index in places[1:]:
            if abs(other.value - first.value) > other.half + first.half:
                lines = (line, segments[index].place(other.start).line)
                told = f"two values for {name}: {shown(first.value, first.unit)} and {shown(other.value, other.unit)}"
                yield Contradiction(lines, name.replace(" ", "_"), (first.value, other.value), told)
                break
