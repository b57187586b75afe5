"""Benchmarks: each module is run by `python -m benchmarks.NAME` and prints what it measures."""

import csv
from pathlib import Path

Row = dict[str, str]
"""One row of a table, by its header."""


def table(name: str) -> list[Row]:
    """Rows of a table of `data/`."""
    with (Path(__file__).parent / "data" / name).open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
