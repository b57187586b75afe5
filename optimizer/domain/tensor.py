"""Weight tensors as a model states them: shape, role and how tensor parallelism divides them.

Every attention and feed-forward kind lists its own tensors; counting, memory and FLOPs read only this list.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TensorRole(StrEnum):
    """What a tensor belongs to; precision and the parameter table go by it."""

    EMBEDDING = "embedding"
    LM_HEAD = "lm_head"
    ATTENTION = "attention"
    INDEXER = "indexer"
    DENSE_FFN = "dense_ffn"
    ROUTER = "router"
    EXPERTS = "experts"
    SHARED_EXPERTS = "shared_experts"
    NORM = "norm"
    MTP = "mtp"
    VISION = "vision"
    OTHER = "other"


class Split(StrEnum):
    """How the ranks of one tensor-parallel group share a tensor."""

    REPLICATED = "replicated"
    ROWS = "rows"
    COLS = "cols"
    KV_ROWS = "kv_rows"
    """Rows in `heads` blocks; a block is copied when there are more ranks than blocks."""
    VOCAB = "vocab"
    """Rows padded so that they divide."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One named tensor of `rows` × `cols` elements (`cols` = 1 for a vector), `count` times.

    Attributes
    ----------
    heads
        For `Split.KV_ROWS`: the number of blocks the rows consist of.
    matrix
        A weight that multiplies activations: 2·rows·cols FLOPs a token, and quantised where its role is.
    buffer
        Stored and loaded, but no parameter (a router's score-correction bias).
    bytes_each
        Bytes an element always has (2 or 4) whatever the precision of its role: a router kept in FP32, a small
        projection that quantised checkpoints leave in 16 bit. None: by role.
    merged
        Engines hold it in one layer with others (queries with keys and values, a gate with its up projection).
    """

    name: str
    rows: int
    cols: int
    role: TensorRole
    split: Split = Split.REPLICATED
    heads: int = 1
    count: int = 1
    matrix: bool = True
    buffer: bool = False
    bytes_each: int | None = None
    merged: bool = False

    @property
    def elements(self) -> int:
        """Elements of all copies together, over the whole model."""
        return self.rows * self.cols * self.count

    def local_shape(self, ranks: int) -> tuple[int, int]:
        """Rows and columns that the fullest of `ranks` tensor-parallel ranks holds."""
        if self.split in (Split.ROWS, Split.VOCAB):
            return -(-self.rows // ranks), self.cols
        if self.split is Split.COLS:
            return self.rows, -(-self.cols // ranks)
        if self.split is Split.KV_ROWS:
            return self.rows // self.heads * -(-self.heads // ranks), self.cols
        return self.rows, self.cols
