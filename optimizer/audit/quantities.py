"""Figures with their types: bytes, seconds, dollars, tokens, requests, devices and their quotients."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.deployment import COUNT, count
from optimizer.audit.document import Segment
from optimizer.audit.tokens import Number

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
_PER_MILLION: Final = re.compile(
    r"\s*(?:usd|dollars?)?\s*(?:per|/|a|for (?:an?|one|each)?)\s*(?:1\s?)?(?:M|million|mtok)\b", re.IGNORECASE
)
_MILLION_BEFORE: Final = re.compile(r"\bmillion\s+(?:\w+\s+)?tokens?\s+(?:\w+\s+){0,3}[$€]?$", re.IGNORECASE)
CLAUSE: Final = 90
"""Characters of a clause before and behind a price that tell whose it is."""
_WORD_COUNT: Final = re.compile(rf"\b(?!\d)({COUNT})\s+(?:[A-Za-z-]+\s+)??([A-Za-z]+)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Quantity:
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


def quantity(
    segment: Segment, text: str, number: Number, start: int, sentence: str, own: Sequence[Quantity]
) -> Quantity | None:
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
    lead = text[max(start, number.start - CLAUSE) : number.start]
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
        or _MILLION_BEFORE.search(text, max(start, number.start - CLAUSE), number.start)
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
    return Quantity(
        value, _type(kinds), number.start, number.number_end, place.line, told, said, number.bound, number.digits,
        sentence,
    )  # fmt: skip


def worded(segment: Segment, text: str, start: int, end: int) -> Iterator[Quantity]:
    """Counts in words: ``three replicas``."""
    for match in _WORD_COUNT.finditer(text, start, end):
        kind = _noun(match[2])
        if kind in _COUNTS:
            line = segment.place(match.start()).line
            value = Fraction(count(match[1]))
            yield Quantity(
                value, ((kind, 1),), match.start(), match.end(), line, match[0], period="", bound=False, digits=value,
                sentence="",
            )  # fmt: skip


def _noun(word: str) -> str:
    return next((name for name, pattern in _NOUNS if pattern.fullmatch(word.lower())), "")


def _type(kinds: dict[str, int]) -> Type:
    return tuple(sorted((name, power) for name, power in kinds.items() if power))


def multiplied(one: Type, other: Type, sign: int) -> Type:
    """Type of a product (``sign`` 1) or a quotient (-1)."""
    kinds = dict(one)
    for name, power in other:
        kinds[name] = kinds.get(name, 0) + sign * power
    return _type(kinds)


def is_count(item: Quantity) -> bool:
    """Whether it counts devices, nodes, replicas or requests."""
    return len(item.type) == 1 and item.type[0][0] in _COUNTS and item.type[0][1] == 1


def bare(item: Quantity) -> Type:
    """A type without what it is counted over."""
    return tuple(one for one in item.type if one[0] not in _COUNTS)


def products(one: Quantity, other: Quantity) -> set[Type]:
    """Types that a product may have: what counts may stay unsaid."""
    found = {multiplied(one.type, other.type, 1)}
    return found | ({other.type} if is_count(one) else set()) | ({one.type} if is_count(other) else set())


def quotients(one: Quantity, other: Quantity) -> set[Type]:
    """Types that a quotient may have."""
    found = {multiplied(one.type, other.type, -1)}
    return (
        found
        | ({multiplied((), other.type, -1)} if is_count(one) else set())
        | ({one.type} if is_count(other) else set())
    )
