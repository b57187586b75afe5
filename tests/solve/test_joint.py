"""Degrees and expert placement in one optimum, against every layout with the best of all placements."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from optimizer.certificate import certify
from optimizer.domain.limits import SearchLimits as Search_
from optimizer.domain.problem import Problem
from optimizer.figures.placement import PLACEMENT_TOLERANCE, aggregate, max_over_mean
from optimizer.figures.skew import load_weights
from optimizer.placement import PlacementResult
from optimizer.search.search import Search
from optimizer.solve import joint, solve
from tests.certificate.documents import written
from tests.small_problems import value
from tests.solve.joint_problems import joint_problem, placed_layouts

SEEDS = [seed for seed in range(400) if joint_problem(seed) is not None]
BLOCKS = [SEEDS[first : first + 6] for first in range(0, len(SEEDS), 6)]


def problems(seeds: list[int]) -> list[tuple[int, Problem]]:
    found = [(seed, joint_problem(seed)) for seed in seeds]
    return [(seed, problem) for seed, problem in found if problem is not None]


def optimum_of(problem: Problem) -> Fraction | None:
    values = [value(problem, one.evaluation, problem.objective) for one in placed_layouts(problem)]
    if not values:
        return None
    return max(values) if problem.objective_row.maximised else min(values)


def no_better(problem: Problem, one: Fraction, other: Fraction) -> bool:
    return one <= other if problem.objective_row.maximised else one >= other


def test_there_are_enough_and_of_every_kind() -> None:
    own = [problem for _, problem in problems(SEEDS)]
    assert len(own) >= 20
    assert any(len(p.expert_loads) == 2 for p in own)
    assert any(p.experts is not None and p.experts.redundant_slots == (0, 1) for p in own)


@pytest.mark.parametrize("seeds", BLOCKS, ids=str)
def test_joint_solve_equals_all_placements_of_all_layouts(seeds: list[int]) -> None:
    for seed, problem in problems(seeds):
        optimum, result = optimum_of(problem), solve(problem)
        assert (result.status == "infeasible") == (optimum is None), f"seed {seed}"
        if optimum is not None and result.best is not None and result.bound is not None:
            says = f"seed {seed}, {problem.objective}: {result.best.value}, best {optimum}, bound {result.bound}"
            assert no_better(problem, result.best.value, optimum), says
            assert no_better(problem, optimum, result.bound), says
            gap = abs(result.bound - result.best.value) / result.best.value if result.best.value else Fraction(0)
            assert (result.status == "optimal") == (gap <= PLACEMENT_TOLERANCE), says
        check = certify(written(result))
        assert check.accepted, f"seed {seed}: {check.item}: {check.reason}"


@pytest.mark.parametrize("wanted", [2, 4])
def test_several_layouts_with_placements_are_accepted(wanted: int) -> None:
    for seed, problem in problems(SEEDS[:12]):
        result = solve(problem, top=wanted)
        check = certify(written(result))
        assert check.accepted, f"seed {seed}: {check.item}: {check.reason}"


def poor(problem: Problem, mesh: tuple[int, int], time_limit_s: float | None = None) -> PlacementResult:
    """A placement whose bound is as weak as can be: the average."""
    found = PLACE(problem, mesh, time_limit_s)
    layers = [
        replace(
            layer, bound=Fraction(1),
            witness={"kind": "average"} if len(problem.expert_loads) == 1
            else {"kind": "scenario", "bounds": [{"kind": "average"}] * len(problem.expert_loads)},
        )
        for layer in found.layers
    ]  # fmt: skip
    return replace(found, layers=tuple(layers))


PLACE = joint.place_on


def test_an_unproved_placement_leaves_a_feasible_layout_with_its_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "place_on", poor)
    gaps = 0
    asked = [
        (seed, drawn.model_copy(update={"objective": name}))
        for seed, drawn in problems(SEEDS)
        for name in ("throughput", "memory_headroom", "tpot" if drawn.workload.phase != "prefill" else "ttft")
    ]
    for seed, problem in asked:
        result = solve(problem)
        check = certify(written(result))
        assert check.accepted, f"seed {seed}: {check.item}: {check.reason}"
        if result.status == "feasible" and result.best is not None and result.bound is not None:
            gaps += 1
            document = written(result)
            assert document["objective"]["gap"] > float(PLACEMENT_TOLERANCE)
            optimum = optimum_of(problem)
            assert optimum is not None
            assert no_better(problem, result.best.value, optimum)
            assert no_better(problem, optimum, result.bound)
    assert gaps >= 2


@pytest.mark.parametrize("limit", [0.0, 0.02])
def test_a_time_limit_leaves_a_placed_layout_with_a_true_bound(limit: float) -> None:
    found = 0
    for seed, problem in problems(SEEDS[:14]):
        result = solve(problem, time_limit_s=limit)
        if result.status == "unknown":
            continue
        check = certify(written(result))
        assert check.accepted, f"seed {seed}: {check.item}: {check.reason}"
        optimum = optimum_of(problem)
        if result.best is None:
            assert optimum is None
            continue
        assert optimum is not None
        if result.bound is None:  # the time was over before anything was bounded
            assert result.status == "feasible"
            continue
        found += 1
        assert no_better(problem, result.best.value, optimum)
        assert no_better(problem, optimum, result.bound), f"seed {seed}: {result.bound} against {optimum}"
    assert found >= 4


@pytest.mark.parametrize("stops", [1, 2, 3])
def test_an_interrupt_at_any_point_leaves_a_true_answer(monkeypatch: pytest.MonkeyPatch, stops: int) -> None:
    """The interrupt comes during the n-th of master and placement calls."""
    seed, problem = next(
        (s, p) for s, p in problems(SEEDS) if p.objective != "memory_headroom" and optimum_of(p) is not None
    )
    run, calls = Search.run, [0]

    def interrupted() -> None:
        calls[0] += 1
        if calls[0] == stops:
            raise KeyboardInterrupt

    def search_run(self: Search):
        interrupted()
        return run(self)

    def placing(problem: Problem, mesh: tuple[int, int], time_limit_s: float | None = None) -> PlacementResult:
        interrupted()
        return PLACE(problem, mesh, time_limit_s)

    monkeypatch.setattr(Search, "run", search_run)
    monkeypatch.setattr(joint, "place_on", placing)
    result = solve(problem)
    monkeypatch.undo()
    assert calls[0] >= stops
    assert result.status in ("optimal", "feasible"), f"seed {seed}"
    check = certify(written(result))
    assert check.accepted, f"{check.item}: {check.reason}"


def test_the_same_seed_gives_the_same_placement() -> None:
    for _, problem in problems(SEEDS[:5]):
        first, second = written(solve(problem)), written(solve(problem))
        for document in (first, second):
            document["search"]["wall_s"] = 0
        assert first == second


def bad(problem: Problem, mesh: tuple[int, int], time_limit_s: float | None = None) -> PlacementResult:
    """A placement that puts the heaviest experts together; its bounds stay true."""
    found = PLACE(problem, mesh, time_limit_s)
    own = problem.experts
    if mesh[1] or own is None:
        return found
    layers = []
    for number, layer in enumerate(found.layers):
        rows = [load.rows[number] for load in problem.expert_loads]
        order = sorted(range(len(rows[0])), key=lambda expert, rows=rows: -sum(row[expert] for row in rows))
        size = len(order) // mesh[0]
        devices = tuple(tuple(sorted(order[at : at + size])) for at in range(0, len(order), size))
        values = tuple(max_over_mean(row, devices) for row in rows)
        value = aggregate(values, load_weights(problem), own.robust)
        layers.append(replace(layer, devices=devices, max_over_mean=value, workloads=values))
    return replace(found, layers=tuple(layers))


@pytest.mark.parametrize("limit", [None, 0.0])
def test_bad_placements_send_the_master_to_other_meshes(monkeypatch: pytest.MonkeyPatch, limit: float | None) -> None:
    """Late, what is placed is taken though a mesh that is not placed promises more."""
    rounds: list[int] = []
    run = joint.place_on

    def counted(problem: Problem, mesh: tuple[int, int], time_limit_s: float | None = None) -> PlacementResult:
        rounds[-1] += 1
        return bad(problem, mesh, time_limit_s)

    assert run is PLACE
    monkeypatch.setattr(joint, "place_on", counted)
    asked = [
        drawn.model_copy(update={"objective": name, "search": Search_(ep=None)})
        for _, drawn in problems(SEEDS)
        for name in ("throughput", "tpot" if drawn.workload.phase != "prefill" else "ttft")
    ]
    promised = 0
    for problem in asked:
        rounds.append(0)
        result = solve(problem, time_limit_s=limit, top=2)
        if result.status == "unknown":
            continue
        check = certify(written(result))
        assert check.accepted, f"{check.item}: {check.reason}"
        promised += result.status == "feasible"
    assert max(rounds) == 1 if limit == 0.0 else max(rounds) > 1
    assert promised >= (2 if limit == 0.0 else 0)
