"""How many nodes the experts of a token are spread over, exactly: what cross-node traffic of dispatch grows with.

Experts that were chosen together form a group, counted as often as it was seen: a token's choices, or a pair of experts
where only pairs were counted. A group visits the fewest nodes that together hold a copy of each of its experts. A
dispatcher that prefers copies on nodes which the token visits anyway reaches it; one that draws copies visits more.
"""

from collections.abc import Iterable, Sequence

from optimizer.figures.placement import Devices

TokenGroup = Sequence[int]
"""How often it was seen, then its experts."""


def node_masks(devices: Devices, experts: int, node_size: int) -> list[int]:
    """Nodes that hold each expert, as a set of bits; node ``n`` has devices ``n * node_size`` and on."""
    masks = [0] * experts
    for device, held in enumerate(devices):
        for expert in held:
            masks[expert] |= 1 << device // node_size
    return masks


def fewest_nodes(masks: Iterable[int]) -> int:
    """Fewest nodes that together meet every one of the sets: a least hitting set."""
    wanted = set(masks)
    visited = 0
    for mask in wanted:
        if not mask & (mask - 1):
            visited |= mask
    unvisited = [mask for mask in wanted if not mask & visited]
    return visited.bit_count() + (_hit(unvisited, len(unvisited)) if unvisited else 0)


def _hit(masks: Sequence[int], most: int) -> int:
    """Least number of bits that meet every mask, given a number that suffices; branches on the smallest mask."""
    if not masks:
        return 0
    if most <= 1:
        return 1
    first = min(masks, key=int.bit_count)
    best = most
    while first:
        bit = first & -first
        first ^= bit
        best = min(best, 1 + _hit([mask for mask in masks if not mask & bit], best - 1))
    return best


def nodes_visited(groups: Iterable[TokenGroup], devices: Devices, experts: int, node_size: int) -> int:
    """Nodes that all groups visit, each as often as it was seen.

    Parameters
    ----------
    groups
        Each a count and its experts.
    devices, experts, node_size
        Placement of one layer, its experts, and the devices of a node; the last node may have fewer.
    """
    masks = node_masks(devices, experts, node_size)
    cases: dict[tuple[int, ...], int] = {}
    total = 0
    for count, *chosen in groups:
        held = tuple(masks[expert] for expert in chosen)
        nodes = cases.get(held)
        if nodes is None:
            nodes = cases[held] = fewest_nodes(held)
        total += count * nodes
    return total
