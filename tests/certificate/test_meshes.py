"""Mesh pairs counted by formula against every one of them, asked one by one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product
from math import lcm
from random import Random

import pytest

from optimizer import read_problem
from optimizer.certificate.meshes import lattice
from optimizer.domain.engines import ENGINES
from optimizer.domain.lattice import Axes, axes
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.skew import placeable
from tests.small_problems import small_problem


def family_of(problem: Problem, shape: Shape) -> str | None:
    """What excludes a mesh pair, asked of it alone."""
    if shape.stage_devices > problem.devices:
        return "devices"
    for block in problem.model.blocks.values():
        moe = block.moe
        if moe is not None and shape.ep > moe.experts + shape.redundant:
            return "divisibility"
        if moe is not None and not shape.shared_replicated and moe.shared_intermediate % shape.tp:
            return "divisibility"
    if not placeable(problem, shape):
        return "placement"
    return None if problem.engine.accepts(problem, shape) else "engine"


def assert_counted(problem: Problem, own: Axes) -> int:
    """The count, which is that of all mesh pairs."""
    found, excluded = lattice(problem, own), Counter[str]()
    over: dict[tuple[int, int], list[tuple[int, int, int, bool]]] = {}
    for tp, cp, redundant, etp, ep, overlap in product(own.tp, own.cp, own.redundant, own.etp, own.ep, own.overlap):
        shape = Shape(tp, cp, etp, ep, 1, redundant, overlap)
        family = family_of(problem, shape)
        # a mesh pair beyond the devices is one, split or not; one that spreads no experts has no split step
        counted = overlap == own.overlap[0] if family == "devices" else not overlap or shape.spread
        if counted and family is not None:
            excluded[family] += 1
        elif counted:
            over.setdefault((tp, cp), []).append((redundant, etp, ep, overlap))
        assert found.has(replace(shape, pp=2)) == (counted and family is None), shape
    assert found.count == sum(map(len, over.values()))
    assert found.excluded == dict(excluded)
    assert found.divided == {tp for tp, cp in over if cp > 1}
    for (tp, cp), meshes in over.items():
        assert found.expert_meshes(tp, cp) == meshes
    return found.count


@pytest.mark.parametrize("first", range(0, 120, 30))
def test_as_many_as_there_are_of_small_problems(first: int) -> None:
    for seed in range(first, first + 30):
        rng, problem = Random(seed), small_problem(seed)  # noqa: S311 - test data
        search = problem.search.model_copy(update={"cp": rng.choice([None, None, (1,), (2, 3), (1, 2, 4, 6, 8)])})
        devices, engine = rng.choice([1, 2, 5, 12, 30, 61]), rng.choice([*ENGINES, "any"])
        asked = problem.model_copy(update={"search": search, "devices": devices, "engine_name": engine})
        assert_counted(asked, axes(asked))


@pytest.mark.parametrize("engine", [*ENGINES, "any"])
@pytest.mark.parametrize("model", ["deepseek-v3", "qwen3-30b-a3b", "llama-3.1-8b"])
def test_as_many_as_there_are_of_models_of_the_catalog(model: str, engine: str) -> None:
    problem = read_problem(model=model, hardware="h100-sxm-8", devices=72, isl=100, osl=10, engine=engine)
    own = axes(problem)
    some = replace(own, etp=own.etp[:3], ep=tuple(ep for ep in own.ep if ep < 13 or ep % 16 == 0))
    assert assert_counted(problem, some) > 0


def test_each_cp_up_to_many_devices_is_counted() -> None:
    problem = read_problem("deepseek-v3-decode-h800-131072")
    own = replace(axes(problem), tp=(8,), etp=(1,), ep=(48, 64, 255), overlap=(False,))
    found = lattice(problem, own)
    fits = [(cp, ep) for cp, ep in product(own.cp, own.ep) if lcm(8 * cp, ep) <= problem.devices]
    assert found.count == sum(problem.engine.accepts(problem, Shape(8, cp, 1, ep, 1)) for cp, ep in fits)
    assert found.excluded["devices"] == 3 * problem.devices - len(fits)
    assert found.count > 5000
