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

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Final

from pydantic import Field, ValidationError

from optimizer.domain.base import Spec
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.model import ModelSpec
from optimizer.domain.problem import ProblemFile
from optimizer.errors import SpecError
from optimizer.readers import catalog
from optimizer.readers.cluster import NO_CLUSTER_HERE, is_cluster
from optimizer.readers.diagnosis import Finding, diagnose
from optimizer.readers.document import Document, load, parse
from optimizer.readers.messages import kind_of, nearest, shown
from optimizer.readers.places import PathStep
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


_READ: Final[Mapping[str, Callable[..., ModelSpec | HardwareSpec]]] = {
    "model": catalog.model_in,
    "hardware": catalog.hardware_in,
}
"""What reads the value of a key that may refer to a file."""


def _carried(document: Document, at: tuple[PathStep, ...], key: str, folder: Path | None) -> object:
    """A value that means the same on another machine: a catalog name, or in place of a path what it holds."""
    value = document.get(at)
    if key not in _READ or not isinstance(value, str | Mapping):
        return value
    read = _READ[key](document, at, beside=folder)
    return read.model_dump(mode="json") if isinstance(value, str) and catalog.is_path(value) else value


@dataclass(frozen=True)
class _Base:
    """What all problems have in common, as it is carried, and where it is written."""

    data: dict[str, Any]
    document: Document
    at: tuple[PathStep, ...]


def _base(document: Document, written: GridFile) -> _Base:
    inner, at, folder = document, tuple[PathStep, ...](("problem",)), document.folder
    problem: object = written.problem
    if isinstance(problem, str):
        file = catalog.find("scenarios", problem, beside=folder)
        inner, at, folder = load(file), (), file.parent
        problem = inner.data
    if not isinstance(problem, Mapping):
        raise document.error(f"a problem is wanted (a mapping), not {kind_of(problem)}", ("problem",))
    if is_cluster(problem):
        raise inner.error(NO_CLUSTER_HERE, at)
    data = {
        key: value if key in written.grid else _carried(inner, (*at, key), key, folder)
        for key, value in problem.items()
    }
    return _Base(data, inner, at)


def _axes(document: Document, written: GridFile) -> list[list[tuple[str, object]]]:
    """Of each axis its values, each with its label."""
    known = list(ProblemFile.model_fields)
    values_of_axes = []
    for key in written.grid:
        head = key.partition(".")[0]
        if head not in known:
            message = f"{head!r} is no key of a problem"
            raise SpecError(document.fault(message, ("grid", key), nearest(head, known), key=True))
        listed = _values(written, key)
        if not listed:
            raise document.error("a list of values is wanted, not an empty one", ("grid", key))
        places = [_value_at(written, key, number) for number in range(len(listed))]
        carried = [_carried(document, at, key, document.folder) for at in places]
        values_of_axes.append([(_label(value), own) for value, own in zip(listed, carried, strict=True)])
    return values_of_axes


def _values(written: GridFile, key: str) -> list[Any]:
    values = written.grid[key]
    return values if isinstance(values, list) else [values]


def _value_at(written: GridFile, key: str, number: int) -> tuple[PathStep, ...]:
    """Where a value of an axis stands."""
    return ("grid", key, number) if isinstance(written.grid[key], list) else ("grid", key)


def _excluded(document: Document, written: GridFile) -> list[dict[str, str]]:
    rules = []
    for number, rule in enumerate(written.exclude):
        for key in rule:
            if key not in written.grid:
                message = f"{key!r} is no axis of the grid"
                at = ("exclude", number, key)
                raise SpecError(document.fault(message, at, nearest(key, list(written.grid)), key=True))
            value, known = _label(rule[key]), [_label(value) for value in _values(written, key)]
            if value not in known:
                raise document.error(
                    f"{shown(value)} is no value of {key}", ("exclude", number, key), nearest(value, known)
                )
        rules.append({key: _label(value) for key, value in rule.items()})
    return rules


_Origin = tuple[str, str] | None
"""An axis and the label of its value; None: what all problems have in common."""


def _findings(question: Mapping[str, Any]) -> list[Finding]:
    try:
        ProblemFile.model_validate(dict(question))
    except ValidationError as error:
        return diagnose(ProblemFile, question, error.errors(include_url=False))
    return []


def _impossible(names: Sequence[str], cells: Sequence[Cell]) -> dict[_Origin, list[Finding]]:
    """What is wrong with a value in every problem that has it: no combination can answer it."""
    wrong: dict[_Origin, list[Finding]] = {}
    right: set[_Origin] = set()
    for cell in cells:
        own: dict[str, _Origin] = {name: (name, label) for name, label in zip(names, cell.labels, strict=True)}
        if right.issuperset((None, *own.values())):
            continue
        found: dict[_Origin, list[Finding]] = {origin: [] for origin in (None, *own.values())}
        for finding in _findings(cell.question):
            axis = next((name for name in names if finding.at and _overlap(finding.at, name.split("."))), None)
            found[None if axis is None else own[axis]].append(finding)
        for origin, findings in found.items():
            if findings:
                wrong.setdefault(origin, findings)
            else:
                right.add(origin)
    return {origin: findings for origin, findings in wrong.items() if origin not in right}


def _overlap(one: Sequence[PathStep], other: Sequence[PathStep]) -> bool:
    """Whether one of two places is within the other."""
    return all(a == b for a, b in zip(one, other, strict=False))


def _refuse_impossible(document: Document, written: GridFile, base: _Base, cells: Sequence[Cell]) -> None:
    """Refuse what no problem of the grid can have, where it stands."""
    faults = []
    for origin, findings in _impossible(list(written.grid), cells).items():
        for found in findings:
            if origin is None:
                at = (*base.at, *found.at)
                faults.append(base.document.fault(found.message, at, found.suggestion, key=found.at_key))
                continue
            name, label = origin
            inside = found.at[name.count(".") + 1 :]
            meant = found.suggestion
            if found.at_key and not inside:
                at = ("grid", name)
                # the axis's own name is wrong: what is meant is a whole name too
                rest = name.split(".")[len(found.at) :]
                meant = None if meant is None else ".".join((*map(str, found.at[:-1]), meant, *rest))
            else:
                number = [_label(value) for value in _values(written, name)].index(label)
                at = (*_value_at(written, name, number), *inside)
            faults.append(document.fault(found.message, at, meant, key=found.at_key))
    if faults:
        raise SpecError(*sorted(set(faults), key=lambda fault: (fault.path or "", fault.line or 0, fault.column or 0)))


def read_grid(reference: str | Path) -> Grid:
    """Grid of a file, or of standard input for ``-``.

    Raises
    ------
    SpecError
        What is wrong with it, with its place: a value that no problem of the grid can have as well. One that only some
        of them cannot have is an answer to these.
    """
    return grid_in(load(reference))


def grid_in(document: Document) -> Grid:
    """As `read_grid`, for a document at hand."""
    refuse_other_file(document, "grid", "grid")
    written = parse(GridFile, document)
    base, axes, rules = _base(document, written), _axes(document, written), _excluded(document, written)
    size = prod(map(len, axes))
    if size > LARGEST_GRID:
        raise document.error(f"spans {size:,} problems, more than {LARGEST_GRID:,}", ("grid",))
    names = tuple(written.grid)
    cells = tuple(_cells(base.data, names, axes, rules))
    if not cells:
        raise document.error("leaves out every problem", ("exclude",))
    _refuse_impossible(document, written, base, cells)
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
