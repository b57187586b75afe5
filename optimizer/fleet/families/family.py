"""What a constraint family is, and what families share: columns, their counts, and what each demand needs of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

from optimizer.domain.cluster import Cluster, Demand, Period, ReplicaRole
from optimizer.fleet.column import Column
from optimizer.fleet.nodes import most_alone
from optimizer.fleet.program import Program

GROWTH = "growth"


@dataclass(frozen=True)
class Coverage:
    """Replicas that together serve one demand, or one part of its requests: Σ served·count must reach the need.

    Attributes
    ----------
    served
        Requests/s of one replica, by column.
    bucket
        Its requests of that bucket and longer ones are what these replicas must serve.
    """

    demand: str
    part: str
    served: Mapping[str, Fraction]
    bucket: int = 0


@dataclass
class FleetProgram:
    """The program as it is stated, and what families look up in it.

    Attributes
    ----------
    losses_exact
        Whether every way to fill a node is in the program where nodes may be lost; False: it is a relaxation.
    """

    cluster: Cluster
    columns: Sequence[Column]
    relaxed: bool = False
    program: Program = field(default_factory=Program)

    @cached_property
    def coverages(self) -> tuple[Coverage, ...]:
        """Every demand's chains of roles, for the requests as long as each of its buckets."""
        return tuple(
            coverage
            for demand in self.cluster.demands
            for part, roles in demand.chains.items()
            for coverage in self._as_long(demand, part, roles)
        )

    def _as_long(self, demand: Demand, part: str, roles: Sequence[ReplicaRole]) -> Iterable[Coverage]:
        columns = [c for c in self.columns if c.demand == demand.name and c.role in roles]
        for number in range(len(demand.as_long)):
            label = f"{part} from {demand.buckets[number].name}" if demand.several else part
            served = {c.name: c.requests_per_s for c in columns if c.bucket >= number}
            yield Coverage(demand.name, label, served, number)

    @cached_property
    def alone(self) -> dict[str, int]:
        """Most replicas of each column that fit its pool when it is otherwise empty."""
        return {c.name: most_alone(self.cluster.pool[c.pool], c.devices) for c in self.columns}

    def of_pool(self, pool: str) -> list[Column]:
        """Columns of a pool."""
        return [c for c in self.columns if c.pool == pool]

    @staticmethod
    def replicas(column: Column, period: Period) -> str:
        """Name of the count of a column in a period."""
        return f"replicas[{column.name}, {period.name}]"

    @staticmethod
    def served(demand: str, period: Period) -> str:
        """Name of the requests/s of a demand in a period, where they are maximised."""
        return f"served[{demand}, {period.name}]"

    def counts(self, served: Mapping[str, Fraction], period: Period) -> list[tuple[str, Fraction]]:
        """Terms Σ factor·count of columns by name."""
        return [(self.replicas(c, period), served[c.name]) for c in self.columns if served.get(c.name)]

    def share(self, coverage: Coverage, period: Period) -> Fraction:
        """What part of its demand's requests a coverage must serve in a period."""
        return period.as_long(self.cluster.demand[coverage.demand])[coverage.bucket]

    def most_served(self, coverage: Coverage, period: Period) -> Fraction | None:
        """Requests/s of the demand in a period that no fleet exceeds; None: as many as you like."""
        share = self.share(coverage, period)
        most = sum((rate * self.alone[name] for name, rate in coverage.served.items()), Fraction(0))
        return most / share if share else None

    def most_growth(self) -> Fraction:
        """Largest factor that some demand alone allows; 0 where nothing is asked for, so that nothing grows."""
        factors = [
            most / period.rates[coverage.demand]
            for coverage in self.coverages
            for period in self.cluster.periods
            if period.rates.get(coverage.demand) and (most := self.most_served(coverage, period)) is not None
        ]
        return min(factors, default=Fraction(0))

    def need(self, coverage: Coverage, period: Period) -> tuple[list[tuple[str, Fraction]], Fraction, Fraction] | None:
        """What a coverage must reach, as terms and a constant, and the most that can be; None: nothing is asked.

        The rate of the period, times the common factor under objective growth; the requests/s that are counted under
        objective throughput.
        """
        share, most = self.share(coverage, period), self.most_served(coverage, period)
        if most is None:
            return None
        rate = period.rates.get(coverage.demand, Fraction(0)) * share
        if self.cluster.objective == "throughput":
            return [(self.served(coverage.demand, period), share)], Fraction(0), most * share
        if not rate:
            return None
        if self.cluster.objective == "growth":
            return [(GROWTH, rate)], Fraction(0), rate * self.most_growth()
        return [], rate, rate


class FleetFamily(ABC):
    """One family over one statement."""

    name: ClassVar[str]

    def __init__(self, statement: FleetProgram) -> None:
        self.statement, self.cluster, self.program = statement, statement.cluster, statement.program

    @abstractmethod
    def post(self) -> None:
        """Add the family's variables and rows."""

    @classmethod
    @abstractmethod
    def limits(cls, cluster: Cluster) -> Iterable[StatedLimit]:
        """What of the family a person stated and may loosen."""


@dataclass(frozen=True)
class StatedLimit:
    """One stated limit: its name in the file, value and unit, its sentence, and the cluster without it."""

    name: str
    value: object
    unit: str | None
    sentence: str
    without: Cluster
