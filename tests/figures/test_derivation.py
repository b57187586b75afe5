"""Figures agree with the evaluation they derive from, and their printed arithmetic gives their result."""

from __future__ import annotations

import ast
import math
import re
from fractions import Fraction
from itertools import combinations, combinations_with_replacement

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from optimizer import read_problem
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.figures.bounds import (
    COMPUTE,
    HBM,
    ResourceTicks,
    demand,
    largest_batch,
    throughput_bounds,
    tpot_bound,
    ttft_bound,
)
from optimizer.figures.derivation import derive, figures_json
from optimizer.figures.derivation_memory import PARTS
from optimizer.figures.rates import TICKS_PER_SECOND, ideal_rates
from optimizer.figures.routing import EXPERT_UNITS, same_experts
from optimizer.figures.serving import evaluate
from tests.verify.examples import DENSE, MOE, hardware, problem


@st.composite
def cases(draw: st.DrawFn) -> tuple[Problem, Layout]:
    phase = draw(st.sampled_from(["aggregated", "decode", "prefill"]))
    tp, dp, pp = (draw(st.sampled_from(options)) for options in ([1, 2, 4], [1, 2, 4], [1, 2, 3]))
    model = draw(st.sampled_from([MOE, DENSE]))
    etp = draw(st.sampled_from([d for d in (1, 2, 4) if tp * dp % d == 0])) if model is MOE else 1
    ep = draw(st.sampled_from([d for d in (1, 2, 4, 8, 16) if tp * dp // etp % d == 0])) if model is MOE else 1
    edp = tp * dp // (etp * ep) if model is MOE else 1
    work = {"phase": phase, "mtp_tokens": draw(st.integers(0, 2)), "mtp_acceptance": Fraction(1, 2)}
    question = problem(model, devices=64, workload=work)
    layout = Layout(
        tp=tp,
        dp=dp,
        pp=pp,
        etp=etp,
        ep=ep,
        edp=edp,
        batch=draw(st.integers(1, 64)),
        prefill_chunk=draw(st.sampled_from([None, 32])),
    )
    return question, layout


@given(cases())
def test_parts_of_memory_add_up(case: tuple[Problem, Layout]) -> None:
    question, layout = case
    evaluation = evaluate(question, layout)
    figures = figures_json(question, layout, evaluation)
    assert set(figures["memory"]) == set(PARTS)
    assert sum(figures["memory"].values()) == figures["memory_bytes"] == evaluation.memory_bytes
    assert figures["parameters"] >= figures["active_parameters"] > 0
    for name in ("ttft_s", "tpot_s"):
        value = getattr(evaluation, name)
        assert figures[name] == (None if value is None else float(value))


@given(cases())
def test_bounds_are_bounds(case: tuple[Problem, Layout]) -> None:
    """Ideal schedules beat estimates, and the physical bound beats the ideal schedule."""
    question, layout = case
    evaluation = evaluate(question, layout)
    assume(evaluation.steps.share <= 1)
    figures = derive(question, layout, evaluation)
    for name in ("ttft_s", "tpot_s", "latency_s", "step_time_s"):
        if name in figures:
            assert figures[name].bound is not None
            assert 0 < figures[name].bound <= figures[name].value
    for name in ("throughput_tokens_per_s", "throughput_per_device_tokens_per_s"):
        bound = figures[name].bound
        assert bound is not None
        assert bound >= figures[name].value
    ideal = evaluate(question, layout, rates=ideal_rates(question.hardware))
    _, ticks = demand(question, ideal).busiest()
    assert ticks <= max(ideal.stage_ticks) * (1 + Fraction(1, 10**6))
    if ideal.tpot_s is not None:
        assert tpot_bound(question, layout).value <= ideal.tpot_s * (1 + Fraction(1, 10**6))
    if ideal.ttft_s is not None:
        assert ttft_bound(question, layout).value <= ideal.ttft_s * (1 + Fraction(1, 10**6))
    assert max(bound.value for bound in throughput_bounds(question, layout)) >= evaluation.throughput


_SCALES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}
_QUANTITY = re.compile(r"([0-9][0-9,]*(?:\.[0-9]+)?)(?: (requests/s|tokens/s|[kMGT]?B(?:/s)?|[num]?s))?")


def calculate(text: str) -> float:
    """Value of a substituted formula: quantities in base units, and + − · ÷ ceil max lcm."""

    def number(match: re.Match[str]) -> str:
        unit = (match[2] or "").removesuffix("/s") if match[2] not in {"requests/s", "tokens/s"} else ""
        return repr(float(match[1].replace(",", "")) * _SCALES.get(unit, 1))

    text = re.sub(r", (?:n|φ) = .*| \((?:node|fabric)\)", "", text)
    plain = _QUANTITY.sub(number, re.sub(r"(?<=[0-9]), (?=[0-9])", " ; ", text))
    plain = plain.replace(" ; ", ", ").replace("·", "*").replace("÷", "/").replace("−", "-")
    tree = ast.parse(plain, mode="eval")
    names = {"ceil": math.ceil, "max": max, "min": min, "lcm": lambda a, b: math.lcm(int(a), int(b))}
    return float(eval(compile(tree, "formula", "eval"), {"__builtins__": {}}, names))  # noqa: S307 - our own text


@given(cases())
def test_printed_arithmetic_gives_the_result(case: tuple[Problem, Layout]) -> None:
    question, layout = case
    figures = derive(question, layout, evaluate(question, layout))
    checked = 0
    for figure in figures.values():
        if not figure.substituted:
            continue
        if "…" in figure.substituted:
            continue
        # Substituted numbers are printed to four digits; a difference of two of them loses some.
        assert calculate(figure.substituted) == pytest.approx(float(figure.value), rel=2e-2, abs=1e-9), str(figure)
        checked += 1
    assert checked > 20


@pytest.mark.parametrize(
    ("model", "figure", "said"),
    [
        ("qwen3-next-80b-a3b", "max_concurrency", "min("),
        ("qwen3-next-80b-a3b", "queue_s", "÷ (2 · "),
        ("gpt-oss-120b", "parameters_per_expert", "+ 8,640"),
        ("qwen3-30b-a3b", "max_concurrency", "GB ÷"),
    ],
)
def test_slots_of_states_a_wait_and_biases_are_in_the_numbers(model: str, figure: str, said: str) -> None:
    question = read_problem(
        model=model, hardware="h200-sxm-8", devices=4, isl=5000, osl=20, engine="sglang", request_rate="1"
    )
    layout = Layout(tp=4, etp=4, batch=8, prefill_chunk=5000)
    found = derive(question, layout, evaluate(question, layout))[figure]
    assert said in found.substituted
    assert calculate(found.substituted) == pytest.approx(float(found.value), rel=2e-3)


def test_experts_are_counted_in_three_ways() -> None:
    question = problem(devices=32)
    layout = Layout(tp=2, dp=4, pp=2, etp=2, ep=4, batch=4)
    figures = derive(question, layout, evaluate(question, layout))
    assert figures["experts_resident_per_layer"].value == 4
    assert figures["expert_instances"].value == 4 * 3
    assert figures["expert_equivalents"].value == 6
    assert figures["expert_weights_bytes"].value == figures["expert_equivalents"].value * 3 * 1024 * 512 * 2
    spared = layout.model_copy(update={"redundant_slots": 4})
    redundant = derive(question, spared, evaluate(question, spared))
    assert redundant["experts_resident_per_layer"].value == 5


def test_littles_law_holds_when_saturated() -> None:
    question = problem(workload={"phase": "decode"})
    layout = Layout(tp=2, dp=4, etp=1, ep=8, batch=7)
    figures = derive(question, layout, evaluate(question, layout))
    assert figures["concurrency"].value == figures["sequences_in_flight"].value == 28


def test_compute_utilization_is_flops_over_peak() -> None:
    question = problem(DENSE, workload={"phase": "prefill", "input_tokens": 1})
    layout = Layout(tp=1, batch=1)
    evaluation = evaluate(question, layout)
    busy = demand(question, evaluation).stages[COMPUTE][0] / TICKS_PER_SECOND
    matrices = 8 * (1024 * 64 * (16 + 2 * 4 + 16) + 3 * 1024 * 4096) + 32000 * 1024
    attention = 8 * 4 * 16 * 64
    assert float(busy) == pytest.approx(2 * matrices / 100e12 + attention / 200e12, rel=1e-9)


def test_the_largest_batch_fills_memory() -> None:
    question = problem(hardware=hardware(memory="2 GB", exposed_memory="2 GB"))
    layout = Layout(tp=2, dp=2, pp=2, ep=4)
    batch = largest_batch(question, layout)
    for number, fits in ((batch, True), (batch + 1, False)):
        evaluation = evaluate(question, layout.model_copy(update={"batch": number}))
        parts = [
            s.weights_bytes + s.replicated_weights_bytes + s.expert_weights_bytes + s.kv_cache_bytes
            for s in evaluation.memory
        ]
        assert (max(parts) <= 2 * 10**9) is fits


@pytest.mark.parametrize(("experts", "top_k", "ranks"), [(4, 2, 1), (4, 2, 2), (4, 1, 4), (4, 3, 4), (6, 2, 3)])
def test_no_routing_reads_less_than_the_bound(experts: int, top_k: int, ranks: int) -> None:
    """Of all that three tokens can choose, the least that a device reads, its layers hot in turn."""
    choices = list(combinations(range(experts), top_k))
    least = min(
        Fraction(len({expert for chosen in tokens for expert in chosen}), ranks)
        for tokens in combinations_with_replacement(choices, 3)
    )
    bound = Fraction(same_experts(top_k, ranks).units(3), EXPERT_UNITS)
    assert least - Fraction(1, EXPERT_UNITS) < bound <= least


@pytest.mark.parametrize(("tp", "dp", "ep"), [(1, 1, 1), (2, 1, 2), (1, 4, 4)])
def test_a_batch_of_alike_prompts_is_possible(tp: int, dp: int, ep: int) -> None:
    """All sequences ask the experts that one of them asks: a rank reads no weight more for 64 than for two."""
    question = problem(workload={"phase": "decode"})
    seconds = [
        demand(question, evaluate(question, Layout(tp=tp, dp=dp, ep=ep, etp=1, batch=batch))).stages[HBM][0]
        for batch in (1, 2, 3, 64)
    ]
    assert seconds[1] - seconds[0] == seconds[2] - seconds[1]
    assert seconds[3] - seconds[1] == 62 * (seconds[2] - seconds[1])


def test_the_bound_of_a_long_prompt_is_its_work_spread_over_the_stages() -> None:
    question = problem(DENSE, workload={"phase": "prefill", "input_tokens": 65536})
    layout = Layout(tp=2, pp=4, prefill_chunk=2048)
    ideal = evaluate(question, layout, rates=ideal_rates(question.hardware))
    bound = ttft_bound(question, layout)
    assert bound.resource == COMPUTE
    assert ideal.ttft_s is not None
    assert bound.value <= ideal.ttft_s <= bound.value * Fraction(3, 2)


def test_a_step_is_bounded_by_what_is_busiest_in_its_slowest_stage() -> None:
    stages = {"compute": (Fraction(3), Fraction(4)), "hbm": (Fraction(1), Fraction(5)), "links": (Fraction(2),) * 2}
    assert ResourceTicks(stages).busiest() == ("hbm", 5)
