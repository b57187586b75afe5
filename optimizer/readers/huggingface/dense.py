"""Dense decoders that differ from Llama in a norm or a bias: Phi-3 and 4, OLMo 2, Seed-OSS, GLM-4."""

from __future__ import annotations

from optimizer.domain.model import Block
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.llama import ffn
from optimizer.readers.huggingface.parts import Reading, gqa, layer_count


def read_phi3(config: Config) -> Reading:
    """`phi3`: no biases; queries, keys and values in one matrix."""
    block = Block(attention=gqa(config, window=config.optional("sliding_window")), ffn=ffn(config))
    return Reading({"layer": block}, ["layer"] * layer_count(config))


def read_olmo2(config: Config) -> Reading:
    """`olmo2`: norms after the blocks, and over all query heads and all key heads."""
    bias = config.flag("attention_bias")
    block = Block(attention=gqa(config, qkv_bias=bias, out_bias=bias, qk_norm="full"), ffn=ffn(config))
    return Reading({"layer": block}, ["layer"] * layer_count(config))


def read_seed_oss(config: Config) -> Reading:
    """`seed_oss`: biases on queries, keys and values, and where said on the output."""
    qkv, out = config.flag("attention_bias", default=True), config.flag("attention_out_bias")
    block = Block(attention=gqa(config, qkv_bias=qkv, out_bias=out), ffn=ffn(config))
    return Reading({"layer": block}, ["layer"] * layer_count(config))


def read_glm4(config: Config) -> Reading:
    """`glm4`: four norms a layer, biases on queries, keys and values."""
    bias = config.flag("attention_bias", default=True)
    block = Block(attention=gqa(config, qkv_bias=bias), ffn=ffn(config), norms=4)
    return Reading({"layer": block}, ["layer"] * layer_count(config))
