"""What engines refuse of drafts, of formats of activations, and of kernels for a cache, and what of it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from optimizer.errors import SpecError
from optimizer.readers.launch.problem import pose
from optimizer.readers.launch.read import read_launch
from optimizer.readers.read import Override

SGLANG = "python -m sglang.launch_server --model-path"
KV = "--kv-transfer-config"
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
    (f"{QWEN} {KV}.kv_connector=NixlConnector", "h100-sxm-8", "Please specify kv_role when kv_connector is set"),
    (f"{QWEN} {KV}.kv_connector=NixlConnector {KV}.kv_role=kv_bothh", "h100-sxm-8", "Unsupported kv_role: kv_bothh"),
    (f"{QWEN} {KV}.kv_connector=NixelConnector {KV}.kv_role=kv_both", "h100-sxm-8", "did you mean 'NixlConnector'"),
    (f"{SGLANG} Qwen/Qwen3-8B --enable-hierarchical-cache --disable-radix-cache", "h100-sxm-8", "mutually exclusive"),
    (f"{SGLANG} Qwen/Qwen3-8B --served-model-name a:b", "h100-sxm-8", "cannot contain a colon"),
    (f"{SGLANG} Qwen/Qwen3-8B --enable-pdmux", "h100-sxm-8", "not compatible with chunked prefill"),
    (f"{SGLANG} Qwen/Qwen3-8B --pp-size 2 --enable-pdmux --chunked-prefill-size -1", "h100-sxm-8", "pp_size=1"),
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
    (f"{QWEN} {KV}.kv_connector=NixlConnector {KV}.kv_role=kv_both", "h100-sxm-8"),
    (f"{QWEN} {KV}.kv_connector=Own {KV}.kv_connector_module_path=own.py {KV}.kv_role=kv_both", "h100-sxm-8"),
    (f"{QWEN} {KV}.kv_connector=MooncakeConnectorV1 {KV}.kv_role=kv_both", "ascend-910b-8"),
    (f"{SGLANG} Qwen/Qwen3-8B --enable-hierarchical-cache", "h100-sxm-8"),
    (f"docker run sglang:v0.5.6 {SGLANG} Qwen/Qwen3-8B --served-model-name a:b", "h100-sxm-8"),
    (f"{SGLANG} Qwen/Qwen3-8B --enable-pdmux --chunked-prefill-size -1", "h100-sxm-8"),
])  # fmt: skip
def test_it_runs(command: str, hardware: str) -> None:
    _posed(command, hardware)


OSS_TRT, V3_TRT = "trtllm-serve openai/gpt-oss-120b --tp_size 4", "trtllm-serve deepseek-ai/DeepSeek-V3 --tp_size 8"


@pytest.mark.parametrize(("command", "yaml", "hardware", "said"), [
    (V3_TRT, "moe_config: {backend: NONSENSE}", "h200-sxm-8", "Input should be 'AUTO'"),
    (V3_TRT, "moe_config: {backend: TRTLLM}", "h200-sxm-8", "only supports SM100 and SM103, not SM90"),
    (OSS_TRT, "moe_config: {backend: TRTLLM}", "h100-sxm-8", "only supports SM100 and SM103"),
    (OSS_TRT, "cuda_graph_config: {batch_sizes: [1, 2, 4], max_batch_size: 128}", "h100-sxm-8", "don't set both"),
    (OSS_TRT, "kv_cache_config: {dtype: nvfp4}", "h100-sxm-8", "from Blackwell on"),
    (V3_TRT, "moe_config: {backend: DEEPGEMM}", "h200-sxm-8", ""),
    (OSS_TRT, "moe_config: {backend: TRTLLM}", "b200-sxm-8", ""),
    ("trtllm-serve Qwen/Qwen3-30B-A3B --tp_size 4", "moe_config: {backend: TRTLLM}", "h100-sxm-8", ""),
    (OSS_TRT, "cuda_graph_config: {batch_sizes: [1, 2, 128], max_batch_size: 128}", "h100-sxm-8", ""),
    (OSS_TRT, "cuda_graph_config: {max_batch_size: 64}", "h100-sxm-8", ""),
    (OSS_TRT, "kv_cache_config: {dtype: nvfp4}", "b200-sxm-8", ""),
    (OSS_TRT, "kv_cache_config: {dtype: fp8}", "h100-sxm-8", ""),
])  # fmt: skip
def test_yaml_of_tensorrt_llm(command: str, yaml: str, hardware: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text(yaml)
    launch = read_launch(f"{command} --extra_llm_api_options {tmp_path / 'more.yaml'}", "it")
    options = [Override("--hardware", ("hardware",), hardware)]
    if not said:
        pose(launch, options)
        return
    with pytest.raises(SpecError, match=said):
        pose(launch, options)
