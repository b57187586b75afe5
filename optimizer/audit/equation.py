"""One judged equation of a document."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from optimizer.audit.document import Place
from optimizer.audit.lexicon import Unit
from optimizer.audit.verdict import Verdict, number


@dataclass(slots=True)
class Equation:
    """One judged equation; ``stated`` and ``evaluated`` count in ``unit``; ``start`` and ``end`` are offsets.

    ``called_wrong``: the document itself says so, beside it.
    """

    place: Place
    text: str
    stated: Fraction
    evaluated: Fraction | None
    unit: Unit
    verdict: Verdict
    arithmetic: str
    reading: str
    explanation: str
    segment: int
    start: int
    end: int
    stated_start: int
    called_wrong: bool = False

    @property
    def counts(self) -> bool:
        """Whether the document must be corrected here."""
        return self.verdict.wrong and not self.called_wrong

    def to_json(self) -> dict[str, Any]:
        """Entry of ``equations`` in ``shardproof/audit/1``."""
        return {
            "line": self.place.line,
            "column": self.place.column,
            "text": self.text,
            "stated": number(self.stated),
            "evaluated": None if self.evaluated is None else number(self.evaluated),
            "unit": self.unit.name,
            "verdict": str(self.verdict),
            "ratio": None if not self.evaluated else number(self.stated / self.evaluated),
            "arithmetic": self.arithmetic,
            "reading": self.reading,
            "explanation": self.explanation,
            "called_wrong": self.called_wrong,
        }


def by_segment(equations: Iterable[Equation]) -> dict[int, list[Equation]]:
    """Equations of each segment."""
    groups: dict[int, list[Equation]] = {}
    for item in equations:
        groups.setdefault(item.segment, []).append(item)
    return groups
