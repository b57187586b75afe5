"""Random small clusters, and every fleet of them: nodes filled one by one, all by hand; nothing of the product."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

from optimizer.domain.buckets import Arrivals, Bucket, PeriodTraffic
from optimizer.domain.cluster import Cluster, Demand, GivenRate, Period, Pool, Survive

MOST_FLEETS = 4_000
"""Fleets of a cluster that are tried by hand."""


def random_cluster(seed: int) -> Cluster:
    """A random cluster of at most `MOST_FLEETS` fleets."""
    dice = random.Random(seed)  # noqa: S311 - no secrets
    while True:
        cluster = _random_cluster(dice)
        fleets = 1
        for pool in cluster.pools:
            fleets *= sum(1 for _ in itertools.islice(_bins_of(pool, list(cluster.rates)), MOST_FLEETS))
        if fleets < MOST_FLEETS:
            return cluster


def _random_cluster(dice: random.Random) -> Cluster:
    """Pools of a few nodes, one or two demands, few replicas each; every constraint family now and then."""
    pools = []
    for name in ("a", "b")[: dice.choice((1, 1, 2))]:
        per_node = dice.choice((2, 3, 4))
        nodes = dice.choice((1, 2, 3))
        free = tuple(dice.choice((per_node, per_node, dice.randint(0, per_node))) for _ in range(nodes))
        pools.append(
            Pool(
                name=name, hardware=None, devices_per_node=per_node, free=free if sum(free) else (per_node,),
                price=Fraction(dice.randint(1, 9), dice.choice((1, 2, 3))),
                billing=dice.choice(("owned", "on_demand", "on_demand")), power=Fraction(dice.randint(1, 5)),
            )
        )  # fmt: skip
    objective = dice.choice(("cost", "devices", "growth", "throughput", "power"))
    demands, rates, rows = [], {}, []
    for name in ("x", "y")[: dice.choice((1, 2))]:
        phase = dice.choice(("aggregated", "aggregated", "disaggregated", "either"))
        demands.append(Demand(name=name, phase=phase, request_rate=None))
        rates[name] = Fraction(dice.randint(1, 12), dice.choice((1, 2)))
        for role in demands[-1].roles:
            for pool in pools:
                for layout in range(dice.choice((1, 1, 2)) if len(demands) == 1 else 1):
                    size = dice.randint(1, 2 * pool.devices_per_node)
                    rows.append(
                        GivenRate(
                            pool=pool.name, demand=name, role=role, layout=f"l{layout}", devices=size,
                            requests_per_s=Fraction(dice.randint(1, 9), dice.choice((1, 2, 3))),
                        )
                    )  # fmt: skip
    if objective == "throughput" and dice.random() < 0.7:
        rates = {}
    limits = {}
    if dice.random() < 0.25:
        limits["budget"] = Fraction(dice.randint(5, 60))
    if dice.random() < 0.2:
        limits["power"] = Fraction(dice.randint(3, 30))
    survive = None
    if dice.random() < 0.4:
        where = dice.choice((None, None, pools[0].name))
        survive = Survive(nodes=dice.choice((1, 1, 2)), pool=where)
    return Cluster(
        name="small", pools=tuple(pools), demands=tuple(demands), objective=objective, rates=tuple(rows), limits=limits,
        periods=(Period(name="always", hours=Fraction(24), rates=rates),), survive=survive,
        max_kinds=dice.choice((None, None, 1)),
    )  # fmt: skip


def _fillings(rows: list[GivenRate], room: int):
    """Every multiset of rows within a room."""
    if not rows:
        yield ()
        return
    for count in range(room // rows[0].devices + 1):
        for rest in _fillings(rows[1:], room - count * rows[0].devices):
            yield (rows[0],) * count + rest


def with_racks(cluster: Cluster, seed: int, *, lost: bool = True) -> Cluster | None:
    """The same cluster in racks of two nodes, of which some may be `lost`, and one more pool that no replica can use.

    None where it has too many fleets.
    """
    dice = random.Random(seed)  # noqa: S311 - no secrets
    unusable = cluster.pools[0].model_copy(update={"name": "unusable", "billing": "on_demand"})
    pools = tuple(pool.model_copy(update={"rack_nodes": 2}) for pool in (*cluster.pools, unusable))
    survive = Survive(racks=1, pool=dice.choice((None, None, pools[0].name))) if lost else None
    racked = cluster.model_copy(update={"pools": pools, "survive": survive})
    fleets = 1
    for pool in pools:
        fleets *= sum(1 for _ in itertools.islice(_bins_of(pool, list(racked.rates)), MOST_FLEETS))
    return racked if fleets < MOST_FLEETS else None


def _rack_contents(pool: Pool, rows: list[GivenRate], nodes: tuple[int, ...]):
    """Every way to fill a rack: larger replicas on its whole nodes, smaller ones on the nodes left."""
    small = [row for row in rows if row.devices <= pool.devices_per_node]
    large = [row for row in rows if pool.devices_per_node < row.devices <= pool.devices_per_node * pool.rack_nodes]
    whole = sum(free == pool.devices_per_node for free in nodes)
    for chosen in [(), *((row,) for row in large)]:  # racks are of two nodes: one at most
        taken = sum(-(-row.devices // pool.devices_per_node) for row in chosen)
        if taken > whole:
            continue
        left = sorted(nodes)[: len(nodes) - taken]
        for filled in itertools.product(*(list(_fillings(small, free)) for free in left)):
            yield tuple(sorted((*chosen, *itertools.chain(*filled)), key=rows.index))


def _racks_of(pool: Pool, rows: list[GivenRate]):
    """Every way to fill a pool, a bin for each rack; a replica that no rack holds is one on racks of its own."""
    each = pool.rack_nodes
    racks = [pool.free[first : first + each] for first in range(0, len(pool.free), each)]
    full = [number for number, rack in enumerate(racks) if rack == (pool.devices_per_node,) * each]
    wide = [row for row in rows if row.devices > pool.devices_per_node * each]
    for number in range(len(full) + 1):
        for chosen in itertools.combinations_with_replacement(wide, number):
            taken = sum(-(-row.devices // (pool.devices_per_node * each)) for row in chosen)
            if taken > len(full):
                continue
            left = [rack for at, rack in enumerate(racks) if at not in full[:taken]]
            options = [sorted(set(_rack_contents(pool, rows, rack)), key=str) for rack in left]
            for filled in itertools.product(*options):
                yield [*((row,) for row in chosen), *(rack for rack in filled if rack)]


def _bins_of(pool: Pool, rows: list[GivenRate]):
    """Every way to fill a pool, as bins: what dies with one node. Equal bins in any order count once."""
    if pool.rack_nodes is not None:
        yield from _racks_of(pool, [row for row in rows if row.pool == pool.name])
        return
    own = [row for row in rows if row.pool == pool.name]
    small = [row for row in own if row.devices <= pool.devices_per_node]
    large = [row for row in own if row.devices > pool.devices_per_node]
    whole = sum(free == pool.devices_per_node for free in pool.free)
    counts = [range(whole // -(-row.devices // pool.devices_per_node) + 1) for row in large]
    for chosen in itertools.product(*counts):
        taken = sum(n * -(-row.devices // pool.devices_per_node) for n, row in zip(chosen, large, strict=True))
        if taken > whole:
            continue
        left = sorted(free for free in pool.free if free != pool.devices_per_node)
        left += [pool.devices_per_node] * (whole - taken)
        parts = []
        for free, group in itertools.groupby(left):
            options = list(_fillings(small, free))
            parts.append(itertools.combinations_with_replacement(options, len(list(group))))
        for filled in itertools.product(*(list(part) for part in parts)):
            bins = [row for n, row in zip(chosen, large, strict=True) for row in [(row,)] * n]
            yield [*bins, *(node for nodes in filled for node in nodes if node)]


def best_by_hand(cluster: Cluster) -> Fraction | None:
    """The best objective over every fleet; None where none keeps the limits and serves anything."""
    return _serving(cluster, _best(cluster))


def _serving(cluster: Cluster, best: Fraction | None) -> Fraction | None:
    return None if best == 0 and cluster.objective in {"growth", "throughput"} else best


def _best(cluster: Cluster) -> Fraction | None:
    best = None
    rows = [row for row in cluster.rates if row.requests_per_s > 0]
    for bins in itertools.product(*(list(_bins_of(pool, rows)) for pool in cluster.pools)):
        value = _value(cluster, bins)
        if value is not None and (best is None or value > best):
            best = value
    return best if best is None or cluster.objective in {"growth", "throughput"} else -best


def _value(cluster: Cluster, bins) -> Fraction | None:
    """The objective of one fleet, larger is better; None where a limit is broken."""
    standing = [row for pool in bins for node in pool for row in node]
    price = {pool.name: pool for pool in cluster.pools}
    cost = sum(p.price * sum(p.free) for p in cluster.pools if p.billing == "owned")
    paid = (row for row in standing if price[row.pool].billing != "owned")
    cost += sum((price[row.pool].price or 0) * row.devices for row in paid)
    watts = sum((price[row.pool].power or 0) * row.devices for row in standing)
    if cluster.limits.budget is not None and cost > cluster.limits.budget:
        return None
    if cluster.limits.power is not None and watts > cluster.limits.power:
        return None
    for demand in cluster.demands:
        for role in ("aggregated", "prefill", "decode"):
            kinds = {(row.layout, row.bucket) for row in standing if (row.demand, row.role) == (demand.name, role)}
            if cluster.max_kinds is not None and len(kinds) > cluster.max_kinds:
                return None
    rates, left = cluster.periods[0].rates, {}
    for demand in cluster.demands:
        left[demand.name] = _left(cluster, demand, bins)
        if cluster.objective != "growth" and left[demand.name] < rates.get(demand.name, 0):
            return None
    if cluster.objective == "growth":
        return min(left[name] / rate for name, rate in rates.items() if rate)
    if cluster.objective == "throughput":
        # tokens and requests have no sum: where lengths of some demand are not known, requests are counted
        told = all(demand.buckets for demand in cluster.demands)
        return sum(left[demand.name] * (_tokens(demand) if told else 1) for demand in cluster.demands)
    return -{"cost": cost, "power": watts, "devices": sum(row.devices for row in standing)}[cluster.objective]


def _tokens(demand: Demand) -> Fraction:
    """Tokens of a request that throughput counts."""
    prompt = demand.phase == "prefill"
    own = [b.share * (b.input_tokens if prompt else b.output_tokens) for b in demand.buckets]
    return sum(own) if own else Fraction(1)


def _left(cluster: Cluster, demand: Demand, bins) -> Fraction:
    """Capacity after the worst loss, over every set of nodes that may be lost."""
    all_bins = [(pool.name, node) for pool, nodes in zip(cluster.pools, bins, strict=True) for node in nodes]
    own = cluster.survive
    fragile = [i for i, (pool, _) in enumerate(all_bins) if own is not None and own.pool in {None, pool}]
    lost = min((own.nodes or own.racks) if own is not None else 0, len(fragile))
    return min(
        _capacity(demand, [row for i, (_, node) in enumerate(all_bins) if i not in dead for row in node])
        for dead in itertools.combinations(fragile, lost)
    )


def with_buckets(cluster: Cluster, seed: int) -> Cluster:
    """The same cluster with requests of two or three nested lengths, and replicas that take some of them."""
    dice = random.Random(seed)  # noqa: S311 - no secrets
    buckets = {}
    for demand in cluster.demands:
        if demand.phase == "either":
            continue
        steps = [Fraction(dice.randint(1, 4)) for _ in range(dice.choice((2, 3)))]
        buckets[demand.name] = tuple(
            Bucket(input_tokens=10 * (n // 2 + 1), output_tokens=10 * (n + 1), share=step / sum(steps))
            for n, step in enumerate(steps)
        )
    demands = tuple(d.model_copy(update={"buckets": buckets.get(d.name, ())}) for d in cluster.demands)
    rates = tuple(
        row.model_copy(update={"bucket": dice.choice(buckets[row.demand]).name}) if row.demand in buckets else row
        for row in cluster.rates
    )
    return cluster.model_copy(update={"demands": demands, "rates": rates})


def _served_by_hand(demand: Demand, standing: list[GivenRate]) -> Fraction:
    """Requests/s of a demand with buckets: of every set of them no more than the replicas that take any of it serve."""
    lengths = {bucket.name: (bucket.input_tokens, bucket.output_tokens) for bucket in demand.buckets}
    role_of = {"aggregated": ["aggregated"], "disaggregated": ["prefill", "decode"]}.get(demand.phase, [demand.phase])
    least = []
    for role in role_of:
        for size in range(1, len(demand.buckets) + 1):
            for chosen in itertools.combinations(demand.buckets, size):
                able = [
                    row for row in standing
                    if (row.demand, row.role) == (demand.name, role)
                    and any(lengths[row.bucket][0] >= b.input_tokens and lengths[row.bucket][1] >= b.output_tokens
                            for b in chosen)
                ]  # fmt: skip
                asked = sum(b.share for b in chosen)
                if asked:
                    least.append(sum(row.requests_per_s for row in able) / asked)
    return min(least)


def _capacity(demand: Demand, standing: list[GivenRate]) -> Fraction:
    if demand.buckets:
        return _served_by_hand(demand, standing)
    of = {role: Fraction(0) for role in ("aggregated", "prefill", "decode")}
    for row in standing:
        if row.demand == demand.name:
            of[row.role] += row.requests_per_s
    if demand.phase == "aggregated":
        return of["aggregated"]
    whole = min(of["prefill"], of["decode"])
    return whole + (of["aggregated"] if demand.phase == "either" else 0)


def with_everything(cluster: Cluster, seed: int) -> Cluster:
    """The same cluster with two periods of their own rates and lengths, a budget, few kinds and often a loss."""
    dice = random.Random(seed)  # noqa: S311 - no secrets
    periods = []
    for name in ("day", "night"):
        rates = {own: rate * Fraction(dice.randint(0, 3), 4) for own, rate in cluster.periods[0].rates.items()}
        if not any(rates.values()):
            rates = dict(cluster.periods[0].rates)
        traffic = {}
        for demand in cluster.demands:
            steps = [Fraction(dice.randint(0, 3)) for _ in demand.buckets]
            if sum(steps) and cluster.objective != "throughput":
                arrivals = Arrivals(
                    window_s=Fraction(60), windows=1, quantile=Fraction(1), mean_per_s=Fraction(1),
                    peak_per_s=Fraction(1), served_per_s=Fraction(1), dispersion=Fraction(1),
                )  # fmt: skip
                traffic[demand.name] = PeriodTraffic(arrivals=arrivals, shares=tuple(s / sum(steps) for s in steps))
        periods.append(Period(name=name, hours=Fraction(dice.randint(1, 12)), rates=rates, traffic=traffic))
    budget = cluster.limits.budget or Fraction(dice.randint(10, 150))
    lost = cluster.survive or dice.choice((Survive(nodes=1), None))
    return cluster.model_copy(
        update={
            "periods": tuple(periods), "max_kinds": dice.choice((1, 2, 2)), "survive": lost,
            "limits": cluster.limits.model_copy(update={"budget": budget}),
        }
    )  # fmt: skip


def best_of_periods(cluster: Cluster) -> Fraction | None:
    """The best objective over every choice of kinds for each demand and role, each period by itself."""
    kinds: dict[tuple[str, str], set[tuple[str, str | None]]] = {}
    for row in cluster.rates:
        kinds.setdefault((row.demand, row.role), set()).add((row.layout, row.bucket))
    best, maximised = None, cluster.objective in {"growth", "throughput"}
    most = cluster.max_kinds or len(cluster.rates)
    options = (itertools.combinations(sorted(own, key=str), min(most, len(own))) for own in kinds.values())
    for chosen in itertools.product(*options):
        kept = dict(zip(kinds, chosen, strict=True))
        rates = tuple(row for row in cluster.rates if (row.layout, row.bucket) in kept[row.demand, row.role])
        values = [_best(_in_period(cluster, rates, period)) for period in cluster.periods]
        if any(value is None for value in values):
            continue
        shares = [period.hours / cluster.hours for period in cluster.periods]
        value = sum(share * own for share, own in zip(shares, values, strict=True))
        if cluster.objective == "growth":
            value = min(values)
        if best is None or (value > best if maximised else value < best):
            best = value
    return _serving(cluster, best)


def _in_period(cluster: Cluster, rates: tuple[GivenRate, ...], period: Period) -> Cluster:
    """The cluster as if that period were all day."""
    demands = []
    for demand in cluster.demands:
        own = period.traffic.get(demand.name)
        shares = own.shares if own is not None else [bucket.share for bucket in demand.buckets]
        buckets = tuple(b.model_copy(update={"share": s}) for b, s in zip(demand.buckets, shares, strict=True))
        demands.append(demand.model_copy(update={"buckets": buckets}))
    alone = period.model_copy(update={"traffic": {}})
    return cluster.model_copy(update={"demands": tuple(demands), "rates": rates, "periods": (alone,)})


def leaves(value, at=()):
    """Values of a document that hold no others, each with where it stands."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*at, index))
    else:
        yield at, value
