"""Attention kinds, one file each; `Attention` is the tagged union that specs use."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from optimizer.spec.attention.gqa import GroupedQueryAttention
from optimizer.spec.attention.mla import LatentAttention

Attention = Annotated[GroupedQueryAttention | LatentAttention, Field(discriminator="kind")]

__all__ = ["Attention", "GroupedQueryAttention", "LatentAttention"]
