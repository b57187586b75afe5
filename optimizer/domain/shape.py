"""The degrees that price a step: what one replica looks like, pipeline cuts and batch apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import lcm, prod
from typing import Literal

Overlap = Literal["none", "two_batch"]
"""How a step hides the exchange of experts: not at all, or behind what its other half computes."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Degrees of one replica of `pp` stages; its data-parallel degrees follow from the two meshes.

    `redundant` is the number of redundant expert slots over the whole expert mesh; `overlap` whether a step runs as two
    micro-batches, one computing while the other's experts are exchanged.
    """

    tp: int
    cp: int
    etp: int
    ep: int
    pp: int
    redundant: int = 0
    overlap: bool = False

    @property
    def stage_devices(self) -> int:
        """Devices of one stage of one replica: lcm(tp·cp, etp·ep)."""
        return lcm(self.tp * self.cp, self.etp * self.ep)

    @property
    def devices(self) -> int:
        """Devices of one replica."""
        return self.stage_devices * self.pp

    @property
    def dp(self) -> int:
        """Attention data-parallel ranks of one replica."""
        return self.stage_devices // (self.tp * self.cp)

    @property
    def edp(self) -> int:
        """Copies of every expert in one replica."""
        return self.stage_devices // (self.etp * self.ep)

    def along(self, axes: Iterable[str]) -> int:
        """Ranks along some axes of the attention mesh."""
        return prod(getattr(self, axis) for axis in axes)

    def local_experts(self, experts: int) -> int:
        """Physical experts of one MoE layer on the fullest device: ceil((experts + redundant) ÷ ep)."""
        return -(-(experts + self.redundant) // self.ep)

    @property
    def overlap_name(self) -> Overlap:
        """What a layout calls it."""
        return "two_batch" if self.overlap else "none"

    @property
    def copies(self) -> int:
        """How experts are copied: 0 not at all, 1 as many times as attention has cp ranks, 2 otherwise."""
        return 0 if self.edp == 1 else 1 if self.edp == self.cp else 2

    @property
    def context_parallel(self) -> bool:
        """Whether several ranks share a sequence."""
        return self.cp > 1

    @property
    def spread(self) -> bool:
        """Whether each device has experts of its own and attention several ranks: what two-batch overlap hides."""
        return self.dp > 1 and self.cp == 1 and self.etp == 1 and self.edp == 1

    @property
    def shared_replicated(self) -> bool:
        """Shared experts whole on every rank: vLLM's sequence-parallel MoE (tp > 1, dp > 1 and ep > 1)."""
        return self.tp > 1 and self.dp > 1 and self.ep > 1
