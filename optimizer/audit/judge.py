"""A verdict for every claim, from the document's own facts by counting."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from optimizer.audit import lexicon
from optimizer.audit.compare import tolerance
from optimizer.audit.derive import Derivation, FactTable
from optimizer.audit.statements import Role, Statement
from optimizer.audit.verdict import Verdict, number, plain

_MOST_FIGURES: Final = 24


@dataclass(frozen=True, slots=True)
class JudgedClaim:
    """A claim, its verdict and where it comes from; ``readings`` pairs each derivation with whether it matches."""

    statement: Statement
    verdict: Verdict
    derived: Derivation | None
    readings: tuple[tuple[Derivation, bool], ...]
    note: str = ""
    missing: tuple[str, ...] = ()

    @property
    def ratio(self) -> Fraction | None:
        """Claimed over derived."""
        if self.derived is None or not self.derived.value:
            return None
        return self.statement.value / self.derived.value

    def to_json(self, shown: dict[int, dict[str, Any]] | None = None) -> dict[str, Any]:
        """Entry of ``claims`` in ``shardproof/audit/1``; ``shown`` keeps readings that many claims share."""
        shown = {} if shown is None else shown
        derived, ratio = self.derived, self.ratio
        return {
            "name": self.statement.name,
            "claimed": number(self.statement.value),
            "derived": None if derived is None else number(derived.value),
            "unit": base_unit(self.statement),
            "verdict": str(self.verdict),
            "ratio": None if ratio is None else number(ratio),
            "formula": None if derived is None else derived.formula,
            "substituted": None if derived is None else f"{derived.substituted} = {plain(derived.value)}",
            "readings": [{**_reading(reading, shown), "holds": holds} for reading, holds in self.readings],
            "line": self.statement.place.line,
            "column": self.statement.place.column,
            "text": self.statement.text,
            "role": str(self.statement.role),
            "explanation": self.note,
        }


def _reading(reading: Derivation, shown: dict[int, dict[str, Any]]) -> dict[str, Any]:
    if id(reading) not in shown:
        shown[id(reading)] = {
            "name": reading.reading,
            "derived": number(reading.value),
            "holds": None,
            "formula": reading.formula,
            "substituted": f"{reading.substituted} = {plain(reading.value)}",
            "assumed": list(reading.assumes),
        }
    return shown[id(reading)]


def base_unit(statement: Statement) -> str:
    """Name of the base unit the value counts in."""
    names = {
        lexicon.BYTES: "bytes", lexicon.SECONDS: "s", lexicon.PER_SECOND: "tokens/s", lexicon.FLOPS: "FLOP/s",
        lexicon.BANDWIDTH: "bytes/s",
    }  # fmt: skip
    return names.get(statement.unit.dimensions, "ratio" if statement.unit is lexicon.PERCENT else "")


class Claims:
    """All claims of a document, by name and by section, each distinct figure once."""

    def __init__(self, claims: Iterable[Statement]) -> None:
        self.by_name: dict[str, list[Statement]] = {}
        self.by_section: dict[tuple[str, ...], list[Statement]] = {}
        self.by_segment: dict[int, list[Statement]] = {}
        seen: set[tuple[str, Fraction, Role]] = set()
        for claim in claims:
            if len(inside := self.by_section.setdefault(claim.section, [])) < _MOST_FIGURES:
                inside.append(claim)
            if len(beside := self.by_segment.setdefault(claim.segment, [])) < _MOST_FIGURES:
                beside.append(claim)
            named = self.by_name.setdefault(claim.name, [])
            if len(named) < _MOST_FIGURES and (claim.name, claim.value, claim.role) not in seen:
                seen.add((claim.name, claim.value, claim.role))
                named.append(claim)


@dataclass(slots=True)
class Judge:
    """Judges claims against one table of facts; ``claims`` are all of them, since some derive from others."""

    table: FactTable
    claims: Claims
    missing: dict[str, None] = field(default_factory=dict)
    _known: dict[tuple[object, ...], tuple[list[Derivation], JudgedClaim]] = field(default_factory=dict)

    def by_readings(
        self,
        claim: Statement,
        readings: list[Derivation],
        *,
        closed: bool,
        missing: tuple[str, ...] = (),
        note: str = "",
    ) -> JudgedClaim:
        """``holds`` if every reading gives the claim, ``ambiguous`` if some do, ``fails`` if none and all are known."""
        written = claim.number
        if not readings or written is None:
            return self.unsupported(claim, missing, note)
        key = (
            id(readings),
            written.digits,
            written.half_digit,
            written.unit,
            written.approximate,
            written.decimal,
            closed,
        )
        if key not in self._known:
            # The list is kept beside its verdict, so that its id is not given to another.
            self._known[key] = readings, self._by_readings(claim, readings, missing, note, closed=closed)
        return replace(self._known[key][1], statement=claim)

    def _by_readings(
        self, claim: Statement, readings: list[Derivation], missing: tuple[str, ...], note: str, *, closed: bool
    ) -> JudgedClaim:
        least, most = _written(claim)
        marked = tuple((reading, least <= reading.value <= most) for reading in readings)
        right = sorted((reading for reading, holds in marked if holds), key=lambda reading: len(reading.assumes))
        if len(right) == len(marked):
            return JudgedClaim(claim, Verdict.HOLDS, right[0], marked, note)
        if right:
            return JudgedClaim(claim, Verdict.AMBIGUOUS, right[0], marked, note or f"true as {right[0].reading}")
        other = self._other_unit(claim, readings)
        if other is not None:
            return JudgedClaim(
                claim, Verdict.AMBIGUOUS, other, marked, f"true with {claim.unit.name} read as {claim.unit.other_name}"
            )
        if not closed:
            return JudgedClaim(
                claim,
                Verdict.UNSUPPORTED,
                readings[0],
                marked,
                note or "no reading at hand gives it, but others remain open",
                missing,
            )
        nearest = min(readings, key=lambda reading: abs(reading.value - claim.value))
        return JudgedClaim(claim, Verdict.FAILS, nearest, marked, note)

    def _other_unit(self, claim: Statement, readings: list[Derivation]) -> Derivation | None:
        written = claim.number
        if written is None or written.unit.other is None:
            return None
        value = written.digits * written.unit.other
        half = tolerance(written, written.unit.other, approximate=written.approximate)
        return next((reading for reading in readings if abs(reading.value - value) <= half), None)

    def unsupported(self, claim: Statement, missing: tuple[str, ...], note: str = "") -> JudgedClaim:
        """No verdict, with the names of what it would take."""
        self.missing.update(dict.fromkeys(missing))
        return JudgedClaim(claim, Verdict.UNSUPPORTED, None, (), note, missing)

    def single(self, *names: str) -> bool:
        """Whether the document gives no two values for any of ``names``."""
        counted = not self.table.values("mixed_layers") or not {"layers", "experts_per_layer"} & set(names)
        return counted and all(len(self.table.values(name)) < 2 for name in names)

    def absent(self, *names: str) -> tuple[str, ...]:
        """Those of ``names`` that the document does not give."""
        return tuple(name for name in names if not self.table.values(name))

    def figures(self, *names: str, near: Statement | None = None) -> list[Statement]:
        """Distinct claims of these names, those beside ``near`` first."""
        beside = (
            []
            if near is None
            else [
                claim
                for claim in (*self.claims.by_segment[near.segment], *self.claims.by_section[near.section])
                if claim.name in names
            ]
        )
        everywhere = [claim for name in names for claim in self.claims.by_name.get(name, [])]
        return list(dict.fromkeys((*beside, *everywhere)))


def matches(claim: Statement, value: Fraction) -> bool:
    """Whether ``value`` is what was written: exactly for a bare whole number, else to its last digit."""
    least, most = _written(claim)
    return least <= value <= most


@lru_cache(maxsize=8)  # one claim is held against many readings in a row
def _written(claim: Statement) -> tuple[Fraction, Fraction]:
    """Least and most value that the claim's digits stand for."""
    written = claim.number
    if written is None or not (written.decimal or written.unit.scaled or written.approximate):
        return claim.value, claim.value
    slack = tolerance(written, written.unit.scale, approximate=written.approximate)
    return claim.value - slack, claim.value + slack
