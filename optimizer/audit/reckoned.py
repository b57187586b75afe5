"""Figures that follow from those beside them by their types alone: ``140 GB at 2 GB/s load in 70 s``.

Where two figures of a sentence or the few before it have a product or a quotient of a figure's type, it must be one of
them, within the digits written and a count, a share or a degree that stands beside it. It is accused if none gives it,
nothing of its type comes near it, no words take it back, and it is a conclusion: it stands behind what gives it.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import chain, combinations
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.contradictions import Contradiction
from optimizer.audit.counts import COUNT, count
from optimizer.audit.deployment import Sentence
from optimizer.audit.document import Place
from optimizer.audit.hedges import clause_of, denied, refused, set_apart
from optimizer.audit.quantities import BASE, COUNTED, Quantity, Type, bare, multiplied
from optimizer.audit.tokens import numbers_of, tokenize
from optimizer.audit.verdict import plain

_BEFORE: Final = 5
_BEHIND: Final = 1
"""Sentences before and behind a figure among which what gives it is looked for."""
_FURTHEST: Final = 3
"""Sentences that the two parts of a formula may be away, together, where a figure is exactly a prefix off."""
_NEAREST: Final = 1
"""The same where it is off by anything else."""
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
_FURTHEST_PAID: Final = 7
"""The same of prices and energies, which follow from rates stated once."""
_NEAR: Final = 12
_LARGEST_FACTOR: Final = 5000
_HALF: Final = re.compile(r"\b(?:half|twice|doubl\w+|pair|both)\b", re.IGNORECASE)
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
_RATES: Final[frozenset[Type]] = frozenset([(("dollar", 1), ("token", -1)), (("joule", 1), ("token", -1))])
"""What a token costs, in money or energy."""
_CEILINGS: Final = frozenset([(("byte", 1), ("second", -1)), (("FLOP", 1), ("second", -1))])
"""Rates that no hardware exceeds: what takes longer than they allow is no mistake."""

_TOTALS: Final = re.compile(
    r"=|\b(?:i\.e\.|that\s+is|which\s+is|that's|makes?|gives?|costs?|comes?\s+to|adds?\s+up\s+to|total\w*|altogether|in\s+all"
    r"|needs?|so|hence|thus|about|is|are)\b",
    re.IGNORECASE,
)
"""Words by which a count times a figure is concluded from."""
_CONCLUDES: Final = re.compile(
    r"=|→|\b(?:i\.e\.|that\s+(?:is|makes|gives)|which\s+(?:is|makes|gives)|enough\s+for|makes?|gives?|takes?|so|hence|thus)\b",
    re.IGNORECASE,
)
"""Words by which a sentence draws on the one before."""
_IN_ALL: Final = re.compile(r"[^\d.;,]{0,24}\b(?:in\s+total|in\s+all|altogether|overall)\b", re.IGNORECASE)
_CONTRAST: Final = re.compile(r"\b(?:after|al?though|but|while|whereas|against|instead|than|yet)\b", re.IGNORECASE)
_OTHERS: Final = re.compile(
    r"\b(?:api|charg\w+|quot\w+|list|external|public|spot|competitor\w*|market)\b", re.IGNORECASE
)
"""Words of a price that somebody else asks."""
_WITH: Final = re.compile(r"[^\d.;,]{0,40}?\b(?:at|of|with)\s+(?:[A-Za-z]+\s+){0,3}")
"""Between a conclusion and what it is reckoned from: ``128 sequences at the full 131,072-token window``."""
_RENAMED: Final = re.compile(
    r"[^\d.;]{0,40}?(?:[,(=]|\bis\b|\bor\b)\s*(?:(?:which|that|this|it)\s+(?:is|means?|makes?)\s+|i\.e\.,?\s+|or\s+|so\s+|=\s*)?"
    r"(?:about\s+|roughly\s+|around\s+|some\s+)?[~≈$]?",
    re.IGNORECASE,
)
"""Between a figure and the same in another unit."""
_PERIODS: Final = {name: float(lexicon.TIMES[name].scale) for name in ("day", "year")} | {"month": 28 * 86400.0}


@dataclass(frozen=True, slots=True)
class _Way:
    """A product or a quotient of two figures."""

    value: float
    sign: str
    one: Quantity
    other: Quantity

    @property
    def kinds(self) -> Type:
        """Its type."""
        return multiplied(self.one.type, self.other.type, 1 if self.sign == "×" else -1)

    @property
    def parts(self) -> tuple[Quantity, Quantity]:
        """Both figures."""
        return self.one, self.other

    @property
    def counts(self) -> bool:
        """Whether one of them only counts."""
        return not (bare(self.one.type) and bare(self.other.type))

    @property
    def told(self) -> str:
        """As it is shown."""
        return f"{self.one.text} {self.sign} {self.other.text}"


def ways(kinds: Type, operands: Sequence[Quantity]) -> Iterator[_Way]:
    """Products and quotients of two of the operands that have a type; what is counted may stay unsaid."""
    for one, other in combinations(operands, 2):
        product = bare(multiplied(one.type, other.type, 1))
        if product == kinds or (("token", 1) in product and _loose(product) == kinds != ()):
            yield _Way(one.size * other.size, "×", one, other)
        for top, bottom in ((one, other), (other, one)):
            if bare(multiplied(top.type, bottom.type, -1)) == kinds:
                yield _Way(top.size / bottom.size, "/", top, bottom)


def find_misreckoned(
    said: Sequence[Sentence], figures: Sequence[Sequence[Quantity]], judged: Collection[Place]
) -> Iterator[Contradiction]:
    """Conclusions that the figures beside them refute, in document order; ``judged`` are figures of equations.

    The cells of a table follow from one another by the rules of its columns, of which others judge; here, a cell is but
    another's figure in another unit.
    """
    every: dict[Type, list[float]] = {}
    rates: dict[tuple[tuple[str, ...], Type], list[Quantity]] = {}
    for one in chain.from_iterable(figures):
        every.setdefault(bare(one.type) or one.type, []).append(one.size)
        if one.type in _RATES:
            rates.setdefault((said[one.sentence].section, one.type), []).append(one)
    for sizes in every.values():
        sizes.sort()
    for at, (sentence, own) in enumerate(zip(said, figures, strict=True)):
        near = [
            other
            for other in chain.from_iterable(figures[max(0, at - _BEFORE) : at + _BEHIND + 1])
            if other.column < 0 and said[other.sentence].section == sentence.section
        ]
        for one in own if not sentence.code and len(near) <= _MOST else ():
            if one.place in judged or _again_elsewhere(one, every) or refused(sentence.text, one.start, one.end):
                continue
            beside = [other for other in near if other is not one]
            alike = [other for other in rates.get((sentence.section, one.type), ()) if _beside(one, other)]
            if (told := _Conclusion(said, figures, one, beside, alike).refuted()) is not None:
                yield told
                break


def _again_elsewhere(one: Quantity, every: Mapping[Type, Sequence[float]]) -> bool:
    """Whether the document has the figure more than once: it is given, and a list of one line need not be reckoned."""
    sizes, slack = every[bare(one.type) or one.type], 2 * float(one.half) + one.size / 200
    return bisect_right(sizes, one.size + slack) - bisect_left(sizes, one.size - slack) > 1


def _beside(one: Quantity, other: Quantity) -> bool:
    """Whether one figure may be another in another unit: cells of a table by their column."""
    if one is other:
        return False
    return one.block != other.block or one.column == other.column or min(one.column, other.column) < 0


def _order(one: Quantity) -> tuple[int, int, int]:
    return one.sentence, one.column, one.start


class _Conclusion:
    """A figure, the figures near it, and those of its section that are of its very type."""

    def __init__(
        self, said: Sequence[Sentence], figures: Sequence[Sequence[Quantity]], one: Quantity,
        near: Sequence[Quantity], alike: Sequence[Quantity],
    ) -> None:  # fmt: skip
        self.said, self.figures, self.one, self.near, self.alike = said, figures, one, near, alike
        self.text, self.kinds = said[one.sentence].text, bare(one.type)
        self._paid = bool({"dollar", "joule"} & dict(self.kinds).keys())
        self.before = [other for other in near if other.sentence == one.sentence and _order(other) < _order(one)]

    def refuted(self) -> Contradiction | None:
        """The contradiction, if formulas give the figure's type and none of them the figure."""
        if (added := self._added()) is not None:
            return self._told(*added)
        every = [way for way in ways(self.kinds, self.near) if self.kinds or way.kinds == self.one.type]
        given = [way for way in every if self._meant(way)]
        again, other_unit = self._again(), self._in_another_unit()
        if not (given or again or other_unit) or any(self._gives(way.value, way.parts) for way in every):
            return None
        loose = _loose(self.kinds)
        inverse = tuple((name, -power) for name, power in loose)
        for other in self.near if self.kinds else ():
            if (_loose(other.type) == loose and self._gives(other.size, (other,))) or (
                _loose(other.type) == inverse and self._gives(1 / other.size, (other,))
            ):
                return None
        if other_unit is not None:
            return self._told(*other_unit)
        if self._is_sum():
            return None
        earlier = [other for other in self.near if _order(other) < _order(self.one) and bare(other.type) == self.kinds]
        apart = set_apart(self.text, self.one.start, self.one.end)
        outright = not (self.one.bound or apart)
        supposed = denied(self.text, self.one.start, self.one.end)
        for way in () if supposed else sorted(given, key=self._distance):
            # What another figure concludes from the two is not concluded from them again.
            values = [way.value * factor for factor in {1.0, *self._factors(())}]
            concluded = any(_meets(other, value) for other in earlier if other not in way.parts for value in values)
            if not (concluded or apart) and (self._off_by_a_prefix(way) or (outright and self._follows(way))):
                return self._told(way.value, way.told, way.parts)
        return self._told(*again) if again is not None and outright else None

    def _told(self, value: float, told: str, parts: Sequence[Quantity]) -> Contradiction:
        exact = (
            Fraction(value).limit_denominator(10**12)
            if value < 1
            else Fraction(round(value, 9)).limit_denominator(10**6)
        )
        lines = tuple(sorted({self.one.place.line, *(part.place.line for part in parts)}))
        text = f"{told} is {plain(self.one.shown(exact))} in the unit of {self.one.text!r}"
        return Contradiction(lines, "reckoning", (self.one.value, exact), text)

    def _distance(self, way: _Way) -> int:
        """Sentences between a figure and the parts of a formula, together; a rate stated once holds everywhere."""
        return sum(abs(self.one.sentence - part.sentence) for part in way.parts)

    def _meant(self, way: _Way) -> bool:
        """Whether a formula is near enough for its value to be meant, of outright figures before the conclusion."""
        behind = [
            other for other in self.near if other.sentence == self.one.sentence and _order(other) > _order(self.one)
        ][:1]
        with_it = behind and _WITH.fullmatch(self.text, self.one.end, behind[0].start)
        for part in way.parts:
            if part.bound or (_order(part) > _order(self.one) and not (with_it and part is behind[0])):
                return False
        if bare(way.kinds) != self.kinds and any(part.sentence != self.one.sentence for part in way.parts):
            return False  # tokens that neither of the two names
        turned = (way.parts, way.parts[::-1])
        if any(one.type == _TIME and one.size < _PERIODS.get(other.period, 0) for one, other in turned):
            return False  # what a day takes is not told by its hours
        if not way.counts:
            return self._distance(way) <= (_FURTHEST_PAID if self._paid else _FURTHEST if self.kinds else 1)
        return self._alone(way) or (way.kinds == self.one.type and bool(self.kinds) and self._distance(way) <= 1)

    def _alone(self, way: _Way) -> bool:
        """Whether the parts of a formula are the only figures that the sentence has before its conclusion."""
        if set(way.parts) != set(self.before):
            return False
        known = {part.start for part in self.before}
        others = [other for other in numbers_of(tokenize(self.text[: self.one.start])) if other.start not in known]
        return not any(other.decimal or other.unit.scale > 1 for other in others)

    def _off_by_a_prefix(self, way: _Way) -> bool:
        """Whether the figure is a prefix, a factor of eight or a power of ten off what a formula gives."""
        if way.counts:
            return False
        shares = self._factors(()) if all(part in self.before for part in way.parts) else ()
        slips = {
            *_TENS,
            *(factor**sign * slip for factor in (1, *shares) for sign in (1, -1) for slip in _slips(self.one)),
        }
        return any(_exactly(self.one, way.value * slip) for slip in slips)

    def _follows(self, way: _Way) -> bool:
        """Whether a figure must be what a formula gives: no ceiling that it keeps, no chance pair of figures."""
        one, kinds = self.one, dict(self.kinds)
        if any(name in COUNTED and power < 0 and (name, power) not in way.kinds for name, power in one.type):
            return False
        same = [part.end for part in way.parts if part.sentence == one.sentence and _order(part) < _order(one)]
        last = max(same, default=0)
        if _CONTRAST.search(self.text, min(last, one.start), one.start):
            return False
        if self._paid and _OTHERS.search(clause_of(self.text, one.start, one.end)):
            return False
        alone, more = self._alone(way), one.size > way.value
        limited = way.sign == "/" and {bare(part.type) for part in way.parts} & _CEILINGS
        if limited and not alone and more == (kinds.get("second", 0) > 0):
            return False
        values = [way.value * factor for factor in {1.0, *self._factors(())}]
        if min(max(value / one.size, one.size / value) for value in values) > _FAR:
            return False
        if way.counts or one.type in _GIVEN:
            return way.counts and self._totalled(way)
        if not kinds and way.sign == "/" and more != (one.type[0][0] == "request"):
            return False  # more than what is needed, fewer than what fits
        return alone or self._drawn(way, last)

    def _totalled(self, way: _Way) -> bool:
        """Whether words conclude a count times a figure."""
        inside = all(part.sentence == self.one.sentence for part in way.parts)
        last = max(part.end for part in way.parts if part.sentence == self.one.sentence) if inside else 0
        said = _TOTALS.search(self.text, min(last, self.one.start), self.one.start)
        return (said or _IN_ALL.match(self.text, self.one.end)) is not None

    def _drawn(self, way: _Way, last: int) -> bool:
        """Whether a sentence draws on the one before; prices and energies are known to follow from rates."""
        if any(bare(part.type) for part in self.before) and set(way.parts).isdisjoint(self.before):
            return False  # its own sentence has what it follows from
        if self._distance(way) == 0 and way.one.sentence == way.other.sentence:
            return False  # beside figures of which it may be a part or a sum
        if self._paid:
            return self._distance(way) <= _FURTHEST_PAID
        said = _CONCLUDES.search(self.text, min(last, self.one.start), self.one.start)
        return said is not None and self._distance(way) <= _NEAREST

    def _again(self) -> tuple[float, str, tuple[Quantity, ...]] | None:
        """The figure just before, said again in another unit or period, or as a rate of one user."""
        one, other = self.one, self.before[-1] if self.before else None
        if other is None or one.number is None or other.number is None:
            return None
        of_user = ("request", -1) in one.type and _loose(one.type) == (("second", -1),)
        if len(self.before) == 1 and of_user and _loose(other.type) == (("second", 1),):
            return 1 / other.size, f"1 / {other.text}", (other,)
        other_unit = one.period != other.period or one.number.unit.name != other.number.unit.name
        other_period = one.period != other.period and not lexicon.TIMES.keys().isdisjoint({one.period, other.period})
        slipped = any(_exactly(one, other.size * slip) for slip in _slips(one))
        renamed = other_unit and (other_period or slipped) and _RENAMED.fullmatch(self.text, other.end, one.start)
        return (other.size, other.text, (other,)) if renamed and _unscoped(other.type) == _unscoped(one.type) else None

    def _in_another_unit(self) -> tuple[float, str, tuple[Quantity, ...]] | None:
        """A figure of the section that this one is in another unit, but for a power of ten."""
        own = {1.0, *self._factors(())}
        if any(
            _meets(self.one, other.size * factor**sign) for other in self.alike for factor in own for sign in (1, -1)
        ):
            return None
        for other in sorted(self.alike, key=lambda other: abs(other.sentence - self.one.sentence)):
            later = _order(other) > _order(self.one) or _unit(other) == _unit(self.one)
            if not later and any(_exactly(self.one, other.size * slip) for slip in (*_slips(self.one), *_TENS)):
                return other.size, other.text, (other,)
        return None

    def _added(self) -> tuple[float, str, tuple[Quantity, ...]] | None:
        """Figures of a sentence that nearly add up to what it calls their sum."""
        parts = [other for other in self.before if other.type == self.one.type and not other.bound]
        if len(parts) < _ADDENDS or not _IN_ALL.match(self.text, self.one.end):
            return None
        added = sum(part.size for part in parts)
        near = abs(added - self.one.size) <= added / 4 and self.one.size > max(part.size for part in parts)
        sums = [sum(part.size for part in parts[at:]) for at in range(len(parts) - 1)]
        off = all(abs(value - self.one.size) > value * _CLOSE for value in sums)
        return (added, " + ".join(part.text for part in parts), tuple(parts)) if near and off else None

    def _factors(self, parts: Sequence[Quantity]) -> frozenset[float]:
        """Counts, shares and degrees that stand in the sentence of a figure and of what gives it."""
        sentences = {self.one.sentence, *(part.sentence for part in parts)}
        every = (
            factors_of(self.said[at].text, tuple(self.said[at].own.degrees.values()), whole=bool(self.said[at].cells))
            for at in sentences
        )
        return frozenset(chain.from_iterable(every))

    def _gives(self, value: float, parts: Sequence[Quantity]) -> bool:
        """Whether a value is the figure's, or times or over a factor that stands beside it."""
        one = self.one
        factors = {1.0, *self._factors(parts)}
        shares = {1.0, *(factor for factor in factors if factor < 1)}  # 45% of 8 × 1,979 TFLOPS
        each = {first * second for first in factors for second in shares}
        return any(_meets(one, value * factor) or _meets(one, value / factor) for factor in each)

    def _is_sum(self) -> bool:
        """Whether some of the figures near it add up to it, or leave it of the largest."""
        at, parts = self.one.sentence, list[float]()
        for other in chain.from_iterable(self.figures[max(0, at - _NEAR) : at + _NEAR + 1]):
            if other is not self.one and bare(other.type) == self.kinds and len(parts) < _NEAR:
                parts.append(other.size)
        return any(
            value > 0 and abs(value - self.one.size) <= _SLACK * self.one.size
            for one, other in combinations(parts, 2)
            for value in (one + other, abs(one - other))
        )


def _unscoped(kinds: Type) -> Type:
    """A type without the token that it is said of."""
    return tuple(kind for kind in kinds if kind != ("token", -1))


def _unit(one: Quantity) -> Fraction:
    """Base units of the one that a figure is written in, by its words or its header."""
    return one.value / one.number.digits if one.number else Fraction(1)


def _loose(kinds: Type) -> Type:
    """The units of a type alone."""
    return tuple(kind for kind in kinds if kind[0] in BASE)


def _slips(one: Quantity) -> tuple[float, ...]:
    """By what a unit is mistaken: a prefix, of data bits for bytes too."""
    return _PREFIXES + (_BITS if ("byte", 1) in one.type or bare(one.type) == _TIME else ())


def _exactly(one: Quantity, value: float) -> bool:
    return abs(value - one.size) <= max(one.size * _CLOSE, min(float(one.half), 2 * one.size * _CLOSE))


def _meets(one: Quantity, value: float) -> bool:
    """Whether a value is a figure within its digits, a prefix read as binary, a count rounded to a whole one."""
    if not bare(one.type) and abs(one.size - value) < 1:
        return True
    slack = max(one.size * (_ABOUT if one.approximate else _SLACK), float(one.half) * 1.05)
    return any(abs(value * share - one.size) <= slack for share in (_BINARY if ("byte", 1) in one.type else (1.0,)))


@lru_cache(maxsize=4096)
def factors_of(text: str, degrees: tuple[int, ...], *, whole: bool) -> frozenset[float]:
    """Counts, shares and degrees of a sentence, of a row (``whole``) whole numbers alone."""
    found = {
        float(one.value)
        for one in numbers_of(tokenize(text))
        if one.unit is lexicon.PERCENT or (one.unit is lexicon.ONE and not (whole and one.decimal))
    }
    found |= {float(count(match[0])) for match in _WORDS.finditer(text)}
    found |= set(map(float, degrees))
    found |= {2.0} if _HALF.search(text) else set()
    return frozenset(value for value in found if 0 < value < _LARGEST_FACTOR and value != 1)
