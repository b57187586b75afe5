"""The checker's answer, and how it compares JSON values: for equality, at the first part that differs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class Rejected(Exception):  # noqa: N818 - a verdict, not a failure of the program
    """A claim that does not follow, and the item that makes it."""

    def __init__(self, item: str, reason: str) -> None:
        super().__init__(f"{item}: {reason}")
        self.item, self.reason = item, reason


@dataclass
class Check:
    """The checker's answer; `to_json` is ``shardproof/check/1``."""

    accepted: bool = False
    reason: str | None = None
    item: str | None = None
    checked: list[str] = field(default_factory=list)
    solver_trusted: list[str] = field(default_factory=list)
    candidates: int = 0
    dismissed: dict[str, int] = field(default_factory=dict)
    wall_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """``shardproof/check/1``."""
        return {"schema": "shardproof/check/1", **self.__dict__}


def _same(claimed: object, own: object) -> bool:
    """Equality of JSON values without Python's True == 1 and 1.0 == 1."""
    if isinstance(own, dict):
        return (
            isinstance(claimed, dict) and claimed.keys() == own.keys() and all(_same(claimed[k], own[k]) for k in own)
        )
    if isinstance(own, list | tuple):
        return isinstance(claimed, list) and len(claimed) == len(own) and all(map(_same, claimed, own))
    return type(claimed) is type(own) and claimed == own


def equal(item: str, claimed: object, own: object) -> None:
    """Reject at the first part of `own` that differs."""
    if isinstance(own, dict) and isinstance(claimed, dict) and claimed.keys() == own.keys():
        for name, value in own.items():
            equal(f"{item}.{name}", claimed[name], value)
        return
    if not _same(claimed, own):
        raise Rejected(item, f"is {brief(claimed)}, should be {brief(own)}")


def brief(value: object) -> str:
    """A value for a message, cut where it is long, or beyond what Python prints."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return "something beyond measure"
    return text if len(text) <= 120 else text[:117] + "..."
