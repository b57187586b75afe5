"""What fits as expected and may not: a figure whose error straddles a limit, and graphs beside a share of memory."""

from __future__ import annotations

from collections.abc import Iterator

from optimizer.domain.engines import ANY
from optimizer.domain.engines.reservation import GIB
from optimizer.domain.families import Family
from optimizer.domain.problem import Problem
from optimizer.figures.reserve import HOST_BYTES, beside_bytes, context_bytes, default_tokens, error_bytes
from optimizer.figures.room import room_of
from optimizer.figures.serving import Evaluation
from optimizer.verify.violation import Violation


def _beside(problem: Problem, evaluation: Evaluation) -> tuple[int, int]:
    """Captured graphs of the fullest stage beside the engine's share of memory, and what lies beside it."""
    blocks, names = problem.model.blocks, problem.model.layer_names
    graphs, first = 0, 0
    for layers in evaluation.cuts:
        stage_blocks = [blocks[name] for name in names[first : first + layers]]
        graphs, first = max(graphs, beside_bytes(problem, evaluation.shape, stage_blocks)), first + layers
    return graphs, problem.hardware.device.exposed_memory - problem.capacity_bytes


def _cache(problem: Problem, evaluation: Evaluation) -> tuple[str, ...]:
    """Whether the longest sequence may find no room."""
    reservation, share = problem.engine.reservation, problem.limits.kv_cache_memory is None
    pictures = _pictures(problem)
    error = error_bytes(problem) + pictures
    room = room_of(problem, evaluation.shape, evaluation.cuts)
    needed = room.checked_bytes if problem.cache.admits_longest else 0
    if not (share or reservation.static_fraction or reservation.free_fraction) or room.room_bytes - error >= needed:
        return ()
    demand = f"one sequence of {room.length:,} tokens takes {needed / GIB:.2f}" if needed else "it may all be taken"
    message = (
        f"{max(0, room.room_bytes) / GIB:.2f} GiB are left for the cache as expected, as little as "
        f"{max(0, room.room_bytes - error) / GIB:.2f} within the error of what {problem.engine.title} keeps "
        f"({error / GIB:.2f} GiB{', of pictures too,' if pictures else ''} in 90% of logs); {demand}"
    ) + (
        "; flash-attn, where it is installed, fuses the attention of pictures"
        if pictures > reservation.vision_bytes
        else ""
    )
    return (message,)


def _pictures(problem: Problem) -> int:
    """What a step of pictures may take at most beside what is derived."""
    vision, reservation = problem.model.vision, problem.engine.reservation
    if vision is None:
        return 0
    return max(
        reservation.vision_bytes, vision.score_bytes * default_tokens(problem) ** 2 if reservation.vision_scores else 0
    )


def _unchecked(problem: Problem, evaluation: Evaluation) -> Iterator[str]:
    """A cache that holds no longest sequence, of an engine whose check lets it start all the same."""
    cache, engine = problem.cache, problem.engine
    if cache.admits_longest or not engine.cache.admits_longest or problem.workload.max_model_len is None:
        return
    room = room_of(problem, evaluation.shape, evaluation.cuts)
    if room.concurrency < 1:
        counted = "windows and chunks alone, where every layer holds every token" if cache.whole else (
            "the first group of layers alone"
        )  # fmt: skip
        yield (
            f"{engine.title} starts, since it counts {counted}; its cache holds {float(room.concurrency):.2f} of a "
            f"sequence of {room.length:,} tokens"
        )


def _loaded(problem: Problem, evaluation: Evaluation) -> Iterator[str]:
    """Experts in groups of 4 bit that stand beside their repacked form."""
    model, precision = problem.model, problem.precision
    in_groups = (precision.experts or precision.weights).startswith("int4")
    if not problem.engine.reservation.holds_loaded_experts or model.latent or not in_groups:
        return
    for stage in evaluation.memory:
        weights = stage.weights_bytes + stage.expert_weights_bytes + stage.replicated_weights_bytes
        needed = weights + stage.expert_weights_bytes + context_bytes(problem, evaluation.shape)
        if needed > problem.hardware.device.exposed_memory:
            yield (
                f"{problem.engine.title} holds the experts of GPTQ and AWQ checkpoints as they were loaded beside "
                f"those repacked for Marlin: weights of {weights / GIB:.2f} GiB then take "
                f"{(weights + stage.expert_weights_bytes) / GIB:.2f}"
            )
            return


def _cache_offline(problem: Problem, evaluation: Evaluation) -> tuple[str, ...]:
    """The same in steps as an engine takes them without a server, where nothing says how many tokens a step takes."""
    tokens = problem.engine.reservation.defaults.of(problem.hardware.device).offline_tokens
    if not tokens or problem.workload.max_num_batched_tokens or evaluation.layout.prefill_chunk:
        return ()
    work = problem.workload.model_copy(update={"max_num_batched_tokens": tokens})
    return tuple(
        f"without a server {problem.engine.title} takes steps of {tokens:,} tokens unless told; then {message} "
        "(state max_num_batched_tokens)"
        for message in _cache(problem.changed(workload=work), evaluation)
    )


def graphs_beside(problem: Problem, evaluation: Evaluation) -> Iterator[Violation]:
    """Before 0.21 vLLM captures its graphs when the cache has taken all of its share: out of the rest."""
    graphs, beside = _beside(problem, evaluation)
    if graphs and graphs > beside and problem.limits.kv_cache_memory is None:
        yield Violation(
            Family.MEMORY,
            f"{problem.engine.title} runs out of memory while it captures graphs: they take {graphs / GIB:.2f} of "
            f"{beside / GIB:.2f} GiB beside its share of memory (--gpu-memory-utilization, --enforce-eager)",
            {"needed_bytes": graphs, "beside_bytes": beside},
        )


def doubts(problem: Problem, evaluation: Evaluation) -> Iterator[str]:
    """What of a layout that fits as expected does not within the error of what its engine keeps."""
    if problem.engine.name == ANY or problem.limits.reserve is not None:
        return
    reservation, share = problem.engine.reservation, problem.limits.kv_cache_memory is None
    yield from _cache(problem, evaluation) or _cache_offline(problem, evaluation)
    yield from _unchecked(problem, evaluation)
    yield from _loaded(problem, evaluation)
    graphs, beside = _beside(problem, evaluation)
    device = problem.hardware.device
    most = max(graphs + int(reservation.graph_error * device.exposed_memory), reservation.graph_most_bytes)
    if share and graphs and most > beside:
        yield (
            f"captured graphs take {graphs / GIB:.2f} GiB as expected, as much as {most / GIB:.2f} within their error; "
            f"{beside / GIB:.2f} lie beside the share of memory of {problem.engine.title}"
        )
    free = device.exposed_memory - HOST_BYTES
    if share and device.shared_with_host and problem.capacity_bytes > free:
        yield (
            f"{problem.engine.title} asks for {problem.capacity_bytes / GIB:.2f} GiB that are free when it starts; the "
            f"host, which shares the memory, leaves {free / GIB:.2f} as expected"
        )
