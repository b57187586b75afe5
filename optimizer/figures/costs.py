"""Step times of one shape: every layer's coefficients, summed over any run of layers.

`Costs` is all that timing needs of a shape: it is built once and evaluated for many batches, chunks and stage cuts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate

from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.domain.tensor import Tensor, TensorRole
from optimizer.figures.layer import LayerBook, LayerCost, Linear, Step, linear_group, message_ticks
from optimizer.figures.rates import Rates
from optimizer.figures.skew import Skews
from optimizer.figures.topology import Level, outermost_tier
from optimizer.figures.traffic import expert_levels, pipeline_message

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
        return list(accumulate(map(times.__getitem__, self.order), initial=0))

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
        prefix, first, times = self.prefix(step), 0, []
        for layers in cuts:
            times.append(prefix[first + layers] - prefix[first] + self.send(step))
            first += layers
        times[-1] += self.tail(step)
        return times


Order = tuple[tuple[tuple[str, Fraction | None], ...], tuple[int, ...], tuple[int, ...]]


class CostBook:
    """Costs of many shapes of one problem at given rates.

    `skews` prices routed experts at the hottest device where loads were measured.
    """

    def __init__(self, problem: Problem, rates: Rates, skews: Skews | None = None) -> None:
        self.problem, self.rates = problem, rates
        self.skews = skews or Skews(problem)
        self.layers = LayerBook(problem, rates)
        self._heads: dict[tuple[int, int], Linear] = {}
        self._depths: dict[tuple[int, int, int, tuple[int, ...]], tuple[int, ...]] = {}
        self._orders: dict[tuple[Fraction, ...] | None, Order] = {}

    def of(self, shape: Shape) -> Costs:
        """Costs with the skew of the shape's expert mesh."""
        return self.costs(shape, self.skews.of(shape))

    def least(self, shape: Shape, depths: Sequence[int]) -> Costs:
        """Costs that the shape's mesh pair does not go below at any of the pipeline depths.

        Depth decides only which link tier holds a replica whole, and how far apart the ranks lie that exchange experts:
        the least coefficients over what there is of these.
        """
        skew = self.skews.mean(shape)
        sizes, beside = self.layers.sizes, shape.along(self.problem.engine.within_stages)
        name = (shape.stage_devices, beside, shape.etp * shape.ep, tuple(depths))
        if name not in self._depths:
            spanned: dict[tuple[int, tuple[Level, ...]], int] = {}
            for pp in depths:
                deep = replace(shape, pp=pp)
                spanned.setdefault((outermost_tier(sizes, deep.devices), expert_levels(self.problem, deep, sizes)), pp)
            self._depths[name] = tuple(spanned.values())
        first, *others = self._depths[name]
        least = self.costs(replace(shape, pp=first), skew)
        kinds = least.kinds
        for pp in others:
            deeper = self._kinds(replace(shape, pp=pp), skew)
            kinds = tuple(
                replace(
                    kind,
                    per_token=min(kind.per_token, deep.per_token),
                    per_prompt=min(kind.per_prompt, deep.per_prompt),
                    per_seq=min(kind.per_seq, deep.per_seq),
                    fixed=min(kind.fixed, deep.fixed),
                    exchange=kind.exchange and deep.exchange and kind.exchange.least(deep.exchange),
                )
                for kind, deep in zip(kinds, deeper, strict=True)
            )
        return replace(least, kinds=kinds, draft=None, send_fixed=0, send_each=0)

    def _kinds(self, shape: Shape, imbalance: Imbalance) -> tuple[LayerCost, ...]:
        """Distinct layers in the order of their first appearance."""
        blocks = self.problem.model.blocks
        return tuple(self.layers.layer(blocks[name], shape, skew) for name, skew in self._distinct(imbalance)[0])

    def _distinct(self, imbalance: Imbalance) -> Order:
        """Distinct pairs of block and skew, which of them each layer is, and how many layers are of each."""
        measured = None if imbalance is None else tuple(imbalance)
        if measured not in self._orders:
            index: dict[tuple[str, Fraction | None], int] = {}
            order = []
            for layer, name in enumerate(self.problem.model.layer_names):
                routed = self.problem.model.blocks[name].moe is not None
                order.append(index.setdefault((name, measured[layer] if measured and routed else None), len(index)))
            self._orders[measured] = tuple(index), tuple(order), tuple(order.count(kind) for kind in range(len(index)))
        return self._orders[measured]

    def costs(self, shape: Shape, imbalance: Imbalance = None) -> Costs:
        """Coefficients of every layer of the model at a shape."""
        problem, rates, model = self.problem, self.rates, self.problem.model
        _, order, counts = self._distinct(imbalance)
        message = pipeline_message(problem, shape, self.layers.sizes)
        whole = replace(shape, overlap=False)
        drafting = problem.workload.mtp_tokens if model.mtp is not None else 0
        if (shape.tp, shape.cp) not in self._heads:
            self._heads[shape.tp, shape.cp] = head_cost(problem, shape, rates)
        return Costs(
            kinds=self._kinds(shape, imbalance),
            order=order,
            counts=counts,
            head=self._heads[shape.tp, shape.cp],
            send_fixed=rates.latency_ticks(1, message.tier) if message else 0,
            send_each=message_ticks(message, problem.hardware, rates) if message else 0,
            draft=self.layers.layer(model.blocks[model.mtp.block], whole) if drafting and model.mtp else None,
            draft_tokens=drafting,
        )


def build_costs(problem: Problem, shape: Shape, rates: Rates, imbalance: Imbalance = None) -> Costs:
    """Coefficients of one shape."""
    return CostBook(problem, rates).costs(shape, imbalance)


def head_cost(problem: Problem, shape: Shape, rates: Rates) -> Linear:
    """The output head on the tokens that are sampled; a tied head multiplies by the embedding."""
    model = problem.model
    tensors = [t for t in model.output_tensors() if t.matrix]
    if not tensors:
        embedding = model.input_tensors()[0]
        tensors = [Tensor("tied_head", embedding.rows, embedding.cols, TensorRole.LM_HEAD, embedding.split)]
    group = linear_group(
        "lm_head",
        tensors,
        problem,
        rates,
        ranks=shape.tp,
        cp=shape.cp,
        io_elements=model.hidden_size + 2 * model.vocab_size,
    )
    assert group is not None  # noqa: S101 - a head is a matrix
    return group
