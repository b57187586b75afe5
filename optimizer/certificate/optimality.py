"""Proof that no layout meets a goal, so that none beats a claimed value or none fits: the lattice, piece by piece."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import isqrt

from optimizer.certificate.aims import Aims
from optimizer.certificate.decision import Decision
from optimizer.certificate.goals import Goal, goal, on_fewer_devices
from optimizer.certificate.meshes import MeshCount
from optimizer.certificate.reach import Reach
from optimizer.certificate.relaxed import relaxed, relaxed_between, shape_at
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import CostBook
from optimizer.figures.memory import MemoryBook
from optimizer.figures.rates import effective_rates
from optimizer.figures.skew import Skews
from optimizer.figures.topology import replicas_that_fit


@dataclass(frozen=True)
class Met:
    """A layout that should not exist: it meets a goal."""

    goal: Goal
    layout: Layout


@dataclass
class Proof:
    """How the lattice was dismissed; `counterexample` is a layout that should not exist.

    Attributes
    ----------
    dismissed
        Points of the lattice (mesh pair × pp × chunk) by argument: `attention_mesh` (the relaxation over every expert
        mesh and pp, of one cp or of many), `mesh_pair` (over every pp), `layout` (one pp), `exact` (batch, cuts and
        replicas decided).
    """

    dismissed: Counter[str] = field(default_factory=Counter)
    counterexample: Met | None = None


def prove(
    problem: Problem,
    lattice: MeshCount,
    value: Fraction | None,
    listed: Mapping[Shape, Fraction] | None = None,
    skews: Skews | None = None,
    tied: tuple[Fraction, int] | None = None,
    beyond: int = 0,
) -> Proof:
    """Dismiss every layout that could beat a value.

    Parameters
    ----------
    value
        Objective value that is claimed; None: that nothing fits at all.
    listed
        Degrees that may beat it, each up to a value of its own.
    skews
        Bounds on the imbalance of expert meshes that a placement's witnesses prove.
    tied
        Requests/s with the devices they take: that nothing reaches them on fewer.
    beyond
        Devices up to which one replica is known not to.
    """
    if value is not None and value <= 0 and not problem.objective_row.maximised:
        return Proof()  # devices, seconds and dollars are never negative
    ties = () if tied is None else (on_fewer_devices(problem, *tied),)
    exceptions = {shape: (goal(problem, best), *ties) for shape, best in (listed or {}).items()}
    return unmet(problem, lattice, (goal(problem, value), *ties), exceptions, skews, beyond)


def unmet(
    problem: Problem,
    lattice: MeshCount,
    goals: Sequence[Goal],
    listed: Mapping[Shape, Sequence[Goal]] | None = None,
    skews: Skews | None = None,
    beyond: int = 0,
) -> Proof:
    """Dismiss every layout that could meet one of several goals.

    Parameters
    ----------
    listed
        Degrees that have goals of their own, each at least as hard to meet as some of `goals`.
    beyond
        Devices up to which one replica is known to meet none.
    """
    return _Prover(problem, lattice, tuple(goals), listed or {}, skews, beyond).run()


_TOGETHER = 16
"""Values of cp that are bounded together where there are more."""


class _Prover:
    def __init__(
        self,
        problem: Problem,
        lattice: MeshCount,
        goals: Sequence[Goal],
        listed: Mapping[Shape, Sequence[Goal]],
        skews: Skews | None,
        beyond: int,
    ) -> None:
        self.problem, self.lattice, self.aims, self.listed = problem, lattice, Aims.of(goals), listed
        self.beyond = beyond
        self.costs = CostBook(problem, effective_rates(problem.priced_hardware), skews)
        self.memory = MemoryBook(problem)
        self.sizes = tuple(t.size for t in problem.hardware.tiers)
        self.proof = Proof()

    def run(self) -> Proof:
        """Every tp, cp, expert mesh over them and depth, until all is dismissed or something meets a goal."""
        axes, dismissed = self.lattice.axes, self.proof.dismissed
        for tp in axes.tp if axes.pp and axes.chunks else ():
            fits = bisect_right(axes.cp, self.problem.devices // tp if tp in self.lattice.divided else 1)
            if fits and self._attention(tp, axes.cp[:fits]):
                return self.proof
        points = self.lattice.count * len(axes.pp) * len(axes.chunks)
        dismissed["attention_mesh"] = points - dismissed.total()
        return self.proof

    def _attention(self, tp: int, values: Sequence[int]) -> bool:
        """One tp and several cp: bounded together, by halves where that does not dismiss them; each left is decided."""
        axes, first, last = self.lattice.axes, values[0], values[-1]
        everywhere = dict.fromkeys(axes.chunks, self.aims)
        if len(values) > 1:
            if first > 1 and len(values) > _TOGETHER:
                loose = relaxed_between(self.problem, tp, first, last, axes.pp, self.costs, self.memory)
                if not self._left(Reach(self.problem, *loose, tp, first, None, axes.pp[-1]), everywhere):
                    return False
            half = bisect_right(values, max(first, min(isqrt(first * last), values[-2])))
            return self._attention(tp, values[:half]) or self._attention(tp, values[half:])
        loose = relaxed(self.problem, tp, first, axes.pp, self.costs, self.memory)
        chunks = self._left(Reach(self.problem, *loose, tp, first, None, axes.pp[-1]), everywhere)
        for mesh in self.lattice.expert_meshes(tp, first) if chunks else ():
            flat = shape_at(tp, first, mesh, 1)
            depths = axes.pp[bisect_right(axes.pp, self.beyond // flat.stage_devices) :]
            if not depths:
                continue
            costs = self.costs.least(flat, depths)
            reach = Reach(self.problem, costs, self.memory.memory(flat), tp, first, None, depths[-1])
            left = self._left(reach, chunks, depths[0] * flat.stage_devices)
            self.proof.dismissed["mesh_pair"] += len(depths) * (len(chunks) - len(left))
            for pp in depths if left else ():
                self.proof.counterexample = self._depth(shape_at(tp, first, mesh, pp), left)
                if self.proof.counterexample is not None:
                    return True
        return False

    def _left(self, reach: Reach, goals_at: _Asked, devices: int = 1, fitting: int | None = None) -> _Asked:
        """Chunks at which the degrees are not dismissed, each with the goals that they may meet.

        Intervals of chunks are dismissed at once, or halved.

        Parameters
        ----------
        devices, fitting
            Devices that the degrees take at least, and at most (None: those there are).
        """
        remaining: dict[int | None, Aims] = {}
        chunks = list(goals_at)

        def most(aim: Goal) -> int:
            return min(fitting or self.problem.devices, aim.devices) if devices <= aim.devices else 0

        def halve(first: int, stop: int, aims: Aims) -> None:
            least, last = chunks[first], chunks[stop - 1]
            if least is None or last is None or stop - first == 1:
                possible = goals_at[least].kept(lambda aim: reach.possible(aim, least, most(aim)))
                if possible is not None:
                    remaining[least] = possible
                return
            possible_some = aims.kept(lambda aim: reach.possible_between(aim, least, last, most(aim)))
            if possible_some is not None:
                middle = (first + stop) // 2
                halve(first, middle, possible_some)
                halve(middle, stop, possible_some)

        if chunks:
            halve(0, len(chunks), self.aims)
        return remaining

    def _depth(self, shape: Shape, goals_at: _Asked) -> Met | None:
        """One mesh pair at one pp: bounded, and where the bound does not dismiss it, decided exactly."""
        fitting = replicas_that_fit(self.sizes, self.problem.devices, shape.devices) * shape.devices
        if fitting == 0:
            self.proof.dismissed["layout"] += len(goals_at)
            return None
        costs, memory = self.costs.of(shape), self.memory.memory(shape)
        reach = Reach(self.problem, costs, memory, shape.tp, shape.cp, shape.pp, shape.pp)
        left = self._left(reach, goals_at, shape.devices, fitting)
        self.proof.dismissed["layout"] += len(goals_at) - len(left)
        for chunk, aims in left.items():
            goals = Aims.of(self.listed[shape]) if shape in self.listed else aims
            met = Decision(self.problem, shape, chunk, costs, memory).found(goals)
            self.proof.dismissed["exact"] += 1
            if met is not None:
                return Met(*met)
        return None


_Asked = Mapping[int | None, Aims]
"""Chunks, each with goals."""
