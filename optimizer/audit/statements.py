"""What a document says: one statement per figure, with the words around it and whose figure it is."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from optimizer.audit.document import Place
from optimizer.audit.lexicon import Unit
from optimizer.audit.tokens import Number

AXES: Final = ("tp", "cp", "dp", "pp", "ep", "etp", "edp")
"""Axes of parallelism, as facts are named."""
EXPERT_COUNTS: Final = frozenset({"experts_per_gpu", "experts_per_gpu_per_layer", "expert_instances"})
"""Names of claims that count the experts of a device."""
WORDS: Final = frozenset({"model", "hardware", "precision", "mixed_layers", "attention_dp"})
"""Facts that are words: their value is no quantity."""
NO_SEGMENT: Final = -1
"""Place of a figure that a data block gives: it stands in no running text."""


class Role(StrEnum):
    """Whose figure it is: the document's own, one it quotes in order to judge it, or its correction."""

    STATED = "stated"
    CLAIMED = "claimed"
    CALCULATED = "calculated"


@dataclass(slots=True)
class Context:
    """Words around a number, lower-cased: its label, the clause before and after it, and what stands above."""

    label: str
    before: str
    after: str
    above: Callable[[], str]
    role: Role
    quoted: bool

    @property
    def topic(self) -> str:
        """Heading and lines above; read only where nothing nearer names the figure."""
        return self.above()

    @property
    def near(self) -> str:
        """Label, clause before and words after."""
        return f"{self.label} {self.before} {self.after}"


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """``name`` is a fact or a claim of the interface; ``value`` counts in base units."""

    name: str
    value: Fraction
    place: Place
    text: str
    role: Role
    segment: int
    unit: Unit
    number: Number | None = None
    sure: bool = True
    section: tuple[str, ...] = ()
    near: str = ""
