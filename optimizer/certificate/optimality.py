"""Proof that no layout meets a goal, so that none beats a claimed value or none fits: the lattice, piece by piece."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from fractions import Fraction
from math import isqrt
from typing import Generic, TypeVar

from optimizer.certificate.aims import Aims
from optimizer.certificate.decision import Decision
from optimizer.certificate.goals import Goal, goal, on_fewer_devices
from optimizer.certificate.meshes import Lattice
from optimizer.certificate.reach import Reach
from optimizer.certificate.relaxed import relaxed, relaxed_between, shape_at
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import CostBook, Costs
from optimizer.figures.memory import Memory, MemoryBook
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
    lattice: Lattice,
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
    own = {shape: (goal(problem, best), *ties) for shape, best in (listed or {}).items()}
    return unmet(problem, lattice, (goal(problem, value), *ties), own, skews, beyond)


def unmet(
    problem: Problem,
    lattice: Lattice,
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
    return _Goals(problem, lattice, tuple(goals), listed or {}, skews, beyond).run()


_TOGETHER = 16
"""Values of cp that are bounded together where there are more."""


Asked = TypeVar("Asked", bound=Sized)


class Prover(ABC, Generic[Asked]):
    """The lattice, piece by piece; `Asked` is what is asked of a piece: nothing is left of it where that is empty."""

    def __init__(self, problem: Problem, lattice: Lattice, skews: Skews | None = None, beyond: int = 0) -> None:
        self.problem, self.lattice, self.beyond = problem, lattice, beyond
        self.costs = CostBook(problem, effective_rates(problem.priced_hardware), skews)
        self.memory = MemoryBook(problem)
        self.sizes = tuple(t.size for t in problem.hardware.tiers)
        self.proof = Proof()

    @abstractmethod
    def everything(self) -> Asked:
        """What is asked of all of it."""

    @abstractmethod
    def left(self, reach: Reach, asked: Asked, devices: int = 1, fitting: int | None = None) -> Asked:
        """What bounds do not dismiss of what is asked of some degrees.

        Parameters
        ----------
        devices, fitting
            Devices that the degrees take at least, and at most (None: those there are).
        """

    @abstractmethod
    def decided(self, shape: Shape, asked: Asked, costs: Costs, memory: Memory) -> Met | None:
        """A layout of a shape that should not exist."""

    @staticmethod
    def chunks(asked: Asked) -> int:
        """Chunks of which something is asked."""
        return len(asked)

    def run(self) -> Proof:
        """Every tp, cp, expert mesh over them and depth, until all is dismissed or something meets a goal."""
        own, dismissed = self.lattice.axes, self.proof.dismissed
        for tp in own.tp if own.pp and own.chunks else ():
            fits = bisect_right(own.cp, self.problem.devices // tp if tp in self.lattice.divided else 1)
            if fits and self._attention(tp, own.cp[:fits], self.everything()):
                return self.proof
        points = self.lattice.count * len(own.pp) * len(own.chunks)
        dismissed["attention_mesh"] = points - dismissed.total()
        return self.proof

    def _attention(self, tp: int, values: Sequence[int], asked: Asked) -> bool:
        """One tp and several cp: bounded together, by halves where that does not dismiss them; each left is decided."""
        own, first, last = self.lattice.axes, values[0], values[-1]
        if len(values) > 1:
            if first > 1 and len(values) > _TOGETHER:
                loose = relaxed_between(self.problem, tp, first, last, own.pp, self.costs, self.memory)
                asked = self.left(Reach(self.problem, *loose, tp, first, None, own.pp[-1]), asked)
                if not asked:
                    return False
            half = bisect_right(values, max(first, min(isqrt(first * last), values[-2])))
            return self._attention(tp, values[:half], asked) or self._attention(tp, values[half:], asked)
        loose = relaxed(self.problem, tp, first, own.pp, self.costs, self.memory)
        chunks = self.left(Reach(self.problem, *loose, tp, first, None, own.pp[-1]), asked)
        for mesh in self.lattice.expert_meshes(tp, first) if chunks else ():
            flat = shape_at(tp, first, mesh, 1)
            depths = own.pp[bisect_right(own.pp, self.beyond // flat.stage_devices) :]
            if not depths:
                continue
            costs = self.costs.least(flat, depths)
            reach = Reach(self.problem, costs, self.memory.memory(flat), tp, first, None, depths[-1])
            left = self.left(reach, chunks, depths[0] * flat.stage_devices)
            self.proof.dismissed["mesh_pair"] += len(depths) * (self.chunks(chunks) - self.chunks(left))
            for pp in depths if left else ():
                self.proof.counterexample = self._depth(shape_at(tp, first, mesh, pp), left)
                if self.proof.counterexample is not None:
                    return True
        return False

    def _depth(self, shape: Shape, asked: Asked) -> Met | None:
        """One mesh pair at one pp: bounded, and where the bound does not dismiss it, decided exactly."""
        fitting = replicas_that_fit(self.sizes, self.problem.devices, shape.devices) * shape.devices
        if fitting == 0:
            self.proof.dismissed["layout"] += self.chunks(asked)
            return None
        costs, memory = self.costs.of(shape), self.memory.memory(shape)
        reach = Reach(self.problem, costs, memory, shape.tp, shape.cp, shape.pp, shape.pp)
        left = self.left(reach, asked, shape.devices, fitting)
        self.proof.dismissed["layout"] += self.chunks(asked) - self.chunks(left)
        return self.decided(shape, left, costs, memory) if left else None


_Chunks = Mapping[int | None, Aims]
"""Chunks, each with goals."""


class _Goals(Prover[_Chunks]):
    """That no layout meets one of several goals."""

    def __init__(
        self,
        problem: Problem,
        lattice: Lattice,
        goals: Sequence[Goal],
        listed: Mapping[Shape, Sequence[Goal]],
        skews: Skews | None,
        beyond: int,
    ) -> None:
        super().__init__(problem, lattice, skews, beyond)
        self.aims, self.listed = Aims.of(goals), listed

    def everything(self) -> _Chunks:
        return dict.fromkeys(self.lattice.axes.chunks, self.aims)

    def left(self, reach: Reach, asked: _Chunks, devices: int = 1, fitting: int | None = None) -> _Chunks:
        """Chunks with the goals that the degrees may meet at each; intervals are dismissed at once, or halved."""
        found: dict[int | None, Aims] = {}
        chunks = list(asked)

        def most(aim: Goal) -> int:
            return min(fitting or self.problem.devices, aim.devices) if devices <= aim.devices else 0

        def halve(first: int, stop: int, aims: Aims) -> None:
            least, last = chunks[first], chunks[stop - 1]
            if least is None or last is None or stop - first == 1:
                left = asked[least].kept(lambda aim: reach.possible(aim, least, most(aim)))
                if left is not None:
                    found[least] = left
                return
            some = aims.kept(lambda aim: reach.possible_between(aim, least, last, most(aim)))
            if some is not None:
                middle = (first + stop) // 2
                halve(first, middle, some)
                halve(middle, stop, some)

        if chunks:
            halve(0, len(chunks), self.aims)
        return found

    def decided(self, shape: Shape, asked: _Chunks, costs: Costs, memory: Memory) -> Met | None:
        for chunk, aims in asked.items():
            own = Aims.of(self.listed[shape]) if shape in self.listed else aims
            found = Decision(self.problem, shape, chunk, costs, memory).found(own)
            self.proof.dismissed["exact"] += 1
            if found is not None:
                return Met(*found)
        return None
