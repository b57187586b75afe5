"""Flags that change a device's memory and are not modelled: neither a "no" nor a "fits" where they could turn it."""

from __future__ import annotations

import pytest

from optimizer.readers.launch.problem import Posed, pose
from optimizer.readers.launch.read import read_launch
from optimizer.readers.read import Override
from optimizer.verify.launch import LaunchVerdict, judge_launch

SGLANG = "python3 -m sglang.launch_server --model-path"
LLAMA = "vllm serve meta-llama/Llama-3.3-70B-Instruct --max-model-len 8192"
QWEN = "vllm serve Qwen/Qwen3-32B --max-model-len 8192"
EAGLE, NGRAM = '\'{"method": "eagle3", "model": "x/y"}\'', '\'{"method": "ngram", "num_speculative_tokens": 3}\''


def posed(command: str, hardware: str = "h100-sxm-8", *more: Override) -> Posed:
    return pose(read_launch(command, "it"), [Override("--hardware", ("hardware",), hardware), *more])


def judged(command: str, hardware: str = "h100-sxm-8") -> LaunchVerdict:
    return judge_launch(posed(command, hardware))


@pytest.mark.parametrize(
    ("command", "hardware", "fits", "says"),
    [
        # weights of 131.4 GiB on one device of 80 GB: 100 GiB of them may lie on the host, and 10 do not help
        (f"{LLAMA} --cpu-offload-gb 100", "h100-sxm-8", "may not fit", "--cpu-offload-gb 100: changes memory"),
        (f"{LLAMA} --cpu-offload-gb 10", "h100-sxm-8", "no", "stage 0 needs"),
        (f"{LLAMA} --cpu-offload-gb 0", "h100-sxm-8", "no", "stage 0 needs"),
        (f"{LLAMA} -tp 3 --cpu-offload-gb 100", "h100-sxm-8", "no", "must be divisible by tensor parallel size (3)"),
        (f"{LLAMA} -tp 4 --cpu-offload-gb 10", "h100-sxm-8", "yes", ""),
        (f"{LLAMA} --enable-lora", "h100-sxm-8", "no", "stage 0 needs"),
        (f"{SGLANG} deepseek-ai/DeepSeek-V3 --tp 4 --cpu-offload-gb 90", "h200-sxm-8", "may not fit", "stage 0 needs"),
        (f"{SGLANG} deepseek-ai/DeepSeek-V3 --tp 8 --kt-weight-path w", "rtx-4090-8", "may not fit", "--kt-weight-pa"),
        (f"{QWEN} --num-gpu-blocks-override 1000", "h200-sxm-8", "may not fit", "changes memory of a device"),
        (f"{QWEN} --enable-lora", "h200-sxm-8", "may not fit", "--enable-lora takes memory"),
        (f"{QWEN} --no-enable-lora", "h200-sxm-8", "yes", ""),
        (f"{QWEN} --speculative-config {EAGLE}", "h200-sxm-8", "may not fit", "takes memory"),
        (f"{QWEN} --speculative-config {NGRAM}", "h200-sxm-8", "yes", ""),
        (f"{QWEN} --kv-offloading-size 100 --mm-processor-cache-gb 8", "h200-sxm-8", "yes", ""),
        (f"{SGLANG} Qwen/Qwen3-32B --max-total-tokens 4096", "h200-sxm-8", "may not fit", "--max-total-tokens 4096"),
        (f"{QWEN} --hf-overrides '{{\"num_hidden_layers\": 4}}'", "h200-sxm-8", "may not fit", "--hf-overrides"),
        (f"{QWEN} --hf-overrides.text_config.num_hidden_layers 4", "h200-sxm-8", "may not fit", "--hf-overrides"),
        (f"{QWEN} --hf-overrides '{{\"architectures\": [\"A\"]}}'", "h200-sxm-8", "yes", ""),
        # of layers that a model has not, nothing
        (f"{QWEN} --mamba-cache-dtype float32", "h200-sxm-8", "yes", ""),
        ("vllm serve Qwen/Qwen3-Next-80B-A3B-Instruct -tp 4 --mamba-cache-dtype float32", "h200-sxm-8", "may not fit",
         "--mamba-cache-dtype float32 changes memory"),
        ("vllm serve openai/gpt-oss-20b --disable-sliding-window", "h200-sxm-8", "may not fit", "--disable-sliding"),
        (f"{QWEN} --disable-sliding-window", "h200-sxm-8", "yes", ""),
    ],
)  # fmt: skip
def test_what_is_not_modelled_is_a_doubt(command: str, hardware: str, fits: str, says: str) -> None:
    verdict = judged(command, hardware).verdict
    told = " ".join((*(violation.message for violation in verdict.violations), *verdict.doubts))
    assert (verdict.fits, bool(told)) == (fits, bool(says))
    assert says in told


@pytest.mark.parametrize(
    ("quantization", "hardware", "weights", "fits"),
    [
        ("bitsandbytes", "l40s-8", "nf4", "yes"),
        ("fp8_per_block", "l40s-8", "fp8", "yes"),
        ("int8_per_channel_weight_only", "b200-sxm-8", "int8_channel", "yes"),
        ("nvfp4_per_token", "h100-sxm-8", "nvfp4", "yes"),
        # what it makes of them is in a file that is not here
        ("torchao", "l40s-8", "bf16", "may not fit"),
        ("torchao", "h200-sxm-8", "bf16", "may not fit"),
    ],
)
def test_weights_are_what_an_engine_makes_of_them(quantization: str, hardware: str, weights: str, fits: str) -> None:
    """vLLM docs/features/quantization: 65.5 GB of Qwen3-32B do not fit 48 GB, and 4 or 8 bits of each weight do."""
    found = judged(f"{QWEN} --quantization {quantization}", hardware)
    assert found.posed.problem.precision.weights == weights
    assert found.verdict.fits == fits


def test_what_a_name_or_an_option_says_of_weights_leaves_no_doubt() -> None:
    assert judged(f"{QWEN.replace('32B', '32B-AWQ')} --quantization moe_wna16", "h200-sxm-8").verdict.fits == "yes"
    stated = posed(f"{QWEN} --quantization torchao", "h200-sxm-8", Override("-", ("precision", "weights"), "int8"))
    assert judge_launch(stated).verdict.fits == "yes"
    assert judged("vllm serve unsloth/Qwen3-32B-unsloth-bnb-4bit --max-model-len 8192", "l40s-8").verdict.fits == "yes"


@pytest.mark.parametrize(
    ("flags", "captured"),
    [
        ("--enforce-eager", False),
        ('-cc \'{"cudagraph_mode": "NONE"}\'', False),
        ("-cc.cudagraph_mode none", False),
        ("-O0", False),
        ("-O0 -cc.cudagraph_mode FULL_DECODE_ONLY", True),
        ("-O3", True),
        ('-cc \'{"cudagraph_mode": "FULL_AND_PIECEWISE"}\'', True),
    ],
)
def test_graphs_that_are_not_captured_take_no_memory(flags: str, *, captured: bool) -> None:
    """vLLM config/compilation.py CUDAGraphMode, config/vllm.py OptimizationLevel."""
    assert (posed(f"{QWEN} {flags}").launch.operating.capture_sizes == ()) is not captured


def test_experts_alone_are_quantised_where_the_engine_says_so() -> None:
    own = posed("vllm serve Qwen/Qwen3-30B-A3B --quantization experts_int8").problem.precision
    assert (own.weights, own.experts) == ("bf16", "int8")


def test_weights_and_cache_of_32_bits() -> None:
    own = posed("vllm serve Qwen/Qwen3-32B --dtype float32").problem.precision
    assert (own.weights, own.kv_cache) == ("fp32", "fp32")
    quantised = "python -m sglang.launch_server --model-path Qwen/Qwen3-32B-FP8 --dtype float32"
    own = posed(f"{quantised} --kv-cache-dtype fp8_e4m3").problem.precision
    assert (own.weights, own.kv_cache) == ("fp8_block", "fp8")


@pytest.mark.parametrize(("flags", "sharded"), [("", True), ("--mm-encoder-tp-mode weights", True),
                                                ("--mm-encoder-tp-mode data", False)])  # fmt: skip
def test_an_encoder_may_be_whole_on_every_rank(flags: str, *, sharded: bool) -> None:
    vision = posed(f"vllm serve moonshotai/Kimi-K2.5 -tp 32 --nnodes 4 {flags}").problem.model.vision
    assert vision is not None
    assert vision.sharded is sharded
    refused = judged(f"vllm serve moonshotai/Kimi-K2.5 -tp 32 --nnodes 4 --max-model-len 8192 {flags}").verdict
    assert refused.feasible is not sharded
