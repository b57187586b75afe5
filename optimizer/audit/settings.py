"""A setting of a command against the text: ``--mem-fraction-static 0.88`` beside "the static fraction is 0.85".

The words of the flag are those by which the text is found; nothing is said where the text gives the command's value
anywhere, gives it of one rank of several, or speaks of changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from optimizer.audit.contradictions import Contradiction
from optimizer.audit.deployment import Sentence
from optimizer.audit.verdict import plain

_FLAG: Final = re.compile(
    r"(?:--|^\s*[\"']?(?=\w+_(?:fraction|utilization|len|seqs|size|tokens)\b))([a-z][a-z0-9]*(?:[-_][a-z0-9]+)+)[\"']?:?(?:\s+|\s*=\s*)[\"']?(\d[\d_]*(?:\.\d+)?)(k?)\b(?![\d.,]*\d)",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"[a-z]+")
_EMPTY: Final = frozenset("max min num size limit total enable the per number of maximum".split())  # noqa: SIM905
"""Words of a flag that name no thing."""
_LENGTH: Final = re.compile(r"model-len|context-length|seq-len")
_LIMIT: Final = re.compile(
    r"\b(?:max\w*|at most|caps?|limit\w*|up to|fraction|utili[sz]ation|chunk\w*|windows?)\b", re.IGNORECASE
)
"""Beside a setting's only word: that it is a setting."""
_COUNTED: Final = re.compile(
    r"\s*((?:[KMGT]i?)?B\b|tokens?|gpus?|ms\b|s\b|seconds?|minutes?|hours?|users?|layers?|experts?|heads?|nodes?|ranks?"
    r"|bytes)",
    re.IGNORECASE,
)
"""What a number counts: of another thing than the setting's it is no value of it."""
_IN_TOKENS: Final = re.compile(r"model-len|context-length|seq-len|prefill|tokens")
_STEM: Final = 5
_KNOWN_ELSEWHERE: Final = re.compile(r"parallel|[tpdec]p[-_]size|port|rank|seed|nnodes")
"""Degrees are judged with the launch; the rest are no settings of capacity."""
_NUMBER: Final = re.compile(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?)(?![\d%]|[.,]\d)(k?)(?!\w)", re.IGNORECASE)
_CHANGES: Final = re.compile(
    r"\b(?:was|were|before|previous\w*|old|from|instead|stopgap|new|rais\w+|lower\w*|until|if|would|could|tr(?:y|ied)|test\w*"
    r"|default|option\w*|not|never|than|after|over|above|below|under|measured|observed|peak|average|mean|median|prefill|decode"
    r"|supports?|native\w*|trained|model['’]s|checkpoint|lengths? of (?:a|each|one))\b"
    r"|n['’]t\b|[<>≤≥?~≈→]",
    re.IGNORECASE,
)
_OF_MEMORY: Final = re.compile(
    r"(?<![\d.])0?\.[5-9]\d?\s*(?:[x×*]|of|\()\s*(?:16|24|32|40|48|80|94|96|141|180|192|256|288)\b(?:\s*G|(?![.,\d]))",
    re.IGNORECASE,
)
"""A share of a device's memory in GB, as its makers name it: ``0.85 x 141``."""
_CLAUSE: Final = re.compile(r"[;:,.]\s|\s[–—]\s")
_BEHIND: Final = re.compile(r"\W{0,3}(?:\w+\W{1,3}){0,5}?(?:is|of|at|to|be|=|:|\|)?\W{0,3}$", re.IGNORECASE)
_CLOSE: Final = 40


@dataclass(frozen=True, slots=True)
class _Setting:
    name: str
    words: frozenset[str]
    value: Fraction
    line: int


def find_missettings(said: Sequence[Sentence]) -> Iterator[Contradiction]:
    """Flags whose value no place of the text has, although some place names the same setting."""
    settings: dict[str, list[_Setting]] = {}
    for one in said:
        for match in _FLAG.finditer(one.text) if one.code else ():
            name = match[1].lower().replace("_", "-")
            words = frozenset({"context"} if _LENGTH.search(name) else _WORD.findall(name)) - _EMPTY
            if words and not _KNOWN_ELSEWHERE.search(name):
                value = Fraction(match[2].replace("_", "")) * (1024 if match[3] else 1)
                settings.setdefault(name, []).append(_Setting(name, words, value, one.at(match.start(1)).line))
    for each in settings.values():
        if len({one.value for one in each}) == 1:
            yield from _against(each[0], [one for one in said if not one.code])


def _against(setting: _Setting, prose: Sequence[Sentence]) -> Iterator[Contradiction]:
    told: dict[Fraction, int] = {}
    for sentence in prose:
        for value, line, settled in _values(setting, sentence):
            if value == setting.value:
                return
            if settled:
                told.setdefault(value, line)
    counts = {1, *(count for axis in ("dp", "ep") for one in prose[:1] for count in one.whole.every(axis))}
    if len(told) == 1:
        ((value, line),) = told.items()
        if all(value * count not in (setting.value, setting.value * count * count) for count in counts):
            lines = tuple(sorted((line, setting.line)))
            what = f"--{setting.name} is {plain(setting.value)} in the command, {plain(value)} in the text"
            yield Contradiction(lines, setting.name.replace("-", "_"), (value, setting.value), what)


def _values(setting: _Setting, sentence: Sentence) -> Iterator[tuple[Fraction, int, bool]]:
    """Values that a sentence may give a setting, their line, and whether it gives them outright."""
    text = sentence.text
    lowered = text.lower().replace("_", "-")
    named = setting.name in lowered
    found = sum(_has(lowered, word) for word in setting.words)
    sure = found > 1 or (found == 1 and (len(setting.words) == 1 or setting.value < 1) and _LIMIT.search(lowered))
    if not named and not sure and not (setting.value < 1 and _OF_MEMORY.search(text)):
        return
    for match in _NUMBER.finditer(text):
        value = Fraction(match[1].replace(",", "")) * (1024 if match[2] else 1)
        unit = _COUNTED.match(text, match.end())
        foreign = unit is not None and not any(_has(unit[1].lower(), word) for word in setting.words)
        if (value < 1) != (setting.value < 1) or (foreign and not _IN_TOKENS.search(setting.name)):
            continue
        last = _CLAUSE.search(text, match.end())
        clause = text[: last.start() if last else len(text)].lower()
        for word in setting.words:  # "prefill" in the name of a setting tells no phase
            clause = clause.replace(word.removesuffix("ed"), "")
        yield value, sentence.at(match.start()).line, _adjacent(setting, lowered, match) and not _CHANGES.search(clause)


def _has(text: str, word: str) -> bool:
    """Whether a text has a word, however it ends."""
    return word != "token" and re.search(rf"\b{re.escape(word.removesuffix('s')[:_STEM])}", text) is not None


def _adjacent(setting: _Setting, text: str, match: re.Match[str]) -> bool:
    """Whether the setting's words stand just behind the number, or before it with a word that gives a value."""
    wanted = 1 if setting.value < 1 else min(2, len(setting.words))
    behind = re.match(r"\s*((?:[a-z-]+\s*){1,3})", text[match.end() : match.end() + _CLOSE])
    if behind is not None and sum(_has(behind[1], word) for word in setting.words) >= wanted:
        return True
    if setting.value < 1 and _OF_MEMORY.match(text, match.start()):
        return True
    before = text[max(0, match.start() - 2 * _CLOSE) : match.start()]
    if re.search(rf"{re.escape(setting.name)}\W{{1,4}}(?:(?:is|of|at|to|be)\W)?$", before):
        return True
    clause = _CLAUSE.split(before.replace(": ", " is "))[-1]
    given = re.search(r"\b(?:is|of|at|to|be)\W{0,3}$|=\s*$", clause) is not None
    given |= re.search(r"\b(?:size|limit|fraction)\s+$", clause) is not None
    return given and sum(_has(clause, word) for word in setting.words) >= wanted
