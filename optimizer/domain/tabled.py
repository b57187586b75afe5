"""Answers that are a table: a line that says it in short, and rows; for pandas, for a notebook and for a session."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import pandas as pd

_MOST_ROWS = 200
"""Rows that a notebook shows; `to_frame` has all."""


class Tabled(ABC):
    """An answer with a headline and rows, each of which has a value for every one of `columns`."""

    __slots__ = ()

    columns: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def headline(self) -> str:
        """The answer in one line."""

    @abstractmethod
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The table, a mapping for each row."""

    def notes(self) -> Sequence[str]:
        """What a notebook says between the headline and the table."""
        return ()

    def to_frame(self) -> pd.DataFrame:
        """The table for pandas; empty where there is nothing to list. Numbers are in base units.

        Raises
        ------
        ImportError
            Where pandas is not installed.
        """
        import pandas as pd  # noqa: PLC0415 - an optional library

        return pd.DataFrame([dict(row) for row in self.rows()], columns=list(self.columns))

    def __repr__(self) -> str:
        return f"<{self.headline}>"

    def _repr_html_(self) -> str:
        rows = self.rows()
        parts = [f"<p><strong>{escape(self.headline)}</strong></p>"]
        parts += [f"<p>{escape(note)}</p>" for note in self.notes()]
        if rows:
            head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in self.columns)
            body = "".join(
                f"<tr>{''.join(f'<td>{escape(_cell(row.get(name)))}</td>' for name in self.columns)}</tr>"
                for row in rows[:_MOST_ROWS]
            )
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        if len(rows) > _MOST_ROWS:
            parts.append(f"<p>{len(rows) - _MOST_ROWS:,} more rows in to_frame()</p>")
        return "".join(parts)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,.6g}" if isinstance(value, float) else str(value)
