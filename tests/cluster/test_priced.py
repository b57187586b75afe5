from __future__ import annotations

import copy
import json
from dataclasses import replace
from fractions import Fraction

import pytest

from optimizer.certificate import certify
from optimizer.certificate.statement import sealed
from optimizer.cli.main import run
from optimizer.cluster import solve_cluster
from optimizer.cluster.columns import columns_of, peer_groups
from optimizer.domain.fleet import NodeShare, Replicas
from optimizer.readers import catalog
from optimizer.readers.read import read_question
from optimizer.verify.fleet import judge_fleet
from tests.cluster.questions import DISAGGREGATED


@pytest.fixture(scope="module")
def disaggregated(tmp_path_factory):
    path = tmp_path_factory.mktemp("clusters") / "disaggregated.yaml"
    path.write_text(DISAGGREGATED)
    return solve_cluster(read_question(str(path)))


def test_the_transfer_of_the_cache_is_in_the_first_token(disaggregated):
    limit = disaggregated.cluster.demands[0].limits.ttft
    prefill = [c for c in disaggregated.columns if c.role == "prefill"]
    slowest = max(c.transfer_s for c in disaggregated.columns if c.role == "decode")
    assert prefill
    for column in prefill:
        assert column.transfer_s >= slowest > 0
        assert column.transfer_s < column.ttft_s <= limit


def test_the_cache_of_a_request_is_the_models(disaggregated):
    # 2 x 32 layers x 8 heads x 128 x 2 bytes a token, shared by tp; 50 GB/s of fabric at 82% and 5 us at most
    column = next(c for c in disaggregated.columns if c.role == "decode" and c.pool == "h100")
    whole = 2 * 32 * 8 * 128 * 2 * 2000
    each = whole / (column.priced.tp * column.priced.pp)
    assert float(column.transfer_s) == pytest.approx(each / (50e9 * 0.82), rel=0.05)


def test_certify_prices_every_column_anew(disaggregated):
    document = json.loads(json.dumps(disaggregated.to_json()))
    check = certify(document)
    assert check.accepted
    assert not any("no layout outside them" in item for item in check.not_checked)
    for change in (
        {"requests_per_s": "99/1"}, {"devices": 3}, {"cost": "1/2"}, {"role": "aggregated"}, {"redundant": 1},
    ):  # fmt: skip
        broken = copy.deepcopy(document)
        broken["certificate"]["columns"][0] |= change
        broken["certificate"] = sealed(broken["certificate"])
        check = certify(broken)
        assert not check.accepted
        assert check.item.startswith("certificate.columns")


SLOW_LINK = """
pools:
  p: {hardware: h100-sxm-8, free: [4]}
  d: {hardware: a100-sxm-8, free: [2]}
links: {p-d: 1 GB/s}
demands:
  chat:
    model: llama-3.1-8b
    workload: {phase: disaggregated, input_tokens: 8000, output_tokens: 200, request_rate: 6}
    limits: {ttft: 2 s, tpot: 40 ms}
    search: {tp: 1, pp: 1}
objective: devices
"""


@pytest.fixture(scope="module")
def beside_a_slow_link(tmp_path_factory):
    path = tmp_path_factory.mktemp("clusters") / "slow_link.yaml"
    path.write_text(SLOW_LINK)
    return solve_cluster(read_question(str(path)))


def test_a_pool_behind_a_slow_link_makes_no_fleet_worse(tmp_path, beside_a_slow_link):
    lines = [line for line in SLOW_LINK.splitlines() if not line.startswith(("  d:", "links"))]
    (tmp_path / "alone.yaml").write_text("\n".join(lines))
    alone = solve_cluster(read_question(str(tmp_path / "alone.yaml")))
    assert beside_a_slow_link.value <= alone.value == 3
    assert {group.pool for group in beside_a_slow_link.fleet["always"]} == {"p"}
    assert all(column.peers == ("p",) for column in beside_a_slow_link.columns)


def test_links_that_are_not_used_are_left_out_of_proofs_and_verdicts_too(tmp_path, beside_a_slow_link):
    document = json.loads(json.dumps(beside_a_slow_link.to_json()))
    check = certify(document)
    assert check.accepted
    assert not any("no layout outside them" in item for item in check.not_checked)
    (tmp_path / "result.json").write_text(json.dumps(document))
    assert run(["verify", str(tmp_path / "result.json")]) == 0
    for peers in (None, ["p", "d"], ["d"], ["p", "p"], ["p", "q"], [], "p", 3, [["p"]]):
        broken = copy.deepcopy(document)
        for column in broken["certificate"]["columns"]:
            column["peers"] = peers
        broken["certificate"] = sealed(broken["certificate"])
        check = certify(broken)
        assert not check.accepted, peers
        assert check.item.startswith("certificate.columns"), peers


def test_a_fleet_whose_links_were_not_counted_is_refused(beside_a_slow_link):
    cluster = beside_a_slow_link.cluster
    away = replace(beside_a_slow_link.columns[0], pool="d", layout="away")
    here = beside_a_slow_link.fleet["always"]
    there = Replicas(away.name, away.demand, away.role, "d", "away", 1, ((NodeShare(0, (0,)),),))
    verdict = judge_fleet(cluster, (*beside_a_slow_link.columns, away), {"always": (*here, there)})
    assert {broken.family for broken in verdict.broken} == {"transfer"}


def test_pools_are_grouped_by_the_links_between_them(tmp_path):
    text = SLOW_LINK.replace("links:", "  e: {hardware: h100-sxm-8, nodes: 1}\nlinks:")
    (tmp_path / "three.yaml").write_text(text)
    cluster = read_question(str(tmp_path / "three.yaml"))
    assert peer_groups(cluster) == [("p", "e"), ("d", "e")]
    assert peer_groups(cluster.model_copy(update={"links": {}})) == []


def test_a_slow_link_counts_where_it_must_be_crossed(tmp_path):
    (tmp_path / "apart.yaml").write_text(
        SLOW_LINK.replace("[4]", "[1]").replace("[2]", "[1]").replace("rate: 6", "rate: 1")
    )
    cluster = read_question(str(tmp_path / "apart.yaml"))
    assert solve_cluster(cluster).status == "infeasible"
    near = solve_cluster(cluster.model_copy(update={"links": {}}))
    assert near.value == 2
    assert {group.pool for group in near.fleet["always"]} == {"p", "d"}


def test_pools_and_phase_by_options(capsys):
    command = ["solve", "--model", "llama-3.1-8b", "--isl", "1000", "--osl", "200", "--ttft", "1s", "--json"]
    assert run([*command, "--pool", "h100-sxm-8=1", "--pool", "l40s-8=1", "--phase", "disaggregated"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {r["role"] for r in document["fleet"]["replicas"]} == {"prefill", "decode"}
    assert set(document["fleet"]["idle"]) == {"h100-sxm-8", "l40s-8"}
    assert run([*command, "--pool", "h100-sxm-8"]) == 2
    assert run([*command, "--pool", "h101-sxm-8=2"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", catalog.names("clusters"))
def test_every_cluster_of_the_catalog_is_answered_and_certified(name):
    result = solve_cluster(read_question(name))
    assert result.status in ({"infeasible"} if name.endswith("-budget") else {"optimal", "feasible"})
    document = result.to_json() | ({"conflict": []} if result.status == "infeasible" else {})
    assert certify(json.loads(json.dumps(document))).accepted
    if result.value is not None and result.bound is not None:
        assert abs(result.value - result.bound) <= abs(result.value) * Fraction(1, 10)


def test_explain_finds_the_conflict_and_the_smallest_change(capsys):
    assert run(["explain", "llama-3.3-70b-budget", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    names = {entry["limit"] for entry in document["conflict"]}
    assert names == {"limits.budget", "demands.chat.request_rate"}
    budget = next(entry for entry in document["relaxations"] if entry["limit"] == "limits.budget")
    cluster = read_question("llama-3.3-70b-budget")
    at = cluster.limits.model_copy(update={"budget": Fraction(budget["to"]).limit_denominator(10**6)})
    assert solve_cluster(cluster.model_copy(update={"limits": at})).status == "optimal"
    below = cluster.limits.model_copy(update={"budget": at.budget - Fraction(1, 100)})
    assert solve_cluster(cluster.model_copy(update={"limits": below})).status == "infeasible"


def test_a_time_limit_ends_the_search_for_layouts_too(capsys):
    cluster = read_question("llama-3.3-70b-n-plus-1")
    result = solve_cluster(cluster, time_limit_s=0.001)
    assert result.status in {"unknown", "optimal", "feasible"}
    assert not result.all_looked_at
    assert not result.ceilings
    if result.status != "unknown":
        assert certify(json.loads(json.dumps(result.to_json()))).accepted
    # a demand of which no layout was found in time is not said to be impossible
    hopeless = columns_of(cluster, deadline=0.0)
    assert not hopeless.complete
    assert len(hopeless.listed) <= len(cluster.demands) * len(cluster.pools)
    run(["solve", "llama-3.3-70b-n-plus-1", "--time-limit", "0.01"])
    assert "infeasible" not in capsys.readouterr().out


SURE = """\
pools: {h100: {hardware: h100-sxm-8, devices: 2}}
demands:
  chat: {model: llama-3.1-8b, engine: vllm, workload: {input_tokens: 1000, output_tokens: 100, request_rate: 4},
         limits: {tpot: 12 ms%s}, search: {tp: 1, pp: 1}}
"""


def test_a_fleet_keeps_times_at_the_default_confidence_unless_another_is_asked(tmp_path, capsys):
    file, out = tmp_path / "cluster.yaml", tmp_path / "fleet.json"
    served = {}
    for word, factor, told in (
        ("", "1.15", "at 80% confidence"),
        (", confidence: none", "1", "by predicted times alone"),
    ):
        file.write_text(SURE % word)
        assert run(["solve", str(file), "--out", str(out)]) == 0
        assert f"times of chat are kept {told} (limits.confidence)" in capsys.readouterr().out
        document = json.loads(out.read_text())
        assert certify(document).accepted
        columns = columns_of(read_question(str(file))).listed
        longest = max(column.tpot_s for column in columns)
        assert longest * Fraction(factor) <= Fraction(12, 1000)
        served[word] = max(column.requests_per_s for column in columns)
    assert longest * Fraction("1.15") > Fraction(12, 1000)
    assert served[""] < served[", confidence: none"]


@pytest.mark.parametrize("speed", ["0.2 GB/s", "0.02 GB/s"])
def test_a_lone_device_has_its_node_s_link_to_itself_and_fills_it(tmp_path, speed):
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "pools: {a: {hardware: h100-sxm-8, devices: 1}, b: {hardware: h100-sxm-8, devices: 1}}\n"
        f"links: {{a-b: {speed}}}\nobjective: throughput\n"
        "demands: {x: {model: llama-3.1-8b, "
        "workload: {phase: disaggregated, input_tokens: 1000, output_tokens: 200}}}\n"
    )
    result = solve_cluster(read_question(str(path)))
    cache = 1000 * 32 * 8 * 128 * 2 * 2  # tokens, layers, heads, their width, keys and values, bytes
    per_s = float(speed.split()[0]) * 1e9 / cache
    served = {column.role: float(column.requests_per_s) for column in result.columns}
    assert served == pytest.approx({"prefill": per_s, "decode": per_s}, rel=2e-3)
    assert min(float(column.transfer_s) for column in result.columns) == pytest.approx(1 / per_s, rel=1e-3)
    assert certify(json.loads(json.dumps(result.to_json()))).accepted
