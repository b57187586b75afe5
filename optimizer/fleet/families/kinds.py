"""(kinds) A demand uses at most `max_kinds` layouts in each role, over all pools and periods."""

from __future__ import annotations

from collections.abc import Iterable

from optimizer.domain.cluster import Cluster
from optimizer.fleet.families.family import FleetFamily, StatedLimit


class Kinds(FleetFamily):
    """One literal for each layout of a demand and role."""

    name = "kinds"

    def post(self) -> None:
        """Count ≤ most·literal, and as many literals as there may be kinds."""
        most = self.cluster.max_kinds
        if most is None:
            return
        statement = self.statement
        kinds = dict.fromkeys((c.demand, c.role, c.layout) for c in statement.columns)
        for kind in kinds:
            self.program.choice(f"kind[{'/'.join(kind)}]")
        for column in statement.columns:
            literal = f"kind[{column.demand}/{column.role}/{column.layout}]"
            for period in self.cluster.periods:
                count = statement.replicas(column, period)
                name = f"uses[{column.name}, {period.name}]"
                self.program.at_least(name, self.name, [(literal, statement.alone[column.name]), (count, -1)], 0)
        for demand, role in dict.fromkeys((d, r) for d, r, _ in kinds):
            used = [(f"kind[{'/'.join(kind)}]", 1) for kind in kinds if kind[:2] == (demand, role)]
            self.program.at_most(f"kinds[{demand}, {role}]", self.name, used, most)

    @classmethod
    def limits(cls, cluster: Cluster) -> Iterable[StatedLimit]:
        """The number of kinds."""
        if cluster.max_kinds is not None:
            yield StatedLimit(
                "max_kinds", cluster.max_kinds, None,
                f"a demand may use {cluster.max_kinds} layouts in a role",
                cluster.model_copy(update={"max_kinds": None}),
            )  # fmt: skip
