"""The layout as a picture: nodes, their devices, and which stage, rank and group each device belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from math import ceil
from typing import Final

from optimizer.domain.layout import Layout
from optimizer.report.html_parts import COLOURS, element, label, paragraph, picture, rect, section
from optimizer.report.subject import Subject

MOST_DEVICES = 1024
"""Devices drawn; what is left out is more of the same."""
_CELL, _GAP, _WIDTH = 22.0, 10.0, 900.0

SCHEMES: Final = {
    "stage": "pipeline stage",
    "replica": "replica",
    "dp": "attention rank (DP)",
    "tp": "tensor-parallel rank",
    "ep": "expert-parallel rank",
    "edp": "copy of the experts",
}
"""What colours may tell apart."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A device: its number and its ranks."""

    device: int
    replica: int
    stage: int
    tp: int
    cp: int
    dp: int
    etp: int
    ep: int
    edp: int

    def rank(self, scheme: str) -> int:
        """Rank in one scheme."""
        return int(getattr(self, scheme))


def replica_starts(sizes: tuple[int | None, ...], replicas: int, replica: int) -> Iterator[int]:
    """First device of each replica: none straddles a domain that it need not straddle."""
    unit = 1
    for size in sizes:
        if size is None or replica <= size:
            stride = ceil(replica / unit) * unit
            per_domain = replicas if size is None else (size - replica) // stride + 1
            for number in range(replicas):
                domain, place = divmod(number, per_domain)
                yield domain * (size or 0) + place * stride
            return
        unit = size


def seats(layout: Layout, sizes: tuple[int | None, ...], beside: int) -> Iterator[Seat]:
    """Every device, replica by replica; within a stage tp runs fastest, then cp and dp (etp, ep, edp for experts).

    `beside` devices of a stage stand side by side before those of the next.
    """
    for replica, start in enumerate(replica_starts(sizes, layout.replicas, layout.replica_devices)):
        for place in range(layout.replica_devices):
            turn, within = divmod(place, beside)
            turn, stage = divmod(turn, layout.pp)
            at = turn * beside + within
            yield Seat(
                start + place, replica, stage, at % layout.tp, at // layout.tp % layout.cp,
                replica * layout.shape.dp + at // (layout.tp * layout.cp), at % layout.etp,
                at // layout.etp % layout.ep, replica * layout.shape.edp + at // (layout.etp * layout.ep),
            )  # fmt: skip


def _columns(per_node: int) -> int:
    return next((n for n in (4, 8, 12, 6, 9, 16) if per_node % n == 0 and per_node // n <= n), min(per_node, 12))


def _useful(layout: Layout, *, experts: bool) -> list[str]:
    degrees = {"stage": layout.pp, "replica": layout.replicas, "dp": layout.dp, "tp": layout.tp}
    if experts:
        degrees |= {"ep": layout.ep, "edp": layout.edp if layout.shape.edp > 1 else 1}
    return [scheme for scheme, degree in degrees.items() if degree > 1] or ["stage"]


def _tip(seat: Seat, node: int, layout: Layout, *, experts: bool) -> str:
    parts = [f"device {seat.device}, node {node}", f"replica {seat.replica}", f"stage {seat.stage} of {layout.pp}"]
    parts.append(f"tp {seat.tp} of {layout.tp}, dp {seat.dp} of {layout.dp}")
    if layout.cp > 1:
        parts.append(f"cp {seat.cp} of {layout.cp}")
    if experts:
        parts.append(f"etp {seat.etp} of {layout.etp}, ep {seat.ep} of {layout.ep}, copy {seat.edp} of {layout.edp}")
    return "; ".join(parts)


def _nodes(subject: Subject, layout: Layout, shown: list[Seat], first: str) -> tuple[list[str], float]:
    hardware, experts = subject.problem.hardware, subject.problem.model.moe is not None
    per_node = hardware.devices_per_node
    columns = min(_columns(per_node), per_node)
    rows = ceil(per_node / columns)
    width, height = columns * _CELL + 8, rows * _CELL + 22
    across = max(1, int((_WIDTH + _GAP) // (width + _GAP)))
    by_node: dict[int, list[Seat]] = {}
    for seat in shown:
        by_node.setdefault(seat.device // per_node, []).append(seat)
    shapes, y = [], 0.0
    for place, (node, seats_here) in enumerate(by_node.items()):
        x, y = place % across * (width + _GAP), place // across * (height + _GAP)
        shapes.append(rect(x + 0.5, y + 0.5, width - 1, height - 1, class_="node", rx=4))
        shapes.append(label(x + 5, y + 12, f"node {node}", class_="small"))
        for seat in seats_here:
            at = seat.device % per_node
            cell_x, cell_y = x + 4 + at % columns * _CELL, y + 17 + at // columns * _CELL
            ranks = {f"data_{scheme}": seat.rank(scheme) for scheme in SCHEMES}
            colour = f"c{seat.rank(first) % COLOURS}"
            tip = _tip(seat, node, layout, experts=experts)
            shapes.append(
                rect(cell_x + 1, cell_y + 1, _CELL - 2, _CELL - 2, tip=tip, class_=f"seat {colour}", rx=2, **ranks)
            )
            shapes.append(label(cell_x + _CELL / 2, cell_y + 14, str(seat.device), class_="seat-name"))
    return shapes, y + height


def layout_section(subject: Subject) -> str:
    """The picture, and a choice of what its colours mean."""
    layout = subject.layout
    if layout is None:
        return ""
    experts = subject.problem.model.moe is not None
    sizes = tuple(tier.size for tier in subject.problem.hardware.tiers)
    shown: list[Seat] = []
    for seat in seats(layout, sizes, layout.shape.along(subject.problem.engine.within_stages)):
        if len(shown) == MOST_DEVICES:
            break
        shown.append(seat)
    schemes = _useful(layout, experts=experts)
    shapes, height = _nodes(subject, layout, shown, schemes[0])
    choices = []
    for scheme in schemes:
        chosen = " checked" if scheme == schemes[0] else ""
        button = f'<input type="radio" name="scheme" value="{scheme}"{chosen}>'
        choices.append(element("label", button, escape(SCHEMES[scheme])))
    undrawn = layout.devices - len(shown)
    notes = [f"Colours repeat after {COLOURS}. Hover over a device for its ranks."]
    if undrawn:
        notes.append(f"{len(shown):,} devices are drawn; {undrawn:,} more continue the pattern.")
    if layout.devices < subject.problem.devices:
        notes.append(
            f"{subject.problem.devices - layout.devices:,} of {subject.problem.devices:,} devices are not used."
        )
    return section(
        "layout", "The layout on its devices",
        element("fieldset", element("legend", "colour by"), *choices, class_="choice"),
        picture("layout-picture", "Devices by node", _WIDTH, height, shapes),
        paragraph(" ".join(notes), class_="note"), _stages(subject, layout),
    )  # fmt: skip


def _stages(subject: Subject, layout: Layout) -> str:
    if layout.stages is None or layout.pp == 1:
        return ""
    total, x, shapes = subject.problem.model.layer_count, 0.0, []
    for number, stage in enumerate(layout.stages):
        width = stage.layers / total * _WIDTH
        last = stage.first_layer + stage.layers - 1
        tip = f"stage {number}: layers {stage.first_layer} to {last}, {stage.layers} of {total}"
        shapes.append(rect(x + 1, 0, width - 2, 26, tip=tip, class_=f"c{number % COLOURS}", rx=2))
        if width > 24:
            shapes.append(label(x + width / 2, 17, f"{stage.layers}", class_="seat-name wide"))
        x += width
    return element("h3", "Layers of each stage") + picture("stages-picture", "Layers by stage", _WIDTH, 28, shapes)
