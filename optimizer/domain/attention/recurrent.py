"""Token mixers with a recurrent state: neither it nor the convolution before it grows with the context.

Gated delta net: linear attention with a decayed, delta-ruled state (Yang et al. 2024, arXiv 2412.06464). Kimi delta
attention: the same with a state that decays channel by channel (Kimi Linear, arXiv 2510.26692). Mamba-2 (Dao and Gu
2024, arXiv 2405.21060), as Nemotron-H uses it. Lightning attention: a fixed decay a head (Qin et al. 2024, arXiv
2405.17381), as MiniMax-Text-01 and MiniMax-M1 use it. Shapes as in transformers 5.23 `qwen3_next` and `qwen3_5`,
`kimi_linear`, `nemotron_h` and `minimax`.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from optimizer.domain.attention.kind import AttentionKind, HeadCount, Mixer, State
from optimizer.domain.tensor import Split, Tensor, TensorRole

StateBytes = Annotated[Literal[2, 4], Field(description="bytes of a state element")]
WITH_DELTA_RULE = 7
"""FLOPs of a token for each element: decay (1), read with the key (2), rank-one write (2), read with the query (2)."""


class Recurrent(AttentionKind):
    """A mixer that reads and writes a state for each token, behind a short causal convolution where it has one."""

    flops_of_element: ClassVar[int] = 5
    """FLOPs of a token for each element of the state: decay (1), write (2), read (2)."""

    @property
    @abstractmethod
    def mixer(self) -> Mixer:
        """What becomes of its state."""

    @cached_property
    def keeps(self) -> State:
        return State(mixer=self.mixer)

    @property
    def kv_head_count(self) -> int | None:
        return None

    @abstractmethod
    def _state(self, tp: int) -> tuple[int, int]:
        """Elements of the state on one rank, and bytes of each."""

    def _convolved(self, tp: int) -> tuple[int, int]:
        """Channels of the convolution on one rank, and tokens that it spans."""
        return 0, 1

    def cache_elements(self, tokens: int, tp: int) -> int:
        return 0

    def cache_fixed_bytes(self, tokens: int, tp: int) -> int:
        (elements, element_bytes), (channels, span) = self._state(tp), self._convolved(tp)
        return elements * element_bytes + channels * (span - 1) * 2

    def drafted_bytes(self, tp: int) -> int:
        # a row of the convolution
        return 2 * self._convolved(tp)[0]

    def prefill_flops(self, first: int, last: int, tp: int) -> int:
        (elements, _), (channels, span) = self._state(tp), self._convolved(tp)
        return (self.flops_of_element * elements + 2 * span * channels) * max(0, last - first + 1)

    def decode_flops(self, first: int, last: int, tp: int) -> int:
        return self.prefill_flops(first, last, tp)

    def decode_read_elements(self, first: int, last: int, tp: int) -> int:
        return 0

    def decode_read_fixed_bytes(self, first: int, last: int, tp: int) -> int:
        return 2 * self.cache_fixed_bytes(1, tp) * max(0, last - first + 1)


class GatedDeltaNet(Recurrent):
    """`value_heads` states of `key_dim` × `value_dim`, behind a short causal convolution."""

    flops_of_element = WITH_DELTA_RULE
    mixer: ClassVar = Mixer.GATED_DELTA

    kind: Literal["gated_delta_net"] = "gated_delta_net"
    key_heads: HeadCount
    value_heads: HeadCount
    key_dim: HeadCount
    value_dim: HeadCount
    conv_kernel: HeadCount = 4
    state_bytes: StateBytes = 4

    @property
    def head_counts(self) -> tuple[int, ...]:
        return (self.key_heads, self.value_heads)

    @property
    def _conv_channels(self) -> int:
        return 2 * self.key_heads * self.key_dim + self.value_heads * self.value_dim

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        values = self.value_heads * self.value_dim
        role = TensorRole.ATTENTION
        return (
            Tensor("in_proj_qkvz", self._conv_channels + values, hidden, role, Split.ROWS),
            # Quantised checkpoints leave the two gates a head in 16 bit (Qwen3-Next-FP8, Qwen3.6-NVFP4).
            Tensor("in_proj_ba", 2 * self.value_heads, hidden, role, Split.ROWS, bytes_each=2),
            Tensor("conv", self._conv_channels, self.conv_kernel, role, Split.ROWS, matrix=False),
            Tensor("dt_bias", self.value_heads, 1, role, Split.ROWS, matrix=False),
            Tensor("a_log", self.value_heads, 1, role, Split.ROWS, matrix=False),
            Tensor("gate_norm", self.value_dim, 1, TensorRole.NORM, matrix=False),
            Tensor("out_proj", hidden, values, role, Split.COLS),
        )

    def _state(self, tp: int) -> tuple[int, int]:
        return -(-self.value_heads // tp) * self.key_dim * self.value_dim, self.state_bytes

    def _convolved(self, tp: int) -> tuple[int, int]:
        return -(-self._conv_channels // tp), self.conv_kernel


class KimiDeltaAttention(Recurrent):
    """`heads` states of `head_dim` × `head_dim`; decay and output gate come through a bottleneck of `head_dim`."""

    flops_of_element = WITH_DELTA_RULE
    mixer: ClassVar = Mixer.KIMI_DELTA

    kind: Literal["kda"] = "kda"
    heads: HeadCount
    head_dim: HeadCount
    conv_kernel: HeadCount = 4
    state_bytes: StateBytes = 4

    @property
    def head_counts(self) -> tuple[int, ...]:
        return (self.heads,)

    @property
    def _width(self) -> int:
        return self.heads * self.head_dim

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        role, width = TensorRole.ATTENTION, self._width
        return (
            *(Tensor(name, width, hidden, role, Split.ROWS) for name in ("q_proj", "k_proj", "v_proj")),
            Tensor("conv", 3 * width, self.conv_kernel, role, Split.ROWS, matrix=False),
            *(Tensor(name, self.head_dim, hidden, role) for name in ("f_a_proj", "g_a_proj")),
            *(Tensor(name, width, self.head_dim, role, Split.ROWS) for name in ("f_b_proj", "g_b_proj")),
            Tensor("b_proj", self.heads, hidden, role, Split.ROWS),
            Tensor("dt_bias", width, 1, role, Split.ROWS, matrix=False),
            Tensor("a_log", self.heads, 1, role, Split.ROWS, matrix=False),
            Tensor("o_norm", self.head_dim, 1, TensorRole.NORM, matrix=False),
            Tensor("o_proj", hidden, width, role, Split.COLS),
        )

    def _state(self, tp: int) -> tuple[int, int]:
        return -(-self.heads // tp) * self.head_dim * self.head_dim, self.state_bytes

    def _convolved(self, tp: int) -> tuple[int, int]:
        return 3 * -(-self.heads // tp) * self.head_dim, self.conv_kernel


class Mamba2(Recurrent):
    """`heads` states of `head_dim` × `state_size`; `groups` of heads share their input and output maps."""

    mixer: ClassVar = Mixer.MAMBA2

    kind: Literal["mamba2"] = "mamba2"
    heads: HeadCount
    head_dim: HeadCount
    groups: HeadCount
    state_size: HeadCount
    conv_kernel: HeadCount = 4
    conv_bias: bool = True
    proj_bias: bool = False
    state_bytes: StateBytes = 4

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
        role = TensorRole.ATTENTION
        rows = self._inner + self._conv_channels + self.heads
        tensors = [
            Tensor("in_proj", rows, hidden, role, Split.ROWS),
            Tensor("conv", self._conv_channels, self.conv_kernel, role, Split.ROWS, matrix=False),
            Tensor("dt_bias", self.heads, 1, role, Split.ROWS, matrix=False),
            Tensor("a_log", self.heads, 1, role, Split.ROWS, matrix=False),
            Tensor("d", self.heads, 1, role, Split.ROWS, matrix=False),
            Tensor("gate_norm", self._inner, 1, TensorRole.NORM, Split.ROWS, matrix=False),
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


class LightningAttention(Recurrent):
    """`heads` states of `head_dim` × `head_dim`, with a norm and a gate on the output."""

    mixer: ClassVar = Mixer.FIXED_DECAY

    kind: Literal["lightning"] = "lightning"
    heads: HeadCount
    head_dim: HeadCount
    state_bytes: StateBytes = 4

    @property
    def head_counts(self) -> tuple[int, ...]:
        return (self.heads,)

    def tensors(self, hidden: int) -> tuple[Tensor, ...]:
        width = self.heads * self.head_dim
        return (
            Tensor("qkv_proj", 3 * width, hidden, TensorRole.ATTENTION, Split.ROWS),
            Tensor("output_gate", width, hidden, TensorRole.ATTENTION, Split.ROWS),
            Tensor("gate_norm", width, 1, TensorRole.NORM, Split.ROWS, matrix=False),
            Tensor("out_proj", hidden, width, TensorRole.ATTENTION, Split.COLS),
        )

    def _state(self, tp: int) -> tuple[int, int]:
        return -(-self.heads // tp) * self.head_dim * self.head_dim, self.state_bytes
