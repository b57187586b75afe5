"""Mamba-2 state-space mixer (Dao and Gu 2024, arXiv 2405.21060), as Nemotron-H uses it.

Shapes as in transformers 5.23 `nemotron_h`. The state does not grow with the context.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from optimizer.domain.base import Spec
from optimizer.domain.tensor import Role, Split, Tensor

FLOPS_PER_STATE_ELEMENT = 5
"""Decay (1), write (2), read (2)."""


class Mamba2(Spec):
    """`heads` states of `head_dim` × `state_size`; `groups` of heads share their input and output maps."""

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
    def kv_head_count(self) -> int | None:
        return None

    @property
    def _inner(self) -> int:
        return self.heads * self.head_dim

    @property
    def _conv_channels(self) -> int:
        return self._inner + 2 * self.groups * self.state_size

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        role = Role.ATTENTION
        rows = self._inner + self._conv_channels + self.heads
        found = [
            Tensor("in_proj", rows, hidden, role, Split.ROWS),
            Tensor("conv", self._conv_channels, self.conv_kernel, role, Split.ROWS, matrix=False),
            Tensor("dt_bias", self.heads, 1, role, Split.ROWS, matrix=False),
            Tensor("a_log", self.heads, 1, role, Split.ROWS, matrix=False),
            Tensor("d", self.heads, 1, role, Split.ROWS, matrix=False),
            Tensor("gate_norm", self._inner, 1, Role.NORM, Split.ROWS, matrix=False),
            Tensor("out_proj", hidden, self._inner, role, Split.COLS),
        ]
        if self.conv_bias:
            found.append(Tensor("conv_bias", self._conv_channels, 1, role, Split.ROWS, matrix=False))
        if self.proj_bias:
            found.append(Tensor("in_proj_bias", rows, 1, role, Split.ROWS, matrix=False))
            found.append(Tensor("out_proj_bias", hidden, 1, role, matrix=False))
        return tuple(found)

    def _state_elements(self, tp: int) -> int:
        return -(-self.heads // tp) * self.head_dim * self.state_size

    def _state_bytes(self, tp: int) -> int:
        conv = -(-self._conv_channels // tp) * (self.conv_kernel - 1) * 2
        return self._state_elements(tp) * self.state_bytes + conv

    def cache_elements(self, tokens: int, tp: int) -> int:
        return 0

    def cache_fixed_bytes(self, tokens: int, tp: int) -> int:
        return self._state_bytes(tp)

    def prefill_flops(self, first: int, last: int, tp: int) -> int:
        conv = 2 * self.conv_kernel * -(-self._conv_channels // tp)
        return (FLOPS_PER_STATE_ELEMENT * self._state_elements(tp) + conv) * max(0, last - first + 1)

    def decode_flops(self, first: int, last: int, tp: int) -> int:
        return self.prefill_flops(first, last, tp)

    def decode_read_elements(self, first: int, last: int, tp: int) -> int:
        return 0

    def decode_read_fixed_bytes(self, first: int, last: int, tp: int) -> int:
        return 2 * self._state_bytes(tp) * max(0, last - first + 1)
