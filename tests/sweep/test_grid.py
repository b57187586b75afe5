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
