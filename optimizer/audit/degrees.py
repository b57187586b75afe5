"""Counts and parallel degrees as people write them: ``TP8``, ``tensor-parallel size: 8``, ``8-way TP``, four stages."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.document import Kind, Segment
from optimizer.audit.facts import Role, Statement

_UNITS: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TEENS: Final = (
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_CARDINALS: Final = (
    dict(zip((*_UNITS, *_TEENS), range(1, 20), strict=True))
    | {ten: 10 * at for at, ten in enumerate(_TENS, 2)}
    | {f"{ten}-{one}": 10 * at + more for at, ten in enumerate(_TENS, 2) for more, one in enumerate(_UNITS, 1)}
    | {"a single": 1, "single": 1}
)
_WORDS: Final = _CARDINALS | {"both": 2, "second": 2, "third": 3, "fourth": 4, "fifth": 5}
ORDINALS: Final = "second|third|fourth|fifth"
WORDS: Final = f"(?:{'|'.join(sorted(_CARDINALS.keys() - {'one', 'single', 'a single'}, key=len, reverse=True))})"
"""Words for two and more."""
COUNT: Final = rf"(?<![\w.,/])(?:\d{{1,5}}(?![.,]?\d)|{WORDS}|one|(?:a )?single)"
DEVICES: Final = r"(?:GPUs?|devices?|accelerators?|cards?|chips?)"
NODES: Final = r"(?:nodes?|servers?|hosts?|box(?:es)?)"
_OF_DEVICES: Final = re.compile(rf"({COUNT})\s+{DEVICES}\b", re.IGNORECASE)
_LONG: Final = {
    "tensor": "tp", "pipeline": "pp", "data": "dp", "expert": "ep", "experts": "ep", "context": "cp",
    "moe_tp": "etp", "moe_ep": "ep", "moe-tp": "etp", "moe-ep": "ep",
}  # fmt: skip
_SHORT_NAME: Final = r"ETP|EDP|TP|PP|DP|EP|CP"
_LONG_NAME: Final = r"tensor|pipeline|data|expert|context"
_NUMBER: Final = (
    r"(\d{1,5})(?![\d.,]*\d|\s?%|\s?[GMTK]i?B|\s*[x×*·⋅÷/]\s*\d)"
    rf"(?!\s?[x×]\b(?!\s{{1,3}}(?:{_SHORT_NAME})(?:[-_ ]|\s?=\s?)?\d))"
)
"""A size, no multiple: ``TP 4 x PP 2``, not ``EP 4x``."""
_SIZE: Final = r"(?:[-_ ]?(?:size|degree|world[-_ ]size|ranks?|ways?))?"
_DEGREE: Final = re.compile(
    rf"(?<![A-Za-z0-9])(?<!moe[-_])(?P<short>{_SHORT_NAME}){_SIZE}"
    rf"(?:[\"'`*]*\s*(?:=>|==|=|:|\bof\b|\bis\b)\s*[\"'`*]*\s*|[-_ ]?|\s*\(\s*){_NUMBER}(?!\s*(?:groups?|GPU))"
    rf"|(?<![A-Za-z0-9])(?:(?P<long>experts?|{_LONG_NAME})[-_ ]?(?:model[-_ ])?parallel(?:ism|ization)?"
    rf"|(?P<moe>moe[-_](?:tp|ep))(?:[-_ ]?parallel\w*)?){_SIZE}"
    rf"\s*(?:\((?:{_SHORT_NAME})\))?[\"'`*]*\s*(?:=>|==|=|:|\bof\b|\bis\b|\bto\b|\bset to\b|\||,(?!\s*\d+\s+[a-z]))?"
    r"[\"'`*]*\s*"
    rf"(?:{_NUMBER}|(?<=of )(?P<word>{WORDS})\b(?![- ](?:of|in|per)\b))"
    rf"|(?<![\d.,])\b(?P<ways>\d{{1,5}}|{WORDS})[- ]?way\s+(?P<way>{_SHORT_NAME}|{_LONG_NAME})\b"
    rf"|\b(?P<spanned>{_LONG_NAME})[- ]parallel(?:ism)?\s+(?:runs?\s+|is\s+|goes\s+)?(?:over|across|on|spans?|spanning)"
    r"\s+(?:(?:all|the|same|its|our|whole|these)\s+){0,3}(?P<span>\d{1,5})\s+(?:GPUs?|ranks?|devices|cards)\b"
    rf"|(?<![\d.,])\b(?P<stages>\d{{1,4}}|{WORDS})(?:[- ](?:stage\s+pipeline|pipeline\s+stages?|PP\s+stages?))\b"
    rf"|(?<![\d.,])\b(?P<copies>\d{{1,5}}|{WORDS})\s+(?:data[- ]parallel|DP)\s+(?:replica|rank|group|worker)s?\b"
    r"|\bEP\s+groups?\s*[:=]\s*(?P<groups>\d{1,5})|(?<![\d.,])(?P<counted>\d{1,5})\s+EP\s+groups?\b",
    re.IGNORECASE,
)
_GATE: Final = re.compile(r"[etdpc]p|parallel|moe|way|stage", re.IGNORECASE)
"""Without one of these no degree is written in running text."""
_IN_FORMULA: Final = re.compile(r"(?:[A-Za-z_]\s*[*×x·⋅]\s*|\b(?:per|each|every)\s+)$", re.IGNORECASE)
"""Before a degree that is none: ``tp * pp * dp = 8 * 16 * 8``, "heads per TP rank = 12"."""
_WITH_SIZE: Final = re.compile(rf"(?:{_SHORT_NAME})[-_ ]?\d+", re.IGNORECASE)
_BEFORE: Final = 16
_CODE_PAGE: Final = re.compile(r"cp\d{3,}")
"""``cp1254`` names an encoding, no degree of context parallelism."""
_LOGGED_BY: Final = re.compile(r"\s*\[(?:[\d: ,.-]*\d )?(?:(?:DP|TP|PP|EP|CP)\d+ ?)+\]")
"""``[DP7 TP7 EP7] Load weight end``: the ranks of the process that logs a line, no degrees."""
_SYMBOL: Final = rf"(?:(?:{_LONG_NAME})[-_ ]parallel(?:ism)?|{_SHORT_NAME})(?:[-_ ]?(?:size|degree))?"
_PRODUCT: Final = re.compile(rf"{_SYMBOL}(?:\s*[×x*·]\s*{_SYMBOL}){{1,6}}", re.IGNORECASE)
_ONE: Final = re.compile(rf"(?P<long>{_LONG_NAME})|(?P<short>{_SHORT_NAME})", re.IGNORECASE)


def count(text: str) -> int:
    """Number that a numeral or a word stands for."""
    return _WORDS.get(text.lower()) or int(text)


def devices_counted(texts: Iterable[str]) -> set[int]:
    """Every number of devices that some texts count."""
    return {count(number) for text in texts for number in _OF_DEVICES.findall(text)}


def is_count(text: str) -> bool:
    """Whether a text is a whole number, in digits or in a word."""
    return text.isdigit() or text.lower() in _WORDS


@dataclass(frozen=True, slots=True)
class Degree:
    """One degree as written, and where."""

    axis: str
    value: int
    text: str
    start: int


@lru_cache(maxsize=1 << 14)
def degrees_in(text: str) -> tuple[Degree, ...]:
    """Every degree that is written in a text, in order; groups of experts are ``ep_groups``."""
    return tuple(_degrees(text)) if _GATE.search(text) else ()


def _degrees(text: str) -> Iterator[Degree]:
    logged = _LOGGED_BY.match(text)
    for match in _DEGREE.finditer(text, logged.end() if logged else 0):
        found = match.groupdict()
        formula = _IN_FORMULA.search(text, max(0, match.start() - _BEFORE), match.start())
        # "4 instances, each TP2" has a degree, "heads of each TP rank = 12" none
        each = formula is not None and formula[0].strip().lower() == "each" and _WITH_SIZE.fullmatch(match[0])
        if _CODE_PAGE.match(match[0]) or (formula and not each):
            continue
        name = found["short"] or found["long"] or found["moe"] or found["way"] or found["spanned"]
        axis = _axis(name) if name else "pp" if found["stages"] else "dp" if found["copies"] else "ep_groups"
        value = count(next(group for group in reversed(match.groups()) if group and is_count(group)))
        if value > 0:
            yield Degree(axis, value, " ".join(match[0].split()), match.start())


def _axis(word: str) -> str:
    return _LONG.get(word.lower(), word.lower())


def find_degrees(segments: Sequence[Segment], roles: Sequence[Role]) -> Iterator[Statement]:
    """Every degree written anywhere, in document order; a table cell is read with its labels."""
    for index, segment in enumerate(segments):
        found = [*degrees_in(segment.text)]
        value = segment.text.strip()
        if segment.kind is Kind.CELL and value.isascii() and value.isdigit():
            lead = len(segment.text) - len(segment.text.lstrip())
            cells = [f"{label}: {value}" for label in (segment.row_label, segment.column_label) if len(label) > 1]
            whole = [one for text in cells for one in degrees_in(text) if len(one.text) > len(text) - 4]
            found += [Degree(one.axis, one.value, one.text, lead) for one in whole[:1]]
        for one in found:
            yield Statement(
                one.axis, Fraction(one.value), segment.place(one.start), one.text, roles[index], index, lexicon.ONE,
                section=segment.section,
            )  # fmt: skip


def symbolic_products(segments: Sequence[Segment]) -> Iterator[tuple[int, tuple[str, ...], str]]:
    """``total = tensor_parallel_size * pipeline_parallel_size``: segment, axes in order, quote."""
    for index, segment in enumerate(segments):
        for match in _PRODUCT.finditer(segment.text) if _GATE.search(segment.text) else ():
            axes = tuple(_axis(one["long"] or one["short"]) for one in _ONE.finditer(match[0]))
            if len(set(axes)) == len(axes):
                yield index, axes, " ".join(match[0].split())
