"""The load that is served in time, against the limits there and one step above, and against the law of the queue."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from optimizer.domain.layout import Layout
from optimizer.domain.limit_table import limits_of, with_rate
from optimizer.domain.problem import Problem
from optimizer.explain.relax import relax
from optimizer.figures.derivation import derive, figures_json
from optimizer.figures.goodput import STEPS, goodput, most_in_time
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.figures.serving import Evaluation, evaluate
from optimizer.interface import read_problem, verify
from optimizer.verify.constraints import violations

ASKED = Fraction(2)
SEARCH = {"tp": [1, 2], "cp": [1], "pp": [1, 2], "prefill_chunk": [1000, 2000]}
LIMITED: list[tuple[str, int, dict[str, Any]]] = [
    ("aggregated", 1, {"ttft": "58 ms"}),
    ("aggregated", 1, {"ttft": {"p99": "150 ms"}}),
    ("aggregated", 1, {"ttft": "90 ms", "tpot": "18 ms", "confidence": "80%"}),
    ("aggregated", 2, {"ttft": "40 ms"}),
    ("aggregated", 2, {"tpot": "12 ms"}),
    ("aggregated", 2, {"tpot": {"p90": "12 ms"}}),
    ("prefill", 1, {"ttft": "150 ms"}),
    ("prefill", 1, {"ttft": {"p99": "400 ms"}}),
    ("decode", 2, {"tpot": {"p90": "9.5 ms"}}),
]


def asked(phase: str = "aggregated", rate: Fraction | None = ASKED, **more: Any) -> Problem:
    work = {"phase": phase, "input_tokens": 1000, "output_tokens": 200} | ({"request_rate": rate} if rate else {})
    if phase == "prefill":
        work.pop("output_tokens")
    base = {"model": "llama-3.1-8b", "hardware": "h100-sxm-8", "devices": 8, "workload": work}
    return read_problem({**base, "limits": {"confidence": "none"} | more.pop("limits", {}), **more})


def priced(problem: Problem, pp: int = 1, batch: int = 96) -> Evaluation:
    chunk = None if problem.workload.phase == "decode" else 1000
    degrees = {"tp": 1, "cp": 1, "dp": 2, "pp": pp, "etp": 1, "ep": 1, "edp": 1}
    return evaluate(problem, Layout(**degrees, batch=batch, prefill_chunk=chunk))


def in_time(problem: Problem, evaluation: Evaluation, rate: Fraction) -> bool:
    at_rate = with_rate(problem, rate)
    return not violations(at_rate, evaluation.layout, evaluate(at_rate, evaluation.layout))


@pytest.mark.parametrize(("phase", "pp", "limits"), LIMITED)
def test_limits_are_kept_at_it_and_not_one_step_above(phase: str, pp: int, limits: dict[str, Any]) -> None:
    problem = asked(phase, limits=limits)
    found = priced(problem, pp, 4 if phase == "prefill" else 96)
    told = goodput(problem, found)
    assert told is not None
    share, whole = told
    assert 0 < share < 1
    assert in_time(problem, found, share * whole)
    assert not in_time(problem, found, (share + Fraction(1, STEPS)) * whole)


def test_it_is_the_rate_at_which_the_mean_wait_fills_what_the_limit_leaves() -> None:
    problem = asked("prefill", limits={"ttft": "120 ms"})
    found = priced(problem, batch=1)
    service = Fraction(max(found.mixed_ticks), TICKS_PER_SECOND)
    spare = Fraction(120, 1000) - (found.ttft_s or 0) + found.queue_s
    # Pollaczek–Khinchine, D: load · S ÷ (2 · (1 − load)) = spare
    load = 2 * spare / (service + 2 * spare)
    share, whole = goodput(problem, found) or (Fraction(0), Fraction(0))
    assert share * whole <= 2 * load / service < (share + Fraction(1, STEPS)) * whole


def test_a_queue_without_an_end_is_not_in_time_whatever_else_is() -> None:
    """Where every step carries prompts, and with prompts alone, the load at capacity is 1: one part less is served."""
    crowded = asked(limits={"tpot": "1 s"})
    crowded = crowded.changed(workload=crowded.workload.model_copy(update={"output_tokens": 2}))
    for problem in (crowded, asked("prefill")):
        found = priced(problem, batch=2)
        share, whole = most_in_time(problem, found, STEPS)
        assert share == 1 - Fraction(1, STEPS)
        assert priced(with_rate(problem, whole), batch=2).load == 1
    assert goodput(crowded, priced(crowded, batch=2)) == most_in_time(crowded, priced(crowded, batch=2), STEPS)


def test_it_does_not_fall_with_the_rate_that_is_asked_for_as_capacity_does() -> None:
    told, capacities = set(), []
    for rate in (1, 30):
        problem = asked(rate=Fraction(rate), limits={"ttft": "48 ms"})
        found = priced(problem)
        told.add(goodput(problem, found))
        capacities.append(found.request_capacity)
    assert len(told) == 1
    assert capacities[0] > capacities[-1] > 0


def test_nothing_is_told_without_arrivals_at_random_or_without_a_limit_on_a_latency() -> None:
    for problem in (asked(rate=None, limits={"ttft": "1 s"}), asked(), asked(limits={"memory_utilization": 0.8})):
        assert goodput(problem, priced(problem)) is None
        assert "goodput_per_s" not in figures_json(problem, priced(problem).layout, priced(problem))
    hopeless = asked(limits={"ttft": "1 ms"})
    assert derive(hopeless, priced(hopeless).layout, priced(hopeless))["goodput_per_s"].value == 0


def test_a_placement_s_hottest_device_counts() -> None:
    problem = read_problem(
        {
            "model": "mixtral-8x7b", "hardware": "h100-sxm-8", "devices": 8, "limits": {"ttft": "2 s"},
            "workload": {"input_tokens": 1000, "output_tokens": 200, "request_rate": 2},
        }
    )  # fmt: skip
    layout = Layout(tp=8, cp=1, dp=1, pp=1, etp=1, ep=8, edp=1, batch=64, prefill_chunk=1000)
    even, skewed = (evaluate(problem, layout, imbalance=skew) for skew in (None, (Fraction(3),) * 32))
    told = [goodput(problem, found) or (Fraction(0), Fraction(0)) for found in (even, skewed)]
    rates = [share * whole for share, whole in told]
    assert rates[0] > rates[1] > 0


def test_the_layout_that_explain_finds_serves_the_rate_that_it_says() -> None:
    problem = asked(rate=Fraction(500), limits={"ttft": "80 ms"}, devices=2, search=SEARCH)
    (limit,) = (row for row in limits_of(problem) if row.name == "request_rate")
    (change,) = relax(problem, limit)
    at_most = goodput(change.problem, evaluate(change.problem, change.scored.layout))
    assert at_most is not None
    assert at_most[0] * at_most[1] <= change.new <= (at_most[0] + Fraction(1, STEPS)) * at_most[1]
    at_rate = evaluate(change.problem, change.scored.layout)
    assert not violations(change.problem, change.scored.layout, at_rate)


def test_without_a_rate_arrivals_at_random_have_the_first_token_that_they_have_at_a_low_one() -> None:
    problem = asked()
    layout = Layout(tp=1, cp=1, dp=2, pp=1, etp=1, ep=1, edp=1, batch=96, prefill_chunk=8000)
    low, none = (evaluate(with_rate(problem, rate), layout, full=True) for rate in (Fraction(1, 10**6), None))
    assert low.ttft_s is not None
    assert low.ttft_s - low.queue_s == none.ttft_s


def test_claims_of_it_are_judged() -> None:
    problem = asked(limits={"ttft": "58 ms"})
    share, whole = goodput(problem, priced(problem)) or (Fraction(0), Fraction(0))
    for claimed, verdict in ((share * whole, "holds"), (priced(problem).request_capacity, "fails")):
        document = {
            "problem": {
                "model": "llama-3.1-8b", "hardware": "h100-sxm-8", "devices": 8, "limits": {"ttft": "58 ms"},
                "workload": {"input_tokens": 1000, "output_tokens": 200, "request_rate": 2},
            },
            "layout": {"tp": 1, "dp": 2, "batch": 96, "prefill_chunk": 1000},
            "claims": {"goodput": f"{float(claimed):.4f} requests/s"},
        }  # fmt: skip
        document["problem"]["limits"]["confidence"] = "none"
        assert [str(claim.verdict) for claim in verify(document).claims] == [verdict]
