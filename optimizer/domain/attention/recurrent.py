"""What token mixers with a recurrent state have in common: state and convolution do not grow with the context."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from optimizer.domain.base import Spec


class Recurrent(Spec):
    """A mixer that reads and writes a state for each token, behind a short causal convolution where it has one."""

    flops_of_element: ClassVar[int]
    """FLOPs of a token for each element of the state."""

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
        (elements, each), (channels, span) = self._state(tp), self._convolved(tp)
        return elements * each + channels * (span - 1) * 2

    def prefill_flops(self, first: int, last: int, tp: int) -> int:
        (elements, _), (channels, span) = self._state(tp), self._convolved(tp)
        return (self.flops_of_element * elements + 2 * span * channels) * max(0, last - first + 1)

    def decode_flops(self, first: int, last: int, tp: int) -> int:
        return self.prefill_flops(first, last, tp)

    def decode_read_elements(self, first: int, last: int, tp: int) -> int:
        return 0

    def decode_read_fixed_bytes(self, first: int, last: int, tp: int) -> int:
        return 2 * self.cache_fixed_bytes(1, tp) * max(0, last - first + 1)
