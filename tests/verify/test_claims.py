"""Verdicts on claims: tolerance, units, readings, physical bounds."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.domain.layout import Layout
from optimizer.domain.model import ModelSpec, Run
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.parameters import parameter_table, parameters_held
from optimizer.readers.catalog import load_hardware, load_model
from optimizer.readers.claims import Claim, ClaimReader, last_digit
from optimizer.readers.document import load_text
from optimizer.readers.read import problem_in
from optimizer.verify.claim_table import ALIASES, CLAIMS, dimensions
from optimizer.verify.claims import ComparedClaim, Verdict, judge_claims
from optimizer.verify.verdict import judge_layout
from tests.verify.examples import DENSE, MOE, problem

LAYOUT = Layout(tp=2, dp=4, pp=2, etp=2, ep=4, edp=1, batch=8)


def read(claims: str) -> tuple[Claim, ...]:
    return ClaimReader(dimensions()).read(load_text(claims), ())


def judged(claims: str, question: Problem | None = None, layout: Layout = LAYOUT) -> dict[str, ComparedClaim]:
    question = question or problem()
    verdict = judge_layout(question, layout)
    return {j.claim.name: j for j in judge_claims(read(claims), dict(verdict.figures), question, layout)}


def verdict(claims: str, **more: Any) -> Verdict:
    (only,) = judged(claims, **more).values()
    return only.verdict


@pytest.mark.parametrize(
    ("number", "unit"),
    [
        ("0.62", "1/100"),
        ("19.2", "1/10"),
        ("10e9", "1e9"),
        ("1.5e3", "100"),
        ("120000", "1"),
        ("3.", "1"),
        (".5", "1/10"),
    ],
)
def test_last_digit_written(number: str, unit: str) -> None:
    assert last_digit(number) == Fraction(unit)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("expert_weights: 0.62 GB", Fraction(615, 1000) * 10**9, Fraction(625, 1000) * 10**9),
        ("parameters: 10e9", Fraction(95, 10) * 10**9, Fraction(105, 10) * 10**9),
        ("parameters: 671B", Fraction(6705, 10) * 10**9, Fraction(6715, 10) * 10**9),
        ("devices: 32", Fraction(32), Fraction(32)),
        ("memory_utilization: 30%", Fraction(295, 1000), Fraction(305, 1000)),
        ("ttft: {value: 2 s, tolerance: 5%}", Fraction(19, 10), Fraction(21, 10)),
        ("ttft: {value: 2 s, tolerance: 1 ms}", Fraction(1999, 1000), Fraction(2001, 1000)),
        ("memory_utilization: {value: 30%, tolerance: 2%}", Fraction(28, 100), Fraction(32, 100)),
        ('{"ttft": 1.50}', Fraction(1495, 1000), Fraction(1505, 1000)),
    ],
)
def test_tolerance_follows_the_digits_written_or_is_given(text: str, low: Fraction, high: Fraction) -> None:
    (claim,) = read(text)
    assert (claim.value - claim.slack, claim.value + claim.slack) == (low, high)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("parameters: 1e11", Fraction(95, 10) * 10**10, Fraction(15, 10) * 10**11),
        ("parameters: 2e11", Fraction(15, 10) * 10**11, Fraction(25, 10) * 10**11),
        ("throughput: 1e3 tokens/s", Fraction(950), Fraction(1500)),
        ("ttft: 1.0e-1 s", Fraction(95, 1000), Fraction(105, 1000)),
    ],
)
def test_one_digit_below_a_power_of_ten_is_worth_a_tenth_of_it(text: str, low: Fraction, high: Fraction) -> None:
    """The numbers that round to 1e11 with one digit begin at 9.5e10, which is not 5e10."""
    (claim,) = read(text)
    assert (claim.least, claim.most) == (low, high)


def test_a_count_of_things_is_meant_exactly_however_it_is_written() -> None:
    assert verdict("devices: 1.6e1") == "holds"
    assert verdict("devices: 2e1") == "fails"
    assert verdict("batch: 1e1") == "fails"
    assert verdict("batch: 0.8e1") == "holds"
    assert verdict("batch: {value: 10, tolerance: 25%}") == "holds"


def test_a_claim_at_the_edge_of_its_digits() -> None:
    held = Fraction(judge_layout(problem(), LAYOUT).figures["expert_weights_bytes"].value)
    assert held == 4 * 3 * 1024 * 512 * 2 // 2 * 3
    for value, expected in ((held, "holds"), (held + 5, "holds"), (held + 6, "fails"), (held - 6, "fails")):
        text = f"expert_weights: {{value: {value}, tolerance: 5 B}}"
        assert verdict(text) == expected


def test_every_figure_can_be_claimed() -> None:
    """What is derived, claimed back digit by digit, holds; off by a tenth, it does not."""
    for phase in ("aggregated", "decode", "prefill"):
        question = problem(workload={"phase": phase})
        figures = judge_layout(question, LAYOUT).figures
        for name, kind in CLAIMS.items():
            figure = figures.get(kind.readings[0].figure)
            if figure is None or not kind.defined:
                continue
            value = Fraction(figure.value)
            shown = value.numerator if value.denominator == 1 else float(value)
            exact = f"{name}: {{value: {shown}, tolerance: 0.000001%}}" if value else f"{name}: 0"
            assert verdict(exact, question=question) == "holds", (phase, name, exact)
            if value:
                off = f"{name}: {{value: {float(value) * 1.1:.12g}, tolerance: 0}}"
                assert verdict(off, question=question) != "holds", (phase, name)


def test_other_names_mean_the_same() -> None:
    assert set(ALIASES.values()) <= set(CLAIMS)
    assert not set(ALIASES) & set(CLAIMS)
    assert verdict("gpus: 16") == verdict("world_size: 16") == "holds"


def test_an_ambiguous_word_names_the_reading_that_makes_it_true() -> None:
    instance = judged("experts_per_gpu: 12")["experts_per_gpu"]
    assert instance.verdict is Verdict.AMBIGUOUS
    assert instance.note == "true as: expert instances over the layers of the stage"
    assert [(reading.name, reading.holds) for reading in instance.readings] == [
        ("distinct experts of one layer", False),
        ("expert instances over the layers of the stage", True),
        ("whole-expert equivalents", False),
    ]
    assert verdict("experts_per_gpu: 4") == "ambiguous"
    assert verdict("experts_per_gpu: 5") == "fails"
    everywhere = Layout(tp=1, dp=16, pp=8, etp=1, ep=16, batch=1)
    layers = (Run(pattern=("moe",), count=8),)
    uniform = ModelSpec(name="uniform", hidden_size=1024, vocab_size=32000, blocks=MOE.blocks, layers=layers)
    assert verdict("experts_per_gpu: 1", question=problem(uniform, devices=128), layout=everywhere) == "holds"


def test_gigabytes_and_gibibytes_are_readings_of_their_own() -> None:
    held = judge_layout(problem(), LAYOUT).evaluation
    assert held is not None
    gib, gb = held.memory_bytes / 2**30, held.memory_bytes / 10**9
    assert verdict(f"memory: {gib:.3f} GiB") == "holds"
    wrong = judged(f"memory: {gib:.3f} GB")["memory"]
    assert wrong.verdict is Verdict.AMBIGUOUS
    assert wrong.note == "true as: per device, GB read as GiB"
    assert judged(f"memory: {gb:.3f} GiB")["memory"].note == "true as: per device, GiB read as GB"


def test_per_device_and_in_total() -> None:
    figures = judge_layout(problem(), LAYOUT).figures
    total = figures["total_expert_weights_bytes"].value
    claim = judged(f"expert_weights: {total}")["expert_weights"]
    assert claim.verdict is Verdict.AMBIGUOUS
    assert claim.note == "true as: in total over all devices"
    assert claim.ratio == 1


def test_a_claim_carries_its_arithmetic() -> None:
    claim = judged("devices: 32")["devices"].to_json()
    assert claim["verdict"] == "fails"
    assert claim["derived"] == 16
    assert claim["ratio"] == 2
    assert claim["formula"] == "tp · cp · dp · pp"
    assert claim["substituted"] == "2 · 1 · 4 · 2 = 16"
    assert (claim["line"], claim["column"]) == (1, 10)


def test_what_nothing_derives_is_unsupported() -> None:
    assert verdict("accuracy: 93%") == "unsupported"
    assert verdict("ttft: 1 s", question=problem(workload={"phase": "decode"})) == "unsupported"
    dense = Layout(tp=2, dp=4, batch=8)
    assert verdict("expert_instances: 4", question=problem(DENSE), layout=dense) == "unsupported"


def test_impossible_names_the_resource_the_factor_and_every_reading() -> None:
    claim = judged("throughput_per_device: 1e12")["throughput_per_device"]
    assert claim.verdict is Verdict.IMPOSSIBLE
    assert [limit.reading for limit in claim.limits] == [
        "decode, one sequence a rank",
        "decode at the layout's batch",
        "decode at the largest batch that memory holds",
        "prefill",
    ]
    assert all(limit.factor > 1 for limit in claim.limits)
    assert {limit.resource for limit in claim.limits} <= {"compute", "memory bandwidth", "link 'node'", "link 'fabric'"}


def test_what_only_fails_at_batch_one_is_not_impossible() -> None:
    question = problem(workload={"phase": "decode"})
    claim = judged("throughput_per_device: 1", question=question)["throughput_per_device"]
    assert claim.verdict is Verdict.FAILS
    limits = {limit.reading: limit for limit in judged("throughput_per_device: 1e15")["throughput_per_device"].limits}
    alone, largest = (
        limits["decode, one sequence a rank"].value,
        limits["decode at the largest batch that memory holds"].value,
    )
    assert alone < largest
    between = f"throughput_per_device: {float(alone + largest) / 2:.0f}"
    assert verdict(between) == "fails"


@given(st.sampled_from(["ttft", "tpot", "latency"]), st.integers(1, 10**6))
def test_times_are_impossible_only_below_the_bound(name: str, parts: int) -> None:
    """No time between the ideal schedule's and anything longer is ever called impossible."""
    figure = judge_layout(problem(), LAYOUT).figures[f"{name}_s"]
    assert figure.bound is not None
    slow = float(figure.bound) * (1 + parts / 1000)
    assert verdict(f"{name}: {slow:.9f} s") != "impossible"


def test_shares_above_one_are_impossible() -> None:
    assert verdict("mfu: 151582%") == "impossible"
    assert verdict("hbm_utilization: 101%") == "impossible"
    assert verdict("hbm_utilization: 99%") == "fails"
    assert verdict("ttft: 1 ns") == "impossible"
    assert verdict("tpot: 1 ns") == "impossible"
    assert verdict("latency: 1 ns") == "impossible"
    assert verdict("fabric_bandwidth: 51 GB/s") == "impossible"
    assert verdict("fabric_bandwidth: 49 GB/s") == "fails"
    assert verdict("flops: 300 TFLOP/s") == "impossible"
    assert verdict("requests_per_second: 1e9") == "impossible"


def _shown(name: str, unit: float = 10**9) -> str:
    return f"{float(judge_layout(problem(), LAYOUT).figures[name].value) / unit:.9f}"


def test_bandwidth_used_and_rated_of_every_tier() -> None:
    assert judged("link_bandwidth: 25 GB/s")["link_bandwidth"].note == "true as: rated, outermost tier"
    assert judged("link_bandwidth: 100 GB/s")["link_bandwidth"].note == "true as: rated, innermost tier"
    used = f"link_bandwidth: {_shown('node_bytes_per_s')} GB/s"
    assert judged(used)["link_bandwidth"].note == "true as: used of the innermost tier"
    assert verdict(f"fabric_utilization: {_shown('fabric_utilization', 0.01)}%") == "holds"
    assert judged("node_bandwidth: 100 GB/s")["node_bandwidth"].note == "true as: rated"
    assert judged("node_bandwidth: 200 GB/s")["node_bandwidth"].note == "true as: rated, both directions"
    assert judged("fabric_bandwidth: 50 GB/s")["fabric_bandwidth"].note == "true as: rated, both directions"
    assert judged("hbm_bandwidth: 1.00 TB/s")["hbm_bandwidth"].note == "true as: rated"


@pytest.mark.parametrize(
    ("claim", "verdict_", "resource"),
    [
        ("link_bandwidth: 99 GB/s", "fails", ""),
        ("link_bandwidth: 201 GB/s", "impossible", "link 'node'"),
        ("node_bandwidth: 99 GB/s", "fails", ""),
        ("node_bandwidth: 201 GB/s", "impossible", "link 'node'"),
        ("network_bandwidth: 51 GB/s", "impossible", "link 'fabric'"),
        ("hbm_bandwidth: 0.99 TB/s", "fails", ""),
        ("memory_bandwidth: 1.1 TB/s", "impossible", "memory bandwidth"),
        ("node_utilization: 101%", "impossible", "the device"),
    ],
)
def test_a_bandwidth_is_bounded_by_its_own_link(claim: str, verdict_: str, resource: str) -> None:
    (found,) = judged(claim).values()
    assert found.verdict == verdict_
    assert [limit.resource for limit in found.limits] == ([resource] if resource else [])


def test_the_part_of_the_weights_that_a_result_names_so() -> None:
    figures = judge_layout(problem(), LAYOUT).figures
    assert verdict(f"weights_bytes: {figures['weights_bytes'].value}") == "holds"
    assert verdict(f"weights_bytes: {figures['model_weights_bytes'].value}") == "ambiguous"
    assert verdict(f"weights: {figures['model_weights_bytes'].value}") == "holds"


def test_a_figure_that_needs_more_says_what() -> None:
    assert "without a placement and measured co-activation" in judged("nodes_visited: 1.5")["nodes_visited"].note
    assert "without a price" in judged("cost_per_hour: 4 $/h")["cost_per_hour"].note
    assert "without a placement and one in service" in judged("moves: 4")["moves"].note


def test_a_layout_without_a_price_supports_no_claim() -> None:
    question = problem()
    layout = Layout(tp=2, dp=4, etp=2, ep=4, pp=9)
    verdict = judge_layout(question, layout)
    assert not verdict.feasible
    assert verdict.evaluation is None
    assert verdict.to_json()["figures"] == {}


def test_a_role_is_not_bound_by_what_the_other_role_does() -> None:
    """Long prompts and short answers: prefill bounds nothing in phase decode, decode nothing in phase prefill."""
    long_prompts = {"input_tokens": 100_000, "output_tokens": 10}
    decode = problem(workload={"phase": "decode", **long_prompts})
    figures = judge_layout(decode, LAYOUT).figures
    seconds, rate = (float(figures[name].value) for name in ("latency_s", "request_capacity_per_s"))
    assert verdict(f"latency: {seconds * 1.4:.6f} s", question=decode) == "fails"
    assert verdict(f"request_capacity: {rate * 0.9:.6f}", question=decode) == "fails"
    assert verdict("latency: 1 ns", question=decode) == "impossible"
    assert verdict("request_capacity: 1e9", question=decode) == "impossible"
    prefill = problem(workload={"phase": "prefill", "input_tokens": 16, "output_tokens": 100_000})
    rate = float(judge_layout(prefill, LAYOUT).figures["request_capacity_per_s"].value)
    assert verdict(f"request_capacity: {rate * 0.9:.6f}", question=prefill) == "fails"


def test_a_rank_holds_the_cache_of_its_batch_and_of_no_sequence_more() -> None:
    figures = judge_layout(problem(), LAYOUT).figures
    assert figures["kv_cache_bytes"].inputs["sequences"] == LAYOUT.batch
    each = Fraction(figures["kv_cache_bytes_per_sequence"].value)
    # Two stages of four layers hold the same.
    assert Fraction(figures["kv_cache_bytes"].value) == LAYOUT.batch * each / 2
    assert 0 < figures["sequences_in_prefill"].value <= LAYOUT.batch


def test_parameters_of_a_device_are_counted_not_shared_out_by_bytes() -> None:
    """gpt-oss-120b, MXFP4 experts beside 16-bit attention: 16 of 128 experts of 36 layers, and all of the rest."""
    model = load_model("gpt-oss-120b")
    question = problem(model, workload={"phase": "decode"}, hardware=load_hardware("h100-sxm-8"), devices=8)
    layout = Layout(tp=1, dp=8, ep=8, etp=1, edp=1, batch=8)
    held = judge_layout(question, layout).figures["parameters_per_device"].value
    expert = 3 * 2880 * 2880 + 3 * 2880
    assert held == 116_829_156_672 - (128 - 16) * 36 * expert


def test_weights_are_judged_as_the_checkpoint_stores_them_too() -> None:
    """gpt-oss-120b's experts: 4 bits an element and a byte of scale for 32, padded from 2,880 by vLLM's kernels."""
    question = problem_in(
        load_text(
            "{model: gpt-oss-120b, hardware: h100-sxm-8, devices: 8, engine: vllm, "
            "workload: {phase: decode, input_tokens: 1000, output_tokens: 200}}"
        )
    )
    layout = Layout(tp=1, dp=8, ep=8, etp=1, edp=1, batch=8)
    each = 3 * 2880 * (2880 // 2 + 2880 // 32) + 3 * 2880 * 2  # with the biases, in 16 bits
    only = judged(f"expert_weights: {16 * 36 * each} B", question, layout)["expert_weights"]
    assert only.verdict == "ambiguous"
    assert [reading.name for reading in only.readings if reading.holds] == [
        "per device, as in the checkpoint: not padded for a kernel"
    ]
    figures = judge_layout(question, layout).figures
    padding = figures["expert_weights_bytes"].value - figures["expert_weights_bytes_as_stored"].value
    assert figures["model_weights_bytes"].value - figures["model_weights_bytes_as_stored"].value == padding > 0
    for total in ("total_expert_weights_bytes", "total_weights_bytes", "model_bytes"):
        assert figures[total].value - figures[f"{total}_as_stored"].value == 8 * padding
    # nothing pads FP8 experts
    assert not any(name.endswith("_as_stored") for name in judge_layout(problem(), LAYOUT).figures)


def test_parameters_of_all_devices_add_up_where_nothing_is_held_twice() -> None:
    for model in (DENSE, MOE):
        total = parameter_table(model).total
        shape = Shape(1, 1, 1, 1, 2)
        assert parameters_held(model, shape, 0, 3) + parameters_held(model, shape, 3, 5) == total
    norms = 17 * 1024
    assert 2 * parameters_held(DENSE, Shape(2, 1, 1, 1, 1), 0, 8) == parameter_table(DENSE).total + norms
