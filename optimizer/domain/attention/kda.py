"""Kimi delta attention: a gated delta net whose state decays channel by channel (Kimi Linear, arXiv 2510.26692).

Shapes as in transformers 5.23 `kimi_linear`. The state does not grow with the context.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from optimizer.domain.attention.recurrent import Recurrent
from optimizer.domain.tensor import Role, Split, Tensor


class KimiDeltaAttention(Recurrent):
    """`heads` states of `head_dim` × `head_dim`; decay and output gate come through a bottleneck of `head_dim`."""

    flops_of_element = 7
    """Decay (1), read with the key (2), rank-one write (2), read with the query (2)."""

    kind: Literal["kda"] = "kda"
    heads: int = Field(ge=1, le=65536)
    head_dim: int = Field(ge=1, le=65536)
    conv_kernel: int = Field(default=4, ge=1)
    state_bytes: Literal[2, 4] = Field(default=4, description="bytes of a state element")

    @property
    def head_counts(self) -> tuple[int, ...]:
        return (self.heads,)

    @property
    def _width(self) -> int:
        return self.heads * self.head_dim

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        role, width = Role.ATTENTION, self._width
        return (
            *(Tensor(name, width, hidden, role, Split.ROWS) for name in ("q_proj", "k_proj", "v_proj")),
            Tensor("conv", 3 * width, self.conv_kernel, role, Split.ROWS, matrix=False),
            *(Tensor(name, self.head_dim, hidden, role) for name in ("f_a_proj", "g_a_proj")),
            *(Tensor(name, width, self.head_dim, role, Split.ROWS) for name in ("f_b_proj", "g_b_proj")),
            Tensor("b_proj", self.heads, hidden, role, Split.ROWS),
            Tensor("dt_bias", width, 1, role, Split.ROWS, matrix=False),
            Tensor("a_log", self.heads, 1, role, Split.ROWS, matrix=False),
            Tensor("o_norm", self.head_dim, 1, Role.NORM, matrix=False),
            Tensor("o_proj", hidden, width, role, Split.COLS),
        )

    def _state(self, tp: int) -> tuple[int, int]:
        return -(-self.heads // tp) * self.head_dim * self.head_dim, self.state_bytes

    def _convolved(self, tp: int) -> tuple[int, int]:
        return 3 * -(-self.heads // tp) * self.head_dim, self.conv_kernel
