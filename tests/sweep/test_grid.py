from pathlib import Path

import pytest

from optimizer.errors import SpecError
from optimizer.readers import catalog
from optimizer.readers.read import Override, read_problem
from optimizer.sweep.answer import read_question
from optimizer.sweep.grid import Grid, read_grid
from optimizer.sweep.run import key_of


def read(folder: Path, text: str) -> Grid:
    file = folder / "grid.yaml"
    file.write_text(text)
    return read_grid(file)


HEAD = "problem: {hardware: h100-sxm-8, workload: {input_tokens: 100, output_tokens: 10}}\n"


def test_every_combination_last_axis_fastest(tmp_path: Path) -> None:
    found = read(tmp_path, HEAD + "grid: {model: [qwen3-8b, qwen3-32b], devices: [1, 2, 4]}")
    assert found.axes == ("model", "devices")
    assert [cell.labels for cell in found.cells] == [
        (model, devices) for model in ("qwen3-8b", "qwen3-32b") for devices in ("1", "2", "4")
    ]
    assert [cell.index for cell in found.cells] == list(range(6))


def test_dotted_axis_reaches_inside_and_leaves_the_rest(tmp_path: Path) -> None:
    text = HEAD + "grid: {model: qwen3-8b, devices: 1, workload.output_tokens: [10, 20], limits.tpot: [20 ms]}"
    found = read(tmp_path, text)
    assert [cell.question["workload"] for cell in found.cells] == [
        {"input_tokens": 100, "output_tokens": 10},
        {"input_tokens": 100, "output_tokens": 20},
    ]
    assert found.cells[0].question["limits"] == {"tpot": "20 ms"}


def test_devices_take_the_place_of_nodes(tmp_path: Path) -> None:
    text = "problem: {model: qwen3-8b, hardware: h100-sxm-8, nodes: 2, workload: {input_tokens: 9, output_tokens: 9}}\n"
    found = read(tmp_path, text + "grid: {devices: [4]}")
    assert read_question(found.cells[0].question).devices == 4


def test_exclusions_leave_out(tmp_path: Path) -> None:
    text = HEAD + "grid: {model: [qwen3-8b, qwen3-32b], devices: [1, 2]}\nexclude: [{model: qwen3-32b, devices: 1}]"
    found = read(tmp_path, text)
    assert ("qwen3-32b", "1") not in [cell.labels for cell in found.cells]
    assert [cell.index for cell in found.cells] == [0, 1, 2]


def test_base_may_be_a_scenario_or_a_file(tmp_path: Path) -> None:
    base = (catalog.root() / "scenarios" / "qwen3-32b-h200-8.yaml").read_text()
    (tmp_path / "base.yaml").write_text(base)
    for name in ("qwen3-32b-h200-8", "./base.yaml"):
        found = read(tmp_path, f"problem: {name}\ngrid: {{devices: [4]}}")
        same = read_problem("qwen3-32b-h200-8", [Override("devices", ("devices",), 4)])
        assert read_question(found.cells[0].question).digest == same.digest


def test_a_path_means_what_it_holds_on_any_machine(tmp_path: Path) -> None:
    text = (catalog.root() / "models" / "qwen3-8b.yaml").read_text()
    (tmp_path / "own.yaml").write_text(text)
    found = read(tmp_path, HEAD + "grid: {model: [own.yaml, qwen3-8b], devices: [1]}")
    (tmp_path / "own.yaml").unlink()
    one, two = (read_question(cell.question) for cell in found.cells)
    assert found.cells[0].labels[0] == "own.yaml"
    assert one.model.model_copy(update={"name": ""}) == two.model.model_copy(update={"name": ""})


def test_key_is_that_of_the_resolved_question(tmp_path: Path) -> None:
    cells = read(tmp_path, HEAD + "grid: {model: qwen3-8b, devices: [1, 1, 2]}").cells
    one, two, three = (key_of(cell.question) for cell in cells)
    assert one == two != three


@pytest.mark.parametrize(
    ("text", "line", "words", "suggestion"),
    [
        ("grid: {modle: [qwen3-8b]}", 1, "'modle' is no key of a problem", "model"),
        ("problem: {pools: {}, demands: {}}\ngrid: {demands.x: [1]}", 1, "is a cluster: solve, explain", None),
        ("gird: {model: [qwen3-8b]}", 1, "unknown key", "grid"),
        ("problem: {}\ngrid: {}", 2, "", None),
        ("problem: {}\ngrid: {devices: []}", 2, "not an empty one", None),
        ("grid: {devices: [1]}\nexclude:\n  - {device: 1}", 3, "'device' is no axis", "devices"),
        ("grid: {devices: [1]}\nexclude: [{devices: 1}]", 2, "leaves out every problem", None),
        ("problem: nowhere.yaml\ngrid: {devices: [1]}", None, "nowhere.yaml", None),
        ("[1, 2]", 1, "", None),
        (f"problem: {{}}\ngrid: {{seed: {list(range(101))}, devices: {list(range(1, 10000))}}}", 2, "more than", None),
    ],
)  # fmt: skip
def test_broken_grids_are_refused_with_their_place(
    tmp_path: Path, text: str, line: int | None, words: str, suggestion: str | None
) -> None:
    with pytest.raises(SpecError) as refusal:
        read(tmp_path, text)
    fault = refusal.value.faults[0]
    assert words in str(fault)
    assert fault.line == line
    if suggestion is not None:
        assert fault.suggestion == suggestion


BASE = (
    "problem: {model: qwen3-8b, hardware: h100-sxm-8, devices: 2, workload: {input_tokens: 100, output_tokens: 10}}\n"
)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("grid:\n  limits.tpott: [20 ms]", ["3:3: grid.limits.tpott: unknown key (did you mean 'limits.tpot'?)"]),
        ("grid:\n  devices: [1, -2]", ["3:16: grid.devices[1]: must be at least 1, not -2"]),
        ("grid:\n  devices: -2", ["3:12: grid.devices: must be at least 1, not -2"]),
        ("grid:\n  model: [qwen3-8b, qwen3-33b]", ["3:21: grid.model[1]: 'qwen3-33b' is no model of the catalog"]),
        ("grid:\n  hardware: [h101]", ["3:14: grid.hardware[0]: 'h101' is no hardware of the catalog"]),
        ("grid:\n  engine: [vllm, vllm@]", ["3:18: grid.engine[1]: '' in engine 'vllm@' is no version"]),
        ("grid:\n  limits: [{tpot: 1 s}, {tpott: 1 s}]", ["3:26: grid.limits[1].tpott: unknown key"]),
        ("grid:\n  search.tp: [[1, 2], [4, 0]]", ["3:27: grid.search.tp[1][1]: must be at least 1, not 0"]),
        ("grid:\n  objective: [devices, throughput]", ["3:15: grid.objective[0]: objective 'devices' needs workload"]),
        ("grid:\n  devices: [0]\n  seed: [x]", ["3:13: grid.devices[0]: must be at least", "4:10: grid.seed[0]"]),
        ("grid: {devices: [1]}\nexclude: [{devices: 3}]", ["3:21: exclude[0].devices: '3' is no value of devices"]),
    ],
)  # fmt: skip
def test_what_no_problem_can_have_is_refused_where_it_stands(tmp_path: Path, text: str, faults: list[str]) -> None:
    with pytest.raises(SpecError) as refusal:
        read(tmp_path, BASE + text)
    found = [str(fault).partition("grid.yaml:")[2] for fault in refusal.value.faults]
    assert len(found) == len(faults)
    assert all(one.startswith(words) for one, words in zip(found, faults, strict=True)), found


def test_what_all_problems_have_is_refused_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"grid.yaml:1:92: problem.limits.tpott: unknown key \(did you mean 'tpot'"):
        read(tmp_path, HEAD.replace("}}", "}, limits: {tpott: 1 s}}") + "grid: {model: qwen3-8b, devices: 1}")
    (tmp_path / "base.yaml").write_text("model: qwen3-8b\nhardware: h100-sxm-8\ndevices: 1\nsed: 1\n")
    with pytest.raises(SpecError, match=r"base.yaml:4:1: sed: unknown key \(did you mean 'seed'"):
        read(tmp_path, "problem: ./base.yaml\ngrid: {workload: [{input_tokens: 9, output_tokens: 9}]}")


def test_what_only_some_problems_cannot_have_is_left_to_them(tmp_path: Path) -> None:
    text = "grid: {objective: [devices, throughput], workload.request_rate: [null, 1], devices: [1, 2]}"
    assert len(read(tmp_path, BASE + text).cells) == 8
