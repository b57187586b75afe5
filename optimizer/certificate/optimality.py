"""Proof that no layout beats a claimed objective value, or that none fits: the whole lattice, dismissed piece by piece."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from fractions import Fraction

from optimizer.certificate.goals import Goal, Reach, goal, relaxed, shape_at
from optimizer.certificate.meshes import Lattice
from optimizer.figures.costs import CostBook
from optimizer.figures.memory import MemoryBook
from optimizer.figures.objective import Scored, best_layout, better
from optimizer.figures.rates import effective_rates
from optimizer.figures.shape import Shape
from optimizer.figures.skew import Skews
from optimizer.figures.topology import replicas_that_fit
from optimizer.spec.problem import Problem


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
    listed: AbstractSet[Shape] = frozenset(),
    skews: Skews | None = None,
) -> Proof:
    """Dismiss every layout that could beat `value` (None: that fits at all); degrees in `listed` need no dismissal.

    `skews` holds bounds on the imbalance of expert meshes that a placement's witnesses prove.
    """
    proof = Proof()
    aim, own = goal(problem, value), lattice.axes
    costs, memory = CostBook(problem, effective_rates(problem.hardware), skews), MemoryBook(problem)
    sizes = tuple(t.size for t in problem.hardware.tiers)
    if not own.pp:
        return proof
    for (tp, cp), expert_meshes in sorted(lattice.meshes.items()):
        loose = Reach(problem, *relaxed(problem, tp, cp, own.pp, costs, memory), tp, cp, None, own.pp[-1])
        chunks = _left(loose, aim, own.chunks, min(problem.devices, aim.devices))
        points = len(expert_meshes) * len(own.pp)
        proof.dismissed["attention_mesh"] += points * (len(own.chunks) - len(chunks))
        if not chunks:
            continue
        for mesh in expert_meshes:
            flat = shape_at(tp, cp, mesh, 1)
            reach = Reach(problem, costs.least(flat, own.pp), memory.memory(flat), tp, cp, None, own.pp[-1])
            most = min(problem.devices, aim.devices) if flat.stage_devices <= aim.devices else 0
            left = _left(reach, aim, chunks, most)
            proof.dismissed["mesh_pair"] += len(own.pp) * (len(chunks) - len(left))
            if not left:
                continue
            for pp in own.pp:
                shape = shape_at(tp, cp, mesh, pp)
                found = _depth(problem, aim, shape, left, sizes, costs, memory, proof, value, listed)
                if found is not None:
                    proof.counterexample = found
                    return proof
    return proof


def _left(reach: Reach, aim: Goal, chunks: Sequence[int | None], most_devices: int) -> list[int | None]:
    """Chunks at which the degrees are not dismissed."""
    several = reach.problem.workload.phase == "aggregated" and len(chunks) > 1
    if several and not reach.possible_at_any_chunk(aim, most_devices):
        return []
    return [c for c in chunks if reach.possible(aim, c, most_devices)]


def _depth(
    problem: Problem,
    aim: Goal,
    shape: Shape,
    chunks: Sequence[int | None],
    sizes: tuple[int | None, ...],
    costs: CostBook,
    memory: MemoryBook,
    proof: Proof,
    value: Fraction | None,
    listed: AbstractSet[Shape],
) -> Scored | None:
    """One mesh pair at one pp: bounded, and where the bound does not dismiss it, solved exactly."""
    most = replicas_that_fit(sizes, problem.devices, shape.devices) * shape.devices
    most = min(most, aim.devices) if shape.devices <= aim.devices else 0
    if shape in listed or most == 0:
        proof.dismissed["layout"] += len(chunks)
        return None
    own, held = costs.of(shape), memory.memory(shape)
    reach = Reach(problem, own, held, shape.tp, shape.cp, shape.pp, shape.pp)
    for chunk in chunks:
        if not reach.possible(aim, chunk, most):
            proof.dismissed["layout"] += 1
            continue
        found = best_layout(problem, shape, chunk, own, held)
        proof.dismissed["exact"] += 1
        if found is not None and (value is None or better(problem, found.value, value)):
            return found
    return None
