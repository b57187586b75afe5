"""Percentiles of what a request meets by chance: its wait in an M/D/1 queue, and the sequences in flight beside it.

Requests arrive as a Poisson process. A prompt takes one server S seconds; at load ρ it waits at most x·S with chance

    F(x) = (1 − ρ) · Σ over k ≤ x of (−y)ᵏ ÷ k! · eʸ, y = ρ·(x − k)   (Erlang 1909; Crommelin 1932)

and, beyond `_EXACT` services, at least 1 − e^(−θ·x) where ρ·(e^θ − 1) ≤ θ (Lundberg's inequality; Asmussen, *Applied
Probability and Queues*, XIII.5). Sequences in flight share the steps (M/G/1 processor sharing, whatever the lengths;
Kelly, *Reversibility and Stochastic Networks*, 3.3). Each percentile is a rational of a stated grid, rounded up;
whether a grid point is beyond it is decided with e^−y between two rationals, so that everyone who computes it finds the
same.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import factorial

from optimizer.domain.limits import PERCENTILES
from optimizer.figures.rates import last_kept

_LOGS = {
    50: Fraction("0.693147180559945309418"),
    90: Fraction("2.302585092994045684018"),
    99: Fraction("4.605170185988091368036"),
}
"""ln (1 ÷ (1 − share)), rounded up."""

_BITS = 320
_GRID = 256
"""Parts of a service that waits are rounded up to."""
_LOADS = 4096
"""Parts of each halving of 1 − ρ that loads are rounded up to."""
_COARSE = 64
"""Levels of which a bound tells only the first."""
_SHARES = 256
"""Parts that the share of a cycle which the sequences in flight take is rounded up to."""
_TERM_BITS = 128
_EXACT = 64
"""Services up to which the alternating sum is taken: its terms are no longer than the bits."""

assert set(_LOGS) == set(PERCENTILES)  # noqa: S101 - a row each


@lru_cache(maxsize=1 << 16)
def exp_bounds(value: Fraction, bits: int = _BITS) -> tuple[int, int]:
    """Whole numbers below and above e^value · 2^bits, for a value of at least 0."""
    halvings, more = max(0, value.numerator.bit_length() - value.denominator.bit_length() + 8), 64
    precision = bits + more + 2 * halvings + int(value * Fraction(3, 2))
    unit = 1 << precision
    small = value / (1 << halvings)
    total, term, order = unit, unit, 0
    while term:
        order += 1
        term = term * small.numerator // (small.denominator * order)
        total += term
    # each term is short of its own by less than twice a unit, and those left out together by less than one
    low, high = total, total + 2 * order + 2
    for _ in range(halvings):
        low, high = (low * low) >> precision, -(-(high * high) >> precision)
    shift = precision - bits
    return low >> shift, -(-high >> shift)


def logarithm(value: Fraction) -> Fraction:
    """Ln of a value above 1, rounded up to 1/`_GRID`."""
    wanted, most = value * (1 << _BITS), 1
    while exp_bounds(Fraction(most))[0] < wanted:
        most *= 2
    low = last_kept(lambda part: exp_bounds(Fraction(part, _GRID))[0] < wanted, 0, most * _GRID)
    return Fraction(low + 1, _GRID)


def load_of(level: int) -> Fraction:
    """The load of a level of the grid: 1 − ρ falls to a half in each `_LOADS` levels."""
    halvings, part = divmod(level, _LOADS)
    return 1 - Fraction(2 * _LOADS - part, 2 * _LOADS << halvings)


def level_of(load: Fraction) -> int:
    """The least level whose load is not below one that is under 1."""
    idle = 1 - load
    halvings = max(0, idle.denominator.bit_length() - idle.numerator.bit_length() - 1)
    if idle * (2 << halvings) <= 1:
        halvings += 1
    # 1 − ρ in parts of its octave, rounded down
    return halvings * _LOADS + 2 * _LOADS - int(idle * (2 * _LOADS << halvings))


def _waits_at_most(load: Fraction, part: int, share: Fraction) -> bool:
    """Whether a share of all prompts waits no longer than `part` ÷ `_GRID` services, by the exact distribution."""
    if load <= 1 - share:
        return True
    whole, bits = part // _GRID, _BITS
    while True:
        low_step, high_step = _falling(load, bits)
        low = high = 0
        low_power = high_power = 1 << bits
        for k in range(whole + 1):
            y = load * (part - k * _GRID) / _GRID
            below = (y.numerator**k << bits) // (factorial(k) * y.denominator**k)
            least, most = (below * low_power) >> bits, -(-((below + 1) * high_power) >> bits)
            low, high = (low + least, high + most) if k % 2 == 0 else (low - most, high - least)
            low_power, high_power = (low_power * low_step) >> bits, -(-(high_power * high_step) >> bits)
        wanted = share / (1 - load)
        least, most = (wanted * end for end in _falling(load * Fraction(part, _GRID), bits))
        if low >= most:
            return True
        if high < least:
            return False
        bits *= 2


def _falling(value: Fraction, bits: int) -> tuple[int, int]:
    """Whole numbers below and above e^−value · 2^bits."""
    low, high = exp_bounds(value, bits)
    return (1 << 2 * bits) // high, -((-1 << 2 * bits) // low)


def _surely_waits_at_most(load: Fraction, part: int, percentile: int) -> bool:
    """The same by Lundberg's inequality, which may say no where yes is true."""
    angle = _LOGS[percentile] * _GRID / part
    return exp_bounds(angle)[1] <= (1 + angle / load) * (1 << _BITS)


@lru_cache(maxsize=1 << 16)
def _wait_at(level: int, percentile: int) -> Fraction:
    load, share = load_of(level), Fraction(percentile, 100)
    if load <= 1 - share:
        return Fraction(0)
    exact = _EXACT * _GRID
    if _waits_at_most(load, exact, share):
        return Fraction(last_kept(lambda wait: not _waits_at_most(load, wait, share), -1, exact) + 1, _GRID)
    low, high = exact, 2 * exact
    while not _surely_waits_at_most(load, high, percentile):
        low, high = high, 2 * high
    longest = last_kept(lambda wait: not _surely_waits_at_most(load, wait, percentile), low, high)
    return Fraction(longest + 1, _GRID)


def wait(load: Fraction, percentile: int) -> Fraction:
    """Services that so many percent of all prompts wait at most, at a load below 1; does not fall with the load."""
    return _wait_at(level_of(load), percentile)


def least_wait(load: Fraction, percentile: int) -> Fraction:
    """A lower bound of `wait`: that of the first of `_COARSE` levels, so that few are worked out."""
    return _wait_at(level_of(load) // _COARSE * _COARSE, percentile)


def longest_step(limit: Fraction, passed: Fraction, each: Fraction, rate: Fraction, percentile: int) -> Fraction:
    """Longest step M at which `passed`·M and the wait of a queue with services of `each`·M are within a limit.

    Parameters
    ----------
    rate
        Prompts that arrive in one unit of time: the load is rate · each · M.
    """

    def kept(level: int) -> bool:
        return (passed + each * _wait_at(level, percentile)) * load_of(level) <= limit * rate * each

    low, high = 0, _LOADS
    while kept(high):
        low, high = high, 2 * high
    low = last_kept(kept, low, high)
    return max(load_of(low) / (rate * each), limit / (passed + each * _wait_at(low + 1, percentile)))


def growth_of(mean: int, busy: Fraction, alone: Fraction) -> int:
    """Share of a decode cycle that the sequences in flight take, in parts of `_SHARES`, rounded up; below 1.

    Parameters
    ----------
    busy, alone
        The cycle with `mean` sequences in flight, and with one: between them it is taken to grow evenly.
    """
    if mean == 1 or busy <= alone:
        return 0
    share = mean * (busy - alone) / ((mean - 1) * busy)
    return min(_SHARES - 1, int(share * _SHARES) + 1)


@lru_cache(maxsize=1 << 16)
def in_flight(mean: Fraction, growth: int, percentile: int) -> int:
    """Sequences in flight at most, so many percent of the time, where `mean` are on average.

    As many are met by one that comes (Wolff 1982: Poisson arrivals see time averages).

    A sequence more arrives at a rate λ, one leaves at i ÷ (K·cycle) where i are in flight for K cycles each. With a
    cycle that grows evenly, P(i + 1) ÷ P(i) = (mean · (1 − g) + g · i) ÷ (i + 1): a negative binomial number, or a
    Poisson number where `growth` g is 0.
    """
    terms, number = [1 << _TERM_BITS], 0
    while True:
        over = mean.numerator * (_SHARES - growth) + mean.denominator * growth * number
        under = mean.denominator * _SHARES * (number + 1)
        if over < under and terms[-1] * over << _TERM_BITS // 2 < (under - over) * terms[0]:
            break
        terms.append(terms[-1] * over // under)
        number += 1
    # rounding and what is left out are shares of the whole below 2^−(bits ÷ 2 − 1) together
    total = sum(terms)
    wanted, held = (total + (total >> _TERM_BITS // 2 - 8)) * percentile, 0
    for number, term in enumerate(terms):
        held += 100 * term
        if held >= wanted:
            return number
    return len(terms)
