"""What was asked of a fleet, in words: its pools, demands and periods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.domain.cluster import Cluster, Demand, Pool
from optimizer.domain.limit_table import LIMITS, ObjectiveLimit
from optimizer.domain.workload import UNPRICED_DRAFTS, spared_and_drafted
from optimizer.units import Dimension, counted, format_quantity


def demand_words(demand: Demand) -> str:
    """What a demand asks of its replicas, in one line; empty where a table of rates has them."""
    if demand.model is None or not demand.buckets:
        return ""
    longest = demand.buckets[-1]
    lengths = f"{longest.input_tokens:,} in / {longest.output_tokens:,} out"
    if demand.several:
        lengths = f"up to {lengths} in {len(demand.buckets)} buckets"
    stated = [(row, getattr(demand.limits, row.name, None)) for row in LIMITS if isinstance(row, ObjectiveLimit)]
    return ", ".join(
        [
            demand.model.name, demand.phase, lengths,
            *spared_and_drafted(demand.prefix_cache_hit, demand.mtp_tokens, demand.mtp_acceptance),
            *([UNPRICED_DRAFTS] if demand.mtp_tokens and demand.model.mtp is None else ()),
            *(row.told(value) for row, value in stated if value is not None), f"engine {demand.engine_name}",
        ]
    )  # fmt: skip


def waits_uncounted(demand: Demand) -> bool:
    """Whether a limit on TTFT is kept but for the wait for a free place, which fleets do not count."""
    at_random = (demand.arrival or "poisson") == "poisson"
    return bool(demand.limits.on_firsts) and "aggregated" in demand.roles and at_random


def pool_words(pool: Pool) -> str:
    """How many devices of what a pool has, and who pays for them."""
    hardware = "" if pool.hardware is None else f" of {pool.hardware.name}"
    price = "" if pool.price is None else f" at {format_quantity(pool.price, Dimension.DOLLARS_PER_HOUR)}"
    return f"{counted(pool.devices, 'devices')}{hardware}, {pool.billing}{price}"


def in_devices(pool: Pool) -> bool:
    """Whether a pool is full nodes and a part of one more, as `devices` states it: it grows by single devices."""
    *full, last = pool.free
    return 0 < last < pool.devices_per_node and all(free == pool.devices_per_node for free in full)


def as_stated(cluster: Cluster, limit: Mapping[str, Any]) -> dict[str, Any]:
    """A limit of a conflict, that of a pool in devices where the pool is stated in them."""
    for pool in cluster.pools:
        if limit["limit"] == f"pools.{pool.name}.nodes" and in_devices(pool):
            return {**limit, "limit": f"pools.{pool.name}.devices", "value": pool.devices, "unit": "devices"}
    return dict(limit)


def conflict_words(unserved: object) -> str:
    """What the limits of a conflict are; with replicas that no pool holds now others could be in it."""
    of_what = " of replicas that the pools hold as they are" if unserved else ""
    return f"No fleet{of_what} keeps these together; without any one of them some does"


def hours_words(cluster: Cluster, name: str) -> str:
    """Name and length of a period."""
    (hours,) = (period.hours for period in cluster.periods if period.name == name)
    return f"{name} ({float(hours):g} h)"
