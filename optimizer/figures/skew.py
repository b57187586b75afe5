"""How uneven expert load is at an expert mesh: the hottest device's load ÷ the mean, of each layer.

Where the problem has measured loads, a layer's routed experts are priced at the hottest device of its placement; where
the placement is not known, at a bound that no placement goes below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from heapq import heapify, heapreplace

from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.placement import CVAR_TAIL, aggregate

StageMesh = tuple[int, int]
"""ep and redundant slots."""


def heaviest_share(load: Sequence[int], slots: int) -> Fraction:
    """Least possible heaviest share of one copy when `slots` copies are dealt out: max w_e ÷ r_e, Σ r_e = slots.

    Giving each further copy to the heaviest share is optimal (divisor methods; Balinski and Young 1982).
    """
    heap = [(Fraction(-w), w, 1) for w in load]
    heapify(heap)
    for _ in range(slots - len(load)):
        _, w, copies = heap[0]
        heapreplace(heap, (Fraction(-w, copies + 1), w, copies + 1))
    return -heap[0][0]


class Skews:
    """Max over mean of each layer for every expert mesh.

    Parameters
    ----------
    problem
        With measured loads, or without: then balanced.
    placed
        Expert meshes whose value is known (or bounded), one number for each MoE layer.
    """

    def __init__(self, problem: Problem, placed: Mapping[StageMesh, Sequence[Fraction]] | None = None) -> None:
        self.problem = problem
        self.placed = dict(placed or {})
        model = problem.model
        self._moe_layers = model.moe_layers
        self._layers: dict[StageMesh, tuple[Fraction, ...]] = {}
        self._means: dict[StageMesh, tuple[Fraction, ...]] = {}

    @property
    def measured(self) -> bool:
        """Whether there are loads at all."""
        return bool(self.problem.expert_loads)

    def of(self, shape: Shape) -> tuple[Fraction, ...] | None:
        """One number for each layer of the model (1 for layers without experts); None: balanced."""
        if not self.measured:
            return None
        mesh = (shape.ep, shape.redundant)
        if mesh not in self._layers:
            placed = self.placed.get(mesh) or self._bounds(mesh)
            hottest = [Fraction(1)] * self.problem.model.layer_count
            for layer, value in zip(self._moe_layers, placed, strict=True):
                hottest[layer] = Fraction(value)
            self._layers[mesh] = tuple(hottest)
        return self._layers[mesh]

    def mean(self, shape: Shape) -> tuple[Fraction, ...] | None:
        """Each layer at the mean of its kind: times are convex in the number, so that their sum is bounded below."""
        per_layer = self.of(shape)
        if per_layer is None:
            return None
        mesh = (shape.ep, shape.redundant)
        if mesh not in self._means:
            names = self.problem.model.layer_names
            means = {n: self._mean_of([v for v, m in zip(per_layer, names, strict=True) if m == n]) for n in set(names)}
            self._means[mesh] = tuple(means[n] for n in names)
        return self._means[mesh]

    @staticmethod
    def _mean_of(values: list[Fraction]) -> Fraction:
        # rounded down to 1e-9, so that a sum over many layers has no huge denominator and stays a bound
        return Fraction(int(sum(values) / len(values) * 10**9), 10**9)

    def _bounds(self, mesh: StageMesh) -> tuple[Fraction, ...]:
        ep, redundant = mesh
        bounds = []
        for layer in range(len(self._moe_layers)):
            values = []
            for load in self.problem.expert_loads:
                row = load.rows[layer]
                total = sum(row)
                share = heaviest_share(row, len(row) + redundant) * ep / total if total else Fraction(1)
                values.append(max(Fraction(1), share))
            bounds.append(self._aggregate(values))
        return tuple(bounds)

    def _aggregate(self, values: Sequence[Fraction]) -> Fraction:
        experts = self.problem.experts
        weights = load_weights(self.problem)
        return aggregate(values, weights, experts.robust if experts else "worst", CVAR_TAIL)


def load_weights(problem: Problem) -> tuple[Fraction, ...]:
    """Weights of the loads, adding up to 1."""
    count = len(problem.expert_loads)
    weights = problem.experts.weights if problem.experts else None
    if weights is None:
        return tuple(Fraction(1, count) for _ in range(count))
    return tuple(Fraction(w, sum(weights)) for w in weights)


def placeable(problem: Problem, shape: Shape) -> bool:
    """Whether an expert mesh's slots can be placed: no device needs two copies of an expert, slots divide evenly."""
    for moe in problem.model.moe_blocks:
        if shape.redundant and shape.local_experts(moe.experts) > moe.experts:
            return False
        if problem.expert_loads and (moe.experts + shape.redundant) % shape.ep:
            return False
    return True
