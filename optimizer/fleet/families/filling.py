"""Ways to fill a node or a rack: by sizes where only room counts, by columns where it matters what dies with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from optimizer.domain.cluster import Period, Pool
from optimizer.fleet.column import Column
from optimizer.fleet.families.family import FleetProgram
from optimizer.fleet.nodes import number_of_patterns, packed, patterns, rack_kinds, racks_of, whole_racks

MOST_FILLINGS = 4_000
"""Ways to fill one kind of node or rack that a program lists; beyond them each holds one column, and the proof is of a
relaxation. Each is an integer variable: at this many CP-SAT takes seconds."""


@dataclass(frozen=True)
class Filling:
    """Nodes, or racks, of one kind that are filled alike.

    Attributes
    ----------
    name
        The variable that counts them.
    places
        Replicas by size, or by column's name.
    nodes
        Nodes, or racks, of the kind.
    kind
        Of a rack: devices free on its nodes.
    """

    name: str
    free: int
    places: Mapping[int | str, int]
    nodes: int
    kind: tuple[int, ...] = ()


def losable(statement: FleetProgram, pool: Pool) -> bool:
    """Whether nodes, or racks, of a pool may be lost."""
    survive = statement.cluster.survive
    return survive is not None and survive.pool in {None, pool.name}


def by_rack(statement: FleetProgram, pool: Pool) -> bool:
    """Whether racks of a pool are filled as one, with columns: where they may be lost whole."""
    survive = statement.cluster.survive
    if survive is None or survive.racks is None or not losable(statement, pool):
        return False
    return not statement.relaxed or listed_whole(statement, pool)


def listed_whole(statement: FleetProgram, pool: Pool) -> bool:
    """Whether every way to fill the pool's nodes, or racks, with columns is few enough to list."""
    survive = statement.cluster.survive
    if survive is not None and survive.racks is not None:
        if not losable(statement, pool):
            return True
        sizes = [_room(pool, c) for c in _inside(statement, pool)]
        return number_of_patterns(sizes, max(map(sum, rack_kinds(pool)))) <= MOST_FILLINGS
    sizes = [c.devices for c in statement.of_pool(pool.name) if not pool.nodes_of(c.devices)]
    return number_of_patterns(sizes, max(pool.free, default=0)) <= MOST_FILLINGS


def _inside(statement: FleetProgram, pool: Pool) -> list[Column]:
    """Columns that stand in one rack."""
    return [c for c in statement.of_pool(pool.name) if not racks_of(pool, pool.nodes_of(c.devices))]


def _room(pool: Pool, column: Column) -> int:
    """Devices that nothing else takes."""
    return pool.nodes_of(column.devices) * pool.devices_per_node or column.devices


def rack_contents(statement: FleetProgram, pool: Pool, period: Period) -> list[Filling]:
    """Every way to fill the racks of a pool with columns; each alone, where those are too many."""
    columns = _inside(statement, pool)
    groups = [columns] if listed_whole(statement, pool) else [[column] for column in columns]
    filled = []
    for kind, alike in rack_kinds(pool).items():
        text = "+".join(map(str, kind))
        for group in groups:
            for pattern in patterns([_room(pool, c) for c in group], sum(kind), maximal=False):
                places: dict[int | str, int] = {c.name: n for c, n in zip(group, pattern, strict=True) if n}
                sizes = sorted((c.devices for c, n in zip(group, pattern, strict=True) for _ in range(n)), reverse=True)
                if places and packed(sizes, kind, pool.devices_per_node) is not None:
                    held = " + ".join(f"{n}×{name}" for name, n in places.items())
                    name = f"rack[{pool.name}, {text} free, {held}, {period.name}]"
                    filled.append(Filling(name, sum(kind), places, len(alike), kind))
    return filled


def fillings(statement: FleetProgram, pool: Pool, period: Period) -> list[Filling]:
    """Every way to fill the nodes of a pool; with columns, where they may be lost."""
    small = [c for c in statement.of_pool(pool.name) if not pool.nodes_of(c.devices)]
    survive = statement.cluster.survive
    by_column = losable(statement, pool) and survive is not None and survive.nodes is not None
    if by_column and not listed_whole(statement, pool):
        if statement.relaxed:
            by_column = False
        else:
            return [f for column in small for f in _of(pool, period, [column])]
    if by_column:
        return _of(pool, period, small)
    filled = []
    sizes = sorted({c.devices for c in small}, reverse=True)
    for free in sorted({f for f in pool.free if f and small}):
        for pattern in patterns(sizes, free, maximal=True):
            places: dict[int | str, int] = {size: count for size, count in zip(sizes, pattern, strict=True) if count}
            if places:
                text = " + ".join(f"{count}×{size}" for size, count in places.items())
                name = f"pattern[{pool.name}, {free} free, {text}, {period.name}]"
                filled.append(Filling(name, free, places, pool.free.count(free)))
    return filled


def _of(pool: Pool, period: Period, small: list[Column]) -> list[Filling]:
    filled = []
    for free in sorted({f for f in pool.free if f}):
        for pattern in patterns([c.devices for c in small], free, maximal=False):
            places: dict[int | str, int] = {
                column.name: count for column, count in zip(small, pattern, strict=True) if count
            }
            if places:
                text = " + ".join(f"{count}×{name}" for name, count in places.items())
                name = f"filling[{pool.name}, {free} free, {text}, {period.name}]"
                filled.append(Filling(name, free, places, pool.free.count(free)))
    return filled


def rack_fillings(statement: FleetProgram, pool: Pool, period: Period) -> list[Filling]:
    """Ways to fill the whole nodes of a rack: replicas of several nodes, and single nodes for small replicas.

    None where no replica stands on the pool.
    """
    sizes = {pool.nodes_of(c.devices) for c in statement.of_pool(pool.name)}
    if not sizes:
        return []
    inside = sorted({1, *(n for n in sizes if n and not racks_of(pool, n))}, reverse=True)
    filled = []
    for whole, racks in sorted(Counter(whole_racks(pool)).items()):
        for pattern in patterns(inside, whole, maximal=True) if whole else ():
            places: dict[int | str, int] = {size: n for size, n in zip(inside, pattern, strict=True) if n}
            text = " + ".join(f"{count}×{size}" for size, count in places.items())
            filled.append(Filling(f"rack[{pool.name}, {whole} whole, {text}, {period.name}]", whole, places, racks))
    return filled
