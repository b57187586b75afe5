"""A document as the audit reads it: stretches of running text that know where every character stands."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Kind(Enum):
    """What a stretch of text is in Markdown."""

    PROSE = "prose"
    HEADING = "heading"
    CELL = "cell"
    CODE = "code"
    HTML = "html"


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, both counted from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Segment:
    """Text that reads as one piece: a paragraph's sentence run, a list item, a table cell, a derivation in code.

    ``text`` has the markup blanked out, character for character, so that ``pieces`` (offset, line, column of the first
    character) place every offset. ``row_label``, ``column_label`` and ``before`` say what a cell or a fenced block is
    about; ``block`` numbers the block it comes from, ``row`` the table row; ``removed`` says that a
    diff takes it out, ``quoted`` that it stands in a block quote.
    """

    text: str
    pieces: tuple[tuple[int, int, int], ...]
    kind: Kind
    block: int
    section: tuple[str, ...] = ()
    row_label: str = ""
    column_label: str = ""
    before: str = ""
    language: str = ""
    row: int = -1
    item: bool = False
    removed: bool = False
    quoted: bool = False

    def place(self, offset: int) -> Place:
        """Line and column of the character at ``offset``."""
        index = bisect_right(self.pieces, (offset, 1 << 60, 0)) - 1
        start, line, column = self.pieces[max(index, 0)]
        return Place(line, column + offset - start)


def rows_of(segments: Sequence[Segment]) -> dict[int, list[int]]:
    """Indices of the cells of each table row."""
    rows: dict[int, list[int]] = {}
    for index, segment in enumerate(segments):
        if segment.row >= 0:
            rows.setdefault(segment.row, []).append(index)
    return rows


@dataclass(frozen=True, slots=True)
class DataBlock:
    """A fenced YAML or JSON block, or the front matter: its text and the line its first character stands on."""

    text: str
    line: int
    language: str


@dataclass(frozen=True, slots=True)
class MarkdownDocument:
    """A read document: segments in order, and the blocks that may be data rather than prose."""

    source: str
    lines: tuple[str, ...]
    segments: tuple[Segment, ...]
    data: tuple[DataBlock, ...]
    settings: dict[str, Any] = field(default_factory=dict)
