"""Measured co-activation: which experts tokens choose together."""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Literal

from pydantic import Field

from optimizer.domain.base import Spec
from optimizer.domain.limits import AsTuple

MOST_COUNT = 10**12

PairCount = Annotated[int, Field(ge=0, le=MOST_COUNT)]
CountRow = Annotated[tuple[PairCount, ...], AsTuple]


class Coactivation(Spec):
    """Which experts are chosen together in each MoE layer.

    `layers` holds, by `measure`: ``tokens``, a count and the experts that so many tokens chose; ``pairs``, one row for
    each expert with how often it was chosen together with each later one; ``uniform``, nothing.
    """

    name: str
    measure: Literal["tokens", "pairs", "uniform"]
    layers: Annotated[tuple[Annotated[tuple[CountRow, ...], AsTuple], ...], AsTuple] = ()

    def groups(self, layer: int, experts: int) -> list[tuple[int, ...]]:
        """Groups of one layer: how often each was seen, and its experts."""
        if self.measure == "tokens":
            return list(self.layers[layer])
        if self.measure == "uniform":
            return [(1, *pair) for pair in combinations(range(experts), 2)]
        return [
            (count, one, two)
            for one, row in enumerate(self.layers[layer])
            for two, count in enumerate(row, one + 1)
            if count
        ]
