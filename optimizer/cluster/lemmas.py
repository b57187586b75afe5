"""Lemmas: what the replicas of one demand cost at least, whatever the others do; and the proof that uses them.

Demands meet only on the nodes, the budget and the power that they share. At the relaxation's prices of those, each
demand by itself is a small program in whole replicas, whose optimum is more than what the relaxation counts for it: a
row that a tree of its own proves. Without such rows a tree over all demands has as many leaves as all those trees'
product. This is Lagrangian decomposition (Geoffrion 1974), the bounds of its subproblems kept as rows.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from optimizer.cluster.derive import MOST_STEPS, DerivedBound, _Relaxation, _Relaxed, derive, relaxed_at_root
from optimizer.cluster.integers import IntegerProgram
from optimizer.fleet.program import LEMMA, Box, Lemma, Program, Row, Variable, lemma_name, with_lemmas

MOST_ROUNDS = 6
"""How often the relaxation's new prices are asked for more rows."""
_MOST_OF_ONE = 1_001
"""Steps of one lemma."""
_LEAST_GAIN = Fraction(1, 10**8)
"""Share of the objective that a lemma must add to what the relaxation counts."""
_DIGITS = 10
"""Digits of a price that is no simple number: what they leave out is below the tolerance of a proof."""
_OF_A_DEMAND = frozenset({"demands", "survival"})
"""Families whose rows are of one demand each."""
_SECONDS = 2.0
"""How long CP-SAT may take to say what a lemma is to prove."""


def prove(
    program: Program, value: Fraction | None, tolerance: Fraction, deadline: float | None, seed: int
) -> DerivedBound:
    """Prove that nothing is better than a value, by lemmas of each demand and a tree over their rows.

    Parameters
    ----------
    value, tolerance
        As of `derive`.
    """
    enough = None if value is None else value - abs(value) * tolerance
    lemmas, box = lemmas_of(program, enough, tolerance, deadline, seed)
    derived = derive(with_lemmas(program, lemmas), value, tolerance, deadline, first=box)
    return replace(derived, lemmas=tuple(lemmas))


def lemmas_of(
    program: Program, enough: Fraction | None, tolerance: Fraction, deadline: float | None, seed: int
) -> tuple[list[Lemma], dict[str, Box]]:
    """Rows that raise the bound of the relaxation, until it is enough or they raise it no more.

    And choices without which it would be enough: the rest is proved in that box.
    """
    rows = _Rows(program, tolerance, deadline, seed)
    rows.first()
    box: dict[str, Box] = {}
    for _ in range(MOST_ROUNDS):
        if rows.spent:
            break
        relaxation = _Relaxation(rows.program)
        relaxed = relaxation.solve(program.box | box)
        if relaxed.bound is None or (enough is not None and relaxed.bound >= enough):
            break
        if enough is not None:
            box = _probed(relaxation, rows.chains, box, float(enough))
            relaxed = relaxation.solve(program.box | box)
            if relaxed.bound is None or relaxed.bound >= enough:
                break
        if not rows.added(relaxed, box):
            break
    return rows.lemmas, box


def _probed(
    relaxation: _Relaxation, chains: Sequence[Sequence[str]], box: Mapping[str, Box], enough: float
) -> dict[str, Box]:
    """A box with the choices fixed that every point below a bound makes: of each chain the last 1 and the first 0.

    Each choice of a chain implies those before it, so that both are found by halving.
    """
    fixed = dict(box)
    whole = relaxation.program.box

    def closed(name: str, value: int) -> bool:
        return relaxation.value(whole | fixed | {name: (Fraction(value), Fraction(value))}) >= enough

    for chain in chains:
        ones = bisect_left(chain, 1, key=lambda name: 1 - closed(name, 0))
        if ones:
            fixed[chain[ones - 1]] = (Fraction(1), Fraction(1))
        zeros = ones + bisect_left(chain[ones:], 1, key=lambda name: closed(name, 1))
        if zeros < len(chain):
            fixed[chain[zeros]] = (Fraction(0), Fraction(0))
    return fixed


class _Rows:
    """The rows of a program and of the lemmas that are proved."""

    def __init__(self, program: Program, tolerance: Fraction, deadline: float | None, seed: int) -> None:
        self.blocks = _blocks(program)
        shared = [
            row
            for row in program.rows.values()
            if row.family in _OF_A_DEMAND and not any(row.terms.keys() <= block for block in self.blocks)
        ]
        # the prices of rows between demands are worth asking for once each demand by itself has been
        self.later = {row.name: row for row in shared}
        self.program = replace(program, rows={n: row for n, row in program.rows.items() if n not in self.later})
        self.tolerance, self.deadline, self.seed = tolerance, deadline, seed
        self.chains = _chains(program)
        self.lemmas: list[Lemma] = []
        self.asked: set[tuple[object, ...]] = set()

    @property
    def left(self) -> int:
        """Steps that lemmas may still take."""
        return MOST_STEPS - sum(len(lemma.steps) for lemma in self.lemmas)

    @property
    def spent(self) -> bool:
        """Whether no steps are left, or no time."""
        return self.left < 1 or (self.deadline is not None and time.monotonic() > self.deadline)

    def first(self) -> None:
        """Lemmas at the prices of what demands share alone; then their other rows are asked for too."""
        relaxed = _Relaxation(self.program).solve(self.program.box)
        if self.later and relaxed.bound is not None:
            self.added(relaxed, {})
        self.program.rows |= self.later

    def added(self, relaxed: _Relaxed, box: Mapping[str, Box]) -> bool:
        """Whether some block has a row that a box's relaxation does not keep."""
        before = len(self.lemmas)
        for names in self.blocks:
            if self.spent:
                break
            gain = abs(relaxed.bound or Fraction(0)) * _LEAST_GAIN
            lemma = self._lemma(names, relaxed.step.multipliers, gain, box)
            if lemma is not None:
                name = lemma_name(len(self.lemmas))
                self.program.rows[name] = Row(name, LEMMA, lemma[0].terms, lemma[1])
                self.lemmas.append(lemma[0])
        return len(self.lemmas) > before

    def _lemma(
        self, names: frozenset[str], multipliers: Mapping[str, Fraction], least_gain: Fraction, box: Mapping[str, Box]
    ) -> tuple[Lemma, Fraction] | None:
        """The least that replicas of a block cost in a box at the prices of the other rows; None where it is no gain.

        Outside the box the row is lifted by what choices are fixed there.
        """
        program = self.program
        rows = {name: row for name, row in program.rows.items() if row.terms.keys() <= names}
        prices = {name: program.objective.get(name, Fraction(0)) for name in names}
        for name, factor in multipliers.items():
            for variable, coefficient in program.rows[name].terms.items() if name not in rows else ():
                if variable in prices:
                    prices[variable] -= factor * coefficient
        terms = {name: _short(prices[name]) for name in program.variables if prices.get(name)}
        fixed = {name: bounds for name, bounds in box.items() if name in names}
        key = (names, tuple(terms.items()), tuple(fixed.items()))
        if key in self.asked:
            return None
        self.asked.add(key)
        variables = {name: program.variables[name] for name in program.variables if name in names}
        part = Program(variables, rows, terms)
        inside = Program(
            variables | {n: replace(variables[n], lower=a, upper=b) for n, (a, b) in fixed.items()}, rows, terms
        )
        decided = IntegerProgram(inside, self.seed).decide(_SECONDS, {})
        if decided.point is None:
            return None
        aim = inside.value(decided.point)
        counted = part.proved({n: f for n, f in multipliers.items() if n in rows}, inside.box, feasible=True)
        if aim - counted <= least_gain:
            return None
        for name, (low, _) in fixed.items():
            _, without = relaxed_at_root(replace(part, variables=variables | {name: _other(variables[name], low)}))
            lift = Fraction(0) if without is None else max(aim - without, Fraction(0))
            terms[name] = terms.get(name, Fraction(0)) + (lift if not low else -lift)
            aim -= lift if low else 0
        part = Program(variables, rows, terms)
        tolerance = self.tolerance / 10
        chains = [chain for chain in self.chains if chain[0] in names]
        first = _probed(_Relaxation(part), chains, {}, float(aim - abs(aim) * tolerance))
        derived = derive(part, aim, tolerance, self.deadline, most=min(self.left, _MOST_OF_ONE), first=first)
        if derived.bound is None or derived.bound - counted <= least_gain:
            return None
        return Lemma(terms, derived.steps), derived.bound


def _blocks(program: Program) -> list[frozenset[str]]:
    """What the rows of demands tie together: replicas of a demand in a period, and choices of rows on those alone."""
    blocks: list[frozenset[str]] = []
    counted = frozenset(name for row in program.rows.values() if row.family == "demands" for name in row.terms)
    for row in program.rows.values():
        names = frozenset(row.terms)
        others = [program.variables[name] for name in names - counted]
        if any(program.variables[name].continuous for name in names) or not all(variable.choice for variable in others):
            continue
        if row.family in _OF_A_DEMAND and names & counted:
            blocks = [block for block in blocks if not block & names] + [
                names.union(*(block for block in blocks if block & names))
            ]
    return blocks


def _chains(program: Program) -> list[list[str]]:
    """Choices of which each implies the one before it, by rows that say so."""
    after: dict[str, str] = {}
    for row in program.rows.values():
        implied = row.least == 0 and sorted(row.terms.values()) == [-1, 1]
        if implied and all(program.variables[name].choice for name in row.terms):
            first, second = sorted(row.terms, key=lambda name: -row.terms[name])
            after[first] = second
    chains = []
    for name, variable in program.variables.items():
        if variable.choice and name not in after.values():
            chain = [name]
            while chain[-1] in after:
                chain.append(after[chain[-1]])
            chains.append(chain)
    return chains


def _other(choice: Variable, value: Fraction) -> Variable:
    """A choice that is fixed to what it is not elsewhere."""
    return replace(choice, lower=1 - value, upper=1 - value)


def _short(price: Fraction) -> Fraction:
    """A price as it is where it is simple, else to `_DIGITS` digits."""
    if price.denominator < 10**_DIGITS:
        return price
    scale = Fraction(10) ** (_DIGITS - len(str(int(abs(price)))))
    return round(price * scale) / scale
