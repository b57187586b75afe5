"""The grid file: one problem, and for each axis the values that its key takes.

::

    problem:                      # what all problems have in common; or the name or path of one
      workload: {input_tokens: 4096, output_tokens: 1024}
    grid:                         # every combination, the last axis fastest
      model: [deepseek-v3, llama-3.1-70b]
      hardware: [h100-sxm-8, h200-sxm-8]
      devices: [8, 16]
      limits.tpot: [20 ms, 50 ms]  # a dotted key reaches inside
    exclude:                      # optional: combinations to leave out
      - {model: deepseek-v3, devices: 8}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from pydantic import Field

from optimizer.domain.base import Spec
from optimizer.domain.problem import ProblemFile
from optimizer.errors import SpecError
from optimizer.readers import catalog
from optimizer.readers.document import Document, load, parse
from optimizer.readers.messages import kind_of, nearest
from optimizer.readers.read import refuse_other_file

LARGEST_GRID = 10**6
"""Problems of one sweep."""


class GridFile(Spec):
    """The grid as written."""

    name: str = Field(default="sweep", min_length=1)
    problem: str | dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, Any] = Field(min_length=1)
    exclude: tuple[dict[str, Any], ...] = Field(default=(), strict=False)
    notes: str = ""


@dataclass(frozen=True)
class Cell:
    """One problem of a grid.

    Attributes
    ----------
    index
        Position in the grid, from 0.
    labels
        Value of each axis, as text for the table.
    question
        The problem, as a problem file would write it.
    """

    index: int
    labels: tuple[str, ...]
    question: Mapping[str, Any]


@dataclass(frozen=True)
class Grid:
    """Axes and problems, in order."""

    name: str
    axes: tuple[str, ...]
    cells: tuple[Cell, ...]


def _label(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_label(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(_label, value))
    return str(value)


def _put(question: dict[str, Any], key: str, value: object) -> None:
    *path, last = key.split(".")
    inner = question
    for step in path:
        section = inner.get(step)
        inner[step] = dict(section) if isinstance(section, Mapping) else {}
        inner = inner[step]
    inner[last] = deepcopy(value)
    # The two say the same thing twice, so that an axis replaces both.
    alternative = {"devices": "nodes", "nodes": "devices"}.get(key)
    if alternative is not None:
        question.pop(alternative, None)


def _carried(kind: catalog.Shelf, reference: object, folder: Path | None) -> object:
    """A reference that means the same on another machine: a catalog name, or in place of a path what it holds."""
    if not isinstance(reference, str) or not catalog.is_path(reference):
        return reference
    read = catalog.load_model if kind == "models" else catalog.load_hardware
    return read(reference, beside=folder).model_dump(mode="json")


def _base(document: Document, written: GridFile, folder: Path | None) -> dict[str, Any]:
    problem: object = written.problem
    if isinstance(problem, str):
        file = catalog.find("scenarios", problem, beside=folder)
        inner = load(file)
        problem, folder = inner.data, file.parent
    if not isinstance(problem, Mapping):
        raise document.error(f"a problem is wanted (a mapping), not {kind_of(problem)}", ("problem",))
    base = dict(problem)
    for kind, key in (("models", "model"), ("hardware", "hardware")):
        if key in base:
            base[key] = _carried(kind, base[key], folder)  # type: ignore[arg-type]
    return base


def _axes(document: Document, written: GridFile, folder: Path | None) -> list[list[tuple[str, object]]]:
    """Of each axis its values, each with its label."""
    known = list(ProblemFile.model_fields)
    values_of_axes = []
    for key, values in written.grid.items():
        head = key.partition(".")[0]
        if head not in known:
            message = f"{head!r} is no key of a problem"
            raise SpecError(document.fault(message, ("grid", key), nearest(head, known), key=True))
        listed = values if isinstance(values, list) else [values]
        if not listed:
            raise document.error("a list of values is wanted, not an empty one", ("grid", key))
        kind: catalog.Shelf | None = {"model": "models", "hardware": "hardware"}.get(key)  # type: ignore[assignment]
        values_of_axes.append([(_label(v), v if kind is None else _carried(kind, v, folder)) for v in listed])
    return values_of_axes


def _excluded(document: Document, written: GridFile) -> list[dict[str, str]]:
    rules = []
    for number, rule in enumerate(written.exclude):
        for key in rule:
            if key not in written.grid:
                message = f"{key!r} is no axis of the grid"
                at = ("exclude", number, key)
                raise SpecError(document.fault(message, at, nearest(key, list(written.grid)), key=True))
        rules.append({key: _label(value) for key, value in rule.items()})
    return rules


def read_grid(reference: str | Path) -> Grid:
    """Grid of a file, or of standard input for ``-``.

    Raises
    ------
    SpecError
        What is wrong with it, with its place. A value that only some problems cannot have is an answer to these.
    """
    return grid_in(load(reference))


def grid_in(document: Document) -> Grid:
    """As `read_grid`, for a document at hand."""
    refuse_other_file(document, "grid", "grid")
    written = parse(GridFile, document)
    folder = document.folder
    base, axes, rules = _base(document, written, folder), _axes(document, written, folder), _excluded(document, written)
    size = prod(map(len, axes))
    if size > LARGEST_GRID:
        raise document.error(f"spans {size:,} problems, more than {LARGEST_GRID:,}", ("grid",))
    names = tuple(written.grid)
    cells = tuple(_cells(base, names, axes, rules))
    if not cells:
        raise document.error("leaves out every problem", ("exclude",))
    return Grid(written.name, names, cells)


def _cells(
    base: dict[str, Any],
    names: Sequence[str],
    axes: Sequence[Sequence[tuple[str, object]]],
    rules: Sequence[Mapping[str, str]],
) -> list[Cell]:
    cells: list[Cell] = []
    for chosen in product(*axes):
        labels = dict(zip(names, (label for label, _ in chosen), strict=True))
        if any(all(labels[key] == value for key, value in rule.items()) for rule in rules):
            continue
        question = dict(base)
        for key, (_, value) in zip(names, chosen, strict=True):
            _put(question, key, value)
        question["name"] = "sweep"
        cells.append(Cell(len(cells), tuple(labels.values()), question))
    return cells
