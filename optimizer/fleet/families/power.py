"""(power) Replicas in use draw at most the power there is."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from optimizer.domain.cluster import Cluster
from optimizer.fleet.families.family import Family, Limit


class Power(Family):
    """Watts."""

    name = "power"

    def post(self) -> None:
        """Σ watts·count ≤ limit in every period."""
        most = self.cluster.limits.power
        if most is None:
            return
        for period in self.cluster.periods:
            drawn = [(self.statement.replicas(c, period), c.power_w or Fraction(0)) for c in self.statement.columns]
            self.program.at_most(f"power[{period.name}]", self.name, drawn, most)

    @classmethod
    def limits(cls, cluster: Cluster) -> Iterable[Limit]:
        """The power limit."""
        most = cluster.limits.power
        if most is not None:
            yield Limit(
                "limits.power", float(most), "w", f"the power limit is {float(most):g} W",
                cluster.model_copy(update={"limits": cluster.limits.model_copy(update={"power": None})}),
            )  # fmt: skip
