"""The neighbourhood of the answer: two degrees vary, and each cell says what excludes it or what it reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from optimizer.domain.lattice import axes
from optimizer.domain.layout import Layout
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import CostBook
from optimizer.figures.memory import MemoryBook
from optimizer.figures.objective import objective_value
from optimizer.figures.objective_text import objective_text, titled
from optimizer.figures.operating_point import Point
from optimizer.figures.rates import effective_rates
from optimizer.figures.serving import Evaluation, Timing, evaluate
from optimizer.figures.topology import replicas_that_fit
from optimizer.report.html_parts import four_digits, label, legend, paragraph, picture, rect, section
from optimizer.report.subject import Subject
from optimizer.verify.constraints import priced_violations
from optimizer.verify.structure import structural_violations

_COLOURS: Final = {
    "devices": "c7", "divisibility": "c7", "engine": "c6", "search": "c7", "memory": "c1", "ttft": "c3", "tpot": "c5",
    "request_rate": "c0", "batch": "c3", "bandwidth": "c4",
}  # fmt: skip
_FITS: Final = "c2"
_WORDS: Final = {"ttft": "TTFT", "tpot": "TPOT", "request_rate": "request rate"}
MOST_VALUES = 16
"""Rows and columns at most; of more values the powers of two and the answer's own stay."""
_LEFT, _CELL, _ROW = 90.0, 78.0, 24.0


@dataclass(frozen=True, slots=True)
class MapCell:
    """One pair of degrees: the constraint family that excludes it, or its best value and batch."""

    excluded: str | None
    reason: str
    value: Fraction | None = None
    batch: int = 0


def _value(problem: Problem, evaluation: Evaluation) -> Fraction:
    layout = evaluation.layout
    timing = Timing(
        Fraction(0),
        evaluation.ttft_s,
        evaluation.tpot_s,
        evaluation.queue_s,
        evaluation.load,
        evaluation.request_capacity / layout.dp,
    )
    first_s = evaluation.first_token_s(problem.scale.percentile) if problem.scale.measure is Measure.FIRST else None
    point = Point(
        layout.batch, evaluation.cuts, max(evaluation.stage_ticks), None, first_s, evaluation.memory_bytes, timing
    )
    return objective_value(problem, evaluation.shape, layout.replicas, point)


class Surveyor:
    """Prices layouts that differ from the answer in some degrees, at the best batch of 1, 2, 4, … and the largest."""

    def __init__(self, problem: Problem, answer: Layout) -> None:
        self.problem, self.answer = problem, answer
        self._costs = CostBook(problem, effective_rates(problem.priced_hardware))
        self._memory = MemoryBook(problem)
        self._sizes = tuple(tier.size for tier in problem.hardware.tiers)

    def _layout(self, shape: Shape) -> Layout:
        replicas = max(1, replicas_that_fit(self._sizes, self.problem.devices, shape.devices))
        if shape == self.answer.shape:
            return self.answer
        edp = 1 if self.problem.model.moe is None else shape.edp * replicas
        return self.answer.model_copy(
            update={
                "tp": shape.tp,
                "cp": shape.cp,
                "dp": shape.dp * replicas,
                "pp": shape.pp,
                "etp": shape.etp,
                "ep": shape.ep,
                "edp": edp,
                "stages": None,
            }
        )

    def cell(self, shape: Shape) -> MapCell:
        """What excludes a shape at every batch, or the best it reaches."""
        layout = self._layout(shape)
        broken = structural_violations(self.problem, layout)
        if broken:
            return MapCell(str(broken[0].family), str(broken[0]))
        costs, memory = self._costs.costs(shape), self._memory.memory(shape)
        best: MapCell | None = None
        first = ""

        def fits(batch: int) -> bool:
            nonlocal best, first
            at = layout.model_copy(update={"batch": batch})
            evaluation = evaluate(self.problem, at, costs=costs, memory=memory)
            against = priced_violations(self.problem, evaluation)
            if not against:
                value = _value(self.problem, evaluation)
                if best is None or best.value is None or self._better(value, best.value):
                    best = MapCell(None, "", value, batch)
                return True
            families = {str(violation.family) for violation in against}
            last = "request_rate"
            breach = next((violation for violation in against if str(violation.family) != last), against[0])
            if not first or families == {last}:
                first = f"{breach.family}|{breach}"
            return families == {last}

        low, high = 0, 1
        while high <= 2**14 and fits(high):
            low, high = high, 2 * high
        while low and high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        if layout is self.answer:
            fits(layout.batch)
        if best is not None:
            return best
        family, _, reason = first.partition("|")
        return MapCell(family, reason)

    def _better(self, one: Fraction, two: Fraction) -> bool:
        return one > two if self.problem.objective_row.maximised else one < two


def _thinned(values: Sequence[int], chosen: int) -> list[int]:
    if len(values) > MOST_VALUES:
        values = [value for value in values if value & (value - 1) == 0 or value == chosen]
    return list(values)[:MOST_VALUES]


def survey(subject: Subject) -> tuple[tuple[str, str], list[int], list[int], dict[tuple[int, int], MapCell]] | None:
    """Names of both degrees, their values, and the cells; None without an answer or with measured loads."""
    layout, problem = subject.layout, subject.problem
    if layout is None or problem.expert_loads or problem.search.batch is not None:
        return None
    lattice = axes(problem)
    row_axis = "ep" if problem.model.moe is not None else "pp"
    columns, rows = _thinned(lattice.tp, layout.tp), _thinned(getattr(lattice, row_axis), getattr(layout, row_axis))
    surveyor = Surveyor(problem, layout)
    shape = layout.shape
    cells = {}
    for tp in columns:
        for value in rows:
            degrees = {"tp": tp, "cp": shape.cp, "etp": shape.etp, "ep": shape.ep, "pp": shape.pp, row_axis: value}
            cells[tp, value] = surveyor.cell(Shape(**degrees, redundant=shape.redundant, overlap=shape.overlap))
    return ("tp", row_axis), columns, rows, cells


def map_section(subject: Subject) -> str:
    """The map with its legend."""
    surveyed = survey(subject)
    if surveyed is None or subject.layout is None:
        return ""
    (column_axis, row_axis), columns, rows, cells = surveyed
    values = [float(cell.value) for cell in cells.values() if cell.value is not None]
    low, high = min(values), max(values)
    shapes = [label(_LEFT + len(columns) * _CELL / 2, 12, column_axis.upper(), class_="middle small")]
    shapes += [label(_LEFT + (i + 0.5) * _CELL, 28, str(tp), class_="middle") for i, tp in enumerate(columns)]
    y, families = 34.0, set()
    for value in rows:
        shapes.append(label(_LEFT - 10, y + 16, f"{row_axis.upper()} {value}", class_="end"))
        for i, tp in enumerate(columns):
            cell, x = cells[tp, value], _LEFT + i * _CELL
            chosen = (tp, value) == (subject.layout.tp, getattr(subject.layout, row_axis))
            ring = "chosen" if chosen else "cell"
            if cell.excluded is not None or cell.value is None:
                family = cell.excluded or ""
                families.add(family)
                colour, text, tip, strength = _COLOURS.get(family, "c7"), _WORDS.get(family, family), cell.reason, 0.75
            else:
                reach = float(cell.value)
                share = (reach - low) / (high - low) if high > low else 1.0
                strength = 0.25 + 0.75 * (share if subject.problem.objective_row.maximised else 1 - share)
                colour, text = _FITS, four_digits(reach)
                tip = f"{objective_text(subject.problem.objective_row.unit, reach)} at batch {cell.batch:,}"
            caption = f"{column_axis.upper()} {tp}, {row_axis.upper()} {value}: {tip}"
            fill = {"fill_opacity": f"{strength:.2f}"}
            shapes.append(rect(x + 1, y + 1, _CELL - 3, _ROW - 3, tip=caption, class_=f"{colour} {ring}", rx=2, **fill))
            shapes.append(label(x + _CELL / 2 - 0.5, y + 15, text, class_="middle in-cell"))
        y += _ROW
    key = [(_COLOURS.get(family, "c7"), _WORDS.get(family, family)) for family in sorted(families)]
    key.append((_FITS, f"fits: {titled(subject.problem.objective_row.unit)}"))
    return section(
        "map", f"What excludes other {column_axis.upper()} and {row_axis.upper()}",
        paragraph(
            "Everything else is as in the answer, with even stages and the best of the batches tried. A cell shows "
            "what it reaches, or the limit that excludes it at every batch; the answer has a frame."
        ),
        legend(key), picture("candidate-map", "Candidate map", _LEFT + len(columns) * _CELL + 10, y + 6, shapes),
    )  # fmt: skip
