"""(demands) Every demand is served: the replicas of each of its chains take at least its requests/s.

A request of a disaggregated demand passes a prefill and a decode replica, so that either chain bounds it; aggregated
replicas stand in both. Σ over a chain of requests/s·count ≥ rate; × the growth factor, where that is maximised.
Of requests of several lengths: the same for every bucket, over the replicas that take requests as long, with the rate
of those; buckets are nested, so that then every request has a replica (`optimizer.domain.buckets`).
"""

from __future__ import annotations

from collections.abc import Iterable

from optimizer.domain.cluster import Cluster, Period
from optimizer.fleet.families.family import GROWTH, FleetFamily, StatedLimit


class Demands(FleetFamily):
    """Rates of every demand, chain and period."""

    name = "demands"

    def post(self) -> None:
        """One row for each chain that something is asked of."""
        statement = self.statement
        if self.cluster.objective == "growth":
            self.program.amount(GROWTH, statement.most_growth())
        for period in self.cluster.periods:
            if self.cluster.objective == "throughput":
                self._counted(period)
            for coverage in statement.coverages:
                need = statement.need(coverage, period)
                if need is None:
                    continue
                terms, least, _ = need
                supply = statement.counts(coverage.served, period)
                name = f"demand[{coverage.demand}, {coverage.part}, {period.name}]"
                self.program.at_least(name, self.name, [*supply, *((n, -f) for n, f in terms)], least)

    def _counted(self, period: Period) -> None:
        """Requests/s that throughput counts: no more than any chain, no less than the rate that is asked for."""
        for demand in self.cluster.demands:
            rates = [self.statement.most_served(c, period) for c in self.statement.coverages if c.demand == demand.name]
            most = min(rate for rate in rates if rate is not None)
            served = self.program.amount(self.statement.served(demand.name, period), most)
            rate = period.rates.get(demand.name, 0)
            if rate:
                self.program.at_least(f"rate[{demand.name}, {period.name}]", self.name, [(served, 1)], rate)

    @classmethod
    def limits(cls, cluster: Cluster) -> Iterable[StatedLimit]:
        """The rate of each demand, in all periods together."""
        for demand in cluster.demands:
            rates = [p.rates.get(demand.name, 0) for p in cluster.periods]
            if not any(rates):
                continue
            periods = tuple(
                p.model_copy(update={"rates": {n: r for n, r in p.rates.items() if n != demand.name}})
                for p in cluster.periods
            )
            yield StatedLimit(
                f"demands.{demand.name}.request_rate", float(max(rates)), "requests_per_s",
                f"demand {demand.name} asks for {float(max(rates)):g} requests/s",
                cluster.model_copy(update={"periods": periods}),
            )  # fmt: skip
