"""Measured runs: tables of one's own, and what load generators write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from optimizer.readers.runs.logs import TITLE, read_log
from optimizer.readers.runs.run import WrittenRun
from optimizer.readers.runs.table import COLUMNS, read_table
from optimizer.readers.source import read_text

__all__ = ["COLUMNS", "WrittenRun", "read_runs"]


def read_runs(paths: Sequence[str | Path]) -> list[WrittenRun]:
    """Runs of all files, each in the format that it has.

    Raises
    ------
    SpecError
        A file that is none, or none of the formats; a value that cannot be read.
    """
    runs: list[WrittenRun] = []
    for path in paths:
        text, source = read_text(path)
        is_log = text.lstrip()[:1] in {"{", "["} or TITLE in text or "," not in text.partition("\n")[0]
        runs += (read_log if is_log else read_table)(text, source)
    return runs
