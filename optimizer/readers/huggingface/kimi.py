"""Kimi Linear: Kimi delta attention between layers of latent attention, DeepSeek-V3's experts."""

from __future__ import annotations

from optimizer.domain.attention import Attention, KimiDeltaAttention
from optimizer.domain.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.domain.model import Block
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.deepseek import latent
from optimizer.readers.huggingface.parts import Reading, layer_count


def _kinds(config: Config, section: Config, layers: int) -> list[str]:
    """Kind of each layer, from two lists of layer numbers that count from 1 and cover every layer once."""
    delta, full = section.integers("kda_layers") or [], section.integers("full_attn_layers") or []
    if sorted([*delta, *full]) != list(range(1, layers + 1)):
        message = f"kda_layers and full_attn_layers together must name each of the {layers} layers once, from 1"
        config.refuse("linear_attn_config", message)
    return ["delta" if number in set(delta) else "full" for number in range(1, layers + 1)]


def read_kimi_linear(config: Config) -> Reading:
    """`kimi_linear`."""
    layers, section = layer_count(config), config.section("linear_attn_config")
    if section is None:
        config.refuse("linear_attn_config", "is required but missing")
    config.skip("head_dim", "mla_use_nope", "moe_renormalize", "moe_router_activation_func", "use_grouped_topk")
    config.only("moe_layer_freq", 1, why="experts in every layer after the first dense ones")
    config.only("num_nextn_predict_layers", 0, why="MTP layers are not described for this family")
    attention: dict[str, Attention] = {
        "full": latent(config, None),
        "delta": KimiDeltaAttention(
            heads=section.integer("num_heads"),
            head_dim=section.integer("head_dim"),
            conv_kernel=section.integer("short_conv_kernel_size", default=4),
        ),
    }
    width = config.integer("moe_intermediate_size")
    groups = config.integer("num_expert_group", default=1)
    experts = MixtureOfExperts(
        experts=config.integer("num_experts"),
        top_k=config.integer("num_experts_per_token"),
        intermediate=width,
        shared_intermediate=width * config.integer("num_shared_experts", default=0, least=0),
        router_correction=True,
        group_count=groups,
        group_limit=config.integer("topk_group", default=groups),
    )
    dense = DenseFeedForward(intermediate=config.integer("intermediate_size"))
    first = config.integer("first_k_dense_replace", default=0, least=0)
    kinds = _kinds(config, section, layers)
    section.finish("kimi_linear delta attention")
    names = [f"{kind}-{'moe' if index >= first else 'dense'}" for index, kind in enumerate(kinds)]
    blocks = {
        f"{kind}-{place}": Block(attention=attention[kind], ffn=experts if place == "moe" else dense)
        for kind in ("delta", "full")
        for place in ("moe", "dense")
    }
    return Reading(blocks, names)
