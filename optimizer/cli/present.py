"""Layouts and figures as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from optimizer.cli.output import emit, heading, paint, prose, table
from optimizer.domain.engines import engine_named
from optimizer.domain.layout import Layout
from optimizer.domain.limit_table import bounds_of
from optimizer.domain.problem import Problem
from optimizer.domain.workload import UNPRICED_DRAFTS
from optimizer.figures.accuracy_text import accuracy_text, confidence_text
from optimizer.figures.costs import Costs, Imbalance, build_costs
from optimizer.figures.derivation_figure import Figure, shown
from optimizer.figures.layer import Step
from optimizer.figures.rates import TICKS_PER_SECOND, effective_rates
from optimizer.figures.reserve import default_tokens
from optimizer.figures.room import LONGEST, lacking_bytes, room_of
from optimizer.figures.serving import Evaluation
from optimizer.readers.launch.launch import budget_of
from optimizer.units import Dimension, named
from optimizer.verify.claims import ComparedClaim

SHOWN = (
    "throughput_per_device_tokens_per_s",
    "throughput_tokens_per_s",
    "request_capacity_per_s",
    "goodput_per_s",
    "ttft_s",
    "ttft_p99_s",
    "place_wait_chance",
    "place_wait_s",
    "tpot_s",
    "tpot_p99_s",
    "latency_s",
    "closed_loop_tokens_per_s",
    "concurrency",
    "running_sequences",
    "memory_bytes",
    "memory_utilization",
    "compute_utilization",
    "hbm_utilization",
    "cost_dollars_per_million_tokens",
    "parameters",
    "active_parameters",
    "experts_resident_per_layer",
    "expert_instances",
    "expert_equivalents",
)
"""Figures of the short table, in order."""


def counted(number: int, noun: str) -> str:
    """``1 device``, ``8 devices``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def layout_line(layout: Layout, *, experts: bool, of: int | None = None) -> str:
    """A layout in one line; `of` the devices there are, it says how many it leaves idle."""
    attention = f"tp={layout.tp} cp={layout.cp} dp={layout.dp}"
    mesh = f"{attention} | etp={layout.etp} ep={layout.ep} edp={layout.edp}" if experts else attention
    chunk = f", chunk {layout.prefill_chunk:,}" if layout.prefill_chunk else ""
    idle = f" ({of - layout.devices:,} of {of:,} idle)" if of is not None and of > layout.devices else ""
    return (
        f"{mesh} | pp={layout.pp}: {counted(layout.devices, 'device')}{idle}, {counted(layout.replicas, 'replica')}, "
        f"batch {layout.batch:,} a rank{chunk}{', two-batch overlap' * (layout.overlap == 'two_batch')}"
    )


def accuracy_lines(accuracy: Mapping[str, Any], problem: Problem) -> None:
    """Print `accuracy_text`; and where the hardware is calibrated, but not for this problem."""
    for line in accuracy_text(accuracy, problem):
        prose(line)
    if problem.hardware.calibration and problem.calibration is None:
        groups = ", ".join(group.title for group in problem.hardware.calibration)
        prose(f"as shipped: {problem.hardware.name} is calibrated for {groups}")


def problem_line(problem: Problem) -> str:
    """A problem in one line."""
    work = problem.workload
    bounds = [limit.told(bound) for limit, bound in bounds_of(problem)]
    if work.request_rate is not None:
        bounds.append(f"≥ {shown(work.request_rate, Dimension.PER_SECOND)}")
    if work.mtp_tokens and problem.model.mtp is None:
        bounds.insert(0, UNPRICED_DRAFTS)
    limits = f", {', '.join(bounds)}" if bounds else ""
    name = "" if problem.name == "problem" else f"{problem.name}: "
    return (
        f"{name}{problem.model.name} on {counted(problem.devices, 'device')} of {problem.hardware.name}, "
        f"{work.told(short=True)}{limits}, engine {problem.engine_name}"
    )


def limits_line(problem: Problem) -> None:
    """Print how sure limits on times are."""
    confidence = confidence_text(problem)
    if confidence is not None:
        prose(f"limits   {confidence}")


def told_tokens(problem: Problem, layout: Layout) -> int:
    """Tokens of a step that a launch of a layout is told, at least as many as sequences in flight."""
    return max(budget_of(problem.workload, problem.engine_name.partition("@")[0], layout), layout.batch)


def _numbered(problem: Problem, evaluation: Evaluation, name: str) -> str:
    """An engine that runs a layout, and whether it puts ranks elsewhere than was priced."""
    shape, own = evaluation.shape, engine_named(name)
    apart = shape.devices > problem.hardware.devices_per_node and own.places(shape) != problem.engine.places(shape)
    return f"{name} (its ranks stand otherwise than was priced: --engine {name})" if apart else name


def memory_table(problem: Problem, evaluation: Evaluation) -> None:
    """Bytes of the fullest device of every stage; runs of alike stages in one row."""
    heading("Memory of the fullest device")
    rows: list[list[str]] = []
    first, stages = 0, evaluation.memory
    while first < len(stages):
        last = first
        while last + 1 < len(stages) and (stages[last + 1], evaluation.cuts[last + 1]) == (
            stages[first],
            evaluation.cuts[first],
        ):
            last += 1
        stage = stages[first]
        parts = (
            stage.weights_bytes,
            stage.replicated_weights_bytes,
            stage.expert_weights_bytes,
            stage.kv_cache_bytes,
            stage.activations_bytes,
            stage.reserve_bytes,
            stage.total_bytes,
        )
        label = str(first) if first == last else f"{first}-{last}"
        sizes = [shown(part, Dimension.BYTES) for part in parts]
        rows.append([label, str(evaluation.cuts[first]), *sizes, shown(problem.capacity_bytes, Dimension.BYTES)])
        first = last + 1
    head = ["stage", "layers", "weights", "replicated", "experts", "KV cache", "activations", "reserve", "total", "of"]
    table(head, rows, right=range(1, 10))
    room = room_of(problem, evaluation.shape, evaluation.cuts)
    longest = f"{room.longest_context:,}" if room.longest_context < LONGEST else "any: windows hold no more of it"
    lacking = lacking_bytes(problem, evaluation)
    engines = ", ".join(_numbered(problem, evaluation, name) for name, lack in lacking.items() if lack <= 0)
    if not engines:
        short = ", ".join(f"{name} lacks {shown(lack, Dimension.BYTES)}" for name, lack in lacking.items())
        reason = f": each keeps more of a device for itself ({short})" if short else ": none accepts its degrees"
        engines = f"none{reason}; `--engine {next(iter(lacking), 'NAME')}` finds what that one runs"
    prose(
        f"  Cache of a rank as the engine sizes itself ({default_tokens(problem):,} tokens a step): "
        f"{shown(max(room.room_bytes, 0), Dimension.BYTES)}, "
        f"{room.tokens:,} tokens, {float(room.concurrency):,.1f} sequences of {room.length:,}; "
        f"longest context {longest}. Engines that run it: {engines}."
    )
    batch, step = evaluation.layout.batch, told_tokens(problem, evaluation.layout)
    if room.concurrency < batch and any(lack <= 0 for lack in lacking.values()) and step < default_tokens(problem):
        work = problem.workload.model_copy(update={"max_num_batched_tokens": step})
        fewer = room_of(problem.model_copy(update={"workload": work}), evaluation.shape, evaluation.cuts)
        prose(
            f"  Told {step:,} tokens a step, as `export` tells it: {fewer.tokens:,} tokens, "
            f"{float(fewer.concurrency):,.1f} sequences of {fewer.length:,}."
        )


def _parts(costs: Costs, step: Step, first: int, layers: int, *, last: bool) -> dict[str, int]:
    parts: dict[str, int] = {}
    for index in range(first, first + layers):
        for name, ticks in costs.kinds[costs.order[index]].parts(step).items():
            parts[name] = parts.get(name, 0) + ticks
    if costs.send(step):
        parts["send to the next stage"] = costs.send(step)
    if last:
        parts["output head"] = costs.tail(step)
    return parts


def time_table(problem: Problem, evaluation: Evaluation, imbalance: Imbalance = None) -> None:
    """What a step of the slowest stage is spent on; `imbalance` is what the layout was priced with."""
    costs = build_costs(problem, evaluation.shape, effective_rates(problem.priced_hardware), imbalance)
    stage = max(range(len(evaluation.stage_ticks)), key=lambda i: evaluation.stage_ticks[i])
    first, last = sum(evaluation.cuts[:stage]), stage == len(evaluation.cuts) - 1
    steps = {"decode": evaluation.steps.decode, "with prompt": evaluation.steps.mixed}
    columns = {
        name: _parts(costs, step, first, evaluation.cuts[stage], last=last)
        for name, step in steps.items()
        if step is not None
    }
    names = list(dict.fromkeys(name for parts in columns.values() for name in parts))
    names.sort(key=lambda name: -max(parts.get(name, 0) for parts in columns.values()))
    where = f", stage {stage} of {len(evaluation.cuts)}" if len(evaluation.cuts) > 1 else ""
    heading(f"Time of a step{where}")
    totals = {column: sum(parts.values()) for column, parts in columns.items()}
    rows = [
        [name.replace("_", " ")]
        + [cell for column, parts in columns.items() for cell in _cells(parts.get(name, 0), totals[column])]
        for name in names
        if any(parts.get(name, 0) for parts in columns.values())
    ]
    rows.append(["total"] + [cell for total in totals.values() for cell in _cells(total, total)])
    head = ["operation"] + [cell for column in columns for cell in (column, "")]
    table(head, rows, right=range(1, len(head)), styles=[""] * (len(rows) - 1) + ["bold"])


def _cells(ticks: int, total: int) -> tuple[str, str]:
    text = shown(Fraction(ticks, TICKS_PER_SECOND), Dimension.SECONDS) if ticks else "0 s"
    return text, f"{100 * ticks / total:.0f}%" if total else ""


def figure_table(figures: Mapping[str, Figure], names: Sequence[str] = SHOWN, *, derivations: bool = False) -> None:
    """Figures with their physical bounds, and how they come about."""
    heading("Figures")
    rows = []
    for name in names:
        if name in figures:
            figure = figures[name]
            how = f"{figure.formula} = {figure.substituted}" if figure.substituted else figure.formula
            rows.append([named(name)[0], figure.result_text, figure.bound_text or "", how])
    if derivations:
        table(["figure", "value", "ideal", "derivation"], rows, right=(1, 2))
    else:
        table(["figure", "value", "ideal"], [row[:3] for row in rows], right=(1, 2))


def verdict_line(text: str, *, good: bool) -> None:
    """The answer in one line."""
    emit(paint(text, "bold", "green" if good else "red"))


_STYLES = {"holds": "green", "fails": "red", "impossible": "red", "ambiguous": "yellow", "unsupported": "dim"}


def claim_table(claims: tuple[ComparedClaim, ...]) -> None:
    """Print every claim with its verdict and arithmetic."""
    heading("Claims")
    rows, styles = [], []
    for judged in claims:
        ratio = judged.ratio
        derived = "" if judged.figure is None else judged.figure.result_text
        rows.append(
            [
                str(judged.verdict),
                judged.claim.name,
                judged.claim.text,
                derived,
                "" if ratio is None else f"{float(ratio):.4g}",
            ]
        )
        styles.append(_STYLES[judged.verdict])
    table(["verdict", "claim", "claimed", "derived", "ratio"], rows, right=(2, 3, 4), styles=styles)
    for judged in claims:
        if judged.verdict == "holds":
            continue
        emit()
        prose(f"  {judged.claim.name}: {judged.note}")
        for reading in judged.readings:
            mark = "=" if reading.holds else "≠"
            figure = reading.figure
            chain = " = ".join(part for part in (figure.formula, figure.substituted, figure.result_text) if part)
            prose(f"    {mark} {reading.name}: {chain}")
