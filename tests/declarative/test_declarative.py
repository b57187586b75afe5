"""The declarative model against the branch and bound, family by family."""

from __future__ import annotations

import importlib
from dataclasses import replace
from fractions import Fraction

import pytest

from optimizer.certificate import certify
from optimizer.cli.main import run
from optimizer.declarative import decide
from optimizer.declarative.families import FAMILIES
from optimizer.domain import limits
from optimizer.domain.engines import engine_named
from optimizer.domain.problem import Problem
from optimizer.errors import Exit, InternalError, SpecError
from optimizer.readers.read import read_problem
from optimizer.search.search import Search
from optimizer.solve.declared import solve_declared
from tests.small_problems import small_problem
from tests.test_brute_force import objectives_of

BLOCK = 29
SLOW_SEEDS = frozenset({3, 6, 36, 49, 60, 98})
"""Thousands of batches: seconds each; the slow test has them."""


def found_by_search(problem: Problem) -> Fraction | None:
    best = Search(problem).run().best
    return best[0].value if best else None


def found_by_program(problem: Problem) -> Fraction | None:
    found = decide(problem)
    assert found.complete
    return None if found.best is None else found.best[0]


@pytest.mark.parametrize("first", range(0, 4 * BLOCK, BLOCK))
def test_it_finds_the_optimum_of_the_branch_and_bound(first: int) -> None:
    feasible = 0
    for seed in range(first, first + BLOCK):
        problem = small_problem(seed)
        if seed not in SLOW_SEEDS:
            expected = found_by_search(problem)
            assert found_by_program(problem) == expected, f"seed {seed}, {problem.objective}"
            feasible += expected is not None
    assert BLOCK // 5 < feasible < BLOCK - 5


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 300, 20))
def test_it_finds_the_optimum_of_every_objective(first: int) -> None:
    too_large = 0
    for seed in range(first, first + 20):
        problem = small_problem(seed)
        for objective in objectives_of(problem):
            asked = problem.model_copy(update={"objective": objective})
            try:
                found = found_by_program(asked)
            except SpecError as error:
                assert "costs in the program" in str(error)
                too_large += objective == problem.objective
                continue
            assert found == found_by_search(asked), f"seed {seed}, {objective}"
    assert too_large <= 1


SHOWS = {
    "Mesh": range(60), "Devices": range(60), "Divisibility": range(60), "Placement": range(200), "Engine": range(60),
    "Search": range(60), "Pipeline": range(60), "Batch": range(60), "Memory": range(60), "Latency": range(60),
}  # fmt: skip
"""Problems among which one shows it."""


def copies_on_one_device(problem: Problem) -> Problem:
    """Redundant copies where a second device is not there to hold them: nothing but their placement is in the way."""
    assert problem.experts is not None
    copies = tuple(n for n in problem.experts.redundant_slots if n)
    search = limits.SearchLimits(prefill_chunk=problem.search.prefill_chunk)
    return problem.changed(
        devices=1, engine_name="vllm", objective="throughput", search=search,
        experts=problem.experts.model_copy(update={"redundant_slots": copies}),
        limits=problem.limits.model_copy(update={"ttft": None, "tpot": None}),
        workload=problem.workload.model_copy(update={"request_rate": None}),
    )  # fmt: skip


@pytest.mark.parametrize("left_out", FAMILIES, ids=lambda family: family.__name__)
def test_without_any_one_family_it_does_not(left_out: type, monkeypatch: pytest.MonkeyPatch) -> None:
    if left_out.__name__.removesuffix("Family") == "Divisibility":
        # engines say it as well: an engine without rules does not
        bare = replace(engine_named("vllm"), rules=())
        monkeypatch.setattr("optimizer.domain.problem.engine_named", lambda _: bare)
    others = [family for family in FAMILIES if family is not left_out]
    for seed in SHOWS[left_out.__name__.removesuffix("Family")]:
        problem = small_problem(seed)
        if seed in SLOW_SEEDS or (left_out.__name__.removesuffix("Family") == "Placement" and problem.experts is None):
            continue
        if left_out.__name__.removesuffix("Family") == "Placement":
            problem = copies_on_one_device(problem)
            assert found_by_program(problem) is None
        try:
            found = decide(problem, families=others)
        except (InternalError, ValueError):
            return
        if (None if found.best is None else found.best[0]) != found_by_search(problem):
            return
    pytest.fail("nothing changed")


def test_it_asks_nothing_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = small_problem(14)
    expected = found_by_search(problem)

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("asked the search")

    for module, name in (
        ("optimizer.search.search", "Search"), ("optimizer.domain.lattice", "axes"),
        ("optimizer.figures.objective", "best_layout"), ("optimizer.figures.partition", "best_cuts"),
        ("optimizer.figures.operating_point", "OperatingPoints"),
    ):  # fmt: skip
        monkeypatch.setattr(importlib.import_module(module), name, refuse)
    assert found_by_program(problem) == expected


@pytest.mark.parametrize("seed", [0, 7, 10, 14, 35])
def test_the_checker_accepts_its_answer(seed: int) -> None:
    result = solve_declared(small_problem(seed))
    assert result.status == "optimal"
    check = certify(result.to_json())
    assert check.accepted, check.reason


def test_the_checker_refuses_an_answer_short_of_the_optimum() -> None:
    problem = small_problem(14)
    short = problem.model_copy(update={"search": problem.search.model_copy(update={"dp": (1,)})})
    document = solve_declared(problem).to_json()
    document["certificate"] = solve_declared(short).to_json()["certificate"]
    assert not certify(document).accepted


def test_time_that_runs_out_proves_nothing() -> None:
    result = solve_declared(small_problem(3), time_limit_s=0.01)
    assert result.status in {"unknown", "feasible"}
    assert result.bound is None


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ("deepseek-v3-h800-2048", "choices of degrees"),
        ("qwen3-32b-h200-8", "costs"),
        ("experts-16-on-8-ranks", "measured loads"),
    ],
)
def test_what_is_too_large_is_refused_by_name(scenario: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        decide(read_problem(scenario))


@pytest.mark.slow
@pytest.mark.parametrize(
    "scenario",
    ["llama-3.1-8b-l4-1", "problems/scenarios/infeasible/ttft-llama-3.1-8b-l40s-1.yaml"],
)
def test_it_agrees_on_small_scenarios(scenario: str) -> None:
    problem = read_problem(scenario)
    assert found_by_program(problem) == found_by_search(problem)


def test_the_command_says_what_it_does_not_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["solve", "llama-3.1-8b-l4-1", "--method", "cp-sat", "--top", "2"]) == Exit.WRONG_QUESTION
    assert "--method cp-sat finds the best layout alone" in capsys.readouterr().err
    assert run(["solve", "qwen3-32b-h200-8", "--method", "cp-sat"]) == Exit.WRONG_QUESTION
    assert "costs in the program of 'qwen3-32b-h200-8'" in capsys.readouterr().err
