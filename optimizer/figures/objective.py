"""What an objective is worth, and the best layout of fixed degrees and chunk: batch, stage cuts, replicas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from math import floor

from optimizer.domain.layout import Layout, Stage
from optimizer.domain.limit_table import tightest
from optimizer.domain.objectives import Measure, Objective
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import Costs
from optimizer.figures.memory import Memory, build_memory
from optimizer.figures.operating_point import OperatingPoints, Point
from optimizer.figures.partition import some_cuts
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.figures.room import longest, longest_context
from optimizer.figures.serving import Evaluation, Timing
from optimizer.figures.topology import replicas_that_fit


@dataclass(frozen=True)
class Scored:
    """A layout with its objective value, in the objective's own unit."""

    layout: Layout
    point: Point
    value: Fraction
    throughput: Fraction

    @property
    def rank(self) -> tuple[object, ...]:
        """Sort key, best first among equal objectives; smaller is better (stated in `order`)."""
        layout = self.layout
        return (
            -self.throughput, layout.devices, self.point.timing.tpot_s or 0, self.point.timing.ttft_s or 0,
            layout.pp, layout.tp, layout.cp, layout.etp, layout.ep, layout.prefill_chunk or 0, layout.batch,
            layout.overlap != "none",
            tuple(-c for c in self.point.cuts),
        )  # fmt: skip


def key(problem: Problem, scored: Scored) -> tuple[object, ...]:
    """Total order of layouts: objective, more throughput, fewer devices, lower TPOT, lower TTFT, smaller degrees."""
    sign = -1 if problem.objective_row.maximised else 1
    return (sign * scored.value, *scored.rank)


def better(problem: Problem, value: Fraction, than: Fraction) -> bool:
    """Whether an objective value beats another strictly."""
    return value > than if problem.objective_row.maximised else value < than


def allowed_replicas(problem: Problem, shape: Shape) -> tuple[int, ...]:
    """Replica counts, ascending, that fit the devices and the problem's `search`; none where the engine refuses it."""
    if not problem.engine.accepts(problem, shape):
        return ()
    sizes = tuple(t.size for t in problem.hardware.tiers)
    devices = floor(tightest(problem).get(Measure.DEVICES, problem.devices))
    most = min(replicas_that_fit(sizes, problem.devices, shape.devices), devices // shape.devices)
    search, dense = problem.search, problem.model.moe is None
    if dense and search.edp is not None and 1 not in search.edp:
        return ()
    asked = [
        (search.dp, shape.dp),
        (None if dense else search.edp, shape.edp),
        (search.devices, shape.devices),
    ]
    bound = next(((values, each) for values, each in asked if values is not None), None)
    tried = range(1, most + 1) if bound is None else sorted({v // bound[1] for v in bound[0] if v % bound[1] == 0})
    return tuple(
        r for r in tried if 1 <= r <= most and all(values is None or r * each in values for values, each in asked)
    )


def layout_of(problem: Problem, shape: Shape, replicas: int, chunk: int | None, point: Point) -> Layout:
    """A layout in full; a dense model has no expert mesh."""
    first, stages = 0, []
    for layers in point.cuts:
        stages.append(Stage(first_layer=first, layers=layers))
        first += layers
    dense = problem.model.moe is None
    return Layout(
        tp=shape.tp, cp=shape.cp, dp=shape.dp * replicas, pp=shape.pp, etp=shape.etp, ep=shape.ep,
        edp=1 if dense else shape.edp * replicas, batch=point.batch, prefill_chunk=chunk,
        redundant_slots=shape.redundant, stages=tuple(stages),
        overlap=shape.overlap_name,
    )  # fmt: skip


def objective_value(
    problem: Problem, shape: Shape, replicas: int, point: Point, memory: Memory | None = None
) -> Fraction:
    """The objective of a layout, in its own unit; `memory` where the caller has the shape's coefficients."""
    return problem.scale.value(_level(problem.scale.measure, problem, shape, replicas, point, memory))


def objective_of(problem: Problem, evaluation: Evaluation) -> Fraction:
    """The objective of an evaluated layout, in its own unit."""
    value = value_of(problem.objective_row, problem, evaluation)
    assert value is not None  # noqa: S101 - a layout that serves what is asked has a value
    return value


def value_of(row: Objective, problem: Problem, evaluation: Evaluation) -> Fraction | None:
    """The value of any objective of an evaluated layout, in its own unit; None where its queue grows without end."""
    layout, slowest = evaluation.layout, max(evaluation.stage_ticks)
    times = Timing(
        layout.pp * max(evaluation.cycle_ticks) / TICKS_PER_SECOND, evaluation.ttft_s, evaluation.tpot_s,
        evaluation.queue_s, evaluation.load, evaluation.request_capacity / layout.dp,
    )  # fmt: skip
    point = Point(layout.batch, evaluation.cuts, slowest, None, evaluation.ttft_s, evaluation.memory_bytes, times)
    scale = row.scale_of(problem)
    if scale.measure is Measure.FIRST:
        first = evaluation.first_token_s(scale.percentile)
        return None if first is None else scale.value(first)
    if scale.percentile is not None:
        return scale.value(evaluation.tpots[scale.percentile] * problem.workload.tokens_per_step)
    return scale.value(_level(scale.measure, problem, evaluation.shape, layout.replicas, point, None))


def _level(
    measure: Measure, problem: Problem, shape: Shape, replicas: int, point: Point, memory: Memory | None
) -> Fraction:
    devices, requests = shape.devices * replicas, point.timing.rank_requests * shape.dp * replicas
    match measure:
        case Measure.DEVICE_REQUESTS:
            return requests / devices
        case Measure.REQUESTS:
            return requests
        case Measure.CYCLE:
            return point.timing.cycle
        case Measure.FIRST:
            assert point.first_s is not None  # noqa: S101 - refused where specs are read
            return point.first_s
        case Measure.MEMORY:
            return Fraction(point.memory_bytes)
        case Measure.DEVICES:
            return Fraction(devices)
        case Measure.CONTEXT:
            return Fraction(longest_context(problem, memory or build_memory(problem, shape), point.cuts))


def fewest_devices(problem: Problem) -> bool:
    """Whether the objective falls with the number of replicas: fewest devices, or dollars at a given rate."""
    return problem.scale.measure is Measure.DEVICES


def _requests_for(problem: Problem, shape: Shape, replicas: int, value: Fraction) -> Fraction:
    """Requests/s that each rank must serve for an objective to reach a value; 0 where it is no matter of them."""
    level = problem.scale.level(value)
    match problem.scale.measure:
        case Measure.REQUESTS:
            return level / (replicas * shape.dp)
        case Measure.DEVICE_REQUESTS:
            return level * shape.devices / shape.dp
        case _:
            return Fraction(0)


def best_layout(
    problem: Problem,
    shape: Shape,
    chunk: int | None,
    costs: Costs,
    memory: Memory,
    *,
    reach: Fraction | None = None,
    counts: tuple[int, ...] | None = None,
) -> Scored | None:
    """The best layout of these degrees and this chunk, or None where none keeps the limits.

    Parameters
    ----------
    reach
        An objective value: where the best is worse, it may be missed.
    counts
        What `allowed_replicas` says of the shape, where that is known.
    """
    counts = allowed_replicas(problem, shape) if counts is None else counts
    fewest = fewest_devices(problem)
    if fewest and reach is not None:
        most = problem.scale.level(reach)
        counts = tuple(r for r in counts if r * shape.devices <= most)
    if not counts:
        return None

    def at(replicas: int, context: int = 0) -> Point | None:
        points = OperatingPoints(problem, shape, chunk, replicas, costs, memory, context=context)
        need = points.need
        if reach is not None:
            need = max(need, _requests_for(problem, shape, replicas, reach))
        return _point(problem, points, need, None if fewest else reach)

    if problem.workload.concurrency is not None:
        # the replicas say the batch: of those with the same the fewest serve as much
        least: dict[int | None, int] = {}
        for count in counts:
            least.setdefault(problem.workload.in_flight(count * shape.dp), count)
        candidates = [
            _scored(problem, shape, count, chunk, memory, partial(at, count), reach) for count in least.values()
        ]
        return min(
            (scored for scored in candidates if scored is not None),
            key=lambda scored: key(problem, scored),
            default=None,
        )
    if fewest:
        low, high = 0, len(counts) - 1
        if at(counts[high]) is None:
            return None
        while low < high:
            middle = (low + high) // 2
            if at(counts[middle]) is None:
                low = middle + 1
            else:
                high = middle
        replicas = counts[low]
    else:
        replicas = counts[-1]
    return _scored(problem, shape, replicas, chunk, memory, partial(at, replicas), reach)


def _scored(
    problem: Problem,
    shape: Shape,
    replicas: int,
    chunk: int | None,
    memory: Memory,
    at: Callable[[int], Point | None],
    reach: Fraction | None,
) -> Scored | None:
    """The best layout of so many replicas, from the best point that holds so many tokens (0: any)."""
    if problem.scale.measure is Measure.CONTEXT:
        point = _longest(problem, shape, memory, at, 0 if reach is None else int(reach))
    else:
        point = at(0)
    if point is None:
        return None
    layout = layout_of(problem, shape, replicas, chunk, point)
    tokens = point.timing.rank_requests * layout.dp * problem.workload.tokens_of_request
    return Scored(layout, point, objective_value(problem, shape, replicas, point, memory), tokens)


def context_of_degrees(problem: Problem, shape: Shape, memory: Memory, least: int = 0) -> int:
    """The longest context of any cuts, other limits apart; `least` where none holds more."""
    return longest(problem, lambda tokens: some_cuts([memory.holding(tokens)], shape.pp), least=least)


def _longest(
    problem: Problem, shape: Shape, memory: Memory, at: Callable[[int], Point | None], least: int
) -> Point | None:
    """The point whose stages hold the longest context, `least` tokens or more; then the one with most requests/s.

    Parameters
    ----------
    at
        The point with most requests/s that holds so many tokens (0: any); limits tighten with them.
    """
    most = context_of_degrees(problem, shape, memory)
    if most < least:
        return None
    point = at(most)
    if point is not None or most == least or at(least) is None:
        return point
    context = longest(problem, lambda tokens: tokens <= most and at(tokens) is not None, least=least)
    return at(context)


_MINIMISED = {Measure.CYCLE: "cycle", Measure.FIRST: "first", Measure.MEMORY: "memory"}
"""What the points of an objective minimise; the others serve as many requests as they can."""


def _point(problem: Problem, points: OperatingPoints, need: Fraction, reach: Fraction | None) -> Point | None:
    allowed, looped = problem.search.batch, problem.workload.in_flight(points.ranks)
    if looped is not None:
        allowed = (looped,) if allowed is None or looped in allowed else ()
    minimise = _MINIMISED.get(problem.scale.measure)
    if allowed is not None:
        candidates = [p for b in sorted(set(allowed)) if (p := points.at_least(b, need, minimise=minimise or "mean"))]
        if not candidates:
            return None
        if minimise is None:
            return max(candidates, key=lambda p: (p.timing.rank_requests, p.batch))
        measure = {"cycle": lambda p: p.timing.cycle, "first": lambda p: p.first_s, "memory": lambda p: p.memory_bytes}
        return min(candidates, key=measure[minimise])
    if minimise is None:
        return points.most_requests(need)
    most = None if reach is None else problem.scale.level(reach)
    return points.smallest(need, minimise=minimise, at_most=most)
