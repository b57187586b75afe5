"""Figures that follow from a document's own facts by counting, each with its formula and the numbers put in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import Final

from optimizer.audit.statements import Role, Statement
from optimizer.audit.verdict import plain

_MOST_READINGS: Final = 64
_ORDER: Final = {Role.STATED: 0, Role.CALCULATED: 1, Role.CLAIMED: 2}


@dataclass(frozen=True, slots=True)
class Derivation:
    """One reading of a figure: ``value`` in base units, ``formula`` in names, ``substituted`` with the numbers put in."""

    reading: str
    value: Fraction
    formula: str
    substituted: str
    assumes: tuple[str, ...] = ()


@dataclass(slots=True)
class FactTable:
    """Facts by name. What a data block or a problem file gives (``settled``) outranks what the prose says."""

    facts: tuple[Statement, ...]
    settled: dict[str, Fraction] = field(default_factory=dict)

    def values(self, name: str) -> list[Fraction]:
        """Every distinct value of ``name``, the document's own first, then its corrections, then what it quotes."""
        if name in self.settled:
            return [self.settled[name]]
        found = sorted((fact for fact in self.facts if fact.name == name), key=lambda fact: _ORDER[fact.role])
        return list(dict.fromkeys(fact.value for fact in found))

    def one(self, name: str) -> Fraction | None:
        """The value of ``name`` if the document gives exactly one."""
        values = self.values(name)
        return values[0] if len(values) == 1 else None

    def combinations(self, names: Iterable[str]) -> Iterator[dict[str, Fraction]]:
        """Every assignment of known values to ``names``; unknown names are absent."""
        known = [(name, self.values(name)) for name in names]
        present = [(name, values) for name, values in known if values]
        for index, chosen in enumerate(product(*(values for _, values in present))):
            if index >= _MOST_READINGS:
                return
            yield dict(zip((name for name, _ in present), chosen, strict=True))

    def where(self, name: str) -> int | None:
        """First line that gives ``name``."""
        return next((fact.place.line for fact in self.facts if fact.name == name), None)


def put_in(formula: str, **values: Fraction | int) -> str:
    """``formula`` with names replaced by numbers: ``experts / ep`` becomes ``64 / 64``."""
    words = formula.split(" ")
    return " ".join(plain(Fraction(values[word])) if word in values else word for word in words)


def deduplicated(derivations: Iterable[Derivation]) -> list[Derivation]:
    """Without repeats of the same reading and value."""
    seen: dict[tuple[str, Fraction], Derivation] = {}
    for derivation in derivations:
        seen.setdefault((derivation.reading, derivation.value), derivation)
    return list(seen.values())
