"""Where memory and time of a step go: stacked bars of each stage's fullest device, a waterfall beside rated peaks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Final

from optimizer.figures.bounds import demand
from optimizer.figures.layer import Step
from optimizer.figures.memory import StageMemory
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.report.html_parts import element, label, legend, line, paragraph, picture, rect, section, table
from optimizer.report.step_time import RESOURCES, Operation, slowest_stage, step_parts
from optimizer.report.subject import Subject
from optimizer.units import Dimension, format_quantity

PARTS: Final = {
    "weights_bytes": ("split weights", "c0"),
    "replicated_weights_bytes": ("replicated", "c4"),
    "expert_weights_bytes": ("experts", "c2"),
    "kv_cache_bytes": ("KV cache", "c1"),
    "activations_bytes": ("activations", "c3"),
    "reserve_bytes": ("engine", "c6"),
}
"""Disjoint parts with their names and colours."""
_LEFT, _WIDTH, _ROW = 150.0, 900.0, 30.0


def _size(count: int) -> str:
    return format_quantity(count, Dimension.BYTES) if count else "0"


def _runs(subject: Subject) -> list[tuple[str, int, StageMemory]]:
    """Runs of stages that are alike: name, layers of each, memory."""
    assert subject.evaluation is not None  # noqa: S101 - callers have a layout
    runs, first = [], 0
    alike = groupby(zip(subject.evaluation.cuts, subject.evaluation.memory, strict=True))
    for (layers, memory), run in alike:
        count = len(list(run))
        name = f"stage {first}" if count == 1 else f"stages {first}–{first + count - 1}"
        runs.append((name, layers, memory))
        first += count
    return runs


def memory_section(subject: Subject) -> str:
    """Bars and the same as a table."""
    if subject.evaluation is None:
        return ""
    capacity, device = subject.problem.capacity_bytes, int(subject.problem.hardware.device.memory)
    runs = _runs(subject)
    most = max(device, *(memory.total_bytes for _, _, memory in runs))
    scale = (_WIDTH - _LEFT - 20) / most
    shapes, y = [], 26.0
    for name, layers, memory in runs:
        shapes.append(label(_LEFT - 10, y + 17, f"{name} · {layers} layers", class_="end"))
        x = _LEFT
        for part, (title, colour) in PARTS.items():
            size = getattr(memory, part)
            tip = f"{name}: {title} {_size(size)}, {size / capacity:.1%} of what may be used"
            shapes.append(rect(x, y + 4, size * scale, _ROW - 10, tip=tip, class_=colour))
            x += size * scale
        shapes.append(rect(x, y + 4, (device * scale + _LEFT) - x, _ROW - 10, class_="room"))
        y += _ROW
    limit = _LEFT + capacity * scale
    shapes += [
        line(limit, 20, limit, y, class_="limit"),
        label(limit, 14, f"may be used: {_size(capacity)}", class_="end"),
        line(_LEFT, y + 2, _LEFT + device * scale, y + 2, class_="axis"),
        label(_LEFT, y + 16, "0", class_="small"),
        label(_LEFT + device * scale, y + 16, f"device: {_size(device)}", class_="end small"),
    ]
    rows = [
        [name, str(layers), *(_size(getattr(memory, part)) for part in PARTS), _size(memory.total_bytes),
         f"{memory.total_bytes / capacity:.1%}"]
        for name, layers, memory in runs
    ]  # fmt: skip
    head = ["stage", "layers", *(title for title, _ in PARTS.values()), "total", "of what may be used"]
    return section(
        "memory", "Memory of the fullest device",
        legend((colour, title) for title, colour in PARTS.values()),
        picture("memory-bars", "Memory by stage", _WIDTH, y + 22, shapes),
        table(head, rows, right=range(1, len(head))),
    )  # fmt: skip


_CLASS: Final = dict(zip(RESOURCES, ("c1", "c0", "c2", "c6"), strict=True))
_LEFT, _WIDTH, _ROW = 240.0, 900.0, 22.0


def _time(seconds: float) -> str:
    return format_quantity(seconds, Dimension.SECONDS) if seconds else "0 s"


def _waterfall(name: str, title: str, parts: Sequence[Operation]) -> str:
    total = sum(part.seconds for part in parts)
    scale = (_WIDTH - _LEFT - 150) / total
    shapes, at, y = [], 0.0, 8.0
    for part in parts:
        x, width = _LEFT + at * scale, part.seconds * scale
        tip = (
            f"{part.name}: {_time(part.seconds)} ({part.seconds / total:.1%} of the step), waits for {part.resource}; "
            f"at rated peaks {_time(part.ideal_seconds)}"
        )
        shapes += [
            label(_LEFT - 10, y + 14, part.name, class_="end"),
            rect(x, y + 2, max(width, 1), 9, tip=tip, class_=_CLASS[part.resource]),
            rect(x, y + 12, part.ideal_seconds * scale, 4, tip=tip, class_="ideal"),
            label(x + max(width, 1) + 6, y + 14, f"{_time(part.seconds)} · {part.seconds / total:.0%}", class_="small"),
        ]
        at += part.seconds
        shapes.append(line(_LEFT + at * scale, y + 6, _LEFT + at * scale, y + _ROW + 4, class_="faint"))
        y += _ROW
    shapes += [
        label(_LEFT - 10, y + 14, "step", class_="end strong"),
        rect(_LEFT, y + 4, total * scale, 10, tip=f"whole step: {_time(total)}", class_="total"),
        label(_LEFT + total * scale + 6, y + 14, _time(total), class_="strong"),
    ]
    return picture(name, title, _WIDTH, y + _ROW + 8, shapes)


def _bound(subject: Subject) -> str:
    assert subject.evaluation is not None  # noqa: S101 - callers have a layout
    resource, ticks = demand(subject.problem, subject.evaluation).busiest()
    mean = max(subject.evaluation.stage_ticks)
    share = float(ticks / mean)
    return (
        f"Nothing shortens the mean step of {_time(float(mean / TICKS_PER_SECOND))} below "
        f"{_time(float(ticks / TICKS_PER_SECOND))} on this hardware with this layout and batch: {resource} alone needs "
        f"that long at its rated peak, {share:.0%} of the estimate."
    )


def time_section(subject: Subject) -> str:
    """Waterfalls of the steps there are, of the slowest stage."""
    evaluation = subject.evaluation
    if evaluation is None:
        return ""
    stage = slowest_stage(evaluation)
    where = f" of stage {stage}, the slowest of {len(evaluation.cuts)}" if len(evaluation.cuts) > 1 else ""
    steps: list[tuple[str, str, Step | None]] = [
        ("time-decode", f"A decode step{where}", evaluation.steps.decode),
        ("time-prompt", f"A step with prompt tokens{where}", evaluation.steps.mixed),
    ]
    charts = []
    for name, title, step in steps:
        if step is None:
            continue
        tokens = f"{step.seqs:,} sequences" if step.seqs else ""
        prompt = f"{step.prompt:,} prompt tokens" if step.prompt else ""
        counts = " and ".join(text for text in (tokens, prompt) if text)
        charts.append(element("h3", f"{title}: {counts} on each rank"))
        charts.append(_waterfall(name, title, step_parts(subject.problem, evaluation, step, stage, subject.skew)))
    key = [(_CLASS[resource], f"waits for {resource}") for resource in RESOURCES]
    key.append(("ideal", "the same at rated peaks, no latency or launch"))
    return section("time", "Where the time goes", legend(key), *charts, paragraph(_bound(subject)))
