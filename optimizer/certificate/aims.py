"""Goals in a tree, so that what no layout can meet is dismissed for many of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from optimizer.certificate.goals import Goal

_FEW = 3
"""Goals that are asked one by one: what is looser than all of them would seldom be dismissed."""


@dataclass(frozen=True, slots=True)
class Aims:
    """Goals in a tree: where the loosest limits of a part cannot be met, none of its goals can."""

    loosest: Goal | None
    parts: tuple[Aims, ...] = ()

    @classmethod
    def of(cls, goals: Sequence[Goal]) -> Aims:
        """The tree of goals, those beside each other together."""
        if len(goals) == 1:
            return cls(goals[0])
        half = len(goals) // 2
        parts = tuple(map(cls, goals)) if len(goals) <= _FEW else (cls.of(goals[:half]), cls.of(goals[half:]))
        return cls(None if len(goals) <= _FEW else loosest(goals), parts)

    @property
    def devices(self) -> int:
        """Devices at most, of any goal."""
        return max(goal.devices for goal in ((self.loosest,) if self.loosest else self.leaves()))

    def leaves(self) -> Iterator[Goal]:
        """The goals."""
        if not self.parts and self.loosest is not None:
            yield self.loosest
        for part in self.parts:
            yield from part.leaves()

    def kept(self, possible: Callable[[Goal], bool]) -> Aims | None:
        """The tree of those goals that may be met."""
        if self.loosest is not None and not possible(self.loosest):
            return None
        left = tuple(filter(None, (part.kept(possible) for part in self.parts)))
        if not self.parts or left == self.parts:
            return self
        return Aims(self.loosest, left) if len(left) > 1 else next(iter(left), None)


def loosest(goals: Sequence[Goal]) -> Goal:
    """Limits that every layout keeps which meets any of several goals."""

    def least(values: Sequence[Fraction | None]) -> Fraction | None:
        stated = [value for value in values if value is not None]
        return min(stated) if len(stated) == len(values) else None

    cycles = [aim.cycle for aim in goals if aim.cycle is not None]
    firsts = [dict(aim.first) for aim in goals]
    shared = [share for share in firsts[0] if all(share in first for first in firsts)]
    return Goal(
        above=least([aim.above for aim in goals]),
        total_above=least([aim.total_above for aim in goals]),
        total=min(aim.total for aim in goals),
        cycle=max(cycles) if len(cycles) == len(goals) else None,
        first=tuple((share, max(first[share] for first in firsts)) for share in shared),
        memory=max(aim.memory for aim in goals),
        devices=max(aim.devices for aim in goals),
        each=min(aim.each for aim in goals),
        strict=frozenset.intersection(*(aim.strict for aim in goals)),
        context=min(aim.context for aim in goals),
    )
