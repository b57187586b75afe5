"""The checker's answer, and how it compares JSON values: for equality, at the first part that differs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from optimizer.domain.cluster import Cluster
from optimizer.domain.problem import Problem
from optimizer.domain.tabled import Tabled


class Rejected(Exception):  # noqa: N818 - a verdict, not a failure of the program
    """A claim that does not follow, and the item that makes it."""

    def __init__(self, item: str, reason: str) -> None:
        super().__init__(f"{item}: {reason}")
        self.item, self.reason = item, reason


@dataclass(repr=False)
class Check(Tabled):
    """The checker's answer; `to_json` is ``shardproof/check/1``.

    Attributes
    ----------
    accepted
        Whether everything that the document states follows from its problem.
    asked
        The problem that the document is about, once it is read.
    status, objective, lattice
        What is claimed of it, and what the claim is over; as the document states them, and checked.
    item, reason
        Where a rejected document is wrong first, and why.
    checked
        What was recomputed, in words.
    not_checked
        Parts of the document, by path, of which nothing was recomputed; anything else would have been rejected.
    solver_trusted
        Claims that rest on the search's word.
    """

    accepted: bool = False
    asked: Problem | Cluster | None = field(default=None, repr=False)
    status: str | None = None
    objective: dict[str, Any] | None = None
    lattice: dict[str, Any] | None = None
    reason: str | None = None
    item: str | None = None
    checked: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    solver_trusted: list[str] = field(default_factory=list)
    candidates: int = 0
    dismissed: dict[str, int] = field(default_factory=dict)
    wall_s: float = 0.0

    columns = ("standing", "part")

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        return f"accepted: {self.status}" if self.accepted else f"rejected: {self.item}: {self.reason}"

    def rows(self) -> list[dict[str, Any]]:
        """What was checked, what rests on the search's word, and what was not checked."""
        parts = {"checked": self.checked, "solver-trusted": self.solver_trusted, "not checked": self.not_checked}
        return [{"standing": standing, "part": item} for standing, items in parts.items() for item in items]

    def to_json(self) -> dict[str, Any]:
        """``shardproof/check/1``."""
        fields = {name: value for name, value in self.__dict__.items() if name not in {"accepted", "asked"}}
        problem = None if self.asked is None else {"name": self.asked.name, "digest": self.asked.digest}
        return {"schema": "shardproof/check/1", "accepted": self.accepted, "problem": problem, **fields}


def _same(claimed: object, expected: object) -> bool:
    """Equality of JSON values without Python's True == 1 and 1.0 == 1."""
    if isinstance(expected, dict):
        return (
            isinstance(claimed, dict)
            and claimed.keys() == expected.keys()
            and all(_same(claimed[k], expected[k]) for k in expected)
        )
    if isinstance(expected, list | tuple):
        return isinstance(claimed, list) and len(claimed) == len(expected) and all(map(_same, claimed, expected))
    return type(claimed) is type(expected) and claimed == expected


def _of_mappings(claimed: Sequence[object], expected: Sequence[object]) -> bool:
    """Whether entries are as many mappings, of which the first that differs can be named."""
    return len(claimed) == len(expected) and all(isinstance(entry, dict) for entry in expected)


def equal(item: str, claimed: object, expected: object) -> None:
    """Reject at the first part of `expected` that differs."""
    if isinstance(expected, dict) and isinstance(claimed, dict) and claimed.keys() == expected.keys():
        for name, value in expected.items():
            equal(f"{item}.{name}", claimed[name], value)
        return
    if isinstance(expected, list | tuple) and isinstance(claimed, list) and _of_mappings(claimed, expected):
        for index, value in enumerate(expected):
            equal(f"{item}[{index}]", claimed[index], value)
        return
    if not _same(claimed, expected):
        raise Rejected(item, f"is {brief(claimed)}, should be {brief(expected)}")


def brief(value: object) -> str:
    """A value for a message, cut where it is long, or beyond what Python prints."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return "something beyond measure"
    return text if len(text) <= 120 else text[:117] + "..."


def number(item: str, stated: object) -> None:
    """Reject what is not a finite number."""
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not abs(stated) < math.inf:
        raise Rejected(item, f"{brief(stated)} is not a number")


def count(item: str, stated: object) -> None:
    """Reject what is not a whole number of at least 0."""
    if type(stated) is not int or stated < 0:
        raise Rejected(item, f"{brief(stated)} is not a count")
