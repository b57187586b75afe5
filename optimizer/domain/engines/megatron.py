"""Megatron-LM. Rules read from core 0.20.0 (d98e8a64): parallel folding, etp · ep · edp = tp · cp · dp."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from optimizer.domain.engines import checks, vllm
from optimizer.domain.engines.engine import Engine
from optimizer.domain.engines.reservation import GIB, CacheRules, Defaults, DefaultsTier
from optimizer.domain.engines.rule import EngineRule, Premise
from optimizer.domain.shape import Shape


def _no_bias(premise: Premise, shape: Shape) -> str | None:
    biased = any(moe.bias for _, moe in checks.moes(premise))
    return "Bias in Moe is only supported when ETP==1 (--disable-bias-linear)." if biased and shape.etp > 1 else None


RULES = (
    checks.even_experts(
        "Number of experts should be a multiple of expert model parallel_size: {experts} experts, ep={ep}.",
        "Megatron-LM d98e8a64 megatron/training/arguments.py:1658",
        "ep divides the experts",
    ),
    checks.no_redundant_experts("Megatron-LM d98e8a64 megatron/core/transformer/moe (no such option)"),
    checks.attention_heads(
        "num_attention_heads ({heads}) must be a multiple of tensor_model_parallel_size ({tp}).",
        "Megatron-LM d98e8a64 megatron/core/transformer/transformer_config.py:1448",
    ),
    checks.kv_heads(
        "num_query_groups ({kv}) must be a multiple or divisor of tensor_model_parallel_size ({tp}).",
        "Megatron-LM d98e8a64 megatron/core/transformer/transformer_config.py:1466",
        name="query_groups",
        heads="key/value heads (query groups)",
    ),
    checks.feed_forward_widths(
        "{width} is not divisible by {tp}.", "Megatron-LM d98e8a64 megatron/core/utils.py divide()"
    ),
    checks.expert_width(
        "{width} is not divisible by {etp}.",
        "Megatron-LM d98e8a64 megatron/core/utils.py divide()",
        "etp divides the experts' width",
    ),
    EngineRule(
        name="expert_bias",
        statement="experts with a bias are not divided",
        reads=("etp",),
        breach=_no_bias,
        source="Megatron-LM d98e8a64 megatron/core/transformer/transformer_config.py:2615",
    ),
    checks.no_decode_context_parallel("Megatron-LM d98e8a64 (no such option)"),
    checks.no_overlap("Megatron-LM d98e8a64: --overlap-moe-expert-parallel-comm is for training"),
    checks.devices_of(
        "Megatron-LM",
        ("AMD", "Huawei", "Intel", "NVIDIA"),
        "Megatron-LM d98e8a64 (CUDA); forks for others: ROCm/Megatron-LM, HabanaAI/Megatron-LM, Ascend/MindSpeed",
    ),
)
WAITING = replace(vllm.WAITING, source="assumed equal to vLLM's")

RELEASES = (
    Engine(
        name="megatron",
        version="0.20.0",
        since="0.10",
        rules=RULES,
        memory_utilization=Fraction(9, 10),
        reservation=replace(
            vllm.FITTED,
            direct_group_bytes=175 * GIB // 100,
            graph_bytes=0,
            graph_layer_bytes=0,
            graph_latent_layer_bytes=0,
            defaults=Defaults((DefaultsTier(70 * GIB, 1024, 8192, 0), DefaultsTier(0, 256, 2048, 0))),
            source="assumed: vLLM's without graphs",
        ),
        cache=CacheRules(block_tokens=1),
        waiting=WAITING,
        vocabulary_padding=128,
        source="assumed: no cache pool of its own was measured; rules read from Megatron-LM core 0.20.0",
        flags={
            "tp": "--tensor-model-parallel-size",
            "pp": "--pipeline-model-parallel-size",
            "cp": "--context-parallel-size",
            "ep": "--expert-model-parallel-size",
            "etp": "--expert-tensor-parallel-size",
            "stages": "--pipeline-model-parallel-layout",
            "batch": "--micro-batch-size",
        },
    ),
)
"""Oldest first."""
