"""The one question that pruning asks: whether degrees can do at least this well.

Every objective becomes a limit: better throughput a larger `requests`, better TPOT a smaller `cycle`, fewer devices
both a larger `requests` and fewer `devices`. A mesh pair is dismissed when no micro-batch meets all limits at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from optimizer.domain.limit_table import first_limits, tightest
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem


@dataclass(frozen=True)
class Target:
    """Limits to be met at once.

    Attributes
    ----------
    requests
        Requests/s of each device, at least; 0: any.
    total_requests
        Requests/s of the whole layout, at least; 0: any.
    cycle
        Seconds of a decode cycle (TPOT × tokens gained), at most.
    first
        Seconds to the first token, at most, by the percentile of requests (None: their mean).
    memory
        Bytes of the fullest device, at most.
    devices
        Devices in all, at most.
    context
        Tokens of a sequence that the cache holds, at least; 0: any.
    """

    requests: float
    total_requests: float
    cycle: float
    first: Mapping[int | None, float]
    memory: float
    devices: int
    context: int = 0


def target(problem: Problem, incumbent: Fraction | None) -> Target:
    """Limits of the problem and, where there is an incumbent, of matching its objective value."""
    limits, first = tightest(problem), first_limits(problem)
    if incumbent is not None:
        measure, percentile, level = problem.scale.measure, problem.scale.percentile, problem.scale.level(incumbent)
        if measure is Measure.FIRST:
            first[percentile] = min(level, first.get(percentile, level))
        else:
            limits[measure] = (max if measure.rises else min)(level, limits.get(measure, level))
    return Target(
        requests=float(limits.get(Measure.DEVICE_REQUESTS, 0)),
        total_requests=float(max(problem.workload.request_rate or 0, limits.get(Measure.REQUESTS, 0))),
        cycle=float(limits.get(Measure.CYCLE, math.inf)),
        first={percentile: float(limit) for percentile, limit in first.items()},
        memory=float(min(problem.capacity_bytes, limits.get(Measure.MEMORY, problem.capacity_bytes))),
        devices=int(min(problem.devices, limits.get(Measure.DEVICES, problem.devices))),
        context=int(limits.get(Measure.CONTEXT, 0)),
    )
