"""Multi-head latent attention, with DeepSeek sparse attention's indexer where a model has one.

DeepSeek-V2 (arXiv 2405.04434) section 2.1; DeepSeek-V3.2 (DSA): a lightning indexer picks `top_k` tokens.
The latent and the rotary key are cached once and copied on every tensor-parallel rank.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from optimizer.domain.attention.kind import AttentionKind, HeadCount, Indexer, Latents, sum_capped
from optimizer.domain.base import Width, WidthOrNone
from optimizer.domain.tensor import Split, Tensor, TensorRole


class LatentAttention(AttentionKind):
    """Queries and keys/values through low-rank projections; only the latent is cached."""

    kind: Literal["mla"] = "mla"
    heads: HeadCount
    q_lora_rank: Width | None = None
    kv_lora_rank: Width
    qk_nope_head_dim: HeadCount
    qk_rope_head_dim: WidthOrNone
    v_head_dim: HeadCount
    indexer: Indexer | None = None

    @cached_property
    def keeps(self) -> Latents:
        return Latents(
            queries=self.heads, head_dim=self.qk_nope_head_dim + self.v_head_dim, rank=self.kv_lora_rank,
            rotary_dim=self.qk_rope_head_dim, indexer=self.indexer,
        )  # fmt: skip

    @property
    def head_counts(self) -> tuple[int, ...]:
        return (self.heads,)

    @property
    def kv_head_count(self) -> int | None:
        return None

    @property
    def _latent_width(self) -> int:
        return self.kv_lora_rank + self.qk_rope_head_dim

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        qk = self.qk_nope_head_dim + self.qk_rope_head_dim
        role = TensorRole.ATTENTION
        tensors = []
        if self.q_lora_rank is None:
            tensors.append(Tensor("q_proj", self.heads * qk, hidden, role, Split.ROWS))
        else:
            tensors.append(Tensor("q_a_proj", self.q_lora_rank, hidden, role))
            tensors.append(Tensor("q_a_norm", self.q_lora_rank, 1, TensorRole.NORM, matrix=False))
            tensors.append(Tensor("q_b_proj", self.heads * qk, self.q_lora_rank, role, Split.ROWS))
        tensors.append(Tensor("kv_a_proj", self._latent_width, hidden, role))
        tensors.append(Tensor("kv_a_norm", self.kv_lora_rank, 1, TensorRole.NORM, matrix=False))
        kv_rows = self.heads * (self.qk_nope_head_dim + self.v_head_dim)
        tensors.append(Tensor("kv_b_proj", kv_rows, self.kv_lora_rank, role, Split.ROWS))
        tensors.append(Tensor("o_proj", hidden, self.heads * self.v_head_dim, role, Split.COLS))
        if self.indexer is not None and not self.indexer.shared:
            width = self.indexer.heads * self.indexer.head_dim
            tensors.append(Tensor("indexer_q", width, self.q_lora_rank or hidden, TensorRole.INDEXER))
            tensors.append(Tensor("indexer_k", self.indexer.head_dim, hidden, TensorRole.INDEXER))
            tensors.append(Tensor("indexer_k_norm", self.indexer.head_dim, 2, TensorRole.NORM, matrix=False))
            # Left in 16 bit by the FP8 checkpoints (DeepSeek-V3.2, GLM-5).
            tensors.append(Tensor("indexer_weights", self.indexer.heads, hidden, TensorRole.INDEXER, bytes_each=2))
        return tuple(tensors)

    def cache_elements(self, tokens: int, tp: int) -> int:
        return self._latent_width * tokens

    def cache_fixed_bytes(self, tokens: int, tp: int) -> int:
        return self._index_key_bytes * tokens

    def drafted_bytes(self, tp: int) -> int:
        return 0

    @property
    def _index_key_bytes(self) -> int:
        # FP8 index key and one FP32 scale (vLLM and SGLang: 132 bytes for a head of 128).
        return 0 if self.indexer is None or self.indexer.shared else self.indexer.head_dim + 4

    @property
    def _cap(self) -> int | None:
        return None if self.indexer is None else self.indexer.top_k

    def _index_flops(self, first: int, last: int) -> int:
        if self.indexer is None or self.indexer.shared:
            return 0
        return 2 * self.indexer.heads * self.indexer.head_dim * sum_capped(first, last, None)

    def prefill_flops(self, first: int, last: int, tp: int) -> int:
        width = self.qk_nope_head_dim + self.qk_rope_head_dim + self.v_head_dim
        return 2 * -(-self.heads // tp) * width * sum_capped(first, last, self._cap) + self._index_flops(first, last)

    def decode_flops(self, first: int, last: int, tp: int) -> int:
        # Absorbed form: scores and values are taken on the latent itself.
        width = self._latent_width + self.kv_lora_rank
        return 2 * -(-self.heads // tp) * width * sum_capped(first, last, self._cap) + self._index_flops(first, last)

    def decode_read_elements(self, first: int, last: int, tp: int) -> int:
        return self._latent_width * sum_capped(first, last, self._cap)

    def decode_read_fixed_bytes(self, first: int, last: int, tp: int) -> int:
        return self._index_key_bytes * sum_capped(first, last, None)
