"""The judge of a fleet: node by node, demand by demand, loss by loss; it knows nothing of how a fleet is found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from optimizer.domain.cluster import Cluster, Demand, Period, Pool
from optimizer.domain.fleet import Fleet, NodeShare, Replicas, worth
from optimizer.fleet.column import Column
from optimizer.units import counted


@dataclass(frozen=True)
class Broken:
    """A constraint that a fleet does not keep, with its numbers; `column` names the replicas that it is about."""

    family: str
    message: str
    column: str | None = None

    def to_json(self) -> dict[str, object]:
        """As in ``violations`` of a verdict."""
        return {"family": self.family, "message": self.message, "numbers": {}}


@dataclass(frozen=True)
class DemandFigures:
    """What a fleet does for one demand in one period.

    Attributes
    ----------
    capacity
        Requests/s that the weakest chain takes.
    left
        The same after the worst loss of as many nodes or racks as `survive` says, or of one node.
    worst, after_worst
        Pool and node, or rack, whose loss alone leaves least, and what it leaves; None where no replica stands.
    """

    rate: Fraction
    capacity: Fraction
    left: Fraction
    after_worst: Fraction
    worst: tuple[str, int] | None


@dataclass
class FleetVerdict:
    """A fleet, what is broken, and the figures of every period and demand."""

    fleet: Fleet = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    demands: dict[str, dict[str, DemandFigures]] = field(default_factory=dict)
    idle: dict[str, dict[str, int]] = field(default_factory=dict)
    value: Fraction | None = None

    @property
    def feasible(self) -> bool:
        """Whether every constraint is kept."""
        return not self.broken


def judge_fleet(cluster: Cluster, columns: Sequence[Column], fleet: Fleet) -> FleetVerdict:
    """Judge a fleet whose replicas are all among the columns."""
    verdict = FleetVerdict(fleet)
    known = {column.name: column for column in columns}
    for period in cluster.periods:
        replicas = fleet.get(period.name, ())
        unknown = [replica.column for replica in replicas if replica.column not in known]
        if unknown:
            verdict.broken.append(Broken("columns", f"{unknown[0]} is no replica that is known", unknown[0]))
            return verdict
        verdict.broken += standing(cluster, known, replicas)
        verdict.broken += _exchanges(known, replicas)
        verdict.idle[period.name] = {
            pool.name: pool.devices
            - sum(replica.count * known[replica.column].devices for replica in replicas if replica.pool == pool.name)
            for pool in cluster.pools
        }
        verdict.demands[period.name] = {
            demand.name: _figures(cluster, demand, period, known, replicas) for demand in cluster.demands
        }
        verdict.broken += list(_rates(cluster, period, verdict.demands[period.name]))
        verdict.broken += list(_totals(cluster, period, known, replicas))
    verdict.broken += list(_kinds(cluster, fleet))
    verdict.value = value_of(cluster, known, fleet, verdict)
    return verdict


def _exchanges(known: Mapping[str, Column], replicas: Sequence[Replicas]) -> Iterable[Broken]:
    """Replicas that were priced without the link to a pool where others of their demand stand."""
    sending = {r.column: known[r.column] for r in replicas if r.role != "aggregated"}
    for column in sending.values():
        pools = {other.pool for other in sending.values() if other.demand == column.demand}
        for pool in sorted(pools - set(column.peers or pools)):
            yield Broken(
                "transfer", f"{column.name} exchanges caches with {pool}, whose link was not counted", column.name
            )


def standing(cluster: Cluster, known: Mapping[str, Column], replicas: Sequence[Replicas]) -> list[Broken]:
    """What is wrong with where replicas stand: on free devices, held once, a small one on one node."""
    broken: list[Broken] = []
    holders: dict[tuple[str, int, int], str] = {}
    for replica in replicas:
        pool, column = cluster.pool[replica.pool], known[replica.column]
        if len(replica.places) != replica.count:
            text = f"{replica.column}: {counted(replica.count, 'replicas')} on {counted(len(replica.places), 'places')}"
            broken.append(Broken("capacity", text, replica.column))
        for places in replica.places:
            broken += _one(pool, column, [(p.node, d) for p in places for d in p.devices])
            for node, devices in _taken(pool, column, places):
                for device in devices:
                    at = (pool.name, node, device)
                    if at in holders:
                        text = f"{replica.column} and {holders[at]} on {'/'.join(map(str, at))}"
                        broken.append(Broken("capacity", text, replica.column))
                    holders[at] = replica.column
    return broken


def _taken(pool: Pool, column: Column, places: Sequence[NodeShare]) -> Iterable[tuple[int, Sequence[int]]]:
    """Devices that nothing else may hold: whole nodes of a replica of several, whole racks of one that none holds."""
    nodes, whole_node = pool.nodes_of(column.devices), range(pool.devices_per_node)
    if not nodes:
        return [(place.node, place.devices) for place in places]
    node_numbers = {place.node for place in places}
    if pool.rack_nodes is not None and nodes > pool.rack_nodes:
        reached = {pool.rack_of(node) for node in node_numbers}
        node_numbers |= {node for node in range(len(pool.free)) if pool.rack_of(node) in reached}
    return [(node, whole_node) for node in sorted(node_numbers)]


def _one(pool: Pool, column: Column, devices: list[tuple[int, int]]) -> Iterable[Broken]:
    for message in _misplaced(pool, column, devices):
        yield Broken("capacity", message, column.name)


def _misplaced(pool: Pool, column: Column, devices: list[tuple[int, int]]) -> Iterable[str]:
    nodes = sorted({node for node, _ in devices})
    if any(not 0 <= node < len(pool.free) for node in nodes):
        yield f"{column.name} on node {nodes[-1]} of {len(pool.free)} in {pool.name}"
        return
    if len(set(devices)) != len(devices) or len(devices) != column.devices:
        yield f"{column.name} takes {column.devices} devices, not {len(set(devices))}"
    for node, device in devices:
        if not 0 <= device < pool.free[node]:
            where = f"device {device} of {pool.free[node]} free on {pool.name}/{node}"
            yield f"{column.name} on {where}"
    wanted = pool.nodes_of(column.devices)
    if len(nodes) != max(wanted, 1):
        yield f"{column.name} on {counted(len(nodes), 'nodes')}, not {max(wanted, 1)}"
    if wanted and any(pool.free[node] != pool.devices_per_node for node in nodes):
        yield f"{column.name} takes whole nodes, and not all of them are free"
    if wanted and pool.rack_nodes:
        racks = {node // pool.rack_nodes for node in nodes}
        if len(racks) != -(-wanted // pool.rack_nodes):
            yield f"{column.name} spans {counted(len(racks), 'racks')} of {pool.name}"


Served = Mapping[tuple[str, int], Fraction]
"""Requests/s by role and bucket."""


def _of_part(served: Served, roles: Sequence[str], number: int) -> Fraction:
    """Requests/s of some roles' replicas that take requests as long as a bucket."""
    rates = (rate for (role, bucket), rate in served.items() if role in roles and bucket >= number)
    return sum(rates, Fraction(0))


def parts_of(demand: Demand, period: Period) -> list[tuple[Sequence[str], int, Fraction]]:
    """What must serve a demand: each chain's roles, the requests as long as each bucket, and what share they are."""
    shares = [(number, share) for number, share in enumerate(period.as_long(demand)) if share]
    return [(roles, number, share) for roles in demand.chains.values() for number, share in shares]


def _capacity(demand: Demand, period: Period, served: Served) -> Fraction:
    """Requests/s of the demand that every chain takes, as long as they come."""
    return min(_of_part(served, roles, number) / share for roles, number, share in parts_of(demand, period))


def _figures(
    cluster: Cluster, demand: Demand, period: Period, known: Mapping[str, Column], replicas: Sequence[Replicas]
) -> DemandFigures:
    rates: dict[tuple[str, int], Fraction] = {}
    dead: list[tuple[dict[tuple[str, int], Fraction], tuple[str, int]]] = []
    at: dict[tuple[str, int], dict[tuple[str, int], Fraction]] = {}
    survive = cluster.survive
    for group in (r for r in replicas if r.demand == demand.name):
        rate, kind = known[group.column].requests_per_s, (group.role, known[group.column].bucket)
        rates[kind] = rates.get(kind, Fraction(0)) + rate * group.count
        if survive is not None and survive.pool not in {None, group.pool}:
            continue
        for places in group.places:
            units = units_of(cluster, group.pool, places)
            if len(units) > 1:
                dead.append(({kind: rate}, (group.pool, units[0])))
            elif units:
                unit = at.setdefault((group.pool, units[0]), {})
                unit[kind] = unit.get(kind, Fraction(0)) + rate
    dead += [(lost, where) for where, lost in at.items()]
    many = 1 if survive is None else survive.lost
    after_loss, worst, least = _capacity(demand, period, rates), None, None
    for roles, number, share in parts_of(demand, period):
        losses = sorted(
            ((_of_part(lost, roles, number), where) for lost, where in dead), key=lambda item: (-item[0], item[1])
        )
        served = _of_part(rates, roles, number)
        after_loss = min(after_loss, (served - sum((loss for loss, _ in losses[:many]), Fraction(0))) / share)
        if losses and (least is None or (served - losses[0][0]) / share < least):
            least, worst = (served - losses[0][0]) / share, losses[0][1]
    rate = period.rates.get(demand.name, Fraction(0))
    capacity = _capacity(demand, period, rates)
    return DemandFigures(rate, capacity, after_loss, capacity if least is None else min(capacity, least), worst)


def units_of(cluster: Cluster, pool: str, places: Sequence[NodeShare]) -> list[int]:
    """Nodes of a pool that a replica stands on; its racks, where those are what may be lost."""
    survive = cluster.survive
    unit_of = cluster.pool[pool].rack_of if survive is not None and survive.racks is not None else int
    return sorted({unit_of(place.node) for place in places})


def left_without(
    cluster: Cluster, demand: Demand, period: Period, known: Mapping[str, Column], replicas: Sequence[Replicas],
    lost: tuple[str, int],
) -> Fraction:  # fmt: skip
    """Requests/s of a demand that are left when one node of a pool, or rack, is lost."""
    served: dict[tuple[str, int], Fraction] = {}
    for group in (r for r in replicas if r.demand == demand.name):
        dead = sum(
            group.pool == lost[0] and lost[1] in units_of(cluster, group.pool, places) for places in group.places
        )
        kind = (group.role, known[group.column].bucket)
        alive = len(group.places) - dead
        served[kind] = served.get(kind, Fraction(0)) + known[group.column].requests_per_s * alive
    return _capacity(demand, period, served)


def routed(
    demand: Demand, shares: Sequence[Fraction], rate: Fraction, known: Mapping[str, Column],
    replicas: Sequence[Replicas],
) -> dict[tuple[int, str], Fraction]:  # fmt: skip
    """Share of each bucket's requests that each kind of replica takes, by bucket and column, within every role.

    From the longest bucket on: its own replicas first, then what those of longer ones have left, each kind in
    proportion to what it serves. Of roles that replace one another (phase `either`) prefill and decode replicas take
    what aggregated ones leave.
    """
    rates: dict[tuple[int, str], Fraction] = {}
    for roles in demand.chains.values():
        spare = {r.column: known[r.column].requests_per_s * r.count for r in replicas if r.demand == demand.name}
        for number in reversed(range(len(demand.buckets))):
            demanded = rate * shares[number]
            for role, bucket in ((role, b) for role in roles for b in range(number, len(demand.buckets))):
                alike = [c for c in spare if (known[c].role, known[c].bucket) == (role, bucket)]
                room = sum((spare[c] for c in alike), Fraction(0))
                served = min(demanded, room)
                if not served:
                    continue
                for column in alike:
                    part = spare[column] * served / room
                    spare[column] -= part
                    rates[number, column] = part / (rate * shares[number])
                demanded -= served
    return rates


def _rates(cluster: Cluster, period: Period, figures: Mapping[str, DemandFigures]) -> Iterable[Broken]:
    if cluster.objective == "growth":
        return  # the factor says how far every rate is met
    for name, demand_figures in figures.items():
        label = f"{name} in {period.name}"
        if demand_figures.capacity < demand_figures.rate:
            yield Broken(
                "demands",
                f"{label}: {float(demand_figures.capacity):.6g} of {float(demand_figures.rate):.6g} requests/s",
            )
        elif cluster.survive is not None and demand_figures.left < demand_figures.rate:
            served = f"{float(demand_figures.left):.6g} of {float(demand_figures.rate):.6g} requests/s"
            yield Broken("survival", f"{label}: {served} without {counted(cluster.survive.lost, cluster.survive.unit)}")


def _totals(
    cluster: Cluster, period: Period, known: Mapping[str, Column], replicas: Sequence[Replicas]
) -> Iterable[Broken]:
    spent = cost_per_h(cluster, known, replicas)
    budget, power = cluster.limits.budget, cluster.limits.power
    if budget is not None and spent > budget:
        yield Broken("budget", f"{float(spent):.6g} of {float(budget):.6g} $/h in {period.name}")
    drawn = power_in_use(known, replicas)
    if power is not None and drawn > power:
        yield Broken("power", f"{float(drawn):.6g} of {float(power):.6g} W in {period.name}")


def _kinds(cluster: Cluster, fleet: Fleet) -> Iterable[Broken]:
    most = cluster.max_kinds
    if most is None:
        return
    used: dict[tuple[str, str], set[str]] = {}
    for replicas in fleet.values():
        for replica in replicas:
            if replica.count:
                used.setdefault((replica.demand, replica.role), set()).add(replica.layout)
    for (demand, role), layouts in used.items():
        if len(layouts) > most:
            yield Broken("kinds", f"{demand} uses {len(layouts)} layouts as {role}, at most {most}")


def cost_per_h(cluster: Cluster, known: Mapping[str, Column], replicas: Sequence[Replicas]) -> Fraction:
    """Dollars per hour: all devices of pools that are paid whole, and the replicas in use elsewhere."""
    standing_cost = sum(
        (p.price * p.devices for p in cluster.pools if p.pays_for_all and p.price is not None), Fraction(0)
    )
    return standing_cost + sum(((known[r.column].cost or Fraction(0)) * r.count for r in replicas), Fraction(0))


def power_in_use(known: Mapping[str, Column], replicas: Sequence[Replicas]) -> Fraction:
    """Watts of the replicas in use."""
    return sum(((known[r.column].power_w or Fraction(0)) * r.count for r in replicas), Fraction(0))


def value_of(cluster: Cluster, known: Mapping[str, Column], fleet: Fleet, verdict: FleetVerdict) -> Fraction | None:
    """The objective of a fleet, in its own unit: a mean over the hours of the periods.

    None where rates are to grow and none is stated.
    """
    if cluster.objective == "growth":
        factors = [
            (demand_figures.left if cluster.survive is not None else demand_figures.capacity) / demand_figures.rate
            for figures in verdict.demands.values()
            for demand_figures in figures.values()
            if demand_figures.rate
        ]
        return min(factors, default=None)
    total = Fraction(0)
    for number, period in enumerate(cluster.periods):
        replicas, share = fleet.get(period.name, ()), period.hours / cluster.hours
        if cluster.objective == "throughput":
            figures = verdict.demands[period.name]
            total += share * sum(
                (
                    worth(cluster, d)
                    * (figures[d.name].left if cluster.survive is not None else figures[d.name].capacity)
                    for d in cluster.demands
                ),
                Fraction(0),
            )
        elif cluster.objective == "devices":
            total += share * sum(known[r.column].devices * r.count for r in replicas)
        elif cluster.objective == "power":
            total += share * power_in_use(known, replicas)
        else:
            total += share * cost_per_h(cluster, known, replicas)
            total += cluster.start_cost / cluster.hours * started(fleet, cluster.periods[number - 1], period)
    return total


def started(fleet: Fleet, before: Period, period: Period) -> int:
    """Replicas that a period has more than the one before it, column by column."""
    if before.name == period.name:
        return 0
    running = {r.column: r.count for r in fleet.get(before.name, ())}
    return sum(max(0, r.count - running.get(r.column, 0)) for r in fleet.get(period.name, ()))
