"""(survival) After the loss of any k nodes every demand still has what it needs.

Let ℓ be what a node serves of a chain (a replica over several nodes counts as one node: it dies once). The worst loss
is the sum of the k largest ℓ = min over θ ≥ 0 of kθ + Σ max(0, ℓ − θ), reached at a θ among the ℓ. So what is left is
the largest over those θ of Σ min(ℓ, θ) − kθ: linear in the counts of nodes filled alike, once a literal chooses θ.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from optimizer.domain.cluster import Cluster, Period
from optimizer.fleet.families.family import Coverage, Family, Limit
from optimizer.fleet.families.filling import fillings, listed_whole, losable


class Survival(Family):
    """What is left after the worst loss, for every chain and period."""

    name = "survival"

    def post(self) -> None:
        """Rows for each θ and a literal that chooses one; and a floor that needs no choice."""
        own = self.cluster.survive
        if own is None or own.nodes is None:
            return
        for period in self.cluster.periods:
            for coverage in self.statement.coverages:
                need = self.statement.need(coverage, period)
                if need is None:
                    continue
                terms, least, most = need
                asked = [(name, -factor) for name, factor in terms]
                if least > 0:
                    self._floor(coverage, period, least, own.nodes)
                if not self.statement.relaxed or all(listed_whole(self.statement, p) for p in self.cluster.pools):
                    self._chosen(coverage, period, asked, (least, most), own.nodes)

    def _floor(self, coverage: Coverage, period: Period, least: Fraction, lost: int) -> None:
        """A need above 0 survives only beside k dead nodes: each serves no less than the smallest replica does.

        Nor do the k that serve most serve less than the mean node: of N nodes they take k/N of everything.
        """
        own = self.cluster.survive
        smallest = min((rate for rate in coverage.served.values() if rate), default=None)
        if smallest is None or own is None or (own.pool is not None and len(self.cluster.pools) > 1):
            return
        supply = self.statement.counts(coverage.served, period)
        label = f"{coverage.demand}, {coverage.part}, {period.name}"
        self.program.at_least(f"spare[{label}]", self.name, supply, least + lost * smallest)
        nodes = sum(sum(1 for free in pool.free if free) for pool in self.cluster.pools)
        share = 1 - Fraction(min(lost, nodes), nodes)
        self.program.at_least(f"mean[{label}]", self.name, [(name, rate * share) for name, rate in supply], least)

    def _chosen(
        self,
        coverage: Coverage,
        period: Period,
        asked: list[tuple[str, Fraction]],
        need: tuple[Fraction, Fraction],
        lost: int,
    ) -> None:
        least, most = need
        standing, losses = self._losses(coverage, period)
        levels = sorted({loss for _, loss in losses if loss > 0})
        if standing or not least:
            levels = [Fraction(0), *levels]
        label = f"{coverage.demand}, {coverage.part}, {period.name}"
        chosen = []
        for number, level in enumerate(levels):
            literal = self.program.choice(f"level[{label}, {number}]")
            chosen.append((literal, 1))
            left = [(name, min(loss, level)) for name, loss in losses]
            # the literal lifts the row: without it the left side is at least −most, and 0 ≥ −kθ
            slack = most + lost * level
            self.program.at_least(
                f"left[{label}, {number}]", self.name, [*standing, *left, *asked, (literal, -slack)],
                least + lost * level - slack,
            )  # fmt: skip
        self.program.at_least(f"levels[{label}]", self.name, chosen, 1)

    def _losses(
        self, coverage: Coverage, period: Period
    ) -> tuple[list[tuple[str, Fraction]], list[tuple[str, Fraction]]]:
        """What cannot be lost, and what each node filled alike and each replica over several nodes takes with it."""
        standing, losses = [], []
        for pool in self.cluster.pools:
            columns = [c for c in self.statement.of_pool(pool.name) if coverage.served.get(c.name)]
            if not losable(self.statement, pool):
                standing += [(self.statement.replicas(c, period), coverage.served[c.name]) for c in columns]
                continue
            for filling in fillings(self.statement, pool, period):
                loss = sum(
                    (coverage.served.get(str(key), Fraction(0)) * n for key, n in filling.places.items()), Fraction(0)
                )
                if loss:
                    losses.append((filling.name, loss))
            losses += [
                (self.statement.replicas(c, period), coverage.served[c.name])
                for c in columns
                if pool.nodes_of(c.devices)
            ]
        return standing, losses

    @classmethod
    def limits(cls, cluster: Cluster) -> Iterable[Limit]:
        """The loss to be survived."""
        own = cluster.survive
        if own is not None:
            where = "" if own.pool is None else f" of pool {own.pool}"
            yield Limit(
                "survive.nodes", own.nodes, "nodes", f"every demand must hold without any {own.nodes} nodes{where}",
                cluster.model_copy(update={"survive": None}),
            )  # fmt: skip
