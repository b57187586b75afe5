"""From loads to files that engines read: place, solve, certify, verify and export as a person types them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from optimizer.certificate import certify
from optimizer.cli.main import run
from optimizer.cli.schemas import schema_of
from optimizer.figures.placement import linear_placement, max_over_mean, moves
from optimizer.readers.load_profiles import profile_rows

LAYERS, EXPERTS, EP = 16, 16, 8
DECIDED = ["--model", "seed-b-16l-16e", "--ep", "8", "--redundant-slots", "8"]
PROBLEM = """\
name: placed
model: seed-b-16l-16e
hardware: seed-64gb
devices: 32
workload: {input_tokens: 1024, output_tokens: 128}
limits: {ttft: 60 s}
search: {ep: [8], pp: [1], tp: [1, 2], prefill_chunk: 1024}
experts: {load: 'zipf:0.8', redundant_slots: [0, 8]}
"""

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture(name="ask")
def ask_fixture(capsys: pytest.CaptureFixture[str]) -> Ask:
    def ask(*arguments: object) -> tuple[int, Any]:
        status = run([*map(str, arguments), "--json"])
        return status, json.loads(capsys.readouterr().out)

    return ask


@pytest.fixture(name="solved", scope="module")
def solved_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("solved")
    (folder / "problem.yaml").write_text(PROBLEM)
    assert run(["solve", str(folder / "problem.yaml"), "--out", str(folder / "result.json")]) == 0
    return folder


@pytest.fixture(name="placed", scope="module")
def placed_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("placed") / "placed.json"
    arguments = ["--expert-load", "zipf:0.8", "--step-tokens", "64", "--hold-out", "lognormal:0.6", "--frontier"]
    assert run(["place", *DECIDED, *arguments, "--out", str(path)]) == 0
    return path


def document(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_placement_on_a_decided_mesh_needs_no_problem_file(placed: Path, ask: Ask) -> None:
    found = document(placed)
    jsonschema.validate(found, schema_of("placement"))
    rows = profile_rows("zipf:0.8", LAYERS, EXPERTS, 0)
    linear = linear_placement(EXPERTS, EP, 3)
    for row, before, after in zip(rows, found["before"]["layers"], found["placement"]["layers"], strict=True):
        assert before["max_over_mean"] == float(max_over_mean(row, linear))
        assert after["max_over_mean"] == float(max_over_mean(row, after["devices"]))
        assert 1 <= after["bound"] <= after["max_over_mean"] < before["max_over_mean"]
        assert {expert for held in after["devices"] for expert in held} == set(range(EXPERTS))
    assert (found["ep"], found["redundant"], found["slots_per_device"]) == (8, 8, 3)
    status, check = ask("certify", placed)
    assert (status, check["accepted"]) == (0, True)


@pytest.mark.parametrize(
    ("at", "value", "item"),
    [
        (("max_over_mean",), 1.0, "max_over_mean"),
        (("status",), "wrong", "status"),
        (("redundant",), 0, "certificate.slots_per_device"),
        (("before", "layers", 0, "max_over_mean"), 1.0, "before.layers[0].max_over_mean"),
        (("placement", "moves"), 3, "placement.moves"),
        (("placement", "layers", 2, "max_over_mean"), 1.0, "placement.layer 2"),
        (("placement", "layers", 2, "devices", 0), [0, 0, 1], "placement.layer 2"),
        (("certificate", "layers", 1, "bound"), "2", "placement.layer 1"),
        (("loads", 0, "load", 0, 0), 10**9, "loads[0].load"),
        (("certificate", "tolerance"), "10", "certificate.tolerance"),
        (("certificate", "layers", 1, "layer"), 7, "certificate.layers[1].layer"),
        (("placement", "layers", 1, "layer"), 7, "placement.layer 7"),
        (("placement", "workloads", 0, "max_over_mean", 3), 1.5, "placement.workloads[0].max_over_mean"),
        (("placement", "workloads", 0, "name"), "night", "placement.workloads[0].name"),
        (("model",), "deepseek-v3", "model"),
        (("model_layers",), 61, "model_layers"),
        (("noise", 0, "max_over_mean"), 1.0, "noise[0].max_over_mean"),
        (("step_tokens",), 65, "noise[0].activations"),
        (("hold_out", 0, "after", "worst"), 1.0, "hold_out[0].after.worst"),
        (("hold_out", 0, "bound", "mean"), 2.0, "hold_out[0].bound.mean"),
        (("frontier", 0, "worst"), "cool", "frontier[0].worst"),
        (("prices",), [{"varied": "ep"}], "prices[0]"),
        (("note",), "trust me", "document"),
        (("loads", 0, "load", 0, 0), -1, "loads[0].load"),
        (("loads",), None, "loads"),
    ],
)
def test_a_changed_placement_is_rejected(at: tuple[Any, ...], value: object, item: str, placed: Path) -> None:
    found = document(placed)
    assert certify(copy.deepcopy(found)).accepted
    place = found
    for step in at[:-1]:
        place = place[step]
    place[at[-1]] = value
    check = certify(found)
    assert not check.accepted
    assert check.item == item


def test_hold_out_frontier_and_noise(placed: Path) -> None:
    found = document(placed)
    (held,) = found["hold_out"]
    rows = profile_rows("lognormal:0.6", LAYERS, EXPERTS, 0)
    layers = [layer["devices"] for layer in found["placement"]["layers"]]
    each = [float(max_over_mean(row, devices)) for row, devices in zip(rows, layers, strict=True)]
    assert held["after"]["layers"] == each
    assert held["after"]["mean"] >= held["bound"]["mean"] >= 1
    budgets = [point["budget"] for point in found["frontier"]]
    worst = [point["worst"] for point in found["frontier"]]
    means = [point["mean"] for point in found["frontier"]]
    assert budgets == sorted(set(budgets))
    assert means == sorted(means, reverse=True)
    assert worst == sorted(worst, reverse=True)
    assert found["frontier"][0]["moves"] == 0
    (noise,) = found["noise"]
    assert noise["activations"] == 64 * 2 / 8
    assert noise["max_over_mean"] > 1


@pytest.mark.slow
def test_prices_of_each_choice(ask: Ask) -> None:
    _, found = ask("place", *DECIDED, "--expert-load", "zipf:0.8", "--prices")
    varied = {price["varied"] for price in found["prices"]}
    assert varied == {"redundant slots", "ep", "split"}
    slots = {price["choice"]: price for price in found["prices"] if price["varied"] == "redundant slots"}
    assert slots[0]["mean"] > slots[8]["mean"]
    assert all(price["mean"] >= price["mean_bound"] for price in found["prices"])


def test_the_heat_map_shows_every_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["place", *DECIDED[:-1], "0", "--expert-load", "zipf:0.8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(" | " in line for line in lines) == LAYERS
    assert any(line.startswith("layer  before   after   bound") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--ep", "8"], "experts.load: measured loads are needed"),
        (["--expert-load", "uniform"], "search.ep: one EP degree is wanted"),
        (["--ep", "8,16", "--expert-load", "uniform"], "search.ep: one EP degree is wanted"),
        (["--ep", "8", "--expert-load", "uniform", "--redundant-slots", "0,8"], "redundant_slots: one number"),
        (
            ["--ep", "8", "--expert-load", "uniform", "--redundant-slots", "9", "--split", "free"],
            "which split needs; 8 or 16 redundant would",
        ),
        (["--ep", "32", "--expert-load", "uniform"], "16 slots cannot hold one expert on each of 32 devices"),
        (["--ep", "8", "--expert-load", "uniform", "--redundant-slots", "9", "--prices"], "need slots that divide"),
        (["--ep", "8", "--expert-load", "uniform", "--redundant-slots", "120"], "only 16 experts"),
        (["--ep", "8", "--expert-load", "uniform", "--hierarchy", "node"], "needs --hardware"),
        (["--ep", "8", "--expert-load", "uniform", "--hold-out", "nope.json"], "no such file"),
        (
            ["--ep", "8", "--expert-load", "uniform", "--redundant-slots", "9", "--engine", "vllm"],
            "Got 25 experts (16 + 9) and 8 EP ranks. Nearest that pass: ep=5, ep=25, redundant=8, redundant=16.",
        ),
        (
            ["--ep", "8", "--expert-load", "uniform", "--redundant-slots", "8", "--engine", "megatron"],
            "8 redundant experts: the engine holds every expert of a layer once.",
        ),
    ],
)
def test_what_cannot_be_placed_is_said(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["place", "--model", "seed-b-16l-16e", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_slots_that_do_not_divide_are_spread(tmp_path: Path, ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    mesh = ["--model", "seed-b-16l-16e", "--ep", "8", "--redundant-slots", "5", "--expert-load", "zipf:0.8"]
    status, found = ask("place", *mesh, "--out", tmp_path / "placed.json")
    assert status == 0
    counts = [len(held) for held in found["placement"]["layers"][3]["devices"]]
    assert counts == [3] * 5 + [2] * 3
    assert (found["redundant"], found["slots_per_device"]) == (5, 3)
    assert certify(copy.deepcopy(found)).accepted
    claimed = copy.deepcopy(found)
    claimed["certificate"]["empty_slots"] = 2
    assert not certify(claimed).accepted
    assert ask("export", tmp_path / "placed.json", "--engine", "vllm-ascend", "--out", tmp_path)[0] == 0
    assert run(["export", str(tmp_path / "placed.json"), "--engine", "sglang", "--out", str(tmp_path)]) == 2
    assert "equally many slots on every device" in capsys.readouterr().err


def test_a_model_without_experts_is_not_placed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["place", "--model", "llama-3.1-8b", "--ep", "8"]) == 2
    assert "has no experts" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["zero", "hot"])
def test_degenerate_loads_are_placed(name: str, ask: Ask, tmp_path: Path) -> None:
    rows = [[0] * EXPERTS if name == "zero" else [0] * 3 + [900] + [0] * 12] * LAYERS
    (tmp_path / "load.json").write_text(json.dumps(rows))
    status, found = ask("place", *DECIDED, "--expert-load", tmp_path / "load.json")
    assert (status, found["status"]) == (0, "optimal")
    # 9 spare copies cannot be used: 8 devices hold one copy each of the hot expert.
    assert found["max_over_mean"] == 1.0
    assert certify(found).accepted


def test_robust_objectives_differ_and_are_certified(ask: Ask) -> None:
    found = {}
    for robust in ("worst", "mean", "cvar"):
        # Two slots a device are enough to tell the objectives apart.
        loads = ["--expert-load", "zipf:0.8,lognormal:0.6,group", "--load-weights", "2,1,1", "--robust", robust]
        _, found[robust] = ask("place", *DECIDED[:-1], 0, *loads)
        assert certify(found[robust]).accepted
        assert len(found[robust]["placement"]["workloads"]) == 3
    worst = [max(load["max_over_mean"][0] for load in found[robust]["placement"]["workloads"]) for robust in found]
    assert worst[0] <= worst[1] + 1e-9
    stated = Fraction(found["mean"]["certificate"]["layers"][0]["max_over_mean"])
    values = [load["max_over_mean"][0] for load in found["mean"]["placement"]["workloads"]]
    assert float(stated) == pytest.approx(values[0] / 2 + values[1] / 4 + values[2] / 4)


def test_a_solve_places_and_its_certificate_holds(solved: Path, ask: Ask) -> None:
    result = document(solved / "result.json")
    assert certify(result).accepted
    placement = result["layout"]["placement"]
    assert len(placement["layers"]) == LAYERS
    status, verdict = ask("verify", solved / "result.json")
    assert (status, verdict["feasible"]) == (0, True)
    same = verdict["figures"]["throughput_per_device_tokens_per_s"]
    assert same == result["figures"]["throughput_per_device_tokens_per_s"]


def test_a_solve_prints_its_placement_and_the_price_of_slots(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["solve", "experts-16-on-8-ranks", "--redundant-slots", "0", "--slot-prices"]) == 0
    text = capsys.readouterr().out
    assert "Expert placement" in text
    assert "The optimum for each number of redundant expert slots" in text


@pytest.mark.slow
def test_slot_prices_are_the_optima_of_each_choice(solved: Path, ask: Ask) -> None:
    _, found = ask("solve", solved / "problem.yaml", "--slot-prices")
    assert [price["redundant_slots"] for price in found["slot_prices"]] == [0, 8]
    values = [price["objective"]["value"] for price in found["slot_prices"]]
    assert max(values) == found["objective"]["value"]
    _, alone = ask("solve", solved / "problem.yaml", "--redundant-slots", 0)
    assert values[0] == alone["objective"]["value"]


def test_rebalancing_keeps_its_budget_and_a_changed_count_is_rejected(solved: Path, ask: Ask) -> None:
    before = document(solved / "result.json")["layout"]["placement"]
    budget = ["--current", solved / "result.json", "--max-moves", 2]
    status, found = ask("solve", solved / "problem.yaml", "--seed", 5, *budget)
    assert status == 0
    after = found["layout"]["placement"]
    counted = [
        moves(old["devices"], new["devices"]) for old, new in zip(before["layers"], after["layers"], strict=True)
    ]
    assert max(counted) <= 2
    assert after["moves"] == sum(counted) > 0
    assert certify(copy.deepcopy(found)).accepted
    claimed = copy.deepcopy(found)
    for entry in (claimed["layout"]["placement"], claimed["certificate"]["placements"][0]["placement"]):
        entry["moves"] -= 1
    check = certify(claimed)
    assert (check.accepted, check.item) == (False, "certificate.placements[0].placement.moves")


@pytest.mark.parametrize("engine", ["sglang", "trtllm", "vllm-ascend"])
def test_exported_files_are_read_back(engine: str, solved: Path, ask: Ask, tmp_path: Path) -> None:
    status, told = ask("export", solved / "result.json", "--engine", engine, "--out", tmp_path)
    assert status == 0
    (name,) = (file for file in told["files"] if file in told["use"])
    mesh = ["--model", "seed-b-16l-16e", "--ep", 8, "--expert-load", "zipf:0.8", "--current", tmp_path / name]
    _, found = ask("place", *mesh, "--max-moves", 0)
    placed = document(solved / "result.json")["layout"]["placement"]["layers"]
    assert [layer["devices"] for layer in found["before"]["layers"]] == [layer["devices"] for layer in placed]
    assert found["placement"]["moves"] == 0


def test_engines_without_a_static_placement_say_so(
    solved: Path, ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = ask("export", solved / "result.json", "--engine", "vllm", "--out", tmp_path)
    assert status == 0
    assert any("expert placement: vllm takes no static one" in line for line in told["differences"])
    capsys.readouterr()
    assert run(["export", str(solved / "result.json"), "--engine", "sglnag"]) == 2
    assert "did you mean 'sglang'?" in capsys.readouterr().err


def test_a_result_without_a_layout_has_nothing_to_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "result.json").write_text('{"schema": "shardproof/result/1", "status": "infeasible", "layout": null}')
    assert run(["export", str(tmp_path / "result.json"), "--engine", "sglang"]) == 2
    assert "has no layout: its status is infeasible" in capsys.readouterr().err
    (tmp_path / "result.json").write_text('{"schema": "shardproof/result/1", "status": "optimal", "layout": {}}')
    assert run(["export", str(tmp_path / "result.json"), "--engine", "sglang"]) == 2
    assert "problem: is required but missing" in capsys.readouterr().err


LAYOUT = """\
problem: problem.yaml
layout: {tp: 1, dp: 32, ep: 8, etp: 1, edp: 4, batch: 4, prefill_chunk: 1024}
placement: PLACEMENT
claims: {balance: {value: VALUE, tolerance: 1e-9}}
"""


def judged(solved: Path, ask: Ask, placement: object, value: float) -> tuple[int, Any]:
    text = LAYOUT.replace("PLACEMENT", json.dumps(placement)).replace("VALUE", repr(value))
    (solved / "layout.yaml").write_text(text)
    return ask("verify", solved / "layout.yaml")


def test_a_proposed_placement_is_judged_inline_and_from_a_file(solved: Path, ask: Ask) -> None:
    placed = document(solved / "result.json")["layout"]["placement"]
    worst = max(layer["max_over_mean"] for layer in placed["layers"])
    (solved / "proposed.json").write_text(json.dumps({"layers": placed["layers"]}))
    for proposal in ("proposed.json", {"layers": placed["layers"]}, [la["devices"] for la in placed["layers"]]):
        status, verdict = judged(solved, ask, proposal, worst)
        assert (status, verdict["feasible"], verdict["claims"][0]["verdict"]) == (0, True, "holds")
    status, verdict = judged(solved, ask, "proposed.json", 1.0)
    assert (status, verdict["claims"][0]["verdict"]) == (1, "fails")


def test_the_layout_is_priced_with_the_placement(solved: Path, ask: Ask) -> None:
    def tokens(devices: list[list[int]]) -> float:
        status, verdict = judged(solved, ask, [devices] * LAYERS, 1.0)
        assert verdict["feasible"], status
        return float(verdict["figures"]["throughput_per_device_tokens_per_s"])

    rows = profile_rows("zipf:0.8", LAYERS, EXPERTS, 0)
    heavy = sorted(range(EXPERTS), key=lambda expert: sum(row[expert] for row in rows))
    mixed = [[heavy[n], heavy[-1 - n]] for n in range(8)]
    sorted_pairs = [[heavy[2 * n], heavy[2 * n + 1]] for n in range(8)]
    assert tokens(mixed) > tokens(sorted_pairs)
    (solved / "layout.yaml").write_text(LAYOUT.replace("placement: PLACEMENT\n", "").replace("VALUE", "1.0"))
    _, unplaced = ask("verify", solved / "layout.yaml")
    linear = float(unplaced["figures"]["throughput_per_device_tokens_per_s"])
    assert linear == tokens(linear_placement(EXPERTS, EP, 2))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda held: held[0].__setitem__(0, held[0][1]), "device 0 holds expert 1 2 times"),
        (lambda held: held[0].__setitem__(0, 16), "device 0 holds expert 16"),
        (lambda held: held[1].pop(), "device 1 fills 1 of 2 slots"),
        (lambda held: held.pop(), "7 devices listed, 8 expected"),
    ],
)
def test_what_is_wrong_with_a_proposed_placement_is_named(
    change: Callable[[list[list[int]]], Any], says: str, solved: Path, ask: Ask
) -> None:
    layers = [linear_placement(EXPERTS, EP, 2) for _ in range(LAYERS)]
    change(layers[4])
    status, verdict = judged(solved, ask, layers, 1.0)
    messages = [v["message"] for v in verdict["violations"] if v["family"] == "placement"]
    assert status == 1
    assert f"layer 4: {says}" in " ".join(messages)
