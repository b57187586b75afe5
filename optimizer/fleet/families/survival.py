"""(survival) After the loss of any k nodes, or k racks, every demand still has what it needs.

Let ℓ be what a node serves of a chain (a replica over several nodes counts as one node: it dies once); where racks are
lost, what a rack serves, a replica over several racks, which stand for it alone, counting as one. The worst loss
is the sum of the k largest ℓ = min over θ ≥ 0 of kθ + Σ max(0, ℓ − θ), reached where θ is the k-th largest of the ℓ. So
what is left is Σ min(ℓ, θ) − kθ: linear in the counts of nodes filled alike, once literals say above which levels θ is.
At most k − 1 nodes lose more than θ, and the supply covers the need and kθ: for k = 1 that is all. Where the ways to
fill a node are too many to list, replicas stand for nodes: k nodes take no less with them than the k largest replicas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction

from optimizer.domain.cluster import Cluster, Period, Pool
from optimizer.fleet.column import Column
from optimizer.fleet.families.family import Coverage, FleetFamily, StatedLimit
from optimizer.fleet.families.filling import Filling, by_rack, fillings, listed_whole, losable, rack_contents
from optimizer.fleet.nodes import racks, racks_of
from optimizer.units import counted


def _units(pool: Pool, unit: str) -> int:
    """Nodes, or racks, on which something may stand."""
    if unit == "nodes":
        return sum(1 for free in pool.free if free)
    return sum(any(pool.free[node] for node in nodes) for nodes in racks(pool))


class Survival(FleetFamily):
    """What is left after the worst loss, for every chain and period."""

    name = "survival"

    def post(self) -> None:
        """Rows for each θ and a literal that chooses one; and a floor that needs no choice."""
        survive = self.cluster.survive
        if survive is None:
            return
        for period in self.cluster.periods:
            for coverage in self.statement.coverages:
                need = self.statement.need(coverage, period)
                if need is None:
                    continue
                terms, least, most = need
                demanded = [(name, -factor) for name, factor in terms]
                self._floors(coverage, period, demanded, least)
                self._chosen(coverage, period, demanded, (least, most), survive.lost)

    def _listed(self) -> bool:
        """Whether what dies with a node, or rack, is in the program."""
        return not self.statement.relaxed or all(listed_whole(self.statement, p) for p in self.cluster.pools)

    def _floors(
        self, coverage: Coverage, period: Period, demanded: list[tuple[str, Fraction]], least: Fraction
    ) -> None:
        """What every choice of θ implies, so that the relaxation is not far off.

        The k nodes that serve most serve no less than the mean node does: of any N nodes they take at least k/N of what
        those serve, of all that may be lost as of those of one kind. And a need above 0 survives only beside k dead
        nodes, each of which serves no less than the smallest replica does. So of racks.
        """
        survive = self.cluster.survive
        assert survive is not None  # noqa: S101 - by `post`
        lost, label = survive.lost, f"{coverage.demand}, {coverage.part}, {period.name}"
        supply = self.statement.counts(coverage.served, period)
        fragile = [pool for pool in self.cluster.pools if losable(self.statement, pool)]
        names = {self.statement.replicas(c, period) for pool in fragile for c in self.statement.of_pool(pool.name)}
        smallest = min((rate for rate in coverage.served.values() if rate), default=None)
        if least > 0 and smallest is not None and len(fragile) == len(self.cluster.pools):
            self.program.at_least(f"spare[{label}]", self.name, supply, least + lost * smallest)
        groups = {"all": (sum(_units(p, survive.unit) for p in fragile), [(n, r) for n, r in supply if n in names])}
        if self._listed():
            for pool in fragile:
                groups |= self._kinds(pool, coverage, period)
        for group, (units, served) in groups.items():
            share = Fraction(min(lost, units), units)
            dead = [(name, -share * rate) for name, rate in served]
            self.program.at_least(f"mean[{label}, {group}]", self.name, [*supply, *demanded, *dead], least)

    def _kinds(
        self, pool: Pool, coverage: Coverage, period: Period
    ) -> dict[str, tuple[int, list[tuple[str, Fraction]]]]:
        """Nodes, or racks, of each kind: how many there are, and what one serves after each filling."""
        kinds: dict[str, tuple[int, list[tuple[str, Fraction]]]] = {}
        for filling, loss in self._filled(pool, coverage, period):
            kind = f"{pool.name} {'+'.join(map(str, filling.kind or (filling.free,)))}"
            kinds.setdefault(kind, (filling.nodes, []))[1].append((filling.name, loss))
        return kinds

    def _filled(self, pool: Pool, coverage: Coverage, period: Period) -> list[tuple[Filling, Fraction]]:
        """What of a chain dies with a node, or rack, filled in each way; nothing of some is left out."""
        filled = rack_contents if by_rack(self.statement, pool) else fillings
        losses = []
        for filling in filled(self.statement, pool, period):
            served = (coverage.served.get(str(key), Fraction(0)) * n for key, n in filling.places.items())
            loss = sum(served, Fraction(0))
            if loss:
                losses.append((filling, loss))
        return losses

    def _chosen(
        self,
        coverage: Coverage,
        period: Period,
        demanded: list[tuple[str, Fraction]],
        need: tuple[Fraction, Fraction],
        lost: int,
    ) -> None:
        least, most = need
        standing, losses = self._losses(coverage, period)
        together = {
            m * coverage.served[column.name]
            for column in self._crowded(coverage)
            for m in range(2, max(self.cluster.pool[column.pool].free) // column.devices + 1)
        }
        levels = sorted({loss for _, loss in losses if loss > 0} | together)
        if standing or not least:
            levels = [Fraction(0), *levels]
        if not levels:
            return
        label = f"{coverage.demand}, {coverage.part}, {period.name}"
        above = [self.program.choice(f"above[{label}, {number}]") for number in range(len(levels) - 1)]
        for number, (literal, level) in enumerate(zip(above, levels, strict=False)):
            if number:
                self.program.at_least(
                    f"order[{label}, {number}]", self.name, [(above[number - 1], 1), (literal, -1)], 0
                )
            over = [(name, 1) for name, loss in losses if loss > level]
            most_over = self._most(coverage, level)
            self.program.at_most(f"over[{label}, {number}]", self.name, [*over, (literal, -most_over)], lost - 1)
        for column in self._crowded(coverage):
            self._apart(column, coverage, period, dict(zip(levels[1:], above, strict=True)), lost)
        steps = [(n, -lost * (b - a)) for n, a, b in zip(above, levels, levels[1:], strict=False)]
        supply = self.statement.counts(coverage.served, period)
        self.program.at_least(
            f"left[{label}]", self.name, [*supply, *demanded, *steps], least + lost * levels[0]
        )  # fmt: skip
        for number, level in enumerate(levels) if lost > 1 else ():
            capped = [(name, min(loss, level)) for name, loss in losses]
            # other levels lift the row: without it the left side is at least −most, and 0 ≥ −kθ
            slack = most + lost * level
            lifted = [(above[number - 1], -slack)] if number else []
            lifted += [(above[number], slack)] if number < len(above) else []
            floor = least + lost * level - (slack if number else 0)
            name = f"left[{label}, {number}]"
            self.program.at_least(name, self.name, [*standing, *capped, *demanded, *lifted], floor)

    def _crowded(self, coverage: Coverage) -> list[Column]:
        """Columns of which a node may hold several; none where nodes are filled in listed ways, which say as much."""
        survive = self.cluster.survive
        if self._listed() or survive is None or survive.unit != "nodes":
            return []
        fragile = [pool for pool in self.cluster.pools if losable(self.statement, pool)]
        return [
            column
            for pool in fragile
            for column in self.statement.of_pool(pool.name)
            if coverage.served.get(column.name) and 2 * column.devices <= max(pool.free)
        ]

    def _apart(
        self, column: Column, coverage: Coverage, period: Period, above: Mapping[Fraction, str], lost: int
    ) -> None:
        """How many replicas of a column stand with at most m of them on a node, unless θ is what m + 1 of them lose.

        A node takes at most m of them, and no more than it is filled for; k − 1 nodes may take more. A literal for
        each m lets every node take one more.
        """
        pool, rate = self.cluster.pool[column.pool], coverage.served[column.name]
        filled = fillings(self.statement, pool, period)
        places = {f.name: f.places.get(column.devices, f.places.get(column.name, 0)) for f in filled}
        most = max(pool.free) // column.devices
        for each in range(1, most):
            room = [(name, -min(each, held)) for name, held in places.items()]
            nodes = [sum(free >= more * column.devices for free in pool.free) for more in range(each + 1, most + 1)]
            more = [(above[m * rate], -n) for m, n in zip(range(each + 1, most + 1), nodes, strict=True)]
            terms = [(self.statement.replicas(column, period), 1), *more]
            label = f"{coverage.demand}, {coverage.part}, {period.name}, {column.name}, {each}"
            spare = (lost - 1) * (most - each)
            if not listed_whole(self.statement, pool):
                self.program.at_most(f"apart[{label}]", self.name, [*terms, *room], spare)
            # the same of empty nodes, which speaks of the demand alone
            whole = sum(min(each, free // column.devices) for free in pool.free)
            self.program.at_most(f"own[{label}]", self.name, terms, whole + spare)

    def _most(self, coverage: Coverage, level: Fraction) -> int:
        """Most units that take more than a level with them: nodes or racks, or replicas where those count for them."""
        survive = self.cluster.survive
        assert survive is not None  # noqa: S101 - by `post`
        fragile = [pool for pool in self.cluster.pools if losable(self.statement, pool)]
        if self._listed():
            return sum(_units(pool, survive.unit) for pool in fragile)
        larger = [c for c in self.statement.columns if coverage.served.get(c.name, Fraction(0)) > level]
        alone = self.statement.alone
        return sum(max((alone[c.name] for c in larger if c.pool == pool.name), default=0) for pool in fragile)

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
            if not self._listed():
                losses += [(self.statement.replicas(c, period), coverage.served[c.name]) for c in columns]
                continue
            whole = by_rack(self.statement, pool)
            losses += [(filling.name, loss) for filling, loss in self._filled(pool, coverage, period)]
            losses += [
                (self.statement.replicas(c, period), coverage.served[c.name])
                for c in columns
                if (racks_of(pool, pool.nodes_of(c.devices)) if whole else pool.nodes_of(c.devices))
            ]
        return standing, losses

    @classmethod
    def limits(cls, cluster: Cluster) -> Iterable[StatedLimit]:
        """The loss to be survived."""
        survive = cluster.survive
        if survive is not None:
            where = "" if survive.pool is None else f" of pool {survive.pool}"
            yield StatedLimit(
                f"survive.{survive.unit}", survive.lost, survive.unit,
                f"every demand must hold without any {counted(survive.lost, survive.unit)}{where}",
                cluster.model_copy(update={"survive": None}),
            )  # fmt: skip
