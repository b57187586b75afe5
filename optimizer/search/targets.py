"""The one question that pruning asks: whether degrees can do at least this well.

Every objective becomes a limit: better throughput a larger `requests`, better TPOT a smaller `cycle`, fewer devices
both a larger `requests` and fewer `devices`. A mesh pair is dismissed when no micro-batch meets all limits at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    limits = tightest(problem)
    own = Target(
        requests=float(limits.get(Measure.DEVICE_REQUESTS, 0)),
        total_requests=float(max(problem.workload.request_rate or 0, limits.get(Measure.REQUESTS, 0))),
        cycle=float(limits.get(Measure.CYCLE, math.inf)),
        first={percentile: float(limit) for percentile, limit in first_limits(problem).items()},
        memory=float(min(problem.capacity_bytes, limits.get(Measure.MEMORY, problem.capacity_bytes))),
        devices=int(min(problem.devices, limits.get(Measure.DEVICES, problem.devices))),
        context=int(limits.get(Measure.CONTEXT, 0)),
    )
    if incumbent is None:
        return own
    level = problem.scale.level(incumbent)
    match problem.scale.measure:
        case Measure.DEVICE_REQUESTS:
            return replace(own, requests=max(own.requests, float(level)))
        case Measure.REQUESTS:
            return replace(own, total_requests=max(own.total_requests, float(level)))
        case Measure.CYCLE:
            return replace(own, cycle=min(own.cycle, float(level)))
        case Measure.FIRST:
            aim = problem.scale.percentile
            return replace(own, first={**own.first, aim: min(own.first.get(aim, math.inf), float(level))})
        case Measure.MEMORY:
            return replace(own, memory=min(own.memory, float(level)))
        case Measure.DEVICES:
            return replace(own, devices=min(own.devices, int(level)))
        case Measure.CONTEXT:
            return replace(own, context=max(own.context, int(level)))
