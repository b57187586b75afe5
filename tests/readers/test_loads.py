import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer.errors import SpecError
from optimizer.readers.loads import read_load

ROOT = Path(__file__).parents[2]
ROWS = [[5, 6, 7], [8, 9, 10]]
Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to(name: str, text: str) -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return to


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        {"load": ROWS},
        {"logical_count": ROWS, "rank": 0},
        {"logical_count": [[[5, 6, 0], [8, 9, 10]], [[0, 0, 7], [0, 0, 0]]]},
        {"expert_load": ROWS},
        {"global_expert_load_window": [ROWS, [[0, 0, 0], [0, 0, 0]]]},
        {"load_history": [{"logical_expert_load": ROWS}]},
        [[5.0, 6, 7], [8, 9, 1e1]],
    ],
)
def test_json_forms_read_the_same(write: Write, data: object) -> None:
    load = read_load(write("load.json", json.dumps(data)), layers=2, experts=3)
    assert [list(row) for row in load.rows] == ROWS


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("5,6,7\n8,9,10\n", None),
        ("layer,0,1,2\n3,5,6,7\n4,8,9,10\n", (3, 4)),
        ("layer,expert,tokens\n3,0,5\n3,1,6\n3,2,7\n4,0,8\n4,1,9\n4,2,10\n", (3, 4)),
        ("expert,layer,count\n2,3,7\n1,3,6\n0,3,5\n0,4,8\n1,4,9\n2,4,10\n", (3, 4)),
    ],
)
def test_csv_forms_read_the_same(write: Write, text: str, ids: tuple[int, ...] | None) -> None:
    load = read_load(write("load.csv", text), layers=2, experts=3)
    assert [list(row) for row in load.rows] == ROWS
    assert load.layer_ids == ids


def test_recorder_rows_of_dense_layers_are_left_out(write: Write) -> None:
    load = read_load(write("load.json", json.dumps({"logical_count": [[0, 0, 0], *ROWS]})), layers=2, experts=3)
    assert [list(row) for row in load.rows] == ROWS
    assert load.layer_ids == (1, 2)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("load.json", "[[5, 6],\n [7]]", r"load.json:2:2: \[1\]: 1 experts, but the first layer has 2"),
        ("load.json", "[[5, 6],\n [7, -1]]", r"load.json:2:6: \[1\]\[1\]: -1 tokens are outside"),
        ("load.json", "[[5, 6],\n [7, 1.5]]", r"load.json:2:6: .*1.5 is not a whole number"),
        ("load.json", "[[5, 6],\n [7, true]]", "True is not a whole number"),
        ("load.json", "[[5, 6],\n 7]", r"load.json:2:2: .*not a list of tokens"),
        ("load.json", "[]", "not a list of layers"),
        ("load.json", '{"laod": 1}', "no expert load"),
        ("load.json", '{"load": 1}', "load.json:1:10: load: not a list"),
        ("load.json", "[[[5, 6]], [[5, 6], [7, 8]]]", r"\[1\]: 2 layers, but the first step has 1"),
        ("load.json", '{"load_history": [{"x": 1}]}', "a record without logical_expert_load"),
        ("load.csv", "5,6\n7\n", "load.csv:2:1: 1 experts, but the first layer has 2"),
        ("load.csv", "5,6\n7,x\n", "load.csv:2:2: 'x' is not a whole number"),
        ("load.csv", "layer,expert\n1,2\n", "load.csv:1:1: columns layer, expert and one of"),
        ("load.csv", "layer,expert,load\n1,0,5\n1,0,6\n", "load.csv:3:1: layer 1, expert 0 again"),
        ("load.csv", "layer,expert,load\n1,0\n", "load.csv:2:1: 2 cells, but the header has 3"),
        ("load.csv", "layer,expert,load\n", "experts are not numbered"),
        ("load.csv", "layer,0\n", "no rows below the header"),
        ("load.csv", "\n", "empty"),
    ],
)
def test_faults_say_where(write: Write, name: str, text: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        read_load(write(name, text))


@pytest.mark.parametrize("name", ["load.json", "load.csv"])
def test_the_model_must_match(write: Write, name: str) -> None:
    path = write(name, json.dumps(ROWS) if name.endswith("json") else "5,6,7\n8,9,10\n")
    for layers in (1, 3):
        with pytest.raises(SpecError, match=f"2 layers of load, but the model has {layers}"):
            read_load(path, layers=layers)
    with pytest.raises(SpecError, match="3 experts, but the model has 4"):
        read_load(path, experts=4)


@pytest.mark.parametrize("profile", ["uniform", "zipf", "zipf:1.2", "lognormal", "dirichlet:0.5", "group"])
def test_profiles_are_seeded(profile: str) -> None:
    load = read_load(profile, layers=3, experts=16, seed=1)
    assert (load.layers, load.experts) == (3, 16)
    assert load == read_load(profile, layers=3, experts=16, seed=1)
    assert abs(sum(load.rows[0]) - 1_600_000) <= 16
    assert profile == "uniform" or load != read_load(profile, layers=3, experts=16, seed=2)


@pytest.mark.parametrize(
    ("source", "says"),
    [("zip", "did you mean 'zipf'"), ("zipf:-1", "no number above 0"), ("zipf:x", "no number")],
)
def test_unknown_profiles_are_refused(source: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        read_load(source, layers=1, experts=2)


def test_profiles_need_the_model() -> None:
    with pytest.raises(SpecError, match="needs the model's layers and experts"):
        read_load("zipf")


HOSTILE = {
    "ids.json": '{"last_physical_to_logical_map": [[0, 1, 2, 1000000000]], '
    '"records": [{"global_physical_count": [[1, 2, 3, 4]]}]}',
    "long.csv": "layer,expert,load\n" + "".join(f"{layer},0,1\n" for layer in range(5000)) + "0,4999,1\n",
    "digits.csv": "layer,expert,load\n0,\u00b2,1\n",
    "huge.csv": f"layer,expert,load\n0,0,{'9' * 5000}\n",
    "wide.csv": f"{'9' * 5000},1\n1,2\n",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("experts", [None, 4])
def test_sizes_are_checked_before_anything_is_allocated(tmp_path: Path, name: str, experts: int | None) -> None:
    """In a process that may take 1 GiB: a few bytes must not become gigabytes."""
    file = tmp_path / name
    file.write_text(HOSTILE[name], encoding="utf-8")
    script = f"""
import resource
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
from optimizer.errors import SpecError
from optimizer.readers.loads import read_load
try:
    read_load({str(file)!r}, experts={experts})
except SpecError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) < 300
    assert f"{name}:" in done.stdout
