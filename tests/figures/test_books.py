"""What shapes have in common is computed once: a book of many shapes says of each what a book of that one says."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import product
from random import Random

import pytest

from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import CostBook, Costs, build_costs
from optimizer.figures.layer import Step
from optimizer.figures.memory import MemoryBook, build_memory
from optimizer.figures.rates import effective_rates
from tests.small_problems import small_problem

ALIKE = {"admitted"}
"""Fields that are functions, compared by what they return."""
STEPS = (Step(0, 0, 300, 1), Step(1, 1, 0, 0), Step(7, 7, 0, 0), Step(7, 14, 65, 2), Step(300, 300, 4096, 1))


def shuffled(seed: int) -> tuple[Problem, list[Shape]]:
    """A small problem and some shapes, in any order, whether its devices hold them or not."""
    problem = small_problem(seed)
    experts = min((moe.experts for moe in problem.model.moe_blocks), default=1)
    own = ([1, 2], [e for e in (1, 2, 4) if e <= experts], [0, 1]) if problem.model.moe else ([1], [1], [0])
    found = [Shape(*degrees) for degrees in product((1, 2, 4), (1, 2, 4), own[0], own[1], (1, 2, 5), own[2])]
    found += [replace(shape, overlap=True) for shape in found if shape.spread and problem.model.moe]
    return problem, Random(seed).sample(found, min(len(found), 80))  # noqa: S311 - test data


@pytest.mark.parametrize("seed", range(24))
def test_costs(seed: int) -> None:
    problem, found = shuffled(seed)
    book, rates = CostBook(problem, effective_rates(problem.priced_hardware)), effective_rates(problem.priced_hardware)
    for shape in found:
        assert book.costs(shape) == build_costs(problem, shape, rates), shape


@pytest.mark.parametrize("seed", range(24))
def test_memory(seed: int) -> None:
    problem, found = shuffled(seed)
    book = MemoryBook(problem)
    for shape in found:
        own, alone = book.memory(shape), build_memory(problem, shape)
        for field in fields(own):
            if field.name not in ALIKE:
                assert getattr(own, field.name) == getattr(alone, field.name), (shape, field.name)
        assert [own.admitted(tokens) for tokens in (1, 700)] == [alone.admitted(tokens) for tokens in (1, 700)]


def sums(costs: Costs, step: Step) -> list[int]:
    """Ticks of a step in each layer kind, and in the whole stack."""
    return [*(kind.ticks(step) for kind in costs.kinds), costs.stack(step)]


@pytest.mark.parametrize("seed", range(0, 60, 2))
def test_the_least_costs_are_no_more_than_at_any_depth(seed: int) -> None:
    problem, found = shuffled(seed)
    rates, depths = effective_rates(problem.priced_hardware), range(1, problem.devices + 1)
    book = CostBook(problem, rates)
    for shape in [shape for shape in found if shape.pp == 1][:10]:
        deep = [pp for pp in depths if shape.stage_devices * pp <= problem.devices] or [1]
        least = book.least(shape, deep)
        each = [build_costs(problem, replace(shape, pp=pp), rates) for pp in deep]
        for step in STEPS:
            bound = sums(least, step)[:-1]
            for costs in each:
                assert all(low <= own for low, own in zip(bound, sums(costs, step), strict=False)), (shape, step)
            if len(deep) == 1:
                assert bound == sums(each[0], step)[:-1]
