"""Columns: one replica of one demand in one role on one pool, with what it takes and serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from optimizer.domain.cluster import Cluster, Role
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
    priced, redundant
        The layout in full where it was priced, with its redundant expert slots.
    ttft_s, tpot_s, transfer_s
        Times of a priced replica at that rate; the transfer of a request's cache is in the first token's.
    """

    demand: str
    role: Role
    pool: str
    layout: str
    devices: int
    requests_per_s: Fraction
    cost: Fraction | None
    power_w: Fraction | None
    priced: Layout | None = None
    redundant: int = 0
    ttft_s: Fraction | None = None
    tpot_s: Fraction | None = None
    transfer_s: Fraction = Fraction(0)

    @property
    def name(self) -> str:
        """Unique in a fleet."""
        return f"{self.demand}/{self.role}/{self.pool}/{self.layout}"


def cost_of(cluster: Cluster, pool_name: str, devices: int, own: Fraction | None = None) -> Fraction | None:
    """Dollars per hour of one more replica: nothing where the pool is paid whole, its own price, or its devices'."""
    pool = cluster.pool[pool_name]
    if pool.pays_for_all and pool.price is not None:
        return Fraction(0)
    if own is not None:
        return own
    return None if pool.price is None else pool.price * devices


def power_of(cluster: Cluster, pool_name: str, devices: int, own: Fraction | None = None) -> Fraction | None:
    """Watts of one replica in use."""
    if own is not None:
        return own
    each = cluster.pool[pool_name].power
    return None if each is None else each * devices


def given_columns(cluster: Cluster) -> tuple[Column, ...]:
    """Columns of a table of rates, in its order."""
    return tuple(
        Column(
            demand=row.demand, role=row.role, pool=row.pool, layout=row.layout, devices=row.devices,
            requests_per_s=row.requests_per_s * cluster.pool[row.pool].availability,
            cost=cost_of(cluster, row.pool, row.devices, row.price),
            power_w=power_of(cluster, row.pool, row.devices, row.power),
        )
        for row in cluster.rates
        if row.requests_per_s > 0
    )  # fmt: skip


def useful(cluster: Cluster, columns: Sequence[Column]) -> tuple[Column, ...]:
    """Columns that no other of their demand, role and pool can stand in for; all of them under `max_kinds`.

    A replica that serves as much with no more devices, dollars or watts takes the other's place on the same nodes:
    every demand, limit and loss is kept, and no objective is worse. With `max_kinds` it could be a kind too many.
    """
    if cluster.max_kinds is not None:
        return tuple(columns)
    kept: list[Column] = []
    for column in columns:
        rivals = [c for c in columns if c is not column and _stands_in(c, column)]
        # of two that stand in for each other the first is kept
        if not any(not _stands_in(column, c) or columns.index(c) < columns.index(column) for c in rivals):
            kept.append(column)
    return tuple(kept)


def _stands_in(one: Column, other: Column) -> bool:
    same = (one.demand, one.role, one.pool) == (other.demand, other.role, other.pool)
    return same and one.requests_per_s >= other.requests_per_s and all(
        a <= b
        for a, b in (
            (one.devices, other.devices), (one.cost or 0, other.cost or 0), (one.power_w or 0, other.power_w or 0),
        )
    )  # fmt: skip
