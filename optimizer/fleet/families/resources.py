"""(budget), (power) What replicas in use cost an hour, or draw, is within a limit in every period.

Devices of owned pools are paid for always, others while in use.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import ClassVar

from optimizer.domain.cluster import Cluster
from optimizer.fleet.families.family import FleetFamily, StatedLimit


def standing_cost(cluster: Cluster) -> Fraction:
    """Dollars per hour of devices that are paid for used or not."""
    return sum((p.price * p.devices for p in cluster.pools if p.pays_for_all and p.price is not None), Fraction(0))


class _Resource(FleetFamily):
    """A resource of which each replica takes an amount, named as its limit is."""

    amount: ClassVar[str]
    """Attribute of a column."""
    unit: ClassVar[str]
    sentence: ClassVar[str]

    def post(self) -> None:
        """Σ amount·count ≤ limit, less what is taken at rest, in every period."""
        most = getattr(self.cluster.limits, self.name)
        if most is None:
            return
        for period in self.cluster.periods:
            taken = [
                (self.statement.replicas(c, period), getattr(c, self.amount) or Fraction(0))
                for c in self.statement.columns
            ]
            self.program.at_most(f"{self.name}[{period.name}]", self.name, taken, most - self._at_rest())

    def _at_rest(self) -> Fraction:
        return Fraction(0)

    @classmethod
    def limits(cls, cluster: Cluster) -> Iterable[StatedLimit]:
        """The one limit."""
        most = getattr(cluster.limits, cls.name)
        if most is not None:
            yield StatedLimit(
                f"limits.{cls.name}", float(most), cls.unit,
                cls.sentence.format(float(most)) + " in every period" * (len(cluster.periods) > 1),
                cluster.model_copy(update={"limits": cluster.limits.model_copy(update={cls.name: None})}),
            )  # fmt: skip


class Budget(_Resource):
    """Dollars per hour."""

    name, amount, unit, sentence = "budget", "cost", "dollars_per_h", "the budget is {:g} $/h"

    def _at_rest(self) -> Fraction:
        return standing_cost(self.cluster)


class Power(_Resource):
    """Watts."""

    name, amount, unit, sentence = "power", "power_w", "w", "the power limit is {:g} W"
