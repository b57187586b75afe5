"""The whole frontier of two or three objectives over every layout: degrees, chunk, batch, stage cuts and replicas.

Branch and bound on boxes (degrees × intervals of chunks, of micro-batches and of replicas). Every objective
is monotone in both intervals, so that a box has a float vector that nothing in it beats; a box is dismissed where a
layout already found is at least as good in every objective by more than the floats' margin. What is left of one
micro-batch is decided by the reference, over every batch and every non-dominated way to cut the pipeline.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from optimizer.domain.lattice import largest_batch
from optimizer.domain.layout import Layout
from optimizer.domain.objectives import OBJECTIVES, Measure, Scale
from optimizer.domain.problem import Problem
from optimizer.errors import InternalError, SpecError
from optimizer.figures.costs import Costs
from optimizer.figures.memory import Memory
from optimizer.figures.objective import (
    Scored,
    key,
    layout_of,
    objective_value,
)
from optimizer.figures.operating_point import OperatingPoints, Point
from optimizer.figures.shape import Shape, shape_of
from optimizer.search.bounds import Bounds, Rows
from optimizer.search.cut_front import cut_front
from optimizer.search.lattice import Floats, Ints, meshes, replicas_that_fit
from optimizer.search.pricing import MARGIN, Pricer
from optimizer.search.search import Search
from optimizer.search.targets import target

Progress = Callable[[str, int, int], None]
Vector = tuple[Fraction, ...]

_BLOCK = 1 << 16
_SAMPLES = 48
"""Boxes of each round whose best corner the reference prices, so that later boxes meet good layouts."""


@dataclass(frozen=True)
class FrontierPoint:
    """A layout that no other beats in one objective without losing in another.

    Attributes
    ----------
    values
        Each objective in its own unit, in the order asked for.
    """

    values: Vector
    scored: Scored

    @property
    def layout(self) -> Layout:
        """Its degrees, batch and cuts."""
        return self.scored.layout


def frontier(
    problem: Problem, objectives: Sequence[str], progress: Progress | None = None
) -> tuple[FrontierPoint, ...]:
    """Every non-dominated vector of the objectives, each with a layout, best first by the first objective.

    Parameters
    ----------
    objectives
        Two or three names, as in `objective`.

    Raises
    ------
    SpecError
        Where an objective is unknown, repeated, or has no meaning in the workload's phase.
    """
    _check(problem, objectives)
    return _Frontier(problem, tuple(objectives), progress).run()


def _check(problem: Problem, objectives: Sequence[str]) -> None:
    if not 2 <= len(objectives) <= 3 or len(set(objectives)) != len(objectives):
        raise SpecError(f"a frontier is of two or three distinct objectives, not {', '.join(objectives) or 'none'}")
    for name in objectives:
        row = OBJECTIVES.get(name)
        if row is None:
            raise SpecError(f"unknown objective {name!r}; objectives: {', '.join(OBJECTIVES)}")
        message = row.unfit(problem.workload) or row.refusal(problem.hardware)
        message = message or (None if row.traded else f"no frontier is of {name!r}: make it the objective")
        if message is not None:
            raise SpecError(message)
    if problem.workload.concurrency is not None:
        raise SpecError("a frontier is of any number of requests in flight: leave out workload.concurrency")
    if problem.expert_loads:
        raise SpecError("a frontier prices balanced experts: leave out experts.load")


@dataclass
class _Boxes:
    """Mesh pairs with a pp, and intervals of micro-batches, of replicas and of chunks (by their number)."""

    row: Ints
    low: Ints
    high: Ints
    fewest: Ints
    most: Ints
    first: Ints
    last: Ints

    def take(self, chosen: Ints | NDArray[np.bool_]) -> _Boxes:
        return _Boxes(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.row)


def _join(parts: list[_Boxes]) -> _Boxes:
    return _Boxes(*(np.concatenate([getattr(p, f) for p in parts]) for f in _Boxes.__dataclass_fields__))


class _Archive:
    """Non-dominated vectors, smaller is better in each component."""

    def __init__(self, problem: Problem, scales: Sequence[Scale]) -> None:
        self.problem = problem
        # device counts differ by whole numbers and bytes too, so that there floats tell equal from less
        margins = {Measure.DEVICES: -1e-12, Measure.MEMORY: 0.0}
        self._relative = np.array([margins.get(scale.measure, MARGIN) for scale in scales])
        bytes_apart = [abs(float(scale.factor)) if scale.measure is Measure.MEMORY else 0.0 for scale in scales]
        self._absolute = -0.4 * np.array(bytes_apart)
        self.found: dict[Vector, Scored] = {}
        self._floats: Floats | None = None

    def covers(self, vector: Vector) -> bool:
        """Whether something found is at least as good everywhere, and not the same."""
        return any(o != vector and all(a <= b for a, b in zip(o, vector, strict=True)) for o in self.found)

    def add(self, vector: Vector, scored: Scored) -> None:
        """Keep a layout unless it is dominated; of equal vectors the layout that comes first in the stated order."""
        held = self.found.get(vector)
        if held is not None:
            if key(self.problem, scored) < key(self.problem, held):
                self.found[vector] = scored
            return
        if self.covers(vector):
            return
        beaten = [o for o in self.found if all(a <= b for a, b in zip(vector, o, strict=True))]
        for other in beaten:
            del self.found[other]
        self.found[vector] = scored
        self._floats = None

    def dominates(self, ideal: Floats) -> NDArray[np.bool_]:
        """Which rows of `ideal` something found matches or beats by more than the floats' margin."""
        if self._floats is None:
            self._floats = np.array([[float(v) for v in vector] for vector in self.found]).reshape(-1, ideal.shape[1])
        own = self._floats + np.abs(self._floats) * self._relative + self._absolute
        result = np.zeros(len(ideal), dtype=bool)
        for start in range(0, len(ideal), _BLOCK):
            part = ideal[start : start + _BLOCK]
            covered = np.zeros(len(part), dtype=bool)
            for vector in own:
                covered |= np.all(vector <= part, axis=1)
            result[start : start + _BLOCK] = covered
        return result


class _Frontier:
    def __init__(self, problem: Problem, objectives: tuple[str, ...], progress: Progress | None) -> None:
        self.problem, self.objectives, self.progress = problem, objectives, progress
        self.search = Search(problem)
        self.rate = problem.workload.request_rate
        self.views = [problem.model_copy(update={"objective": name}) for name in objectives]
        self.archive = _Archive(problem, [view.scale for view in self.views])
        self.measures = {view.scale.measure for view in self.views}
        self._points: dict[tuple[Shape, int | None, int], OperatingPoints] = {}
        more = {Measure.REQUESTS} | ({Measure.FIRST} if self.rate is not None else set())
        self.wants_fewer = Measure.DEVICES in self.measures
        self.wants_more = bool(more & self.measures)

    def run(self) -> tuple[FrontierPoint, ...]:
        own = self.search.axes
        found, _ = meshes(self.problem, own)
        if not len(found) or not own.pp or not own.chunks:
            return ()
        self.meshes, self.pricer = found, Pricer(self.problem, found)
        self._seed()
        boxes = self._start()
        done = 0
        while len(boxes):
            lone = (boxes.low == boxes.high) & (boxes.first == boxes.last)
            lone &= self._decided(boxes) | (boxes.fewest == boxes.most)
            for i in np.flatnonzero(lone):
                if self.progress is not None and done % 64 == 0:
                    self.progress("frontier", done, len(boxes) + done)
                self._leaf(boxes, int(i))
                done += 1
            boxes = self._split(boxes.take(~lone))
            if self.progress is not None:
                self.progress("frontier", done, done + len(boxes))
        return self._points_found()

    def _points_found(self) -> tuple[FrontierPoint, ...]:
        signs = [-1 if view.objective_row.maximised else 1 for view in self.views]
        return tuple(
            FrontierPoint(tuple(s * v for s, v in zip(signs, vector, strict=True)), scored)
            for vector, scored in sorted(self.archive.found.items())
        )

    def _decided(self, boxes: _Boxes) -> NDArray[np.bool_]:
        """Boxes whose replicas the leaf settles: no objective wants more of them while another wants fewer."""
        return np.full(len(boxes), not (self.wants_fewer and self.wants_more))

    # exact

    def _coefficients(self, shape: Shape) -> tuple[Costs, Memory]:
        return self.search._coefficients_of(shape)  # noqa: SLF001 - the search's cache

    def _at(self, shape: Shape, chunk: int | None, replicas: int) -> OperatingPoints:
        name = (shape, chunk, replicas)
        if name not in self._points:
            self._points[name] = OperatingPoints(self.problem, shape, chunk, replicas, *self._coefficients(shape))
        return self._points[name]

    def _add(self, shape: Shape, chunk: int | None, replicas: int, point: Point) -> None:
        layout = layout_of(self.problem, shape, replicas, chunk, point)
        tokens = point.timing.rank_requests * layout.dp * self.problem.workload.tokens_of_request
        vector = []
        for view in self.views:
            value = objective_value(view, shape, replicas, point)
            vector.append(-value if view.objective_row.maximised else value)
        value = objective_value(self.problem, shape, replicas, point)
        self.archive.add(tuple(vector), Scored(layout, point, value, tokens))

    def _shape(self, row: int) -> Shape:
        mesh, own = int(self.rows.mesh[row]), self.meshes
        tp, cp, etp, ep = (int(axis[mesh]) for axis in (own.tp, own.cp, own.etp, own.ep))
        return Shape(tp, cp, etp, ep, int(self.rows.pp[row]), int(own.redundant[mesh]))

    def _leaf(self, boxes: _Boxes, i: int) -> None:
        """Every batch of one micro-batch, every way to cut, and the replicas that matter."""
        shape, chunk = self._shape(int(boxes.row[i])), int(self.search.chunks[boxes.first[i]]) or None
        counts = self.search.replicas_of(shape)
        if not counts:
            return
        pp, micro = shape.pp, int(boxes.low[i])
        allowed = self.problem.search.batch
        span = range(pp * micro, pp * (micro - 1), -1)
        batches = [b for b in span if (b <= largest_batch(self.problem) if allowed is None else b in allowed)]
        if self.wants_fewer and self.wants_more:
            tried = tuple(r for r in counts if boxes.fewest[i] <= r <= boxes.most[i])
        else:
            tried = counts if self.wants_fewer else counts[-1:]
        for batch in batches:
            widest = self._front(shape, chunk, counts[-1], batch)
            if not widest:
                continue
            first = bisect_left(tried, 1, key=lambda r: min(1, len(self._front(shape, chunk, r, batch))))
            for replicas in tried[first:]:
                front = widest if replicas == counts[-1] else self._front(shape, chunk, replicas, batch)
                for _, cuts in front:
                    self._add(shape, chunk, replicas, self._at(shape, chunk, replicas).at_cuts(batch, cuts))
                if self.wants_fewer and not self.wants_more and [v for v, _ in front] == [v for v, _ in widest]:
                    break
            if Measure.MEMORY not in self.measures and self._free(shape, chunk, batch) == [v for v, _ in widest]:
                break

    def _front(
        self, shape: Shape, chunk: int | None, replicas: int, batch: int
    ) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Non-dominated cuts in what the objectives measure."""
        points = self._at(shape, chunk, replicas)
        found = points.limited_tracks(batch, points.need)
        if found is None:
            return []
        measured = [found.mean]
        if Measure.FIRST in self.measures and found.first is not None and self.problem.workload.phase != "prefill":
            measured.append(found.first)
        if Measure.MEMORY in self.measures:
            measured.append(found.memory)
        others = [t for t in found.all() if not any(t is m for m in measured)]
        return cut_front([*measured, *others], len(measured), shape.pp)

    def _free(self, shape: Shape, chunk: int | None, batch: int) -> list[tuple[int, ...]] | None:
        """The front that no smaller batch of the micro-batch improves: without memory and with any rate served."""
        if shape.pp == 1:
            front = self._front(shape, chunk, self.search.replicas_of(shape)[-1], batch)
            return [v for v, _ in front]
        points = self._at(shape, chunk, self.search.replicas_of(shape)[-1])
        work = self.problem.workload
        looped = work.phase == "aggregated" and work.arrivals == "closed"
        if looped and Measure.FIRST in self.measures:
            # each sequence less shortens the wait
            return None
        micro = -(-batch // shape.pp)
        found = points.limited_tracks(shape.pp * (micro - 1) + 1 if looped else batch)
        if found is None:
            return None
        others = [] if found.first is None else [found.first]
        wanted = 2 if others and Measure.FIRST in self.measures and work.phase != "prefill" else 1
        return [v for v, _ in cut_front([found.mean, *others], wanted, shape.pp)]

    # boxes

    def _seed(self) -> None:
        """The best layout of each objective, and what the searches decided on the way."""
        for view in self.views:
            if view.objective_row.unrated(view.workload) is not None:
                continue
            search = Search(view, progress=self.progress)
            search.run()
            for scored in search.decided():
                own = scored.layout
                self._add(shape_of(own), own.prefill_chunk, own.replicas, scored.point)

    def _start(self) -> _Boxes:
        """Octaves of micro-batches of every mesh pair and pp, as far as limits hold."""
        own, found = self.search.axes, self.meshes
        depth = np.array(own.pp, dtype=np.int64)
        mesh, pp = (a.ravel() for a in np.meshgrid(np.arange(len(found)), depth, indexing="ij"))
        sizes = tuple(t.size for t in self.problem.hardware.tiers)
        most = replicas_that_fit(sizes, self.problem.devices, found.stage[mesh] * pp)
        keep = most > 0
        every = np.zeros_like(mesh)
        self.rows = Rows(mesh, pp, every, every).take(keep)
        most, alive = most[keep], np.arange(int(np.count_nonzero(keep)))
        parts = []
        low = 1
        while len(alive) and low <= largest_batch(self.problem):
            count = len(alive)
            ones = np.ones(count, dtype=np.int64)
            last = ones * (len(self.search.chunks) - 1)
            boxes = _Boxes(alive, ones * low, ones * (2 * low - 1), ones, most[alive], ones * 0, last)
            kept, holds = self._bounded(boxes)
            parts.append(kept)
            alive, low = alive[holds], 2 * low
        return _join(parts) if parts else _Boxes(*(np.zeros(0, dtype=np.int64) for _ in _Boxes.__dataclass_fields__))

    def _bounded(self, boxes: _Boxes) -> tuple[_Boxes, NDArray[np.bool_]]:
        """Boxes that nothing found dominates, less what limits exclude; and which keep the limits at their low end."""
        kept, holding = [], []
        for start in range(0, len(boxes), _BLOCK):
            part = boxes.take(np.arange(start, min(start + _BLOCK, len(boxes))))
            ideal, holds, part = self._ideal(part)
            left = holds & (part.fewest <= part.most)
            left[left] = ~self.archive.dominates(ideal[left])
            kept.append((part.take(left), ideal[left]))
            holding.append(holds)
        samples = np.concatenate([i for _, i in kept])
        joined = _join([b for b, _ in kept])
        self._sample(joined, samples)
        again = ~self.archive.dominates(samples)
        return joined.take(again), np.concatenate(holding)

    def _ideal(self, boxes: _Boxes) -> tuple[Floats, NDArray[np.bool_], _Boxes]:
        """What nothing in a box beats, whether its low end keeps the limits, and the box less what cannot serve."""
        chunks = self.search.chunks
        rows = replace(self.rows.take(boxes.row), least=chunks[boxes.first], most=chunks[boxes.last])
        bounds = Bounds(self.pricer, rows, self.search.axes.pp[-1])
        low = boxes.low.astype(float)
        limit = target(self.problem, None)
        holds, _ = bounds.holds(low, limit)
        high = np.maximum(np.minimum(boxes.high, bounds.most_in_memory(limit)), low)
        cycle, mixed, _, firsts = bounds.stack(low)
        slowest, late, _, _ = bounds.stack(high)
        each = bounds.requests(high, slowest)
        replica = (self.meshes.stage[rows.mesh] * rows.pp).astype(float)
        fewest = boxes.fewest
        if self.rate is not None:
            needed = np.ceil(float(self.rate) / (each * replica) * (1 - MARGIN))
            fewest = np.maximum(fewest, np.minimum(needed, 2**40).astype(np.int64))
        part = replace(boxes, high=high.astype(np.int64), fewest=fewest)
        columns = []
        for view in self.views:
            match view.scale.measure:
                case Measure.DEVICE_REQUESTS:
                    level = each
                case Measure.REQUESTS:
                    level = each * replica * boxes.most
                case Measure.DEVICES:
                    level = replica * fewest
                case Measure.CYCLE:
                    level = cycle
                case Measure.FIRST:
                    if mixed is None or late is None:
                        raise InternalError("TTFT is an objective only where there are prompts")
                    level = firsts[None] + self._wait(bounds, mixed, late, high, boxes)
                case Measure.MEMORY:
                    level = bounds.memory(low)
            column = view.scale.floats(level)
            columns.append(-column if view.objective_row.maximised else column)
        ideal = np.stack(columns, axis=1)
        return ideal, holds & np.all(np.isfinite(ideal), axis=1), part

    def _wait(self, bounds: Bounds, mixed: Floats, late: Floats, high: Floats, boxes: _Boxes) -> Floats:
        """Least wait of the queue; infinite where prompts arrive faster than they are computed."""
        rate = self.problem.workload.queued_rate
        if rate is None:
            return np.zeros_like(mixed)
        step = late / high if self.problem.workload.phase == "prefill" else mixed
        together = 1 if self.problem.workload.phase == "prefill" else bounds.packed
        service = bounds.pieces * step / (bounds.pp * together)
        load = float(rate) / (boxes.most * bounds.meshes.dp) * service * (1 - MARGIN)
        return np.where(load < 1, load * service / (2 * (1 - np.minimum(load, 1 - 1e-12))), np.inf) * (1 - MARGIN)

    def _sample(self, boxes: _Boxes, ideal: Floats) -> None:
        """Price the best corners of boxes spread over the ideal frontier."""
        if not len(boxes):
            return
        chosen: set[int] = set()
        for column in range(ideal.shape[1]):
            order = np.lexsort((*(ideal[:, c] for c in range(ideal.shape[1]) if c != column), ideal[:, column]))
            best = np.inf
            front = []
            rest = ideal[:, (column + 1) % ideal.shape[1]]
            for i in order:
                if rest[i] < best:
                    best = rest[i]
                    front.append(int(i))
            step = max(1, len(front) // _SAMPLES)
            chosen.update(front[::step])
        for i in sorted(chosen):
            shape = self._shape(int(boxes.row[i]))
            chunk = int(self.search.chunks[(boxes.first[i] + boxes.last[i]) // 2]) or None
            counts = [r for r in self.search.replicas_of(shape) if boxes.fewest[i] <= r <= boxes.most[i]]
            if not counts:
                continue
            for replicas in {counts[0], counts[-1]}:
                points = self._at(shape, chunk, replicas)
                for micro in {int(boxes.low[i]), int(boxes.high[i])}:
                    batch = micro * shape.pp
                    if self.problem.search.batch is not None and batch not in self.problem.search.batch:
                        continue
                    point = points.at_least(batch, points.need)
                    if point is not None:
                        self._add(shape, chunk, replicas, point)

    def _split(self, boxes: _Boxes) -> _Boxes:
        """Halve the widest interval of each box, and keep what may matter."""
        if not len(boxes):
            return boxes
        both = self.wants_fewer and self.wants_more
        chunks = self.search.chunks
        widest = chunks[boxes.last] * boxes.low >= chunks[boxes.first] * boxes.high
        by_chunk = (boxes.first < boxes.last) & (widest | (boxes.low == boxes.high))
        by_batch = (boxes.high - boxes.low) * boxes.fewest >= (boxes.most - boxes.fewest) * boxes.low
        by_batch = by_batch & (boxes.high > boxes.low) if both else np.ones(len(boxes), dtype=bool)
        by_batch &= ~by_chunk
        by_count = ~by_chunk & ~by_batch
        middle, centre = (boxes.low + boxes.high) // 2, (boxes.fewest + boxes.most) // 2
        between = (boxes.first + boxes.last) // 2
        left = replace(
            boxes, high=np.where(by_batch, middle, boxes.high), most=np.where(by_count, centre, boxes.most),
            last=np.where(by_chunk, between, boxes.last),
        )  # fmt: skip
        right = replace(
            boxes, low=np.where(by_batch, middle + 1, boxes.low), fewest=np.where(by_count, centre + 1, boxes.fewest),
            first=np.where(by_chunk, between + 1, boxes.first),
        )  # fmt: skip
        joined = _join([left, right])
        joined = joined.take(
            (joined.low <= joined.high) & (joined.fewest <= joined.most) & (joined.first <= joined.last)
        )
        return self._bounded(joined)[0] if len(joined) else joined
