"""Two slots a device: weighted counts of large copies against small ones refute a threshold."""

import bisect
import math
from collections.abc import Sequence
from fractions import Fraction


def check_threshold(
    load: Sequence[int], devices: int, threshold: Fraction, points: Sequence[tuple[Fraction, int]], price: int
) -> str | None:
    """Why the multipliers do not show that every placement has a device load above the threshold; ``None`` if they do.

    Within ``T`` a copy larger than ``T - v`` shares its device with one smaller than ``v``, so for each ``v`` at most
    ``T / 2`` the former are at most as many as the latter. With a price for each slot and a multiplier for each ``v``,
    every expert costs at least its cheapest count of copies, ``r (price + sum of multipliers of v with w/r > T - v,
    less those with w/r < v)``; more than the price of all slots is a contradiction.

    Parameters
    ----------
    load
        Tokens of each expert.
    devices
        Devices of two slots each.
    threshold
        ``T``, tokens.
    points
        ``(v, multiplier)``, ``0 < v <= T / 2``, multipliers at least 0.
    price
        Multiplier of the slot count, of any sign.
    """
    slots = 2 * devices
    spare = slots - len(load)
    for value, multiplier in points:
        if not 0 < 2 * value <= threshold or multiplier < 0:
            return f"point {value} with multiplier {multiplier} is outside 0 < v <= T/2, multiplier >= 0"
    scale = math.lcm(threshold.denominator, *(value.denominator for value, _ in points))
    limit = int(threshold * scale)
    ascending = sorted((int(value * scale), multiplier) for value, multiplier in points)
    values = [value for value, _ in ascending]
    beyond = [0]
    for _, multiplier in reversed(ascending):
        beyond.append(beyond[-1] + multiplier)
    beyond.reverse()
    total = 0
    for weight in load:
        size = weight * scale
        fewest = max(1, -(-size // limit))
        most = min(devices, 1 + spare)
        if fewest > most:
            return None
        # w/r < v where v > floor(w/r); w/r > T - v where v > T - ceil(w/r), both among whole numbers.
        total += min(
            copies
            * (
                price
                + beyond[bisect.bisect_right(values, limit + size // -copies)]
                - beyond[bisect.bisect_right(values, size // copies)]
            )
            for copies in range(fewest, most + 1)
        )
    if total <= price * slots:
        return f"the cheapest copies cost {total}, no more than the {price * slots} that all slots are worth"
    return None
