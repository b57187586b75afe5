"""Whether degrees and a chunk have any batch, cuts and replicas that meet a goal: the checker's own decision, exact.

It is written from the definitions in `figures/serving.py` alone and shares no code with the search's choice of an
operating point. A goal is a set of limits, and the best is never sought, which makes each choice easy:

- Replicas: more of them serve more in all, and shorten the queue; a goal that wants few limits the devices. So the most
  that are allowed within that limit are as good as any.
- Batches: step times, memory and φ do not fall with the batch, so limits that no cuts keep at the least batch of an
  interval are kept by none in it, where the requests asked are those that the largest would have to serve. Nor do a
  rank's requests/s rise beyond those of the largest batch, made up of whole micro-batches, with cuts of its own (time ÷
  micro-batch does not grow). What neither dismisses is halved, down to single batches, which are decided.
- Cuts: every limit is one on the dearest stage, so stages filled one after the other, each as far as all limits let it,
  reach the last layer if any cuts do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from itertools import accumulate
from math import ceil, floor, lcm
from operator import ge, gt

from optimizer.certificate.aims import Aims
from optimizer.certificate.goals import Goal
from optimizer.domain.lattice import largest_batch
from optimizer.domain.layout import Layout, Stage
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import Costs
from optimizer.figures.layer import Step
from optimizer.figures.memory import Memory
from optimizer.figures.percentiles import wait
from optimizer.figures.rates import TICKS_PER_SECOND, last_kept
from optimizer.figures.serving import FirstToken, first_token
from optimizer.figures.steps import Steps, keeps_step, steps_of
from optimizer.figures.topology import replicas_that_fit


@dataclass(frozen=True)
class _Stages:
    """What a layer of each kind costs a stage, which kind each layer is, and what the first, last and every stage add.

    Lists of all layers are made only where totals do not tell: they may be thousands.
    """

    each: Sequence[int]
    order: Sequence[int]
    counts: Sequence[int]
    first: int
    last: int
    every: int

    @cached_property
    def cumulated(self) -> list[int]:
        """Cost of the first 0, 1, …, L layers."""
        return list(accumulate(map(self.each.__getitem__, self.order), initial=0))

    def dearest(self, stages: int) -> int:
        """What the dearest of so many stages costs at least: the mean, and its part of the layers of a kind, whole."""
        kinds = list(zip(self.counts, self.each, strict=True))
        mean = -(-(sum(count * cost for count, cost in kinds) + self.first + self.last) // stages)
        return max(mean, *(-(-count // stages) * cost for count, cost in kinds)) + self.every

    def cost(self, start: int, stop: int) -> int:
        layers = self.cumulated[stop] - self.cumulated[start] + self.every
        return layers + (self.first if start == 0 else 0) + (self.last if stop == len(self.cumulated) - 1 else 0)

    def longest(self, start: int, most: int) -> int:
        """End of the longest stage from a layer on that costs at most so much; `start` where there is none."""
        room = most - self.every - (self.first if start == 0 else 0) + self.cumulated[start]
        stop = max(bisect_right(self.cumulated, room) - 1, start)
        to_the_end = stop == len(self.cumulated) - 1 > start
        return stop - 1 if to_the_end and self.cost(start, stop) > most else stop


@dataclass(frozen=True)
class _Batch:
    """Costs of the stages at one batch: mean steps, and a sequence's, × scales; with prompts; bytes, all and pooled."""

    steps: Steps
    mean: _Stages
    scale: int
    cycle: _Stages
    cycle_scale: int
    mixed: _Stages | None
    own: _Stages | None
    held: _Stages
    pooled: _Stages | None


def replicas_allowed(problem: Problem, shape: Shape, replicas: int) -> bool:
    """Whether the hardware holds so many replicas, and `search` allows them."""
    search, dense = problem.search, problem.model.moe is None
    copies = 1 if dense else shape.edp * replicas
    degrees = ((search.dp, shape.dp * replicas), (search.edp, copies), (search.devices, shape.devices * replicas))
    sizes = tuple(tier.size for tier in problem.hardware.tiers)
    fits = 1 <= replicas <= replicas_that_fit(sizes, problem.devices, shape.devices)
    return fits and all(values is None or degree in values for values, degree in degrees)


def most_replicas(problem: Problem, shape: Shape, devices: int) -> int:
    """Most replicas that are allowed and that so many devices make up; 0: none, or a shape that the engine refuses.

    Mesh pairs are kept where the engine's rules hold with one stage; rules that read `pp` are asked here.
    """
    if not problem.engine.accepts(problem, shape):
        return 0
    most = min(problem.devices, devices) // shape.devices
    return next((count for count in range(most, 0, -1) if replicas_allowed(problem, shape, count)), 0)


class Decision:
    """Operating points of one shape at one chunk."""

    def __init__(self, problem: Problem, shape: Shape, chunk: int | None, costs: Costs, memory: Memory) -> None:
        self.problem, self.shape, self.chunk, self.costs, self.memory = problem, shape, chunk, costs, memory
        self._replicas: dict[int, int] = {}
        self._batches: dict[int, _Batch] = {}
        self._held: dict[int, _Stages] = {}
        self._firsts: dict[tuple[int, int | None], tuple[_Stages, int]] = {}
        self._longest: dict[tuple[int, int, int | None, Fraction | None, bool], int] = {}

    def found(self, aims: Aims) -> tuple[Goal, Layout] | None:
        """A goal that some layout meets, with the layout; None is the proof that there is none."""
        if self.problem.workload.concurrency is not None:
            return self._in_a_loop(list(aims.leaves()))
        stack = [(low, high, aims) for low, high in self._intervals()] if self._most(aims.devices) else []
        while stack:
            low, high, untried = stack.pop()
            remaining = untried.kept(partial(self._possible, low, high))
            if remaining is None:
                continue
            if low == high:
                for goal in remaining.leaves():
                    cuts = self._cuts(low, low, goal, self._most(goal.devices))
                    if cuts is not None:
                        return goal, self._layout(low, cuts, self._most(goal.devices))
                continue
            middle = (low + high) // 2
            full_multiple = middle // self.shape.pp * self.shape.pp
            middle = full_multiple if low <= full_multiple else middle
            stack += [(low, middle, remaining), (middle + 1, high, remaining)]
        return None

    def _most(self, devices: int) -> int:
        if devices not in self._replicas:
            self._replicas[devices] = most_replicas(self.problem, self.shape, devices)
        return self._replicas[devices]

    def _in_a_loop(self, goals: Sequence[Goal]) -> tuple[Goal, Layout] | None:
        """As `found` where a closed loop has so many in flight, of all replicas: their number says the batch.

        Of several numbers that leave a rank the same batch the least is as good as any: it serves as many requests.
        """
        problem, most = self.problem, max((goal.devices for goal in goals), default=0) // self.shape.devices
        if not problem.engine.accepts(problem, self.shape):
            return None
        last = None
        for replicas in range(1, min(most, problem.devices) + 1):
            batch = problem.workload.in_flight(replicas * self.shape.dp)
            if batch == last or batch is None or not replicas_allowed(problem, self.shape, replicas):
                continue
            last = batch
            if batch > largest_batch(problem) or (problem.search.batch and batch not in problem.search.batch):
                continue
            for goal in goals:
                enough = goal.devices >= replicas * self.shape.devices
                cuts = self._cuts(batch, batch, goal, replicas) if enough else None
                if cuts is not None:
                    return goal, self._layout(batch, cuts, replicas)
        return None

    def _intervals(self) -> Iterator[tuple[int, int]]:
        """Batches, in octaves, as far as φ and what the engine is told to take let them grow."""
        most, work = largest_batch(self.problem), self.problem.workload
        if self.problem.search.batch is not None:
            yield from ((batch, batch) for batch in sorted(set(self.problem.search.batch)) if batch <= most)
            return
        low = 1
        while low <= most and keeps_step(work, self._at(low).steps):
            yield low, min(2 * low - 1, most)
            low *= 2

    def _possible(self, low: int, high: int, goal: Goal) -> bool:
        """Whether neither of the two arguments dismisses an interval of batches."""
        replicas = self._most(goal.devices)
        if not replicas or self._cuts(low, high, goal, replicas) is None:
            return False
        full_batch = -(-high // self.shape.pp) * self.shape.pp
        most = self._at(full_batch)
        if low == high or not keeps_step(self.problem.workload, most.steps):
            return True
        limit = self._mean_limit(full_batch, goal, replicas, most.scale)
        return limit is None or _filled([(most.mean, limit)], self.shape.pp) is not None

    def _cuts(self, low: int, high: int, goal: Goal, replicas: int) -> list[int] | None:
        """Cuts that keep every limit at `low`, where requests and the queue are those of `high`."""
        costs = self._at(low)
        if not keeps_step(self.problem.workload, costs.steps):
            return None
        limits = [(costs.held, goal.memory), *self._context(goal.context)]
        if costs.pooled is not None and self.memory.pool is not None:
            limits.append((costs.pooled, self.memory.pool))
        mean = self._mean_limit(high, goal, replicas, costs.scale)
        if mean is not None:
            limits.append((costs.mean, mean))
        if goal.cycle is not None and self.problem.workload.decodes:
            most = goal.cycle * TICKS_PER_SECOND * Fraction(costs.cycle_scale, self.shape.pp)
            limits.append((costs.cycle, _most(most, strict="cycle" in goal.strict)))
        queued = self.problem.workload.queued_rate is not None
        limited = dict.fromkeys([*([None] if queued else []), *(percentile for percentile, _ in goal.first)])
        for percentile in limited if costs.mixed is not None else ():
            stages, scale = self._first(low, percentile)
            limits.append((stages, self._first_limit(low, high, goal, replicas, percentile, scale)))
        return _filled(limits, self.shape.pp)

    def _context(self, tokens: int) -> list[tuple[_Stages, int]]:
        """What stages hold with one sequence of so many tokens, with its limit; nothing where none is asked."""
        if not tokens:
            return []
        if tokens not in self._held:
            track, memory = self.memory.holding(tokens), self.memory
            layers = [memory.order.index(kind) for kind in range(len(memory.counts))]
            layer_bytes = [track.prefix[layer + 1] - track.prefix[layer] for layer in layers]
            self._held[tokens] = _Stages(layer_bytes, memory.order, memory.counts, track.first, track.last, track.every)
        return [(self._held[tokens], self.memory.kept_limit)]

    def _mean_limit(self, batch: int, goal: Goal, replicas: int, scale: int) -> int | None:
        """Longest mean step of a stage, in ticks × `scale`, that serves what is asked."""
        work, ranks = self.problem.workload, replicas * self.shape.dp
        # requests that a rank ends in a cycle
        served = work.decoding(batch, ranks) / work.cycles_of_request(self._at(batch).steps.pieces, self.shape.pp)
        most: list[int] = []
        unit = TICKS_PER_SECOND * Fraction(scale, self.shape.pp)
        rate = max(goal.total, goal.each * replicas * self.shape.devices)
        if rate:
            most.append(floor(served * ranks / rate * unit))
        beyond = max(goal.total_above or Fraction(0), (goal.above or Fraction(0)) * replicas * self.shape.devices)
        if beyond:
            most.append(ceil(served * ranks / beyond * unit) - 1)
        return min(most, default=None)

    def _first(self, batch: int, percentile: int | None) -> tuple[_Stages, int]:
        """What a TTFT is made of in each stage, in ticks × a scale, and the scale."""
        if (batch, percentile) not in self._firsts:
            costs, token = self._at(batch), self._told(batch, percentile)
            mixed, own = costs.mixed, costs.own
            assert mixed is not None  # noqa: S101 - asked for only where there are prompts
            assert own is not None  # noqa: S101 - the same
            scale = token.ahead.denominator * token.mean.denominator * costs.scale
            stages = _both(own, token.own * scale, mixed, int(token.ahead * scale))
            stages = _both(stages, 1, costs.mean, int(token.mean * scale / costs.scale))
            self._firsts[batch, percentile] = stages, scale
        return self._firsts[batch, percentile]

    def _told(self, batch: int, percentile: int | None) -> FirstToken:
        steps = self._at(batch).steps
        return first_token(self.problem, pp=self.shape.pp, batch=batch, steps=steps, percentile=percentile)

    def _first_limit(self, low: int, high: int, goal: Goal, replicas: int, percentile: int | None, scale: int) -> int:
        """Most that a stage of batch `low` may cost by `_first`, with the queue of `high`, to be in time."""
        first = self._told(low, percentile)
        if self.problem.workload.queued_rate is not None:
            return scale * first.own * self._longest_mixed(high, first.fixed_s, goal, replicas, percentile)
        limit = dict(goal.first)[percentile]
        return _most((limit - first.fixed_s) * TICKS_PER_SECOND * scale, strict=goal.beats_first(percentile))

    def _longest_mixed(self, batch: int, fixed_s: Fraction, goal: Goal, replicas: int, percentile: int | None) -> int:
        """Longest step with prompt tokens, in ticks, at which the first token is in time and the queue ends."""
        micro = self.problem.workload.together(-(-batch // self.shape.pp), 1)
        strict, limit = goal.beats_first(percentile), dict(goal.first).get(percentile)
        key = (micro, replicas, percentile, limit, strict)
        if key not in self._longest:
            steps, rate = self._at(batch).steps, self.problem.workload.queued_rate
            assert rate is not None  # noqa: S101 - asked for only where prompts queue
            passed, prompts = steps.pieces + self.shape.pp - 1, Fraction(steps.pieces, steps.together)
            # the load of a step of one tick; the queue ends below 1
            load_per_tick = rate / (replicas * self.shape.dp) * prompts / TICKS_PER_SECOND
            high = ceil(1 / load_per_tick)
            low = high - 1
            if limit is not None:
                room = (limit - fixed_s) * TICKS_PER_SECOND
                # without a queue the first token waits for so many steps
                high = min(high, _most(room / passed, strict=strict) + 1)
                late = _late(room, passed, prompts, load_per_tick, percentile, strict=strict)
                low = last_kept(lambda ticks: not late(ticks), -1, high)
            self._longest[key] = low
        return self._longest[key]

    def _at(self, batch: int) -> _Batch:
        if batch not in self._batches:
            pp, memory = self.shape.pp, self.memory
            steps = steps_of(self.problem.workload, -(-batch // pp), self.chunk, pp)
            plain = None if steps.decode is None else self._timed(steps.decode)
            mixed = None if steps.mixed is None else self._timed(steps.mixed)
            own = mixed if steps.own is None or steps.own == steps.mixed else self._timed(steps.own)
            mean = plain or mixed
            assert mean is not None  # noqa: S101 - a phase has steps
            cycle, scale, cycle_scale = mean, 1, 1
            if plain is not None and mixed is not None:
                # a sequence meets the prompts of all places but its own, at most in every step
                met = min(Fraction(1), steps.met * (batch - 1))
                scale, cycle_scale = steps.share.denominator, met.denominator
                mean, cycle = (
                    _both(plain, often.denominator - often.numerator, mixed, often.numerator)
                    for often in (steps.share, met)
                )
            bytes_held = _Stages(
                memory.layer_bytes(batch), memory.order, memory.counts, memory.input.total_bytes,
                memory.output.total_bytes, memory.working_bytes(steps.largest) + memory.reserve_bytes,
            )  # fmt: skip
            pooled = None if memory.pool is None else replace(bytes_held, each=memory.pooled_bytes(batch), every=0)
            self._batches[batch] = _Batch(steps, mean, scale, cycle, cycle_scale, mixed, own, bytes_held, pooled)
        return self._batches[batch]

    def _timed(self, step: Step) -> _Stages:
        costs, kind_ticks = self.costs, [kind.ticks(step) for kind in self.costs.kinds]
        return _Stages(kind_ticks, costs.order, costs.counts, 0, costs.tail(step), costs.send(step))

    def _layout(self, batch: int, cuts: list[int], replicas: int) -> Layout:
        shape, starts, dense = self.shape, [sum(cuts[:n]) for n in range(len(cuts))], self.problem.model.moe is None
        return Layout(
            tp=shape.tp, cp=shape.cp, dp=shape.dp * replicas, pp=shape.pp, etp=shape.etp, ep=shape.ep,
            edp=1 if dense else shape.edp * replicas, batch=batch, prefill_chunk=self.chunk,
            redundant_slots=shape.redundant,
            stages=tuple(Stage(first_layer=at, layers=n) for at, n in zip(starts, cuts, strict=True)),
            overlap=shape.overlap_name,
        )  # fmt: skip


def _late(
    room: Fraction, passed: int, prompts: Fraction, load_per_tick: Fraction, percentile: int | None, *, strict: bool
) -> Callable[[int], bool]:
    """Whether `passed` steps of so many ticks and the queue, whose load is `load_per_tick`, take more than the room."""
    beyond = ge if strict else gt
    if percentile is not None:
        return lambda step: bool(beyond(step * (passed + prompts * wait(step * load_per_tick, percentile)), room))
    # M·(passed + prompts·ρ ÷ (2 − 2ρ)) with ρ = M·load_per_tick, times 2 − 2ρ and every denominator: whole numbers
    unit = lcm(room.denominator, prompts.denominator)
    ticks, most, pieces = load_per_tick.denominator, int(room * unit), int(prompts * unit)

    def late(step: int) -> bool:
        busy = step * load_per_tick.numerator
        idle = 2 * (ticks - busy)
        return bool(beyond(step * (passed * unit * idle + pieces * busy), most * idle))

    return late


def _both(one: _Stages, often: int, other: _Stages, seldom: int) -> _Stages:
    """A sum of two times, each so often."""
    return _Stages(
        [often * a + seldom * b for a, b in zip(one.each, other.each, strict=True)], one.order, one.counts,
        0, often * one.last + seldom * other.last, often * one.every + seldom * other.every,
    )  # fmt: skip


def _most(limit: Fraction, *, strict: bool) -> int:
    return ceil(limit) - 1 if strict else floor(limit)


def _filled(limits: Sequence[tuple[_Stages, int]], stages: int) -> list[int] | None:
    """Layers of each stage, all limits kept; None where no cuts keep them."""
    if any(costs.dearest(stages) > most for costs, most in limits):
        return None
    layers, at = len(limits[0][0].order), 0
    cuts: list[int] = []
    while at < layers and len(cuts) < stages:
        stop = min(costs.longest(at, most) for costs, most in limits)
        if stop == at:
            return None
        cuts.append(stop - at)
        at = stop
    if at < layers or layers < stages:
        return None
    # a stage divided costs each part less than the whole
    while len(cuts) < stages:
        widest = max(range(len(cuts)), key=lambda stage: cuts[stage])
        cuts[widest : widest + 1] = [cuts[widest] - cuts[widest] // 2, cuts[widest] // 2]
    return cuts
