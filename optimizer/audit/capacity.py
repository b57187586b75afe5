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

from optimizer.audit.counts import COUNT, WORDS, count
from optimizer.audit.deployment import Sentence
from optimizer.audit.document import Place
from optimizer.audit.facts import Derivation
from optimizer.audit.hedges import clause_of
from optimizer.audit.known_figures import GB, JudgedClaims, claim_at, priced_on, stretch, verdict_of, weights_of
from optimizer.audit.lexicon import NONE, ONE
from optimizer.audit.quantities import Quantity, bare, noun
from optimizer.audit.tokens import numbers_of, tokenize
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
_CLAUSE: Final = re.compile(r"[,;.]\s|\b(?:so|but|and|although|because|which|while|whereas)\b", re.IGNORECASE)
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


_EACH: Final = re.compile(r"\s*(?:each|apiece)\b", re.IGNORECASE)
_ADJECTIVES: Final = re.compile(r"\s*(?:full\W|concurrent\s|parallel\s)?\s*", re.IGNORECASE)
"""Before the length of each: ``24 full 32,768-token contexts``."""
_REQUESTS: Final = re.compile(
    rf"(?<![\w.,/$-])(?P<number>\d[\d,]*(?![.,]?\d|\s?[%]|\w)|{WORDS}\b)\s+(?:full[- ])?(?:[\d,.]+k?[- ]tokens?\s+)?"
    r"(?:(?:(?:concurrent|parallel|simultaneous|full|full-length|such|live|open|active)\s+)*(?P<noun>[a-z]+s)\b"
    r"|of\s+(?P<them>them|these|those)\b)|\bmax[-_]num[-_]seqs[`\s=:]+(?P<flag>\d+)",
    re.IGNORECASE,
)
"""So many requests, whatever they are called, or the flag that admits so many."""
_NO_REQUESTS: Final = re.compile(
    r"(?:token|gpu|device|card|node|server|layer|head|expert|rank|replica|instance|copie|value|byte|param|parameter|day|hour"
    r"|minute|second|week|month|year|bit|way|stage|point|block|page)s"
)
_HOW_MANY: Final = re.compile(
    r"\b(?:sequences|sessions|requests|conversations|users|contexts|prompts)\b", re.IGNORECASE
)
_HEADED: Final = re.compile(
    r"(?:concurrent |full |max\w* )*(?:sequences|sessions|conversations|contexts)(?: that fit| held| per replica"
    r"| at once| in [\d,]+ tokens)?|.*\bfits?\b.*",
    re.IGNORECASE | re.DOTALL,
)
"""What heads the requests that the cache holds."""
_LENGTH: Final = re.compile(r"(?:context|sequence)s?(?:\s+length)?|length|tokens", re.IGNORECASE)
_LENGTH_CELL: Final = re.compile(
    r"\W*(\d[\d,]*)\s?(k)?(?:[\s-]*(?:tokens?|ctx|contexts?|sequences?|prompts?))?\s*(?:\(.*\))?", re.IGNORECASE
)
_LABELLED: Final = re.compile(r"(?P<label>[^:]{2,40}):\s*[~≈]?(?P<number>\d[\d,]*)\b(?![.]\d|\s?[%kKMG])", re.DOTALL)
_OF: Final = re.compile(
    r"[^\d.;,(]{0,24}\b(?:at|of|with|x|×|each|keep|have|hold|use|get)\s+(?:(?:the|a|up|to|their|full|its|long|all|maximum|max|of|context)\s+){0,4}$",
    re.IGNORECASE,
)
"""Between a number of requests and the tokens of each."""
_AT_FIRST: Final = re.compile(r"^\W*(?:at|with|for|under)\b[^\d.;]{0,32}$", re.IGNORECASE)
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
"""Tokens that contexts are whole multiples of, and caches hardly are."""


def load_of(
    sentence: Sentence, figures: Sequence[Quantity], ahead: Sequence[Quantity], pools: Collection[Place]
) -> Load | None:
    """``16 sessions at 131,072 each``; ``at the 32,768-token limit, 64 full-length requests``.

    A conclusion may have the length in the sentence before (``ahead``), and a row or an item in its label.
    """
    if (labelled := _labelled(sentence)) is not None:
        return labelled
    text = sentence.text
    long = [(one.value, one.start, one.end) for one in figures if _is_tokens(one)]
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


def _labelled(sentence: Sentence) -> Load | None:
    """``| 131,072 | 24 |`` under ``sequence length | sequences``, and ``- 32k ctx: 25 per replica``."""
    whole, cells = sentence.whole, list(sentence.cells.items())
    if len(cells) > 1:
        (label, (length, _)), (heading, (number, _)) = cells[0], next(
            ((head, cell) for head, cell in cells[1:] if _HEADED.fullmatch(head)), cells[1])  # fmt: skip
        at = sentence.text.rfind(number)
    elif match := _LABELLED.match(sentence.text) if sentence.item or cells else None:
        length, number, at = match["label"], match["number"], match.start("number")
        before = [one for one in whole.ahead(sentence)[:-1] if not one.item]
        label, heading = "length", sentence.header or (before[-1].text if before else "")
    else:
        return None
    size = _LENGTH_CELL.fullmatch(length)
    plain_number = re.match(r"[~≈]?(\d[\d,]*)(?=$|\s)", number)
    if not size or not plain_number or not _LENGTH.fullmatch(label) or not _HEADED.fullmatch(heading):
        return None
    tokens = Fraction(size[1].replace(",", "")) * (1000 if size[2] else 1)
    requests, end = int(plain_number[1].replace(",", "")), at + len(plain_number[0])
    known = requests > 1 and tokens >= _LEAST_LENGTH
    return Load(requests, tokens, (at, end), at, end, concluded=True) if known else None


class _Capacities:
    """Counts of tokens that are bytes of memory over bytes of a token, by section."""

    def __init__(self, said: Sequence[Sentence], figures: Sequence[Sequence[Quantity]]) -> None:
        self.said, self.figures = said, figures

    @cached_property
    def found(self) -> list[tuple[Sentence, Quantity]]:
        figures = [(sentence, one) for sentence, own in zip(self.said, self.figures, strict=True) for one in own]
        sizes = [one for _, one in figures if dict(one.type).get("byte") == 1 and "second" not in dict(one.type)]
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
        counts = [one for one in counts if one[1].value >= 1000 and one[1].value % _WINDOW]
        return [(sentence, one) for sentence, one in counts
                if any(abs(value - one.value) <= value * _ROUNDED for value in given)]  # fmt: skip

    def of(self, sentence: Sentence, length: Fraction) -> tuple[Fraction, Quantity] | None:
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
        found = (count(match[1]) for one in self.said for match in _COPIES.finditer(one.text))
        return max(found, default=1)


_LEAST_COST: Final = 1 << 9
_MOST_COST: Final = 1 << 24
"""Bytes between which a token of some model takes its own."""
_COPIES: Final = re.compile(
    rf"({COUNT})\s+(?:(?!spare|redundant|expert|extra)\w+\s+)?(?:replicas|copies|instances)\b", re.IGNORECASE
)
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
    if not (load.concluded or _AT_ONCE.search(sentence.text)) or _IN_TURN.search(
        clause_of(sentence.text, load.start, load.end)
    ):
        return
    room *= 2 if sentence.own.cache in {"fp8", "int8"} else 1
    # no condition makes room for twice as much
    if not asserted(sentence, load.start, load.end, conditional=load.requests * load.tokens > 2 * room):
        return
    if load.requests * load.tokens > room * (1 + _ROUNDED):
        told = f"{plain(room)} (line {said.place.line}) ÷ {plain(load.tokens)}"
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
            ahead = lengths if _TYPICAL.search(sentence.text) else []
        yield from _sharded(sentence)
