"""(tpot) time per output token: TPOT(candidate) ≤ limit."""

from __future__ import annotations

from fractions import Fraction

from optimizer.domain.families import Family
from optimizer.rules.linear import PICOSECONDS, Candidate, Rule


class Tpot(Rule):
    """Seconds between output tokens."""

    family = Family.TPOT
    scale = PICOSECONDS

    def limit(self) -> Fraction | None:
        limit = self.problem.limits.tpot
        return None if limit is None or self.problem.workload.phase == "prefill" else Fraction(limit)

    def coefficient(self, candidate: Candidate) -> Fraction:
        return candidate.point.timing.tpot_s or Fraction(0)

    def sentence(self, candidate: Candidate) -> str:
        return f"(tpot) {float(self.coefficient(candidate)):.6g} s of {float(self.limit() or 0):.6g} s allowed"
