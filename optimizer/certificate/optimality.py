"""Proof that no layout beats a claimed objective value, or that none fits: the lattice, dismissed piece by piece."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from optimizer.certificate.goals import Reach, goal, relaxed, shape_at
from optimizer.certificate.meshes import Lattice
from optimizer.domain.problem import Problem
from optimizer.figures.costs import CostBook
from optimizer.figures.memory import MemoryBook
from optimizer.figures.objective import MAXIMISED, Scored, best_layout, better
from optimizer.figures.rates import effective_rates
from optimizer.figures.shape import Shape
from optimizer.figures.skew import Skews
from optimizer.figures.topology import replicas_that_fit


@dataclass
class Proof:
    """How the lattice was dismissed; `counterexample` is a layout that should not exist.

    Attributes
    ----------
    dismissed
        Points of the lattice (mesh pair × pp × chunk) by argument: `attention_mesh` (the relaxation over every expert
        mesh and pp), `mesh_pair` (over every pp), `layout` (one pp), `exact` (best batch, cuts and replicas compared).
    """

    dismissed: Counter[str] = field(default_factory=Counter)
    counterexample: Scored | None = None


def prove(
    problem: Problem,
    lattice: Lattice,
    value: Fraction | None,
    listed: Mapping[Shape, Fraction] | None = None,
    skews: Skews | None = None,
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
    """
    if value is not None and value <= 0 and problem.objective not in MAXIMISED:
        return Proof()  # devices, seconds and dollars are never negative
    return _Prover(problem, lattice, value, listed or {}, skews).run()


class _Prover:
    def __init__(
        self,
        problem: Problem,
        lattice: Lattice,
        value: Fraction | None,
        listed: Mapping[Shape, Fraction],
        skews: Skews | None,
    ) -> None:
        self.problem, self.lattice, self.value, self.listed = problem, lattice, value, listed
        self.aim = goal(problem, value)
        self.costs = CostBook(problem, effective_rates(problem.priced_hardware), skews)
        self.memory = MemoryBook(problem)
        self.sizes = tuple(t.size for t in problem.hardware.tiers)
        self.proof = Proof()

    def run(self) -> Proof:
        """Every attention mesh, expert mesh over it and depth, until all is dismissed or something is better."""
        own, dismissed = self.lattice.axes, self.proof.dismissed
        most = min(self.problem.devices, self.aim.devices)
        for (tp, cp), expert_meshes in sorted(self.lattice.meshes.items()) if own.pp else ():
            loose = relaxed(self.problem, tp, cp, own.pp, self.costs, self.memory)
            chunks = self._left(Reach(self.problem, *loose, tp, cp, None, own.pp[-1]), own.chunks, most)
            dismissed["attention_mesh"] += len(expert_meshes) * len(own.pp) * (len(own.chunks) - len(chunks))
            for mesh in expert_meshes if chunks else ():
                flat = shape_at(tp, cp, mesh, 1)
                costs = self.costs.least(flat, own.pp)
                reach = Reach(self.problem, costs, self.memory.memory(flat), tp, cp, None, own.pp[-1])
                left = self._left(reach, chunks, most if flat.stage_devices <= self.aim.devices else 0)
                dismissed["mesh_pair"] += len(own.pp) * (len(chunks) - len(left))
                for pp in own.pp if left else ():
                    self.proof.counterexample = self._depth(shape_at(tp, cp, mesh, pp), left)
                    if self.proof.counterexample is not None:
                        return self.proof
        return self.proof

    def _left(self, reach: Reach, chunks: Sequence[int | None], most_devices: int) -> list[int | None]:
        """Chunks at which the degrees are not dismissed."""
        several = self.problem.workload.phase == "aggregated" and len(chunks) > 1
        if several and not reach.possible_at_any_chunk(self.aim, most_devices):
            return []
        return [c for c in chunks if reach.possible(self.aim, c, most_devices)]

    def _depth(self, shape: Shape, chunks: Sequence[int | None]) -> Scored | None:
        """One mesh pair at one pp: bounded, and where the bound does not dismiss it, solved exactly."""
        most = replicas_that_fit(self.sizes, self.problem.devices, shape.devices) * shape.devices
        most = min(most, self.aim.devices) if shape.devices <= self.aim.devices else 0
        if most == 0:
            self.proof.dismissed["layout"] += len(chunks)
            return None
        beaten = self.listed.get(shape, self.value)
        costs, memory = self.costs.of(shape), self.memory.memory(shape)
        reach = Reach(self.problem, costs, memory, shape.tp, shape.cp, shape.pp, shape.pp)
        for chunk in chunks:
            if not reach.possible(self.aim, chunk, most):
                self.proof.dismissed["layout"] += 1
                continue
            found = best_layout(self.problem, shape, chunk, costs, memory)
            self.proof.dismissed["exact"] += 1
            if found is not None and (beaten is None or better(self.problem, found.value, beaten)):
                return found
        return None
