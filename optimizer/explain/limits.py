"""The limits that a problem has, each with how to drop it; and whether anything fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from optimizer.domain.engines import ANY
from optimizer.domain.limits import Search as Restrictions
from optimizer.domain.problem import Problem
from optimizer.domain.variation import changed
from optimizer.figures.objective import Scored
from optimizer.search.bounds import Rows
from optimizer.search.lattice import Meshes
from optimizer.search.search import Search

MOST_DEVICES = 16_384
"""A problem whose device limit is dropped has this many devices, or 16 times its own where that is more."""

UNLIMITED_BYTES = 2**50
AXES = tuple(Restrictions.model_fields)


def with_limits(problem: Problem, **update: Any) -> Problem:
    """A copy with limits replaced."""
    return changed(problem, limits=problem.limits.model_copy(update=update))


def with_rate(problem: Problem, rate: Fraction | None) -> Problem:
    """A copy with another request rate that arrives alike; an objective that needs one makes way."""
    work = problem.workload.model_copy(update={"request_rate": rate, "arrival": problem.workload.arrivals})
    objective = "throughput_per_device" if problem.objective_row.unrated(work) is not None else problem.objective
    return changed(problem, workload=work, objective=objective)


def with_search(problem: Problem, axis: str, values: tuple[int, ...] | None) -> Problem:
    """A copy with another restriction of one axis."""
    return changed(problem, search=problem.search.model_copy(update={axis: values}))


def with_memory(problem: Problem, exposed_bytes: int) -> Problem:
    """A copy whose devices have other memory."""
    device = problem.hardware.device.model_copy(update={"memory": exposed_bytes, "exposed_memory": exposed_bytes})
    return changed(problem, hardware=problem.hardware.model_copy(update={"device": device}))


def without_rules(problem: Problem) -> Problem:
    """A copy that some engine has to accept, not this one; the share of memory in use stays."""
    limits = problem.limits.model_copy(update={"memory_utilization": problem.memory_utilization})
    return changed(problem, engine_name="any", limits=limits)


def most_devices(problem: Problem) -> int:
    """Devices that stand for any number."""
    return max(MOST_DEVICES, 16 * problem.devices)


@dataclass(frozen=True)
class Limit:
    """One thing that a layout must keep and that could be relaxed.

    Attributes
    ----------
    value
        A number in the base unit, a list of allowed degrees, or an engine's name.
    drop
        The problem without it.
    """

    name: str
    value: Fraction | int | str | tuple[int, ...]
    unit: str | None
    drop: Callable[[Problem], Problem]


def limits_of(problem: Problem) -> list[Limit]:
    """All limits of a problem, those first that are easiest to do without."""
    own, work, found = problem.limits, problem.workload, []
    if own.memory_utilization is not None:
        share = own.memory_utilization
        found.append(
            Limit("memory_utilization", share, "ratio", lambda p: with_limits(p, memory_utilization=Fraction(1)))
        )
    for axis in AXES:
        values = getattr(problem.search, axis)
        if values is not None:
            found.append(Limit(f"search.{axis}", values, None, lambda p, a=axis: with_search(p, a, None)))  # type: ignore[misc]
    if problem.engine_name != ANY:
        found.append(Limit("engine", problem.engine_name, None, without_rules))
    if work.request_rate is not None:
        found.append(Limit("request_rate", work.request_rate, "requests_per_s", lambda p: with_rate(p, None)))
    if own.ttft is not None and work.phase != "decode":
        found.append(Limit("ttft", own.ttft, "s", lambda p: with_limits(p, ttft=None)))
    if own.tpot is not None and work.phase != "prefill":
        found.append(Limit("tpot", own.tpot, "s", lambda p: with_limits(p, tpot=None)))
    if own.fabric_bandwidth is not None:
        rate = Fraction(own.fabric_bandwidth)
        found.append(Limit("fabric_bandwidth", rate, "bytes_per_s", lambda p: with_limits(p, fabric_bandwidth=None)))
    capacity = problem.capacity_bytes
    found.append(Limit("memory", capacity, "bytes", lambda p: with_memory(p, UNLIMITED_BYTES)))
    most = most_devices(problem)
    found.append(Limit("devices", problem.devices, "devices", lambda p: changed(p, devices=most)))
    return found


class _FoundError(Exception):
    def __init__(self, scored: Scored) -> None:
        super().__init__()
        self.scored = scored


class _First(Search):
    """A search that stops at the first layout that keeps every limit."""

    def _decide_row(self, found: Meshes, rows: Rows, i: int) -> Scored | None:
        scored = super()._decide_row(found, rows, i)
        if scored is not None:
            raise _FoundError(scored)
        return None


def fits(problem: Problem) -> Scored | None:
    """Some layout that keeps every limit; None is a proof that there is none."""
    easiest = changed(problem, objective="throughput_per_device")
    narrow = changed(easiest, search=easiest.search.model_copy(update={"cp": (1,)}))
    # Nearly all that fits has a layout without context parallelism, and its lattice is a small part of the whole.
    for asked in (narrow, easiest) if easiest.search.cp is None else (easiest,):
        try:
            _First(asked).run()
        except _FoundError as found:
            return found.scored
    return None


def optimum(problem: Problem, objective: str) -> Scored | None:
    """The best layout by an objective."""
    best = Search(changed(problem, objective=objective)).run().best
    return best[0] if best else None
