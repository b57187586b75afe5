"""A model as a list of layers, each with its own attention and feed-forward block."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Annotated

from pydantic import Field, model_validator

from optimizer.domain.attention import Attention, Entries, Kept, Latents
from optimizer.domain.attention.kind import HeadCount
from optimizer.domain.base import Grown, Spec, TokenCount, WidthOrNone
from optimizer.domain.feedforward import FeedForward, MixtureOfExperts
from optimizer.domain.precision import ModelPrecision
from optimizer.domain.tensor import Split, Tensor, TensorRole

MOST_PARAMETERS = 10**15
"""Of a whole model: hundreds of times the largest, and few enough that sums of bytes stay inside 64 bits."""


class Block(Spec):
    """One layer: a token mixer, a feed-forward block, or both."""

    attention: Attention | None = None
    ffn: FeedForward | None = None
    norms: WidthOrNone = Field(default=2, description="norm vectors as wide as the model")
    norm_bias: bool = False
    scalars: int = Field(
        default=0, ge=0, le=MOST_PARAMETERS, description="learned elements that belong to nothing else"
    )
    buffers: int = Field(default=0, ge=0, le=MOST_PARAMETERS, description="stored elements that are no parameters")
    hyper_streams: int = Field(
        default=0,
        ge=0,
        le=64,
        description="residual streams of hyper-connections, mixed before attention and before ffn",
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Block:
        if self.attention is None and self.ffn is None:
            message = "a block needs attention, ffn or both"
            raise ValueError(message)
        return self

    @property
    def keeps(self) -> Kept | None:
        """What its attention keeps of the tokens before, where it has any."""
        return None if self.attention is None else self.attention.keeps

    @property
    def moe(self) -> MixtureOfExperts | None:
        """The mixture of experts, where the block has one."""
        return self.ffn if isinstance(self.ffn, MixtureOfExperts) else None

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        """All weights of one such layer."""
        all_tensors: list[Tensor] = []
        if self.attention is not None:
            all_tensors += self.attention.tensors(hidden)
        if self.ffn is not None:
            all_tensors += self.ffn.tensors(hidden)
        if self.norms:
            all_tensors.append(
                Tensor("norms", hidden * self.norms, 2 if self.norm_bias else 1, TensorRole.NORM, matrix=False)
            )
        if self.scalars:
            all_tensors.append(Tensor("scalars", self.scalars, 1, TensorRole.OTHER, matrix=False))
        if self.buffers:
            all_tensors.append(Tensor("buffers", self.buffers, 1, TensorRole.OTHER, matrix=False, buffer=True))
        if self.hyper_streams:
            all_tensors += _hyper_connection(hidden, self.hyper_streams)
        return tuple(all_tensors)


def _hyper_connection(hidden: int, streams: int) -> list[Tensor]:
    """Mixing maps of both sites of a layer, in FP32 (manifold-constrained hyper-connections, arXiv 2512.24880).

    Each site computes `streams` weights in, `streams` out and a `streams` × `streams` mix from all streams.
    """
    outputs = (2 + streams) * streams
    return [
        Tensor("hyper_map", outputs, streams * hidden, TensorRole.OTHER, count=2, bytes_each=4),
        Tensor("hyper_base", outputs + 3, 1, TensorRole.OTHER, count=2, matrix=False, bytes_each=4),
    ]


def _hyper_head(hidden: int, streams: int) -> list[Tensor]:
    """What joins the streams into one before the final norm."""
    return [
        Tensor("hyper_head_map", streams, streams * hidden, TensorRole.OTHER, bytes_each=4),
        Tensor("hyper_head_base", streams + 1, 1, TensorRole.OTHER, matrix=False, bytes_each=4),
    ]


class Run(Spec):
    """`count` times the blocks named in `pattern`, in order."""

    pattern: tuple[str, ...] = Field(min_length=1, strict=False)
    count: int = Field(default=1, ge=1, le=100_000)


class Mtp(Spec):
    """Multi-token-prediction layers after the main stack (DeepSeek-V3, arXiv 2412.19437 section 2.2)."""

    block: str
    count: int = Field(ge=1, le=64)
    own_embedding: bool = Field(
        default=False, description="the checkpoint repeats embedding and head here; engines share them with the model"
    )


class Vision(Grown):
    """Vision tower and projector, kept in 16 bit; outside the parameter totals, inside the first stage's memory."""

    later = ("score_bytes",)

    parameters: int = Field(ge=1, le=10**12)
    sharded: bool = Field(default=False, description="divided over tensor-parallel ranks; else whole on each")
    heads: HeadCount | None = Field(default=None, description="attention heads of the encoder, which tp divides")
    score_bytes: int = Field(
        default=0,
        ge=0,
        le=10**6,
        description="of unfused attention under a mask, for each two tokens of pictures; 0: no mask",
    )


class Published(Spec):
    """What the publisher says, rounded as it says it."""

    total: int | None = Field(default=None, ge=1, le=MOST_PARAMETERS)
    active: int | None = Field(default=None, ge=1, le=MOST_PARAMETERS)
    source: str = Field(min_length=1)
    note: str = Field(default="", description="why it differs from the count, where it does")


class ModelSpec(Grown):
    """A decoder-only language model (for multimodal ones: the text tower)."""

    later = ("family", "architecture")

    name: str = Field(min_length=1)
    family: str = Field(default="", description="model_type of its config.json, where layers have windows")
    architecture: str = Field(default="", description="class that its config.json names, by which engines look it up")
    hidden_size: int = Field(ge=1, le=10**6)
    vocab_size: int = Field(ge=1, le=10**8)
    tie_embeddings: bool = False
    max_context: TokenCount | None = None
    learned_positions: int = Field(default=0, ge=0, le=10**9, description="rows of a learned position table")
    embedding_norm: bool = Field(default=False, description="a norm on the embeddings")
    final_norm: bool = True
    norm_bias: bool = False
    head_bias: bool = False
    hyper_streams: int = Field(default=0, ge=0, le=64, description="residual streams that are joined before the head")
    vision: Vision | None = None
    blocks: dict[str, Block] = Field(min_length=1)
    layers: Annotated[tuple[Run, ...], Field(min_length=1, strict=False)]
    mtp: Mtp | None = None
    precision: ModelPrecision = ModelPrecision()
    source: str = ""
    published: Published | None = None
    assumed: tuple[str, ...] = Field(default=(), strict=False, description="facts without a source, by name")

    @model_validator(mode="after")
    def _consistent(self) -> ModelSpec:
        named = [name for run in self.layers for name in run.pattern] + ([self.mtp.block] if self.mtp else [])
        for name in named:
            if name not in self.blocks:
                message = f"block {name!r} is not defined; blocks: {', '.join(self.blocks)}"
                raise ValueError(message)
        if len(self.layer_names) > 10_000:
            message = f"{len(self.layer_names)} layers are more than 10,000"
            raise ValueError(message)
        tensors = [*self.input_tensors(), *self.output_tensors(), *self.mtp_tensors()]
        elements = sum(tensor.elements for tensor in tensors)
        for name, layers in Counter(self.layer_names).items():
            elements += layers * sum(tensor.elements for tensor in self.blocks[name].tensors(self.hidden_size))
        if elements > MOST_PARAMETERS:
            message = f"{elements:,} parameters in all are more than {MOST_PARAMETERS:,}"
            raise ValueError(message)
        return self

    @cached_property
    def layer_names(self) -> tuple[str, ...]:
        """The block name of every layer, first to last."""
        return tuple(name for run in self.layers for _ in range(run.count) for name in run.pattern)

    @cached_property
    def windows(self) -> tuple[int, ...]:
        """Tokens of the windows that layers have, each once."""
        kept = (self.blocks[name].keeps for name in dict.fromkeys(self.layer_names))
        return tuple(dict.fromkeys(one.window for one in kept if one is not None and one.window is not None))

    @cached_property
    def kept(self) -> tuple[Kept, ...]:
        """What a layer of each block that has attention keeps of the tokens before."""
        return tuple(kept for block in self.blocks.values() if (kept := block.keeps) is not None)

    @cached_property
    def latent(self) -> bool:
        """Whether it has multi-head latent attention."""
        return any(isinstance(kept, Latents) for kept in self.kept)

    @cached_property
    def indexed(self) -> bool:
        """Whether an indexer chooses what a layer reads."""
        return any(kept.indexer is not None for kept in self.kept)

    @cached_property
    def compressed(self) -> bool:
        """Whether it has DeepSeek-V4's attention: engines have model code of its own for it."""
        return any(isinstance(kept, Entries) for kept in self.kept)

    @property
    def layer_count(self) -> int:
        """Layers of the main stack, MTP layers excluded."""
        return len(self.layer_names)

    @cached_property
    def moe(self) -> MixtureOfExperts | None:
        """The mixture of experts of the first MoE layer; None for a dense model."""
        return next((b.moe for n in self.layer_names if (b := self.blocks[n]).moe is not None), None)

    @cached_property
    def moe_blocks(self) -> tuple[MixtureOfExperts, ...]:
        """The mixture of experts of every kind of layer that has one."""
        return tuple(block.moe for block in self.blocks.values() if block.moe is not None)

    @cached_property
    def moe_layers(self) -> tuple[int, ...]:
        """Layers of the main stack that have routed experts."""
        return tuple(i for i, name in enumerate(self.layer_names) if self.blocks[name].moe is not None)

    @property
    def moe_layer_count(self) -> int:
        """How many these are."""
        return len(self.moe_layers)

    def input_tensors(self) -> tuple[Tensor, ...]:
        """What only the first pipeline stage holds."""
        tensors = [
            Tensor("embedding", self.vocab_size, self.hidden_size, TensorRole.EMBEDDING, Split.VOCAB, matrix=False)
        ]
        if self.learned_positions:
            tensors.append(
                Tensor("positions", self.learned_positions, self.hidden_size, TensorRole.EMBEDDING, matrix=False)
            )
        if self.embedding_norm:
            tensors.append(
                Tensor("embedding_norm", self.hidden_size, 2 if self.norm_bias else 1, TensorRole.NORM, matrix=False)
            )
        if self.vision is not None:
            split = Split.ROWS if self.vision.sharded else Split.REPLICATED
            tensors.append(Tensor("vision", self.vision.parameters, 1, TensorRole.VISION, split, matrix=False))
        return tuple(tensors)

    def output_tensors(self) -> tuple[Tensor, ...]:
        """What only the last pipeline stage holds (a tied head is the embedding: see `tie_embeddings`)."""
        tensors = []
        if self.final_norm:
            tensors.append(
                Tensor("final_norm", self.hidden_size, 2 if self.norm_bias else 1, TensorRole.NORM, matrix=False)
            )
        if self.hyper_streams:
            tensors += _hyper_head(self.hidden_size, self.hyper_streams)
        if not self.tie_embeddings:
            tensors.append(Tensor("lm_head", self.vocab_size, self.hidden_size, TensorRole.LM_HEAD, Split.VOCAB))
        if self.head_bias:
            tensors.append(Tensor("lm_head_bias", self.vocab_size, 1, TensorRole.LM_HEAD, Split.VOCAB, matrix=False))
        return tuple(tensors)

    def mtp_tensors(self) -> tuple[Tensor, ...]:
        """The MTP layers: a projection of [hidden; embedding], its norms, and the block, each `count` times."""
        if self.mtp is None:
            return ()
        hidden = self.hidden_size
        tensors = [
            # Left in 16 bit by DeepSeek's FP8 checkpoints and by the engines.
            Tensor("mtp_projection", hidden, 2 * hidden, TensorRole.MTP, count=self.mtp.count, bytes_each=2),
            Tensor("mtp_norms", 3 * hidden, 1, TensorRole.MTP, count=self.mtp.count, matrix=False),
        ]
        for _ in range(self.mtp.count):
            tensors += self.blocks[self.mtp.block].tensors(hidden)
            if self.hyper_streams:
                tensors += _hyper_head(hidden, self.hyper_streams)
        return tuple(tensors)
