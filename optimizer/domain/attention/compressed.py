"""DeepSeek-V4 attention: a sliding window beside compressed context, chosen by an indexer or read whole.

Shapes as in transformers 5.23 `deepseek_v4`. `compress_ratio` 0: the window alone; with an indexer: compressed sparse
attention (CSA, overlapping windows); without: heavily compressed attention (HCA). One key/value head serves all query
heads, its vector is key and value at once, and every tensor-parallel rank holds it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from optimizer.domain.attention.kind import AttentionKind, Entries, HeadCount, Indexer, sum_capped, sum_floored
from optimizer.domain.base import TokenCount, Width, WidthOrNone
from optimizer.domain.tensor import Split, Tensor, TensorRole

STATE_BYTES = 4
"""The compressor keeps its open window, values and scores, in FP32."""
INDEX_SCALE_BYTES = 4
"""One FP32 scale beside each FP8 index key."""


class CompressedAttention(AttentionKind):
    """`heads` low-rank queries over `window` recent tokens and one entry for every `compress_ratio` tokens before."""

    kind: Literal["compressed"] = "compressed"
    heads: HeadCount
    head_dim: HeadCount
    q_lora_rank: Width
    o_groups: HeadCount
    o_lora_rank: Width
    window: TokenCount
    compress_ratio: WidthOrNone = Field(default=0, description="tokens in one compressed entry; 0: none")
    indexer: Indexer | None = None

    @model_validator(mode="after")
    def _consistent(self) -> CompressedAttention:
        if self.indexer is not None and not self.compress_ratio:
            message = "an indexer needs a compress_ratio"
            raise ValueError(message)
        if self.heads % self.o_groups:
            message = f"o_groups {self.o_groups} does not divide {self.heads} heads"
            raise ValueError(message)
        return self

    @cached_property
    def keeps(self) -> Entries:
        return Entries(
            queries=self.heads, head_dim=self.head_dim, window=self.window, ratio=self.compress_ratio,
            indexer=self.indexer,
        )  # fmt: skip

    @property
    def head_counts(self) -> tuple[int, ...]:
        return (self.heads, self.o_groups)

    @property
    def kv_head_count(self) -> int | None:
        return None

    @property
    def _overlap(self) -> int:
        """Windows that one entry draws on: CSA's overlap, HCA's do not."""
        return 2 if self.indexer is not None else 1

    def _compressor(self, prefix: str, width: int, hidden: int, role: TensorRole) -> list[Tensor]:
        rows = self._overlap * width
        return [
            # Left in 16 bit by the checkpoints and by the engines.
            Tensor(prefix + "kv_proj", rows, hidden, role, bytes_each=2),
            Tensor(prefix + "gate_proj", rows, hidden, role, bytes_each=2),
            Tensor(prefix + "position_bias", self.compress_ratio, rows, role, matrix=False, bytes_each=4),
            Tensor(prefix + "kv_norm", width, 1, TensorRole.NORM, matrix=False),
        ]

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        role = TensorRole.ATTENTION
        tensors = [
            Tensor("q_a_proj", self.q_lora_rank, hidden, role),
            Tensor("q_a_norm", self.q_lora_rank, 1, TensorRole.NORM, matrix=False),
            Tensor("q_b_proj", self.heads * self.head_dim, self.q_lora_rank, role, Split.ROWS),
            Tensor("kv_proj", self.head_dim, hidden, role),
            Tensor("kv_norm", self.head_dim, 1, TensorRole.NORM, matrix=False),
            Tensor(
                "o_a_proj",
                self.o_groups * self.o_lora_rank,
                self.heads * self.head_dim // self.o_groups,
                role,
                Split.ROWS,
            ),
            Tensor("o_b_proj", hidden, self.o_groups * self.o_lora_rank, role, Split.COLS),
            Tensor("sinks", self.heads, 1, role, Split.ROWS, matrix=False, bytes_each=4),
        ]
        if self.compress_ratio:
            tensors += self._compressor("compressor_", self.head_dim, hidden, role)
        if self.indexer is not None:
            width = self.indexer.heads * self.indexer.head_dim
            tensors += self._compressor("indexer_", self.indexer.head_dim, hidden, TensorRole.INDEXER)
            tensors.append(Tensor("indexer_q", width, self.q_lora_rank, TensorRole.INDEXER))
            tensors.append(Tensor("indexer_weights", self.indexer.heads, hidden, TensorRole.INDEXER, bytes_each=2))
        return tuple(tensors)

    def _entries(self, first: int, last: int) -> int:
        """Cached vectors read, summed over query positions."""
        entries = sum_capped(first, last, self.window)
        if self.compress_ratio:
            entries += sum_floored(first, last, self.compress_ratio, self.indexer.top_k if self.indexer else None)
        return entries

    def _compressed(self, tokens: int) -> int:
        return tokens // self.compress_ratio if self.compress_ratio else 0

    def cache_elements(self, tokens: int, tp: int) -> int:
        return self.head_dim * (min(tokens, self.window) + self._compressed(tokens))

    def cache_fixed_bytes(self, tokens: int, tp: int) -> int:
        # Open windows of the compressor: values and scores of overlap · ratio tokens, overlap · width wide.
        state = 2 * self._overlap**2 * self.compress_ratio * STATE_BYTES
        if self.indexer is None:
            return state * self.head_dim
        keys = self._compressed(tokens) * (self.indexer.head_dim + INDEX_SCALE_BYTES)
        return state * (self.head_dim + self.indexer.head_dim) + keys

    def drafted_bytes(self, tp: int) -> int:
        return 0

    def prefill_flops(self, first: int, last: int, tp: int) -> int:
        flops = 4 * -(-self.heads // tp) * self.head_dim * self._entries(first, last)
        if self.indexer is not None:
            width = self.indexer.heads * self.indexer.head_dim
            flops += 2 * width * sum_floored(first, last, self.compress_ratio)
        return flops

    def decode_flops(self, first: int, last: int, tp: int) -> int:
        return self.prefill_flops(first, last, tp)

    def decode_read_elements(self, first: int, last: int, tp: int) -> int:
        return self.head_dim * self._entries(first, last)

    def decode_read_fixed_bytes(self, first: int, last: int, tp: int) -> int:
        if self.indexer is None:
            return 0
        return (self.indexer.head_dim + INDEX_SCALE_BYTES) * sum_floored(first, last, self.compress_ratio)
