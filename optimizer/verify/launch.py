"""The judgement of a launch command: its layout at the largest batch that its operating point and memory allow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

from optimizer.domain.engines import ANY, before
from optimizer.domain.engines.reservation import GIB, StaticShare
from optimizer.domain.engines.sglang import REQUEST_POOL
from optimizer.domain.families import Family
from optimizer.domain.lattice import LARGEST_BATCH
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.figures.groups import groups
from optimizer.figures.memory import draft_weights
from optimizer.figures.rates import last_kept
from optimizer.figures.reserve import context_bytes, default_tokens, largest_capture
from optimizer.figures.room import room_of
from optimizer.figures.serving import Evaluation, default_chunk, evaluate
from optimizer.readers.launch.launch import SHARED_BUDGET
from optimizer.readers.launch.problem import Posed
from optimizer.verify.constraints import BLOCKING, batch, memory, structural_violations
from optimizer.verify.doubts import graphs_beside
from optimizer.verify.placement import placed_experts
from optimizer.verify.verdict import LayoutVerdict, judge_layout
from optimizer.verify.violation import Violation

LOW_LATENCY: Final = frozenset({"deepep_low_latency", "nixl_ep"})
"""Exchanges of experts for which vLLM takes fewer tokens a step (config/parallel.py use_batched_dp_moe)."""

TRAINING: Final = "memory and times of training: the degrees are judged, and the engine's rules"


@dataclass(frozen=True)
class LaunchVerdict:
    """A launch with the verdict on its layout."""

    posed: Posed
    verdict: LayoutVerdict
    not_checked: tuple[str, ...] = ()
    defaults: tuple[str, ...] = ()

    @property
    def assumed(self) -> tuple[str, ...]:
        """What was taken for granted, and what the command leaves to the engine."""
        return (*self.posed.assumed, *self.defaults)

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
            "assumed": list(self.assumed),
            "not_checked": list(self.not_checked),
        }


def judge_launch(posed: Posed) -> LaunchVerdict:
    """Judge the layout of a launch.

    An engine admits what fits, so that the layout is judged at the largest batch that memory and prefill allow, up to
    the one that the command names; it fits where at least one sequence does.

    Raises
    ------
    SpecError
        It is asked of another engine than the command's.
    """
    ours, asked = posed.launch.engine_name.partition("@")[0], posed.problem.engine.name
    if asked not in {ours, ANY}:
        raise posed.launch.error("--engine", f"a command of {ours} is no launch of {asked}: `solve --from` finds one")
    if posed.launch.training:
        layout = layout_of(posed)
        violated = structural_violations(posed.problem, layout)
        return LaunchVerdict(posed, LayoutVerdict(posed.problem, layout, None, violated, None, {}), (TRAINING,))
    stated = replace(posed, problem=as_stated(posed))
    started, defaults = as_started(stated)
    layout = layout_of(started)
    placed = None if started.placement is None else placed_experts(started.problem, layout, started.placement)
    verdict = judge_layout(_at(started, layout), layout, placed=placed)
    if verdict.evaluation is not None:
        violations = (
            *_request_table(started, verdict.evaluation), *_drafts(started, verdict.evaluation),
            *graphs_beside(started.problem, verdict.evaluation), *_sequence_blocks(started, verdict.evaluation),
            *_prefix_blocks(started, verdict.evaluation), *_no_requests(started, verdict.evaluation),
        )  # fmt: skip
        verdict = replace(verdict, violations=(*verdict.violations, *violations))
    if started.launch.operating.fits_length:
        shortest = started.problem.workload.model_copy(update={"max_model_len": None})
        verdict = replace(verdict, least=verdict.problem.changed(workload=shortest))
    verdict = _despite_unmodelled(started, verdict)
    if verdict.feasible:
        costs = () if verdict.despite else _unmodelled_costs(started)
        near = () if verdict.evaluation is None else _sequence_blocks(started, verdict.evaluation, least=True)
        doubts = (f"within the error of what is kept, {item.message}" for item in near)
        verdict = replace(
            verdict, beside=(*costs, *doubts, *posed.doubts, *_first_engine(posed), *_in_16_bits(started))
        )
    open_ = () if verdict.feasible else (*_padded(started, verdict), *posed.doubts)
    return LaunchVerdict(stated, verdict, open_, (*defaults, *_memory_share(started, layout)))


_OFFLOADED_GIB: Final = frozenset({"--cpu-offload-gb"})
"""Flags whose value is what they free of each device at most, in GiB: weights that lie on the host."""


def _despite_unmodelled(started: Posed, verdict: LayoutVerdict) -> LayoutVerdict:
    """The verdict with memory that is short as doubts, where a flag that is not modelled may change that."""
    helping = [item for item in started.unmodelled if item.influence != "takes"]
    short = verdict.violations
    if not helping or not short or any(violation.family is not Family.MEMORY for violation in short):
        return verdict
    bounds = [item.value if item.flag in _OFFLOADED_GIB else "" for item in helping]
    if all(bound.replace(".", "", 1).isdigit() for bound in bounds):
        freed = sum(Fraction(bound) for bound in bounds) * GIB
        if any(violation.numbers.get("needed_bytes", 0) - freed > _had(violation) for violation in short):
            return verdict
    flags = ", ".join(item.named for item in helping)
    doubts = (f"{flags}: changes memory and is not modelled; without it, {item.message}" for item in short)
    return replace(verdict, violations=(), despite=tuple(doubts))


def _had(violation: Violation) -> Fraction | int:
    """The bytes that there are, of which more are needed."""
    names = ("capacity_bytes", "room_bytes", "beside_bytes")
    return next((violation.numbers[name] for name in names if name in violation.numbers), 0)


def _unmodelled_costs(started: Posed) -> Iterator[str]:
    """Flags by which more memory may be taken than is derived."""
    for item in started.unmodelled:
        if item.influence != "frees":
            verb = "takes" if item.influence == "takes" else "changes"
            yield f"{item.named} {verb} memory of a device, which is not modelled"


def _request_table(started: Posed, evaluation: Evaluation) -> Iterator[Violation]:
    """SGLang's table of every request's tokens lies beside its share (mem_cache/memory_pool.py ReqToTokenPool).

    One row more than requests and four entries more than tokens, of 32 bits: 80.04 GiB of 2,048 requests of 10,485,760
    tokens (sglang issue 5755).
    """
    problem, length = started.problem, started.problem.workload.max_model_len
    if not problem.engine.reservation.static_fraction or length is None:
        return
    requests = _most_requests(started, evaluation)
    table = (requests + 1) * (length + 4) * 4
    beside = _beside_share(started, evaluation)
    if table > beside:
        yield Violation(
            Family.MEMORY,
            f"{problem.engine.title} does not start: its table of {requests:,} requests of {length:,} tokens takes "
            f"{table / GIB:.2f} of {beside / GIB:.2f} GiB beside its share of memory (--context-length, "
            "--max-running-requests)",
            {"needed_bytes": table, "beside_bytes": beside},
        )


def _beside_share(started: Posed, evaluation: Evaluation) -> int:
    """What SGLang leaves beside its share for weights and cache."""
    problem = started.problem
    device = problem.hardware.device.exposed_memory - context_bytes(problem, evaluation.shape)
    return int((1 - _share(started, evaluation)) * device)


def _drafts(started: Posed, evaluation: Evaluation) -> Iterator[Violation]:
    """A model's own drafts, where SGLang loads them when the cache has taken all of its share.

    Their weights, and a cache of as many tokens: of one layer, or of all.
    """
    problem, draft_cache = started.problem, started.problem.engine.reservation.drafts_beside
    if draft_cache == "none" or not problem.workload.mtp_tokens or problem.model.mtp is None:
        return
    model, room = problem.model, room_of(_at(started, evaluation.layout), evaluation.shape, evaluation.cuts)
    latent = model.latent
    layers = 1 if draft_cache == "own" or latent else model.layer_count
    cached = room.room_bytes * layers // model.layer_count
    weights = draft_weights(problem, evaluation.shape).total_bytes
    beside = _beside_share(started, evaluation)
    if weights + cached > beside:
        yield Violation(
            Family.MEMORY,
            f"{problem.engine.title} does not start: it loads the model's own drafts beside its share of memory, "
            f"{weights / GIB:.2f} GiB of weights and {cached / GIB:.2f} of cache ({layers} layers for {room.tokens:,} "
            f"tokens), where {beside / GIB:.2f} are left (--mem-fraction-static, --max-total-tokens)",
            {"needed_bytes": weights + cached, "beside_bytes": beside},
        )


def _sequence_blocks(started: Posed, evaluation: Evaluation, *, least: bool = False) -> Iterator[Violation]:
    """Every sequence that may be in flight has a block for its state, where graphs of whole steps are captured.

    Parameters
    ----------
    least
        Of the least room within the error of what the engine keeps, and with drafts, for which kernels of attention
        may leave such graphs out, or flags that change states.
    """
    problem, sequences = started.problem, started.problem.workload.max_num_seqs
    said, graphs = problem.cache.sequences_in_blocks, started.launch.operating.whole_graphs
    open_ = bool(problem.workload.mtp_tokens) or _states_told(started)
    if not said or not graphs or problem.workload.capture_sizes == () or sequences is None or open_ > least:
        return
    room = room_of(problem, evaluation.shape, evaluation.cuts)
    if room.state_blocks is None or room.room_bytes <= 0:
        return
    left = max(room.room_bytes - room.error_bytes, 0) if least and problem.limits.reserve is None else room.room_bytes
    blocks = room.state_blocks * left // room.room_bytes
    if blocks < sequences:
        message = said.format(sequences=sequences, blocks=blocks)
        yield Violation(
            Family.MEMORY, f"{problem.engine.title} does not start: {message} (--max-num-seqs)",
            {"needed_bytes": -(-room.room_bytes * sequences // room.state_blocks), "room_bytes": left},
        )  # fmt: skip


def _states_told(started: Posed) -> bool:
    """Whether a flag changes states of linear attention in a way that is not modelled."""
    return any(item.influence == "states" for item in started.launch.ignored)


def _no_requests(started: Posed, evaluation: Evaluation) -> Iterator[Violation]:
    """The pool of states has room for a request."""
    problem = started.problem
    room = room_of(problem, evaluation.shape, evaluation.cuts)
    if problem.cache.serves_none and room.requests == 0 and not _states_told(started):
        yield Violation(
            Family.MEMORY,
            f"{problem.engine.title} does not start: {problem.cache.serves_none} (--mem-fraction-static)",
            {"room_bytes": room.room_bytes},
        )


def _prefix_blocks(started: Posed, evaluation: Evaluation) -> Iterator[Violation]:
    """A step takes a block at least where prefixes with states of linear attention are cached."""
    problem, shape = started.problem, evaluation.shape
    said, grouped, tokens = problem.cache.prefix_in_step, groups(problem, shape.tp), default_tokens(problem)
    if not said or grouped is None or grouped.states < 2 or grouped.block_tokens <= tokens:
        return
    message = said.format(block=grouped.block_tokens, tokens=tokens)
    yield Violation(
        Family.ENGINE, f"{problem.engine.title} does not start: {message} (--max-num-batched-tokens)",
        {"needed_tokens": grouped.block_tokens, "step_tokens": tokens},
    )  # fmt: skip


FIRST_ENGINE: Final = "vllm@0.6.6"
"""vLLM's V0, which later releases still hold."""


def _first_engine(posed: Posed) -> Iterator[str]:
    """What may not fit where a release runs its first engine (V0), which computes such prompts in one step."""
    problem, launch, point = posed.problem, posed.launch, posed.launch.operating
    until, version = problem.engine.reservation.falls_back, problem.engine_name.partition("@")[2]
    if not until or not before(version or problem.engine.version, until):
        return
    chunk_stated = point.max_num_batched_tokens is not None or point.chunked_prefill is not None
    latent = problem.model.latent
    if chunk_stated or launch.environment.get("VLLM_USE_V1") == "1" or not (latent or problem.model.vision is not None):
        return
    first = judge_launch(replace(posed, problem=problem.changed(engine_name=FIRST_ENGINE), unmodelled=())).verdict
    if first.fits != "yes":
        why = first.violations[0].message if first.violations else first.doubts[0]
        yield (
            f"{problem.engine.title} holds two engines, and a command does not tell which runs: the first (V0) "
            f"computes a prompt of this model in one step (--max-num-batched-tokens, VLLM_USE_V1=1). By it, {why}"
        )


def _padded(started: Posed, verdict: LayoutVerdict) -> Iterator[str]:
    """Whether widths were padded to whole groups is not in a name: Qwen's 72B in 4 bit have 29,696 for 29,568."""
    only = all("rule quantisation_groups" in violation.message for violation in verdict.violations)
    if only and started.named is not None and started.named.startswith("int4"):
        yield "whether the checkpoint pads its widths to whole groups, which would let this run: its config.json says"


_KEPT: Final = ("fp8", "nvfp4", "mxfp")
"""Formats, by how they begin, whose checkpoints may keep attention in 16 bits."""


def _in_16_bits(started: Posed) -> Iterator[str]:
    """What a checkpoint's name leaves open: whether attention is quantised too, where it matters to the answer.

    Meta's FP8 checkpoints quantise feed-forward layers alone (arXiv 2407.21783 section 6.2), others every matrix, as do
    those in blocks (Qwen's and DeepSeek's).
    """
    problem, precision = started.problem, started.problem.precision
    if started.named is None or not started.named.startswith(_KEPT) or precision.attention is not None:
        return
    if precision.weights == "fp8_block":
        return
    unquantised = problem.model.model_copy(update={"precision": precision.model_copy(update={"attention": "bf16"})})
    reposed = replace(started, problem=problem.changed(model=unquantised))
    layout = started.launch.layout(problem.workload, experts=unquantised.moe is not None, batch=1)
    judged = judge_layout(_at(reposed, layout), layout)
    if judged.violations:
        yield (
            "the checkpoint's name leaves open whether attention is kept in 16 bits, as in Meta's FP8 and most NVIDIA "
            f"NVFP4 ones do: then this does not run, {judged.violations[0].message}; its config.json says (--model)"
        )


def as_stated(posed: Posed) -> Problem:
    """The problem at the operating point that the command states, where a better layout may have another."""
    problem, launch, point = posed.problem, posed.launch, posed.launch.operating
    stated = {
        "max_num_seqs": point.max_num_seqs, "capture_sizes": point.capture_sizes, "max_model_len": point.max_model_len,
        "max_num_batched_tokens": point.max_num_batched_tokens if launch.engine in SHARED_BUDGET else None,
        "hybrid_cache": point.hybrid_cache, "prefix_caching": point.prefix_caching,
        "async_scheduling": point.async_scheduling,
    }  # fmt: skip
    if launch.dcp > 1:
        stated["decode_context_parallel"] = launch.dcp
    work = problem.workload.model_copy(update={name: value for name, value in stated.items() if value is not None})
    limits = problem.limits
    if point.kv_cache_memory is not None and limits.kv_cache_memory is None:
        limits = limits.model_copy(update={"kv_cache_memory": point.kv_cache_memory})
    return problem.changed(workload=work, limits=limits)


def as_started(posed: Posed) -> tuple[Posed, tuple[str, ...]]:
    """The same with what the engine takes where the command says nothing, and those values in words."""
    problem, launch, point = posed.problem, posed.launch, posed.launch.operating
    engine, device = problem.engine, problem.hardware.device
    defaults, tier = engine.reservation.defaults, engine.reservation.defaults.of(device)
    work, twice = problem.workload, 2 if point.doubled else 1
    filled: dict[str, int] = {}
    length = work.max_model_len
    if length is None and problem.model.max_context is not None:
        length = filled["max_model_len"] = problem.model.max_context
    tokens = point.max_num_batched_tokens
    if tokens is None:
        shared_out = 1 if launch.engine in SHARED_BUDGET else launch.dense["dp"]
        tokens = max(1, tier.batched_tokens * twice // shared_out)
        apart = launch.degrees["ep"] > 1 and launch.dense["dp"] > 1
        if defaults.low_latency_tokens and point.all2all in LOW_LATENCY and apart:
            tokens = defaults.low_latency_tokens * twice
        whole_prompts = defaults.whole_prompts if point.chunked_prefill is None else 0
        of_a_kind = problem.model.vision is not None or problem.model.latent
        if defaults.whole_kinds and of_a_kind and point.chunked_prefill is None:
            whole_prompts = length or 0
        if launch.engine == "vllm" and (point.chunked_prefill is False or (length or 0) <= whole_prompts):
            tokens = max(tokens, length or 0)
        filled["max_num_batched_tokens"] = tokens
    if point.max_num_seqs is None and not engine.reservation.static_fraction:
        filled["max_num_seqs"] = min(tier.sequences * twice, tokens)
    shared = launch.engine in SHARED_BUDGET
    update = {name: value for name, value in filled.items() if shared or name != "max_num_batched_tokens"}
    operating = point if shared else replace(point, max_num_batched_tokens=tokens)
    started = replace(
        posed, problem=problem.changed(workload=work.model_copy(update=update)),
        launch=replace(launch, operating=operating),
    )  # fmt: skip
    known = "the longest that the model knows"
    if point.fits_length and length is not None:
        held = _longest_held(started, length)
        if held < length:
            filled["max_model_len"], known = held, f"the longest that its cache holds, of {length:,}"
            fitted = started.problem.workload.model_copy(update={"max_model_len": held})
            started = replace(started, problem=started.problem.changed(workload=fitted))
    where = f"default of {engine.title} on {device.name}"
    notes = {name: f"{name} {value:,}: {known if name == 'max_model_len' else where}" for name, value in filled.items()}
    return started, tuple(notes.values())


def _longest_held(posed: Posed, longest: int) -> int:
    """Tokens of the longest sequence that the cache holds, none longer; no fewer than those of a request."""
    problem, launch = posed.problem, posed.launch
    layout = launch.layout(problem.workload, experts=problem.model.moe is not None, batch=1)
    if any(item.family in BLOCKING for item in structural_violations(problem, layout)):
        return longest
    evaluation = evaluate(problem, layout)
    held = room_of(problem, evaluation.shape, evaluation.cuts).longest_context
    return min(longest, max(held, problem.workload.held_tokens)) if held else longest


def _memory_share(posed: Posed, layout: Layout) -> Iterator[str]:
    """The share of memory that the engine takes where neither the command nor the problem says one."""
    problem, point = posed.problem, posed.launch.operating
    limits = problem.limits
    if point.memory_utilization is not None or (limits.memory_utilization or limits.mem_fraction_static) is not None:
        return
    if problem.limits.kv_cache_memory is None:
        share = _share(posed, evaluate(problem, layout))
        yield f"{problem.engine.name} memory share {float(share):.3g}: default of {problem.engine.title}"


def _share(posed: Posed, evaluation: Evaluation) -> Fraction:
    """The share of memory that the engine is told, as it means it, or that it chooses."""
    problem, point = posed.problem, posed.launch.operating
    choose, device = problem.engine.reservation.static_fraction, problem.hardware.device
    if problem.limits.mem_fraction_static is not None:
        return problem.limits.mem_fraction_static
    if point.memory_utilization is not None:
        return point.memory_utilization
    if choose is None:
        return problem.memory_utilization
    shape = evaluation.shape
    vision = problem.model.vision
    return choose(
        StaticShare(
            device, width=shape.stage_devices, pp=shape.pp, attention_dp=shape.dp,
            chunk=(point.max_num_batched_tokens or 1) * shape.dp, capture=largest_capture(problem, shape),
            latent=problem.model.latent,
            deepep=point.all2all == "deepep", drafts=bool(problem.workload.mtp_tokens),
            vision_parameters=0 if vision is None else vision.parameters,
        )
    )  # fmt: skip


def _at(posed: Posed, layout: Layout) -> Problem:
    """The problem with the memory that an engine gives a layout, where its share is not that of all it holds.

    TensorRT-LLM (_util.py) gives the cache a share of what all others leave.
    """
    problem = posed.problem
    reservation = problem.engine.reservation
    if not (reservation.static_fraction or reservation.free_fraction):
        return problem
    evaluation = evaluate(problem, layout)
    device, share = problem.hardware.device.exposed_memory, _share(posed, evaluation)
    if reservation.static_fraction:
        stated = {"mem_fraction_static": share, "memory_utilization": None}
        return problem.changed(limits=problem.limits.model_copy(update=stated))
    stage = max(evaluation.memory, key=lambda memory: memory.total_bytes)
    beside_cache = stage.total_bytes - stage.kv_cache_bytes
    room = int(share * (device - beside_cache))
    if problem.limits.kv_cache_memory is not None:
        room = min(room, problem.limits.kv_cache_memory)
    used = min(Fraction(1), max(Fraction(1, 1000), Fraction(beside_cache + room, device)))
    return problem.changed(
        limits=problem.limits.model_copy(update={"memory_utilization": used, "kv_cache_memory": max(room, 1)})
    )


def layout_of(posed: Posed) -> Layout:
    """The layout of a launch at the largest batch that fits; at one sequence where none does."""
    problem, launch = posed.problem, posed.launch
    experts, point = problem.model.moe is not None, launch.operating

    def at(batch: int) -> Layout:
        layout = launch.layout(problem.workload, experts=experts, batch=batch)
        if layout.prefill_chunk is None or launch.engine in SHARED_BUDGET or "prefill_chunk" in launch.places:
            return layout
        # of short prompts no more are computed in a step than come
        usual = default_chunk(problem, layout.micro_batch)
        return layout.model_copy(update={"prefill_chunk": min(layout.prefill_chunk, usual)})

    if launch.training:
        return at(point.max_num_seqs or 1)
    if any(item.family in BLOCKING for item in structural_violations(problem, at(1))):
        return at(1)
    most = _most_sequences(posed, at(1))
    if _holds(posed, at(most)):
        return at(most)
    held = last_kept(lambda sequences: _holds(posed, at(sequences)), 1, most)
    looped = problem.workload.in_flight(at(1).dp)
    if looped is not None and held < looped:
        # of a loop that is too much for prompts it is said at all that memory has room for
        held = max(held, last_kept(lambda sequences: _has_room(posed, at(sequences)), 1, min(most, looped) + 1))
    return at(held)


def _most_sequences(posed: Posed, layout: Layout) -> int:
    """Sequences in flight of a rank at most, as the command says or the engine chooses."""
    problem, stated = posed.problem, posed.problem.workload.max_num_seqs
    if not problem.engine.reservation.static_fraction:
        return min(stated or LARGEST_BATCH, LARGEST_BATCH)
    evaluation = evaluate(_at(posed, layout), layout)
    return _most_requests(posed, evaluation)


def _most_requests(posed: Posed, evaluation: Evaluation) -> int:
    """Requests of a rank that SGLang holds at most, as the command says or by its cache."""
    room = room_of(_at(posed, evaluation.layout), evaluation.shape, evaluation.cuts)
    least, most = REQUEST_POOL
    pool = min(max(room.tokens * 512 // room.length, least), most)
    return max(1, min(posed.problem.workload.max_num_seqs or pool, room.tokens // 2, room.requests or pool))


def _has_room(posed: Posed, layout: Layout) -> bool:
    problem = _at(posed, layout)
    return not any(memory(problem, evaluate(problem, layout)))


def _holds(posed: Posed, layout: Layout) -> bool:
    problem = _at(posed, layout)
    evaluation = evaluate(problem, layout)
    return not (any(memory(problem, evaluation)) or any(batch(problem, evaluation)))
