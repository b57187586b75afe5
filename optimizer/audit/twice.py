"""One thing with two values: in two places of the text, or in the text and in a command.

What a figure is of is told by its label, or by its type and what it measures; a setting by its flag's name, or two of
its words in a row, directly before a value. Nothing is said where a document gives three values, where it has the
command's too, or sets the two apart by words, models, devices, sections or times.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations
from typing import Final

from optimizer.audit.deployment import Sentence, devices_in, models_in
from optimizer.audit.known_figures import shape_of
from optimizer.audit.quantities import Quantity, noun
from optimizer.audit.scope import OTHERWISE, clause_of, clause_span
from optimizer.audit.tokens import numbers_of, tokenize
from optimizer.audit.verdict import Contradiction, plain, shown

_PAIR: Final = 2
_LABELLED: Final = re.compile(r"\W*([A-Za-z][\w /-]{0,40}?)\s*[:=]\W*")
_CALLED: Final = re.compile(
    r"\b((?:maximum|max|total|global|overall|peak|mean|average|median)\s+(?!of\b)[a-z][a-z-]+(?:\s+(?!of\b|is\b)[a-z][a-z-]+)?)"
    r"(?:\s*(?::|=|\bof\b|\bis\b|; Value:)|\s)\W{0,4}$",
    re.IGNORECASE,
)
_ONE_OF_A_KIND: Final = re.compile(
    r"(?:(?:number of|total|all) )*(?P<noun>gpu|device|accelerator|card|layer|expert|parameter|node)s?"
    r"|hidden(?: size)?|vocabulary(?: size)?|(?:attention|kv) heads"
    r"|(?:max|maximum|total|global|overall|peak|mean|average|median) .+"
)
"""What a deployment has one value of."""
_SENTENCES: Final = re.compile(r"[.;!?]\s")
_NO_LIMIT: Final = re.compile(r"\bis not the (?:constraint|limit|bottleneck)\b", re.IGNORECASE)
_OF_SOME: Final = re.compile(r"\W*(?:for|in|on|at|per|during|if)\b", re.IGNORECASE)
"""Behind a value that is not the deployment's."""
_FACTOR: Final = re.compile(r"\s*[×x*/+−-]\s*\d")
_METRIC: Final = re.compile(
    r"\b(?:(?P<first>TTFT|(?:time to (?:the )?)?first[- ]token(?: latency)?)|(?P<whole>E2E|end-to-end (?:latency|time))"
    r"|(?P<next>TPOT|ITL|TBT|inter-?token (?:latency|time)|time (?:per|between) (?:output )?tokens?))\b",
    re.IGNORECASE,
)
_METRICS: Final = {"first": "time to first token", "next": "time per output token", "whole": "latency"}
_STATISTIC: Final = re.compile(r"\b(?:(p\d\d)|(\d\d)th percentile|mean|average|median)\b", re.IGNORECASE)
_PEAK: Final = r"\b(?:peak|busy[- ]hour|busiest hour|rush[- ]hour)\b"
_AT_PEAK: Final = re.compile(rf"{_PEAK}(?!.*(?:throughput|capacity|reach|sustain))[^\d.;,]*$", re.IGNORECASE)
_HOURLY: Final = re.compile(r"\b(?:GPU|card|device|accelerator)[- ]?h(?:ou)?rs?\b", re.IGNORECASE)
_PEAK_BEHIND: Final = re.compile(rf"[^\d.;,:]{{0,24}}\b(?:at|in) [a-z ]{{0,16}}{_PEAK}", re.IGNORECASE)
_FAILED: Final = re.compile(
    r"[^\d.;,]{0,16}\b(?:failed|timed out|were (?:lost|dropped|rejected|refused)|ended (?:in|with))\b", re.IGNORECASE
)
_WORST: Final = re.compile(r"\b(?:worst|peak(?:s|ed)?|height|highest|maximum)\b", re.IGNORECASE)
_LIMIT: Final = re.compile(
    r"\b(?:SLOs?|SLA|targets?|limits?|objectives?|goals?|requirements?|promise[ds]?|agreed|acceptance|asks? for)\b",
    re.IGNORECASE,
)
_LIMITS: Final = re.compile(
    rf"[\W\d]*(?:(?!result|measured)[a-z]+ ){{0,2}}(?:{_LIMIT.pattern})\s*(?::|$)", re.IGNORECASE
)
"""A heading, or a label, of limits alone."""
_SEEN: Final = re.compile(
    r"\b(?:was|were|had|measured|saw|sees?|reach\w*|rose|climb\w*|fell|ran|runs|got|stay\w*|above|over|inside|miss\w*)\b",
    re.IGNORECASE,
)
"""Beside a figure that is measured, and held against a limit."""
_ALARM: Final = re.compile(r"\b(?:alert|alarm)\b.*(?:\bthreshold\b[^\d]*|\b(?:over|above)\s+|[>≥]\s*)$", re.IGNORECASE)
_MONTH: Final = r"(?:Jan|Feb|March|April|May|June|July|Aug|Sept|Oct|Nov|Dec)[a-z]*\b"
_ANCHOR: Final = re.compile(
    rf"\b(?:(?i:run|week|trial|round|sprint|drill|ticket)s?(?: of)? #?(?:\d{{1,2}} {_MONTH}|{_MONTH} \d{{1,2}}|\d+\b)"
    rf"|\d{{1,2}} {_MONTH}|in {_MONTH}|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b)"
)
"""A run, a week or a day that a measured figure is of."""
_APART: Final = re.compile(
    r"\b(?:tighten\w*|relax\w*|rais\w+|lower\w*|stretch|(?<!Go )if|unless|would|could|instead|option\w*|alternativ\w*"
    r"|propos\w*|old|new|add|earlier|previous\w*|former\w*|draft|canary|expect\w*|forecast\w*|next|grow\w*|without"
    r"|other|another|siz\w+|design\w*|headroom|assum\w*|today|currently|now|reserved|spot|on-demand|list|offer\w*"
    r"|quot\w*|own\w*|rent\w*|best|wrong|typo)\b|[?→]",
    re.IGNORECASE,
)
"""In the sentence of a figure that may be of another thing or time than one of the same name."""
_CLASS: Final = re.compile(
    r"\b(?:tier|class|batch|interactive|offline|nightly|premium|gold|silver|free|internal|long|short|chat|cod(?:e|ing)"
    r"|summari[sz]\w*|search|classif\w*|extract\w*|embed\w*|rerank\w*|voice|warn\w*|critical|zone|region|tenant|customer"
    r"|(?:node|pool|site) (?:\d|[A-Z]\b))\b",
    re.IGNORECASE,
)
"""A class of requests, or a part of the fleet, that a figure is of."""
_OPTION: Final = re.compile(
    r"\b(?:option|offer|variant|model|scenario|phase|plan|wave|design|bid) (?:\d|[A-Z])\b", re.IGNORECASE
)
_FROM_TO: Final = re.compile(r"\s*(?:to|→|->)\s*[<>~≈]?\s*")
_IT: Final = re.compile(r"\b(?:it|this) (?:was|is|had been|reads?)\s*$", re.IGNORECASE)
_CUT: Final = re.compile(r"(?<![\dpP])\d[\d.,]*\s?(?:m?s|min|h)\b|[;|]|[.?!]\s")
_REACH: Final = 64
_NEAR: Final = 24
_FAR: Final = 3
"""Times by which two values of one thing differ at most."""
_MOST: Final = 24
_VALUE: Final = r"(\d{1,3}(?:,\d{3})+|\d[\d_]*(?:\.\d+)?)(k?)(?![\w%]|[.,]\d)"
_NUMBERS: Final = re.compile(rf"(?<![\w.,]){_VALUE}", re.IGNORECASE)
_FLAG: Final = re.compile(
    r"(?:--|^\s*[\"']?(?=\w+_(?:fraction|utilization|len|seqs|size|tokens)\b))([a-z][a-z0-9]*(?:[-_][a-z0-9]+)+)[\"']?"
    rf":?(?:\s+|\s*=\s*)[\"']?{_VALUE}",
    re.IGNORECASE,
)
_DEGREES: Final = re.compile(r"parallel|[tpdec]p[-_]size|port|rank|seed|nnodes")
"""Degrees are judged with the launch; the rest are no settings of capacity."""
_CONTEXT: Final = re.compile(r"max-model-len|context-length")
_LONGEST: Final = r"(?:max\w*|served|serving)[- ]context(?:[- ](?:length|window))?|context[- ](?:length|window|limit)"
_FRACTION: Final = r"(?:fraction|utili[sz]ation)(?: (?!reach|rose|ran|hit|peak|climb)[a-z][a-z-]*){0,4}?"
_GIVEN: Final = r"[\"'`*]*(?:\s*(?:=|:|\||\bis\b|\bof\b|\bat\b|\bto\b|\bbe\b|\bset to\b))?\s*[\"'`*]*"
_RUN_WITH: Final = r"\b(?:runs?|serves?)\b[^.;]{0,60}?\bwith\s+[`\"]*"
_SEQUENCES: Final = re.compile(r"max-num-seqs|max-running-requests|max-batch-size")
_LIMITED: Final = r"\b(?:limit\w*|cap(?:s|ped)?|ceiling|allow(?:s|ed)?|admit\w*)\b[^.;\d]{0,32}?(?<![\w.,-])"
_ADMITTED: Final = (
    rf"{_LIMITED}{_VALUE}\s+(?:sequences|(?:concurrent|running|simultaneous|parallel) (?:sequences|requests))\b(?!/)"
    rf"|(?<=limit of ){_VALUE}\s+requests\b(?!/)"
)
_WINDOW: Final = (
    rf"(?<![\w.,-]){_VALUE}[- ]tokens?\b(?=[,;(–\s]+(?:(?:and|that|this|which|is|being|was)\s+){{0,3}}(?:the|our)\s+"
    r"(?:\w+\s+)?(?:limit|cap|maximum)\b[^.;\d]{0,24}\b(?:server|engine)\b)"
    r"|\b(?:server|engine|vLLM|SGLang|replica|instance|endpoint|service)s?\s+"
    r"(?:accepts?|takes?|serves?|allows?|refuses?|rejects?|cuts? off|(?:is|are) (?:limited|capped))\b"
    rf"[^.;\d]{{0,32}}\b(?:at most|up to|over|beyond|more than|longer than|above|to|at)\s+{_VALUE}[- ]tokens?\b"
    r"|\b(?:contexts?|windows?|(?:prompt|input) and (?:output|answer))\b[^.;\d]{0,24}"
    rf"\b(?:capp?|limit|restrict)(?:ed|s)?\s+(?:at|to)\s+{_VALUE}[- ]tokens?\b"
    r"|\b(?P<asked>promis\w+|guarante\w+|offer\w*|asks? for)\b[^.;\d]{0,24}"
    rf"\b(?:contexts?|windows?)\s+(?:length\s+)?of\s+(?:up to\s+)?{_VALUE}[- ]tokens?\b"
)
"""A limit by what it limits: ``allowed 96 concurrent sequences``, ``24,576 tokens is the limit of the server``."""
_OTHERS: Final = re.compile(
    r"\b(?:cache|pool|memory|gateway|proxy|router|balancer|customers?|tenants?|users?|clients?|for the [\w ]*queue"
    r"|route|chunk\w*|prefill|(?<!plus )(?<!and )(?<!its )(?:outputs?|answers?)|generat\w*)\b",
    re.IGNORECASE,
)
"""Beside a limit that is not the server's own setting."""
_BEFORE_NAME: Final = (
    r"(?:\s+(?:running|waiting|sequences|requests|tokens)){0,2}[\s,(`\"'*]{1,3}"
    r"(?:(?:i\.e\.|is|as|the|our|its|which|value|limit|set|by|with|of|in)[\s`\"'*,]{1,3}){0,5}"
)
_UNREACHED: Final = re.compile(r"\b(?:(?:was|is)\s+)?never\s+(?:reached|hit|exceeded|approached)\b", re.IGNORECASE)
"""Said of a limit that holds."""
_OTHERWISE: Final = re.compile(
    r"\b(?:just|set|use|using|cut|rais\w+|lower\w*|chang\w+|bump\w*|increas\w+|decreas\w+|reduc\w+|fix\w*|own|an?other"
    r"|staging|canary|shadow|standby|spare|start\w*(?! command)|(?<!static )(?<!kv )pool"
    r"|not|never|cannot|unless|until|would|could|should|may|might|can|option\w*|alternativ\w*|reject\w*|scenario"
    r"|variant|propos\w*|recommend\w*|fallback|default|later|earlier|previous\w*|before|after|old|new|tr(?:y|ied)"
    r"|test\w*|now|instead|than|route)\b|n['’]t\b|[?<>≤≥→]",
    re.IGNORECASE,
)
"""Beside a value that another time or thing has."""
_SUPPOSED: Final = re.compile(r"\b(?:if|was|were|measured|observed)\b", re.IGNORECASE)
"""In the clause of a value that may be of another time, unless the text reckons with the command's."""
_SPELLED: Final = {
    "seq": "seq(?:uence)?", "seqs": "(?:seq|sequence)s", "len": "len(?:gth)?", "num": "num(?:ber of)?",
    "max": "max(?:imum)?", "mem": "mem(?:ory)?",
}  # fmt: skip
"""Words of flags as the text may have them."""
_OF_MEMORY: Final = (
    r"(?<![\w.,])(0?\.[5-9]\d?)()\s*(?:[x×*]|of(?: the)?)\s*"
    r"(?:16|24|32|40|48|80|94|96|141|180|192|256|288)\b(?:\s*G|(?![.,\d]))"
)
"""A share of a device's memory in GB, as its makers name it: ``0.85 x 141``."""


@dataclass(frozen=True, slots=True)
class _Named:
    """A figure by what it is of; `anchors` are the run or the week it was measured in."""

    name: str
    statistic: str
    value: Fraction
    half: Fraction
    told: str
    line: int
    sentence: Sentence
    anchors: frozenset[str] = frozenset()
    sole: bool = False

    @property
    def classes(self) -> set[str]:
        """What its sentence, its section or the option of its paragraph sets it apart by."""
        heads = _heads(self.sentence)
        paragraph = f"{heads} {self.sentence.whole.paragraphs.get(self.sentence.segment, '')}"
        found = [*_CLASS.finditer(f"{heads} {self.sentence.text}"), *_OPTION.finditer(paragraph)]
        return {match[0].lower() for match in found}


def _heads(sentence: Sentence) -> str:
    """The headings above a sentence but for the title."""
    title = sentence.whole.said[0].section[:1]
    return " ".join(head for head in sentence.section if head not in title)


def find_two_values(said: Sequence[Sentence], figures: Sequence[Sequence[Quantity]]) -> Iterator[Contradiction]:
    """Figures of one thing that differ."""
    groups: dict[object, list[_Named]] = {}
    for sentence, own in zip(said, figures, strict=True):
        if not sentence.code:
            for one in (*_labelled(sentence), *_named(sentence, own)):
                if len(group := groups.setdefault(one.name, [])) < _MOST:
                    group.append(one)
    found = []
    for group in groups.values():
        alike = [pair for pair in combinations(group, 2) if _alike(*pair)]
        differ = [(one, other) for one, other in alike if abs(one.value - other.value) > one.half + other.half]
        if differ and len({item.value for pair in alike for item in pair}) == _PAIR:
            found.append(differ[0])
    between = Counter((one.sentence.section, other.sentence.section) for one, other in found)
    for one, other in found:
        # sections that differ in more than one thing are of two things
        if one.sentence.section == other.sentence.section or between[one.sentence.section, other.sentence.section] == 1:
            told = f"two values for {one.name}: {one.told} and {other.told}"
            yield Contradiction((one.line, other.line), one.name.replace(" ", "_"), (one.value, other.value), told)


def _alike(one: _Named, other: _Named) -> bool:
    """Whether two figures are of one thing, in two places."""
    here, there = one.sentence, other.sentence
    if one.sole and other.sole:
        return one.statistic == other.statistic and one.classes == other.classes
    listed = here.item and there.item and here.section == there.section
    least, most = sorted((one.value, other.value))
    if here.segment == there.segment or listed or most > _FAR * least or one.anchors != other.anchors:
        return False
    if one.statistic != other.statistic and one.statistic and other.statistic:
        return False
    named = [{*models_in(text), *devices_in(text)} for text in (here.text, there.text)]
    return one.classes == other.classes and (not all(named) or named[0] == named[1])


def _labelled(sentence: Sentence) -> Iterator[_Named]:
    """What stands behind its label: ``Total GPUs: 64``, "the maximum concurrency of 40 requests"."""
    text = sentence.text
    if OTHERWISE.search(_heads(sentence)):
        return
    for one in numbers_of(tokenize(text)):
        match = _LABELLED.fullmatch(text, 0, one.start) or _CALLED.search(text, max(0, one.start - _REACH), one.start)
        label = " ".join(match[1].lower().split()) if match else ""
        gap = text[match.end(1) : one.start].strip() if match else ""
        some = one.bound or one.approximate or (sentence.item and not sentence.cells and _OF_SOME.match(text, one.end))
        some = some or _FACTOR.match(text, one.end) or (len(sentence.cells) > 1 and "Value" not in gap)
        kind = None if some or _METRIC.search(label) else _ONE_OF_A_KIND.fullmatch(label)
        if match and kind and not OTHERWISE.search(_NO_LIMIT.sub("", clause_of(text, one.start, one.end, _SENTENCES))):
            name = "devices" if kind["noun"] and noun(kind["noun"]) == "device" else label
            of = f"{one.unit.dimensions}{one.nouns[:1]}{one.per}"
            told, line = shown(one.value, one.unit), sentence.at(one.start).line
            yield _Named(name, of, one.value, one.half, told, line, sentence, sole=bool(gap))


def _named(sentence: Sentence, own: Sequence[Quantity]) -> Iterator[_Named]:
    """Latencies, peaks, prices and failures, by the words around them."""
    text, last = sentence.text, ("", "")
    peaks = re.search(_PEAK, text, re.IGNORECASE) is not None
    for one in own if not _APART.search(text) else ():
        lead = text[max(0, one.start - _REACH) : one.start]
        lead = lead[max((match.end() for match in _CUT.finditer(lead)), default=0) :]
        behind = text[one.end : one.end + 2 * _NEAR]
        part = text if sentence.cells else text[text.rfind(";", 0, one.start) + 1 :].partition(";")[0]
        anchors = frozenset(match[0].lower() for match in _ANCHOR.finditer(part))
        kinds, scale, name, statistic = dict(one.type), 1, "", ""
        positive = [kind for kind, power in one.type if power > 0]
        if positive == ["second"]:
            carried = _FROM_TO.fullmatch(lead) or _IT.search(lead)
            last = name, statistic = last if carried else _latency(lead, behind)
            role = _role(sentence, one, lead, part) if name else ""
            name = f"{role} {name}".strip() if name and (role or anchors) and not _FROM_TO.match(behind) else ""
        elif positive == ["dollar"] and _HOURLY.search(lead + one.text) and "token" not in kinds:
            name = "price of a device-hour" if len(sentence.whole.devices[None]) <= 1 else ""
            scale = 3600 if "second" in kinds else 1
        elif positive == ["request"] and kinds.keys() <= {"request", "second"} and one.number:
            alone = anchors and peaks and [other.type for other in own].count(one.type) == 1
            if alone or _AT_PEAK.search(lead) or (peaks and _PEAK_BEHIND.match(behind)):
                name = f"peak {' '.join(one.number.nouns[:1])}{'/s' * ('second' in kinds)}"
            elif "second" not in kinds and _FAILED.match(behind) and not lead.rstrip().endswith("of"):
                name = "failed requests"
        if name:
            yield _Named(
                name, statistic, one.value * scale, one.half * scale, one.text, one.place.line, sentence, anchors
            )


def _latency(lead: str, behind: str) -> tuple[str, str]:
    """What a time measures, and its statistic, by the words before it or those straight behind it."""
    behind = re.split(r"(?<!p)(?<!p\d)\d|[;.,]", behind, maxsplit=1)[0][:_NEAR]
    metrics = list(_METRIC.finditer(lead)) or list(_METRIC.finditer(behind))[:1]
    statistics = list(_STATISTIC.finditer(lead)) or list(_STATISTIC.finditer(behind))
    said = statistics[-1] if metrics and statistics else None
    statistic = "" if said is None else said[1] or (said[2] and f"p{said[2]}") or "mean"
    return _METRICS[metrics[-1].lastgroup or ""] if metrics else "", statistic.lower()


def _role(sentence: Sentence, one: Quantity, lead: str, part: str) -> str:
    """Whether a time is a limit, the threshold of an alarm, the worst, or (nothing) measured."""
    if _ALARM.search(sentence.text, 0, one.start):
        return "threshold of the"
    around = f"{lead} {re.split(r'[0-9;.]', sentence.text[one.end : one.end + 2 * _NEAR], maxsplit=1)[0]}"
    if (_LIMIT.search(around) or any(map(_LIMITS.match, (sentence.text, *sentence.section[1:])))) and not _SEEN.search(
        around
    ):
        return "limit of the"
    return "worst" if _WORST.search(part) else ""


@dataclass(frozen=True, slots=True)
class _Setting:
    value: Fraction
    line: int
    section: tuple[str, ...]
    device: str | None


def find_missettings(said: Sequence[Sentence]) -> Iterator[Contradiction]:
    """Flags whose value the text gives otherwise."""
    settings: dict[str, list[_Setting]] = {}
    for one in said:
        for match in _FLAG.finditer(one.text) if one.code else ():
            name = match[1].lower().replace("_", "-")
            if not _DEGREES.search(name):
                settings.setdefault(name, []).append(
                    _Setting(_value(match[2], match[3]), one.at(match.start(1)).line, one.section, one.known.device)
                )
    models = {model.removesuffix("-fp8") for one in said for model in models_in(one.text)} if settings else set()
    texts = [one.text for one in said if not one.code] if settings else []
    used = {_value(*match.groups()) for text in texts for match in _NUMBERS.finditer(text)}
    for name, given in settings.items():
        if len({one.value for one in given}) == 1:
            alone = len(given) == len(models) == 1
            yield from _against(name, given[0], said, alone=alone, used=alone and given[0].value in used)


def _against(
    name: str, setting: _Setting, said: Sequence[Sentence], *, alone: bool, used: bool
) -> Iterator[Contradiction]:
    """``used``: the text reckons with the command's value, so that no other time is spoken of."""
    told: dict[Fraction, int] = {}
    limits = _SEQUENCES.search(name) or _CONTEXT.search(name)
    for sentence in said:
        for match in _given_as(name, fraction=setting.value < 1).finditer(sentence.text) if not sentence.code else ():
            promised = match.groupdict().get("asked")
            *before, number, scale = [group for group in match.groups() if group not in {None, promised}]
            value = _value(number, scale)
            first, last = clause_span(sentence.text, *match.span())
            clause = _UNREACHED.sub("", f"{sentence.text[first : match.start()]} {sentence.text[match.end() : last]}")
            of_a_rank = any(
                {value * dp, value} & {setting.value * dp, setting.value} for dp in sentence.whole.every("dp")
            )
            kept = promised is not None and value <= setting.value
            another = sentence.own.device not in {None, setting.device} or setting.value < 1 < value
            if another or of_a_rank or kept or (sentence.section != setting.section and not alone):
                continue
            label, colon, _ = sentence.text[:first].partition(": ")
            spoken = " ".join((*sentence.section[1:], label if colon else "", clause))
            if setting.value in {value, *(_value(*other.groups()) for other in _NUMBERS.finditer(sentence.text))}:
                if before or setting.value < 1 or not used:
                    return
                continue
            of_others = limits and not promised and _OTHERS.search(sentence.text, first, last)
            supposed = not used and _SUPPOSED.search(clause)
            if before or not (of_others or supposed or _OTHERWISE.search(spoken)):
                told.setdefault(value, sentence.at(match.start()).line)
    if _CONTEXT.search(name):  # the model's own is no setting
        shapes = [shape_of(model) for model in said[0].whole.models]
        told = {value: line for value, line in told.items() if value not in {one and one.max_context for one in shapes}}
    if len(told) == 1:
        ((value, line),) = told.items()
        what = f"--{name} is {plain(setting.value)} in the command, {plain(value)} in the text"
        lines = tuple(sorted((line, setting.line)))
        yield Contradiction(lines, name.replace("-", "_"), (value, setting.value), what)


def _value(number: str, scale: str) -> Fraction:
    return Fraction(number.replace(",", "").replace("_", "")) * (1024 if scale else 1)


@lru_cache(maxsize=256)
def _given_as(name: str, *, fraction: bool) -> re.Pattern[str]:
    """A value behind the name of a setting, two or more of its words in a row, or what all people call it."""
    words = name.split("-")
    runs = {tuple(words[at:end]) for at in range(len(words)) for end in range(at + 2, len(words) + 1)}
    names = [r"[-_ ]".join(_SPELLED.get(word, word) for word in run) for run in sorted(runs, key=len, reverse=True)]
    names += [_LONGEST] if _CONTEXT.search(name) else [_FRACTION] if fraction else []
    flag = rf"(?:--)?{r'[-_ ]'.join(map(re.escape, words))}\b"
    pattern = rf"(?<![\w-])(?:{'|'.join(names)}){_GIVEN}{_VALUE}|{_RUN_WITH}--{re.escape(name)}[\s=]+{_VALUE}"
    pattern += rf"|(?<![\w.,-]){_VALUE}{_BEFORE_NAME}{flag}(?!\W{{0,3}}\d)"
    pattern += rf"|{flag}\W{{1,3}}(?:was\s+|is\s+)?\w+ed\s+from\s+{_VALUE}\s+to\s+{_VALUE}"
    other = (
        _OF_MEMORY if fraction else _ADMITTED if _SEQUENCES.search(name) else _WINDOW if _CONTEXT.search(name) else None
    )
    return re.compile(rf"{pattern}|{other}" if other else pattern, re.IGNORECASE)
