"""The frontier against every layout of random small problems."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from random import Random

import pytest

from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.figures.partition import Track, largest_sum
from optimizer.figures.serving import Evaluation, evaluate
from optimizer.search.cut_front import cut_front
from optimizer.search.frontier import frontier
from optimizer.verify.constraints import violations
from tests.small_problems import MAXIMISED, OBJECTIVES, blocks, cuts, layouts, small_problem, value

Vector = tuple[Fraction, ...]


def asked_of(problem: Problem, rng: Random) -> tuple[str, ...]:
    unfit = {"context", {"decode": "ttft", "prefill": "tpot"}.get(problem.workload.phase)}
    return tuple(rng.sample([name for name in OBJECTIVES if name not in unfit], rng.choice([2, 2, 3])))


def smaller_is_better(problem: Problem, found: Evaluation, objectives: Sequence[str]) -> Vector:
    return tuple(value(problem, found, n) * (-1 if n in MAXIMISED else 1) for n in objectives)


def non_dominated(vectors: set[Vector]) -> set[Vector]:
    kept: set[Vector] = set()
    for vector in sorted(vectors):
        if not any(all(a <= b for a, b in zip(other, vector, strict=True)) for other in kept):
            kept.add(vector)
    return kept


def compare(seed: int) -> None:
    problem = small_problem(seed)
    objectives = asked_of(problem, Random(seed))  # noqa: S311 - test data
    wanted = non_dominated(
        {smaller_is_better(problem, one.evaluation, objectives) for one in layouts(problem, full=True)}
    )
    found = frontier(problem, objectives)
    vectors = []
    for point in found:
        own = evaluate(problem, point.layout, full=True)
        assert violations(problem, point.layout, own, waits=False) == ()
        assert tuple(value(problem, own, n) for n in objectives) == point.values
        vectors.append(smaller_is_better(problem, own, objectives))
    assert vectors == sorted(wanted), f"seed {seed}, {objectives}"


@pytest.mark.parametrize("first", blocks(0, 2000, 40, quick=40))
def test_the_frontier_is_all_that_nothing_dominates(first: int) -> None:
    for seed in range(first, first + 40):
        compare(seed)


def test_the_frontier_is_deterministic() -> None:
    seeds = [seed for seed in range(40) if frontier(small_problem(seed), ("throughput_per_device", "memory_headroom"))]
    for seed in seeds[:5]:
        first, second = (frontier(small_problem(seed), ("throughput_per_device", "memory_headroom")) for _ in range(2))
        assert [(p.values, p.layout) for p in first] == [(p.values, p.layout) for p in second]


def test_no_layout_makes_an_empty_frontier() -> None:
    problem = next(p for seed in itertools.count() if (p := small_problem(seed)).model.layer_count > 1)
    deep = problem.model_copy(update={"devices": 1, "search": problem.search.model_copy(update={"pp": (2,)})})
    assert frontier(deep, ("throughput_per_device", "memory_headroom")) == ()


@pytest.mark.parametrize(
    ("phase", "objectives", "message"),
    [
        ("aggregated", ("tpot",), "two or three distinct objectives"),
        ("aggregated", ("tpot", "tpot"), "two or three distinct objectives"),
        ("aggregated", ("tpot", "speed"), "unknown objective 'speed'"),
        ("decode", ("tpot", "ttft"), "no meaning in phase 'decode'"),
        ("prefill", ("tpot", "ttft"), "no meaning in phase 'prefill'"),
    ],
)
def test_objectives_that_make_no_frontier_are_refused(phase: str, objectives: tuple[str, ...], message: str) -> None:
    problem = next(p for seed in itertools.count() if (p := small_problem(seed)).workload.phase == phase)
    with pytest.raises(SpecError, match=message):
        frontier(problem, objectives)


@pytest.mark.parametrize("seed", range(60))
def test_cut_fronts_equal_enumeration(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - test data
    layers, wanted = rng.randint(1, 7), rng.randint(1, 3)
    stages = rng.randint(1, layers)

    def track() -> Track:
        prefix = [0, *itertools.accumulate(rng.randint(0, 9) for _ in range(layers))]
        limit = rng.choice([None, rng.randint(5, 30)])
        return Track(prefix, rng.randint(0, 5), rng.randint(0, 5), rng.randint(0, 3), limit)

    tracks = [track() for _ in range(3)]
    every = list(cuts(layers, stages))
    kept = [c for c in every if all(t.limit is None or largest_sum(t, c) <= t.limit for t in tracks)]
    vectors = {tuple(Fraction(largest_sum(t, c)) for t in tracks[:wanted]) for c in kept}
    found = cut_front(tracks, wanted, stages)
    assert [v for v, _ in found] == sorted(tuple(map(int, v)) for v in non_dominated(vectors))
    assert all(c in kept and tuple(largest_sum(t, c) for t in tracks[:wanted]) == v for v, c in found)
