"""Arithmetic said in words: ``36 GB of 80 GB, i.e. 45%``; ``144 GPUs at 1,280 tokens/s each give 184,320``."""

import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.compare import rounding, tolerance
from optimizer.audit.document import Kind, Segment
from optimizer.audit.equation import Equation, by_segment
from optimizer.audit.inline import has_digit
from optimizer.audit.tokens import Number, Token, numbers_of
from optimizer.audit.verdict import Verdict, shown

_OF: Final = re.compile(r"\s+(?:out\s+)?of\s+(?:the\s+|an?\s+|its\s+|our\s+)?", re.IGNORECASE)
_SHARE: Final = re.compile(
    r"(?:\s+[A-Za-z]+){0,2}\s*[,;:(=–—-]?\s*(?:(?:i\.e\.,?|that\s+is|that's|which\s+is|or|so|thus|equals|giving)\s+)?"
    r"(?:a\s+share\s+of\s+)?(?:just|only|about|roughly)?\s*[~≈]?\s*",
    re.IGNORECASE,
)
_CONCLUDED: Final = re.compile(
    r"(?:=|i\.e\.,?|that\s+is|that's|which\s+is|equals|giving)\s*(?:a\s+share\s+of\s+|just|only|about|roughly)?\s*[~≈]?\s*$",
    re.IGNORECASE,
)
"""Without one of these a percentage may be of something else."""
_RATE: Final = re.compile(
    r"(?:\b(?:of|in|among)\s+(?:the\s+|all\s+)?\d|\d\s+of\s+(?:them|those|these|which)\b|\w+ed\s+and\s+\d)[^.;]*,\s+an?\s+"
    r"(?:\w+\s+)?(?:rate|share|proportion|fraction)\s+of\s*[~≈]?\s*$",
    re.IGNORECASE,
)
"""A part is said of its whole: ``Of 900 requests 27 failed``, ``900 requests, 27 of them failed, a rate of``."""
_OTHER_SHARE: Final = re.compile(
    r"\W*(?:free|left|head-?room|spare|unused|idle|less|more|lower|higher|faster|slower|reduction|saving|increase"
    r"|remain\w*|to\s+spare|below|above|under|over|each|target|limit|utili[sz]ation\s+(?:limit|target))",
    re.IGNORECASE,
)
_AT: Final = re.compile(r"\s*,?\s+(?:at|with|of|@)\s+", re.IGNORECASE)
_VERB: Final = (
    r"(?:give|gives|make|makes|yields?|delivers?|produces?|total|totals|come\s+to|comes\s+to|adds?\s+up\s+to|sums?\s+to"
    r"|for\s+a\s+total\s+of|(?:so|or|i\.e\.,?)\s+a\s+total\s+of)"
)
_EACH: Final = re.compile(
    rf"(?:\s+[A-Za-z/]+){{0,2}}?\s+(?:each|apiece)\s*,?\s+(?:{_VERB}|is|are)\s+(?:about\s+|roughly\s+)?[~≈]?",
    re.IGNORECASE,
)
_AND: Final = re.compile(r"\s+and\s+", re.IGNORECASE)
_TOGETHER: Final = re.compile(rf"\s+(?:together\s+)?{_VERB}\s+(?:about\s+|roughly\s+)?[~≈]?", re.IGNORECASE)
_SUPPOSED: Final = re.compile(r"\b(?:if|would|could|not|never|unless|instead)\b|n['’]t\b", re.IGNORECASE)
_GATE: Final = re.compile(r"\b(?:of|each|apiece|and|i\.e|(?:that|which)\s+is)\b", re.IGNORECASE)
_REACH: Final = 200
"""Characters that a sentence is read back, and that three figures of one may take."""


def spoken_equations(segments: Sequence[Segment], tokens: Sequence[list[Token]]) -> Iterator[Equation]:
    """Shares, products and sums whose sign is a word."""
    for index, segment in enumerate(segments):
        if segment.kind is Kind.CODE or len(tokens[index]) < 3 or _GATE.search(segment.text) is None:
            continue
        numbers = numbers_of(tokens[index])
        for (left, middle), last in zip(pairwise(numbers), numbers[2:], strict=False):
            made = _equation(segment, index, left, middle, last)
            if made is not None:
                yield made


def with_spoken(written: Sequence[Equation], spoken: Iterable[Equation]) -> list[Equation]:
    """Equations in document order; what is written with a sign is not judged by its words again."""
    spans = by_segment(written)
    more = [
        item
        for item in spoken
        if not any(other.start < item.end and item.start < other.end for other in spans.get(item.segment, ()))
    ]
    return sorted([*written, *more], key=lambda item: (item.place.line, item.place.column)) if more else list(written)


def _equation(segment: Segment, index: int, left: Number, middle: Number, last: Number) -> Equation | None:
    text = segment.text
    if last.start - left.start > _REACH:
        return None
    begin = max(0, left.start - _REACH)
    stop = max(text.rfind(". ", begin, left.start) + 1, begin)
    if left.bound or middle.bound or _SUPPOSED.search(text, stop, last.start):
        return None
    first, second = text[left.number_end : middle.start], text[middle.number_end : last.start]
    if last.bound and "add" not in second:
        return None
    if last.unit is lexicon.PERCENT:
        return _share(segment, index, left, middle, last, first, second, stop)
    if (
        _same_kind(middle, last)
        and left.unit is lexicon.ONE
        and left.nouns
        and _AT.fullmatch(text, left.end, middle.start)
    ):
        if _EACH.fullmatch(second) is None or left.decimal:
            return None
        return _made(segment, index, (left, middle, last), "×", left.value * middle.value)
    bare = left.unit is middle.unit is lexicon.ONE and not (left.nouns or middle.nouns)
    alike = _same_kind(left, last) and _same_kind(middle, last) and left.nouns in {(), middle.nouns, last.nouns}
    if bare or alike:
        if _AND.fullmatch(first) is None or _TOGETHER.fullmatch(second) is None:
            return None
        scale = last.unit.scale if bare else Fraction(1)
        others = {left.value * middle.value, left.value - middle.value}
        if any(abs(last.value - other * scale) <= last.half for other in others):
            return None
        return _made(segment, index, (left, middle, last), "+", (left.value + middle.value) * scale, scale=scale)
    return None


def _same_kind(one: Number, other: Number) -> bool:
    return one.unit.dimensions == other.unit.dimensions and (
        one.unit.dimensions != lexicon.NONE or one.unit is other.unit is lexicon.ONE
    )


def _share(
    segment: Segment, index: int, left: Number, middle: Number, last: Number, first: str, second: str, begin: int
) -> Equation | None:
    """``A of B, i.e. P %``, or P % concluded from the only two figures of a sentence; what is left may be meant too."""
    if not _same_kind(left, middle) or min(left.value, middle.value) <= 0 or left.unit is lexicon.PERCENT:
        return None
    of = _OF.fullmatch(first) or (left.nouns and _OF.fullmatch(segment.text, left.end, middle.start))
    said = segment.text[begin : last.start]
    concluded = (_CONCLUDED.search(second) or _RATE.search(said)) is not None
    pair = not has_digit(segment.text[begin : left.start]) and concluded and segment.kind is not Kind.CELL
    if not (of and _SHARE.fullmatch(second)) and not pair:
        return None
    small, large = (left, middle) if of or left.value <= middle.value else (middle, left)
    exact = small.value / large.value
    part, whole = (rounding(item, item.unit.scale, approximate=item.approximate) for item in (small, large))
    low = (small.value - part) / (large.value + whole)
    high = (small.value + part) / max(large.value - whole, Fraction(1, 10**9))
    half = tolerance(last, last.unit.scale, approximate=last.approximate)
    if low - half <= 1 - last.value <= high + half:
        return None
    wrong = not low - half <= last.value <= high + half
    certain = concluded or (of and "out" in of[0])
    together = small.value / (small.value + large.value)
    others = () if of else (1 / exact - 1, together, 1 - together)
    meant = any(abs(other - last.value) <= half for other in others)
    if wrong and (exact > 1 or meant or not certain or _OTHER_SHARE.match(segment.text, last.number_end)):
        return None
    if _AND.search(first):
        exact = min((exact, together, 1 - together), key=lambda other: abs(other - last.value))
    return _made(segment, index, (small, large, last), "/", exact, wrong=wrong)


def _made(
    segment: Segment, index: int, numbers: tuple[Number, Number, Number], sign: str, exact: Fraction, *,
    wrong: bool | None = None, scale: Fraction = Fraction(1),
) -> Equation:  # fmt: skip
    left, middle, last = numbers
    if wrong is None:
        parts = (left.half, middle.half) if sign == "+" else (left.half * middle.value, left.value * middle.half)
        rounded = (left, middle) if left.decimal or middle.decimal or left.unit.scaled or middle.unit.scaled else ()
        slack = sum(parts, Fraction(0)) * scale if rounded else Fraction(0)
        if last.decimal or last.unit.scaled or last.approximate or rounded:
            slack += tolerance(last, last.unit.scale, approximate=last.approximate)
        wrong = abs(exact - last.value) > slack
    unit = last.unit.scale
    begin, end = left.start, last.end
    text = segment.text
    written = f"{text[left.start : left.number_end]} {sign} {text[middle.start : middle.number_end]}"
    return Equation(
        segment.place(begin), " ".join(text[begin:end].split()), last.value / unit, exact / unit, last.unit,
        Verdict.FAILS if wrong else Verdict.HOLDS, f"{written} = {shown(exact, last.unit)}", "", "", index, begin, end,
        last.start,
    )  # fmt: skip
