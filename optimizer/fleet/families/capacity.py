"""(capacity) Replicas lie on the nodes that exist.

A replica of at most a node's devices stands on one node beside others; a larger one takes whole nodes, all in one rack
where a rack holds it, else whole racks. A node with f free devices is filled after one of the patterns of sizes that
fit f; nodes of equal f are alike, so that only how many nodes follow each pattern is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from optimizer.domain.cluster import Cluster, Period, Pool
from optimizer.fleet.column import Column
from optimizer.fleet.families.family import FleetFamily, StatedLimit
from optimizer.fleet.families.filling import Filling, by_rack, fillings, rack_contents, rack_fillings
from optimizer.fleet.nodes import rack_kinds, racks_of, whole_racks
from optimizer.units import counted


class Capacity(FleetFamily):
    """Node patterns, whole nodes and racks of every pool and period."""

    name = "capacity"

    def post(self) -> None:
        """Patterns of nodes and racks, as many as there are; replicas no more than their places."""
        for period in self.cluster.periods:
            for column in self.statement.columns:
                self.program.count(self.statement.replicas(column, period), self.statement.alone[column.name])
            for pool in self.cluster.pools:
                self._pool(pool, period)

    def _pool(self, pool: Pool, period: Period) -> None:
        if by_rack(self.statement, pool):
            self._rack_contents(pool, period)
            return
        columns = self.statement.of_pool(pool.name)
        filled = fillings(self.statement, pool, period)
        for filling in filled:
            self.program.count(filling.name, filling.nodes)
        self._places(filled, [c for c in columns if not pool.nodes_of(c.devices)], pool, period)
        large = [c for c in columns if pool.nodes_of(c.devices)]
        for free in sorted({f.free for f in filled} | ({pool.devices_per_node} if large else set())):
            of_kind = [(f.name, 1) for f in filled if f.free == free]
            label = f"{pool.name}, {free} free, {period.name}"
            if free != pool.devices_per_node:
                self.program.at_most(f"nodes[{label}]", self.name, of_kind, pool.free.count(free))
            elif pool.rack_nodes is None:
                nodes_taken = [(self.statement.replicas(c, period), pool.nodes_of(c.devices)) for c in large]
                self.program.at_most(f"nodes[{label}]", self.name, [*of_kind, *nodes_taken], len(pool.whole_nodes))
            else:
                self._racks(pool, period, of_kind, large)

    def _places(self, filled: list[Filling], small: list[Column], pool: Pool, period: Period) -> None:
        """Where nodes are filled with columns, counts are those of the fillings; with sizes, at most their places."""
        for key in dict.fromkeys(key for f in filled for key in f.places):
            held = [(f.name, f.places[key]) for f in filled if key in f.places]
            standing = [(self.statement.replicas(c, period), -1) for c in small if key in {c.name, c.devices}]
            self.program.at_least(f"places[{pool.name}, {key}, {period.name}]", self.name, [*held, *standing], 0)
            if isinstance(key, str):
                self.program.at_most(f"stand[{pool.name}, {key}, {period.name}]", self.name, [*held, *standing], 0)

    def _racks(self, pool: Pool, period: Period, small: list[tuple[str, int]], large: list[Column]) -> None:
        """Racks follow patterns of whole nodes too: replicas of several nodes, and single nodes for small ones."""
        filled = rack_fillings(self.statement, pool, period)
        for filling in filled:
            self.program.count(filling.name, filling.nodes)
        beyond = [c for c in large if racks_of(pool, pool.nodes_of(c.devices))]
        racks_taken = [(self.statement.replicas(c, period), racks_of(pool, pool.nodes_of(c.devices))) for c in beyond]
        for whole, racks in sorted(Counter(whole_racks(pool)).items()):
            names = [(f.name, 1) for f in filled if f.free == whole] + (racks_taken if whole == pool.rack_nodes else [])
            self.program.at_most(f"racks[{pool.name}, {whole} whole, {period.name}]", self.name, names, racks)
        for size in dict.fromkeys(int(size) for f in filled for size in f.places):
            held = [(f.name, f.places[size]) for f in filled if size in f.places]
            standing = [(self.statement.replicas(c, period), -1) for c in large if pool.nodes_of(c.devices) == size]
            standing += [(name, -count) for name, count in small] if size == 1 else []
            self.program.at_least(f"rack places[{pool.name}, {size}, {period.name}]", self.name, [*held, *standing], 0)

    def _rack_contents(self, pool: Pool, period: Period) -> None:
        """Racks that may be lost are filled with columns as one; what no rack holds takes whole ones."""
        filled = rack_contents(self.statement, pool, period)
        for filling in filled:
            self.program.count(filling.name, filling.nodes)
        columns = self.statement.of_pool(pool.name)
        beyond = [(c, count) for c in columns if (count := racks_of(pool, pool.nodes_of(c.devices)))]
        within = [c for c in columns if not racks_of(pool, pool.nodes_of(c.devices))]
        self._places(filled, within, pool, period)
        for column in within:
            if not any(column.name in filling.places for filling in filled):
                name = f"stand[{pool.name}, {column.name}, {period.name}]"
                self.program.at_most(name, self.name, [(self.statement.replicas(column, period), 1)], 0)
        whole = (pool.devices_per_node,) * (pool.rack_nodes or 1)
        kinds = rack_kinds(pool)
        for kind in kinds if beyond or filled else ():
            names = [(f.name, 1) for f in filled if f.kind == kind]
            if kind == whole:
                names += [(self.statement.replicas(c, period), count) for c, count in beyond]
            label = f"racks[{pool.name}, {'+'.join(map(str, kind))} free, {period.name}]"
            self.program.at_most(label, self.name, names, len(kinds[kind]))

    @classmethod
    def limits(cls, cluster: Cluster) -> Iterable[StatedLimit]:
        """The devices of each pool."""
        for pool in cluster.pools:
            more = (pool.devices_per_node,) * max(64, 9 * len(pool.free))  # beyond what anybody would add
            grown = pool.model_copy(update={"free": (*pool.free, *more)})
            pools = tuple(grown if p.name == pool.name else p for p in cluster.pools)
            yield StatedLimit(
                f"pools.{pool.name}.nodes", len(pool.free), "nodes",
                f"pool {pool.name} has {counted(pool.devices, 'free devices')} on {counted(len(pool.free), 'nodes')}",
                cluster.model_copy(update={"pools": pools}),
            )  # fmt: skip
