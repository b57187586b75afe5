"""Figures that follow from those beside them by their units alone: ``140 GB at 2 GB/s load in 70 s``.

Every figure of a passage has a type: bytes, seconds, dollars, tokens, requests, devices and their quotients. Where a
sentence draws a conclusion and one product or quotient of the figures before it has the type of the conclusion, it must
be its value, a count of devices or replicas told in the section aside. A price of tokens follows from the prices of an
hour and the rates of its whole section.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice, permutations
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.context import outside_quotation, segment_role, without_full_stops
from optimizer.audit.contradictions import Contradiction
from optimizer.audit.deployment import COUNT, count
from optimizer.audit.document import Kind, Segment
from optimizer.audit.equation import Equation, by_segment
from optimizer.audit.quantities import (
    CLAUSE,
    Quantity,
    Type,
    bare,
    is_count,
    multiplied,
    products,
    quantity,
    quotients,
    worded,
)
from optimizer.audit.slips import IN_ALL, MOST_FIGURES, SLACK, find_slip, spans_of_a_day
from optimizer.audit.statements import Role
from optimizer.audit.tokens import Number, Token, numbers_of
from optimizer.audit.verdict import Verdict, plain

_RENAMED: Final = re.compile(
    r"[^\d.;,(]{0,40}[,(]\s*(?:which\s+is|that\s+is|i,e,|or|=)\s+(?:about\s+|roughly\s+|around\s+)?[~≈]?",
    re.IGNORECASE,
)
"""Between a figure and the same in another unit."""
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
_NEEDED: Final = re.compile(r"\b(?:needs?|requires?|takes?|must\s+have)\b", re.IGNORECASE)
_MORE: Final = re.compile(
    r"%|\b(?:utili[sz]\w+|efficien\w*|overlap\w*|theoretical\w*|ideal\w*|speculat\w*|mtp|compress\w*|hit\s+rate|discount\w*"
    r"|overhead|plus|minus|spare|headroom|if|would|could|not|n't|never|instead|rather|before|used\s+to|claim\w*|said"
    r"|says|up\s+to|usable|free|left|remain\w*|about\s+half|half|twice|per\s+direction|each\s+way)\b",
    re.IGNORECASE,
)
"""What enters a figure beside the units, or makes it somebody else's."""
_SENTENCES: Final = re.compile(r"(?<=[.!?;:])\s+(?=[A-Z(*`])")
_MOST_INSIDE: Final = 24
"""Figures of a sentence that are weighed against one another."""
_MOST_DEVICES: Final = 1024
_MOST_PRICES: Final = 64
_COUNT_OF: Final = re.compile(
    rf"({COUNT})(?:[ -]+[\w-]+){{0,2}}?[ -]+(?:GPUs?|devices?|cards?|nodes?|servers?|replicas?|instances?|stages?"
    rf"|ranks?|copies|requests|sequences|users|[A-Z]{{1,2}}\d{{2,3}}\w*)\b|\b[TPDEC]P[ =-]?(\d{{1,4}})\b"
    rf"|({COUNT})\s?[x×]\s?[A-Z]",
    re.IGNORECASE,
)
_WITH: Final = re.compile(r"[^\d.;,]{0,40}?\b(?:at|of|with)\s+(?:[A-Za-z]+\s+){0,3}(?=\d)", re.IGNORECASE)
"""Between a conclusion and what it is reckoned from: ``128 sequences at the full 131,072-token window``."""
_DENIED: Final = re.compile(
    r"\b(?:not|never|wrong\w*|instead|rather|claim\w*|said|says|if|would)\b|n['’]t\b|≠", re.IGNORECASE
)
_IN_WORDS: Final = re.compile(rf"(?!\d){COUNT}\b", re.IGNORECASE)
_CLAUSE_END: Final = re.compile(r"[,;.]\s")
_CLAUSES: Final = re.compile(r"(?<!i,e)[,;]\s|\b(?:although|but|while|whereas|though|and)\b", re.IGNORECASE)


def find_misreckoned(
    segments: Sequence[Segment], tokens: Sequence[list[Token]], equations: Sequence[Equation]
) -> Iterator[Contradiction]:
    """Conclusions that the figures of their own sentence or the one before refute, in document order.

    What stands in one of the ``equations`` is judged there.
    """
    written = by_segment(equations)
    sections: dict[tuple[str, ...], set[int]] = {}
    prices: dict[tuple[str, ...], list[Quantity]] = {}
    for segment in segments:
        found = sections.setdefault(segment.section, set())
        found |= {many for match in _counted(segment.text) if 1 < (many := count(match)) <= _MOST_DEVICES}
    for index, segment in enumerate(segments):
        if segment.kind is not Kind.PROSE or segment.quoted or segment.removed or len(tokens[index]) < 2:
            continue
        if segment_role(segment) is not Role.CLAIMED:
            judged = (item for item in written.get(index, ()) if item.verdict is not Verdict.UNSUPPORTED)
            spans = sorted((item.start, item.end) for item in judged)
            priced = prices.setdefault(segment.section, [])
            yield from _conclusions(segment, numbers_of(tokens[index]), sections[segment.section], spans, priced)
            yield from spans_of_a_day(segment)


def _within(spans: Sequence[tuple[int, int]], at: int) -> bool:
    """Whether an offset lies in one of the sorted spans."""
    index = bisect_right(spans, (at, 1 << 60)) - 1
    return index >= 0 and at < spans[index][1]


def _counted(text: str) -> Iterator[str]:
    """Counts of devices, nodes, replicas and the like, and degrees, of which a figure may leave one unsaid."""
    for match in _COUNT_OF.finditer(text):
        yield next(group for group in match.groups() if group)


def _conclusions(
    segment: Segment, numbers: Sequence[Number], counts: set[int], spans: Sequence[tuple[int, int]],
    prices: list[Quantity],
) -> Iterator[Contradiction]:  # fmt: skip
    text = without_full_stops(segment.text)
    starts = [0, *(match.end() for match in _SENTENCES.finditer(text))]
    before: list[Quantity] = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        inside = [number for number in numbers if start <= number.start < end]
        own: list[Quantity] = []
        sentence = text[start:end]
        for number in inside:
            item = quantity(segment, text, number, start, sentence, own)
            own += [item] if item is not None else []
        whole = len(own) == len(inside) <= MOST_FIGURES and outside_quotation(text[:start])
        concluded = own[-1:] if inside and own and own[-1].start == inside[-1].start else []
        own = sorted([*own, *worded(segment, text, start, end)], key=lambda item: item.start)
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
            pools = (own[:at], [*before, *own[:at]] if at < MOST_FIGURES - 2 else [])
            made = next((made for pool in pools if (made := _refuted(text, pool, behind, result, counts))), None)
            if made is not None:
                yield made
                break
        if (
            made is None
            and len(inside) <= _MOST_INSIDE
            and not _DENIED.search(text, start, end)
            and outside_quotation(text[:start])
        ):
            factors = {item.value for item in inside if item.unit is lexicon.ONE and 0 < item.value <= _MOST_DEVICES}
            factors |= {Fraction(count(match[0])) for match in _IN_WORDS.finditer(text, start, end)}
            free = [item for item in own if not _within(spans, item.start)]
            yield from islice((one for result in free if (one := find_slip(text, own, result, factors))), 1)
        before = concluded if _MORE.search(text, start, end) is None else []


def _refuted(
    text: str, before: Sequence[Quantity], behind: Sequence[Quantity], result: Quantity, counts: set[int]
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
    totals = _TOTALS.search(between) is not None or IN_ALL.match(text, result.end) is not None
    if result.bound or any(item.bound for item in operands) or not (concludes or totals):
        return None
    needed = is_count(result) and _NEEDED.search(between) is not None
    ways: list[tuple[Fraction, str]] = []
    for one, other in permutations(operands, 2):
        scales = bare(result) in (bare(one), bare(other))
        if one.start < other.start and _fits(result.type, products(one, other)) and (totals or not scales):
            ways.append((one.value * other.value, f"{one.text} × {other.text}"))
        if _fits(result.type, quotients(one, other)) and (totals or not scales):
            ways.append((one.value / other.value, f"{one.text} / {other.text}"))
        if needed and one.type == other.type and one.start > other.start and not is_count(one):
            ways.append((one.value / other.value, f"{one.text} / {other.text}"))
    for one in operands if len(operands) == 1 else ():
        if one.type == result.type and ("second", -1) in one.type and one.period != result.period:
            ways.append((one.value, one.text))
        if multiplied((), one.type, -1) == result.type and _ONE_USER.search(between):
            ways.append((1 / one.value, f"1 / {one.text}"))
    return _told(ways, operands, result, counts, needed=needed)


def _told(
    ways: Sequence[tuple[Fraction, str]], operands: Sequence[Quantity], result: Quantity, counts: set[int], *,
    needed: bool = False,
) -> Contradiction | None:  # fmt: skip
    """The contradiction, where no way meets the conclusion."""
    if not ways or any(_meets(value, result.value, needed=needed, counts=counts) for value, _ in ways):
        return None
    value, formula = ways[0]
    lines = tuple(sorted({result.line, *(item.line for item in operands)}))
    told = f"{formula} is {plain(value / result.value * result.digits)} in the unit of {result.text!r}"
    return Contradiction(lines, "reckoning", (result.value, value), told)


def _mispriced(text: str, result: Quantity, beside: Sequence[Quantity], counts: set[int]) -> Contradiction | None:
    """A price of tokens that no price of an hour and no rate of its section give."""
    if result.type != _TOKEN_PRICE:
        return None
    before, behind = text[max(0, result.start - CLAUSE) : result.start], text[result.end : result.end + CLAUSE]
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


def _fits(wanted: Type, found: set[Type]) -> bool:
    """Whether a type is one of those found; what is said of one request may leave it out."""
    if wanted in found:
        return True
    bare = {tuple(item for item in one if item[0] != "request") for one in found}
    return "request" not in dict(wanted) and wanted in bare and bool(wanted)


def _meets(value: Fraction, stated: Fraction, *, needed: bool, counts: set[int]) -> bool:
    if needed and stated >= value * (1 - SLACK):
        return True
    factors = (Fraction(1), *(Fraction(many) for many in counts), *(Fraction(1, many) for many in counts))
    return any(abs(value * factor - stated) <= SLACK * value * factor for factor in factors)
