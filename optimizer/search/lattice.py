"""The lattice as arrays: every expert mesh over every attention mesh that fits the devices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimizer.domain.engines import Engine, EngineRule
from optimizer.domain.families import Family
from optimizer.domain.lattice import Axes
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Meshes:
    """Pairs of meshes of one replica's stage, one entry each: degrees, its devices, the replica's dp and edp.

    `overlap` is 1 where a step is split in two micro-batches.
    """

    tp: Ints
    cp: Ints
    etp: Ints
    ep: Ints
    redundant: Ints
    overlap: Ints
    stage: Ints
    dp: Ints
    edp: Ints

    def __len__(self) -> int:
        return len(self.tp)

    def take(self, chosen: Ints | NDArray[np.bool_]) -> Meshes:
        """The entries at indices, or where a mask holds."""
        return Meshes(*(getattr(self, name)[chosen] for name in _COLUMNS))

    def shape(self, index: int, pp: int) -> Shape:
        """One entry at a pipeline depth."""
        tp, cp, etp, ep, redundant = (int(own[index]) for own in (self.tp, self.cp, self.etp, self.ep, self.redundant))
        return Shape(tp, cp, etp, ep, pp, redundant, bool(self.overlap[index]))


_COLUMNS = tuple(Meshes.__dataclass_fields__)


def meshes(problem: Problem, axes: Axes) -> tuple[Meshes, dict[Family, int]]:
    """All mesh pairs that the devices and the engine's rules allow, and how many each family excluded."""
    attention = [(tp, cp) for tp in axes.tp for cp in axes.cp if tp * cp <= problem.devices]
    experts = [
        (redundant, etp, ep)
        for redundant in axes.redundant
        for etp in axes.etp
        for ep in axes.ep
        if etp * ep <= problem.devices
    ]
    spanned = len(axes.tp) * len(axes.cp) * len(axes.redundant) * len(axes.etp) * len(axes.ep)
    around = np.array(attention, dtype=np.int64).reshape(-1, 2)
    routed = np.array(experts, dtype=np.int64).reshape(-1, 3)
    width, size = around[:, 0] * around[:, 1], routed[:, 1] * routed[:, 2]
    first, second = _together(width, size, problem.devices)
    (tp, cp), (redundant, etp, ep) = around[first].T, routed[second].T
    stage = np.lcm(tp * cp, etp * ep)
    plain = Meshes(tp, cp, etp, ep, redundant, np.zeros_like(tp), stage, stage // (tp * cp), stage // (etp * ep))
    found = _overlapped(plain, axes.overlap)
    excluded: dict[Family, int] = {}
    if spanned > len(plain):
        excluded[Family.DEVICES] = spanned - len(plain)

    def keep(mask: NDArray[np.bool_], family: Family) -> None:
        nonlocal found
        gone = int(len(found) - np.count_nonzero(mask))
        if gone:
            excluded[family] = excluded.get(family, 0) + gone
            found = found.take(mask)

    keep(_experts_divide(problem, found), Family.DIVISIBILITY)
    keep(_placeable(problem, found), Family.PLACEMENT)
    keep(engine_accepts(problem, problem.engine, found), Family.ENGINE)
    return found, excluded


def _together(width: Ints, size: Ints, devices: int) -> tuple[Ints, Ints]:
    """Which attention and expert meshes, by their sizes, fill a stage of at most `devices` whole; by their numbers.

    lcm(w, s) ≤ D where w is a multiple, up to D ÷ s of them, of a divisor of s.
    """
    around, routed = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for own in np.unique(size).tolist():
        fits = np.zeros(devices + 1, dtype=bool)
        for divisor in (d for d in range(1, own + 1) if own % d == 0):
            fits[divisor : divisor * (devices // own) + 1 : divisor] = True
        these, those = np.flatnonzero(fits[width]), np.flatnonzero(size == own)
        around.append(np.repeat(these, len(those)))
        routed.append(np.tile(those, len(these)))
    first, second = np.concatenate(around), np.concatenate(routed)
    order = np.lexsort((second, first))
    return first[order], second[order]


def _overlapped(plain: Meshes, overlap: tuple[bool, ...]) -> Meshes:
    """Mesh pairs with and without two-batch overlap, which spread experts alone have."""
    if overlap == (False,):
        return plain
    spread = plain.take((plain.dp > 1) & (plain.cp == 1) & (plain.etp == 1) & (plain.edp == 1))
    parts = [replace(spread, overlap=np.ones_like(spread.tp)) if split else plain for split in overlap]
    return Meshes(*(np.concatenate([np.zeros(0, np.int64), *(getattr(p, n) for p in parts)]) for n in _COLUMNS))


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


def engine_accepts(problem: Problem, engine: Engine, found: Meshes) -> NDArray[np.bool_]:
    """Mesh pairs that break no rule of an engine with one stage; with `members`, of one of them.

    A member is asked of the pairs that none before it takes, those of few rules first; a rule of those that keep all
    before it.
    """
    if engine.members:
        some = np.zeros(len(found), dtype=bool)
        for member in sorted(engine.members, key=lambda own: len(own.rules)):
            left = np.flatnonzero(~some)
            some[left] = engine_accepts(problem, member, found.take(left))
        return some
    holds = np.ones(len(found), dtype=bool)
    for rule in engine.rules:
        left = np.flatnonzero(holds)
        holds[left] = _keeps(problem, rule, found.take(left))
    return holds


def _keeps(problem: Problem, rule: EngineRule, found: Meshes) -> NDArray[np.bool_]:
    """A rule asked once of each combination of what it reads."""
    columns = {
        "tp": found.tp, "cp": found.cp, "etp": found.etp, "ep": found.ep, "redundant": found.redundant,
        "stage_devices": found.stage, "dp": found.dp, "edp": found.edp,
        "overlap": found.overlap, "spread": ((found.dp > 1) & (found.cp * found.etp * found.edp == 1)).astype(np.int64),
        "shared_replicated": ((found.tp > 1) & (found.dp > 1) & (found.ep > 1)).astype(np.int64),
    }  # fmt: skip
    group = np.zeros(len(found), dtype=np.int64)
    for name in rule.reads:
        if name != "pp":
            own = _numbered(columns[name])
            group = _numbered(group * (int(own.max(initial=0)) + 1) + own)
    first = np.zeros(int(group.max(initial=-1)) + 1, dtype=np.int64)
    first[group[::-1]] = np.arange(len(group))[::-1]
    kept = np.array([rule.breach(problem, found.shape(own, 1)) is None for own in first.tolist()], dtype=bool)
    holds: NDArray[np.bool_] = kept[group]
    return holds


_SMALL = 1 << 24
"""Values below which a table of all of them is quicker than sorting those there are."""


def _numbered(values: Ints) -> Ints:
    """Distinct values numbered in ascending order: the number of each."""
    most = int(values.max(initial=0))
    if most >= _SMALL:
        return np.unique(values, return_inverse=True)[1].reshape(-1)
    seen = np.zeros(most + 1, dtype=bool)
    seen[values] = True
    numbers: Ints = (np.cumsum(seen) - 1)[values]
    return numbers


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
