"""From counts to devices: the patterns that a point of the program gives to nodes and racks, filled with replicas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial

from optimizer.domain.cluster import Period, Pool
from optimizer.domain.fleet import Fleet, NodeShare, Replicas
from optimizer.errors import InternalError
from optimizer.fleet.column import Column
from optimizer.fleet.families import FleetProgram
from optimizer.fleet.families.filling import Filling, by_rack, fillings, rack_contents, rack_fillings
from optimizer.fleet.nodes import packed, rack_kinds, racks_of, whole_racks

Places = dict[str, list[tuple[NodeShare, ...]]]
"""Where the replicas of each column are."""
Fill = Callable[[Period, Pool, Mapping[str, int], Places], None]
"""Places so many replicas of each column, in a period, on a pool."""


def lay(statement: FleetProgram, point: Mapping[str, Fraction]) -> Fleet:
    """The fleet of a point: every replica on its devices."""
    return laid(statement, point, partial(_pool, statement, point))


def laid(statement: FleetProgram, point: Mapping[str, Fraction], fill: Fill) -> Fleet:
    """The fleet of a point's counts, whose places are found one pool after another."""
    fleet = {}
    for period in statement.cluster.periods:
        places: Places = {column.name: [] for column in statement.columns}
        counts = {column.name: int(point[statement.replicas(column, period)]) for column in statement.columns}
        for pool in statement.cluster.pools:
            fill(period, pool, counts, places)
        fleet[period.name] = tuple(
            Replicas(c.name, c.demand, c.role, c.pool, c.layout, counts[c.name], tuple(places[c.name]))
            for c in statement.columns
            if counts[c.name]
        )
    return fleet


def _pool(
    statement: FleetProgram, point: Mapping[str, Fraction], period: Period, pool: Pool, counts: Mapping[str, int],
    places: Places,
) -> None:  # fmt: skip
    if by_rack(statement, pool):
        _racks(statement, point, period, pool, counts, places)
        return
    columns = statement.of_pool(pool.name)
    nodes: dict[int, list[int]] = {}
    for node, free in enumerate(pool.free):
        nodes.setdefault(free, []).append(node)
    slots = _slots(statement, point, period, pool)
    for column in columns:
        size = pool.nodes_of(column.devices)
        for _ in range(counts[column.name] if size else 0):
            taken = slots.take(size)
            places[column.name].append(on_whole(pool, taken, column.devices))
    nodes[pool.devices_per_node] = slots.singles()
    for filling in fillings(statement, pool, period):
        for _ in range(int(point[filling.name])):
            if not nodes[filling.free]:
                raise InternalError(f"{filling.name}: more nodes filled than there are")
            _fill(filling.places, nodes[filling.free].pop(0), columns, counts, places)
    for column in columns:
        if len(places[column.name]) != counts[column.name]:
            raise InternalError(f"{column.name}: {counts[column.name]} replicas on {len(places[column.name])} places")


def _racks(
    statement: FleetProgram, point: Mapping[str, Fraction], period: Period, pool: Pool, counts: Mapping[str, int],
    places: Places,
) -> None:  # fmt: skip
    """Racks that are filled as one: what no rack holds on whole ones, the rest packed on the nodes of each."""
    kinds = {kind: list(alike) for kind, alike in rack_kinds(pool).items()}
    whole = kinds.get((pool.devices_per_node,) * (pool.rack_nodes or 1), [])
    columns = {column.name: column for column in statement.of_pool(pool.name)}
    for name, column in columns.items():
        nodes = pool.nodes_of(column.devices)
        for _ in range(counts[name] if racks_of(pool, nodes) else 0):
            run = [node for _ in range(racks_of(pool, nodes)) for node in whole.pop(0)]
            places[name].append(on_whole(pool, sorted(run)[:nodes], column.devices))
    for filling in rack_contents(statement, pool, period):
        for _ in range(int(point[filling.name])):
            _pack(pool, kinds[filling.kind].pop(0), filling, columns, places)


def _pack(
    pool: Pool, rack: list[int], filling: Filling, columns: Mapping[str, Column],
    places: Places,
) -> None:  # fmt: skip
    held = sorted(
        (columns[str(name)] for name, n in filling.places.items() for _ in range(n)), key=lambda c: -c.devices
    )
    stands = packed([column.devices for column in held], filling.kind, pool.devices_per_node)
    if stands is None:
        raise InternalError(f"{filling.name}: does not fit its rack")
    first = dict.fromkeys(rack, 0)
    for column, at in zip(held, stands, strict=True):
        nodes = [rack[number] for number in at]
        if pool.nodes_of(column.devices):
            places[column.name].append(on_whole(pool, nodes, column.devices))
            continue
        start = first[nodes[0]]
        first[nodes[0]] += column.devices
        places[column.name].append((NodeShare(nodes[0], tuple(range(start, start + column.devices))),))


def _fill(
    contents: Mapping[int | str, int], node: int, columns: list[Column], counts: Mapping[str, int],
    places: Places,
) -> None:  # fmt: skip
    first = 0
    for key, count in contents.items():
        for _ in range(count):
            open_ = (c for c in columns if key in {c.name, c.devices} and len(places[c.name]) < counts[c.name])
            column = next(open_, None)
            if column is not None:
                devices = tuple(range(first, first + column.devices))
                places[column.name].append((NodeShare(node, devices),))
                first += column.devices


class _Slots:
    """Whole nodes in runs: of one rack after its pattern, of whole racks for what no rack holds."""

    def __init__(self, runs: dict[int, list[list[int]]], racks: list[list[int]], rack_nodes: int | None) -> None:
        self.runs, self.racks, self.rack_nodes = runs, racks, rack_nodes

    def take(self, size: int) -> list[int]:
        """Nodes for one replica of `size` whole nodes."""
        if self.rack_nodes is None:
            run = self.racks[0]
            taken, self.racks[0] = run[:size], run[size:]
            return taken
        if size <= self.rack_nodes:
            return self.runs[size].pop(0)
        needed = -(-size // self.rack_nodes)
        run = [node for rack in self.racks[:needed] for node in rack]
        self.racks = self.racks[needed:]
        return run[:size]

    def singles(self) -> list[int]:
        """Nodes left for replicas that share one."""
        if self.rack_nodes is None:
            return self.racks[0]
        return [node for run in self.runs.get(1, []) for node in run]


def _slots(statement: FleetProgram, point: Mapping[str, Fraction], period: Period, pool: Pool) -> _Slots:
    if pool.rack_nodes is None:
        return _Slots({}, [list(pool.whole_nodes)], None)
    racks = [[n for n in pool.whole_nodes if n // pool.rack_nodes == rack] for rack in range(len(whole_racks(pool)))]
    runs: dict[int, list[list[int]]] = {}
    for filling in rack_fillings(statement, pool, period):
        for _ in range(int(point[filling.name])):
            rack = next(rack for rack in racks if len(rack) == filling.free)
            racks.remove(rack)
            for size, count in filling.places.items():
                for _ in range(count):
                    runs.setdefault(int(size), []).append(rack[: int(size)])
                    rack = rack[int(size) :]
    return _Slots(runs, [rack for rack in racks if len(rack) == pool.rack_nodes], pool.rack_nodes)


def on_whole(pool: Pool, nodes: Sequence[int], devices: int) -> tuple[NodeShare, ...]:
    """A replica of several whole nodes, the last of them in part."""
    node_devices = pool.devices_per_node
    return tuple(
        NodeShare(node, tuple(range(min(node_devices, devices - number * node_devices))))
        for number, node in enumerate(nodes)
    )
