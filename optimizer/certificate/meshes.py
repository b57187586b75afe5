"""The lattice without a search: which pairs of meshes of a stage may be laid out, and how many there are.

Pairs are counted by formula, since there are millions: of one tp and one expert mesh of s devices, a cp takes
lcm(tp·cp, s) = tp·lcm(cp, s') devices, s' = s ÷ gcd(tp, s). Of all c ≤ N with lcm(c, s') ≤ N those with gcd(c, s') = g
are g·k with k ≤ N ÷ s' prime to s' ÷ g. What excludes a pair is asked once of all cp that leave attention one rank, of
all that leave it several, and of cp = 1; and of each cp where rules read it or the devices of a stage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import islice, product
from math import gcd, isqrt, lcm
from operator import attrgetter

from optimizer.domain.engines.engine import Engine
from optimizer.domain.engines.rule import EngineRule
from optimizer.domain.families import Family
from optimizer.domain.feedforward import MixtureOfExperts
from optimizer.domain.lattice import Axes, holds
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.skew import placeable

MeshPair = tuple[int, int, int, bool]
"""Redundant slots, etp and ep, and whether a step is split in two micro-batches."""

_OF_STAGES = frozenset({"edp", "stage_devices"})
_OF_CP = frozenset({"cp", "dp"}) | _OF_STAGES
"""What rules read that differs from one cp to the next; of that, what the devices of a stage say."""
_OF_EXPERTS = frozenset({"etp", "ep", "redundant", "pp"}) | _OF_STAGES
_MANY = 64
"""Numbers of copies of the experts from which on each cp is asked instead."""


@dataclass(frozen=True)
class MeshCount:
    """Mesh pairs: how many there are and how many each family excluded; and each, by what decides it.

    Attributes
    ----------
    count
        Mesh pairs that may be laid out.
    excluded
        Mesh pairs by the first family that excludes them: devices, divisibility, placement, engine.
    divided
        The tp that some pair has with a cp above 1.
    holds
        Chunks, cp and batches in words.
    """

    axes: Axes
    count: int
    excluded: dict[str, int]
    divided: frozenset[int]
    holds: str
    decides: Decides

    def to_json(self) -> dict[str, object]:
        """Axes and counts, as a certificate states them."""
        axes = self.axes
        return {
            "axes": axes.to_json(),
            "holds": self.holds,
            "mesh_pairs": self.count,
            "excluded": dict(sorted(self.excluded.items())),
            "points": (self.count + sum(self.excluded.values())) * len(axes.pp) * len(axes.chunks),
        }

    def has(self, shape: Shape) -> bool:
        """Whether a shape's mesh pair is one of them."""
        axes, flat = self.axes, Shape(shape.tp, shape.cp, shape.etp, shape.ep, 1, shape.redundant, shape.overlap)
        listed = ((axes.tp, shape.tp), (axes.cp, shape.cp), (axes.redundant, shape.redundant), (axes.etp, shape.etp),
                  (axes.ep, shape.ep), (axes.overlap, shape.overlap))  # fmt: skip
        return all(value in values for values, value in listed) and self.decides.takes(flat)

    def expert_meshes(self, tp: int, cp: int) -> list[MeshPair]:
        """Those over an attention mesh."""
        axes = self.axes
        return [
            (redundant, etp, ep, overlap)
            for redundant, etp, ep in product(axes.redundant, axes.etp, axes.ep)
            if lcm(tp * cp, etp * ep) <= self.decides.problem.devices
            for overlap in axes.overlap
            if self.decides.takes(Shape(tp, cp, etp, ep, 1, redundant, overlap))
        ]


def lattice(problem: Problem, axes: Axes) -> MeshCount:
    """Count the mesh pairs of a problem."""
    decides, count, divided = Decides(problem), 0, set()
    excluded: Counter[str] = Counter()
    listed, full = frozenset(axes.cp), axes.cp == tuple(range(1, len(axes.cp) + 1))
    for redundant, etp, ep in product(axes.redundant, axes.etp, axes.ep):
        for tp in axes.tp:
            most, multiple = problem.devices // tp, etp * ep // gcd(tp, etp * ep)
            groups = _full(most, multiple) if full and len(axes.cp) >= most else _listed(axes.cp, most, multiple)
            fitting = sum(groups.values())
            excluded[Family.DEVICES.value] += len(axes.cp) - fitting
            without_cp = {1: 1} if 1 in axes.cp and multiple <= most else {}
            for overlap in axes.overlap:
                for cp, pairs in (without_cp if overlap else groups).items():
                    shape = Shape(tp, cp, etp, ep, 1, redundant, overlap)
                    if overlap and not shape.spread:
                        continue
                    family = decides.excludes(shape)
                    if family is not None:
                        excluded[family.value] += pairs
                        continue
                    running = pairs if decides.runs(shape) else decides.running(shape, axes.cp, listed)
                    count += running
                    divided |= {tp} if running and cp > 1 else set()
                    excluded[Family.ENGINE.value] += pairs - running
    return MeshCount(
        axes,
        count,
        {name: pairs for name, pairs in excluded.items() if pairs},
        frozenset(divided),
        holds(problem),
        decides,
    )


def _listed(values: Sequence[int], most: int, multiple: int) -> dict[int, int]:
    """How many cp there are of each kind, of which one stands for all: 1, others of one rank of attention, and more."""
    fits = [cp for cp in values if lcm(cp, multiple) <= most]
    kinds = ([cp for cp in fits if cp == 1], [cp for cp in fits if cp > 1 and cp % multiple == 0],
             [cp for cp in fits if cp > 1 and cp % multiple])  # fmt: skip
    return {kind[0]: len(kind) for kind in kinds if kind}


def _full(most: int, multiple: int) -> dict[int, int]:
    """`_listed` of every cp up to at least `most`."""
    if multiple > most:
        return {}
    fits = sum(_prime_to(most // multiple, _primes(multiple // part)) for part in _divisors(multiple))
    one_rank = most // multiple - (multiple == 1)
    groups = {1: 1} | ({multiple if multiple > 1 else 2: one_rank} if one_rank else {})
    several = fits - 1 - one_rank
    if several:
        # the least cp that leaves several ranks: the least prime of s' where that is not all of it
        least = next(cp for cp in range(2, multiple + 2) if cp % multiple and lcm(cp, multiple) <= most)
        groups[least] = several
    return groups


@cache
def _divisors(number: int) -> tuple[int, ...]:
    low = [part for part in range(1, isqrt(number) + 1) if number % part == 0]
    return tuple(sorted({*low, *(number // part for part in low)}))


@cache
def _primes(number: int) -> tuple[int, ...]:
    return tuple(part for part in _divisors(number) if len(_divisors(part)) == 2)


@cache
def _prime_to(most: int, primes: tuple[int, ...]) -> int:
    """How many numbers up to `most` none of some primes divide."""
    if not primes or not most:
        return most
    first, *others = primes
    return _prime_to(most, tuple(others)) - _prime_to(most // first, tuple(others))


def _members(engine: Engine) -> Iterator[Engine]:
    """Engines with rules of their own."""
    for member in engine.members:
        yield from _members(member)
    if not engine.members:
        yield engine


class Decides:
    """What excludes mesh pairs, and which engines run them; rules are asked once of what they read."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._known: dict[tuple[int, object], bool] = {}
        self._copies: dict[tuple[int, int, int, int], tuple[int, ...] | None] = {}

    def takes(self, shape: Shape) -> bool:
        """Whether a mesh pair is in the lattice; `pp` is 1."""
        laid = shape.stage_devices <= self.problem.devices and (shape.spread or not shape.overlap)
        return laid and self.excludes(shape) is None and any(self._accepts(member, shape) for member in self._members)

    def excludes(self, shape: Shape) -> Family | None:
        """What excludes a mesh pair whatever the engine."""
        for moe in self._experts:
            if shape.ep > moe.experts + shape.redundant:
                return Family.DIVISIBILITY
            if not shape.shared_replicated and moe.shared_intermediate % shape.tp:
                return Family.DIVISIBILITY
        return None if placeable(self.problem, shape) else Family.PLACEMENT

    def runs(self, shape: Shape) -> bool:
        """Whether an engine runs this mesh pair and all of its kind, as none of its rules reads what cp changes."""
        members = self._members if shape.cp == 1 else self._members_of_kinds
        return any(self._accepts(member, shape) for member in members)

    def running(self, shape: Shape, values: Sequence[int], listed: Collection[int]) -> int:
        """How many cp of a shape's kind leave a mesh pair that an engine runs."""
        degrees: set[int] = set()
        if shape.cp > 1:
            for member in self._members:
                degrees |= self._run_by(member, shape, values, listed)
        return len(degrees)

    def _run_by(self, member: Engine, shape: Shape, values: Sequence[int], listed: Collection[int]) -> set[int]:
        """The cp of a shape's kind at which an engine runs it."""
        if not all(self._keeps(rule, shape) for rule in member.rules if not _OF_CP & set(rule.reads)):
            return set()
        width, one_rank = shape.etp * shape.ep, shape.dp == 1
        copies = self._copies_of(member, shape)
        degrees: Iterable[int] = values
        if copies is not None:
            sizes = ((part, count * width) for count in copies for part in _divisors(count * width))
            degrees = {part // shape.tp for part, size in sizes if part % shape.tp == 0 and lcm(part, width) == size}
        shapes = (
            replace(shape, cp=cp) for cp in degrees
            if cp > 1 and cp in listed and lcm(shape.tp * cp, width) <= self.problem.devices
        )  # fmt: skip
        return {laid.cp for laid in shapes if (laid.dp == 1) == one_rank and self._accepts(member, laid)}

    def _copies_of(self, member: Engine, shape: Shape) -> tuple[int, ...] | None:
        """Copies of experts in a stage at which rules are kept that read no more of cp; None: too many."""
        key = id(member), shape.etp, shape.ep, shape.redundant
        if key not in self._copies:
            rules = [rule for rule in member.rules if set(rule.reads) <= _OF_EXPERTS and _OF_STAGES & set(rule.reads)]
            width = shape.etp * shape.ep
            shapes = (replace(shape, tp=1, cp=width * n) for n in range(1, self.problem.devices // width + 1))
            counts = (laid.edp for laid in shapes if all(rule.breach(self.problem, laid) is None for rule in rules))
            copies = tuple(islice(counts, _MANY + 1)) if rules else None
            self._copies[key] = None if copies is None or len(copies) > _MANY else copies
        return self._copies[key]

    @cached_property
    def _experts(self) -> list[MixtureOfExperts]:
        return [block.moe for block in self.problem.model.blocks.values() if block.moe is not None]

    @cached_property
    def _members(self) -> tuple[Engine, ...]:
        return tuple(_members(self.problem.engine))

    @cached_property
    def _members_of_kinds(self) -> list[Engine]:
        return [member for member in self._members if not any(_OF_CP & set(rule.reads) for rule in member.rules)]

    def _accepts(self, member: Engine, shape: Shape) -> bool:
        return all(self._keeps(rule, shape) for rule in member.rules)

    def _keeps(self, rule: EngineRule, shape: Shape) -> bool:
        key = id(rule), attrgetter(*rule.reads)(shape) if rule.reads else ()
        if key not in self._known:
            self._known[key] = rule.breach(self.problem, shape) is None
        return self._known[key]
