"""Per-rank weight bytes against what engines allocate."""

from __future__ import annotations

import pytest

from optimizer.domain.attention import LatentAttention
from optimizer.domain.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.domain.model import Block, ModelSpec, Run
from optimizer.domain.precision import ModelPrecision
from optimizer.figures.weights import BlockWeights, Division, block_weights, input_weights, output_weights

MLA = LatentAttention(
    heads=128, q_lora_rank=1536, kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128
)
DEEPSEEK_V3 = ModelSpec(
    name="deepseek-v3",
    hidden_size=7168,
    vocab_size=129280,
    blocks={
        "dense": Block(attention=MLA, ffn=DenseFeedForward(intermediate=18432)),
        "moe": Block(
            attention=MLA,
            ffn=MixtureOfExperts(
                experts=256, top_k=8, intermediate=2048, shared_intermediate=2048, router_correction=True
            ),
        ),
    },
    layers=(Run(pattern=("dense",), count=3), Run(pattern=("moe",), count=58)),
    precision=ModelPrecision(weights="fp8_block"),
)


def deepseek_rank_bytes(over: Division) -> int:
    precision = DEEPSEEK_V3.precision
    total = input_weights(DEEPSEEK_V3, precision, over.tp)
    total += output_weights(DEEPSEEK_V3, precision, over.tp, with_tied_head=True)
    for name in DEEPSEEK_V3.layer_names:
        total += block_weights(DEEPSEEK_V3, name, precision, over if name == "moe" else over._replace(local_experts=0))
    return total.total_bytes


@pytest.mark.parametrize(
    ("tp", "etp", "local_experts", "shared_replicated", "gib"),
    [
        # Parameter bytes of vLLM 0.33's DeepSeek-V3 built on the meta device, one rank, without its MTP layer.
        pytest.param(8, 1, 32, False, 79.293, id="tp8-ep8"),
        pytest.param(8, 1, 16, True, 43.303, id="tp8-dp2-ep16"),
        pytest.param(1, 1, 16, True, 55.843, id="dp16-ep16"),
        pytest.param(1, 1, 18, True, 60.602, id="dp16-ep16-32-redundant"),
        pytest.param(16, 16, 256, False, 40.177, id="tp16-no-ep"),
    ],
)
def test_deepseek_v3_equals_what_vllm_allocates(
    tp: int, etp: int, local_experts: int, *, shared_replicated: bool, gib: float
) -> None:
    held = deepseek_rank_bytes(Division(tp, etp, local_experts, shared_replicated))
    assert round(held / 2**30, 3) == gib


def test_parts_are_disjoint_and_where_they_belong() -> None:
    parts = block_weights(DEEPSEEK_V3, "moe", ModelPrecision(), Division(4, 2, 3))
    expert = 3 * 7168 * 2048
    assert parts.expert_bytes == 3 * expert * 2 // 2
    assert parts.shared_expert_bytes == expert * 2 // 4
    replicated = 7168 * (1536 + 576) + 1536 + 512 + 2 * 7168 + 256 * 7168
    assert parts.replicated_bytes == replicated * 2 + 256 * 4
    sharded = 128 * 192 * 1536 + 128 * 256 * 512 + 7168 * 128 * 128
    assert parts.sharded_bytes == sharded * 2 // 4
    assert parts.total_bytes == sum(
        (parts.sharded_bytes, parts.replicated_bytes, parts.expert_bytes, parts.shared_expert_bytes)
    )
    assert parts + parts == parts * 2
    assert BlockWeights() + parts == parts
