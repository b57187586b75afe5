"""Columns of a cluster whose replicas are priced: for each demand, role, pool and size the layout that serves most.

For a number of devices the exact search finds the layout of most capacity at a request rate, and the judge the most
that this layout takes within its limits; the search is asked again for a little more until it says that nothing fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from optimizer.domain.cluster import Cluster, Demand, Pool, Role
from optimizer.errors import SpecError
from optimizer.fleet.column import Column, given_columns, useful
from optimizer.search.search import Search
from optimizer.verify.replica import at_rate, most_served, replica_problem, slowest_transfer

_STEP = Fraction(257, 256)
"""How much more the search is asked for: columns serve the most there is to within 0.4%."""
_ROUNDS = 12
LARGEST_REPLICA_NODES = 8
"""Nodes of the largest replica that is priced where the cluster does not say."""


def columns_of(cluster: Cluster) -> tuple[Column, ...]:
    """Every useful column of a cluster: those of its table of rates, or priced ones.

    Raises
    ------
    SpecError
        Where a demand fits no pool in any role.
    """
    if cluster.rates:
        return useful(cluster, given_columns(cluster))
    found: list[Column] = []
    for demand in cluster.demands:
        # decode first: what its replicas take to receive a cache, prefill replicas leave time for
        for role in sorted(demand.roles, key=("decode", "prefill", "aggregated").index):
            sent = slowest_transfer(found, demand.name) if role == "prefill" else Fraction(0)
            for pool in cluster.pools:
                own = {column.name: column for column in _of(cluster, demand, role, pool, sent)}
                found += own.values()  # of one layout the rate found last, which is the larger
    return useful(cluster, found)


def sizes(cluster: Cluster, pool: Pool) -> list[int]:
    """Devices of replicas that are priced: every number of a node's, then whole nodes, doubling, and their thirds."""
    node, most = pool.devices_per_node, pool.devices
    largest = min(most, cluster.replica_devices or LARGEST_REPLICA_NODES * node)
    found = set(range(1, min(node, max(pool.free), largest) + 1))
    nodes = 2
    while nodes * node <= largest:
        found |= {nodes * node, nodes * node * 3 // 2} if nodes * 3 // 2 * node <= largest else {nodes * node}
        nodes *= 2
    return sorted(found | {largest // node * node} - {0} if largest > node else found)


def _of(cluster: Cluster, demand: Demand, role: Role, pool: Pool, sent: Fraction) -> Iterator[Column]:
    best = Fraction(0)
    for devices in sizes(cluster, pool):
        column = _best(cluster, demand, role, pool, devices, sent, best)
        if column is not None:
            best = column.requests_per_s / pool.availability
            yield column


def _best(
    cluster: Cluster, demand: Demand, role: Role, pool: Pool, devices: int, sent: Fraction, beaten: Fraction
) -> Column | None:
    """The single replica that serves most on so many devices; None unless it beats what fewer devices serve."""
    found: Column | None = None
    rate, reserve = beaten * _STEP, sent
    for _ in range(_ROUNDS):
        try:
            left = reserve if role == "prefill" else Fraction(0)
            problem = replica_problem(cluster, demand, role, pool, devices, sent_s=left)
        except ValueError as error:
            raise SpecError(f"demands.{demand.name}: {error}") from None
        search = Search(at_rate(problem, rate) if rate else problem)
        best = search.run().best
        if not best or best[0].layout.replicas != 1:
            return found
        layout, redundant = best[0].layout, search.redundant_of(best[0])
        top = best[0].throughput / _tokens(demand, role)
        served = most_served(cluster, demand, role, pool, layout, redundant, sent, top)
        if served is None:
            # the transfer of this layout's cache is longer than what was left for it
            reserve = reserve * 2 or Fraction(1, 100)
            continue
        if found is not None and served.requests_per_s <= found.requests_per_s:
            return found
        found = served
        rate = found.requests_per_s / pool.availability * _STEP
    return found


def _tokens(demand: Demand, role: Role) -> int:
    bucket = demand.buckets[0]
    return {
        "prefill": bucket.input_tokens, "aggregated": bucket.output_tokens, "decode": bucket.output_tokens - 1,
    }[role]  # fmt: skip
