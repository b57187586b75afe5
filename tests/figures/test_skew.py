"""Balance of measured loads where nothing is placed: bounds by hand, and what the layers of a kind have in common."""

from __future__ import annotations

from fractions import Fraction

import pytest

from optimizer import read_problem
from optimizer.domain.problem import ExpertLoads, ExpertsSpec, Problem
from optimizer.domain.shape import Shape
from optimizer.figures.skew import Skews


def loaded(*rows: tuple[int, ...], slots: int = 0, robust: str = "worst") -> Problem:
    """Qwen3-30B-A3B of 48 layers, each row in turn."""
    problem = read_problem(model="qwen3-30b-a3b", hardware="h100-sxm-8", devices=8, isl=100, osl=10)
    whole = tuple(rows[layer % len(rows)] for layer in range(48))
    return problem.changed(
        expert_loads=(ExpertLoads(name="day", rows=whole),),
        experts=ExpertsSpec.model_validate({"redundant_slots": [slots], "robust": robust}),
    )


def one_hot(load: int) -> tuple[int, ...]:
    """One expert of 128 takes `load` tokens, each other one."""
    return (load, *(1,) * 127)


def test_no_device_has_less_than_the_hottest_expert() -> None:
    # 129 of 256 tokens on one of 8 devices are 4.03 times the mean; half of them, on two slots, half
    (alone, *_) = Skews(loaded(one_hot(129))).of(Shape(1, 8, 1, 8, 1)) or ()
    assert alone == Fraction(129 * 8, 256)
    (copied, *_) = Skews(loaded(one_hot(129), slots=8)).of(Shape(1, 8, 1, 8, 1, 8)) or ()
    assert Fraction(129 * 8, 256) / 9 <= copied <= Fraction(129 * 8, 256) / 2
    assert Skews(loaded((1,) * 128)).of(Shape(1, 8, 1, 8, 1)) == (Fraction(1),) * 48


def test_a_kind_is_at_the_mean_of_its_layers_and_no_other() -> None:
    skews, shape = Skews(loaded((1,) * 128, one_hot(129), one_hot(128))), Shape(1, 8, 1, 8, 1)
    each, mean = skews.of(shape), skews.mean(shape)
    assert each is not None
    assert mean is not None
    assert len(set(each)) == 3
    assert len(set(mean)) == 1
    assert 0 <= sum(each) / 48 - mean[0] < Fraction(1, 10**9)


@pytest.mark.parametrize(("robust", "expected"), [("worst", 4), ("mean", Fraction(5, 2))])
def test_of_two_loads_the_worst_or_the_mean(robust: str, expected: Fraction) -> None:
    problem = loaded((1,) * 128, robust=robust)
    hot = tuple(256 if expert == 0 else 256 if expert == 1 else 0 for expert in range(128))
    loads = (problem.expert_loads[0], ExpertLoads(name="night", rows=(hot,) * 48))
    # two experts share all tokens: each has half, four times the mean of 8 devices
    assert (Skews(problem.changed(expert_loads=loads)).of(Shape(1, 8, 1, 8, 1)) or ())[0] == expected


def test_layers_without_experts_are_balanced() -> None:
    problem = read_problem(model="deepseek-v3", hardware="h800-sxm-8", devices=32, isl=100, osl=10)
    row = (257, *(1,) * 255)
    loads = (ExpertLoads(name="day", rows=(row,) * 58),)
    skews = Skews(problem.changed(expert_loads=loads, experts=ExpertsSpec.model_validate({"redundant_slots": [0]})))
    each, mean = skews.of(Shape(1, 32, 1, 32, 1)), skews.mean(Shape(1, 32, 1, 32, 1))
    assert each is not None
    assert mean is not None
    assert each[:3] == mean[:3] == (1, 1, 1)
    assert set(each[3:]) == {Fraction(257 * 32, 512)}
    assert all(0 <= own - low < Fraction(1, 10**9) for own, low in zip(each[3:], mean[3:], strict=True))
