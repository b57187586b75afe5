"""Where the ways to fill a node are too many to list: fleets that stand apart, and a bound that no fleet is beyond."""

from __future__ import annotations

import json

import pytest

from benchmarks.fleets import Size, instance
from optimizer.certificate import certify
from optimizer.cluster import solve_cluster
from optimizer.cluster.spread import spread_fleet
from optimizer.domain.cluster import FLEET_MAXIMISED, Cluster, Demand, GivenRate, Period, Pool, Survive
from optimizer.fleet.column import given_columns, useful
from optimizer.fleet.families import filling
from optimizer.fleet.statement import is_exact, state
from optimizer.readers.read import read_question
from tests.cluster.brute_force import best_by_hand, random_cluster, with_racks

EACH = 60


@pytest.fixture
def unlisted(monkeypatch):
    """No pool's nodes are few enough in the ways to fill them."""
    monkeypatch.setattr(filling, "MOST_FILLINGS", 0)


@pytest.mark.parametrize("first", range(0, 300, EACH))
def test_no_fleet_is_beyond_the_bound_and_the_answer_is_one(unlisted, first):
    del unlisted
    clusters = [random_cluster(seed) for seed in range(first, first + EACH)]
    racks = [own for seed in range(first, first + EACH) if (own := with_racks(random_cluster(seed), seed)) is not None]
    found, proved = 0, 0
    for cluster in [own for own in clusters + racks if own.survive is not None]:
        best, result = best_by_hand(cluster), solve_cluster(cluster)
        check = certify(json.loads(json.dumps(result.to_json())))
        assert check.accepted or result.status == "unknown", (cluster.name, check.reason)
        if best is None:
            assert result.value is None
            continue
        found += 1
        assert result.status != "infeasible"
        if result.value is None:
            continue
        proved += result.status == "optimal"
        sign = -1 if cluster.objective in FLEET_MAXIMISED else 1
        tolerance = abs(best) / 10**8
        assert sign * result.value >= sign * best - tolerance
        assert sign * result.bound <= sign * best + tolerance
    assert found > 5
    assert proved >= found / 3


def test_replicas_of_many_demands_stand_apart():
    cluster = instance(Size(demands=6, pools=2, nodes=160, lost=1), 1)
    columns = useful(cluster, given_columns(cluster))
    statement = state(cluster, columns, relaxed=True)
    assert not is_exact(statement)
    apart = spread_fleet(cluster, columns, None)
    assert apart is not None
    decided, verdict = apart
    assert verdict.feasible
    assert statement.program.value(decided.point) == verdict.value


def test_two_of_a_demand_on_one_node_are_counted_as_lost_together(unlisted):
    del unlisted
    rate = GivenRate(
        pool="p", demand="d", role="aggregated", layout="one", devices=1, requests_per_s=1
    )  # fmt: skip
    cluster = Cluster(
        name="pair", objective="devices", rates=(rate,), survive=Survive(nodes=1),
        pools=(Pool(name="p", hardware=None, devices_per_node=2, free=(2, 2), price=None, billing="owned"),),
        demands=(Demand(name="d", phase="aggregated", request_rate=None),),
        periods=(Period(name="always", hours=24, rates={"d": 2}),),
    )  # fmt: skip
    # three replicas on two nodes lose two; four lose two as well
    result = solve_cluster(cluster)
    assert (result.status, result.value, result.bound) == ("optimal", 4, 4)


def test_a_fleet_of_few_kinds_is_looked_at_where_all_are_too_many_to_list(monkeypatch, tmp_path):
    monkeypatch.setattr(filling, "MOST_FILLINGS", 60)
    (tmp_path / "lengths.csv").write_text("input_tokens,output_tokens,weight\n2287,316,1\n7319,794,3\n")
    (tmp_path / "rates.csv").write_text(
        "pool,demand,role,layout,devices,requests_per_s,bucket\n"
        "a,x,decode,d,1,4.102,2287x316\na,x,prefill,p,1,5.437,2287x316\n"
        "a,x,aggregated,short,1,2.697,2287x316\na,x,aggregated,long,1,0.4804,7319x794\n"
    )
    (tmp_path / "cluster.yaml").write_text(
        "pools: {a: {devices_per_node: 8, nodes: 2}}\nobjective: devices\nsurvive: {nodes: 1}\nrates: rates.csv\n"
        "demands: {x: {workload: {phase: either, lengths: lengths.csv, buckets: 2, request_rate: 1}}}\n"
    )
    result = solve_cluster(read_question(str(tmp_path / "cluster.yaml")))
    assert result.value == 6  # three replicas that take all lengths on either node: 3 · 0.4804 requests/s are left
    assert certify(json.loads(json.dumps(result.to_json()))).accepted
