"""What must fit: requests in the cache that the document's figures give, tokens in its bytes, weights over degrees.

Which figures are a cache's tokens is told by the numbers alone: bytes of memory over bytes of a token are these tokens.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Final

from optimizer.audit.degrees import COUNT, DEVICES, NODES, WORDS, count
from optimizer.audit.deployment import Sentence
from optimizer.audit.document import Place
from optimizer.audit.facts import Derivation
from optimizer.audit.known_figures import (
    GB,
    ROUGHLY,
    JudgedClaims,
    cache_bytes,
    claim_at,
    stretch,
    weights_of,
)  # fmt: skip
from optimizer.audit.lexicon import NONE, ONE
from optimizer.audit.quantities import Quantity, bare, noun
from optimizer.audit.scope import SENT, clause_of
from optimizer.audit.tokens import numbers_of, tokenize
from optimizer.audit.verdict import Verdict, plain, shown
from optimizer.readers.catalog import load_hardware

_DOUBT: Final = re.compile(
    r"\b(?:not|never|cannot|neither|nor|none|nobody|too|exceed\w*|fails?|oom|impossible|would|could|should|need\w*|requir\w+"
    r"|at least|more than|less than|fewer|reject\w*|instead|ask\w*|target|goal|plan\w* for|hope\w*|wrong\w*"
    r"|test\w*|bench\w*|measur\w+|sen[dt]s?|offered|queue\w*|arriv\w+|spikes?|traffic|peaks?|waits?|bursts?|overload\w*"
    r"|(?<!without )(?<!before )(?<!has to )preempt\w*|says?|said|claim\w*)\b|n['’]t\b|[?≠✗❌]",
    re.IGNORECASE,
)
_CLAUSE: Final = re.compile(r"[,;.]\s|\b(?:so|but|and|although|because|which|while|whereas)\b", re.IGNORECASE)
_SUPPOSED: Final = re.compile(r"\b(?:if|unless|until|suppose\w*|once|when|were)\b", re.IGNORECASE)
_EACH: Final = re.compile(r"\s*(?:each|apiece)\b", re.IGNORECASE)
_REQUESTS: Final = re.compile(
    rf"(?<![\w.,/$-])(?<!\bof )(?P<number>\d[\d,]*(?![.,]?\d|\s?[%]|\w)|{WORDS}\b)\s+(?:full[- ])?"
    r"(?:[\d,.]+k?[- ]tokens?\s+)?(?:(?:(?:concurrent|parallel|simultaneous|full|full-length|such|live|open|active)\s)*"
    r"(?P<noun>[a-z]+s)\b|of\s+(?P<them>them|these|those)\b)",
    re.IGNORECASE,
)
"""So many requests, whatever they are called."""
_NO_REQUESTS: Final = re.compile(
    r"(?:token|gpu|device|card|node|server|layer|head|expert|rank|replica|instance|copie|value|byte|param|parameter|day|hour"
    r"|minute|second|week|month|year|bit|way|stage|point|block|page)s"
)
_HOW_MANY: Final = re.compile(r"\b(?:sequence|session|request|conversation|user|context|prompt)s?\b", re.IGNORECASE)
_OF: Final = re.compile(
    r"[^\d.;,(]{0,24}\b(?:at|of|with|x|×|each|keep|have|hold|use|get)\s+(?:(?:the|a|up|to|their|full|its|long|all|maximum|max|of|context)\s+){0,4}$",
    re.IGNORECASE,
)
"""Between a number of requests and the tokens of each."""
_AT_FIRST: Final = re.compile(r"^\W*(?:at|with|for|under)\b[^\d.;]{0,32}$", re.IGNORECASE)
_THOUSANDS: Final = re.compile(r"(?<![\w.,-])(\d{1,4})k\b(?!\s*tok)")
_LEAST_LENGTH: Final = 256
_TWO: Final = 2
_ONE_OF_THEM: Final = re.compile(
    r"\b(?:per|one|each|every|a|single)\s+(?:single\s+)?(?:\w+\s+)?(?:replica|card|gpu|node|instance|copy|server|rank|pool)\b",
    re.IGNORECASE,
)
_CONCLUDED: Final = re.compile(
    r"\b(?:so|that is|that's|which is|hence|thus|therefore|i\.e\.|room for|holds?|fits?|enough for|makes?|gives?)\b"
    r"[^.;]*$|→\s*[~≈]?$|^[^.;,:]{0,24}:\s*[~≈]?$",
    re.IGNORECASE,
)
_AT_ONCE: Final = re.compile(
    r"\b(?:admit\w*|keeps?|kept|holds?|held|fits?|carr(?:y|ies)|supports?|sits?|simultaneous\w*|concurren\w+|parallel|live|active|stay\w*"
    r"|resident|enough|served?|serves|at (?:once|a time)|same time|room|cache|pool|have)\b",
    re.IGNORECASE,
)
"""Where requests are said to be in the cache together."""
_IN_TURN: Final = re.compile(
    r"\b(?:(?<!to )(?<!without )(?<!before )preempt\w*|queue\w*|(?:over the|a|per|each) (?:day|hour|minute|week|month)"
    r"|after the other)\b",
    re.IGNORECASE,
)
"""Where they are one after the other, or need not be."""
_TYPICAL: Final = re.compile(r"\b(?:average\w*|mean|typical\w*|median|usual\w*)\b", re.IGNORECASE)
_COPIES: Final = re.compile(
    rf"({COUNT})\s+(?:(?!spare|redundant|expert|extra)\w+\s+)?(?:replicas|copies|instances)\b", re.IGNORECASE
)
_SOME_NODES: Final = re.compile(rf"({COUNT})\s+(?:[\w-]+\s+)?(?:{NODES}|machines?)\b", re.IGNORECASE)
_HELD: Final = re.compile(r"\b(?:cache|pool|left|leav\w+|remain\w*|free|available)\b", re.IGNORECASE)
_DIVIDED: Final = re.compile(r"[/÷] *\d|\b(?:half|third|quarter|share) of\b", re.IGNORECASE)
_OF_ALL: Final = re.compile(r"\b(?:replica|pair|both|node|box|system|instance)\b", re.IGNORECASE)
_A_DEVICE: Final = re.compile(rf"(?:\b(?:per|an?|one|each|every)|/)\s*{DEVICES}\b|\brank\b", re.IGNORECASE)
_WINDOW: Final = 8192
_WINDOWS: Final = {odd << power for odd in (1, 3, 5) for power in range(10)}
"""How many times so many tokens contexts have, and caches hardly."""
_LEAST_COST: Final = 1 << 9
_MOST_COST: Final = 1 << 24
"""Bytes between which a token of some model takes its own."""
_LEAST_ROOM: Final = 10**9
_LEAST_POOL: Final = 10_000
_MOST_WAYS: Final = 20_000
_ROUNDED: Final = Fraction(1, 50)
_NEAR: Final = 4
"""Sentences, with its own, in which the room is told that tokens are held in."""
_USABLE: Final = Fraction(97, 100)
"""Share of a device's memory that contexts and workspaces leave at the very most: engines' own limits stop at 0.95."""


def _asserted(sentence: Sentence, start: int, end: int, *, conditional: bool = False) -> bool:
    """Whether a sentence says outright (``conditional``: or on a condition) what stands between two characters."""
    clause = clause_of(sentence.text, start, end, _CLAUSE)
    return not (_DOUBT.search(clause) or (not conditional and _SUPPOSED.search(clause)) or sentence.refuted)


def _is_tokens(one: Quantity) -> bool:
    return bare(one.type) == (("token", 1),)


def _is_pool(one: Quantity) -> bool:
    """Whether tokens may be those of a cache: of no request, and no length that contexts have."""
    return _is_tokens(one) and ("request", -1) not in one.type and one.value / _WINDOW not in _WINDOWS


def _is_size(one: Quantity) -> bool:
    return dict(one.type).get("byte") == 1 and "second" not in dict(one.type)


def _rooms(one: Quantity) -> set[Fraction]:
    """A size by both readings of its unit."""
    unit = one.number.unit if one.number else GB
    return {one.value, one.value / unit.scale * (unit.other or unit.scale)}


@dataclass(frozen=True, slots=True)
class _Load:
    """So many requests of so many tokens each; `at` is where their number stands, in the stretch of both."""

    requests: int
    tokens: Fraction
    at: tuple[int, int]
    start: int
    end: int
    concluded: bool = False


def _load_of(
    sentence: Sentence, figures: Sequence[Quantity], ahead: Sequence[Quantity], pools: Collection[Place]
) -> _Load | None:
    """``16 sessions at 131,072 each``; a conclusion may have the length in the sentence before (``ahead``)."""
    text = sentence.text
    long = [(one.value, one.start, one.end) for one in figures if _is_tokens(one)]
    long += [(one.value, one.start, one.number_end) for one in numbers_of(tokenize(text))
             if _EACH.match(text, one.number_end) and one.unit.dimensions == NONE]  # fmt: skip
    long += [(Fraction(1000 * int(one[1])), one.start(), one.end()) for one in _THOUSANDS.finditer(text)]
    long = [one for one in long if one[0] >= _LEAST_LENGTH]
    found: list[tuple[int, int, int]] = []
    for match in _REQUESTS.finditer(text):
        noun_of, (start, end) = (match["noun"] or "").lower(), match.span("number")
        number = count(match["number"].replace(",", ""))
        if number <= 1 or _NO_REQUESTS.fullmatch(noun_of):
            continue
        for length, at, stop in long if noun_of else ():
            first = at < start and _AT_FIRST.match(text[:at]) and text[stop:start].count(",") < _TWO
            inside = at > end and text[stop : stop + 1] == "-" and text[end:at].strip() in {"", "full"}
            if first or inside or (at > end and _OF.match(text[end:at])):
                return _Load(number, length, (start, end), min(start, at), max(end, stop))
        told = (match["them"] and _HOW_MANY.search(text, 0, start)) or noun(noun_of) == "request"
        if told and _CONCLUDED.search(text, 0, start) and number not in {one[0] for one in long}:
            found.append((number, start, end))
    each = {one.value for one in figures if _is_tokens(one) and one.place not in pools} or {one.value for one in ahead}
    if len(found) != 1 or len(each) != 1:
        return None
    ((number, start, end),), (length,) = found, each
    return _Load(number, length, (start, end), start, end, concluded=True)


class _Capacities:
    """Counts of tokens that are bytes of memory over bytes of a token, and these bytes, by section."""

    def __init__(self, said: Sequence[Sentence], figures: Sequence[Sequence[Quantity]]) -> None:
        self.said, self.figures, self.own = said, figures, dict(zip(said, figures, strict=True))

    @cached_property
    def found(self) -> list[tuple[Sentence, Quantity]]:
        """Sentences with the tokens that some cache holds."""
        figures = [(sentence, one) for sentence, own in zip(self.said, self.figures, strict=True) for one in own]
        sizes = [one for _, one in figures if _is_size(one)]
        costs = {one.value for one in sizes if _LEAST_COST <= one.value < _MOST_COST}
        rooms = {room for one in sizes if one.value >= _LEAST_ROOM for room in _rooms(one)}
        whole = self.said[0].whole if self.said else None
        shares = {1, *whole.counts, *whole.every("tp"), *whole.every("dp")} if whole else {1}
        if len(costs) * len(rooms) * len(shares) > _MOST_WAYS:
            return []
        given = [room * share / cost for room in rooms for cost in costs for share in shares]
        counts = [one for one in figures if _is_pool(one[1]) and one[1].value >= 1000]
        return [(sentence, one) for sentence, one in counts
                if any(abs(value - one.value) <= value * _ROUNDED for value in given)]  # fmt: skip

    def of(self, sentence: Sentence, length: Fraction) -> tuple[Fraction, str] | None:
        """The greatest before it in its section, else of the document, that is no single request's; and its line."""
        fit = [(other, one) for other, one in self.found if one.value > length * (1 + _ROUNDED)]
        own = [one for other, one in fit
               if other.section == sentence.section and other.place.line <= sentence.place.line]  # fmt: skip
        most = max(own or [one for _, one in fit], key=lambda one: one.value, default=None)
        if most is None:
            return None
        copies = 1 if _ONE_OF_THEM.search(sentence.text) else self.copies
        nodes = max((count(match[1]) for match in _SOME_NODES.finditer(sentence.text)), default=1)
        return most.value * max(copies, nodes), f"line {most.place.line}"

    def costs(self, sentence: Sentence) -> set[Fraction]:
        """Bytes of a token that its section gives, else the document, and those of the one model that is known."""
        whole = sentence.whole
        near = self._costs(whole.ahead(sentence)[-_NEAR:])
        if len(whole.models) > 1:
            return near
        found = near or self._every
        widths = whole.cache_widths(sentence)
        found = found | {value / 2 for value in found if widths[-1] < 16 and sentence.own.cache}
        model = sentence.known.model
        given = cache_bytes(model, 1, widths, (), layered=False, each=False) if model else ()
        return found | {one.value for one in given}

    @cached_property
    def _every(self) -> set[Fraction]:
        return self._costs(self.said)

    def _costs(self, near: Sequence[Sentence]) -> set[Fraction]:
        return {one.value for other in near if "token" in other.text.lower() for one in self.own[other]
                if _is_size(one) and _LEAST_COST <= one.value < _MOST_COST}  # fmt: skip

    @cached_property
    def copies(self) -> int:
        """The most replicas that are spoken of."""
        return max((count(match[1]) for one in self.said for match in _COPIES.finditer(one.text)), default=1)


def judge_capacity(sentences: Sequence[Sentence], figures: Sequence[Sequence[Quantity]]) -> JudgedClaims:
    """Everything that a document says would fit and does not, in document order."""
    capacities = _Capacities(sentences, figures)
    pools = {one.place for _, one in capacities.found}
    ahead: list[Quantity] = []
    for at, (sentence, own) in enumerate(zip(sentences, figures, strict=True)):
        if at and sentence.section != sentences[at - 1].section:
            ahead = []
        load = _load_of(sentence, own, ahead, pools)
        yield from _cached(sentence, load, capacities) if load else ()
        if lengths := [one for one in own if _is_tokens(one) and one.place not in pools]:
            of_one = any(("request", -1) in one.type for one in lengths)
            ahead = lengths if of_one or _TYPICAL.search(sentence.text) else []
        yield from _pooled(sentence, own, capacities)
        yield from _sharded(sentence)


def _cached(sentence: Sentence, load: _Load, capacities: _Capacities) -> JudgedClaims:
    """Requests at once against the tokens that the document has room for."""
    known = capacities.of(sentence, load.tokens)
    at_once = load.concluded or _AT_ONCE.search(sentence.text)
    in_turn = SENT.search(sentence.text) or _IN_TURN.search(clause_of(sentence.text, load.start, load.end))
    if known is None or not at_once or in_turn:
        return
    room, said = known
    room *= 2 if sentence.own.cache in {"fp8", "int8"} else 1
    asked = load.requests * load.tokens
    # no condition makes room for twice as much
    if asked > room * (1 + _ROUNDED) and _asserted(sentence, load.start, load.end, conditional=asked > 2 * room):
        told = f"{plain(room)} ({said}) ÷ {plain(load.tokens)}"
        reading = Derivation("requests that fit", room / load.tokens, "kv_cache_tokens ÷ tokens of one", told)
        span = stretch(sentence.text, *load.at)
        yield claim_at(sentence, span, "concurrency", Fraction(load.requests), ONE, Verdict.FAILS, [reading])


def _pooled(sentence: Sentence, own: Sequence[Quantity], capacities: _Capacities) -> JudgedClaims:
    """``The 68.0 GiB pool of one replica holds about 891,000 tokens``: its bytes over those of a token."""
    text = sentence.text
    held = [one for one in own if _is_tokens(one) and ("request", -1) not in one.type]
    costs = capacities.costs(sentence) if len(held) == 1 and not (sentence.cells or sentence.code) else ()
    if not costs or not _is_pool(held[0]) or held[0].value < _LEAST_POOL:
        return
    (one,) = held
    demanded = any("request" in dict(other.type) for other in own if other.end <= one.start)
    concluded = _CONCLUDED.search(text, 0, one.start) and not _DIVIDED.search(text, 0, one.start)
    if demanded or not concluded or not _asserted(sentence, one.start, one.end):
        return
    fit = [(room * share / cost, size.text) for size, shares in _spread(sentence, one, capacities)
           for room in _rooms(size) for share in shares for cost in costs]  # fmt: skip
    best, room = min(fit, key=lambda way: abs(way[0] / one.value - 1), default=(one.value, ""))
    if abs(best - one.value) > ROUGHLY * best:
        reading = Derivation("bytes over those of a token", best, "room ÷ bytes of a token", f"{room} ÷ bytes of one")
        span = stretch(text, one.start, one.end)
        yield claim_at(sentence, span, "kv_cache_tokens", one.value, ONE, Verdict.FAILS, [reading])


def _spread(sentence: Sentence, one: Quantity, capacities: _Capacities) -> Iterator[tuple[Quantity, set[int]]]:
    """Rooms that tokens may be held in, with how many of them there may be."""
    whole, known, text = sentence.whole, sentence.known.degrees, sentence.text
    given = [(sentence, size) for size in capacities.own[sentence] if size.end <= one.start] or [
        (other, size) for other in whole.ahead(sentence)[-_NEAR:-1] for size in capacities.own[other]
        if (other.segment == sentence.segment or (other.item and sentence.item)) and _HELD.search(other.text)
    ]  # fmt: skip
    for other, size in given:
        if not _is_size(size) or size.value < _LEAST_ROOM or other.cells:
            continue
        shares = {1, *(known[axis] for axis in ("tp", "dp") if axis in known)}
        device = _A_DEVICE.search(other.text) or ("device", -1) in size.type
        if other is sentence and _OF_ALL.search(text) and not device:
            shares = {1}
        elif device or not known:
            shares |= {*whole.counts, *(each for axis in ("tp", "dp", "ep") for each in whole.every(axis))}
        if not _ONE_OF_THEM.search(text):
            shares |= {share * capacities.copies for share in shares}
        yield size, shares


def _sharded(sentence: Sentence) -> JudgedClaims:
    """``Two BF16 replicas at TP4``: the weights over the degrees against the memory of a device."""
    known, own, named = sentence.known, sentence.own.degrees, sentence.whole.devices
    if "tp" not in own or own.keys() & {"ep", "dp", "cp"} or sentence.own.precision is None or known.device is None:
        return
    if known.device not in named.get(sentence.segment, ()) and len(named[None]) > 1:
        return
    match = re.search(rf"\bTP\W{{0,3}}(?:size\W{{0,3}})?{own['tp']}\b", sentence.text, re.IGNORECASE)
    weights = weights_of(known)
    if match is None or weights is None or sentence.cells or sentence.code or not _asserted(sentence, *match.span()):
        return
    parts = own["tp"] * own.get("pp", 1)
    memory = max(Fraction(load_hardware(known.device).device.memory), known.memory or Fraction(0))
    if weights / parts > memory * _USABLE:
        note = f"{shown(weights, GB)} over {parts} are more than the {shown(memory, GB)} of a device"
        told = f"{shown(weights, GB)} ÷ {parts}"
        reading = Derivation("weights of a device", weights / parts, "weights ÷ (tp × pp)", told)
        yield claim_at(sentence, match, "tp", Fraction(own["tp"]), ONE, Verdict.FAILS, [reading], note)
