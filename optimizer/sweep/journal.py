"""What is finished, line by line in an append-only file: a sweep that was stopped goes on from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from optimizer.errors import Fault, SpecError, StoppedError
from optimizer.readers.messages import message_of
from optimizer.readers.places import dotted
from optimizer.sweep.answer import ANSWERED, COLUMNS, Answer

SCHEMA = "shardproof/sweep/1"


@dataclass(frozen=True)
class _Entry:
    """One line."""

    schema: Literal["shardproof/sweep/1"]
    settings: str
    index: int
    key: str
    wall_s: FiniteFloat
    row: dict[str, str | int | float | None]

    def __post_init__(self) -> None:
        for name, kind in COLUMNS.items():
            value = self.row.get(name)
            if value is not None and not isinstance(value, (int, float) if kind is float else kind):
                raise ValueError(f"{name} is no {kind.__name__}")


@lru_cache(1)
def _entry() -> TypeAdapter[_Entry]:
    return TypeAdapter(_Entry)


class Journal:
    """One journal, open for appending.

    Parameters
    ----------
    path
        Created where it does not exist.
    settings
        What answers depend on beside the question (time limit, checks, version): others are not taken from it.

    Raises
    ------
    SpecError
        Not a journal, not writable, or in use by another sweep.
    """

    def __init__(self, path: str | Path, settings: str) -> None:
        self.path, self.settings = Path(path), settings
        self.answers: dict[str, Answer] = {}
        try:
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise SpecError(Fault(str(path), None, None, None, f"cannot be used: {error.strerror}")) from None
        try:
            self._lock()
            # What a killed process left of its last line goes.
            self._file.truncate(self._read())
        except OSError as error:
            self._file.close()
            raise SpecError(Fault(str(path), None, None, None, f"cannot be used: {error.strerror}")) from None
        except SpecError:
            self._file.close()
            raise

    def _lock(self) -> None:
        """Keep other sweeps away until this process ends, where the system can."""
        try:
            import fcntl  # noqa: PLC0415 - POSIX only
        except ImportError:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SpecError(Fault(str(self.path), None, None, None, "is in use by another sweep")) from None

    def _read(self) -> int:
        """Take in finished answers; length of the whole lines, in bytes."""
        if not self.path.is_file():
            return 0
        length = 0
        for number, line in enumerate(self.path.read_bytes().splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                break
            self._take(line, number)
            length += len(line)
        return length

    def _take(self, line: bytes, number: int) -> None:
        try:
            entry = _entry().validate_json(line, strict=True)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            message = f"no line of a sweep's journal: {message_of(fault)[0]}"
            raise SpecError(Fault(str(self.path), number, 1, dotted(fault["loc"]), message)) from None
        if entry.settings == self.settings and entry.row.get("status") in ANSWERED:
            row = dict.fromkeys(COLUMNS) | entry.row
            self.answers[entry.key] = Answer(entry.index, entry.key, row, entry.wall_s)

    def put(self, answer: Answer) -> None:
        """Keep one answer; what is kept survives this process, however it ends.

        Raises
        ------
        StoppedError
            No room for it.
        """
        entry = {
            "schema": SCHEMA, "settings": self.settings, "index": answer.index,
            # The problem that was answered, should a file have changed since the sweep began.
            "key": answer.row.get("digest") or answer.key,
            "wall_s": round(answer.wall_s, 6), "row": {k: v for k, v in answer.row.items() if v is not None},
        }  # fmt: skip
        line = json.dumps(entry).encode() + b"\n"
        try:
            written = self._file.write(line)
        except OSError as error:
            raise StoppedError(f"{self.path}: cannot be written: {(error.strerror or str(error)).lower()}") from None
        if written != len(line):
            raise StoppedError(f"{self.path}: cannot be written: no room for the whole line")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
