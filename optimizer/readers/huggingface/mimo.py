"""MiMo-V2: windows with sinks between full layers, value heads narrower than key heads; Hy3; DeepSeek-V3's experts."""

from __future__ import annotations

from optimizer.domain.feedforward import DenseFeedForward
from optimizer.domain.model import Block
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.deepseek import experts
from optimizer.readers.huggingface.parts import (
    FULL,
    SLIDING,
    WINDOWED,
    ReadParts,
    gqa,
    layer_count,
    mixture,
    next_token_layers,
)


def _kinds(config: Config, layers: int) -> list[str]:
    """Kind of each layer: `layer_types`, or `hybrid_layer_pattern` with 1 for a window."""
    listed = config.names("layer_types", WINDOWED, length=layers)
    pattern = config.integers("hybrid_layer_pattern", length=layers)
    if listed is None and pattern is None:
        config.refuse("hybrid_layer_pattern", "is required but missing")
    return listed or [SLIDING if windowed else FULL for windowed in pattern or ()]


def _sparse(config: Config, layers: int) -> list[bool]:
    """Which layers have experts: `mlp_layer_types`, or `moe_layer_freq` with 1 for experts."""
    listed = config.names("mlp_layer_types", ("dense", "sparse"), length=layers)
    frequency = config.integers("moe_layer_freq", length=layers)
    if listed is None and frequency is None:
        config.refuse("moe_layer_freq", "is required but missing")
    return [kind == "sparse" for kind in listed] if listed else [bool(flag) for flag in frequency or ()]


def read_mimo_v2(config: Config) -> ReadParts:
    """`mimo_v2_flash`: layers in windows have heads of their own."""
    layers, bias = layer_count(config), config.flag("attention_bias")
    kv_heads, dim = config.integer("num_key_value_heads"), config.integer("head_dim")
    config.skip("attention_value_scale", "attention_chunk_size", "sliding_window_size", "layernorm_epsilon")
    attention = {
        FULL: gqa(
            config,
            qkv_bias=bias,
            value_dim=config.integer("v_head_dim", default=dim),
            sinks=config.flag("add_full_attention_sink_bias"),
        ),
        SLIDING: gqa(
            config,
            heads=config.optional("swa_num_attention_heads"),
            kv_heads=config.integer("swa_num_key_value_heads", default=2 * kv_heads),
            head_dim=config.optional("swa_head_dim"),
            qkv_bias=bias,
            value_dim=config.optional("swa_v_head_dim") or config.integer("v_head_dim", default=dim),
            sinks=config.flag("add_swa_attention_sink_bias", default=True),
            window=config.integer("sliding_window"),
        ),
    }
    dense = DenseFeedForward(intermediate=config.integer("intermediate_size"))
    names = [
        f"{kind.removesuffix('_attention')}-{'moe' if sparse else 'dense'}"
        for kind, sparse in zip(_kinds(config, layers), _sparse(config, layers), strict=True)
    ]
    blocks = {}
    for kind in (FULL, SLIDING):
        place = kind.removesuffix("_attention")
        blocks[f"{place}-moe"] = Block(attention=attention[kind], ffn=experts(config))
        blocks[f"{place}-dense"] = Block(attention=attention[kind], ffn=dense)
    return ReadParts(blocks, names)


def read_hy3(config: Config) -> ReadParts:
    """`hy_v3` (Hy3): norms on queries and keys, a dense layer, then experts with a correction bias."""
    layers, bias = layer_count(config), config.flag("attention_bias")
    config.only("mlp_bias", False, why="biases of experts are not described for this family")  # noqa: FBT003
    config.skip("enable_moe_fp32_combine", "router_scaling_factor")
    attention = gqa(config, qkv_bias=bias, out_bias=bias, qk_norm="head")
    routed = mixture(config, least_shared=1, router_correction=True)
    first = config.integer("first_k_dense_replace", default=1, least=0)
    kinds = config.names("mlp_layer_types", ("dense", "sparse"), length=layers)
    blocks = {
        "dense": Block(attention=attention, ffn=DenseFeedForward(intermediate=config.integer("intermediate_size"))),
        "sparse": Block(attention=attention, ffn=routed),
    }
    names = kinds or ["dense" if index < first else "sparse" for index in range(layers)]
    return ReadParts(blocks, names, next_token_layers(config, "sparse", own_embedding=True))
