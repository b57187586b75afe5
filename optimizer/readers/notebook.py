"""Notebooks: that a file called one is one, before its lines are read as text."""

from __future__ import annotations

from typing import Final

from optimizer.readers.document import Document
from optimizer.readers.json_text import read_json
from optimizer.readers.messages import kind_of

SUFFIX: Final = ".ipynb"


def check_notebook(text: str, source: str) -> None:
    """Refuse a file named as a notebook that is none; any other is left.

    Raises
    ------
    SpecError
        Not JSON, or without a list of cells, each with its `source`.
    """
    if not source.lower().endswith(SUFFIX):
        return
    document = Document(read_json(text, source), source, text)
    if not isinstance(document.data, dict):
        raise document.error(f"a notebook is wanted (a mapping with cells), not {kind_of(document.data)}")
    cells = document.data.get("cells")
    if not isinstance(cells, list):
        is_there = "cells" in document.data
        raise document.error(
            f"a list is wanted, not {kind_of(cells)}" if is_there else "is required but missing", ("cells",)
        )
    for number, cell in enumerate(cells):
        if not isinstance(cell, dict):
            raise document.error(f"a cell is wanted (a mapping), not {kind_of(cell)}", ("cells", number))
        lines = cell.get("source", [])
        if not isinstance(lines, str) and not (
            isinstance(lines, list) and all(isinstance(line, str) for line in lines)
        ):
            raise document.error("text is wanted, or a list of its lines", ("cells", number, "source"))
