"""Launches that people reported (benchmarks/data/engine_runs.csv): whether they ran, and what the log said."""

from __future__ import annotations

import pytest

from benchmarks import Row, table
from benchmarks.engine_runs import judged
from optimizer.figures.reserve import error_bytes
from optimizer.readers.launch.problem import pose
from optimizer.readers.launch.read import read_launch
from optimizer.readers.read import Override
from optimizer.verify.launch import judge_launch

ROWS = table("engine_runs.csv")
MAYBE = {
    "recipes pull request 12", "spark-vllm-docker issue 396", "vllm issue 10517 (comment)", "DeepSeek-R1 issue 507",
    "Qwen3-VL issue 1489", "Qwen3-VL pull request 1507", "vllm issue 6689", "Kimi-K2 issue 51",
    "NVIDIA forum topic 370416", "vllm issue 51041 (TP 2)",
    *(f"InferenceX recipes of August 2026, disagg-{name}" for name in (
        "b200-1p1d-dep8-tp8-mtp", "b200-low-middle-c256", "gb200-high-tpt-megamoe-mtp2", "gb300-1p6d-dep4-tp4",
    )),
}  # fmt: skip
"""What ran and is said that it may not."""


def test_enough_is_labelled() -> None:
    assert len(ROWS) >= 90
    assert sum(row["outcome"] != "ran" for row in ROWS) >= 45
    assert all(row["source"] for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['source']}: {row['command'][:70]}")
def test_launch(row: Row) -> None:
    found = judged(row)
    told = " ".join(violation.message for violation in found.verdict.violations)
    if row["outcome"] == "ran":
        assert found.right, told
        assert found.verdict.fits == "yes" or row["source"] in MAYBE
    elif not found.right:
        assert row["apart"]
    elif found.verdict.fits == "no":
        assert row["says"] in told
    else:
        assert found.verdict.doubts
        assert not row["says"]
    if row["weights_gib"] and not row["engine"].startswith("vllm@0.5"):
        assert found.verdict.evaluation is not None
        stage = found.verdict.evaluation.memory[0]
        held = stage.weights_bytes + stage.expert_weights_bytes + stage.replicated_weights_bytes
        assert held / 2**30 == pytest.approx(float(row["weights_gib"]), rel=0.015)
    if row["tokens"] and row["outcome"] == "ran":
        assert float(found.verdict.figures["kv_cache_tokens"].value) == pytest.approx(float(row["tokens"]), rel=0.12)


def test_nothing_that_ran_is_refused_and_nothing_that_died_is_said_to_fit() -> None:
    own = [judged(row) for row in ROWS]
    assert sum(not one.right for one in own if one.ran) == 0
    assert sum(not one.right for one in own if not one.ran and not one.row["apart"]) == 0
    ran = [one for one in own if one.ran]
    assert sum(one.verdict.fits == "may not fit" for one in ran) <= len(ran) / 4
    assert sum(bool(row["apart"]) for row in ROWS) <= 1
    assert sum(bool(row["held"]) for row in ROWS) >= 15


def test_a_doubt_is_none_where_the_reserve_is_stated() -> None:
    (row,) = (row for row in ROWS if row["source"] == "vllm issue 44376")
    given = [Override("--hardware", ("hardware",), "gh200"), Override("--reserve", ("limits", "reserve"), "2 GiB")]
    posed = pose(read_launch(row["command"], "it"), [*given, Override("--engine", ("engine",), row["engine"])])
    assert judged(row).verdict.fits == "may not fit"
    assert judge_launch(posed).verdict.fits == "yes"


@pytest.mark.parametrize(("eager", "fits"), [(False, "no"), (True, "yes")])
def test_graphs_before_0_21_lie_beside_the_share(*, eager: bool, fits: str) -> None:
    """67 sizes of 32 layers: (1.3 + 32 · 0.41) · 67 MiB, 0.95 GiB, of 1% of 79.2 GiB."""
    command = "vllm serve meta-llama/Llama-3.1-8B-Instruct --gpu-memory-utilization 0.99 --max-model-len 8192"
    given = [Override("--hardware", ("hardware",), "h100-sxm-8")]
    for engine, wanted in (("vllm@0.10", fits), ("vllm@0.22", "yes")):
        posed = pose(
            read_launch(command + (" --enforce-eager" if eager else ""), "it"),
            [*given, Override("--engine", ("engine",), engine)],
        )
        assert judge_launch(posed).verdict.fits == wanted


@pytest.mark.parametrize(
    ("flags", "vision"),
    [
        ("", True), ("--language-model-only", False), ("--no-language-model-only", True),
        ('--limit-mm-per-prompt \'{"image": 0, "video": 0}\'', False), ('--limit-mm-per-prompt \'{"image": 0}\'', True),
    ],
)  # fmt: skip
def test_a_vision_encoder_can_be_left_out(flags: str, *, vision: bool) -> None:
    command = f"vllm serve Qwen/Qwen3-VL-30B-A3B-Instruct {flags}"
    posed = pose(read_launch(command, "it"), [Override("--hardware", ("hardware",), "h100-sxm-8")])
    assert (posed.problem.model.vision is not None) is vision


@pytest.mark.parametrize(
    ("command", "weights", "said"),
    [
        ("deepseek-ai/DeepSeek-R1 --quantization fp8", "fp8_block", False),
        ("Qwen/Qwen3-32B-FP8 --quantization fp8", "fp8_block", False),
        ("Qwen/Qwen3-32B --quantization fp8", "fp8", False),
        ("Qwen/Qwen3-32B --quantization awq_marlin", "int4", True),
    ],
)
def test_a_quantised_checkpoint_keeps_its_format(command: str, weights: str, *, said: bool) -> None:
    """vLLM issue 12256: DeepSeek-R1's blocks of 128 refuse 32 ranks whatever `--quantization fp8` asks for."""
    posed = pose(read_launch(f"vllm serve {command}", "it"), [Override("--hardware", ("hardware",), "h100-sxm-8")])
    own = posed.problem.precision
    assert weights in {own.weights, own.attention}
    assert any("awq_marlin says" in text for text in posed.assumed) is said


@pytest.mark.parametrize(
    ("model", "experts", "attention", "known"),
    [
        ("moonshotai/Kimi-K2-Thinking", "int4_g32", "bf16", True),
        ("nvidia/Kimi-K2-Thinking-NVFP4", "nvfp4", "bf16", False),
        ("unsloth/Kimi-K2-Thinking-BF16", "bf16", "bf16", False),
        ("nvidia/DeepSeek-V4-Pro-NVFP4", "nvfp4", "fp8_block", True),
        ("someone/DeepSeek-V4-Pro-NVFP4", "nvfp4", "fp8_block", False),
        ("nvidia/DeepSeek-R1-FP4", "nvfp4", "nvfp4", False),
    ],
)
def test_a_name_that_ends_in_a_format_says_that_of_experts_that_have_one_of_their_own(
    model: str, experts: str, attention: str, *, known: bool
) -> None:
    posed = pose(read_launch(f"vllm serve {model} -tp 8", "it"), [Override("--hardware", ("hardware",), "b200-sxm-8")])
    own = posed.problem.precision
    assert (own.experts or own.weights, own.attention or own.weights) == (experts, attention)
    assert any("as the name ends" in text for text in posed.assumed) is not known


SGLANG = "python3 -m sglang.launch_server --model-path"


def fits(command: str, engine: str, hardware: str = "h100-sxm-8") -> tuple[str, str]:
    """What is said of a command in a release, and the first reason."""
    given = [Override("--hardware", ("hardware",), hardware), Override("--engine", ("engine",), engine)]
    verdict = judge_launch(pose(read_launch(command, "it"), given)).verdict
    reasons = (*(violation.message for violation in verdict.violations), *verdict.doubts, "")
    return verdict.fits, reasons[0]


@pytest.mark.parametrize(
    ("engine", "drafts", "said", "part"),
    [
        ("sglang@0.4.9", True, "no", "46 layers"),
        ("sglang@0.5.2", True, "yes", ""),
        ("sglang@0.4.9", False, "yes", ""),
        ("sglang", True, "yes", ""),
    ],
)
def test_drafts_beside_the_share_of_early_sglang(engine: str, said: str, part: str, *, drafts: bool) -> None:
    """0.4.9.post5 keeps a cache of all 46 layers for the drafts of GLM-4.5: 28 GiB, beside 30% of 79."""
    flags = "--speculative-algorithm EAGLE --speculative-num-steps 3 --speculative-eagle-topk 1" if drafts else ""
    command = f"{SGLANG} zai-org/GLM-4.5-Air-FP8 --tp 4 --mem-fraction-static 0.7 {flags}"
    found, why = fits(command, engine)
    assert found == said
    assert part in why


@pytest.mark.parametrize(
    ("flags", "said"),
    [("", "may not fit"), ("--max-model-len 32768", "yes"), ("--max-num-batched-tokens 8192", "yes")],
)
def test_the_first_engine_computes_prompts_of_latent_attention_whole(flags: str, said: str) -> None:
    command = f"vllm serve moonshotai/Kimi-K2-Instruct -tp 16 {flags}"
    assert fits(command, "vllm@0.9", "h20-8")[0] == said
    assert fits(f"VLLM_USE_V1=1 {command}", "vllm@0.9", "h20-8")[0] == "yes"
    assert fits(command, "vllm@0.11", "h20-8")[0] == "yes"


@pytest.mark.parametrize(
    ("model", "engine", "said"),
    [
        ("Qwen/Qwen3-235B-A22B-GPTQ-Int4", "sglang@0.4.6", "may not fit"),
        ("Qwen/Qwen3-235B-A22B-GPTQ-Int4", "sglang@0.5.8", "may not fit"),
        ("Qwen/Qwen3-235B-A22B-GPTQ-Int4", "sglang@0.5.9", "yes"),
        ("Qwen/Qwen2.5-32B-Instruct-GPTQ-Int4", "sglang@0.4.6", "yes"),
    ],
)
def test_experts_of_4_bit_stood_twice_in_early_sglang(model: str, engine: str, said: str) -> None:
    command = f"{SGLANG} {model} --tp 2 --context-length 8192"
    assert fits(command, engine, "a100-sxm-8")[0] == said


def test_scales_of_deepseek_v4_stay_as_loaded_before_sglang_0_5_16() -> None:
    """Four bytes of each 32 elements of 1,547 billion on 8 ranks: 22.5 GiB (InferenceX issue 2128: 125.65 in all)."""
    command = f"{SGLANG} deepseek-ai/DeepSeek-V4-Pro --tp 8 --mem-fraction-static 0.88"
    assert fits(command, "sglang@0.5.15", "h200-sxm-8")[0] == "no"
    assert fits(command, "sglang@0.5.16", "h200-sxm-8")[0] == "yes"


@pytest.mark.parametrize(("engine", "said"), [("vllm@0.12", "may not fit"), ("vllm@0.17", "yes")])
def test_pictures_under_a_mask_hold_their_scores(engine: str, said: str) -> None:
    command = "vllm serve moonshotai/Kimi-VL-A3B-Instruct --tensor-parallel-size 2 --max-model-len 8192"
    found, why = fits(command, engine)
    assert found == said
    assert said == "yes" or ("66.38 GiB" in why and "flash-attn" in why)


def test_rooms_of_makers_without_a_log_are_known_less_well() -> None:
    command = "vllm serve meta-llama/Llama-3.3-70B-Instruct --tensor-parallel-size 2 --max-model-len 8192"
    for hardware, share in (("h200-sxm-8", 0.03), ("mi300x-8", 0.09)):
        posed = pose(read_launch(command, "it"), [Override("--hardware", ("hardware",), hardware)])
        device = posed.problem.hardware.device
        assert error_bytes(posed.problem) == pytest.approx(share * device.exposed_memory)
