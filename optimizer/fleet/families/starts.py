"""(starts) Replicas that a period has beyond the one before are started, at `start_cost` each; the day is a circle."""

from __future__ import annotations

from collections.abc import Iterable

from optimizer.domain.cluster import Cluster, Period
from optimizer.fleet.column import Column
from optimizer.fleet.families.family import FleetFamily, StatedLimit


class Starts(FleetFamily):
    """Starts of every column in every period; only a cost counts them."""

    name = "starts"

    @staticmethod
    def counted(cluster: Cluster) -> bool:
        """Whether starts cost anything."""
        return cluster.objective == "cost" and cluster.start_cost > 0 and len(cluster.periods) > 1

    @staticmethod
    def started(column: Column, period: Period) -> str:
        """Name of the number of starts."""
        return f"started[{column.name}, {period.name}]"

    def post(self) -> None:
        """Started ≥ count − count in the period before."""
        if not self.counted(self.cluster):
            return
        periods = self.cluster.periods
        for number, period in enumerate(periods):
            before = periods[number - 1]
            for column in self.statement.columns:
                started = self.program.count(self.started(column, period), self.statement.alone[column.name])
                change = [(self.statement.replicas(column, before), 1), (self.statement.replicas(column, period), -1)]
                name = f"starts[{column.name}, {period.name}]"
                self.program.at_least(name, self.name, [(started, 1), *change], 0)

    @classmethod
    def limits(cls, cluster: Cluster) -> Iterable[StatedLimit]:  # noqa: ARG003 - as every family
        """Nothing to loosen."""
        return ()
