"""TensorRT-LLM, PyTorch backend. Rules read from main (mapping.py b35ac1b6, fused_moe_wide_ep.py 99bca892)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from optimizer.domain.engines import checks, vllm
from optimizer.domain.engines.architectures import architectures
from optimizer.domain.engines.engine import Engine, Waiting
from optimizer.domain.engines.reservation import CacheRules, Defaults, DefaultsTier
from optimizer.domain.engines.rule import EngineRule, Premise
from optimizer.domain.shape import Shape


def _expert_mesh(premise: Premise, shape: Shape) -> str | None:
    if premise.model.moe is None or shape.edp == 1:
        return None
    return (
        "moe_tp_size * moe_ep_size * moe_cluster_size must equal to moe_world_size, but got "
        f"{shape.etp} * {shape.ep} * 1 != {shape.stage_devices}."
    )


def _attention_dp(_: Premise, shape: Shape) -> str | None:
    if shape.dp == 1 or shape.tp == 1:
        return None
    return (
        f"enable_attention_dp is all or nothing: attention runs tp={shape.stage_devices} or dp={shape.stage_devices}, "
        f"not tp={shape.tp} with dp={shape.dp}."
    )


_FROM_ADA, _FROM_HOPPER, _FROM_BLACKWELL = ((8, 9), (99, 0)), ((9, 0), (99, 0)), ((10, 0), (99, 0))

VERSION = "1.2"
"""The newest whose facts are known."""

RULES = (
    architectures(
        "trtllm",
        "TensorRT-LLM",
        VERSION,
        "Unknown architecture for AutoModelForCausalLM: {name}",
        "nvidia.github.io/TensorRT-LLM models/supported-models.html (1.2, 1.3.0rc13 to rc29); "
        "tensorrt_llm/_torch/models/modeling_auto.py",
    ),
    EngineRule(
        name="expert_mesh",
        statement="moe_tp · moe_ep is the width of a stage: every expert is held once",
        reads=("etp", "ep", "edp", "stage_devices"),
        apart=("copies",),
        breach=_expert_mesh,
        source="tensorrt_llm/mapping.py@b35ac1b6",
    ),
    EngineRule(
        name="attention_dp",
        statement="attention data parallelism is all or nothing",
        reads=("tp", "dp", "stage_devices"),
        breach=_attention_dp,
        source="tensorrt_llm/mapping.py@b35ac1b6 (enable_attention_dp: dp_size = tp_size)",
    ),
    checks.attention_heads(
        "AssertionError: {heads} heads are not divisible by tp_size {tp}.",
        "tensorrt_llm/_torch/modules/attention.py (assert num_heads % tp_size == 0)",
        "attention tp",
    ),
    checks.kv_heads(
        "{kv} key/value heads and tp_size {tp}: neither divides the other.",
        "tensorrt_llm/_torch/modules/attention.py; modeling_utils.py duplicate_kv_weight",
        "attention tp",
    ),
    checks.feed_forward_widths(
        "AssertionError: {width} is not divisible by tp_size {tp}.", "tensorrt_llm/_torch/modules/linear.py"
    ),
    checks.even_experts(
        "`num_slots` ({physical}) must be divisible by `ep_size` ({ep}).",
        "tensorrt_llm/_torch/modules/fused_moe/fused_moe_wide_ep.py@99bca892; llmapi/llm_args.py",
        "moe_ep divides the experts, or with a load balancer its slots",
    ),
    checks.expert_width(
        "intermediate_size {width} is not divisible by moe_tp_size {etp}.",
        "tensorrt_llm/_torch/modules/fused_moe (intermediate_size // tp_size)",
        "moe_tp divides the experts' width",
    ),
    EngineRule(
        name="context_parallel",
        statement="context parallelism (Helix) is for latent attention",
        reads=("cp",),
        apart=("context_parallel",),
        breach=checks.context_parallel_latent,
        source="tensorrt_llm/mapping.py@b35ac1b6 (CP {cp_type} doesn't support MoE tp/ep yet)",
    ),
    checks.no_decode_context_parallel(
        "tensorrt_llm/mapping.py@b35ac1b6 (no such option; Helix is its context parallelism)"
    ),
    checks.no_overlap("tensorrt_llm/llmapi/llm_args.py (main): no such option"),
    checks.number_formats(
        dict.fromkeys(("fp8", "fp8_channel", "fp8_block"), _FROM_ADA)
        | {"mxfp4": _FROM_HOPPER}
        | dict.fromkeys(("mxfp8", "nvfp4"), _FROM_BLACKWELL),
        "{format} has kernels from compute capability {least} on, and {device} has {own}.",
        "nvidia.github.io/TensorRT-LLM features/quantization.html; nvidia.github.io/Model-Optimizer "
        "guides/0_support_matrix.html (FP8: Ada and later; FP4: Blackwell and later); MXFP4 of gpt-oss on Hopper",
        "FP8 has kernels from Ada on, MXFP4 from Hopper on, MXFP8 and NVFP4 from Blackwell on",
    ),
    checks.devices_of("TensorRT-LLM", ("NVIDIA",), "nvidia.github.io/TensorRT-LLM/supported-hardware.html"),
)
WAITING = Waiting(
    overhead_s=Fraction(1, 100),
    steps=Fraction(6),
    source="fitted on 2026-11-29 to the TTFT of 704 closed-loop runs on H100, H200 and B200 "
    "(aiconfigurator-core 0.12.0 silicon_sample.csv)",
)

DEFAULTS = Defaults((DefaultsTier(0, 2048, 8192, 128),))
"""tensorrt_llm/llmapi/llm_args.py (main): max_batch_size 2,048, max_num_tokens 8,192; CUDA graphs of up to 128."""

RELEASES = (
    Engine(
        name="trtllm",
        order=("pp", "cp", "dp", "tp"),  # mapping.py
        expert_order=("edp", "etp", "ep"),
        version=VERSION,
        since="1.0",
        rules=RULES,
        memory_utilization=Fraction(9, 10),
        # _torch/pyexecutor/_util.py profiles prompts of max_num_tokens in as few sequences as hold them: 0.85 GiB of
        # gpt-oss-120b's step beside 63.52 of weights
        reservation=replace(
            vllm.FITTED, defaults=DEFAULTS, free_fraction=True, sampler_bytes=0, source="assumed equal to vLLM's"
        ),
        cache=CacheRules(block_tokens=32),
        waiting=WAITING,
        vocabulary_padding=64,
        source="assumed equal to vLLM's; rules read from TensorRT-LLM main",
        flags={
            "tp": "--tp_size",
            "pp": "--pp_size",
            "ep": "--ep_size",
            "dp": "enable_attention_dp",
            "etp": "moe_tensor_parallel_size",
            "batch": "--max_batch_size",
            "prefill_chunk": "--max_num_tokens",
            "max_model_len": "--max_seq_len",
            "memory_utilization": "--kv_cache_free_gpu_memory_fraction",
            "kv_cache": "kv_cache_config.dtype",
            "capture_sizes": "cuda_graph_config.batch_sizes",
            "placement": "moe_config.load_balancer",
            "stages": "pp_partition",
        },
    ),
)
"""Oldest first."""
