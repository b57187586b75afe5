"""A setting of a command against the text: ``--mem-fraction-static 0.88`` beside "a static pool of 0.85 x 141 GB".

The text gives a setting where its flag's name, or two of its words in a row, stands directly before a value; a flag
with its hyphens is another command's. Nothing is said where two commands differ, where the text has the command's value
too, where it speaks of other times or places, or of the most that the model can do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

from optimizer.audit.deployment import Sentence, models_in
from optimizer.audit.hedges import clause_span
from optimizer.audit.known_figures import shape_of
from optimizer.audit.verdict import Contradiction, plain

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
_LIMIT: Final = (
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
        for match in _named(name, fraction=setting.value < 1).finditer(sentence.text) if not sentence.code else ():
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
def _named(name: str, *, fraction: bool) -> re.Pattern[str]:
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
        _OF_MEMORY if fraction else _LIMIT if _SEQUENCES.search(name) else _WINDOW if _CONTEXT.search(name) else None
    )
    return re.compile(rf"{pattern}|{other}" if other else pattern, re.IGNORECASE)
