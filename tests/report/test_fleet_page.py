"""The page of a fleet: every device in use is drawn once, and the map says which rank it is."""

import json
from collections import defaultdict

import pytest

from optimizer.certificate import certify
from optimizer.cli.main import run
from optimizer.cluster import solve_cluster
from optimizer.readers.cluster import cluster_in
from optimizer.readers.document import load_text
from optimizer.readers.fleet import fleet_in
from optimizer.report.html_fleet import fleet_page, rank_map
from tests.cluster.brute_force import random_cluster
from tests.report.test_html import Reader


def _answers():
    found = 0
    for seed in range(100):
        document = json.loads(json.dumps(solve_cluster(random_cluster(seed)).to_json()))
        if document["fleet"] is not None and document["fleet"]["replicas"]:
            yield document
            found += 1
        if found == 6:
            return


def test_every_device_in_use_is_drawn_once_and_the_page_is_whole():
    drawn = 0
    for document in _answers():
        page = fleet_page(fleet_in(load_text(json.dumps(document))), certify(document))
        reader = Reader()
        reader.feed(page)
        assert not reader.open
        assert not reader.fetched
        assert max(reader.ids.values()) == 1
        used = sum(own["count"] * own["devices"] for own in document["fleet"]["replicas"])
        assert page.count(", rank ") == used
        assert page.count(": idle") == sum(document["fleet"]["idle"].values())
        assert "certificate accepted" in page
        drawn += used
    assert drawn > 10


def test_the_map_has_every_rank_of_every_replica():
    for document in _answers():
        found = rank_map(fleet_in(load_text(json.dumps(document))))
        ranks = defaultdict(set)
        for node in found["periods"]["always"]:
            for own in node["devices"]:
                ranks[own["demand"], own["role"], node["pool"], own["layout"], own["replica"]].add(own["rank"])
        wanted = {
            (own["demand"], own["role"], own["pool"], own["name"], replica): set(range(own["devices"]))
            for own in document["fleet"]["replicas"]
            for replica in range(own["count"])
        }
        assert ranks == wanted


def test_a_name_is_no_markup():
    document = next(_answers())
    text = json.dumps({**document, "status": "<script>alert(1)</script>", "objective": {"value": "<b>"}})
    page = fleet_page(fleet_in(load_text(text)), None)
    assert "<script>alert" not in page
    assert "<b>" not in page.replace("<b></b>", "")


@pytest.mark.parametrize("option", [["--dag", "json"], ["--launch", "x.sh"]])
def test_options_of_one_layout_are_refused(tmp_path, capsys, option):
    file = tmp_path / "fleet.json"
    file.write_text(json.dumps(next(_answers())))
    assert run(["report", str(file), *option]) == 2
    assert option[0] in capsys.readouterr().err


def test_the_command_writes_page_and_map(tmp_path, capsys):
    file = tmp_path / "fleet.json"
    file.write_text(json.dumps(next(_answers())))
    assert run(["report", str(file), "--map", str(tmp_path / "map.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accepted"]
    assert (tmp_path / "fleet.html").read_text().startswith("<!DOCTYPE html>")
    assert json.loads((tmp_path / "map.json").read_text())["schema"] == "shardproof/map/1"


CLUSTER = """
pools: {a: {hardware: h100-sxm-8, nodes: 1}}
demands: {chat: {model: llama-3.1-8b, workload: {input_tokens: 2000, output_tokens: 300, request_rate: 10}}}
limits: {power: 3 W}
"""


def test_a_cluster_that_nothing_serves_has_a_page_with_its_conflict(tmp_path, capsys):
    question, file = tmp_path / "cluster.yaml", tmp_path / "fleet.json"
    question.write_text(CLUSTER)
    assert run(["solve", str(question), "--out", str(file)]) == 1
    assert run(["report", str(file), "--json"]) == 0
    capsys.readouterr()
    page = (tmp_path / "fleet.html").read_text()
    reader = Reader()
    reader.feed(page)
    assert not reader.open
    assert "No fleet keeps these together" in page
    assert "<li>limits.power 3 W</li>" in page
    assert '<strong class="bad">infeasible' in page
    assert "certificate accepted" in page
    assert run(["report", str(file), "--map", str(tmp_path / "map.json")]) == 2
    assert "--map: there is no fleet: its status is infeasible" in capsys.readouterr().err
    assert not (tmp_path / "map.json").exists()
    document = json.loads(file.read_text())
    unknown = fleet_page(fleet_in(load_text(json.dumps(document | {"status": "unknown"})), or_none=True), None)
    assert "none is ruled out" in unknown


def test_the_page_and_the_answer_say_what_was_asked(tmp_path, capsys):
    """Two demands that differ in what their prompts and steps are spared look different."""
    file, out = tmp_path / "cluster.yaml", tmp_path / "fleet.json"
    file.write_text(
        """
pools: {a: {hardware: h100-sxm-8, devices: 2, billing: on_demand, price: 2 $/h}}
demands:
  chat:
    model: llama-3.1-8b
    workload: {input_tokens: 2000, output_tokens: 100, prefix_cache_hit: 50%, mtp_tokens: 2, mtp_acceptance: 70%}
    limits: {ttft: {p99: 2 s}, tpot: 40 ms}
periods: {day: {hours: 16, rates: {chat: 4}}, night: {hours: 8, rates: {chat: 1}}}
objective: devices
replica_devices: 1
"""
    )
    asked = (
        "llama-3.1-8b, aggregated, 2,000 in / 100 out, 50% of prompt tokens cached, 2 tokens drafted a step and 70% "
        "accepted, what drafts them is not priced, TPOT ≤ 40 ms, p99 of TTFT ≤ 2 s, engine any"
    )
    assert run(["solve", str(file), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert f"demand   chat: {asked}\n" in told
    assert "pool     a: 2 devices of h100-sxm-8, on_demand at 2 $/h\n" in told
    assert "Replicas in period night (8 h)\n" in told
    page = fleet_page(fleet_in(load_text(out.read_text())), None)
    assert f"chat: {asked}." in page
    assert "The fleet in period day (16 h)" in page
    file.write_text(file.read_text().replace("mtp_tokens: 2, ", ""))
    assert run(["solve", str(file)]) == 2
    assert "demands.chat.workload.mtp_acceptance: is of drafted tokens" in capsys.readouterr().err


@pytest.mark.parametrize("asked", [None, 2])
def test_what_nobody_asked_for_is_not_stated_as_zero(asked):
    """Of no rate there is none, of no loss to survive no capacity after it; a pool of a hardware's name has it once."""
    workload = {"input_tokens": 500, "output_tokens": 50} | ({} if asked is None else {"request_rate": asked})
    document = {
        "pools": {"h100-sxm-8": {"hardware": "h100-sxm-8", "free": [1, 1]}},
        "demands": {"chat": {"model": "llama-3.1-8b", "workload": workload}},
    } | ({} if asked is None else {"survive": {"nodes": 1}})
    result = solve_cluster(cluster_in(load_text(json.dumps(document))))
    page = fleet_page(fleet_in(load_text(json.dumps(result.to_json()))), None)
    assert "(h100-sxm-8)" not in page
    cells = page.partition("after the worst loss")[2].partition("</table>")[0]
    assert ('>chat</td><td class="n"></td>' in cells) is (asked is None)
    assert ("without node" in cells) is (asked is not None)
