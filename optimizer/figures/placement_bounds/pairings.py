"""Two slots a device: cases by copies of one expert after another, each refuted by weighted counts of shares."""

import bisect
import itertools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

Case = Mapping[str, Any]


def check_cases(
    load: Sequence[int], devices: int, threshold: Fraction, values: Sequence[Fraction], cases: Case
) -> str | None:
    """Why the cases do not show that every placement has a device load above the threshold; ``None`` if they do.

    A case either splits, by whether an expert has at most so many copies or more, or ends with a price for each slot
    and multipliers of some values ``v``. Within ``T`` a copy larger than ``T - v`` shares its device with one smaller
    than ``v``, so for each ``v`` at most ``T / 2`` the former are at most as many as the latter. So every expert costs
    at least its cheapest count of copies that the case allows, ``r (price + sum of multipliers of v with w/r > T - v,
    less those with w/r < v)``; more than the price of all slots is a contradiction.

    Parameters
    ----------
    load
        Tokens of each expert.
    devices
        Devices of two slots each.
    threshold
        ``T``, tokens.
    values
        ``v`` ascending, ``0 < v <= T / 2``, in tokens.
    cases
        ``{"expert", "copies", "at_most", "more"}`` or ``{"price", "points"}``, points
        ``[place in values, multiplier]``.
    """
    if any(low >= high for low, high in itertools.pairwise(values)):
        return "values do not ascend"
    if values and not 0 < 2 * values[0] <= 2 * values[-1] <= threshold:
        return "a value is outside 0 < v <= T/2"
    slots = 2 * devices
    fewest = [max(1, -(-weight * threshold.denominator // threshold.numerator)) for weight in load]
    spare = slots - sum(fewest)
    if spare < 0 or max(fewest) > devices:
        return None
    # Whole numbers of a unit in which the threshold and every value are whole: v <= x is v <= floor(x).
    unit = math.lcm(threshold.denominator, *(value.denominator for value in values))
    most_beside, whole = int(threshold * unit), [int(value * unit) for value in values]
    places = [
        [
            (
                bisect.bisect_right(whole, most_beside + -weight * unit // copies),
                bisect.bisect_right(whole, weight * unit // copies),
            )
            for copies in range(least, min(devices, least + spare) + 1)
        ]
        for weight, least in zip(load, fewest, strict=True)
    ]
    most = [min(devices, least + spare) for least in fewest]
    todo: list[tuple[Case, list[int], list[int]]] = [(cases, fewest, most)]
    while todo:
        case, low, high = todo.pop()
        if "expert" in case:
            expert, copies = int(case["expert"]), int(case["copies"])
            if not 0 <= expert < len(load):
                return f"a case splits by expert {expert}"
            less, more = high.copy(), low.copy()
            less[expert], more[expert] = min(high[expert], copies), max(low[expert], copies + 1)
            todo += [(case["at_most"], low, less), (case["more"], more, high)]
            continue
        reason = _check_case(slots, places, fewest, low, high, len(values), case)
        if reason is not None:
            return reason
    return None


def _check_case(
    slots: int, places: Sequence[Sequence[tuple[int, int]]], fewest: Sequence[int], low: Sequence[int],
    high: Sequence[int], values: int, case: Case,
) -> str | None:  # fmt: skip
    spare = slots - sum(low)
    if spare < 0 or sum(high) < slots or any(least > most for least, most in zip(low, high, strict=True)):
        return None
    price, points = int(case["price"]), case["points"]
    multipliers = [0] * values
    for place, multiplier in points:
        if not 0 <= place < values or multiplier < 0:
            return f"point {place} with multiplier {multiplier} is none"
        multipliers[place] = int(multiplier)
    beyond = [0]
    for multiplier in reversed(multipliers):
        beyond.append(beyond[-1] + multiplier)
    beyond.reverse()
    total = 0
    for table, first, least, most in zip(places, fewest, low, high, strict=True):
        total += min(
            copies * (price + beyond[table[copies - first][0]] - beyond[table[copies - first][1]])
            for copies in range(least, min(most, least + spare) + 1)
        )
    if total <= price * slots:
        return f"the cheapest copies cost {total}, no more than the {price * slots} that all slots are worth"
    return None
