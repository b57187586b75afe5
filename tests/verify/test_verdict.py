"""Whole judgements: the document, its exit status, an engine's convention, the seed systems."""

from __future__ import annotations

import json

import pytest

from optimizer.errors import Exit, SpecError
from optimizer.figures.bounds import throughput_bounds
from optimizer.readers.document import load_text
from optimizer.readers.read import layout_in
from optimizer.verify import LayoutVerdict, judge
from optimizer.verify.claim_table import dimensions


def judged(text: str) -> LayoutVerdict:
    return judge(layout_in(load_text(text), claims=dimensions()))


SEED_B = """\
problem: seed-b-4x4x2
layout: {convention: folded, tp: 4, pp: 4, dp: 2, ep: 8, batch: 16}
"""


def verdicts(text: str) -> dict[str, str]:
    return {claim.claim.name: str(claim.verdict) for claim in judged(text).claims}


def test_the_judgement_is_one_document() -> None:
    verdict = judged(SEED_B + "claims: {devices: 32, experts_resident_per_layer: 2, expert_instances: 8}\n")
    assert verdict.feasible
    assert verdict.exit_status is Exit.YES
    document = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert document["feasible"] is True
    assert document["violations"] == []
    assert [claim["verdict"] for claim in document["claims"]] == ["holds", "holds", "holds"]
    assert document["layout"]["stages"][1] == {"first_layer": 4, "layers": 4}
    assert sum(document["figures"]["memory"].values()) == document["figures"]["memory_bytes"]


def test_a_failing_claim_and_a_violated_constraint_are_a_no() -> None:
    assert judged(SEED_B + "claims: {devices: 31}\n").exit_status is Exit.NO
    assert judged(SEED_B + "claims: {experts_per_gpu: 2, accuracy: 5%}\n").exit_status is Exit.YES
    crowded = judged(SEED_B.replace("batch: 16", "batch: 100000"))
    assert crowded.exit_status is Exit.NO
    assert {violation.family for violation in crowded.violations} == {"memory", "batch", "ttft"}


def test_an_engine_s_convention_brings_its_rules() -> None:
    text = SEED_B.replace("ep: 8", "ep: 4, etp: 2")
    assert judged(text).feasible
    assert [str(v.family) for v in judged(text.replace("folded", "vllm")).violations] == ["engine"]


def test_system_b_has_two_device_counts() -> None:
    """32 devices where EP re-uses ranks, 256 where it multiplies them."""
    assert verdicts(SEED_B + "claims: {devices: 32}\n") == {"devices": "holds"}
    product = SEED_B.replace("folded", "product")
    assert judged(product).layout.devices == 256
    assert [str(v.family) for v in judged(product).violations] == ["devices"]


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("experts_resident_per_layer: 2", "holds"),
        ("expert_instances: 8", "holds"),
        ("experts_per_gpu: 2", "ambiguous"),
        ("experts_per_gpu: 8", "ambiguous"),
        ("parameters: 10e9", "fails"),
        ("experts_parameters: 0.4B", "holds"),
        ("parameters_per_expert: 1.6M", "holds"),
        ("parameters_per_expert: 83M", "fails"),
        ("expert_weights: 25 MB", "holds"),
        ("expert_weights: 0.62 GB", "fails"),
        ("expert_weights: 2.48 GB", "fails"),
        ("compute_utilization: 151582%", "impossible"),
        ("throughput_per_device: 79", "fails"),
    ],
)
def test_system_b_s_disputed_figures(claim: str, expected: str) -> None:
    (only,) = verdicts(f"{SEED_B}claims: {{{claim}}}\n").values()
    assert only == expected


def test_system_a_counts_experts_per_layer_and_per_stage() -> None:
    text = """\
problem: seed-a-ep64-tp2
layout: {convention: folded, tp: 2, dp: 64, ep: 64, batch: 1}
claims: {devices: 128, experts_resident_per_layer: 1, expert_equivalents: 8, expert_instances: 16}
"""
    assert verdicts(text) == {
        "devices": "holds",
        "experts_resident_per_layer": "holds",
        "expert_equivalents": "holds",
        "expert_instances": "holds",
    }


def test_system_c_is_2048_devices_or_512() -> None:
    text = "problem: seed-c-8x4x16x4\nlayout: {convention: CONVENTION, tp: 8, pp: 4, ep: 16, dp: DP, batch: 1}\n"
    product = text.replace("CONVENTION", "product").replace("DP", "4")
    assert judged(product).layout.devices == 2048
    folded = text.replace("CONVENTION", "folded").replace("DP", "16")
    assert judged(folded).layout.devices == 512


SPARE = """\
problem:
  {model: deepseek-v3, hardware: h800-sxm-8, devices: 96, workload: {phase: decode, input_tokens: 99, output_tokens: 9}}
layout: {tp: 1, dp: 96, ep: 96, batch: 16, redundant_slots: 32}
"""


def test_redundant_slots_are_written_with_the_degrees() -> None:
    verdict = judged(SPARE + "claims: {redundant_slots: 32, experts_resident_per_layer: 3}\n")
    assert verdict.feasible
    assert {str(claim.verdict) for claim in verdict.claims} == {"holds"}
    # 256 experts leave 32 of the 96 devices with 2 of them: copies spread the tokens of the others over the third
    bare = judged(SPARE.replace(", redundant_slots: 32", ""))
    assert verdict.evaluation is not None
    assert bare.evaluation is not None
    assert verdict.evaluation.tpot_s < bare.evaluation.tpot_s
    for wrong in (SPARE.replace("slots: 32", "slots: 90000"), SPARE.replace("deepseek-v3", "llama-3.1-8b")):
        assert "placement" in {str(one.family) for one in judged(wrong).violations}
    held = [list(range(device * 4, device * 4 + 4)) for device in range(64)]
    placed = SPARE.replace("96", "64").replace("slots: 32}", "slots: 64}") + f"placement: {json.dumps([held] * 58)}\n"
    with pytest.raises(SpecError, match=r"redundant_slots: is 64, but the placement has 0 slots"):
        judged(placed)
    assert judged(placed.replace(", redundant_slots: 64", "")).feasible


def test_a_bound_of_the_hardware_is_one_for_any_copies() -> None:
    """256 experts on 96 devices: whatever copies there are, a router may ask the experts that spread the work best."""
    verdict = judged(SPARE)
    bounds = [
        throughput_bounds(verdict.problem, verdict.layout.model_copy(update={"redundant_slots": n}))[1].value
        for n in (0, 32, 128)
    ]
    assert bounds[0] == bounds[1] == bounds[2]


BUSY = """\
problem:
  model: llama-3.1-8b
  hardware: h100-sxm-8
  devices: 2
  workload: {kind: serving, phase: %s, input_tokens: 1000, output_tokens: 200, request_rate: %s}
  limits: %s
layout: {tp: 1, dp: 2, batch: 64, prefill_chunk: 2000}
claims: {ttft: 500 ms, latency: 3 s, ttft_p99: 1 s}
"""


@pytest.mark.parametrize("phase", ["aggregated", "prefill", "decode"])
def test_at_a_load_of_one_or_more_nothing_is_said_of_the_wait(phase: str) -> None:
    for rate in ("1", "10", "20", "30", "40", "100", "300", "1e4"):
        verdict = judged(BUSY % (phase, rate, "{}" if phase == "decode" else "{ttft: {mean: 9 s, p99: 20 s}}"))
        found, figures = verdict.evaluation, verdict.to_json()["figures"]
        assert found is not None
        waits = {name: own for name, own in figures.items() if name.startswith(("ttft", "latency", "concurrency"))}
        claims = {own.claim.name: own for own in verdict.claims}
        assert found.endless == (found.load >= 1)
        if found.load >= 1:
            assert not verdict.feasible
            assert set(waits.values()) == {None}
            assert "queue grows" in claims["latency"].note
            assert {str(own.verdict) for own in claims.values()} == {"unsupported"}
            hourly = 2 * float(verdict.problem.hardware.device.price or 0)
            tokens = figures["throughput_tokens_per_s"] * 3600 / 1e6
            assert figures["cost_dollars_per_million_tokens"] == pytest.approx(hourly / tokens)
        else:
            assert waits["latency_s"] > 0
            assert (waits["ttft_s"] is None) == (phase == "decode")
    assert not verdict.feasible
