"""Errors carry their exit status, and say where they happened."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Exit status of every command."""

    YES = 0
    """Optimal or feasible; every claim holds."""
    NO = 1
    """Infeasible; a claim fails; a certificate is rejected."""
    WRONG_QUESTION = 2
    """Usage, file or specification is wrong."""
    STOPPED = 3
    """Stopped without an answer."""


LONGEST_MESSAGE = 1000
"""Characters of a message; whatever it repeats of what was given is cut there."""


def printable(text: str) -> str:
    """Text on one line: what would break the line or steer a terminal stands there as its escape."""
    if text.isprintable():
        return text
    return "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape", "surrogatepass").decode() for mark in text
    )


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 3]}..."


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with what the user wrote, and where.

    ``line`` and ``column`` count from 1; ``None`` where there is no such place (a command-line option, a missing file).
    """

    path: str | None
    line: int | None
    column: int | None
    field: str | None
    message: str
    suggestion: str | None = None

    def __post_init__(self) -> None:
        for name in ("path", "field", "message", "suggestion"):
            object.__setattr__(self, name, _cut(getattr(self, name)))

    def __str__(self) -> str:
        """``path:line:col: field: message (did you mean 'x'?)``, on one line, without what is unknown."""
        place = ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)
        text = ": ".join(part for part in (place, self.field, self.message) if part)
        if self.suggestion is not None:
            text += f" (did you mean {self.suggestion!r}?)"
        return printable(text)

    def to_json(self) -> dict[str, str | int | None]:
        """One entry of ``errors`` in ``shardproof/error/1``."""
        return {
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "field": self.field,
            "message": self.message,
            "suggestion": self.suggestion,
        }


class ShardproofError(Exception):
    """Base of every error that a command reports; knows the status the process exits with."""

    exit_status: Exit = Exit.WRONG_QUESTION

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What went wrong, one entry for each line to print."""
        return (Fault(None, None, None, None, str(self)),)

    def to_json(self) -> dict[str, Any]:
        """Error document, ``shardproof/error/1``."""
        return {
            "schema": "shardproof/error/1",
            "exit": int(self.exit_status),
            "errors": [fault.to_json() for fault in self.faults],
        }


class SpecError(ShardproofError):
    """What the user wrote cannot be read or makes no sense; one fault for each thing wrong.

    Parameters
    ----------
    faults
        Faults, at least one; a plain text becomes a fault without a place.
    """

    exit_status = Exit.WRONG_QUESTION

    def __init__(self, *faults: Fault | str) -> None:
        if not faults:
            raise InternalError("a SpecError needs at least one fault")
        self._faults = tuple(
            Fault(None, None, None, None, fault) if isinstance(fault, str) else fault for fault in faults
        )
        super().__init__("\n".join(str(fault) for fault in self._faults))

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Faults in the order of the file."""
        return self._faults


class StoppedError(ShardproofError):
    """Time or the user ran out before there was anything to answer."""

    exit_status = Exit.STOPPED


class InternalError(ShardproofError):
    """The program contradicts itself (search and reference differ, say): a bug, never the user's fault."""

    exit_status = Exit.STOPPED
