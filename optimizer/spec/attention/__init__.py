"""Attention kinds, one file each; `Attention` is the tagged union that specs use."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from optimizer.spec.attention.block_sparse import BlockSparseAttention
from optimizer.spec.attention.compressed import CompressedAttention
from optimizer.spec.attention.delta import GatedDeltaNet
from optimizer.spec.attention.gqa import GroupedQueryAttention
from optimizer.spec.attention.indexer import Indexer
from optimizer.spec.attention.kda import KimiDeltaAttention
from optimizer.spec.attention.lightning import LightningAttention
from optimizer.spec.attention.mamba import Mamba2
from optimizer.spec.attention.mla import LatentAttention

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
