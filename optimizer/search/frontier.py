"""The whole frontier of two or three objectives over every layout: degrees, chunk, batch, stage cuts and replicas.

Branch and bound on boxes (degrees × intervals of chunks, of micro-batches and of replicas). Every objective
is monotone in both intervals, so that a box has a float vector that nothing in it beats; a box is dismissed where a
layout already found is at least as good in every objective by more than the floats' margin. The boxes that are best on
balance are halved and decided first, since a point can only be dominated by one that is better on balance. What is left
of one micro-batch, or batch, is decided by the reference, over every non-dominated way to cut the pipeline.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimizer.domain.lattice import largest_batch
from optimizer.domain.layout import Layout
from optimizer.domain.objectives import OBJECTIVES, Measure
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.errors import Fault, InternalError, SpecError
from optimizer.figures.costs import Costs
from optimizer.figures.memory import Memory
from optimizer.figures.objective import Scored, layout_of, objective_value
from optimizer.figures.operating_point import OperatingPoints, Point
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.figures.steps import steps_of
from optimizer.readers.messages import nearest
from optimizer.search.archive import Archive, Vector
from optimizer.search.bounds import Bounds
from optimizer.search.cut_front import cut_front
from optimizer.search.lattice import Arrays, Floats, Ints, Meshes, meshes, replicas_that_fit
from optimizer.search.pricing import MARGIN, Pricer
from optimizer.search.rows import Rows
from optimizer.search.search import Progress, Search
from optimizer.search.targets import target

_BLOCK = 1 << 16
_ROUND = 1 << 12
"""Boxes that are split at once, the best on balance."""
_LEAVES = 1 << 7
"""Boxes that are decided at once, before the others are compared with what they reach."""
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
    check_objectives(problem, objectives)
    return _Frontier(problem, tuple(objectives), progress).run()


def check_objectives(problem: Problem, objectives: Sequence[str]) -> None:
    """Refuse, as `frontier` does, what no frontier is of."""
    if not 2 <= len(objectives) <= 3 or len(set(objectives)) != len(objectives):
        raise SpecError(f"a frontier is of two or three distinct objectives, not {', '.join(objectives) or 'none'}")
    for name in objectives:
        row = OBJECTIVES.get(name)
        if row is None:
            text = f"unknown objective {name!r}; objectives: {', '.join(OBJECTIVES)}"
            raise SpecError(Fault(None, None, None, None, text, nearest(name, list(OBJECTIVES))))
        message = row.untold(problem) or (None if row.traded else f"no frontier is of {name!r}: make it the objective")
        if message is not None:
            raise SpecError(message)
    if problem.workload.concurrency is not None:
        raise SpecError("a frontier is of any number of requests in flight: leave out workload.concurrency")
    if problem.expert_loads:
        raise SpecError("a frontier prices balanced experts: leave out experts.load")


@dataclass
class _Boxes(Arrays):
    """Mesh pairs with a pp, and intervals of micro-batches, of replicas and of chunks (by their number).

    Attributes
    ----------
    batch
        The one batch of a box of one micro-batch; 0: all there are.
    ideal
        What nothing in a box beats: boxes × objectives.
    """

    row: Ints
    low: Ints
    high: Ints
    fewest: Ints
    most: Ints
    first: Ints
    last: Ints
    batch: Ints
    ideal: Floats


class _Frontier:
    def __init__(self, problem: Problem, objectives: tuple[str, ...], progress: Progress | None) -> None:
        self.problem, self.objectives, self.progress = problem, objectives, progress
        self.search = Search(problem)
        self.rate = problem.workload.request_rate
        self.views = [problem.model_copy(update={"objective": name}) for name in objectives]
        self.archive = Archive(problem, [view.scale for view in self.views])
        self.measures = {view.scale.measure for view in self.views}
        self._points: dict[tuple[Shape, int | None, int], OperatingPoints] = {}
        more = {Measure.REQUESTS} | ({Measure.FIRST} if self.rate is not None else set())
        self.wants_fewer = Measure.DEVICES in self.measures
        self.wants_more = bool(more & self.measures)

    def run(self) -> tuple[FrontierPoint, ...]:
        axes = self.search.axes
        mesh_pairs, _ = meshes(self.problem, axes)
        if not len(mesh_pairs) or not axes.pp or not axes.chunks:
            return ()
        self._seed()
        pool = self._start(mesh_pairs)
        if pool is None:
            return ()
        done, least = 0, np.min(pool.ideal, axis=0, initial=np.inf)
        width = np.max(pool.ideal, axis=0, initial=-np.inf) - least
        width = np.where(width > 0, width, 1.0)
        while len(pool):
            # the best on balance first: what they are found to reach dismisses most of the others
            order = np.argsort(np.sum((pool.ideal - least) / width, axis=1), kind="stable")
            archived, now, later = len(self.archive), pool.take(order[:_ROUND]), pool.take(order[_ROUND:])
            lone = (now.low == now.high) & (now.first == now.last)
            lone &= self._decided(now) | (now.fewest == now.most)
            final = lone & ((now.batch > 0) | (Measure.MEMORY not in self.measures))
            leaves = now.take(final)
            for i in range(min(len(leaves), _LEAVES)):
                if not self.archive.dominates(leaves.ideal[i : i + 1], archived)[0]:
                    self._leaf(leaves, i)
                done += 1
            pool = _Boxes.joined([later, leaves.take(slice(_LEAVES, None))])
            pool = pool.take(~self.archive.dominates(pool.ideal, archived))
            split = self._bounded(
                _Boxes.joined([self._of_batches(now.take(lone & ~final)), self._halves(now.take(~lone))])
            )
            pool = _Boxes.joined([pool, split])
            if self.progress is not None:
                self.progress("frontier", done, done + len(pool))
        return self._points_found()

    def _of_batches(self, boxes: _Boxes) -> _Boxes:
        """Boxes of one micro-batch, one for each batch."""
        pp = self.rows.pp[boxes.row]
        row = np.repeat(np.arange(len(boxes)), pp)
        below = np.arange(len(row)) - np.repeat(np.cumsum(pp) - pp, pp)
        return replace(boxes.take(row), batch=(pp * boxes.low)[row] - below)

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
        return self.meshes.shape(int(self.rows.mesh[row]), int(self.rows.pp[row]))

    def _leaf(self, boxes: _Boxes, i: int) -> None:
        """Every way to cut, the replicas that matter, and the batch, or every batch of the micro-batch."""
        shape, chunk = self._shape(int(boxes.row[i])), int(self.search.chunks[boxes.first[i]]) or None
        counts = self.search.replicas_of(shape)
        if not counts:
            return
        pp, micro = shape.pp, int(boxes.low[i])
        allowed = self.problem.search.batch
        only = int(boxes.batch[i])
        span = (only,) if only else range(pp * micro, pp * (micro - 1), -1)
        batches = [b for b in span if (b <= largest_batch(self.problem) if allowed is None else b in allowed)]
        if self.wants_fewer and self.wants_more:
            tried = tuple(r for r in counts if boxes.fewest[i] <= r <= boxes.most[i])
        else:
            tried = counts if self.wants_fewer else counts[-1:]
        ideal = boxes.ideal[i] if only and len(tried) == 1 else None
        for batch in batches:
            widest = self._front(shape, chunk, counts[-1], batch, ideal)
            if not widest:
                continue
            first = 0
            if len(tried) > 1:
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
        self, shape: Shape, chunk: int | None, replicas: int, batch: int, ideal: Floats | None = None
    ) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Non-dominated cuts in what the objectives measure.

        Parameters
        ----------
        ideal
            What nothing beats; where it is given, cuts of vectors that something found dominates may be missing.
        """
        points = self._at(shape, chunk, replicas)
        limited = points.limited_tracks(batch, points.need)
        if limited is None:
            return []
        measured = [limited.mean]
        # with nothing but tokens to decode the two are one
        apart = Measure.CYCLE in self.measures and self.problem.workload.mixes
        if apart:
            measured.append(limited.cycle)
        if Measure.FIRST in self.measures and limited.first is not None and self.problem.workload.decodes:
            measured.append(limited.first)
        if Measure.MEMORY in self.measures:
            measured.append(limited.memory)
        others = [t for t in limited.all() if not any(t is m for m in measured)]
        tracks = [*measured, *others]
        if ideal is None:
            return cut_front(tracks, len(measured), shape.pp)
        work = self.problem.workload
        pieces = steps_of(work, -(-batch // shape.pp), chunk, shape.pp).pieces
        ended = batch / shape.pp / (shape.tp * shape.cp) / float(work.cycles_of_request(pieces, shape.pp))

        def worth(costs: tuple[int, ...]) -> bool:
            """Whether nothing found dominates what stages of such costs can reach."""
            mean, row = shape.pp * costs[0] / limited.scale / TICKS_PER_SECOND, ideal.copy()
            for column, view in enumerate(self.views):
                match view.scale.measure:
                    case Measure.CYCLE if not apart:
                        level = mean
                    case Measure.CYCLE if len(costs) > 1:
                        level = shape.pp * costs[1] / limited.cycle_scale / TICKS_PER_SECOND
                    case Measure.DEVICE_REQUESTS:
                        level = ended / mean
                    case Measure.REQUESTS:
                        level = ended / mean * shape.devices * replicas
                    case Measure.MEMORY if len(costs) == len(measured):
                        level = float(costs[-1])
                    case _:
                        continue
                value = view.scale.floats(level)
                row[column] = -value if view.objective_row.maximised else value
            return not self.archive.dominates(row[None])[0]

        return cut_front(tracks, len(measured), shape.pp, worth)

    def _free(self, shape: Shape, chunk: int | None, batch: int) -> list[tuple[int, ...]] | None:
        """The front that no smaller batch of the micro-batch improves: without memory and with any rate served."""
        if shape.pp == 1:
            front = self._front(shape, chunk, self.search.replicas_of(shape)[-1], batch)
            return [v for v, _ in front]
        points = self._at(shape, chunk, self.search.replicas_of(shape)[-1])
        work = self.problem.workload
        if (work.looped and Measure.FIRST in self.measures) or (work.mixes and Measure.CYCLE in self.measures):
            # each sequence less shortens the wait, and leaves the others fewer prompts to meet
            return None
        micro = -(-batch // shape.pp)
        limited = points.limited_tracks(shape.pp * (micro - 1) + 1 if work.looped else batch)
        if limited is None:
            return None
        others = [] if limited.first is None else [limited.first]
        wanted = 2 if others and Measure.FIRST in self.measures and work.decodes else 1
        return [v for v, _ in cut_front([limited.mean, *others], wanted, shape.pp)]

    # boxes

    def _seed(self) -> None:
        """The best layout of each objective, and what the searches decided on the way."""
        for view in self.views:
            if view.objective_row.unrated(view.workload) is not None:
                continue
            search = Search(view, progress=self.progress)
            search.run()
            for scored in search.decided():
                layout = scored.layout
                self._add(layout.shape, layout.prefill_chunk, layout.replicas, scored.point)

    def _start(self, mesh_pairs: Meshes) -> _Boxes | None:
        """Octaves of micro-batches of every mesh pair and pp, as far as limits hold; None where no depth fits."""
        axes = self.search.axes
        depth = np.array(axes.pp, dtype=np.int64)
        mesh, pp = (a.ravel() for a in np.meshgrid(np.arange(len(mesh_pairs)), depth, indexing="ij"))
        sizes = tuple(t.size for t in self.problem.hardware.tiers)
        most = replicas_that_fit(sizes, self.problem.devices, mesh_pairs.stage[mesh] * pp)
        keep = most > 0
        mesh, pp = mesh[keep], pp[keep]
        self.meshes, every = mesh_pairs.take(mesh), np.zeros_like(mesh)
        self.pricer = Pricer(self.problem, self.meshes, self.meshes.stage * pp)
        self.rows = Rows(np.arange(len(mesh)), pp, every, every)
        most, alive = most[keep], np.arange(int(np.count_nonzero(keep)))
        low, parts = 1, []
        while len(alive) and low <= largest_batch(self.problem):
            ones, ideal = np.ones(len(alive), dtype=np.int64), np.zeros((len(alive), len(self.views)))
            last = ones * (len(self.search.chunks) - 1)
            boxes = _Boxes(alive, ones * low, ones * (2 * low - 1), ones, most[alive], ones * 0, last, ones * 0, ideal)
            bounded = self._bounded(boxes)
            self._sample(bounded)
            parts.append(bounded.take(~self.archive.dominates(bounded.ideal)))
            alive, low = alive[self._holding], 2 * low
        return _Boxes.joined(parts) if parts else None

    def _bounded(self, boxes: _Boxes) -> _Boxes:
        """Boxes that nothing found dominates, less what limits exclude; and which keep the limits at their low end."""
        if not len(boxes):
            return boxes
        parts, holding = [], []
        for start in range(0, len(boxes), _BLOCK):
            part = boxes.take(np.arange(start, min(start + _BLOCK, len(boxes))))
            for cut in (False, True):
                part, holds = self._ideal(part, cut=cut)
                if not cut:
                    holding.append(holds)
                alive = holds & (part.fewest <= part.most)
                alive[alive] = ~self.archive.dominates(part.ideal[alive])
                part = part.take(alive)
            parts.append(part)
        self._holding = np.concatenate(holding)
        return _Boxes.joined(parts)

    def _ideal(self, boxes: _Boxes, *, cut: bool) -> tuple[_Boxes, NDArray[np.bool_]]:
        """Boxes with what nothing in them beats, less what cannot serve; and whether their low ends keep the limits.

        Parameters
        ----------
        cut
            As `Bounds`.
        """
        chunks = self.search.chunks
        rows = replace(self.rows.take(boxes.row), least=chunks[boxes.first], most=chunks[boxes.last])
        bounds = Bounds(self.pricer, rows, self.search.axes.pp[-1], cut=cut)
        low, limit = boxes.low.astype(float), target(self.problem, None)
        at_low, memory = bounds.stack(low, (None, *limit.first)), bounds.memory(low, boxes.batch)
        holds = bounds.within(low, limit, at_low, memory)
        high = np.maximum(np.minimum(boxes.high, bounds.most_in_memory(limit)), low)
        at_high = at_low if np.array_equal(low, high) else bounds.stack(high, ())
        requests = bounds.requests(high, at_high.turn) * np.where(boxes.batch > 0, boxes.batch / (rows.pp * low), 1.0)
        replica = (self.meshes.stage[rows.mesh] * rows.pp).astype(float)
        fewest = boxes.fewest
        if self.rate is not None:
            needed = np.ceil(float(self.rate) / (requests * replica) * (1 - MARGIN))
            fewest = np.maximum(fewest, np.minimum(needed, 2**40).astype(np.int64))
        columns = []
        for view in self.views:
            match view.scale.measure:
                case Measure.DEVICE_REQUESTS:
                    level = requests
                case Measure.REQUESTS:
                    level = requests * replica * boxes.most
                case Measure.DEVICES:
                    level = replica * fewest
                case Measure.CYCLE:
                    level = at_low.cycle
                case Measure.FIRST:
                    if at_low.mixed is None or at_high.mixed is None:
                        raise InternalError("TTFT is an objective only where there are prompts")
                    level = at_low.firsts[None] + self._wait(bounds, at_low.mixed, at_high.mixed, high, boxes)
                case Measure.MEMORY:
                    level = memory
            column = view.scale.floats(level)
            columns.append(-column if view.objective_row.maximised else column)
        ideal = np.stack(columns, axis=1)
        part = replace(boxes, high=high.astype(np.int64), fewest=fewest, ideal=ideal)
        return part, holds & np.all(np.isfinite(ideal), axis=1)

    def _wait(self, bounds: Bounds, mixed: Floats, late: Floats, high: Floats, boxes: _Boxes) -> Floats:
        """Least wait of the queue; infinite where prompts arrive faster than they are computed."""
        rate = self.problem.workload.queued_rate
        if rate is None:
            return np.zeros_like(mixed)
        step, together = (mixed, bounds.packed) if self.problem.workload.decodes else (late / high, 1)
        service = bounds.pieces * step / (bounds.pp * together)
        load = float(rate) / (boxes.most * bounds.meshes.dp) * service * (1 - MARGIN)
        return np.where(load < 1, load * service / (2 * (1 - np.minimum(load, 1 - 1e-12))), np.inf) * (1 - MARGIN)

    def _sample(self, boxes: _Boxes) -> None:
        """Price the best corners of boxes spread over the ideal frontier."""
        ideal = boxes.ideal
        if not len(boxes):
            return
        chosen: set[int] = set()
        for column in range(ideal.shape[1]):
            order = np.lexsort((*(ideal[:, c] for c in range(ideal.shape[1]) if c != column), ideal[:, column]))
            best = np.inf
            front = []
            next_column = ideal[:, (column + 1) % ideal.shape[1]]
            for i in order:
                if next_column[i] < best:
                    best = next_column[i]
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

    def _halves(self, boxes: _Boxes) -> _Boxes:
        """Each box in two, by its widest interval."""
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
        joined = _Boxes.joined([left, right])
        return joined.take((joined.low <= joined.high) & (joined.fewest <= joined.most) & (joined.first <= joined.last))
