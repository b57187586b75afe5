"""MiniMax-M1 (lightning attention between full layers) and MiniMax-M2, Hunyuan and ERNIE 4.5."""

from __future__ import annotations

from optimizer.spec.attention import LightningAttention
from optimizer.spec.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.spec.huggingface.config import Config
from optimizer.spec.huggingface.parts import Reading, gqa, layer_count
from optimizer.spec.model import Block

LINEAR, SOFTMAX = 0, 1


def _kinds(config: Config, layers: int) -> list[int]:
    """Kind of each layer: 0 linear, 1 softmax attention."""
    listed = config.integers("attn_type_list", length=layers)
    for index, kind in enumerate(listed or ()):
        if kind not in (LINEAR, SOFTMAX):
            config.refuse("attn_type_list", f"entry {index} is {kind}; understood: 0 (linear), 1 (softmax)")
    return listed or [SOFTMAX] * layers


def _experts(config: Config, *, correction: bool) -> MixtureOfExperts:
    return MixtureOfExperts(
        experts=config.integer("num_local_experts"),
        top_k=config.integer("num_experts_per_tok"),
        intermediate=config.integer("intermediate_size"),
        shared_intermediate=config.integer("shared_intermediate_size", default=0, least=0),
        router_correction=correction,
    )


def read_minimax_m1(config: Config) -> Reading:
    """`minimax_m1`, `minimax_text_01`, `minimax`: seven lightning layers, then one of softmax attention."""
    kinds = _kinds(config, layer_count(config))
    attention = gqa(config)
    config.skip("shared_moe_mode", "mlp_layer_types", "block_size")
    experts = _experts(config, correction=False)
    blocks = {
        "lightning": Block(
            attention=LightningAttention(heads=attention.heads, head_dim=attention.head_dim), ffn=experts
        ),
        "softmax": Block(attention=attention, ffn=experts),
    }
    return Reading(blocks, ["softmax" if kind == SOFTMAX else "lightning" for kind in kinds])


def read_minimax_m2(config: Config) -> Reading:
    """`minimax_m2`: norms over all heads. The MTP modules it declares are not in the published checkpoints."""
    layers = layer_count(config)
    if LINEAR in _kinds(config, layers):
        config.refuse("attn_type_list", "linear layers are not described for this family")
    config.only("qk_norm_type", "per_layer", why="other norms are not described for this family")
    config.skip("use_mtp", "num_mtp_modules", "mtp_transformer_layers")
    norm = config.flag("use_qk_norm", default=True)
    correction = config.flag("use_routing_bias", default=True)
    block = Block(
        attention=gqa(config, qk_norm="full" if norm else "none"), ffn=_experts(config, correction=correction)
    )
    return Reading({"layer": block}, ["layer"] * layers)


def _first(config: Config, name: str, *, least: int = 1) -> int:
    """A number, or a list of one number for each layer that are all the same."""
    value = config.data.get(name)
    if not isinstance(value, list):
        return config.integer(name, least=least)
    config.skip(name)
    if not value or any(entry != value[0] for entry in value):
        config.refuse(name, "differs from layer to layer, which is not described for this family")
    return Config({name: value[0]}, config.source).integer(name, least=least)


def read_hunyuan(config: Config) -> Reading:
    """`hunyuan`, `hunyuan_v1_moe`: cross-layer attention shares keys and values among `cla_share_factor` layers."""
    bias = config.flag("attention_bias")
    norm = "head" if config.flag("use_qk_norm") else "none"
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
            attention=gqa(
                config,
                qkv_bias=bias,
                out_bias=bias,
                qk_norm="head" if norm == "head" else "none",
                shares_cache=name == "sharing",
            ),
            ffn=experts,
        )
        for name in ("owning", "sharing")
    }
    names = ["sharing" if index % factor else "owning" for index in range(layer_count(config))]
    return Reading(blocks, names)


def read_ernie(config: Config) -> Reading:
    """`ernie4_5_moe`: experts from `moe_layer_start_index` to `moe_layer_end_index`, a learned correction bias."""
    layers, bias = layer_count(config), config.flag("use_bias")
    first = config.integer("moe_layer_start_index", default=0, least=0)
    last = config.integer("moe_layer_end_index", default=layers - 1, least=-1)
    every = config.integer("moe_layer_interval", default=1)
    config.skip("moe_use_aux_free", "moe_gate", "moe_norm_min", "moe_statics", "moe_capacity")
    width = config.integer("moe_intermediate_size")
    attention = gqa(config, qkv_bias=bias, out_bias=bias)
    blocks = {
        "dense": Block(
            attention=attention, ffn=DenseFeedForward(intermediate=config.integer("intermediate_size"), bias=bias)
        ),
        "moe": Block(
            attention=attention,
            ffn=MixtureOfExperts(
                experts=config.integer("moe_num_experts"),
                top_k=config.integer("moe_k"),
                intermediate=width,
                shared_intermediate=width * config.integer("moe_num_shared_experts", default=0, least=0),
                bias=bias,
                router_bias=True,
            ),
        ),
    }
    last = layers - 1 if last < 0 else last
    names = ["moe" if first <= index <= last and (index + 1) % every == 0 else "dense" for index in range(layers)]
    return Reading(blocks, names, fields={"head_bias": bias})
