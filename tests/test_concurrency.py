"""A closed loop of so many requests: equal to every layout there is that keeps them in flight, priced one by one."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

import pytest

from optimizer import read_problem
from optimizer.certificate import certify
from optimizer.certificate.statement import sealed
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.explain import explain
from optimizer.figures.derivation import derive
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.figures.serving import evaluate
from optimizer.search.frontier import frontier
from optimizer.solve import solve
from optimizer.solve.declared import solve_declared
from optimizer.verify.constraints import violations
from tests.small_problems import MAXIMISED, Priced, layouts, small_problem, value

OBJECTIVES = ("throughput", "throughput_per_device", "ttft", "tpot", "memory_headroom", "cost")
FLIGHT = (1, 2, 3, 5, 8, 13)


@cache
def asked() -> list[tuple[Problem, list[Priced]]]:
    """Small problems in a closed loop, each with a number of requests in flight and all layouts of any number."""
    found = []
    for seed in range(40):
        plain = small_problem(seed)
        if plain.expert_loads or plain.workload.arrivals != "closed":
            continue
        work = plain.workload.model_copy(
            update={"concurrency": FLIGHT[seed % len(FLIGHT)], "request_rate": None, "arrival": None}
        )
        free = plain.limits.model_copy(update={"ttft": None, "tpot": None})
        alone = plain.workload.model_copy(update={"request_rate": None, "arrival": None})
        found.append((plain.changed(workload=work), list(layouts(plain.changed(limits=free, workload=alone)))))
    return found


def kept_by(problem: Problem, found: list[Priced], objective: str) -> list[Fraction]:
    """Values of what keeps all limits, of every number of replicas that `found` has."""
    values = []
    for one in found:
        own = evaluate(problem, one.evaluation.layout)
        if not violations(problem, own.layout, own):
            values.append(value(problem, own, objective))
    return values


def test_solve_finds_the_best_of_all_that_keep_them_in_flight_and_certify_agrees() -> None:
    best, none, refuted = 0, 0, 0
    for number, (problem, found) in enumerate(asked()):
        phase = problem.workload.phase
        for objective in OBJECTIVES[number % 2 :: 2]:
            if (phase, objective) in {("decode", "ttft"), ("prefill", "tpot")}:
                continue
            question = problem.changed(objective=objective)
            values = kept_by(question, found, objective)
            answer = solve(question)
            document = answer.to_json()
            check = certify(document)
            assert check.accepted, (problem.seed, objective, check.reason)
            if answer.best is None:
                assert not values
                none += 1
                continue
            own = answer.best.layout
            assert own.batch == question.workload.in_flight(own.dp)
            wanted = max(values) if objective in MAXIMISED else min(values)
            assert answer.best.value == wanted, (problem.seed, objective)
            best += 1
            other = solve(question, top=2).top
            if other and other[0].value != wanted:
                degrees = {
                    name: (getattr(other[0].layout, name),) for name in ("tp", "cp", "pp", "etp", "ep", "overlap")
                }
                pinned = question.changed(search=question.search.model_copy(update=degrees))
                worse = solve(pinned).to_json()
                claim = worse | {"problem": document["problem"], "search": document["search"]}
                copied = {name: document["certificate"][name] for name in ("problem_digest", "lattice")}
                claim["certificate"] = sealed(worse["certificate"] | copied)
                assert "is better" in str(certify(claim).reason)
                refuted += 1
    assert min(best, 10 * refuted) > 20, (best, none, refuted)


LOOPED: dict[str, Any] = {
    "model": "llama-3.1-8b",
    "hardware": "h100-sxm-8",
    "devices": 8,
    "isl": 2000,
    "osl": 200,
    "engine": "vllm",
}


def loop(count: int, **more: Any) -> Problem:
    return read_problem(**LOOPED, concurrency=count, **more)


def test_a_layout_is_priced_with_what_is_in_flight_and_its_memory_with_its_batch() -> None:
    problem, layout = loop(50), Layout(tp=1, dp=4, batch=64, prefill_chunk=2000)
    found, own = evaluate(problem, layout), evaluate(problem, layout.model_copy(update={"batch": 13}))
    assert found.running == 13
    assert (found.ttft_s, found.tpot_s, found.throughput) == (own.ttft_s, own.tpot_s, own.throughput)
    assert found.memory_bytes > own.memory_bytes
    assert violations(problem, layout, found) == ()
    # 12.5 a rank on average, and no more than all of them
    cycle = max(found.stage_ticks) / TICKS_PER_SECOND * problem.workload.output_tokens  # a step for the prompt
    assert found.request_capacity == 50 / cycle
    figures = derive(problem, layout, found)
    latency = (found.ttft_s or 0) + 199 * (found.tpot_s or 0)
    assert figures["closed_loop_tokens_per_s"].value == 50 * 200 / latency
    assert figures["concurrency"].value == 50
    small = layout.model_copy(update={"batch": 12})
    said = violations(problem, small, evaluate(problem, small))
    assert "48 sequences of all ranks at once, where workload.concurrency keeps 50 requests in flight" in str(said[0])


@pytest.mark.parametrize("count", [24, 40])
def test_a_simulated_loop_serves_as_much(count: int) -> None:
    """Steps of one rank, each with the oldest prompt that waits; a request that ends is followed by another."""
    problem = loop(count)
    layout = Layout(tp=1, batch=count, prefill_chunk=2000)
    found = evaluate(problem, layout)

    @cache
    def step_s(decoding: int, *, prompt: bool) -> float:
        own = evaluate(problem, layout.model_copy(update={"batch": max(decoding, 1)}), full=True)
        return float((own.mixed_ticks if prompt else own.decode_ticks)[0]) / 1e27

    now, done, first = 0.0, 0, []
    waiting = [0.0] * count
    left: list[int] = []
    while done < 10 * count:
        prompt = bool(waiting)
        now += step_s(len(left), prompt=prompt)
        ended = sum(tokens == 1 for tokens in left)
        left = [tokens - 1 for tokens in left if tokens > 1]
        if prompt:
            first.append(now - waiting.pop(0))
            left.append(199)
        waiting += [now] * ended
        done += ended
    host = problem.waiting.overhead_s + problem.waiting.steps * found.stage_ticks[0] / 10**27
    latency = 200 * count / float(derive(problem, layout, found)["closed_loop_tokens_per_s"].value)
    assert 10 * count * 200 / now == pytest.approx(count * 200 / (latency - float(host)), rel=0.1)
    started = sorted(first[: 10 * count])
    assert float((found.ttft_s or 0) - host) == pytest.approx(sum(started) / len(started), rel=0.35)
    assert float((found.first_token_s(99) or 0) - host) == pytest.approx(started[-len(started) // 100 - 1], rel=0.25)


def test_more_in_flight_is_a_limit_that_explain_names_and_relaxes() -> None:
    problem = read_problem(**(LOOPED | {"devices": 2}), concurrency=400, tpot="20ms")
    assert solve(problem).status == "infeasible"
    said = explain(problem)
    assert said.conflict is not None
    assert "concurrency" in {member.limit.name for member in said.conflict.members}
    relaxed = next(one for one in said.relaxations if one.limit == "concurrency")
    assert solve(relaxed.problem).status == "optimal"
    count = int(str(relaxed.new))
    assert solve(read_problem(**(LOOPED | {"devices": 2}), concurrency=count + 1, tpot="20ms")).status == "infeasible"


def test_what_it_does_not_go_with_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match="is of a closed loop: leave out request_rate"):
        loop(8, request_rate=2)
    with pytest.raises(SpecError, match="is of a closed loop"):
        loop(8, arrival="alone")
    with pytest.raises(SpecError, match=r"^concurrency: must be at least 1"):
        loop(0)
    with pytest.raises(SpecError, match=r"leave out workload\.concurrency"):
        frontier(loop(8), ("ttft", "tpot"))
    with pytest.raises(SpecError, match=r"workload\.concurrency is for branch-and-bound"):
        solve_declared(loop(8))
