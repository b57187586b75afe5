"""What a derivation may not be: every leaf must be reached once, over integers, or nothing is proved."""

from __future__ import annotations

from fractions import Fraction

import pytest

from optimizer.fleet.program import DerivationError, DerivationStep, Program, derived_bound


def asked() -> Program:
    """Least x + y with 2x + 3y ≥ 7 and z ≤ 1: 3, at x = 2 and y = 1, where the relaxation says 7/3."""
    program = Program()
    program.count("x", 5)
    program.count("y", 5)
    program.amount("z", Fraction(1))
    program.at_least("served", "demands", [("x", Fraction(2)), ("y", Fraction(3))], 7)
    program.objective.update({"x": Fraction(1), "y": Fraction(1)})
    return program


LEAF = DerivationStep(multipliers={"served": Fraction(1, 3)})
"""Σ ≥ 7/3 of the row, 1/3 of x left over: rounded up to whole devices, 3."""


def test_a_row_is_rounded_up_to_what_the_objective_can_be() -> None:
    assert derived_bound(asked(), [LEAF]) == 3


def test_a_split_proves_the_least_of_its_halves() -> None:
    steps = [DerivationStep(variable="y", split=1, low=1, high=2), LEAF, LEAF]
    assert derived_bound(asked(), steps) == 3


@pytest.mark.parametrize(("steps", "said"), [
    ([], "step 0 is missing"),
    ([DerivationStep(variable="y", split=1, low=1, high=2), LEAF], "step 2 is missing"),
    ([DerivationStep(variable="y", split=1, low=1, high=-1), LEAF], "step -1 is missing"),
    ([DerivationStep(variable="y", split=1, low=1, high=1), LEAF], "step 1 is missing, or reached twice"),
    ([DerivationStep(variable="y", split=1, low=0, high=1), LEAF], "step 0 is missing, or reached twice"),
    ([DerivationStep(variable="z", split=0, low=1, high=2), LEAF, LEAF], "splits z, which is no integer variable"),
    ([DerivationStep(variable="w", split=0, low=1, high=2), LEAF, LEAF], "splits w, which is no integer variable"),
    ([DerivationStep(multipliers={"other": Fraction(1)})], "step 0: "),
    ([DerivationStep(multipliers={"served": Fraction(-1)})], "step 0: "),
    ([DerivationStep(multipliers={"served": Fraction(1, 3)}, empty=True)], "step 0"),
])  # fmt: skip
def test_no_other_derivation_proves_anything(steps: list[DerivationStep], said: str) -> None:
    with pytest.raises(DerivationError, match=said):
        derived_bound(asked(), steps)
