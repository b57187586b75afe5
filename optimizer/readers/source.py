"""Text of a file or of standard input, or a fault that says why there is none."""

import csv
import difflib
import io
import os
import stat
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TextIO

from optimizer.errors import Fault, SpecError

STDIN = "-"
LARGEST_FILE_BYTES = 64 * 2**20


def exists(path: str | Path) -> bool:
    """Whether something stands at a path; at one that no system takes (too long, say) nothing does."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def is_file(path: str | Path) -> bool:
    """Whether a file stands at a path; at one that no system takes none does."""
    return exists(path) and Path(path).is_file()


def _refused(shown: str, message: str, suggestion: str | None = None) -> SpecError:
    return SpecError(Fault(shown, None, None, None, message, suggestion))


def _near(path: Path) -> str | None:
    """A file beside ``path`` whose name differs by a slip of the finger."""
    try:
        names = [entry.name for entry in os.scandir(path.parent)]
    except OSError:
        return None
    close = difflib.get_close_matches(path.name, names, 1, 0.75)
    return str(path.parent / close[0]) if close else None


def _read_bytes(path: Path, shown: str) -> bytes:
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise _refused(shown, "is a directory, not a file")
        with path.open("rb") as file:
            return file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        raise _refused(shown, "no such file", _near(path)) from None
    except OSError as error:
        raise _refused(shown, f"cannot be read: {(error.strerror or 'unknown reason').lower()}") from None
    except ValueError:
        raise _refused(ascii(shown), "is not a file name") from None


def csv_rows(text: str, shown: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV text, each with the line that it ends on.

    Raises
    ------
    SpecError
        What the CSV module takes for none: a cell beyond its limit, say.
    """
    rows = csv.reader(io.StringIO(text, newline=None))
    try:
        for cells in rows:
            yield rows.line_num, cells
    except csv.Error as error:
        raise SpecError(Fault(shown, rows.line_num, None, None, f"is no CSV: {error}")) from None


def decode(content: bytes, shown: str) -> str:
    """Text of UTF-8 bytes.

    Raises
    ------
    SpecError
        Too large, binary, or not UTF-8.
    """
    if len(content) > LARGEST_FILE_BYTES:
        raise _refused(shown, f"is larger than {LARGEST_FILE_BYTES // 2**20} MiB")
    if b"\0" in content[:8192]:
        raise _refused(shown, "is a binary file, not text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        raise SpecError(Fault(shown, line, column, None, "is not UTF-8 text")) from None


@lru_cache(maxsize=1)
def _whole(stream: TextIO) -> bytes:
    """What stands on standard input, kept: it can be read once, and one command asks what it is before it reads it."""
    return stream.buffer.read(LARGEST_FILE_BYTES + 1)


def read_text(path: str | Path) -> tuple[str, str]:
    """Text of a file, or of standard input for ``-``, and the name to show for it.

    Raises
    ------
    SpecError
        Missing, a directory, unreadable, too large, binary, or not UTF-8.
    """
    if str(path) == STDIN:
        shown = "<stdin>"
        try:
            content = _whole(sys.stdin)
        except (OSError, AttributeError):
            raise _refused(shown, "cannot be read") from None
        return decode(content, shown), shown
    shown = str(path)
    return decode(_read_bytes(Path(path), shown), shown), shown
