"""A step of one stage, operation by operation: how long each takes, on which resource, and at rated peaks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import Costs, Imbalance, build_costs
from optimizer.figures.layer import LayerCost, Step
from optimizer.figures.rates import TICKS_PER_SECOND, Rates, effective_rates, ideal_rates
from optimizer.figures.serving import Evaluation
from optimizer.figures.traffic import Message, layer_messages, pipeline_message

COMPUTE: Final = "compute"
HBM: Final = "HBM"
LINK: Final = "links"
START: Final = "launch"
RESOURCES: Final = (COMPUTE, HBM, LINK, START)

_NAMES: Final = {
    "attention": "attention projections",
    "attention_decode": "attention over the cache",
    "attention_prefill": "attention over the prompt",
    "dense_ffn": "dense feed-forward",
    "lm_head": "output head",
}
LAUNCH: Final = "kernel launches"
_SEND: Final = "send to the next stage"
_DRAFT: Final = "drafting"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation in a step, over all layers of the stage.

    Attributes
    ----------
    resource
        What it waits for: one of `RESOURCES`.
    ticks, ideal_ticks
        Its duration at achieved rates, and at rated peaks without latency or launch; of what computation hides in part
        the latter is no more than the former.
    """

    name: str
    resource: str
    ticks: int
    ideal_ticks: int

    @property
    def seconds(self) -> float:
        """The duration."""
        return float(Fraction(self.ticks, TICKS_PER_SECOND))

    @property
    def ideal_seconds(self) -> float:
        """The duration at rated peaks."""
        return float(Fraction(self.ideal_ticks, TICKS_PER_SECOND))


def _amount(message: Message, step: Step) -> int:
    return {"token": step.tokens, "prompt": step.prompt, "seq": step.seqs}[message.per]


class _Pricing:
    """One stage's operations under some rates."""

    def __init__(self, problem: Problem, shape: Shape, rates: Rates, skew: Imbalance) -> None:
        self.problem, self.shape, self.rates, self.skew = problem, shape, rates, skew
        self.costs: Costs = build_costs(problem, shape, rates, skew)
        self.sizes = tuple(tier.size for tier in problem.hardware.tiers)

    def _message(self, message: Message, step: Step) -> int:
        sent = self.rates.link_ticks(message.bytes_each, message.tier) * _amount(message, step)
        return sent + self.rates.latency_ticks(message.rounds, message.tier)

    def _launch(self, kind: LayerCost, messages: list[Message]) -> int:
        """Ticks of a layer's launches: what is fixed less latencies; of both micro-batches where there are two."""
        if kind.exchange is None:
            return kind.fixed - sum(self.rates.latency_ticks(message.rounds, message.tier) for message in messages)
        around = (message for message in messages if message.collective not in ("dispatch", "combine"))
        latency = sum(self.rates.latency_ticks(message.rounds, message.tier) for message in around)
        return 2 * (kind.fixed - latency + kind.exchange.launch)

    def _exposed(self, message: Message, kind: LayerCost, messages: list[Message], step: Step) -> int:
        """Ticks of a message that computation does not hide; of a dispatch or combine its share of what is left."""
        if kind.exchange is None:
            return self._message(message, step)
        half, halves = kind.computed(step), step.evened()
        exposed = dict(zip(("dispatch", "combine"), kind.exchange.exposed(*half), strict=True))
        if message.collective not in exposed:
            return self._message(message, halves) + self.rates.latency_ticks(message.rounds, message.tier)
        alike = [
            self._message(alike_message, halves)
            for alike_message in messages
            if alike_message.collective == message.collective
        ]
        return exposed[message.collective] * self._message(message, halves) // max(1, sum(alike))

    def _link(self, message: Message) -> str:
        return (
            f"{message.collective.replace('_', ' ')} ({message.axis}, {self.problem.hardware.tiers[message.tier].name})"
        )

    def parts(self, step: Step, layers: range, *, last: bool) -> Counter[str]:
        """Ticks of each operation by name; collectives carry their axis and tier."""
        parts: Counter[str] = Counter()
        model = self.problem.model
        for layer in layers:
            kind, block = self.costs.kinds[self.costs.order[layer]], model.blocks[model.layer_names[layer]]
            computed = 0
            for name, ticks in kind.parts(step).items():
                if name not in ("communication", "latency_and_launch"):
                    parts[_NAMES.get(name, name.replace("_", " "))] += ticks
                    computed += ticks
            hottest = self.skew[layer] if self.skew is not None and block.moe is not None else None
            messages = layer_messages(block, self.problem, self.shape, self.sizes, hottest)
            sent = Counter[str]()
            for message in messages:
                sent[self._link(message)] += self._exposed(message, kind, messages, step)
            launch = self._launch(kind, messages)
            parts[LAUNCH] += launch
            # a half's messages are rounded up together, here one by one
            for name, _ in sent.most_common(1):
                sent[name] += kind.ticks(step) - computed - launch - sent.total()
            parts.update(sent)
        send = pipeline_message(self.problem, self.shape, self.sizes)
        if send is not None:
            parts[_SEND] += self.costs.send(step)
        if last:
            head = self.costs.head.ticks(step.decoded + step.passes)
            parts[_NAMES["lm_head"]] += head
            parts[_DRAFT] += self.costs.tail(step) - head
        return parts

    def links(self, layers: range) -> set[str]:
        """Names of collectives."""
        model = self.problem.model
        blocks = {name: model.blocks[name] for name in (model.layer_names[layer] for layer in layers)}
        messages = (m for b in blocks.values() for m in layer_messages(b, self.problem, self.shape, self.sizes))
        return {self._link(message) for message in messages} | {_SEND}


def slowest_stage(evaluation: Evaluation) -> int:
    """The stage that the others wait for."""
    return max(range(len(evaluation.stage_ticks)), key=lambda stage: evaluation.stage_ticks[stage])


def step_parts(
    problem: Problem, evaluation: Evaluation, step: Step, stage: int, skew: Imbalance = None
) -> list[Operation]:
    """Operations of a step of one stage, in the order of the model; their ticks add up to the stage's."""
    first = sum(evaluation.cuts[:stage])
    layers = range(first, first + evaluation.cuts[stage])
    last = stage == len(evaluation.cuts) - 1
    rates, ideal = effective_rates(problem.priced_hardware), ideal_rates(problem.priced_hardware)
    only = {
        COMPUTE: rates.only_compute(),
        HBM: rates.only_memory(),
    }

    def priced(at: Rates) -> Counter[str]:
        return _Pricing(problem, evaluation.shape, at, skew).parts(step, layers, last=last)

    times, best = priced(rates), priced(ideal)
    times_alone = {resource: priced(at) for resource, at in only.items()}
    links = _Pricing(problem, evaluation.shape, rates, skew).links(layers)

    def resource(name: str) -> str:
        if name == LAUNCH:
            return START
        if name in links:
            return LINK
        return COMPUTE if times_alone[COMPUTE][name] >= times_alone[HBM][name] else HBM

    # where computation is faster it hides less
    return [Operation(name, resource(name), ticks, min(best[name], ticks)) for name, ticks in times.items() if ticks]
