"""Rates and times that are beyond the hardware: tokens a second, times per token, bytes over a link.

A rate of one stream, and a time per token, is bound by the weights that each step reads; any other rate by the work of
reading prompts on devices that share nothing. Bounds are those of `verify`, of the most devices, the narrowest weights
and the smallest model that the nearest words which name any leave open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from itertools import chain, pairwise, product
from typing import Any, Final, TypeVar

from optimizer.audit import lexicon
from optimizer.audit.degrees import COUNT, DEVICES, NODES, count, degrees_in
from optimizer.audit.deployment import Known, Sentence, Whole, devices_in, models_in, weights_in
from optimizer.audit.facts import MOST_READINGS, Derivation
from optimizer.audit.known_figures import RECKONED, ROUGHLY, JudgedClaims, claim_at, priced_on, stretch
from optimizer.audit.lexicon import UNITS, Unit
from optimizer.audit.quantities import Quantity, bare, noun
from optimizer.audit.scope import IF, asserted, clause_of, names_another, names_unknown, rows_called
from optimizer.audit.verdict import Verdict, shown
from optimizer.figures.bounds import Bound, throughput_bounds, tpot_bound
from optimizer.readers.catalog import load_hardware

_RATE: Final = Unit("tokens/s", Fraction(1), lexicon.PER_SECOND)
_TOKEN_RATE: Final = {("token", 1), ("second", -1)}
_AT_MOST: Final = re.compile(
    r"(?:\b(?:at (?:the )?(?:very )?(?:most|best)|no more than|(?<!no )less than"
    r"|(?<!went )(?<!got )(?<!goes )up to|under|below|within|max\w*|limit)\b|[<≤])"
    r"[^\d]{0,8}$",
    re.IGNORECASE,
)
_AT_LEAST: Final = re.compile(
    r"(?:\b(?:at least|no less than|more than|over|above|beyond|min\w*|from)\b|[>≥])[^\d]{0,8}$", re.IGNORECASE
)
_AT_BEST: Final = re.compile(r"[^,;.]{0,24}\bat (?:the )?(?:very )?(?:most|best)\b", re.IGNORECASE)
_PER_DEVICE: Final = re.compile(rf"[^.;,\d]{{0,24}}(?:per|/|a|and|on each)\s*{DEVICES}\b(?! util)", re.IGNORECASE)
_READ: Final = re.compile(
    r"\b(?:prefill\w*|ingest\w*|(?:prompts?|input) (?:tok\w*|processing|rates?|throughput)|reads? prompts|first token"
    r"|ttft)\b",
    re.IGNORECASE,
)
"""Where tokens are read, many at a time, not written."""
_SPEEDS_UP: Final = re.compile(
    r"\b(?:speculat\w*|spec(?=[. -]+dec)"
    r"|draft(?:ed|ing|ers?|s? (?:per|model|token|head|length)s?)|mtp|eagle|medusa|prefix(?:es)?|cache hits?|cached)\b",
    re.IGNORECASE,
)
_ELSEWHERE: Final = re.compile(
    r"\b(?:groq|cerebras|sambanova|tpus?|trainium|inferentia|gaudi\w*|cpus?|(?:data)?loaders?|disks?|apis?|openai"
    r"|anthropic|bedrock|azure)\b",
    re.IGNORECASE,
)
"""Who serves on hardware that the catalog has not."""
_NEAR: Final = 24
_NONE: Final = re.compile(r"\b(?:no|not|without|off|disabled|never|nor|none|un\w+)\b|=\s?0|: 0", re.IGNORECASE)
_HOSTS: Final = rf"{DEVICES}|{NODES}|replicas?|instances?|systems?|machines?|cluster|pool|fleet"
_OPENING: Final = 8
"""Sentences that say what a document is about, as its title does."""
_NAMED: Final = re.compile(r"\W*(?:[A-Za-z]+ )?([A-Z]\d?)\W{0,3}[:.)–—-]\W*\w")
_CALLED: Final = re.compile(r"\b[A-Za-z]+ ([A-Z]\d?)\b")
_SIZE: Final = re.compile(r"(?<![\w.,×x*])(\d+(?:\.\d+)?)\s?B\b(?! (?:param|tok|act))", re.IGNORECASE)
_SOME: Final = re.compile(
    rf"(?P<number>{COUNT})(?:\s*[×x]\s*|-|\s+)(?:of\s+(?:the|these|those|our|its)\s+)?"
    rf"(?:(?!(?:an?|per|each|every|[KMGT]i?B|W|\w*s|cards?|gpus?)\b)[\w-]+\s+)?"
    rf"(?:{DEVICES}\b|(?P<device>(?:rtx[- ]?)?[a-z]{{1,3}}\d{{1,4}}[a-z]{{0,2}})\b)"
    rf"(?:[- ]\d+ ?GB)?(?P<nodes>(?: (?:SXM\d?|PCIe|HGX))? (?:{NODES}|machines?|systems?)\b)?",
    re.IGNORECASE,
)
_SOME_NODES: Final = re.compile(
    rf"({COUNT})(?:\s+|-)(?:[\w-]+\s+)?(?:{NODES}|machines?|systems?)\b"
    r"|\b(?:the|an?|this|that|per|each) (?:\w+ )?(?:node|server)\b",
    re.IGNORECASE,
)
_SEVERAL: Final = re.compile(
    r"\b(?:replicas?|copies|instances?|fleet|pool|cluster|nodes|servers|data[- ]parallel\w*|DP)\b", re.IGNORECASE
)
_COPIES: Final = re.compile(rf"({COUNT})\s+(?:[\w-]+\s+)?(?:replicas|copies|instances)\b", re.IGNORECASE)
_ON_ONE: Final = re.compile(rf"\b[io]n (?:an?|one|the|that) (?:[\w-]+ ){{0,3}}?{DEVICES}\b", re.IGNORECASE)
"""One device, where nothing is spread over several."""
_HEADINGS: Final = 3
"""From which of the texts around a figure on counts of devices may be those of several copies."""
_ALL_OF_IT: Final = re.compile(rf"\b(?:{_HOSTS}|site|prefill\w*)\b", re.IGNORECASE)
"""Where a rate is that of devices, not of what stands before or behind them."""
_IN: Final = re.compile(r"[^.;,]*\bin (?:about |around |roughly |just |only |under |~|≈)?")
_FIRST: Final = re.compile(r"\b(?:first token|ttft)\b", re.IGNORECASE)
_STEP: Final = re.compile(
    r"\b(?:tpot|itl|inter[- ]token(?: latency)?|(?:time|latency) per (?:output |generated )?token)\b", re.IGNORECASE
)
_PART_OF_STEP: Final = re.compile(
    r"\b(?:all-?reduces?|all-?to-?all|collectives?|sampl\w+|launch\w*|kernels?|communicat\w+|network|overhead|hosts?"
    r"|(?:de)?tokeni[sz]\w+|attention|lm[_ ]head|experts?|dispatch\w*|combine|pcie|nvlink|hops?|schedul\w+|adds?|added"
    r"|more|extra|saves?|gap|later|sooner|earlier|faster|slower|longer)\b",
    re.IGNORECASE,
)
"""Of what a step has beside others: a time per token is then a share of it."""
_LOAD: Final = re.compile(
    rf"\b(?:(?P<one>single|lone|sole|solitary|solo|individual|one|an?|each|every|any|per)|(?P<many>{COUNT}))[- ]"
    r"(?P<who>[a-z]+(?:[- ][a-z]+)?)\b"
    r"|\b(?:batch(?:[- ]size)?|bs|concurrency)(?: of| size)?[ =:-]*(?P<batch>\d+|one)\b"
    r"|\b(?P<alone>unbatched)\b|\b(?:aggregate|in total|altogether|together)\b",
    re.IGNORECASE,
)
"""How many streams are served at once."""
_LOADED: Final = re.compile(r"\b(?:batch|bs|concurren\w+|parallel\w*)\b", re.IGNORECASE)
_SINGLE: Final = frozenset(["single", "lone", "sole", "solitary", "solo", "one"])
_PERSON: Final = re.compile(r"[a-z]+(?:er|or|ist)|client|person")
_APART: Final = re.compile(r"[;.\d]")
_OF_THE_LAST: Final = re.compile(r"\s*(?:tok\w*\s*(?:/|per)\s*s\w*)?\s*(?:(?:for|per|to|of|by|with|at|/)\s*)?")
_TRAINED: Final = Fraction(1, 50)
"""Share by which a rate may pass the work of 6 FLOP a parameter at the full peak, which no run comes near."""
_TRAINS: Final = re.compile(
    r"\b(?:(?:pre-?)?train(?:ing|ed|s)?|fine-?tun\w*|megatron|fsdp|gradients?|cpt|sft)\b", re.IGNORECASE
)
_SERVES: Final = re.compile(
    r"\b(?:serv\w+|prefill\w*|decod\w+|prompts?|generat\w+|inference|users?|streams?|rollouts?)\b",
    re.IGNORECASE,
)
_LONG: Final = frozenset(["day", "week", "month", "year"])
"""Periods of a demand."""
_SHORT: Final = Fraction(98, 100)
"""Share by which a rounded figure may pass its bound."""
_MEASURED: Final = re.compile(r"\b(?:measured|observed|achieved|actual|seen|reached)\b", re.IGNORECASE)
_MOST: Final = re.compile(r"\b(?:ceiling|roofline|ideal|theoretical)\b", re.IGNORECASE)
_LEAST: Final = re.compile(r"\b(?:floor|ideal|theoretical)\b", re.IGNORECASE)


def _sped_up(text: str) -> bool | None:
    """Whether a text speaks of drafted tokens or cached prompts and not to say that there are none; None if neither."""
    none = [_NONE.search(text, max(0, one.start() - _NEAR), one.end() + _NEAR) for one in _SPEEDS_UP.finditer(text)]
    return not all(none) if none else None


# --- what the nearest words name

_Name = TypeVar("_Name", str, int)
_Find = Callable[[Whole, str], Collection[_Name]]


class _Near:
    """The texts around a figure, the nearest first: its clause, sentence, paragraph, headings and section."""

    def __init__(self, sentence: Sentence, one: Quantity) -> None:
        self.whole = whole = sentence.whole
        if sentence.cells:
            label = [*sentence.cells][one.column]
            clause = f"{label}: {sentence.cells[label][0]}"
        else:
            clause = clause_of(sentence.text, one.start, one.end).partition(". ")[0]
        titles = sentence.section[:-1]
        named = (row for title in titles for row in rows_called(whole).get(title, ()))
        ahead = [other.text for other in whole.ahead(sentence)]
        self.texts: tuple[Sequence[str], ...] = (
            [clause], [sentence.text, *_called(sentence)], [whole.paragraphs.get(sentence.segment, "")],
            [*(titles[1:] or titles), *named], ahead,
        )  # fmt: skip

    def sped_up(self) -> bool:
        """Whether the nearest words about it, down to the headings, say that tokens are drafted or prompts cached."""
        said = (sped for texts in self.texts[1:-1] for text in texts if (sped := _sped_up(text)) is not None)
        return next(said, False)

    def find(self, find: _Find[_Name]) -> Collection[_Name]:
        """What the nearest texts that name any name, else the title, the commands, the opening or the document."""
        found = (_in(self.whole, texts, find) for texts in self.texts)
        given = (_given(self.whole, place, find) for place in ("title", "commands", "opening", "document"))
        return next(filter(None, chain(found, given)), set())


def _in(whole: Whole, texts: Collection[str], find: _Find[_Name]) -> set[_Name]:
    return {name for text in texts for name in find(whole, text)}


@lru_cache(maxsize=64)
def _given(whole: Whole, place: str, find: Callable[[Whole, str], Collection[Any]]) -> frozenset[Any]:
    """What the title, the commands, the opening or all of a document name."""
    said = whole.said
    title = [name for one in said for name in one.section[:-1]][:1]
    texts = {
        "title": title, "commands": [one.text for one in said if one.code],
        "opening": [*title, *(one.text for one in said[:_OPENING] if not one.cells)],
        "document": [*(" ".join(section) for section in whole.sections), *(one.text for one in said)],
    }  # fmt: skip
    return frozenset(_in(whole, dict.fromkeys(texts[place]), find))


def _called(sentence: Sentence) -> list[str]:
    """The columns and headings that a sentence calls by a letter: ``Option B`` of ``B: FP8 TP2``."""
    named = _letters(sentence.whole)
    return [text for letter in _CALLED.findall(sentence.text) for text in named.get(letter, ())]


@lru_cache(maxsize=8)
def _letters(whole: Whole) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in dict.fromkeys(text for one in whole.said for text in (*one.cells, *one.section)):
        if match := _NAMED.match(text):
            found.setdefault(match[1], []).append(text)
    return found


def _models(whole: Whole, text: str) -> Collection[str]:
    """Models that a text names, by their size among those of the document as well; an unknown one has no name."""
    every = _given(whole, "document", _named) if _SIZE.search(text) else ()
    sized = {model for size in _SIZE.findall(text) for model in every if f"-{size}b" in model}
    return {*(models_in(text) or sized), *(("",) if names_unknown(text) else ())}


def _named(_: Whole, text: str) -> Collection[str]:
    return models_in(text)


@lru_cache(maxsize=4096)
def _devices(_: Whole, text: str) -> Collection[str]:
    return devices_in(text)


def _precisions(_: Whole, text: str) -> Collection[str]:
    return weights_in(text)


def _ranks(_: Whole, text: str) -> Collection[int]:
    return {one.value for one in degrees_in(text) if one.axis in {"tp", "ep"}}


@lru_cache(maxsize=4096)
def _counts(whole: Whole, text: str) -> Collection[int]:
    """Devices that a text counts, those of whole nodes as well, with the copies of the model beside them."""
    each = max((load_hardware(device).devices_per_node for device in whole.devices[None]), default=1)
    named = [one for one in _SOME.finditer(text) if one["device"] is None or devices_in(one["device"])]
    devices = {count(one["number"]) * (each if one["nodes"] else 1) for one in named}
    devices |= {each * count(one[1] or "1") for one in _SOME_NODES.finditer(text)}
    copies = max((count(one[1]) for one in _COPIES.finditer(text)), default=1)
    return {number * copies for number in devices}


def _several(_: Whole, text: str) -> Collection[str]:
    """Words by which a document may speak of more devices than those of one command."""
    return _SEVERAL.findall(text)


def _alone_on(near: _Near) -> Iterator[int]:
    """The most devices that may work on one stream: those named nearest, then what holds if the model does not fit."""
    whole = near.whole
    told, run = whole.told("tp") | whole.told("ep"), _given(whole, "commands", _ranks)
    ranks = told & run or told or run
    for number, texts in enumerate(near.texts):
        named, counts = _in(whole, texts, _ranks), _in(whole, texts, _counts)
        if named or (counts and not (number >= _HEADINGS and len(ranks - {1}) == 1 and counts != {1})):
            yield max(named or counts)
        if not ranks - {1} and any(map(_ON_ONE.search, texts)):
            yield 1
    yield from (max(found) for found in (ranks, near.find(_counts)) if found)


def _together_on(near: _Near, *, training: bool) -> int:
    """The most devices that work at once: those of the sentence and its headings, else all that there are; or 0."""
    whole, (*around, titles, _) = near.whole, near.texts
    found = (_in(whole, texts, _counts) for texts in around)
    here: Collection[int] = () if training else next(filter(None, found), ())
    if not (here or training):
        if not any(map(_ALL_OF_IT.search, (around[1][0], *titles))):
            return 0
        alone = () if _given(whole, "document", _several) else _given(whole, "commands", _ranks)
        here = _in(whole, titles, _counts) or _given(whole, "title", _counts) or alone
    return max(here or {*whole.counts, *_given(whole, "document", _counts)}, default=0)


# --- rates and times of tokens


def judge_rates(sentence: Sentence, figures: Sequence[Quantity]) -> JudgedClaims:
    """Rates and times of a sentence or a row that no hardware which its words leave open allows."""
    text = sentence.text
    if _ELSEWHERE.search(text) or names_another(text) or _sped_up(text):
        return
    yield from _ceilings(sentence, figures) if len(sentence.cells) > 1 else ()
    if any(one.period in _LONG for one in figures):
        return  # what a day asks for, and a second of it
    figures = [*figures, *_made(text, figures)]
    rates = [one for one in figures if {*one.type} >= _TOKEN_RATE]
    read = _READ.search(f"{text} {' '.join(sentence.section[-2:])}") is not None
    for one in figures:
        kinds = dict(one.type)
        time = kinds.get("second") == 1 and ("token" in kinds or sentence.cells) and _of_a_step(sentence, one)
        more = any(power > 0 for name, power in kinds.items() if name not in {"second", "token"})
        # what a limit allows is no rate that is reached; one that must be reached is
        limit = (_AT_LEAST if time else _AT_MOST).search(text, 0, one.start) or _AT_BEST.match(text, one.end)
        open_end = limit or (one.ranged and not time) or RECKONED.search(text, 0, one.start)
        if not (time or one in rates) or more or open_end or IF.search(text, 0, one.start):
            continue
        near = _Near(sentence, one)
        if asserted(sentence, one.start, one.end, conditional=True) and not near.sped_up():
            alone = "request" in kinds and not any(other.end <= one.start for other in rates)
            lone = time or (not read and (alone or _is_lone(sentence, one, rates)))
            each = "device" in kinds or _PER_DEVICE.match(text, one.end) is not None
            yield from _judged(sentence, one, near, time=bool(time), lone=bool(lone), each=each)


def _made(text: str, figures: Sequence[Quantity]) -> Iterator[Quantity]:
    """Rates of tokens and their time: ``40 tokens in 250 ms``, ``8,000-token prompt: 0.6 s to first token``."""
    for tokens, time in pairwise(figures):
        seconds = dict(time.type).get("second") == 1 and "token" not in dict(time.type)
        part = _PART_OF_STEP.search(text, tokens.start, time.end + _NEAR)
        if bare(tokens.type) != (("token", 1),) or not seconds or part or tokens.column != time.column:
            continue
        made = tuple(sorted(_TOKEN_RATE)), tokens.value / time.value
        if _IN.fullmatch(text, tokens.end, time.start):
            yield replace(time, type=made[0], value=made[1])
        elif _FIRST.search(text, tokens.end, time.end + _NEAR):
            yield replace(time, type=(("request", -1), *made[0]), value=made[1])


def _of_a_step(sentence: Sentence, one: Quantity) -> bool:
    """Whether a time per token is that of all its work, not of a part of it."""
    if sentence.cells:
        label = list(sentence.cells)[one.column]
        return _STEP.search(f"{label} {sentence.header} {next(iter(sentence.cells.values()))[0]}") is not None
    return _PART_OF_STEP.search(clause_of(sentence.text, one.start, one.end)) is None


def _loads(text: str) -> list[tuple[int, int, bool]]:
    """Where a text says how many streams are served, and whether it is one."""
    return [
        (one.start(), one.end(), bool(one["one"] or one["alone"] or (one["batch"] or one["many"]) in {"1", "one"}))
        for one in _LOAD.finditer(text)
        if one["who"] is None or _asks(re.split("[- ]", one["who"].lower()), one["one"])
    ]  # fmt: skip


def _asks(words: Sequence[str], article: str | None) -> bool:
    """Whether words name a stream, or a single person who reads one, and no device or copy that serves them."""
    alone = (article or "").lower() in _SINGLE
    person = alone and not noun(words[0]) and _PERSON.fullmatch(words[0])
    serves = any(re.fullmatch(_HOSTS, word, re.IGNORECASE) for word in words)
    return not (serves or words[0].startswith("prompt")) and bool(person or "request" in map(noun, words))


def _is_lone(sentence: Sentence, one: Quantity, rates: Sequence[Quantity]) -> bool:
    """Whether one stream is served: by the words behind a figure, else the last before it, its row or what heads it."""
    text, cells = sentence.text, sentence.cells
    labelled = [(sentence.key, label) for label in cells if len(cells) == 1]
    for at, (label, cell) in enumerate(labelled or [(label, cell) for label, (cell, _) in cells.items()]):
        loaded = _LOADED.search(label) or any(noun(word) == "request" for word in label.split())
        if loaded and (labelled or at != one.column) and cell.isdigit():
            return cell == "1"
    last = max((other.end for other in rates if other.end <= one.start), default=0)
    first = next((one.end() for one in _OF_THE_LAST.finditer(text, last)), 0) if last else -1
    said = _loads(text)
    behind = [load for load in said if load[0] >= one.end and not _APART.search(text, one.end, load[0])][:1]
    ahead = [load for load in said if load[0] > first and load[1] <= one.start and ";" not in text[load[1] : one.start]]
    # of two rates the larger is not one stream's that is named behind it
    if behind and one.value > min(other.value for other in rates):
        behind = [load for load in behind if not load[2]]
    titles = sentence.section[-2:-1] if cells else ()
    heads = (*(cell for cell, _ in [*cells.values()][:1]), _intro(sentence), *titles)
    return all(load[2] for load in next(filter(None, (behind, ahead[-1:], *map(_loads, heads))), [(0, 0, False)]))


def _intro(sentence: Sentence) -> str:
    """The sentence that a list or a table follows, which ends in a colon."""
    for other in reversed(sentence.whole.ahead(sentence)[:-1]) if sentence.item else ():
        if not other.item:
            return other.text if other.text.rstrip().endswith(":") else ""
    return ""


def _judged(sentence: Sentence, one: Quantity, near: _Near, *, time: bool, lone: bool, each: bool) -> JudgedClaims:
    training = not lone and _of_training(sentence)
    prompt = "request" in dict(one.type)
    widths = _alone_on(near) if lone or prompt else [1 if each else _together_on(near, training=training)]
    seconds = one.value if time else 1 / one.value
    # a parameter count is rounded to the model's name, and so is the bound that an author knows
    slack = 1 + (_TRAINED if training else ROUGHLY)
    bounds: list[Bound] = []
    for width in (width for width in widths if width):
        for bound in _bounds(near, width, lone=lone, training=training):
            if seconds * slack >= bound.value if lone else one.value <= bound.value * slack:
                return
            bounds.append(bound)
        if bounds:
            break
    if not bounds:
        return
    bound = (min if lone else max)(bounds, key=lambda item: item.value)
    unit = UNITS["ms"] if time else _RATE
    most = 1 / bound.value if lone and not time else bound.value
    name = "tpot" if time else "throughput_per_device" if each and not lone else "throughput"
    note = f"{bound.resource} of {width} devices allows {shown(most, unit)} at best"
    reading = Derivation(bound.reading, most, bound.formula, bound.substituted)
    span = stretch(sentence.text, one.start, one.end)
    yield claim_at(sentence, span, name, one.value, unit, Verdict.IMPOSSIBLE, [reading], note)


def _bounds(near: _Near, width: int, *, lone: bool, training: bool) -> Iterator[Bound]:
    """A bound for every model, device and precision that the nearest words leave open; none if too many to try."""
    models, devices, precisions = (near.find(find) for find in (_models, _devices, _precisions))
    ways = [*product(models, devices, precisions or ("",))]
    for model, device, precision in ways if len(ways) <= MOST_READINGS and "" not in models else ():
        priced = priced_on(Known(model, precision or None, device), width, data_parallel=not lone)
        if priced is None:
            continue
        problem, _, verdict = priced
        held = verdict.figures["model_bytes"].value <= width * problem.hardware.device.memory
        if training:
            peaks, active = problem.hardware.device.peak, Fraction(verdict.figures["active_parameters"].value)
            peak = Fraction(peaks.get("fp8" if precision in {"fp8", "int8", "int4"} else "bf16", peaks["bf16"]))
            told = f"{width} · {float(peak):.4g} ÷ (6 · {float(active):.4g})"
            yield Bound("training", width * peak / (6 * active), "compute", "peak ÷ (6 · parameters)", told)
            continue
        # one stream needs the whole model: devices that do not hold it are not all that work on it
        if held or not lone:
            yield _bound(model, device, precision, width, lone)


@lru_cache(maxsize=256)
def _bound(model: str, device: str, precision: str, width: int, lone: bool) -> Bound:  # noqa: FBT001
    priced = priced_on(Known(model, precision or None, device), width, data_parallel=not lone)
    assert priced is not None  # noqa: S101 - it was priced before
    return tpot_bound(*priced[:2]) if lone else throughput_bounds(*priced[:2])[-1]


def _of_training(sentence: Sentence) -> bool:
    """Whether tokens are trained on: by the sentence and its headings."""
    near = f"{sentence.text} {' '.join(sentence.section)}"
    return _TRAINS.search(near) is not None and _SERVES.search(near) is None


# --- rates that a row has measured beyond its own bound


def _ceilings(sentence: Sentence, figures: Sequence[Quantity]) -> JudgedClaims:
    """Rates that a row has measured above what it says is the most, and times below the least."""
    labels = list(sentence.cells)
    for one, other in product(figures, figures):
        power = dict(one.type).get("second", 0)
        if not power or one.type != other.type or not _MEASURED.search(labels[one.column]):
            continue
        beyond = one.value * _SHORT > other.value if power < 0 else one.value < other.value * _SHORT
        bound, label = (_MOST if power < 0 else _LEAST), labels[other.column]
        if beyond and bound.search(label) and not _MEASURED.search(label):
            reading, span = Derivation("the row's", other.value, label, other.text), (one.start, one.end)
            name, unit = ("throughput", _RATE) if power < 0 else ("tpot", UNITS["ms"])
            at, note = stretch(sentence.text, *span), f"{label}: {other.text}"
            yield claim_at(sentence, at, name, one.value, unit, Verdict.IMPOSSIBLE, [reading], note)
