"""Qwen mixtures of experts, and the Qwen models that mix gated delta nets with gated full attention."""

from __future__ import annotations

from optimizer.domain.attention import Attention, GatedDeltaNet
from optimizer.domain.feedforward import FeedForward, MixtureOfExperts
from optimizer.domain.model import Block, Mtp
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.llama import ffn, qwen_windows
from optimizer.readers.huggingface.parts import FULL, ReadParts, gqa, layer_count

LINEAR = "linear_attention"


def _experts(config: Config) -> MixtureOfExperts:
    shared = config.integer("shared_expert_intermediate_size", default=0, least=0)
    return MixtureOfExperts(
        experts=config.integer("num_experts"),
        top_k=config.integer("num_experts_per_tok"),
        intermediate=config.integer("moe_intermediate_size"),
        shared_intermediate=shared,
        shared_gate=bool(shared),
    )


def _sparse_layers(config: Config, layers: int) -> list[bool]:
    """Which layers have experts: every `decoder_sparse_step`-th, those in `mlp_only_layers` aside."""
    step = config.integer("decoder_sparse_step", default=1)
    dense = set(config.integers("mlp_only_layers") or ())
    config.skip("intermediate_size")
    return [index not in dense and (index + 1) % step == 0 for index in range(layers)]


def read_qwen_moe(config: Config, *, qkv_bias: bool, norm: bool) -> ReadParts:
    """`qwen2_moe`, `qwen3_moe`: experts in some or all layers."""
    layers = layer_count(config)
    bias = config.flag("attention_bias", default=config.flag("qkv_bias", default=qkv_bias))
    config.only("use_qk_norm", norm, why="this family's norms of queries and keys are fixed")
    kinds, window = qwen_windows(config, layers)
    sparse = _sparse_layers(config, layers)
    blocks: dict[str, Block] = {}
    names = []
    for kind, has_experts in zip(kinds, sparse, strict=True):
        name = kind.removesuffix("_attention") + ("-moe" if has_experts else "-dense")
        names.append(name)
        if name not in blocks:
            blocks[name] = Block(
                attention=gqa(
                    config,
                    qkv_bias=bias,
                    out_bias=bias and not qkv_bias,
                    qk_norm="head" if norm else "none",
                    window=None if kind == FULL else window,
                ),
                ffn=_experts(config) if has_experts else ffn(config),
            )
    _experts(config)
    return ReadParts(blocks, names)


def read_qwen2_moe(config: Config) -> ReadParts:
    """`qwen2_moe`: biases, a gated shared expert."""
    return read_qwen_moe(config, qkv_bias=True, norm=False)


def read_qwen3_moe(config: Config) -> ReadParts:
    """`qwen3_moe` and the text model of `qwen3_vl_moe`."""
    return read_qwen_moe(config, qkv_bias=False, norm=True)


def read_hybrid(config: Config) -> ReadParts:
    """`qwen3_next`, `qwen3_5_text`, `qwen3_5_moe_text`: a full-attention layer after every few gated delta nets."""
    layers = layer_count(config)
    every = config.integer("full_attention_interval", default=4)
    kinds = config.names("layer_types", (FULL, LINEAR), length=layers)
    if kinds is None:
        kinds = [FULL if (index + 1) % every == 0 else LINEAR for index in range(layers)]
    config.only("attn_output_gate", True, why="these models have an output gate")  # noqa: FBT003
    config.only("mtp_use_dedicated_embeddings", False, why="they share the model's embeddings")  # noqa: FBT003
    states = {"float32": 4, "bfloat16": 2, "float16": 2, None: 4}
    written = config.text("mamba_ssm_dtype")
    if written not in states:
        config.refuse("mamba_ssm_dtype", f"{written!r} is not understood; understood: float32, bfloat16, float16")
    bias = config.flag("attention_bias")
    mixers: dict[str, Attention] = {
        FULL: gqa(config, qkv_bias=bias, out_bias=bias, qk_norm="head", output_gate=True),
        LINEAR: GatedDeltaNet(
            key_heads=config.integer("linear_num_key_heads"),
            value_heads=config.integer("linear_num_value_heads"),
            key_dim=config.integer("linear_key_head_dim"),
            value_dim=config.integer("linear_value_head_dim"),
            conv_kernel=config.integer("linear_conv_kernel_dim"),
            state_bytes=4 if states[written] == 4 else 2,
        ),
    }
    sparse = config.has("num_experts")
    has_experts = _sparse_layers(config, layers) if sparse else [False] * layers
    if not sparse:
        config.skip("mlp_only_layers")
    ffns: dict[bool, FeedForward] = {}
    if any(has_experts):
        ffns[True] = _experts(config)
    if not all(has_experts):
        ffns[False] = ffn(config)
    names = [
        kind.removesuffix("_attention") + ("-moe" if moe else "-dense")
        for kind, moe in zip(kinds, has_experts, strict=True)
    ]
    blocks = {
        f"{kind.removesuffix('_attention')}{'-moe' if moe else '-dense'}": Block(attention=mixers[kind], ffn=ffns[moe])
        for kind in (LINEAR, FULL)
        for moe in ffns
    }
    count = config.integer("mtp_num_hidden_layers", default=0, least=0)
    mtp = Mtp(block="full-moe" if has_experts[-1] else "full-dense", count=count) if count else None
    return ReadParts(blocks, names, mtp)
