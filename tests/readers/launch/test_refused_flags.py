"""What engines refuse of drafts, of formats of activations, and of kernels for a cache, and what of it runs."""

from __future__ import annotations

import pytest

from optimizer.errors import SpecError
from optimizer.readers.launch.problem import pose
from optimizer.readers.launch.read import read_launch
from optimizer.readers.read import Override

SGLANG = "python -m sglang.launch_server --model-path"
SPEC = "--speculative-config"
V3 = f"vllm serve deepseek-ai/DeepSeek-V3 -tp 8 {SPEC}.method=mtp {SPEC}.num_speculative_tokens=1"
OSS, QWEN = "vllm serve openai/gpt-oss-120b -tp 2", "vllm serve Qwen/Qwen3-32B -tp 2"


def _posed(command: str, hardware: str) -> None:
    pose(read_launch(command, "it"), [Override("--hardware", ("hardware",), hardware)])


@pytest.mark.parametrize(("command", "hardware", "said"), [
    (f"{QWEN} {SPEC}.method=mtp {SPEC}.num_speculative_tokens=1", "h100-sxm-8", "Unsupported speculative method"),
    (f"vllm serve MiniMaxAI/MiniMax-M2 -tp 4 {SPEC}.method=mtp", "h200-sxm-8", "M2ForCausalLM has no such layers"),
    (f"{QWEN} {SPEC}.method=eagle3 {SPEC}.num_speculative_tokens=3", "h100-sxm-8", "but without speculative model"),
    (f"{QWEN} {SPEC}.num_speculative_tokens=3", "h100-sxm-8", "but without speculative model"),
    (f"{QWEN} {SPEC}.method=ngram {SPEC}.num_speculative_tokens=0", "h100-sxm-8", "greater than zero"),
    (f"{V3} {SPEC}.draft_tensor_parallel_size=2", "h200-sxm-8", "draft_tensor_parallel_size=2 cannot be other value"),
    (f"{SGLANG} Qwen/Qwen3-32B --tp 2 --speculative-algorithm NEXTN", "h100-sxm-8", "Qwen3ForCausalLM has none"),
    (f"{OSS} --dtype float16", "h100-sxm-8", "float16 is not supported for quantization method mxfp4"),
    ("vllm serve google/gemma-3-27b-it -tp 2 --dtype float16", "h100-sxm-8", "'gemma3' does not support float16"),
    ("vllm serve google/gemma-2-27b-it -tp 2 --dtype half", "h100-sxm-8", "'gemma2' does not support float16"),
    ("vllm serve Qwen/Qwen3-32B-FP8 -tp 2 --dtype float32", "h100-sxm-8", "float32 is not supported for quantization"),
    ("docker run vllm:v0.19.0 --model Qwen/Qwen3-32B-AWQ --quantization awq --dtype bfloat16", "h100-sxm-8",
     "bfloat16 is not supported for quantization method awq"),
    (f"{QWEN} --kv-cache-dtype fp8 --attention-backend FLASH_ATTN", "a100-sxm-8", "kv_cache_dtype not supported"),
    (f"{QWEN} --kv-cache-dtype fp8 --attention-backend FLASH_ATTN", "rtx-4090-8", "kv_cache_dtype not supported"),
    (f"{OSS} --attention-backend FLASH_ATTN", "a100-sxm-8", "sink setting not supported"),
    (f"{OSS} --kv-cache-dtype fp8", "a100-sxm-8", "Triton attention backend on A100"),
    (f"{QWEN} --kv-cache-dtype fp8 --attention-backend TRITON_ATTN", "a100-sxm-8", "requires SM89"),
    ("vllm serve deepseek-ai/DeepSeek-V2-Lite --kv-cache-dtype fp8", "a100-sxm-8", "Triton MLA backend"),
    (f"{OSS} --kv-cache-dtype nvfp4", "h100-sxm-8", "its sink prefill wrapper cannot"),
    (f"{OSS} --kv-cache-dtype nvfp4", "mi300x-8", "FlashInfer alone reads a cache in nvfp4"),
    (f"{SGLANG} openai/gpt-oss-120b --tp 4 --attention-backend flashinfer", "h100-sxm-8", "requires one of"),
    (f"{SGLANG} Qwen/Qwen3-32B --tp 2 --attention-backend flashmla", "h100-sxm-8", "has no latents"),
    (f"{SGLANG} Qwen/Qwen3-32B --tp 2 --attention-backend cutlass_mla", "b200-sxm-8", "has no latents"),
    (f"{SGLANG} Qwen/Qwen3-8B --attention-backend fa3", "mi300x-8", "aiter, triton or wave run on AMD's"),
    (f"{SGLANG} Qwen/Qwen3-8B --decode-attention-backend flashinfer", "mi300x-8", "NVIDIA's devices alone"),
])  # fmt: skip
def test_it_is_refused(command: str, hardware: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        _posed(command, hardware)


@pytest.mark.parametrize(("command", "hardware"), [
    (f"{V3} {SPEC}.draft_tensor_parallel_size=1", "h200-sxm-8"),
    (f"{QWEN} {SPEC}.method=eagle3 {SPEC}.model=x {SPEC}.num_speculative_tokens=3", "h100-sxm-8"),
    (f"{QWEN} {SPEC}.method=ngram {SPEC}.num_speculative_tokens=3", "h100-sxm-8"),
    (f"vllm serve google/gemma-4-31b-it -tp 2 {SPEC}.method=mtp {SPEC}.model=x", "h100-sxm-8"),
    (f"{SGLANG} deepseek-ai/DeepSeek-V3 --tp 8 --speculative-algorithm NEXTN", "h200-sxm-8"),
    (f"{SGLANG} Qwen/Qwen3-32B --tp 2 --speculative-algorithm EAGLE3 --speculative-draft-model-path x", "h100-sxm-8"),
    (f"{OSS} --dtype bfloat16", "h100-sxm-8"),
    ("vllm serve google/gemma-3-27b-it -tp 2 --dtype float32", "h100-sxm-8"),
    ("vllm serve Qwen/Qwen3-32B-FP8 -tp 2 --dtype half", "h100-sxm-8"),
    ("vllm serve Qwen/Qwen3-32B-AWQ --quantization awq --dtype bfloat16", "h100-sxm-8"),
    ("vllm serve Qwen/Qwen3-8B --dtype float32", "h100-sxm-8"),
    (f"{QWEN} --kv-cache-dtype fp8 --attention-backend FLASH_ATTN", "h100-sxm-8"),
    (f"{QWEN} --kv-cache-dtype fp8", "a100-sxm-8"),
    (f"{QWEN} --kv-cache-dtype fp8 --attention-backend TRITON_ATTN", "l40s-8"),
    ("docker run vllm:v0.20.0 --model openai/gpt-oss-120b -tp 2 --kv-cache-dtype fp8", "a100-sxm-8"),
    (f"{OSS} --attention-backend FLASH_ATTN", "h100-sxm-8"),
    (f"{OSS} --kv-cache-dtype nvfp4", "b200-sxm-8"),
    (f"{SGLANG} openai/gpt-oss-120b --tp 4 --attention-backend triton", "h100-sxm-8"),
    (f"{SGLANG} deepseek-ai/DeepSeek-V3 --tp 8 --attention-backend flashmla", "h200-sxm-8"),
    (f"{SGLANG} Qwen/Qwen3-8B --attention-backend aiter", "mi300x-8"),
])  # fmt: skip
def test_it_runs(command: str, hardware: str) -> None:
    _posed(command, hardware)
