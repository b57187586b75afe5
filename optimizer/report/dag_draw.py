"""The deployment graph for eyes: Graphviz DOT in full, and an SVG that folds equal groups into one line."""

from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final

from optimizer.report.dag import Axis, Dag, axes, coordinates, device, has_experts, send

_SQUARE: Final = 14
_GAP: Final = 3
_BLOCK_GAP: Final = 4
_PER_ROW: Final = 32
_LABEL: Final = 38
_LETTER: Final = 7
_MOST_PANELS: Final = 4
_LINE: Final = 18
_MARGIN: Final = 16
_PADDING: Final = 12
_ARROW: Final = 34
_COLOURS: Final = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2", "#eeca3b", "#9d755d")


def to_dot(dag: Dag) -> str:
    """Graphviz DOT: a cluster per stage, a box per device, an ellipse per collective."""
    lines = ["digraph deployment {", "  rankdir=LR;", "  node [shape=box, fontname=Helvetica];"]
    for stage in range(dag.degrees.pp):
        lines += [f"  subgraph cluster_stage{stage} {{", f'    label="stage {stage}";']
        first = stage * dag.degrees.stage_devices
        lines += [f'    "{device(rank)}" [label="{rank}"];' for rank in range(first, first + dag.degrees.stage_devices)]
        lines += [
            f'    "{group.id}" [shape=ellipse, label="{group.axis.name} {group.axis.operation}{_bytes(group.bytes)}"];'
            for group in dag.groups
            if group.stage == stage
        ]
        lines.append("  }")
    lines += [f'  "{send(a, b)}" [shape=cds, label="send{_bytes(dag.sent_from(a))}"];' for a, b in dag.sends]
    lines += [f'  "{source}" -> "{target}";' for source, target in dag.edges]
    return "\n".join([*lines, "}", ""])


def to_svg(dag: Dag) -> str:
    """Self-contained SVG: a panel per stage, a square per device, a line per set of equal collectives."""
    degrees = dag.degrees
    shown = list(range(degrees.pp)) if degrees.pp <= _MOST_PANELS else [0, degrees.pp - 1]
    grid = _Grid.of(dag)
    notes = {stage: _notes(dag, stage) for stage in shown}
    between = [_handed(dag, before, after) for before, after in pairwise(shown)]
    title = f"{degrees.devices} devices: tp {degrees.tp}, cp {degrees.cp}, dp {degrees.dp}, pp {degrees.pp}"
    if has_experts(degrees):
        title += f"; etp {degrees.etp}, ep {degrees.ep}, edp {degrees.edp}"
    longest = max(len(note) for note in (title, *between, *(line for lines in notes.values() for line in lines)))
    width = max(grid.width, longest * _LETTER + _ARROW) + 2 * _PADDING
    height = _LINE * (max(len(lines) for lines in notes.values()) + 1) + grid.height + 2 * _PADDING
    parts = [_text(_MARGIN, _MARGIN + 12, title, bold=True)]
    top = _MARGIN + _LINE + 6
    for position, stage in enumerate(shown):
        if position:
            parts.append(_arrow(top, between[position - 1]))
            top += _ARROW
        parts.append(_panel(dag, stage, notes[stage], (_MARGIN, top, width, height), grid))
        top += height
    total_width, total_height = width + 2 * _MARGIN, top + _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total_width}" height="{total_height}" '
        f'viewBox="0 0 {total_width} {total_height}" role="img" font-family="sans-serif" font-size="12">'
        f'<title>{escape(title)}</title><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


@dataclass(frozen=True, slots=True)
class _Grid:
    """Where the devices of a stage stand: whole groups of ``block`` neighbours in a row, a wider gap between them."""

    devices: int
    block: int
    columns: int

    @classmethod
    def of(cls, dag: Dag) -> "_Grid":
        degrees = dag.degrees
        block = degrees.tp if 1 < degrees.tp <= _PER_ROW // 2 else 1
        return cls(degrees.stage_devices, block, min(_PER_ROW // block * block, degrees.stage_devices))

    def place(self, offset: int) -> tuple[int, int]:
        """Corner of a device's square, from the grid's corner."""
        row, column = divmod(offset, self.columns)
        gaps = column // self.block * _BLOCK_GAP if self.block > 1 else 0
        return _LABEL + column * (_SQUARE + _GAP) + gaps, row * (_SQUARE + _GAP)

    @property
    def width(self) -> int:
        """Width with the labels of the rows."""
        return self.place(self.columns - 1)[0] + _SQUARE

    @property
    def height(self) -> int:
        """Height of all rows."""
        return -(-self.devices // self.columns) * (_SQUARE + _GAP)


def _notes(dag: Dag, stage: int) -> list[str]:
    """One line for each collective of a stage, with equal groups folded into a count; last, what the colour says."""
    degrees = dag.degrees
    notes = []
    for axis in axes(degrees):
        count = degrees.stage_devices // axis.size
        size = next(group.bytes for group in dag.groups if group.axis == axis and group.stage == stage)
        stride = f" {axis.stride} apart" if axis.stride > 1 else ""
        groups = f"{count} groups" if count > 1 else "1 group"
        notes.append(f"{axis.name} {axis.operation}: {groups} of {axis.size} ranks{stride}{_readable(size)}")
    colour = _axis_of_colour(dag)
    if colour is not None:
        notes.append(f"colour: place 0 to {colour.size - 1} on the {colour.name} axis")
    return notes or ["no collectives"]


def _panel(dag: Dag, stage: int, notes: list[str], box: tuple[int, int, int, int], grid: _Grid) -> str:
    left, top, width, height = box
    degrees = dag.degrees
    first = stage * degrees.stage_devices
    parts = [
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="6" fill="#f7f7f7" stroke="#999"/>',
        _text(
            left + _PADDING,
            top + _PADDING + 10,
            f"stage {stage}: ranks {first} to {first + grid.devices - 1}",
            bold=True,
        ),
    ]
    body = top + _PADDING + _LINE
    colour = _axis_of_colour(dag)
    for offset in range(grid.devices):
        across, down = grid.place(offset)
        x, y = left + _PADDING + across, body + down
        if offset % grid.columns == 0:
            parts.append(_text(left + _PADDING, y + _SQUARE - 3, str(first + offset)))
        where = coordinates(degrees, first + offset)
        fill = _COLOURS[0] if colour is None else _colour(where[colour.name], colour.size)
        named = ", ".join(f"{name} {place}" for name, place in where.items())
        parts.append(
            f'<rect x="{x}" y="{y}" width="{_SQUARE}" height="{_SQUARE}" fill="{fill}">'
            f"<title>rank {first + offset}: {named}</title></rect>"
        )
    under = body + grid.height + 12
    parts += [_text(left + _PADDING, under + index * _LINE, note) for index, note in enumerate(notes)]
    return "".join(parts)


def _colour(place: int, size: int) -> str:
    """A colour of its own for every place: named ones for a few, a turn through the hues for many."""
    return _COLOURS[place] if size <= len(_COLOURS) else f"hsl({360 * place // size}, 60%, {45 + place % 2 * 15}%)"


def _axis_of_colour(dag: Dag) -> Axis | None:
    """Colour shows the place on the expert axis, else on the tensor axis."""
    by_name = {axis.name: axis for axis in axes(dag.degrees)}
    return by_name.get("ep") or by_name.get("tp")


def _handed(dag: Dag, before: int, after: int) -> str:
    note = f"{dag.degrees.stage_devices} transfers{_readable(dag.send_bytes[before])}"
    if folded := after - before - 1:
        note += f"; {folded} more stage{'s' * (folded > 1)} of the same groups, not drawn"
    return note


def _arrow(top: int, note: str) -> str:
    middle = _MARGIN + 20
    return f'<path d="M{middle} {top + 2} V{top + _ARROW - 4} m-4 -6 l4 6 l4 -6" fill="none" stroke="#555"/>' + _text(
        middle + 14, top + _ARROW // 2 + 4, note
    )


def _readable(size: int | None) -> str:
    """Bytes in a fitting decimal unit."""
    if size is None:
        return ""
    for scale, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= scale:
            return (
                f", {size / scale:.3g} {unit} a device and step"
                if size < 999.5 * scale
                else f", {size / scale:,.0f} {unit} a device and step"
            )
    return f", {size} bytes a device and step"


def _text(x: int, y: int, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}"{weight}>{escape(text)}</text>'


def _bytes(size: int | None) -> str:
    return "" if size is None else f", {size:,} bytes per step"
