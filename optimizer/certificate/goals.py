"""What a layout must reach to beat a claimed objective value, and whether degrees can; exact.

The objective becomes a limit: better throughput means more requests/s of each device, better TPOT a shorter cycle, and
so on. For fixed degrees requests/s rise and every limit tightens with the micro-batch (`figures/operating_point.py`),
so few evaluations can dismiss them all: at any micro-batch m, too few requests dismiss all up to m, a broken limit all
from m on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor, isqrt

from optimizer.domain.lattice import LARGEST_BATCH, largest_batch
from optimizer.domain.limit_table import first_limits, tightest
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.figures.costs import Costs
from optimizer.figures.layer import Experts, Step
from optimizer.figures.memory import Memory
from optimizer.figures.percentiles import least_wait
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.figures.room import next_longer
from optimizer.figures.serving import Steps, first_token, keeps_step, prompt_split, steps_of

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
    cycle, first = limits.get(Measure.CYCLE), first_limits(problem)
    own = Goal(
        above=None, total_above=None, cycle=cycle, first=tuple(first.items()),
        total=max(problem.workload.request_rate or Fraction(0), limits.get(Measure.REQUESTS, Fraction(0))),
        each=limits.get(Measure.DEVICE_REQUESTS, Fraction(0)),
        memory=min(problem.capacity_bytes, floor(limits.get(Measure.MEMORY, problem.capacity_bytes))),
        devices=min(problem.devices, floor(limits.get(Measure.DEVICES, problem.devices))),
        context=int(limits.get(Measure.CONTEXT, 0)),
    )  # fmt: skip
    if value is None:
        return own
    level = problem.scale.level(value)
    match problem.scale.measure:
        case Measure.DEVICE_REQUESTS:
            return replace(own, above=level)
        case Measure.REQUESTS:
            return replace(own, total_above=level)
        case Measure.DEVICES:
            return replace(own, devices=min(own.devices, ceil(level) - 1))
        case Measure.CYCLE:
            beyond = cycle is not None and level > cycle
            return own if beyond else replace(own, cycle=level, strict=frozenset({"cycle"}))
        case Measure.FIRST:
            aim = problem.scale.percentile
            beyond = aim in first and level > first[aim]
            stricter = tuple((first | {aim: level}).items())
            return own if beyond else replace(own, first=stricter, strict=frozenset({_first_name(aim)}))
        case Measure.MEMORY:
            return replace(own, memory=min(own.memory, ceil(level) - 1))
        case Measure.CONTEXT:
            longer = next_longer(problem, int(level))
            return replace(own, devices=0) if longer is None else replace(own, context=max(own.context, longer))


def on_fewer_devices(problem: Problem, requests: Fraction, devices: int) -> Goal:
    """The problem's limits, and requests/s reached on fewer devices: what breaks a tie (`figures.objective.key`)."""
    own = goal(problem, None)
    return replace(own, total=max(own.total, requests), devices=devices - 1)


def _waited(load: Fraction, percentile: int | None) -> Fraction:
    """Services that prompts wait in the queue at a load below 1, at least: of the mean or of a percentile."""
    return load / (2 - 2 * load) if percentile is None else least_wait(load, percentile)


class Reach:
    """What degrees can reach over all batches and cuts: coefficients, and pp (None: open, up to `deepest`).

    All comparisons are between integers: times in ticks × a denominator, rates multiplied out.
    """

    def __init__(
        self, problem: Problem, costs: Costs, memory: Memory, tp: int, cp: int, pp: int | None, deepest: int
    ) -> None:
        self.problem, self.costs, self.memory = problem, costs, memory
        self.ranks, self.pp, self.deep = tp * cp, pp, pp or deepest
        self._weights = memory.reserve_bytes + memory.stack_weights() // self.deep
        self._sequence = memory.stack_sequence()
        self._contexts: dict[int, bool] = {}

    def possible(self, goal_: Goal, chunk: int | None, most_devices: int) -> bool:
        """Whether bounds at this chunk fail to dismiss these degrees.

        Parameters
        ----------
        most_devices
            Devices that a layout of these degrees can use at most; 0: none fits.
        """
        return self._undismissed(goal_, most_devices, (chunk, chunk), self._at)

    def possible_between(self, goal_: Goal, least: int, most: int, most_devices: int) -> bool:
        """Whether bounds fail to dismiss these degrees with every chunk from `least` to `most`.

        In phase aggregated a step carries ȳ = µ·e·P ÷ (output − 1) prompt tokens on average, whatever the chunk, and
        (1 − φ)·g(x) + φ·g(x + p) is at least g(x + ȳ) where g is convex, and at least g(x) and ȳ times the slope of the
        secant to x + p where it is concave, which is least at the greatest p.
        """
        return self._undismissed(goal_, most_devices, (least, most), self._between)

    def _undismissed(
        self,
        goal_: Goal,
        most_devices: int,
        chunks: tuple[int | None, int | None],
        at: Callable[[int, Goal, tuple[int | None, int | None], int], tuple[int, int, bool]],
    ) -> bool:
        if most_devices <= 0 or not self._holds(goal_.context):
            return False
        weak, strong = max(goal_.total / most_devices, goal_.each), goal_.above
        if goal_.total_above is not None:
            strong = max(strong or Fraction(0), goal_.total_above / most_devices)
        top = min(self._most_in_memory(goal_, chunks[1]), self._most_taken(chunks[0]))
        micro = max(1, min(self._wanted(goal_, chunks[1], max(weak, strong or Fraction(0))), top))
        # all up to `low` serve too little, all from `high` on break a limit
        low, high = 0, max(1, top + 1)
        while high - low > 1:
            served, cycle, holds = at(micro, goal_, chunks, most_devices)
            short = served * weak.denominator < weak.numerator * cycle
            if strong is not None:
                short = short or served * strong.denominator <= strong.numerator * cycle
            if holds and not short:
                return True
            low, high = (micro if short else low), (high if holds else micro)
            micro = max(low + 1, isqrt(low * high))
        return False

    def _holds(self, tokens: int) -> bool:
        """Whether stages may hold a sequence of so many tokens: together they hold all of it and all weights."""
        if not tokens:
            return True
        if tokens not in self._contexts:
            together, each = self.memory.stack_holding(tokens)
            self._contexts[tokens] = each + together // self.deep <= self.memory.budget
        return self._contexts[tokens]

    def _pieces(self, chunk: int | None) -> int:
        return 0 if chunk is None else -(-self.problem.workload.computed_input_tokens // chunk)

    def _wanted(self, goal_: Goal, chunk: int | None, need: Fraction) -> int:
        """A micro-batch near the one whose requests just suffice when the cycle is as long as the goal allows."""
        work = self.problem.workload
        limit = goal_.cycle if work.decodes else min((limit for _, limit in goal_.first), default=None)
        if limit is None:
            return LARGEST_BATCH
        return int(need * self.ranks * work.cycles_of_request(self._pieces(chunk)) * limit) + 1

    def _most_in_memory(self, goal_: Goal, chunk: int | None) -> int:
        """Micro-batches that weights and cache leave room for, and that keep φ ≤ 1; an upper bound."""
        free = goal_.memory - self._weights
        if free < 0:
            return 0
        most = LARGEST_BATCH if self._sequence == 0 else free // self._sequence + 1
        work = self.problem.workload
        if work.mixes and chunk is not None:
            pieces, _, packed = prompt_split(work.computed_input_tokens, chunk)
            most = min(most, floor(packed * work.cycles_of_request(pieces) / pieces))
        return most

    def _most_taken(self, chunk: int | None) -> int:
        """Micro-batches of the sequences and beside the prompt tokens that the engine is told to take; 0: none."""
        work, most = self.problem.workload, -(-largest_batch(self.problem) // (self.pp or 1))
        tokens = work.max_num_batched_tokens
        if tokens is None:
            return most
        each, beside = work.step_tokens(chunk)
        return min(most, max(0, tokens - beside) // each)

    def _served(self, micro: int, scale: int, pieces: int) -> tuple[int, int]:
        """Requests/s of a device as a ratio with the cycle (ticks × `scale`): numerator, and the cycle's factor."""
        cycles = self.problem.workload.cycles_of_request(pieces)
        return micro * cycles.denominator * TICKS_PER_SECOND * scale, cycles.numerator * self.ranks

    def _at(
        self, micro: int, goal_: Goal, chunks: tuple[int | None, int | None], devices: int
    ) -> tuple[int, int, bool]:
        """At a micro-batch: most requests/s of a device (numerator, denominator), and whether the limits can hold."""
        steps = steps_of(self.problem.workload, micro, chunks[0])
        pp, scale = self.pp or 1, steps.share.denominator
        mixed = self._ticks(steps.mixed, pp) if steps.mixed else (0, 0)
        plain = self._ticks(steps.decode, pp) if steps.decode else mixed
        busy = steps.share.numerator if steps.mixed else 0
        # one stage bounds the mean by its own decode and mixed steps, so each bound is averaged with itself
        cycle = max(d * scale + busy * (m - d) for d, m in zip(plain, mixed, strict=True))
        sequences = micro - 1 if self.pp is None else pp * (micro - 1) + 1
        held = self.memory.working_bytes(steps.largest) + self._weights + self._sequence * sequences // pp
        holds = held <= goal_.memory and keeps_step(self.problem.workload, steps)
        holds = holds and self._in_time(goal_, cycle, scale)
        if steps.mixed is not None:
            means = [Fraction(d * scale + busy * (m - d), scale) for d, m in zip(plain, mixed, strict=True)]
            holds = holds and self._first_in_time(goal_, micro, steps, mixed, means, devices)
        served, factor = self._served(micro, scale, steps.pieces)
        return served, factor * cycle, holds

    def _between(
        self, micro: int, goal_: Goal, chunks: tuple[int | None, int | None], devices: int
    ) -> tuple[int, int, bool]:
        """`_at` of all chunks from the first to the second."""
        work, (least, most) = self.problem.workload, (steps_of(self.problem.workload, micro, c) for c in chunks)
        assert least.mixed is not None  # noqa: S101 - an interval of chunks is of a phase with prompts
        assert most.mixed is not None  # noqa: S101
        pp, mixed = self.pp or 1, self._ticks(least.mixed, self.pp or 1)
        if not work.decodes:
            scale, cycle = 1, max(mixed)
        else:
            scale = work.tokens_per_step.denominator * (work.output_tokens - 1)
            cycle = self._mean_cycle(micro, most.mixed.prompt, most.pieces, scale)
        sequences = micro - 1 if self.pp is None else pp * (micro - 1) + 1
        held = self.memory.working_bytes(least.largest) + self._weights + self._sequence * sequences // pp
        holds = held <= goal_.memory and self._in_time(goal_, cycle, scale)
        holds = holds and keeps_step(work, replace(least, share=most.share))
        means = [Fraction(cycle if work.decodes else mixed[0], scale), Fraction(0)]
        holds = holds and self._first_in_time(goal_, micro, most, mixed, means, devices)
        served, factor = self._served(micro, scale, most.pieces)
        return served, factor * cycle, holds

    def _mean_cycle(self, micro: int, largest: int, pieces: int, scale: int) -> int:
        """Least cycle × `scale` of phase aggregated where steps carry at most `largest` prompt tokens."""
        work, costs, pp = self.problem.workload, self.costs, self.pp or 1
        decoded, finished = micro * (1 + work.mtp_tokens), micro * work.tokens_per_step.numerator
        prompt = finished * work.computed_input_tokens
        cycle = costs.tail(Step(micro, decoded, 0, 0)) * scale
        for count, kind in zip(costs.counts, costs.kinds, strict=True):
            # of two micro-batches the larger has half of one sequence more
            seqs, drafted = (micro, decoded) if kind.exchange is None else (micro + 1, decoded + decoded // micro)
            tokens = drafted * scale + prompt
            each = kind.fixed * scale + kind.per_token * tokens + (kind.decode + kind.per_seq) * seqs * scale
            each += kind.per_prompt * prompt + max(kind.prefill_flop * prompt, kind.prefill_read * finished * pieces)
            for group in kind.linears:
                own = tokens + group.slack * scale
                each += max(group.flop * own, group.weight * scale + group.io * own)
            routed = 0
            if kind.experts is not None:
                routed = self._mean_experts(kind.experts, drafted, prompt, scale, max(largest, -(-prompt // scale)))
            # a mean of maxima is no less than the maximum of means
            own = each + routed if kind.exchange is None else kind.exchange.layer(each, routed, tokens, scale)
            cycle += count * own
        sent = costs.send_fixed * scale + costs.send_each * (decoded * scale + prompt)
        return cycle if pp == 1 else cycle + pp * sent

    @staticmethod
    def _mean_experts(experts: Experts, decoded: int, prompt: int, scale: int, largest: int) -> int:
        low, high = (n * experts.ranks + experts.slack for n in (decoded, decoded + largest))
        pairs, reads = (
            table.units(low, experts.copies) * scale
            + prompt * (table.units(high, experts.copies) - table.units(low, experts.copies)) // largest
            for table in (experts.pairs, experts.reads)
        )
        return max(experts.flop * pairs, experts.unit * reads + experts.io * pairs)

    def _first_in_time(
        self, goal_: Goal, micro: int, steps: Steps, mixed: Sequence[int], mean: Sequence[Fraction], devices: int
    ) -> bool:
        """Whether the queue can end and the first token be in time: o + max (k·M + w·A), and the wait in the queue.

        Each is bounded by the bounds of pp·M and pp·A. Of k the pp − 1 steps of the later stages count whole:
        (n + pp − 1)·max M ≥ (n − 1)/pp·ΣM + ΣM. A load is that of as many ranks as the devices make up:
        rate ÷ ranks · S ≥ rate · tp·cp ÷ devices · (n ÷ m) · pp·M.
        """
        work, own = self.problem.workload, Fraction(max(mixed), TICKS_PER_SECOND)
        service, load = Fraction(0), Fraction(0)
        # with nothing to decode the queue gets shorter with the micro-batch, which shares a step
        if work.queued_rate is not None and work.decodes:
            service = own * steps.pieces / steps.together
            load = work.queued_rate * self.ranks / devices * service
        if load >= 1:
            return False
        return all(
            self._kept(goal_, each, micro, steps, mixed, mean, service / self.deep * _waited(load, each[0]))
            for each in goal_.first
        )

    def _kept(
        self, goal_: Goal, each: tuple[int | None, Fraction], micro: int, steps: Steps, mixed: Sequence[int],
        mean: Sequence[Fraction], queue_s: Fraction,
    ) -> bool:  # fmt: skip
        percentile, limit = each
        batch = (self.pp or 1) * (micro - 1) + 1
        least = first_token(self.problem, pp=1, batch=batch, steps=steps, percentile=percentile)
        often = least.mixed + self.deep - 1
        longest = max(often * m + least.mean * a for m, a in zip(mixed, mean, strict=True))
        first, most = longest / self.deep, (limit - least.fixed_s - queue_s) * TICKS_PER_SECOND
        return first < most if goal_.beats_first(percentile) else first <= most

    def _in_time(self, goal_: Goal, cycle: int, scale: int) -> bool:
        if goal_.cycle is None or not self.problem.workload.decodes:
            return True
        limit = goal_.cycle.numerator * TICKS_PER_SECOND * scale
        own = cycle * goal_.cycle.denominator
        return own < limit if "cycle" in goal_.strict else own <= limit

    def _ticks(self, step: Step, pp: int) -> tuple[int, int]:
        """Two bounds of pp·max over stages: all stages together, and ceil(L/pp) of the cheapest layers."""
        costs = self.costs
        times = [kind.ticks(step) for kind in costs.kinds]
        whole = sum(n * t for n, t in zip(costs.counts, times, strict=True)) + costs.tail(step)
        if pp == 1:
            return whole, whole
        send, layers = costs.send(step), -(-len(costs.order) // pp)
        return whole + pp * send, pp * (layers * min(times) + send)
