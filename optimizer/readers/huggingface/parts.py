"""What most families share: sizes, attention, mixtures of experts, runs of layers, multi-token-prediction layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from optimizer.domain.attention import GroupedQueryAttention
from optimizer.domain.feedforward import MixtureOfExperts
from optimizer.domain.model import Block, Mtp, Run
from optimizer.readers.huggingface.config import Config

LONGEST_PATTERN = 12
MOST_LAYERS = 10_000

FULL, SLIDING = "full_attention", "sliding_attention"
WINDOWED = (FULL, SLIDING)


@dataclass(frozen=True)
class ReadParts:
    """What a family read: blocks by name, the block of every layer, and other fields of the model."""

    blocks: dict[str, Block]
    layers: Sequence[str]
    mtp: Mtp | None = None
    fields: dict[str, Any] = field(default_factory=dict)


def layer_count(config: Config) -> int:
    """Layers of the main stack."""
    count = config.integer("num_hidden_layers", "n_layer", "n_layers")
    if count > MOST_LAYERS:
        config.refuse("num_hidden_layers", f"must be at most {MOST_LAYERS:,}, not {count}")
    return count


def uniform(config: Config, block: Block, **fields: object) -> ReadParts:
    """The same block in every layer, and other fields of the model."""
    return ReadParts({"layer": block}, ["layer"] * layer_count(config), fields=fields)


def mixture(
    config: Config,
    *,
    experts: str = "num_experts",
    top_k: str = "num_experts_per_tok",
    shared: str = "num_shared_experts",
    least_shared: int = 0,
    groups: str | None = None,
    **more: Any,
) -> MixtureOfExperts:
    """Routed and shared experts, all `moe_intermediate_size` wide, by the keys of their numbers and of routing groups.

    Without its key there are `least_shared` shared experts.
    """
    width = config.integer("moe_intermediate_size")
    if groups is not None:
        more["group_count"] = config.integer(groups, default=1)
        more["group_limit"] = config.integer("topk_group", default=more["group_count"])
    return MixtureOfExperts(
        experts=config.integer(experts),
        top_k=config.integer(top_k),
        intermediate=width,
        shared_intermediate=width * config.integer(shared, default=least_shared, least=0),
        **more,
    )


def gqa(
    config: Config,
    *,
    heads: int | None = None,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    window: int | None = None,
    qkv_bias: bool = False,
    out_bias: bool = False,
    qk_norm: Literal["none", "head", "full", "query"] = "none",
    **more: Any,
) -> GroupedQueryAttention:
    """Grouped-query attention from the usual keys, where they are not given."""
    heads = heads or config.integer("num_attention_heads", "n_head", "n_heads")
    kv_heads = kv_heads or config.integer("num_key_value_heads", default=heads)
    own_dim = config.optional("head_dim", "attention_head_dim")
    hidden = config.integer("hidden_size", "n_embd", "d_model", "n_embed")
    if heads % kv_heads:
        config.refuse("num_key_value_heads", f"{kv_heads} does not divide the {heads} attention heads")
    if head_dim is None and own_dim is None and hidden % heads:
        config.refuse("num_attention_heads", f"{heads} does not divide hidden_size {hidden}, and there is no head_dim")
    return GroupedQueryAttention(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim or own_dim or hidden // heads,
        window=window,
        qkv_bias=qkv_bias,
        out_bias=out_bias,
        qk_norm=qk_norm,
        **more,
    )


def window_kinds(config: Config, layers: int, *, every: int | None) -> list[str]:
    """Kind of each layer: `layer_types`, or every `every`-th (counted from 1) full and the others sliding."""
    listed = config.names("layer_types", WINDOWED, length=layers)
    if listed is not None:
        return listed
    return [FULL if every is None or (index + 1) % every == 0 else SLIDING for index in range(layers)]


def next_token_layers(config: Config, block: str, *, own_embedding: bool) -> Mtp | None:
    """`num_nextn_predict_layers` extra layers, each like `block`."""
    count = config.integer("num_nextn_predict_layers", default=0, least=0)
    return Mtp(block=block, count=count, own_embedding=own_embedding) if count else None


def runs_of(layers: Sequence[str]) -> tuple[Run, ...]:
    """Layers as the longest repeated patterns, first to last."""
    runs: list[Run] = []
    start = 0
    while start < len(layers):
        length, count = max(
            ((length, _repeats(layers, start, length)) for length in range(1, LONGEST_PATTERN + 1)),
            key=lambda option: (option[0] * option[1] if option[1] > 1 else 1, -option[0]),
        )
        if count < 2:
            length, count = 1, 1
        runs.append(Run(pattern=tuple(layers[start : start + length]), count=count))
        start += length * count
    return tuple(runs)


def _repeats(layers: Sequence[str], start: int, length: int) -> int:
    pattern = layers[start : start + length]
    if len(pattern) < length:
        return 0
    count = 1
    while layers[start + count * length : start + (count + 1) * length] == pattern:
        count += 1
    return count
