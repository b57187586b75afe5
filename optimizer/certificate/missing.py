"""Proof that no layout is missing from a frontier: boxes of layouts, each matched by a point or decided.

A box is degrees, or all that a bound is of, with an interval of chunks, of micro-batches and of devices. Where a point
is as good in every objective as what nothing in the box goes below, nothing of it is missing; else it is halved. What
is left of one chunk and one batch is decided exactly: whether any cuts reach below one of the corners that are open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt

from optimizer.certificate.aims import Aims
from optimizer.certificate.decision import Decision
from optimizer.certificate.goals import Goal, goal
from optimizer.certificate.meshes import Lattice
from optimizer.certificate.optimality import Met, Proof, Prover
from optimizer.certificate.reach import Reach
from optimizer.certificate.staircase import Staircase
from optimizer.domain.lattice import LARGEST_BATCH, largest_batch
from optimizer.domain.layout import Layout
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import Costs
from optimizer.figures.memory import Memory


def missing(problem: Problem, lattice: Lattice, measures: Sequence[Measure], front: Staircase) -> Proof:
    """Dismiss every layout that no point of a frontier matches; levels of the staircase are those of the measures."""
    return _Front(problem, lattice, measures, front).run()


@dataclass(frozen=True, slots=True)
class _Box:
    """Chunks by their number, `first` up to `stop`; micro-batches and devices, from least to most."""

    first: int
    stop: int
    low: int
    high: int
    fewest: int
    most: int


class _Front(Prover[list[_Box]]):
    def __init__(self, problem: Problem, lattice: Lattice, measures: Sequence[Measure], front: Staircase) -> None:
        super().__init__(problem, lattice)
        self.measures, self.front, self.limits = tuple(measures), front, goal(problem, None)
        # more devices serve more, and shorten the queue
        more = {Measure.REQUESTS, *([Measure.FIRST] if problem.workload.queued_rate is not None else [])}
        self.trades_devices = Measure.DEVICES in self.measures and bool(more & set(self.measures))

    def everything(self) -> list[_Box]:
        return [_Box(0, len(self.lattice.axes.chunks), 1, LARGEST_BATCH, 1, self.limits.devices)]

    @staticmethod
    def chunks(asked: list[_Box]) -> int:
        return len({number for box in asked for number in range(box.first, box.stop)})

    def left(
        self, reach: Reach, asked: list[_Box], devices: int = 1, fitting: int | None = None
    ) -> list[_Box]:  # fmt: skip
        found, todo = [], asked[::-1]
        while todo:
            box = self._bounded(reach, todo.pop(), devices, fitting)
            if box is not None:
                parts = self._halves(box, fine=reach.pp is not None, devices=devices)
                todo += parts
                found += [] if parts else [box]
        return found

    def _bounded(self, reach: Reach, box: _Box, devices: int, fitting: int | None) -> _Box | None:
        """A box, as far as something is to be found in it; None where nothing is."""
        chunks = self.lattice.axes.chunks[box.first], self.lattice.axes.chunks[box.stop - 1]
        high = min(box.high, reach.most_micro(self.limits, chunks))
        fewest, most = max(box.fewest, devices), min(box.most, fitting or box.most)
        if high < box.low or most < fewest:
            return None
        least = reach.least(self.limits, chunks, box.low, high, (fewest, most), self.measures)
        if least is None or self.front.covers(least):
            return None
        return replace(box, high=high, fewest=fewest, most=most)

    def _halves(self, box: _Box, devices: int, *, fine: bool) -> list[_Box]:
        """The second and the first half of a box; none where it is small enough: without a pp, where it is not wide."""
        if box.stop - box.first > 1:
            middle = (box.first + box.stop) // 2
            return [replace(box, first=middle), replace(box, stop=middle)]
        if box.high > box.low + (0 if fine else box.low // 2):
            middle = isqrt(box.low * box.high)
            return [replace(box, low=middle + 1), replace(box, high=middle)]
        if self.trades_devices and box.most >= box.fewest + (devices if fine else box.fewest):
            middle = (box.fewest + box.most) // 2
            return [replace(box, fewest=middle + 1), replace(box, most=middle)]
        return []

    def decided(self, shape: Shape, asked: list[_Box], costs: Costs, memory: Memory) -> Met | None:
        decisions: dict[int, Decision] = {}
        listed = self.problem.search.batch
        for box in asked:
            low, high = shape.pp * (box.low - 1) + 1, min(shape.pp * box.high, largest_batch(self.problem))
            spans = [(low, high)] if listed is None else [(own, own) for own in listed if low <= own <= high]
            if box.first not in decisions:
                chunk = self.lattice.axes.chunks[box.first]
                decisions[box.first] = Decision(self.problem, shape, chunk, costs, memory)
            self.proof.dismissed["exact"] += 1
            found = self._met(decisions[box.first], spans, box)
            if found is not None:
                return Met(*found)
        return None

    def _met(
        self, decision: Decision, spans: list[tuple[int, int]], box: _Box
    ) -> tuple[Goal, Layout] | None:  # fmt: skip
        """A corner that a layout of some batches lies below; intervals are matched by a point, halved or decided."""
        while spans:
            span = spans.pop()
            least = decision.least(*span, (box.fewest, box.most), self.measures)
            if least is None or self.front.covers(least):
                continue
            if span[0] < span[1]:
                spans += decision.halves(*span)
                continue
            goals = list(self.front.open(least))
            found = decision.found(Aims(None, tuple(map(Aims, goals))), [span]) if goals else None
            if found is not None:
                return found
        return None
