"""(devices) the layout uses no more devices than there are."""

from __future__ import annotations

from fractions import Fraction

from optimizer.domain.families import Family
from optimizer.rules.linear import Candidate, Rule


class Devices(Rule):
    """Devices in all."""

    family = Family.DEVICES

    def limit(self) -> Fraction | None:
        return Fraction(self.problem.devices)

    def coefficient(self, candidate: Candidate) -> Fraction:
        return Fraction(candidate.layout.devices)

    def sentence(self, candidate: Candidate) -> str:
        return f"(devices) {candidate.layout.devices} devices of {self.problem.devices}"
