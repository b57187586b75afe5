"""Llama and the dense decoders that follow it: Mistral, Granite, Qwen2, Qwen3, MiMo-7B, Nemotron-NAS."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from optimizer.domain.feedforward import DenseFeedForward, FeedForward
from optimizer.domain.model import Block
from optimizer.readers.huggingface.config import Config
from optimizer.readers.huggingface.parts import (
    FULL,
    SLIDING,
    ReadParts,
    gqa,
    layer_count,
    next_token_layers,
    uniform,
    window_kinds,
)

ReadFeedForward = Callable[[Config], FeedForward]


def ffn(config: Config) -> DenseFeedForward:
    """Gated feed-forward block of `intermediate_size`."""
    return DenseFeedForward(intermediate=config.integer("intermediate_size"), bias=config.flag("mlp_bias"))


def read_llama(config: Config, feed_forward: ReadFeedForward = ffn) -> ReadParts:
    """`llama`, `granite`: one kind of layer; `attention_bias` is of all four projections."""
    bias = config.flag("attention_bias")
    block = Block(attention=gqa(config, qkv_bias=bias, out_bias=bias), ffn=feed_forward(config))
    return uniform(config, block)


def read_mistral(config: Config) -> ReadParts:
    """`mistral`, `ministral`: a window on every layer where there is one, or on those that `layer_types` names."""
    layers, window = layer_count(config), config.optional("sliding_window")
    kinds = window_kinds(config, layers, every=None if window is None else layers + 1)
    blocks = {
        FULL: Block(attention=gqa(config), ffn=ffn(config)),
        SLIDING: Block(attention=gqa(config, window=window), ffn=ffn(config)),
    }
    return ReadParts(blocks, kinds)


def qwen_windows(config: Config, layers: int) -> tuple[list[str], int | None]:
    """Kinds of layers of Qwen models: the layers from `max_window_layers` on have a window, where it is switched on."""
    switched_on, first = config.flag("use_sliding_window"), config.integer("max_window_layers", default=layers, least=0)
    window = config.optional("sliding_window")
    listed = config.names("layer_types", (FULL, SLIDING), length=layers)
    if listed is not None:
        return listed, window
    sliding = layers - first if switched_on and window is not None else 0
    return [FULL] * (layers - max(0, sliding)) + [SLIDING] * max(0, sliding), window


def read_qwen2(config: Config) -> ReadParts:
    """`qwen2`, `mimo`: biases on queries, keys and values."""
    layers = layer_count(config)
    bias = config.flag("attention_bias", default=True)
    kinds, window = qwen_windows(config, layers)
    blocks = {
        FULL: Block(attention=gqa(config, qkv_bias=bias), ffn=ffn(config)),
        SLIDING: Block(attention=gqa(config, qkv_bias=bias, window=window), ffn=ffn(config)),
    }
    return ReadParts(blocks, kinds, next_token_layers(config, FULL, own_embedding=False))


def read_qwen3(config: Config) -> ReadParts:
    """`qwen3`: norms on queries and keys, head by head."""
    layers, bias = layer_count(config), config.flag("attention_bias")
    kinds, window = qwen_windows(config, layers)
    blocks = {
        name: Block(
            attention=gqa(
                config, qkv_bias=bias, out_bias=bias, qk_norm="head", window=window if name == SLIDING else None
            ),
            ffn=ffn(config),
        )
        for name in (FULL, SLIDING)
    }
    return ReadParts(blocks, kinds)


def read_nemotron_nas(config: Config) -> ReadParts:
    """`nemotron-nas` (DeciLM): every layer describes its attention and feed-forward block; either may be missing."""
    hidden, bias = config.integer("hidden_size"), config.flag("attention_bias")
    config.skip("intermediate_size", "num_key_value_heads", "block_configs")
    config.only("mlp_bias", False, why="biases are not described for this family")  # noqa: FBT003
    blocks: dict[str, Block] = {}
    names: list[str] = []
    for index, entry in enumerate(config.items("block_configs", length=layer_count(config)) or ()):
        block = Config({"layer": entry}, config.source).section("layer") or config
        attention, width = block.section("attention"), block.section("ffn")
        if attention is None or width is None:
            config.refuse("block_configs", f"entry {index} needs attention and ffn")
        group, intermediate = attention.optional("n_heads_in_group"), _width(width, hidden)
        _refuse_variants(attention, width)
        if group is None and intermediate is None:
            config.refuse("block_configs", f"entry {index} has neither attention nor ffn")
        name = f"kv{group or 0}-ffn{intermediate or 0}"
        names.append(name)
        if name not in blocks:
            heads = config.integer("num_attention_heads")
            blocks[name] = Block(
                attention=None
                if group is None
                else gqa(config, kv_heads=max(1, heads // group), qkv_bias=bias, out_bias=bias),
                ffn=None if intermediate is None else DenseFeedForward(intermediate=intermediate),
                norms=(group is not None) + (intermediate is not None),
            )
    if not names:
        config.refuse("block_configs", "is required but missing")
    return ReadParts(blocks, names)


def _refuse_variants(attention: Config, width: Config) -> None:
    for part in (attention, width):
        part.only("replace_with_linear", False, why="linear replacements are not described")  # noqa: FBT003
        part.only("sparsify", why="sparsified weights are not described")
        part.skip("no_op", "num_sink_tokens", "unshifted_sink", "use_prefill_window_in_sink_attention")
    attention.only("window_length", why="windows of this family are not described")


def _width(config: Config, hidden: int) -> int | None:
    """Intermediate size from `ffn_mult`, as the family's own code rounds it: up to a multiple of 256."""
    config.skip("ffn_mult")
    multiple = config.data.get("ffn_mult")
    if multiple is None:
        return None
    if isinstance(multiple, bool) or not isinstance(multiple, int | float | Fraction) or not 0 < multiple < 1024:
        config.refuse("ffn_mult", "a number is wanted")
    exact = int(2 * Fraction(multiple) * hidden / 3)
    return -(-exact // 256) * 256
