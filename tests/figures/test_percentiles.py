"""Percentiles against what does not know them: simulations, the distributions in 400 digits, published digits of e."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from optimizer.domain.layout import Layout
from optimizer.domain.limits import PERCENTILES
from optimizer.domain.problem import Problem
from optimizer.figures.percentiles import (
    exp_bounds,
    in_flight,
    level_of,
    load_of,
    longest_step,
    wait,
)
from optimizer.figures.serving import Evaluation, evaluate
from optimizer.readers.document import load_text
from optimizer.readers.read import problem_in

E = "2.71828182845904523536028747135266249775724709369995957496696762772407663"
GRID = Fraction(1, 256)


def test_powers_of_e_lie_between_their_bounds() -> None:
    low, high = exp_bounds(Fraction(1))
    digits = Fraction(E)
    assert Fraction(low, 1 << 320) <= digits + Fraction(1, 10**70)
    assert Fraction(high, 1 << 320) >= digits
    assert high - low <= 2
    for value in (Fraction(0), Fraction(1, 10**6), Fraction(7, 3), Fraction(64), Fraction(500)):
        low, high = exp_bounds(value)
        with localcontext() as context:
            context.prec = 400
            exact = (Decimal(value.numerator) / value.denominator).exp() * Decimal(2) ** 320
            assert low <= exact <= high
        assert high - low <= 2


def waited(load: Fraction, services: Fraction) -> Decimal:
    """Share of the requests of an M/D/1 queue that wait at most so many services, in 400 digits."""
    with localcontext() as context:
        context.prec = 400
        rho, x = (Decimal(value.numerator) / value.denominator for value in (load, services))
        terms = (
            (-rho * (x - k)) ** k / math.factorial(k) * (rho * (x - k)).exp() if x > k else Decimal(1 if k == 0 else 0)
            for k in range(int(services) + 1)
        )
        return (1 - rho) * sum(terms, Decimal(0))


@pytest.mark.parametrize("load", [0.02, 0.11, 0.45, 0.7, 0.91, 0.97, 0.99])
def test_waits_are_the_least_parts_of_a_service_that_so_many_requests_wait(load: float) -> None:
    rounded = load_of(level_of(Fraction(load)))
    assert 0 <= rounded - Fraction(load) <= (1 - Fraction(load)) / 4096
    for share in PERCENTILES:
        found = wait(Fraction(load), share)
        assert waited(rounded, found) >= Decimal(share) / 100
        # beyond 64 services the bound of an exponential is up to 1% more
        less = found - GRID if found <= 64 else found * Fraction(99, 100) - GRID
        assert less < 0 or waited(rounded, less) < Decimal(share) / 100


@pytest.mark.parametrize("load", [0.3, 0.7, 0.9])
def test_requests_of_a_simulated_queue_wait_as_long(load: float) -> None:
    rng = np.random.default_rng(7)
    walk = np.concatenate([[0.0], np.cumsum(1 - rng.exponential(1 / load, 4_000_000))])
    waits = walk - np.minimum.accumulate(walk)
    for share in PERCENTILES:
        kept = np.mean(waits <= float(wait(Fraction(load), share)))
        # so many find the queue empty
        assert kept == pytest.approx(max(share / 100, 1 - load), abs=0.004)


def test_waits_grow_with_the_load_and_loads_are_rounded_up() -> None:
    rng = np.random.default_rng(3)
    loads = sorted(Fraction(rng.random()) ** int(rng.integers(1, 3)) for _ in range(60))
    loads += [1 - Fraction(1, 10**n) for n in range(2, 9)]
    for share in PERCENTILES:
        waits = [wait(load, share) for load in sorted(loads)]
        assert waits == sorted(waits)
    for load in loads:
        level = level_of(load)
        assert load <= load_of(level)
        assert level == 0 or load > load_of(level - 1)


def test_the_longest_step_is_the_last_that_keeps_a_limit() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        limit, passed = Fraction(int(rng.integers(1, 2000)), 100), Fraction(int(rng.integers(1, 9)))
        each, rate = Fraction(int(rng.integers(1, 8)), 3), Fraction(int(rng.integers(1, 400)), 100)
        share = int(rng.choice(PERCENTILES))
        found = longest_step(limit, passed, each, rate, share)

        def late(step: Fraction) -> bool:
            load = rate * each * step  # noqa: B023 - asked at once
            waits = wait(load, share) if load < 1 else Fraction(10**9)  # noqa: B023
            return passed * step + waits * each * step > limit  # noqa: B023

        assert not late(found)
        assert late(found * (1 + Fraction(1, 10**9)))


def test_sequences_in_flight_are_a_poisson_number_and_more_apart_where_steps_grow_with_them() -> None:
    for mean in (1, 2, 5, 17, 60, 300):
        for share in PERCENTILES:
            found = in_flight(Fraction(mean), 0, share)
            terms = [math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(found + 1)]
            assert sum(terms) >= share / 100 > sum(terms[:-1])
            for growth in (32, 128, 224):
                g = growth / 256
                number = mean * (1 - g) / g
                zero = number * math.log(1 - g) - math.lgamma(number)
                wider = in_flight(Fraction(mean), growth, share)
                terms = [
                    math.exp(math.lgamma(number + i) - math.lgamma(i + 1) + zero + i * math.log(g))
                    for i in range(wider + 1)
                ]  # fmt: skip
                assert sum(terms) >= share / 100 - 1e-9
                assert sum(terms[:-1]) < share / 100 + 1e-9


SERVED = """
model: llama-3.1-8b
hardware: h100-sxm-8
devices: 1
engine: vllm
workload: {input_tokens: 2000, output_tokens: 200, request_rate: %s}
"""


@cache
def priced(rate: int, batch: int) -> tuple[Problem, Evaluation]:
    problem = problem_in(load_text(SERVED % rate))
    return problem, evaluate(problem, Layout(tp=1, batch=batch, prefill_chunk=2000), full=True)


def engine_of(rate: int, requests: int) -> tuple[np.ndarray, np.ndarray]:
    """TTFT and TPOT of the requests of one rank: steps one after the other, each with the oldest prompt that waits."""

    @cache
    def step_s(decoding: int, *, prompt: bool) -> float:
        own = priced(rate, max(decoding, 1))[1]
        return float((own.mixed_ticks if prompt else own.decode_ticks)[0]) / 1e27

    rng = np.random.default_rng(11)
    arrivals = np.cumsum(rng.exponential(1 / rate, requests))
    now, next_up = 0.0, 0
    left: dict[int, int] = {}
    first, last = np.zeros(requests), np.zeros(requests)
    while next_up < requests or left:
        waiting = next_up < requests and arrivals[next_up] <= now
        if not waiting and not left:
            now = arrivals[next_up]
            continue
        now += step_s(len(left), prompt=waiting)
        for one in [one for one, tokens in left.items() if tokens == 1]:
            last[one] = now
            del left[one]
        left = {one: tokens - 1 for one, tokens in left.items() if tokens > 1}
        if waiting:
            first[next_up], left[next_up] = now, 199
            next_up += 1
    return first - arrivals, (last - first) / 199


@pytest.mark.parametrize("rate", [3, 8, 11])
def test_requests_of_a_simulated_engine_take_as_long(rate: int) -> None:
    problem, own = priced(rate, 120)
    found = evaluate(problem, own.layout)
    ttft, tpot = engine_of(rate, 6000)
    ttft += float(problem.engine.waiting.overhead_s)
    assert found.running < 120
    for share in PERCENTILES:
        # prompts also wait for the end of the step that they meet, which no mean knows
        assert float(found.first_token_s(share) or 0) == pytest.approx(np.percentile(ttft, share), rel=0.13)
        assert float(found.tpots[share]) == pytest.approx(np.percentile(tpot, share), rel=0.07)
    assert float(found.ttft_s or 0) == pytest.approx(ttft.mean(), rel=0.06)


def test_requests_of_a_closed_loop_have_those_before_them_that_started_at_once() -> None:
    """Nine in ten have none before them; of the tenth that start at once each has those of a lower number."""
    batch = 24
    problem, own = priced(8, batch)
    looped = problem.changed(workload=problem.workload.model_copy(update={"request_rate": None}))
    found = evaluate(looped, own.layout)
    ahead = sorted([0] * 9 * batch + list(range(batch)))
    step = Fraction(found.mixed_ticks[0], 10**27)
    for share in PERCENTILES:
        before = ahead[-(-share * len(ahead) // 100) - 1]
        assert found.first_token_s(share) == (found.first_token_s(50) or 0) + before * step
        assert found.tpots[share] == found.tpot_s
    assert found.first_token_s(90) == found.first_token_s(50)
    mean = Fraction(sum(ahead), len(ahead))
    assert found.ttft_s == (found.first_token_s(50) or 0) + mean * step
