"""Tokens a second and times per token, against what the rated peaks of the hardware allow.

A rate of one stream, and a time per token, is bound by the weights that each step reads; any other rate by the work of
reading prompts on devices that share nothing. Bounds are those of `verify`, of the most devices, the narrowest weights
and the smallest model that the words leave open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import product
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.counts import COUNT, DEVICES, NODES, count
from optimizer.audit.degrees import degrees_in
from optimizer.audit.deployment import Known, Sentence, devices_in, models_in
from optimizer.audit.facts import MOST_READINGS, Derivation
from optimizer.audit.hedges import IF, asserted, clause_of
from optimizer.audit.known_figures import ROUGHLY, JudgedClaims, claim_at, priced_on, stretch
from optimizer.audit.lexicon import UNITS, Unit
from optimizer.audit.quantities import Quantity, noun
from optimizer.audit.scope import layouts, models_of, names_another, scoped
from optimizer.audit.verdict import Verdict, shown
from optimizer.figures.bounds import Bound, throughput_bounds, tpot_bound
from optimizer.readers.catalog import load_hardware

_RATE: Final = Unit("tokens/s", Fraction(1), lexicon.PER_SECOND)
_AT_MOST: Final = re.compile(
    r"(?:\b(?:at (?:the )?(?:very )?(?:most|best)|no more than|(?<!no )less than"
    r"|up to|under|below|within|max\w*|limit)\b|[<≤])"
    r"[^\d]{0,8}$",
    re.IGNORECASE,
)
_AT_LEAST: Final = re.compile(
    r"(?:\b(?:at least|no less than|more than|over|above|beyond|min\w*|from)\b|[>≥])[^\d]{0,8}$", re.IGNORECASE
)
_AT_BEST: Final = re.compile(r"[^,;.]{0,24}\bat (?:the )?(?:very )?(?:most|best)\b", re.IGNORECASE)
_LONE: Final = re.compile(
    r"\b(?:single|lone|sole|solitary|individual|one|a|each|every|any|per)[- ](?:single[- ]|lone[- ]|idle[- ])?"
    r"(?P<who>user|stream|client|request|sequence|session|conversation|chat|agent|person|[a-z]+(?:er|or|ist))\b"
    r"|\b(?:batch(?:[- ]size)?|bs|concurrency)(?: of| size)?[ =:-]*(?:1\b(?![\d.,]*\d)|one\b)|\bunbatched\b",
    re.IGNORECASE,
)
_ALONE_IN_ROW: Final = re.compile(
    r"(?:^|; )(?:batch(?: size)?|concurrency|concurrent \w+|users|streams|sessions|requests|clients): 1(?=;|$)",
    re.IGNORECASE,
)
_MANY: Final = re.compile(
    r"\b(?:[2-9]|\d{2,4})\s+(?:concurrent\s+|parallel\s+)?(?:users|requests|streams|sequences|clients|sessions|concurrent)\b"
    r"|\b(?:batch(?: size)?|bs|concurrency)(?:\s+of)?[ =]*(?:[2-9]|\d{2,4})\b|\b(?:aggregate|in total|altogether)\b",
    re.IGNORECASE,
)
_SPEEDS_UP: Final = re.compile(
    r"(?<!no )(?<!without )\b(?:speculat\w*|draft\w*|mtp|eagle|medusa|prefix|cache hits?|cached)\b"
    r"(?!.{0,12}\b(?:disabled|off)\b)",
    re.IGNORECASE,
)
_SOME: Final = re.compile(
    rf"({COUNT}|\ba single|\bone)(?:\s+|-)(?:of\s+(?:the|these|those|our|its)\s+)?(?:[\w-]+\s+)?{DEVICES}\b",
    re.IGNORECASE,
)
_SOME_NODES: Final = re.compile(rf"({COUNT})(?:\s+|-)(?:[\w-]+\s+)?(?:{NODES}|machines?|systems?)\b", re.IGNORECASE)
_COPIES: Final = re.compile(rf"({COUNT})\s+(?:[\w-]+\s+)?(?:replicas|copies|instances)\b", re.IGNORECASE)
_PER_DEVICE: Final = re.compile(rf"[^.;,\d]{{0,24}}(?:per|/|a|and|on each)\s*{DEVICES}\b(?! util)", re.IGNORECASE)
_ALL_OF_IT: Final = re.compile(
    rf"\b(?:{DEVICES}|nodes?|replicas?|instances?|systems?|box(?:es)?|servers?|machines?|hosts?|cluster|pool|fleet|site)\b",
    re.IGNORECASE,
)
_READ: Final = re.compile(r"\b(?:prefill\w*|ingest\w*|(?:prompt|input) tok\w*)\b", re.IGNORECASE)
"""Where tokens are read, many at a time, not written."""
_RECKONED: Final = re.compile(r"[=≈×/*+]\s*[~≈]?$")


_TOKEN_RATE: Final = {("token", 1), ("second", -1)}


def judge_rates(sentence: Sentence, figures: Sequence[Quantity]) -> JudgedClaims:
    """Rates of a sentence or a row that are beyond every peak that its words leave open."""
    text = sentence.text
    if _SPEEDS_UP.search(text) or _ELSEWHERE.search(text) or names_another(text):
        return
    yield from _ceilings(sentence, figures) if len(sentence.cells) > 1 else ()
    # of two rates of a sentence the larger is not one stream's
    least = min((one.value for one in figures if _TOKEN_RATE.issubset(one.type)), default=None)
    for one in figures:
        kinds = dict(one.type)
        time = (kinds.get("second"), kinds.get("token")) == (1, -1)
        rated = _TOKEN_RATE.issubset(one.type)
        more = any(power > 0 for name, power in kinds.items() if name not in {"second", "token"})
        # what a limit allows is no rate that is reached; one that must be reached is
        limit = (_AT_LEAST if time else _AT_MOST).search(text, 0, one.start) or _AT_BEST.match(text, one.end)
        open_end = limit or (one.ranged and not time) or _RECKONED.search(text, 0, one.start)
        if not (time or rated) or more or open_end or IF.search(text, 0, one.start):
            continue
        if not asserted(sentence, one.start, one.end, conditional=True) or (time and not _of_a_step(sentence, one)):
            continue
        read = _READ.search(f"{text} {' '.join(sentence.section[-2:])}") is not None
        lone = time or (one.value == least and not read and _is_lone(sentence, one, figures))
        yield from _judged(sentence, one, time=time, lone=lone, each=_PER_DEVICE.match(text, one.end) is not None)


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


_SHORT: Final = Fraction(98, 100)
"""Share by which a rounded figure may pass its bound."""
_MEASURED: Final = re.compile(r"\b(?:measured|observed|achieved|actual|seen|reached)\b", re.IGNORECASE)
_MOST: Final = re.compile(r"\b(?:ceiling|roofline|ideal|theoretical)\b", re.IGNORECASE)
_LEAST: Final = re.compile(r"\b(?:floor|ideal|theoretical)\b", re.IGNORECASE)


def _of_a_step(sentence: Sentence, one: Quantity) -> bool:
    """Whether a time per token is that of all its work, not of a part of it."""
    if sentence.cells:
        label = list(sentence.cells)[one.column]
        return _STEP.search(f"{label} {sentence.header} {next(iter(sentence.cells.values()))[0]}") is not None
    return _PART_OF_STEP.search(clause_of(sentence.text, one.start, one.end)) is None


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
_ELSEWHERE: Final = re.compile(
    r"\b(?:groq|cerebras|sambanova|tpus?|trainium|inferentia|gaudi\w*|cpus?|(?:data)?loaders?|disks?|apis?|openai|anthropic|bedrock|azure)\b",
    re.IGNORECASE,
)
"""Who serves on hardware that the catalog has not."""


def _is_lone(sentence: Sentence, one: Quantity, figures: Sequence[Quantity]) -> bool:
    """Whether one request is served: by the words behind a figure, else by the last before it that tell how many."""
    text = sentence.text
    if sentence.cells and _ALONE_IN_ROW.search(text):
        return True
    lone = [match for match in _LONE.finditer(text) if noun(match["who"] or "") in {"", "request"}]
    many = list(_MANY.finditer(text))
    behind = [match for match in (*lone, *many)
              if match.start() >= one.end and not re.search(r"[;.\d]", text[one.end : match.start()])]  # fmt: skip
    others = max((other.end for other in figures if other.type == one.type and other.end <= one.start), default=0)
    ahead = [match for match in (*lone, *many) if others <= match.start() and match.end() <= one.start
             and ";" not in text[match.end() : one.start]]  # fmt: skip
    said = min(behind, key=lambda match: match.start(), default=None) or max(ahead, key=lambda m: m.end(), default=None)
    title = sentence.section[-2] if sentence.cells and len(sentence.section) > 1 else ""
    return said in lone if said is not None else _LONE.search(title) is not None


def _judged(sentence: Sentence, one: Quantity, *, time: bool, lone: bool, each: bool) -> JudgedClaims:
    width = _width(sentence, lone=lone, each=each)
    seconds = one.value if time else 1 / one.value
    bounds = []
    slack = _TRAINED if _of_training(sentence) and not time else ROUGHLY
    clause = "" if sentence.cells else clause_of(sentence.text, one.start, one.end).partition(". ")[0]
    for bound in _bounds(sentence, width, clause, lone=lone) if width else ():
        # a parameter count is rounded to the model's name, and so is the bound that an author knows
        if seconds * (1 + ROUGHLY) >= bound.value if lone else one.value <= bound.value * (1 + slack):
            return
        bounds.append(bound)
    if not bounds:
        return
    bound = (min if lone else max)(bounds, key=lambda item: item.value)
    value, unit = (one.value, UNITS["ms"]) if time else (one.value, _RATE)
    most = 1 / bound.value if lone and not time else bound.value
    name = "tpot" if time else "throughput_per_device" if each and not lone else "throughput"
    note = f"{bound.resource} of {width} devices allows {shown(most, unit)} at best"
    reading = Derivation(bound.reading, most, bound.formula, bound.substituted)
    span = stretch(sentence.text, one.start, one.end)
    yield claim_at(sentence, span, name, value, unit, Verdict.IMPOSSIBLE, [reading], note)


def _bounds(sentence: Sentence, width: int, clause: str, *, lone: bool) -> Iterator[Bound]:
    """A bound for every model, device and layout that the words leave open; none where they are too many to try."""
    devices = scoped(sentence, devices_in) or sorted(sentence.whole.devices[None])
    training = not lone and _of_training(sentence)
    ways = [*product(scoped(sentence, models_in) or models_of(sentence), devices, layouts(sentence, clause))]
    for model, device, (precision, tp) in ways if len(ways) <= MOST_READINGS else ():
        own = min(width, tp or width) if lone else width
        priced = priced_on(Known(model, precision or None, device), own, data_parallel=not lone)
        if priced is None:
            continue
        problem, layout, verdict = priced
        held = verdict.figures["model_bytes"].value <= own * problem.hardware.device.memory
        if training:
            peaks, active = problem.hardware.device.peak, Fraction(verdict.figures["active_parameters"].value)
            peak = Fraction(peaks.get("fp8" if precision in {"fp8", "int8", "int4"} else "bf16", peaks["bf16"]))
            told = f"{width} · {float(peak):.4g} ÷ (6 · {float(active):.4g})"
            yield Bound("training", width * peak / (6 * active), "compute", "peak ÷ (6 · parameters)", told)
            continue
        # one stream needs the whole model: devices that do not hold it are not all that work on it
        if held or not lone:
            yield tpot_bound(problem, layout) if lone else throughput_bounds(problem, layout)[-1]


_TRAINED: Final = Fraction(1, 50)
"""Share by which a rate may pass the work of 6 FLOP a parameter at the full peak, which no run comes near."""
_TRAINS: Final = re.compile(
    r"\b(?:(?:pre-?)?train(?:ing|ed|s)?|fine-?tun\w*|megatron|fsdp|gradients?|cpt|sft)\b", re.IGNORECASE
)
_SERVES: Final = re.compile(
    r"\b(?:serv\w+|prefill\w*|decod\w+|prompts?|generat\w+|inference|users?|streams?|rollouts?)\b",
    re.IGNORECASE,
)


def _of_training(sentence: Sentence) -> bool:
    """Whether tokens are trained on: by the sentence and its headings."""
    near = f"{sentence.text} {' '.join(sentence.section)}"
    return _TRAINS.search(near) is not None and _SERVES.search(near) is None


def _width(sentence: Sentence, *, lone: bool, each: bool) -> int:
    """The most devices that may work together: those of the sentence and its section, else all that there are; or 0."""
    whole, device = sentence.whole, sentence.known.device
    if each and not lone:
        return 1
    most: int = max(*whole.counts, sentence.known.devices or 0, 0)
    if not lone and _of_training(sentence):
        return most
    tps, eps, ahead = whole.told("tp") or {*whole.every("tp")}, {*whole.every("ep")}, whole.ahead(sentence)
    for near in ([sentence], whole.segments[sentence.segment], ahead):
        counted = max((_counted(one, device) for one in near), default=0)
        degrees = {axis: max((one.own.degrees.get(axis, 0) for one in near), default=0) for axis in ("tp", "ep")}
        if lone and degrees["tp"]:
            return max(degrees.values())
        if counted and not (lone and len(tps) == 1 and near is ahead):
            return counted * (1 if lone else max(_counts(_COPIES, (one.text for one in near)), default=1))
    headed = {one.value for one in degrees_in(" ".join(sentence.section)) if one.axis == "tp"}
    if lone and (len(headed) == 1 or tps):
        return max(headed if len(headed) == 1 else tps | eps)
    return most if lone or _ALL_OF_IT.search(sentence.text) else 0


def _counts(pattern: re.Pattern[str], texts: Iterable[str]) -> set[int]:
    return {count(match[1]) for text in texts for match in pattern.finditer(text)}


def _counted(sentence: Sentence, device: str | None) -> int:
    """The most devices that a sentence counts, those of whole nodes as well."""
    per_node = load_hardware(device).devices_per_node if device else 0
    nodes = {number * per_node for number in _counts(_SOME_NODES, [sentence.text])}
    own = {sentence.own.devices or 0, *(group.devices for group in sentence.groups)}
    return max(_counts(_SOME, [sentence.text]) | nodes | own, default=0)
