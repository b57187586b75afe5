"""Ceilings: what no replica of at most so many devices serves; and a program that no fleet of any layouts is beyond.

A replica is no better than another of its demand, role and pool that takes no more devices and serves no less: so all
that matters of layouts that are not listed is how much any of them serves on n devices. A ceiling (n, u) says that none
on at most n devices serves u. A replica of the least size above the ceiling below it that serves u stands in for all of
those between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from optimizer.domain.cluster import Cluster, Pool, ReplicaRole
from optimizer.fleet.column import Column, column_layout, cost_of, power_of

LARGEST_REPLICA_NODES = 8
"""Nodes of the largest replica that is priced where the cluster does not say."""


@dataclass(frozen=True)
class Ceiling:
    """No replica of at most `devices` devices serves `requests_per_s`, availability not counted; 0: none fits.

    Of requests of one bucket: of a longer one it serves no more.
    """

    demand: str
    role: ReplicaRole
    pool: str
    devices: int
    requests_per_s: Fraction
    bucket: int = 0


def replica_sizes(cluster: Cluster, pool: Pool) -> list[int]:
    """Devices of the replicas that are looked at: every number that a node has free, then whole nodes."""
    node, nodes = pool.devices_per_node, len(pool.whole_nodes)
    largest = cluster.replica_devices or LARGEST_REPLICA_NODES * node
    sizes = [*range(1, max(pool.free) + 1), *(count * node for count in range(2, nodes + 1))]
    return [size for size in sizes if size <= largest] or [1]


def unlooked(cluster: Cluster) -> list[str]:
    """Replicas that no proof speaks of."""
    unproved = []
    for pool in cluster.pools:
        largest, node = replica_sizes(cluster, pool)[-1], pool.devices_per_node
        if largest < pool.devices and len(pool.whole_nodes) > largest // node:
            unproved.append(f"replicas of more than {largest} devices of {pool.name}")
        if largest > node:
            unproved.append(f"replicas of more than {node} devices of {pool.name} that are not whole nodes")
    return unproved


def copies(pool: Pool, small: int, large: int) -> int:
    """How many replicas of `small` devices stand where one of `large` does, whatever node of it is lost."""
    if large <= pool.devices_per_node:
        return large // small
    if pool.rack_nodes is not None and pool.nodes_of(large) > pool.rack_nodes:
        return int(small == large)
    nodes = pool.nodes_of(large)
    if small <= pool.devices_per_node:
        return min(large // small, nodes * (pool.devices_per_node // small))
    return min(large // small, nodes // pool.nodes_of(small))


def ceiling_columns(cluster: Cluster, ceilings: Sequence[Ceiling]) -> tuple[Column, ...]:
    """The replicas that stand in for every layout, without those that copies of another stand in for.

    The copies cost and draw no more, and are of one kind; with `start_cost` each is started, so that only one may be.
    """
    columns: list[Column] = []
    for kind in dict.fromkeys((c.demand, c.role, c.pool, c.bucket) for c in ceilings):
        name, role, pool_name, bucket = kind
        alike = sorted((c for c in ceilings if (c.demand, c.role, c.pool, c.bucket) == kind), key=_devices)
        pool = cluster.pool[pool_name]
        sizes = replica_sizes(cluster, pool)
        below = [0, *(ceiling.devices for ceiling in alike)]
        standing = [
            (next(size for size in sizes if size > last), c.requests_per_s)
            for last, c in zip(below, alike, strict=False)
            if c.requests_per_s
        ]
        for number, (devices, rate) in enumerate(standing):
            most = 1 if cluster.start_cost else devices
            smaller = [(n, u) for index, (n, u) in enumerate(standing) if index < number]
            if any(min(copies(pool, n, devices), most) * u >= rate for n, u in smaller):
                continue
            columns.append(
                Column(
                    demand=name, role=role, pool=pool_name,
                    layout=column_layout(cluster.demand[name], f"any of {devices} devices", bucket), devices=devices,
                    requests_per_s=rate * pool.availability, cost=cost_of(cluster, pool_name, devices),
                    power_w=power_of(cluster, pool_name, devices), bucket=bucket,
                )
            )  # fmt: skip
    return tuple(columns)


def _devices(ceiling: Ceiling) -> int:
    return ceiling.devices
