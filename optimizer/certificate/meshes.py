"""The lattice without a search: every pair of meshes of a stage that may be laid out, and what was excluded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import lcm

from optimizer.domain.families import Family
from optimizer.domain.lattice import Axes, holds
from optimizer.domain.problem import Problem
from optimizer.figures.shape import Shape
from optimizer.figures.skew import placeable


@dataclass(frozen=True)
class Lattice:
    """Mesh pairs by attention mesh, and how many each family excluded.

    Attributes
    ----------
    meshes
        ``(tp, cp)`` to its expert meshes ``(redundant, etp, ep)``.
    excluded
        Mesh pairs by the first family that excludes them: devices, divisibility, placement, engine.
    holds
        Chunks, cp and batches in words.
    """

    axes: Axes
    meshes: dict[tuple[int, int], list[tuple[int, int, int]]]
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
            "axes": {
                "tp": list(own.tp), "cp": list(own.cp), "pp": list(own.pp), "etp": list(own.etp), "ep": list(own.ep),
                "prefill_chunk": list(own.chunks), "redundant": list(own.redundant),
            },
            "holds": self.holds,
            "mesh_pairs": self.count,
            "excluded": dict(sorted(self.excluded.items())),
            "points": (self.count + sum(self.excluded.values())) * len(own.pp) * len(own.chunks),
        }  # fmt: skip


def lattice(problem: Problem, axes: Axes) -> Lattice:
    """Enumerate the mesh pairs of a problem."""
    excluded: Counter[str] = Counter()
    meshes: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    expert_meshes = [(r, etp, ep) for r in axes.redundant for etp in axes.etp for ep in axes.ep]
    for tp in axes.tp:
        for cp in axes.cp:
            kept = []
            for redundant, etp, ep in expert_meshes:
                if lcm(tp * cp, etp * ep) > problem.devices:
                    excluded[Family.DEVICES.value] += 1
                    continue
                family = _excludes(problem, Shape(tp, cp, etp, ep, 1, redundant))
                if family is None:
                    kept.append((redundant, etp, ep))
                else:
                    excluded[family.value] += 1
            if kept:
                meshes[tp, cp] = kept
    return Lattice(axes, meshes, dict(excluded), holds(problem))


def _excludes(problem: Problem, shape: Shape) -> Family | None:
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
    return None if problem.engine.accepts(problem, shape) else Family.ENGINE
