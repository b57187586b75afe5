"""The best batch and stage cuts of fixed degrees, chunk and replicas, exactly.

Why a bisection is a proof. For fixed cuts every step time is non-decreasing in the micro-batch µ, and time ÷ µ is
non-increasing (each term is a maximum of affine functions and of the concave ones of `figures.routing`). With the share
φ ≤ 1, proportional to µ, the mean time A(µ) = D + φ·(M − D) has the same two properties: with g the cost of x tokens,
d(A/µ)/dµ ∝ (1 − φ)·g'(x) + φ·g'(x + c) − g(x)/x ≤ 0, as g'(y) ≤ g(y)/y ≤ g(x)/x from x on. So for cuts that may differ
from batch to batch

- the cuts that keep all limits at a batch keep them at any smaller one (with it rises the share ψ of steps with others'
  prompts too), and the shortest mean time A*(b) over them does not fall as b grows: the largest feasible batch is found
  by bisection;
- a rank's requests/s at batches lo..hi are at most hi ÷ A*(lo), and at most those of hi rounded up to whole
  micro-batches with free cuts; what is minimised is at least its value at lo where the rate wanted is that of hi.
  Intervals of batches are halved until such a bound dismisses them.

TTFT but for a queue is o + max (k·O + h·M + w·A), of which k, h, w and O do not fall with the batch either: stages are
cut by that sum, whose greatest value bounds and is minimised. So is each percentile, with an h of its own; like the
mean wait of the queue, that at a percentile does not fall with M.

In phase prefill with requests at random a larger batch shortens the queue, so that only memory and the time without the
queue bound the batch; intervals are then dismissed by the queue of hi with free cuts as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor, isqrt, lcm

from optimizer.domain.lattice import largest_batch
from optimizer.domain.limit_table import first_limits, tightest
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import Costs
from optimizer.figures.layer import Step
from optimizer.figures.memory import Memory
from optimizer.figures.partition import Track, Tracks, best_cuts, combined, largest_sum, needed, some_cuts
from optimizer.figures.percentiles import longest_step, wait
from optimizer.figures.rates import TICKS_PER_SECOND, last_kept
from optimizer.figures.serving import FirstToken, Timing, first_token, service_s, timing
from optimizer.figures.steps import Steps, keeps_step, prompt_split, share_met, steps_of


@dataclass(frozen=True, slots=True)
class Point:
    """A batch with its best cuts.

    Attributes
    ----------
    slowest
        max over stages of the mean time A, in ticks.
    slowest_first
        max over stages of k·O + h·M + w·A, in ticks.
    first_s
        TTFT, at the percentile that is the objective, else on average.
    memory_bytes
        Fullest device.
    """

    batch: int
    cuts: tuple[int, ...]
    slowest: Fraction
    slowest_first: Fraction | None
    first_s: Fraction | None
    memory_bytes: int
    timing: Timing


class OperatingPoints:
    """Batches and cuts of one shape at one chunk; `replicas` share the request rate.

    Parameters
    ----------
    problem
        Limits and workload.
    shape
        Degrees of a replica.
    chunk
        Prompt tokens a step; None in phase decode.
    replicas
        Independent serving instances.
    costs, memory
        Coefficients of the shape.
    context
        Tokens of a sequence that every stage must hold as the engine sizes itself, beside what the problem says.
    """

    def __init__(
        self, problem: Problem, shape: Shape, chunk: int | None, replicas: int, costs: Costs, memory: Memory,
        *, context: int = 0,
    ) -> None:  # fmt: skip
        self.problem, self.shape, self.chunk, self.replicas = problem, shape, chunk, replicas
        self.costs, self.memory = costs, memory
        self.ranks = replicas * shape.dp
        work, limits = problem.workload, tightest(problem)
        longest = max(context, int(limits.get(Measure.CONTEXT, 0)))
        self._holding = [memory.holding(longest)] if longest else []
        self._cycle_limit = None
        if Measure.CYCLE in limits:
            self._cycle_limit = limits[Measure.CYCLE] * TICKS_PER_SECOND / shape.pp
        self._aim = problem.scale.percentile if problem.scale.measure is Measure.FIRST else None
        self._ttft_limits = dict.fromkeys((None, self._aim)) | first_limits(problem)
        self._capacity = min(problem.capacity_bytes, floor(limits.get(Measure.MEMORY, problem.capacity_bytes)))
        rate = max(work.request_rate or Fraction(0), limits.get(Measure.REQUESTS, Fraction(0)))
        rank_rate = limits.get(Measure.DEVICE_REQUESTS, Fraction(0)) * shape.devices / shape.dp
        self.need = max(rate / self.ranks, rank_rate)
        """Requests/s that each rank must serve."""
        self._pieces, _, self._packed = (0, 0, 0) if chunk is None else prompt_split(work.computed_input_tokens, chunk)
        self._queued = not work.decodes and work.queued_rate is not None
        self._mixed_limits: dict[tuple[int, int | None], int] = {}
        self._points: dict[tuple[int, str, str, Fraction | None], Point | None] = {}

    def _first_limit(self, micro: int, first: FirstToken, share: int | None, *, queue: bool) -> Fraction | None:
        """Largest k·O + h·M + w·A of a stage, in ticks, that keeps TTFT and the queue's load; None: no limit."""
        work, ttft = self.problem.workload, self._ttft_limits[share]
        spare = None if ttft is None else ttft - first.fixed_s
        if work.queued_rate is None or not queue:
            return None if spare is None else spare * TICKS_PER_SECOND
        together = work.together(micro, self._packed)
        if (together, share) not in self._mixed_limits:
            self._mixed_limits[together, share] = self._longest_mixed(together, spare, share)
        return Fraction(first.own * self._mixed_limits[together, share])

    def _longest_mixed(self, together: int, ttft: Fraction | None, share: int | None) -> int:
        """Longest step with prompt tokens, in ticks, at which prompts queue no longer than TTFT leaves."""
        rate = self.problem.workload.queued_rate
        assert rate is not None  # noqa: S101 - asked for only where requests queue
        if ttft is not None and ttft <= 0:
            return -1
        # load = r·s·m below 1, for rate r of a rank and s = pieces ÷ together
        rank_rate, steps = rate / self.ranks, Fraction(self._pieces, together)
        if ttft is None:
            return -(-TICKS_PER_SECOND * (rank_rate * steps).denominator // (rank_rate * steps).numerator) - 1
        # (k·m + r·s²·m² ÷ (2·(1 − r·s·m)) ≤ ttft is a·m² − b·m + c ≥ 0 below its smaller root
        stages = self._pieces + self.shape.pp - 1
        if share is not None:
            return floor(longest_step(ttft, Fraction(stages), steps, rank_rate, share) * TICKS_PER_SECOND)
        a, b, c = rank_rate * steps * (2 * stages - steps), 2 * stages + 2 * ttft * rank_rate * steps, 2 * ttft
        scale = lcm(a.denominator, b.denominator, c.denominator)
        top, middle = int(a * scale), int(b * scale) * TICKS_PER_SECOND
        last = int(c * scale) * TICKS_PER_SECOND**2
        longest = (middle - isqrt(middle * middle - 4 * top * last)) // (2 * top)
        while not self._ttft_holds(longest, together, ttft):
            longest -= 1
        return longest

    def _ttft_holds(self, mixed_ticks: int, together: int, limit: Fraction) -> bool:
        waited = self._queue(Fraction(mixed_ticks, TICKS_PER_SECOND), together, None)
        first = Fraction((self._pieces + self.shape.pp - 1) * mixed_ticks, TICKS_PER_SECOND)
        return waited is not None and first + waited <= limit

    def _queue(self, mixed: Fraction, together: int, share: int | None) -> Fraction | None:
        """Wait of the queue, or None where prompts arrive faster than they are computed."""
        rate = self.problem.workload.queued_rate
        if rate is None:
            return Fraction(0)
        service = self._pieces * mixed / together
        load = rate / self.ranks * service
        if load >= 1:
            return None
        return load * service / (2 * (1 - load)) if share is None else wait(load, share) * service

    def _admits(self, batch: int, steps: Steps) -> bool:
        """Whether the engine takes so many sequences and such steps."""
        return batch <= largest_batch(self.problem) and keeps_step(self.problem.workload, steps)

    def _steps(self, batch: int) -> Steps:
        return steps_of(self.problem.workload, -(-batch // self.shape.pp), self.chunk, self.shape.pp)

    def _first(self, batch: int, steps: Steps, share: int | None = None) -> FirstToken:
        return first_token(self.problem, pp=self.shape.pp, batch=batch, steps=steps, percentile=share)

    def _tracks(self, batch: int, steps: Steps, *, queue: bool = True) -> Tracks:
        """Mean times (scaled by the denominators of φ and ψ), what TTFT is made of, memory; and the scales of times."""
        share, met = steps.share, share_met(steps, batch)
        scale, cycle_scale = share.denominator, met.denominator
        mixed = own = None
        if steps.mixed is not None:
            mixed = own = self._time_track(steps.mixed)
            if steps.own is not None and steps.own != steps.mixed:
                own = self._time_track(steps.own)
        if steps.decode is None:
            assert mixed is not None  # noqa: S101 - a phase has steps
            mean = cycle = mixed
            scale = cycle_scale = 1
        else:
            mean = cycle = plain = self._time_track(steps.decode)
            if mixed is not None:
                mean = combined(plain, scale - share.numerator, mixed, share.numerator)
                cycle = combined(plain, cycle_scale - met.numerator, mixed, met.numerator)
            if self._cycle_limit is not None:
                cycle = replace(cycle, limit=int(self._cycle_limit * cycle_scale // 1))
        firsts: dict[int | None, tuple[Track, int]] = {}
        for percent in self._ttft_limits if mixed is not None else ():
            assert mixed is not None  # noqa: S101 - by the condition
            assert own is not None  # noqa: S101 - the same
            first_token = self._first(batch, steps, percent)
            limit = self._first_limit(-(-batch // self.shape.pp), first_token, percent, queue=queue)
            # k·O + h·M + w·A, where A is the mean track ÷ its scale
            ahead, each = first_token.ahead, first_token.mean / scale
            first_scale = lcm(ahead.denominator, each.denominator)
            steps_own, steps_ahead = first_token.own * first_scale, int(ahead * first_scale)
            if own is mixed:
                first = combined(mixed, steps_own + steps_ahead, mean, int(each * first_scale))
            else:
                waited = combined(mixed, steps_ahead, mean, int(each * first_scale))
                first = combined(own, steps_own, waited, 1)
            first = replace(first, limit=None if limit is None else floor(limit * first_scale))
            firsts[percent] = (first, first_scale)
        memory = self.memory
        bytes_track = Track(
            memory.prefix(batch), memory.input.total_bytes, memory.output.total_bytes,
            memory.working_bytes(steps.largest) + memory.reserve_bytes, self._capacity,
        )  # fmt: skip
        pool = memory.pooled(memory.pooled_bytes(batch))
        return Tracks(mean, bytes_track, scale, firsts, self._aim, cycle, cycle_scale, pool)

    def limited_tracks(self, batch: int, need: Fraction = Fraction(0)) -> Tracks | None:
        """Mean time, what TTFT is made of and memory of a batch, each with its limit.

        Parameters
        ----------
        need
            Requests/s that a rank must serve.

        Returns
        -------
        Tracks or None
            None where φ exceeds 1 or the engine is told to take less.
        """
        steps = self._steps(batch)
        if not self._admits(batch, steps):
            return None
        return needed(self._tracks(batch, steps), self._cycle_for(batch, need))

    def at_cuts(self, batch: int, cuts: tuple[int, ...]) -> Point:
        """Figures of a batch at given cuts."""
        steps = self._steps(batch)
        return self._figures(batch, cuts, steps, self._tracks(batch, steps))

    def _figures(self, batch: int, cuts: tuple[int, ...], steps: Steps, tracks: Tracks) -> Point:
        slowest = Fraction(largest_sum(tracks.mean, cuts), tracks.scale)
        slowest_met = Fraction(largest_sum(tracks.cycle, cuts), tracks.cycle_scale)
        slowest_first = first_s = slowest_mixed = None
        if tracks.firsts:
            first_token = self._first(batch, steps)
            slowest_first = tracks.slowest_first(None, cuts)
            first_s = first_token.fixed_s + slowest_first / TICKS_PER_SECOND
            if not self.problem.workload.looped:
                slowest_mixed = int(slowest_first / first_token.own)
        times = timing(
            self.problem, pp=self.shape.pp, batch=batch, steps=steps, slowest=slowest, slowest_met=slowest_met,
            slowest_mixed=slowest_mixed, ranks=self.ranks, first_s=first_s,
        )  # fmt: skip
        first_s = times.ttft_s
        if tracks.firsts and self._aim is not None:
            slowest_first = tracks.slowest_first(self._aim, cuts)
            first_s = self._first(batch, steps, self._aim).fixed_s + slowest_first / TICKS_PER_SECOND
            if times.queue_s and slowest_mixed is not None:
                first_s += wait(times.load, self._aim) * service_s(self.problem, steps, slowest_mixed)
        return Point(batch, cuts, slowest, slowest_first, first_s, largest_sum(tracks.memory, cuts), times)

    def _time_track(self, step: Step) -> Track:
        return Track(self.costs.prefix(step), 0, self.costs.tail(step), self.costs.send(step), None)

    def _cycle_for(self, batch: int, need: Fraction) -> Fraction | None:
        """Longest mean stage time, in ticks, at which a rank with `batch` sequences serves `need` requests/s."""
        work = self.problem.workload
        if not need:
            return None
        cycle = work.decoding(batch, self.ranks) / (work.cycles_of_request(self._pieces, self.shape.pp) * need)
        return cycle * TICKS_PER_SECOND / self.shape.pp

    def point(
        self, batch: int, *, minimise: str = "mean", relax: str = "", need: Fraction | None = None
    ) -> Point | None:
        """Best cuts at a batch, or None where no cuts keep the limits.

        Parameters
        ----------
        minimise
            `mean` (A), `cycle` (G: TPOT), `first` (TTFT) or `memory`.
        relax
            `cuts`: leave out the limits on everything that is not minimised; `queue`: leave out the queue. Both bound.
        need
            Longest mean stage time in ticks, as `_cycle_for` says; None: any.
        """
        name = (batch, minimise, relax, need)
        if name not in self._points:
            self._points[name] = self._point(batch, minimise, relax, need)
        return self._points[name]

    def _point(self, batch: int, minimise: str, relax: str, need: Fraction | None) -> Point | None:
        steps = self._steps(batch)
        # bounds round a batch up to whole micro-batches
        if not (keeps_step(self.problem.workload, steps) if relax == "cuts" else self._admits(batch, steps)):
            return None
        tracks = needed(self._tracks(batch, steps, queue=not relax), need)
        least: Track | None = getattr(tracks, minimise)
        assert least is not None  # noqa: S101 - TTFT is minimised only where there are prompts
        others = [t for t in tracks.all() if t is not least]
        best = best_cuts([least, *([] if relax == "cuts" else [*others, *self._holding])], self.shape.pp)
        return None if best is None else self._figures(batch, best[0], steps, tracks)

    def at_least(self, batch: int, rank_requests: Fraction, *, minimise: str = "mean") -> Point | None:
        """The best point of one batch that serves `rank_requests` requests/s a rank."""
        return self.point(batch, minimise=minimise, need=self._cycle_for(batch, rank_requests))

    def feasible(self, batch: int) -> bool:
        """Whether some cuts keep all limits and φ ≤ 1 at this batch; the queue too, save in phase prefill."""
        steps = self._steps(batch)
        if not self._admits(batch, steps):
            return False
        tracks = self._tracks(batch, steps, queue=not self._queued)
        return some_cuts([*tracks.all(), *self._holding], self.shape.pp)

    def _relaxed(self, batch: int, *, minimise: str = "mean", need: Fraction | None = None) -> Point | None:
        """A point whose every limit tightens with the batch."""
        return self.point(batch, minimise=minimise, relax="queue" if self._queued else "", need=need)

    def largest_batch(self) -> int:
        """Largest batch that may be feasible, by bisection; 0 where not even one sequence is."""
        if not self.feasible(1):
            return 0
        # all stages together hold no more than all their devices
        low, high = 1, largest_batch(self.problem) + 1
        sequence = self.memory.stack_sequence()
        if sequence:
            room = self._capacity - self.memory.reserve_bytes
            high = min(high, (self.shape.pp * room - self.memory.stack_weights()) // sequence + 1)
        return last_kept(self.feasible, low, high)

    def _free_requests(self, batch: int) -> Fraction:
        """Requests/s that no batch up to `batch` exceeds: those of whole micro-batches with free cuts."""
        pp = self.shape.pp
        point = self.point(-(-batch // pp) * pp, relax="cuts")
        assert point is not None  # noqa: S101 - φ is that of `batch`, and without limits some cuts fit
        return point.timing.rank_requests

    def _queue_allows(self, low: int, high: int) -> bool:
        """Whether TTFT can hold at a batch from `low` to `high`: the step of the one, the queue of the other."""
        if not self._queued:
            return True
        for share, ttft in self._ttft_limits.items():
            first = self._first_token(low, high, share)
            if first is None or (ttft is not None and first > ttft):
                return False
        return True

    def _first_token(self, low: int, high: int, share: int | None) -> Fraction | None:
        """Least TTFT of batches from `low` to `high` in phase prefill; None where the queue grows without end."""
        step, free = self._relaxed(low), self.point(high, relax="cuts")
        if step is None or free is None or step.slowest_first is None:
            return None
        waited = self._queue(free.slowest / TICKS_PER_SECOND, -(-high // self.shape.pp), share)
        fixed_s = self._first(low, self._steps(low), share).fixed_s
        return None if waited is None else fixed_s + step.slowest_first / TICKS_PER_SECOND + waited

    def most_requests(self, need: Fraction = Fraction(0)) -> Point | None:
        """The point with most requests/s a rank, at least `need`; the largest batch among equals."""
        top = self.largest_batch()
        whole = top // self.shape.pp * self.shape.pp
        stack = [(low, high) for low, high in ((1, whole), (whole + 1, top)) if low <= high]
        best: Point | None = None
        while stack:
            low, high = stack.pop()
            point = self.point(high)
            least = need if best is None else best.timing.rank_requests
            served = point.timing.rank_requests if point is not None else Fraction(-1)
            if served > least or (served == least and best is None):
                best, least = point, served
            free = self._free_requests(high)
            if low == high or free < least or (free == least and best is not None) or not self._queue_allows(low, high):
                continue
            shortest = self._relaxed(low)
            assert shortest is not None  # noqa: S101 - batches up to the largest keep these limits
            most = shortest.timing.rank_requests * high / low
            if most > least or (most == least and best is None):
                stack += _halves(low, high - 1, self.shape.pp)
        return best

    def smallest(self, rank_requests: Fraction, *, minimise: str, at_most: Fraction | None = None) -> Point | None:
        """The point that minimises `cycle` (TPOT), `first` (TTFT) or `memory` and serves so many requests/s a rank.

        Among equals the larger batch. Where that is more than `at_most`, it may be missed.
        """
        top, pp = self.largest_batch(), self.shape.pp
        if top == 0:
            return None
        start = pp * (self._first_micro(rank_requests, -(-top // pp)) - 1) + 1
        edge = min(top, start + pp - 1)
        stack = [(low, high) for low, high in ((edge + 1, top), (start, edge)) if low <= high]
        best: Point | None = None
        while stack:
            low, high = stack.pop()
            bound = self._least(low, high, rank_requests, minimise)
            if bound is None or (at_most is not None and bound > at_most):
                continue
            if best is not None and (bound, -high) >= (_objective(best, minimise), -best.batch):
                continue
            point = self.at_least(high, rank_requests, minimise=minimise)
            if point is not None:
                value = _objective(point, minimise)
                if best is None or (value, -high) < (_objective(best, minimise), -best.batch):
                    best = point
                if value == bound:
                    continue
            if low < high:
                stack += reversed(_halves(low, high - 1, pp))
        return best

    def _least(self, low: int, high: int, rank_requests: Fraction, minimise: str) -> Fraction | None:
        """What the points of batches from `low` to `high` cannot fall below; None where there are none."""
        relaxed = self._relaxed(low, minimise=minimise, need=self._cycle_for(high, rank_requests))
        if relaxed is None or not self._queue_allows(low, high):
            return None
        if minimise == "first" and self._queued:
            return self._first_token(low, high, self._aim)
        return _objective(relaxed, minimise)

    def _first_micro(self, rank_requests: Fraction, top: int) -> int:
        """Least micro-batch whose capacity with free cuts suffices: capacity at pp·µ does not fall with µ."""
        low, high = 1, top
        while low < high:
            middle = (low + high) // 2
            free = self.point(middle * self.shape.pp, relax="cuts")
            if free is None or free.timing.rank_requests >= rank_requests:
                high = middle
            else:
                low = middle + 1
        return low


def _halves(low: int, high: int, pp: int) -> list[tuple[int, int]]:
    """Two intervals, whole micro-batches apart where there are several."""
    if low >= high:
        return [(low, high)] if low == high else []
    middle = (low + high) // 2
    middle = middle // pp * pp if middle // pp * pp >= low else middle
    return [(low, middle), (middle + 1, high)]


def _objective(point: Point, minimise: str) -> Fraction:
    if minimise == "mean":
        return point.slowest
    if minimise == "cycle":
        return point.timing.cycle
    if minimise == "first":
        assert point.first_s is not None  # noqa: S101 - TTFT is minimised only where there are prompts
        return point.first_s
    return Fraction(point.memory_bytes)
