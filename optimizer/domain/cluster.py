"""A cluster: pools of devices, demands on them, periods of the day, and what the fleet of replicas must keep.

`ClusterFile` is what a person writes; `Cluster` has every reference resolved, and is what a fleet, a program over
fleets and a certificate speak of.
"""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from optimizer.domain.base import FieldError, Grown, Spec
from optimizer.domain.buckets import DEFAULT_BUCKETS, MOST_BUCKETS, Bucket, PeriodTraffic, Traffic, check_nested
from optimizer.domain.engines import engine_named
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.limits import AsTuple, Limits, SearchLimits
from optimizer.domain.model import ModelSpec
from optimizer.domain.precision import PrecisionOverride
from optimizer.domain.quantity import (
    BytesPerSecond,
    Dollars,
    DollarsPerHour,
    Factor,
    PositiveRatio,
    PositiveSeconds,
    Rate,
    Ratio,
    Watts,
)
from optimizer.domain.workload import PHASES, Arrival, check_drafts

ReplicaRole = Literal["aggregated", "prefill", "decode"]
ROLES: dict[str, ReplicaRole] = {role: role for role in get_args(ReplicaRole)}
Billing = Literal["owned", "reserved", "on_demand", "spot"]
FleetObjective = Literal["cost", "devices", "growth", "throughput", "power"]
DemandPhase = Literal["aggregated", "prefill", "decode", "disaggregated", "either"]

FLEET_MAXIMISED = frozenset({"growth", "throughput"})
ALWAYS = "always"
"""The one period of a cluster that names none."""

CHAINS: dict[DemandPhase, dict[str, tuple[ReplicaRole, ...]]] = {
    "aggregated": {"aggregated": ("aggregated",)},
    "prefill": {"prefill": ("prefill",)},
    "decode": {"decode": ("decode",)},
    "disaggregated": {"prefill": ("prefill",), "decode": ("decode",)},
    "either": {"prefill": ("aggregated", "prefill"), "decode": ("aggregated", "decode")},
}
"""What a request passes through, and the roles that serve each: a demand's capacity is that of its weakest chain.

min(A + P, A + D) = A + min(P, D): with replicas of both kinds, whole requests go to aggregated replicas, the others
through a prefill and a decode replica.
"""


class PoolFile(Spec):
    """Devices of one kind: `nodes` full ones, or `devices`, or those `free` on each node; racks hold nodes in order."""

    hardware: str | dict[str, Any] | None = None
    devices_per_node: int | None = Field(default=None, ge=1, le=4096, description="where `rates` stand for hardware")
    nodes: int | None = Field(default=None, ge=1, le=10**5)
    devices: int | None = Field(default=None, ge=1, le=10**6)
    free: Annotated[tuple[Annotated[int, Field(ge=0, le=4096)], ...] | None, AsTuple] = None
    nodes_per_rack: int | None = Field(default=None, ge=2, le=10**4, description="the hardware's own otherwise")
    price: DollarsPerHour | None = Field(default=None, description="per device; the hardware's own otherwise")
    billing: Billing = "owned"
    availability: PositiveRatio = Field(default=Fraction(1), description="share of time that it is there, and counts")
    power: Watts | None = Field(default=None, description="per device in use; the hardware's rated one otherwise")

    @model_validator(mode="after")
    def _sized(self) -> PoolFile:
        if self.free is None and (self.nodes is None) == (self.devices is None):
            message = "give either nodes, devices or free"
            raise ValueError(message)
        if self.free is not None and self.nodes is not None and len(self.free) != self.nodes:
            message = f"free lists {len(self.free)} nodes, nodes says {self.nodes}"
            raise ValueError(message)
        if self.free is not None and self.devices is not None:
            message = "free says how many devices there are: leave out devices"
            raise ValueError(message)
        if (self.hardware is None) == (self.devices_per_node is None):
            message = "give hardware, or devices_per_node where rates stand for it"
            raise ValueError(message)
        if self.availability != 1 and self.billing != "spot":
            message = "availability belongs to billing: spot"
            raise ValueError(message)
        return self


class DemandWorkload(Spec):
    """Requests of one kind; with `rates` neither lengths nor tokens are needed."""

    kind: Literal["serving"] = "serving"
    phase: DemandPhase | None = None
    input_tokens: int | None = Field(default=None, ge=1, le=10**8)
    output_tokens: int | None = Field(default=None, ge=1, le=10**8)
    lengths: str | None = Field(default=None, description="histogram or trace: a file of input and output tokens")
    buckets: int = Field(default=DEFAULT_BUCKETS, ge=1, le=MOST_BUCKETS, description="most nested buckets of lengths")
    window: PositiveSeconds | None = Field(default=None, description="in which a trace's requests are counted: 60 s")
    quantile: PositiveRatio = Field(default=Fraction(99, 100), description="share of windows of a trace to be served")
    request_rate: Rate | None = Field(default=None, description="requests/s to be served, whatever a trace has")
    prefix_cache_hit: Ratio = Fraction(0)
    prefix_of_trace: bool = Field(default=False, description="cache hits as a trace's block hashes have at most")
    mtp_tokens: int = Field(default=0, ge=0, le=16)
    mtp_acceptance: Ratio = Fraction(0)

    @model_validator(mode="after")
    def _consistent(self) -> DemandWorkload:
        if self.lengths is not None and (self.input_tokens is not None or self.output_tokens is not None):
            message = "give either lengths, or input_tokens and output_tokens"
            raise ValueError(message)
        for name in ("buckets", "window", "quantile", "prefix_of_trace"):
            if self.lengths is None and name in self.model_fields_set:
                message = "needs the lengths of a histogram or trace: workload.lengths"
                raise FieldError(message, (name,))
        if self.prefix_of_trace and self.prefix_cache_hit:
            message = "give either a share, or prefix_of_trace"
            raise FieldError(message, ("prefix_cache_hit",))
        check_drafts(self.mtp_tokens, self.mtp_acceptance)
        return self


class DemandFile(Spec):
    """One model's traffic and its limits."""

    model: str | dict[str, Any] | None = None
    workload: DemandWorkload = DemandWorkload()
    precision: PrecisionOverride | None = None
    limits: Limits = Limits()
    engine: str = "any"
    search: SearchLimits = SearchLimits()

    @field_validator("engine")
    @classmethod
    def _known(cls, engine: str) -> str:
        engine_named(engine)
        return engine


class PeriodFile(Spec):
    """Part of the day with the requests/s of each demand.

    One that only other periods name has none; one that no period names has its own `request_rate` in all.
    """

    hours: Factor
    rates: dict[str, Rate]


class Survive(Spec):
    """What may be lost at once: any `nodes` nodes or `racks` racks, of one pool where it is named."""

    nodes: int | None = Field(default=None, ge=1, le=1000)
    racks: int | None = Field(default=None, ge=1, le=1000)
    pool: str | None = None

    @model_validator(mode="after")
    def _something(self) -> Survive:
        if (self.nodes is None) == (self.racks is None):
            raise ValueError("give either nodes or racks")
        return self

    @property
    def unit(self) -> str:
        """What is lost."""
        return "nodes" if self.racks is None else "racks"

    @property
    def lost(self) -> int:
        """How many of them."""
        return self.nodes or self.racks or 0


class ClusterLimits(Spec):
    """Limits on the fleet as a whole, in every period."""

    budget: DollarsPerHour | None = None
    power: Watts | None = None


class ClusterFile(Spec):
    """The cluster as written; hardware and models are catalog names, paths or inline descriptions."""

    name: str = Field(default="cluster", min_length=1)
    pools: Annotated[dict[str, PoolFile], Field(min_length=1)]
    demands: Annotated[dict[str, DemandFile], Field(min_length=1)]
    links: dict[str, BytesPerSecond] = Field(default_factory=dict)
    periods: dict[str, PeriodFile] = Field(default_factory=dict)
    period_length: PositiveSeconds | None = Field(default=None, description="of periods that traces have, not written")
    survive: Survive | None = None
    limits: ClusterLimits = ClusterLimits()
    max_kinds: int | None = Field(default=None, ge=1, le=1000)
    objective: FleetObjective | None = None
    rates: str | None = None
    start_cost: Dollars = Field(default=Fraction(0), description="of each replica more than in the period before")
    replica_devices: int | None = Field(default=None, ge=1, le=10**6, description="largest replica that is priced")
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    notes: str = ""
    tags: Annotated[tuple[str, ...], AsTuple] = ()
    assumed: Annotated[tuple[str, ...], AsTuple] = ()


class Pool(Spec):
    """A pool with its nodes: devices free on each, and how many nodes stand in one rack (None: no racks)."""

    name: str
    hardware: HardwareSpec | None
    devices_per_node: int = Field(ge=1)
    rack_nodes: int | None = Field(default=None, ge=2)
    free: Annotated[tuple[Annotated[int, Field(ge=0)], ...], AsTuple]
    price: DollarsPerHour | None
    billing: Billing
    availability: PositiveRatio = Fraction(1)
    power: Watts | None = None

    @property
    def devices(self) -> int:
        """Devices that are free."""
        return sum(self.free)

    @cached_property
    def whole_nodes(self) -> tuple[int, ...]:
        """Nodes of which every device is free."""
        return tuple(i for i, count in enumerate(self.free) if count == self.devices_per_node)

    def nodes_of(self, devices: int) -> int:
        """Whole nodes that a replica takes; 0 where it shares one."""
        return 0 if devices <= self.devices_per_node else -(-devices // self.devices_per_node)

    def rack_of(self, node: int) -> int:
        """The rack that a node stands in; all in one where there are none."""
        return 0 if self.rack_nodes is None else node // self.rack_nodes

    @property
    def pays_for_all(self) -> bool:
        """Whether devices cost their price used or not."""
        return self.billing in {"owned", "reserved"}


class Demand(Grown):
    """A demand with its model in full; without model and buckets its replicas' rates are given.

    Attributes
    ----------
    buckets
        Nested, the smallest first.
    arrival
        Whom a request meets at a replica; None: others that come at random.
    """

    later = ("traffic", "arrival")

    name: str
    phase: DemandPhase
    request_rate: Rate | None
    buckets: Annotated[tuple[Bucket, ...], AsTuple] = ()
    model: ModelSpec | None = None
    limits: Limits = Limits()
    engine_name: str = "any"
    search: SearchLimits = SearchLimits()
    prefix_cache_hit: Ratio = Fraction(0)
    mtp_tokens: int = 0
    mtp_acceptance: Ratio = Fraction(0)
    traffic: Traffic | None = None
    arrival: Arrival | None = None

    @model_validator(mode="after")
    def _nested(self) -> Demand:
        check_nested(self.buckets)
        return self

    @property
    def loops(self) -> bool:
        """Whether replicas have as many requests in flight as they hold, whatever rate is asked of them."""
        return self.arrival in {"alone", "closed"}

    @property
    def several(self) -> bool:
        """Whether requests are of several buckets."""
        return len(self.buckets) > 1

    def bucket_number(self, name: str | None) -> int:
        """Where a bucket of that name stands; the longest for None.

        Raises
        ------
        ValueError
            Where there is none.
        """
        names = [bucket.name for bucket in self.buckets]
        return max(len(names) - 1, 0) if name is None else names.index(name)

    @cached_property
    def as_long(self) -> tuple[Fraction, ...]:
        """Share of the requests that are of each bucket or a longer one."""
        shares = [bucket.share for bucket in self.buckets]
        return tuple(sum(shares[number:], Fraction(0)) for number in range(len(shares))) or (Fraction(1),)

    @property
    def chains(self) -> dict[str, tuple[ReplicaRole, ...]]:
        """Roles that serve each part of a request."""
        return CHAINS[self.phase]

    @property
    def roles(self) -> tuple[ReplicaRole, ...]:
        """Roles that a replica may have."""
        return tuple(dict.fromkeys(role for roles in self.chains.values() for role in roles))

    @cached_property
    def tokens(self) -> Fraction:
        """Output tokens of a mean request (prompt tokens in phase prefill); 1 where lengths are not known."""
        if not self.buckets:
            return Fraction(1)
        prompt = not any(PHASES[role].decodes for role in self.roles)
        if self.traffic is not None:
            return self.traffic.mean_input_tokens if prompt else self.traffic.mean_output_tokens
        return sum((b.share * (b.input_tokens if prompt else b.output_tokens) for b in self.buckets), Fraction(0))


class Period(Grown):
    """Hours of the day and the requests/s of each demand in them.

    Attributes
    ----------
    traffic
        What its trace says of a demand in these hours; a demand without one has its usual lengths.
    """

    later = ("traffic",)

    name: str
    hours: Factor
    rates: dict[str, Rate]
    traffic: dict[str, PeriodTraffic] = Field(default={})

    def shares(self, demand: Demand) -> tuple[Fraction, ...]:
        """Share of each bucket among a demand's requests."""
        traffic = self.traffic.get(demand.name)
        return (traffic.shares if traffic is not None else ()) or tuple(bucket.share for bucket in demand.buckets)

    def as_long(self, demand: Demand) -> tuple[Fraction, ...]:
        """Share of a demand's requests that are of each bucket or a longer one."""
        traffic = self.traffic.get(demand.name)
        return traffic.as_long if traffic is not None and traffic.shares else demand.as_long


class GivenRate(Grown):
    """One row of a table of replicas: what one of them needs and serves.

    Attributes
    ----------
    bucket
        Name of the longest bucket that it takes at that rate; None: the longest of the demand.
    """

    later = ("bucket",)

    pool: str
    demand: str
    role: ReplicaRole
    layout: str = Field(min_length=1)
    devices: int = Field(ge=1, le=10**6)
    requests_per_s: Rate
    price: DollarsPerHour | None = Field(default=None, description="of the replica")
    power: Watts | None = Field(default=None, description="of the replica")
    bucket: str | None = None


class Cluster(Spec):
    """A cluster in full.

    Attributes
    ----------
    rates
        Replicas by measurement; empty where they are priced.
    replica_devices
        Largest replica that is priced, in devices.
    """

    name: str
    pools: Annotated[tuple[Pool, ...], Field(min_length=1), AsTuple]
    demands: Annotated[tuple[Demand, ...], Field(min_length=1), AsTuple]
    links: dict[str, BytesPerSecond] = Field(default_factory=dict)
    periods: Annotated[tuple[Period, ...], Field(min_length=1), AsTuple]
    survive: Survive | None = None
    limits: ClusterLimits = ClusterLimits()
    max_kinds: int | None = Field(default=None, ge=1)
    objective: FleetObjective
    rates: Annotated[tuple[GivenRate, ...], AsTuple] = ()
    start_cost: Dollars = Fraction(0)
    replica_devices: int | None = Field(default=None, ge=1)
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> Cluster:
        for check in (self._check_rates, self._check_prices, self._check_survive, self._check_links):
            check()
        return self

    def _check_rates(self) -> None:
        known = {d.name for d in self.demands}
        for period in self.periods:
            for name in period.rates:
                if name not in known:
                    message = f"periods.{period.name}.rates: {name!r} is no demand: {', '.join(sorted(known))}"
                    raise ValueError(message)
            for name, traffic in period.traffic.items():
                if name not in known or (traffic.shares and len(traffic.shares) != len(self.demand[name].buckets)):
                    message = f"periods.{period.name}.traffic: {name!r} is no demand with so many buckets"
                    raise ValueError(message)
        roles = {d.name: d.roles for d in self.demands}
        buckets = {d.name: {bucket.name for bucket in d.buckets} for d in self.demands}
        seen: set[tuple[str, ...]] = set()
        for row in self.rates:
            key = (row.demand, row.role, row.pool, row.layout, *([row.bucket] if row.bucket else []))
            if row.pool not in {pool.name for pool in self.pools} or row.role not in roles.get(row.demand, ()):
                message = f"rates: {'/'.join(key)} is of no pool, demand or role of this cluster"
                raise ValueError(message)
            if row.bucket is not None and row.bucket not in buckets[row.demand]:
                named = ", ".join(sorted(buckets[row.demand])) or "none"
                message = f"rates: {'/'.join(key)} is of no bucket of {row.demand}: {named}"
                raise ValueError(message)
            if key in seen:
                message = f"rates: {'/'.join(key)} stands there twice"
                raise ValueError(message)
            seen.add(key)
        wanted = any(rate > 0 for period in self.periods for rate in period.rates.values())
        if not wanted and self.objective != "throughput":
            where = "objective" if self.periods[0].name == ALWAYS else f"periods.{self.periods[0].name}.rates"
            message = f"{where}: {self.objective!r} needs the requests/s of a demand (workload.request_rate)"
            raise ValueError(message)

    def _check_prices(self) -> None:
        pools = {pool.name: pool for pool in self.pools}
        if self.objective == "cost" or self.limits.budget is not None:
            priced = {row.pool for row in self.rates if row.price is None} if self.rates else set(pools)
            for name, pool in pools.items():
                if pool.price is None and name in priced:
                    message = f"pools.{name}: a cost or a budget needs a price"
                    raise ValueError(message)
        if self.objective == "power" or self.limits.power is not None:
            bare = {row.pool for row in self.rates if row.power is None} if self.rates else set(pools)
            for name in bare:
                if pools[name].power is None:
                    message = f"pools.{name}: objective or limit 'power' needs the power of a device: it is not known"
                    raise ValueError(message)

    def _check_survive(self) -> None:
        survive = self.survive
        if survive is None:
            return
        if survive.pool is not None and all(pool.name != survive.pool for pool in self.pools):
            message = f"survive.pool: {survive.pool!r} is no pool: {', '.join(pool.name for pool in self.pools)}"
            raise ValueError(message)
        for pool in self.pools:
            if survive.racks is not None and survive.pool in {None, pool.name} and pool.rack_nodes is None:
                message = f"survive.racks: pool {pool.name!r} has none: say its nodes_per_rack"
                raise ValueError(message)

    def _check_links(self) -> None:
        names = {pool.name for pool in self.pools}
        for link in self.links:
            pair = next(((a, b) for a in names for b in names if a != b and f"{a}-{b}" == link), None)
            if pair is None:
                message = f"links.{link}: is no pair of pools written 'a-b': {', '.join(sorted(names))}"
                raise ValueError(message)
            if "-".join(reversed(pair)) in self.links:
                message = f"links.{link}: stands there both ways round: a link is as fast in both directions"
                raise ValueError(message)
            if self.rates:
                message = f"links.{link}: replicas with given rates do not say what they send over a link"
                raise ValueError(message)

    @cached_property
    def pool(self) -> dict[str, Pool]:
        """Pools by name."""
        return {pool.name: pool for pool in self.pools}

    @cached_property
    def demand(self) -> dict[str, Demand]:
        """Demands by name."""
        return {demand.name: demand for demand in self.demands}

    @property
    def hours(self) -> Fraction:
        """Hours of all periods."""
        return sum((period.hours for period in self.periods), Fraction(0))

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the resolved cluster in canonical JSON; its name and sources do not count."""
        document = self.model_dump(mode="json", exclude={"name": True})
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
