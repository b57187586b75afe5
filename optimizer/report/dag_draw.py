"""The deployment graph for eyes: Graphviz DOT in full, and an SVG that folds equal groups into one line."""

from html import escape
from typing import Final

from optimizer.report.dag import Axis, Dag, axes, device, send

_SQUARE: Final = 14
_GAP: Final = 3
_PER_ROW: Final = 32
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
    lines += [f'  "{send(a, b)}" [shape=cds, label="send{_bytes(dag.send_bytes)}"];' for a, b in dag.sends]
    lines += [f'  "{source}" -> "{target}";' for source, target in dag.edges]
    return "\n".join([*lines, "}", ""])


def to_svg(dag: Dag) -> str:
    """Self-contained SVG: a panel per stage, a square per device, a line per set of equal collectives."""
    degrees = dag.degrees
    shown = list(range(degrees.pp)) if degrees.pp <= 4 else [0, degrees.pp - 1]
    columns = min(_PER_ROW, degrees.stage_devices)
    rows = -(-degrees.stage_devices // columns)
    notes = _notes(dag)
    width = max(columns * (_SQUARE + _GAP), max(len(note) for note in notes) * 7) + 2 * _PADDING
    height = _LINE * (len(notes) + 1) + rows * (_SQUARE + _GAP) + 2 * _PADDING
    parts = []
    top = _MARGIN
    for position, stage in enumerate(shown):
        if position:
            parts.append(_between(dag, top, stage - shown[position - 1] - 1))
            top += _ARROW
        parts.append(_panel(dag, stage, notes, (_MARGIN, top, width, height), columns))
        top += height
    total_width, total_height = width + 2 * _MARGIN, top + _MARGIN
    title = f"{degrees.devices} devices: tp {degrees.tp}, cp {degrees.cp}, dp {degrees.dp}, pp {degrees.pp}"
    if degrees.has_experts:
        title += f"; etp {degrees.etp}, ep {degrees.ep}, edp {degrees.edp}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total_width}" height="{total_height}" '
        f'viewBox="0 0 {total_width} {total_height}" role="img" font-family="sans-serif" font-size="12">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>\n"
    )


def _notes(dag: Dag) -> list[str]:
    """One line for each collective of a stage, with equal groups folded into a count."""
    degrees = dag.degrees
    notes = []
    for axis in axes(degrees):
        count = degrees.stage_devices // axis.size
        size = next(group.bytes for group in dag.groups if group.axis == axis)
        stride = f", every {axis.stride}th rank" if axis.stride > 1 else ""
        notes.append(f"{axis.name} {axis.operation}: {count} × {axis.size} ranks{stride}{_bytes(size)}")
    return notes or ["no collectives"]


def _panel(dag: Dag, stage: int, notes: list[str], box: tuple[int, int, int, int], columns: int) -> str:
    left, top, width, height = box
    degrees = dag.degrees
    first = stage * degrees.stage_devices
    last = first + degrees.stage_devices - 1
    parts = [
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="6" fill="#f7f7f7" stroke="#999"/>',
        _text(left + _PADDING, top + _PADDING + 10, f"stage {stage}: ranks {first} to {last}", bold=True),
    ]
    body = top + _PADDING + _LINE
    colour = _axis_of_colour(dag)
    for offset in range(degrees.stage_devices):
        x = left + _PADDING + offset % columns * (_SQUARE + _GAP)
        y = body + offset // columns * (_SQUARE + _GAP)
        where = degrees.coordinates(first + offset)
        group = where[colour.name] if colour is not None else 0
        named = ", ".join(f"{name} {place}" for name, place in where.items())
        parts.append(
            f'<rect x="{x}" y="{y}" width="{_SQUARE}" height="{_SQUARE}" fill="{_COLOURS[group % len(_COLOURS)]}">'
            f"<title>rank {first + offset}: {named}</title></rect>"
        )
    rows = -(-degrees.stage_devices // columns)
    under = body + rows * (_SQUARE + _GAP) + 12
    parts += [_text(left + _PADDING, under + index * _LINE, note) for index, note in enumerate(notes)]
    return "".join(parts)


def _axis_of_colour(dag: Dag) -> Axis | None:
    """Colour shows the place on the expert axis, else on the tensor axis."""
    found = {axis.name: axis for axis in axes(dag.degrees)}
    return found.get("ep") or found.get("tp")


def _between(dag: Dag, top: int, folded: int) -> str:
    middle = _MARGIN + 40
    note = f"{dag.degrees.stage_devices} transfers{_bytes(dag.send_bytes)}"
    if folded:
        note += f"; {folded} equal stage{'s' * (folded > 1)} between, not drawn"
    return f'<path d="M{middle} {top + 2} V{top + _ARROW - 8} m-4 -6 l4 6 l4 -6" fill="none" stroke="#555"/>' + _text(
        middle + 14, top + _ARROW // 2 + 4, note
    )


def _text(x: int, y: int, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}"{weight}>{escape(text)}</text>'


def _bytes(size: int | None) -> str:
    return "" if size is None else f", {size:,} bytes per step"
