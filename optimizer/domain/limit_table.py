"""Everything that a layout must keep and that could be relaxed, a row each.

A row that bounds an objective needs nothing else: search, reference and checker read `tightest`, `verify` judges the
objective's value, and `explain` drops, relaxes and scales it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any

from optimizer.domain.base import FieldError
from optimizer.domain.engines import ANY
from optimizer.domain.families import Family
from optimizer.domain.limits import PERCENTILES, SearchLimits
from optimizer.domain.objectives import OBJECTIVES, Measure, Objective
from optimizer.domain.problem import Problem
from optimizer.errors import InternalError
from optimizer.units import Dimension, eased, format_quantity, plain

MOST_DEVICES = 16_384
"""A problem whose device limit is dropped has this many devices, or 16 times its own where that is more."""

UNLIMITED_BYTES = 2**50
"""Memory that stands for any amount: 1 PiB, beyond all weights and caches of one device."""

LimitValue = Fraction | int | str | tuple[int, ...]


def told(value: LimitValue, stated: object = None) -> int | float | str | list[int]:
    """A value as results write it: a rational that is not whole as the nearest float that is no tighter than it.

    Parameters
    ----------
    stated
        What the limit is where `value` eases it; the float nearest of all where none is given.
    """
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, str):
        return value
    return plain(value, eased(value, stated) if isinstance(stated, int | float | Fraction) else round)


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    Attributes
    ----------
    name, unit
        As conflicts and relaxations name it; the unit of its number.
    at
        Fields of a problem that state it: nothing else differs where it is dropped or scaled.
    value
        A number in the base unit, a list of allowed degrees, or an engine's name; None where nothing is limited.
    drop
        The problem without it.
    times
        The problem with a limit looser by a factor; None where it is no number.
    """

    name: str
    unit: str | None
    at: tuple[str, ...]
    value: Callable[[Problem], LimitValue | None]
    drop: Callable[[Problem], Problem]
    times: Callable[[Problem, Fraction], Problem] | None = None

    def of(self, problem: Problem) -> LimitValue:
        """Its value in a problem that has it."""
        stated = self.value(problem)
        if stated is None:
            raise InternalError(f"limit {self.name!r} is not stated")
        return stated


_TIMED = {Measure.FIRST: "ttft", Measure.CYCLE: "tpot"}
"""Times that runs measure, and what follows from each."""


@dataclass(frozen=True, slots=True)
class ObjectiveLimit(Limit):
    """A limit on the value of an objective: at most, or at least where the objective is maximised.

    Attributes
    ----------
    bounds
        Name of the objective.
    family
        What a breach is tagged with.
    label, asked
        Its short name where a problem is told in one line, and what its option asks for; None: it has none, as it is
        written with another limit.
    stated
        The problem with another number of it.
    """

    bounds: str = field(kw_only=True)
    family: Family = field(kw_only=True)
    label: str = field(kw_only=True)
    asked: str | None = field(kw_only=True)
    stated: Callable[[Problem, Fraction], Problem] = field(kw_only=True)

    @property
    def objective(self) -> Objective:
        """The row of the objective."""
        return OBJECTIVES[self.bounds]

    def timed(self, problem: Problem) -> str | None:
        """Which of the times that runs measure its value follows from; None: no time."""
        return _TIMED.get(self.objective.scale_of(problem).measure)

    def predicted(self, problem: Problem, number: Fraction) -> Fraction:
        """What a predicted value has to keep, so that measured ones keep `number` at the confidence asked."""
        return self._timed_by(problem, number, longer=False)

    def kept_by(self, problem: Problem, value: Fraction) -> Fraction:
        """The tightest number that a predicted value keeps at the confidence asked."""
        return self._timed_by(problem, value, longer=True)

    def _timed_by(self, problem: Problem, value: Fraction, *, longer: bool) -> Fraction:
        time = self.timed(problem)
        if time is None:
            return value
        scale, factor = self.objective.scale_of(problem), problem.sure[time]
        return scale.value(scale.level(value) * (factor if longer else 1 / factor))

    @property
    def dimension(self) -> Dimension:
        """What its number measures."""
        return self.objective.dimension

    def told(self, value: Fraction) -> str:
        """The limit in short: ``TPOT ≤ 50 ms``."""
        return f"{self.label} {'≥' if self.objective.maximised else '≤'} {format_quantity(value, self.dimension)}"


def with_limits(problem: Problem, **update: Any) -> Problem:
    """A copy with limits replaced."""
    return problem.model_copy(update={"limits": problem.limits.model_copy(update=update)})


def with_rate(problem: Problem, rate: Fraction | None) -> Problem:
    """A copy with another request rate that arrives alike; an objective that needs one makes way."""
    work = problem.workload.model_copy(update={"request_rate": rate, "arrival": problem.workload.arrivals})
    objective = "throughput_per_device" if problem.objective_row.unrated(work) is not None else problem.objective
    return problem.model_copy(update={"workload": work, "objective": objective})


def with_concurrency(problem: Problem, requests: int | None) -> Problem:
    """A copy whose closed loop keeps another number of requests in flight; None: any."""
    return problem.model_copy(update={"workload": problem.workload.model_copy(update={"concurrency": requests})})


def with_search(problem: Problem, axis: str, values: tuple[int | str, ...] | None) -> Problem:
    """A copy with another restriction of one axis."""
    return problem.model_copy(update={"search": problem.search.model_copy(update={axis: values})})


def with_memory(problem: Problem, exposed_bytes: int) -> Problem:
    """A copy whose devices have other memory."""
    device = problem.hardware.device.model_copy(update={"memory": exposed_bytes, "exposed_memory": exposed_bytes})
    return problem.model_copy(update={"hardware": problem.hardware.model_copy(update={"device": device})})


def without_rules(problem: Problem) -> Problem:
    """A copy that some engine has to accept, not this one; the share of memory in use stays."""
    limits = problem.limits.model_copy(update={"memory_utilization": problem.memory_utilization})
    return problem.model_copy(update={"engine_name": ANY, "limits": limits})


def most_devices(problem: Problem) -> int:
    """Devices that stand for any number."""
    return max(MOST_DEVICES, 16 * problem.devices)


def bound_on(
    name: str, objective: str, *, label: str, asked: str | None, family: Family = Family.LIMIT
) -> ObjectiveLimit:
    """A field of `Limits` that bounds the value of an objective."""
    row = OBJECTIVES[objective]

    def value(problem: Problem) -> Fraction | None:
        stated: Fraction | None = getattr(problem.limits, name)
        return None if row.unfit(problem.workload) else stated

    def times(problem: Problem, factor: Fraction) -> Problem:
        stated: Fraction = getattr(problem.limits, name)
        return with_limits(problem, **{name: stated / factor if row.maximised else stated * factor})

    return ObjectiveLimit(
        name, row.dimension.suffix or row.unit, (f"limits.{name}",), value,
        lambda p: with_limits(p, **{name: None}), times, bounds=objective, family=family, label=label, asked=asked,
        stated=lambda problem, limit: with_limits(problem, **{name: limit}),
    )  # fmt: skip


def with_length(problem: Problem, tokens: Fraction | None) -> Problem:
    """A copy whose engine is told another longest sequence."""
    length = None if tokens is None else max(1, int(tokens))
    return problem.model_copy(update={"workload": problem.workload.model_copy(update={"max_model_len": length})})


def _admitted_length(problem: Problem) -> Fraction | None:
    length = problem.workload.max_model_len
    return None if length is None or not problem.cache.admits_longest else Fraction(length)


def _allowed(problem: Problem, axis: str) -> tuple[int, ...] | None:
    values: tuple[int, ...] | None = getattr(problem.search, axis)
    return values


LIMITS: list[Limit] = [
    Limit(
        "mem_fraction_static", "ratio", ("limits.mem_fraction_static",),
        lambda p: p.limits.mem_fraction_static,
        lambda p: with_limits(p, mem_fraction_static=Fraction(1)),
        lambda p, factor: with_limits(
            p, mem_fraction_static=min(Fraction(1), (p.limits.mem_fraction_static or 1) * factor)
        ),
    ),
    Limit(
        "memory_utilization", "ratio", ("limits.memory_utilization",),
        lambda p: p.limits.memory_utilization,
        lambda p: with_limits(p, memory_utilization=Fraction(1)),
        lambda p, factor: with_limits(p, memory_utilization=min(Fraction(1), p.memory_utilization * factor)),
    ),
    *(
        Limit(
            f"search.{axis}", None, (f"search.{axis}",), partial(_allowed, axis=axis),
            partial(with_search, axis=axis, values=None),
        )
        for axis in SearchLimits.model_fields
    ),
    Limit(
        "engine", None, ("engine_name", "limits.memory_utilization"),
        lambda p: p.engine_name if p.engine_name != ANY else None, without_rules,
    ),
    Limit(
        "concurrency", "requests", ("workload.concurrency",),
        lambda p: p.workload.concurrency,
        lambda p: with_concurrency(p, None),
        lambda p, factor: with_concurrency(p, max(1, int((p.workload.concurrency or 1) / factor))),
    ),
    Limit(
        "request_rate", "requests_per_s", ("workload.request_rate", "workload.arrival", "objective"),
        lambda p: p.workload.request_rate,
        lambda p: with_rate(p, None),
        lambda p, factor: with_rate(p, (p.workload.request_rate or 0) / factor),
    ),
    bound_on(
        "ttft", "ttft", label="TTFT", asked="Longest time to first token: 2s, p99=2s.",
        family=Family.TTFT,
    ),
    bound_on(
        "tpot", "tpot", label="TPOT", asked="Longest time per output token: 50ms, p99=60ms.",
        family=Family.TPOT,
    ),
    *(
        bound_on(
            f"{name}_p{share}", f"{name}_p{share}", label=f"p{share} of {label}", asked=None, family=family,
        )
        for name, label, family in (("ttft", "TTFT", Family.TTFT), ("tpot", "TPOT", Family.TPOT))
        for share in PERCENTILES
    ),
    ObjectiveLimit(
        "max_model_len", "tokens", ("workload.max_model_len",), _admitted_length, lambda p: with_length(p, None),
        lambda p, factor: with_length(p, (p.workload.max_model_len or 1) / factor), bounds="context",
        family=Family.MEMORY, label="longest context", stated=with_length,
        asked="Longest sequence that the engine is told to admit, such as 32768.",
    ),
    Limit(
        "fabric_bandwidth", "bytes_per_s", ("limits.fabric_bandwidth",),
        lambda p: p.limits.fabric_bandwidth,
        lambda p: with_limits(p, fabric_bandwidth=None),
        lambda p, factor: with_limits(p, fabric_bandwidth=int((p.limits.fabric_bandwidth or 0) * factor)),
    ),
    Limit(
        "memory", "bytes", ("hardware.device.memory", "hardware.device.exposed_memory"),
        lambda p: p.capacity_bytes,
        lambda p: with_memory(p, UNLIMITED_BYTES),
        lambda p, factor: with_memory(p, int(p.hardware.device.exposed_memory * factor)),
    ),
    Limit(
        "devices", "devices", ("devices",),
        lambda p: p.devices,
        lambda p: p.model_copy(update={"devices": most_devices(p)}),
        lambda p, factor: p.model_copy(update={"devices": int(p.devices * factor)}),
    ),
]  # fmt: skip
"""In the order in which a conflict leaves them out: those first that are easiest to do without."""


def limits_of(problem: Problem) -> list[Limit]:
    """All limits of a problem, those first that are easiest to do without."""
    return [row for row in LIMITS if row.value(problem) is not None]


def bounds_of(problem: Problem) -> list[tuple[ObjectiveLimit, Fraction]]:
    """Limits on the value of an objective, each with its number as asked."""
    stated = ((row, row.value(problem)) for row in LIMITS if isinstance(row, ObjectiveLimit))
    return [(row, Fraction(value)) for row, value in stated if isinstance(value, Fraction)]


def check_bounds(problem: Problem) -> None:
    """Refuse limits on what no layout has a value of, and of 0 on what never is.

    Raises
    ------
    FieldError
        At the first of them, in the words of the objective.
    """
    for limit, number in bounds_of(problem):
        why = limit.objective.untold(problem)
        if why is None and number <= 0 and limit.objective.scale_of(problem).quotient:
            why = "must be more than 0"
        if why is not None:
            raise FieldError(why, limit.at[0].split("."))


def first_limits(problem: Problem) -> dict[int | None, Fraction]:
    """Longest predicted time to the first token, in seconds, by the percentile of requests (None: their mean)."""
    tightest_of: dict[int | None, Fraction] = {}
    for row, value in bounds_of(problem):
        scale = row.objective.scale_of(problem)
        if scale.measure is Measure.FIRST:
            level = scale.level(row.predicted(problem, value))
            tightest_of[scale.percentile] = min(level, tightest_of.get(scale.percentile, level))
    return tightest_of


def tightest(problem: Problem) -> dict[Measure, Fraction]:
    """What all limits on objectives leave of each predicted measure: the least of what rises, the most of the rest.

    Percentiles of the time to the first token are in `first_limits`. Of a decode cycle they count as the mean does: no
    request has a longer one than the whole batch in flight.
    """
    levels: dict[Measure, Fraction] = {}
    for row, value in bounds_of(problem):
        scale = row.objective.scale_of(problem)
        if scale.measure is Measure.FIRST and scale.percentile is not None:
            continue
        level, known = scale.level(row.predicted(problem, value)), levels.get(scale.measure)
        better = max if scale.measure.rises else min
        levels[scale.measure] = level if known is None else better(known, level)
    return levels
