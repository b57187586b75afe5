"""Lemmas: what the replicas of one demand cost at least, whatever the others do; and the proof that uses them.

Demands meet only on the nodes, the budget and the power that they share. At the relaxation's prices of those, each
demand by itself is a small program in whole replicas, whose optimum is more than what the relaxation counts for it: a
row that a tree of its own proves. Without such rows a tree over all demands has as many leaves as all those trees'
product. This is Lagrangian decomposition (Geoffrion 1974), the bounds of its subproblems kept as rows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from optimizer.cluster.derive import MOST_STEPS, Derivation, derive, relaxed_at_root
from optimizer.cluster.integers import IntegerProgram
from optimizer.fleet.program import LEMMA, Lemma, Program, Row, lemma_name, with_lemmas

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
) -> Derivation:
    """Prove that nothing is better than a value, by lemmas of each demand and a tree over their rows.

    Parameters
    ----------
    value, tolerance
        As of `derive`.
    """
    enough = None if value is None else value - abs(value) * tolerance
    lemmas = lemmas_of(program, enough, tolerance, deadline, seed)
    found = derive(with_lemmas(program, lemmas), value, tolerance, deadline)
    return replace(found, lemmas=tuple(lemmas))


def lemmas_of(
    program: Program, enough: Fraction | None, tolerance: Fraction, deadline: float | None, seed: int
) -> list[Lemma]:
    """Rows that raise the bound of the relaxation, until it is enough or they raise it no more."""
    blocks = _blocks(program)
    found: list[Lemma] = []
    rows = dict(program.rows)
    for _ in range(MOST_ROUNDS):
        stronger = Program(program.variables, rows, program.objective, program.constant)
        multipliers, bound = relaxed_at_root(stronger)
        if bound is None or (enough is not None and bound >= enough):
            break
        before = len(found)
        for names in blocks:
            left = MOST_STEPS // 2 - sum(len(lemma.steps) for lemma in found)
            if left < 1 or (deadline is not None and time.monotonic() > deadline):
                return found
            gain = abs(bound) * _LEAST_GAIN
            most = min(left, _MOST_OF_ONE)
            lemma = _lemma(stronger, names, multipliers, gain, tolerance, most, deadline, seed)
            if lemma is not None:
                name = lemma_name(len(found))
                rows[name] = Row(name, LEMMA, lemma[0].terms, lemma[1])
                found.append(lemma[0])
        if len(found) == before:
            break
    return found


def _blocks(program: Program) -> list[frozenset[str]]:
    """What the rows of demands tie together: replicas of a demand in a period, and choices of rows on those alone."""
    found: list[frozenset[str]] = []
    counted = frozenset(name for row in program.rows.values() if row.family == "demands" for name in row.terms)
    for row in program.rows.values():
        names = frozenset(row.terms)
        others = [program.variables[name] for name in names - counted]
        if any(program.variables[name].continuous for name in names) or not all(own.choice for own in others):
            continue
        if row.family in _OF_A_DEMAND and names & counted:
            found = [block for block in found if not block & names] + [
                names.union(*(block for block in found if block & names))
            ]
    return found


def _lemma(
    program: Program, names: frozenset[str], multipliers: Mapping[str, Fraction], least_gain: Fraction,
    tolerance: Fraction, most: int, deadline: float | None, seed: int,
) -> tuple[Lemma, Fraction] | None:  # fmt: skip
    """The least that replicas of a block cost at the prices of the other rows; None where it is no gain."""
    own = {name: row for name, row in program.rows.items() if row.terms.keys() <= names}
    prices = {name: program.objective.get(name, Fraction(0)) for name in names}
    for name, factor in multipliers.items():
        for variable, each in program.rows[name].terms.items() if name not in own else ():
            if variable in prices:
                prices[variable] -= factor * each
    terms = {name: _short(prices[name]) for name in program.variables if prices.get(name)}
    part = Program({name: program.variables[name] for name in program.variables if name in names}, own, terms)
    decided = IntegerProgram(part, seed).decide(_SECONDS, {})
    if decided.point is None:
        return None
    aim = part.value(decided.point)
    found = derive(part, aim, tolerance / 10, deadline, most=most)
    counted = part.proved({name: f for name, f in multipliers.items() if name in own}, part.box, feasible=True)
    if found.bound is None or found.bound - counted <= least_gain:
        return None
    return Lemma(terms, found.steps), found.bound


def _short(price: Fraction) -> Fraction:
    """A price as it is where it is simple, else to `_DIGITS` digits."""
    if price.denominator < 10**_DIGITS:
        return price
    scale = Fraction(10) ** (_DIGITS - len(str(int(abs(price)))))
    return round(price * scale) / scale
