"""(budget) The fleet costs at most its budget in every period: devices of owned pools always, others while in use."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from optimizer.domain.cluster import Cluster
from optimizer.fleet.families.family import Family, Limit


def standing_cost(cluster: Cluster) -> Fraction:
    """Dollars per hour of devices that are paid for used or not."""
    return sum((p.price * p.devices for p in cluster.pools if p.pays_for_all and p.price is not None), Fraction(0))


class Budget(Family):
    """Dollars per hour."""

    name = "budget"

    def post(self) -> None:
        """Standing cost and that of every replica."""
        budget = self.cluster.limits.budget
        if budget is None:
            return
        for period in self.cluster.periods:
            spent = [(self.statement.replicas(c, period), c.cost or Fraction(0)) for c in self.statement.columns]
            self.program.at_most(f"budget[{period.name}]", self.name, spent, budget - standing_cost(self.cluster))

    @classmethod
    def limits(cls, cluster: Cluster) -> Iterable[Limit]:
        """The budget."""
        budget = cluster.limits.budget
        if budget is not None:
            yield Limit(
                "limits.budget", float(budget), "dollars_per_h", f"the budget is {float(budget):g} $/h",
                cluster.model_copy(update={"limits": cluster.limits.model_copy(update={"budget": None})}),
            )  # fmt: skip
