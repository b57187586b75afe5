"""Mamba-2 state-space mixer (Dao and Gu 2024, arXiv 2405.21060), as Nemotron-H uses it.

Shapes as in transformers 5.23 `nemotron_h`. The state does not grow with the context.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from optimizer.domain.attention.recurrent import Recurrent
from optimizer.domain.tensor import Role, Split, Tensor


class Mamba2(Recurrent):
    """`heads` states of `head_dim` × `state_size`; `groups` of heads share their input and output maps."""

    flops_of_element = 5
    """Decay (1), write (2), read (2)."""

    kind: Literal["mamba2"] = "mamba2"
    heads: int = Field(ge=1, le=65536)
    head_dim: int = Field(ge=1, le=65536)
    groups: int = Field(ge=1, le=65536)
    state_size: int = Field(ge=1, le=65536)
    conv_kernel: int = Field(default=4, ge=1)
    conv_bias: bool = True
    proj_bias: bool = False
    state_bytes: Literal[2, 4] = Field(default=4, description="bytes of a state element")

    @property
    def head_counts(self) -> tuple[int, ...]:
        # One group alone is copied to every rank; more are divided (vLLM mamba_mixer2).
        return (self.heads,) if self.groups == 1 else (self.heads, self.groups)

    @property
    def _inner(self) -> int:
        return self.heads * self.head_dim

    @property
    def _conv_channels(self) -> int:
        return self._inner + 2 * self.groups * self.state_size

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        role = Role.ATTENTION
        rows = self._inner + self._conv_channels + self.heads
        tensors = [
            Tensor("in_proj", rows, hidden, role, Split.ROWS),
            Tensor("conv", self._conv_channels, self.conv_kernel, role, Split.ROWS, matrix=False),
            Tensor("dt_bias", self.heads, 1, role, Split.ROWS, matrix=False),
            Tensor("a_log", self.heads, 1, role, Split.ROWS, matrix=False),
            Tensor("d", self.heads, 1, role, Split.ROWS, matrix=False),
            Tensor("gate_norm", self._inner, 1, Role.NORM, Split.ROWS, matrix=False),
            Tensor("out_proj", hidden, self._inner, role, Split.COLS),
        ]
        if self.conv_bias:
            tensors.append(Tensor("conv_bias", self._conv_channels, 1, role, Split.ROWS, matrix=False))
        if self.proj_bias:
            tensors.append(Tensor("in_proj_bias", rows, 1, role, Split.ROWS, matrix=False))
            tensors.append(Tensor("out_proj_bias", hidden, 1, role, matrix=False))
        return tuple(tensors)

    def _state(self, tp: int) -> tuple[int, int]:
        return -(-self.heads // tp) * self.head_dim * self.state_size, self.state_bytes

    def _convolved(self, tp: int) -> tuple[int, int]:
        return -(-self._conv_channels // tp), self.conv_kernel
