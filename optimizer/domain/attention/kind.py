"""What every attention kind states about itself, and what several have."""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import Field

from optimizer.domain.base import Spec, TokenCount
from optimizer.domain.tensor import Tensor

HeadCount = Annotated[int, Field(ge=1, le=65536)]
"""Heads, or numbers of each."""


def sum_capped(first: int, last: int, cap: int | None) -> int:
    """Sum of ``min(i, cap)`` for ``i`` in ``first..last`` (0 when empty); exact."""
    if last < first:
        return 0
    if cap is None or last <= cap:
        return (first + last) * (last - first + 1) // 2
    if first > cap:
        return cap * (last - first + 1)
    return (first + cap) * (cap - first + 1) // 2 + cap * (last - cap)


def sum_floored(first: int, last: int, divisor: int, cap: int | None = None) -> int:
    """Sum of ``min(i // divisor, cap)`` for ``i`` in ``first..last`` (0 when empty); exact."""
    return _floored_up_to(last, divisor, cap) - _floored_up_to(first - 1, divisor, cap) if last >= first else 0


def _floored_up_to(last: int, divisor: int, cap: int | None) -> int:
    if last < divisor:
        return 0
    quotient = last // divisor
    if cap is not None and quotient > cap:
        return _floored_up_to(cap * divisor - 1, divisor, None) + cap * (last - cap * divisor + 1)
    return divisor * quotient * (quotient - 1) // 2 + quotient * (last - quotient * divisor + 1)


class AttentionKind(Protocol):
    """Shape facts of one token mixer; all numbers are integers and exact.

    `first..last` is a run of query positions: the query at position ``i`` sees ``i`` tokens (itself included).
    """

    kind: str

    @property
    def head_counts(self) -> tuple[int, ...]:
        """Counts that the tensor-parallel degree must divide."""
        ...

    @property
    def kv_head_count(self) -> int | None:
        """Key/value heads: `tp` must divide them or be a multiple of them. None where nothing is cached by head."""
        ...

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        """Weights of one layer."""
        ...

    def cache_elements(self, tokens: int, tp: int) -> int:
        """KV-cache elements that one rank holds for one sequence of `tokens` tokens."""
        ...

    def cache_fixed_bytes(self, tokens: int, tp: int) -> int:
        """Cached bytes of one sequence on one rank in a width of their own (recurrent state, index keys)."""
        ...

    def prefill_flops(self, first: int, last: int, tp: int) -> int:
        """FLOPs outside the weight matrices on one rank (scores and values) summed over prompt positions."""
        ...

    def decode_flops(self, first: int, last: int, tp: int) -> int:
        """The same for one decoded token at each position."""
        ...

    def decode_read_elements(self, first: int, last: int, tp: int) -> int:
        """KV-cache elements that one rank reads, summed over one decode step at each position."""
        ...

    def decode_read_fixed_bytes(self, first: int, last: int, tp: int) -> int:
        """Bytes of fixed-width state or index keys read and written, summed likewise."""
        ...


class Indexer(Spec):
    """`heads` small heads score every cached token (or entry); attention reads the `top_k` best."""

    heads: HeadCount
    head_dim: HeadCount
    top_k: TokenCount
    shared: bool = Field(default=False, description="no indexer of its own: reuses the choice of a layer below")
