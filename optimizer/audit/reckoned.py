"""Figures that follow from those beside them by their units alone: ``140 GB at 2 GB/s load in 70 s``.

Every figure of a passage has a type: bytes, seconds, dollars, tokens, requests, devices and their quotients. Where a
sentence draws a conclusion and one product or quotient of the figures before it has the type of the conclusion, it must
be its value, a count of devices or replicas told in the section aside. A price of tokens follows from the prices of an
hour and the rates of its whole section.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.context import outside_quotation, segment_role, without_full_stops
from optimizer.audit.contradictions import Contradiction
from optimizer.audit.deployment import COUNT, count
from optimizer.audit.document import Kind, Segment
from optimizer.audit.equation import Equation, by_segment
from optimizer.audit.statements import Role
from optimizer.audit.tokens import Number, Token, numbers_of
from optimizer.audit.verdict import Verdict, plain

Type = tuple[tuple[str, int], ...]
"""Exponents of byte, second, FLOP, dollar, joule and of what is counted, those of nought left out."""

_BASE: Final = ("byte", "second", "FLOP", "dollar", "joule")
_NOUNS: Final = (
    ("token", re.compile(r"(?:tok|toks|tokens?)")),
    ("request", re.compile(
        r"(?:requests?|reqs?|sequences?|seqs?|conversations?|prompts?|users?|sessions?|queries|query|agents?|chats?|calls?"
        r"|streams?|slots?)"
    )),
    ("device", re.compile(r"(?:gpus?|devices?|cards?|accelerators?|chips?|ranks?)")),
    ("node", re.compile(r"(?:nodes?|servers?|machines?|hosts?|boxes)")),
    ("replica", re.compile(r"(?:replicas?|instances?|copies)")),
)  # fmt: skip
_COUNTS: Final = frozenset(["request", "device", "node", "replica"])
_PERIOD: Final = re.compile(
    r"\s*(?:per|an?|each|every|/)\s*(?:[\w.-]+[ -]){0,2}?(second|minute|hour|day|month|year)\b", re.IGNORECASE
)
_MONTH: Final = Fraction(730 * 3600)
"""Seconds of a month as bills count it: a twelfth of 8,760 hours."""
_PIECES: Final = "prompts?|contexts?|windows?|sequences?|conversations?|requests?"
_OF_EACH: Final = re.compile(rf"\b(?:{_PIECES})\s+of\s+$", re.IGNORECASE)
_WINDOW: Final = re.compile(rf"[- ](?:tokens?\s+)?(?:{_PIECES}|documents?)\b", re.IGNORECASE)
_EACH: Final = re.compile(r"\s*(?:each|apiece)\b", re.IGNORECASE)
_STEP: Final = re.compile(r"\b(?:tpot|itl|inter-token latency|time per output token)\b[^\d.;]{0,16}$", re.IGNORECASE)
_RATIO_OF: Final = re.compile(r"\bratio\s+(?:is|of|:)\s*(?:about\s+|roughly\s+)?$", re.IGNORECASE)
_LIMITS: Final = frozenset(["deadline", "limit", "timeout", "target", "budget", "slo", "objective", "cap", "maximum"])
_RENAMED: Final = re.compile(
    r"[^\d.;,(]{0,40}[,(]\s*(?:which\s+is|that\s+is|i,e,|or|=)\s+(?:about\s+|roughly\s+|around\s+)?[~≈]?",
    re.IGNORECASE,
)
"""Between a figure and the same in another unit."""
_PER_MILLION: Final = re.compile(
    r"\s*(?:usd|dollars?)?\s*(?:per|/|a|for (?:an?|one|each)?)\s*(?:1\s?)?(?:M|million|mtok)\b", re.IGNORECASE
)
_MILLION_BEFORE: Final = re.compile(r"\bmillion\s+(?:\w+\s+)?tokens?\s+(?:\w+\s+){0,3}[$€]?$", re.IGNORECASE)
_TOKEN_PRICE: Final = (("dollar", 1), ("token", -1))
_HOUR_PRICE: Final = (("dollar", 1), ("second", -1))
_TOKEN_RATE: Final = (("second", -1), ("token", 1))
_GROUP: Final = re.compile(
    r"\b(?:replicas?|nodes?|servers?|instances?|clusters?|fleet|deployments?|pods?)\b", re.IGNORECASE
)
_PROMPTS: Final = re.compile(r"\b(?:input|prompt|prefill)\b", re.IGNORECASE)
_OTHERS: Final = re.compile(
    r"\b(?:vendors?|providers?|api|market|list price|competitors?|they|budget|target|limit|below|under|would|could"
    r"|previous\w*|before|quoted?|says?|said|claims?|claimed|utili[sz]\w+|idle|loaded at|discount\w*|reserved|spot"
    r"|blended|average)\b",
    re.IGNORECASE,
)
"""Of a clause: its price is somebody else's, or further figures enter it."""
_ANY_COUNT: Final = re.compile(rf"{COUNT}(?![\d.,]*\d)(?!\s?(?:tok|ms|GB))", re.IGNORECASE)
_COMMA: Final = re.compile(r"[,;:]\s|\s[–—(]\s?")
_ONE_USER: Final = re.compile(r"\b(?:users?|sequence|stream|request)\b", re.IGNORECASE)
_CONCLUDES: Final = re.compile(
    r"=|→|\b(?:i,e|so|that\s+is|which\s+is|makes?|gives?|holds?|hold|takes?|in|within|needs?|requires?|costs?|sees?|fits?"
    r"|enough\s+for|room\s+for|means?|comes?\s+to|yields?|lasts?|is|are|equals?)\b",
    re.IGNORECASE,
)
_TOTALS: Final = re.compile(
    r"=|\b(?:i,e|that\s+is|which\s+is|that\s+makes|makes|gives|costs?|comes?\s+to|add\s+up\s+to|adds\s+up\s+to|total\w*"
    r"|altogether)\b",
    re.IGNORECASE,
)
_IN_ALL: Final = re.compile(r"[^\d.;,]{0,24}\b(?:in\s+total|in\s+all|altogether|overall)\b", re.IGNORECASE)
_NEEDED: Final = re.compile(r"\b(?:needs?|requires?|takes?|must\s+have)\b", re.IGNORECASE)
_MORE: Final = re.compile(
    r"%|\b(?:utili[sz]\w+|efficien\w*|overlap\w*|theoretical\w*|ideal\w*|speculat\w*|mtp|compress\w*|hit\s+rate|discount\w*"
    r"|overhead|plus|minus|spare|headroom|if|would|could|not|n't|never|instead|rather|before|used\s+to|claim\w*|said"
    r"|says|up\s+to|usable|free|left|remain\w*|about\s+half|half|twice|per\s+direction|each\s+way)\b",
    re.IGNORECASE,
)
"""What enters a figure beside the units, or makes it somebody else's."""
_SENTENCES: Final = re.compile(r"(?<=[.!?;:])\s+(?=[A-Z(*`])")
_SLACK: Final = Fraction(12, 100)
"""Between binary and decimal prefixes lie 7.4%, and people round."""
_MOST_FIGURES: Final = 5
_MOST_DEVICES: Final = 1024
_MOST_PRICES: Final = 64
_CLAUSE: Final = 90
"""Characters of a clause before and behind a price that tell whose it is."""
_COUNT_OF: Final = re.compile(
    rf"({COUNT})(?:[ -]+[\w-]+){{0,2}}?[ -]+(?:GPUs?|devices?|cards?|nodes?|servers?|replicas?|instances?|stages?"
    rf"|ranks?|copies|requests|sequences|users|[A-Z]{{1,2}}\d{{2,3}}\w*)\b|\b[TPDEC]P[ =-]?(\d{{1,4}})\b"
    rf"|({COUNT})\s?[x×]\s?[A-Z]",
    re.IGNORECASE,
)
_WORD_COUNT: Final = re.compile(rf"\b(?!\d)({COUNT})\s+(?:[A-Za-z-]+\s+)??([A-Za-z]+)\b", re.IGNORECASE)
_WITH: Final = re.compile(r"[^\d.;,]{0,40}?\b(?:at|of|with)\s+(?:[A-Za-z]+\s+){0,3}(?=\d)", re.IGNORECASE)
"""Between a conclusion and what it is reckoned from: ``128 sequences at the full 131,072-token window``."""
_SLIPS: Final = tuple(
    Fraction(base) ** power for base, most in ((1000, 2), (8, 1)) for power in (*range(-most, 0), *range(1, most + 1))
)
"""A prefix or two, and bits for bytes."""
_DIGITS: Final = Fraction(2, 100)
_BITS: Final = re.compile(r"[KMGT](?:b\b|bit|bps|b/s)")
_DENIED: Final = re.compile(
    r"\b(?:not|never|wrong\w*|instead|rather|claim\w*|said|says|if|would)\b|n['’]t\b|≠", re.IGNORECASE
)
_IN_WORDS: Final = re.compile(rf"(?!\d){COUNT}\b", re.IGNORECASE)
_SPAN: Final = re.compile(
    r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?!:)\s*(?:[A-Z]{2,4}\s*)?(?:to|until|till|[-–—→])\s*([01]?\d|2[0-4]):([0-5]\d)(?!:)"
    r"[^\d.;]{0,24}?(\d+(?:\.\d+)?)[\s-]?(min\w*|h(?:ours?)?)\b",
    re.IGNORECASE,
)
_CLAUSE_END: Final = re.compile(r"[,;.]\s")
_CLAUSES: Final = re.compile(r"(?<!i,e)[,;]\s|\b(?:although|but|while|whereas|though|and)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Quantity:
    """A figure with its type, its span and the line it stands on."""

    value: Fraction
    type: Type
    start: int
    end: int
    line: int
    text: str
    period: str
    bound: bool
    digits: Fraction
    sentence: str


def find_misreckoned(
    segments: Sequence[Segment], tokens: Sequence[list[Token]], equations: Sequence[Equation]
) -> Iterator[Contradiction]:
    """Conclusions that the figures of their own sentence or the one before refute, in document order.

    What stands in one of the ``equations`` is judged there.
    """
    written = by_segment(equations)
    sections: dict[tuple[str, ...], set[int]] = {}
    prices: dict[tuple[str, ...], list[_Quantity]] = {}
    for segment in segments:
        found = sections.setdefault(segment.section, set())
        found |= {many for match in _counted(segment.text) if 1 < (many := count(match)) <= _MOST_DEVICES}
    for index, segment in enumerate(segments):
        if segment.kind is not Kind.PROSE or segment.quoted or segment.removed or len(tokens[index]) < 2:
            continue
        if segment_role(segment) is not Role.CLAIMED:
            judged = (item for item in written.get(index, ()) if item.verdict is not Verdict.UNSUPPORTED)
            spans = [(item.start, item.end) for item in judged]
            priced = prices.setdefault(segment.section, [])
            yield from _conclusions(segment, numbers_of(tokens[index]), sections[segment.section], spans, priced)
            yield from _spans(segment)


def _counted(text: str) -> Iterator[str]:
    """Counts of devices, nodes, replicas and the like, and degrees, of which a figure may leave one unsaid."""
    for match in _COUNT_OF.finditer(text):
        yield next(group for group in match.groups() if group)


def _conclusions(
    segment: Segment, numbers: Sequence[Number], counts: set[int], spans: Sequence[tuple[int, int]],
    prices: list[_Quantity],
) -> Iterator[Contradiction]:  # fmt: skip
    text = without_full_stops(segment.text)
    starts = [0, *(match.end() for match in _SENTENCES.finditer(text))]
    before: list[_Quantity] = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        inside = [number for number in numbers if start <= number.start < end]
        own: list[_Quantity] = []
        sentence = text[start:end]
        for number in inside:
            item = _quantity(segment, text, number, start, sentence, own)
            own += [item] if item is not None else []
        whole = len(own) == len(inside) <= _MOST_FIGURES and outside_quotation(text[:start])
        concluded = own[-1:] if inside and own and own[-1].start == inside[-1].start else []
        own = sorted([*own, *_worded(segment, text, start, end)], key=lambda item: item.start)
        prices += [item for item in own if item.type in {_HOUR_PRICE, _TOKEN_RATE}]
        yield from (made for item in own if (made := _mispriced(text, item, prices, counts)) is not None)
        made = None
        for at, result in enumerate(own) if whole else ():
            behind = own[at + 1 : at + 2] if _WITH.match(text, result.end) else []
            stop = _CLAUSE_END.search(text, (behind or [result])[-1].end, end)
            written = any(first <= result.start < last for first, last in spans)
            more = _MORE.search(text, start, stop.start() if stop else end)
            if written or result.type == _TOKEN_PRICE or (more and result.type):
                continue
            pools = (own[:at], [*before, *own[:at]] if at < _MOST_FIGURES - 2 else [])
            made = next((made for pool in pools if (made := _refuted(text, pool, behind, result, counts))), None)
            if made is not None:
                yield made
                break
        if made is None and not _DENIED.search(text, start, end) and outside_quotation(text[:start]):
            factors = {item.value for item in inside if item.unit is lexicon.ONE and item.value <= _MOST_DEVICES}
            factors |= {Fraction(count(match[0])) for match in _IN_WORDS.finditer(text, start, end)}
            free = [item for item in own if not any(first <= item.start < last for first, last in spans)]
            yield from [slip for result in free if (slip := _slipped(own, result, factors)) is not None][:1]
        before = concluded if _MORE.search(text, start, end) is None else []


def _quantity(
    segment: Segment, text: str, number: Number, start: int, sentence: str, own: Sequence[_Quantity]
) -> _Quantity | None:
    """A figure with its type; None where it has none that can be told."""
    kinds: dict[str, int] = {name: power for name, power in zip(_BASE, number.unit.dimensions, strict=True) if power}
    value = number.value
    nouns = [kind for noun in number.nouns if (kind := _noun(noun))]
    kind = nouns[-1] if nouns else ""
    if kind:
        kinds[kind] = kinds.get(kind, 0) + 1
    for noun in number.per:
        divisor = _noun(noun)
        if divisor:
            kinds[divisor] = kinds.get(divisor, 0) - 1
    behind = text[number.end : number.end + 40]
    lead = text[max(start, number.start - _CLAUSE) : number.start]
    period = _PERIOD.match(behind) or _PERIOD.match(text, number.number_end)
    period = period or (_PERIOD.match(f" per {number.per[0]}") if number.per else None)
    if period and "second" not in kinds:
        seconds = _MONTH if period[1].lower() == "month" else lexicon.TIMES[period[1].lower()].scale
        kinds["second"], value = -1, value / seconds
    if kinds == {"token": 1} and (_WINDOW.match(behind) or _OF_EACH.search(lead)):
        kinds["request"] = -1
    if not {"rps", "qps"}.isdisjoint(number.nouns):
        kinds = {"request": 1, "second": -1}
    if number.unit.name.startswith("$/M"):
        kinds = {"dollar": 1, "token": -1}
    elif kinds == {"dollar": 1} and (
        _PER_MILLION.match(text, number.number_end)
        or _MILLION_BEFORE.search(text, max(start, number.start - _CLAUSE), number.start)
    ):
        kinds, value = {"dollar": 1, "token": -1}, value / 10**6
    if kinds == {} and "context" in number.nouns:
        kinds = {"token": 1, "request": -1}
    if _EACH.match(behind) and own and len(own[-1].type) == 1 and own[-1].type[0][0] not in kinds:
        kinds[own[-1].type[0][0]] = -1
    if kinds == {"second": 1} and _STEP.search(lead):
        kinds["token"] = -1
    ratio = not kinds and number.unit is lexicon.ONE and _RATIO_OF.search(lead)
    if (
        (not kinds and not ratio)
        or number.unit is lexicon.PERCENT
        or value <= 0
        or not _LIMITS.isdisjoint(number.nouns)
    ):
        return None
    place = segment.place(number.start)
    told = " ".join(segment.text[number.start : number.end].split())
    said = period[1].lower() if period else number.unit.name.rpartition("/")[2]
    return _Quantity(
        value, _type(kinds), number.start, number.number_end, place.line, told, said, number.bound, number.digits,
        sentence,
    )  # fmt: skip


def _worded(segment: Segment, text: str, start: int, end: int) -> Iterator[_Quantity]:
    """Counts in words: ``three replicas``."""
    for match in _WORD_COUNT.finditer(text, start, end):
        kind = _noun(match[2])
        if kind in _COUNTS:
            line = segment.place(match.start()).line
            value = Fraction(count(match[1]))
            yield _Quantity(
                value, ((kind, 1),), match.start(), match.end(), line, match[0], period="", bound=False, digits=value,
                sentence="",
            )  # fmt: skip


def _noun(word: str) -> str:
    return next((name for name, pattern in _NOUNS if pattern.fullmatch(word.lower())), "")


def _type(kinds: dict[str, int]) -> Type:
    return tuple(sorted((name, power) for name, power in kinds.items() if power))


def _times(one: Type, other: Type, sign: int) -> Type:
    kinds = dict(one)
    for name, power in other:
        kinds[name] = kinds.get(name, 0) + sign * power
    return _type(kinds)


def _count(item: _Quantity) -> bool:
    return len(item.type) == 1 and item.type[0][0] in _COUNTS and item.type[0][1] == 1


def _bare(item: _Quantity) -> Type:
    """A type without what it is counted over."""
    return tuple(one for one in item.type if one[0] not in _COUNTS)


def _refuted(
    text: str, before: Sequence[_Quantity], behind: Sequence[_Quantity], result: _Quantity, counts: set[int]
) -> Contradiction | None:
    """The conclusion, if what its units follow from has another value."""
    operands = [*before, *behind]
    if not before:
        return None
    nearest = before[-1]
    if (
        nearest.type == result.type
        and nearest.value * result.digits != result.value * nearest.digits
        and _RENAMED.fullmatch(text, nearest.end, result.start)
    ):
        return None if result.bound else _told([(nearest.value, nearest.text)], operands, result, set())
    between = _CLAUSES.split(text[before[-1].end : result.start])[-1]
    concludes = _CONCLUDES.search(between) is not None
    totals = _TOTALS.search(between) is not None or _IN_ALL.match(text, result.end) is not None
    if result.bound or any(item.bound for item in operands) or not (concludes or totals):
        return None
    needed = _count(result) and _NEEDED.search(between) is not None
    ways: list[tuple[Fraction, str]] = []
    for one, other in permutations(operands, 2):
        scales = _bare(result) in (_bare(one), _bare(other))
        if one.start < other.start and _fits(result.type, _products(one, other)) and (totals or not scales):
            ways.append((one.value * other.value, f"{one.text} × {other.text}"))
        if _fits(result.type, _quotients(one, other)) and (totals or not scales):
            ways.append((one.value / other.value, f"{one.text} / {other.text}"))
        if needed and one.type == other.type and one.start > other.start and not _count(one):
            ways.append((one.value / other.value, f"{one.text} / {other.text}"))
    for one in operands if len(operands) == 1 else ():
        if one.type == result.type and ("second", -1) in one.type and one.period != result.period:
            ways.append((one.value, one.text))
        if _times((), one.type, -1) == result.type and _ONE_USER.search(between):
            ways.append((1 / one.value, f"1 / {one.text}"))
    return _told(ways, operands, result, counts, needed=needed)


def _told(
    ways: Sequence[tuple[Fraction, str]], operands: Sequence[_Quantity], result: _Quantity, counts: set[int], *,
    needed: bool = False,
) -> Contradiction | None:  # fmt: skip
    """The contradiction, where no way meets the conclusion."""
    if not ways or any(_meets(value, result.value, needed=needed, counts=counts) for value, _ in ways):
        return None
    value, formula = ways[0]
    lines = tuple(sorted({result.line, *(item.line for item in operands)}))
    told = f"{formula} is {plain(value / result.value * result.digits)} in the unit of {result.text!r}"
    return Contradiction(lines, "reckoning", (result.value, value), told)


def _mispriced(text: str, result: _Quantity, beside: Sequence[_Quantity], counts: set[int]) -> Contradiction | None:
    """A price of tokens that no price of an hour and no rate of its section give."""
    if result.type != _TOKEN_PRICE:
        return None
    before, behind = text[max(0, result.start - _CLAUSE) : result.start], text[result.end : result.end + _CLAUSE]
    words = _COMMA.split(before)[-1] + _COMMA.split(behind)[0]
    if _OTHERS.search(words) or not outside_quotation(text[: result.start]):
        return None
    prices = [item for item in beside if item.type == _HOUR_PRICE]
    rates = [item for item in beside if item.type == _TOKEN_RATE and not _PROMPTS.search(item.text)]
    if len(prices) * len(rates) > _MOST_PRICES:
        return None
    # The price of a group beside that of one of its devices is that of a rate which is said of groups.
    groups = [one for one in prices for other in prices if (many := one.value / other.value) > 1 == many.denominator]
    ways = []
    for rate in reversed(rates):
        told = _GROUP.search(rate.sentence) is not None
        for price in (groups if told else []) or prices:
            near = {count(match[0]) for match in _ANY_COUNT.finditer(f"{price.sentence} {rate.sentence}")}
            factors = counts | near if not (told and groups) else ()
            ways += [(price.value / rate.value * many, f"{price.text} / {rate.text}") for many in (1, *factors)]
            ways += [(price.value / rate.value / many, f"{price.text} / {rate.text}") for many in factors]
    return _told(ways, [], result, set())


def _slipped(own: Sequence[_Quantity], result: _Quantity, factors: set[Fraction]) -> Contradiction | None:
    """A conclusion that is a thousand or eight times what the figures before it give, and nothing else.

    ``factors`` are the sentence's bare numbers, which may multiply or divide.
    """
    operands = [item for item in own if item.end <= result.start]
    if not result.type or _count(result) or len(operands) > _MOST_FIGURES:
        return None
    ways = [
        (value, f"{one.text} {sign} {other.text}")
        for one, other in permutations(operands, 2)
        for value, sign, types in (
            (one.value * other.value, "×", _products(one, other)),
            (one.value / other.value, "/", _quotients(one, other)),
        )
        if result.type in types and not (_count(one) or _count(other))
    ]  # fmt: skip
    shares = {factor**sign for factor in (Fraction(1), *factors) if factor > 0 for sign in (1, -1)}
    given = [(value * share, formula) for value, formula in ways for share in shares]
    alike = [item.value * share for item in operands if item.type == result.type for share in shares]
    if any(abs(value - result.value) <= _SLACK * value for value in (*alike, *(value for value, _ in given))):
        return None
    # bits taken for bytes: the digits go over as they are
    given += [(one.value * share, one.text) for one in operands for share in shares if one.type == result.type
              and _BITS.search(one.text) and not _BITS.search(result.text)]  # fmt: skip
    for value, formula in given:
        if any(abs(value * slip - result.value) <= result.value * _DIGITS for slip in _SLIPS):
            lines = tuple(sorted({result.line, *(item.line for item in operands)}))
            told = f"{formula} is {plain(value / result.value * result.digits)} in the unit of {result.text!r}"
            return Contradiction(lines, "reckoning", (result.value, value), told)
    return None


def _spans(segment: Segment) -> Iterator[Contradiction]:
    """``14:07 to 15:52 (95 minutes)``: times of a day against the time between them."""
    for match in _SPAN.finditer(segment.text):
        first, last = (int(hour) * 60 + int(minute) for hour, minute in ((match[1], match[2]), (match[3], match[4])))
        stated = Fraction(match[5]) * (60 if match[6].lower().startswith("h") else 1)
        between = Fraction((last - first) % (24 * 60))
        half = (
            Fraction(1, 2) if match[6].lower().startswith("m") else Fraction(30, 10 ** len(match[5].partition(".")[2]))
        )
        if abs(stated - between) > half and abs(stated + between - 24 * 60) > half:  # or the later first
            told = f"from {match[1]}:{match[2]} to {match[3]}:{match[4]} are {plain(between)} minutes"
            line = segment.place(match.start(5)).line
            yield Contradiction((line,), "duration", (stated * 60, between * 60), told)


def _fits(wanted: Type, found: set[Type]) -> bool:
    """Whether a type is one of those found; what is said of one request may leave it out."""
    if wanted in found:
        return True
    bare = {tuple(item for item in one if item[0] != "request") for one in found}
    return "request" not in dict(wanted) and wanted in bare and bool(wanted)


def _products(one: _Quantity, other: _Quantity) -> set[Type]:
    found = {_times(one.type, other.type, 1)}
    return found | ({other.type} if _count(one) else set()) | ({one.type} if _count(other) else set())


def _quotients(one: _Quantity, other: _Quantity) -> set[Type]:
    found = {_times(one.type, other.type, -1)}
    return found | ({_times((), other.type, -1)} if _count(one) else set()) | ({one.type} if _count(other) else set())


def _meets(value: Fraction, stated: Fraction, *, needed: bool, counts: set[int]) -> bool:
    if needed and stated >= value * (1 - _SLACK):
        return True
    factors = (Fraction(1), *(Fraction(many) for many in counts), *(Fraction(1, many) for many in counts))
    return any(abs(value * factor - stated) <= _SLACK * value * factor for factor in factors)
