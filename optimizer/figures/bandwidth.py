"""Bytes that a device sends in a mean step, by axis and link tier, and the bandwidth that takes.

A step is one stage's work on one micro-batch; its mean is over decode and mixed steps (share φ of them mixed), as in
`serving`. While a cycle of ``pp · max A`` lasts, every stage works on `pp` micro-batches, so that a device sends over a
tier, on average, ``pp × Σ layers bytes(µ) ÷ cycle = Σ layers bytes(µ) ÷ max A``. As in `costs`, every stage is charged
with handing its micro-batch on, the last one too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from optimizer.domain.problem import Problem
from optimizer.figures.costs import Imbalance
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.figures.serving import Evaluation
from optimizer.figures.steps import Steps
from optimizer.figures.traffic import Message, TrafficAxis, layer_messages, pipeline_message

AxisTraffic = dict[tuple[TrafficAxis, int], Fraction]
"""Bytes sent by one device in a mean step, by axis and index of the link tier."""


@dataclass(frozen=True, slots=True)
class MeanStep:
    """Tokens of a mean step on one attention rank."""

    tokens: Fraction
    prompt: Fraction
    seqs: Fraction

    def sent(self, message: Message) -> Fraction:
        """Bytes of one message in such a step."""
        number = {"token": self.tokens, "prompt": self.prompt, "seq": self.seqs}[message.per]
        return message.bytes_each * number


def mean_step(steps: Steps) -> MeanStep:
    """Mean over decode and mixed steps."""
    decode, mixed, share = steps.decode, steps.mixed, steps.share
    if mixed is None:
        assert decode is not None  # noqa: S101 - a phase has steps
        return MeanStep(Fraction(decode.tokens), Fraction(0), Fraction(decode.seqs))
    if decode is None:
        return MeanStep(Fraction(mixed.tokens), Fraction(mixed.prompt), Fraction(mixed.seqs))
    tokens = decode.tokens + share * (mixed.tokens - decode.tokens)
    return MeanStep(tokens, share * mixed.prompt, Fraction(decode.seqs))


def _add(total: AxisTraffic, messages: Iterable[Message], step: MeanStep, times: int = 1) -> None:
    for message in messages:
        key = (message.axis, message.tier)
        total[key] = total.get(key, Fraction(0)) + times * step.sent(message)


def stage_traffic(problem: Problem, evaluation: Evaluation, imbalance: Imbalance = None) -> tuple[AxisTraffic, ...]:
    """Bytes that a device of each stage sends in a mean step.

    Parameters
    ----------
    imbalance
        Hottest device's expert load ÷ mean of each layer, where the layout was priced with it.
    """
    model, shape = problem.model, evaluation.shape
    sizes = tuple(tier.size for tier in problem.hardware.tiers)
    step = mean_step(evaluation.steps)
    known: dict[tuple[str, Fraction | None], list[Message]] = {}
    names = model.layer_names
    stages: list[AxisTraffic] = []
    first = 0
    for layers in evaluation.cuts:
        total: AxisTraffic = {}
        counts: dict[tuple[str, Fraction | None], int] = {}
        for layer in range(first, first + layers):
            moe = model.blocks[names[layer]].moe
            key = (names[layer], None if imbalance is None or moe is None else imbalance[layer])
            counts[key] = counts.get(key, 0) + 1
        for key, times in counts.items():
            if key not in known:
                known[key] = layer_messages(model.blocks[key[0]], problem, shape, sizes, key[1])
            _add(total, known[key], step, times)
        send = pipeline_message(problem, shape, sizes)
        if send is not None:
            _add(total, (send,), step)
        stages.append(total)
        first += layers
    drafted = problem.workload.mtp_tokens
    if drafted and model.mtp is not None and step.seqs:
        messages = layer_messages(model.blocks[model.mtp.block], problem, shape, sizes)
        _add(stages[-1], messages, MeanStep(step.seqs, Fraction(0), step.seqs), drafted)
    return tuple(stages)


def tier_bandwidth(evaluation: Evaluation, traffic: Iterable[AxisTraffic], tier: int) -> Fraction:
    """Mean bytes/s that a device sends over a tier, in the stage where it is most; ``Σ layers bytes(µ) ÷ max A``."""
    sent = [sum((size for (_, at), size in stage.items() if at == tier), Fraction(0)) for stage in traffic]
    return max(sent) * TICKS_PER_SECOND / max(evaluation.stage_ticks)


def fabric_bandwidth(problem: Problem, evaluation: Evaluation, imbalance: Imbalance = None) -> Fraction:
    """Mean bytes/s of a device over the outermost tier, which `limits.fabric_bandwidth` bounds."""
    traffic = stage_traffic(problem, evaluation, imbalance)
    return tier_bandwidth(evaluation, traffic, len(problem.hardware.tiers) - 1)
