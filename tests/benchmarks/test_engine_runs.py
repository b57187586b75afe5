"""Launches that people reported (benchmarks/data/engine_runs.csv): whether they ran, and what the log said."""

from __future__ import annotations

import pytest

from benchmarks import Row, table
from benchmarks.engine_runs import judged
from optimizer.readers.launch.problem import pose
from optimizer.readers.launch.read import read_launch
from optimizer.readers.read import Override
from optimizer.verify.launch import judge_launch

ROWS = table("engine_runs.csv")
MISSED = {
    "Kimi-K2 issue 51": "of 0.9.2 alone",
    "sglang issue 8362": "while weights were loaded",
    "vllm issue 53961": "how much was left is not in the thread",
    "GLM-4.5 issue 3": "the model as its own draft, loaded twice",
    "InferenceX issue 2128": "23.7 GiB of weights that nothing in the source accounts for",
    "Qwen3-VL issue 1493": "run by another implementation of the model",
    "vllm issue 17952": "attention of a vision encoder that is not fused",
}
"""What did not run and is said to fit, and why as far as it is known."""
MAYBE = {
    "recipes pull request 12", "spark-vllm-docker issue 396", "vllm issue 10517 (comment)", "DeepSeek-R1 issue 507",
    "Qwen3-VL issue 1489", "Qwen3-VL pull request 1507", "vllm issue 6689",
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
        assert row["source"] in MISSED
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


def test_nothing_that_ran_is_refused_and_few_that_died_are_said_to_fit() -> None:
    """The targets are none of either; what is missed is named."""
    own = [judged(row) for row in ROWS]
    assert sum(not one.right for one in own if one.ran) == 0
    assert sum(not one.right for one in own if not one.ran) == 8


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
