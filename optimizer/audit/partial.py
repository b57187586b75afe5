"""A problem at hand laid out by the degrees that a document gives, in every convention that reads them, by `verify`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any, Final

from optimizer.audit.facts import Derivation, Facts
from optimizer.audit.statements import AXES
from optimizer.domain.convention import CONVENTIONS, Degrees
from optimizer.domain.layout import Layout, WrittenLayout
from optimizer.domain.problem import Problem
from optimizer.domain.workload import PHASES
from optimizer.errors import SpecError
from optimizer.figures.derivation_figure import Figure
from optimizer.readers.document import Document
from optimizer.readers.read import problem_in
from optimizer.verify import judge_layout
from optimizer.verify.claim_table import ClaimKind

_USUAL: Final = ("folded", "product")
"""Conventions that need no engine to be named: the others are read where the document names theirs."""
_PHASES: Final = {"decode": "decode", "aggregated": "prefill and decode mixed", "prefill": "prefill"}
_BATCHES: Final = (1, 2, 8, 64, 512)


def resolve(problem: Mapping[str, Any] | Problem) -> Problem:
    """A problem at hand, with its model and hardware in full.

    Raises
    ------
    SpecError
        What is wrong with it.
    """
    if isinstance(problem, Problem):
        return problem
    return problem_in(Document(problem, "<problem>", "{}"))


def device_counts(degrees: Mapping[str, int], engines: str) -> dict[int, str]:
    """Devices by every convention that can read the degrees, each count once; ``engines`` are those named."""
    written = Degrees(
        degrees.get("tp", 1), degrees.get("cp", 1), degrees.get("dp", 1), degrees.get("pp", 1), degrees.get("etp"),
        degrees.get("ep"), None,
    )  # fmt: skip
    counts: dict[int, str] = {}
    for name, rule in CONVENTIONS.items() if min(degrees.values(), default=1) > 0 else ():
        # With the experts' tensor parallelism written, nobody multiplies expert parallelism on top.
        if (name in _USUAL and not (name == "product" and "etp" in degrees)) or name.partition("-")[0] in engines:
            try:
                mesh = rule.read(written)
            except ValueError:
                continue
            width = mesh["tp"] * mesh["cp"] * mesh["dp"]
            if width % mesh["ep"] == 0:
                counts.setdefault(width * mesh["pp"], name)
    return counts


@dataclass(frozen=True, slots=True)
class Completion:
    """The problem in one layout at one operating point, with the reference's figures."""

    point: str
    problem: Problem
    layout: Layout
    figures: Mapping[str, Figure]


def completions(problem: Problem, facts: Facts, *, points: bool) -> list[Completion]:
    """The layouts that the document's degrees may be; none where it gives two of an axis, or nothing of a layout.

    ``points``: in every phase, at batch 1, the written batch and a few more, where they fit.
    """
    degrees = {axis: int(value) for axis in AXES if (value := facts.one(axis))}
    devices, batch = facts.one("devices"), int(facts.one("batch") or 1)
    if any(len(facts.values(axis)) > 1 for axis in AXES) or not (degrees or devices):
        return []
    written = dict.fromkeys(("tp", "cp", "dp", "pp"), 1) | degrees
    conventions = [name for name in _USUAL if device_counts(written, name).get(int(devices or 0)) == name] or _USUAL
    asked = list(_points(problem, batch)) if points else [("", problem, batch)]
    found = []
    for convention, (point, one, size) in product(conventions, asked):
        try:
            layout = WrittenLayout.model_validate({"convention": convention, **written, "batch": size}).resolve(
                experts=problem.model.moe is not None
            )
            verdict = judge_layout(one, layout)
        except (SpecError, ValueError):
            continue
        fits = verdict.evaluation is not None and verdict.figures["memory_bytes"].value <= one.capacity_bytes
        if fits or (verdict.evaluation is not None and not points):
            found.append(Completion(point, one, layout, verdict.figures))
    return found


def _points(problem: Problem, batch: int) -> Iterator[tuple[str, Problem, int]]:
    workload = problem.workload
    for phase, name in _PHASES.items():
        if workload.output_tokens > 1 or not PHASES[phase].decodes:
            asked = problem.model_copy(update={"workload": workload.model_copy(update={"phase": phase})})
            yield from ((f"{name} at batch {size}", asked, size) for size in sorted({*_BATCHES, batch}))


def readings(kind: ClaimKind, ways: Sequence[Completion]) -> list[Derivation]:
    """What a claim of some kind is in some layouts, by its readings, at a point by its name as well."""
    found: dict[tuple[str, Fraction], Derivation] = {}
    for reading, way in product(kind.readings, ways):
        if reading.figure in way.figures:
            figure = way.figures[reading.figure].to_json()
            name = f"{way.point}, {reading.name}" if way.point else reading.name
            value = Fraction(way.figures[reading.figure].value)
            formula, text = str(figure["formula"]), str(figure["substituted"])
            told = text.rpartition(" = ")[0] or text or formula
            found.setdefault((name, value), Derivation(name, value, formula, told))
    return list(found.values())
