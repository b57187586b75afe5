"""What the program's rounding leaves open, decided in exact numbers: the best stage cuts of one choice of all else.

Dynamic programming over where stages end: of so many stages up to a layer, the least of the largest stage that is to be
small, within every stage's own limits. Shared neither with the search's probing nor with the checker's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

from optimizer.declarative.prices import longest_mixed
from optimizer.domain.layout import Layout, Stage
from optimizer.domain.limit_table import tightest
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import Costs
from optimizer.figures.memory import Memory
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.figures.serving import first_token
from optimizer.figures.steps import steps_of


@dataclass(frozen=True)
class Choice:
    """All that a layout is but its cuts."""

    shape: Shape
    replicas: int
    batch: int
    chunk: int | None

    def layout(self, cuts: tuple[int, ...], *, experts: bool) -> Layout:
        """The layout in full."""
        shape, first = self.shape, [0, *accumulate(cuts)]
        return Layout(
            tp=shape.tp, cp=shape.cp, dp=shape.dp * self.replicas, pp=shape.pp, etp=shape.etp, ep=shape.ep,
            edp=shape.edp * self.replicas if experts else 1, batch=self.batch, prefill_chunk=self.chunk,
            redundant_slots=shape.redundant,
            stages=tuple(Stage(first_layer=start, layers=count) for start, count in zip(first, cuts, strict=False)),
            overlap=shape.overlap_name,
        )  # fmt: skip


@dataclass(frozen=True)
class _Cost:
    """One cost of stages: of the first layers, what each, the first and the last stage add, and its limit."""

    prefix: tuple[Fraction, ...]
    every: Fraction
    first: Fraction = Fraction(0)
    last: Fraction = Fraction(0)
    limit: Fraction | None = None

    def stage(self, start: int, end: int) -> Fraction:
        cost = self.prefix[end] - self.prefix[start] + self.every
        return cost + self.first * (start == 0) + self.last * (end == len(self.prefix) - 1)

    def kept(self, start: int, end: int) -> bool:
        return self.limit is None or self.stage(start, end) <= self.limit


def best_cuts(problem: Problem, choice: Choice, costs: Costs, memory: Memory) -> tuple[int, ...] | None:
    """Layers of each stage that are best for the objective within all limits; None where none keeps them."""
    mean, cycle, first, bytes_ = _costs(problem, choice, costs, memory)
    measure = problem.scale.measure
    least = {Measure.MEMORY: bytes_, Measure.FIRST: first, Measure.CYCLE: cycle}.get(measure, mean)
    return _partition(least, (mean, cycle, first, bytes_, *_longest(problem, memory)), choice.shape.pp)


def _longest(problem: Problem, memory: Memory) -> Iterator[_Cost]:
    """What the engine holds with one sequence of the length that it is told to admit."""
    length = tightest(problem).get(Measure.CONTEXT)
    if length is not None:
        track = memory.holding(int(length))
        prefix, ends = tuple(map(Fraction, track.prefix)), (Fraction(track.first), Fraction(track.last))
        yield _Cost(prefix, Fraction(track.every), *ends, limit=None if track.limit is None else Fraction(track.limit))


def _partition(least: _Cost, limited: tuple[_Cost, ...], stages: int) -> tuple[int, ...] | None:
    layers = len(least.prefix) - 1
    best: list[dict[int, tuple[Fraction, int]]] = [{0: (Fraction(0), 0)}]
    for stage in range(1, stages + 1):
        reached: dict[int, tuple[Fraction, int]] = {}
        ends = range(stage, layers - stages + stage + 1) if stage < stages else [layers]
        for end in ends:
            for start, (value, _) in best[-1].items():
                if start < end and all(cost.kept(start, end) for cost in limited):
                    slowest = max(value, least.stage(start, end))
                    if end not in reached or slowest < reached[end][0]:
                        reached[end] = slowest, start
        best.append(reached)
    if layers not in best[-1]:
        return None
    ends = [layers]
    for reached in reversed(best[1:]):
        ends.append(reached[ends[-1]][1])
    ends.reverse()
    return tuple(b - a for a, b in pairwise(ends))


def _costs(problem: Problem, choice: Choice, costs: Costs, memory: Memory) -> tuple[_Cost, _Cost, _Cost, _Cost]:
    """Mean times A and G, what the first token's time is of, and bytes, each with its limit."""
    work, shape, limits = problem.workload, choice.shape, dict(tightest(problem))
    ranks, pp = choice.replicas * shape.dp, shape.pp
    steps = steps_of(work, -(-choice.batch // pp), choice.chunk, pp)
    share = steps.share if steps.decode is not None else Fraction(1)

    def summed(decode: Fraction, mixed: Fraction, own: Fraction = Fraction(0), limit: Fraction | None = None) -> _Cost:
        """Times of the steps of each kind, each so often."""
        kinds = [(step, often) for step, often in
                 ((steps.decode, decode), (steps.mixed, mixed), (steps.own, own)) if step is not None]  # fmt: skip
        every, last = (
            sum((often * part(step) for step, often in kinds), Fraction(0)) for part in (costs.send, costs.tail)
        )
        prefixes = [[often * ticks for ticks in costs.prefix(step)] for step, often in kinds]
        prefix = tuple(sum(ticks, Fraction(0)) for ticks in zip(*prefixes, strict=True))
        return _Cost(prefix, every, last=last, limit=limit)

    met = min(Fraction(1), steps.met * (choice.batch - 1)) if steps.decode is not None else Fraction(1)
    most = None if Measure.CYCLE not in limits else limits[Measure.CYCLE] * TICKS_PER_SECOND / pp
    cycle = summed(1 - met, met, limit=most)
    rate = max(work.request_rate or 0, limits.get(Measure.REQUESTS, 0))
    rank_rate = max(Fraction(rate) / ranks, limits.get(Measure.DEVICE_REQUESTS, Fraction(0)) * shape.devices / shape.dp)
    served = None
    if rank_rate:
        served = choice.batch * TICKS_PER_SECOND / (work.cycles_of_request(steps.pieces, pp) * rank_rate * pp)
    mean = summed(1 - share, share, limit=served)
    ttft, first = limits.get(Measure.FIRST), summed(Fraction(0), Fraction(0))
    if steps.mixed is not None:
        waited = first_token(problem, pp=pp, batch=choice.batch, steps=steps)
        if work.looped:
            limit = None if ttft is None else (ttft - waited.fixed_s) * TICKS_PER_SECOND
            often = waited.ahead + waited.mean * share
            first = summed(waited.mean * (1 - share), often, Fraction(waited.own), limit)
        else:
            longest_own = Fraction(longest_mixed(problem, steps, pp, ranks, ttft))
            first = summed(Fraction(0), Fraction(0), Fraction(1), longest_own)
    held = memory.prefix(choice.batch)
    bytes_ = _Cost(
        tuple(Fraction(size) for size in held),
        Fraction(memory.working_bytes(steps.largest) + memory.reserve_bytes),
        first=Fraction(memory.input.total_bytes), last=Fraction(memory.output.total_bytes),
        limit=min(Fraction(problem.capacity_bytes), limits.get(Measure.MEMORY, Fraction(problem.capacity_bytes))),
    )  # fmt: skip
    return mean, cycle, first, bytes_
