"""The lattice without a search: every pair of meshes of a stage that may be laid out, and what was excluded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import lcm
from operator import attrgetter

from optimizer.domain.engines.engine import Engine
from optimizer.domain.engines.rule import EngineRule
from optimizer.domain.families import Family
from optimizer.domain.lattice import Axes, holds
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.skew import placeable

Mesh = tuple[int, int, int, bool]
"""Redundant slots, etp and ep, and whether a step is split in two micro-batches."""


@dataclass(frozen=True)
class Lattice:
    """Mesh pairs by attention mesh, and how many each family excluded.

    Attributes
    ----------
    meshes
        ``(tp, cp)`` to its expert meshes ``(redundant, etp, ep, overlap)``.
    excluded
        Mesh pairs by the first family that excludes them: devices, divisibility, placement, engine.
    holds
        Chunks, cp and batches in words.
    """

    axes: Axes
    meshes: dict[tuple[int, int], list[Mesh]]
    excluded: dict[str, int]
    holds: str

    @property
    def count(self) -> int:
        """Mesh pairs that may be laid out."""
        return sum(len(found) for found in self.meshes.values())

    def to_json(self) -> dict[str, object]:
        """Axes and counts, as a certificate states them."""
        own = self.axes
        return {
            "axes": own.to_json(),
            "holds": self.holds,
            "mesh_pairs": self.count,
            "excluded": dict(sorted(self.excluded.items())),
            "points": (self.count + sum(self.excluded.values())) * len(own.pp) * len(own.chunks),
        }


def lattice(problem: Problem, axes: Axes) -> Lattice:
    """Enumerate the mesh pairs of a problem."""
    excluded: Counter[str] = Counter()
    meshes: dict[tuple[int, int], list[Mesh]] = {}
    accepts = _Accepted(problem)
    expert_meshes = [(r, etp, ep) for r in axes.redundant for etp in axes.etp for ep in axes.ep]
    for tp in axes.tp:
        for cp in axes.cp:
            kept = []
            for redundant, etp, ep in expert_meshes:
                if lcm(tp * cp, etp * ep) > problem.devices:
                    excluded[Family.DEVICES.value] += 1
                    continue
                for overlap in axes.overlap:
                    shape = Shape(tp, cp, etp, ep, 1, redundant, overlap)
                    if overlap and not shape.spread:
                        continue
                    family = _excludes(problem, accepts, shape)
                    if family is None:
                        kept.append((redundant, etp, ep, overlap))
                    else:
                        excluded[family.value] += 1
            if kept:
                meshes[tp, cp] = kept
    return Lattice(axes, meshes, dict(excluded), holds(problem))


@dataclass(slots=True)
class _Accepted:
    """What engines accept of a problem: a rule is asked once of each combination of what it reads."""

    problem: Problem
    known: dict[tuple[int, object], bool] = field(default_factory=dict)

    def __call__(self, engine: Engine, shape: Shape) -> bool:
        if engine.members:
            return any(self(member, shape) for member in engine.members)
        return all(self.keeps(rule, shape) for rule in engine.rules)

    def keeps(self, rule: EngineRule, shape: Shape) -> bool:
        key = id(rule), attrgetter(*rule.reads)(shape)
        if key not in self.known:
            self.known[key] = rule.breach(self.problem, shape) is None
        return self.known[key]


def _excludes(problem: Problem, accepts: _Accepted, shape: Shape) -> Family | None:
    for block in problem.model.blocks.values():
        moe = block.moe
        if moe is None:
            continue
        if shape.ep > moe.experts + shape.redundant:
            return Family.DIVISIBILITY
        if not shape.shared_replicated and moe.shared_intermediate % shape.tp:
            return Family.DIVISIBILITY
    if not placeable(problem, shape):
        return Family.PLACEMENT
    return None if accepts(problem.engine, shape) else Family.ENGINE
