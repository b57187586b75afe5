"""The smallest change of one limit, all others kept, at which something fits; exactly.

A limit in seconds or bytes is relaxed to the least that any layout reaches, which is the optimum of that objective.
Device counts, and degrees in the order of their distance, are found by bisection: what fits on fewer devices fits on
more. Of a request rate the most that any layout serves is found by climbing from witness to witness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import log2

from optimizer.domain.lattice import axes
from optimizer.domain.limit_table import (
    UNLIMITED_BYTES,
    Limit,
    LimitValue,
    ObjectiveLimit,
    most_devices,
    with_concurrency,
    with_limits,
    with_memory,
    with_rate,
    with_search,
    without_rules,
)
from optimizer.domain.precision import PrecisionOverride
from optimizer.domain.problem import Problem
from optimizer.explain.feasible import fits, optimum
from optimizer.figures.goodput import most_in_time
from optimizer.figures.objective import Scored
from optimizer.figures.rates import last_kept
from optimizer.figures.serving import evaluate
from optimizer.figures.topology import replicas_that_fit
from optimizer.solve.places import waits
from optimizer.verify.constraints import violations

RATE_PRECISION = Fraction(1, 10**9)
"""A request rate larger than the one given by this share fails."""
WAIT_PARTS = 64
"""Parts of the shortest TTFT in which the wait for a free place is told beside it."""
_LONGEST_WAIT = 1024
"""Times the shortest TTFT beyond which no wait is looked for."""
RATE_STEPS = int(4 / RATE_PRECISION)
"""Parts of a layout's capacity that are told apart for it."""


@dataclass(frozen=True)
class Relaxation:
    """A change of one limit that alone makes something fit.

    Attributes
    ----------
    problem
        The problem with the change.
    scored
        A layout that then fits.
    note
        What the number leaves open.
    """

    limit: str
    old: LimitValue
    new: LimitValue
    unit: str | None
    problem: Problem
    scored: Scored
    note: str | None = None


def relax(problem: Problem, limit: Limit) -> Iterator[Relaxation]:
    """The smallest changes that alone would do; none where no change of this limit does."""
    if limit.name == "search.overlap":
        yield from _overlap(problem, limit)
    elif limit.name.startswith("search."):
        yield from _degrees(problem, limit)
    else:
        yield from _RELAX.get(limit.name, _to_the_best)(problem, limit)


def devices_needed(problem: Problem, scored: Scored) -> int:
    """Least number of devices on which a layout's replicas fit."""
    sizes, layout = tuple(t.size for t in problem.hardware.tiers), scored.layout
    low, high = layout.devices, 2 * layout.devices + 2 * max((s or 0) for s in sizes)
    while low < high:
        middle = (low + high) // 2
        if replicas_that_fit(sizes, middle, layout.replica_devices) >= layout.replicas:
            high = middle
        else:
            low = middle + 1
    return low


def _devices(problem: Problem, _limit: Limit) -> Iterator[Relaxation]:
    low, high, witness = problem.devices, problem.devices, None
    while witness is None and high < most_devices(problem):
        low, high = high, min(2 * high, most_devices(problem))
        witness = fits(problem.model_copy(update={"devices": high}))
    if witness is None:
        return
    high = min(high, max(low + 1, _served_by(problem, witness)))
    while high - low > 1:
        middle = (low + high) // 2
        scored = fits(problem.model_copy(update={"devices": middle}))
        if scored is None:
            low = middle
        else:
            high, witness = max(low + 1, min(middle, _served_by(problem, scored))), scored
    relaxed = problem.model_copy(update={"devices": high})
    final = fits(relaxed)
    yield Relaxation("devices", problem.devices, high, "devices", relaxed, final or witness)


def _served_by(problem: Problem, scored: Scored) -> int:
    """Devices that a layout, as it is, needs."""
    return devices_needed(problem, scored)


def _memory(problem: Problem, limit: Limit) -> Iterator[Relaxation]:
    exposed = problem.hardware.device.exposed_memory
    # what engines reserve and admit follows the size of the memory, so that no layout's own bytes tell the least
    least = _least(lambda size: with_memory(problem, size), exposed, UNLIMITED_BYTES)
    if least is not None:
        relaxed = with_memory(problem, least[0])
        note = f"a device that exposes {least[0]} bytes"
        yield Relaxation("memory", problem.capacity_bytes, relaxed.capacity_bytes, "bytes", relaxed, least[1], note)
    if problem.limits.memory_utilization is None:
        yield from _utilization(problem, limit)


def _utilization(problem: Problem, _limit: Limit) -> Iterator[Relaxation]:
    exposed = problem.hardware.device.exposed_memory

    def at(usable: int) -> Problem:
        return with_limits(problem, memory_utilization=Fraction(usable, exposed))

    least = _least(at, problem.capacity_bytes, exposed)
    if least is not None:
        share = Fraction(least[0], exposed)
        yield Relaxation("memory_utilization", problem.memory_utilization, share, "ratio", at(least[0]), least[1])


def _static_share(problem: Problem, limit: Limit) -> Iterator[Relaxation]:
    exposed, share = problem.hardware.device.exposed_memory, Fraction(str(limit.of(problem)))

    def at(usable: int) -> Problem:
        return with_limits(problem, mem_fraction_static=Fraction(usable, exposed))

    least = _least(at, int(share * exposed), exposed)
    if least is not None:
        yield Relaxation(limit.name, share, Fraction(least[0], exposed), "ratio", at(least[0]), least[1])


def _to_the_best(problem: Problem, limit: Limit) -> Iterator[Relaxation]:
    """A limit on the value of an objective: the best value without it."""
    best = optimum(limit.drop(problem), limit.bounds) if isinstance(limit, ObjectiveLimit) else None
    if best is not None and isinstance(limit, ObjectiveLimit):
        new = limit.kept_by(problem, best.value)
        if not waits(limit.stated(problem, new)):
            yield Relaxation(limit.name, limit.of(problem), new, limit.unit, limit.stated(problem, new), best)
            return
        # beside it, the wait for a free place
        step = new / WAIT_PARTS
        least = _least(lambda parts: limit.stated(problem, new + parts * step), -1, _LONGEST_WAIT * WAIT_PARTS)
        if least is not None:
            new += least[0] * step
            yield Relaxation(limit.name, limit.of(problem), new, limit.unit, limit.stated(problem, new), least[1])


def _bandwidth(problem: Problem, limit: Limit) -> Iterator[Relaxation]:
    low, high = int(Fraction(str(limit.of(problem)))), int(problem.hardware.tiers[-1].bandwidth)
    least = _least(lambda value: with_limits(problem, fabric_bandwidth=value), low, high)
    if least is not None:
        relaxed = with_limits(problem, fabric_bandwidth=least[0])
        yield Relaxation("fabric_bandwidth", limit.of(problem), least[0], "bytes_per_s", relaxed, least[1])


def _least(at: Callable[[int], Problem], low: int, high: int) -> tuple[int, Scored] | None:
    """The least whole number above `low` at which something fits: from the least of one layout to that of a better one.

    Parameters
    ----------
    at
        The problem with a number; what fits at one fits at any larger one.
    """
    witness, step = fits(at(high)), 1
    if witness is None:
        return None
    high = _least_of_layout(at, witness, low, high)
    while high - low > 1:
        tried = max(high - step, (low + high) // 2)
        scored = fits(at(tried))
        if scored is None:
            low, step = tried, 1
        else:
            high, witness, step = _least_of_layout(at, scored, low, tried), scored, 64 * step
    return high, witness


def _least_of_layout(at: Callable[[int], Problem], scored: Scored, low: int, high: int) -> int:
    """The least number above `low` at which a layout that fits at `high` does."""

    def breaks(number: int) -> bool:
        problem = at(number)
        return bool(violations(problem, scored.layout, evaluate(problem, scored.layout)))

    return last_kept(breaks, low, high) + 1


def _concurrency(problem: Problem, limit: Limit) -> Iterator[Relaxation]:
    """The most that some layout keeps in flight within all limits: fewer are easier."""
    low, high = 0, int(Fraction(str(limit.of(problem))))
    witness = None
    while high - low > 1:
        middle = (low + high) // 2
        scored = fits(with_concurrency(problem, middle))
        low, high, witness = (low, middle, witness) if scored is None else (middle, high, scored)
    if witness is not None:
        relaxed = with_concurrency(problem, low)
        yield Relaxation("concurrency", limit.of(problem), low, "requests", relaxed, witness)


def _rate(problem: Problem, limit: Limit) -> Iterator[Relaxation]:
    witness = fits(with_rate(problem, None))
    if witness is None:
        return
    low = Fraction(0)
    scored: Scored | None = witness
    while scored is not None:
        part, capacity = most_in_time(problem, evaluate(problem, scored.layout), RATE_STEPS)
        reached = part * capacity
        if reached <= low:
            break
        low, witness = reached, scored
        scored = optimum(with_rate(problem, low * (1 + RATE_PRECISION)), "throughput")
    if low > 0:
        note = "nothing serves one part in a thousand million more"
        if waits(problem):
            note = "the most of the layouts that were found; that no other waits less for a free place is not proved"
        yield Relaxation(
            "request_rate", limit.of(problem), low, "requests_per_s", with_rate(problem, low), witness, note
        )


def _engine(problem: Problem, limit: Limit) -> Iterator[Relaxation]:
    relaxed = without_rules(problem)
    scored = fits(relaxed)
    if scored is not None:
        yield Relaxation("engine", limit.of(problem), "any", None, relaxed, scored)


def values_of(problem: Problem, axis: str) -> range | list[int]:
    """Values of an axis of `search` that are tried in place of the allowed ones, ascending."""
    model, most = problem.model, problem.devices
    if axis == "cp":
        return range(1, most + 1)
    if axis == "pp":
        return range(1, min(model.layer_count, most) + 1)
    if axis == "prefill_chunk":
        return [chunk for chunk in axes(with_search(problem, axis, None)).chunks if chunk is not None]
    if axis == "batch":
        return sorted({*range(1, 4097), *(2**n for n in range(13, 21))})
    return range(1, most + 1)


def _overlap(problem: Problem, limit: Limit) -> Iterator[Relaxation]:
    """The overlap that is not allowed."""
    for missing in ("none", "two_batch"):
        relaxed = with_search(problem, "overlap", (missing,))
        scored = None if missing in (problem.search.overlap or ()) else fits(relaxed)
        if scored is not None:
            yield Relaxation(limit.name, limit.of(problem), missing, None, relaxed, scored)


def _degrees(problem: Problem, limit: Limit) -> Iterator[Relaxation]:
    """The value nearest to an allowed one, by ratio, that is missing."""
    axis = limit.name.removeprefix("search.")
    allowed = getattr(problem.search, axis)

    def distance(value: int) -> tuple[float, int]:
        return min(abs(log2(value) - log2(degree)) for degree in allowed), value

    order = sorted((v for v in values_of(problem, axis) if v not in allowed), key=distance)
    if not order or fits(with_search(problem, axis, (*allowed, *order))) is None:
        return
    new = order[last_kept(lambda n: fits(with_search(problem, axis, (*allowed, *order[:n]))) is None, 0, len(order))]
    relaxed = with_search(problem, axis, (new,))
    scored = fits(relaxed)
    if scored is not None:
        yield Relaxation(limit.name, limit.of(problem), (new,), None, relaxed, scored)


_RELAX = {
    "devices": _devices,
    "memory": _memory,
    "memory_utilization": _utilization,
    "mem_fraction_static": _static_share,
    "fabric_bandwidth": _bandwidth,
    "request_rate": _rate,
    "concurrency": _concurrency,
    "engine": _engine,
}

_SMALLER = (("kv_cache", "fp8"), ("weights", "fp8"), ("weights", "mxfp4"))


def precisions(problem: Problem) -> Iterator[Relaxation]:
    """Smaller number formats that alone make something fit; the first of each part."""
    precision, done = problem.precision, set()
    for part, new in _SMALLER:
        old = getattr(precision, part)
        if part in done or old == new or (part == "weights" and not old.startswith(("bf", "fp16", "fp32", "fp8"))):
            continue
        if part == "weights" and new == "fp8" and old.startswith("fp8"):
            continue
        update = PrecisionOverride.model_validate({part: new}).applied_to(precision)
        smaller = problem.model_copy(update={"model": problem.model.model_copy(update={"precision": update})})
        scored = fits(smaller)
        if scored is not None:
            done.add(part)
            yield Relaxation(f"precision.{part}", old, new, None, smaller, scored)
