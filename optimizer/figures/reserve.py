"""Bytes that an engine keeps for itself at a shape, and the largest step that it keeps room for; see its `Reservation`.

- context: what a device that works alone has; a group in a stage adds its communicators, by the kind of link.
- graphs: captured sizes · (fixed + layers · each), and where an engine dispatches experts between data-parallel ranks
  with low latency, experts · dispatched tokens · hidden size (FP8) in every MoE layer.

- host: on memory that is shared with it, what the host's processes take while the engine measures.

What the problem states (`limits.reserve`, `workload.capture_sizes`, …) takes the place of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from optimizer.domain.attention import Entries, Latents
from optimizer.domain.engines.reservation import GIB, UNLOGGED_ERROR, capture_sizes
from optimizer.domain.model import Block
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape

DIRECT_LINK = 150 * 10**9
"""Bytes/s of the innermost link from which on devices have direct links: NVLink and xGMI have 200 and more, PCIe 6.0
has 128."""


HOST_BYTES = 136 * GIB // 10
"""What the host holds of memory that it shares with the device while an engine sizes its cache: vLLM counts whatever is
no longer available, page cache and compilers too (utils/mem_utils.py MemorySnapshot). Median of what three sources
logged beside all else: 5, 13.6 and 31.6 GiB (spark-vllm-docker issues 388 and 396, pull request 286)."""
SHARED_ERROR = Fraction(15, 100)
"""Share of such memory within which those three lie of it."""


def largest_capture(problem: Problem, shape: Shape) -> int:
    """Largest batch for which a graph is captured; 0: none."""
    work, defaults = problem.workload, problem.engine.reservation.defaults
    if work.capture_sizes is not None:
        return max(work.capture_sizes, default=0)
    usual = defaults.largest_capture(problem.hardware.device, shape.stage_devices)
    return usual if work.max_num_seqs is None else min(2 * work.max_num_seqs, usual)


def captured(problem: Problem, shape: Shape) -> int:
    """How many batch sizes a graph is captured for."""
    stated = problem.workload.capture_sizes
    if stated is not None:
        return len([size for size in stated if size])
    return capture_sizes(largest_capture(problem, shape), problem.engine.reservation.defaults.capture_step)


def fixed_bytes(problem: Problem, shape: Shape) -> int:
    """What the engine keeps on each device of a shape whatever layers it holds: context, communicators, graphs' own."""
    if problem.limits.reserve is not None:
        return context_bytes(problem, shape)
    graphs = captured(problem, shape) * problem.engine.reservation.graph_bytes if _captures(problem) else 0
    return context_bytes(problem, shape) + graphs + gathered_bytes(problem)


def gathered_bytes(problem: Problem) -> int:
    """Where the engine gathers the compressed cache of prompts to compute them: of the longest, and of all of a step.

    Sequences at once · (max_model_len ÷ tokens of an entry + window + tokens of the largest step) · entry in 16 bits.
    """
    length = problem.workload.max_model_len or problem.workload.held_tokens
    return problem.engine.reservation.gathered_sequences * max(
        (
            (-(-length // kept.ratio) + kept.window + default_tokens(problem)) * kept.head_dim * 2
            for kept in problem.model.kept
            if isinstance(kept, Entries) and kept.ratio
        ),
        default=0,
    )


def context_bytes(problem: Problem, shape: Shape) -> int:
    """What the engine keeps on each device before weights are loaded: context and communicators."""
    reservation, stated = problem.engine.reservation, problem.limits.reserve
    if stated is not None:
        return stated
    direct = problem.hardware.tiers[0].bandwidth >= DIRECT_LINK
    if shape.stage_devices > 1:
        # buffers that every rank of a tensor-parallel group can write to are made where links allow it
        communication = reservation.direct_group_bytes if direct and shape.tp > 1 else reservation.switched_group_bytes
    else:
        communication = reservation.stage_bytes if shape.pp > 1 else 0
    host = HOST_BYTES if problem.hardware.device.shared_with_host else 0
    return reservation.context_bytes + communication + host


def pool_bytes(problem: Problem, shape: Shape) -> int | None:
    """Most that weights and cache of a device may take where SGLang is told its share; None: it is not.

    share · (exposed memory − context and communicators), rounded down (kv_cache_configurator.py).
    """
    share = problem.limits.mem_fraction_static
    if share is None:
        return None
    free = max(0, problem.hardware.device.exposed_memory - context_bytes(problem, shape))
    return free * share.numerator // share.denominator


def beside_bytes(problem: Problem, shape: Shape, held: Sequence[Block]) -> int:
    """Captured graphs of a stage of some layers, where they lie beside the engine's share of memory; else 0."""
    reservation = problem.engine.reservation
    if reservation.graphs_in_budget or reservation.static_fraction or not problem.workload.decodes:
        return 0
    sizes = captured(problem, shape)
    return sizes * reservation.graph_bytes + sum(_graph_bytes(problem, sizes, block) for block in held)


def error_bytes(problem: Problem) -> int:
    """90% of logged rooms for the cache lie within this of what is derived: a share of a device's memory."""
    device, reservation = problem.hardware.device, problem.engine.reservation
    share = SHARED_ERROR if device.shared_with_host else reservation.error
    if device.vendor and device.vendor not in reservation.logged:
        share = max(share, UNLOGGED_ERROR)
    return device.exposed_memory * share.numerator // share.denominator


def layer_bytes(problem: Problem, shape: Shape, block: Block) -> int:
    """What the engine keeps on each device for every layer of a kind: its share of the captured graphs."""
    reservation = problem.engine.reservation
    if problem.limits.reserve is not None or not _captures(problem):
        return 0
    reserved = _graph_bytes(problem, captured(problem, shape), block)
    if block.moe is not None and reservation.low_latency_tokens and shape.dp > 1 and shape.ep > 1:
        dispatched = min(reservation.low_latency_tokens, largest_capture(problem, shape))
        reserved += block.moe.experts * dispatched * block.moe.expert_width(problem.model.hidden_size)
    return reserved


def _graph_bytes(problem: Problem, sizes: int, block: Block) -> int:
    """Graphs of a layer, of so many sizes."""
    reservation = problem.engine.reservation
    latent = reservation.graph_latent_layer_bytes if isinstance(block.keeps, Latents) else 0
    return sizes * (reservation.graph_layer_bytes + latent)


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
    defaults = problem.engine.reservation.defaults.of(problem.hardware.device)
    return problem.workload.max_num_seqs or min(defaults.sequences, default_tokens(problem))


def default_tokens(problem: Problem) -> int:
    """Tokens of the largest step that the engine keeps room for unless told."""
    defaults = problem.engine.reservation.defaults.of(problem.hardware.device)
    return problem.workload.max_num_batched_tokens or defaults.batched_tokens
