"""Clusters beside what people do instead, and how time grows; run with ``python -m benchmarks.fleets``.

Instances are drawn with a seed: pools of 8-device nodes with a price, demands with a rate, and for each demand, pool
and size a replica whose rate per device differs by up to a factor of two. The objective is $ an hour.
"""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import dataclass
from fractions import Fraction

from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]  # ortools ships no types for it

from optimizer.certificate import certify
from optimizer.cluster import solve_cluster
from optimizer.domain.cluster import Cluster, Demand, GivenRate, Period, Pool, Survive
from optimizer.fleet.column import Column, given_columns
from optimizer.fleet.statement import state

NODE = 8
LIMIT_S = 20
SIZES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Size:
    """What grows."""

    demands: int = 2
    pools: int = 2
    nodes: int = 100
    periods: int = 1
    lost: int = 0


def instance(size: Size, seed: int) -> Cluster:
    """A random cluster in which every demand fits, each of its pools alone being too small for all."""
    dice = random.Random(seed)  # noqa: S311 - a draw, no secret
    prices = [Fraction(dice.randint(100, 400), 100) for _ in range(size.pools)]
    names = [f"d{number}" for number in range(size.demands)]
    rows = [
        GivenRate(
            pool=f"p{pool}", demand=name, role="aggregated", layout=f"tp{devices}", devices=devices,
            requests_per_s=devices * prices[pool] * Fraction(dice.randint(100, 200), 100) / 3,
        )
        for name in names
        for pool in range(size.pools)
        for devices in SIZES
        if dice.random() < 0.8 or devices == NODE
    ]  # fmt: skip
    # two thirds of what the worst replicas would serve on all nodes
    room = sum(price * NODE * size.nodes / size.pools / 3 for price in prices) * 2 / 3 / size.demands
    periods = tuple(
        Period(
            name=f"t{number}", hours=Fraction(24, size.periods),
            rates={name: (room * Fraction(dice.randint(30, 100), 100)).limit_denominator(100) for name in names},
        )
        for number in range(size.periods)
    )  # fmt: skip
    pools = tuple(
        Pool(
            name=f"p{number}", hardware=None, devices_per_node=NODE, free=(NODE,) * (size.nodes // size.pools),
            price=price, billing="on_demand",
        )
        for number, price in enumerate(prices)
    )  # fmt: skip
    return Cluster(
        name=f"random-{seed}", pools=pools, objective="cost", rates=tuple(rows), periods=periods,
        demands=tuple(Demand(name=name, phase="aggregated", request_rate=None) for name in names),
        survive=Survive(nodes=size.lost) if size.lost else None,
    )  # fmt: skip


class _Room:
    """Devices free on each node, filled first fit."""

    def __init__(self, cluster: Cluster) -> None:
        self.free = {pool.name: list(pool.free) for pool in cluster.pools}
        self.spent = Fraction(0)

    def put(self, column: Column) -> bool:
        """Whether a replica found a place."""
        nodes = self.free[column.pool]
        at = next((i for i, free in enumerate(nodes) if free >= column.devices), None)
        if at is None:
            return False
        nodes[at] -= column.devices
        self.spent += column.cost or 0
        return True


def _worth(column: Column) -> Fraction:
    return column.requests_per_s / (column.cost or 1)


def greedy(cluster: Cluster) -> Fraction | None:
    """Best replica first: most requests/s a dollar, until the demand is served; demands in order."""
    room, rates = _Room(cluster), cluster.periods[0].rates
    for demand in cluster.demands:
        left = rates[demand.name]
        for column in sorted((c for c in given_columns(cluster) if c.demand == demand.name), key=_worth, reverse=True):
            while left > 0 and room.put(column):
                left -= column.requests_per_s
        if left > 0:
            return None
    return room.spent


def single(cluster: Cluster) -> Fraction | None:
    """The one layout that serves a demand most cheaply by itself, as often as it takes; demands in order."""
    room, rates = _Room(cluster), cluster.periods[0].rates
    for demand in cluster.demands:
        own = [c for c in given_columns(cluster) if c.demand == demand.name]
        counts = {c.name: -(-rates[demand.name] // c.requests_per_s) for c in own}
        for column in sorted(own, key=lambda c: counts[c.name] * (c.cost or 0)):
            before, spent = {name: list(free) for name, free in room.free.items()}, room.spent
            if all(room.put(column) for _ in range(int(counts[column.name]))):
                break
            room.free, room.spent = before, spent
        else:
            return None
    return room.spent


def rounded_up(cluster: Cluster) -> Fraction | None:
    """The linear relaxation, every count rounded up."""
    statement = state(cluster, given_columns(cluster), relaxed=True)
    program, solver = statement.program, pywraplp.Solver.CreateSolver("GLOP")
    variables = {v.name: solver.NumVar(float(v.lower), float(v.upper), "") for v in program.variables.values()}
    for row in program.rows.values():
        solver.Add(sum(float(f) * variables[n] for n, f in row.terms.items()) >= float(row.least))
    solver.Minimize(sum(float(f) * variables[n] for n, f in program.objective.items()))
    if solver.Solve() != pywraplp.Solver.OPTIMAL:
        return None
    room = _Room(cluster)
    for column in sorted(statement.columns, key=lambda c: -c.devices):
        count = variables[statement.replicas(column, cluster.periods[0])].solution_value()
        for _ in range(int(-(-(count - 1e-9) // 1))):
            if not room.put(column):
                return None
    return room.spent


def separate(cluster: Cluster) -> Fraction | None:
    """Each demand solved by itself, exactly, on what those before it left."""
    pools, spent = cluster.pools, Fraction(0)
    for demand in cluster.demands:
        period = cluster.periods[0].model_copy(update={"rates": {demand.name: cluster.periods[0].rates[demand.name]}})
        own = cluster.model_copy(
            update={
                "pools": pools, "demands": (demand,), "periods": (period,),
                "rates": tuple(row for row in cluster.rates if row.demand == demand.name),
            }
        )  # fmt: skip
        result = solve_cluster(own)
        if result.fleet is None or result.value is None:
            return None
        spent += result.value
        free = {pool.name: list(pool.free) for pool in pools}
        for replicas in next(iter(result.fleet.values())):
            for places in replicas.places:
                for place in places:
                    free[replicas.pool][place.node] -= len(place.devices)
        # nodes that are partly taken hold their first devices
        pools = tuple(pool.model_copy(update={"free": tuple(free[pool.name])}) for pool in pools)
    return spent


METHODS = {
    "best replica first": greedy,
    "one layout a demand": single,
    "LP rounded up": rounded_up,
    "demands one by one": separate,
}


def compare(seeds: range) -> None:
    """Mean and largest excess cost of each method over the answer, whose own gap to its bound is printed."""
    excess: dict[str, list[float]] = {name: [] for name in METHODS}
    failed = dict.fromkeys(METHODS, 0)
    gaps, proved = [], 0
    for seed in seeds:
        cluster = instance(Size(demands=3, pools=2, nodes=40), seed)
        best = solve_cluster(cluster, time_limit_s=LIMIT_S)
        if best.value is None or best.bound is None:
            continue
        proved += best.status == "optimal"
        gaps.append(float(1 - best.bound / best.value))
        for name, method in METHODS.items():
            cost = method(cluster)
            if cost is None:
                failed[name] += 1
            else:
                assert cost >= best.value * (1 - Fraction(1, 10**8)), (name, seed)
                excess[name].append(float(cost / best.value - 1))
    print(f"{proved} of {len(gaps)} answers proved optimal, largest gap {max(gaps):.3%}")
    print()
    print("| method | mean excess cost | largest | finds no fleet where there is one |")
    print("| --- | --: | --: | --: |")
    for name, found in excess.items():
        print(f"| {name} | {sum(found) / len(found):.1%} | {max(found):.1%} | {failed[name]} of {len(seeds)} |")


GROWTH = (
    Size(), Size(demands=4), Size(demands=8), Size(pools=4), Size(pools=8), Size(nodes=1000), Size(nodes=10_000),
    Size(periods=4), Size(periods=24), Size(demands=3, pools=3, nodes=999), Size(lost=1), Size(lost=1, nodes=1000),
    Size(demands=10, pools=6, nodes=1248), Size(demands=10, pools=6, nodes=1248, lost=1),
)  # fmt: skip


def grow() -> None:
    """Status, gap and seconds of solve and certify for each size."""
    print("| demands | pools | nodes | periods | nodes lost | status | gap | steps | solve | certify |")
    print("| --: | --: | --: | --: | --: | --- | --: | --: | --: | --: |")
    for size in GROWTH:
        started = time.perf_counter()
        result = solve_cluster(instance(size, 1), time_limit_s=60)
        solved = time.perf_counter() - started
        document = json.loads(json.dumps(result.to_json()))
        started = time.perf_counter()
        accepted = certify(document).accepted if result.certificate else None
        checked = time.perf_counter() - started
        assert accepted is not False, size
        gap = document["objective"]["gap"]
        cells = [size.demands, size.pools, size.nodes, size.periods, size.lost, result.status]
        cells += ["" if gap is None else f"{gap:.4%}", len(result.certificate.get("steps", ()))]
        cells += [f"{solved:.2f} s", f"{checked:.2f} s"]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    compare(range(int(sys.argv[1]) if len(sys.argv) > 1 else 40))
    print()
    grow()
