"""Sequences in flight at the load asked for, against every batch priced one by one."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.figures.derivation import derive
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.figures.serving import Evaluation, evaluate
from optimizer.interface import read_problem
from optimizer.search.search import Search
from optimizer.verify.constraints import violations
from tests.small_problems import layouts, small_problem

RATES = [Fraction(1, 10_000), Fraction(3), Fraction(9), Fraction(17), Fraction(26), Fraction(200)]


def asked(rate: Fraction | None, **limits: object) -> Problem:
    problem = read_problem(
        {
            "model": "llama-3.1-8b", "hardware": "h100-sxm-8", "devices": 8,
            "workload": {"phase": "aggregated", "input_tokens": 1000, "output_tokens": 200},
        }
    )  # fmt: skip
    work = problem.workload.model_copy(update={"request_rate": rate})
    return problem.model_copy(update={"workload": work, "limits": problem.limits.model_copy(update=limits)})


def layout(batch: int, pp: int = 2) -> Layout:
    return Layout(tp=1, cp=1, dp=2, pp=pp, etp=1, ep=1, edp=1, batch=batch, prefill_chunk=1000)


def with_all_in_flight(problem: Problem, batch: int, pp: int = 2) -> Evaluation:
    return evaluate(problem, layout(batch, pp), full=True)


@pytest.mark.parametrize("pp", [1, 2, 3])
@pytest.mark.parametrize("rate", RATES)
def test_the_least_batch_that_serves_the_rate_is_in_flight(rate: Fraction, pp: int) -> None:
    problem, most = asked(rate), 41
    found = evaluate(problem, layout(most, pp))
    serving = [b for b in range(1, most + 1) if with_all_in_flight(problem, b, pp).request_capacity >= rate]
    own = with_all_in_flight(problem, serving[0] if serving else most, pp)
    assert found.running == own.layout.batch
    assert (found.ttft_s, found.queue_s, found.load) == (own.ttft_s, own.queue_s, own.load)
    whole = with_all_in_flight(problem, most, pp)
    assert found.memory == whole.memory
    assert (found.request_capacity >= rate) == (found.load <= 1)
    if found.running < most:
        # Little's law: requests/s × seconds in which a place is taken, rounded up to whole sequences
        sequences = rate / 2 * 200 * pp * max(found.stage_ticks) / TICKS_PER_SECOND
        assert found.running - 1 < sequences <= found.running or found.running % pp == 1 % pp
        assert not violations(problem, found.layout, found)
        assert derive(problem, found.layout, found)["running_sequences"].value == found.running


@pytest.mark.parametrize("rate", RATES[1:4])
def test_one_at_random_decodes_among_those_who_are_there(rate: Fraction) -> None:
    """Wolff 1982: what it meets are the others on average (Little's law), who wait for a first token among them."""
    problem = asked(rate)
    found = evaluate(problem, layout(41, 1))
    own = with_all_in_flight(problem, found.running, 1)
    others = float(rate) / 2 * (float(own.ttft_s or 0) + 199 * float(own.tpot_s or 0))
    by_count = [float(with_all_in_flight(problem, count + 1, 1).tpot_s or 0) for count in range(41)]
    assert float(found.tpot_s or 0) == pytest.approx(np.interp(others, range(41), by_count))


def test_room_for_more_sequences_makes_no_rate_unserved() -> None:
    """At 0.5 requests/s of 8,000 tokens an engine has 0.15 sequences in flight, however many it takes."""
    problem = asked(Fraction(1, 2))
    work = problem.workload.model_copy(update={"input_tokens": 8000, "output_tokens": 10})
    problem = problem.changed(workload=work)
    one, many, most = (
        evaluate(problem, Layout(tp=1, batch=batch, prefill_chunk=2000)) for batch in (3, 16, 64)
    )  # fmt: skip
    assert (one.running, one.tpot_s, one.ttft_s) == (many.running, many.tpot_s, many.ttft_s)
    assert many.request_capacity == one.request_capacity
    assert not violations(problem, many.layout, many)
    # what it holds at most it must have room for
    assert {one.family.value for one in violations(problem, most.layout, most)} == {"memory"}
    # a simulated engine: mean 10.6 ms, p50 7.7, p90 27.5, p99 47.3
    told = [float(many.tpot_s or 0), *map(float, many.tpots.values())]
    assert told == pytest.approx([0.0106, 0.0077, 0.0275, 0.0473], rel=0.02)
    # a rate beyond what steps full of prompts serve stays refused
    work = work.model_copy(update={"request_rate": Fraction(5)})
    late = evaluate(problem.changed(workload=work), many.layout)
    assert {"batch", "request_rate"} <= {
        one.family.value for one in violations(problem.changed(workload=work), late.layout, late)
    }


def test_whole_micro_batches_that_just_serve_the_rate_serve_it() -> None:
    """One sequence more than whole micro-batches may serve less than they do: what they serve is not beyond them."""
    compared = 0
    for small in filter(lambda problem: problem.workload.mixes, map(small_problem, range(38, 45))):
        for one in list(layouts(small))[:200:10]:
            own = one.evaluation.layout
            whole = own.model_copy(update={"batch": own.batch // own.pp * own.pp})
            if whole.batch in (0, own.batch):
                continue
            rate = evaluate(small, whole).request_capacity
            work = small.workload.model_copy(update={"request_rate": rate, "concurrency": None})
            found = evaluate(small.changed(workload=work), own)
            compared += found.running <= whole.batch and found.load <= 1
    assert compared


def test_few_requests_meet_an_idle_device() -> None:
    """The first report of it: 0.0001 requests/s were priced with the whole batch in flight."""
    few, none = evaluate(asked(Fraction(1, 10_000)), layout(200)), evaluate(asked(None), layout(1))
    assert few.tpot_s is not None
    assert none.tpot_s is not None
    assert none.tpot_s < few.tpot_s < none.tpot_s * Fraction(1001, 1000)
    assert set(few.tpots.values()) == {none.tpot_s}
    assert few.running == 1
    whole = evaluate(asked(None), layout(200))
    assert whole.tpot_s is not None
    assert whole.tpot_s > 3 * none.tpot_s / 2
    assert few.request_capacity == whole.request_capacity
    assert whole.running == 200


@pytest.mark.parametrize("rate", RATES[:-1])
def test_capacity_is_of_the_largest_batch_that_keeps_the_limits(rate: Fraction) -> None:
    """What a layout serves beyond a limit is no throughput: a batch too large for the limit adds nothing."""
    limit = with_all_in_flight(asked(rate), 12).tpot_s
    problem = asked(rate, tpot=limit)
    found = evaluate(problem, layout(64))
    kept = [b for b in range(1, 65) if (s := with_all_in_flight(problem, b).tpot_s) is not None and s <= limit]  # type: ignore[operator]
    best = with_all_in_flight(problem, kept[-1])
    if best.request_capacity >= rate:
        assert (found.capacity_batch, found.request_capacity) == (kept[-1], best.request_capacity)
        assert not violations(problem, found.layout, found)
    else:
        assert violations(problem, found.layout, found)


@pytest.mark.parametrize(("seed", "limited"), [(392, True), (2802, True), (1, False)])
def test_capacity_is_of_the_batch_in_time_that_serves_most(seed: int, limited: bool) -> None:  # noqa: FBT001
    """A pipeline that is late with its first whole micro-batches, though not at its load, was given that of all.

    Batches that are no whole micro-batches may not serve the rate, and are not late for that.
    """
    small, between = small_problem(seed), 0
    rate = small.workload.queued_rate
    assert rate is not None
    for one in list(layouts(small))[::10]:
        own = one.evaluation.layout
        batches = (
            own.model_copy(update={"batch": b, "prefill_chunk": one.evaluation.layout.prefill_chunk})
            for b in range(1, own.batch + 1)
        )
        full = [evaluate(small, each, full=True) for each in batches]
        in_time = [each for each in full if not violations(small, each.layout, each)]
        assert one.evaluation.request_capacity == max(each.request_capacity for each in in_time)
        between += all(each.layout.batch % own.pp for each in in_time)
    assert bool(between) == limited


def test_a_batch_that_the_search_fixes_is_in_flight() -> None:
    problem = asked(Fraction(1, 10_000))
    fixed = problem.model_copy(update={"search": problem.search.model_copy(update={"batch": (64,)})})
    assert evaluate(fixed, layout(64)).tpot_s == with_all_in_flight(problem, 64).tpot_s


def test_the_shortest_tpot_of_the_search_is_that_of_its_layout_at_the_load() -> None:
    problem = small_problem(1151).model_copy(update={"objective": "tpot"})
    best = Search(problem).run().best[0]
    assert evaluate(problem, best.layout).tpot_s == best.value
