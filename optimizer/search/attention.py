"""Coefficients that no expert mesh over an attention mesh goes below: one row of a bound stands for all of them.

Over an attention mesh of w = tp·cp ranks, where etp·ep ÷ w of the copies' tokens come to each copy of the experts, the
hottest device computes no less than the mean one: the FLOPs of a token's experts ÷ w, whatever etp, ep and the loads.
Routed experts take these FLOPs, and no bytes, messages or memory; shared experts the lesser of being divided and whole.
Two-batch overlap hides the exchange alone: 2·(a + m) of two halves is no less than the whole layer without it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from optimizer.domain.feedforward import MixtureOfExperts
from optimizer.domain.model import Block
from optimizer.domain.precision import ACTIVATION_BYTES, ModelPrecision
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.domain.tensor import Tensor, TensorRole
from optimizer.figures.memory import hidden_elements
from optimizer.figures.reserve import fixed_bytes
from optimizer.figures.skew import Skews
from optimizer.search.kinds import ExpertExchange, KindCost, RooflineGroup
from optimizer.search.lattice import Floats, Ints, Meshes
from optimizer.search.pricing import OPERATIONS, Pricer

_ROUNDED = 1 - 2.0**-10
"""Share of the mean device's work that tables of the hottest one, rounded to whole units, do not go below."""


class AttentionPricer(Pricer):
    """A pricer of attention meshes, each in place of every mesh pair over it and of every size of its replica.

    Parameters
    ----------
    attention
        tp and cp, a row each.
    """

    def __init__(self, problem: Problem, attention: Ints, skews: Skews) -> None:
        (tp, cp), ones = attention.T, np.ones(len(attention), dtype=np.int64)
        width = tp * cp
        super().__init__(problem, Meshes(tp, cp, ones, ones, ones * 0, ones * 0, width, ones, width), skews=skews)
        alone, spread = (float(fixed_bytes(problem, shape)) for shape in (Shape(1, 1, 1, 1, 1), Shape(1, 1, 1, 2, 1)))
        # experts may widen a stage of one rank to several devices
        self.reserve = np.where(tp > 1, self.reserve, np.where(cp > 1, spread, min(alone, spread)))

    def _kind(self, block: Block, skew: Floats | None, *, whole: bool = False) -> KindCost:
        del skew, whole
        kind = super()._kind(block, None, whole=True)
        if block.moe is None:
            return kind
        flop = 0.0
        for tensor in block.moe.tensors(self.problem.model.hidden_size):
            if tensor.role is TensorRole.EXPERTS and tensor.matrix:
                flop_seconds = self.rates.expert_flop[self.problem.precision.of(tensor).compute]
                flop += 2.0 * tensor.rows * tensor.cols * flop_seconds * _ROUNDED
        return replace(kind, per_token=kind.per_token + flop * block.moe.top_k / self.meshes.stage)

    def _routed(self, moe: MixtureOfExperts, skew: Floats | None, split: Floats | None) -> None:
        del moe, skew, split

    def _exchange(self, moe: MixtureOfExperts | None, skew: Floats | None) -> ExpertExchange:
        del skew
        zero = np.zeros(len(self.meshes))
        return ExpertExchange(
            zero, zero, zero, zero, zero, zero + (self.rates.launch * OPERATIONS["experts"] if moe else 0)
        )

    def _matrices(self, role: TensorRole, tensors: list[Tensor], split: Floats | None) -> RooflineGroup | None:
        divided, meshes = super()._matrices(role, tensors, split), self.meshes
        whole = (
            self._linear(tensors, np.ones_like(meshes.tp), meshes.stage) if role is TensorRole.SHARED_EXPERTS else None
        )
        if divided is None or whole is None:
            return divided
        return RooflineGroup(
            *(np.minimum(a, b) for a, b in zip(vars(divided).values(), vars(whole).values(), strict=True))
        )

    def _weights(self, tensors: tuple[Tensor, ...], precision: ModelPrecision | None = None) -> Floats:
        return super()._weights(tuple(tensor for tensor in tensors if tensor.role is not TensorRole.EXPERTS), precision)

    def _kept_for(self, block: Block) -> Floats:
        return np.full(len(self.meshes), float(min(self._graphs_of(block))))

    def _working(self) -> tuple[Floats, Floats]:
        problem, cp = self.problem, self.meshes.cp
        act = float(ACTIVATION_BYTES[problem.precision.activations])
        return act * 4 * problem.model.hidden_size / cp, act * hidden_elements(problem) / cp
