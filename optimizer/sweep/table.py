"""The table of a sweep: a row for each problem in the grid's order, as CSV or Parquet."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optimizer.errors import Fault, SpecError
from optimizer.readers.output import write_whole
from optimizer.sweep.answer import COLUMNS
from optimizer.sweep.grid import Grid


def header(grid: Grid) -> list[str]:
    """Names of all columns; an axis that shares its name with another column is told apart by `asked_`."""
    return ["index", *(f"asked_{name}" if name in COLUMNS else name for name in grid.axes), *COLUMNS]


def rows(grid: Grid, answers: Mapping[int, Mapping[str, Any]]) -> list[list[Any]]:
    """Values of all columns, for each problem that has an answer."""
    return [
        [cell.index, *cell.labels, *(answers[cell.index][name] for name in COLUMNS)]
        for cell in grid.cells
        if cell.index in answers
    ]


def csv_text(head: Sequence[str], body: Sequence[Sequence[Any]]) -> str:
    """CSV with a header; nothing is an empty cell, numbers have all their digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([["" if value is None else value for value in row] for row in body])
    return text.getvalue()


def _write_parquet(path: Path, grid: Grid, head: Sequence[str], body: Sequence[Sequence[Any]]) -> None:
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional
        from pyarrow import parquet  # noqa: PLC0415 - the same
    except ImportError:
        message = 'Parquet needs pyarrow: pip install "shardproof[parquet]"'
        raise SpecError(Fault(str(path), None, None, None, message)) from None
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    types = [int, *(str for _ in grid.axes), *COLUMNS.values()]
    columns = list(zip(*body, strict=True)) or [()] * len(head)
    arrays = [pa.array(map(_typed(kind), column), kinds[kind]) for kind, column in zip(types, columns, strict=True)]
    part = path.with_name(path.name + ".part")
    try:
        parquet.write_table(pa.table(dict(zip(head, arrays, strict=True))), part)
        os.replace(part, path)  # noqa: PTH105 - atomic on every system
    except OSError as error:
        raise SpecError(Fault(str(path), None, None, None, f"cannot be written: {error.strerror or error}")) from None
    finally:
        part.unlink(missing_ok=True)


def _typed(kind: type) -> Any:  # noqa: ANN401 - a converter
    return lambda value: None if value is None else kind(value)


def write_table(path: str | Path, grid: Grid, answers: Mapping[int, Mapping[str, Any]]) -> None:
    """Write the table: Parquet where the name ends in ``.parquet``, else CSV.

    Raises
    ------
    SpecError
        It cannot be written, or pyarrow is missing.
    """
    head, body = header(grid), rows(grid, answers)
    if str(path).endswith(".parquet"):
        _write_parquet(Path(path), grid, head, body)
    else:
        write_whole(path, csv_text(head, body))
