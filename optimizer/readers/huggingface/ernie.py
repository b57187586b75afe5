"""ERNIE 4.5: experts in a range of layers."""

from __future__ import annotations

from optimizer.domain.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.domain.model import Block
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.parts import Reading, gqa, layer_count


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
