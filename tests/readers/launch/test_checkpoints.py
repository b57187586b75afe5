"""What engines refuse of a checkpoint's own quantisation, and what of it runs."""

from __future__ import annotations

import pytest

from optimizer.errors import SpecError
from optimizer.readers.launch.problem import pose
from optimizer.readers.launch.read import read_launch
from optimizer.readers.read import Override

SGLANG = "python -m sglang.launch_server --model-path"
OLD_VLLM, OLD_SGLANG = "docker run vllm/vllm-openai:v0.20.0 --model", f"docker run lmsysorg/sglang:v0.5.6 {SGLANG}"
PCP = "--model deepseek-ai/DeepSeek-V3 -tp 4 -pcp 2 --speculative-config"
ATTN_CP = f"{SGLANG} deepseek-ai/DeepSeek-V3 --tp 8 --attn-cp-size 8"
RED_HAT = "RedHatAI/Llama-3.3-70B-Instruct"


def _posed(command: str, hardware: str) -> None:
    pose(read_launch(command, "it"), [Override("--hardware", ("hardware",), hardware)])


@pytest.mark.parametrize(
    ("command", "hardware", "at", "said"),
    [
        ("vllm serve Qwen/Qwen3-32B-AWQ --quantization fp8", "h100-sxm-8", 46, "config of Qwen/Qwen3-32B-AWQ does not"),
        (f"vllm serve {RED_HAT}-FP8-dynamic --quantization fp8", "h200-sxm-8", 71, r"`quantization` argument \(fp8\)"),
        (f"vllm serve {RED_HAT}-quantized.w4a16 --quantization gptq", "h100-sxm-8", None, r"argument \(gptq\)"),
        (f"{SGLANG} Qwen/Qwen3-32B-FP8 --quantization awq", "h100-sxm-8", None, r"argument \(awq\)"),
        ("vllm serve Qwen/Qwen3-32B-FP8 --kv-cache-dtype fp8_e5m2", "h100-sxm-8", 48, "not supported with fp8 check"),
        ("vllm serve deepseek-ai/DeepSeek-V3 -tp 8 --kv-cache-dtype fp8_e5m2", "h200-sxm-8", 59, "with fp8 checkpoin"),
        (f"{OLD_VLLM} {RED_HAT}-quantized.w4a16 --kv-cache-dtype fp8_e5m2", "h100-sxm-8", None, "with fp8 checkpoin"),
        ("vllm serve deepseek-ai/DeepSeek-V3 -tp 8 --kv-cache-dtype nvfp4", "b200-sxm-8", 59, "not supported with MLA"),
        ("docker run vllm:v0.19.0 --model Qwen/Qwen3-32B --kv-cache-dtype nvfp4", "b200-sxm-8", None, "invalid choice"),
        (f"{SGLANG} zai-org/GLM-5.1-FP8 --tp 8 --kv-cache-dtype fp8_e5m2", "h200-sxm-8", None, "only supports bf16"),
        (f"{SGLANG} deepseek-ai/DeepSeek-V4-Pro --tp 8 --kv-cache-dtype fp8_e5m2", "b200-sxm-8", None, "only supports"),
        (f"{SGLANG} nvidia/Llama-3.1-8B-Instruct-FP8", "a100-sxm-8", None, "capability: 89. Current capability: 80"),
        (f"{OLD_VLLM} nvidia/Llama-3.1-8B-Instruct-FP8", "a30-8", None, "capability: 89. Current capability: 80"),
        (f"vllm serve unsloth/{RED_HAT[9:]}-bnb-4bit -tp 2", "h100-sxm-8", 56, "Prequant BitsAndBytes models with"),
        (f"{SGLANG} unsloth/{RED_HAT[9:]}-unsloth-bnb-4bit --tp 2", "h100-sxm-8", None, "Prequant BitsAndBytes models"),
        ("vllm serve Qwen/Qwen3-32B --enable-lora --max-lora-rank 24", "h100-sxm-8", 57, r"max_lora_rank \(24\)"),
        (
            "vllm serve Qwen/Qwen3-32B --enable-lora --max-loras 4 --max-cpu-loras 2", "h100-sxm-8", 71,
            r"max_cpu_loras \(2\) must be >= max_loras \(4\)",
        ),
        (f"{SGLANG} deepseek-ai/DeepSeek-V3 --tp 8 --enable-dp-lm-head", "h200-sxm-8", None, "requires attention DP"),
        ("vllm serve moonshotai/Kimi-K2.5 -tp 8 --enable-lora", "h200-sxm-8", 39, "does not support LoRA"),
        ("vllm serve deepseek-ai/DeepSeek-V3 -tp 4 -pcp 2 --enable-lora", "h200-sxm-8", None, "not support LoRA"),
        (f"docker run vllm:v0.33.0 {PCP}.method=ngram", "h200-sxm-8", None, "only supports DSpark"),
        (f"docker run vllm:v0.28.0 {PCP}.method=eagle3", "h200-sxm-8", None, "does not support speculative decoding"),
        ("docker run vllm:v0.19.0 --model nvidia/Llama-3.3-70B-Instruct-FP8 -tp 2", "mi300x-8", None, "modelopt qua"),
        ("docker run vllm:v0.19.0 --model nvidia/Llama-3.3-70B-Instruct-NVFP4 -tp 2", "mi300x-8", None, "modelopt_fp4"),
        ("docker run vllm:v0.20.0 --model nvidia/Llama-3.3-70B-Instruct-FP8 -tp 2", "mi300x-8", None, "modelopt qua"),
        ("vllm serve Qwen/Qwen3-32B-AWQ -tp 2", "ascend-910b-8", None, "awq quantization is currently not"),
        ("docker run vllm:v0.11.0 --model openai/gpt-oss-20b --enable-lora", "h100-sxm-8", None, "GptOssForCaus"),
        ("docker run vllm:v0.19.1 --model google/gemma-4-31b-it -tp 2 --enable-lora", "h100-sxm-8", None, "Gemma4Fo"),
    ],
)  # fmt: skip
def test_what_is_refused_is_located(command: str, hardware: str, at: int | None, said: str) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        _posed(command, hardware)
    assert at is None or caught.value.faults[0].column == at


@pytest.mark.parametrize(
    ("command", "hardware"),
    [
        ("vllm serve Qwen/Qwen3-32B-AWQ --quantization awq_marlin", "h100-sxm-8"),
        (f"vllm serve {RED_HAT}-FP8-dynamic --quantization compressed-tensors", "h200-sxm-8"),
        ("vllm serve Qwen/Qwen3-32B-FP8 --quantization fp8", "h100-sxm-8"),
        ("vllm serve Qwen/Qwen3-32B-FP8 --quantization of_a_plugin", "h100-sxm-8"),
        ("vllm serve Qwen/Qwen3-32B --quantization fp8", "h100-sxm-8"),
        (f"{SGLANG} nvidia/DeepSeek-R1-0528-NVFP4 --tp 8 --quantization modelopt_fp4", "b200-sxm-8"),
        # groups of 4 bits have no scales of the cache: club-3090 issue 104 runs so
        ("vllm serve Qwen/Qwen3-32B-AWQ --kv-cache-dtype fp8_e5m2", "rtx-4090-8"),
        (f"vllm serve {RED_HAT}-quantized.w4a16 --kv-cache-dtype fp8_e5m2", "h100-sxm-8"),
        ("vllm serve Qwen/Qwen3-32B-FP8 --kv-cache-dtype fp8_e4m3", "h100-sxm-8"),
        (f"{SGLANG} Qwen/Qwen3-32B --kv-cache-dtype fp8_e5m2", "h100-sxm-8"),
        ("vllm serve Qwen/Qwen3-32B --kv-cache-dtype nvfp4", "b200-sxm-8"),
        (f"{SGLANG} deepseek-ai/DeepSeek-R1 --tp 8 --kv-cache-dtype fp4_e2m1", "b200-sxm-8"),
        (f"{SGLANG} nvidia/Llama-3.1-8B-Instruct-FP8", "l40s-8"),
        ("vllm serve nvidia/Llama-3.1-8B-Instruct-FP8", "a100-sxm-8"),
        (f"{OLD_VLLM} nvidia/Llama-3.1-8B-Instruct-FP8", "h100-sxm-8"),
        (f"{OLD_VLLM} RedHatAI/Llama-3.1-8B-Instruct-FP8", "a100-sxm-8"),
        (f"vllm serve unsloth/{RED_HAT[9:]}-bnb-4bit -pp 2", "h100-sxm-8"),
        (f"{OLD_VLLM} Qwen/Qwen3-32B --quantization bitsandbytes -tp 2", "l40s-8"),
        ("vllm serve Qwen/Qwen3-32B --enable-lora --max-lora-rank 64 --max-loras 4 --max-cpu-loras 4", "h100-sxm-8"),
        (f"{SGLANG} deepseek-ai/DeepSeek-V3 --tp 8 --attn-dp-size 8 --enable-dp-lm-head", "h200-sxm-8"),
        ("vllm serve google/gemma-4-31b-it -tp 2 --enable-lora", "h100-sxm-8"),
        ("vllm serve deepseek-ai/DeepSeek-V3 -tp 4 -pcp 2", "h200-sxm-8"),
        (f"docker run vllm:v0.33.0 {PCP}.method=mtp --speculative-config.num_speculative_tokens=1", "h200-sxm-8"),
        (f"{ATTN_CP} --enable-prefill-cp --cp-strategy zigzag", "h200-sxm-8"),
        (f"{ATTN_CP} --disaggregation-mode decode", "h200-sxm-8"),
        (f"docker run sglang:v0.5.15 {ATTN_CP} --enable-prefill-context-parallel", "h200-sxm-8"),
        ("docker run vllm:v0.22.0 --model nvidia/Llama-3.3-70B-Instruct-FP8 -tp 2", "mi300x-8"),
        ("docker run vllm:v0.20.0 --model nvidia/Llama-3.3-70B-Instruct-NVFP4 -tp 2", "mi300x-8"),
        ("vllm serve nvidia/Llama-3.3-70B-Instruct-FP8 -tp 2", "mi300x-8"),
        ("vllm serve Qwen/Qwen3-32B-quantized.w8a8 -tp 2", "ascend-910b-8"),
        ("sglang serve Qwen/Qwen3-32B-AWQ --tp 2", "ascend-910b-8"),
        ("docker run vllm:v0.11.1 --model openai/gpt-oss-20b --enable-lora", "h100-sxm-8"),
        (f"{SGLANG} moonshotai/Kimi-K2.5 --tp 8 --enable-lora", "h200-sxm-8"),
    ],
)
def test_what_runs_is_read(command: str, hardware: str) -> None:
    _posed(command, hardware)
