"""(request_rate) the requests that are asked for are served: −capacity(candidate) ≤ −rate."""

from __future__ import annotations

from fractions import Fraction

from optimizer.domain.families import Family
from optimizer.rules.linear import Candidate, Rule


class RequestRate(Rule):
    """Requests/s, negated so that less is a violation."""

    family = Family.REQUEST_RATE
    scale = 10**6

    def limit(self) -> Fraction | None:
        rate = self.problem.workload.request_rate
        return None if rate is None else -Fraction(rate)

    def coefficient(self, candidate: Candidate) -> Fraction:
        return -candidate.point.timing.rank_requests * candidate.layout.dp

    def sentence(self, candidate: Candidate) -> str:
        served, asked = -self.coefficient(candidate), -(self.limit() or Fraction(0))
        return f"(request_rate) {float(served):.6g} requests/s of {float(asked):.6g} asked for"
