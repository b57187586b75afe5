"""Standard output and error: JSON documents, tables, colours on a terminal only."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TextIO

from optimizer.errors import StoppedError

_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def say(text: str) -> None:
    """One line of talk on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def discard_output() -> None:
    """Send standard output nowhere from now on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@contextmanager
def _to_reader() -> Iterator[None]:
    """Whoever has stopped reading (`| head`) has seen what they wanted; a full disk has not."""
    try:
        yield
    except BrokenPipeError:
        discard_output()
    except OSError as error:
        discard_output()
        raise StoppedError(f"standard output cannot be written: {(error.strerror or str(error)).lower()}") from None


def flush() -> None:
    """Hand over what was written.

    Raises
    ------
    StoppedError
        There is no room for it.
    """
    with _to_reader():
        sys.stdout.flush()


def emit(text: str = "") -> None:
    """Lines of the answer on standard output, nothing where its reader has left; names cannot steer the terminal.

    Raises
    ------
    StoppedError
        There is no room for it.
    """
    text = _harmless(text)
    with _to_reader():
        try:
            sys.stdout.write(text + "\n")
        except UnicodeEncodeError:
            # A terminal without Unicode still gets every number.
            encoding = sys.stdout.encoding or "ascii"
            sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")


def prose(text: str) -> None:
    """One line of the answer that is read as a sentence: a terminal that is narrower gets it broken between words.

    Broken lines stand under what follows the line's name (``problem  ``), or two further in.
    """
    width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else 0
    name = re.match(r"\s*(?:[a-z]+ {2,})?", text)
    hang = " " * (name.end() if name is not None and name.end() else 2)
    if len(hang) < width < len(text):
        text = textwrap.fill(text, width, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False)
    emit(text)


_OURS: Final = re.compile(r"(\n|\x1b\[[0-9;]*m)")
"""Line ends, and the colours that `paint` and the audit's notes put in."""


def _harmless(text: str) -> str:
    """Text whose control characters are shown, those of colours aside where colours are wanted."""
    if text.isprintable():
        return text
    allowed = _OURS if coloured() else _LINE_ENDS
    return "".join(part if allowed.fullmatch(part) else _shown(part) for part in allowed.split(text))


def _shown(text: str) -> str:
    """Text with JSON's own escapes, which leave a JSON document what it was."""
    return "".join(mark if mark.isprintable() else json.dumps(mark)[1:-1] for mark in text)


_LINE_ENDS: Final = re.compile(r"(\n)")


def json_text(document: Any) -> str:  # noqa: ANN401 - any JSON document
    """JSON text, indented; NaN and infinity are refused."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def emit_json(document: Any) -> None:  # noqa: ANN401 - any JSON document
    """One JSON document on standard output."""
    emit(json_text(document))


def is_terminal(stream: TextIO) -> bool:
    """Whether a person reads the stream."""
    return stream.isatty()


def progress_line(*, quiet: bool) -> Callable[[str, int, int], None] | None:
    """One line on standard error that is written over; nothing where nobody watches."""
    if quiet or not is_terminal(sys.stderr):
        return None

    def tell(phase: str, done: int, of: int) -> None:
        sys.stderr.write(f"\r\x1b[K{phase}: {done:,} of {of:,}")
        sys.stderr.flush()

    return tell


def end_progress() -> None:
    """Take the line of progress away."""
    if is_terminal(sys.stderr):
        sys.stderr.write("\r\x1b[K")


def coloured() -> bool:
    """Whether the answer may have colours: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return is_terminal(sys.stdout) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, *styles: str) -> str:
    """Text in a style, where colours are wanted."""
    if not styles or not coloured():
        return text
    return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"


def width_of(text: str) -> int:
    """Columns that a text takes; combining marks take none."""
    return sum(not unicodedata.combining(character) for character in text)


def heading(text: str) -> None:
    """Title of what follows."""
    emit()
    emit(paint(text, "bold"))


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = (), styles: Sequence[str] = ()
) -> None:
    """Aligned columns, two blanks apart.

    Parameters
    ----------
    right
        Columns that align on the right.
    styles
        Style of each row; empty for none.
    """
    body = [list(row) for row in rows]
    widths = [max(width_of(row[i]) for row in (list(head), *body)) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = []
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            blank = " " * (width - width_of(cell))
            cells.append(blank + cell if i in right else cell + blank)
        return "  " + "  ".join(cells).rstrip()

    if any(head):
        emit(paint(line(head), "dim"))
    for number, row in enumerate(body):
        style = styles[number] if number < len(styles) else ""
        emit(paint(line(row), style) if style else line(row))
