"""Bytes of the fullest device by part, with derivations, and totals over all devices."""

from __future__ import annotations

from fractions import Fraction

from optimizer.domain.problem import Problem
from optimizer.figures.derivation_figure import Sheet, shown
from optimizer.figures.memory import build_memory, draft_weights, sequence_tokens
from optimizer.figures.room import Room, room_of
from optimizer.figures.serving import Evaluation
from optimizer.figures.steps import prefilling_sequences
from optimizer.units import Dimension

PARTS = (
    "weights_bytes",
    "replicated_weights_bytes",
    "expert_weights_bytes",
    "kv_cache_bytes",
    "activations_bytes",
    "reserve_bytes",
)
"""Disjoint parts that add up to `memory_bytes`."""


def _b(value: int) -> str:
    return shown(value, Dimension.BYTES)


def memory(sheet: Sheet, problem: Problem, evaluation: Evaluation) -> None:
    """Memory of the fullest device and its parts."""
    stages, layout, shape = evaluation.memory, evaluation.layout, evaluation.shape
    number = max(range(len(stages)), key=lambda i: stages[i].total_bytes)
    stage = stages[number]
    where = f"stage {number}"
    first = sum(evaluation.cuts[:number])
    names = problem.model.layer_names[first : first + evaluation.cuts[number]]
    coefficients = build_memory(problem, shape)
    steps, work = evaluation.steps, problem.workload
    sequences = layout.batch

    put = sheet.put
    values = {part: getattr(stage, part) for part in PARTS}
    put(
        "memory_bytes",
        stage.total_bytes,
        Dimension.BYTES,
        "weights + replicated weights + expert weights + KV cache + activations + reserve",
        " + ".join(_b(values[part]) for part in PARTS),
        inputs=values,
    )
    put(
        "weights_bytes",
        stage.weights_bytes,
        Dimension.BYTES,
        f"Σ {len(names)} layers of {where} of tensors divided over tp={layout.tp}, embedding and head on their stages",
        inputs={"layers": len(names), "tp": layout.tp},
    )
    put(
        "replicated_weights_bytes",
        stage.replicated_weights_bytes,
        Dimension.BYTES,
        f"Σ {len(names)} layers of {where} of tensors that every rank holds whole (norms, routers, latents)",
        inputs={"layers": len(names)},
    )
    _expert_weights(sheet, problem, evaluation, number)
    kinds = [coefficients.order[i] for i in range(first, first + evaluation.cuts[number])]
    per_sequence, extra = (
        sum(sizes[kind] for kind in kinds) for sizes in (coefficients.sequence, coefficients.admission)
    )
    put(
        "kv_cache_bytes",
        stage.kv_cache_bytes,
        Dimension.BYTES,
        f"sequences in flight · bytes of one of {sequence_tokens(problem):,} tokens in {where}"
        + (" + what one needs more while its prompt is computed" if extra else ""),
        f"{sequences:,} · {_b(per_sequence)}" + (f" + {_b(extra)}" if extra else ""),
        inputs={"sequences": sequences, "bytes_per_sequence": per_sequence, "admission_bytes": extra},
    )
    sheet.count(
        "sequences_in_prefill",
        prefilling_sequences(work, layout.batch, layout.pp, steps),
        "min(batch, pp · prompts that share a step): of the sequences in flight, those whose prompt is being computed",
    )
    put(
        "kv_cache_bytes_per_sequence",
        coefficients.stack_sequence(),
        Dimension.BYTES,
        f"Σ layers of cached bytes of one rank for a sequence of {sequence_tokens(problem):,} tokens",
    )
    per_token = Fraction(coefficients.stack_sequence(), sequence_tokens(problem))
    put(
        "kv_cache_bytes_per_token",
        per_token,
        Dimension.BYTES,
        "bytes of a sequence ÷ its tokens, one rank, all layers",
        f"{_b(coefficients.stack_sequence())} ÷ {sequence_tokens(problem):,}",
    )
    largest = steps.largest
    sampled = largest.decoded + largest.passes
    put(
        "activations_bytes",
        stage.activations_bytes,
        Dimension.BYTES,
        "max(bytes a token · tokens, sampler bytes · sampled + hidden bytes · tokens + sampler's own) of a step",
        f"max({_b(coefficients.token_bytes)} · {largest.tokens:,}, {_b(coefficients.sampled_bytes)} · {sampled:,} + "
        f"{_b(coefficients.hidden_bytes)} · {largest.tokens:,} + {_b(coefficients.sampler_bytes)})",
        inputs={"tokens": largest.tokens, "sampled": sampled},
    )
    put(
        "reserve_bytes",
        stage.reserve_bytes,
        Dimension.BYTES,
        f"runtime and graphs of engine {problem.engine_name!r}",
        inputs={"source": problem.engine.source},
    )
    weights = stage.weights_bytes + stage.replicated_weights_bytes + stage.expert_weights_bytes
    put(
        "model_weights_bytes",
        weights,
        Dimension.BYTES,
        "weights + replicated weights + expert weights",
        " + ".join(_b(values[part]) for part in PARTS[:3]),
    )
    _room(sheet, problem, evaluation)
    _totals(sheet, evaluation)
    device = problem.hardware.device
    put(
        "memory_utilization",
        Fraction(stage.total_bytes, device.exposed_memory),
        Dimension.RATIO,
        "memory ÷ exposed memory of a device",
        f"{_b(stage.total_bytes)} ÷ {_b(device.exposed_memory)}",
    )
    headroom = problem.capacity_bytes - stage.total_bytes
    put(
        "memory_headroom_bytes",
        headroom,
        Dimension.BYTES,
        "exposed memory · memory_utilization − memory",
        f"{_b(problem.capacity_bytes)} − {_b(stage.total_bytes)}",
    )


def _room(sheet: Sheet, problem: Problem, evaluation: Evaluation) -> None:
    """What the engine allocates for the cache of one data-parallel rank, and what that holds."""
    room = room_of(problem, evaluation.shape, evaluation.cuts)
    stated = problem.limits.kv_cache_memory is not None
    sheet.put(
        "kv_cache_room_bytes",
        room.room_bytes,
        Dimension.BYTES,
        "limits.kv_cache_memory"
        if stated
        else "min over stages of exposed memory · memory_utilization − weights − "
        "reserve − tensors of the largest step that the engine sizes itself for",
        ""
        if stated
        else f"{_b(problem.capacity_bytes)} − {_b(room.weights_bytes)} − {_b(room.reserve_bytes)} − "
        f"{_b(room.working_bytes)}",
        inputs={"working_bytes": room.working_bytes, "error_bytes": room.error_bytes},
        error=room.error_bytes,
    )
    share = Fraction(room.error_bytes, max(room.room_bytes, 1))
    sheet.put(
        "kv_cache_tokens",
        room.tokens,
        Dimension.COUNT,
        _tokens_formula(problem, room),
        error=room.tokens * share,
    )
    sheet.put(
        "max_concurrency",
        room.concurrency,
        Dimension.COUNT,
        *_concurrency_text(room),
        inputs={"max_model_len": room.length},
        error=room.concurrency * share,
    )
    sheet.put(
        "longest_context_tokens",
        room.longest_context,
        Dimension.COUNT,
        "longest sequence whose cache fits the room of every stage",
        error=room.longest_context * share,
    )
    for name in ("kv_cache_tokens", "max_concurrency"):
        figure = sheet[name]
        sheet.put(
            f"total_{name}",
            figure.value * evaluation.layout.dp,
            Dimension.COUNT,
            f"{name} · data-parallel ranks",
            f"{figure.result_text} · {evaluation.layout.dp}",
            error=figure.error * evaluation.layout.dp,
        )


def _tokens_formula(problem: Problem, room: Room) -> str:
    if room.requests is not None:
        return "min over stages of what slots for the states of requests leave of the room ÷ bytes of a token"
    each = "min over stages of room ÷ bytes of a block · tokens of a block "
    if problem.cache.tokens_by_groups:
        return each + "(÷ groups of layers where they differ)"
    return each + "(concurrency · max_model_len where layers differ)"


def _concurrency_text(room: Room) -> tuple[str, str]:
    """How many sequences there is room for: the formula, and its numbers."""
    if room.requests is not None:
        return (
            "min(kv_cache_tokens ÷ tokens of a sequence, requests that the pool of states has slots for)",
            f"min({room.tokens:,} ÷ {room.length:,}, {room.requests:,})",
        )
    whole = "min over stages of room, in whole blocks where groups of layers share them"
    return (
        f"{whole}, ÷ bytes of a sequence of {room.length:,} tokens as it is admitted",
        f"{_b(max(room.request_room_bytes, 0))} ÷ {_b(room.request_bytes)}",
    )


def _expert_weights(sheet: Sheet, problem: Problem, evaluation: Evaluation, number: int) -> None:
    shape, model = evaluation.shape, problem.model
    first = sum(evaluation.cuts[:number])
    names = model.layer_names[first : first + evaluation.cuts[number]]
    kinds = {name: names.count(name) for name in names if model.blocks[name].moe is not None}
    coefficients = build_memory(problem, shape)
    order = list(dict.fromkeys(model.layer_names))
    terms = []
    for name, layers in kinds.items():
        moe = model.blocks[name].moe
        assert moe is not None  # noqa: S101 - filtered above
        local = shape.local_experts(moe.experts)
        expert_bytes = coefficients.weights[order.index(name)].expert_bytes // local
        terms.append(f"{local} · {_b(expert_bytes)} · {layers}")
    drafts = draft_weights(problem, shape).expert_bytes if number == len(evaluation.cuts) - 1 else 0
    if drafts:
        terms.append(_b(drafts))
    sheet.put(
        "expert_weights_bytes",
        evaluation.memory[number].expert_weights_bytes,
        Dimension.BYTES,
        "local experts · bytes of an expert's shard · MoE layers of the stage" + " + those of its drafts" * bool(drafts)
        if terms
        else "no routed experts",
        " + ".join(terms) or "0",
        inputs={"etp": shape.etp, "ep": shape.ep},
    )


def _totals(sheet: Sheet, evaluation: Evaluation) -> None:
    """Sums over all devices; every device of a stage is counted as its fullest."""
    wide = evaluation.layout.stage_devices
    parts = {"total_memory_bytes": PARTS, "total_weights_bytes": PARTS[:3], "total_expert_weights_bytes": PARTS[2:3]}
    parts["total_kv_cache_bytes"] = PARTS[3:4]
    for name, summed in parts.items():
        stages = [sum(getattr(stage, part) for part in summed) for stage in evaluation.memory]
        shown_stages = " + ".join(_b(size) for size in stages[:4]) + (" + …" if len(stages) > 4 else "")
        sheet.put(
            name,
            wide * sum(stages),
            Dimension.BYTES,
            "devices of a stage · Σ stages",
            f"{wide} · ({shown_stages})",
        )
