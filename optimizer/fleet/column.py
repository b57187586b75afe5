"""Columns: one replica of one demand in one role on one pool, with what it takes and serves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from optimizer.domain.cluster import Cluster, Demand, GivenRate, Period, ReplicaRole
from optimizer.domain.layout import Layout


@dataclass(frozen=True)
class Column:
    """One replica.

    Attributes
    ----------
    layout
        Its name: what the table of rates calls it, or its degrees.
    requests_per_s
        Most requests/s that it serves within its demand's limits, the pool's availability counted.
    cost
        $/h of one more replica; 0 on a pool whose devices are paid for anyway, None where no price is known.
    power_w
        Watts in use; None where not known.
    priced
        The layout in full where it was priced.
    ttft_s, tpot_s, transfer_s
        Times of a priced replica at that rate; the transfer of a request's cache is in the first token's, which is None
        where it has no bound: prompts queue at full load, and no limit holds them.
    bucket
        The longest of its demand's buckets that it takes at that rate.
    peers
        Pools, its own among them, that it exchanges caches of requests with; None: every one.
    """

    demand: str
    role: ReplicaRole
    pool: str
    layout: str
    devices: int
    requests_per_s: Fraction
    cost: Fraction | None
    power_w: Fraction | None
    priced: Layout | None = None
    ttft_s: Fraction | None = None
    tpot_s: Fraction | None = None
    transfer_s: Fraction = Fraction(0)
    bucket: int = 0
    peers: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """Unique in a fleet."""
        return f"{self.demand}/{self.role}/{self.pool}/{self.layout}"


ReplicaTime = Literal["ttft_s", "tpot_s"]
TIMES: Final[Mapping[ReplicaTime, ReplicaRole]] = {"ttft_s": "decode", "tpot_s": "prefill"}
"""Times of replicas, each with the role whose replicas do not send its tokens."""


def slowest(columns: Iterable[Column], figure: ReplicaTime) -> Fraction | None:
    """The largest of a time over replicas; None where none tells one, or that of one has no bound."""
    times = [getattr(column, figure) for column in columns if column.role != TIMES[figure]]
    return None if None in times else max(times, default=None)


NO_BOUND: Final = "no bound"


def missing_time(cluster: Cluster, demand: str, figure: str, capacity: object) -> str:
    """What stands in place of a time that a demand's replicas do not have: a word where it has no bound."""
    roles = cluster.demand[demand].roles if demand in cluster.demand and not cluster.rates else ()
    return NO_BOUND if set(roles) - {"decode"} and figure == "ttft_s" and capacity else ""


ROLE_ORDER: Final = ("decode", "prefill", "aggregated")
"""What decode replicas take to receive a cache, prefill replicas leave time for: those are priced first."""


def in_order(cluster: Cluster, columns: Sequence[Column]) -> list[Column]:
    """Columns by demand and role, those of a role as they come."""
    demands = list(cluster.demand)
    return sorted(columns, key=lambda column: (demands.index(column.demand), ROLE_ORDER.index(column.role)))


def column_layout(demand: Demand, layout: str, bucket: int) -> str:
    """What a layout is called for requests of a bucket, where there are several."""
    return f"{layout}@{demand.buckets[bucket].name}" if demand.several else layout


def traffic_words(demand: Demand, period: Period) -> list[str]:
    """What a demand's trace or histogram says, in sentences: how lengths are rounded, which rate is to be served."""
    traffic = demand.traffic
    if traffic is None:
        return []
    means = (
        f"{float(traffic.mean_input_tokens):,.0f} input and {float(traffic.mean_output_tokens):,.0f} output tokens "
        "on average"
    )
    beyond = f"{float(traffic.input_rounding):.0%} and {float(traffic.output_rounding):.0%}"
    sentences = [f"{float(traffic.requests):,.6g} requests of {means}, rounded up by {beyond}"]
    part = period.traffic.get(demand.name)
    arrivals = traffic.arrivals if part is None else part.arrivals
    if arrivals is not None:
        sentences.append(
            f"{float(arrivals.quantile):.0%} of {arrivals.windows:,} windows of {float(arrivals.window_s):g} s have at "
            f"most {float(arrivals.served_per_s):,.4g} requests/s (mean {float(arrivals.mean_per_s):,.4g}, peak "
            f"{float(arrivals.peak_per_s):,.4g}; variance ÷ mean of a window {float(arrivals.dispersion):,.3g}, "
            "Poisson 1)"
        )
        if period.rates.get(demand.name) != arrivals.served_per_s:
            sentences[-1] += ", and another rate is asked for"
    if traffic.prefix_share is not None:
        used = "" if demand.prefix_cache_hit == traffic.prefix_share else ", of which prefix_cache_hit is what counts"
        sentences.append(f"{float(traffic.prefix_share):.1%} of prompt blocks came before, had none been evicted{used}")
    return sentences


def cost_of(cluster: Cluster, pool_name: str, devices: int, stated: Fraction | None = None) -> Fraction | None:
    """Dollars per hour of one more replica: nothing where the pool is paid whole, its own price, or its devices'."""
    pool = cluster.pool[pool_name]
    if pool.pays_for_all and pool.price is not None:
        return Fraction(0)
    if stated is not None:
        return stated
    return None if pool.price is None else pool.price * devices


def power_of(cluster: Cluster, pool_name: str, devices: int, stated: Fraction | None = None) -> Fraction | None:
    """Watts of one replica in use."""
    if stated is not None:
        return stated
    device_power = cluster.pool[pool_name].power
    return None if device_power is None else device_power * devices


def given_columns(cluster: Cluster) -> tuple[Column, ...]:
    """Columns of a table of rates, in its order."""
    return tuple(given_column(cluster, row) for row in cluster.rates if row.requests_per_s > 0)


def given_column(cluster: Cluster, row: GivenRate) -> Column:
    """The column of one row."""
    demand = cluster.demand[row.demand]
    bucket = demand.bucket_number(row.bucket)
    return Column(
        demand=row.demand, role=row.role, pool=row.pool, layout=column_layout(demand, row.layout, bucket),
        devices=row.devices, requests_per_s=row.requests_per_s * cluster.pool[row.pool].availability,
        cost=cost_of(cluster, row.pool, row.devices, row.price),
        power_w=power_of(cluster, row.pool, row.devices, row.power), bucket=bucket,
    )  # fmt: skip


def useful(cluster: Cluster, columns: Sequence[Column]) -> tuple[Column, ...]:
    """Columns that no other of their demand, role and pool can stand in for; all of them under `max_kinds`.

    A replica that serves as much, of requests as long, with no more devices, dollars or watts takes the other's place
    on the same nodes: every demand, limit and loss is kept, and no objective is worse. With `max_kinds` it could be a
    kind too many.
    """
    if cluster.max_kinds is not None:
        return tuple(columns)
    undominated: list[Column] = []
    for column in columns:
        rivals = [c for c in columns if c is not column and _stands_in(c, column)]
        # of two that stand in for each other the first is kept
        if not any(not _stands_in(column, c) or columns.index(c) < columns.index(column) for c in rivals):
            undominated.append(column)
    return tuple(undominated)


def _stands_in(one: Column, other: Column) -> bool:
    same = (one.demand, one.role, one.pool) == (other.demand, other.role, other.pool)
    serves = one.bucket >= other.bucket and one.requests_per_s >= other.requests_per_s
    return same and serves and all(
        a <= b
        for a, b in (
            (one.devices, other.devices), (one.cost or 0, other.cost or 0), (one.power_w or 0, other.power_w or 0),
        )
    )  # fmt: skip
