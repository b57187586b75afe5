"""Non-dominated vectors found so far, and which bounds they dismiss."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from optimizer.domain.objectives import Measure, Scale
from optimizer.domain.problem import Problem
from optimizer.figures.objective import Scored, key
from optimizer.search.lattice import Floats
from optimizer.search.pricing import MARGIN

Vector = tuple[Fraction, ...]

_ROOM = 1 << 10
"""Vectors for which an archive has room at first."""
_OVERDUE = 0.25
"""How many more vectors are found, by those sorted, before they are sorted again."""


def _dominates(one: Vector, other: Vector) -> bool:
    """Whether one is at least as good everywhere, and not the same."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


class Archive:
    """Non-dominated vectors, smaller is better in each component."""

    def __init__(self, problem: Problem, scales: Sequence[Scale]) -> None:
        self.problem = problem
        # device counts differ by whole numbers and bytes too, so that there floats tell equal from less
        margins = {Measure.DEVICES: -1e-12, Measure.MEMORY: 0.0}
        self._relative = np.array([margins.get(scale.measure, MARGIN) for scale in scales])
        bytes_apart = [abs(float(scale.factor)) if scale.measure is Measure.MEMORY else 0.0 for scale in scales]
        self._absolute = -0.4 * np.array(bytes_apart)
        self.found: dict[Vector, Scored] = {}
        self._vectors: list[Vector | None] = []
        """Those found, in the order of `_floats`; None where another has come to dominate it since."""
        self._number: dict[Vector, int] = {}
        """Of each that is not dominated, where it stands in `_vectors`."""
        self._floats = np.zeros((_ROOM, len(scales)))
        self._lesser = np.zeros((_ROOM, len(scales)))
        """`_floats`, by the floats' margin less good."""
        self._sorted = _Sorted(self._floats[:0])

    def __len__(self) -> int:
        """Vectors that were ever found."""
        return len(self._vectors)

    def add(self, vector: Vector, scored: Scored) -> None:
        """Keep a layout unless it is dominated; of equal vectors the layout that comes first in the stated order."""
        previous = self.found.get(vector)
        if previous is not None:
            if key(self.problem, scored) < key(self.problem, previous):
                self.found[vector] = scored
            return
        floats = np.array([float(value) for value in vector])
        known = self._floats[: len(self)]
        if any(_dominates(archived, vector) for archived in self._at(np.all(known <= floats, axis=1))):
            return
        for archived in self._at(np.all(known >= floats, axis=1)):
            if _dominates(vector, archived):
                del self.found[archived]
                self._vectors[self._number.pop(archived)] = None
        if len(self) == len(self._floats):
            self._floats, self._lesser = (np.concatenate([a, np.zeros_like(a)]) for a in (self._floats, self._lesser))
        self._floats[len(self)] = floats
        self._lesser[len(self)] = floats + np.abs(floats) * self._relative + self._absolute
        self._number[vector] = len(self)
        self._vectors.append(vector)
        self.found[vector] = scored

    def _at(self, chosen: NDArray[np.bool_]) -> list[Vector]:
        vectors = (self._vectors[number] for number in np.flatnonzero(chosen).tolist())
        return [vector for vector in vectors if vector is not None]

    def dominates(self, ideal: Floats, since: int = 0) -> NDArray[np.bool_]:
        """Which rows of `ideal` something found, from a number on, matches or beats by more than the floats' margin."""
        if len(ideal) == 1:
            below = np.ones(len(self) - since, dtype=bool)
            for column, level in zip(self._less(since).T, ideal[0], strict=True):
                below &= column <= level
            return np.array([below.any()])
        dominated = np.zeros(len(ideal), dtype=bool)
        if not since:
            if len(self) > (1 + _OVERDUE) * len(self._sorted):
                self._sorted = _Sorted(self._less())
            dominated, since = self._sorted.dominates(ideal), len(self._sorted)
        recent = self._less(since)
        undecided = np.flatnonzero(~dominated)
        columns = np.ascontiguousarray(ideal[undecided].T)
        for vector in recent:
            below = vector[0] <= columns[0]
            for least, column in zip(vector[1:], columns[1:], strict=True):
                below &= least <= column
            dominated[undecided[below]] = True
        return dominated

    def _less(self, since: int = 0) -> Floats:
        """What was found from a number on, by the floats' margin less good; dominated ones too."""
        return self._lesser[since : len(self)]


class _Sorted:
    """Vectors of which rows are asked whether one is as good everywhere: sorted by the first component, in blocks.

    Of all blocks before the one that a row's first component falls in, the least third component of those up to its
    second one is known; with the block itself the row is compared.
    """

    def __init__(self, vectors: Floats) -> None:
        ascending = vectors[np.argsort(vectors[:, 0], kind="stable")]
        self._ascending = (
            ascending if ascending.shape[1] == 3 else np.column_stack([ascending, np.zeros(len(ascending))])
        )
        self._block = max(1, isqrt(len(ascending)))
        self._before: dict[int, tuple[Floats, Floats]] = {}

    def __len__(self) -> int:
        return len(self._ascending)

    def dominates(self, rows: Floats) -> NDArray[np.bool_]:
        """Which rows a vector is as good as everywhere."""
        dominated = np.zeros(len(rows), dtype=bool)
        if not len(rows):
            return dominated
        first, second = rows[:, 0], rows[:, 1]
        third = rows[:, 2] if rows.shape[1] == 3 else np.zeros(len(rows))
        block = np.searchsorted(self._ascending[:, 0], first, side="right") // self._block
        order = np.argsort(block, kind="stable")
        numbers, starts = np.unique(block[order], return_index=True)
        for number, which in zip(numbers.tolist(), np.split(order, starts[1:]), strict=True):
            seconds, least = self._first(number)
            at = np.searchsorted(seconds, second[which], side="right") - 1
            covered = (at >= 0) & (least[at] <= third[which])
            beside = self._ascending[number * self._block : (number + 1) * self._block]
            below = beside[:, :1] <= first[which]
            below &= beside[:, 1:2] <= second[which]
            below &= beside[:, 2:] <= third[which]
            dominated[which] = covered | np.any(below, axis=0)
        return dominated

    def _first(self, blocks: int) -> tuple[Floats, Floats]:
        """Second components of the vectors of the first blocks, ascending, and the least third one up to each."""
        if blocks not in self._before:
            vectors = self._ascending[: blocks * self._block]
            vectors = vectors[np.argsort(vectors[:, 1], kind="stable")]
            self._before[blocks] = vectors[:, 1], np.append(np.minimum.accumulate(vectors[:, 2]), np.inf)
        return self._before[blocks]
