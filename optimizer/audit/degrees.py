"""Parallel degrees in their usual spellings."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from optimizer.audit import lexicon
from optimizer.audit.document import Kind, Segment
from optimizer.audit.inline import has_digit
from optimizer.audit.statements import Role, Statement

AXES: Final = ("tp", "cp", "dp", "pp", "etp", "ep", "edp", "sp")
_LONG: Final = {
    "tensor": "tp", "pipeline": "pp", "data": "dp", "expert": "ep", "experts": "ep", "context": "cp", "sequence": "sp",
    "moe_tp": "etp", "moe_ep": "ep", "moe-tp": "etp", "moe-ep": "ep",
}  # fmt: skip
_NUMBER: Final = r"(\d{1,5})(?![\d.,]*\d|\s?%|\s?[GMTK]i?B|\s*[x×*·⋅÷/]\s*\d)(?!\s?[x×]\b)"
_IN_FORMULA: Final = re.compile(r"(?:[A-Za-z_]\s*[*×x·⋅]\s*|\b(?:per|each|every)\s+)$", re.IGNORECASE)
"""Before a degree that is none: ``tp * pp * dp = 8 * 16 * 8``, "heads per TP rank = 12"."""
_BEFORE: Final = 16
_CODE_PAGE: Final = re.compile(r"cp\d{3,}")
"""``cp1254`` names an encoding, no degree of context parallelism."""
_SET: Final = (
    r"\s*(?:\((?:[TPDECS]P|ETP|EDP)\))?[\"'`*]*\s*(?:=>|==|=|:|\bof\b|\bis\b|\bto\b|\bset to\b|\||,)?[\"'`*]*\s*"
)
_SHORT_DEGREE: Final = re.compile(
    r"(?<![A-Za-z0-9])(?<!moe[-_])(ETP|EDP|TP|PP|DP|EP|CP)(?:[-_ ]?(?:size|degree|ranks?|world[-_ ]size|ways?))?(?:"
    r"[\"'`*]*\s*(?:=>|==|=|:|\bof\b|\bis\b)\s*[\"'`*]*\s*|[-_ ]?|\s*\(\s*)" + _NUMBER + r"(?!\s*(?:groups?|GPU))",
    re.IGNORECASE,
)
_LONG_DEGREE: Final = re.compile(
    r"(?<![A-Za-z0-9])(tensor|pipeline|data|experts?|context|moe[-_](?:tp"
    r"|ep))[-_ ]?(?:model[-_ ])?(?:parallel(?:ism|ization)?)?"
    r"(?:[-_ ]?(?:size|degree|world[-_ ]size|ranks?))?" + _SET + _NUMBER,
    re.IGNORECASE,
)
_WAY: Final = re.compile(
    r"(?<![\d.,])(\d{1,5})[- ]?way\s+(ETP|EDP|TP|PP|DP|EP|CP|tensor|pipeline|data|expert|context)\b", re.IGNORECASE
)
_STAGES: Final = re.compile(
    r"(?<![\d.,])(\d{1,4})(?:[- ](?:stage\s+pipeline|pipeline\s+stages?|PP\s+stages?))\b", re.IGNORECASE
)
_GROUPS: Final = re.compile(r"\bEP\s+groups?\s*[:=]\s*(\d{1,5})|(?<![\d.,])(\d{1,5})\s+EP\s+groups?\b", re.IGNORECASE)
_SYMBOL: Final = (
    r"(?:(tensor|pipeline|data|expert|context)[-_ ]parallel(?:ism)?(?:[-_ ](?:size|degree))?|(TP|PP|DP|EP|CP|ETP|EDP))"
    r"(?:[-_ ]?(?:size|degree))?"
)
_PRODUCT: Final = re.compile(
    _SYMBOL + r"(?:\s*[×x*·]\s*" + _SYMBOL.replace("(tensor", "(?:tensor").replace("|(TP", "|(?:TP") + r"){1,6}",
    re.IGNORECASE,
)
_ONE: Final = re.compile(_SYMBOL, re.IGNORECASE)


_PATTERNS: Final = (
    (_SHORT_DEGREE, 1, 2, ("ep", "tp", "dp", "pp", "cp")),
    (_LONG_DEGREE, 1, 2, ("parallel", "moe")),
    (_WAY, 2, 1, ("way",)),
)
"""Pattern, group of its axis, group of its value, and letters without which it cannot match."""


_GATE: Final = re.compile(r"[etdpc]p|parallel|moe|way|stage|group")
"""Without one of these, lower-cased, no degree is written in running text."""
_CELL_LABEL: Final = re.compile(
    r"\W*(?:(tensor|pipeline|data|expert|context)\s*[-_ ]?parallel(?:ism)?|(TP|PP|DP|EP|CP|ETP|EDP))"
    r"(?:[-_ ]?(?:size|degree))?\s*(?:\(\s*\w+\s*\))?\W*",
    re.IGNORECASE,
)


def _any_in(words: tuple[str, ...], text: str) -> bool:
    for word in words:  # noqa: SIM110 - a loop costs a third of any() over a generator, and this runs for every line
        if word in text:
            return True
    return False


def _axis(word: str) -> str:
    lowered = word.lower()
    return lowered if lowered in AXES else _LONG[lowered]


def find_degrees(segments: tuple[Segment, ...], roles: list[Role]) -> Iterator[Statement]:
    """Every degree written anywhere, in document order; a table cell is read with its labels."""
    for index, segment in enumerate(segments):
        if not has_digit(segment.text):
            continue
        lowered = segment.text.lower()
        if _GATE.search(lowered) is None:
            if segment.kind is Kind.CELL and (only := _cell(segment, index, roles[index])) is not None:
                yield only
            continue
        found: dict[tuple[str, int], Statement] = {}
        for pattern, axis_group, value_group, words in _PATTERNS:
            if not _any_in(words, lowered):
                continue
            for match in pattern.finditer(segment.text):
                if pattern is _LONG_DEGREE and "parallel" not in match[0].lower() and "moe" not in match[0].lower():
                    continue
                if _CODE_PAGE.match(match[0]) or _IN_FORMULA.search(
                    segment.text, max(0, match.start() - _BEFORE), match.start()
                ):
                    continue
                name = _axis(match[axis_group])
                made = _statement(name, match, value_group, segment, index, roles[index])
                found.setdefault((name, match.start(value_group)), made)
        for match in _STAGES.finditer(segment.text) if "stage" in lowered else ():
            found.setdefault(("pp", match.start(1)), _statement("pp", match, 1, segment, index, roles[index]))
        for match in _GROUPS.finditer(segment.text) if "group" in lowered else ():
            group = 1 if match[1] else 2
            found[("ep", match.start(group))] = _statement("ep_groups", match, group, segment, index, roles[index])
        if segment.kind is Kind.CELL and (made_cell := _cell(segment, index, roles[index])) is not None:
            found.setdefault((made_cell.name, 0), made_cell)
        yield from (made for made in found.values() if made.value > 0)


def _statement(name: str, match: re.Match[str], group: int, segment: Segment, index: int, role: Role) -> Statement:
    return Statement(
        name, Fraction(int(match[group])), segment.place(match.start()), " ".join(match[0].split()), role, index,
        lexicon.ONE, section=segment.section,
    )  # fmt: skip


def _cell(segment: Segment, index: int, role: Role) -> Statement | None:
    value = segment.text.strip()
    if not value.isascii() or not value.isdigit() or len(value) > 5:
        return None
    for label in (segment.row_label, segment.column_label):
        whole = _CELL_LABEL.fullmatch(label) if label else None
        if whole is not None:
            name = _axis(whole[1] or whole[2])
            place = segment.place(len(segment.text) - len(segment.text.lstrip()))
            return Statement(name, Fraction(int(value)), place, f"{label} {value}", role, index, lexicon.ONE,
                             section=segment.section)  # fmt: skip
    return None


def symbolic_products(segments: tuple[Segment, ...]) -> Iterator[tuple[int, int, tuple[str, ...], str]]:
    """``total = tensor_parallel_size * pipeline_parallel_size``: segment, offset, axes in order, quote."""
    for index, segment in enumerate(segments):
        lowered = segment.text.lower()
        if not _any_in(("×", "x", "*", "·"), lowered) or not _any_in(
            ("parallel", "tp", "pp", "dp", "ep", "cp"), lowered
        ):
            continue
        for match in _PRODUCT.finditer(segment.text):
            axes = tuple(_axis(one[1] or one[2]) for one in _ONE.finditer(match[0]))
            if len(set(axes)) == len(axes) and len(axes) > 1:
                yield index, match.start(), axes, " ".join(match[0].split())
