from __future__ import annotations

import json

import pytest

from optimizer.certificate import certify
from optimizer.cli.main import run
from optimizer.units import amount

CLUSTER = """\
name: chat-and-code
pools:
  new: {devices_per_node: 8, nodes: 16, price: 3 $/h}
  old: {devices_per_node: 8, free: [8, 8, 8, 8, 7, 0], price: 1.5 $/h, billing: on_demand}
demands:
  chat: {workload: {request_rate: 40}}
  code: {workload: {request_rate: 6}}
survive: {nodes: 1}
objective: cost
rates: rates.csv
"""
RATES = """\
pool,demand,role,layout,devices,requests_per_s
new,chat,aggregated,tp2,2,2.5
new,chat,aggregated,tp4,4,5.6
old,chat,aggregated,tp4,4,2.1
new,code,prefill,tp8,8,2.2
new,code,decode,ep16,16,3.1
old,code,prefill,tp8,8,1
"""


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "rates.csv").write_text(RATES)
    file = tmp_path / "cluster.yaml"
    file.write_text(CLUSTER)
    return file


def test_a_cluster_is_solved_certified_and_shown(cluster, capsys):
    out = cluster.with_suffix(".json")
    assert run(["solve", str(cluster), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "optimal: 384 $/h in all" in shown
    assert "without new/" in shown
    assert run(["certify", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accepted"]
    document = json.loads(out.read_text())
    assert document["fleet"]["demands"]["code"]["worst_loss"]["node"][0] == "new"
    assert (
        sum(r["count"] * r["devices"] for r in document["fleet"]["replicas"]) + sum(document["fleet"]["idle"].values())
        == 16 * 8 + 39
    )
    shares = [r["share"] for r in document["fleet"]["replicas"] if r["demand"] == "chat"]
    assert sum(shares) == pytest.approx(1)


def test_options_of_a_single_problem_are_refused(cluster, capsys):
    assert run(["solve", str(cluster), "--tp", "4"]) == 2
    assert "--tp" in capsys.readouterr().err
    assert run(["solve", str(cluster), "--top", "3"]) == 2
    assert run(["place", str(cluster)]) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pool,demand,layout,devices\n", "column 'requests_per_s' is missing"),
        ("pool,demand,layout,devices,requests_per_s,rat\n", "unknown column 'rat'"),
        ("pool,demand,layout,devices,requests_per_s\nnew,chat,a,two,3\n", "rates.csv:2:4: devices: "),
        ("pool,demand,layout,devices,requests_per_s\nnew,chat,a,2\n", "rates.csv:2: 4 cells under 5 columns"),
        ("pool,demand,layout,devices,requests_per_s\nnew,chat,a,2,-3\n", "rates.csv:2:5: requests_per_s: "),
        ("pool,demand,layout,devices,requests_per_s\nnaw,chat,a,2,3\n", "did you mean 'new'?"),
        ("pool,demand,layout,devices,requests_per_s\nnew,chat,a,2,3\n", "has no aggregated replica of code"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(cluster, capsys, text, message):
    (cluster.parent / "rates.csv").write_text(text)
    assert run(["solve", str(cluster)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nodes: 16", "nodes: 16, devices: 4", "give either nodes, devices or free"),
        ("7, 0]", "9, 0]", "9 devices free on a node of 8"),
        ("free: [8, 8, 8, 8, 7, 0]", "free: []", "no device is free"),
        ("nodes: 1}\n", "racks: 1}\n", "has none: say its nodes_per_rack"),
        ("nodes: 1}\n", "nodes: 1, pool: naw}\n", "'naw' is no pool"),
        ("nodes: 1}\n", "nodes: 23}\n", "survive.nodes: 23 nodes of 22 cannot be lost"),
        ("nodes: 16", "nodes: 0", "pools.new.nodes: must be at least 1, not 0"),
        ("nodes: 16", "nodes: 2, free: [8, 8, 8]", "free lists 3 nodes, nodes says 2"),
        (
            "objective: cost",
            "objective: cost\nperiods: {day: {hours: 8, rates: {chat: 0, code: 0}}}",
            "periods.day.rates: 'cost' needs",
        ),
        ("objective: cost", "objective: cost\nperiods: {day: {hours: 0, rates: {chat: 1}}}", "must be more than 0"),
        ("price: 3 $/h}", "price: -3 $/h}", "-3 $/h is negative"),
        ("objective: cost", "objective: power", "needs the power of a device"),
        ("price: 3 $/h}", "billing: owned}", "needs a price"),
        ("objective: cost", "periods: {day: {hours: 8, rates: {chet: 3}}}", "'chet' is no demand"),
        ("40}}", "40, kind: training}}", "'training' is not serving"),
        ("old: {devices_per_node: 8,", "old: {devices_per_node: 8, gpus: 8,", "did you mean 'devices'?"),
        ("survive:", "links: {new-old: 1 GB/s, old-new: 2 GB/s}\nsurvive:", "stands there both ways round"),
        ("objective: cost", "objectiv: cost", "did you mean 'objective'?"),
        ("40}}", "40}, limits: {tpot: 40 ms, confidence: 99%}}", "0.99 is not between 0.05 and 0.95"),
    ],
)
def test_what_is_wrong_with_a_cluster_is_said(cluster, capsys, old, new, message):
    cluster.write_text(CLUSTER.replace(old, new))
    assert run(["solve", str(cluster)]) == 2
    assert message in capsys.readouterr().err


def test_racks_are_stated_survived_and_named(tmp_path, capsys):
    (tmp_path / "rates.csv").write_text("pool,demand,layout,devices,requests_per_s\na,x,half,2,3\na,x,wide,12,20\n")
    text = (
        "pools: {a: {devices_per_node: 4, free: [4, 4, 4, 2, 4, 4], nodes_per_rack: 2, price: 1 $/h}}\n"
        "demands: {x: {workload: {request_rate: 12}}}\nrates: rates.csv\nsurvive: {racks: 1}\nobjective: devices\n"
    )
    file, out = tmp_path / "racks.yaml", tmp_path / "fleet.json"
    file.write_text(text)
    assert run(["solve", str(file), "--out", str(out)]) == 0
    assert "without rack a/" in capsys.readouterr().out
    document = json.loads(out.read_text())
    # four replicas must be left: two on each of three racks, six in all
    assert document["objective"]["value"] == 12
    assert document["fleet"]["demands"]["x"]["worst_loss"] == {"rack": ["a", 0], "capacity_per_s": 12.0}
    assert run(["certify", str(out)]) == 0
    assert run(["verify", str(out)]) == 0
    assert run(["report", str(out), "--out", str(tmp_path / "page.html")]) == 0
    assert "without rack a/0" in (tmp_path / "page.html").read_text()
    # all six in two racks: one is too much to lose
    nodes = [{"node": n, "devices": [d, d + 1]} for n in (0, 1) for d in (0, 2)] + [
        {"node": 4, "devices": [0, 1]}, {"node": 5, "devices": [0, 1]}
    ]  # fmt: skip
    document["fleet"]["replicas"][0]["nodes"] = [[node] for node in nodes]
    out.write_text(json.dumps(document))
    capsys.readouterr()
    assert run(["verify", str(out)]) == 1
    assert "(survival) x in always: 6 of 12 requests/s without 1 rack" in capsys.readouterr().out
    file.write_text(text.replace("request_rate: 12", "request_rate: 24"))
    assert run(["explain", str(file), "--json"]) == 1
    conflict = json.loads(capsys.readouterr().out)
    assert {"limit": "survive.racks", "from": 1, "to": 0, "unit": "racks", "layout": None} in conflict["relaxations"]


def test_what_no_rack_holds_has_its_racks_alone(tmp_path, capsys):
    (tmp_path / "rates.csv").write_text("pool,demand,layout,devices,requests_per_s\na,x,half,2,3\na,x,wide,12,20\n")
    cluster = (
        "{pools: {a: {devices_per_node: 4, nodes: 6, nodes_per_rack: 2}}, rates: rates.csv, survive: {racks: 1},"
        " demands: {x: {workload: {request_rate: 3}}}, objective: devices}"
    )
    held = ", ".join(f"{{node: {n}, devices: [0, 1, 2, 3]}}" for n in (0, 1, 2))
    wide = f"{{demand: x, pool: a, layout: wide, nodes: [[{held}]]}}"
    half = "{demand: x, pool: a, layout: half, nodes: [[{node: %d, devices: [0, 1]}]]}"
    for node, status in ((3, 1), (4, 0)):
        (tmp_path / "fleet.yaml").write_text(f"problem: {cluster}\nfleet: {{replicas: [{wide}, {half % node}]}}\n")
        assert run(["verify", str(tmp_path / "fleet.yaml")]) == status, capsys.readouterr().out
        assert ("x/aggregated/a/wide on a/3/0" in capsys.readouterr().out) == (status == 1)


@pytest.mark.parametrize(
    ("pools", "demands", "message"),
    [
        (
            "{a: {hardware: gb200-nvl72, nodes: 36, nodes_per_rack: 4}}",
            "{x: {model: llama-3.1-8b, workload: {input_tokens: 100, output_tokens: 10}}}",
            "stated.yaml:1:63: pools.a.nodes_per_rack: a rack of gb200-nvl72 has 18 nodes",
        ),
        (
            "{p: {hardware: h100-sxm-8, nodes: 1}}",
            "{chat: {model: llama-3.1-8b, workload: {input_tokens: 131072, output_tokens: 2}}}",
            "demands.chat.workload.input_tokens: input_tokens + output_tokens = 131074 is more than the 131072",
        ),
    ],
)
def test_what_hardware_or_model_denies_is_refused(tmp_path, capsys, pools, demands, message):
    file = tmp_path / "stated.yaml"
    file.write_text(f"pools: {pools}\ndemands: {demands}\n")
    assert run(["solve", str(file)]) == 2
    assert message in capsys.readouterr().err


def test_limits_bind_a_fleet_that_serves_what_it_can(tmp_path, capsys):
    (tmp_path / "rates.csv").write_text("pool,demand,layout,devices,requests_per_s\na,x,one,1,3\n")
    file = tmp_path / "most.yaml"
    file.write_text(
        "{pools: {a: {devices_per_node: 4, nodes: 2, power: 100 W}}, rates: rates.csv, demands: {x: {}},"
        " limits: {power: 300 W}, objective: throughput}"
    )
    assert run(["explain", str(file), "--json"]) == 0
    (bound,) = json.loads(capsys.readouterr().out)["binding"]
    assert (bound["limit"], bound["value"], bound["without"]) == ("limits.power", 300, 24)


def test_a_conflict_is_written_in_units_that_people_read(cluster, capsys):
    cluster.write_text(CLUSTER.replace("objective: cost", "limits: {budget: 5 $/h}\nobjective: cost"))
    out = cluster.with_suffix(".json")
    assert run(["solve", str(cluster), "--out", str(out)]) == 1
    shown = capsys.readouterr().out
    assert "limits.budget 5 $/h\n" in shown
    assert "requests_per_s" not in shown
    assert "dollars_per_h" not in shown
    assert [amount(1, "nodes"), amount(2, "racks"), amount(1.0, "devices")] == ["1 node", "2 racks", "1 device"]


@pytest.mark.parametrize(
    ("lengths", "name", "told"),
    [
        ("", "throughput_requests_per_s", "optimal: 24 requests/s in all"),
        ("input_tokens: 100, output_tokens: 10", "throughput_tokens_per_s", "optimal: 240 tokens/s in all"),
    ],
)
def test_throughput_is_in_tokens_only_where_lengths_are_known(tmp_path, capsys, lengths, name, told):
    (tmp_path / "rates.csv").write_text("pool,demand,layout,devices,requests_per_s\na,x,r1,1,3\n")
    cluster, result = tmp_path / "cluster.yaml", tmp_path / "result.json"
    cluster.write_text(
        f"{{pools: {{a: {{hardware: h100-sxm-8, nodes: 1}}}}, demands: {{x: {{workload: {{{lengths}}}}}}}, "
        "rates: rates.csv, objective: throughput}"
    )
    assert run(["solve", str(cluster), "--out", str(result)]) == 0
    assert capsys.readouterr().out.startswith(told)
    document = json.loads(result.read_text())
    assert document["objective"]["name"] == name
    assert certify(document).accepted
    assert run(["verify", str(result)]) == 0
    assert f"throughput  {told[9:].removesuffix(' in all')}" in capsys.readouterr().out


def test_a_demand_that_no_period_names_has_its_own_rate_in_all(tmp_path, capsys):
    (tmp_path / "rates.csv").write_text("pool,demand,layout,devices,requests_per_s\na,x,one,1,3\na,y,one,1,2\n")
    cluster, out = tmp_path / "cluster.yaml", tmp_path / "fleet.json"
    cluster.write_text(
        "{pools: {a: {devices_per_node: 8, nodes: 2}}, rates: rates.csv, objective: devices, "
        "demands: {x: {workload: {request_rate: 40}}, y: {workload: {request_rate: 9}}}, "
        "periods: {day: {hours: 8, rates: {x: 6}}, night: {hours: 16, rates: {}}}}"
    )
    assert run(["solve", str(cluster), "--out", str(out)]) == 0
    periods = json.loads(out.read_text())["fleet"]["periods"]
    asked = {name: {d: own["requests_per_s"] for d, own in one["demands"].items()} for name, one in periods.items()}
    assert asked == {"day": {"x": 6, "y": 9}, "night": {"x": 0, "y": 9}}
    assert "devices in the mean of the hours" in capsys.readouterr().out


def test_requests_of_known_and_unknown_lengths_are_added_as_requests(tmp_path, capsys):
    rows = "pool,demand,layout,devices,requests_per_s\na,x,r1,1,3\na,y,r2,1,2\n"
    (tmp_path / "rates.csv").write_text(rows)
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text(
        "{pools: {a: {hardware: h100-sxm-8, nodes: 1}}, rates: rates.csv, objective: throughput, "
        "demands: {x: {}, y: {workload: {input_tokens: 100, output_tokens: 1000}}}}"
    )
    assert run(["solve", str(cluster)]) == 0
    assert capsys.readouterr().out.startswith("optimal: 24 requests/s in all")


@pytest.mark.parametrize(
    ("objective", "value", "told"),
    [
        ("devices", 13 / 6, "2.167 devices in the mean of the hours"),
        ("power", 650 / 3, "216.7 W in all in the mean of the hours"),
        ("cost", 13 / 6, "2.167 $/h in all in the mean of the hours"),
        ("throughput", 36, "36 requests/s in all in the mean of the hours"),
        ("growth", 4, "all rates can grow to 400% of what is stated\n"),
    ],
)
def test_a_mean_over_the_hours_of_several_periods_is_called_one(tmp_path, capsys, objective, value, told):
    (tmp_path / "rates.csv").write_text("pool,demand,layout,devices,requests_per_s\na,x,one,1,3\n")
    pool = "{devices_per_node: 4, nodes: 3, price: 1 $/h, billing: on_demand, power: 100 W}"
    file, out = tmp_path / "cluster.yaml", tmp_path / "fleet.json"
    question = f"pools: {{a: {pool}}}\ndemands: {{x: {{workload: {{}}}}}}\nrates: rates.csv\nobjective: {objective}\n"
    file.write_text(question + "periods: {day: {hours: 10, rates: {x: 3}}, night: {hours: 14, rates: {x: 9}}}\n")
    assert run(["solve", str(file), "--out", str(out)]) == 0
    assert f"optimal: {told}" in capsys.readouterr().out
    assert json.loads(out.read_text())["objective"]["value"] == pytest.approx(value)
    over = "" if objective == "growth" else " in the mean of the hours"
    for command in (["explain", str(file)], ["verify", str(out)]):
        assert run(command) == 0
        shown = capsys.readouterr().out.splitlines()
        assert any(
            told.strip() in line or (line.strip().startswith(objective) and line.endswith(over)) for line in shown
        )
        assert not any(line.strip().startswith("growth") and "mean" in line for line in shown)
    assert run(["certify", str(out)]) == 0
    assert ("in the mean of the hours; bound" in capsys.readouterr().out) == bool(over)
    assert run(["report", str(out), "--out", str(out.with_suffix(".html"))]) == 0
    assert ("in the mean of the hours" in out.with_suffix(".html").read_text()) == bool(over)
    capsys.readouterr()
    file.write_text(question.replace("{}}", "{request_rate: 9}}"))
    assert run(["solve", str(file)]) == 0
    assert "mean" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "limits", "told"),
    [
        ("", "", None),
        (", request_rate: 5", "", None),
        ("", "ttft: 500 ms, confidence: none", 0.5),
        ("", "ttft: {p99: 2 s}, confidence: none", 2),
        ("", "tpot: 1 s, confidence: none", None),
    ],
)
def test_a_queue_at_full_load_that_nothing_holds_has_no_time(tmp_path, capsys, asked, limits, told):
    file, out = tmp_path / "cluster.yaml", tmp_path / "fleet.json"
    work = f"{{phase: disaggregated, input_tokens: 1000, output_tokens: 200{asked}}}"
    file.write_text(
        "pools: {h: {hardware: h100-sxm-8, free: [2]}}\nobjective: throughput\n"
        f"demands: {{x: {{model: llama-3.1-8b, workload: {work}, limits: {{{limits}}}, search: {{batch: 16}}}}}}\n"
    )
    assert run(["solve", str(file), "--out", str(out)]) == 0
    fleet = json.loads(out.read_text())["fleet"]
    prefill = [own["figures"]["ttft_s"] for own in fleet["replicas"] if own["role"] == "prefill"]
    stated = [fleet["demands"]["x"]["ttft_s"], *prefill]
    assert stated == [None] * len(stated) if told is None else all(0 < time <= told for time in stated)
    assert fleet["demands"]["x"]["tpot_s"] > 0
    shown = [capsys.readouterr().out]
    assert run(["verify", str(out)]) == 0
    shown.append(capsys.readouterr().out)
    assert run(["report", str(out), "--out", str(out.with_suffix(".html"))]) == 0
    shown.append(out.with_suffix(".html").read_text())
    assert [("no bound" in text) for text in shown] == [told is None] * 3
    assert run(["certify", str(out)]) == 0


@pytest.mark.parametrize(
    ("pools", "more", "why"),
    [
        ("t: {hardware: tpu-v6e, nodes: 1}", "engine: trtllm", "TensorRT-LLM runs on devices of NVIDIA"),
        ("t: {hardware: l4-8, devices: 1}", "precision: {weights: bf16}", "keeps memory"),
        ("t: {hardware: l4-8, nodes: 1}", "limits: {ttft: 1 ms, confidence: none}", "keeps ttft"),
    ],
)
@pytest.mark.parametrize("rate", ["", ", request_rate: 5"])
def test_a_demand_that_no_pool_serves_is_infeasible_and_why_is_said(tmp_path, capsys, pools, more, why, rate):
    file, out = tmp_path / "cluster.yaml", tmp_path / "fleet.json"
    work = f"{{input_tokens: 1000, output_tokens: 200{rate}}}"
    file.write_text(f"pools: {{{pools}}}\ndemands: {{x: {{model: qwen3-32b, workload: {work}, {more}}}}}\n")
    assert run(["solve", str(file), "--out", str(out)]) == 1
    shown = capsys.readouterr().out
    assert "x: no aggregated replica on t: " in shown
    assert why in shown
    document = json.loads(out.read_text())
    assert (document["status"], document["fleet"], document["objective"]["value"]) == ("infeasible", None, None)
    check = certify(document)
    assert check.accepted, check.reason
    assert "unserved" in check.not_checked
    assert run(["explain", str(file)]) == 1
    assert why in capsys.readouterr().out


def test_a_fleet_that_serves_nothing_is_no_answer(cluster):
    out = cluster.with_suffix(".json")
    cluster.write_text(
        CLUSTER.replace("cost", "growth").replace("nodes: 16", "free: [1]").replace("8, 8, 8, 8, 7, 0", "1")
    )
    assert run(["solve", str(cluster), "--out", str(out)]) == 1
    document = json.loads(out.read_text())
    assert certify(document).accepted
    assert {"survive.nodes", "pools.new.nodes"} & {own["limit"] for own in document["conflict"]}
    document["status"] = document["certificate"]["kind"] = "optimal"
    assert not certify(document).accepted
