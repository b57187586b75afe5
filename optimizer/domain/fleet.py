"""A fleet: which replicas stand on which devices, in each period."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Final

from pydantic import Field

from optimizer.domain.base import Spec
from optimizer.domain.cluster import FLEET_MAXIMISED, Cluster, Demand, FleetObjective, ReplicaRole
from optimizer.domain.limits import AsTuple
from optimizer.domain.quantity import Rate, Ratio
from optimizer.units import Dimension

_MEASURES: Final[Mapping[FleetObjective, str]] = {
    "cost": "cost_dollars_per_h",
    "devices": "devices",
    "growth": "growth",
    "throughput": "throughput_tokens_per_s",
    "power": "power_w",
}
TOLD: Final[Mapping[str, tuple[Dimension, str]]] = {
    "throughput_requests_per_s": (Dimension.PER_SECOND, "{} in all"),
    "cost_dollars_per_h": (Dimension.DOLLARS_PER_HOUR, "{} in all"),
    "power_w": (Dimension.WATTS, "{} in all"),
    "growth": (Dimension.RATIO, "all rates can grow to {} of what is stated"),
}
"""How those are told that no layout alone has: what each measures, and the sentence with its value."""


def counts_tokens(cluster: Cluster) -> bool:
    """Whether throughput is told in tokens: where lengths of some demand are not known, it is in requests."""
    return all(demand.buckets for demand in cluster.demands)


def measure_of(cluster: Cluster) -> str:
    """The name of the objective of a fleet in results, unit included."""
    in_requests = cluster.objective == "throughput" and not counts_tokens(cluster)
    return "throughput_requests_per_s" if in_requests else _MEASURES[cluster.objective]


def over_hours(cluster: Cluster, figure: str | None = None) -> str:
    """What a figure of a whole fleet, or its objective, is over where there are several periods: a mean, but growth."""
    is_mean = len(cluster.periods) > 1 and (figure or cluster.objective) in _MEASURES.keys() - {"growth"}
    return " in the mean of the hours" if is_mean else ""


def better(cluster: Cluster, one: Fraction, other: Fraction) -> bool:
    """Whether a value of the objective is better than another."""
    return one > other if cluster.objective in FLEET_MAXIMISED else one < other


def serves_nothing(cluster: Cluster, value: Fraction | None) -> bool:
    """Whether a value, or a bound, of what is to be largest says that nothing is served: such a fleet is no answer."""
    growing = cluster.objective == "growth" and any(
        rate for period in cluster.periods for rate in period.rates.values()
    )
    return value is not None and value <= 0 and (growing or cluster.objective == "throughput")


def worth(cluster: Cluster, demand: Demand) -> Fraction:
    """What a request of a demand adds to the throughput."""
    return demand.tokens if counts_tokens(cluster) else Fraction(1)


@dataclass(frozen=True)
class NodeShare:
    """Devices of one node that a replica holds."""

    node: int
    devices: tuple[int, ...]


@dataclass(frozen=True)
class Replicas:
    """Replicas of one layout for one demand and role on one pool; `places` lists those of each replica.

    Attributes
    ----------
    column
        Name of what each of them is: demand, role, pool and layout.
    """

    column: str
    demand: str
    role: ReplicaRole
    pool: str
    layout: str
    count: int
    places: tuple[tuple[NodeShare, ...], ...]


Fleet = dict[str, tuple[Replicas, ...]]
"""Replicas by period."""


class PlaceFile(Spec):
    """Devices of one node that a replica holds, as written."""

    node: int = Field(ge=0, le=10**6)
    devices: Annotated[tuple[Annotated[int, Field(ge=0, le=10**6)], ...], AsTuple]


class ReplicasFile(Spec):
    """Equal replicas as a person, or a result, writes them; figures beside them are claims.

    `layout` is a name of the cluster's table of rates, or degrees in any convention. `requests_per_s` is what each
    replica is to serve; the most that it does within its limits otherwise. `bucket` names the longest requests that it
    takes, where its demand has several; all otherwise.
    """

    demand: str
    role: ReplicaRole = "aggregated"
    pool: str
    name: str | None = None
    layout: str | dict[str, Any] | None = None
    bucket: str | None = None
    redundant_slots: int = Field(default=0, ge=0, le=10**6)
    devices: int | None = Field(default=None, ge=1, le=10**6)
    count: int = Field(default=1, ge=1, le=10**6)
    requests_per_s: Rate | None = None
    share: Ratio | None = None
    figures: dict[str, Any] = Field(default_factory=dict)
    nodes: Annotated[tuple[Annotated[tuple[PlaceFile, ...], AsTuple], ...] | None, AsTuple] = None


class FleetPeriodFile(Spec):
    """Replicas of one period; what stands beside them of demands and idle devices are claims."""

    replicas: Annotated[tuple[ReplicasFile, ...], AsTuple]
    demands: dict[str, dict[str, Any]] = Field(default_factory=dict)
    idle: dict[str, int] = Field(default_factory=dict)


class FleetFile(Spec):
    """The fleet of every period alike, or of each in `periods`."""

    replicas: Annotated[tuple[ReplicasFile, ...], AsTuple] = ()
    demands: dict[str, dict[str, Any]] = Field(default_factory=dict)
    idle: dict[str, int] = Field(default_factory=dict)
    periods: dict[str, FleetPeriodFile] = Field(default_factory=dict)
