"""Messages of a layer: bytes that a device sends over each link tier, and rounds of small-message latency.

A collective over several tiers runs level by level: inside the domain first, then between domains with what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from optimizer.domain.feedforward import MixtureOfExperts
from optimizer.domain.model import Block
from optimizer.domain.precision import ACTIVATION_BYTES, KV_BYTES
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.domain.tensor import TensorRole
from optimizer.figures.routing import distinct_destinations
from optimizer.figures.topology import Level, expert_group, levels, outermost_tier

Sizes = tuple[int | None, ...]
TrafficAxis = Literal["tp", "cp", "ep", "pp"]
Per = Literal["token", "prompt", "seq"]


@dataclass(frozen=True, slots=True)
class Message:
    """One level of one collective: `bytes_each` a device sends for each token (prompt token, sequence) of its rank.

    `fanout` members take part, over which a mesh's links are shared.
    """

    collective: str
    axis: TrafficAxis
    tier: int
    per: Per
    bytes_each: Fraction
    rounds: int
    fanout: int


def _rounds(fanout: int) -> int:
    return (fanout - 1).bit_length()


def all_reduce(axis: TrafficAxis, stages: tuple[Level, ...], size: Fraction, *, per: Per = "token") -> list[Message]:
    """Ring all-reduce of `size` bytes: 2·(g−1)/g·size, reduce-scatter and all-gather, level by level."""
    return [
        Message(
            "all_reduce",
            axis,
            level.tier,
            per,
            2 * Fraction(level.fanout - 1, level.fanout) * size / level.inner,
            (1 if level is stages[-1] else 2) * _rounds(level.fanout),
            level.fanout,
        )
        for level in stages
    ]


def all_gather(
    name: str, axis: TrafficAxis, stages: tuple[Level, ...], size: Fraction, *, per: Per = "token"
) -> list[Message]:
    """All-gather or reduce-scatter of `size` bytes in all: (g−1)/g·size."""
    return [
        Message(
            name,
            axis,
            level.tier,
            per,
            Fraction(level.fanout - 1, level.fanout) * size / level.inner,
            _rounds(level.fanout),
            level.fanout,
        )
        for level in stages
    ]


def _exchange(
    name: str,
    moe: MixtureOfExperts,
    shape: Shape,
    stages: tuple[Level, ...],
    width_bytes: Fraction,
    imbalance: Fraction,
    *,
    shards_apart: bool,
) -> list[Message]:
    """Dispatch or combine of routed tokens: once per destination domain over the outer tier, then inside it.

    A token goes to expected ``distinct_destinations`` of the ep ranks (each an expert-TP group of etp devices, side by
    side or, with `shards_apart`, ep devices apart).
    """
    part = Fraction(1, shape.tp * shape.cp)
    group = shape.etp * shape.ep
    messages = []
    for level in stages:
        if level.inner == 1:
            copies = shape.etp * distinct_destinations(shape.ep, moe.experts, moe.top_k) * imbalance
        else:
            domains = group // level.inner
            # domains with shards of other experts, and those with other shards of the same
            bins = max(1, shape.ep // level.inner) if shards_apart else min(domains, shape.ep)
            copies = distinct_destinations(bins, moe.experts, moe.top_k)
            copies = (
                min(copies, Fraction(moe.group_limit * -(-bins // moe.group_count))) if moe.group_count > 1 else copies
            )
            copies *= -(-domains // bins)
        sent = part * copies * Fraction(level.fanout - 1, level.fanout) * width_bytes
        messages.append(Message(name, "ep", level.tier, "token", sent, _rounds(level.fanout), level.fanout))
    return messages


def dispatch_bytes(problem: Problem) -> Fraction:
    """Bytes an element has when dispatched: 1 where experts compute in 8 bits or fewer (DeepEP); else activations'."""
    compute = problem.precision.of_role(TensorRole.EXPERTS).compute
    return Fraction(1) if compute in ("fp8", "fp4", "int8") else ACTIVATION_BYTES[problem.precision.activations]


def query_bytes(problem: Problem, tp: int) -> Fraction:
    """What the ranks that share a sequence's cache exchange of it: its query, and what attention gives for it."""
    return 2 * problem.model.hidden_size * ACTIVATION_BYTES[problem.precision.activations] / tp


def around_messages(block: Block, problem: Problem, shape: Shape, sizes: Sizes) -> list[Message]:
    """Collectives of the tensor- and context-parallel groups of one layer."""
    hidden = problem.model.hidden_size
    act = ACTIVATION_BYTES[problem.precision.activations]
    token_bytes = hidden * act / shape.cp
    tp_levels = levels(sizes, ((shape.tp, 1),), shape.devices)
    moe = block.moe
    messages: list[Message] = []
    if block.attention is not None:
        messages += all_reduce("tp", tp_levels, token_bytes)
        cp_levels = levels(sizes, ((shape.cp, shape.tp),), shape.devices)
        kv = block.attention.cache_elements(1, shape.tp) * KV_BYTES[problem.precision.kv_cache]
        messages += all_gather("kv_all_gather", "cp", cp_levels, Fraction(kv), per="prompt")
        messages += all_gather("query_exchange", "cp", cp_levels, query_bytes(problem, shape.tp), per="seq")
    if (moe is None and block.ffn is not None) or (moe is not None and moe.dense_intermediate):
        messages += all_reduce("tp", tp_levels, token_bytes)
    if moe is not None and block.attention is None:
        messages += all_gather("all_gather", "tp", tp_levels, token_bytes)
    return messages


def expert_levels(problem: Problem, shape: Shape, sizes: Sizes) -> tuple[Level, ...]:
    """Levels of the exchange of experts, where the engine numbers ranks."""
    return levels(sizes, expert_group(shape, shape.along(problem.engine.within_stages)), shape.devices)


def expert_messages(
    block: Block, problem: Problem, shape: Shape, sizes: Sizes, imbalance: Fraction | None = None
) -> list[Message]:
    """Dispatch and combine of the routed experts of one layer."""
    moe = block.moe
    if moe is None:
        return []
    width = moe.expert_width(problem.model.hidden_size)
    act = ACTIVATION_BYTES[problem.precision.activations]
    stages = expert_levels(problem, shape, sizes)
    skew = Fraction(1) if imbalance is None else imbalance
    apart = problem.engine.expert_order[-1] == "ep"
    return [
        *_exchange("dispatch", moe, shape, stages, width * dispatch_bytes(problem), skew, shards_apart=apart),
        *_exchange("combine", moe, shape, stages, width * act, skew, shards_apart=apart),
    ]


def layer_messages(
    block: Block, problem: Problem, shape: Shape, sizes: Sizes, imbalance: Fraction | None = None
) -> list[Message]:
    """All collectives of one layer in a forward step."""
    return [*around_messages(block, problem, shape, sizes), *expert_messages(block, problem, shape, sizes, imbalance)]


def pipeline_message(problem: Problem, shape: Shape, sizes: Sizes) -> Message | None:
    """Hidden states sent to the next stage, each rank its share of the tokens: as far as stages lie."""
    if shape.pp == 1:
        return None
    act = ACTIVATION_BYTES[problem.precision.activations]
    block = shape.along(problem.engine.within_stages) * shape.pp
    return Message(
        "send",
        "pp",
        outermost_tier(sizes, shape.devices, block),
        "token",
        problem.model.hidden_size * act / (shape.cp * shape.tp),
        1,
        2,
    )
