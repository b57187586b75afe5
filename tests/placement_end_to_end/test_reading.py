"""Loads and placements as people write them, through `read_problem`; what is wrong is said with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.readers.read import Override, read_problem

LAYERS, EXPERTS = 16, 16
PROBLEM = """\
model: seed-b-16l-16e
hardware: seed-64gb
devices: 32
workload: {input_tokens: 1024, output_tokens: 128}
search: {ep: 8, pp: 1}
experts:
  EXPERTS
"""
ROWS = [[100 + (layer * 7 + expert * expert) % 90 for expert in range(EXPERTS)] for layer in range(LAYERS)]


def written(folder: Path, experts: str) -> Path:
    path = folder / "problem.yaml"
    path.write_text(PROBLEM.replace("EXPERTS", experts.replace("\n", "\n  ")))
    return path


def read(folder: Path, experts: str, *overrides: Override) -> Problem:
    return read_problem(written(folder, experts), overrides)


def says(folder: Path, experts: str, *overrides: Override) -> str:
    with pytest.raises(SpecError) as refused:
        read(folder, experts, *overrides)
    return str(refused.value).replace(str(folder) + "/", "")


@pytest.fixture(name="loads")
def loads_fixture(tmp_path: Path) -> Path:
    (tmp_path / "load.json").write_text(json.dumps(ROWS))
    lines = [f"{layer}," + ",".join(map(str, row)) for layer, row in enumerate(ROWS)]
    (tmp_path / "load.csv").write_text("layer," + ",".join(map(str, range(EXPERTS))) + "\n" + "\n".join(lines) + "\n")
    (tmp_path / "recorded.json").write_text(json.dumps({"logical_count": [ROWS], "rank": 0}))
    return tmp_path


@pytest.mark.parametrize("file", ["load.json", "load.csv", "recorded.json"])
def test_a_file_beside_the_problem(loads: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (found,) = read(loads, f"load: {file}").expert_loads
    assert [list(row) for row in found.rows] == ROWS
    assert found.name == Path(file).stem


def test_several_with_weights(loads: Path) -> None:
    problem = read(loads, "load: [load.json, 'zipf:0.8', uniform]\nweights: [2, 1, 1]\nrobust: cvar")
    assert [load.name for load in problem.expert_loads] == ["load", "zipf:0.8", "uniform"]


@pytest.mark.parametrize("profile", ["uniform", "zipf", "lognormal:0.5", "dirichlet:2", "group"])
def test_profiles_are_seeded(tmp_path: Path, profile: str) -> None:
    one, same = read(tmp_path, f"load: '{profile}'"), read(tmp_path, f"load: '{profile}'")
    other = read(tmp_path, f"load: '{profile}'", Override("--seed", ("seed",), 1))
    assert one == same
    assert one.digest == same.digest
    assert (one.expert_loads == other.expert_loads) == (profile == "uniform")


def test_options_replace_the_file(loads: Path) -> None:
    option = Override("--expert-load", ("experts", "load"), str(loads / "load.csv"))
    assert read(loads, "load: uniform", option).expert_loads[0].name == "load"


@pytest.mark.parametrize(
    ("experts", "expected"),
    [
        ("load: nope.json", "problem.yaml:7:9: experts.load: nope.json: no such file"),
        ("load: zpf", "problem.yaml:7:9: experts.load: 'zpf' is neither a file nor one of the profiles"),
        ("load: 'zipf:x'", "problem.yaml:7:9: experts.load: 'x' in 'zipf:x' is no number above 0"),
        ("load: [uniform, nope.json]", "problem.yaml:7:19: experts.load[1]: nope.json: no such file"),
        ("load: [uniform]\nweights: [1, 2]", "problem.yaml:8:12: experts.weights: 2 weights for 1 loads"),
        ("load: [uniform, zipf]\nweights: [0, 0]", "problem.yaml:8:12: experts.weights: weights must not be"),
        ("load: uniform\nrobust: wurst", "problem.yaml:8:11: experts.robust: "),
        ("load: uniform\nmax_moves: 2", "problem.yaml:8:14: experts.max_moves: a budget of moves needs"),
        ("max_moves: 2", "problem.yaml:7:14: experts.max_moves: needs measured loads"),
        ("load: uniform\ncurrent: nope.json", "problem.yaml:8:12: experts.current: nope.json: no such file"),
        ("load: uniform\nredundant_slots: []", "problem.yaml:8:20: experts.redundant_slots: "),
        ("load: uniform\nhierarchy: rck", "problem.yaml:8:14: experts.hierarchy: "),
    ],
)
def test_what_is_wrong_is_located(tmp_path: Path, experts: str, expected: str) -> None:
    assert says(tmp_path, experts).startswith(expected)


def test_mismatched_layers_and_experts_name_their_line(tmp_path: Path) -> None:
    (tmp_path / "short.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in ROWS[:-1]) + "\n]\n")
    assert says(tmp_path, "load: short.json") == (
        "short.json:16:1: [14]: 15 layers of load, but the model has 16 MoE layers"
    )
    (tmp_path / "narrow.json").write_text(json.dumps([row[:-1] for row in ROWS]))
    assert "narrow.json:1:2: [0]: 15 experts, but the model has 16 experts a layer" in says(
        tmp_path, "load: narrow.json"
    )
    (tmp_path / "ragged.csv").write_text("1,2\n3\n")
    assert says(tmp_path, "load: ragged.csv").startswith("ragged.csv:2:1: 1 experts, but the first layer has 2")


def test_a_model_without_experts_has_no_load(tmp_path: Path) -> None:
    path = written(tmp_path, "load: uniform")
    path.write_text(path.read_text().replace("seed-b-16l-16e", "llama-3.1-8b").replace("ep: 8, ", ""))
    with pytest.raises(SpecError, match="has no experts"):
        read_problem(path)


LINEAR: list[Any] = [[[2 * device, 2 * device + 1] for device in range(8)]] * LAYERS
WIDE: list[Any] = [[[*held, (2 * device + 2) % 16] for device, held in enumerate(LINEAR[0])]] * LAYERS


def flat(layers: list[Any]) -> list[list[int]]:
    return [[expert for held in devices for expert in held] for devices in layers]


FORMS: dict[str, Any] = {
    "ours.json": {"layers": [{"layer": n, "devices": devices} for n, devices in enumerate(WIDE)]},
    "result.json": {"layout": {"placement": {"layers": [{"layer": n, "devices": d} for n, d in enumerate(WIDE)]}}},
    "list.json": WIDE,
    "sglang.json": {"physical_to_logical_map": flat(WIDE)},
    "trtllm.json": {"num_slots": 24, "initial_global_assignments": {str(n): row for n, row in enumerate(flat(WIDE))}},
    "ascend.json": {
        "layer_list": [
            {"layer_id": n, "device_list": [{"device_id": g, "device_expert": held} for g, held in enumerate(devices)]}
            for n, devices in enumerate(WIDE)
        ]
    },
}


@pytest.mark.parametrize("name", list(FORMS))
def test_the_placement_in_service_in_every_form(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(json.dumps(FORMS[name]))
    problem = read(tmp_path, f"load: zipf\ncurrent: {name}")
    assert problem.current_placement == tuple(tuple(tuple(held) for held in layer) for layer in WIDE)
    assert problem.current_mesh == (8, 8)


def test_a_budget_of_moves_keeps_the_mesh_in_service(tmp_path: Path) -> None:
    (tmp_path / "ours.json").write_text(json.dumps(FORMS["ours.json"]))
    path = written(tmp_path, "load: zipf\ncurrent: ours.json\nmax_moves: 2")
    path.write_text(path.read_text().replace("ep: 8, ", ""))
    problem = read_problem(path)
    assert problem.search.ep == (8,)
    assert problem.experts is not None
    assert problem.experts.redundant_slots == (8,)
    assert "leaves out" in says(tmp_path, "load: zipf\ncurrent: ours.json\nmax_moves: 2\nredundant_slots: [16]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"layers": [{"layer": 0, "devices": [[0, 1]]}]}', "layer 1 is not placed"),
        (json.dumps(LINEAR[:-1]), "15 layers placed, but the model has 16"),
        (json.dumps([*LINEAR[:-1], LINEAR[0][:-1]]), "layer 15: 7 devices, but the first layer has 8"),
        (json.dumps([*LINEAR[:-1], [[0], *LINEAR[0][1:]]]), "layer 15: device 0 has 1 slots, others 2"),
        (json.dumps([*LINEAR[:-1], [[0, 16], *LINEAR[0][1:]]]), "layer 15: device 0 holds expert 16 of 16"),
        (json.dumps([layer[:4] for layer in LINEAR]), "8 slots, but the model has 16 experts a layer"),
        ("[[[0, x]]]", "cur.json:1:"),
        ("{}", "no expert placement: none of layers"),
        ('{"physical_to_logical_map": [[0, 1, 2]]}', "3 slots do not divide over 8 devices"),
    ],
)
def test_a_broken_placement_in_service_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "cur.json").write_text(text)
    message = says(tmp_path, "load: zipf\ncurrent: cur.json")
    assert expected in message
    assert message.startswith("cur.json:")


def test_slots_without_devices_need_a_pinned_degree(tmp_path: Path) -> None:
    (tmp_path / "sglang.json").write_text(json.dumps(FORMS["sglang.json"]))
    option = Override("--ep", ("search", "ep"), [8, 16])
    assert "pin search.ep" in says(tmp_path, "load: zipf\ncurrent: sglang.json", option)


def test_racks_are_the_tier_above_the_node(tmp_path: Path) -> None:
    text = PROBLEM.replace("seed-b-16l-16e", "deepseek-v3").replace("ep: 8, ", "").replace("devices: 32", "devices: 64")
    path = tmp_path / "problem.yaml"
    path.write_text(text.replace("EXPERTS", "load: uniform\n  hierarchy: rack").replace("seed-64gb", "h800-sxm-8"))
    with pytest.raises(
        SpecError, match=r"problem\.yaml:7:3: experts: experts\.hierarchy: .* no link tier above its nodes"
    ):
        read_problem(path)
    path.write_text(path.read_text().replace("h800-sxm-8", "h100-sxm-8-oversubscribed-4"))
    problem = read_problem(path)
    assert problem.hardware.devices_per_rack == problem.group_domain(64) == 32
    assert problem.group_domain(16) == 16
    assert problem.search.ep is not None
    assert {8, 32, 64} <= set(problem.search.ep)
    assert 48 not in problem.search.ep


def test_groups_on_nodes_restrict_the_degrees(tmp_path: Path) -> None:
    text = PROBLEM.replace("seed-b-16l-16e", "deepseek-v3").replace("seed-64gb", "h800-sxm-8").replace("ep: 8, ", "")
    path = tmp_path / "problem.yaml"
    path.write_text(text.replace("EXPERTS", "load: uniform\n  hierarchy: node").replace("devices: 32", "devices: 48"))
    kept = read_problem(path).search.ep
    assert kept is not None
    assert {1, 8, 16, 32} <= set(kept)
    assert not {24, 40, 48} & set(kept)
