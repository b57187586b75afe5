"""Ratio words ("inflated ~53x", "97 % less", "a factor of 4") against the two figures that they compare."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations, islice
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.deployment import Sentence, devices_in
from optimizer.audit.document import Segment
from optimizer.audit.facts import Claims, Derivation, JudgedClaim, Role, Statement, without_full_stops
from optimizer.audit.tokens import numbers_of, read_number, tokenize
from optimizer.audit.verdict import Contradiction, Verdict, plain
from optimizer.readers import catalog

_NUMBER: Final = r"\d[\d,]*(?:\.\d+)?"
_ABOUT: Final = r"(?P<about>[~≈]\s*|\b(?:about|around|roughly|approximately|nearly|almost|over|up to|more than)\s+)?"
_RATIO: Final = re.compile(
    rf"{_ABOUT}(?<![\w.,×*])(?P<times>{_NUMBER})(?:\s*[-–]\s*(?P<high>{_NUMBER}))?"
    r"(?:\s*[x×](?![\w×])(?!\s*\d)|-fold\b|\s+times\s+(?=more|less|lower|higher|larger|smaller|faster|slower|fewer|too))"
    rf"|\bfactor (?:of )?[~≈]?\s*(?P<factor>{_NUMBER})"
    rf"|(?<![\w.,])(?P<percent>{_NUMBER})\s?%\s+(?:less|lower|fewer|smaller|slower|reduction|decrease|drop|saving"
    r"|(?P<more>more|higher|larger|faster|increase|gain|improvement|speed-?up))\b"
    r"|\b(?:(?:fell|falls?|drop\w*|rose|rises?|up|down|gr[eo]w\w*|improv\w*|increas\w*|decreas\w*|reduc\w*|cut|lower\w*)"
    r"\s+by|(?:savings?|gain|reduction|increase|decrease|drop|rise|improvement|cut)\s+of)\s+[~≈]?"
    rf"(?P<by>{_NUMBER})\s?%|\b(?P<word>doubl(?:ed|es)|halv(?:ed|es)|cut in half|tripl(?:ed|es)|quadrupl(?:ed|es))\b",
    re.IGNORECASE,
)
_GATE: Final = re.compile(r"\d\s*[x×%]|\d-fold|\btimes\b|\bfactor\b|doubl|halv|in half|tripl|quadrupl", re.IGNORECASE)
_COMPARES: Final = re.compile(
    r"inflat|over|under|exceed|factor|lower|higher|less|more|fast|slow|larger|smaller|reduc|increas|improv|better|worse|"
    r"doubl|halv|half|tripl|quadrupl|gain|drop|saving|fell|fall|rose|rise|grew|grow|\bcut|\bup by|\bdown by|"
    r"times|off by|error|discrepan|ratio|speed-?up|fold|wrong|too (?:high|low|large|small)|beyond",
    re.IGNORECASE,
)
_FIGURE: Final = re.compile(rf"(?<![\w.,])\$?{_NUMBER}")
_WRITTEN: Final = rf"(?<![\w.,])[~≈$]?{_NUMBER}\s*(?:[A-Za-zµ%][\w/%µ]*)?"
_SIDES: Final = 2
_PAIR: Final = re.compile(
    rf"({_WRITTEN})(?P<far>[^\d.;]{{0,24}}?)\s*(?P<sign>\bto\b|→|->|\bagainst\b|\bvs\b\.?|\bversus\b)\s*({_WRITTEN})"
)
_CONCLUDES: Final = re.compile(
    r"(?:\s+per\s\w+)?(?:\W*(?:(?:i\.e\.|that is|which is|this is|or|for|giving|meaning|an?|the|about|roughly"
    r"|around|nearly|so|is)\b\W*){0,4})|[^\d.;]{0,60}\b(?:too\s+(?:high|low|large|small)|off|lower|higher|wrong|apart|differ\w*)\b[^\d.;]{0,12}",
    re.IGNORECASE,
)
_GOES_ON: Final = re.compile(
    r"\b(?:and|but|while|whereas|where|with|when|because|although|though|for|than|per|costs?|at|uses?|needs?)\b|[\d.;?]",
    re.IGNORECASE,
)
"""Between two figures and a ratio: it may be one of something else."""
_CONCLUSION: Final = 60
_UNIT_REACH: Final = 24
_FROM: Final = re.compile(r"(?:(?!\b(?:while|whereas|but|and)\b)[^\d.;]){0,40}\bfrom\s+$", re.IGNORECASE)
"""Between a ratio and its own two figures: ``2.1x faster, from``."""
_REACH: Final = 300
_MOST: Final = 2000
"""No document compares more often; the rest of one that does stays unjudged."""
_MOST_PAIRS: Final = 10_000
_TOPICS: Final = {
    "throughput_per_device": re.compile(r"throughput|tokens", re.IGNORECASE),
    "expert_weights": re.compile(r"expert.{0,12}(?:memory|param|weight)", re.IGNORECASE),
    "memory": re.compile(r"memory", re.IGNORECASE),
}
_SHEET: Final = re.compile(
    r"(?P<memory>memory|capacity|hbm|vram)(?!\s+bandwidth)|(?P<bandwidth>bandwidth)", re.IGNORECASE
)
_TIMES_IT: Final = re.compile(rf"(?<![\w.,–-])({_NUMBER})\s*(?:[x×](?![\w×])(?!\s*\d)|times\b)", re.IGNORECASE)
_OF_MORE: Final = re.compile(
    r"\b(?:per|price\w*|dollars?|measur\w*|effective|real\w*|seen|saw|fast\w*|slow\w*|tok\w*|throughput|latency|nodes?|box\w*"
    r"|total|together|all|both|if|would|not|wrong|claim\w*)\b|[$€?]|\b\d+\s*[x×]?\s*(?-i:[A-Z]{1,3}\d)",
    re.IGNORECASE,
)
"""Beside the names of devices: the ratio is not one of their data sheets."""
_SHEETS_DIFFER: Final = Fraction(8, 100)
"""Share by which the figures of one device differ between its maker's and its resellers' data sheets."""
_BEHIND: Final = 32


def judge_ratios(segments: Sequence[Segment], judged: Sequence[JudgedClaim]) -> list[JudgedClaim]:
    """Each ratio word against every pair of figures it may compare: those of its sentence, section or topic."""
    claims = Claims(item.statement for item in judged)
    confused = {id(item.statement): item.note for item in judged if item.note.startswith("bytes taken")}
    made = (
        _ratio(segment, index, match, claims, confused)
        for index, segment in enumerate(segments)
        if _GATE.search(segment.text) and _COMPARES.search(segment.text)
        for match in _RATIO.finditer(segment.text)
        if (read_number(_digits(match)) or (0,))[0] > 0
    )
    return list(islice((one for one in made if one is not None), _MOST))


def _ratio(
    segment: Segment, index: int, match: re.Match[str], claims: Claims, confused: dict[int, str]
) -> JudgedClaim | None:
    low, high = _interval(match)
    percent = bool(match["percent"] or match["by"])
    start = match.start() + len(match[0]) - len(match[0].lstrip())
    value = (low + high) / 2 if match["high"] else read_number(_digits(match))[0]  # type: ignore[index]
    unit = lexicon.PERCENT if percent else lexicon.ONE
    claim = Statement("ratio", value * unit.scale, segment.place(start), match[0].strip(), Role.STATED, index, unit,
                      section=segment.section)  # fmt: skip
    changed = _change(segment.text, match, claim, low, high)
    if changed is not None or match["by"] or match["word"]:
        return changed
    around = segment.text[max(0, start - _REACH) : start + _REACH]
    topic = next((name for name, pattern in _TOPICS.items() if pattern.search(around)), "")
    kind = "more" if match["more"] else "less" if percent else "x"
    for scope in (
        claims.by_segment.get(index, []),
        claims.by_section.get(segment.section, []),
        claims.by_name.get(topic, []),
    ):
        pairs = list(islice(_pairs(scope, kind), _MOST_PAIRS))
        for small, large, reading in pairs:
            if low <= reading.value * (100 if percent else 1) <= high:
                told = confused.get(id(small)) or confused.get(id(large))
                note = f"true only of {large.text} / {small.text}, but {told}" if told else ""
                verdict = Verdict.AMBIGUOUS if told else Verdict.HOLDS
                return JudgedClaim(claim, verdict, reading, ((reading, not told),), note)
        if len(pairs) == 1:
            note, reading = "not the ratio of the two figures that the document gives", pairs[0][2]
            return JudgedClaim(claim, Verdict.UNSUPPORTED, reading, ((reading, False),), note)
    return JudgedClaim(claim, Verdict.UNSUPPORTED, note="the document does not give the two figures it compares")


def find_two_ratios(ratios: Sequence[JudgedClaim]) -> Iterator[Contradiction]:
    """The same two figures, compared by two different ratios."""
    right = {item.derived: item for item in ratios if item.verdict is Verdict.HOLDS and item.derived is not None}
    for item in ratios:
        same = right.get(item.derived) if item.derived is not None else None
        if item.verdict is Verdict.UNSUPPORTED and same is not None:
            one, other = same.statement, item.statement
            lines = tuple(sorted((one.place.line, other.place.line)))
            told = f"{one.text} on line {one.place.line} is that of {same.derived and same.derived.substituted}; "
            told += f"{other.text} on line {other.place.line} is not"
            yield Contradiction(lines, "ratio", (one.value, other.value), told)


def _digits(match: re.Match[str]) -> str:
    named = match["times"] or match["factor"] or match["percent"] or match["by"]
    return named or {"t": "3", "q": "4"}.get(match["word"][0].lower(), "2")


def _interval(match: re.Match[str]) -> tuple[Fraction, Fraction]:
    """Least and most that the written ratio stands for."""
    percent = bool(match["percent"] or match["by"])
    value, half, decimal = read_number(_digits(match)) or (Fraction(0), Fraction(0), False)
    top = (read_number(match["high"] or "") or (value,))[0]
    unit = half * 2
    while not percent and not decimal and value and (value / (unit * 10)).denominator == 1:
        unit *= 10
    spread = max(unit / 2, value / 20 if match["about"] or match["high"] else Fraction(0))
    return value - spread, top + max(spread, top / 20 if match["high"] else Fraction(0))


def _pairs(scope: Sequence[Statement], kind: str) -> Iterator[tuple[Statement, Statement, Derivation]]:
    """Smaller and larger figure of one name, and by how much the one is more, less or a multiple of the other."""
    for pair in combinations(scope, 2):
        small, large = sorted(pair, key=lambda item: item.value)
        per = [item.number and item.number.per for item in pair]
        if small.name == large.name and 0 < small.value < large.value and per[0] == per[1]:
            ratio = large.value / small.value
            exact = ratio if kind == "x" else ratio - 1 if kind == "more" else 1 - 1 / ratio
            formula = "larger / smaller" if kind == "x" else "1 - after / before"
            lines = f"lines {small.place.line}, {large.place.line}"
            yield small, large, Derivation(lines, exact, formula, f"{large.text} / {small.text}")


def _change(text: str, match: re.Match[str], claim: Statement, low: Fraction, high: Fraction) -> JudgedClaim | None:
    """``from 80 ms to 60 ms, a 25% reduction``: the only two figures of the sentence, whatever they measure.

    Accused only when no base and no sense of the words gives the number written.
    """
    text = without_full_stops(text)
    start = max(text.rfind(". ", 0, match.start()), text.rfind("; ", 0, match.start()), match.start() - _REACH, -1) + 1
    pairs = list(_PAIR.finditer(text, start, match.start()))
    if not pairs or len(_FIGURE.findall(text[pairs[-1].start() : match.start()])) != 2:
        pair = _PAIR.search(text, match.end(), match.end() + _REACH)
        if pair is None or pairs or _FROM.fullmatch(text, match.end(), pair.start()) is None:
            return None
    else:
        pair = pairs[-1]
    alone = len(_FIGURE.findall(text[start : match.start()])) == 2 * (pair.end() <= match.start())
    numbers = numbers_of(tokenize(text[pair.start() : pair.end() + _UNIT_REACH]))[:2]
    if len(numbers) != 2 or min(number.value for number in numbers) <= 0:
        return None
    before, after = numbers
    if after.unit.dimensions != lexicon.NONE and (
        before.unit is lexicon.ONE or after.unit.name.startswith(f"{before.unit.name}/")
    ):
        before.unit = after.unit
    scale = 100 if match["percent"] or match["by"] else 1
    least, most = sorted((before.value, after.value))
    gap = most - least
    senses = [gap / before.value, gap / after.value, most / least, least / most] if scale > 1 else [
        most / least, gap / least
    ]  # fmt: skip
    if after.unit is lexicon.PERCENT and scale > 1:
        senses.append(gap)  # in percentage points
    slack = sum((number.half / number.value for number in numbers if number.decimal), Fraction(0))
    derived = Derivation(
        "the two figures of the sentence", senses[0], "1 - after / before" if scale > 1 else "larger / smaller",
        f"{pair[1].strip()} against {pair[4].strip()}",
    )  # fmt: skip
    for sense, value in enumerate(senses):
        if low - (value + 1) * scale * slack <= value * scale <= high + (value + 1) * scale * slack:
            note = "in another sense of the words, or relative to the other figure" if sense else ""
            return JudgedClaim(claim, Verdict.AMBIGUOUS if sense else Verdict.HOLDS, derived, note=note)
    measured = after.unit.dimensions != lexicon.NONE
    if pair.start() >= match.end():
        concluded = measured
    else:
        said = text[pair.end() : match.start()]
        concluded = alone and _CONCLUDES.fullmatch(said) is not None
        concluded |= measured and len(said) <= _CONCLUSION and _GOES_ON.search(said) is None
    return JudgedClaim(claim, Verdict.FAILS, derived) if concluded else None


def find_misratios(said: Sequence[Sentence]) -> Iterator[Contradiction]:
    """``The H200 has 1.76 times the memory of an H100``: memory or bandwidth of the only two devices of a clause."""
    for sentence in said:
        told: set[int] = set()
        for start, end in () if sentence.code or sentence.refuted else _clauses(sentence.text):
            text = sentence.text[start:end]
            pair = devices_in(text) if _SHEET.search(text) else []
            if len(pair) != _SIDES or _OF_MORE.search(text):
                continue
            for match in _TIMES_IT.finditer(text):
                number = read_number(match[1])
                noun = _SHEET.search(text, match.end(), match.end() + _BEHIND) or _SHEET.search(text, 0, match.start())
                if number is None or noun is None:
                    continue
                values = [{_of_sheet(name, noun.lastgroup) for name in _variants(device)} for device in pair]
                ratios = [one / other for way in (values, values[::-1]) for one in way[0] for other in way[1]]
                best = min(ratios, key=lambda one: abs(one - number[0]))
                at = start + match.start()
                if at not in told and abs(best - number[0]) > number[1] + best * _SHEETS_DIFFER:
                    told.add(at)
                    why = f"the {noun.lastgroup} of these devices differs by a factor of {plain(best)}"
                    yield Contradiction((sentence.at(at).line,), "ratio", (number[0], best), why)


def _clauses(text: str) -> Iterator[tuple[int, int]]:
    """Parts between semicolons, and what of them may say a thing of its own."""
    for pattern in (";", r"[;:]|,(?=\s+(?:for|at|but|while|so)\b)"):
        stops = [match.start() for match in re.finditer(pattern, text)]
        yield from zip([0, *(stop + 1 for stop in stops)], [*stops, len(text)], strict=True)


def _variants(device: str) -> list[str]:
    """Systems of the catalog with the same kind of device, whatever its board."""
    kind = device.partition("-")[0]
    return [name for name in catalog.names("hardware") if name.partition("-")[0] == kind]


def _of_sheet(name: str, figure: str | None) -> Fraction:
    device = catalog.load_hardware(name).device
    return Fraction(device.memory if figure == "memory" else device.bandwidth)
