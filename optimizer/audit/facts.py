"""What a document says: a statement for each figure and whose it is, facts and claims by name, one derived figure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from itertools import islice, product
from typing import Any, Final

from optimizer.audit import lexicon
from optimizer.audit.compare import tolerance
from optimizer.audit.document import Kind, Place, Segment
from optimizer.audit.lexicon import Unit
from optimizer.audit.tokens import Number
from optimizer.audit.verdict import Verdict, number, plain, shown

AXES: Final = ("tp", "cp", "dp", "pp", "ep", "etp", "edp")
"""Axes of parallelism, as facts are named."""
EXPERT_COUNTS: Final = frozenset({"experts_per_gpu", "experts_per_gpu_per_layer", "expert_instances"})
"""Names of claims that count the experts of a device."""
WORDS: Final = frozenset({"model", "hardware", "precision", "mixed_layers"})
"""Facts that are words: their value is no quantity."""
NO_SEGMENT: Final = -1
"""Place of a figure that a data block gives: it stands in no running text."""
_CLAIMED: Final = re.compile(
    r"\b(claim(?:s|ed)?|current(?:ly)?|previous(?:ly)?|old|before|as documented|documented|"
    r"script output|output(?![ -]+(?:tok|len|seq|rate|throughput|speed|per|size))|"
    r"reported|original(?:ly)?|specified|quoted|advertised|stated|wrong|incorrect(?:ly)?|misstated"
    r"|document(?:ation)? (?:says|error))\b"
)
_CALCULATED: Final = re.compile(
    r"\b(calculat(?:ed|ion|es)|actual(?:ly)?|reality|real|should be|correct(?:ed|ion)?|expected|realistic|computed|"
    r"derived|verified|verification|measured|new|after|recomputed|in fact|limit|true)\b"
)
LABEL: Final = re.compile(r"^\W{0,12}([A-Za-z`(][^:=|;]{0,80}?)\s*(?::|=(?!=))(?:\s|$|\*|(?=[~≈\d]))")
QUOTATION: Final = re.compile(r"[\"“”«»]")
_REFUSED: Final = re.compile(
    r"\b(?:not|never|instead of|rather than)\s+(?:the\s+|exactly\s+|just\s+|specified\s+)*[\"~≈]?\s*$"
)
_FROM: Final = re.compile(r"\bfrom\s+[\"~≈]?\s*$")
_TO: Final = re.compile(r"\bto\b|→|->")
_FROM_TO: Final = re.compile(r"\bfrom\b.*\bto\s+[\"~≈]?\s*$|(?:→|->)\s*[~≈]?$")
_CLAIMED_AFTER: Final = re.compile(r"^\W*(?:as\s+)?(?:was\s+)?claimed\b")
_CLAIMED_BEFORE: Final = re.compile(r"\bclaim(?:ed|s)\b[^.]{0,25}$")
_REACH: Final = 80
MOST_READINGS: Final = 32
"""Readings of one figure that are tried; nothing is refuted by a list cut short."""
_MOST_VALUES: Final = 16
_MOST_FIGURES: Final = 24
_BASE_UNITS: Final = {
    lexicon.BYTES: "bytes", lexicon.SECONDS: "s", lexicon.PER_SECOND: "tokens/s", lexicon.FLOPS: "FLOP/s",
    lexicon.BANDWIDTH: "bytes/s",
}  # fmt: skip


class Role(StrEnum):
    """Whose figure it is: the document's own, one it quotes in order to judge it, or its correction."""

    STATED = "stated"
    CLAIMED = "claimed"
    CALCULATED = "calculated"


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """``name`` is a fact or a claim of the interface; ``value`` counts in base units."""

    name: str
    value: Fraction
    place: Place
    text: str
    role: Role
    segment: int
    unit: Unit
    number: Number | None = None
    sure: bool = True
    section: tuple[str, ...] = ()
    near: str = ""


def without_full_stops(text: str) -> str:
    """``text`` of the same length, in which the points of "i.e." and "e.g." end no sentence."""
    return text.replace("i.e.", "i,e,").replace("e.g.", "e,g,")


def outside_quotation(text: str) -> bool:
    """Whether no quotation is open at the end of ``text``."""
    return len(QUOTATION.findall(text)) % 2 == 0


def segment_role(segment: Segment) -> Role:
    """Role that a segment's column header, label or introduction gives to every figure in it."""
    if segment.removed:
        return Role.CLAIMED
    if segment.kind is Kind.CELL:
        return label_role(segment.column_label) or label_role(segment.row_label) or Role.STATED
    label = LABEL.match(segment.text[:120])
    role = label_role(label[1]) if label else None
    return role or label_role(segment.before) or Role.STATED


@lru_cache(maxsize=256)  # the labels of a table come back in every row
def label_role(label: str) -> Role | None:
    """Role named by a label such as "Document claims" or "Should be"; None if it names none."""
    lowered = label.lower()
    if not lowered:
        return None
    claimed = _CLAIMED.search(lowered)
    calculated = _CALCULATED.search(lowered)
    if claimed and calculated:
        return Role.CLAIMED if claimed.start() < calculated.start() else Role.CALCULATED
    return Role.CLAIMED if claimed else Role.CALCULATED if calculated else None


def own_role(text: str, start: int, end: int) -> Role | None:
    """Role that its clause gives to one figure, over the segment's."""
    before, after = text[max(0, start - _REACH) : start].lower(), text[end : end + _REACH].lower()
    if _REFUSED.search(before) or (_FROM.search(before) and _TO.search(after)):
        return Role.CLAIMED
    if _FROM_TO.search(before):
        return Role.CALCULATED
    return Role.CLAIMED if _CLAIMED_AFTER.search(after) or _CLAIMED_BEFORE.search(before) else None


_ORDER: Final = {Role.STATED: 0, Role.CALCULATED: 1, Role.CLAIMED: 2}


@dataclass(frozen=True, slots=True)
class Derivation:
    """One reading of a figure: ``value`` in base units, ``formula`` in names, ``substituted`` in numbers."""

    reading: str
    value: Fraction
    formula: str
    substituted: str

    def worked(self, unit: Unit | None = None) -> str:
        """The numbers put in and what they give, in ``unit`` or else the base unit."""
        given, value = self.substituted, shown(self.value, unit)
        return value if given == plain(self.value) else given if given.endswith(f"= {value}") else f"{given} = {value}"


class Facts:
    """Facts by name. What a data block or a problem file gives (``settled``) outranks what the prose says."""

    def __init__(self, facts: Iterable[Statement], settled: Mapping[str, Fraction] | None = None) -> None:
        self.settled = settled or {}
        self._statements: dict[str, list[Statement]] = {}
        for fact in facts:
            self._statements.setdefault(fact.name, []).append(fact)
        self._values = {
            name: list(dict.fromkeys(fact.value for fact in sorted(same, key=lambda fact: _ORDER[fact.role])))[
                :_MOST_VALUES
            ]
            for name, same in self._statements.items()
        }

    def values(self, name: str) -> list[Fraction]:
        """Every distinct value of ``name``, the document's own first, then its corrections, then what it quotes."""
        if name in self.settled:
            return [self.settled[name]]
        return self._values.get(name, [])

    def statements(self, name: str) -> list[Statement]:
        """Every place where ``name`` is given."""
        return self._statements.get(name, [])

    def one(self, name: str) -> Fraction | None:
        """The value of ``name`` if the document gives exactly one."""
        values = self.values(name)
        return values[0] if len(values) == 1 else None

    def combinations(self, names: Iterable[str]) -> Iterator[dict[str, Fraction]]:
        """Every assignment of known values to ``names``; unknown names are absent."""
        present = [(name, values) for name in names if (values := self.values(name))]
        for chosen in islice(product(*(values for _, values in present)), MOST_READINGS):
            yield dict(zip((name for name, _ in present), chosen, strict=True))


class Claims:
    """All claims of a document, by name and by place, each distinct figure once."""

    def __init__(self, claims: Iterable[Statement]) -> None:
        self.by_name: dict[str, list[Statement]] = {}
        self.by_section: dict[tuple[str, ...], list[Statement]] = {}
        self.by_segment: dict[int, list[Statement]] = {}
        seen: set[tuple[str, Fraction, Role]] = set()
        for claim in claims:
            for group in (
                self.by_section.setdefault(claim.section, []), self.by_segment.setdefault(claim.segment, [])
            ):  # fmt: skip
                if len(group) < _MOST_FIGURES:
                    group.append(claim)
            named = self.by_name.setdefault(claim.name, [])
            if len(named) < _MOST_FIGURES and (claim.name, claim.value, claim.role) not in seen:
                seen.add((claim.name, claim.value, claim.role))
                named.append(claim)

    def near(self, claim: Statement, name: str) -> list[Statement]:
        """Figures called ``name``: those of the claim's line and section first."""
        beside = (*self.by_segment[claim.segment], *self.by_section[claim.section])
        return list(dict.fromkeys([*(item for item in beside if item.name == name), *self.by_name.get(name, [])]))


@dataclass(frozen=True, slots=True)
class JudgedClaim:
    """A claim, its verdict and where it comes from; ``readings`` pairs each derivation with whether it matches."""

    statement: Statement
    verdict: Verdict
    derived: Derivation | None = None
    readings: tuple[tuple[Derivation, bool], ...] = ()
    note: str = ""
    missing: tuple[str, ...] = ()

    @property
    def ratio(self) -> Fraction | None:
        """Claimed over derived."""
        if self.derived is None or not self.derived.value:
            return None
        return self.statement.value / self.derived.value

    def to_json(self) -> dict[str, Any]:
        """Entry of ``claims`` in ``shardproof/audit/1``."""
        derived, ratio = self.derived, self.ratio
        return {
            "name": self.statement.name,
            "claimed": number(self.statement.value),
            "derived": None if derived is None else number(derived.value),
            "unit": base_unit(self.statement),
            "verdict": str(self.verdict),
            "ratio": None if ratio is None else number(ratio),
            "formula": None if derived is None else derived.formula,
            "substituted": None if derived is None else derived.worked(),
            "readings": [_reading(reading, holds=holds) for reading, holds in self.readings],
            "line": self.statement.place.line,
            "column": self.statement.place.column,
            "text": self.statement.text,
            "role": str(self.statement.role),
            "explanation": self.note,
        }


def _reading(reading: Derivation, *, holds: bool) -> dict[str, Any]:
    return {
        "name": reading.reading,
        "derived": number(reading.value),
        "holds": holds,
        "formula": reading.formula,
        "substituted": reading.worked(),
    }


def base_unit(statement: Statement) -> str:
    """Name of the base unit the value counts in."""
    if statement.name == "ratio":
        return "ratio"
    return _BASE_UNITS.get(statement.unit.dimensions, "ratio" if statement.unit is lexicon.PERCENT else "")


def matches(claim: Statement, value: Fraction, *, other: bool = False) -> bool:
    """Whether ``value`` is what was written: exactly for a bare whole number, else to its last digit.

    With ``other`` the unit is read the other way (GB as GiB).
    """
    written = claim.number
    if written is None:
        return value == claim.value
    scale = written.unit.other if other else written.unit.scale
    if scale is None:
        return False
    exact = not (written.decimal or written.unit.scaled or written.approximate)
    slack = Fraction(0) if exact else tolerance(written, scale, approximate=written.approximate)
    return abs(value - written.digits * scale) <= slack
