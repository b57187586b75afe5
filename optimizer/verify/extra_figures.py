"""Figures that only claims ask for: other denominators, one sequence, one copy of the model."""

from __future__ import annotations

from fractions import Fraction

from optimizer.domain.engines import ENGINES
from optimizer.domain.limits import LATENCIES, PERCENTILES
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.domain.tensor import TensorRole
from optimizer.figures.costs import Imbalance
from optimizer.figures.derivation_figure import Figure, Sheet, shown
from optimizer.figures.layer import uneven_residency
from optimizer.figures.memory import build_memory, expert_padding, tables_bytes
from optimizer.figures.parameters import parameters_held
from optimizer.figures.room import EARLIER, Room, room_of
from optimizer.figures.serving import Evaluation, chunk_of
from optimizer.figures.weights import NO_PADDING, block_weights, division
from optimizer.units import Dimension


def extra_figures(
    problem: Problem, evaluation: Evaluation, figures: dict[str, Figure], imbalance: Imbalance = None
) -> dict[str, Figure]:
    """Figures beside those of `derive`, from the same evaluation."""
    sheet = Sheet()
    _memory(sheet, problem, figures)
    _held(sheet, problem, evaluation)
    _unpadded(sheet, problem, evaluation, figures)
    _earlier_releases(sheet, problem, evaluation)
    _rates(sheet, problem, evaluation, figures)
    _balance(sheet, problem, evaluation, imbalance)
    _bandwidth(sheet, problem, figures)
    _schedule(sheet, problem, evaluation)
    _ideal(sheet, figures)
    return sheet


_IDEAL = (
    "ttft_s",
    "tpot_s",
    "latency_s",
    "step_time_s",
    "throughput_tokens_per_s",
    "throughput_per_device_tokens_per_s",
    "request_capacity_per_s",
    *(f"{name}_p{share}_s" for name in LATENCIES for share in PERCENTILES),
)


def _ideal(sheet: Sheet, figures: dict[str, Figure]) -> None:
    """The bound that stands beside a time or a rate."""
    for name in _IDEAL:
        figure = figures.get(name)
        if figure is not None and figure.bound is not None:
            formula = "the same schedule at rated peaks, without latency, launch or oversubscription"
            sheet.put(f"ideal_{name}", figure.bound, figure.dimension, formula)


def _schedule(sheet: Sheet, problem: Problem, evaluation: Evaluation) -> None:
    """The chunk of a prompt, the cut into stages, the slots of experts."""
    layout, shape, moe = evaluation.layout, evaluation.shape, problem.model.moe
    if evaluation.mixed_ticks:
        chunk = layout.prefill_chunk
        formula = (
            "prompt tokens that one step takes, as the layout says"
            if chunk
            else "min(8,192, prompt tokens computed), or as many whole prompts as keep up with decoding"
        )
        sheet.count("prefill_chunk", chunk_of(problem, layout), formula)
    first = 0
    for number, layers in enumerate(evaluation.cuts):
        sheet.count(f"layers_of_stage_{number}", layers, "as the cut into stages says")
        sheet.count(f"first_layer_of_stage_{number}", first, "layers of the stages before")
        first += layers
    if moe is not None:
        per_device = f"({moe.experts} + {shape.redundant}) ÷ {shape.ep}"
        sheet.count("redundant_slots", shape.redundant, "slots of a layer beyond one for each routed expert")
        sheet.count(
            "slots_per_device", -(-(moe.experts + shape.redundant) // shape.ep),
            "ceil((experts + redundant slots) ÷ ep)", f"ceil({per_device})",
        )  # fmt: skip


def _bandwidth(sheet: Sheet, problem: Problem, figures: dict[str, Figure]) -> None:
    """Of the outermost and the innermost tier and of memory: what a step uses, and what is rated."""
    tiers, device = problem.hardware.tiers, problem.hardware.device
    for tier in tiers:
        sheet.put(
            f"rated_{tier.name}_bytes_per_s", tier.bandwidth, Dimension.BYTES_PER_SECOND,
            f"rated bandwidth of link {tier.name!r}, a device and direction",
        )  # fmt: skip
        sheet.put(
            f"duplex_{tier.name}_bytes_per_s", 2 * tier.bandwidth, Dimension.BYTES_PER_SECOND,
            f"2 · rated bandwidth of link {tier.name!r}: both directions of a device together",
            f"2 · {shown(tier.bandwidth, Dimension.BYTES_PER_SECOND)}",
        )  # fmt: skip
    for word, tier in (("innermost", tiers[0]), ("fabric", tiers[-1])):
        for suffix in ("bytes_per_s", "utilization"):
            source = figures.get(f"{tier.name}_{suffix}")
            if source is not None:
                sheet.put(
                    f"{word}_{suffix}", source.value, source.dimension, source.formula, source.substituted,
                    bound=source.bound,
                )  # fmt: skip
        for kind in ("rated", "duplex"):
            figure = sheet[f"{kind}_{tier.name}_bytes_per_s"]
            sheet.put(f"{kind}_{word}_bytes_per_s", figure.value, figure.dimension, figure.formula, figure.substituted)
    rated_hbm = Fraction(device.bandwidth)
    sheet.put("rated_hbm_bytes_per_s", rated_hbm, Dimension.BYTES_PER_SECOND, "rated memory bandwidth of a device")
    if "hbm_utilization" in figures:
        used = Fraction(figures["hbm_utilization"].value)
        text = f"{shown(used, Dimension.RATIO)} · {shown(rated_hbm, Dimension.BYTES_PER_SECOND)}"
        sheet.put(
            "hbm_bytes_per_s", used * rated_hbm, Dimension.BYTES_PER_SECOND,
            "memory bandwidth utilization · rated bandwidth", text, bound=rated_hbm,
        )  # fmt: skip


def _memory(sheet: Sheet, problem: Problem, figures: dict[str, Figure]) -> None:
    device = problem.hardware.device
    memory, weights, cache = (
        Fraction(figures[name].value) for name in ("memory_bytes", "model_weights_bytes", "kv_cache_bytes")
    )

    def size(value: Fraction | int) -> str:
        return shown(value, Dimension.BYTES)

    model_bytes = build_memory(problem, Shape(1, 1, 1, 1, 1)).stack_weights()
    sheet.put(
        "model_bytes", model_bytes, Dimension.BYTES, "Σ tensors of elements · bytes of their format, with their scales"
    )
    sheet.put(
        "weights_and_cache_bytes",
        weights + cache,
        Dimension.BYTES,
        "weights + KV cache",
        f"{size(weights)} + {size(cache)}",
    )
    tables = tables_bytes(problem)
    if tables:
        sheet.put(
            "loaded_weights_bytes", weights + tables, Dimension.BYTES, "weights + sines and cosines of all positions",
            f"{size(weights)} + {size(tables)}",
        )  # fmt: skip
    for name, number, total, formula in (
        ("nominal_memory_utilization", memory, device.memory, "memory ÷ nominal memory of a device"),
        (
            "allowed_memory_utilization",
            memory,
            problem.capacity_bytes,
            "memory ÷ (exposed memory · memory_utilization)",
        ),
        ("weights_utilization", weights, device.exposed_memory, "weights ÷ exposed memory of a device"),
    ):
        sheet.put(name, number / total, Dimension.RATIO, formula, f"{size(number)} ÷ {size(total)}")


def _earlier_releases(sheet: Sheet, problem: Problem, evaluation: Evaluation) -> None:
    """What earlier releases of the engine would allocate for the cache: logs are older than the newest release."""
    if "@" in problem.engine_name or problem.engine.name not in ENGINES:
        return
    share = problem.limits.model_copy(update={"memory_utilization": problem.memory_utilization})
    known: list[tuple[object, Room]] = []
    for which, release in zip(EARLIER, ENGINES[problem.engine.name][:-1], strict=False):
        earlier = problem.changed(engine_name=f"{release.name}@{release.since}", limits=share)
        facts = release.reservation, earlier.cache
        room = next((alike for other, alike in known if other == facts), None)
        if room is None:
            room = room_of(earlier, evaluation.shape, evaluation.cuts)
            known.append((facts, room))
        error = Fraction(room.error_bytes, max(room.room_bytes, 1))
        formula = f"as {release.title} allocates"
        for name, value, dimension in (
            ("kv_cache_room_bytes", room.room_bytes, Dimension.BYTES),
            ("kv_cache_tokens", room.tokens, Dimension.COUNT),
            ("max_concurrency", room.concurrency, Dimension.COUNT),
            ("longest_context_tokens", room.longest_context, Dimension.COUNT),
        ):
            sheet.put(f"{name}_of_{which}_release", value, dimension, formula, error=max(0, value) * error)


def _held(sheet: Sheet, problem: Problem, evaluation: Evaluation) -> None:
    """What the fullest device holds of the parameters."""
    stages = evaluation.memory
    fullest = max(range(len(stages)), key=lambda number: stages[number].total_bytes)
    first = sum(evaluation.cuts[:fullest])
    sheet.count(
        "parameters_per_device",
        parameters_held(problem.model, evaluation.shape, first, evaluation.cuts[fullest]),
        f"Σ elements that a device of stage {fullest} holds: split by tp or etp, its own experts, the rest whole",
    )


def _unpadded(sheet: Sheet, problem: Problem, evaluation: Evaluation, figures: dict[str, Figure]) -> None:
    """Weights of routed experts as a checkpoint stores them, where the engine's kernels pad them."""
    if expert_padding(problem) == NO_PADDING:
        return
    stages, shape, single = evaluation.memory, evaluation.shape, Shape(1, 1, 1, 1, 1)
    firsts = [sum(evaluation.cuts[:number]) for number in range(len(stages))]
    stored = [
        _experts_as_stored(problem, shape, first, layers) for first, layers in zip(firsts, evaluation.cuts, strict=True)
    ]
    fullest = max(range(len(stages)), key=lambda number: stages[number].total_bytes)
    model_stored = _experts_as_stored(problem, single, 0, problem.model.layer_count)
    copy = build_memory(problem, single)
    padded = sum(n * weights.expert_bytes for n, weights in zip(copy.counts, copy.weights, strict=True))
    stage_devices, formula = (
        evaluation.layout.stage_devices,
        "Σ tensors of experts as they are stored, not padded for a kernel",
    )
    added = {number: stages[number].expert_weights_bytes - size for number, size in enumerate(stored)}
    for name, value in (
        ("expert_weights_bytes", stored[fullest]),
        ("total_expert_weights_bytes", stage_devices * sum(stored)),
        ("model_weights_bytes", figures["model_weights_bytes"].value - added[fullest]),
        ("total_weights_bytes", figures["total_weights_bytes"].value - stage_devices * sum(added.values())),
        ("model_bytes", sheet["model_bytes"].value - padded + model_stored),
    ):
        sheet.put(f"{name}_as_stored", value, Dimension.BYTES, formula)


def _experts_as_stored(problem: Problem, shape: Shape, first: int, layers: int) -> int:
    total, model = 0, problem.model
    for name in model.layer_names[first : first + layers]:
        moe = model.blocks[name].moe
        if moe is not None:
            total += block_weights(model, name, problem.precision, division(shape, moe)).expert_bytes
    return total


def _rates(sheet: Sheet, problem: Problem, evaluation: Evaluation, figures: dict[str, Figure]) -> None:
    active = Fraction(figures["active_parameters_without_embedding"].value)
    token_flops = 2 * active
    sheet.put(
        "flops_per_token",
        token_flops,
        Dimension.COUNT,
        "2 · active parameters without embedding",
        f"2 · {int(active):,}",
    )
    work, device = problem.workload, problem.hardware.device
    tokens = evaluation.request_capacity * work.computed_tokens
    compute = problem.precision.of_role(TensorRole.EXPERTS if problem.model.moe else TensorRole.DENSE_FFN).compute
    peak = device.peak.get(compute, device.peak["bf16"])
    per_device = token_flops * tokens / evaluation.devices
    flops = shown(per_device, Dimension.FLOPS)
    sheet.put(
        "flops",
        per_device,
        Dimension.FLOPS,
        "2 · active parameters · tokens/s computed ÷ devices",
        f"2 · {int(active):,} · {shown(tokens, Dimension.TOKENS_PER_SECOND)} ÷ {evaluation.devices:,}",
        bound=peak,
    )
    sheet.put(
        "model_flops_utilization",
        per_device / peak,
        Dimension.RATIO,
        f"2 · active parameters · tokens/s computed ÷ (devices · {compute} peak)",
        f"{flops} ÷ {shown(peak, Dimension.FLOPS)}",
    )
    if evaluation.tpot_s is not None:
        sheet.put(
            "sequence_tokens_per_s",
            1 / evaluation.tpot_s,
            Dimension.TOKENS_PER_SECOND,
            "1 ÷ TPOT, one sequence",
            f"1 ÷ {shown(evaluation.tpot_s, Dimension.SECONDS)}",
        )
    if "processed_tokens_per_s" in figures:
        processed = Fraction(figures["processed_tokens_per_s"].value)
        sheet.put(
            "processed_per_device_tokens_per_s",
            processed / evaluation.devices,
            Dimension.TOKENS_PER_SECOND,
            "requests/s · (input tokens + output tokens) ÷ devices",
            f"{shown(processed, Dimension.TOKENS_PER_SECOND)} ÷ {evaluation.devices:,}",
        )


def _balance(sheet: Sheet, problem: Problem, evaluation: Evaluation, imbalance: Imbalance) -> None:
    moe = problem.model.moe
    if moe is None:
        return
    if imbalance is not None:
        names = problem.model.layer_names
        moe_layers = {n: value for n, value in enumerate(imbalance) if problem.model.blocks[names[n]].moe is not None}
        sheet.put(
            "expert_imbalance", max(imbalance), Dimension.RATIO, "max over layers of hottest device's load ÷ mean"
        )
        sheet.put(
            "mean_expert_imbalance", sum(moe_layers.values(), Fraction(0)) / len(moe_layers), Dimension.RATIO,
            "mean over MoE layers of hottest device's load ÷ mean",
        )  # fmt: skip
        for number, value in moe_layers.items():
            sheet.put(f"balance_of_layer_{number}", value, Dimension.RATIO, "hottest device's load ÷ mean load")
        return
    shape = evaluation.shape
    local = shape.local_experts(moe.experts)
    sheet.put(
        "expert_imbalance",
        uneven_residency(moe, shape),
        Dimension.RATIO,
        "balanced routing: ceil(experts ÷ ep) · ep ÷ experts",
        f"{local} · {shape.ep} ÷ {moe.experts}",
    )
