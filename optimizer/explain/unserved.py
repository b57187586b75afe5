"""Why no replica of a demand stands on any pool: limits that conflict on each, and the engine's own sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from optimizer.domain.cluster import Cluster, Demand, Pool, ReplicaRole
from optimizer.domain.layout import Layout
from optimizer.explain import brief
from optimizer.fleet.ceiling import replica_sizes
from optimizer.fleet.column import Column
from optimizer.verify.replica import replica_problem


def unserved(cluster: Cluster, columns: Sequence[Column]) -> list[str]:
    """A sentence for each demand's role without a priced replica, and each pool."""
    if cluster.rates:
        return []
    return [
        f"{demand.name}: no {role} replica on {pool.name}: {_why(cluster, demand, role, pool)}"
        for demand, role in without_any(cluster, columns)
        for pool in cluster.pools
    ]


def without_any(cluster: Cluster, columns: Sequence[Column]) -> Iterator[tuple[Demand, ReplicaRole]]:
    """Demands of which a part of every request is served by nothing, with the role that would be the first to."""
    for demand in cluster.demands:
        present = {column.role for column in columns if column.demand == demand.name}
        lacking = [roles for roles in demand.chains.values() if not present & {*roles}]
        yield from ((demand, role) for role in dict.fromkeys(roles[0] for roles in lacking))


def _why(cluster: Cluster, demand: Demand, role: ReplicaRole, pool: Pool) -> str:
    problem = replica_problem(cluster, demand, role, pool, replica_sizes(cluster, pool)[-1], len(demand.buckets) - 1)
    names = [str(entry["limit"]) for entry in brief(problem)]
    if "engine" in names:
        reason = next((text for _, text in problem.engine.refusals(problem, Layout(tp=1).shape)), None)
        if reason is not None:
            return reason
    return f"nothing keeps {' and '.join(names)}" if names else "nothing fits"
