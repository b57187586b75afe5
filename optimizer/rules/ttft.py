"""(ttft) time to first token: TTFT(candidate) ≤ limit."""

from __future__ import annotations

from fractions import Fraction

from optimizer.domain.families import Family
from optimizer.rules.linear import PICOSECONDS, Candidate, Rule


class Ttft(Rule):
    """Seconds from arrival to the first token."""

    family = Family.TTFT
    scale = PICOSECONDS

    def limit(self) -> Fraction | None:
        limit = self.problem.limits.ttft
        return None if limit is None or self.problem.workload.phase == "decode" else Fraction(limit)

    def coefficient(self, candidate: Candidate) -> Fraction:
        return candidate.point.timing.ttft_s or Fraction(0)

    def sentence(self, candidate: Candidate) -> str:
        return f"(ttft) {float(self.coefficient(candidate)):.6g} s of {float(self.limit() or 0):.6g} s allowed"
