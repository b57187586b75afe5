"""Tables of what a layout takes and holds, from the reference: by degrees, and by the step that µ and a chunk make.

Times are floors of exact ones in a `unit` of ticks. A sum of floors is no more than the floor of the sum, and a limit's
floor is kept by whatever keeps the limit: the program misses no layout that keeps a limit, and gives none a worse value
than it has. What it may let through is judged exactly afterwards (`optimizer.declarative.decide`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import CostBook, Costs
from optimizer.figures.layer import LayerCost, Step
from optimizer.figures.memory import Memory, MemoryBook
from optimizer.figures.rates import TICKS_PER_SECOND, effective_rates, last_kept
from optimizer.figures.serving import first_token, timing
from optimizer.figures.steps import Steps, steps_of

Key = TypeVar("Key", bound=Hashable)

_FARTHEST_TICKS = 10**9 * TICKS_PER_SECOND
"""Longer than any step."""


@dataclass(frozen=True)
class StepPoint:
    """Step of a micro-batch and a chunk (its number among the problem's); tokens and samples that room is kept for.

    `depths` are the numbers of stages that it is of: all where a prompt is in one piece, which is as long in its place
    in any.
    """

    micro_batch: int
    chunk: int
    depths: tuple[int, ...]
    steps: Steps
    working_tokens: int
    sampled: int

    @property
    def met(self) -> Fraction:
        """Share of the steps of a cycle, of a step's places, in which a sequence meets the prompt of one other."""
        return self.depths[0] * self.steps.met


def step_points(
    problem: Problem,
    micro_batches: Mapping[int, Sequence[int]],
    chunks: Sequence[int | None],
    runs: Callable[[Steps], bool],
) -> list[StepPoint]:
    """All micro-batches, by the number of stages, with all chunks that run."""
    work, points = problem.workload, []
    tokens, sequences = work.max_num_batched_tokens or 0, work.max_num_seqs or 0
    for number, chunk in enumerate(chunks):
        alike: dict[tuple[int, Fraction], list[int]] = {}
        known: dict[tuple[int, Fraction], Steps] = {}
        for depth, micros in micro_batches.items():
            for micro in micros:
                steps = steps_of(work, micro, chunk, depth)
                if not runs(steps):
                    break  # a larger micro-batch has longer steps
                alike.setdefault((micro, steps.share), []).append(depth)
                known.setdefault((micro, steps.share), steps)
        for (micro, share), depths in alike.items():
            steps = known[micro, share]
            step = steps.largest
            points.append(
                StepPoint(
                    micro, number, tuple(depths), steps, max(step.tokens, tokens),
                    max(step.decoded + step.passes, sequences),
                )
            )  # fmt: skip
    return points


@dataclass(frozen=True)
class PricedTicks:
    """At every step point, in ticks.

    Attributes
    ----------
    mean
        Mean time A.
    own
        Time O of the step that a request's prompt is in.
    plain, full, met
        A step without and with prompts, and what pp steps take longer for the prompt of each other sequence in flight.
    """

    mean: tuple[Fraction, ...]
    own: tuple[int, ...]
    plain: tuple[int, ...]
    full: tuple[int, ...]
    met: tuple[Fraction, ...]

    def most(self) -> tuple[Fraction, int]:
        """The longest of all but O, and of O."""
        longest = max((*self.mean, *self.met, Fraction(max(self.full, default=0))))
        return longest, max(self.own, default=0)


class Prices:
    """Costs and bytes of every degrees listed, at every step point."""

    def __init__(self, problem: Problem, rows: Sequence[Shape], steps: Sequence[StepPoint]) -> None:
        book, bytes_ = CostBook(problem, effective_rates(problem.priced_hardware)), MemoryBook(problem)
        self.steps = list(steps)
        self.costs: list[Costs] = [book.of(shape) for shape in rows]
        self.memory: list[Memory] = [bytes_.memory(shape) for shape in rows]
        self.order, self.counts = self.memory[0].order, self.memory[0].counts
        self.problem = problem
        self.distinct = len({kind for costs in self.costs for kind in costs.kinds})
        self._ticks: dict[Hashable, PricedTicks] = {}
        self._prompts: dict[tuple[int, int, int, Fraction | None, int], list[int]] = {}

    def layer(self, row: int, kind: int) -> tuple[Hashable, PricedTicks]:
        """Times of a layer of a kind, and what rows of equal times have in common."""
        cost: LayerCost = self.costs[row].kinds[kind]
        return self._known(cost, cost.ticks)

    def tail(self, row: int) -> tuple[Hashable, PricedTicks]:
        """What the last stage adds."""
        costs = self.costs[row]
        return self._known((costs.head, costs.draft), costs.tail)

    def send(self, row: int) -> tuple[Hashable, PricedTicks]:
        """What every stage adds."""
        costs = self.costs[row]
        return self._known((costs.send_fixed, costs.send_each), costs.send)

    def _known(self, key: Key, of: Callable[[Step], int]) -> tuple[Key, PricedTicks]:
        if key not in self._ticks:
            mean, own, plains, fulls, met = [], [], [], [], []
            for point in self.steps:
                plain, full = point.steps.decode, point.steps.mixed
                plain_ticks = of(plain) if plain else of(full) if full else 0
                full_ticks = of(full) if full else 0
                mean.append(
                    plain_ticks + point.steps.share * (full_ticks - plain_ticks)
                    if plain and full
                    else Fraction(plain_ticks)
                )
                own.append(of(point.steps.own) if point.steps.own else 0)
                plains.append(plain_ticks)
                fulls.append(full_ticks if plain and full else plain_ticks)
                met.append(point.met * (fulls[-1] - plain_ticks))
            self._ticks[key] = PricedTicks(tuple(mean), tuple(own), tuple(plains), tuple(fulls), tuple(met))
        return key, self._ticks[key]

    def longest(self) -> tuple[Fraction, int]:
        """What no stage exceeds: all layers, tail and send of the slowest degrees."""
        mean, own = Fraction(1), 1
        for row in range(len(self.costs)):
            parts = [self.layer(row, kind)[1].most() for kind in range(len(self.counts))]
            ends = [self.tail(row)[1].most(), self.send(row)[1].most()]
            for_all = [(n * a, n * o) for n, (a, o) in zip(self.counts, parts, strict=True)] + ends
            mean = max(mean, sum((a for a, _ in for_all), Fraction(0)))
            own = max(own, sum(o for _, o in for_all))
        return mean, own

    def longest_prompts(
        self, steps: Steps, pp: int, ranks: int, level: Fraction | None, unit: int
    ) -> list[int]:  # fmt: skip
        """`longest_mixed` for 1, 2, … ranks, in a unit."""
        key = (steps.pieces, steps.together, pp, level, unit)
        if key not in self._prompts:
            counts = range(1, ranks + 1)
            self._prompts[key] = [longest_mixed(self.problem, steps, pp, n, level, unit) for n in counts]
        return self._prompts[key]


def longest_mixed(
    problem: Problem, steps: Steps, pp: int, ranks: int, level: Fraction | None, unit: int = 1
) -> int:  # fmt: skip
    """The longest step with prompts that keeps a first token's time and lets the queue end; −1: none.

    In whole units, of requests that come at random or meet nobody: TTFT and the queue's load rise with it.
    """
    first = first_token(problem, pp=pp, batch=1, steps=steps)

    def keeps(units: int) -> bool:
        ticks = units * unit
        first_s = first.fixed_s + first.own * Fraction(ticks, TICKS_PER_SECOND)
        # a short cycle: that the rate is served is a limit of its own
        times = timing(
            problem, pp=pp, batch=1, steps=steps, slowest=Fraction(1), slowest_met=Fraction(1), slowest_mixed=ticks,
            ranks=ranks, first_s=first_s,
        )  # fmt: skip
        assert times.ttft_s is not None  # noqa: S101 - `first_s` is given
        return times.load < 1 and (level is None or times.ttft_s <= level)

    return last_kept(keeps, -1, _FARTHEST_TICKS // unit)
