"""The lattice as arrays: every expert mesh over every attention mesh that fits the devices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimizer.domain.engine import EngineRule
from optimizer.domain.families import Family
from optimizer.domain.lattice import Axes, dense_width
from optimizer.domain.problem import Problem

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Meshes:
    """Pairs of meshes of one replica's stage, one entry each: degrees, its devices, the replica's dp and edp."""

    tp: Ints
    cp: Ints
    etp: Ints
    ep: Ints
    redundant: Ints
    stage: Ints
    dp: Ints
    edp: Ints

    def __len__(self) -> int:
        return len(self.tp)

    def take(self, chosen: Ints | NDArray[np.bool_]) -> Meshes:
        """The entries at indices, or where a mask holds."""
        return Meshes(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def meshes(problem: Problem, axes: Axes) -> tuple[Meshes, dict[Family, int]]:
    """All mesh pairs that the devices and the engine's rules allow, and how many each family excluded."""
    grid = np.meshgrid(
        *(np.array(values, dtype=np.int64) for values in (axes.tp, axes.cp, axes.redundant, axes.etp, axes.ep)),
        indexing="ij",
    )
    tp, cp, redundant, etp, ep = (axis.ravel() for axis in grid)
    stage = np.lcm(tp * cp, etp * ep)
    found = Meshes(tp, cp, etp, ep, redundant, stage, stage // (tp * cp), stage // (etp * ep))
    excluded: dict[Family, int] = {}

    def keep(mask: NDArray[np.bool_], family: Family) -> None:
        nonlocal found
        gone = int(len(found) - np.count_nonzero(mask))
        if gone:
            excluded[family] = excluded.get(family, 0) + gone
            found = found.take(mask)

    keep(found.stage <= problem.devices, Family.DEVICES)
    keep(_experts_divide(problem, found), Family.DIVISIBILITY)
    keep(_placeable(problem, found), Family.PLACEMENT)
    keep(_engine_allows(problem, found), Family.ENGINE)
    return found, excluded


def _experts_divide(problem: Problem, found: Meshes) -> NDArray[np.bool_]:
    holds = np.ones(len(found), dtype=bool)
    for block in problem.model.blocks.values():
        if block.moe is None:
            continue
        holds &= found.ep <= block.moe.experts + found.redundant
        width = block.moe.shared_intermediate
        whole = (found.tp > 1) & (found.dp > 1) & (found.ep > 1)
        holds &= whole | (width % found.tp == 0)
    return holds


def _placeable(problem: Problem, found: Meshes) -> NDArray[np.bool_]:
    """No device needs two copies of an expert, and with measured loads the slots divide evenly."""
    holds = np.ones(len(found), dtype=bool)
    for moe in problem.model.moe_blocks:
        slots = moe.experts + found.redundant
        holds &= (found.redundant == 0) | (-(-slots // found.ep) <= moe.experts)
        if problem.expert_loads:
            holds &= slots % found.ep == 0
    return holds


def _engine_allows(problem: Problem, found: Meshes) -> NDArray[np.bool_]:
    rules, model = problem.engine.rules, problem.model
    holds = np.ones(len(found), dtype=bool)
    if EngineRule.EXPERTS_USE_ALL_RANKS in rules and model.moe is not None:
        holds &= (found.edp == 1) & ((found.etp == 1) | (found.ep == 1))
    if EngineRule.EVEN_EXPERTS in rules:
        for moe in model.moe_blocks:
            holds &= (found.redundant == 0) | ((moe.experts + found.redundant) % found.ep == 0)
    if EngineRule.VOCABULARY_DIVIDES in rules:
        padded = -(-model.vocab_size // problem.engine.vocabulary_padding) * problem.engine.vocabulary_padding
        holds &= padded % found.tp == 0
    if EngineRule.QUANT_BLOCKS_DIVIDE in rules:
        for width in quantised_widths(problem):
            holds &= width % (128 * found.tp) == 0
    return holds


def quantised_widths(problem: Problem) -> list[int]:
    """Widths of dense feed-forward blocks stored in 128 × 128 FP8 blocks."""
    precision, found = problem.precision, []
    for block in problem.model.blocks.values():
        width = dense_width(block.ffn)
        if width and (precision.dense_ffn or precision.weights) == "fp8_block":
            found.append(width)
    return found


def replicas_that_fit(sizes: tuple[int | None, ...], devices: int, replica: Ints) -> Ints:
    """Replicas of each size that `devices` hold; see `optimizer.figures.topology.replicas_that_fit`."""
    result = np.zeros_like(replica)
    open_ = np.ones(len(replica), dtype=bool)
    unit = 1
    for size in sizes:
        here = open_ if size is None else open_ & (replica <= size)
        taken = -(-replica // unit) * unit
        if size is None or size >= devices:
            count = np.where(replica <= devices, (devices - replica) // taken + 1, 0)
        else:
            rest = devices % size
            whole = devices // size * ((size - replica) // taken + 1)
            count = whole + np.where(replica <= rest, (rest - replica) // taken + 1, 0)
        result = np.where(here, count, result)
        open_ = open_ & ~here
        if size is not None:
            unit = size
    return result
