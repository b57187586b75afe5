"""The conflict of a cluster that nothing fits: its limits alone conflict, and each of them is needed; both checked."""

from __future__ import annotations

import copy
import json
from fractions import Fraction

import pytest

from optimizer.certificate import certify
from optimizer.cli.main import run
from optimizer.cluster import fleet_that_fits, solve_cluster
from optimizer.explain.cluster import conflict_of, explain_cluster
from optimizer.fleet.column import given_columns
from optimizer.fleet.families import limits_of
from optimizer.readers.read import read_question
from tests.cluster.brute_force import best_by_hand, random_cluster


def _infeasible(wanted: int):
    found = 0
    for seed in range(400):
        cluster = random_cluster(seed)
        if best_by_hand(cluster) is not None:
            continue
        result = solve_cluster(cluster)
        document = result.to_json() | conflict_of(cluster, result.columns)
        yield cluster, json.loads(json.dumps(document))
        found += 1
        if found == wanted:
            return


def test_every_conflict_is_proved_and_checked():
    several = 0
    for _, document in _infeasible(30):
        check = certify(document)
        assert check.accepted, check.reason
        if document["conflict_proof"] is not None:
            assert any(item.startswith("conflict: no fleet") for item in check.checked)
            several += len(document["conflict"]) > 1
    assert several > 10


def test_a_budget_below_what_owned_devices_cost_conflicts_with_nothing_else(tmp_path):
    (tmp_path / "rates.csv").write_text("pool,demand,layout,devices,requests_per_s\na,x,one,1,3\n")
    for objective in ("growth", "devices", "throughput"):
        (tmp_path / "cluster.yaml").write_text(
            "pools: {a: {devices_per_node: 4, nodes: 2, price: 1 $/h}}\nrates: rates.csv\nlimits: {budget: 4 $/h}\n"
            f"demands: {{x: {{workload: {{request_rate: 3}}}}}}\nobjective: {objective}\n"
        )
        cluster = read_question(str(tmp_path / "cluster.yaml"))
        explained, result = explain_cluster(cluster), solve_cluster(cluster)
        document = result.to_json() | conflict_of(cluster, result.columns)
        assert [member["limit"] for member in explained["conflict"]] == ["limits.budget"]
        assert [change["to"] for change in explained["relaxations"]] == [8]
        assert document["conflict"] == explained["conflict"]
        check = certify(json.loads(json.dumps(document)))
        assert check.accepted, check.reason
        assert any(item.startswith("conflict: no fleet") for item in check.checked)


@pytest.mark.parametrize("change", ["member less", "value", "no steps", "no fleet", "fleet of nothing", "order"])
def test_a_conflict_that_is_not_one_is_rejected(change):
    tried = 0
    for _, document in _infeasible(12):
        if document["conflict_proof"] is None or len(document["conflict"]) < 2:
            continue
        broken = copy.deepcopy(document)
        proof = broken["conflict_proof"]
        if change == "member less":
            del broken["conflict"][0]
            del proof["without"][0]
        elif change == "value":
            broken["conflict"][0]["value"] += 1
        elif change == "no steps":
            proof["steps"] = [{"multipliers": {}, "empty": True}]
        elif change == "no fleet":
            del proof["without"][0]
        elif change == "order":
            broken["conflict"].reverse()
        else:
            full = [number for number, own in enumerate(proof["without"]) if own["periods"]["always"]["replicas"]]
            if not full:
                continue
            proof["without"][full[0]]["periods"]["always"]["replicas"] = []
        tried += 1
        assert not certify(broken).accepted
    assert tried > 2


def test_a_limit_that_is_not_needed_is_rejected():
    tried = 0
    for cluster, document in _infeasible(30):
        names = [own["limit"] for own in document["conflict"]]
        more = [limit for limit in limits_of(cluster) if limit.name not in names]
        if document["conflict_proof"] is None or not more:
            continue
        broken = copy.deepcopy(document)
        # what else is left out still conflicts without it: no fleet can stand for it
        listed = [*names, more[0].name]
        kept = [x for x in limits_of(cluster) if x.name in listed]
        broken["conflict"] = [{"limit": x.name, "value": x.value, "unit": x.unit} for x in kept]
        at = [x.name for x in kept].index(more[0].name)
        broken["conflict_proof"]["without"].insert(at, broken["conflict_proof"]["without"][0])
        tried += 1
        check = certify(broken)
        assert not check.accepted
        assert check.item.startswith("conflict_proof")
    assert tried > 5


def _at_rate(cluster, demand, rate):
    periods = tuple(
        p.model_copy(update={"rates": {n: min(r, rate) if n == demand else r for n, r in p.rates.items()}})
        for p in cluster.periods
    )
    return cluster.model_copy(update={"periods": periods})


def test_the_largest_rate_that_fits_is_exact():
    told = 0
    for cluster, _ in _infeasible(12):
        columns = given_columns(cluster)
        for change in explain_cluster(cluster)["relaxations"]:
            demand = change["limit"].removeprefix("demands.").removesuffix(".request_rate")
            if demand not in cluster.demand:
                continue
            rate = Fraction(repr(change["to"]))
            assert fleet_that_fits(_at_rate(cluster, demand, rate), columns) is not None
            assert fleet_that_fits(_at_rate(cluster, demand, rate * (1 + Fraction(1, 10**6))), columns) is None
            told += 1
    assert told > 1


@pytest.mark.parametrize(("limit", "least"), [("budget: 30 $/h", 40), ("power: 4 kW", 5000)])
def test_the_least_budget_and_power_are_those_of_the_dearest_period(tmp_path, limit, least):
    (tmp_path / "rates.csv").write_text("pool,demand,layout,devices,requests_per_s\na,x,small,2,10\na,x,large,4,26\n")
    (tmp_path / "cluster.yaml").write_text(
        "pools: {a: {devices_per_node: 8, nodes: 3, billing: on_demand, price: 4 $/h, power: 500 W}}\n"
        "demands: {x: {workload: {request_rate: 10}}}\nrates: rates.csv\nobjective: cost\n"
        "periods: {day: {hours: 1, rates: {x: 54}}, night: {hours: 23, rates: {x: 10}}}\n"
        f"limits: {{{limit}}}\n"
    )
    cluster = read_question(str(tmp_path / "cluster.yaml"))
    changes = {change["limit"]: change["to"] for change in explain_cluster(cluster)["relaxations"]}
    assert changes[f"limits.{limit.partition(':')[0]}"] == least


def test_a_changed_rate_fits_as_it_is_written(tmp_path):
    (tmp_path / "rates.csv").write_text("pool,demand,layout,devices,requests_per_s\na,x,small,2,1.666666666666667\n")
    text = (
        "pools: {{a: {{devices_per_node: 2, nodes: 1, billing: on_demand, price: 4 $/h}}}}\n"
        "demands: {{x: {{workload: {{request_rate: {}}}}}}}\nrates: rates.csv\nobjective: cost\n"
    )
    path = tmp_path / "cluster.yaml"
    path.write_text(text.format(2))
    changes = {change["limit"]: change["to"] for change in explain_cluster(read_question(str(path)))["relaxations"]}
    assert changes["demands.x.request_rate"] == 1.66666666666
    path.write_text(text.format(changes["demands.x.request_rate"]))
    assert explain_cluster(read_question(str(path)))["status"] == "feasible"


@pytest.mark.parametrize(("night", "changed"), [(3, {"day": 1.5, "night": 1.5}), (1, {"day": 1.5})])
def test_rates_of_periods_are_changed_where_the_file_has_them(tmp_path, night, changed, capsys):
    (tmp_path / "rates.csv").write_text("pool,demand,layout,devices,requests_per_s\na,x,whole,8,1.5\n")
    text = (
        "pools: {{a: {{devices_per_node: 4, nodes: 2, price: 1 $/h}}}}\n"
        "demands: {{x: {{workload: {{request_rate: 14}}}}}}\nrates: rates.csv\nobjective: cost\n"
        "periods: {{day: {{hours: 10, rates: {{x: {day}}}}}, night: {{hours: 14, rates: {{x: {night}}}}}}}\n"
    )
    path = tmp_path / "cluster.yaml"
    path.write_text(text.format(day=6, night=night))
    changes = {one["limit"]: one for one in explain_cluster(read_question(str(path)))["relaxations"]}
    told = changes["demands.x.request_rate"]
    assert told["to"] == 1.5
    assert {name: rates["to"] for name, rates in told["periods"].items()} == changed
    assert run(["explain", str(path)]) == 1
    assert ("periods.night.rates.x" in capsys.readouterr().out) is ("night" in changed)
    path.write_text(text.format(**{"day": 6, "night": night} | changed))
    assert explain_cluster(read_question(str(path)))["status"] == "feasible"
