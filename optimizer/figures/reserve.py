"""Bytes that an engine keeps for itself at a shape, and the largest step that it keeps room for; see its `Reservation`.

- context: what a device that works alone has; a group in a stage adds its communicators, by the kind of link.
- graphs: captured sizes · (fixed + layers · each), and where an engine dispatches experts between data-parallel ranks
  with low latency, experts · dispatched tokens · hidden size (FP8) in every MoE layer.

What the problem states (`limits.reserve`, `workload.capture_sizes`, …) takes the place of each.
"""

from __future__ import annotations

from optimizer.domain.attention import LatentAttention
from optimizer.domain.engines.reservation import capture_sizes
from optimizer.domain.model import Block
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape

DIRECT_LINK = 150 * 10**9
"""Bytes/s of the innermost link from which on devices have direct links: NVLink and xGMI have 200 and more, PCIe 6.0
has 128."""


def largest_capture(problem: Problem, shape: Shape) -> int:
    """Largest batch for which a graph is captured; 0: none."""
    work, own = problem.workload, problem.engine.reservation.defaults
    if work.capture_sizes is not None:
        return max(work.capture_sizes, default=0)
    usual = own.largest_capture(problem.hardware.device, shape.stage_devices)
    return usual if work.max_num_seqs is None else min(2 * work.max_num_seqs, usual)


def captured(problem: Problem, shape: Shape) -> int:
    """How many batch sizes a graph is captured for."""
    stated = problem.workload.capture_sizes
    return capture_sizes(largest_capture(problem, shape)) if stated is None else len([size for size in stated if size])


def fixed_bytes(problem: Problem, shape: Shape) -> int:
    """What the engine keeps on each device of a shape whatever layers it holds: context, communicators, graphs' own."""
    own, stated = problem.engine.reservation, problem.limits.reserve
    if stated is not None:
        return stated
    direct = problem.hardware.tiers[0].bandwidth >= DIRECT_LINK
    if shape.stage_devices > 1:
        # buffers that every rank of a tensor-parallel group can write to are made where links allow it
        communication = own.direct_group_bytes if direct and shape.tp > 1 else own.switched_group_bytes
    else:
        communication = own.stage_bytes if shape.pp > 1 else 0
    return own.context_bytes + communication + (captured(problem, shape) * own.graph_bytes if _captures(problem) else 0)


def layer_bytes(problem: Problem, shape: Shape, block: Block) -> int:
    """What the engine keeps on each device for every layer of a kind: its share of the captured graphs."""
    own = problem.engine.reservation
    if problem.limits.reserve is not None or not _captures(problem):
        return 0
    latent = own.graph_latent_layer_bytes if isinstance(block.attention, LatentAttention) else 0
    found = captured(problem, shape) * (own.graph_layer_bytes + latent)
    if block.moe is not None and own.low_latency_tokens and shape.dp > 1 and shape.ep > 1:
        dispatched = min(own.low_latency_tokens, largest_capture(problem, shape))
        found += block.moe.experts * dispatched * block.moe.expert_width(problem.model.hidden_size)
    return found


def _captures(problem: Problem) -> bool:
    return problem.workload.decodes and problem.engine.reservation.graphs_in_budget


def kept_sequences(problem: Problem) -> int:
    """Sequences in flight that the problem says the engine keeps room for; 0 where it does not say."""
    return problem.workload.max_num_seqs or 0


def kept_tokens(problem: Problem) -> int:
    """Tokens of a step that the problem says the engine keeps room for; 0 where it does not say."""
    return problem.workload.max_num_batched_tokens or 0


def default_sequences(problem: Problem) -> int:
    """Sequences in flight that the engine keeps room for unless told: no more than a step's tokens."""
    own = problem.engine.reservation.defaults.of(problem.hardware.device)
    return problem.workload.max_num_seqs or min(own.sequences, default_tokens(problem))


def default_tokens(problem: Problem) -> int:
    """Tokens of the largest step that the engine keeps room for unless told."""
    own = problem.engine.reservation.defaults.of(problem.hardware.device)
    return problem.workload.max_num_batched_tokens or own.batched_tokens
