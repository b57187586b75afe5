"""Lower bounds on the nodes that groups of co-activated experts visit, whatever the placement, by integer arithmetic.

=========  ============================================================================================================
kind       why no placement visits fewer nodes
=========  ============================================================================================================
partners   an expert shares a node with at most as many others as a node has slots, so at most the most frequent ones;
           a group on ``d`` nodes has some number of pairs that share one, and all pairs that can are shared out at a
           price
solver     CP-SAT searched all placements within the balance; trusted, and listed as such, not checked
=========  ============================================================================================================
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from optimizer.figures.locality import TokenGroup
from optimizer.figures.placement_bounds.balance import RejectedError, rational


def shareable_pairs(groups: Sequence[TokenGroup], experts: int, devices: int, slots: int, node_size: int) -> int:
    """Twice the most pairs of co-activated experts that can share a node, each pair as often as it was seen.

    A node holds at most ``node_size * slots`` experts, so an expert meets on each node that has a copy of it at most
    one less: at best its most frequent partners. A further node adds less than the one before, so the spare slots go to
    the largest gains.
    """
    capacity = min(experts, node_size * slots)
    nodes = -(-devices // node_size)
    partners = [[0] * experts for _ in range(experts)]
    for count, *chosen in groups:
        for place, expert in enumerate(chosen):
            for partner in chosen[:place]:
                partners[expert][partner] += count
                partners[partner][expert] += count
    gains: list[int] = []
    total = 0
    for of_expert in partners:
        ranked = sorted(of_expert, reverse=True)
        steps = [sum(ranked[n * (capacity - 1) : (n + 1) * (capacity - 1)]) for n in range(nodes)]
        total += steps[0]
        gains += [gain for gain in steps[1:] if gain]
    return total + sum(heapq.nlargest(devices * slots - experts, gains))


def shared_on(size: int, nodes: int) -> int:
    """Least pairs of a group of ``size`` experts that share a node where it visits ``nodes``: even parts are least."""
    each, more = divmod(size, nodes)
    return more * (each + 1) * each // 2 + (nodes - more) * each * (each - 1) // 2


def partners_bound(
    groups: Sequence[TokenGroup], experts: int, devices: int, slots: int, node_size: int, price: Fraction
) -> int:
    """Lower bound on the nodes visited, for a price of a pair that shares a node.

    ``sum over groups of min over d of (d + price * pairs shared on d) - price * pairs that can be shared``, rounded up.
    """
    return next(_partners_bounds(groups, experts, devices, slots, node_size, [price]))


def _partners_bounds(
    groups: Sequence[TokenGroup], experts: int, devices: int, slots: int, node_size: int, prices: Sequence[Fraction]
) -> Iterator[int]:
    nodes = -(-devices // node_size)
    capacity = node_size * slots
    sizes: Counter[int] = Counter()
    for group in groups:
        sizes[len(group) - 1] += group[0]
    pairs = Fraction(shareable_pairs(groups, experts, devices, slots, node_size), 2) if any(prices) else 0
    for price in prices:
        paid = sum(
            count * min(d + price * shared_on(size, d) for d in range(-(-size // capacity), min(size, nodes) + 1))
            for size, count in sizes.items()
            if size
        )
        yield math.ceil(paid - price * pairs)


def best_partners(
    groups: Sequence[TokenGroup], experts: int, devices: int, slots: int, node_size: int
) -> tuple[int, dict[str, Any]]:
    """The best of the bounds of kind ``partners``, and its witness: prices at which a group is indifferent."""
    nodes = -(-devices // node_size)
    prices = {Fraction(0)}
    for size in {len(group) - 1 for group in groups}:
        for few in range(1, min(size, nodes)):
            saved = shared_on(size, few) - shared_on(size, few + 1)
            if saved:
                prices.add(Fraction(1, saved))
    tried = sorted(prices)
    bounds = _partners_bounds(groups, experts, devices, slots, node_size, tried)
    bound, price = max(zip(bounds, tried, strict=True), key=lambda entry: (entry[0], -entry[1]))
    return bound, {"kind": "partners", "price": str(price)}


def locality_bound(
    groups: Sequence[TokenGroup], experts: int, devices: int, slots: int, node_size: int, witness: Mapping[str, Any]
) -> int:
    """Bound that a witness proves.

    Raises
    ------
    RejectedError
        The witness proves nothing.
    """
    if witness.get("kind") != "partners":
        raise RejectedError(f"unknown kind of bound on nodes visited {witness.get('kind')!r}")
    price = rational(witness.get("price"))
    if price < 0:
        raise RejectedError("the price of a shared pair is negative")
    return partners_bound(groups, experts, devices, slots, node_size, price)
