"""Lightning attention: linear attention with a fixed decay a head (Qin et al. 2024, arXiv 2405.17381).

Shapes as in transformers 5.23 `minimax` (MiniMax-Text-01, MiniMax-M1). The state does not grow with the context.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from optimizer.domain.attention.recurrent import Recurrent
from optimizer.domain.tensor import Role, Split, Tensor


class LightningAttention(Recurrent):
    """`heads` states of `head_dim` × `head_dim`, with a norm and a gate on the output."""

    flops_of_element = 5
    """Decay (1), write (2), read (2)."""

    kind: Literal["lightning"] = "lightning"
    heads: int = Field(ge=1, le=65536)
    head_dim: int = Field(ge=1, le=65536)
    state_bytes: Literal[2, 4] = Field(default=4, description="bytes of a state element")

    @property
    def head_counts(self) -> tuple[int, ...]:
        return (self.heads,)

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        width = self.heads * self.head_dim
        return (
            Tensor("qkv_proj", 3 * width, hidden, Role.ATTENTION, Split.ROWS),
            Tensor("output_gate", width, hidden, Role.ATTENTION, Split.ROWS),
            Tensor("gate_norm", width, 1, Role.NORM, Split.ROWS, matrix=False),
            Tensor("out_proj", hidden, width, Role.ATTENTION, Split.COLS),
        )

    def _state(self, tp: int) -> tuple[int, int]:
        return -(-self.heads // tp) * self.head_dim * self.head_dim, self.state_bytes
