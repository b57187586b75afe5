"""The best batch and stage cuts of fixed degrees, chunk and replicas, exactly.

Why a bisection is a proof. For fixed cuts every step time is non-decreasing in the micro-batch µ, and time ÷ µ is
non-increasing (each term is a maximum of linear and concave functions through the origin's positive side; `Touched` is
concave by construction). With the share φ ≤ 1 the mean time A(µ) = D + φ·(M − D) has the same two properties: with g
the cost of x tokens, d(A/µ)/dµ ∝ g'(x + c) − g(x)/x ≤ g(x + c)/(x + c) − g(x)/x ≤ 0. So

- every limit that holds at a batch holds at any smaller one: the largest feasible batch is found by bisection;
- requests/s at b = pp·µ do not fall as µ grows: the best batch is the largest feasible one, or the largest multiple of
  pp below it; where a limit forces slower cuts there, smaller µ are tried until their cuts are free again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from optimizer.figures.costs import Costs
from optimizer.figures.layer import Step
from optimizer.figures.memory import Memory
from optimizer.figures.partition import Track, best_cuts
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.figures.serving import Steps, Timing, held_sequences, steps_of, timing
from optimizer.figures.shape import Shape
from optimizer.spec.problem import Problem

LARGEST_BATCH = 2**20
"""No rank is given more sequences than this."""


@dataclass(frozen=True, slots=True)
class Point:
    """A batch with its best cuts.

    Attributes
    ----------
    slowest
        max over stages of the mean time A, in ticks.
    slowest_mixed
        max over stages of the time with prompt tokens, in ticks.
    memory_bytes
        Fullest device.
    """

    batch: int
    cuts: tuple[int, ...]
    slowest: Fraction
    slowest_mixed: int | None
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
    """

    def __init__(
        self, problem: Problem, shape: Shape, chunk: int | None, replicas: int, costs: Costs, memory: Memory
    ) -> None:
        self.problem, self.shape, self.chunk, self.replicas = problem, shape, chunk, replicas
        self.costs, self.memory = costs, memory
        self.ranks = replicas * shape.dp
        limits, work = problem.limits, problem.workload
        self._cycle_limit = None
        if limits.tpot is not None and work.phase != "prefill":
            self._cycle_limit = limits.tpot * work.tokens_per_step * TICKS_PER_SECOND / shape.pp
        self._mixed_limit: int | None = None
        if work.phase != "decode":
            self._mixed_limit = self._largest_mixed()

    def _largest_mixed(self) -> int | None:
        """Longest step with prompt tokens, in ticks, that keeps TTFT and the queue's load; None: no limit."""
        work, pp = self.problem.workload, self.shape.pp
        assert self.chunk is not None  # noqa: S101 - phases with prompts have a chunk
        pieces = -(-work.computed_input_tokens // self.chunk)
        ttft = self.problem.limits.ttft
        if work.request_rate is None:
            return None if ttft is None else int(ttft * TICKS_PER_SECOND // (pieces + pp - 1))
        if work.phase == "prefill":
            return None  # the queue depends on the micro-batch: checked at each batch
        high = int(Fraction(self.ranks) / (work.request_rate * pieces) * TICKS_PER_SECOND)
        low = 0
        while low < high:
            middle = (low + high + 1) // 2
            if self._ttft_holds(middle, 1, pieces):
                low = middle
            else:
                high = middle - 1
        return low

    def _ttft_holds(self, mixed_ticks: int, together: int, pieces: int) -> bool:
        work, pp, ttft = self.problem.workload, self.shape.pp, self.problem.limits.ttft
        mixed = Fraction(mixed_ticks, TICKS_PER_SECOND)
        total = (pieces + pp - 1) * mixed
        if work.request_rate is not None:
            service = pieces * mixed / together
            load = work.request_rate / self.ranks * service
            if load >= 1:
                return False
            total += load * service / (2 * (1 - load))
        return ttft is None or total <= ttft

    def _steps(self, batch: int) -> Steps:
        return steps_of(self.problem.workload, -(-batch // self.shape.pp), self.chunk)

    def _tracks(self, batch: int, steps: Steps) -> tuple[Track, Track | None, Track, int]:
        """Mean time (scaled by the denominator of φ), time with prompt tokens, memory; and the scale."""
        share = steps.share
        scale = share.denominator
        mixed = None
        if steps.mixed is not None:
            mixed = self._time_track(steps.mixed, self._mixed_limit)
        if steps.decode is None:
            assert mixed is not None  # noqa: S101 - a phase has steps
            mean, scale = mixed, 1
        else:
            plain = self._time_track(steps.decode, None)
            if mixed is None:
                mean = plain
            else:
                top, rest = share.numerator, scale - share.numerator
                mean = Track(
                    [rest * d + top * m for d, m in zip(plain.prefix, mixed.prefix, strict=True)],
                    0, rest * plain.last + top * mixed.last, rest * plain.every + top * mixed.every, None,
                )  # fmt: skip
            if self._cycle_limit is not None:
                limit = self._cycle_limit * scale
                mean = Track(mean.prefix, mean.first, mean.last, mean.every, limit.numerator // limit.denominator)
        memory, held = self.memory, held_sequences(self.problem.workload, batch, self.shape.pp, steps)
        bytes_track = Track(
            memory.prefix(held), memory.input.total_bytes, memory.output.total_bytes,
            memory.working_bytes(steps.largest) + memory.reserve_bytes, self.problem.capacity_bytes,
        )  # fmt: skip
        return mean, mixed, bytes_track, scale

    def _time_track(self, step: Step, limit: int | None) -> Track:
        return Track(self.costs.prefix(step), 0, self.costs.tail(step), self.costs.send(step), limit)

    def _cycle_for(self, batch: int, need: Fraction, pieces: int) -> Fraction:
        """Longest mean stage time, in ticks, at which a rank with `batch` sequences serves `need` requests/s."""
        work = self.problem.workload
        if work.phase == "prefill":
            cycle = batch / (pieces * need)
        else:
            cycle = batch * work.tokens_per_step / (need * (work.output_tokens - 1))
        return cycle * TICKS_PER_SECOND / self.shape.pp

    def point(
        self, batch: int, *, minimise: str = "mean", free: bool = False, need: Fraction | None = None
    ) -> Point | None:
        """Best cuts at a batch, or None where no cuts keep the limits.

        Parameters
        ----------
        minimise
            `mean` (cycle), `mixed` (TTFT) or `memory`.
        free
            Leave out the limits on everything that is not minimised: a bound.
        need
            Requests/s that the rank must serve; None or 0: any.
        """
        steps = self._steps(batch)
        if steps.share > 1:
            return None
        mean, mixed, memory, scale = self._tracks(batch, steps)
        if need:
            bound = self._cycle_for(batch, need, steps.pieces) * scale
            limit = bound.numerator // bound.denominator
            same = mean is mixed
            mean = replace(mean, limit=limit if mean.limit is None else min(limit, mean.limit))
            mixed = mean if same else mixed
        first = {"mean": mean, "mixed": mixed, "memory": memory}[minimise]
        assert first is not None  # noqa: S101 - TTFT is minimised only where there are prompts
        others = [] if free else [t for t in (mean, mixed, memory) if t is not None and t is not first]
        found = best_cuts([first, *others], self.shape.pp)
        if found is None:
            return None
        cuts, _ = found
        slowest = Fraction(_largest(mean, cuts), scale)
        slowest_mixed = _largest(mixed, cuts) if mixed is not None else None
        prefill_queue = self.problem.workload.phase == "prefill" and self.problem.workload.request_rate is not None
        if prefill_queue and not free:
            assert slowest_mixed is not None  # noqa: S101 - phase prefill has prompts
            if not self._ttft_holds(slowest_mixed, -(-batch // self.shape.pp), steps.pieces):
                return None
        times = timing(
            self.problem, pp=self.shape.pp, batch=batch, steps=steps, slowest=slowest,
            slowest_mixed=slowest_mixed, ranks=self.ranks,
        )  # fmt: skip
        return Point(batch, cuts, slowest, slowest_mixed, _largest(memory, cuts), times)

    def witness(self, point: Point) -> list[tuple[Track, int]]:
        """What a point claims of its cuts: mean time, time with prompts and memory, each with the most it has.

        Returns
        -------
        list
            Tracks with limits, and the divisors that bring them into 64 bits.
        """
        steps = self._steps(point.batch)
        mean, mixed, memory, scale = self._tracks(point.batch, steps)
        tracks = [
            (replace(mean, limit=_largest(mean, point.cuts)), scale * 10**12),
            (replace(memory, limit=point.memory_bytes), 1),
        ]
        if mixed is not None:
            tracks.append((replace(mixed, limit=_largest(mixed, point.cuts)), 10**12))
        return tracks

    def feasible(self, batch: int) -> bool:
        """Whether some cuts keep memory, TPOT, TTFT, φ ≤ 1 and the queue's load at this batch."""
        return self.point(batch) is not None

    def largest_batch(self) -> int:
        """Largest feasible batch by bisection; 0 where even one sequence does not fit."""
        if not self.feasible(1):
            return 0
        low, high = 1, 2
        while high <= LARGEST_BATCH and self.feasible(high):
            low, high = high, 2 * high
        high = min(high, LARGEST_BATCH + 1)
        while high - low > 1:
            middle = (low + high) // 2
            if self.feasible(middle):
                low = middle
            else:
                high = middle
        return low

    def most_requests(self) -> Point | None:
        """The point with most requests/s a rank; the largest batch among equals."""
        top = self.largest_batch()
        if top == 0:
            return None
        pp = self.shape.pp
        best = self.point(top)
        micro = top // pp
        while micro >= 1:
            batch = micro * pp
            free = self.point(batch, free=True)
            if free is not None and best is not None and free.timing.rank_requests <= best.timing.rank_requests:
                break
            found = self.point(batch)
            if found is not None and (best is None or found.timing.rank_requests > best.timing.rank_requests):
                best = found
            if found is not None and free is not None and found.slowest == free.slowest:
                break
            micro -= 1
        return best

    def smallest(self, rank_requests: Fraction, *, minimise: str) -> Point | None:
        """The point that minimises `mean`, `mixed` or `memory` and serves `rank_requests` requests/s a rank.

        What is minimised does not fall as the batch grows, so batches are tried upwards from the least that could
        serve the rate until a larger one cannot be better. Among equals the larger batch.
        """
        top = self.largest_batch()
        if top == 0:
            return None
        pp, best = self.shape.pp, None
        micro_top = -(-top // pp)
        for micro in range(self._first_micro(rank_requests, micro_top), micro_top + 1):
            largest = min(micro * pp, top)
            if best is not None:
                bound = self.point(pp * (micro - 1) + 1, minimise=minimise, free=True)
                if bound is None or _objective(bound, minimise) >= _objective(best, minimise):
                    break
            for batch in range(pp * (micro - 1) + 1, largest + 1) if minimise == "memory" else (largest,):
                found = self.point(batch, minimise=minimise, need=rank_requests)
                if found is not None and (best is None or _objective(found, minimise) < _objective(best, minimise)):
                    best = found
        return best

    def _first_micro(self, rank_requests: Fraction, top: int) -> int:
        """Least micro-batch whose capacity with free cuts suffices: capacity at pp·µ does not fall with µ."""
        low, high = 1, top
        while low < high:
            middle = (low + high) // 2
            free = self.point(middle * self.shape.pp, free=True)
            if free is None or free.timing.rank_requests >= rank_requests:
                high = middle
            else:
                low = middle + 1
        return low


def _objective(point: Point, minimise: str) -> Fraction:
    if minimise == "mean":
        return point.slowest
    if minimise == "mixed":
        assert point.slowest_mixed is not None  # noqa: S101 - TTFT is minimised only where there are prompts
        return Fraction(point.slowest_mixed)
    return Fraction(point.memory_bytes)


def _largest(track: Track, cuts: tuple[int, ...]) -> int:
    layers, at, most = len(track.prefix) - 1, 0, 0
    for count in cuts:
        most = max(most, track.stage(at, at + count, layers))
        at += count
    return most
