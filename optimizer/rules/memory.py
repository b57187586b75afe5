"""(memory) the fullest device holds no more than its capacity: bytes(candidate) ≤ exposed memory × utilisation."""

from __future__ import annotations

from fractions import Fraction

from optimizer.domain.families import Family
from optimizer.rules.linear import Candidate, Rule
from optimizer.units import Dimension, format_quantity


class MemoryRule(Rule):
    """Bytes of the fullest device."""

    family = Family.MEMORY

    def limit(self) -> Fraction | None:
        return Fraction(self.problem.capacity_bytes)

    def coefficient(self, candidate: Candidate) -> Fraction:
        return Fraction(candidate.point.memory_bytes)

    def sentence(self, candidate: Candidate) -> str:
        held = format_quantity(candidate.point.memory_bytes, Dimension.BYTES)
        room = format_quantity(self.problem.capacity_bytes, Dimension.BYTES)
        return f"(memory) the fullest device needs {held} of {room} at tp={candidate.layout.tp}"
