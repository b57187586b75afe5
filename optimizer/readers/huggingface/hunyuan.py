"""Hunyuan: mixtures of experts, some with keys and values shared across layers."""

from __future__ import annotations

from optimizer.domain.feedforward import MixtureOfExperts
from optimizer.domain.model import Block
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.parts import Reading, gqa, layer_count


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
