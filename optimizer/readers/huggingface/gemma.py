"""Gemma 2 to 4 (1 is a Llama with tied embeddings): four norms a layer and a mix of windows and full attention."""

from __future__ import annotations

from optimizer.domain.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.domain.model import Block
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.llama import ffn
from optimizer.readers.huggingface.parts import FULL, SLIDING, ReadParts, gqa, layer_count, window_kinds


def _mixed(config: Config, every: int, *, norm: bool) -> ReadParts:
    window, bias = config.integer("sliding_window", default=4096), config.flag("attention_bias")
    blocks = {
        name: Block(
            attention=gqa(
                config,
                qkv_bias=bias,
                out_bias=bias,
                qk_norm="head" if norm else "none",
                window=window if name == SLIDING else None,
            ),
            ffn=ffn(config),
            norms=4,
        )
        for name in (FULL, SLIDING)
    }
    return ReadParts(blocks, window_kinds(config, layer_count(config), every=every))


def read_gemma2(config: Config) -> ReadParts:
    """`gemma2`: every second layer full."""
    config.skip("cache_implementation")
    return _mixed(config, 2, norm=False)


def read_gemma3(config: Config) -> ReadParts:
    """`gemma3_text`: every `sliding_window_pattern`-th layer full, norms on queries and keys."""
    return _mixed(config, config.integer("sliding_window_pattern", "_sliding_window_pattern", default=6), norm=True)


def read_gemma4(config: Config) -> ReadParts:
    """`gemma4_text`: full layers with heads of their own, values that may be keys; experts beside a dense block."""
    layers = layer_count(config)
    config.only("num_kv_shared_layers", 0, why="layers that share a cache are not described for this family")
    config.only("hidden_size_per_layer_input", 0, why="per-layer embeddings are not described")
    config.only("use_double_wide_mlp", False, why="double-wide blocks are not described")  # noqa: FBT003
    config.skip("vocab_size_per_layer_input")
    same, bias = config.flag("attention_k_eq_v"), config.flag("attention_bias")
    kv_heads = config.integer("num_key_value_heads")
    global_kv = config.optional("num_global_key_value_heads") if same else None
    dim = config.integer("head_dim", default=256)
    kinds = window_kinds(config, layers, every=6)
    attention = {
        SLIDING: gqa(
            config,
            window=config.integer("sliding_window", default=512),
            qk_norm="head",
            qkv_bias=bias,
            out_bias=bias,
            head_dim=dim,
        ),
        FULL: gqa(
            config,
            kv_heads=global_kv or kv_heads,
            head_dim=config.integer("global_head_dim", default=dim),
            qk_norm="head",
            qkv_bias=bias,
            out_bias=bias,
            values_are_keys=same,
        ),
    }
    dense_width = config.integer("intermediate_size")
    sparse = config.flag("enable_moe_block")
    experts, top_k = config.optional("num_experts"), config.optional("top_k_experts")
    width = config.optional("moe_intermediate_size", "expert_intermediate_size")
    block: DenseFeedForward | MixtureOfExperts = DenseFeedForward(intermediate=dense_width)
    if sparse:
        if experts is None or top_k is None or width is None:
            config.refuse("enable_moe_block", "needs num_experts, top_k_experts and moe_intermediate_size")
        block = MixtureOfExperts(
            experts=experts, top_k=top_k, intermediate=width, dense_intermediate=dense_width, router_scales=True
        )
    blocks = {
        name: Block(attention=attention[name], ffn=block, norms=7 if sparse else 4, buffers=1)
        for name in (FULL, SLIDING)
    }
    return ReadParts(blocks, kinds)
