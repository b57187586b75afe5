"""How replicas lie on nodes: how many fit alone, and every way to fill a node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from optimizer.domain.cluster import Pool

Pattern = tuple[int, ...]


def whole_racks(pool: Pool) -> list[int]:
    """Whole nodes of each rack; one rack of all where the pool has none."""
    size = pool.rack_nodes or len(pool.free)
    counts = [0] * -(-len(pool.free) // size)
    for node in pool.whole_nodes:
        counts[node // size] += 1
    return counts


def racks(pool: Pool) -> list[list[int]]:
    """Nodes of each rack."""
    size = pool.rack_nodes or len(pool.free)
    return [list(range(first, min(first + size, len(pool.free)))) for first in range(0, len(pool.free), size)]


def rack_kinds(pool: Pool) -> dict[tuple[int, ...], list[list[int]]]:
    """Racks that are alike: devices free on their nodes, most first, and the nodes of each in that order."""
    kinds: dict[tuple[int, ...], list[list[int]]] = {}
    for nodes in racks(pool):
        ordered = sorted(nodes, key=lambda node: -pool.free[node])
        kinds.setdefault(tuple(pool.free[node] for node in ordered), []).append(ordered)
    return kinds


def packed(sizes: Sequence[int], free: Sequence[int], node_devices: int) -> list[tuple[int, ...]] | None:
    """Nodes that replicas of these sizes, the largest first, stand on; None where they do not fit.

    One of more than a node takes whole nodes; the others stand on one each.
    """
    left = list(free)
    places: list[tuple[int, ...]] = []
    for size in (size for size in sizes if size > node_devices):
        whole = [node for node, room in enumerate(left) if room == node_devices][: -(-size // node_devices)]
        if len(whole) * node_devices < size:
            return None
        places.append(tuple(whole))
        for node in whole:
            left[node] = 0
    small = [size for size in sizes if size <= node_devices]
    nodes = _packed(tuple(small), tuple(left), set())
    return None if nodes is None else [*places, *((node,) for node in nodes)]


def _packed(
    sizes: tuple[int, ...], left: tuple[int, ...], failed: set[tuple[int, tuple[int, ...]]]
) -> list[int] | None:
    """The node of each: the fullest that takes it first; of nodes with equal room one is tried."""
    if not sizes:
        return []
    state = (len(sizes), tuple(sorted(left)))
    if state in failed or sum(sizes) > sum(left):
        return None
    for room in sorted({room for room in left if room >= sizes[0]}):
        node = left.index(room)
        others = _packed(sizes[1:], (*left[:node], room - sizes[0], *left[node + 1 :]), failed)
        if others is not None:
            return [node, *others]
    failed.add(state)
    return None


def racks_of(pool: Pool, nodes: int) -> int:
    """Whole racks that a replica of so many whole nodes takes; 0 where it shares one, or there are none."""
    return 0 if pool.rack_nodes is None or nodes <= pool.rack_nodes else -(-nodes // pool.rack_nodes)


def most_alone(pool: Pool, devices: int) -> int:
    """Most replicas of one size that a pool holds when it is otherwise empty."""
    nodes = pool.nodes_of(devices)
    if not nodes:
        return sum(free // devices for free in pool.free)
    racks = racks_of(pool, nodes)
    if racks:
        return whole_racks(pool).count(pool.rack_nodes or 0) // racks
    return sum(count // nodes for count in whole_racks(pool))


def patterns(sizes: Sequence[int], room: int, *, maximal: bool) -> Iterator[Pattern]:
    """Every multiset of sizes within a room, as counts; only those that nothing can be added to where `maximal`."""

    def fill(index: int, left: int, chosen: Pattern) -> Iterator[Pattern]:
        if index == len(sizes):
            if not maximal or all(left < size for size in sizes):
                yield chosen
            return
        for count in range(left // sizes[index], -1, -1):
            yield from fill(index + 1, left - count * sizes[index], (*chosen, count))

    yield from fill(0, room, ())


def number_of_patterns(sizes: Sequence[int], room: int) -> int:
    """How many multisets of sizes a room holds, maximal or not."""
    ways = [1] * (room + 1)
    for size in sizes:
        for left in range(size, room + 1):
            ways[left] += ways[left - size]
    return ways[room]
