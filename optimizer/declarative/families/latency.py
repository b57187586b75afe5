"""(ttft, tpot, request_rate, limit) What is asked of a measure's value is kept: see `optimizer.declarative.measures`.

Bandwidth is a price: transfers over a link whose use `limits.fabric_bandwidth` bounds take the time that the bound
leaves, so that nothing can exceed it.
"""

from __future__ import annotations

from fractions import Fraction

from optimizer.declarative.measures import reach
from optimizer.declarative.statement import Family, Statement
from optimizer.domain.limit_table import tightest
from optimizer.domain.objectives import Measure


class Latency(Family):
    """Limits on values, and prompts that do not queue without end."""

    def post(self, own: Statement) -> None:
        """Every limit; requests/s that come at random are served, and their queue ends."""
        levels = dict(tightest(own.problem))
        asked = own.problem.workload.request_rate
        if asked is not None:
            levels[Measure.REQUESTS] = max(levels.get(Measure.REQUESTS, Fraction(0)), asked)
        if own.problem.workload.queued_rate is not None and own.problem.workload.prompts:
            levels.setdefault(Measure.FIRST, None)  # type: ignore[arg-type]  # no limit but the queue's own end
        for measure, level in levels.items():
            reach(own, measure, level)
