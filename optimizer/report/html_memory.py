"""Memory of the fullest device of each stage as stacked bars against what it may hold."""

from __future__ import annotations

from itertools import groupby
from typing import Final

from optimizer.figures.memory import StageMemory
from optimizer.report.html_parts import label, legend, line, picture, rect, section, table
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
    inside, y = [], 26.0
    for name, layers, memory in runs:
        inside.append(label(_LEFT - 10, y + 17, f"{name} · {layers} layers", class_="end"))
        x = _LEFT
        for part, (title, colour) in PARTS.items():
            size = getattr(memory, part)
            tip = f"{name}: {title} {_size(size)}, {size / capacity:.1%} of what may be used"
            inside.append(rect(x, y + 4, size * scale, _ROW - 10, tip=tip, class_=colour))
            x += size * scale
        inside.append(rect(x, y + 4, (device * scale + _LEFT) - x, _ROW - 10, class_="room"))
        y += _ROW
    limit = _LEFT + capacity * scale
    inside += [
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
    head = ["stage", "layers", *(title for title, _ in PARTS.values()), "total", "used"]
    return section(
        "memory", "Memory of the fullest device",
        legend((colour, title) for title, colour in PARTS.values()),
        picture("memory-bars", "Memory by stage", _WIDTH, y + 22, inside),
        table(head, rows, right=range(1, len(head))),
    )  # fmt: skip
