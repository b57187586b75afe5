"""Tokens a second and times per token, against what the rated peaks of the hardware allow.

A rate of one stream, and a time per token, is bound by the weights that each step reads; any other rate by the work of
reading prompts on devices that share nothing. Bounds are those of `verify`, of the most devices, the narrowest weights
and the smallest model that the words leave open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.architecture import NUMBER
from optimizer.audit.counts import DEVICES, count
from optimizer.audit.deployment import Known, Sentence, devices_in, precisions_in
from optimizer.audit.facts import MOST_READINGS, Derivation
from optimizer.audit.hedges import clause_span
from optimizer.audit.known_figures import JudgedClaims, claim_at, priced_on
from optimizer.audit.lexicon import UNITS, Unit
from optimizer.audit.quantities import Quantity
from optimizer.audit.said import stretch
from optimizer.audit.scope import before, models_of, scoped
from optimizer.audit.verdict import Verdict, shown
from optimizer.figures.bounds import Bound, throughput_bounds, tpot_bound
from optimizer.readers.catalog import load_hardware

_RATE: Final = Unit("tokens/s", Fraction(1), lexicon.PER_SECOND)
_IF: Final = re.compile(r"\b(?:if|in theory|theoretical\w*|roofline|ceiling|bounds?)\b", re.IGNORECASE)
_NOT: Final = re.compile(r"\b(?:not|never|cannot|impossible|beyond)\b|n['’]t\b", re.IGNORECASE)
_AFTER: Final = re.compile(
    r"\b(?:never|cannot|impossible|beyond|in theory|theoretical\w*|roofline|ceiling|bounds?|typo|wrong|nobody)\b"
    r"|which .{0,12}not\b",
    re.IGNORECASE,
)
_CLAUSE: Final = re.compile(r"[,;:(]|\bbut\b", re.IGNORECASE)
_AT_MOST: Final = re.compile(r"\b(?:at (?:the )?(?:very )?(?:most|best)|no more than|upper limit)\b", re.IGNORECASE)
_PEOPLE: Final = r"(?:user|stream|client|request|sequence|session|conversation|caller|person|reader)"
_LONE: Final = re.compile(
    r"\b(?:single|lone|sole|solitary|individual|one|a|each|every|any)[- ](?:single[- ]|lone[- ]|idle[- ])?"
    rf"{_PEOPLE}\b|\bper {_PEOPLE}"
    r"|\b(?:batch(?:[- ]size)?|concurrency)(?: of| size)?[ =:-]*(?:1\b(?![\d.,]*\d)|one\b)|\bunbatched\b",
    re.IGNORECASE,
)
_ALONE_IN_ROW: Final = re.compile(
    r"(?:^|; )(?:batch(?: size)?|concurrency|concurrent \w+|users|streams|sessions|requests|clients): 1(?=;|$)",
    re.IGNORECASE,
)
_MANY: Final = re.compile(
    r"[^.;,\d]{0,24}\b(?:[2-9]|\d{2,4})\s+(?:concurrent\s+|parallel\s+)?"
    r"(?:users|requests|streams|sequences|clients|sessions|concurrent)\b"
    r"|[^.;,\d]{0,24}\b(?:batch(?: size)?|concurrency)(?:\s+of)?[ =]*(?:[2-9]|\d{2,4})\b",
    re.IGNORECASE,
)
_SPEEDS_UP: Final = re.compile(
    r"(?<!no )(?<!without )\b(?:speculat\w*|draft\w*|mtp|eagle|medusa|prefix|cache hits?|cached)\b"
    r"(?!.{0,12}\b(?:disabled|off)\b)",
    re.IGNORECASE,
)
_SOME: Final = re.compile(rf"({NUMBER})(?:\s+|-)(?:[\w-]+\s+)?{DEVICES}\b", re.IGNORECASE)
_SOME_NODES: Final = re.compile(
    rf"({NUMBER})(?:\s+|-)(?:[\w-]+\s+)?(?:nodes?|servers?|hosts?|box(?:es)?|machines?|systems?)\b", re.IGNORECASE
)
_A_DEVICE: Final = re.compile(rf"\b(?:one|single)\s+(?:single\s+)?(?:[\w-]+\s+)?(?:{DEVICES})\b", re.IGNORECASE)
_PER_DEVICE: Final = re.compile(rf"[^.;,\d]{{0,24}}(?:per|/|a|on each)\s*{DEVICES}\b", re.IGNORECASE)
_ALL_OF_IT: Final = re.compile(
    rf"\b(?:{DEVICES}|nodes?|replicas?|instances?|systems?|box(?:es)?|servers?|machines?|hosts?|cluster|pool|fleet|pair)\b",
    re.IGNORECASE,
)
_READ: Final = re.compile(r"\b(?:prefill\w*|ingest\w*|(?:prompt|input) tok\w*)\b", re.IGNORECASE)
"""Where tokens are read, many at a time, not written."""
_RECKONED: Final = re.compile(r"[=≈×/*+]\s*[~≈]?$")
_CLOSE: Final = 36
_A_LITTLE: Final = Fraction(19, 20)
"""Share of the bound at which a time is taken for the bound itself, rounded."""


def judge_rates(sentence: Sentence, figures: Sequence[Quantity]) -> JudgedClaims:
    """Rates of a sentence or a row that are beyond every peak that its words leave open."""
    text = sentence.text
    if _SPEEDS_UP.search(text):
        return
    for one in figures:
        kinds = dict(one.type)
        time = (kinds.get("second"), kinds.get("token")) == (1, -1)
        rated = (kinds.get("second"), kinds.get("token")) == (-1, 1)
        more = any(power > 0 for name, power in kinds.items() if name not in {"second", "token"})
        if (
            not (time or rated)
            or more
            or one.bound
            or not one.value
            or _RECKONED.search(text, 0, one.start)
            or supposed(text, one.start, one.end)
        ):
            continue
        read = _READ.search(f"{text} {' '.join(sentence.section[-1:])}") is not None
        lone = time or (not read and _is_lone(sentence, one))
        each = _PER_DEVICE.match(text, one.end) is not None
        yield from _judged(sentence, one, time=time, lone=lone, each=each)


def supposed(text: str, start: int, end: int) -> bool:
    """Whether a figure is a limit or a supposition, by the words before it, of its clause or, plainly, behind that."""
    first, last = clause_span(text, start, end, _CLAUSE)
    near = text[max(0, start - _CLOSE) : min(last, end + _CLOSE)]
    return (
        _IF.search(text, 0, start) is not None
        or _NOT.search(text, first, last) is not None
        or _IF.search(text, end, last) is not None
        or _AFTER.search(text, end) is not None
        or _AT_MOST.search(near) is not None
    )


def _is_lone(sentence: Sentence, one: Quantity) -> bool:
    text = sentence.text
    beside = (match for match in _LONE.finditer(text)
              if not re.search(r"[;\d]", text[match.end() : one.start] or text[one.end : match.start()]))  # fmt: skip
    named = not _MANY.match(text, one.end) and next(beside, None) is not None
    title = sentence.section[-2] if sentence.cells and len(sentence.section) > 1 else ""
    return named or (bool(sentence.cells) and _ALONE_IN_ROW.search(text) is not None) or _LONE.search(title) is not None


def _judged(sentence: Sentence, one: Quantity, *, time: bool, lone: bool, each: bool) -> JudgedClaims:
    width = _width(sentence, lone=lone, each=each)
    seconds = one.value if time else 1 / one.value
    bounds = []
    for bound in _bounds(sentence, width, lone=lone) if width else ():
        if seconds >= bound.value * _A_LITTLE if lone else one.value <= bound.value:
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


def _bounds(sentence: Sentence, width: int, *, lone: bool) -> Iterator[Bound]:
    """A bound for every model, device and precision that the words leave open; none where they are too many to try."""
    devices = scoped(sentence, devices_in) or sorted(sentence.whole.devices[None])
    widths = scoped(sentence, precisions_in) or ("", *sorted(sentence.whole.precisions))
    ways = [*product(models_of(sentence), devices, widths)]
    for model, device, precision in ways if len(ways) <= MOST_READINGS else ():
        priced = priced_on(Known(model, precision or None, device), width, data_parallel=not lone)
        if priced is not None:
            yield tpot_bound(*priced[:2]) if lone else throughput_bounds(*priced[:2])[-1]


def _width(sentence: Sentence, *, lone: bool, each: bool) -> int:
    """Devices that work together, the sentence's own, those named before it, else all that there are; 0 if unsaid."""
    if each and not lone:
        return 1
    known = sentence.known
    own = _counted(sentence.text, known.device) | {group.devices for group in sentence.groups}
    own |= {value for value in (sentence.own.devices, sentence.own.degrees.get("tp")) if value}
    told = (found for one in before(sentence) if (found := _counted(one.text, known.device)))
    counted = max(own or next(told, set()), default=0)
    if not lone:
        most = max(sentence.whole.counts | {known.devices or 0}) if _ALL_OF_IT.search(sentence.text) else 0
        return counted or most
    devices = counted or known.devices or 0
    near = next((degrees for degrees in sentence.whole.nearest(sentence, "tp") if degrees), [0])
    return min(devices if own else known.degrees.get("tp") or devices, devices) if devices else max(near)


def _counted(text: str, device: str | None) -> set[int]:
    """Devices that a text counts, those of whole nodes as well."""
    found = {count(match[1]) for match in _SOME.finditer(text)} | ({1} if _A_DEVICE.search(text) else set())
    per_node = load_hardware(device).devices_per_node if device else 0
    return found | ({count(match[1]) * per_node for match in _SOME_NODES.finditer(text)} - {0})
