"""Slips that the figures of one sentence show: a prefix, bits for bytes, a sum of money, a list, a span of a day."""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations, permutations, product
from math import prod
from typing import Final

from optimizer.audit.contradictions import Contradiction
from optimizer.audit.deployment import COUNT, count
from optimizer.audit.document import Segment
from optimizer.audit.quantities import Quantity, Type, bare, is_count, multiplied, products, quotients
from optimizer.audit.verdict import plain

IN_ALL: Final = re.compile(r"[^\d.;,]{0,24}\b(?:in\s+total|in\s+all|altogether|overall)\b", re.IGNORECASE)
SLACK: Final = Fraction(12, 100)
"""Between binary and decimal prefixes lie 7.4%, and people round."""
MOST_FIGURES: Final = 5
_PREFIXES: Final = tuple(Fraction(1000) ** power for power in (-2, -1, 1, 2))
_SLIPS: Final = (*_PREFIXES, Fraction(8), Fraction(1, 8))
"""A prefix or two, and bits for bytes."""
_FACTOR: Final = re.compile(rf"({COUNT})(?=\s*[x×*]\s*[\d$]|\s+[a-z-]+s\b)", re.IGNORECASE)
"""A number that multiplies what stands behind it: ``4 x 864 GB/s``, ``eight NICs``."""
_AHEAD: Final = 32
_DIGITS: Final = Fraction(2, 100)
_BITS: Final = re.compile(r"[KMGT](?:b\b|bit|bps|b/s)")
_PAYS: Final = re.compile(r"=|\b(?:costs?|pays?|is|are|makes?|gives?|comes? to|so|or|totals?|bill)\b", re.IGNORECASE)
_RIVAL: Final = re.compile(
    r"%|\b(?:vs|versus|against|while|cheaper|dearer|than|discount\w*|sav\w+|utili[sz]\w+|budget|plus|minus|tax|list"
    r"|on[- ]demand|reserved|spot|setup|idle|other|extra)\b",
    re.IGNORECASE,
)
"""Words with which another price, or more than the figures at hand, enters a sum of money."""
_MOST_PAID: Final = 4
_CENTS: Final = Fraction(5, 100)
"""Share by which sums of money differ: a month of 720, 730 or 744 hours."""
_ADDENDS: Final = 3
"""Figures that make a list which somebody added up."""
_AGAIN: Final = re.compile(
    r"\s*(?:(?!(?:at|of|for|by|with|per|in|and|to|from|over|on)\b)[A-Za-z/]{1,8}\s*)?[,(]?\s*"
    r"(?:which is|that is|i\.e\.|or|so|=)?\s*"
    r"(?:about|roughly|around|some)?\s*[~≈]?\s*",
    re.IGNORECASE,
)
_SPAN: Final = re.compile(
    r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?!:)\s*(?:[A-Z]{2,4}\s*)?(?:to|until|till|[-–—→])\s*([01]?\d|2[0-4]):([0-5]\d)(?!:)"
    r"[^\d.;]{0,24}?(\d+(?:\.\d+)?)[\s-]?(min\w*|h(?:ours?)?)\b",
    re.IGNORECASE,
)


def find_slip(text: str, own: Sequence[Quantity], result: Quantity, factors: set[Fraction]) -> Contradiction | None:
    """What the figures of a sentence show a conclusion to have gone wrong by; ``factors`` are its bare numbers."""
    return _paid(text, own, result, factors) or _added(text, own, result) or _slipped(text, own, result, factors)


def _slipped(text: str, own: Sequence[Quantity], result: Quantity, factors: set[Fraction]) -> Contradiction | None:
    """A conclusion that is a thousand or eight times what the figures before it give, and nothing else.

    Any of the sentence's bare numbers (``factors``) may make it right; those alone that stand before a sign of
    multiplication or a noun make it wrong.
    """
    operands = [item for item in own if item.end <= result.start]
    if not result.type or is_count(result) or len(operands) > MOST_FIGURES:
        return None
    ways = [
        (value, f"{one.text} {sign} {other.text}")
        for one, other in permutations(operands, 2)
        for value, sign, types in (
            (one.value * other.value, "×", products(one, other)),
            (one.value / other.value, "/", quotients(one, other)),
        )
        if result.type in types | {_less_tokens(one) for one in types} and not (is_count(one) or is_count(other))
    ]  # fmt: skip
    again = operands[-1:] if operands and _AGAIN.fullmatch(text[operands[-1].end : result.start]) else []
    bits = [item for item in operands if item.type == result.type and _BITS.search(item.text)]
    if not ways and not again and not bits:
        return None
    any_share = {factor**sign for factor in (Fraction(1), *factors) if factor > 0 for sign in (1, -1)}
    alike = [item.value for item in operands if item.type == result.type]
    right = [value * share for value in (*alike, *(value for value, _ in ways)) for share in any_share]
    if any(abs(value - result.value) <= SLACK * value for value in right):
        return None
    first = max(0, min((item.start for item in operands), default=0) - _AHEAD)
    tight = {count(match[1]) for match in _FACTOR.finditer(text, first, result.start)}
    shares = {Fraction(factor) ** sign for factor in (1, *tight) if factor > 0 for sign in (1, -1)}
    given = [(value * share, formula, _SLIPS) for value, formula in ways for share in shares]
    # the same figure in another unit just behind: ``163,840 bytes, about 160 MiB``
    for one in again:
        either = (1, Fraction(1000, 1024)) if one.type == result.type else ()
        given += [(one.value * binary, one.text, _PREFIXES) for binary in either]
    if not _BITS.search(result.text):  # bits taken for bytes: the digits go over as they are
        given += [(one.value * share, one.text, _SLIPS) for one in bits for share in shares]
    for value, formula, slips in given:
        if any(abs(value * slip - result.value) <= result.value * _DIGITS for slip in slips):
            lines = tuple(sorted({result.line, *(item.line for item in operands)}))
            told = f"{formula} is {plain(value / result.value * result.digits)} in the unit of {result.text!r}"
            return Contradiction(lines, "reckoning", (result.value, value), told)
    return None


def _less_tokens(kinds: Type) -> Type:
    return tuple(one for one in kinds if one[0] != "token")


def _paid(text: str, own: Sequence[Quantity], result: Quantity, factors: set[Fraction]) -> Contradiction | None:
    """A sum of money that all the prices, rates and times before it give: ``16 GPUs at $2.10 an hour for 730 h``.

    ``factors`` are the sentence's bare numbers; counts of devices and these may multiply or not.
    """
    before = [item for item in own if item.end <= result.start]
    operands = [item for item in before if bare(item)]
    if (
        ("dollar", 1) not in result.type
        or not 0 < len(operands) <= _MOST_PAID
        or any(item.bound for item in (*operands, result))
    ):
        return None
    if not _PAYS.search(text, operands[-1].end, result.start) or _RIVAL.search(text, before[0].start, result.end):
        return None
    many = [item.value for item in before if is_count(item)] + list(factors)
    shares = {
        prod(taken, start=Fraction(1))
        for size in range(len(many[:_MOST_PAID]) + 1)
        for taken in combinations(many[:_MOST_PAID], size)
    }
    ways = []
    for signs in product((1, -1), repeat=len(operands)):
        kinds: Type = ()
        value = Fraction(1)
        for item, sign in zip(operands, signs, strict=True):
            kinds, value = multiplied(kinds, bare(item), sign), value * item.value**sign
        if kinds == bare(result):
            ways.append(value)
    # a time may only say again what a month has
    months = {item for item in operands if bare(item) == (("second", 1),)}
    ways += [item.value for item in operands if bare(item) == bare(result) and {*operands} - months <= {item}]
    same = len(operands) == 1 and operands[0].period == result.period and not many
    given = [value * share for value in ways for share in (*shares, *(1 / share for share in shares))]
    if not ways or same or any(abs(value - result.value) <= value * _CENTS for value in given):
        return None
    value = ways[0] * max(shares)
    lines = tuple(sorted({result.line, *(item.line for item in operands)}))
    told = f"{' and '.join(item.text for item in before)} give {plain(value / result.value * result.digits)}"
    return Contradiction(lines, "reckoning", (result.value, value), f"{told} in the unit of {result.text!r}")


def _added(text: str, own: Sequence[Quantity], result: Quantity) -> Contradiction | None:
    """``35.3 GB, 4.0 GB and 32.7 GB: 75.0 GB in total``: figures of a kind that nearly add up to their sum."""
    parts = [item for item in own if item.end <= result.start and item.type == result.type]
    if not IN_ALL.match(text, result.end) or len(parts) < _ADDENDS or any(item.bound for item in (*parts, result)):
        return None
    sums = [sum((item.value for item in parts[at:]), Fraction(0)) for at in range(len(parts) - 1)]
    near = abs(sums[0] - result.value) <= sums[0] / 4 and result.value > max(item.value for item in parts)
    if not near or any(abs(value - result.value) <= value * _DIGITS for value in sums):
        return None
    lines = tuple(sorted({result.line, *(item.line for item in parts)}))
    told = f"{' + '.join(item.text for item in parts)} is {plain(sums[0] / result.value * result.digits)}"
    return Contradiction(lines, "reckoning", (result.value, sums[0]), f"{told} in the unit of {result.text!r}")


def spans_of_a_day(segment: Segment) -> Iterator[Contradiction]:
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
