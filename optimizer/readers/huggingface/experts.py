"""Mixtures of experts on grouped-query attention: Mixtral, OLMoE, Phi-3.5-MoE, Grok, DBRX, gpt-oss, Hunyuan, ERNIE."""

from __future__ import annotations

from typing import Literal

from optimizer.domain.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.domain.model import Block
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.dense import read_olmo2, read_phi3
from optimizer.readers.huggingface.llama import read_llama
from optimizer.readers.huggingface.parts import (
    FULL,
    SLIDING,
    ReadParts,
    gqa,
    layer_count,
    mixture,
    uniform,
    window_kinds,
)


def _routed(config: Config, *, shared: int = 0, bias: bool = False, router_bias: bool = False) -> MixtureOfExperts:
    return MixtureOfExperts(
        experts=config.integer("num_local_experts", "num_experts"),
        top_k=config.integer("num_experts_per_tok", "experts_per_token"),
        intermediate=config.integer("moe_intermediate_size", "intermediate_size"),
        shared_intermediate=shared,
        bias=bias,
        router_bias=router_bias,
    )


def read_mixtral(config: Config) -> ReadParts:
    """`mixtral`: experts in every layer."""
    return read_phi3(config, _routed)


def read_olmoe(config: Config) -> ReadParts:
    """`olmoe`: norms over all query heads and over all key heads."""
    return read_olmo2(config, _routed)


def read_granite_moe(config: Config) -> ReadParts:
    """`granitemoe`: as Mixtral, with biases where said."""
    return read_llama(config, _routed)


def read_phimoe(config: Config) -> ReadParts:
    """`phimoe` (Phi-3.5-MoE): layer norms and heads with biases."""
    bias = config.flag("attention_bias")
    attention = gqa(config, qkv_bias=bias, out_bias=bias, window=config.optional("sliding_window"))
    block = Block(attention=attention, ffn=_routed(config), norm_bias=True)
    return uniform(config, block, norm_bias=True, head_bias=config.flag("lm_head_bias"))


def read_grok(config: Config) -> ReadParts:
    """`grok-1`: four norms a layer."""
    block = Block(attention=gqa(config), ffn=_routed(config), norms=4)
    return uniform(config, block)


def read_dbrx(config: Config) -> ReadParts:
    """`dbrx`: attention and experts described in sections of their own."""
    attention, ffn = config.section("attn_config"), config.section("ffn_config")
    if attention is None or ffn is None:
        config.refuse("ffn_config" if ffn is None else "attn_config", "is required but missing")
    attention.skip("model_type", "clip_qkv", "rope_theta", "attn_pdrop")
    ffn.skip("model_type", "ffn_act_fn", "moe_normalize_expert_weights", "uniform_expert_assignment")
    block = Block(
        attention=gqa(config, kv_heads=attention.integer("kv_n_heads")),
        ffn=MixtureOfExperts(
            experts=ffn.integer("moe_num_experts"),
            top_k=ffn.integer("moe_top_k"),
            intermediate=ffn.integer("ffn_hidden_size"),
        ),
    )
    attention.finish("dbrx attention")
    ffn.finish("dbrx feed-forward")
    return uniform(config, block)


def read_gpt_oss(config: Config) -> ReadParts:
    """`gpt_oss`: biases everywhere, one sink a head, a window in every second layer."""
    layers, bias = layer_count(config), config.flag("attention_bias", default=True)
    window = config.integer("sliding_window", default=128)
    blocks = {
        name: Block(
            attention=gqa(config, qkv_bias=bias, out_bias=bias, sinks=True, window=window if name == SLIDING else None),
            ffn=_routed(config, bias=True, router_bias=True),
        )
        for name in (FULL, SLIDING)
    }
    config.skip("experts_per_token")
    return ReadParts(blocks, window_kinds(config, layers, every=2))


def read_llama4(config: Config) -> ReadParts:
    """`llama4_text`: chunks of attention where positions rotate, full attention elsewhere; experts in some layers."""
    layers, bias = layer_count(config), config.flag("attention_bias")
    config.skip("use_qk_norm", "num_local_experts_total")  # its norm of queries and keys has no weights
    step = config.integer("interleave_moe_layer_step", default=1)
    listed = config.integers("moe_layers")
    sparse = set(range(step - 1, layers, step)) if listed is None else set(listed)
    every = config.integer("no_rope_layer_interval", default=4)
    rotated = config.items("no_rope_layers", length=layers if config.data.get("no_rope_layers") else None)
    chunked = [bool(flag) for flag in rotated] if rotated else [(index + 1) % every != 0 for index in range(layers)]
    chunk = config.optional("attention_chunk_size")
    config.skip("layer_types")
    width = config.integer("intermediate_size")
    dense_width = config.integer("intermediate_size_mlp")
    names = [
        f"{'chunk' if windowed else 'full'}-{'moe' if index in sparse else 'dense'}"
        for index, windowed in enumerate(chunked)
    ]
    blocks = {
        f"{place}-{kind}": Block(
            attention=gqa(
                config, qkv_bias=bias, out_bias=bias, window=chunk if place == "chunk" else None,
                chunked=place == "chunk" and chunk is not None,
            ),
            ffn=_routed(config, shared=width) if kind == "moe" else DenseFeedForward(intermediate=dense_width),
        )
        for place in ("chunk", "full")
        for kind in ("moe", "dense")
    }  # fmt: skip
    return ReadParts(blocks, names)


def _first(config: Config, name: str, *, least: int = 1) -> int:
    """A number, or a list of one number for each layer that are all the same."""
    value = config.data.get(name)
    if not isinstance(value, list):
        return config.integer(name, least=least)
    config.skip(name)
    if not value or any(entry != value[0] for entry in value):
        config.refuse(name, "differs from layer to layer, which is not described for this family")
    return Config({name: value[0]}, config.source).integer(name, least=least)


def read_hunyuan(config: Config) -> ReadParts:
    """`hunyuan`, `hunyuan_v1_moe`: cross-layer attention shares keys and values among `cla_share_factor` layers."""
    bias = config.flag("attention_bias")
    norm: Literal["head", "none"] = "head" if config.flag("use_qk_norm") else "none"
    factor = config.integer("cla_share_factor", default=1) if config.flag("use_cla") else 1
    config.skip("cla_share_factor", "moe_layer_num_skipped")
    config.only("moe_layer_num_skipped", 0, why="dense layers are not described for this family")
    width = config.integer("intermediate_size")
    config.skip("num_shared_expert")
    shared = width * _first(config, "num_shared_expert", least=0) if config.flag("use_mixed_mlp_moe") else 0
    inner = _first(config, "moe_intermediate_size") if config.has("moe_intermediate_size") else width
    experts = MixtureOfExperts(
        experts=_first(config, "num_experts"),
        top_k=_first(config, "moe_topk"),
        intermediate=inner,
        shared_intermediate=shared,
    )
    blocks = {
        name: Block(
            attention=gqa(config, qkv_bias=bias, out_bias=bias, qk_norm=norm, shares_cache=name == "sharing"),
            ffn=experts,
        )
        for name in ("owning", "sharing")
    }
    names = ["sharing" if index % factor else "owning" for index in range(layer_count(config))]
    return ReadParts(blocks, names)


def read_ernie(config: Config) -> ReadParts:
    """`ernie4_5_moe`: experts from `moe_layer_start_index` to `moe_layer_end_index`, a learned correction bias."""
    layers, bias = layer_count(config), config.flag("use_bias")
    first = config.integer("moe_layer_start_index", default=0, least=0)
    last = config.integer("moe_layer_end_index", default=layers - 1, least=-1)
    every = config.integer("moe_layer_interval", default=1)
    config.skip("moe_use_aux_free", "moe_gate", "moe_norm_min", "moe_statics", "moe_capacity")
    attention = gqa(config, qkv_bias=bias, out_bias=bias)
    blocks = {
        "dense": Block(
            attention=attention, ffn=DenseFeedForward(intermediate=config.integer("intermediate_size"), bias=bias)
        ),
        "moe": Block(
            attention=attention,
            ffn=mixture(
                config,
                experts="moe_num_experts",
                top_k="moe_k",
                shared="moe_num_shared_experts",
                bias=bias,
                router_bias=True,
            ),
        ),
    }
    last = layers - 1 if last < 0 else last
    names = ["moe" if first <= index <= last and (index + 1) % every == 0 else "dense" for index in range(layers)]
    return ReadParts(blocks, names, fields={"head_bias": bias})
