"""The wait for a free place against a simulated engine, published values of Erlang's formula, and solve's answers."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest

from optimizer import certify, solve
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.figures.derivation import derive
from optimizer.figures.places import place_wait, wait_at_load
from optimizer.figures.serving import evaluate
from optimizer.interface import read_problem
from optimizer.verify.constraints import violations
from tests.certificate.documents import sealed
from tests.simulated_engine import served, step_time

REQUESTS = 6000


def asked(rate: Fraction | None, **limits: object) -> Problem:
    work = {"phase": "aggregated", "input_tokens": 1000, "output_tokens": 200}
    given = {"model": "llama-3.1-8b", "hardware": "h100-sxm-8", "devices": 8, "workload": work}
    if rate is not None:
        work["request_rate"] = str(rate)  # type: ignore[assignment]
    return read_problem(given | {"limits": {"confidence": "none", **limits}} if limits else given)


def layout(places: int) -> Layout:
    return Layout(tp=1, cp=1, dp=1, pp=1, etp=1, ep=1, edp=1, batch=places, prefill_chunk=1000)


@pytest.mark.parametrize(
    ("places", "load", "mean", "p99"),
    [(4, 0.3, 0.15, 0.3), (4, 0.5, 0.1, 0.2), (4, 0.7, 0.1, 0.25), (4, 0.9, 0.1, 0.5), (16, 0.8, 0.2, 0.3)],
)
def test_a_simulated_engine_waits_as_long(places: int, load: float, mean: float, p99: float) -> None:
    """An engine that knows no formula: TTFT with the wait is its own, which without the wait is up to 100 times less.

    Percentiles add that of the wait to that of the queue of prompts.
    """
    whole = evaluate(asked(None), layout(places), full=True).request_capacity
    rate = Fraction(float(whole) * load).limit_denominator(10**6)
    problem = asked(rate)
    found = evaluate(problem, layout(places))
    wait = wait_at_load(problem, found)
    assert wait is not None
    assert found.ttft_s is not None
    assert wait.mean_s is not None
    draw, now, arrivals = Random(1), 0.0, []  # noqa: S311 - test data
    for _ in range(REQUESTS + 400):
        now += draw.expovariate(float(rate))
        arrivals.append(now)
    requests = served(
        step_time(problem, layout(places)), isl=1000, osl=200, chunk=1000, places=places, count=REQUESTS,
        arrivals=arrivals,
    )  # fmt: skip
    busy = sorted(requests, key=lambda request: request.arrived)[REQUESTS // 10 :]
    firsts = sorted(request.first - request.arrived for request in busy)
    assert float(found.ttft_s + wait.mean_s) == pytest.approx(sum(firsts) / len(firsts), rel=mean)
    first, waited = found.first_token_s(99), wait.longest_s(99)
    assert first is not None
    assert waited is not None
    simulated = firsts[int(0.99 * len(firsts))]
    assert simulated * 0.8 < float(first + waited) < simulated * (1 + p99)
    assert simulated > 10 * float(first)


@pytest.mark.parametrize(("servers", "offered", "chance"), [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (14, 10.0, 0.1741)])
def test_erlangs_formula_has_its_published_values(servers: int, offered: float, chance: float) -> None:
    """One and two servers by hand; 10 erlangs on 14 agents from tables of call centres."""
    found = place_wait(servers, Fraction(offered), Fraction(servers))
    assert float(found.chance) == pytest.approx(chance, abs=1e-4)


def test_one_place_is_an_md1_queue() -> None:
    """Pollaczek–Khinchine: ρ·S ÷ (2·(1 − ρ))."""
    found = place_wait(1, Fraction(3, 4), Fraction(1))
    assert float(found.mean_s or 0) == pytest.approx(0.75 / 0.5, rel=1e-5)
    assert place_wait(1, Fraction(1), Fraction(1)).mean_s is None


def test_where_requests_wait_too_long_for_a_place_the_limit_is_broken() -> None:
    whole = evaluate(asked(None), layout(4), full=True).request_capacity
    rate = Fraction(whole * Fraction(7, 10)).limit_denominator(1000)
    problem = asked(rate, ttft="200 ms")
    found = evaluate(problem, layout(4))
    assert found.ttft_s is not None
    assert found.ttft_s < Fraction(1, 20)
    (broken,) = violations(problem, found.layout, found)
    assert "of waiting for one of 4 places" in broken.message
    assert violations(problem, found.layout, found, waits=False) == ()
    assert not violations(problem, layout(32), evaluate(problem, layout(32)))
    figures = derive(problem, found.layout, found)
    # of the limit a part is left, at which fewer requests come
    assert 0 < figures["goodput_per_s"].value < rate
    assert figures["place_wait_s"].value > Fraction(1, 5)


QUESTION = {
    "model": "llama-3.3-70b", "hardware": "h100-sxm-8", "devices": 8, "objective": "devices", "engine": "vllm",
    "limits": {"ttft": {"p99": "5 s"}},
}  # fmt: skip


@pytest.mark.parametrize(("rate", "status"), [(0.1, "feasible"), (0.5, "optimal")])
def test_solve_gives_places_enough_or_says_what_bounds_it(rate: float, status: str) -> None:
    """Two devices hold 4 sequences of 8,500 tokens: at 0.1 requests/s every other request would wait 15 s for one."""
    work = {"phase": "aggregated", "input_tokens": 8000, "output_tokens": 500, "request_rate": rate}
    answer = solve(read_problem(QUESTION | {"workload": work}))
    assert answer.status == status
    assert answer.figures["place_wait_chance"] < 0.01
    assert answer.layout is not None
    assert answer.layout.devices == 3
    assert certify(answer.to_json()).accepted
    listed = solve(read_problem(QUESTION | {"workload": work}), top=4)
    assert len(listed.top) <= 3
    assert certify(listed.to_json()).accepted
    few = solve(read_problem(QUESTION | {"workload": work, "devices": 2}))
    assert few.status == ("unknown" if rate == 0.1 else "infeasible")


def test_certify_rejects_a_layout_whose_requests_wait() -> None:
    work = {"phase": "aggregated", "input_tokens": 8000, "output_tokens": 500, "request_rate": 0.1}
    free = solve(read_problem(QUESTION | {"workload": work, "limits": {}}))
    assert free.layout is not None
    assert free.layout.devices == 2
    bound = read_problem(QUESTION | {"workload": work})
    said = violations(bound, free.layout, evaluate(bound, free.layout))
    assert "waiting for one of" in str(said[0])
    claim = free.to_json() | {"problem": bound.model_dump(mode="json") | {"digest": bound.digest}}
    claim["certificate"] = sealed(claim["certificate"] | {"problem_digest": bound.digest})
    check = certify(claim)
    assert not check.accepted
    assert "waiting for one of" in str(check.reason)
