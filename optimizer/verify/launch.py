"""The judgement of a launch command: its layout at the largest batch that its operating point and memory allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from optimizer.domain.attention import LatentAttention
from optimizer.domain.engines import sglang
from optimizer.domain.families import Family
from optimizer.domain.lattice import LARGEST_BATCH
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.figures.reserve import fixed_bytes
from optimizer.figures.room import room_of
from optimizer.figures.serving import evaluate
from optimizer.readers.launch.launch import SHARED_BUDGET
from optimizer.readers.launch.problem import Posed
from optimizer.units import Dimension
from optimizer.verify.constraints import BLOCKING, priced_violations, structural_violations
from optimizer.verify.verdict import Verdict, judge_layout
from optimizer.verify.violation import Violation, against

SEQUENCES: Final[Mapping[str, int]] = {"vllm": 1024, "sglang": 4096, "trtllm": 2048}
"""Sequences in flight of a rank where a command does not say (vLLM 0.33 EngineArgs on 70 GiB and more; SGLang's largest
pool of requests; TensorRT-LLM's max_batch_size)."""

TRAINING: Final = "memory and times of training: the degrees are judged, and the engine's rules"

_GROWING: Final = frozenset({Family.MEMORY, Family.BATCH})
"""What a smaller batch may mend."""


@dataclass(frozen=True)
class LaunchVerdict:
    """A launch with the verdict on its layout."""

    posed: Posed
    verdict: Verdict
    not_checked: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """``shardproof/verdict/1`` with the command."""
        launch = self.posed.launch
        return self.verdict.to_json() | {
            "command": {
                "engine": launch.engine,
                "version": launch.version,
                "flags": launch.flags,
                "ignored": [item.to_json() for item in launch.ignored],
            },
            "assumed": list(self.posed.assumed),
            "not_checked": list(self.not_checked),
        }


def judge_launch(posed: Posed) -> LaunchVerdict:
    """Judge the layout of a launch.

    An engine admits what fits, so that the layout is judged at the largest batch that memory and prefill allow, up to
    the one that the command names; it fits where at least one sequence does.
    """
    if posed.launch.training:
        layout = layout_of(posed)
        found = structural_violations(posed.problem, layout)
        return LaunchVerdict(posed, Verdict(posed.problem, layout, None, found, None, {}), (TRAINING,))
    posed = replace(posed, problem=as_launched(posed))
    layout = layout_of(posed)
    problem = _at(posed, layout)
    verdict = judge_layout(problem, layout, redundant=posed.launch.operating.redundant_slots)
    refused = tuple(unstarted(problem, verdict))
    return LaunchVerdict(posed, replace(verdict, violations=(*verdict.violations, *refused)))


def as_launched(posed: Posed) -> Problem:
    """The problem at the operating point that the command states, where a better layout may have another."""
    problem, launch, point = posed.problem, posed.launch, posed.launch.operating
    shared = launch.engine in SHARED_BUDGET
    length = point.max_model_len
    if length is None and problem.engine.cache.admits_longest and not launch.fits_length:
        length = problem.model.max_context
    stated = {
        "max_num_seqs": point.max_num_seqs, "capture_sizes": point.capture_sizes, "max_model_len": length,
        "max_num_batched_tokens": point.max_num_batched_tokens if shared else None,
    }  # fmt: skip
    if launch.dcp > 1:
        stated["decode_context_parallel"] = launch.dcp
    work = problem.workload.model_copy(update={name: value for name, value in stated.items() if value is not None})
    limits = problem.limits
    if point.kv_cache_memory is not None and limits.kv_cache_memory is None:
        limits = limits.model_copy(update={"kv_cache_memory": point.kv_cache_memory})
    return problem.changed(workload=work, limits=limits)


def _at(posed: Posed, layout: Layout) -> Problem:
    """The problem with the memory that an engine gives a layout, where its share is that of weights and cache alone.

    SGLang (kv_cache_configurator.py) keeps share · (memory − context) for both; a step's tensors and the graphs come
    out of the rest, so that all of it may be used.
    """
    problem, point = posed.problem, posed.launch.operating
    if not problem.engine.reservation.static_fraction:
        return problem
    evaluation = evaluate(problem, layout, redundant=point.redundant_slots)
    shape, device = evaluation.shape, problem.hardware.device.exposed_memory
    share = point.memory_utilization
    if share is None:
        capture = point.capture_sizes
        share = sglang.automatic_fraction(
            device, tp=shape.stage_devices, pp=shape.pp, attention_dp=shape.dp, chunk=point.max_num_batched_tokens,
            capture=None if capture is None else max(capture, default=0), deepep=point.all2all == "deepep",
            latent=any(isinstance(block.attention, LatentAttention) for block in problem.model.blocks.values()),
        )  # fmt: skip
    stage = max(evaluation.memory, key=lambda one: one.total_bytes)
    beside = stage.activations_bytes + stage.reserve_bytes
    static = share * (device - fixed_bytes(problem, shape))
    room = int(static) - (stage.total_bytes - stage.kv_cache_bytes - beside)
    stated = {"memory_utilization": min(Fraction(1), (static + beside) / device), "kv_cache_memory": max(room, 1)}
    return problem.changed(limits=problem.limits.model_copy(update=stated))


def unstarted(problem: Problem, verdict: Verdict) -> Iterator[Violation]:
    """An engine that asks its cache to hold one sequence of `max_model_len` does not start where it cannot."""
    length, evaluation = problem.workload.max_model_len, verdict.evaluation
    if length is None or evaluation is None or not problem.engine.cache.admits_longest:
        return
    if any(violation.family is Family.MEMORY for violation in verdict.violations):
        return
    room = room_of(problem, evaluation.shape, evaluation.cuts)
    if room.longest_context >= length:
        return
    left = against(room.request_bytes, max(room.room_bytes, 0), Dimension.BYTES, "of")
    yield Violation(
        Family.MEMORY,
        f"{problem.engine.title} does not start: one sequence of max_model_len {length:,} needs {left} left for the "
        f"cache, which holds one of {room.longest_context:,} tokens at most",
        {"needed_bytes": room.request_bytes, "room_bytes": room.room_bytes, "longest": room.longest_context},
    )


def layout_of(posed: Posed) -> Layout:
    """The layout of a launch at the largest batch that fits; at one sequence where none does."""
    problem, launch = posed.problem, posed.launch
    experts = problem.model.moe is not None
    most = launch.operating.max_num_seqs or SEQUENCES.get(launch.engine, LARGEST_BATCH)

    def at(batch: int) -> Layout:
        return launch.layout(problem.workload, experts=experts, batch=batch)

    redundant = launch.operating.redundant_slots
    if launch.training:
        return at(launch.operating.max_num_seqs or 1)
    if any(item.family in BLOCKING for item in structural_violations(problem, at(1), redundant=redundant)):
        return at(1)
    low, high = 1, most
    if _holds(posed, at(most), redundant):
        return at(most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _holds(posed, at(middle), redundant) else (low, middle)
    return at(low)


def _holds(posed: Posed, layout: Layout, redundant: int) -> bool:
    problem = _at(posed, layout)
    evaluation = evaluate(problem, layout, redundant=redundant)
    return not any(item.family in _GROWING for item in priced_violations(problem, evaluation))
