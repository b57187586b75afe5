"""Step times of one shape: every layer's coefficients, summed over any run of layers.

`Costs` is all that timing needs of a shape: it is built once and evaluated for many batches, chunks and stage cuts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate

from optimizer.figures.layer import LayerBook, LayerCost, Linear, Step, head_cost, message_ticks
from optimizer.figures.rates import Rates
from optimizer.figures.shape import Shape
from optimizer.figures.skew import Skews
from optimizer.figures.topology import outermost_tier
from optimizer.figures.traffic import pipeline_message
from optimizer.spec.problem import Problem

Imbalance = Sequence[Fraction] | None
"""Hottest device's expert load ÷ mean for each layer of the main stack (1 without experts); None: balanced."""


@dataclass(frozen=True)
class Costs:
    """Time coefficients of a shape, in ticks.

    Attributes
    ----------
    kinds, order, counts
        Distinct layer costs, which of them each layer is, and how many layers are of each.
    head
        The output head, on the last stage.
    send_fixed, send_each
        Hidden states to the next stage: latency, and ticks a token; 0 without pipeline stages.
    draft
        One MTP layer, where drafting is on.
    """

    kinds: tuple[LayerCost, ...]
    order: tuple[int, ...]
    counts: tuple[int, ...]
    head: Linear
    send_fixed: int
    send_each: int
    draft: LayerCost | None
    draft_tokens: int

    def prefix(self, step: Step) -> list[int]:
        """Ticks of the first 0, 1, …, L layers in `step`."""
        times = [kind.ticks(step) for kind in self.kinds]
        return list(accumulate((times[i] for i in self.order), initial=0))

    def tail(self, step: Step) -> int:
        """What the last stage adds: the head on sampled tokens, and drafting."""
        total = self.head.ticks(step.decoded + step.passes)
        if self.draft is not None and step.seqs:
            drafted = self.draft.ticks(Step(step.seqs, step.seqs, 0, 0)) + self.head.ticks(step.seqs)
            total += self.draft_tokens * drafted
        return total

    def send(self, step: Step) -> int:
        """What every stage adds to hand its micro-batch on."""
        return self.send_fixed + self.send_each * step.tokens

    def stack(self, step: Step) -> int:
        """All layers and the tail, without sends."""
        return sum(n * kind.ticks(step) for n, kind in zip(self.counts, self.kinds, strict=True)) + self.tail(step)

    def stages(self, step: Step, cuts: Sequence[int]) -> list[int]:
        """Ticks of each stage; `cuts` are the layer counts of the stages, in order."""
        prefix, first, found = self.prefix(step), 0, []
        for layers in cuts:
            found.append(prefix[first + layers] - prefix[first] + self.send(step))
            first += layers
        found[-1] += self.tail(step)
        return found


class CostBook:
    """Costs of many shapes of one problem at given rates.

    `skews` prices routed experts at the hottest device where loads were measured.
    """

    def __init__(self, problem: Problem, rates: Rates, skews: Skews | None = None) -> None:
        self.problem, self.rates = problem, rates
        self.skews = skews or Skews(problem)
        self.layers = LayerBook(problem, rates)
        self._heads: dict[tuple[int, int], Linear] = {}
        self._depths: dict[tuple[int, tuple[int, ...]], tuple[int, ...]] = {}

    def of(self, shape: Shape) -> Costs:
        """Costs with the skew of the shape's expert mesh."""
        return self.costs(shape, self.skews.of(shape))

    def least(self, shape: Shape, depths: Sequence[int]) -> Costs:
        """Costs that the shape's mesh pair does not go below at any of the pipeline depths.

        Depth decides only which link tier holds a replica whole: the least coefficients over the tiers there are.
        """
        skew = self.skews.mean(shape)
        name = (shape.stage_devices, tuple(depths))
        if name not in self._depths:
            tiers: dict[int, int] = {}
            for pp in depths:
                tiers.setdefault(outermost_tier(self.layers.sizes, shape.stage_devices * pp), pp)
            self._depths[name] = tuple(tiers.values())
        found = [self.costs(replace(shape, pp=pp), skew) for pp in self._depths[name]]
        kinds = tuple(
            replace(
                same[0],
                per_token=min(k.per_token for k in same),
                per_prompt=min(k.per_prompt for k in same),
                per_seq=min(k.per_seq for k in same),
                fixed=min(k.fixed for k in same),
            )
            for same in zip(*(costs.kinds for costs in found), strict=True)
        )
        return replace(found[0], kinds=kinds, draft=None, send_fixed=0, send_each=0)

    def costs(self, shape: Shape, imbalance: Imbalance = None) -> Costs:
        """Coefficients of every layer of the model at a shape."""
        problem, rates, model = self.problem, self.rates, self.problem.model
        kinds: list[LayerCost] = []
        index: dict[tuple[str, Fraction | None], int] = {}
        order = []
        for layer, name in enumerate(model.layer_names):
            block = model.blocks[name]
            skew = None if imbalance is None or block.moe is None else imbalance[layer]
            key = (name, skew)
            if key not in index:
                index[key] = len(kinds)
                kinds.append(self.layers.layer(block, shape, skew))
            order.append(index[key])
        message = pipeline_message(problem, shape, self.layers.sizes)
        drafting = problem.workload.mtp_tokens if model.mtp is not None else 0
        if (shape.tp, shape.cp) not in self._heads:
            self._heads[shape.tp, shape.cp] = head_cost(problem, shape, rates)
        return Costs(
            kinds=tuple(kinds),
            order=tuple(order),
            counts=tuple(order.count(kind) for kind in range(len(kinds))),
            head=self._heads[shape.tp, shape.cp],
            send_fixed=rates.latency_ticks(1, message.tier) if message else 0,
            send_each=message_ticks(message, problem.hardware, rates) if message else 0,
            draft=self.layers.layer(model.blocks[model.mtp.block], shape) if drafting and model.mtp else None,
            draft_tokens=drafting,
        )


def build_costs(problem: Problem, shape: Shape, rates: Rates, imbalance: Imbalance = None) -> Costs:
    """Coefficients of one shape."""
    return CostBook(problem, rates).costs(shape, imbalance)
