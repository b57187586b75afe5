"""Finds the best layouts: bounds on all mesh pairs in floats, the exact reference on what they cannot dismiss.

Sieves, each a question of `Bounds.reachable`: attention meshes where there are many, mesh pairs with pp and chunk open,
the same with intervals of chunks, with each pp, and with intervals halved down to one chunk; then best bound first the
exact best of fixed degrees. An incumbent from a coarse part of the lattice makes the sieves fine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimizer.domain.families import Family
from optimizer.domain.lattice import Axes, axes, holds
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import CostBook, Costs
from optimizer.figures.memory import Memory, MemoryBook
from optimizer.figures.objective import Scored, allowed_replicas, best_layout, key
from optimizer.figures.rates import effective_rates
from optimizer.figures.room import most_tokens
from optimizer.figures.skew import Skews
from optimizer.search.attention import AttentionPricer
from optimizer.search.bounds import Bounds
from optimizer.search.lattice import Floats, Ints, Lattice, Meshes, replicas_that_fit
from optimizer.search.pricing import MARGIN, Pricer
from optimizer.search.rows import Rows, coarse_meshes, halved, open_rows, with_depths
from optimizer.search.targets import Target, target

_BLOCK = 1 << 15
"""Rows that are priced together: small enough to stay in cache."""

_HALVINGS_WITH_PP_OPEN = 3
"""How often the chunks are halved before rows take a pp each."""

_MESHES = 1 << 17
"""Mesh pairs that are priced together: what they take stays within some hundred megabytes."""

_WIDE = 1 << 20
"""Values of all mesh axes together above which attention meshes are sieved before mesh pairs are listed."""

_LAST_ROWS = 1 << 16
"""Rows that are bounded after the time has passed: a second's work."""


class _LateError(Exception):
    """The deadline has passed."""


Progress = Callable[[str, int, int], None]
"""Called with a phase's name, what is done, and what there is to do."""


@dataclass
class Tally:
    """What became of the lattice.

    Attributes
    ----------
    points
        Mesh pairs × pp × chunks that the axes span.
    excluded
        Those that a structural family excluded.
    dismissed
        Those that a bound dismissed with pp open, and with pp given.
    priced
        Rows priced in floats (a row counts once for each batch it was priced at).
    exact
        Degrees decided by the reference.
    """

    points: int = 0
    excluded: dict[Family, int] = field(default_factory=dict)
    dismissed: int = 0
    priced: int = 0
    exact: int = 0


@dataclass
class Found:
    """Layouts found, best first; `complete` tells whether everything else was dismissed."""

    best: list[Scored]
    complete: bool
    bound: float | None
    tally: Tally


class Search:
    """One search over a problem's lattice.

    Parameters
    ----------
    problem
        What is solved.
    wanted
        How many layouts, distinct in their degrees, to find.
    deadline
        `time.monotonic()` at which to stop with what there is; None: none.
    progress
        Called with a phase's name, what is done and what there is.
    skews
        Imbalance of expert meshes, where a placement gave it.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        wanted: int = 1,
        deadline: float | None = None,
        progress: Progress | None = None,
        skews: Skews | None = None,
    ) -> None:
        self.skews = skews or Skews(problem)
        self.problem, self.wanted, self.deadline, self.progress = problem, wanted, deadline, progress
        self.costs = CostBook(problem, effective_rates(problem.priced_hardware), self.skews)
        self.memory = MemoryBook(problem)
        self.axes: Axes = axes(problem)
        self.chunks: Ints = np.array([c or 0 for c in self.axes.chunks], dtype=np.int64)
        self.tally = Tally()
        self.sizes = tuple(t.size for t in problem.hardware.tiers)
        self._exact: dict[tuple[Shape, int | None], Scored | None] = {}
        self._coefficients: dict[Shape, tuple[Costs, Memory]] = {}
        self._counts: dict[Shape, tuple[int, ...]] = {}
        self.best: dict[Shape, Scored] = {}
        self._coarse: tuple[Pricer, Rows, Floats] | None = None
        self._lattice = Lattice(problem, self.axes)
        self._left: tuple[Pricer, Rows] | None = None
        self.mesh_pairs = 0
        self.excluded_meshes: dict[Family, int] = {}

    def run(self) -> Found:
        """Search until all is decided or the deadline passes."""
        axes = self.axes
        per_pair = len(axes.pp) * len(axes.chunks)
        wanted, wide = None, len(self._lattice) > _WIDE
        if per_pair:
            self._warm_up()
            wanted = self._around() if wide else None
        listed = self._listed_over(wanted)
        if not self.mesh_pairs or not per_pair:
            return Found([], complete=True, bound=None, tally=self.tally)
        self._left = None
        try:
            complete, bound = self._layouts(listed)
        except _LateError:
            complete, bound = self._stopped(wanted)
        return Found(self._ranked(), complete, bound, self.tally)

    def stopped(self) -> Found:
        """What there is when the user stops the search, with a bound on what is left."""
        self.deadline = time.monotonic()
        return self.run()

    def _listed_over(self, wanted: NDArray[np.bool_] | None) -> Meshes:
        """Mesh pairs over some attention meshes (None: all), all of them counted; none where it is late."""
        nothing = np.zeros(len(self._lattice.attention), dtype=bool)
        late = wanted is not None and self._late()
        if late and self.mesh_pairs:
            return self._attention.meshes.take(nothing)
        listed = self._lattice.listed(nothing if late else wanted)
        self.mesh_pairs, self.excluded_meshes = listed.count, listed.excluded
        per_pair = len(self.axes.pp) * len(self.axes.chunks)
        self.tally.excluded = {family: count * per_pair for family, count in listed.excluded.items()}
        self.tally.points = (listed.count + sum(listed.excluded.values())) * per_pair
        return listed.meshes

    def _layouts(self, meshes: Meshes) -> tuple[bool, float | None]:
        """Sieve mesh pairs down to layouts, and decide these."""
        if len(meshes) > _MESHES:
            kept = []
            for start in range(0, len(meshes), _MESHES):
                self._in_time()
                part = meshes.take(slice(start, start + _MESHES))
                open_ = Pricer(self.problem, part, skews=self.skews)
                kept.append(self._sieve(open_, open_rows(part, self.chunks), "mesh pairs").mesh + start)
            meshes = meshes.take(np.concatenate(kept))
        self._in_time()
        pricer = Pricer(self.problem, meshes, skews=self.skews)
        rows = self._left_of(pricer, open_rows(meshes, self.chunks), "mesh pairs")
        for _ in range(_HALVINGS_WITH_PP_OPEN):
            rows = self._left_of(pricer, halved(rows, self.chunks), "mesh pairs")
        rows = self._left_of(pricer, with_depths(self.problem, meshes, rows, self.axes.pp), "layouts")
        pricer, rows = self._at_depth(meshes, rows)
        rows = self._left_of(pricer, rows, "layouts")
        while np.any(rows.least != rows.most):
            rows = self._left_of(pricer, halved(rows, self.chunks), "layouts")
        return self._decide(pricer, rows)

    def _left_of(self, pricer: Pricer, rows: Rows, phase: str) -> Rows:
        """Rows, all that matter among them, that `reachable` does not dismiss."""
        rows = self._sieve(pricer, rows, phase)
        self._left = pricer, rows
        return rows

    def _around(self) -> NDArray[np.bool_]:
        """Attention meshes over which some expert mesh may matter; late, those that one look does not dismiss."""
        pricer = self._attention
        rows = self._sieve(pricer, open_rows(pricer.meshes, self.chunks), "attention meshes", timed=False)
        for _ in range(_HALVINGS_WITH_PP_OPEN):
            rows = self._sieve(pricer, halved(rows, self.chunks), "attention meshes", timed=False)
        wanted = np.zeros(len(pricer.meshes), dtype=bool)
        wanted[rows.mesh] = True
        return wanted

    @cached_property
    def _attention(self) -> AttentionPricer:
        return AttentionPricer(self.problem, self._lattice.attention, self.skews)

    def _stopped(self, wanted: NDArray[np.bool_] | None) -> tuple[bool, float | None]:
        """Whether nothing is left that matters, and what bounds it: where many rows are left, attention meshes."""
        if self._left is not None and len(self._left[1]) <= _LAST_ROWS:
            pricer, rows = self._left
        else:
            pricer, rows = self._attention, open_rows(self._attention.meshes, self.chunks)
            rows = rows if wanted is None else rows.take(wanted)
        if len(rows) > _LAST_ROWS and not self.best:
            return False, None
        bound = np.max(self._bound_values(pricer, rows, self._target()), initial=-np.inf)
        return (True, None) if self._beaten(bound) else (False, float(bound))

    def lattice_json(self) -> dict[str, Any]:
        """Axes, mesh pairs left and excluded, and points: equal to what the checker counts by itself."""
        axes = self.axes
        excluded = {family.value: count for family, count in self.excluded_meshes.items()}
        return {
            "axes": axes.to_json(),
            "holds": holds(self.problem),
            "mesh_pairs": self.mesh_pairs,
            "excluded": dict(sorted(excluded.items())),
            "points": (self.mesh_pairs + sum(excluded.values())) * len(axes.pp) * len(axes.chunks),
        }

    def _ranked(self) -> list[Scored]:
        return sorted(self.best.values(), key=lambda s: key(self.problem, s))[: self.wanted]

    def decided(self) -> list[Scored]:
        """The best layout of each set of degrees that the reference decided."""
        return list(self.best.values())

    # sieves

    def _last(self) -> Scored | None:
        """The last one wanted, where there are so many."""
        if len(self.best) < self.wanted:
            return None
        return sorted(self.best.values(), key=lambda s: key(self.problem, s))[self.wanted - 1]

    def _incumbent(self) -> Fraction | None:
        """The value that a layout must reach to matter: that of the last one wanted."""
        last = self._last()
        return None if last is None else last.value

    def _target(self) -> Target:
        last = self._last()
        goal = target(self.problem, None if last is None else last.value)
        if last is None or goal.context < most_tokens(self.problem):
            return goal
        # nothing holds more tokens: what does not serve as many requests comes after
        return replace(goal, total_requests=max(goal.total_requests, self._requests_of(last)))

    def _requests_of(self, scored: Scored) -> float:
        return float(scored.throughput / self.problem.workload.tokens_of_request)

    def _tie(self, requests: Floats) -> Floats:
        """Requests/s as a share of one token: of layouts that hold as many, the one that serves more comes first."""
        return requests / (requests + 1.0)

    def _late(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def _in_time(self) -> None:
        if self._late():
            raise _LateError

    def _at_depth(self, meshes: Meshes, rows: Rows) -> tuple[Pricer, Rows]:
        """Mesh pairs priced each with the links that its rows' replicas span; rows have a pp each."""
        pairs, index = np.unique(np.stack([rows.mesh, rows.pp]), axis=1, return_inverse=True)
        deep = meshes.take(pairs[0])
        pricer = Pricer(self.problem, deep, deep.stage * pairs[1], skews=self.skews)
        return pricer, replace(rows, mesh=index.reshape(-1))

    def _most_devices(self, meshes: Meshes, rows: Rows, goal: Target) -> Floats:
        replica = meshes.stage[rows.mesh] * np.maximum(rows.pp, 1)
        most = replicas_that_fit(self.sizes, self.problem.devices, replica) * replica
        most = np.where(rows.pp == 0, self.problem.devices, most)
        return np.where(replica <= goal.devices, np.minimum(most, goal.devices), 0).astype(float)

    def _sieve(self, pricer: Pricer, rows: Rows, phase: str, *, timed: bool = True) -> Rows:
        """Rows that `reachable` does not dismiss.

        Parameters
        ----------
        timed
            Whether to stop once it is late.
        """
        goal = self._target()
        kept: list[Ints] = []
        total = len(rows.mesh)
        for start in range(0, total, _BLOCK):
            if timed:
                self._in_time()
            stop = min(start + _BLOCK, total)
            part = rows.take(slice(start, stop))
            devices = self._most_devices(pricer.meshes, part, goal)
            bounds = Bounds(pricer, part, self.axes.pp[-1])
            mask = bounds.reachable(goal, devices) & (devices > 0)
            kept.append(np.flatnonzero(mask) + start)
            self.tally.priced += stop - start
            if self.progress is not None:
                self.progress(phase, stop, total)
        chosen = np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)
        self.tally.dismissed += total - len(chosen)
        return rows.take(chosen)

    # exact

    def _warm_up(self) -> None:
        """Incumbents from a coarse part of the lattice, and their best bounds."""
        meshes = coarse_meshes(self.problem, self.axes)
        index = np.arange(len(meshes))
        octaves = np.searchsorted(self.chunks, [1 << n for n in range(int(self.chunks[-1]).bit_length())], side="right")
        chunks = self.chunks[np.unique(np.append(np.maximum(octaves - 1, 0), len(self.chunks) - 1))]
        depth = np.array([p for p in self.axes.pp if p & (p - 1) == 0] or self.axes.pp[:1], dtype=np.int64)
        mesh, pp, chunk = (a.ravel() for a in np.meshgrid(index, depth, chunks, indexing="ij"))
        fits = replicas_that_fit(self.sizes, self.problem.devices, meshes.stage[mesh] * pp) > 0
        pricer, rows = self._at_depth(meshes, Rows(mesh, pp, chunk, chunk).take(fits))
        self._coarse = (pricer, rows, self._try(pricer, rows))
        # the best degrees so far at every chunk
        best = min(self.best.values(), key=lambda s: key(self.problem, s), default=None)
        if best is not None and len(self.chunks) > len(chunks):
            shape, near = best.layout.shape, pricer.meshes.take(rows.mesh)
            alike = (near.tp == shape.tp) & (near.cp == shape.cp) & (near.etp == shape.etp) & (near.ep == shape.ep)
            alike &= (near.redundant == shape.redundant) & (near.overlap == shape.overlap) & (rows.pp == shape.pp)
            where = np.flatnonzero(alike)
            if len(where):  # a layout that was known before may have other degrees
                at = np.full_like(self.chunks, rows.mesh[where[0]])
                self._try(pricer, Rows(at, np.full_like(at, shape.pp), self.chunks, self.chunks))

    def _try(self, pricer: Pricer, rows: Rows) -> Floats:
        """The reference on the few rows with the best bounds; with no time left, until there is an answer to give.

        Returns
        -------
        Floats
            The bounds of the rows.
        """
        if not len(rows):
            return np.zeros(0)
        value = self._bound_values(pricer, rows, self._target())
        order = np.argsort(-value, kind="stable")
        for i in order[: 4 + 2 * self.wanted]:
            if np.isneginf(value[i]) or (self.best and self._late()):
                break
            self._decide_row(pricer.meshes, rows, int(i))
        return value

    def near(self, best: Scored, apart: Fraction, most: int) -> list[Scored]:
        """Other layouts on as many devices whose value is less than a share apart.

        At most `most`, best first, of the few degrees of powers of two with the best bounds: a sample, not all there
        are.
        """
        if self._coarse is None:
            return []
        pricer, rows, value = self._coarse
        scale, meshes = self.problem.scale, pricer.meshes
        last = best.value / (1 + apart) if scale.maximised else best.value * (1 + apart)
        level = float(scale.level(last))
        least = (level if scale.measure.rises else -level) - abs(level) * MARGIN
        best_degrees = (best.layout.tp, best.layout.cp, best.layout.pp, best.layout.etp, best.layout.ep)
        alternatives: list[Scored] = []
        seen, tried = {best_degrees}, 0
        for i in np.argsort(-value, kind="stable"):
            if value[i] < least or tried == 2 * most or len(alternatives) == most or self._late():
                break
            mesh = int(rows.mesh[i])
            shape = meshes.shape(mesh, int(rows.pp[i]))
            degrees = (shape.tp, shape.cp, shape.pp, shape.etp, shape.ep)
            counts = tuple(r for r in self.replicas_of(shape) if r * shape.devices == best.layout.devices)
            if degrees in seen or not counts:
                continue
            seen.add(degrees)
            tried += 1
            rival = best_layout(
                self.problem, shape, int(rows.most[i]) or None, *self._coefficients_of(shape), reach=last, counts=counts
            )
            if rival is not None and max(rival.value, best.value) <= (1 + apart) * min(rival.value, best.value):
                alternatives.append(rival)
        return sorted(alternatives, key=lambda scored: key(self.problem, scored))

    def _bound_values(self, pricer: Pricer, rows: Rows, goal: Target, *, timed: bool = False) -> Floats:
        """Optimistic objective of each row, larger is better; −inf where no batch keeps the limits."""
        parts = []
        for start in range(0, len(rows.mesh), _BLOCK):
            if timed:
                self._in_time()
            part = rows.take(slice(start, start + _BLOCK))
            parts.append(self._bound_part(pricer, part, goal))
            self.tally.priced += 20 * len(part.mesh)
        return np.concatenate(parts) if parts else np.zeros(0)

    def _bound_part(self, pricer: Pricer, part: Rows, goal: Target) -> Floats:
        bounds = Bounds(pricer, part, self.axes.pp[-1])
        devices = self._most_devices(pricer.meshes, part, goal)
        ones = np.ones(len(part.mesh))
        requests = bounds.most_requests(goal)
        feasible = (requests >= bounds.needed(goal, devices)) & (requests >= 0) & (devices > 0)
        value: Floats
        match self.problem.scale.measure:
            case Measure.DEVICES:
                # of a replica whose pp is open it is known that it takes whole stages
                stages = pricer.meshes.stage[part.mesh] * np.maximum(part.pp, 1)
                needed = goal.total_requests / np.maximum(requests, 1e-300) * (1 - MARGIN)
                value = -np.maximum(np.ceil(needed / stages), 1) * stages
            case Measure.CYCLE:
                value = -bounds.stack(ones).cycle
            case Measure.FIRST:
                aim = self.problem.scale.percentile
                value = -bounds.stack(ones, (aim,)).firsts[aim]
            case Measure.MEMORY:
                value = -bounds.memory(ones)
            case Measure.REQUESTS:
                value = requests * devices
            case Measure.DEVICE_REQUESTS:
                value = requests
            case Measure.CONTEXT:
                value = bounds.longest() + self._tie(np.maximum(requests, 0.0) * devices)
        return np.where(feasible, value, -np.inf)

    def _coefficients_of(self, shape: Shape) -> tuple[Costs, Memory]:
        if shape not in self._coefficients:
            self._coefficients[shape] = (self.costs.of(shape), self.memory.memory(shape))
        return self._coefficients[shape]

    def replicas_of(self, shape: Shape) -> tuple[int, ...]:
        """Replica counts that are allowed of a shape."""
        if shape not in self._counts:
            self._counts[shape] = allowed_replicas(self.problem, shape)
        return self._counts[shape]

    def _decide_row(self, meshes: Meshes, rows: Rows, i: int) -> Scored | None:
        shape = meshes.shape(int(rows.mesh[i]), int(rows.pp[i]))
        chunk = int(rows.most[i]) or None
        if (shape, chunk) in self._exact:
            return self._exact[shape, chunk]
        scored = best_layout(
            self.problem, shape, chunk, *self._coefficients_of(shape), reach=self._incumbent(),
            counts=self.replicas_of(shape),
        )  # fmt: skip
        self._exact[shape, chunk] = scored
        self.tally.exact += 1
        if scored is not None:
            previous = self.best.get(shape)
            if previous is None or key(self.problem, scored) < key(self.problem, previous):
                self.best[shape] = scored
        return scored

    def _value_bound(self) -> float:
        """The incumbent in the terms of `_bound_values`."""
        last = self._last()
        if last is None:
            return -np.inf
        scale = self.problem.scale
        level = scale.level(last.value)
        if scale.measure is Measure.CONTEXT:
            return float(level) + float(self._tie(np.array(self._requests_of(last))))
        if scale.measure is Measure.DEVICES:
            level = Fraction(int(level))
        return float(level if scale.measure.rises else -level)

    def _beaten(self, bound: float) -> bool:
        """Whether nothing of such a bound matters."""
        level = self._value_bound()
        return bool(np.isneginf(bound) or (np.isfinite(level) and bound < level - abs(level) * MARGIN))

    def _decide(self, pricer: Pricer, rows: Rows) -> tuple[bool, float | None]:
        """The reference on rows in the order of their bounds, until none left can matter."""
        value = self._bound_values(pricer, rows, self._target(), timed=True)
        order = np.argsort(-value, kind="stable")
        total = len(order)
        for done, i in enumerate(order):
            if self._beaten(value[i]):
                return True, None
            if self._late():
                return False, float(value[i])
            self._decide_row(pricer.meshes, rows, int(i))
            if self.progress is not None and done % 64 == 0:
                self.progress("exact", done, total)
        return True, None
