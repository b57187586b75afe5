"""The lattice as arrays: every expert mesh over every attention mesh that fits the devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import isqrt
from operator import attrgetter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from optimizer.domain.engines import Engine, EngineRule
from optimizer.domain.families import Family
from optimizer.domain.lattice import Axes
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


Chosen = Ints | NDArray[np.bool_] | slice
"""Indices, where a mask holds, or a run of entries."""


class Arrays:
    """What a dataclass of arrays of one length can do; its parts may be such in turn, several of them, or missing."""

    def __len__(self) -> int:
        return len(next(part for part in vars(self).values() if isinstance(part, np.ndarray)))

    def take(self, chosen: Chosen) -> Self:
        """Some of the entries."""
        build: Callable[..., Self] = type(self)
        return build(*(_taken(part, chosen) for part in vars(self).values()))

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """The entries of several, one after another."""
        build: Callable[..., Self] = cls
        return build(*map(np.concatenate, zip(*(vars(part).values() for part in parts), strict=True)))


def _taken(part: Any, chosen: Chosen) -> Any:  # noqa: ANN401 - any such part
    if isinstance(part, tuple):
        return tuple(_taken(item, chosen) for item in part)
    return part[chosen] if isinstance(part, np.ndarray) else None if part is None else part.take(chosen)


@dataclass(frozen=True)
class Meshes(Arrays):
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

    def shape(self, index: int, pp: int) -> Shape:
        """One entry at a pipeline depth."""
        tp, cp, etp, ep, redundant = (
            int(degrees[index]) for degrees in (self.tp, self.cp, self.etp, self.ep, self.redundant)
        )
        return Shape(tp, cp, etp, ep, pp, redundant, bool(self.overlap[index]))


_PAIRS = 1 << 18
"""Mesh pairs that are looked at together: few enough to stay near the core."""

_OF_ATTENTION = frozenset({"tp", "cp", "context_parallel", "pp"})
_OF_EXPERTS = frozenset({"etp", "ep", "redundant", "pp"})
"""What rules that one mesh alone decides tell apart; a stage is asked about at pp = 1."""


@dataclass(frozen=True)
class Listed:
    """Mesh pairs that were asked for, how many may be laid out in all, and how many each family excluded."""

    meshes: Meshes
    count: int
    excluded: dict[Family, int]


class Lattice:
    """The mesh pairs that the devices and the engine's rules allow: counted, and listed where they are wanted.

    Attributes
    ----------
    attention
        Attention meshes that fit the devices: tp and cp, ascending.
    """

    def __init__(self, problem: Problem, axes: Axes) -> None:
        self.problem, self.axes, most = problem, axes, problem.devices
        around = [(tp, cp) for tp in axes.tp for cp in axes.cp if tp * cp <= most]
        sizes = [(etp, ep) for etp in axes.etp for ep in axes.ep if etp * ep <= most]
        routed = [(redundant, *size) for redundant in axes.redundant for size in sizes]
        self.attention = np.array(around, dtype=np.int64).reshape(-1, 2)
        self._experts = np.array(routed, dtype=np.int64).reshape(-1, 3)
        self._width, self._size = self.attention.prod(axis=1), self._experts[:, 1] * self._experts[:, 2]
        self._engines = [
            (number, engine, [rule for rule in engine.rules if _alone(rule) is None])
            for number, engine in enumerate(_engines(problem.engine))
        ]

    def __len__(self) -> int:
        """Mesh pairs of all values of the axes."""
        axes = self.axes
        return len(axes.tp) * len(axes.cp) * len(axes.redundant) * len(axes.etp) * len(axes.ep)

    def listed(self, wanted: NDArray[np.bool_] | None = None) -> Listed:
        """Mesh pairs over some attention meshes (None: all), beside counts over all of them."""
        excluded, kept, parts, fitting = Counter[Family](), 0, [], 0
        attention, experts = self._members()
        placed = _placeable(self.problem, self._experts)
        for first, second in self._together():
            fitting += len(first)
            plain = self._pairs(first, second, split=False)
            for split in self.axes.overlap:
                pairs, around, routed = plain, first, second
                if split:
                    spread = np.flatnonzero(_spread(plain))
                    pairs, around, routed = plain.take(spread), first[spread], second[spread]
                    pairs = replace(pairs, overlap=np.ones(len(spread), dtype=np.int64))
                divided = _experts_divide(self.problem, pairs)
                allowed = divided & placed[routed]
                count = int(np.count_nonzero(allowed))
                excluded[Family.DIVISIBILITY] += len(pairs) - int(np.count_nonzero(divided))
                excluded[Family.PLACEMENT] += int(np.count_nonzero(divided)) - count
                members = np.where(allowed, attention[around] & experts[routed], 0)
                accepted = np.flatnonzero(members)
                accepted = accepted[self._accepted(pairs.take(accepted), members[accepted])]
                excluded[Family.ENGINE] += count - len(accepted)
                kept += len(accepted)
                if wanted is not None:
                    accepted = accepted[wanted[around[accepted]]]
                parts.append(np.stack([np.full(len(accepted), int(split)), around[accepted], routed[accepted]]))
        excluded[Family.DEVICES] = len(self) - fitting
        return Listed(self._in_order(parts), kept, {family: count for family, count in excluded.items() if count})

    def _in_order(self, parts: list[Ints]) -> Meshes:
        split, first, second = np.concatenate([np.zeros((3, 0), dtype=np.int64), *parts], axis=1)
        order = np.lexsort((second, first, split))
        return replace(self._pairs(first[order], second[order], split=False), overlap=split[order])

    def _pairs(self, first: Ints, second: Ints, *, split: bool) -> Meshes:
        (tp, cp), (redundant, etp, ep) = self.attention[first].T, self._experts[second].T
        width, size = self._width[first], self._size[second]
        stage = np.lcm(width, size)
        return Meshes(tp, cp, etp, ep, redundant, np.full_like(tp, int(split)), stage, stage // width, stage // size)

    def _together(self) -> Iterator[tuple[Ints, Ints]]:
        """Attention and expert meshes, by their numbers, that fill a stage of at most all devices whole; in blocks.

        lcm(w, s) ≤ D where w is a multiple, up to D ÷ s of them, of a divisor of s.
        """
        devices, parts, count = self.problem.devices, [], 0
        around = np.argsort(self._width, kind="stable")
        before = np.searchsorted(self._width[around], np.arange(devices + 2))
        for size in np.unique(self._size).tolist():
            experts, multiples = np.flatnonzero(self._size == size), np.arange(1, devices // size + 1)
            widths = np.unique(np.concatenate([multiples * divisor for divisor in _divisors(size)]))
            counts = before[widths + 1] - before[widths]
            attention = around[
                np.repeat(before[widths] - np.cumsum(counts) + counts, counts) + np.arange(int(counts.sum()))
            ]
            parts.append(np.stack([np.repeat(attention, len(experts)), np.tile(experts, len(attention))]))
            count += parts[-1].shape[1]
            if count >= _PAIRS:
                yield tuple(np.concatenate(parts, axis=1))
                parts, count = [], 0
        if parts:
            yield tuple(np.concatenate(parts, axis=1))

    def _members(self) -> tuple[Ints, Ints]:
        """Of each attention and of each expert mesh the engines, a bit each, that no rule on it alone makes refuse."""
        ones, expert_ones = (np.ones(len(meshes), dtype=np.int64) for meshes in (self.attention, self._experts))
        (tp, cp), (redundant, etp, ep) = self.attention.T, self._experts.T
        tables = {
            "attention": Meshes(tp, cp, ones, ones, ones * 0, ones * 0, self._width, ones, self._width),
            "experts": Meshes(
                expert_ones, expert_ones, etp, ep, redundant, expert_ones * 0, self._size, self._size, expert_ones
            ),
        }
        members = {name: np.zeros(len(meshes), dtype=np.int64) for name, meshes in tables.items()}
        for number, engine, _ in self._engines:
            for name, meshes in tables.items():
                rules = [rule for rule in engine.rules if _alone(rule) == name]
                members[name][_keep_all(self.problem, rules, meshes)] |= 1 << number
        return members["attention"], members["experts"]

    def _accepted(self, meshes: Meshes, members: Ints) -> NDArray[np.bool_]:
        """Mesh pairs, with one stage, of which one of their engines takes both meshes together.

        An engine is asked of the pairs that none before it takes, those of few rules first.
        """
        accepted = np.zeros(len(meshes), dtype=bool)
        for number, _, rules in sorted(self._engines, key=lambda entry: len(entry[2])):
            pending = np.flatnonzero(~accepted & (members >> number & 1 == 1))
            accepted[pending[_keep_all(self.problem, rules, _among(meshes, pending))]] = True
        return accepted


def meshes(problem: Problem, axes: Axes) -> tuple[Meshes, dict[Family, int]]:
    """All mesh pairs that the devices and the engine's rules allow, and how many each family excluded."""
    listed = Lattice(problem, axes).listed()
    return listed.meshes, listed.excluded


def _divisors(number: int) -> list[int]:
    small = [d for d in range(1, isqrt(number) + 1) if number % d == 0]
    return [*small, *(number // d for d in small)]


def _engines(engine: Engine) -> list[Engine]:
    """An engine, or all of which it is the union."""
    return [single for member in engine.members for single in _engines(member)] or [engine]


def _alone(rule: EngineRule) -> str | None:
    """The mesh that alone decides whether a rule is kept; None where it takes both."""
    decides = set(rule.decides)
    return "attention" if decides <= _OF_ATTENTION else "experts" if decides <= _OF_EXPERTS else None


def _spread(meshes: Meshes) -> NDArray[np.bool_]:
    """Whether each device has experts of its own and attention several ranks: what two-batch overlap hides."""
    spread: NDArray[np.bool_] = (meshes.dp > 1) & (meshes.cp == 1) & (meshes.etp == 1) & (meshes.edp == 1)
    return spread


def _experts_divide(problem: Problem, meshes: Meshes) -> NDArray[np.bool_]:
    holds = np.ones(len(meshes), dtype=bool)
    for block in problem.model.blocks.values():
        if block.moe is None:
            continue
        holds &= meshes.ep <= block.moe.experts + meshes.redundant
        width = block.moe.shared_intermediate
        whole = (meshes.tp > 1) & (meshes.dp > 1) & (meshes.ep > 1)
        holds &= whole | (width % meshes.tp == 0)
    return holds


def _placeable(problem: Problem, experts: Ints) -> NDArray[np.bool_]:
    """No device needs two copies of an expert, and with measured loads the slots divide evenly."""
    (redundant, _, ep), holds = experts.T, np.ones(len(experts), dtype=bool)
    for moe in problem.model.moe_blocks:
        slots = moe.experts + redundant
        holds &= (redundant == 0) | (-(-slots // ep) <= moe.experts)
        if problem.expert_loads:
            holds &= slots % ep == 0
    return holds


def _keep_all(problem: Problem, rules: Iterable[EngineRule], meshes: Meshes) -> Ints:
    """Mesh pairs that keep all rules, by their numbers; a rule is asked of those that keep all before it."""
    remaining = np.arange(len(meshes))
    for rule in rules:
        remaining = remaining[_keeps(problem, rule, _among(meshes, remaining))]
    return remaining


def _among(meshes: Meshes, index: Ints) -> Meshes:
    """Entries at ascending indices; the same where these are all."""
    return meshes if len(index) == len(meshes) else meshes.take(index)


_DECIDING: dict[str, Callable[[Meshes], Ints | NDArray[np.bool_]]] = {
    **{name: attrgetter(name) for name in Meshes.__dataclass_fields__ if name != "stage"},
    "stage_devices": lambda found: found.stage,
    "spread": _spread,
    "shared_replicated": lambda found: (found.tp > 1) & (found.dp > 1) & (found.ep > 1),
    "context_parallel": lambda found: found.cp > 1,
    "copies": lambda found: np.where(found.edp == 1, 0, np.where(found.edp == found.cp, 1, 2)),
}
"""What rules may tell apart: the attributes of `Shape`, of many."""


def _keeps(problem: Problem, rule: EngineRule, meshes: Meshes) -> NDArray[np.bool_]:
    """A rule asked once of each combination of what decides it."""
    group = np.zeros(len(meshes), dtype=np.int64)
    for name in rule.decides:
        if name != "pp":
            values = _numbered(_DECIDING[name](meshes).astype(np.int64))
            group = _numbered(group * (int(values.max(initial=0)) + 1) + values)
    first = np.zeros(int(group.max(initial=-1)) + 1, dtype=np.int64)
    first[group[::-1]] = np.arange(len(group))[::-1]
    kept = np.array([rule.breach(problem, meshes.shape(index, 1)) is None for index in first.tolist()], dtype=bool)
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
    replicas = np.zeros_like(replica)
    open_ = np.ones(len(replica), dtype=bool)
    unit = 1
    for size in sizes:
        inside = open_ if size is None else open_ & (replica <= size)
        occupied = -(-replica // unit) * unit
        if size is None or size >= devices:
            count = np.where(replica <= devices, (devices - replica) // occupied + 1, 0)
        else:
            remainder = devices % size
            whole = devices // size * ((size - replica) // occupied + 1)
            count = whole + np.where(replica <= remainder, (remainder - replica) // occupied + 1, 0)
        replicas = np.where(inside, count, replicas)
        open_ = open_ & ~inside
        if size is not None:
            unit = size
    return replicas
