"""Figures with their types: what each counts, over what, of which unit, wherever it stands.

A type has exponents of bytes, seconds, FLOP, dollars and joules and of every noun that is counted: ``36,000 pages a
day`` is page per second, ``70,272 bytes per token`` byte per token. The cell of a table has its header's unit.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.degrees import COUNT, count
from optimizer.audit.deployment import Sentence
from optimizer.audit.document import Place, Segment
from optimizer.audit.tokens import Number, numbers_of, tokenize

Type = tuple[tuple[str, int], ...]
"""Exponents of base units and of nouns, those of nought left out."""
BASE: Final = ("byte", "second", "FLOP", "dollar", "joule")
_SYNONYMS: Final = {
    "token": "token tok",
    "request": "request req sequence seq conversation prompt user session query queries agent chat call stream",
    "device": "gpu device card accelerator chip rank",
    "node": "node server machine host box boxes tray system",
    "replica": "replica instance copy copies",
    "layer": "layer",
    "head": "head",
    "expert": "expert slot",
    "step": "step iteration",
    "stage": "stage",
    "parameter": "parameter param",
}
_NOUNS: Final = {
    word: kind for kind, words in _SYNONYMS.items() for stem in words.split() for word in (stem, f"{stem}s")
}
COUNTED: Final = frozenset(["request", "device", "node", "replica", "layer", "head", "expert", "step", "stage"])
"""Nouns that are counted in whole numbers, and may stay unsaid."""
_PERIOD: Final = re.compile(
    r"\s*(?:(?:over|in|during|for)\s+)?(?:per|an?|each|every|/)\s*(?:[\w.-]+[ -]){0,2}?"
    r"(second|minute|hour|day|month|year)\b",
    re.IGNORECASE,
)
_MONTH: Final = Fraction(730 * 3600)
"""Seconds of a month as bills count it: a twelfth of 8,760 hours."""
_PIECES: Final = "prompts?|contexts?|windows?|sequences?|conversations?|requests?|documents?"
_WINDOW: Final = re.compile(rf"[- ](?:tokens?\s+)?(?:{_PIECES})\b", re.IGNORECASE)
_OF_EACH: Final = re.compile(rf"\b(?:{_PIECES}|mean|average|median)\s+of\s+(?:about\s+)?$", re.IGNORECASE)
_EACH: Final = re.compile(r"\s*(?:each|apiece)\b", re.IGNORECASE)
_PER: Final = re.compile(
    r"\s*(?:of\s+(?:[\w-]+\s+){1,3}?)?(?:per|/|(?:(?:on|for)\s+)?(?:each|every)|an?)\s+(?:\w+\s+)??([A-Za-z]+)\b"
)
_PER_MILLION: Final = re.compile(
    r"\s*(?:usd|dollars?)?\s*(?:per|/|a|for (?:an?|one|each)?)\s*(?:1\s?)?(?:M\b|million|mtok)", re.IGNORECASE
)
_PER_THOUSAND: Final = re.compile(
    r"\s*(?:usd|dollars?)?\s*(?:per|/|a)\s*(?:thousand|hundred|1[, ]?000|1?k\b)", re.IGNORECASE
)
_MILLION_BEFORE: Final = re.compile(r"\bmillion\s+(?:\w+\s+)?tokens?\s+(?:\w+\s+){0,3}[~≈$€]?$", re.IGNORECASE)
_STEP: Final = re.compile(r"\b(?:tpot|itl|inter-token latency|time per output token)\b[^\d.;]{0,16}$", re.IGNORECASE)
_SUBJECT: Final = re.compile(r"\b(?:each|every|an?|one|per)\s+(?:\w+\s+)??(\w+)\b(?=[^.,;:()]*$)", re.IGNORECASE)
"""Before a figure: of what one of it is said."""
_DIGIT_CLOSE: Final = re.compile(r"\d[:–—-]$")
_APART: Final = re.compile(r"\s{2,}")
_WORD_COUNT: Final = re.compile(rf"\b(?!\d|one\b|a\b|single\b)({COUNT})\s+(?:[a-z-]+\s+)??([A-Za-z]+)\b", re.IGNORECASE)
_REACH: Final = 60
_MONEY: Final = re.compile(
    r"(?:\$|USD)\s*(?:per|/)\s*(?:GPU[- ]?)?(?:(?:1\s?)?(?P<million>M\b|million)|(?:hour|hr?)\b)", re.IGNORECASE
)
_RANGE: Final = re.compile(r"\d\s*(?:[A-Za-z/%]+\s+)?(?:to|->|[-–—→])\s*[$~≈]?\d")
"""Two ends of a range: ``20 to 30 ms``."""


@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """A figure: value in base units, half a unit of its last digit, its type, and where it stands in its sentence."""

    value: Fraction
    half: Fraction
    type: Type
    start: int
    end: int
    place: Place
    text: str
    sentence: int
    period: str
    number: Number | None
    ranged: bool = False
    block: int = -1
    column: int = -1

    @property
    def size(self) -> float:
        """Its value, for comparisons within the digits written."""
        return float(self.value)

    @property
    def bound(self) -> bool:
        """Whether it is a limit: ``up to``, ``over``."""
        return self.ranged or (self.number is not None and self.number.bound)

    @property
    def approximate(self) -> bool:
        """Whether the author says that it is rounded."""
        return self.number is not None and self.number.approximate

    def shown(self, value: Fraction) -> Fraction:
        """A value in the unit that this figure is written in."""
        return value / self.value * (self.number.digits if self.number else self.value)


def noun(word: str) -> str:
    """The kind that a noun names, or nothing."""
    lowered = word.lower()
    first, _, last = lowered.rpartition("-")
    return _NOUNS.get(lowered) or _NOUNS.get(first if last in {"hour", "hours", "h"} else last, "")


def _kind(nouns: Sequence[str], number: Number) -> str:
    known = next((kind for word in reversed(nouns) if (kind := noun(word))), "")
    if known or not nouns or number.unit is not lexicon.ONE or not nouns[-1].endswith("s"):
        return known
    return f"~{nouns[-1].removesuffix('s')}"


def typed(text: str, number: Number, before: Sequence[Quantity]) -> tuple[Type, Fraction, str]:
    """Type of a figure, its value and its period; no type where none can be told."""
    gap = _APART.match(text, number.number_end)
    nouns = () if gap else number.nouns
    end = number.number_end if gap else number.end
    kinds = {name: power for name, power in zip(BASE, number.unit.dimensions, strict=True) if power}
    value, behind = number.value, text[end : end + _REACH]
    lead = text[max(0, number.start - _REACH) : number.start]
    kind = _kind(nouns, number)
    if kind and not (kind == "parameter" and kinds):
        kinds[kind] = kinds.get(kind, 0) + 1
    over = [word for word in number.per if word not in lexicon.TIMES and word != "month"]
    for divisor in [named for word in over if (named := noun(word))] or [f"~{word.removesuffix('s')}" for word in over]:
        kinds[divisor] = kinds.get(divisor, 0) - 1
    if kinds.keys() == {"token"} and (_WINDOW.match(behind) or _OF_EACH.search(lead)):
        kinds["request"] = -1
    period = _PERIOD.match(behind) or _PERIOD.match(text, number.number_end)
    period = period or (_PERIOD.match(f" per {number.per[0]}") if number.per else None)
    if period and "second" not in kinds:
        value /= _MONTH if period[1].lower() == "month" else lexicon.TIMES[period[1].lower()].scale
        kinds["second"] = -1
    elif not number.per and not period and kinds.get("request") != -1:
        per = _PER.match(behind)
        said_of = [noun(per[1])] if per else [noun(match[1]) for match in _SUBJECT.finditer(lead)]
        divisor = next((name for name in reversed(said_of) if name in COUNTED or name == "token"), "")
        if divisor and divisor not in kinds:
            kinds[divisor] = -1
    if not {"rps", "qps"}.isdisjoint(nouns):
        kinds = {"request": 1, "second": -1}
    paid = next((name for name in ("dollar", "joule") if kinds.get(name) == 1 and "second" not in kinds), "")
    if paid and number.unit.name.endswith("/M"):
        kinds = {paid: 1, "token": -1}
    elif paid and (_PER_MILLION.match(text, number.number_end) or _MILLION_BEFORE.search(lead)):
        kinds, value = {paid: 1, "token": -1}, value / 10**6
    if _EACH.match(behind) and before and len(before[-1].type) == 1 and before[-1].type[0][0] not in kinds:
        kinds[before[-1].type[0][0]] = -1
    if kinds == {"second": 1} and _STEP.search(lead):
        kinds["token"] = -1
    said = period[1].lower() if period else number.unit.name.rpartition("/")[2]
    many = paid and _PER_THOUSAND.match(text, number.number_end)
    counted = not many and (any(power > 0 for power in kinds.values()) or "second" in kinds)
    return _type(kinds) if counted else (), value, said


def _type(kinds: dict[str, int]) -> Type:
    return tuple(sorted((name, power) for name, power in kinds.items() if power))


@lru_cache(maxsize=1024)
def header(label: str) -> tuple[Type, Fraction]:
    """Type and scale that a header gives the bare figures under it: ``M tokens/h``, ``Weights (GB)``, ``GPUs``."""
    money = _MONEY.search(label)
    if money:
        scale = Fraction(1, 10**6 if money["million"] else 3600)
        return (("dollar", 1), ("token" if money["million"] else "second", -1)), scale
    words = label.replace("(", " ").replace(")", " ").replace(",", " ").split()
    for at in range(len(words)):
        if any(word[0].isdigit() for word in words[max(0, at - 1) : at + 1]):  # "A100 80GB", "weights (8.03 GB)"
            continue
        text = f"1 {' '.join(words[at:])}"
        number = next(iter(numbers_of(tokenize(text))), None)
        if number is None:
            continue
        kinds, value, _ = typed(text, number, [])
        of_unit = number.unit.dimensions != lexicon.NONE or (number.unit is not lexicon.ONE and kinds)
        known = tuple(kind for kind in kinds if not kind[0].startswith("~"))
        if (of_unit or not at) and any(power > 0 for _, power in known):
            return known, value
    return (), Fraction(1)


def read(said: Sequence[Sentence], segments: Sequence[Segment]) -> list[list[Quantity]]:
    """Figures of each sentence that have a type, in order."""
    return [
        list(_of_row(one, at, segments)) if len(one.cells) > 1 else [*_of_line(one, at), *_of_label(one, at)]
        for at, one in enumerate(said)
    ]


def _of_label(sentence: Sentence, at: int) -> Iterator[Quantity]:
    """The bare figure of a row that has but a label and a value: it reads as a sentence, and its label has the unit."""
    for label, (text, _) in sentence.cells.items():
        number = next(iter(numbers_of(tokenize(text))), None)
        if number is None or number.value <= 0 or text.strip(" ~≈$€") != text[number.start : number.end].strip(" $€"):
            continue
        kinds, scale = next(
            (found for head in (label, sentence.header) if (found := header(head))[0]), ((), Fraction(1))
        )
        if kinds and not number.nouns and number.unit.dimensions == lexicon.NONE and number.unit is not lexicon.PERCENT:
            start = len(sentence.text) - len(text) + number.start
            end = start + number.number_end - number.start
            yield Quantity(number.value * scale, number.half * scale, kinds, start, end, sentence.at(start), text, at,
                           "", number)  # fmt: skip


def _of_line(sentence: Sentence, at: int) -> list[Quantity]:
    """Figures of a sentence; those of a line that is set in columns are cells, counted from the last."""
    found = _of_text(sentence, at)
    if not sentence.columned:
        return found
    return [replace(one, block=-2 - sentence.segment, column=len(found) - number) for number, one in enumerate(found)]


def _of_text(sentence: Sentence, at: int) -> list[Quantity]:
    text = sentence.text
    found: list[Quantity] = []
    written: list[tuple[int, Number | re.Match[str]]] = [(one.start, one) for one in numbers_of(tokenize(text))]
    written += [(match.start(), match) for match in _WORD_COUNT.finditer(text) if noun(match[2]) in COUNTED]
    for start, one in sorted(written, key=lambda item: item[0]):
        if isinstance(one, re.Match):
            value, place = Fraction(count(one[1])), sentence.at(start)
            found.append(
                Quantity(value, Fraction(0), ((noun(one[2]), 1),), start, one.end(1), place, one[0], at, "", None)
            )
            continue
        a_time = _DIGIT_CLOSE.search(text, 0, start) or re.match(r":\d", text[one.number_end :])
        if one.value <= 0 or one.unit is lexicon.PERCENT or a_time:
            continue
        kinds, value, period = typed(text, one, found)
        if kinds:
            told = " ".join(text[start : one.end].split())
            half = one.half_digit * value / one.digits
            found.append(Quantity(value, half, kinds, start, one.number_end, sentence.at(start), told, at, period, one,
                                  ranged=_ranged(text, start, one.number_end)))  # fmt: skip
    return found


def _ranged(text: str, start: int, end: int) -> bool:
    return any(
        match.start() < end and start < match.end()
        for match in _RANGE.finditer(text, max(0, start - _REACH // 4), end + _REACH // 4)
    )


def _of_row(sentence: Sentence, at: int, segments: Sequence[Segment]) -> Iterator[Quantity]:
    first = next(iter(sentence.cells.values()))[0]
    own: list[Quantity] = []
    at_text = 0
    for column, (label, (text, place)) in enumerate(sentence.cells.items()):
        numbers = numbers_of(tokenize(text))
        start = sentence.text.index(text, at_text)
        at_text = start + len(text)
        for number in numbers:
            if number.value <= 0 or number.unit is lexicon.PERCENT:
                continue
            kinds, value, period = typed(text, number, own)
            plain = number.unit.dimensions == lexicon.NONE and not number.nouns and not number.per
            if plain and len(numbers) == 1:
                heads = (label, sentence.header, *([first] if column else []))
                kinds, scale = next((found for head in heads if (found := header(head))[0]), ((), Fraction(1)))
                value = number.value * (scale if number.unit is lexicon.ONE else min(scale, Fraction(1)))
            if kinds:
                half = number.half_digit * value / number.digits
                where = Place(place.line, place.column + number.start)
                own.append(Quantity(value, half, kinds, start + number.start, start + number.number_end, where,
                                    text[number.start : number.end].strip(), at, period, number,
                                    block=segments[sentence.segment].block, column=column))  # fmt: skip
                yield own[-1]


def multiplied(one: Type, other: Type, sign: int) -> Type:
    """Type of a product (``sign`` 1) or a quotient (-1)."""
    kinds = dict(one)
    for name, power in other:
        kinds[name] = kinds.get(name, 0) + sign * power
    return _type(kinds)


def bare(kinds: Type) -> Type:
    """A type without what it is counted over, tokens aside."""
    return tuple(one for one in kinds if one[0] in BASE or one[0] == "token")
