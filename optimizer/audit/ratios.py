"""Ratio words ("inflated ~53x", "97 % less", "a factor of 4") against the figures they compare."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from optimizer.audit import lexicon
from optimizer.audit.compare import rounding
from optimizer.audit.document import Place, Segment
from optimizer.audit.facts import Claims, JudgedClaim
from optimizer.audit.statements import Role, Statement
from optimizer.audit.tokens import numbers_of, read_number, tokenize
from optimizer.audit.verdict import Verdict, number, plain

_TIMES: Final = re.compile(
    r"(?P<about>~|≈|\b(?:about|around|roughly|approximately|nearly|almost|over|up to|more than)\s+)?\s*(?<![\w.,×*])"
    r"(?P<low>\d[\d,]*(?:\.\d+)?)(?:\s*[-–]\s*(?P<high>\d[\d,]*(?:\.\d+)?))?\s*(?:[x×](?![\w×])(?!\s*\d)"
    r"|-fold\b|\s+times\s+(?=more|less|lower|"
    r"higher|larger|smaller|faster|slower|fewer|too))|\bfactor (?:of )?(?P<about2>~"
    r"|≈)?\s*(?P<factor>\d[\d,]*(?:\.\d+)?)",
    re.IGNORECASE,
)
_NUMBER_TIMES: Final = re.compile(r"\d\s*[xX×]|[Ff](?:actor|old)|F(?:ACTOR|OLD)|[Tt]imes|TIMES")
"""Without one of these ``_TIMES`` finds nothing."""
_PERCENT: Final = re.compile(
    r"(?P<about>~|≈|\babout |\baround |\broughly )?\s*(?<![\w.,])(?P<low>\d+(?:\.\d+)?)\s?%\s+(?P<word>less"
    r"|lower|fewer|smaller|reduction|decrease|"
    r"more|higher|larger|increase)\b",
    re.IGNORECASE,
)
_KEYWORDS: Final = re.compile(
    r"inflat|over|under|exceed|factor|lower|higher|less|more|faster|slower|larger|smaller|reduc|increas"
    r"|improv|better|worse|times|"
    r"off by|error|discrepan|ratio|speed-?up|fold|wrong|too (?:high|low|large|small)|beyond",
    re.IGNORECASE,
)
_FIGURE: Final = re.compile(r"(?<![\w.,])\$?\d[\d,]*(?:\.\d+)?")
_FROM_TO: Final = re.compile(
    r"(?P<a>[~≈$]?\d[\d,]*(?:\.\d+)?\s*(?P<unit>[A-Za-zµ%][\w/%µ]*)?[^\d.;]{0,24}?)\s*(?:\bto\b|→|->)\s*"
    r"(?P<b>[~≈$]?\d[\d,]*(?:\.\d+)?(?:\s*[A-Za-zµ%][\w/%µ]*)?)"
)
_AGAINST: Final = re.compile(
    r"(?P<a>[~≈$]?\d[\d,]*(?:\.\d+)?\s*(?P<unit>[A-Za-zµ%][\w/%µ]*)?)\s*(?:\bagainst\b|\bvs\b\.?|\bversus\b)\s*"
    r"(?P<b>[~≈$]?\d[\d,]*(?:\.\d+)?(?:\s*[A-Za-zµ%][\w/%µ]*)?)"
)
_CONCLUDES: Final = re.compile(
    r"[^\d.;]{0,60}\b(?:too\s+(?:high|low|large|small)|off|lower|higher|wrong|apart|differ\w*)\b[^\d.;]{0,12}"
    r"|\W*(?:a\s+)?",
    re.IGNORECASE,
)
_LEADS_ON: Final = re.compile(
    r"\W*(?:(?:i\.e\.|that is|which is|this is|or|for|giving|meaning|a|an"
    r"|the|about|roughly|around|nearly|so|is)\b\W*){0,4}"
)
_HIGHER: Final = re.compile(r"\b(?:more|higher|larger|increase)\b", re.IGNORECASE)
_KINDS: Final = {"input", "output", "prefill", "decode", "prompt", "generated", "cached"}
_REACH: Final = 300
_MOST_RATIOS: Final = 2000
"""No document compares more often; the rest of one that does stays unjudged."""
_TOPICS: Final = (
    ("throughput_per_device", re.compile(r"throughput|tokens", re.IGNORECASE)),
    ("ttft", re.compile(r"\bttft\b|latency", re.IGNORECASE)),
    ("expert_weights", re.compile(r"expert.{0,12}(?:memory|param|weight)", re.IGNORECASE)),
    ("memory", re.compile(r"memory", re.IGNORECASE)),
    ("experts_per_gpu", re.compile(r"experts? per gpu", re.IGNORECASE)),
)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A written ratio: the interval it covers, and whether it says that the claim is too high or too low."""

    place: Place
    text: str
    low: Fraction
    high: Fraction
    written: Fraction
    kind: str
    segment: int
    section: tuple[str, ...]
    direction: str
    offset: int


@dataclass(frozen=True, slots=True)
class JudgedRatio:
    """A ratio word, its verdict, and the pair of figures that it was held against."""

    ratio: Ratio
    verdict: Verdict
    derived: Fraction | None
    substituted: str
    note: str
    pair: tuple[Statement, Statement] | None = None

    def to_json(self) -> dict[str, Any]:
        """Entry of ``claims``, named ``ratio``."""
        scale = Fraction(1, 100) if self.ratio.kind == "%" else Fraction(1)
        claimed = self.ratio.written * scale
        return {
            "name": "ratio",
            "claimed": number(claimed),
            "derived": None if self.derived is None else number(self.derived),
            "unit": "ratio",
            "verdict": str(self.verdict),
            "ratio": None if not self.derived else number(claimed / self.derived),
            "formula": "larger / smaller" if self.ratio.kind == "x" else "1 - after / before",
            "substituted": self.substituted or None,
            "readings": [],
            "line": self.ratio.place.line,
            "column": self.ratio.place.column,
            "text": self.ratio.text,
            "role": "stated",
            "explanation": self.note,
        }


def find_ratios(segments: tuple[Segment, ...]) -> Iterator[Ratio]:
    """Every ratio word that some comparison stands beside."""
    for index, segment in enumerate(segments):
        text = segment.text
        times, percent = _NUMBER_TIMES.search(text) is not None, "%" in text
        if not (times or percent) or not _KEYWORDS.search(text):
            continue
        for pattern, kind, there in ((_TIMES, "x", times), (_PERCENT, "%", percent)):
            for match in pattern.finditer(text) if there else ():
                made = _ratio(match, kind, segment, index)
                if made is not None:
                    yield made


def _ratio(match: re.Match[str], kind: str, segment: Segment, index: int) -> Ratio | None:
    groups = match.groupdict()
    first = read_number(groups.get("low") or groups.get("factor") or "")
    if first is None or first[0] <= 0:
        return None
    upper = groups.get("high")
    last = read_number(upper) if upper else first
    if last is None:
        return None
    about = bool(groups.get("about") or groups.get("about2"))
    unit = _coarse(first[0], first[1] * 2, decimal=first[2]) if kind == "x" else first[1] * 2
    spread = first[0] / 20 if upper else max(unit / 2, first[0] / 20 if about else Fraction(0))
    start = match.start() + len(match[0]) - len(match[0].lstrip())
    lowered = segment.text[max(0, start - _REACH) : match.end() + _REACH].lower()
    under = re.search(r"\bunderestimat|\bundercount|\bunderstat", lowered)
    over = re.search(r"\boverestimat|\binflat|\bovercount|\boverstat", lowered)
    direction = "too low" if under and not over else "too high" if over and not under else ""
    return Ratio(
        segment.place(start), match[0].strip(), first[0] - spread,
        last[0] + max(last[0] / 20 if upper else spread, last[1]), first[0], kind, index,
        segment.section, direction, start,
    )  # fmt: skip


def _coarse(value: Fraction, unit: Fraction, *, decimal: bool) -> Fraction:
    while not decimal and value and (value / (unit * 10)).denominator == 1:
        unit *= 10
    return unit


def judge_ratios(segments: tuple[Segment, ...], judged: list[JudgedClaim]) -> list[JudgedRatio]:
    """Each ratio word against every pair of figures it may compare: those beside it, else those of its topic."""
    claims = Claims(item.statement for item in judged)
    notes = {id(item.statement): item.note for item in judged}
    first = itertools.islice(find_ratios(segments), _MOST_RATIOS)
    known: dict[tuple[int, str], list[_Pair]] = {}
    return [_judge(ratio, segments[ratio.segment], claims, notes, known) for ratio in first]


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two figures of one name, their ratio as written, and the least and most it is within their last digits."""

    statements: tuple[Statement, Statement]
    value: Fraction
    exact: Fraction
    least: Fraction
    most: Fraction
    at_least: float
    at_most: float


_MARGIN: Final = 1e-9
"""Relative width of the float filter; what it lets through is compared exactly."""


def _pairs(ratio: Ratio, scope: list[Statement], known: dict[tuple[int, str], list[_Pair]]) -> list[_Pair]:
    """Every pair of ``scope`` that a ratio word like this one may compare, priced once for each scope."""
    kind = "x" if ratio.kind == "x" else "more" if _HIGHER.search(ratio.text) else "less"
    if (id(scope), kind) not in known:
        known[id(scope), kind] = [
            _pair(kind, left, right)
            for at, left in enumerate(scope)
            for right in scope[at + 1 :]
            if left.name == right.name
            and left.value != right.value
            and left.value > 0
            and right.value > 0
            and _alike(left, right)
        ]
    return known[id(scope), kind]


def _pair(kind: str, left: Statement, right: Statement) -> _Pair:
    low, high = sorted((left, right), key=lambda item: item.value)
    value = high.value / low.value
    least = (high.value - _half(high)) / (low.value + _half(low))
    most = (high.value + _half(high)) / max(low.value - _half(low), Fraction(1, 10**12))
    exact = value
    if kind == "more":
        value -= 1
        exact, least, most = value * 100, (least - 1) * 100, (most - 1) * 100
    elif kind == "less":
        value = 1 - 1 / value
        exact, least, most = value * 100, (1 - 1 / least) * 100 if least else Fraction(0), (1 - 1 / most) * 100
    ends = (float(min(exact, least, most)), float(max(exact, least, most)))
    return _Pair((left, right), value, exact, least, most, *ends)


def _judge(
    ratio: Ratio, segment: Segment, claims: Claims, notes: dict[int, str], known: dict[tuple[int, str], list[_Pair]]
) -> JudgedRatio:
    beside = claims.by_segment.get(ratio.segment, [])
    section = claims.by_section.get(ratio.section, [])
    at = ratio.offset
    around = segment.text[max(0, at - _REACH) : at + _REACH]
    topic = next((name for name, pattern in _TOPICS if pattern.search(around)), "")
    same_topic = claims.by_name.get(topic, [])
    change = _change(ratio, segment)
    if change is not None:
        return change
    for scope in (beside, section, same_topic):
        pairs = _pairs(ratio, scope, known)
        if not pairs:
            continue
        right = [pair for pair in pairs if _fits(ratio, pair)]
        if right:
            return _matched(ratio, right, pairs, notes)
        topics = {name for name, pattern in _TOPICS if pattern.search(around)}
        name = pairs[0].statements[0].name
        if name == "expert_weights":
            topics -= {"memory"}
        if scope is beside and len(pairs) == 1 and topics <= {name} and _one_sentence(ratio, segment, pairs[0]):
            return _made(ratio, Verdict.FAILS, pairs[0], "")
        if scope is same_topic or len(pairs) == 1:
            return _made(
                ratio, Verdict.UNSUPPORTED, pairs[0], "not the ratio of the two figures that the document gives"
            )
    return JudgedRatio(ratio, Verdict.UNSUPPORTED, None, "", "the document does not give the two figures it compares")


def _alike(left: Statement, right: Statement) -> bool:
    """Whether two figures of one name count the same: not input against output, or per user against per device."""
    if left.number is None or right.number is None:
        return True
    kinds = [_KINDS.intersection(item.number.nouns) for item in (left, right) if item.number is not None]
    units = {item.number.per for item in (left, right) if item.number is not None and item.number.per}
    return len(units) < 2 and kinds[0] == kinds[1]


def _one_sentence(ratio: Ratio, segment: Segment, pair: _Pair) -> bool:
    """Whether the ratio stands in one sentence with both its figures, and is the only one there."""
    text = segment.text
    places = [ratio.offset, *(item.number.start for item in pair.statements if item.number is not None)]
    start = text.rfind(". ", 0, min(places)) + 1
    stop = text.find(". ", max(places))
    sentence = text[start : stop if stop >= 0 else len(text)]
    inside = text[min(places) : max(places)]
    return (
        ". " not in inside
        and "; " not in inside
        and len(_TIMES.findall(sentence)) + len(_PERCENT.findall(sentence)) == 1
    )


def _change(ratio: Ratio, segment: Segment) -> JudgedRatio | None:
    """``from 80 ms to 60 ms, a 25% reduction``: the only two figures of the sentence, whatever they measure.

    Accused only when no base and no sense of the words gives the number written.
    """
    text = segment.text
    start = max(text.rfind(". ", 0, ratio.offset), text.rfind("; ", 0, ratio.offset), ratio.offset - _REACH, -1) + 1
    pairs = list(_FROM_TO.finditer(text, start, ratio.offset))
    leads = _LEADS_ON
    if not pairs and ratio.kind == "x":
        pairs, leads = list(_AGAINST.finditer(text, start, ratio.offset)), _CONCLUDES
    if len(pairs) != 1 or len(_FIGURE.findall(text[start : ratio.offset])) != 2:
        return None
    tokens = numbers_of(tokenize(pairs[0][0]))
    if len(tokens) != 2 or tokens[0].value <= 0 or tokens[1].value <= 0:
        return None
    before, after = tokens
    if before.unit is lexicon.ONE and before.nouns in {(), ("to",)}:
        before.unit = after.unit
    if before.unit.dimensions != after.unit.dimensions:
        return None
    values = _senses(ratio, before.value, after.value)
    slack = [number.half / number.value if number.decimal else Fraction(0) for number in tokens]
    shown = f"{pairs[0]['a'].strip()} against {pairs[0]['b'].strip()} = {plain(values[0])}"
    for index, value in enumerate(values):
        scaled = value * (100 if ratio.kind == "%" else 1)
        spread = (abs(scaled) + (100 if ratio.kind == "%" else 1)) * sum(slack, Fraction(0))
        if ratio.low - spread <= scaled <= ratio.high + spread:
            note = "" if index == 0 else "in another sense of the words, or relative to the other figure"
            return JudgedRatio(ratio, Verdict.AMBIGUOUS if index else Verdict.HOLDS, value, shown, note)
    if leads.fullmatch(text[pairs[0].end() : ratio.offset]) is None:
        return None
    return JudgedRatio(ratio, Verdict.FAILS, values[0], shown, "")


def _senses(ratio: Ratio, before: Fraction, after: Fraction) -> list[Fraction]:
    """Values that the ratio word can stand for, the natural one first."""
    low, high = sorted((before, after))
    if ratio.kind == "x":
        return [high / low, high / low - 1]
    return [abs(after - before) / before, abs(after - before) / after, high / low, low / high]


def _matched(ratio: Ratio, right: list[_Pair], pairs: list[_Pair], notes: dict[int, str]) -> JudgedRatio:
    pair = right[0]
    statements = pair.statements
    low, high = sorted(statements, key=lambda item: item.value)
    confusion = next((notes[id(item)] for item in statements if notes.get(id(item), "").startswith("bytes taken")), "")
    if confusion:
        others = {other.value for other in pairs if other not in right}
        rest = f"; other pairs beside it give {', '.join(plain(value) for value in sorted(others))}" if others else ""
        return _made(ratio, Verdict.AMBIGUOUS, pair, f"true only of {high.text} / {low.text}, but {confusion}{rest}")
    claimed = next((item for item in statements if item.role is Role.CLAIMED), None)
    calculated = next((item for item in statements if item.role is Role.CALCULATED), None)
    if ratio.direction and claimed is not None and calculated is not None:
        actual = "too high" if claimed.value > calculated.value else "too low"
        if actual != ratio.direction:
            note = f"the size is right, the direction is not: {claimed.text} against {calculated.text} is {actual}"
            return _made(ratio, Verdict.AMBIGUOUS, pair, note)
    return _made(ratio, Verdict.HOLDS, pair, "")


def _fits(ratio: Ratio, pair: _Pair) -> bool:
    """Whether the written ratio is that of the pair, each figure anywhere within its last digit."""
    low, high = float(ratio.low), float(ratio.high)
    margin = _MARGIN * max(abs(pair.at_least), abs(pair.at_most), abs(low), abs(high), 1.0)
    if pair.at_most < low - margin or pair.at_least > high + margin:
        return False
    if ratio.low <= pair.exact <= ratio.high:
        return True
    return ratio.low <= pair.most and pair.least <= ratio.high and pair.most - pair.least <= pair.exact / 10


def _half(statement: Statement) -> Fraction:
    written = statement.number
    return Fraction(0) if written is None else rounding(written, written.unit.scale, approximate=False)


def _made(ratio: Ratio, verdict: Verdict, pair: _Pair, note: str) -> JudgedRatio:
    low, high = sorted(pair.statements, key=lambda item: item.value)
    shown = f"{high.text} / {low.text}" if ratio.kind == "x" else f"{low.text} against {high.text}"
    return JudgedRatio(ratio, verdict, pair.value, f"{shown} = {plain(pair.value)}", note, (low, high))
