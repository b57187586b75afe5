"""Figures that follow from those beside them by their types alone: ``140 GB at 2 GB/s load in 70 s``.

Where two figures of a sentence or the few before it have a product or a quotient of a figure's type, or another is the
same in another unit, it must be one of them, within the digits written and a count, a share or a degree that stands
beside it. It is accused if none gives it, no words take it back, and it is a conclusion: what gives it stands before
it, the one part straight in its clause, or it is a prefix or a power of ten off.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import chain, combinations
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.degrees import COUNT, count
from optimizer.audit.deployment import Sentence
from optimizer.audit.document import Place
from optimizer.audit.quantities import BASE, COUNTED, Quantity, Type, bare, multiplied
from optimizer.audit.scope import SENT, clause_of, denied, refused, set_apart
from optimizer.audit.tokens import numbers_of, tokenize
from optimizer.audit.verdict import Contradiction, plain

_BEFORE: Final = 5
_BEHIND: Final = 1
"""Sentences before and behind a figure among which what gives it is looked for."""
_FURTHEST: Final = 3
"""Sentences that the two parts of a formula may be away, together."""
_FURTHEST_PAID: Final = 7
"""The same of prices and energies, which follow from rates stated once."""
_MOST: Final = 60
_SLACK: Final = 0.03
_ABOUT: Final = 0.08
_BINARY: Final = tuple(1.024**power for power in range(-4, 5))
"""A binary prefix taken for a decimal one."""
_FAR: Final = 12
"""Times by which a figure may miss what gives it and still be meant for it."""
_PREFIXES: Final = (1e-6, 1e-3, 1e3, 1e6)
_BITS: Final = (8.0, 0.125)
_TENS: Final = (10.0, 100.0, 0.1, 0.01)
_CLOSE: Final = 0.02
_ADDENDS: Final = 3
_NEAR: Final = 12
_LARGEST_FACTOR: Final = 5000
_PARTS: Final = {
    "half": 2, "twice": 2, "doubl": 2, "pair": 2, "both": 2, "third": 3, "quarter": 4, "fifth": 5, "sixth": 6,
    "eighth": 8, "tenth": 10, "twelfth": 12, "sixteenth": 16,
}  # fmt: skip
"""Shares and multiples in words, each with its factor."""
_PART: Final = re.compile(rf"\b(?P<part>{'|'.join(_PARTS)})\w*\b", re.IGNORECASE)
_WORDS: Final = re.compile(rf"\b(?!\d){COUNT}\b", re.IGNORECASE)
_GIVEN: Final = frozenset(
    tuple(sorted(kinds))
    for kinds in (
        (("byte", 1), ("second", -1)), (("FLOP", 1), ("second", -1)), (("FLOP", 1), ("token", -1)),
        (("dollar", 1), ("second", -1)), (("joule", 1), ("second", -1)), (("second", -1),),
    )
)  # fmt: skip
"""Types of data sheets and price lists: such figures are what others follow from."""
_TIME: Final[Type] = (("second", 1),)
_OF_SEVERAL: Final = frozenset((name, -1) for name in ("device", "node", "replica"))
_CEILINGS: Final = frozenset([(("byte", 1), ("second", -1)), (("FLOP", 1), ("second", -1))])
"""Rates that no hardware exceeds: what takes longer than they allow is no mistake."""
_RATES: Final[frozenset[Type]] = frozenset([(("dollar", 1), ("token", -1)), (("joule", 1), ("token", -1))])
"""What a token costs, in money or energy: the same in its whole section."""
_DRAWS: Final = re.compile(
    r"(?:[^,;:(\d]|\b\d{1,4} (?=[A-Za-z]))*(?:[,;:]?\s+(?:so|hence|thus|which|that|this|i\.e\.|for|on|we)\s"
    r"[^,;:(\d]*)?[=~≈$€]?\s*",
    re.IGNORECASE,
)
"""Between what a figure follows from and the figure: the rest of the clause, or one that draws on it."""
_APART: Final = re.compile(
    r"\b(?:after|and|at|from|instead|than|or|of|with|under|over|below|above)\s+\W*$|\b(?:but|yet|al?though|while|whereas|against)\b",
    re.IGNORECASE,
)
_IN_ALL: Final = re.compile(r"[^\d.;,]{0,24}\b(?:in\s+total|in\s+all|altogether|overall)\b", re.IGNORECASE)
_TOTALS: Final = re.compile(
    r"\b(?:makes?|gives?|costs?|comes?\s+to|need|in\s+(?:total|all)|altogether|is|are)\b", re.IGNORECASE
)
"""Words by which so many times a figure is concluded from."""
_OTHERS: Final = re.compile(
    r"\b(?:api|charg\w+|quot\w+|list|external|public|spot|competitor\w*|market)\b", re.IGNORECASE
)
"""Words of a price that somebody else asks."""
_WITH: Final = re.compile(r"[^\d.;,]{0,40}?\b(?:at|of|with)\s+(?:[A-Za-z]+\s+){0,3}")
"""Between a conclusion and what it is reckoned from: ``128 sequences at the full 131,072-token window``."""


@dataclass(frozen=True, slots=True)
class _Way:
    """A product or a quotient of two figures, or one figure in another unit."""

    value: float
    sign: str
    parts: tuple[Quantity, ...]
    kinds: Type

    @property
    def told(self) -> str:
        """As it is shown."""
        return f" {self.sign} ".join(part.text for part in self.parts)


def ways(kinds: Type, operands: Sequence[Quantity]) -> Iterator[_Way]:
    """Products and quotients of two of the operands that have a type; what is counted may stay unsaid."""
    for pair in combinations(operands, 2):
        for sign, (one, other) in (("×", pair), ("/", pair), ("/", pair[::-1])):
            made = multiplied(one.type, other.type, 1 if sign == "×" else -1)
            own = bare(made)
            if own == kinds or (sign == "×" and ("token", 1) in own and _loose(own) == kinds != ()):
                yield _Way(one.size * other.size if sign == "×" else one.size / other.size, sign, (one, other), made)


def find_misreckoned(
    said: Sequence[Sentence],
    figures: Sequence[Sequence[Quantity]],
    judged: Collection[Place],
    operands: Collection[Place],
) -> Iterator[Contradiction]:
    """Conclusions that the figures beside them refute, in document order; ``judged`` are figures of equations.

    The cells of a table follow from one another by the rules of its columns, of which others judge; here, a cell is but
    another's figure in another unit.
    """
    factors = lru_cache(maxsize=4096)(lambda at: _factors_of(said[at], judged))
    again: Counter[tuple[Type, str]] = Counter()
    rates: dict[tuple[tuple[str, ...], Type], list[Quantity]] = {}
    for one in chain.from_iterable(figures):
        again[_alike(one)] += 1
        if one.type in _RATES:
            rates.setdefault((said[one.sentence].section, one.type), []).append(one)
    for at, (sentence, own) in enumerate(zip(said, figures, strict=True)):
        near = [
            other
            for other in chain.from_iterable(figures[max(0, at - _BEFORE) : at + _BEHIND + 1])
            if other.column < 0 and other.place not in operands and said[other.sentence].section == sentence.section
        ]
        for one in own if not sentence.code and len(near) <= _MOST else ():
            # What a document has more than once is given.
            if one.place in judged or again[_alike(one)] > 1 or refused(sentence.text, one.start, one.end):
                continue
            beside = [other for other in near if other is not one]
            same = [other for other in rates.get((sentence.section, one.type), ()) if _beside(one, other)]
            if (told := _Conclusion(sentence.text, one, beside, same, factors).refuted()) is not None:
                yield told
                break


def _counts(kinds: Type, one: Quantity) -> bool:
    """Whether a formula counts what a figure does, of whatever that is said."""
    return kinds == tuple(kind for kind in one.type if kind[1] > 0 or kind in kinds)


def _alike(one: Quantity) -> tuple[Type, str]:
    return bare(one.type) or one.type, f"{one.size:.2e}"


def _beside(one: Quantity, other: Quantity) -> bool:
    """Whether one figure may be another in another unit: cells of a table by their column."""
    if one is other:
        return False
    return one.block != other.block or one.column == other.column or min(one.column, other.column) < 0


def _order(one: Quantity) -> tuple[int, int, int]:
    return one.sentence, one.column, one.start


class _Conclusion:
    """A figure, the figures near it, and those of its section that are the same in another unit."""

    def __init__(
        self, text: str, one: Quantity, near: Sequence[Quantity], same: Sequence[Quantity],
        factors: Callable[[int], frozenset[float]],
    ) -> None:  # fmt: skip
        self.text, self.one, self.near, self.same, self.factors = text, one, near, same, factors
        self.kinds = bare(one.type)
        self._paid = bool({"dollar", "joule"} & dict(self.kinds).keys())
        self.before = [other for other in near if other.sentence == one.sentence and _order(other) < _order(one)]

    def refuted(self) -> Contradiction | None:
        """The contradiction, if formulas give the figure's type and none of them the figure."""
        one = self.one
        if (added := self._added()) is not None:
            return self._told(added)
        pairs = (way for way in ways(self.kinds, self.near) if self.kinds or _counts(way.kinds, one))
        every = [*self._same(), *pairs]
        given = sorted(filter(self._meant, every), key=self._distance)
        if not given or any(self._gives(way.value, way.parts) for way in every) or self._is_sum():
            return None
        earlier = [other for other in self.near if _order(other) < _order(one) and bare(other.type) == self.kinds]
        apart, supposed = (is_so(self.text, one.start, one.end) for is_so in (set_apart, denied))
        for way in given:
            # What another figure concludes from the two is not concluded from them again.
            values = [way.value * factor for factor in {1.0, *self._factors(())}]
            concluded = any(_meets(other, value) for other in earlier if other not in way.parts for value in values)
            nearest = self._distance(way) == self._distance(given[0])
            follows = self._slipped(way) or (nearest and not one.bound and self._follows(way))
            if follows and not (apart or (way.sign and (concluded or supposed))):
                return self._told(way)
        return None

    def _told(self, way: _Way) -> Contradiction:
        value = way.value
        exact = (
            Fraction(value).limit_denominator(10**12)
            if value < 1
            else Fraction(round(value, 9)).limit_denominator(10**6)
        )
        lines = tuple(sorted({self.one.place.line, *(part.place.line for part in way.parts)}))
        text = f"{way.told} is {plain(self.one.shown(exact))} in the unit of {self.one.text!r}"
        return Contradiction(lines, "reckoning", (self.one.value, exact), text)

    def _same(self) -> Iterator[_Way]:
        """Figures that this one may be in another unit or period, or turned over: tokens/s of ms."""
        loose = _loose(self.one.type)
        for other in dict.fromkeys((*self.near, *self.same)) if loose else ():
            if _loose(other.type) == loose:
                yield _Way(other.size, "", (other,), other.type)
            elif _loose(other.type) == tuple((name, -power) for name, power in loose):
                yield _Way(1 / other.size, "", (other,), self.one.type)

    def _distance(self, way: _Way) -> int:
        """Sentences between a figure and the parts of a formula, together; a rate stated once holds everywhere."""
        return sum(abs(self.one.sentence - part.sentence) for part in way.parts)

    def _meant(self, way: _Way) -> bool:
        """Whether a formula is near enough for its value to be meant, of outright figures before the conclusion."""
        one = self.one
        behind = [other for other in self.near if other.sentence == one.sentence and _order(other) > _order(one)][:1]
        with_it = behind and _WITH.fullmatch(self.text, one.end, behind[0].start)
        for part in way.parts:
            if part.bound or (_order(part) > _order(one) and not (with_it and part is behind[0])):
                return False
        if not way.sign:
            (other,) = way.parts
            if other in self.same:
                return _unit(one) != _unit(other)
            turned = ("request", -1) in one.type and _loose(one.type) != _loose(other.type)
            period = ("second", -1) in one.type and not lexicon.TIMES.keys().isdisjoint({one.period, other.period})
            again = (period and one.period != other.period) or (_unit(one) != _unit(other) and self._slipped(way))
            alike = _unscoped(other) == _unscoped(one) and again
            return self.before[-1:] == [other] and self._straight(way) and (turned or alike)
        if bare(way.kinds) != self.kinds and any(part.sentence != one.sentence for part in way.parts):
            return False  # tokens that neither of the two names
        if all(bare(part.type) for part in way.parts):
            return self._distance(way) <= (_FURTHEST_PAID if self._paid else _FURTHEST)
        return self._alone(way) or (way.kinds == one.type and bool(self.kinds) and self._distance(way) <= 1)

    def _slipped(self, way: _Way) -> bool:
        """Whether the figure is a prefix, a factor of eight or a power of ten off what a formula gives."""
        if not self.kinds or not all(bare(part.type) for part in way.parts):
            return False
        shares = self._factors(()) if all(part in self.before for part in way.parts) else ()
        prefixes = _PREFIXES + (_BITS if ("byte", 1) in self.one.type or self.kinds == _TIME else ())
        slips = {*_TENS, *(factor**sign * slip for factor in (1, *shares) for sign in (1, -1) for slip in prefixes)}
        return any(_exactly(self.one, way.value * slip) for slip in slips)

    def _follows(self, way: _Way) -> bool:
        """Whether a figure must be what a formula gives: no ceiling that it keeps, no chance pair of figures."""
        one, alone, more = self.one, self._alone(way), self.one.size > way.value
        if self._paid and _OTHERS.search(clause_of(self.text, one.start, one.end)):
            return False
        limited = way.sign == "/" and {bare(part.type) for part in way.parts} & _CEILINGS
        if limited and not alone and more == (dict(self.kinds).get("second", 0) > 0):
            return False
        values = [way.value * factor for factor in {1.0, *self._factors(())}]
        if min(max(value / one.size, one.size / value) for value in values) > _FAR:
            return False
        if not all(bare(part.type) for part in way.parts):
            said = self.text[way.parts[-1].end : one.end + 2 * _NEAR]
            return _TOTALS.search(said) is not None and _APART.search(said) is None
        if way.sign and (one.type in _GIVEN or (self._distance(way) == 0 and not alone)):
            return False
        if self.kinds and any(kind not in way.kinds for kind in one.type if kind[1] < 0 and kind[0] in COUNTED):
            return False
        scoped = any(kind not in one.type for kind in way.kinds if kind in _OF_SEVERAL)
        if scoped and not any(factor > 1 for factor in self._factors(way.parts)):
            return False  # of each, and nobody says how many there are
        if not self.kinds and SENT.search(self.text):
            return False
        if not self.kinds and way.sign == "/" and (way.value < 1 or more != (("request", 1) in one.type)):
            return False  # more than what is needed, fewer than what fits
        return self._straight(way) and self._distance(way) <= (_FURTHEST_PAID if self._paid else _FURTHEST)

    def _alone(self, way: _Way) -> bool:
        """Whether the parts of a formula are the only figures that the sentence has before its conclusion."""
        known = {part.start for part in self.before}
        counts = not all(bare(part.type) for part in way.parts)
        mine = {part for part in self.before if counts or bare(part.type)}
        others = [other for other in numbers_of(tokenize(self.text[: self.one.start])) if other.start not in known]
        return set(way.parts) == mine and not any(one.decimal or one.unit.scale > 1 for one in others)

    def _straight(self, way: _Way) -> bool:
        """Whether a figure stands straight behind what gives it, or nothing that it follows from is in its sentence."""
        last = max((part for part in self.before if bare(part.type)), key=_order, default=None)
        if last is None:
            return self._paid or any(_order(part) > _order(self.one) for part in way.parts)
        gap = self.text[last.end : self.one.start]
        return last in way.parts and _DRAWS.fullmatch(gap) is not None and _APART.search(gap) is None

    def _added(self) -> _Way | None:
        """Figures of a sentence that nearly add up to what it calls their sum."""
        parts = tuple(other for other in self.before if other.type == self.one.type and not other.bound)
        if len(parts) < _ADDENDS or not _IN_ALL.match(self.text, self.one.end):
            return None
        sums = [sum(part.size for part in parts[at:]) for at in range(len(parts) - 1)]
        near = abs(sums[0] - self.one.size) <= sums[0] / 4 and self.one.size > max(part.size for part in parts)
        off = near and all(abs(value - self.one.size) > value * _CLOSE for value in sums)
        return _Way(sums[0], "+", parts, self.one.type) if off else None

    def _factors(self, parts: Sequence[Quantity]) -> frozenset[float]:
        """Counts, shares and degrees that stand in the sentence of a figure and of what gives it."""
        sentences = {self.one.sentence, *(part.sentence for part in parts)}
        return frozenset(chain.from_iterable(map(self.factors, sentences)))

    def _gives(self, value: float, parts: Sequence[Quantity]) -> bool:
        """Whether a value is the figure's, or times or over a factor that stands beside it."""
        one = self.one
        factors = {1.0, *self._factors(parts)}
        shares = {1.0, *(factor for factor in factors if factor < 1)}  # 45% of 8 × 1,979 TFLOPS
        each = {first * second for first in factors for second in shares}
        return any(_meets(one, value * factor) or _meets(one, value / factor) for factor in each)

    def _is_sum(self) -> bool:
        """Whether some of the figures near it add up to it, or leave it of the largest."""
        parts = [other.size for other in self.near if bare(other.type) == self.kinds][-_NEAR:]
        return any(
            value > 0 and abs(value - self.one.size) <= _SLACK * self.one.size
            for one, other in combinations(parts, 2)
            for value in (one + other, abs(one - other))
        )


def _unscoped(one: Quantity) -> Type:
    """A type without the token that it is said of."""
    return tuple(kind for kind in one.type if kind != ("token", -1))


def _unit(one: Quantity) -> Fraction:
    """Base units of the one that a figure is written in, by its words or its header."""
    return one.value / one.number.digits if one.number else Fraction(1)


def _loose(kinds: Type) -> Type:
    """The units of a type alone."""
    return tuple(kind for kind in kinds if kind[0] in BASE)


def _exactly(one: Quantity, value: float) -> bool:
    return abs(value - one.size) <= max(one.size * _CLOSE, min(float(one.half), 2 * one.size * _CLOSE))


def _meets(one: Quantity, value: float) -> bool:
    """Whether a value is a figure within its digits, a prefix read as binary, a count rounded to a whole one."""
    if not bare(one.type) and abs(one.size - value) < 1:
        return True
    slack = max(one.size * (_ABOUT if one.approximate else _SLACK), float(one.half) * 1.05)
    return any(abs(value * share - one.size) <= slack for share in (_BINARY if ("byte", 1) in one.type else (1.0,)))


def _factors_of(sentence: Sentence, judged: Collection[Place]) -> frozenset[float]:
    """Counts, shares and degrees of a sentence, outside its equations; of a row whole numbers alone."""
    found = {
        float(one.value)
        for one in numbers_of(tokenize(sentence.text))
        if one.unit is lexicon.PERCENT or (one.unit is lexicon.ONE and not (sentence.cells and one.decimal))
        if sentence.at(one.start) not in judged
    }
    found |= {float(count(match[0])) for match in _WORDS.finditer(sentence.text)}
    found |= set(map(float, sentence.own.degrees.values()))
    found |= {float(_PARTS[match["part"].lower()]) for match in _PART.finditer(sentence.text)}
    return frozenset(value for value in found if 0 < value < _LARGEST_FACTOR and value != 1)
