"""What must fit: requests in the cache that the document's figures give, weights and users in devices, links.

Which figures are a cache's tokens is told by the numbers alone: bytes of memory over bytes of a token are these tokens.
A claim that is negated, supposed, needed or refuted beside it accuses no one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import floor
from typing import Final

from optimizer.audit.counts import COUNT, DEVICES, NODES, WORDS, count
from optimizer.audit.deployment import Sentence
from optimizer.audit.document import Place
from optimizer.audit.facts import Derivation
from optimizer.audit.hedges import clause_of
from optimizer.audit.known_figures import (
    GB,
    ROUGHLY,
    JudgedClaims,
    cache_bytes,
    claim_at,
    priced_on,
    stretch,
    verdict_of,
    weights_of,
)
from optimizer.audit.lexicon import NONE, ONE
from optimizer.audit.quantities import Quantity, bare, noun
from optimizer.audit.tokens import numbers_of, tokenize
from optimizer.audit.verdict import Verdict, plain, shown
from optimizer.readers.catalog import load_hardware

_PREEMPTS: Final = r"(?<!without )(?<!before )(?<!has to )preempt\w*"
_DOUBT: Final = re.compile(
    r"\b(?:not|never|cannot|neither|nor|none|nobody|too|exceed\w*|fails?|oom|impossible|would|could|should|need\w*|requir\w+"
    r"|at least|more than|less than|fewer|reject\w*|instead|ask\w*|target|goal|plan\w* for|hope\w*|wrong\w*"
    r"|test\w*|bench\w*|measur\w+|sen[dt]s?|offered|queue\w*|arriv\w+|spikes?|traffic|peaks?|waits?|bursts?|overload\w*"
    rf"|{_PREEMPTS}|says?|said|claim\w*)\b|n['’]t\b|[?≠✗❌]",
    re.IGNORECASE,
)
_SUPPOSED: Final = re.compile(r"\b(?:if|unless|until|suppose\w*|once|when|were)\b", re.IGNORECASE)
_CLAUSE: Final = re.compile(r"[,;.]\s|\b(?:so|but|and|although|because|which|while|whereas)\b", re.IGNORECASE)


def asserted(sentence: Sentence, start: int, end: int, *, conditional: bool = False) -> bool:
    """Whether a sentence says outright (``conditional``: or on a condition) what stands between two characters."""
    text = sentence.text
    clause = clause_of(text, start, end, _CLAUSE)
    return not (_DOUBT.search(clause) or (not conditional and _SUPPOSED.search(clause)) or sentence.refuted)


# --- requests of so many tokens


_EACH: Final = re.compile(r"\s*(?:each|apiece)\b", re.IGNORECASE)
_ADJECTIVES: Final = re.compile(r"\s*(?:full\W|concurrent\s|parallel\s)?\s*", re.IGNORECASE)
"""Before the length of each: ``24 full 32,768-token contexts``."""
_REQUESTS: Final = re.compile(
    rf"(?<![\w.,/$-])(?<!\bof )(?P<number>\d[\d,]*(?![.,]?\d|\s?[%]|\w)|{WORDS}\b)\s+(?:full[- ])?"
    r"(?:[\d,.]+k?[- ]tokens?\s+)?(?:(?:(?:concurrent|parallel|simultaneous|full|full-length|such|live|open|active)\s)*"
    r"(?P<noun>[a-z]+s)\b|of\s+(?P<them>them|these|those)\b)|\bmax[-_]num[-_]seqs[`\s=:]+(?P<flag>\d+)",
    re.IGNORECASE,
)
"""So many requests, whatever they are called, or the flag that admits so many."""
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


@dataclass(frozen=True, slots=True)
class Load:
    """So many requests of so many tokens each, and where both stand in a sentence."""

    requests: int
    tokens: Fraction
    at: tuple[int, int]
    start: int
    end: int
    concluded: bool = False

    def span(self, sentence: Sentence) -> re.Match[str]:
        """Where the number of requests stands."""
        return stretch(sentence.text, *self.at)


def _is_tokens(one: Quantity) -> bool:
    """Whether it counts tokens, or those of a request."""
    return bare(one.type) == (("token", 1),)


def _of_one(one: Quantity) -> bool:
    """Whether its tokens are a request's."""
    return ("request", -1) in one.type


_WINDOW: Final = 8192
_WINDOWS: Final = {odd << power for odd in (1, 3, 5) for power in range(10)}
"""How many times so many tokens contexts have, and caches hardly."""


def load_of(
    sentence: Sentence, figures: Sequence[Quantity], ahead: Sequence[Quantity], pools: Collection[Place]
) -> Load | None:
    """``16 sessions at 131,072 each``; ``at the 32,768-token limit, 64 full-length requests``.

    A conclusion may have the length in the sentence before (``ahead``).
    """
    text = sentence.text
    long = [(one.value, one.start, one.end) for one in figures if _is_tokens(one)]
    long += [(Fraction(1000 * int(one[1])), one.start(), one.end()) for one in _THOUSANDS.finditer(text)]
    if re.search("each|apiece", text):
        long += [(one.value, one.start, one.number_end) for one in numbers_of(tokenize(text))
                 if _EACH.match(text, one.number_end) and one.unit.dimensions == NONE]  # fmt: skip
    long = [one for one in long if one[0] >= _LEAST_LENGTH]
    found: list[tuple[int, int, int]] = []
    for match in _REQUESTS.finditer(text):
        noun_of, group = (match["noun"] or "").lower(), "number" if match["number"] else "flag"
        number, (start, end) = count(match[group].replace(",", "")), match.span(group)
        if number <= 1 or _NO_REQUESTS.fullmatch(noun_of):
            continue
        for length, at, stop in long if match["noun"] else ():
            behind_it = at > end and _OF.match(text[end:at])
            first = at < start and _AT_FIRST.match(text[:at]) and text[stop:start].count(",") < _TWO
            inside = at > end and text[stop : stop + 1] == "-" and _ADJECTIVES.fullmatch(text[end:at])
            if behind_it or first or inside:
                return Load(number, length, (start, end), min(start, at), max(end, stop))
        them = match["them"] and _HOW_MANY.search(text, 0, start)
        concluded = _KEPT.search(text) if match["flag"] else _CONCLUDED.search(text, 0, start)
        if (
            concluded
            and (them or match["flag"] or noun(noun_of) == "request")
            and number not in {one[0] for one in long}
        ):
            found.append((number, start, end))
    each = {one.value for one in figures if _is_tokens(one) and one.place not in pools} or {one.value for one in ahead}
    if len(found) != 1 or len(each) != 1:
        return None
    ((number, start, end),), (length,) = found, each
    return Load(number, length, (start, end), start, end, concluded=True)


_KEPT: Final = re.compile(r"\bwithout (?:any )?(?:preempt|evict)", re.IGNORECASE)


class _Capacities:
    """Counts of tokens that are bytes of memory over bytes of a token, by section."""

    def __init__(self, said: Sequence[Sentence], figures: Sequence[Sequence[Quantity]]) -> None:
        self.said, self.figures, self.own = said, figures, dict(zip(said, figures, strict=True))

    @cached_property
    def found(self) -> list[tuple[Sentence, Quantity]]:
        figures = [(sentence, one) for sentence, own in zip(self.said, self.figures, strict=True) for one in own]
        sizes = [one for _, one in figures if _is_size(one)]
        costs = {one.value for one in sizes if _LEAST_COST <= one.value < _MOST_COST}
        units = {(one.value, one.number.digits, one.number.unit) for one in sizes if one.number}
        large = [one for one in units if one[0] >= _LEAST_ROOM]
        rooms = {room for value, digits, unit in large for room in (value, digits * (unit.other or unit.scale))}
        whole = self.said[0].whole if self.said else None
        shares = {1, *whole.counts, *whole.every("tp"), *whole.every("dp")} if whole else {1}
        if len(costs) * len(rooms) * len(shares) > _MOST_WAYS:
            return []
        given = [room * share / cost for room in rooms for cost in costs for share in shares]
        counts = [(sentence, one) for sentence, one in figures if _is_tokens(one) and not _of_one(one)]
        counts = [one for one in counts if one[1].value >= 1000 and one[1].value / _WINDOW not in _WINDOWS]
        return [(sentence, one) for sentence, one in counts
                if any(abs(value - one.value) <= value * _ROUNDED for value in given)]  # fmt: skip

    def of(self, sentence: Sentence, length: Fraction) -> tuple[Fraction, str] | None:
        """The greatest before it in its section, else of the document, that is no single request's; and its line."""
        fit = [(other, one) for other, one in self.found if one.value > length * (1 + _ROUNDED)]
        own = [
            one for other, one in fit if other.section == sentence.section and other.place.line <= sentence.place.line
        ]
        most = max(own or [one for _, one in fit], key=lambda one: one.value, default=None)
        if most is None:
            return None
        copies = 1 if _ONE_OF_THEM.search(sentence.text) else self.copies
        nodes = max((count(match[1]) for match in _NODES.finditer(sentence.text)), default=1)
        return most.value * max(copies, nodes), f"line {most.place.line}"

    def costs(self, sentence: Sentence) -> set[Fraction]:
        """Bytes of a token that its section gives, else the document, and those of the one model that is known."""
        whole, several = sentence.whole, len(sentence.whole.models) > 1
        every = self._by_section
        near = self._costs(whole.ahead(sentence)[-_NEAR:]) if several else every.get(sentence.section)
        found = near or (set() if several else every[None])
        narrow = _NARROW.search(sentence.text) is not None
        found = found | {value / 2 for value in found if narrow}
        if sentence.known.model and not several:
            widths = (8,) if narrow else whole.cache_widths(sentence)
            found |= {one.value for one in cache_bytes(sentence.known.model, 1, widths, (), layered=False, each=False)}
        return found

    @cached_property
    def _by_section(self) -> dict[tuple[str, ...] | None, set[Fraction]]:
        return {None: self._costs(self.said)} | {
            section: self._costs(own) for section, own in self.said[0].whole.sections.items()
        }

    def _costs(self, near: Sequence[Sentence]) -> set[Fraction]:
        return {one.value for other in near if "token" in other.text.lower() for one in self.own[other]
                if _is_size(one) and _LEAST_COST <= one.value < _MOST_COST}  # fmt: skip

    @cached_property
    def copies(self) -> int:
        """The most replicas that are spoken of."""
        found = (count(match[1]) for one in self.said for match in _COPIES.finditer(one.text))
        return max(found, default=1)


_LEAST_COST: Final = 1 << 9
_MOST_COST: Final = 1 << 24
"""Bytes between which a token of some model takes its own."""
_COPIES: Final = re.compile(
    rf"({COUNT})\s+(?:(?!spare|redundant|expert|extra)\w+\s+)?(?:replicas|copies|instances)\b", re.IGNORECASE
)
_NODES: Final = re.compile(rf"({COUNT})\s+(?:[\w-]+\s+)?(?:{NODES}|machines?)\b", re.IGNORECASE)
_LEAST_ROOM: Final = 10**9
_MOST_WAYS: Final = 20_000
_ROUNDED: Final = Fraction(1, 50)


_AT_ONCE: Final = re.compile(
    r"\b(?:admit\w*|keeps?|kept|holds?|held|fits?|carr(?:y|ies)|supports?|sits?|simultaneous\w*|concurren\w+|parallel|live|active|stay\w*"
    r"|resident|enough|served?|serves|at (?:once|a time)|same time|room|cache|pool|have)\b",
    re.IGNORECASE,
)
"""Where requests are said to be in the cache together."""
_IN_TURN: Final = re.compile(
    rf"\b(?:{_PREEMPTS}|queue\w*|wait\w*|schedul\w+|over the|(?:a|per|each) (?:day|hour|minute|week|month)"
    r"|after the other|archive)\b",
    re.IGNORECASE,
)
"""Where they are one after the other, or need not be."""


def _cached(sentence: Sentence, load: Load, capacities: _Capacities) -> JudgedClaims:
    """Requests at once against the tokens that the document has room for."""
    known = capacities.of(sentence, load.tokens)
    if known is None:
        return
    room, said = known
    if not (load.concluded or _AT_ONCE.search(sentence.text)) or _IN_TURN.search(
        clause_of(sentence.text, load.start, load.end)
    ):
        return
    room *= 2 if sentence.own.cache in {"fp8", "int8"} else 1
    # no condition makes room for twice as much
    if not asserted(sentence, load.start, load.end, conditional=load.requests * load.tokens > 2 * room):
        return
    if load.requests * load.tokens > room * (1 + _ROUNDED):
        told = f"{plain(room)} ({said}) ÷ {plain(load.tokens)}"
        reading = Derivation("requests that fit", room / load.tokens, "kv_cache_tokens ÷ tokens of one", told)
        yield claim_at(
            sentence, load.span(sentence), "concurrency", Fraction(load.requests), ONE, Verdict.FAILS, [reading]
        )


def _is_room(one: Quantity) -> bool:
    return _is_size(one) and one.value >= _LEAST_ROOM


def _is_size(one: Quantity) -> bool:
    """Whether it is so many bytes, of anything."""
    return dict(one.type).get("byte") == 1 and "second" not in dict(one.type)


_LEAST_POOL: Final = 10_000
_NEAR: Final = 4
"""Sentences, with its own, in which the room is told that tokens are held in."""
_HELD: Final = re.compile(r"\b(?:cache|pool|left|leav\w+|remain\w*|free|available)\b", re.IGNORECASE)
_OF_ALL: Final = re.compile(r"\b(?:replica|pair|both|node|box|system|instance)\b", re.IGNORECASE)
_OF_DEVICE: Final = re.compile(rf"(?:\b(?:per|an?|one|each|every)|/)\s*{DEVICES}\b|\brank\b", re.IGNORECASE)
_SOME_OF_IT: Final = re.compile(r"%|\b(?:half|third|quarter|share|reserve\w*|of (?:it|them|which))\b", re.IGNORECASE)
_NARROW: Final = re.compile(r"\b(?:fp8|int8|8[- ]bit)", re.IGNORECASE)
_DIVIDED: Final = re.compile(r"[/÷] *\d")


def _pooled(sentence: Sentence, own: Sequence[Quantity], capacities: _Capacities) -> JudgedClaims:
    """``The 68.0 GiB pool of one replica holds about 891,000 tokens``: its bytes over those of a token."""
    text, known, whole = sentence.text, sentence.known.degrees, sentence.whole
    held = [one for one in own if _is_tokens(one) and not _of_one(one)]
    costs = capacities.costs(sentence) if len(held) == 1 and not sentence.cells else ()
    window = held and (held[0].value < _LEAST_POOL or held[0].value / _WINDOW in _WINDOWS)
    if not costs or window or sentence.code or not _CONCLUDED.search(text, 0, held[0].start):
        return
    (one,) = held
    demanded = any("request" in dict(other.type) for other in own if other.end <= one.start)
    part = _SOME_OF_IT.search(clause_of(text, one.start, one.end)) or _DIVIDED.search(text, 0, one.start)
    if demanded or part or not asserted(sentence, one.start, one.end):
        return
    given = [(sentence, size) for size in own if _is_room(size) and size.end <= one.start] or [
        (other, size) for other in whole.ahead(sentence)[-_NEAR:-1] for size in capacities.own[other]
        if (other.segment == sentence.segment or (other.item and sentence.item)) and not other.cells and _is_room(size)
        and _HELD.search(other.text)
    ]  # fmt: skip
    fit: list[tuple[Fraction, str]] = []
    for other, size in given:
        shares = {1, *(known[axis] for axis in ("tp", "dp") if axis in known)}
        device = _OF_DEVICE.search(other.text) or ("device", -1) in size.type
        if other is sentence and _OF_ALL.search(text) and not device:
            shares = {1}
        elif device or not known:
            shares |= {*whole.counts, *(each for axis in ("tp", "dp", "ep") for each in whole.every(axis))}
        if not _ONE_OF_THEM.search(text):
            shares |= {share * capacities.copies for share in shares}
        unit = size.number.unit if size.number else GB
        scales = {size.value, size.value / unit.scale * (unit.other or unit.scale)}
        fit += [(room * share / cost, size.text) for room in scales for share in shares for cost in costs]
    best, room = min(fit, key=lambda way: abs(way[0] / one.value - 1), default=(one.value, ""))
    if abs(best - one.value) > ROUGHLY * best:
        reading = Derivation("bytes over those of a token", best, "room ÷ bytes of a token", f"{room} ÷ bytes of one")
        span = stretch(text, one.start, one.end)
        yield claim_at(sentence, span, "kv_cache_tokens", one.value, ONE, Verdict.FAILS, [reading])


_ADMITS: Final = re.compile(
    r"\b(?:admit\w*|keeps?|holds?|serves?|fits?|runs?|supports?|have|promise\w*|handles?)\b", re.IGNORECASE
)


def _resident(sentence: Sentence, load: Load) -> JudgedClaims:
    """``Two L40S hold the weights plus 64 users at 8k tokens``: weights and caches against all the memory."""
    known = sentence.known
    said = _ADMITS.search(sentence.text) and asserted(sentence, load.start, load.end)
    priced = priced_on(known, 1) if known.devices and said else None
    if priced is None:
        return
    each = Fraction(priced[2].figures["kv_cache_bytes_per_token"].value) / (2 if known.cache in {"fp8", "int8"} else 1)
    weights = Fraction(priced[2].figures["model_bytes"].value)
    memory = min(Fraction(priced[0].hardware.device.memory), known.memory or Fraction(10**15))
    # The list around a sentence may have gone on to more devices than the last that were named with their kind.
    devices = sentence.own.devices or max(known.devices or 0, *sentence.whole.counts)
    most = (devices * memory - weights) / (load.tokens * each)
    if most <= 0:
        return  # devices or a precision that are not the model's
    reading = Derivation(
        "most that fit", Fraction(floor(most)), "(devices × memory − weights) ÷ (tokens × cache of a token)",
        f"({devices} × {shown(memory, GB)} − {shown(weights, GB)}) ÷ ({plain(load.tokens)} × {plain(each)} bytes)",
    )  # fmt: skip
    verdict = verdict_of(right=load.requests <= most)
    yield claim_at(sentence, load.span(sentence), "concurrency", Fraction(load.requests), ONE, verdict, [reading])


# --- weights in devices


_USABLE: Final = Fraction(97, 100)
"""Share of a device's memory that contexts and workspaces leave at the very most: engines' own limits stop at 0.95."""


def _sharded(sentence: Sentence) -> JudgedClaims:
    """``Two BF16 replicas at TP4``: the weights over the degrees against the memory of a device."""
    known, own = sentence.known, sentence.own.degrees
    if "tp" not in own or own.keys() & {"ep", "dp", "cp"} or sentence.own.precision is None or known.device is None:
        return
    named = sentence.whole.devices
    if known.device not in named.get(sentence.segment, ()) and len(named[None]) > 1:
        return
    match = re.search(rf"\bTP\W{{0,3}}(?:size\W{{0,3}})?{own['tp']}\b", sentence.text, re.IGNORECASE)
    weights = weights_of(known)
    if match is None or weights is None or sentence.cells or sentence.code or not asserted(sentence, *match.span()):
        return
    parts = own["tp"] * own.get("pp", 1)
    memory = max(Fraction(load_hardware(known.device).device.memory), known.memory or Fraction(0))
    if weights / parts > memory * _USABLE:
        note = f"{shown(weights, GB)} over {parts} are more than the {shown(memory, GB)} of a device"
        reading = Derivation(
            "weights of a device", weights / parts, "weights ÷ (tp × pp)", f"{shown(weights, GB)} ÷ {parts}"
        )
        yield claim_at(sentence, match, "tp", Fraction(own["tp"]), ONE, Verdict.FAILS, [reading], note)


_TYPICAL: Final = re.compile(r"\b(?:average\w*|mean|typical\w*|median|usual\w*)\b", re.IGNORECASE)


def judge_capacity(sentences: Sequence[Sentence], figures: Sequence[Sequence[Quantity]]) -> JudgedClaims:
    """Everything that a document says would fit and does not, in document order."""
    capacities = _Capacities(sentences, figures)
    pools = {one.place for _, one in capacities.found}
    ahead: list[Quantity] = []
    for at, (sentence, own) in enumerate(zip(sentences, figures, strict=True)):
        if at and sentence.section != sentences[at - 1].section:
            ahead = []
        load = load_of(sentence, own, ahead, pools)
        if load is not None:
            refuted = list(_cached(sentence, load, capacities))
            yield from refuted or (() if load.concluded else _resident(sentence, load))
        if lengths := [one for one in own if _is_tokens(one) and one.place not in pools]:
            ahead = lengths if _TYPICAL.search(sentence.text) or any(map(_of_one, lengths)) else []
        yield from _pooled(sentence, own, capacities)
        yield from _sharded(sentence)
