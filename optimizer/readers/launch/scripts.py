"""Scripts of a folder as `export` writes it: one for each node, and one that starts the part of the node it is on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from optimizer.errors import Fault, SpecError
from optimizer.readers.source import is_file, read_text

SCRIPT: Final = "launch.sh"
SHOWN: Final = 8
"""Folders that a message names."""

_CHANGED: Final = re.compile(r'^cd "\$\(dirname "\$0"\)([^"$]*)"', re.MULTILINE)
"""Where a script goes, from where it stands: the files that its command names are found there."""
_NODES: Final = re.compile(r"/(node-)\$[^/\n]*/launch\.sh")
"""How a script names that of the node it is on: by a number that it is given."""


def folder_of(script: Path, text: str) -> Path:
    """Where a script finds the files that its command names."""
    moved = _CHANGED.search(text)
    return script.parent / moved[1].lstrip("/") if moved is not None else script.parent


def node_scripts(reference: str) -> list[Path]:
    """Scripts of all nodes that a script, or the one of a folder, chooses from; of a plain file none.

    Raises
    ------
    SpecError
        A folder of several launches, or of none.
    """
    path = Path(reference)
    if not reference:  # no folder: the empty path is this one
        return []
    try:
        folder = path.is_dir()
    except (OSError, ValueError):
        return []
    if folder:
        path /= SCRIPT
        if not is_file(path):
            folders = sorted(script.parent.name for script in Path(reference).glob(f"*/{SCRIPT}"))
            several = (
                f"; it holds {', '.join(folders[:SHOWN])}{', …' if folders[SHOWN:] else ''}: name one"
                if folders
                else ""
            )
            raise SpecError(Fault(reference, None, None, None, f"is a folder without a {SCRIPT}{several}"))
    if reference == "-" or not is_file(path):
        return []
    nodes = _NODES.search(read_text(str(path))[0])
    if nodes is None:
        return [path] if folder else []
    numbers = {file: file.parent.name.removeprefix(nodes[1]) for file in path.parent.glob(f"{nodes[1]}*/{SCRIPT}")}
    return sorted((file for file, number in numbers.items() if number.isdecimal()), key=lambda file: int(numbers[file]))
