"""Gated delta net: linear attention with a decayed, delta-ruled state (Yang et al. 2024, arXiv 2412.06464).

Shapes as in transformers 5.23 `qwen3_next` and `qwen3_5`. The state does not grow with the context.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from optimizer.domain.attention.recurrent import Recurrent
from optimizer.domain.tensor import Role, Split, Tensor


class GatedDeltaNet(Recurrent):
    """`value_heads` states of `key_dim` × `value_dim`, behind a short causal convolution."""

    flops_of_element = 7
    """Decay (1), read with the key (2), rank-one write (2), read with the query (2)."""

    kind: Literal["gated_delta_net"] = "gated_delta_net"
    key_heads: int = Field(ge=1, le=65536)
    value_heads: int = Field(ge=1, le=65536)
    key_dim: int = Field(ge=1, le=65536)
    value_dim: int = Field(ge=1, le=65536)
    conv_kernel: int = Field(default=4, ge=1)
    state_bytes: Literal[2, 4] = Field(default=4, description="bytes of a state element")

    @property
    def head_counts(self) -> tuple[int, ...]:
        return (self.key_heads, self.value_heads)

    @property
    def _conv_channels(self) -> int:
        return 2 * self.key_heads * self.key_dim + self.value_heads * self.value_dim

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        values = self.value_heads * self.value_dim
        role = Role.ATTENTION
        return (
            Tensor("in_proj_qkvz", self._conv_channels + values, hidden, role, Split.ROWS),
            # Quantised checkpoints leave the two gates a head in 16 bit (Qwen3-Next-FP8, Qwen3.6-NVFP4).
            Tensor("in_proj_ba", 2 * self.value_heads, hidden, role, Split.ROWS, bytes_each=2),
            Tensor("conv", self._conv_channels, self.conv_kernel, role, Split.ROWS, matrix=False),
            Tensor("dt_bias", self.value_heads, 1, role, Split.ROWS, matrix=False),
            Tensor("a_log", self.value_heads, 1, role, Split.ROWS, matrix=False),
            Tensor("gate_norm", self.value_dim, 1, Role.NORM, matrix=False),
            Tensor("out_proj", hidden, values, role, Split.COLS),
        )

    def _state(self, tp: int) -> tuple[int, int]:
        return -(-self.value_heads // tp) * self.key_dim * self.value_dim, self.state_bytes

    def _convolved(self, tp: int) -> tuple[int, int]:
        return -(-self._conv_channels // tp), self.conv_kernel
