"""A fleet that somebody proposes: what `solve` answers is feasible and true; what is broken is said with its place."""

from __future__ import annotations

import json
import re
from fractions import Fraction

import jsonschema
import pytest
from ruamel.yaml import YAML

from optimizer.certificate import certify
from optimizer.cli.main import run
from optimizer.cli.schemas import schema_of
from optimizer.cluster import solve_cluster
from optimizer.cluster.stand import stand
from optimizer.readers.document import load_text
from optimizer.readers.fleet import fleet_in, unplaced
from optimizer.readers.read import read_question
from optimizer.verify.proposed import judge_proposed, price
from tests.cluster.brute_force import leaves, random_cluster, with_everything
from tests.cluster.questions import DISAGGREGATED


def _judged(document: dict):
    found = fleet_in(load_text(json.dumps(document), "fleet.json"))
    priced = price(found)
    if not unplaced(found):
        return judge_proposed(found, priced, priced.fleet)
    fleet, unlaid = stand(found.cluster, priced.columns, priced.counts)
    return judge_proposed(found, priced, fleet or priced.fleet, unlaid, chosen=fleet is not None)


def _answers(seeds):
    for seed in seeds:
        document = json.loads(json.dumps(solve_cluster(random_cluster(seed)).to_json()))
        if document["fleet"] is not None:
            yield document


def _families(judged) -> set[str]:
    return {broken.family for broken, _ in judged.violations}


def test_what_solve_answers_is_feasible_and_all_its_figures_hold():
    for document in _answers(range(120)):
        judged = _judged(document)
        assert judged.feasible, judged.violations
        assert all(claim.verdict == "holds" for claim in judged.claims)
        assert judged.fleet_document() == document["fleet"]
        assert judged.exit_status == 0


def test_without_nodes_some_way_to_lay_it_is_found_that_survives():
    tried = 0
    for document in _answers(range(150)):
        for entry in document["fleet"]["replicas"]:
            del entry["nodes"]
        tried += document["problem"]["survive"] is not None
        judged = _judged(document)
        assert judged.feasible, judged.violations
        assert judged.chosen == bool(document["fleet"]["replicas"])
    assert tried > 4


def test_the_numbers_put_in_give_the_figure():
    lost, started, of_all = 0, 0, {"cost", "devices", "growth", "throughput", "power"}
    by_periods = (with_everything(random_cluster(seed), seed) for seed in range(30))
    costly = (cluster.model_copy(update={"start_cost": Fraction(7)}) for cluster in by_periods)
    solved = (json.loads(json.dumps(solve_cluster(cluster).to_json())) for cluster in costly)
    for document in [*_answers(range(60)), *(document for document in solved if document["fleet"] is not None)]:
        for name, figure in _judged(document).figures.items():
            if name.endswith((".capacity", ".after_loss", "idle")) or name in of_all:
                plain = re.sub(r"(?<=\d),(?=\d{3})", "", figure.substituted).replace("−", "-")
                reckoned = eval(plain.replace("·", "*").replace("÷", "/"), {"min": min})  # noqa: S307 - ours
                assert reckoned == pytest.approx(float(figure.value), rel=1e-4), (name, figure.substituted)
                lost += name.endswith("loss") and "min(" in figure.substituted
                started += "start_cost" in figure.formula and "·0 ÷" not in figure.substituted
    assert lost > 1
    assert started > 1


def test_every_figure_that_a_result_states_is_judged():
    for document in _answers([2, 7, 11]):
        for at, value in list(leaves(document["fleet"])):
            if not isinstance(value, int | float) or {"nodes", "count", "devices", "node", "redundant_slots"} & set(at):
                continue
            broken = json.loads(json.dumps(document))
            inner = broken["fleet"]
            for step in at[:-1]:
                inner = inner[step]
            inner[at[-1]] = value * 0.999 + 0.0001 if isinstance(value, float) else value + 1
            judged = _judged(broken)
            wrong = [claim.claim.name for claim in judged.claims if claim.verdict == "fails"]
            assert any(name.startswith(".".join(map(str, ("fleet", *at[:-1])))) for name in wrong), at
            assert judged.exit_status == 1


TABLE = """\
pool,demand,role,layout,devices,requests_per_s,price,power
a,chat,aggregated,small,3,2,,100
a,chat,aggregated,large,8,7,,300
b,chat,aggregated,small,4,1.5,,50
a,code,prefill,p,4,3,,100
a,code,decode,d,4,3,,100
"""
CLUSTER = """\
pools:
  a: {devices_per_node: 8, nodes: 6, price: 2 $/h, billing: on_demand}
  b: {devices_per_node: 4, free: [4, 3], price: 1 $/h, billing: on_demand}
demands:
  chat: {workload: {request_rate: 10}}
  code: {workload: {request_rate: 2}}
survive: {nodes: 1}
limits: {budget: 80 $/h, power: 1.1 kW}
objective: cost
rates: rates.csv
"""
FLEET = """\
problem: cluster.yaml
fleet:
  replicas:
    - {demand: chat, pool: a, layout: small, count: 6}
    - {demand: chat, pool: b, layout: small, count: 1}
    - {demand: code, role: prefill, pool: a, layout: p, count: 2}
    - {demand: code, role: decode, pool: a, layout: d, count: 2}
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "rates.csv").write_text(TABLE)
    (tmp_path / "cluster.yaml").write_text(CLUSTER)
    return tmp_path


def _verified(files, text, capsys, *options):
    (files / "fleet.yaml").write_text(text)
    status = run(["verify", str(files / "fleet.yaml"), "--json", *options])
    return status, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("old", "new", "family", "line", "words"),
    [
        ("count: 6", "count: 60", "capacity", 4, "60 × 3"),
        ("count: 1}", "count: 2}", "capacity", 5, "2 × 4 devices do not fit the 7 free on 2 nodes of b"),
        ("count: 6", "count: 5", "survival", None, "without 1 node"),
        ("count: 6", "count: 4", "demands", None, "9.5 of 10 requests/s"),
        ("layout: small, count: 6", "layout: large, count: 3", "power", None, "W"),
    ],
)
def test_what_is_broken_is_located(files, capsys, old, new, family, line, words):
    status, document = _verified(files, FLEET.replace(old, new), capsys)
    assert status == 1
    assert not document["feasible"]
    found = next(own for own in document["violations"] if own["family"] == family)
    assert words in found["message"]
    assert found.get("line") == line


def test_a_fleet_of_a_person_is_judged_with_its_claims(files, capsys):
    claims = "claims: {cost: 73 $/h, chat.capacity: 13.5, code.capacity: 7 /s, devices: 38}\n"
    status, document = _verified(files, FLEET + claims, capsys)
    assert document["feasible"], document["violations"]
    verdicts = {own["name"]: own["verdict"] for own in document["claims"]}
    # 6·3 + 2·4 + 2·4 devices at 2 $/h and 4 at 1 $/h
    assert verdicts == {"cost": "fails", "chat.capacity": "holds", "code.capacity": "fails", "devices": "holds"}
    assert document["figures"]["cost"] == 72
    assert status == 1
    assert _verified(files, FLEET + claims.replace("73", "72").replace("7 /s", "6 /s"), capsys)[0] == 0
    assert any("left open" in text for text in document["not_checked"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pool: b", "pool: c", "fleet.yaml:5:28: fleet.replicas[1].pool: 'c' is no pool"),
        ("demand: chat, pool: b", "demand: chet, pool: b", "did you mean 'chat'?"),
        ("layout: p,", "layout: q,", "'q' is no prefill layout of code on a with a rate: p"),
        ("role: prefill", "role: aggregated", "has no aggregated replicas"),
        ("count: 1}", "count: 0}", "fleet.replicas[1].count"),
        ("count: 1}", "counts: 1}", "did you mean 'count'?"),
        ("count: 1}", "count: 1, nodes: [[{node: 0, devices: [0, 1, 2, 3]}]]}", "of all replicas, or of none"),
        ("count: 1}", "count: 2, nodes: [[{node: 0, devices: [0, 1, 2, 3]}]]}", "lists 1 replicas, and count says 2"),
        ("problem: cluster.yaml", "problem: cluster.yml", "fleet.yaml:1:10: problem"),
        ("problem: cluster.yaml", "problem: nowhere", "nowhere"),
        ("problem: cluster.yaml", "problem: {model: llama-3.1-8b}", "demands and pools are wanted"),
        ("fleet:\n", "claim: {}\nfleet:\n", "did you mean 'claims'?"),
        ("problem: cluster.yaml", "cluster: cluster.yaml", "cluster: unknown key (did you mean 'problem'?)"),
        ("fleet:\n  replicas:", "replicas:", "replicas: unknown key (did you mean 'fleet.replicas'?)"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(files, capsys, old, new, message):
    (files / "fleet.yaml").write_text(FLEET.replace(old, new))
    assert run(["verify", str(files / "fleet.yaml")]) == 2
    assert message in capsys.readouterr().err


def test_the_file_and_the_verdict_are_as_their_schemas_say(files, capsys):
    _, document = _verified(files, FLEET + "claims: {cost: 72 $/h}\n", capsys)
    jsonschema.validate(document, schema_of("verdict"))
    jsonschema.validate(YAML(typ="safe").load(FLEET), schema_of("fleet"))
    jsonschema.validate(YAML(typ="safe").load(CLUSTER), schema_of("cluster"))


def test_two_replicas_on_one_device_are_found(files, capsys):
    (files / "cluster.yaml").write_text(CLUSTER.replace("survive: {nodes: 1}\n", "").replace("limits:", "#"))
    at = "[[{node: 0, devices: [0, 1, 2]}], [{node: 0, devices: [%d, 4, 5]}]]"
    text = """\
problem: cluster.yaml
fleet:
  replicas:
    - {demand: chat, pool: a, layout: small, count: 2, nodes: AT}
"""
    _, document = _verified(files, text.replace("AT", at % 2), capsys)
    shared = [own for own in document["violations"] if own["family"] == "capacity"]
    assert [own["line"] for own in shared] == [4]
    assert "a/0/2" in shared[0]["message"]
    _, document = _verified(files, text.replace("AT", at % 3), capsys)
    assert not [own for own in document["violations"] if own["family"] == "capacity"]


PRICED = """\
problem:
  pools: {new: {hardware: h100-sxm-8, nodes: 2}}
  demands:
    chat:
      model: llama-3.3-70b
      workload: {input_tokens: 2000, output_tokens: 300, request_rate: 8}
      limits: {ttft: 1 s, tpot: 40 ms}
fleet:
  replicas:
    - {demand: chat, pool: new, layout: {LAYOUT}, count: 2}
"""


@pytest.mark.parametrize(
    ("layout", "family"),
    [
        ("tp: 1, batch: 8", "memory"),
        ("tp: 3, batch: 8", "divisibility"),
        ("tp: 2, pp: 2, batch: 4096", "memory"),
        ("tp: 2, dp: 2, batch: 8", "replica"),
        ("tp: 2, pp: 100, batch: 8", "pipeline"),
    ],
)
def test_a_replica_that_cannot_be_says_why(tmp_path, capsys, layout, family):
    (tmp_path / "fleet.yaml").write_text(PRICED.replace("LAYOUT", layout))
    assert run(["verify", str(tmp_path / "fleet.yaml"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["violations"]
    assert family in {own["family"] for own in found}
    assert {own["line"] for own in found if own["family"] == family} == {10}


def test_redundant_slots_stand_with_the_degrees_or_beside_them_but_not_both_ways(tmp_path, capsys):
    beside = PRICED.replace("{LAYOUT}", "{tp: 4, batch: 8, redundant_slots: 2}, redundant_slots: 4")
    (tmp_path / "fleet.yaml").write_text(beside)
    assert run(["verify", str(tmp_path / "fleet.yaml"), "--json"]) == 2
    assert "is 2, but beside the layout stands 4" in capsys.readouterr().out
    (tmp_path / "fleet.yaml").write_text(beside.replace(", redundant_slots: 4", ""))
    assert run(["verify", str(tmp_path / "fleet.yaml"), "--json"]) == 1
    assert "llama-3.3-70b has no experts, but redundant_slots=2" in capsys.readouterr().out


def test_a_priced_fleet_makes_the_same_round(tmp_path):
    (tmp_path / "cluster.yaml").write_text(DISAGGREGATED)
    result = solve_cluster(read_question(str(tmp_path / "cluster.yaml")))
    document = json.loads(json.dumps(result.to_json()))
    assert certify(document).accepted
    judged = _judged(document)
    assert judged.feasible
    assert {claim.verdict for claim in judged.claims} == {"holds"}
    own = document["fleet"]["replicas"][0]
    own["requests_per_s"] *= 1.01
    judged = _judged(document)
    claim = next(c for c in judged.claims if c.claim.name == "fleet.replicas.0.requests_per_s")
    assert claim.verdict == "fails"
    assert claim.figure.value < Fraction(own["requests_per_s"])
