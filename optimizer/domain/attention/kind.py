"""What every attention kind states about itself, and what several have."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar

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


class Indexer(Spec):
    """`heads` small heads score every cached token (or entry); attention reads the `top_k` best."""

    heads: HeadCount
    head_dim: HeadCount
    top_k: TokenCount
    shared: bool = Field(default=False, description="no indexer of its own: reuses the choice of a layer below")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Keys and values of `kv_heads` heads, `queries` query heads over them.

    Attributes
    ----------
    key_dim, value_dim
        Width of a key's head (the whole of it rotary), and of a value's.
    window, chunked
        Tokens of a sliding window, or of a chunk; None: all tokens are kept.
    shared
        It reads the cache of a layer below and keeps none.
    indexer
        What chooses the tokens that are read; None: all are.
    """

    queries: int
    kv_heads: int
    key_dim: int
    value_dim: int
    window: int | None
    chunked: bool
    shared: bool
    indexer: Indexer | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Latents:
    """One latent of all keys and values, `rank` wide, and a rotary key of `rotary_dim`, on every rank.

    Attributes
    ----------
    queries
        Query heads.
    head_dim
        Width of a head's key and value together, as they come out of the latent.
    indexer
        What chooses the tokens that are read; None: all are.
    """

    window: ClassVar[None] = None
    queries: int
    head_dim: int
    rank: int
    rotary_dim: int
    indexer: Indexer | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """A window, and an entry as wide as a head for every `ratio` tokens before it (0: none), on every rank.

    Attributes
    ----------
    queries, head_dim
        Query heads, and the width of one.
    indexer
        What chooses the entries that are read; None: all are.
    """

    queries: int
    head_dim: int
    window: int
    ratio: int
    indexer: Indexer | None


class Mixer(StrEnum):
    """What becomes of a state with each token: engines have kernels of each."""

    GATED_DELTA = "one decay a head, and a delta rule"
    KIMI_DELTA = "one decay a channel, and a delta rule"
    MAMBA2 = "a state space"
    FIXED_DECAY = "one fixed decay a head"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A state that does not grow with the context."""

    window: ClassVar[None] = None
    indexer: ClassVar[None] = None
    mixer: Mixer


Kept = Heads | Latents | Entries | State
"""What a layer keeps of the tokens before. By this, never by their classes, figures and engines tell kinds apart."""


class AttentionKind(Spec):
    """What every token mixer says of itself; all numbers are integers and exact.

    A class that leaves out any of it cannot be made. `first..last` is a run of query positions: the query at position
    ``i`` sees ``i`` tokens (itself included).
    """

    @property
    @abstractmethod
    def keeps(self) -> Kept:
        """What it keeps of the tokens before."""

    @property
    @abstractmethod
    def head_counts(self) -> tuple[int, ...]:
        """Counts that the tensor-parallel degree must divide."""

    @property
    @abstractmethod
    def kv_head_count(self) -> int | None:
        """Key/value heads: `tp` must divide them or be a multiple of them. None where nothing is cached by head."""

    @abstractmethod
    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        """Weights of one layer."""

    @abstractmethod
    def cache_elements(self, tokens: int, tp: int) -> int:
        """KV-cache elements that one rank holds for one sequence of `tokens` tokens."""

    @abstractmethod
    def cache_fixed_bytes(self, tokens: int, tp: int) -> int:
        """Cached bytes of one sequence on one rank in a width of their own (recurrent state, index keys)."""

    @abstractmethod
    def drafted_bytes(self, tp: int) -> int:
        """Bytes by which a state on one rank is larger for each token that is drafted."""

    @abstractmethod
    def prefill_flops(self, first: int, last: int, tp: int) -> int:
        """FLOPs outside the weight matrices on one rank (scores and values) summed over prompt positions."""

    @abstractmethod
    def decode_flops(self, first: int, last: int, tp: int) -> int:
        """The same for one decoded token at each position."""

    @abstractmethod
    def decode_read_elements(self, first: int, last: int, tp: int) -> int:
        """KV-cache elements that one rank reads, summed over one decode step at each position."""

    @abstractmethod
    def decode_read_fixed_bytes(self, first: int, last: int, tp: int) -> int:
        """Bytes of fixed-width state or index keys read and written, summed likewise."""
