"""Attention kinds; `Attention` is the tagged union that specs use."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from optimizer.domain.attention.block_sparse import BlockSparseAttention
from optimizer.domain.attention.compressed import CompressedAttention
from optimizer.domain.attention.gqa import GroupedQueryAttention
from optimizer.domain.attention.kind import AttentionKind, Entries, Heads, Indexer, Kept, Latents, Mixer, State
from optimizer.domain.attention.mla import LatentAttention
from optimizer.domain.attention.recurrent import GatedDeltaNet, KimiDeltaAttention, LightningAttention, Mamba2

Attention = Annotated[
    GroupedQueryAttention
    | BlockSparseAttention
    | LatentAttention
    | CompressedAttention
    | GatedDeltaNet
    | KimiDeltaAttention
    | Mamba2
    | LightningAttention,
    Field(discriminator="kind"),
]


def _answers(kind: Attention) -> AttentionKind:
    """Every kind of the union says what is asked of one: mypy refuses here one that is no such class."""
    return kind


__all__ = [
    "Attention",
    "AttentionKind",
    "BlockSparseAttention",
    "CompressedAttention",
    "Entries",
    "GatedDeltaNet",
    "GroupedQueryAttention",
    "Heads",
    "Indexer",
    "Kept",
    "KimiDeltaAttention",
    "LatentAttention",
    "Latents",
    "LightningAttention",
    "Mamba2",
    "Mixer",
    "State",
]
