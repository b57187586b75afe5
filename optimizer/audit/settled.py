"""What outranks the prose of a document: its data blocks and the problem it is judged with."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from optimizer.audit.document import DataBlock
from optimizer.audit.statements import Statement

if TYPE_CHECKING:
    from optimizer.domain.problem import Problem

_KEYS: Final = re.compile(r"^(?:problem|layout|claims)\s*:", re.MULTILINE)


def is_data(block: DataBlock) -> bool:
    """Whether the block has one of the keys that outrank the prose."""
    return _KEYS.search(block.text) is not None


@dataclass(frozen=True, slots=True)
class Settled:
    """Values that outrank the prose, claims written as data, and what could not be read."""

    values: dict[str, Fraction] = field(default_factory=dict)
    claims: tuple[Statement, ...] = ()
    faults: tuple[str, ...] = ()
    verified: tuple[dict[str, Any], ...] = ()
    violations: tuple[str, ...] = ()
    problem: Problem | None = None
    lines: frozenset[int] = frozenset()
