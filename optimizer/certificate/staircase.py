"""Points of a frontier: what of boxes they leave open, by floats, and exactly where floats are equal.

A box of layouts has a vector that nothing in it goes below. Where a point is as good in every objective, nothing of the
box is missing; what no point is as good as lies below corners, which are goals of their own. Rationals are rounded to
the nearest float, which keeps their order, so that only equal floats need a second look.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import inf

from optimizer.certificate.goals import Goal

Levels = tuple[Fraction, ...]
"""A level for each objective, less of which is better."""
Corner = tuple[Fraction | None, ...]
"""What a vector must fall short of in each objective; None: nothing."""
_Floats = tuple[float, float, float]
"""Levels of up to three objectives, as many as a frontier has at most; 0 where there are fewer."""


def _rounded(levels: Sequence[Fraction | None], beyond: float = 0.0) -> _Floats:
    found = [inf if own is None else float(own) for own in levels] + [beyond] * (3 - len(levels))
    return found[0], found[1], found[2]


class _Span:
    """Some corners, ascending in their second level, over a tree of the greatest third one."""

    def __init__(self, corners: Sequence[tuple[float, float, int]]) -> None:
        own = sorted(corners)
        self._seconds = [second for second, _, _ in own]
        self._numbers = [number for _, _, number in own]
        self._size = size = 1 << (len(own) - 1).bit_length()
        self._most = [-inf] * size + [third for _, third, _ in own] + [-inf] * (size - len(own))
        for at in range(size - 1, 0, -1):
            self._most[at] = max(self._most[2 * at], self._most[2 * at + 1])

    def beyond(self, second: float, third: float) -> Iterator[int]:
        """Numbers of corners with no lesser levels."""
        least = bisect_left(self._seconds, second)
        todo = [(1, self._size)]
        while todo:
            at, size = todo.pop()
            first = at * size - self._size
            if first + size <= least or self._most[at] < third:
                continue
            if size > 1:
                todo += [(2 * at, size // 2), (2 * at + 1, size // 2)]
            elif first < len(self._numbers):
                yield self._numbers[first]


class Staircase:
    """Points, and corners of what none of them is as good as.

    Parameters
    ----------
    points
        Levels of every point.
    corners
        Each with the limits that all it takes is below.
    """

    def __init__(self, points: Sequence[Levels], corners: Sequence[tuple[Corner, Goal]]) -> None:
        ordered = sorted((_rounded(point), point) for point in points)
        self._points = [point for _, point in ordered]
        self._first = [rounded[0] for rounded, _ in ordered]
        # of the points up to each place, some powers of two of them at a time (Fenwick 1994): second levels, ascending,
        # with the least third one up to each and whose it is
        self._spans: list[tuple[list[float], list[tuple[float, int]]]] = []
        for stop in range(1, len(ordered) + 1):
            span = range(stop - (stop & -stop), stop)
            own = sorted((ordered[at][0][1], ordered[at][0][2], at) for at in span)
            least, thirds = (inf, -1), []
            for _, third, at in own:
                least = min(least, (third, at))
                thirds.append(least)
            self._spans.append(([second for second, _, _ in own], thirds))
        # of the corners from each first level on, likewise
        farthest = sorted(
            ((*_rounded(corner, inf), number) for number, (corner, _) in enumerate(corners)), reverse=True
        )
        self._corners, self._farthest = corners, [-first for first, _, _, _ in farthest]
        self._beyond = [
            _Span([own[1:] for own in farthest[stop - (stop & -stop) : stop]]) for stop in range(1, len(farthest) + 1)
        ]

    def covers(self, levels: Levels) -> bool:
        """Whether a point is found that is as good in every objective; one may be overlooked where floats are equal."""
        first, second, third = _rounded(levels)
        stop = bisect_right(self._first, first)
        while stop:
            seconds, thirds = self._spans[stop - 1]
            at = bisect_right(seconds, second)
            if at and thirds[at - 1][0] <= third:
                point = self._points[thirds[at - 1][1]]
                if all(own <= level for own, level in zip(point, levels, strict=True)):
                    return True
            stop -= stop & -stop
        return False

    def open(self, levels: Levels) -> Iterator[Goal]:
        """Limits of the corners that lie beyond these levels in every objective."""
        first, second, third = _rounded(levels)
        stop = bisect_right(self._farthest, -first)
        while stop:
            for number in self._beyond[stop - 1].beyond(second, third):
                corner, goal = self._corners[number]
                if all(most is None or own < most for own, most in zip(levels, corner, strict=True)):
                    yield goal
            stop -= stop & -stop
