"""Whether degrees can meet a goal, by bounds over all their batches and cuts; exact.

For fixed degrees requests/s rise and every limit tightens with the micro-batch (`figures/operating_point.py`), so few
evaluations can dismiss them all: at any micro-batch m, too few requests dismiss all up to m, a broken limit all from m
on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor, isqrt

from optimizer.certificate.goals import Goal
from optimizer.domain.lattice import LARGEST_BATCH, largest_batch
from optimizer.domain.problem import Problem
from optimizer.figures.costs import Costs
from optimizer.figures.layer import Experts, Step
from optimizer.figures.memory import Memory
from optimizer.figures.percentiles import least_wait
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.figures.serving import first_token
from optimizer.figures.steps import Steps, keeps_step, prompt_split, steps_of


def _waited(load: Fraction, percentile: int | None) -> Fraction:
    """Services that prompts wait in the queue at a load below 1, at least: of the mean or of a percentile."""
    return load / (2 - 2 * load) if percentile is None else least_wait(load, percentile)


_Chunks = tuple[int | None, int | None]
"""The least and the greatest of some chunks."""


@dataclass(frozen=True, slots=True)
class _Point:
    """What degrees take at least at a micro-batch and some chunks, whatever the goal.

    Attributes
    ----------
    steps
        Those of the greatest chunk, which takes a prompt in the fewest pieces.
    own, means
        Bounds of pp·max O and pp·max A, in pairs; no step with prompts is shorter than O.
    prompts
        Bounds of n·pp·max O, in ticks: all pieces of the prompts that share a step.
    cycle
        pp·max G in ticks × `scale`: of pp·(µ − 1) others at least.
    keeps
        Whether φ ≤ 1, and no step has more tokens than the engine is told to take.
    served, taken
        Most requests/s of a device, as a ratio.
    """

    micro: int
    steps: Steps
    own: tuple[int, int]
    prompts: tuple[int, int]
    means: Sequence[Fraction]
    cycle: int
    scale: int
    held: int
    keeps: bool
    served: int
    taken: int


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
        self._points: dict[tuple[int, _Chunks], _Point] = {}
        # where a micro-batch was in time behind its queue, it mostly is at other chunks
        self._last_possible = 1

    def possible(self, goal: Goal, chunk: int | None, most_devices: int) -> bool:
        """Whether bounds at this chunk fail to dismiss these degrees.

        Parameters
        ----------
        most_devices
            Devices that a layout of these degrees can use at most; 0: none fits.
        """
        return self._undismissed(goal, most_devices, (chunk, chunk))

    def possible_between(self, goal: Goal, least: int, most: int, most_devices: int) -> bool:
        """Whether bounds fail to dismiss these degrees with every chunk from `least` to `most`.

        In phase aggregated a step carries ȳ = µ·P ÷ T prompt tokens on average, of requests that keep their places for
        T cycles, and (1 − φ)·g(x) + φ·g(x + p) is at least g(x + ȳ) where g is convex, and at least g(x) and ȳ times
        the slope of the secant to x + p where it is concave, which is least at the greatest p: h(ȳ). T·A ≥ T·h(µ·P ÷ T)
        does not fall with T, as h(ȳ) ÷ ȳ does not rise: it is bounded by the least T, and A by that ÷ the greatest.
        """
        return self._undismissed(goal, most_devices, (least, most))

    def _undismissed(self, goal: Goal, most_devices: int, chunks: _Chunks) -> bool:
        if most_devices <= 0 or not self._holds(goal.context):
            return False
        weak, strong = max(goal.total / most_devices, goal.each), goal.above
        if goal.total_above is not None:
            strong = max(strong or Fraction(0), goal.total_above / most_devices)
        top = min(self._most_in_memory(goal, chunks[1]), self._most_taken(chunks[0]))
        micro = max(1, min(self._wanted(goal, chunks[1], max(weak, strong or Fraction(0))), top))
        # all up to `low` serve too little, all from `high` on break a limit
        low, high = 0, max(1, top + 1)
        while high - low > 1:
            point = self._point(micro, chunks)
            holds = self._kept(goal, point, most_devices)
            short = point.served * weak.denominator < weak.numerator * point.taken
            if strong is not None:
                short = short or point.served * strong.denominator <= strong.numerator * point.taken
            if holds and not short:
                return self._queue_ends(goal, most_devices, chunks, top)
            low, high = (micro if short else low), (high if holds else micro)
            micro = max(low + 1, isqrt(low * high))
        return False

    def _queue_ends(self, goal: Goal, devices: int, chunks: _Chunks, top: int) -> bool:
        """Whether prompts alone may be in time behind their queue, at any micro-batch up to `top`.

        All of a micro-batch share a step, which does not shorten with it while each one's part of it does not grow:
        octaves of micro-batches are dismissed by the step of the least and the part of the largest, or halved.
        """
        if self.problem.workload.queued_rate is None or self.problem.workload.decodes or not goal.first:
            return True

        def possible(low: int, high: int) -> bool:
            return self._kept(goal, self._point(low, chunks), devices, self._point(high, chunks))

        def halve(low: int, high: int) -> bool:
            if not possible(low, high):
                return False
            if low == high:
                self._last_possible = low
                return True
            middle = (low + high) // 2
            return halve(low, middle) or halve(middle + 1, high)

        if self._last_possible <= top and possible(self._last_possible, self._last_possible):
            return True
        low = 1
        while low <= top and possible(low, top):
            if halve(low, min(2 * low - 1, top)):
                return True
            low *= 2
        return False

    def _holds(self, tokens: int) -> bool:
        """Whether stages may hold a sequence of so many tokens: together they hold all of it and all weights."""
        if not tokens:
            return True
        if tokens not in self._contexts:
            together, on_every_stage = self.memory.stack_holding(tokens)
            self._contexts[tokens] = on_every_stage + together // self.deep <= self.memory.kept_limit
        return self._contexts[tokens]

    def _pieces(self, chunk: int | None) -> int:
        return 0 if chunk is None else -(-self.problem.workload.computed_input_tokens // chunk)

    def _wanted(self, goal: Goal, chunk: int | None, need: Fraction) -> int:
        """A micro-batch near the one whose requests just suffice when the cycle is as long as the goal allows."""
        work = self.problem.workload
        limit = goal.cycle if work.decodes else min((limit for _, limit in goal.first), default=None)
        if limit is None:
            return LARGEST_BATCH
        return int(need * self.ranks * work.cycles_of_request(self._pieces(chunk), self.deep) * limit) + 1

    def _most_in_memory(self, goal: Goal, chunk: int | None) -> int:
        """Micro-batches that weights and cache leave room for, and that keep φ ≤ 1; an upper bound."""
        free = goal.memory - self._weights
        if free < 0:
            return 0
        most = LARGEST_BATCH if self._sequence == 0 else free // self._sequence + 1
        work = self.problem.workload
        if work.mixes and chunk is not None:
            pieces, _, packed = prompt_split(work.computed_input_tokens, chunk)
            most = min(most, floor(packed * work.cycles_of_request(pieces, self.pp or 1) / pieces))
        return most

    def _most_taken(self, chunk: int | None) -> int:
        """Micro-batches of the sequences and beside the prompt tokens that the engine is told to take; 0: none."""
        work, most = self.problem.workload, -(-largest_batch(self.problem) // (self.pp or 1))
        tokens = work.max_num_batched_tokens
        if tokens is None:
            return most
        tokens_of_sequence, fixed_tokens = work.step_tokens(chunk)
        return min(most, max(0, tokens - fixed_tokens) // tokens_of_sequence)

    def _point(self, micro: int, chunks: _Chunks) -> _Point:
        if (micro, chunks) not in self._points:
            least, most = chunks
            between = least is not None and least != most
            self._points[micro, chunks] = self._between(micro, chunks) if between else self._at(micro, least)
        return self._points[micro, chunks]

    def _at(self, micro: int, chunk: int | None) -> _Point:
        # with pp open the steps of one stage, which keep a request in its place the longest
        work, pp = self.problem.workload, self.pp or 1
        steps = steps_of(work, micro, chunk, pp)
        mixed = self._ticks(steps.mixed, pp) if steps.mixed else (0, 0)
        plain = self._ticks(steps.decode, pp) if steps.decode else mixed

        # one stage bounds the mean by its own decode and mixed steps, so each bound is averaged with itself
        def summed(often: Fraction, seldom: Fraction) -> list[tuple[int, int]]:
            scale = often.denominator * seldom.denominator
            each, more = int(often * scale), int(seldom * scale)
            return [(d * each + more * (m - d), scale) for d, m in zip(plain, mixed, strict=True)]

        kept, longest = (work.cycles_of_request(steps.pieces, depth) for depth in (self.deep, pp))
        turns = summed(kept, steps.share * longest)
        cycle = max(summed(Fraction(1), min(Fraction(1), steps.met * pp * (micro - 1))))
        own = self._ticks(steps.own, pp) if steps.own != steps.mixed and steps.own else mixed
        prompts = (own[0] * steps.pieces, own[1] * steps.pieces)
        return self._pointed(micro, steps, steps, own, prompts, turns, cycle)

    def _between(self, micro: int, chunks: _Chunks) -> _Point:
        """`_at` of all chunks from the first to the second."""
        work, pp = self.problem.workload, self.pp or 1
        least, most = (steps_of(work, micro, chunk, pp) for chunk in chunks)
        assert least.own is not None  # noqa: S101 - an interval of chunks is of a phase with prompts
        assert most.mixed is not None  # noqa: S101
        own = self._ticks(least.own, pp)
        prompts = (own[0] * most.pieces, own[1] * most.pieces)
        if not work.decodes:
            # a step's time ÷ its tokens does not grow with them, and the pieces of a prompt are no less than all of it
            piece = most.mixed.prompt // most.together
            prompt_ticks = [work.computed_input_tokens * ticks for ticks in self._ticks(most.mixed, pp)]
            prompts = (prompt_ticks[0] // piece, prompt_ticks[1] // piece)
            cycle = turn = max(prompt_ticks), piece
        else:
            kept = work.cycles_of_request(most.pieces, self.deep)
            # of several prompts in every step there are micro ÷ (steps + 1) at least
            met = min((micro - 1) / work.decode_steps, micro / (work.decode_steps + 1))
            mean, cycle = (self._mean_cycle(micro, finished, most) for finished in (micro / kept, met))
            turn = mean[0] * kept.numerator, mean[1] * kept.denominator
        return self._pointed(micro, replace(least, share=most.share), most, own, prompts, [turn, (0, 1)], cycle)

    def _pointed(
        self, micro: int, least: Steps, most: Steps, own: tuple[int, int], prompts: tuple[int, int],
        turns: list[tuple[int, int]], cycle: tuple[int, int],
    ) -> _Point:  # fmt: skip
        """Bounds from the step of the least chunk, the pieces of the greatest; T·pp·max A, pp·max G, with scales."""
        sequences = micro - 1 if self.pp is None else self.pp * (micro - 1) + 1
        stage_bytes = (
            self.memory.working_bytes(least.largest) + self._weights + self._sequence * sequences // (self.pp or 1)
        )
        longest, turn = self.problem.workload.cycles_of_request(least.pieces, self.pp or 1), max(turns)
        means = [Fraction(*each) / longest for each in turns]
        return _Point(
            micro, most, own, prompts, means, *cycle, stage_bytes, keeps_step(self.problem.workload, least),
            micro * TICKS_PER_SECOND * turn[1], self.ranks * turn[0],
        )  # fmt: skip

    def _mean_cycle(self, micro: int, of_step: Fraction, most: Steps) -> tuple[int, int]:
        """Least cycle, with a scale, of so many prompts a step on average, in steps with at most those of `most`."""
        work, costs, pp = self.problem.workload, self.costs, self.pp or 1
        decoded, finished, scale = micro * (1 + work.mtp_tokens), of_step.numerator, of_step.denominator
        prompt, most_tokens = finished * work.computed_input_tokens, most.mixed.prompt if most.mixed else 0
        cycle = costs.tail(Step(micro, decoded, 0, 0)) * scale
        for count, kind in zip(costs.counts, costs.kinds, strict=True):
            # of two micro-batches the larger has half of one sequence more
            seqs, drafted = (micro, decoded) if kind.exchange is None else (micro + 1, decoded + decoded // micro)
            tokens = drafted * scale + prompt
            layer_ticks = kind.fixed * scale + kind.per_token * tokens + (kind.decode + kind.per_seq) * seqs * scale
            taken = max(kind.prefill_flop * prompt, kind.prefill_read * finished * most.pieces)
            layer_ticks += kind.per_prompt * prompt + taken
            for group in kind.linears:
                padded = tokens + group.slack * scale
                layer_ticks += max(group.flop * padded, group.weight * scale + group.io * padded)
            routed = 0
            if kind.experts is not None:
                routed = self._mean_experts(kind.experts, drafted, prompt, scale, max(most_tokens, -(-prompt // scale)))
            # a mean of maxima is no less than the maximum of means
            layer = (
                layer_ticks + routed
                if kind.exchange is None
                else kind.exchange.layer(layer_ticks, routed, tokens, scale)
            )
            cycle += count * layer
        sent = costs.send_fixed * scale + costs.send_each * (decoded * scale + prompt)
        return (cycle if pp == 1 else cycle + pp * sent), scale

    @staticmethod
    def _mean_experts(experts: Experts, decoded: int, prompt: int, scale: int, largest: int) -> int:
        low, high = (n * experts.ranks + experts.slack for n in (decoded, decoded + largest))
        pairs, reads = (
            table.units(low, experts.copies) * scale
            + prompt * (table.units(high, experts.copies) - table.units(low, experts.copies)) // largest
            for table in (experts.pairs, experts.reads)
        )
        return max(experts.flop * pairs, experts.unit * reads + experts.io * pairs)

    def _kept(self, goal: Goal, point: _Point, devices: int, largest: _Point | None = None) -> bool:
        """Whether limits can be kept; the first token's: o + max (k·O + h·M + w·A), and the wait in a queue that ends.

        Each is bounded by the bounds of pp·O and pp·A, as M ≥ O. Of k the pp − 1 steps of the later stages count whole:
        (n + pp − 1)·max O ≥ (n − 1)/pp·ΣO + ΣO. A load is that of as many ranks as the devices make up:
        rate ÷ ranks · S ≥ rate · tp·cp ÷ devices · (n ÷ m) · pp·M.

        Parameters
        ----------
        largest
            Of prompts alone, the micro-batch whose queue is the shortest there is; None: no queue.
        """
        if point.held > goal.memory or not point.keeps or not self._in_time(goal, point.cycle, point.scale):
            return False
        work, steps = self.problem.workload, point.steps
        if steps.mixed is None:
            return True
        service, load = Fraction(0), Fraction(0)
        # with nothing to decode the queue gets shorter with the micro-batch, which shares a step
        queue = point if work.decodes else largest
        if work.queued_rate is not None and queue is not None:
            queued = queue.steps
            service = Fraction(max(queue.prompts), queued.together * TICKS_PER_SECOND)
            load = work.queued_rate * self.ranks / devices * service
        return load < 1 and all(
            self._first_in_time(goal, first_limit, point, service / self.deep * _waited(load, first_limit[0]))
            for first_limit in goal.first
        )

    def _first_in_time(
        self, goal: Goal, first_limit: tuple[int | None, Fraction], point: _Point, queue_s: Fraction
    ) -> bool:
        percentile, limit = first_limit
        batch = (self.pp or 1) * (point.micro - 1) + 1
        least = first_token(self.problem, pp=1, batch=batch, steps=point.steps, percentile=percentile)
        # steps that it waits for: all pieces of prompts, those of others' among them, and the later stages'
        often, later = (least.own + least.ahead) / point.steps.pieces, self.deep - 1
        longest = max(
            often * n + later * o + (least.mean * a if least.mean else 0)
            for n, o, a in zip(point.prompts, point.own, point.means, strict=True)
        )
        most = (limit - least.fixed_s - queue_s) * (TICKS_PER_SECOND * self.deep)
        return longest < most if goal.beats_first(percentile) else longest <= most

    def _in_time(self, goal: Goal, cycle: int, scale: int) -> bool:
        if goal.cycle is None or not self.problem.workload.decodes:
            return True
        limit = goal.cycle.numerator * TICKS_PER_SECOND * scale
        scaled = cycle * goal.cycle.denominator
        return scaled < limit if "cycle" in goal.strict else scaled <= limit

    def _ticks(self, step: Step, pp: int) -> tuple[int, int]:
        """Two bounds of pp·max over stages: all stages together, and ceil(L/pp) of the cheapest layers."""
        costs = self.costs
        times = [kind.ticks(step) for kind in costs.kinds]
        total = sum(n * t for n, t in zip(costs.counts, times, strict=True)) + costs.tail(step)
        if pp == 1:
            return total, total
        send, layers = costs.send(step), -(-len(costs.order) // pp)
        return total + pp * send, pp * (layers * min(times) + send)
