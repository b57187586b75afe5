"""What no reading allows: rates beyond the greatest peak, more of a thing than there is, wrong shares of a pair."""

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import chain
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.contradictions import Contradiction
from optimizer.audit.deployment import Sentence
from optimizer.audit.hedges import denied, refused
from optimizer.audit.quantities import Quantity, Type, bare
from optimizer.audit.tokens import numbers_of, tokenize
from optimizer.audit.verdict import plain

_PEAK: Final[Type] = (("FLOP", 1), ("second", -1))
_WORK: Final[Type] = (("FLOP", 1), ("token", -1))
_TOKENS: Final[Type] = (("second", -1), ("token", 1))
_COUNTABLE: Final[tuple[Type, ...]] = ((("node", 1),), (("replica", 1),))
_ALL: Final = re.compile(r"\ball\s+(?:the\s+|of\s+the\s+|our\s+)?$", re.IGNORECASE)
_SLACK: Final = 0.03
_FAR: Final = 12
"""Times by which a rate may be beyond what is possible and still be meant for it."""
_PAIR: Final = 2
_SHARED: Final = re.compile(
    r"\b(?:which\s+is|that\s+is|that's|i\.e\.|or|of\s+(?:them|which|these))\b[^.;]{0,24}$", re.IGNORECASE
)


class Ceilings:
    """The greatest peak, the least work of a token and the counts of a document."""

    def __init__(self, figures: Sequence[Sequence[Quantity]]) -> None:
        every = list(chain.from_iterable(figures))
        self.peaks = sorted((one for one in every if bare(one.type) == _PEAK), key=lambda one: one.size)
        self.works = sorted((one for one in every if bare(one.type) == _WORK), key=lambda one: one.size)
        self.counts = {
            kinds: sorted((one for one in every if one.type == kinds), key=lambda one: one.size) for kinds in _COUNTABLE
        }

    def beyond_peak(self, one: Quantity) -> Contradiction | None:
        """A rate of tokens beyond the greatest peak over the least work of a token.

        The greatest is one of many devices if it is several times another.
        """
        if one.type != _TOKENS or one.bound or not self.works or not self.peaks:
            return None
        peak, work = self.peaks[-1], self.works[0]
        most = peak.size / work.size
        if self.peaks[0].size * 2 > peak.size or not most * (1 + _SLACK) < one.size < _FAR * most:
            return None
        lines = tuple(sorted({one.place.line, peak.place.line, work.place.line}))
        told = f"{peak.text} over {work.text} are {plain(Fraction(round(most)))} tokens/s at most"
        return Contradiction(lines, "throughput", (one.value, Fraction(round(most))), told)

    def beyond_all(self, sentence: Sentence, own: Sequence[Quantity]) -> Contradiction | None:
        """``All twelve hosts`` of a document that never counts more than ten."""
        for one in own:
            others = [other for other in self.counts.get(one.type, ())[-_PAIR - 1 :] if other is not one]
            said = one.column < 0 and len(others) >= _PAIR and _ALL.search(sentence.text, 0, one.start)
            if said and others[-1].value < one.value and not refused(sentence.text, one.start, one.end):
                lines = tuple(sorted({one.place.line, others[-1].place.line}))
                told = f"{one.text!r} are more than the document counts anywhere: {others[-1].text!r} at most"
                return Contradiction(lines, one.type[0][0], (one.value, others[-1].value), told)
        return None


def misshared(sentence: Sentence) -> Contradiction | None:
    """``12,400 requests arrived and 1,840 of them failed, which is 18.4 %``: a share of the only two figures."""
    numbers = numbers_of(tokenize(sentence.text))
    for at, share in enumerate(numbers):
        before = numbers[:at]
        if share.unit is not lexicon.PERCENT or len(before) != _PAIR or sentence.cells or share.bound:
            continue
        small, large = sorted(before, key=lambda one: one.value)
        same = small.unit.dimensions == large.unit.dimensions and lexicon.PERCENT not in (small.unit, large.unit)
        said = _SHARED.search(sentence.text, before[-1].number_end, share.start)
        if not same or not said or small.value <= 0 or denied(sentence.text, share.start, share.end):
            continue
        exact = small.value / large.value
        slack = share.half + exact * Fraction(2, 100)
        if all(abs(value - share.value) > slack for value in (exact, 1 - exact, 1 / exact - 1)):
            line = sentence.at(share.start).line
            told = f"{plain(small.digits)} of {plain(large.digits)} are {plain(exact * 100)} %"
            return Contradiction((line,), "share", (share.value, exact), told)
    return None
