"""What a layout must reach to beat a claimed objective value: the objective becomes a limit.

Better throughput means more requests/s of each device, better TPOT a shorter cycle, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

from optimizer.domain.limit_table import first_limits, tightest
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.figures.room import next_longer

Firsts = tuple[tuple[int | None, Fraction], ...]
"""Percentiles of the time to the first token (None: its mean), each with seconds."""


@dataclass(frozen=True)
class Goal:
    """Limits, all to be met at once; `above`, and the others where `strict` names them, strictly.

    Attributes
    ----------
    above
        Requests/s of each device, more than; None: any.
    total_above, total, each
        Requests/s in all, more than (None: any), and at least; of each device at least.
    cycle
        Seconds of a decode cycle, at most; None: any.
    first
        Seconds to the first token at most, each of the mean (None) or of a percentile of requests.
    memory, devices
        Bytes of the fullest device, and devices, at most.
    context
        Tokens of a sequence that the cache of every stage holds, at least; 0: any.
    """

    above: Fraction | None
    total_above: Fraction | None
    total: Fraction
    cycle: Fraction | None
    first: Firsts
    memory: int
    devices: int
    each: Fraction = Fraction(0)
    strict: frozenset[str] = frozenset()
    context: int = 0

    def beats_first(self, percentile: int | None) -> bool:
        """Whether the limit on this TTFT is strict: an objective's, the value of which is to be beaten."""
        return _first_name(percentile) in self.strict


def _first_name(percentile: int | None) -> str:
    return "first" if percentile is None else f"first_p{percentile}"


def goal(problem: Problem, value: Fraction | None) -> Goal:
    """The problem's limits and, where a value is claimed, what beating it takes."""
    limits = tightest(problem)
    limits_only = Goal(
        above=None, total_above=None, cycle=limits.get(Measure.CYCLE), first=tuple(first_limits(problem).items()),
        total=max(problem.workload.request_rate or Fraction(0), limits.get(Measure.REQUESTS, Fraction(0))),
        each=limits.get(Measure.DEVICE_REQUESTS, Fraction(0)),
        memory=min(problem.capacity_bytes, floor(limits.get(Measure.MEMORY, problem.capacity_bytes))),
        devices=min(problem.devices, floor(limits.get(Measure.DEVICES, problem.devices))),
        context=int(limits.get(Measure.CONTEXT, 0)),
    )  # fmt: skip
    return limits_only if value is None else beating(problem, limits_only, value)


def beating(problem: Problem, limits: Goal, value: Fraction) -> Goal:
    """Limits, and what beating a value of the objective takes beside them."""
    cycle, first, level = limits.cycle, dict(limits.first), problem.scale.level(value)
    match problem.scale.measure:
        case Measure.DEVICE_REQUESTS:
            return replace(limits, above=level)
        case Measure.REQUESTS:
            return replace(limits, total_above=level)
        case Measure.DEVICES:
            return replace(limits, devices=min(limits.devices, ceil(level) - 1))
        case Measure.CYCLE:
            beyond = cycle is not None and level > cycle
            return limits if beyond else replace(limits, cycle=level, strict=frozenset({"cycle"}))
        case Measure.FIRST:
            aim = problem.scale.percentile
            beyond = aim in first and level > first[aim]
            stricter = tuple((first | {aim: level}).items())
            return limits if beyond else replace(limits, first=stricter, strict=frozenset({_first_name(aim)}))
        case Measure.MEMORY:
            return replace(limits, memory=min(limits.memory, ceil(level) - 1))
        case Measure.CONTEXT:
            longer = next_longer(problem, floor(level))
            return (
                replace(limits, devices=0) if longer is None else replace(limits, context=max(limits.context, longer))
            )


def on_fewer_devices(problem: Problem, requests: Fraction, devices: int) -> Goal:
    """The problem's limits, and requests/s reached on fewer devices: what breaks a tie (`figures.objective.key`)."""
    limits = goal(problem, None)
    return replace(limits, total=max(limits.total, requests), devices=devices - 1)
