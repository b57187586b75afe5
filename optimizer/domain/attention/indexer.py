"""The lightning indexer of sparse attention: what it is, apart from the attention kinds that use it."""

from __future__ import annotations

from pydantic import Field

from optimizer.domain.base import Spec


class Indexer(Spec):
    """`heads` small heads score every cached token (or entry); attention reads the `top_k` best."""

    heads: int = Field(ge=1)
    head_dim: int = Field(ge=1)
    top_k: int = Field(ge=1)
    shared: bool = Field(default=False, description="no indexer of its own: reuses the choice of a layer below")
