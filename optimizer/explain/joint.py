"""The cheapest change of several limits at once: every number of a conflict by the same factor."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from optimizer.domain.problem import Problem
from optimizer.domain.variation import changed
from optimizer.explain.conflict import Conflict
from optimizer.explain.limits import fits, with_limits, with_memory, with_rate
from optimizer.figures.objective import Scored

_LARGEST = 64


@dataclass(frozen=True)
class Joint:
    """All numbers of the conflict relaxed by one factor: the least largest relative change, all weights equal.

    Attributes
    ----------
    factor
        Times and memory and devices multiplied by it, rates divided.
    below
        A factor, this little smaller, at which nothing fits.
    """

    factor: Fraction
    below: Fraction
    changes: tuple[tuple[str, Fraction | int, Fraction | int, str | None], ...]
    scored: Scored


def _scaled(problem: Problem, names: tuple[str, ...], factor: Fraction) -> Problem:
    own = problem
    if "ttft" in names and own.limits.ttft is not None:
        own = with_limits(own, ttft=own.limits.ttft * factor)
    if "tpot" in names and own.limits.tpot is not None:
        own = with_limits(own, tpot=own.limits.tpot * factor)
    if "fabric_bandwidth" in names and own.limits.fabric_bandwidth is not None:
        own = with_limits(own, fabric_bandwidth=int(own.limits.fabric_bandwidth * factor))
    if "memory_utilization" in names:
        own = with_limits(own, memory_utilization=min(Fraction(1), own.memory_utilization * factor))
    elif "memory" in names:
        own = with_memory(own, int(own.hardware.device.exposed_memory * factor))
    if "request_rate" in names and own.workload.request_rate is not None:
        own = with_rate(own, own.workload.request_rate / factor)
    if "devices" in names:
        own = changed(own, devices=int(own.devices * factor))
    return own


NUMBERS = ("ttft", "tpot", "fabric_bandwidth", "memory", "memory_utilization", "request_rate", "devices")


def joint(problem: Problem, found: Conflict) -> Joint | None:
    """The least factor, to one part in 1,024, by which all numbers of the conflict relaxed make something fit."""
    names = tuple(m.limit.name for m in found.members if m.limit.name in NUMBERS)
    if "memory_utilization" in names:
        names = tuple(n for n in names if n != "memory")
    if len(names) < 2:
        return None
    low, high = Fraction(1), Fraction(2)
    witness = fits(_scaled(problem, names, high))
    while witness is None:
        low, high = high, 2 * high
        if high > _LARGEST:
            return None
        witness = fits(_scaled(problem, names, high))
    while high - low > low / 1024:
        middle = (low + high) / 2
        tried = fits(_scaled(problem, names, middle))
        low, high, witness = (low, middle, tried) if tried is not None else (middle, high, witness)
    changes = tuple(_change(problem, _scaled(problem, names, high), name) for name in names)
    return Joint(high, low, changes, witness)


def _change(old: Problem, new: Problem, name: str) -> tuple[str, Fraction | int, Fraction | int, str | None]:
    def value(own: Problem) -> tuple[Fraction | int, str]:
        found: dict[str, tuple[Fraction | int, str]] = {
            "ttft": (own.limits.ttft or 0, "s"),
            "tpot": (own.limits.tpot or 0, "s"),
            "fabric_bandwidth": (own.limits.fabric_bandwidth or 0, "bytes_per_s"),
            "memory": (own.capacity_bytes, "bytes"),
            "memory_utilization": (own.memory_utilization, "ratio"),
            "request_rate": (own.workload.request_rate or 0, "requests_per_s"),
            "devices": (own.devices, "devices"),
        }
        return found[name]

    (before, unit), (after, _) = value(old), value(new)
    return name, before, after, unit
