"""Lower bounds on the hottest device of one layer, recomputed from the loads by integer arithmetic.

A load is in tokens, ``T`` a device load in tokens as a rational number ``"numerator/denominator"``.

=========  ============================================================================================================
kind       why no placement has a hottest device below the bound
=========  ============================================================================================================
average    the hottest device carries at least the mean
count      below ``T`` expert ``e`` needs more than ``w_e / T`` copies, and all of them are more than the slots
topj       without replicas, the ``j`` heaviest experts sit on some ``m`` devices, whose other slots hold at least the
           lightest experts
pairing    two slots a device: copies above ``T - v`` need partners below ``v``; weighted sums over several ``v``, case
           by case over the copies of some experts
price      any slots: prices by size, such that no device within ``T`` holds more than its part of the budget
=========  ============================================================================================================
"""

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from optimizer.figures.placement_bounds.pairings import check_cases
from optimizer.figures.placement_bounds.prices import check_price
from optimizer.units import parse_fraction

Witness = Mapping[str, Any]


class RejectedError(Exception):
    """A bound that does not follow from its witness."""


def rational(text: object) -> Fraction:
    """``"n/d"`` as a rational number; anything else is rejected."""
    if not isinstance(text, str):
        raise RejectedError(f"{text!r} is not a rational number written as text")
    try:
        return parse_fraction(text)
    except ValueError as error:
        raise RejectedError(f"{text!r} is not a rational number") from error


def topj_bound(load: Sequence[int], slots_per_device: int, heaviest: int) -> Fraction:
    """Least possible maximum device load, in tokens, by where the ``heaviest`` experts can be (no replicas).

    ``min over m of (sum of the j heaviest + sum of the k m - j lightest) / m`` for ``ceil(j / k) <= m <= j``.
    """
    ascending = sorted(load)
    prefix = [0]
    for weight in ascending:
        prefix.append(prefix[-1] + weight)
    top = prefix[-1] - prefix[len(load) - heaviest]
    fewest = -(-heaviest // slots_per_device)
    most = min(heaviest, len(load) // slots_per_device)
    return min(Fraction(top + prefix[slots_per_device * m - heaviest], m) for m in range(fewest, most + 1))


def copies_needed(load: Sequence[int], threshold: Fraction) -> int:
    """Copies without which some share is at least ``threshold``: ``sum(floor(w / T) + 1)``."""
    return sum(weight * threshold.denominator // threshold.numerator + 1 for weight in load)


def _average(_load: Sequence[int], _devices: int, _slots: int, _witness: Witness) -> Fraction:
    return Fraction(1)


def _count(load: Sequence[int], devices: int, slots: int, witness: Witness) -> Fraction:
    threshold = rational(witness.get("threshold"))
    if threshold <= 0:
        raise RejectedError("threshold is not positive")
    needed = copies_needed(load, threshold)
    if needed <= devices * slots:
        raise RejectedError(f"shares below {threshold} need {needed} copies, and there are {devices * slots} slots")
    return threshold * devices / sum(load)


def _topj(load: Sequence[int], devices: int, slots: int, witness: Witness) -> Fraction:
    heaviest = witness.get("heaviest")
    if devices * slots != len(load):
        raise RejectedError("topj bounds placements without replicas only")
    if not isinstance(heaviest, int) or not 1 <= heaviest <= len(load):
        raise RejectedError(f"heaviest is {heaviest!r}, not a number of experts")
    return topj_bound(load, slots, heaviest) * devices / sum(load)


def _pairing(load: Sequence[int], devices: int, slots: int, witness: Witness) -> Fraction:
    threshold = rational(witness.get("threshold"))
    values, cases = witness.get("values"), witness.get("cases")
    if slots != 2:
        raise RejectedError("pairing bounds devices of two slots only")
    if threshold <= 0 or not isinstance(values, Sequence) or not isinstance(cases, Mapping):
        raise RejectedError("pairing needs a positive threshold, values and cases")
    try:
        reason = check_cases(load, devices, threshold, [rational(value) for value in values], cases)
    except (KeyError, TypeError, ValueError) as error:
        raise RejectedError("a case is not written as one") from error
    if reason is not None:
        raise RejectedError(reason)
    return threshold * devices / sum(load)


def _price(load: Sequence[int], devices: int, slots: int, witness: Witness) -> Fraction:
    threshold = rational(witness.get("threshold"))
    sizes, prices = witness.get("sizes"), witness.get("prices")
    if threshold <= 0 or not isinstance(sizes, Sequence) or not isinstance(prices, Sequence):
        raise RejectedError("price needs a positive threshold, sizes and prices")
    reason = check_price(load, devices, slots, threshold, [rational(size) for size in sizes], [int(p) for p in prices])
    if reason is not None:
        raise RejectedError(reason)
    return threshold * devices / sum(load)


BOUNDS: dict[str, Callable[[Sequence[int], int, int, Witness], Fraction]] = {
    "average": _average,
    "count": _count,
    "topj": _topj,
    "pairing": _pairing,
    "price": _price,
}


def bound_of(load: Sequence[int], devices: int, slots: int, witness: Witness) -> Fraction:
    """Lower bound on max over mean that the witness proves for one layer and one load.

    Raises
    ------
    RejectedError
        The witness proves nothing.
    """
    kind = witness.get("kind")
    if not isinstance(kind, str) or kind not in BOUNDS:
        raise RejectedError(f"unknown kind of bound {kind!r}")
    if sum(load) == 0:
        return Fraction(1)
    return BOUNDS[kind](load, devices, slots, witness)


LoadRows = Sequence[Sequence[int]]
"""Tokens of ``[workload][expert]``."""


def combined(rows: LoadRows, parts: Sequence[Fraction]) -> list[int]:
    """Load of each expert under a mix of the workloads, each first scaled to the same total, in a common unit.

    Whatever the placement, a device's load under the mix is the mix of its loads, so the hottest device under the mix,
    over the mean, is at most the mix of the workloads' maxima over means.

    Raises
    ------
    ValueError
        A part is negative, the parts do not add up to 1, or a workload without load has one.
    """
    if len(parts) != len(rows) or sum(parts) != 1 or min(parts) < 0:
        raise ValueError("the parts of the workloads are negative or do not add up to 1")
    totals = [sum(row) for row in rows]
    if any(part and not total for part, total in zip(parts, totals, strict=True)):
        raise ValueError("a workload without load has a part")
    scale = math.lcm(*(part.denominator * total for part, total in zip(parts, totals, strict=True) if part))
    factors = [int(part * scale / total) if part else 0 for part, total in zip(parts, totals, strict=True)]
    return [sum(map(int.__mul__, factors, column)) for column in map(list, zip(*rows, strict=True))]


def envelope_copies(rows: LoadRows, devices: int, threshold: Fraction) -> int:
    """Copies without which some share under some workload is at least ``threshold`` mean device loads.

    An expert has one number of copies for all workloads, so it needs the most that one of them asks for.
    """
    units = [
        (devices * threshold.denominator, sum(row) * threshold.numerator, row) for row in rows if sum(row)
    ]  # fmt: skip
    return sum(
        max((row[expert] * above // below + 1 for above, below, row in units), default=1)
        for expert in range(len(rows[0]))
    )
