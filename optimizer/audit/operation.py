"""Figures of a running service that fix one another: prices and rates of tokens, requests, times said twice, ports."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.context import outside_quotation, segment_role, without_full_stops
from optimizer.audit.contradictions import Contradiction
from optimizer.audit.deployment import COUNT, count
from optimizer.audit.document import Kind, Segment
from optimizer.audit.statements import Role
from optimizer.audit.tokens import Number, Token, numbers_of
from optimizer.audit.verdict import plain

_HOUR: Final = r"(?:per|an?|each|/)\s*(?:[\w.-]+[ -]){0,2}?(?:[a-z0-9]+-)?(?:hour|hr|h)\b"
_SECOND: Final = r"\s*(?:/|per)\s*(?:s|sec|second)\b"
_REQUESTS: Final = r"(?:requests?|req|reqs|queries|calls|prompts|conversations|messages)"
_PRICE: Final = r"(?:[$€]|usd|dollars?|costs?|price)"
_LABELLED: Final = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("token_price", rf"{_PRICE}.*(?:/|\bper\b|\bfor\b)\s*(?:1\s?)?(?:m|million|mtok\w*)\b(?!.*{_REQUESTS})"),
        ("hour_price", rf"{_PRICE}.*(?:/|\bper\b|\ban\b)\s*(?:\w+[ -])?(?:hour|hr|h)\b"),
        ("request_rate", rf"{_REQUESTS}{_SECOND}|\b(?:rps|qps)\b"),
        ("request_tokens", rf"(?:tokens?|tok)\s*(?:/|per|each|a)\s*(?:\w+\s)?{_REQUESTS}\b"),
        ("token_rate", rf"(?:tok|token|tokens|toks){_SECOND}|\btps\b"),
    )
)
"""What a header or a label says of the bare figures under it."""
_PRICED_HOUR: Final = re.compile(rf"\s*(?:usd|dollars?)?\s*{_HOUR}", re.IGNORECASE)
_PRICED_TOKENS: Final = re.compile(
    r"\s*(?:usd|dollars?)?\s*(?:per|/|a|for (?:an?|one|each)?)\s*(?:1\s?)?(?:M|million|mtok)\b", re.IGNORECASE
)
_OF_REQUEST: Final = re.compile(
    rf"\s*(?:\w+\s){{0,2}}?(?:tokens?|tok)\s*(?:(?:/|per|an?|(?:in |for )?each)\s*(?:\w+\s)?{_REQUESTS}\b"
    r"|each\b(?!\s+(?:second|hour|day)))",
    re.IGNORECASE,
)
_PRICE_OF_TOKENS: Final = re.compile(r"\bmillion\s+(?:\w+\s+)?tokens?\s+(?:\w+\s+){0,3}[$€]?$", re.IGNORECASE)
_COUNTED: Final = re.compile(
    rf"(?<![\d.,A-Za-z$€]){COUNT}(?![\d.,]*\d)(?!\s?(?:tok|ms|GB))|(?<=[A-Z]P){COUNT}", re.IGNORECASE
)
_MOST_DEVICES: Final = 1024
_PERIODS: Final = tuple(
    (re.compile(rf"(?:\s*\w+){{0,3}}?\s*(?:per|an?|each|every|/)\s*{word}\b", re.IGNORECASE), seconds)
    for word, seconds in (("(?:hour|hr|h)", 3600), ("day", 86400))
)
_DIRECTION: Final = re.compile(r"\b(output|generated|completion|decode|input|prompt|prefill)\b", re.IGNORECASE)
_INPUT: Final = frozenset(["input", "prompt", "prefill"])
_GROUP: Final = re.compile(
    r"\b(?:replicas?|nodes?|servers?|instances?|clusters?|fleet|deployments?|pods?)\b", re.IGNORECASE
)
_OTHERS: Final = re.compile(
    r"\b(?:vendors?|providers?|api|market|list price|competitors?|they|budget|target|limit|below|under|would|could"
    r"|previous\w*|before|quoted?|says?|said|claims?|claimed|utili[sz]\w+|idle|loaded at|discount\w*|reserved|spot"
    r"|blended|average)\b",
    re.IGNORECASE,
)
"""Of a clause: its price or load is somebody else's, or further figures enter it."""
_CAPACITY: Final = re.compile(
    r"capacit|max|limit|avail|room|per (?:gpu|replica|node)|/gpu|headroom|spare", re.IGNORECASE
)
_COMPUTED: Final = re.compile(
    r"\b(?:so|gives?|needs?|means?|makes?|is|are|requires?|totals?|hence|therefore|that)\b|[=→:]|i\.e\.",
    re.IGNORECASE,
)
_PORT: Final = re.compile(
    r"(?<![\w.])(100|200|400|800|1600)\s?(?:Gb(?:ps|/s|it/s|it)?|Gbit|gigabits?|G)\b(?![\w/])[^.;|]{0,40}?"
    r"\b(?:ports?|NICs?|ConnectX|InfiniBand|Ethernet|RoCE|NDR|HDR|XDR|links?|HCAs?)\b"
)
_PORT_BYTES: Final = re.compile(
    r"(?<![\w.])(100|200|400|800|1600)\s?(?:GB/s|GBps|GB\s+(?:per|a)\s+second|gigabytes\s+(?:per|a)\s+second)"
)
_OF_PORT: Final = re.compile(
    r"\b(?:ports?|NICs?|HCAs?|links?|ConnectX\S*|per GPU|each GPU(?:'s)?|GPU's)\b", re.IGNORECASE
)
_SEVERAL: Final = re.compile(r"\b(?:nodes?|eight|8|four|4|total|together|aggregate|all)\b|[×x*]", re.IGNORECASE)
_TIMES: Final = (
    ("ttft", re.compile(r"\bttft\b|time[- ]to[- ]first[- ]token|first[- ]token", re.IGNORECASE)),
    ("tpot", re.compile(r"\btpot\b|\bitl\b|inter[- ]token|time per output token", re.IGNORECASE)),
    ("latency", re.compile(r"\be2e\b|end[- ]to[- ]end|request latency", re.IGNORECASE)),
)
_SHARE: Final = re.compile(r"\bp(\d\d(?:\.\d)?)\b|\b(median)\b", re.IGNORECASE)
_CHANGED: Final = re.compile(
    r"\b(?:before|was|were|previous\w*|target|limit|expect\w*|earlier|old|instead|than|goal|budget|slo|if|would|peak\w*"
    r"|below|under|above|over|within)\b",
    re.IGNORECASE,
)
_HEADER_UNIT: Final = re.compile(r"[(\[,]\s*([^\s)\],]+)\s*[)\]]?\s*$")
_COMMA: Final = re.compile(r"[,;:]\s|\s[–—(]\s?")
_MOST: Final = 64
_NEAR: Final = 90
_SHARED: Final = 3
"""Figures that a sentence and a table row have in common when both tell of one run."""
_THOUSAND: Final = 1000


@dataclass(frozen=True, slots=True)
class _Figure:
    """One figure of the service: its kind, its value (dollars a token or an hour, per second, a count) and place."""

    kind: str
    value: Fraction
    half: Fraction
    line: int
    index: int
    sentence: str
    words: str
    text: str


def find_inconsistent(segments: Sequence[Segment], tokens: Sequence[list[Token]]) -> Iterator[Contradiction]:
    """Figures of a service that cannot stand beside one another, kind by kind."""
    figures = list(_figures(segments, tokens))
    yield from _prices(segments, figures)
    yield from _loads(segments, figures)
    yield from _two_runs(segments, tokens, figures)
    yield from _slipped(segments, tokens)
    yield from _ports(segments)


def _own(segment: Segment) -> bool:
    return not (segment.quoted or segment.removed or segment.kind is Kind.CODE or segment.kind is Kind.HEADING)


def _sentence(text: str, number: Number) -> tuple[int, int]:
    text = without_full_stops(text)
    start = max(text.rfind(mark, 0, number.start) + 1 for mark in (". ", "? ", "! ", "; "))
    ends = [at for mark in (". ", "? ", "! ", "; ") if (at := text.find(mark, number.number_end)) >= 0]
    return start, min(ends, default=len(text))


def _clause(before: str, behind: str) -> str:
    """Words of a figure up to the nearest commas."""
    return (_COMMA.split(before)[-1] + _COMMA.split(behind)[0])[: 2 * _NEAR]


def _figures(segments: Sequence[Segment], tokens: Sequence[list[Token]]) -> Iterator[_Figure]:
    for index, segment in enumerate(segments):
        if not _own(segment) or segment_role(segment) is Role.CLAIMED:
            continue
        for number in numbers_of(tokens[index]):
            if number.bound or number.value <= 0:
                continue
            label = f"{segment.row_label} {segment.column_label}" if segment.kind is Kind.CELL else ""
            start, end = _sentence(segment.text, number)
            kind, scale = _kind(number, segment.text[number.number_end : end], label)
            if number.unit.name == "$" and _PRICE_OF_TOKENS.search(segment.text[start : number.start]):
                kind, scale = "token_price", Fraction(1, 10**6)
            if kind and outside_quotation(segment.text[: number.start]):
                sentence = segment.text[start:end]
                words = label or _clause(segment.text[start : number.start], segment.text[number.start : end])
                told = " ".join(segment.text[number.start : number.end].split())
                slack = number.half * scale if not number.approximate else number.value * scale / 20
                place = segment.place(number.start)
                yield _Figure(kind, number.value * scale, slack, place.line, index, sentence, words, told)


def _kind(number: Number, behind: str, label: str) -> tuple[str, Fraction]:
    """Kind of a figure, and what its value is multiplied by."""
    dimensions, nouns = number.unit.dimensions, set(number.nouns) | set(number.per)
    tokens = any(noun.startswith("tok") for noun in nouns)
    plain_count = dimensions == lexicon.NONE and number.unit is not lexicon.PERCENT
    if label:
        kind = next((name for name, pattern in _LABELLED if pattern.search(label)), "")
        if kind in {"token_price", "hour_price"} and (plain_count or dimensions == lexicon.DOLLARS):
            million = kind == "token_price" and not number.unit.name.startswith("$/")
            return kind, Fraction(1, 10**6) if million else Fraction(1)
        return (kind, Fraction(1)) if plain_count and kind else ("", Fraction(1))
    if number.unit.name.startswith("$/M"):
        return "token_price", Fraction(1)
    if dimensions == lexicon.DOLLAR_RATE:
        return "hour_price", Fraction(3600)
    if dimensions == lexicon.DOLLARS and _PRICED_TOKENS.match(behind):
        return "token_price", Fraction(1, 10**6)
    if dimensions == lexicon.DOLLARS and (_PRICED_HOUR.match(behind) or any("hour" in noun for noun in nouns)):
        return "hour_price", Fraction(1)
    if dimensions == lexicon.PER_SECOND and tokens:
        return "token_rate", Fraction(1)
    if dimensions == lexicon.PER_SECOND and re.fullmatch(_REQUESTS, next(iter(number.nouns), ""), re.IGNORECASE):
        return "request_rate", Fraction(1)
    if plain_count and nouns & {"rps", "qps"}:
        return "request_rate", Fraction(1)
    if plain_count and tokens and _OF_REQUEST.match(behind):
        return "request_tokens", Fraction(1)
    if plain_count and tokens:
        return next(
            (("token_rate", Fraction(1, period)) for word, period in _PERIODS if word.match(behind)), ("", Fraction(1))
        )
    return "", Fraction(1)


def _prices(segments: Sequence[Segment], figures: Sequence[_Figure]) -> Iterator[Contradiction]:
    """A price of a million tokens against the prices of an hour and the rates that its section gives."""
    written = {count(match[0]) for segment in segments for match in _COUNTED.finditer(segment.text)}
    counts = {Fraction(1), *(Fraction(many) for many in written if 1 < many <= _MOST_DEVICES)}
    for claim in figures:
        if claim.kind != "token_price" or _OTHERS.search(claim.words) or segments[claim.index].kind is Kind.CELL:
            continue
        section = segments[claim.index].section
        beside = [item for item in figures if segments[item.index].section == section and item.line <= claim.line]
        prices = [item for item in beside if item.kind == "hour_price"]
        rates = [item for item in beside if item.kind == "token_rate" and _direction(item.words) != "input"]
        if not prices or not rates or len(prices) * len(rates) > _MOST:
            continue
        groups = [item for item in prices if any(_many(item, other) for other in prices)]
        ways = [
            (price, rate, many)
            for rate in rates
            for price in ((groups if _GROUP.search(rate.sentence) else None) or prices)
            for many in (sorted(counts) if price not in groups or not _GROUP.search(rate.sentence) else [Fraction(1)])
        ]
        if any(_gives(claim, price, rate, factor) for price, rate, many in ways for factor in (many, 1 / many)):
            continue
        price, rate, _ = min(ways, key=lambda way: (way[2], way[0] not in groups, claim.line - way[1].line))
        value = price.value / rate.value / 3600
        told = f"{plain(price.value)} $ an hour over {plain(rate.value * 3600)} tokens an hour is "
        told += f"{plain(value * 10**6)} $ a million tokens, not {plain(claim.value * 10**6)}"
        yield Contradiction((claim.line,), "cost_dollars_per_million_tokens", (claim.value, value), told)


def _many(group: _Figure, one: _Figure) -> bool:
    """Whether a price is that of a group of devices whose own price stands as well."""
    ratio = group.value / one.value
    return ratio > 1 and ratio.denominator == 1


def _gives(claim: _Figure, price: _Figure, rate: _Figure, factor: Fraction) -> bool:
    value = price.value * factor / rate.value / 3600
    spread = value * (price.half / price.value + rate.half / rate.value + Fraction(1, 100))
    return abs(value - claim.value) <= claim.half + spread


def _direction(words: str) -> str:
    found = {"input" if word.lower() in _INPUT else "output" for word in _DIRECTION.findall(words)}
    return found.pop() if len(found) == 1 else ""


def _loads(segments: Sequence[Segment], figures: Sequence[_Figure]) -> Iterator[Contradiction]:
    """Tokens a second of so many requests a second of so many tokens each, in one column, row or sentence."""
    scopes: dict[tuple[object, ...], list[_Figure]] = {}
    for item in figures:
        segment = segments[item.index]
        if segment.kind is Kind.CELL:
            scopes.setdefault(("column", segment.block, segment.column_label), []).append(item)
            scopes.setdefault(("row", segment.row), []).append(item)
        else:
            scopes.setdefault(("sentence", item.index, item.sentence), []).append(item)
    for (kind, *_), found in scopes.items():
        rates = [item for item in found if item.kind == "request_rate"]
        each = [item for item in found if item.kind == "request_tokens"]
        for claim in (item for item in found if item.kind == "token_rate") if len(rates) == 1 and each else ():
            same = [item for item in each if _direction(item.words) in {"", _direction(claim.words)}] or each
            sizes = [item.value for item in (same if _direction(claim.words) else each)]
            sizes += [sum((item.value for item in each), Fraction(0))] if not _direction(claim.words) else []
            slack = claim.half + claim.value / 50
            if _CAPACITY.search(claim.words) or any(
                abs(rates[0].value * size - claim.value) <= slack for size in sizes
            ):
                continue
            if kind == "sentence" and (_OTHERS.search(claim.sentence) or not _COMPUTED.search(claim.sentence)):
                continue
            size = next((item for item in same), each[0])
            exact = rates[0].value * size.value
            told = f"{plain(rates[0].value)} requests/s of {plain(size.value)} tokens are {plain(exact)} tokens/s, "
            told += f"not {plain(claim.value)}"
            lines = tuple(sorted({rates[0].line, size.line, claim.line}))
            yield Contradiction(lines, "throughput", (claim.value, exact), told)


def _two_runs(
    segments: Sequence[Segment], tokens: Sequence[list[Token]], figures: Sequence[_Figure]
) -> Iterator[Contradiction]:
    """A run told in a sentence and as a row: the figures they share tell which row it is, one of a kind differs."""
    rows: dict[int, list[int]] = {}
    for index, segment in enumerate(segments):
        if segment.row >= 0 and segment.kind is Kind.CELL:
            rows.setdefault(segment.row, []).append(index)
    of_value: dict[Fraction, set[int]] = {}
    for row, indices in rows.items():
        for item in (item for index in indices for item in numbers_of(tokens[index]) if item.digits > 4):
            of_value.setdefault(item.digits, set()).add(row)
    lines: dict[tuple[int, int], set[Fraction]] = {}
    for index, segment in enumerate(segments):
        for item in numbers_of(tokens[index]) if rows and segment.row < 0 and _own(segment) else ():
            if _CHANGED.search(segment.text, *_sentence(segment.text, item)) is None:
                lines.setdefault((index, segment.place(item.start).line), set()).add(item.digits)
    for (index, line), own in lines.items():
        shared = Counter(row for value in own for row in of_value.get(value, ())).most_common(2)
        if not shared or shared[0][1] < _SHARED or (len(shared) > 1 and shared[1][1] == shared[0][1]):
            continue
        cells = set(rows[shared[0][0]])
        for kind in ("token_rate", "request_rate", "token_price"):
            said = [item for item in figures if (item.index, item.line, item.kind) == (index, line, kind)]
            told = [item for item in figures if item.index in cells and item.kind == kind]
            if len(said) == len(told) == 1 and abs(said[0].value - told[0].value) > said[0].half + told[0].half:
                one, other = said[0], told[0]
                text = f"two values of one run: {one.text!r} on line {one.line}, {other.text!r} on line {other.line}"
                yield Contradiction(tuple(sorted((line, other.line))), kind, (one.value, other.value), text)


def _slipped(segments: Sequence[Segment], tokens: Sequence[list[Token]]) -> Iterator[Contradiction]:
    """A time of a table that the text gives as well, a thousand times larger or smaller: the header's unit is wrong."""
    cells: dict[tuple[str, str], list[tuple[Fraction, int]]] = {}
    said: dict[tuple[str, str], list[tuple[Fraction, int]]] = {}
    for index, segment in enumerate(segments):
        numbers = numbers_of(tokens[index]) if _own(segment) else []
        if segment.kind is Kind.CELL and len(numbers) == 1:
            for label in (segment.row_label, segment.column_label):
                unit, name = _HEADER_UNIT.search(label), _time(label)
                scale = lexicon.TIMES.get(unit[1]) if unit else None
                if scale is not None and name and numbers[0].unit is lexicon.ONE:
                    line = segment.place(numbers[0].start).line
                    cells.setdefault(name, []).append((numbers[0].value * scale.scale, line))
        for number in numbers if segment.kind is not Kind.CELL else ():
            if number.unit.dimensions == lexicon.SECONDS and outside_quotation(segment.text[: number.start]):
                name = _time(
                    segment.text[max(_sentence(segment.text, number)[0], number.start - _NEAR // 2) : number.start]
                )
                if name:
                    said.setdefault(name, []).append((number.value, segment.place(number.start).line))
    for name, found in cells.items():
        other = said.get(name, [])
        if any(value == told for value, _ in found for told, _ in other):
            continue
        for (value, line), (told, at) in product(found, other):
            if value in {told * _THOUSAND, told / _THOUSAND}:
                text = (
                    f"{' '.join(name).strip()} is {plain(told)} s on line {at} and {plain(value)} s by the table's unit"
                )
                yield Contradiction(tuple(sorted((line, at))), name[0], (value, told), text)
                break


def _time(words: str) -> tuple[str, str] | None:
    """Name and percentile of the one time that some words name."""
    names = [name for name, pattern in _TIMES if pattern.search(words)]
    shares = {share or "50" for share, _ in _SHARE.findall(words)}
    return (names[0], f"p{shares.pop()}") if len(names) == 1 and len(shares) == 1 else None


def _ports(segments: Sequence[Segment]) -> Iterator[Contradiction]:
    """A port of 400 gigabits a second that is said to carry 400 gigabytes."""
    bits = {
        int(match[1]): segment.place(match.start()).line
        for segment in segments
        if _own(segment)
        for match in _PORT.finditer(segment.text)
    }
    for segment in segments:
        for match in _PORT_BYTES.finditer(segment.text) if _own(segment) and bits else ():
            start = max(segment.text.rfind(". ", 0, match.start()) + 1, 0)
            end = segment.text.find(". ", match.end())
            words = segment.text[start : end if end >= 0 else len(segment.text)]
            size = int(match[1])
            if size in bits and _OF_PORT.search(words) and not _SEVERAL.search(segment.text[start : match.start()]):
                line = segment.place(match.start()).line
                told = f"{size} gigabits a second are {plain(Fraction(size, 8))} GB/s, not {size} GB/s"
                values = Fraction(size * 10**9), Fraction(size * 10**9, 8)
                yield Contradiction(tuple(sorted({line, bits[size]})), "link_bandwidth", values, told)
