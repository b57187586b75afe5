"""Grouped-query attention (multi-head and multi-query are its extremes), full or in a sliding window.

Shazeer 2019 (arXiv 1911.02150), Ainslie et al. 2023 (arXiv 2305.13245).
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pydantic import Field

from optimizer.domain.attention.kind import AttentionKind, HeadCount, Heads, Indexer, sum_capped
from optimizer.domain.base import Grown, TokenCount
from optimizer.domain.tensor import Split, Tensor, TensorRole


class GroupedQueryAttention(Grown, AttentionKind):
    """Queries in `heads` heads, keys and values in `kv_heads`."""

    later = ("chunked",)

    kind: Literal["gqa"] = "gqa"
    heads: HeadCount
    kv_heads: HeadCount
    head_dim: HeadCount
    value_dim: int | None = Field(default=None, ge=1, le=65536, description="width of a value head; none: head_dim")
    window: TokenCount | None = Field(
        default=None, description="sliding window or chunk in tokens; none: full attention"
    )
    chunked: bool = Field(default=False, description="the window is a chunk that starts at its multiples (Llama 4)")
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: Literal["none", "head", "full", "query"] = Field(
        default="none", description="norm of queries and keys, head by head or over all heads; query: of queries alone"
    )
    output_gate: bool = Field(default=False, description="a gate as wide as the queries, computed with them")
    sinks: bool = Field(default=False, description="one learned attention sink a head")
    values_are_keys: bool = Field(
        default=False, description="no value projection: values are the keys before their norm"
    )
    shares_cache: bool = Field(
        default=False, description="no key and value projections or cache of its own: uses those of a layer below"
    )

    @cached_property
    def keeps(self) -> Heads:
        return Heads(
            queries=self.heads, kv_heads=self.kv_heads, key_dim=self.head_dim, value_dim=self._value_dim,
            window=self.window, chunked=self.chunked, shared=self.shares_cache, indexer=self._indexer,
        )  # fmt: skip

    @property
    def _indexer(self) -> Indexer | None:
        return None

    @property
    def head_counts(self) -> tuple[int, ...]:
        return (self.heads,)

    @property
    def kv_head_count(self) -> int | None:
        return self.kv_heads

    @property
    def _value_dim(self) -> int:
        return self.value_dim or self.head_dim

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        q_rows = self.heads * self.head_dim * (2 if self.output_gate else 1)
        widths = {"k_proj": self.kv_heads * self.head_dim, "v_proj": self.kv_heads * self._value_dim}
        tensors = [Tensor("q_proj", q_rows, hidden, TensorRole.ATTENTION, Split.ROWS, merged=True)]
        kv_names = () if self.shares_cache else (("k_proj",) if self.values_are_keys else ("k_proj", "v_proj"))
        tensors += [
            Tensor(name, widths[name], hidden, TensorRole.ATTENTION, Split.KV_ROWS, heads=self.kv_heads, merged=True)
            for name in kv_names
        ]
        tensors.append(Tensor("o_proj", hidden, self.heads * self._value_dim, TensorRole.ATTENTION, Split.COLS))
        if self.qkv_bias:
            tensors.append(Tensor("q_bias", q_rows, 1, TensorRole.ATTENTION, Split.ROWS, matrix=False))
            tensors += [
                Tensor(
                    name.replace("proj", "bias"),
                    widths[name],
                    1,
                    TensorRole.ATTENTION,
                    Split.KV_ROWS,
                    heads=self.kv_heads,
                    matrix=False,
                )
                for name in kv_names
            ]
        if self.out_bias:
            tensors.append(Tensor("o_bias", hidden, 1, TensorRole.ATTENTION, matrix=False))
        if self.qk_norm == "head":
            tensors += [Tensor(name, self.head_dim, 1, TensorRole.NORM, matrix=False) for name in ("q_norm", "k_norm")]
        elif self.qk_norm == "query":
            tensors.append(Tensor("q_norm", self.head_dim, 1, TensorRole.NORM, matrix=False))
        elif self.qk_norm == "full":
            tensors.append(Tensor("q_norm", self.heads * self.head_dim, 1, TensorRole.NORM, Split.ROWS, matrix=False))
            tensors.append(
                Tensor("k_norm", widths["k_proj"], 1, TensorRole.NORM, Split.KV_ROWS, heads=self.kv_heads, matrix=False)
            )
        if self.sinks:
            tensors.append(Tensor("sinks", self.heads, 1, TensorRole.ATTENTION, Split.ROWS, matrix=False))
        return tuple(tensors)

    def _cached_width(self, tp: int) -> int:
        return -(-self.kv_heads // tp) * (self.head_dim + self._value_dim)

    def cache_elements(self, tokens: int, tp: int) -> int:
        return 0 if self.shares_cache else self._cached_width(tp) * sum_capped(tokens, tokens, self.window)

    def cache_fixed_bytes(self, tokens: int, tp: int) -> int:
        return 0

    def drafted_bytes(self, tp: int) -> int:
        return 0

    def prefill_flops(self, first: int, last: int, tp: int) -> int:
        return 2 * -(-self.heads // tp) * (self.head_dim + self._value_dim) * sum_capped(first, last, self.window)

    def decode_flops(self, first: int, last: int, tp: int) -> int:
        return self.prefill_flops(first, last, tp)

    def decode_read_elements(self, first: int, last: int, tp: int) -> int:
        return self._cached_width(tp) * sum_capped(first, last, self.window)

    def decode_read_fixed_bytes(self, first: int, last: int, tp: int) -> int:
        return 0
