"""Lower bound where every group of experts lives on one node: the least bad way to lay the groups on the nodes."""

import heapq
import itertools
from collections.abc import Sequence
from fractions import Fraction


def members(load: Sequence[int], chosen: Sequence[int], groups: int) -> list[int]:
    """Loads of the experts of the chosen groups, in order."""
    size = len(load) // groups
    return [load[group * size + place] for group in chosen for place in range(size)]


def node_bound(load: Sequence[int], devices: int, slots: int) -> Fraction:
    """Lower bound on a node's hottest device, in tokens: its mean, or the least possible largest share.

    The largest share is least by highest averages: each spare slot goes to the expert with the largest share.
    """
    mean = Fraction(sum(load), devices)
    if max(load) <= mean:
        return mean
    spare = devices * slots - len(load)
    heap = [(Fraction(-weight), weight, 1) for weight in load]
    heapq.heapify(heap)
    for _ in range(spare):
        _, weight, copies = heap[0]
        heapq.heapreplace(heap, (Fraction(-weight, copies + 1), weight, copies + 1))
    return max(mean, -heap[0][0])


def node_bounds(
    load: Sequence[int], devices: int, slots: int, nodes: int, groups: int
) -> dict[tuple[int, ...], Fraction]:
    """``node_bound`` of every set of groups that one node can hold."""
    chosen = itertools.combinations(range(groups), groups // nodes)
    return {some: node_bound(members(load, some, groups), devices // nodes, slots) for some in chosen}


def best_laying(costs: dict[tuple[int, ...], Fraction], groups: int) -> tuple[Fraction, tuple[tuple[int, ...], ...]]:
    """Least worst cost over all ways to split the groups into the given equal sets, and the first way that has it.

    Depth first, the set with the least unplaced group next; a set that costs no less than the best way known is cut.
    """
    by_first: dict[int, list[tuple[Fraction, tuple[int, ...]]]] = {}
    for chosen, cost in costs.items():
        by_first.setdefault(chosen[0], []).append((cost, chosen))
    for options in by_first.values():
        options.sort()
    best_cost: Fraction | None = None
    best: tuple[tuple[int, ...], ...] = ()

    def extend(left: frozenset[int], so_far: Fraction, laid: tuple[tuple[int, ...], ...]) -> None:
        nonlocal best_cost, best
        if not left:
            best_cost, best = so_far, laid
            return
        for cost, chosen in by_first.get(min(left), []):
            worst = max(cost, so_far)
            if best_cost is not None and worst >= best_cost:
                break
            if left.issuperset(chosen):
                extend(left.difference(chosen), worst, (*laid, chosen))

    extend(frozenset(range(groups)), Fraction(0), ())
    if best_cost is None:
        raise ValueError(f"{groups} groups cannot be split into sets of {len(next(iter(costs)))}")
    return best_cost, best


def hierarchical_bound(load: Sequence[int], devices: int, slots: int, nodes: int, groups: int) -> Fraction:
    """Lower bound on max over mean where each group lives on one of ``nodes`` nodes, equally many on each."""
    cost, _ = best_laying(node_bounds(load, devices, slots, nodes, groups), groups)
    return cost * devices / sum(load)
