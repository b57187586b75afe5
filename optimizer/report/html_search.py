"""What became of every candidate, and what the checker says of it; the frontier where there is one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Any, Final

from optimizer.domain.uncertainty import TIES
from optimizer.figures.objective_text import titled
from optimizer.report.html_parts import element, label, line, paragraph, picture, rect, section, table
from optimizer.report.subject import Subject

_PROOF = {
    "attention_mesh": "with their attention mesh",
    "mesh_pair": "with their pair of meshes",
    "layout": "by their stages and chunk",
    "exact": "by their best batch and cuts",
}
"""Steps of the checker's proof, from coarse to fine."""
_LEFT, _WIDTH, _ROW = 240.0, 900.0, 24.0


def _bars(name: str, title: str, counts: Iterable[tuple[str, int, str]]) -> str:
    """Counts on a logarithmic scale, each with its colour."""
    shown = [entry for entry in counts if entry[1]]
    most = max((log10(count) + 1 for _, count, _ in shown), default=1.0)
    total = sum(count for _, count, _ in shown)
    shapes, y = [], 6.0
    for text, count, colour in shown:
        width = (log10(count) + 1) / most * (_WIDTH - _LEFT - 180)
        tip = f"{text}: {count:,} ({count / total:.3%})"
        shapes += [
            label(_LEFT - 10, y + 15, text, class_="end"),
            rect(_LEFT, y + 3, width, _ROW - 8, tip=tip, class_=colour),
            label(_LEFT + width + 6, y + 15, f"{count:,}", class_="small"),
        ]
        y += _ROW
    return picture(name, title, _WIDTH, y + 4, shapes)


def search_section(subject: Subject) -> str:
    """Bars of what the search and the checker excluded."""
    tally = subject.document.get("search") or {}
    excluded: Mapping[str, int] = tally.get("excluded") or {}
    if not tally.get("candidates"):
        return ""
    dismissed, exact = int(tally.get("dismissed_by_bound", 0)), int(tally.get("decided_exactly", 0))
    counts = [(f"excluded by {family.replace('_', ' ')}", int(n), "c1") for family, n in excluded.items()]
    counts += [("dismissed by a bound (rows)", dismissed, "c0"), ("decided by the reference", exact, "c2")]
    charts = [
        paragraph(
            f"{tally['candidates']:,} candidates (mesh pairs × stages × chunks). One row of a bound may stand for many "
            "candidates. Bars are logarithmic."
        ),
        _bars("search-bars", "What excluded candidates", counts),
    ]
    check = subject.check
    if check is not None and check.dismissed:
        charts.append(element("h3", "How the checker dismissed them, in exact arithmetic"))
        named = [(_PROOF.get(step, step.replace("_", " ")), count, "c4") for step, count in check.dismissed.items()]
        charts.append(_bars("check-bars", "What the checker dismissed", named))
    return section("search", "What became of the candidates", *charts)


def certificate_section(subject: Subject) -> str:
    """The checker's verdict, what it checked, and what it takes on trust."""
    check = subject.check
    if check is None:
        return section("certificate", "Certificate", paragraph("Not checked for this report."))
    verdict = "accepted" if check.accepted else f"rejected: {check.item}: {check.reason}"
    rows = [[item, "checked without the solver"] for item in check.checked]
    rows += [[item, "as the solver says"] for item in check.solver_trusted]
    rows += [[item, "not checked"] for item in check.not_checked]
    return section(
        "certificate", "Certificate",
        element("p", element("strong", escape(verdict), class_="good" if check.accepted else "bad")),
        table(["part", "how"], rows), paragraph(f"{check.candidates:,} candidates checked in {check.wall_s:.2f} s."),
        paragraph(f"Problem {subject.problem.digest}", class_="note"),
    )  # fmt: skip


def _points(frontier: object) -> tuple[list[str], list[tuple[list[float], Mapping[str, Any]]]]:
    """Names of objectives and points of a frontier, as a list of points or as ``{objectives, points}``."""
    names: list[str] = []
    points = frontier
    if isinstance(frontier, Mapping):
        names, points = [str(name) for name in frontier.get("objectives", ())], frontier.get("points", [])
    plotted = []
    for point in points if isinstance(points, Sequence) else ():
        values = point.get("values") if isinstance(point, Mapping) else None
        if isinstance(values, Mapping):
            names = names or list(values)
            values = [values[name] for name in names]
        if isinstance(values, list) and len(values) >= 2 and all(isinstance(v, int | float) for v in values):
            plotted.append(([float(v) for v in values], point.get("layout") or {}))
    return names or ["first objective", "second objective"], plotted


def _degrees(layout: Mapping[str, Any]) -> str:
    names = ("tp", "cp", "dp", "pp", "etp", "ep", "edp", "batch", "prefill_chunk", "overlap", "devices")
    return ", ".join(f"{name} {layout[name]}" for name in names if layout.get(name) is not None)


def _scale(values: Sequence[float], start: float, end: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    factor = (end - start) / (high - low + 2 * room)
    return factor, start - (low - room) * factor


def _ticks(low: float, high: float) -> list[float]:
    """Four to ten round values from low to high."""
    step = 10.0 ** floor(log10((high - low) / 4))
    step *= next((factor for factor in (5, 2) if (high - low) / (factor * step) >= 4), 1)
    return [number * step for number in range(ceil(low / step), floor(high / step) + 1)]


_PER_USER: Final = {"tpot_s": "tokens/s a user", "throughput_per_device_tokens_per_s": "tokens/s a device"}
"""Throughput against speed as serving benchmarks draw it: a user's tokens/s across, a device's upwards."""


def _drawn(
    names: list[str], points: Sequence[tuple[list[float], Mapping[str, Any]]]
) -> tuple[list[str], list[Coordinates]]:
    """Titles of the axes, and where each point lies: the objectives as asked, or as `_PER_USER` where it is these."""
    places = [(values[0], values[1]) for values, _ in points]
    if set(names[:2]) != set(_PER_USER) or any(value <= 0 for place in places for value in place):
        return [titled(name) for name in names[:2]], places
    tpot = names.index("tpot_s")
    return list(_PER_USER.values()), [(1 / place[tpot], place[1 - tpot]) for place in places]


Coordinates = tuple[float, float]


def ties_section(subject: Subject) -> str:
    """Layouts that the model's error cannot tell from the answer; empty where none is listed."""
    ties = subject.document.get("ties")
    apart = TIES.get(subject.problem.scale.measure)
    if not isinstance(ties, list) or not ties or apart is None:
        return ""
    explanation = (
        f"On as many devices, within {float(apart):.0%} of the answer: measured runs so near have been in the other "
        "order. Measure them; there may be more."
    )
    rows = [
        [f"{tie['value']:,.6g}", f"{tie['ratio'] - 1:+.1%}", _degrees(tie["layout"])]
        for tie in ties
        if isinstance(tie, Mapping) and isinstance(tie.get("layout"), Mapping)
        and all(isinstance(tie.get(name), int | float) for name in ("value", "ratio"))
    ]  # fmt: skip
    head = [titled(subject.problem.objective_row.unit), "", "layout"]
    return section("ties", "Ties", paragraph(escape(explanation)), table(head, rows, right=(0, 1)))


def pareto_section(subject: Subject) -> str:
    """The frontier of two objectives, a point for each layout; empty where the result has none."""
    names, points = _points(subject.document.get("pareto"))
    if not points:
        return ""
    titles, places = _drawn(names, points)
    left, top, right, bottom = 90.0, 12.0, _WIDTH - 20, 380.0
    x_factor, x_offset = _scale([x for x, _ in places], left, right)
    y_factor, y_offset = _scale([y for _, y in places], bottom, top)
    shapes = [line(left, bottom, right, bottom, class_="axis"), line(left, top, left, bottom, class_="axis")]
    for value in _ticks((left - x_offset) / x_factor, (right - x_offset) / x_factor):
        x = value * x_factor + x_offset
        shapes.append(line(x, top, x, bottom, class_="faint"))
        shapes.append(label(x, bottom + 16, f"{value:.6g}", class_="middle small"))
    for value in _ticks((bottom - y_offset) / y_factor, (top - y_offset) / y_factor):
        y = value * y_factor + y_offset
        shapes.append(line(left, y, right, y, class_="faint"))
        shapes.append(label(left - 8, y + 4, f"{value:.6g}", class_="end small"))
    for (values, layout), place in zip(points, places, strict=True):
        caption = ", ".join(f"{name} {value:.6g}" for name, value in zip(names, values, strict=False))
        x, y = place[0] * x_factor + x_offset, place[1] * y_factor + y_offset
        shapes.append(
            element(
                "circle", cx=f"{x:.2f}", cy=f"{y:.2f}", r=5, class_="c0 dot", data_tip=f"{caption}; {_degrees(layout)}"
            )
        )
    shapes += [
        label((left + right) / 2, bottom + 34, titles[0], class_="middle"),
        label(
            0,
            0,
            titles[1],
            class_="middle",
            transform=f"translate(16 {(top + bottom) / 2}) rotate(-90)",
        ),
    ]
    rows = [[*(f"{value:.6g}" for value in values), _degrees(layout)] for values, layout in points]
    return section(
        "pareto", "Layouts that nothing beats in both", picture("pareto-plot", "Frontier", _WIDTH, bottom + 44, shapes),
        element("details", element("summary", f"{len(points):,} layouts"), table([*names, "layout"], rows)),
    )  # fmt: skip
