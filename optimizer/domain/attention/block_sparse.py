"""Grouped-query attention that reads only the blocks of keys an indexer chose (MiniMax-M3).

Shapes as in transformers 5.23 `minimax_m3_vl`: an indexer with norms on its queries and keys scores every cached token,
the best blocks of tokens are kept; `top_k` counts the tokens in them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from optimizer.domain.attention.gqa import GroupedQueryAttention
from optimizer.domain.attention.kind import Indexer, sum_capped
from optimizer.domain.tensor import Tensor, TensorRole

INDEX_KEY_BYTES = 2
"""Index keys, of one head on every rank, in 16 bits whatever the cache's format (sglang pull request 36549)."""


class BlockSparseAttention(GroupedQueryAttention):
    """As grouped-query attention, over at most `indexer.top_k` tokens."""

    kind: Literal["block_sparse"] = "block_sparse"  # type: ignore[assignment]
    indexer: Indexer = Field(description="top_k: tokens in all chosen blocks")

    @property
    def _indexer(self) -> Indexer:
        return self.indexer

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        dim = self.indexer.head_dim
        return (
            *super().tensors(hidden),
            Tensor("indexer_q", self.indexer.heads * dim, hidden, TensorRole.INDEXER),
            Tensor("indexer_k", dim, hidden, TensorRole.INDEXER),
            Tensor("indexer_norms", 2 * dim, 1, TensorRole.NORM, matrix=False),
        )

    def cache_fixed_bytes(self, tokens: int, tp: int) -> int:
        return INDEX_KEY_BYTES * self.indexer.head_dim * tokens

    def prefill_flops(self, first: int, last: int, tp: int) -> int:
        width = 2 * -(-self.heads // tp) * (self.head_dim + self._value_dim)
        scores = 2 * self.indexer.heads * self.indexer.head_dim * sum_capped(first, last, None)
        return width * sum_capped(first, last, self.indexer.top_k) + scores

    def decode_read_elements(self, first: int, last: int, tp: int) -> int:
        return self._cached_width(tp) * sum_capped(first, last, self.indexer.top_k)

    def decode_read_fixed_bytes(self, first: int, last: int, tp: int) -> int:
        return INDEX_KEY_BYTES * self.indexer.head_dim * sum_capped(first, last, None)
