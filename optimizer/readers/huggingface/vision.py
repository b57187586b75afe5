"""Parameters of vision towers and their projectors, from `vision_config`: every element that a checkpoint stores.

One formula an encoder, by the shapes of its tensors in huggingface/transformers (5.24, `models/*/modeling_*.py`); each
is tied to the safetensors index of a published checkpoint, or to the classes' own count on the meta device, in
``tests/readers/huggingface/test_vision.py``. An encoder that has no formula here is named in the model's `assumed`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from optimizer.domain.model import Vision
from optimizer.readers.huggingface.config import Config

KEY: Final = "vision_config"
_COLOURS: Final = 3


def _linear(rows: int, cols: int, *, bias: bool = True) -> int:
    return rows * cols + (rows if bias else 0)


def _layer_norm(width: int) -> int:
    return 2 * width


@dataclass(frozen=True)
class _Sizes:
    hidden: int
    intermediate: int
    layers: int
    patch: int
    heads: int


def _sizes(tower: Config) -> _Sizes:
    """The usual keys, under the names that each encoder gives them."""
    return _Sizes(
        tower.integer("hidden_size", "vt_hidden_size", "embed_dim"),
        tower.integer("intermediate_size", "vt_intermediate_size"),
        tower.integer("num_hidden_layers", "vt_num_hidden_layers", "depth"),
        tower.integer("patch_size", "spatial_patch_size"),
        tower.integer("num_attention_heads", "vt_num_attention_heads", "num_heads"),
    )


def _plain_layer(size: _Sizes) -> int:
    """Two layer norms, attention and a block of two matrices, all with biases."""
    attention = 4 * _linear(size.hidden, size.hidden)
    feed_forward = _linear(size.intermediate, size.hidden) + _linear(size.hidden, size.intermediate)
    return 2 * _layer_norm(size.hidden) + attention + feed_forward


def _qwen3(tower: Config, outer: Config, hidden: int, size: _Sizes) -> int:
    """Qwen3-VL and Qwen3.5: learned positions, a merger, and one merger more for every deepstack layer."""
    del outer
    merged_width = size.hidden * tower.integer("spatial_merge_size", default=2) ** 2
    out = tower.integer("out_hidden_size", default=hidden)
    frames = tower.integer("temporal_patch_size", default=2)
    merged = _linear(merged_width, merged_width) + _linear(out, merged_width)
    deep = len(tower.integers("deepstack_visual_indexes") or ())
    return (
        _linear(size.hidden, tower.integer("in_channels", default=_COLOURS) * frames * size.patch**2)
        + tower.integer("num_position_embeddings") * size.hidden
        + size.layers * _plain_layer(size)
        + (_layer_norm(size.hidden) + merged)
        + deep * (_layer_norm(merged_width) + merged)
    )


def _qwen2_5(tower: Config, outer: Config, hidden: int, size: _Sizes) -> int:
    """Qwen2.5-VL: rotary positions, RMS norms, gated blocks, one merger."""
    del outer
    merged_width = size.hidden * tower.integer("spatial_merge_size", default=2) ** 2
    frames = tower.integer("temporal_patch_size", default=2)
    layer = 2 * size.hidden + 4 * _linear(size.hidden, size.hidden)
    layer += 2 * _linear(size.intermediate, size.hidden) + _linear(size.hidden, size.intermediate)
    merger = (
        size.hidden
        + _linear(merged_width, merged_width)
        + _linear(tower.integer("out_hidden_size", default=hidden), merged_width)
    )
    channels = tower.integer("in_channels", "in_chans", default=_COLOURS)
    patches = _linear(size.hidden, channels * frames * size.patch**2, bias=False)
    return patches + size.layers * layer + merger


def _siglip(tower: Config, outer: Config, hidden: int, size: _Sizes) -> int:
    """Gemma 3: SigLIP without its pooling head, a projection and a norm of its input."""
    del outer
    positions = (tower.integer("image_size") // size.patch) ** 2
    encoder = _linear(size.hidden, _COLOURS * size.patch**2) + positions * size.hidden
    encoder += size.layers * _plain_layer(size) + _layer_norm(size.hidden)
    return encoder + hidden * size.hidden + size.hidden


def _gemma4(tower: Config, outer: Config, hidden: int, size: _Sizes) -> int:
    """Gemma 4: positions of both axes, gated blocks between four norms, norms of queries and keys."""
    del outer
    dim = tower.integer("head_dim", default=size.hidden // size.heads)
    keys = tower.integer("num_key_value_heads", default=size.heads) * dim
    queries = size.heads * dim
    layer = 2 * size.hidden * (queries + keys) + 2 * dim + 3 * size.hidden * size.intermediate + 4 * size.hidden
    positions = 2 * tower.integer("position_embedding_size") * size.hidden
    patches = _COLOURS * size.patch**2 * size.hidden
    return patches + positions + size.layers * layer + hidden * size.hidden


def _pixtral(tower: Config, outer: Config, hidden: int, size: _Sizes) -> int:
    """Pixtral: no biases; the projector merges patches and has two matrices."""
    del tower
    merge = outer.integer("spatial_merge_size", default=2)
    bias = outer.flag("multimodal_projector_bias")
    layer = 2 * size.hidden + 4 * size.hidden**2 + 3 * size.hidden * size.intermediate
    encoder = _COLOURS * size.patch**2 * size.hidden + size.hidden + size.layers * layer
    projector = size.hidden + (merge**2) * size.hidden**2
    projector += _linear(hidden, size.hidden, bias=bias) + _linear(hidden, hidden, bias=bias)
    return encoder + projector


def _llama4(tower: Config, outer: Config, hidden: int, size: _Sizes) -> int:
    """Llama 4: a class token, learned positions, an adapter after pixel shuffling, one projection."""
    del outer
    positions = (tower.integer("image_size") // size.patch) ** 2 + 1
    shuffled, out = tower.integer("projector_input_dim"), tower.integer("projector_output_dim")
    encoder = _COLOURS * size.patch**2 * size.hidden + (1 + positions) * size.hidden + 2 * _layer_norm(size.hidden)
    encoder += size.layers * _plain_layer(size)
    return encoder + size.intermediate * shuffled + shuffled * out + tower.integer("vision_output_dim") * hidden


def _moonvit(tower: Config, outer: Config, hidden: int, size: _Sizes) -> int:
    """Kimi's MoonViT: learned positions of a grid, layer norms and biases, a merger."""
    del outer
    kernel = tower.integers("merge_kernel_size") or [2, 2]
    grid = tower.integer("init_pos_emb_height", default=64) * tower.integer("init_pos_emb_width", default=64)
    merged_width = size.hidden * kernel[0] * kernel[-1]
    encoder = _linear(size.hidden, _COLOURS * size.patch**2) + grid * size.hidden
    encoder += size.layers * _plain_layer(size) + _layer_norm(size.hidden)
    return encoder + _layer_norm(size.hidden) + _linear(merged_width, merged_width) + _linear(hidden, merged_width)


def _masked_scores(tower: Config, size: _Sizes) -> int:
    """Scores in 32 bits of each two tokens' patches under MoonViT's mask.

    64 GiB of 8,192 tokens (Kimi-VL issue 57), 1,029.51 of 32,768 (issue 54): 64 and 1,024 are derived.
    """
    kernel = tower.integers("merge_kernel_size") or [2, 2]
    return 4 * size.heads * (kernel[0] * kernel[-1]) ** 2


@dataclass(frozen=True)
class Tower:
    """How to count one kind of encoder; `sharded`: whether vLLM divides it over tensor-parallel ranks.

    `scores`: bytes that its attention holds for each two tokens where a mask keeps it from being fused.
    """

    count: Callable[[Config, Config, int, _Sizes], int]
    sharded: bool
    scores: Callable[[Config, _Sizes], int] | None = None


TOWERS: Final[dict[str, Tower]] = {
    "gemma3": Tower(_siglip, sharded=False),
    "gemma4": Tower(_gemma4, sharded=False),
    "kimi_k25": Tower(_moonvit, sharded=True),
    "kimi_vl": Tower(_moonvit, sharded=True, scores=_masked_scores),
    "llama4": Tower(_llama4, sharded=True),
    "mistral3": Tower(_pixtral, sharded=False),
    "qwen2_5_vl": Tower(_qwen2_5, sharded=True),
    "qwen3_5": Tower(_qwen3, sharded=True),
    "qwen3_5_moe": Tower(_qwen3, sharded=True),
    "qwen3_vl": Tower(_qwen3, sharded=True),
    "qwen3_vl_moe": Tower(_qwen3, sharded=True),
}
"""By the `model_type` of the whole model."""


def vision_of(outer: Config, hidden: int) -> tuple[Vision | None, tuple[str, ...]]:
    """The tower of a multimodal model, and what had to be assumed.

    Parameters
    ----------
    hidden
        Width of the language model, which the projector ends in.

    Raises
    ------
    SpecError
        A tower of a known kind without one of its sizes.
    """
    kind = outer.text("model_type") or ""
    tower = outer.section(KEY)
    if tower is None:
        return None, ()
    known = TOWERS.get(kind)
    if known is None:
        return None, (f"vision tower of {kind}: not counted",)
    size = _sizes(tower)
    counted = known.count(tower, outer, hidden, size)
    heads = size.heads if known.sharded else None
    scores = known.scores(tower, size) if known.scores is not None else 0
    return Vision(parameters=counted, sharded=known.sharded, heads=heads, score_bytes=scores), ()
