"""Where each key and value of a document stands."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

LineColumn = tuple[int, int]
"""Line and column, both from 1."""

LONGEST_KEY = 60
LONGEST_NAME = 100

PathStep = str | int
"""A key of a mapping or an index of a list."""


def contains(value: object, step: PathStep) -> TypeGuard[Mapping[PathStep, object]]:
    """Whether there is something at ``step`` of a mapping or a list."""
    if isinstance(value, Mapping):
        return step in value
    return isinstance(value, list | tuple) and isinstance(step, int) and 0 <= step < len(value)


def dotted(at: Iterable[PathStep]) -> str | None:
    """Dotted name of a field: ``layers[2].pattern``; nothing for the whole document."""
    name = ""
    for step in at:
        if isinstance(step, int):
            name += f"[{step}]"
        else:
            # A key may hold anything, also what would break the line or colour the terminal.
            text = step if step.isprintable() and step else ascii(step)
            text = text if len(text) <= LONGEST_KEY else f"{text[: LONGEST_KEY - 3]}..."
            name += f".{text}" if name else text
        if len(name) > LONGEST_NAME:
            return f"{name[:LONGEST_NAME]}..."
    return name or None


@dataclass(slots=True)
class PlaceTree:
    """Place of a value, of its keys, and of what it contains."""

    place: LineColumn
    keys: dict[str, LineColumn] = field(default_factory=dict)
    children: dict[PathStep, "PlaceTree"] = field(default_factory=dict)

    def find(self, at: Sequence[PathStep], *, key: bool = False) -> LineColumn:
        """Place of the value at ``at``, or of its key; of the nearest container that exists, where it does not."""
        tree = self
        for depth, step in enumerate(at):
            last = depth == len(at) - 1
            if last and key and isinstance(step, str) and step in tree.keys:
                return tree.keys[step]
            child = tree.children.get(step)
            if child is None:
                break
            tree = child
        return tree.place
