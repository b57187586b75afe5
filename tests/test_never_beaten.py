"""What one command says holds in the others: no layout that `verify` accepts is better than what `solve` proves."""

from __future__ import annotations

from fractions import Fraction
from random import Random
from typing import Any

import pytest

from optimizer import certify, read_problem, solve
from optimizer.declarative.statement import chunks_of
from optimizer.domain.engines import ANY, ENGINES
from optimizer.domain.lattice import axes, even_pieces, outside, token_budget
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.figures.memory import build_memory
from optimizer.figures.objective import objective_of
from optimizer.figures.serving import evaluate
from optimizer.search.search import Search
from optimizer.verify.constraints import violations
from tests.small_problems import blocks, replica_counts, shapes, small_problem


def opened(seed: int) -> Problem:
    """A small problem whose chunk and cp are open."""
    found = small_problem(seed)
    search = found.search.model_copy(update={"prefill_chunk": None, "cp": None})
    return found.model_copy(update={"search": search})


def random_layouts(problem: Problem, rng: Random, count: int) -> list[Layout]:
    pool, prompt, found = list(shapes(problem)), problem.workload.computed_input_tokens, []
    for shape in rng.choices(pool, k=count) if pool else ():
        counts = replica_counts(problem, shape)
        if not counts:
            continue
        most = build_memory(problem, shape).stack_sequence()
        room = problem.capacity_bytes * shape.pp // max(most, 1)
        chunk = rng.choice([rng.randint(1, prompt), -(-prompt // rng.randint(1, 9)), rng.randint(1, 16384), prompt])
        chunk = None if problem.workload.phase == "decode" else max(1, chunk)
        batch = rng.choice(problem.search.batch) if problem.search.batch else rng.randint(1, max(1, min(room, 200)))
        replicas = rng.choice(counts)
        layout = Layout(
            tp=shape.tp, cp=shape.cp, dp=shape.dp * replicas, pp=shape.pp, etp=shape.etp, ep=shape.ep,
            edp=1 if problem.model.moe is None else shape.edp * replicas, batch=batch, prefill_chunk=chunk,
            redundant_slots=shape.redundant,
        )  # fmt: skip
        if not outside(problem, layout):
            found.append(layout)
    return found


@pytest.mark.parametrize("first", blocks(0, 150, 30, quick=30))
def test_no_layout_that_is_verified_beats_what_is_proved(first: int) -> None:
    feasible = 0
    for seed in range(first, first + 30):
        problem = opened(seed)
        best = next(iter(Search(problem).run().best), None)
        for layout in random_layouts(problem, Random(seed), 60):  # noqa: S311 - test data
            found = evaluate(problem, layout)
            rate = problem.workload.request_rate
            assert rate is None or (found.load <= 1) == (found.request_capacity >= rate)
            if violations(problem, layout, found):
                continue
            feasible += 1
            assert best is not None, (seed, layout)
            sign = 1 if problem.objective_row.maximised else -1
            assert sign * objective_of(problem, found) <= sign * best.value, (seed, layout)
    assert feasible > 20


@pytest.mark.parametrize("first", blocks(0, 200, 100, quick=100))
def test_any_engine_is_no_stricter_than_each(first: int) -> None:
    better = 0
    for seed in range(first, first + 100):
        problem = small_problem(seed)
        least = problem.changed(engine_name=ANY)
        for name in ENGINES:
            own = problem.changed(engine_name=name)
            for layout in random_layouts(own, Random(seed), 10):  # noqa: S311 - test data
                found, shape = evaluate(own, layout), layout.shape
                # ranks of any engine stand as in most
                if own.engine.places(shape) == least.engine.places(shape) and not violations(own, layout, found):
                    under = evaluate(least, layout)
                    assert not violations(least, layout, under), (seed, name, layout)
                    better += 1
    assert better > 20


@pytest.mark.parametrize("first", blocks(0, 200, 100, quick=100))
def test_one_more_prompt_token_or_sequence_costs_no_more_than_a_step(first: int) -> None:
    compared = 0
    for seed in range(first, first + 100):
        problem = small_problem(seed)
        if problem.workload.phase == "decode":
            continue
        for layout in random_layouts(problem, Random(seed), 3):  # noqa: S311 - test data
            found = evaluate(problem, layout)
            longer = problem.workload.model_copy(update={"input_tokens": problem.workload.input_tokens + 1})
            more = evaluate(problem.model_copy(update={"workload": longer}), layout)
            wider = evaluate(problem, layout.model_copy(update={"batch": layout.batch + 1}))
            step = Fraction(max(found.mixed_ticks), 10**27)
            if found.ttft_s is None or more.ttft_s is None:
                assert max(found.load, more.load) >= 1
                continue
            if found.steps.together == more.steps.together and not found.queue_s:
                # a fixed count of prompts shares the step; a piece more is one step more
                assert more.ttft_s <= found.ttft_s + step * Fraction(3, 2), (seed, layout)
            assert max(wider.mixed_ticks) <= 2 * max(found.mixed_ticks)
            compared += 1
    assert compared > 50


@pytest.mark.parametrize("prompt", [1, 2, 3, 10, 100, 4096, 5001])
def test_every_even_split_is_in_the_lattice(prompt: int) -> None:
    assert even_pieces(prompt) == {-(-prompt // n) for n in range(1, prompt + 1)}


def accepted(asked: dict[str, Any]) -> dict[str, Any]:
    """The result of a problem, its certificate checked."""
    found = solve(read_problem(asked))
    check = certify(found)
    assert check.accepted, check.reason
    return found.to_json()


def test_a_chunk_between_powers_of_two_is_found() -> None:
    found = accepted(
        {
            "model": "llama-3.3-70b", "hardware": "l40s-8", "devices": 8, "precision": {"weights": "fp8"},
            "workload": {"input_tokens": 4200, "output_tokens": 200, "arrival": "alone"},
            "limits": {"ttft": "443 ms", "confidence": "none"},
        }
    )  # fmt: skip
    assert found["status"] == "optimal"
    assert found["layout"]["prefill_chunk"] == 1050


@pytest.mark.parametrize(
    "work", [{"input_tokens": 4000}, {"input_tokens": 90}, {"input_tokens": 4000, "phase": "prefill"}]
)
def test_chunks_are_the_whole_pages_that_the_engine_takes(work: dict[str, Any]) -> None:
    asked = {"model": "deepseek-v3.2", "hardware": "h200-sxm-8", "devices": 8, "engine": "sglang"}
    problem = read_problem(asked | {"workload": {"output_tokens": 1000} | work})
    chunks = [chunk for chunk in axes(problem).chunks if chunk is not None]
    assert list(chunks_of(problem)) == chunks
    assert all(chunk % 64 == 0 for chunk in chunks)
    assert any(chunk >= work["input_tokens"] for chunk in chunks)
    layout = Layout(tp=1, dp=8, ep=8, prefill_chunk=160)
    assert outside(problem, layout) == ("chunk 160: no whole pages of 64 tokens",)
    assert outside(problem, layout.model_copy(update={"prefill_chunk": 64})) == ()
    any_engine = read_problem(asked | {"engine": "any", "workload": {"output_tokens": 1000} | work})
    assert any(chunk % 64 for chunk in axes(any_engine).chunks if chunk is not None)


def test_a_best_layout_takes_whole_pages() -> None:
    asked = {
        "model": "deepseek-v3.2", "hardware": "h200-sxm-8", "devices": 8, "engine": "sglang",
        "workload": {"input_tokens": 4000, "output_tokens": 1000}, "limits": {"tpot": "60 ms"},
    }  # fmt: skip
    found = accepted(asked)
    assert found["layout"]["prefill_chunk"] % 64 == 0
    assert "in whole pages of 64" in found["certificate"]["lattice"]["holds"]


def test_short_prompts_share_steps_and_one_device_serves_them() -> None:
    work = {"input_tokens": 32, "output_tokens": 64}
    asked = {"model": "llama-3.1-8b", "hardware": "h100-sxm-8", "devices": 128, "objective": "devices"}
    assert accepted(asked | {"workload": work | {"request_rate": 300}})["objective"]["value"] == 1
    one = {"model": "llama-3.1-8b", "hardware": "h100-sxm-8", "devices": 1, "workload": work | {"request_rate": 240}}
    assert accepted(one)["status"] == "optimal"


def test_few_tokens_do_not_share_an_expert() -> None:
    asked = {
        "model": "mixtral-8x7b", "hardware": "h100-sxm-8", "devices": 8, "engine": "vllm", "objective": "tpot",
        "workload": {"input_tokens": 1000, "output_tokens": 500},
    }  # fmt: skip
    assert accepted(asked)["layout"]["ep"] == 1


def test_idle_devices_are_named_and_the_lattice_says_what_it_holds() -> None:
    asked = {
        "model": "deepseek-v3", "hardware": "h800-sxm-8", "devices": 32,
        "workload": {"input_tokens": 4096, "output_tokens": 1024, "arrival": "alone"},
        "limits": {"ttft": "5 s", "tpot": "100 ms", "confidence": "none"},
    }  # fmt: skip
    found = accepted(asked)
    assert found["figures"]["idle_devices"] == 32 - found["layout"]["devices"]
    assert found["objective"]["value"] > 815.1  # 783.4 at chunk 512
    axes = found["certificate"]["lattice"]["axes"]
    assert axes["cp"] == list(range(1, 33))
    assert {410, 512, 4096, 16384} <= set(axes["prefill_chunk"])
    assert f"{token_budget(read_problem(asked)):,} tokens a step" in found["certificate"]["lattice"]["holds"]
