"""Attention kinds; `Attention` is the tagged union that specs use."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from optimizer.domain.attention.block_sparse import BlockSparseAttention
from optimizer.domain.attention.compressed import CompressedAttention
from optimizer.domain.attention.gqa import GroupedQueryAttention
from optimizer.domain.attention.kind import Indexer
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

__all__ = [
    "Attention",
    "BlockSparseAttention",
    "CompressedAttention",
    "GatedDeltaNet",
    "GroupedQueryAttention",
    "Indexer",
    "KimiDeltaAttention",
    "LatentAttention",
    "LightningAttention",
    "Mamba2",
]
