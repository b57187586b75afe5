"""Ratio words ("inflated ~53x", "97 % less", "a factor of 4") against the two figures that they compare."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations, islice
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.compare import rounding
from optimizer.audit.document import Segment
from optimizer.audit.facts import Claims, Derivation, JudgedClaim
from optimizer.audit.statements import Role, Statement
from optimizer.audit.tokens import numbers_of, read_number, tokenize
from optimizer.audit.verdict import Verdict

_NUMBER: Final = r"\d[\d,]*(?:\.\d+)?"
_ABOUT: Final = r"(?P<about>[~≈]\s*|\b(?:about|around|roughly|approximately|nearly|almost|over|up to|more than)\s+)?"
_RATIO: Final = re.compile(
    rf"{_ABOUT}(?<![\w.,×*])(?P<times>{_NUMBER})(?:\s*[-–]\s*(?P<high>{_NUMBER}))?"
    r"(?:\s*[x×](?![\w×])(?!\s*\d)|-fold\b|\s+times\s+(?=more|less|lower|higher|larger|smaller|faster|slower|fewer|too))"
    rf"|\bfactor (?:of )?[~≈]?\s*(?P<factor>{_NUMBER})"
    rf"|(?<![\w.,])(?P<percent>{_NUMBER})\s?%\s+(?:less|lower|fewer|smaller|reduction|decrease"
    r"|(?P<more>more|higher|larger|increase))\b",
    re.IGNORECASE,
)
_GATE: Final = re.compile(r"\d\s*[x×%]|\d-fold|\btimes\b|\bfactor\b", re.IGNORECASE)
_COMPARES: Final = re.compile(
    r"inflat|over|under|exceed|factor|lower|higher|less|more|fast|slow|larger|smaller|reduc|increas|improv|better|worse|"
    r"times|off by|error|discrepan|ratio|speed-?up|fold|wrong|too (?:high|low|large|small)|beyond",
    re.IGNORECASE,
)
_FIGURE: Final = re.compile(rf"(?<![\w.,])\$?{_NUMBER}")
_WRITTEN: Final = rf"[~≈$]?{_NUMBER}\s*(?:[A-Za-zµ%][\w/%µ]*)?"
_PAIR: Final = re.compile(
    rf"({_WRITTEN})(?P<far>[^\d.;]{{0,24}}?)\s*(?P<sign>\bto\b|→|->|\bagainst\b|\bvs\b\.?|\bversus\b)\s*({_WRITTEN})"
)
_CONCLUDES: Final = re.compile(
    r"(?:\s+per\s\w+)?(?:\W*(?:(?:i\.e\.|that is|which is|this is|or|for|giving|meaning|an?|the|about|roughly"
    r"|around|nearly|so|is)\b\W*){0,4})|[^\d.;]{0,60}\b(?:too\s+(?:high|low|large|small)|off|lower|higher|wrong|apart|differ\w*)\b[^\d.;]{0,12}",
    re.IGNORECASE,
)
_REACH: Final = 300
_MOST: Final = 2000
"""No document compares more often; the rest of one that does stays unjudged."""
_TOPICS: Final = {
    "throughput_per_device": re.compile(r"throughput|tokens", re.IGNORECASE),
    "expert_weights": re.compile(r"expert.{0,12}(?:memory|param|weight)", re.IGNORECASE),
    "memory": re.compile(r"memory", re.IGNORECASE),
}


def judge_ratios(segments: Sequence[Segment], judged: Sequence[JudgedClaim]) -> list[JudgedClaim]:
    """Each ratio word against every pair of figures it may compare: those of its sentence, section or topic."""
    claims = Claims(item.statement for item in judged)
    confused = {id(item.statement): item.note for item in judged if item.note.startswith("bytes taken")}
    return list(islice(_judged(segments, claims, confused), _MOST))


def _judged(segments: Sequence[Segment], claims: Claims, confused: dict[int, str]) -> Iterator[JudgedClaim]:
    known: dict[tuple[int, str], list[tuple[Statement, Statement, Fraction, Fraction]]] = {}
    for index, segment in enumerate(segments):
        if _GATE.search(segment.text) and _COMPARES.search(segment.text):
            for match in _RATIO.finditer(segment.text):
                digits = read_number(match["times"] or match["factor"] or match["percent"])
                if digits is not None and digits[0] > 0:
                    yield _ratio(segment, index, match, claims, confused, known)


def _ratio(
    segment: Segment, index: int, match: re.Match[str], claims: Claims, confused: dict[int, str],
    known: dict[tuple[int, str], list[tuple[Statement, Statement, Fraction, Fraction]]],
) -> JudgedClaim:  # fmt: skip
    low, high = _interval(match)
    percent = match["percent"] is not None
    start = match.start() + len(match[0]) - len(match[0].lstrip())
    value = (low + high) / 2 if match["high"] else read_number(match["times"] or match["factor"] or match["percent"])[0]  # type: ignore[index]
    unit = lexicon.PERCENT if percent else lexicon.ONE
    claim = Statement("ratio", value * unit.scale, segment.place(start), match[0].strip(), Role.STATED, index, unit,
                      section=segment.section)  # fmt: skip
    changed = _change(segment.text, match, claim, low, high)
    if changed is not None:
        return changed
    around = segment.text[max(0, start - _REACH) : start + _REACH]
    topic = next((name for name, pattern in _TOPICS.items() if pattern.search(around)), "")
    kind = "more" if match["more"] else "less" if percent else "x"
    beside = claims.by_segment.get(index, [])
    for scope in (beside, claims.by_section.get(segment.section, []), claims.by_name.get(topic, [])):
        if (id(scope), kind) not in known:
            known[id(scope), kind] = list(_pairs(scope, kind))
        pairs = known[id(scope), kind]
        right = [pair for pair in pairs if pair[2] <= high and low <= pair[3]]
        if right:
            told = next((confused[id(item)] for item in right[0][:2] if id(item) in confused), "")
            note = f"true only of {right[0][1].text} / {right[0][0].text}, but {told}" if told else ""
            return _made(claim, Verdict.AMBIGUOUS if told else Verdict.HOLDS, right[0], kind, note)
        if len(pairs) == 1:
            note = "not the ratio of the two figures that the document gives"
            return _made(claim, Verdict.UNSUPPORTED, pairs[0], kind, note)
    return JudgedClaim(claim, Verdict.UNSUPPORTED, note="the document does not give the two figures it compares")


def _interval(match: re.Match[str]) -> tuple[Fraction, Fraction]:
    """Least and most that the written ratio stands for."""
    written = match["times"] or match["factor"] or match["percent"]
    value, half, decimal = read_number(written) or (Fraction(0), Fraction(0), False)
    top = (read_number(match["high"] or "") or (value,))[0]
    unit = half * 2
    while match["percent"] is None and not decimal and value and (value / (unit * 10)).denominator == 1:
        unit *= 10
    spread = max(unit / 2, value / 20 if match["about"] or match["high"] else Fraction(0))
    return value - spread, top + max(spread, top / 20 if match["high"] else Fraction(0))


def _pairs(scope: Sequence[Statement], kind: str) -> Iterator[tuple[Statement, Statement, Fraction, Fraction]]:
    """Smaller and larger figure of one name, and the least and most of their ratio within their last digits."""
    for pair in combinations(scope, 2):
        small, large = sorted(pair, key=lambda item: item.value)
        if small.name == large.name and 0 < small.value < large.value and _per(small) == _per(large):
            slack = [Fraction(0) if item.number is None else rounding(item.number, item.unit.scale, approximate=False)
                     for item in (small, large)]  # fmt: skip
            value = large.value / small.value
            least = (large.value - slack[1]) / (small.value + slack[0])
            most = (large.value + slack[1]) / max(small.value - slack[0], Fraction(1, 10**12))
            if most - least > value / 10:  # figures so rough make many ratios true
                least = most = value
            yield small, large, _of(least, kind), _of(most, kind)


def _per(statement: Statement) -> object:
    return None if statement.number is None else statement.number.per


def _of(ratio: Fraction, kind: str) -> Fraction:
    return ratio if kind == "x" else (ratio - 1) * 100 if kind == "more" else (1 - 1 / ratio) * 100


def _change(text: str, match: re.Match[str], claim: Statement, low: Fraction, high: Fraction) -> JudgedClaim | None:
    """``from 80 ms to 60 ms, a 25% reduction``: the only two figures of the sentence, whatever they measure.

    Accused only when no base and no sense of the words gives the number written.
    """
    start = max(text.rfind(". ", 0, match.start()), text.rfind("; ", 0, match.start()), match.start() - _REACH, -1) + 1
    pairs = list(_PAIR.finditer(text, start, match.start()))
    if len(pairs) != 1 or len(_FIGURE.findall(text[start : match.start()])) != 2:
        return None
    numbers = numbers_of(tokenize(pairs[0][0]))
    if len(numbers) != 2 or min(number.value for number in numbers) <= 0:
        return None
    before, after = numbers
    if before.unit is lexicon.ONE and before.nouns in {(), ("to",)}:
        before.unit = after.unit
    if before.unit.dimensions != after.unit.dimensions:
        return None
    scale = 100 if match["percent"] else 1
    least, most = sorted((before.value, after.value))
    gap = most - least
    senses = [gap / before.value, gap / after.value, most / least, least / most] if scale > 1 else [
        most / least, gap / least
    ]  # fmt: skip
    slack = sum((number.half / number.value for number in numbers if number.decimal), Fraction(0))
    derived = Derivation(
        "the two figures of the sentence", senses[0], "1 - after / before" if scale > 1 else "larger / smaller",
        f"{pairs[0][1].strip()} against {pairs[0][4].strip()}",
    )  # fmt: skip
    for sense, value in enumerate(senses):
        if low - (value + 1) * scale * slack <= value * scale <= high + (value + 1) * scale * slack:
            note = "in another sense of the words, or relative to the other figure" if sense else ""
            return JudgedClaim(claim, Verdict.AMBIGUOUS if sense else Verdict.HOLDS, derived, note=note)
    concluded = _CONCLUDES.fullmatch(text, pairs[0].end(), match.start()) is not None
    return JudgedClaim(claim, Verdict.FAILS, derived) if concluded else None


def _made(
    claim: Statement, verdict: Verdict, pair: tuple[Statement, Statement, Fraction, Fraction], kind: str, note: str
) -> JudgedClaim:
    small, large = pair[:2]
    value = large.value / small.value
    exact = value if kind == "x" else value - 1 if kind == "more" else 1 - 1 / value
    formula = "larger / smaller" if kind == "x" else "1 - after / before"
    reading = Derivation(
        f"lines {small.place.line}, {large.place.line}", exact, formula, f"{large.text} / {small.text}"
    )
    return JudgedClaim(claim, verdict, reading, ((reading, verdict is Verdict.HOLDS),), note)
