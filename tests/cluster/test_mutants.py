"""Every family, and the solver itself, decides something: without it some answer is wrong."""

from __future__ import annotations

import pytest

import optimizer.cluster as cluster_package
import optimizer.fleet.statement as statement_module
from optimizer.cluster import solve_cluster
from optimizer.cluster.integers import FoundFleet, IntegerProgram
from optimizer.domain.cluster import Cluster, Demand, GivenRate, Period, Pool
from optimizer.errors import InternalError
from optimizer.fleet.families import FAMILIES
from tests.cluster.brute_force import best_by_hand, random_cluster


def _one_kind():
    """Five devices, and layouts of three and two: one kind serves 4, both serve 6."""
    rows = [("three", 3, 4), ("two", 2, 2)]
    pool = Pool(name="a", hardware=None, devices_per_node=5, free=(5,), price=None, billing="on_demand")
    return Cluster(
        name="kinds", pools=(pool,),
        demands=(Demand(name="x", phase="aggregated", request_rate=None),), objective="throughput", max_kinds=1,
        periods=(Period(name="always", hours=24, rates={}),),
        rates=tuple(
            GivenRate(pool="a", demand="x", role="aggregated", layout=name, devices=size, requests_per_s=rate)
            for name, size, rate in rows
        ),
    )  # fmt: skip


def _wrong(seeds) -> bool:
    for cluster in (_one_kind(), *map(random_cluster, seeds)):
        best = best_by_hand(cluster)
        try:
            result = solve_cluster(cluster)
        except (InternalError, KeyError):
            return True
        if result.status != ("infeasible" if best is None else "optimal"):
            return True
        if best is not None and abs(result.value - best) > abs(best) / 10**9:
            return True
    return False


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.name != "starts"], ids=lambda f: f.name)
def test_no_family_can_be_left_out(family, monkeypatch):
    monkeypatch.setattr(statement_module, "FAMILIES", tuple(f for f in FAMILIES if f is not family))
    assert _wrong(range(200))


def test_the_solver_decides(monkeypatch):
    monkeypatch.setattr(IntegerProgram, "decide", lambda *_: FoundFleet(None, complete=True))
    assert _wrong(range(20))
    assert cluster_package.__doc__ is not None


def test_starts_cost_what_is_stated():
    cluster = next(
        c for c in map(random_cluster, range(300))
        if c.objective == "cost" and c.survive is None and solve_cluster(c).status == "optimal"
        and any(p.billing == "on_demand" for p in c.pools)
    )  # fmt: skip
    rates = cluster.periods[0].rates
    none = {name: rate * 0 for name, rate in rates.items()}
    periods = (Period(name="day", hours=12, rates=rates), Period(name="night", hours=12, rates=none))
    free = cluster.model_copy(update={"periods": periods})
    paid = free.model_copy(update={"start_cost": cluster.periods[0].hours / 100})
    dear = free.model_copy(update={"start_cost": cluster.periods[0].hours * 10**6})
    values = [solve_cluster(c).value for c in (free, paid, dear)]
    assert values[0] <= values[1] <= values[2]
    # with starts that dear, whatever runs by day runs by night
    day_only = solve_cluster(cluster).value
    assert values[2] == day_only


def test_nothing_is_wrong_with_all_of_them():
    assert not _wrong(range(10))
