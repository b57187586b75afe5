"""``fleet`` of a result: what stands where, what it does for each demand, and what is idle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from optimizer.domain.cluster import Cluster, Demand, Period
from optimizer.domain.fleet import Fleet, Replicas
from optimizer.fleet.column import Column, slowest
from optimizer.verify.fleet import DemandFigures, FleetVerdict, routed


def fleet_json(cluster: Cluster, columns: Sequence[Column], fleet: Fleet, verdict: FleetVerdict) -> dict[str, Any]:
    """``fleet`` of a result: that of the period in which most devices are in use, and each period's own."""
    parts = {period.name: _period_json(cluster, columns, fleet, verdict, period.name) for period in cluster.periods}
    busiest = min(parts, key=lambda name: (sum(parts[name]["idle"].values()), list(parts).index(name)))
    return parts[busiest] | {"periods": parts if len(parts) > 1 else {}}


def _period_json(
    cluster: Cluster, columns: Sequence[Column], fleet: Fleet, verdict: FleetVerdict, period: str
) -> dict[str, Any]:
    known = {column.name: column for column in columns}
    figures, hours = verdict.demands[period], next(listed for listed in cluster.periods if listed.name == period)
    replicas = []
    for replica in fleet.get(period, ()):
        column = known[replica.column]
        same = [r for r in fleet.get(period, ()) if (r.demand, r.role) == (replica.demand, replica.role)]
        of_role = sum((known[r.column].requests_per_s * r.count for r in same), Fraction(0))
        replicas.append(
            {
                "demand": replica.demand, "role": replica.role, "pool": replica.pool, "name": replica.layout,
                "layout": None if column.priced is None else column.priced.to_json(), "devices": column.devices,
                "redundant_slots": 0 if column.priced is None else column.priced.redundant_slots,
                "count": replica.count,
                "share": float(column.requests_per_s * replica.count / of_role) if of_role else 0.0,
                "requests_per_s": float(column.requests_per_s),
                "figures": {
                    "cost_dollars_per_h": None if column.cost is None else float(column.cost),
                    "power_w": None if column.power_w is None else float(column.power_w),
                    "ttft_s": _float(column.ttft_s), "tpot_s": _float(column.tpot_s),
                    "transfer_s": _float(column.transfer_s),
                },
                "nodes": [[{"node": p.node, "devices": list(p.devices)} for p in places] for places in replica.places],
            } | _bucket_json(cluster.demand[replica.demand], column)
        )  # fmt: skip
    return {
        "replicas": replicas,
        "demands": {
            name: {
                "requests_per_s": float(served.rate), "capacity_per_s": float(served.capacity),
                "ttft_s": _float(slowest(_of(name, fleet.get(period, ()), known), "ttft_s")),
                "tpot_s": _float(slowest(_of(name, fleet.get(period, ()), known), "tpot_s")),
                "worst_loss": None if served.worst is None
                else {unit_lost(cluster): list(served.worst), "capacity_per_s": float(served.after_worst)},
            } | _buckets_json(cluster.demand[name], hours, served, known, fleet.get(period, ()))
            for name, served in figures.items()
        },
        "idle": verdict.idle[period],
    }  # fmt: skip


def unit_lost(cluster: Cluster) -> str:
    """The key under which the worst loss is named."""
    return "rack" if cluster.survive is not None and cluster.survive.racks is not None else "node"


def _bucket_json(demand: Demand, column: Column) -> dict[str, Any]:
    """The longest requests that a replica takes, where there are several buckets."""
    return {"bucket": demand.buckets[column.bucket].name} if demand.several else {}


def _buckets_json(
    demand: Demand, period: Period, figures: DemandFigures, known: Mapping[str, Column], replicas: Sequence[Replicas]
) -> dict[str, Any]:
    """Requests/s of each bucket, and the share of them that each kind of replica takes at the rate that is asked for.

    Where none is, or more than is served, at the fleet's capacity.
    """
    if not demand.several:
        return {}
    rate = min(figures.rate, figures.capacity) or figures.capacity
    shares = period.shares(demand)
    routes = routed(demand, shares, rate, known, replicas) if rate else {}
    return {
        "buckets": {
            bucket.name: {
                "share": float(shares[number]), "requests_per_s": float(rate * shares[number]),
                "replicas": {
                    name.split("/", 1)[1]: float(share) for (index, name), share in routes.items() if index == number
                },
            }
            for number, bucket in enumerate(demand.buckets)
        }
    }  # fmt: skip


def _float(value: Fraction | None) -> float | None:
    return None if value is None else float(value)


def _of(demand: str, replicas: Sequence[Replicas], known: Mapping[str, Column]) -> list[Column]:
    """Columns of a demand's replicas."""
    return [known[replica.column] for replica in replicas if replica.demand == demand]
