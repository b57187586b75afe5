"""Any number of slots a device: prices by copy size refute a threshold, by a knapsack over one device."""

import bisect
import itertools
import math
from collections.abc import Sequence
from fractions import Fraction


def check_price(
    load: Sequence[int], devices: int, slots: int, threshold: Fraction, sizes: Sequence[Fraction], prices: Sequence[int]
) -> str | None:
    """Why the prices do not show that every placement has a device load above the threshold; ``None`` if they do.

    ``sizes`` cut the copy sizes into classes, class ``i`` holding sizes from ``sizes[i]`` to below ``sizes[i + 1]``; a
    copy costs its class's price. Any device within ``T`` holds ``k`` copies whose classes' lower ends add up to at most
    ``T``, so costs at most the dearest such choice, found by dynamic programming. Every expert costs at least its
    cheapest count of copies; if all experts together cost more than all devices can hold, there is no placement.

    Parameters
    ----------
    load
        Tokens of each expert.
    devices, slots
        Devices, and slots of each.
    threshold
        ``T``, tokens.
    sizes
        Lower ends of the classes, ascending from 0, in tokens.
    prices
        One integer for each class, of any sign.
    """
    if not sizes or sizes[0] != 0 or any(low >= high for low, high in itertools.pairwise(sizes)):
        return "sizes do not ascend from 0"
    if len(prices) != len(sizes):
        return f"{len(prices)} prices for {len(sizes)} sizes"
    spare = devices * slots - len(load)
    total = 0
    for weight in load:
        fewest = max(1, -(-weight * threshold.denominator // threshold.numerator))
        most = min(devices, 1 + spare)
        if fewest > most:
            return None
        total += min(
            copies * prices[bisect.bisect_right(sizes, Fraction(weight, copies)) - 1]
            for copies in range(fewest, most + 1)
        )
    dearest = _dearest(slots, threshold, sizes, prices)
    if dearest is not None and total <= devices * dearest:
        return f"the cheapest copies cost {total}, no more than the {devices * dearest} that the devices can hold"
    return None


def _dearest(slots: int, threshold: Fraction, sizes: Sequence[Fraction], prices: Sequence[int]) -> int | None:
    """Dearest choice of ``slots`` classes whose lower ends add up to at most the threshold; ``None`` if there is none.

    States are the undominated pairs (room used, price): an exact knapsack, in the sizes' common unit. The last class is
    the dearest one that the room left holds.
    """
    unit = math.lcm(threshold.denominator, *(size.denominator for size in sizes))
    room, ends = int(threshold * unit), [int(size * unit) for size in sizes]
    dearest_within = list(itertools.accumulate(prices, max))
    states: list[tuple[int, int]] = [(0, 0)]
    for _ in range(slots - 1):
        reached = sorted(
            (used + size, -(worth + price))
            for used, worth in states
            for size, price in zip(ends, prices, strict=True)
            if used + size <= room
        )
        states = []
        for used, minus in reached:
            if not states or -minus > states[-1][1]:
                states.append((used, -minus))
    return max(
        (worth + dearest_within[bisect.bisect_right(ends, room - used) - 1] for used, worth in states), default=None
    )
