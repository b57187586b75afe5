"""Figures that follow from a document's own facts by counting, each with its formula and the numbers put in."""

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from fractions import Fraction
from functools import wraps
from itertools import product
from typing import Any, Final, TypeVar

from optimizer.audit.statements import Role, Statement
from optimizer.audit.verdict import plain

Result = TypeVar("Result")

MOST_READINGS: Final = 32
_MOST_VALUES: Final = 16
"""Values of one fact that are tried; a document that gives more settles nothing by it."""
_ORDER: Final = {Role.STATED: 0, Role.CALCULATED: 1, Role.CLAIMED: 2}


@dataclass(frozen=True, slots=True)
class Derivation:
    """One reading of a figure: ``value`` in base units, ``formula`` in names, ``substituted`` in numbers."""

    reading: str
    value: Fraction
    formula: str
    substituted: str
    assumes: tuple[str, ...] = ()


class FactTable:
    """Facts by name. What a data block or a problem file gives (``settled``) outranks what the prose says."""

    def __init__(self, facts: Iterable[Statement], settled: dict[str, Fraction] | None = None) -> None:
        self.settled = settled or {}
        self.memo: dict[object, Any] = {}
        self.local: dict[str, list[Fraction]] = {}
        by_name: dict[str, list[Statement]] = {}
        for fact in facts:
            by_name.setdefault(fact.name, []).append(fact)
        self._statements = by_name
        self._values = {
            name: list(dict.fromkeys(fact.value for fact in sorted(found, key=lambda fact: _ORDER[fact.role])))[
                :_MOST_VALUES
            ]
            for name, found in by_name.items()
        }

    def within(self, local: dict[str, list[Fraction]]) -> "FactTable":
        """The same table with some names narrowed to the values that one section gives."""
        table = copy(self)
        table.local = local
        table.memo = {}
        return table

    def values(self, name: str) -> list[Fraction]:
        """Every distinct value of ``name``, the document's own first, then its corrections, then what it quotes."""
        if name in self.settled:
            return [self.settled[name]]
        if self.local:
            return self.local[name] if name in self.local else self._values.get(name, [])
        return self._values.get(name, [])

    def statements(self, name: str) -> list[Statement]:
        """Every place where ``name`` is given."""
        return self._statements.get(name, [])

    def first(self, name: str) -> Statement | None:
        """Where ``name`` is first given."""
        return next(iter(self.statements(name)), None)

    def one(self, name: str) -> Fraction | None:
        """The value of ``name`` if the document gives exactly one."""
        values = self.values(name)
        return values[0] if len(values) == 1 else None

    def combinations(self, names: Iterable[str]) -> Iterator[dict[str, Fraction]]:
        """Every assignment of known values to ``names``; unknown names are absent."""
        known = [(name, self.values(name)) for name in names]
        present = [(name, values) for name, values in known if values]
        for index, chosen in enumerate(product(*(values for _, values in present))):
            if index >= MOST_READINGS:
                return
            yield dict(zip((name for name, _ in present), chosen, strict=True))


def once(derive: Callable[[FactTable], Result]) -> Callable[[FactTable], Result]:
    """Derive once for each table, however many claims ask."""

    @wraps(derive)
    def remembered(table: FactTable) -> Result:
        if derive.__name__ not in table.memo:
            table.memo[derive.__name__] = derive(table)
        found: Result = table.memo[derive.__name__]
        return found

    return remembered


def put_in(formula: str, **values: Fraction | int) -> str:
    """``formula`` with names replaced by numbers: ``experts / ep`` becomes ``64 / 64``."""
    words = formula.split(" ")
    return " ".join(plain(Fraction(values[word])) if word in values else word for word in words)


def deduplicated(derivations: Iterable[Derivation]) -> list[Derivation]:
    """Without repeats of the same reading and value; the first few of them, where a document gives many values.

    Nothing is refuted by a list cut short: a claim fails only where every fact behind it has one value.
    """
    seen: dict[tuple[str, Fraction], Derivation] = {}
    for derivation in derivations:
        seen.setdefault((derivation.reading, derivation.value), derivation)
        if len(seen) >= MOST_READINGS:
            break
    return list(seen.values())
