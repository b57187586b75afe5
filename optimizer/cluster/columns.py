"""Columns of a cluster whose replicas are priced, and the ceilings that say what no other layout serves.

For each demand, bucket of lengths, role and pool, from one device upwards: the exact search is asked for a layout that
serves a little more than copies of those that are known. One that it finds is priced at the most that it serves within
its limits, and is a column; where it finds none, that is a ceiling up to the largest number of devices at which it
finds none.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import combinations, product

from optimizer.domain.cluster import Cluster, Demand, Pool, ReplicaRole
from optimizer.domain.layout import Layout
from optimizer.errors import SpecError
from optimizer.figures.objective import Scored
from optimizer.figures.rates import last_kept
from optimizer.fleet.ceiling import Ceiling, copies, replica_sizes
from optimizer.fleet.column import ROLE_ORDER, Column, given_columns, in_order, useful
from optimizer.search.search import Search
from optimizer.verify.replica import (
    beyond_links,
    ceiling_problem,
    device_link,
    most_served,
    sends,
    slowest_transfer,
    tokens_of_role,
)

_STEP = Fraction(513, 512)
"""How much more the search is asked for: columns serve the most there is to within 0.2%."""
_CLOSE_STEP = 1 + Fraction(1, 2**33)
"""The same where a bound is to be met, and where a replica's requests are always in flight: its capacity is known to
more digits than that."""
_BITS = 40
"""Binary digits of a rate that is asked for."""
_TRIES = 24
"""Layouts of one size that each serve a little more than the last, before their ceiling stays where it is."""
_MISSES = 5
"""How often a layout that is found may be no column before the next size, where no ceiling is wanted."""
_MOST_GROUPED = 6
"""Pools of which every set is looked at; of more only each alone, and all."""
_LOWEST = 1024
"""Share of a layout's capacity at which a ceiling begins where no replica is known."""


@dataclass
class Columns:
    """Replicas that fleets are made of, and ceilings of all that are not among them.

    There are none where rates are given, nor where time ran out (`complete` is False).

    Attributes
    ----------
    peers
        Pools that a demand's replicas exchange caches within; of demands that are not named all pools.
    """

    listed: tuple[Column, ...]
    ceilings: list[Ceiling] = field(default_factory=list)
    complete: bool = True
    peers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def pools(self, cluster: Cluster, demand: Demand) -> list[Pool]:
        """Where the replicas stand that exchange caches."""
        return [cluster.pool[name] for name in self.peers.get(demand.name, cluster.pool)]


def columns_of(cluster: Cluster, deadline: float | None = None) -> Columns:
    """Every useful column of a cluster: those of its table of rates, or priced ones.

    Parameters
    ----------
    deadline
        When to stop, by the monotonic clock; every demand, role, pool and bucket has an equal part of what is left.

    Raises
    ------
    SpecError
        Where model, hardware and workload of a demand do not go together.
    """
    if cluster.rates:
        return Columns(useful(cluster, given_columns(cluster)))
    columns: list[Column] = []
    ceilings: list[Ceiling] = []
    walks = sum(len(demand.roles) * len(demand.buckets) for demand in cluster.demands) * len(cluster.pools)
    complete = True
    for demand in cluster.demands:
        for role in sorted(demand.roles, key=ROLE_ORDER.index):
            for bucket in range(len(demand.buckets)):
                sent = slowest_transfer(cluster, columns, demand, bucket) if role == "prefill" else Fraction(0)
                for pool in cluster.pools:
                    now = time.monotonic()
                    until = None if deadline is None else now + max(deadline - now, 0) / walks
                    arguments = (cluster, demand, role, pool, bucket, sent)
                    known: dict[str, Column] = {}
                    if sent:
                        # ceilings are above what replicas serve that leave time for the transfer: those come first
                        first = _Walk(*arguments, known, proving=False)
                        complete &= first.run(None if until is None else (now + until) / 2)
                    walk = _Walk(*arguments, known, proving=True)
                    complete &= walk.run(until)
                    walks -= 1
                    columns += known.values()
                    ceilings += walk.ceilings
    return Columns(useful(cluster, columns), ceilings if complete else [], complete)


def peer_groups(cluster: Cluster) -> list[tuple[str, ...]]:
    """Sets of pools among which caches move faster than with any other pool beside them, the largest first."""
    names = tuple(cluster.pool)
    sizes = range(len(names) - 1, 0, -1) if len(names) <= _MOST_GROUPED else (1,)

    def slows(group: tuple[str, ...], other: str) -> bool:
        pools = [cluster.pool[name] for name in group]
        return any(device_link(cluster, p, (*group, other)) < device_link(cluster, p, group) for p in pools)

    return [
        group
        for size in sizes
        for group in combinations(names, size)
        if all(slows(group, other) for other in names if other not in group)
    ]


def within(
    cluster: Cluster, columns: Columns, peers: Mapping[str, tuple[str, ...]], deadline: float | None = None
) -> Columns:
    """The same ceilings, and columns of some demands whose replicas exchange caches among a few pools alone."""
    kept = [c for c in columns.listed if c.demand not in peers or not sends(cluster.demand[c.demand], c.role)]
    among = replace(columns, peers={**columns.peers, **peers})
    walked = columns.complete
    for name in peers:
        demand = cluster.demand[name]
        for role, bucket in product(("decode", "prefill"), range(len(demand.buckets))):
            if role in demand.roles:
                walked &= _walked(cluster, demand, role, bucket, among, kept, deadline)
    return replace(among, listed=useful(cluster, in_order(cluster, kept)), complete=walked)


def _walked(
    cluster: Cluster, demand: Demand, role: ReplicaRole, bucket: int, columns: Columns, kept: list[Column],
    deadline: float | None,
) -> bool:  # fmt: skip
    """Whether columns of a role were found in time; they are added to those that are kept."""
    sent = slowest_transfer(cluster, kept, demand, bucket) if role == "prefill" else Fraction(0)
    complete, peers = True, columns.peers.get(demand.name)
    for pool in columns.pools(cluster, demand):
        known: dict[str, Column] = {}
        complete &= _Walk(cluster, demand, role, pool, bucket, sent, known, proving=False, peers=peers).run(deadline)
        kept += known.values()
    return complete


def sooner(
    cluster: Cluster, columns: Columns, used: Collection[str] | None, deadline: float | None = None
) -> Columns | None:
    """Columns for prefill replicas that leave the transfer no more time than the decode replicas of a fleet take.

    The slower ones are no longer listed. None where there are none.

    Parameters
    ----------
    used
        Names of the fleet's columns; None where there is no fleet: the faster half of the decode replicas is kept.
    """
    kept, walked = list(columns.listed), columns.complete
    for demand in cluster.demands:
        decode = [c for c in columns.listed if (c.demand, c.role) == (demand.name, "decode")]
        if used is None:
            times = sorted({c.transfer_s for c in decode})
            longest = times[(len(times) - 1) // 2] if times else None
        else:
            longest = max((c.transfer_s for c in decode if c.name in used), default=None)
        if longest is None or "prefill" not in demand.roles or all(c.transfer_s <= longest for c in decode):
            continue
        kept = [
            c
            for c in kept
            if c.demand != demand.name or not (c.role == "prefill" or (c.role == "decode" and c.transfer_s > longest))
        ]
        for bucket in range(len(demand.buckets)):
            walked &= _walked(cluster, demand, "prefill", bucket, columns, kept, deadline)
    if set(kept) == set(columns.listed):
        return None
    return replace(columns, listed=useful(cluster, in_order(cluster, kept)), complete=walked)


def closer(cluster: Cluster, columns: Columns, used: Sequence[Column]) -> Columns | None:
    """Columns and ceilings that lie as close as a proof asks, of the sizes that the fleet of a bound is made of.

    None where those of no size come closer: what is left of a ceiling serves only as several replicas, or without
    the time that its transfer takes.

    Parameters
    ----------
    used
        What stands in for every layout, as far as the fleet of the bound has it.
    """
    listed, ceilings = {c.name: c for c in columns.listed}, list(columns.ceilings)
    for column in used:
        kind = (column.demand, column.role, column.pool, column.bucket)
        demand, pool = cluster.demand[column.demand], cluster.pool[column.pool]
        peers = columns.peers.get(column.demand) if sends(demand, column.role) else None
        if peers is not None and column.pool not in peers:
            continue
        sent = (
            slowest_transfer(cluster, columns.listed, demand, column.bucket)
            if column.role == "prefill"
            else Fraction(0)
        )
        known = {n: c for n, c in listed.items() if (c.demand, c.role, c.pool, c.bucket) == kind}
        arguments = (cluster, demand, column.role, pool, column.bucket, sent, known)
        walk = _Walk(*arguments, proving=True, closely=True, peers=peers)
        ceiling = walk.closest(column.devices, column.requests_per_s / pool.availability)
        if ceiling is None:
            continue
        above = next(
            n
            for n, c in enumerate(ceilings)
            if (c.demand, c.role, c.pool, c.bucket) == kind and c.devices >= column.devices
        )
        listed |= known
        ceilings[above : above + (ceilings[above].devices == column.devices)] = [ceiling]
    if ceilings == columns.ceilings:
        return None
    return replace(columns, listed=useful(cluster, in_order(cluster, list(listed.values()))), ceilings=ceilings)


class _Walk:
    """Sizes of one demand, role, pool and bucket, upwards; without ceilings not every number of whole nodes.

    What it finds is added to the columns that are known.
    """

    def __init__(
        self, cluster: Cluster, demand: Demand, role: ReplicaRole, pool: Pool, bucket: int, sent: Fraction,
        known: dict[str, Column], *, proving: bool, closely: bool = False, peers: tuple[str, ...] | None = None,
    ) -> None:  # fmt: skip
        self.proving, self.closely, self.bucket, self.peers = proving, closely, bucket, peers
        # what the limit on the first token leaves for the transfer; a ceiling must hold for the least that it takes
        self.reserve = None if proving else sent
        self.cluster, self.demand, self.role, self.pool, self.sent = cluster, demand, role, pool, sent
        self.sizes = replica_sizes(cluster, pool)
        if not proving:
            node = pool.devices_per_node
            self.sizes = [n for n in self.sizes if n <= node or _is_round(n // node) or n == self.sizes[-1]]
        self.step = _CLOSE_STEP if demand.loops or closely else _STEP
        self.columns = known
        self.ceilings: list[Ceiling] = []

    def run(self, deadline: float | None) -> bool:
        """Columns and ceilings up to the largest replica; False where time ran out before."""

        def late() -> bool:
            return deadline is not None and time.monotonic() > deadline

        at = 0
        while at < len(self.sizes):
            if late():
                return False
            devices = self.sizes[at]
            least, step = Fraction(0), self.step
            tried = 0
            while (scored := self._beyond(devices, wanted := max(least, self._known(devices) * self.step))) is not None:
                if late():
                    self._listed(scored)
                    return False
                if self._listed(scored):
                    continue
                tried += 1
                if not self.proving and tried > _MISSES:
                    break
                # only as several replicas, without its transfer or beside idle devices: the ceiling is above it
                top = scored.throughput / tokens_of_role(self.demand, self.role, self.bucket)
                least, step = _short(max(wanted, top / _LOWEST) * step), _short(step * step)
            last = self._last(at, wanted) if self.proving else at
            if self.proving:
                size = self.sizes[last]
                self.ceilings.append(Ceiling(self.demand.name, self.role, self.pool.name, size, wanted, self.bucket))
            at = last + 1
        return True

    def closest(self, devices: int, top: Fraction) -> Ceiling | None:
        """A ceiling of one size just above the most that a column serves; None where it cannot be that close.

        Parameters
        ----------
        top
            What nothing of the size serves.
        """
        of_size = [c for c in self.columns.values() if c.devices == devices and c.priced is not None]
        best = max(of_size, key=lambda column: column.requests_per_s, default=None)
        if best is not None and best.priced is not None:
            low = best.requests_per_s / self.pool.availability
            self._priced(best.priced, top, low)
        for _ in range(_TRIES):
            wanted = self._known(devices) * self.step
            if wanted >= top:
                return None
            beyond = self._beyond(devices, wanted)
            if beyond is None:
                return Ceiling(self.demand.name, self.role, self.pool.name, devices, wanted, self.bucket)
            if not self._listed(beyond):
                return None
        return None

    def _known(self, devices: int) -> Fraction:
        """The most that copies of a column serve on so many devices, availability not counted."""
        most = 1 if self.cluster.start_cost else devices
        served = (
            min(copies(self.pool, c.devices, devices), most) * c.requests_per_s
            for c in self.columns.values()
            if c.devices <= devices
        )
        return max(served, default=Fraction(0)) / self.pool.availability

    def _beyond(self, devices: int, rate: Fraction) -> Scored | None:
        """A layout on at most so many devices that serves a rate; any that fits, for a rate of 0."""
        arguments = (self.cluster, self.demand, self.role, self.pool, devices, rate)
        try:
            if self.proving and beyond_links(*arguments, self.bucket):
                return None
            problem = ceiling_problem(*arguments, self.reserve, self.bucket)
        except ValueError as error:
            raise SpecError(f"demands.{self.demand.name}: {error}") from None
        return next(iter(Search(problem).run().best), None)

    def _listed(self, best: Scored) -> bool:
        """Whether a layout is one replica of a size looked at that serves more than is known: a column then."""
        layout = best.layout
        if layout.replicas != 1 or layout.devices not in self.sizes:
            return False
        return self._priced(layout, best.throughput / tokens_of_role(self.demand, self.role, self.bucket), Fraction(0))

    def _priced(self, layout: Layout, top: Fraction, low: Fraction) -> bool:
        """Whether a layout at the most that it serves within its limits is more than what is known."""
        arguments = (self.cluster, self.demand, self.role, self.pool, layout, self.sent, top)
        column = most_served(*arguments, bucket=self.bucket, low=low, closely=self.closely, peers=self.peers)
        if column is None or column.requests_per_s / self.pool.availability <= self._known(column.devices):
            return False
        self.columns[column.name] = column
        return True

    def _last(self, at: int, rate: Fraction) -> int:
        """The last size of which nothing serves a rate, from one on that does not; doubling steps, then halving.

        Replicas of larger sizes that serve it are columns, so that those sizes are asked for more at once.
        """

        def served(size: int) -> bool:
            scored = self._beyond(self.sizes[size], rate)
            if scored is not None:
                self._listed(scored)
            return scored is not None

        low, step = at, 1
        while low + step < len(self.sizes) and not served(low + step):
            low, step = low + step, step * 2
        return last_kept(lambda size: not served(size), low, min(low + step, len(self.sizes)))


def _short(value: Fraction) -> Fraction:
    """A positive number, or a little more, in few digits."""
    bits = value.numerator.bit_length() - value.denominator.bit_length()
    unit = Fraction(2) ** (bits - _BITS)
    return value if value.denominator.bit_length() <= _BITS else -(-value // unit) * unit


def _is_round(nodes: int) -> bool:
    """Whether nodes are 2ⁿ or 3·2ⁿ."""
    return nodes // (nodes & -nodes) in {1, 3}
