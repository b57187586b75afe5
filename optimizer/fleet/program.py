"""An integer linear program in exact numbers, and what rational multipliers of its rows prove.

Every variable lies in a finite box and every row reads Σ a·x ≥ least. For multipliers y ≥ 0 and any objective c,
c·x ≥ y·least + Σ min over the box of (c − y·A)·x: true whatever y is, so that multipliers from floats prove as well as
they are good (Neumaier and Shcherbina 2004). With c = 0 a positive right side proves that nothing lies in the box.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import gcd, lcm

Terms = Mapping[str, Fraction]
Term = tuple[str, Fraction | int]
Box = tuple[Fraction, Fraction]
LEMMA = "lemma"
"""The family of rows that are proved, not stated."""


@dataclass(frozen=True)
class Variable:
    """A variable with its box; `continuous` ones take any value in it, a `choice` is split before counts are."""

    name: str
    lower: Fraction
    upper: Fraction
    continuous: bool = False
    choice: bool = False


@dataclass(frozen=True)
class Row:
    """Σ terms ≥ least, of one constraint family."""

    name: str
    family: str
    terms: Terms
    least: Fraction


@dataclass
class Program:
    """Variables, rows, and the objective that is minimised: Σ objective + constant."""

    variables: dict[str, Variable] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    objective: dict[str, Fraction] = field(default_factory=dict)
    constant: Fraction = Fraction(0)

    def count(self, name: str, upper: int, lower: int = 0) -> str:
        """Add an integer variable; its name."""
        self.variables[name] = Variable(name, Fraction(lower), Fraction(max(upper, lower)))
        return name

    def choice(self, name: str) -> str:
        """Add a literal that decides what rows say; its name."""
        self.variables[name] = Variable(name, Fraction(0), Fraction(1), choice=True)
        return name

    def amount(self, name: str, upper: Fraction) -> str:
        """Add a variable that takes any value from 0 to `upper`; its name."""
        self.variables[name] = Variable(name, Fraction(0), upper, continuous=True)
        return name

    def at_least(self, name: str, family: str, terms: Iterable[Term], least: Fraction | int) -> None:
        """Add the row Σ terms ≥ least; terms of one variable add up."""
        total: dict[str, Fraction] = {}
        for variable, factor in terms:
            total[variable] = total.get(variable, Fraction(0)) + factor
        factors = {variable: factor for variable, factor in total.items() if factor}
        self.rows[name] = Row(name, family, factors, Fraction(least))

    def at_most(self, name: str, family: str, terms: Iterable[Term], most: Fraction | int) -> None:
        """Add the row Σ terms ≤ most."""
        self.at_least(name, family, [(variable, -factor) for variable, factor in terms], -most)

    @property
    def box(self) -> dict[str, Box]:
        """The box of every variable."""
        return {v.name: (v.lower, v.upper) for v in self.variables.values()}

    def value(self, point: Mapping[str, Fraction]) -> Fraction:
        """The objective at a point."""
        return self.constant + sum((f * point[name] for name, f in self.objective.items()), Fraction(0))

    def broken(self, point: Mapping[str, Fraction]) -> list[Row]:
        """Rows that a point does not keep."""
        return [
            row
            for row in self.rows.values()
            if sum((f * point[name] for name, f in row.terms.items()), Fraction(0)) < row.least
        ]

    def grid(self) -> Fraction | None:
        """What every value of the objective, less its constant, is a multiple of; None where it is continuous."""
        if any(self.variables[name].continuous for name in self.objective) or not self.objective:
            return None
        scale = lcm(*(f.denominator for f in self.objective.values()))
        return Fraction(gcd(*(int(f * scale) for f in self.objective.values())), scale)

    def proved(self, multipliers: Mapping[str, Fraction], box: Mapping[str, Box], *, feasible: bool) -> Fraction:
        """What multipliers prove in a box: a bound of the objective, rounded up to its grid.

        Parameters
        ----------
        feasible
            False: with the objective left out. A positive bound then proves that nothing lies in the box.

        Raises
        ------
        ValueError
            A negative multiplier, or one of a row that there is not.
        """
        reduced = dict(self.objective) if feasible else {}
        total = Fraction(0)
        for name, factor in multipliers.items():
            if factor < 0 or name not in self.rows:
                raise ValueError(f"multiplier of {name}")
            row = self.rows[name]
            total += factor * row.least
            for variable, coefficient in row.terms.items():
                reduced[variable] = reduced.get(variable, Fraction(0)) - factor * coefficient
        for variable, coefficient in reduced.items():
            if coefficient:
                total += coefficient * box[variable][0 if coefficient > 0 else 1]
        if not feasible:
            return total
        step = self.grid()
        if step:
            total = -(-total // step) * step
        return total + self.constant


@dataclass(frozen=True)
class DerivationStep:
    """One node of a derivation: a split of an integer variable, or a leaf with multipliers.

    Attributes
    ----------
    variable, split
        Below: variable ≤ split in step `low`, variable ≥ split + 1 in step `high`.
    multipliers
        Of a leaf; with `empty`, they prove that nothing lies in its box.
    """

    variable: str | None = None
    split: int = 0
    low: int = 0
    high: int = 0
    multipliers: Mapping[str, Fraction] = field(default_factory=dict)
    empty: bool = False


@dataclass(frozen=True)
class Lemma:
    """A row that steps of its own prove: Σ terms is no less than the bound that they derive."""

    terms: Terms
    steps: Sequence[DerivationStep]


class DerivationError(ValueError):
    """A derivation that does not prove what it says."""


def derived_bound(program: Program, steps: Sequence[DerivationStep]) -> Fraction | None:
    """The bound that a derivation proves: the least over its leaves; None where every leaf is empty.

    Raises
    ------
    DerivationError
        Where the steps are no tree from step 0, split a continuous variable, or an empty leaf is not proved empty.
    """
    bounds: list[Fraction] = []
    seen: set[int] = set()
    stack: list[tuple[int, dict[str, Box]]] = [(0, {})]
    whole = program.box
    while stack:
        at, changed = stack.pop()
        if not 0 <= at < len(steps) or at in seen:
            raise DerivationError(f"step {at} is missing, or reached twice")
        seen.add(at)
        step = steps[at]
        if step.variable is not None:
            variable = program.variables.get(step.variable)
            if variable is None or variable.continuous:
                raise DerivationError(f"step {at} splits {step.variable}, which is no integer variable")
            low, high = changed.get(step.variable, whole[step.variable])
            stack.append((step.low, {**changed, step.variable: (low, min(high, Fraction(step.split)))}))
            stack.append((step.high, {**changed, step.variable: (max(low, Fraction(step.split + 1)), high)}))
            continue
        if any(low > high for low, high in changed.values()):
            continue
        try:
            bound = program.proved(step.multipliers, whole | changed, feasible=not step.empty)
        except ValueError as error:
            raise DerivationError(f"step {at}: {error}") from None
        if step.empty:
            if bound <= 0:
                raise DerivationError(f"step {at} does not prove that it is empty")
        else:
            bounds.append(bound)
    if len(seen) != len(steps):
        raise DerivationError("a step that none leads to")
    return min(bounds) if bounds else None


def with_lemmas(program: Program, lemmas: Sequence[Lemma]) -> Program:
    """The program with the rows of lemmas, each proved over the rows before it.

    Raises
    ------
    DerivationError
        Where the steps of one prove nothing, or its terms are of no variable.
    """
    stronger = replace(program, rows=dict(program.rows))
    for number, lemma in enumerate(lemmas):
        if not lemma.terms.keys() <= program.variables.keys():
            raise DerivationError(f"lemma {number} is of a variable that there is not")
        bound = derived_bound(lemma_program(stronger, lemma.terms), lemma.steps)
        if bound is None:
            raise DerivationError(f"lemma {number} is of nothing that keeps the rows")
        name = lemma_name(number)
        stronger.rows[name] = Row(name, LEMMA, dict(lemma.terms), bound)
    return stronger


def lemma_program(program: Program, terms: Terms) -> Program:
    """The program whose objective a lemma bounds."""
    return Program(program.variables, program.rows, dict(terms))


def lemma_name(number: int) -> str:
    """The name of a lemma's row."""
    return f"lemma[{number}]"
