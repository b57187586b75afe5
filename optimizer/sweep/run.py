"""Solves the problems of a grid that no journal has, and tells how far it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimizer import __version__
from optimizer.errors import InternalError, ShardproofError, StoppedError
from optimizer.sweep.answer import Answer, Task, read_question
from optimizer.sweep.backends import Workers, backend
from optimizer.sweep.grid import Grid
from optimizer.sweep.journal import Journal

Tell = Callable[[int, int, Answer], None]
"""Called after each problem with how many are done, how many there are, and its answer."""


@dataclass(frozen=True)
class Options:
    """How a sweep is run.

    Attributes
    ----------
    time_limit_s
        For each problem; answers may then depend on the machine.
    check
        Whether every certificate is checked too.
    journal
        File of finished problems; None: none is kept.
    """

    backend: str = "loky"
    jobs: int | None = None
    address: str | None = None
    time_limit_s: float | None = None
    check: bool = False
    journal: Path | None = None

    @property
    def settings(self) -> str:
        """What answers depend on beside the question."""
        return json.dumps({"time_limit_s": self.time_limit_s, "check": self.check, "version": __version__})


class InterruptedSweepError(StoppedError):
    """A sweep that was stopped.

    Attributes
    ----------
    rows
        Row of each problem that was answered until then.
    """

    def __init__(self, message: str, rows: dict[int, dict[str, Any]]) -> None:
        super().__init__(message)
        self.rows = rows


def key_of(question: Mapping[str, Any]) -> str:
    """What an answer is known by: the digest of the resolved problem, with all that its files hold.

    A question that cannot be resolved is known by its own text; its answer, an error, is never taken from a journal.
    """
    try:
        return read_question(question).digest
    except ShardproofError:
        return hashlib.sha256(json.dumps(question, sort_keys=True, default=str).encode()).hexdigest()


def sweep(grid: Grid, options: Options, tell: Tell | None = None) -> dict[int, dict[str, Any]]:
    """Row of each problem by its index.

    Raises
    ------
    SpecError
        The backend or the journal cannot be used; what is wrong with one problem stands in its row.
    InterruptedSweepError
        Stopped by a signal or a full disk; it has what was answered.
    """
    run = backend(options.backend)
    if options.journal is None:
        return _sweep(grid, options, run, None, tell)
    with Journal(options.journal, options.settings) as journal:
        return _sweep(grid, options, run, journal, tell)


def _sweep(
    grid: Grid, options: Options, run: Callable[..., Any], journal: Journal | None, tell: Tell | None
) -> dict[int, dict[str, Any]]:
    known = journal.answers if journal is not None else {}
    keys = {cell.index: key_of(cell.question) for cell in grid.cells}
    rows = {index: known[key].row for index, key in keys.items() if key in known}
    # Problems that are the same are solved once.
    first: dict[str, int] = {}
    for cell in grid.cells:
        first.setdefault(keys[cell.index], cell.index)
    tasks = [
        Task(cell.index, keys[cell.index], cell.question, options.time_limit_s, options.check)
        for cell in grid.cells
        if cell.index not in rows and first[keys[cell.index]] == cell.index
    ]
    same: dict[str, list[int]] = {}
    for index, key in keys.items():
        same.setdefault(key, []).append(index)
    if not tasks:
        return rows
    try:
        for answered in run(tasks, Workers(options.jobs, options.address)):
            rows.update(dict.fromkeys(same[answered.key], answered.row))
            if journal is not None:
                journal.put(answered)
            if tell is not None:
                tell(len(rows), len(grid.cells), answered)
    except (KeyboardInterrupt, StoppedError) as stop:
        raise InterruptedSweepError(str(stop) or "interrupted", rows) from None
    if len(rows) != len(grid.cells):
        raise InternalError(f"{len(grid.cells) - len(rows)} of {len(grid.cells)} problems came back without an answer")
    return rows
