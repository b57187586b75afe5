from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest

from optimizer.bench.baselines import brute_force, greedy_placement
from optimizer.bench.baselines.planners import powers_of_two, random_search, rule_of_thumb
from optimizer.bench.pricing import LARGEST_BATCH, BudgetedPricer, PricedLayout, better, layout_of, replica_counts
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.objective import objective_of
from optimizer.figures.serving import evaluate
from optimizer.readers.read import Override, read_problem
from optimizer.solve import solve
from optimizer.verify import judge_layout

PROPOSALS = {
    "rule_of_thumb": rule_of_thumb,
    "powers_of_two": powers_of_two,
    "random_search": random_search,
}
SCENARIOS = ("llama-3.1-8b-l4-1", "llama-3.1-70b-h100-13", "mixtral-8x7b-l40s-8", "llama-3.1-8b-l40s-8-ttft")


def small(**changes: object) -> Problem:
    overrides = [Override(key, tuple(key.split("__")), value) for key, value in changes.items()]
    return read_problem("llama-3.1-8b-rtx-4090-2", overrides)


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("propose", PROPOSALS.values(), ids=PROPOSALS)
def test_proposals_are_feasible_and_never_beat_the_search(
    name: str, propose: Callable[[Problem, BudgetedPricer], PricedLayout | None]
) -> None:
    problem = read_problem(name)
    found = propose(problem, BudgetedPricer(problem, 400))
    assert found is not None
    assert judge_layout(problem, found.layout).feasible
    best = solve(problem).best
    assert best is not None
    assert not better(
        problem, replace(found, throughput=Fraction(0)), PricedLayout(best.layout, best.value, Fraction(0))
    )


@pytest.mark.parametrize(
    "objective", ["throughput_per_device", "throughput", "tpot", "ttft", "memory_headroom", "cost", "devices"]
)
def test_brute_force_over_every_layout_equals_the_search(objective: str) -> None:
    rate = {"workload__request_rate": "0.2"} if objective in ("devices", "cost") else {}
    hardware = "h100-sxm-8" if objective == "cost" else "l40s-8"
    problem = small(
        objective=objective, hardware=hardware, search__cp=[1], search__prefill_chunk=[512],
        search__batch=[1, 2, 3, 7, 8], **rate,
    )  # fmt: skip
    answer = brute_force.propose(problem, BudgetedPricer(problem, 5000))
    assert answer is not None
    found, complete = answer
    best = solve(problem).best
    assert complete
    assert (found and found.value) == (best and best.value)
    assert found is not None


def test_brute_force_declines_what_is_too_large() -> None:
    problem = read_problem("deepseek-v3-h200-32")
    assert brute_force.propose(problem, BudgetedPricer(problem, 1000)) is None


def test_brute_force_says_when_it_took_even_stages_only() -> None:
    problem = small(search__cp=[1], search__prefill_chunk=[512], search__batch=[1, 2, 3])
    answer = brute_force.propose(problem, BudgetedPricer(problem, 30))
    assert answer is not None
    assert not answer[1]


def test_cuts_are_all_compositions() -> None:
    found = list(brute_force.cuts(5, 3))
    assert sorted(found) == sorted({(a, b, 5 - a - b) for a in range(1, 4) for b in range(1, 5 - a)})


def test_largest_batch_that_fits_is_found() -> None:
    problem = small(search__prefill_chunk=[512], limits__tpot="100 ms")
    shape = Shape(2, 1, 1, 1, 1)
    found = BudgetedPricer(problem, 1000).best_batch(layout_of(problem, shape, 1, 512))
    assert found is not None
    batch = found.layout.batch
    assert 1 < batch < LARGEST_BATCH
    assert judge_layout(problem, found.layout).feasible
    assert not judge_layout(problem, found.layout.model_copy(update={"batch": batch + 1})).feasible


def test_value_is_that_of_the_figures() -> None:
    problem = read_problem("llama-3.1-70b-h200-cost")
    result = solve(problem)
    assert result.best is not None
    assert objective_of(problem, evaluate(problem, result.best.layout)) == result.best.value


def test_budget_ends_a_baseline() -> None:
    problem = read_problem("mixtral-8x7b-l40s-8")
    pricer = BudgetedPricer(problem, 50)
    random_search(problem, pricer)
    assert pricer.spent
    assert pricer.evaluations <= 50


def test_random_search_repeats_itself() -> None:
    problem = read_problem("mixtral-8x7b-l40s-8")
    one, two = (random_search(problem, BudgetedPricer(problem, 200)) for _ in range(2))
    assert one == two


def test_search_restrictions_bind_baselines() -> None:
    problem = small(search__tp=[2], search__batch=[4])
    for propose in PROPOSALS.values():
        found = propose(problem, BudgetedPricer(problem, 400))
        assert found is not None
        assert (found.layout.tp, found.layout.batch) == (2, 4)


def test_greedy_placement_gives_the_spare_slot_to_the_hottest_share() -> None:
    assert greedy_placement.replicate([10, 1, 7], 5) == [2, 1, 2]
    placed = greedy_placement.pack([10, 1, 7], 5, 1)
    assert sorted(expert for held in placed for expert in held) == [0, 0, 1, 2, 2]
    assert all(len(held) == 2 for held in greedy_placement.pack([8, 4, 2, 2], 2, 2))


def test_greedy_placement_beats_the_order_of_ids_and_not_the_search() -> None:
    experts = {"load": ["zipf:0.8"], "redundant_slots": [0, 16]}
    search = {"tp": [1], "ep": [16], "pp": [1], "prefill_chunk": [512]}
    changes = [Override("e", ("experts",), experts), Override("s", ("search",), search)]
    problem = read_problem("qwen3-235b-a22b-placement-h200-16", changes)
    unmeasured = Override("e", ("experts",), {"redundant_slots": [0, 16]})
    even = read_problem("qwen3-235b-a22b-placement-h200-16", [unmeasured, changes[1]])
    in_order, greedy, balanced = (
        powers_of_two(question, BudgetedPricer(question, 500, *arrange))
        for question, arrange in ((problem, ()), (problem, (greedy_placement.pack,)), (even, ()))
    )
    best = solve(problem, time_limit_s=20).best
    assert in_order is not None
    assert greedy is not None
    assert balanced is not None
    assert best is not None
    assert in_order.value < greedy.value < balanced.value
    assert greedy.value <= best.value


def test_brute_force_over_nothing_that_fits_ends() -> None:
    changes = [Override("m", ("limits", "memory_utilization"), "0.1"), Override("c", ("search", "cp"), [1])]
    problem = read_problem("llama-3.1-405b-h100-16", changes)
    answer = brute_force.propose(problem, BudgetedPricer(problem, 4000))
    assert answer is not None
    assert answer == (None, True)


def test_replica_counts_are_those_that_the_search_allows() -> None:
    problem = small(devices=8, search__dp=[2, 3, 16], objective="devices", workload__request_rate=1)
    assert list(replica_counts(problem, BudgetedPricer(problem, 1), Shape(1, 1, 1, 1, 1))) == [2, 3]
    assert list(replica_counts(small(devices=8), BudgetedPricer(small(devices=8), 1), Shape(2, 1, 1, 1, 1))) == [4]
