"""What random routing asks of the hottest device: experts it reads, token-expert pairs it computes; destinations.

Each token takes `top_k` of `experts` at random, the tokens apart from one another. A device (or expert-TP group) holds
`local` experts, and `ranks` such devices wait for the slowest of them. Tokens fall on the devices as on independent
ones whose total is then corrected to what it must be, so that a device's load is binomial and its excess over the mean
is that of the largest of `ranks` independent draws (multinomial maxima: Kolchin, Sevast'yanov and Chistyakov 1978):

- distinct experts read of `local`: each with chance 1 − (1 − k/E)^T;
- pairs: `local`·T draws with chance k/E; mean T·k·local/E.

E max = Σ_t (1 − F(t)^ranks). Nothing reads less than one whole expert for one whole token. Measured load enters apart,
as the hottest device's share.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import comb, isqrt

EXPERT_UNITS = 2**32
"""Experts are counted in units of 2⁻³² expert."""
PAIR_UNITS = 2**24
"""Token-expert pairs are counted in units of 2⁻²⁴ pair."""

_LAST_KNOT = 2**24
_GUARD = 64
"""Fractional bits of probabilities."""
_EXACT_MEAN = 32
"""Mean pairs up to which E max is summed: beyond, its excess follows √T and a constant (Cornish and Fisher 1938)."""


def _token_knots() -> tuple[int, ...]:
    """Four an octave."""
    tokens = [0, 1, 2, 3, 4]
    while tokens[-1] < _LAST_KNOT:
        octave = tokens[-1]
        tokens += [octave + octave * i // 4 for i in range(1, 5)]
    return tuple(tokens)


TOKEN_KNOTS = _token_knots()


@dataclass(frozen=True, slots=True)
class Concave:
    """A concave function of tokens in integer units, linear between `TOKEN_KNOTS`, so that value ÷ tokens falls.

    Attributes
    ----------
    at
        Value at each knot.
    slopes
        Units a token between knots, and beyond the last one; non-increasing.
    """

    at: tuple[int, ...]
    slopes: tuple[int, ...]

    def units(self, tokens_numerator: int, tokens_denominator: int = 1) -> int:
        """`tokens_denominator` × the value at numerator ÷ denominator tokens."""
        i = bisect_right(TOKEN_KNOTS, tokens_numerator // tokens_denominator) - 1
        beyond = tokens_numerator - TOKEN_KNOTS[i] * tokens_denominator
        return self.at[i] * tokens_denominator + self.slopes[i] * beyond


def _concave(values: list[int], last_slope: int) -> Concave:
    """The least concave function not below the values at the knots, but for the rounding of slopes (upwards)."""
    hull: list[int] = []
    for i, value in enumerate(values):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            left = (values[b] - values[a]) * (TOKEN_KNOTS[i] - TOKEN_KNOTS[b])
            if left > (value - values[b]) * (TOKEN_KNOTS[b] - TOKEN_KNOTS[a]):
                break
            hull.pop()
        hull.append(i)
    slopes: list[int] = []
    for a, b in pairwise(hull):
        slope = -(-(values[b] - values[a]) // (TOKEN_KNOTS[b] - TOKEN_KNOTS[a]))
        slopes += [max(slope, last_slope)] * (b - a)
    at = [values[0]]
    for i, slope in enumerate(slopes):
        at.append(at[-1] + slope * (TOKEN_KNOTS[i + 1] - TOKEN_KNOTS[i]))
    return Concave(tuple(at), (*slopes, last_slope))


def _largest(draws: int, chance: int, ranks: int) -> int:
    """E of the largest of `ranks` binomials of `draws` with `chance` (× 2^`_GUARD`); the mean where there is one."""
    unit = 1 << _GUARD
    if ranks == 1 or chance in (0, unit):
        return draws * chance
    # weights outward from the mode, until they vanish
    mode = min(draws, (draws + 1) * chance >> _GUARD)
    complement = unit - chance
    up, weight, t = [unit], unit, mode
    while weight and t < draws:
        weight = weight * (draws - t) * chance // ((t + 1) * complement)
        t += 1
        up.append(weight)
    down, weight, t = [], unit, mode
    while weight and t:
        weight = weight * t * complement // ((draws - t + 1) * chance)
        t -= 1
        down.append(weight)
    weights = [*reversed(down), *up]
    total, below, expected = sum(weights), 0, t << _GUARD
    for weight in weights[:-1]:
        below += weight
        expected += unit - _power((below << _GUARD) // total, ranks)
    return expected


def _power(base: int, exponent: int) -> int:
    """A probability to a whole power, in fixed point."""
    power = 1 << _GUARD
    while exponent:
        if exponent & 1:
            power = power * base >> _GUARD
        base = base * base >> _GUARD
        exponent >>= 1
    return power


def _scaled(value: int, units: int) -> int:
    """A number with `_GUARD` fractional bits in units, rounded up."""
    return -(-value * units >> _GUARD)


@lru_cache(maxsize=4096)
def hottest_experts(experts: int, top_k: int, local: int, ranks: int) -> Concave:
    """Expected distinct experts, in `EXPERT_UNITS`, that the device with most of them reads, by tokens."""
    unit, values, last = 1 << _GUARD, [0], (-1, 0)
    miss, done, step = unit, 0, unit - (unit * top_k // experts)
    for tokens in TOKEN_KNOTS[1:]:
        # (1 − k/E)^T by way of the tokens since the last knot
        miss = miss * _power(step, tokens - done) >> _GUARD
        done = tokens
        if miss != last[0]:
            last = miss, max(unit, _largest(local, unit - miss, ranks))
        values.append(_scaled(last[1], EXPERT_UNITS))
    return _concave(values, 0)


@lru_cache(maxsize=4096)
def same_experts(top_k: int, ranks: int) -> Concave:
    """Mean experts, in `EXPERT_UNITS`, that each of `ranks` devices reads where all tokens ask the same, by tokens."""
    unit = EXPERT_UNITS * top_k // ranks
    beyond = len(TOKEN_KNOTS) - 1
    return Concave((0,) + (unit,) * beyond, (unit,) + (0,) * beyond)


@lru_cache(maxsize=4096)
def hottest_pairs(experts: int, top_k: int, local: int, ranks: int) -> Concave:
    """Expected token-expert pairs, in `PAIR_UNITS`, of the device with most of them, by tokens."""
    unit = 1 << _GUARD
    chance = unit * top_k // experts
    mean = -(-PAIR_UNITS * top_k * local // experts)
    if ranks == 1:
        return Concave(tuple(mean * tokens for tokens in TOKEN_KNOTS), (mean,) * len(TOKEN_KNOTS))
    values, first, last = [0], (0, 0), (0, 0)
    for tokens in TOKEN_KNOTS[1:]:
        if tokens * top_k * local <= _EXACT_MEAN * experts or tokens < TOKEN_KNOTS[4]:
            value = max(unit, _largest(tokens * local, chance, ranks))
            excess = _scaled(value, PAIR_UNITS) - mean * tokens
            first, last = (last if 2 * first[0] <= last[0] else first), (tokens, excess)
            values.append(mean * tokens + excess)
            continue
        roots = [isqrt(t << 40) for t in (first[0], last[0], tokens)]
        grown = (last[1] - first[1]) * (roots[2] - roots[1]) // (roots[1] - roots[0])
        values.append(mean * tokens + last[1] + max(0, grown))
    return _concave(values, mean)


@lru_cache(maxsize=4096)
def distinct_destinations(bins: int, experts: int, top_k: int) -> Fraction:
    """Expected distinct bins (devices, nodes) among `bins` equal ones that the `top_k` experts of a token lie in.

    Where bins divide the experts: hypergeometric, n·(1 − C(E − E/n, k) ÷ C(E, k)); else by independent draws.
    """
    if bins == 1:
        return Fraction(1)
    if experts % bins == 0:
        per_bin = experts // bins
        return bins * (1 - Fraction(comb(experts - per_bin, top_k), comb(experts, top_k)))
    return bins * (1 - Fraction(bins - 1, bins) ** top_k)
