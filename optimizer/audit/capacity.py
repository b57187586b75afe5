"""What must fit: requests in the cache that the document's figures give, weights and users in devices, links.

Which figures are a cache's tokens is told by the numbers alone: bytes of memory over bytes of a token are these tokens.
A claim that is negated, supposed, needed or refuted beside it accuses no one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import floor
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.counts import COUNT, count
from optimizer.audit.deployment import Sentence
from optimizer.audit.facts import Derivation
from optimizer.audit.hedges import clause_of
from optimizer.audit.known_figures import GB, JudgedClaims, claim_at, priced_on, verdict_of, weights_of
from optimizer.audit.lexicon import ONE
from optimizer.audit.said import Said, figures_of, is_tokens, stretch
from optimizer.audit.verdict import Verdict, plain, shown
from optimizer.readers.catalog import load_hardware

_DOUBT: Final = re.compile(
    r"\b(?:not|never|cannot|neither|nor|none|nobody|too|exceed\w*|fails?|oom|impossible|would|could|should|need\w*|requir\w+"
    r"|at least|more than|less than|fewer|reject\w*|instead|ask\w*|target|goal|plan\w* for|hope\w*|wrong\w*"
    r"|test\w*|bench\w*|measur\w+|sen[dt]s?|offered|queue\w*|preempt\w*|arriv\w+|spikes?|traffic|peaks?|waits?|bursts?|overload\w*"
    r"|says?|said|claim\w*)\b|n['’]t\b|[?≠✗❌]",
    re.IGNORECASE,
)
_SUPPOSED: Final = re.compile(r"\b(?:if|unless|until|suppose\w*|once|when|were)\b", re.IGNORECASE)
_CLAUSE: Final = re.compile(r"[,;:.]\s|\b(?:so|but|and|although|because|which|while|whereas)\b", re.IGNORECASE)
_REFUTED: Final = re.compile(
    r"\b(?:(?:not|n['’]t)\s+(?:\w+\s+)?(?:fit|hold|work|possible)|reject\w*|too\s+(?:big|large|much|small)|exceeds?"
    r"|impossible|out of memory|oom)\b",
    re.IGNORECASE,
)


def asserted(sentence: Sentence, start: int, end: int, *, conditional: bool = False) -> bool:
    """Whether a sentence says outright (``conditional``: or on a condition) what stands between two characters."""
    text = sentence.text
    clause = clause_of(text, start, end, _CLAUSE)
    paragraph = sentence.whole.paragraphs.get(sentence.segment, "")
    return not (
        _DOUBT.search(clause)
        or (not conditional and _SUPPOSED.search(clause))
        or _SUPPOSED.search(text[:start])
        or _REFUTED.search(paragraph)
        or "rejected" in " ".join(sentence.section).lower()
    )


# --- requests of so many tokens


_OF: Final = re.compile(
    r"[^\d.;,(]{0,24}\b(?:at|of|with|x|×|each|keep|have|hold|use|get)\s+(?:(?:the|a|up|to|their|full|its|long|all|maximum|max|of|context)\s+){0,4}$",
    re.IGNORECASE,
)
"""Between a number of requests and the tokens of each."""
_AT_FIRST: Final = re.compile(r"^\W*(?:at|with|for|under)\b[^\d.;]{0,32}$", re.IGNORECASE)
_NO_REQUESTS: Final = frozenset(
    [
        "tokens",
        "gpus",
        "devices",
        "cards",
        "nodes",
        "servers",
        "layers",
        "heads",
        "experts",
        "ranks",
        "replicas",
        "instances",
        "copies",
        "values",
        "bytes",
        "params",
        "parameters",
        "days",
        "hours",
        "minutes",
        "seconds",
        "weeks",
        "months",
        "years",
        "bits",
        "ways",
        "stages",
        "points",
        "blocks",
        "pages",
    ]
)
_REQUEST: Final = re.compile(
    r"(?:(?:concurrent|parallel|simultaneous|full|full-length|such|live|open|active)\s+)*([a-z]+s)\b"
)
_TOKENS_OF: Final = re.compile(r"^\s*(?:full[- ])?[\d,.]+[kK]?[- ]tokens?\s+", re.IGNORECASE)
_ADJECTIVES: Final = re.compile(r"\s*(?:full\W|concurrent\s|parallel\s)?\s*", re.IGNORECASE)
"""Before the length of each: ``24 full 32,768-token contexts``."""
_LEAST_LENGTH: Final = 256
_TWO: Final = 2
_ONE_OF_THEM: Final = re.compile(
    r"\b(?:per|one|each|every|a|single)\s+(?:single\s+)?(?:\w+\s+)?(?:replica|card|gpu|node|instance|copy|server|rank|pool)\b",
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

    def span(self, sentence: Sentence) -> re.Match[str]:
        """Where the number of requests stands."""
        return stretch(sentence.text, *self.at)


def load_of(sentence: Sentence, figures: Sequence[Said]) -> Load | None:
    """``16 sessions at 131,072 each``; ``at the 32,768-token limit, 64 full-length requests``."""
    text = sentence.text
    counts = [(int(one.value), one.number.start, one.number.number_end) for one in figures
              if one.unit is ONE and one.value.denominator == 1 and one.value > 1]  # fmt: skip
    counts += [(count(match[0]), match.start(), match.end()) for match in _IN_WORDS.finditer(text)]
    for number, start, end in counts:
        noun = _REQUEST.match(_TOKENS_OF.sub("", text[end:]).lstrip().lower())
        if noun is None or noun[1] in _NO_REQUESTS:
            continue
        for one in figures:
            at, behind = one.number.start, text[one.number.number_end :]
            long = one.unit.dimensions == lexicon.NONE and one.value >= _LEAST_LENGTH
            each = is_tokens(one) or re.match(r"\s*(?:each|apiece)\b", behind)
            behind_it = at > end and _OF.match(text[end:at])
            first = at < start and _AT_FIRST.match(text[:at]) and text[one.number.number_end : start].count(",") < _TWO
            inside = at > end and one.number.nouns[:1] == ("token",) and _ADJECTIVES.fullmatch(text[end:at])
            if long and ((each and (behind_it or first)) or inside):
                return Load(number, one.value, (start, end), min(start, at), max(end, one.number.number_end))
    return None


_IN_WORDS: Final = re.compile(rf"(?!\d){COUNT}\b", re.IGNORECASE)


class _Capacities:
    """Counts of tokens that are bytes of memory over bytes of a token, by section."""

    def __init__(self, said: Sequence[tuple[Sentence, list[Said]]]) -> None:
        self.said = said

    @cached_property
    def found(self) -> list[tuple[Sentence, Said]]:
        figures = [(sentence, one) for sentence, each in self.said for one in each]
        costs = {
            one.value
            for _, one in figures
            if one.unit.dimensions == lexicon.BYTES and _LEAST_COST <= one.value < _MOST_COST
        }
        rooms = {room for _, one in figures if one.unit.dimensions == lexicon.BYTES and one.value >= _LEAST_ROOM
                 for room in (one.value, one.number.digits * (one.unit.other or one.unit.scale))}  # fmt: skip
        whole = self.said[0][0].whole if self.said else None
        shares = {
            1,
            *(whole.counts if whole else ()),
            *(whole.every("tp") if whole else ()),
            *(whole.every("dp") if whole else ()),
        }
        if len(costs) * len(rooms) * len(shares) > _MOST_WAYS:
            return []
        given = [room * share / cost for room in rooms for cost in costs for share in shares]
        return [(sentence, one) for sentence, one in figures if one.unit.dimensions == lexicon.NONE
                and one.value >= 1000 and is_tokens(one)
                and any(abs(value - one.value) <= value * _ROUNDED for value in given)]  # fmt: skip

    def of(self, sentence: Sentence, length: Fraction) -> tuple[Fraction, Said] | None:
        """The greatest before it in its section, else of the document, that is no single request's."""
        fit = [(other, one) for other, one in self.found if one.value > length * (1 + _ROUNDED)]
        own = [
            one for other, one in fit if other.section == sentence.section and other.place.line <= sentence.place.line
        ]
        most = max(own or [one for _, one in fit], key=lambda one: one.value, default=None)
        if most is None:
            return None
        return most.value * (1 if _ONE_OF_THEM.search(sentence.text) else self.copies), most

    @cached_property
    def copies(self) -> int:
        """The most replicas that are spoken of."""
        found = (count(match[1]) for one, _ in self.said for match in _COPIES.finditer(one.text))
        return max(found, default=1)


_LEAST_COST: Final = 1 << 9
_MOST_COST: Final = 1 << 24
"""Bytes between which a token of some model takes its own."""
_COPIES: Final = re.compile(rf"({COUNT})\s+(?:\w+\s+)?(?:replicas|copies|instances)\b", re.IGNORECASE)
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
    r"\b(?:preempt\w*|queue\w*|wait\w*|schedul\w+|over the|(?:a|per|each) (?:day|hour|minute|week|month)"
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
    if not _AT_ONCE.search(sentence.text) or _IN_TURN.search(clause_of(sentence.text, load.start, load.end)):
        return
    room *= 2 if sentence.own.cache in {"fp8", "int8"} else 1
    # no condition makes room for twice as much
    if not asserted(sentence, load.start, load.end, conditional=load.requests * load.tokens > 2 * room):
        return
    if load.requests * load.tokens > room * (1 + _ROUNDED):
        line = said.sentence.at(said.number.start).line
        told = f"{plain(room)} (line {line}) ÷ {plain(load.tokens)}"
        reading = Derivation("requests that fit", room / load.tokens, "kv_cache_tokens ÷ tokens of one", told)
        yield claim_at(
            sentence, load.span(sentence), "concurrency", Fraction(load.requests), ONE, Verdict.FAILS, [reading]
        )


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
    reading = Derivation(
        "most that fit", Fraction(max(floor(most), 0)), "(devices × memory − weights) ÷ (tokens × cache of a token)",
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


def judge_capacity(sentences: Sequence[Sentence]) -> JudgedClaims:
    """Everything that a document says would fit and does not, in document order."""
    said = [(sentence, figures_of(sentence)) for sentence in sentences]
    capacities = _Capacities(said)
    for sentence, figures in said:
        load = load_of(sentence, figures) if len(figures) > 1 or _IN_WORDS.search(sentence.text) else None
        if load is not None:
            refuted = list(_cached(sentence, load, capacities))
            yield from refuted or _resident(sentence, load)
        yield from _sharded(sentence)
