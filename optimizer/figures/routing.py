"""Expected spread of routed tokens: experts that a batch touches, destinations that a token has.

Uniform, independent routing; measured load enters apart, as the hottest device's share.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb

TOUCHED_UNITS = 2**32
"""Experts touched are counted in units of 2⁻³² expert."""

_LAST_KNOT = 2**24


@lru_cache(maxsize=256)
def _knots(experts: int, top_k: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    tokens = [0, 1, 2, 3, 4]
    while tokens[-1] < _LAST_KNOT:
        octave = tokens[-1]
        tokens += [octave + octave * i // 4 for i in range(1, 5)]
    # (1 - k/E)^T in fixed point with 64 guard bits, rounded up; the product chain stays a non-increasing sequence.
    guard = 2**96
    miss = guard * (experts - top_k) // experts
    values, power, done = [], guard, 0
    for token in tokens:
        step, base = token - done, miss
        while step:
            if step & 1:
                power = -(-power * base // guard)
            base = -(-base * base // guard)
            step >>= 1
        done = token
        values.append(experts * TOUCHED_UNITS * (guard - power) // guard)
    slopes, at = [], [0]
    previous: int | None = None
    for left, right, high in zip(tokens, tokens[1:], values[1:], strict=False):
        slope = max(0, (high - at[-1])) // (right - left)
        slope = slope if previous is None else min(slope, previous)
        slopes.append(slope)
        at.append(at[-1] + slope * (right - left))
        previous = slope
    return tuple(tokens), tuple(at), tuple(slopes)


@dataclass(frozen=True, slots=True)
class Touched:
    """Expected distinct experts of `experts` that tokens using `top_k` each touch: E·(1 − (1 − k/E)^T).

    Evaluated at knots (four an octave) and linear between them with non-increasing integer slopes, so that it is
    concave, and touched(T) ÷ T falls, exactly. Below the formula by less than 1%.
    """

    experts: int
    top_k: int

    def units(self, tokens_numerator: int, tokens_denominator: int = 1) -> int:
        """`TOUCHED_UNITS` × `tokens_denominator` × experts touched by numerator ÷ denominator tokens."""
        knots, at, slopes = _knots(self.experts, self.top_k)
        i = bisect_right(knots, tokens_numerator // tokens_denominator) - 1
        if i >= len(slopes):
            return at[-1] * tokens_denominator
        return at[i] * tokens_denominator + slopes[i] * (tokens_numerator - knots[i] * tokens_denominator)

    def expected(self, tokens: int) -> Fraction:
        """Experts touched by whole tokens."""
        return Fraction(self.units(tokens), TOUCHED_UNITS)


@lru_cache(maxsize=4096)
def distinct_destinations(bins: int, experts: int, top_k: int) -> Fraction:
    """Expected distinct bins (devices, nodes) among `bins` equal ones that the `top_k` experts of a token lie in.

    Where bins divide the experts: hypergeometric, n·(1 − C(E − E/n, k) ÷ C(E, k)); else by independent draws.
    """
    if bins == 1:
        return Fraction(1)
    if experts % bins == 0:
        each = experts // bins
        return bins * (1 - Fraction(comb(experts - each, top_k), comb(experts, top_k)))
    return bins * (1 - Fraction(bins - 1, bins) ** top_k)
