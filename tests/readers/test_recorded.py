"""Loads and choices as engines record them in binary form, and what is said of pickles."""

from __future__ import annotations

import json
import pickle
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from optimizer.errors import SpecError
from optimizer.readers.coactivation import read_coactivation
from optimizer.readers.loads import read_load


def safetensors(path: Path, tensors: dict[str, Sequence[Sequence[int]] | Sequence[int]], form: str = "I32") -> None:
    """By the published format: length of the header, the header in JSON, the numbers."""
    header, data = {}, b""
    for name, rows in tensors.items():
        nested = [list(row) for row in rows if not isinstance(row, int)]
        flat = [number for row in nested for number in row] or [row for row in rows if isinstance(row, int)]
        own = struct.pack(f"<{len(flat)}{'i' if form == 'I32' else 'f'}", *flat)
        shape = [len(rows), len(nested[0])] if nested else [len(rows)]
        header[name] = {"dtype": form, "shape": shape, "data_offsets": [len(data), len(data) + len(own)]}
        data += own
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: Path) -> Path:
    folder = tmp_path / "statistics"
    folder.mkdir()
    (folder / "meta_info.json").write_text(json.dumps({"num_experts": 4, "num_experts_per_token": 2}))
    safetensors(folder / "rank0.safetensors", {"7_3": [1, 2, 3, 4], "8_3": [1, 0, 0, 0], "7_4": [5, 5, 5, 5]})
    safetensors(folder / "rank1.safetensors", {"7_3": [10, 0, 0, 0], "7_4": [0, 0, 0, 1]})
    safetensors(folder / "rank0_raw.safetensors", {"7_3": [[0, 1], [1, 0]], "7_4": [[2, 3], [0, -1]]})
    return folder


def test_a_statistics_folder_is_added_up(folder: Path) -> None:
    found = read_load(folder, layers=2, experts=4)
    assert found.rows == ((12, 2, 3, 4), (5, 5, 5, 6))
    assert found.layer_ids == (3, 4)


def test_raw_choices_are_co_activation(folder: Path) -> None:
    found = read_coactivation(folder, (3, 4), 4, 5)
    assert found.groups(0, 4) == [(2, 0, 1)]
    assert found.groups(1, 4) == [(1, 0), (1, 2, 3)]
    with pytest.raises(SpecError, match="holds no choices of layer 2"):
        read_coactivation(folder, (2, 3), 4, 5)


@pytest.mark.parametrize(
    ("tensors", "form", "says"),
    [
        ({"7_3": [1, 2, 3]}, "I32", "layer 3: not tokens of 4 experts, but numbers of shape"),
        ({"weight": [1, 2, 3, 4]}, "I32", "'weight' is not an iteration and a layer"),
        ({"7_3": [1, 2, 3, 4]}, "F32", "F32 numbers, but counts are whole"),
    ],
)
def test_other_tensors_are_refused(folder: Path, tensors: dict[str, list[int]], form: str, says: str) -> None:
    safetensors(folder / "rank2.safetensors", dict(tensors), form)
    with pytest.raises(SpecError, match=says):
        read_load(folder)


def test_broken_folders_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="2 layers of load, but the model has 3"):
        read_load(folder, layers=3)
    (folder / "rank1.safetensors").write_bytes(b"broken")
    with pytest.raises(SpecError, match=r"rank1.safetensors: cannot be read"):
        read_load(folder)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(SpecError, match=r"pip install 'shardproof\[trtllm\]'"):
        read_load(folder)
    for file in folder.glob("rank*.safetensors"):
        file.unlink()
    with pytest.raises(SpecError, match="holds no rank"):
        read_load(folder)
    (folder / "meta_info.json").write_text("{}")
    with pytest.raises(SpecError, match="num_experts is not a number"):
        read_load(folder)


def test_records_count_slots_that_a_map_turns_into_experts(tmp_path: Path) -> None:
    records = [{"global_physical_count": [[1, 2, 3], [4, 5, 6]]}, {"global_physical_count": [[1, 0, 0], [0, 0, 1]]}]
    data = {"records": records, "last_physical_to_logical_map": [[0, 1, 0], [1, 0, 1]]}
    (tmp_path / "passes.json").write_text(json.dumps(data))
    assert read_load(tmp_path / "passes.json", layers=2, experts=2).rows == ((5, 2), (5, 11))
    records[1]["global_physical_count"][1].append(3)
    (tmp_path / "passes.json").write_text(json.dumps(data))
    with pytest.raises(SpecError, match=r"records\[1\].global_physical_count"):
        read_load(tmp_path / "passes.json")


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_without_pytorch_the_conversion_is_told(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / f"recorded{suffix}"
    path.write_bytes(b"PK\x03\x04" + bytes(40))
    for read in (lambda: read_load(path), lambda: read_coactivation(path, (0,), 4, 1)):
        with pytest.raises(SpecError, match="is a PyTorch file") as refused:
            read()
        line = str(refused.value)
        assert "weights_only=True" in line
        assert "recorded.json" in line
        compile(line[line.index("'import json") + 1 : line.rindex("'")], "line", "exec")


def test_pytorch_files_are_read_where_it_is_installed(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "recorded.pt"
    steps = torch.tensor([[[1, 2], [3, 4]], [[10, 0], [0, 10]]], dtype=torch.int32)
    torch.save({"rank": 0, "logical_count": steps}, path)
    assert read_load(path, layers=2, experts=2).rows == ((11, 2), (3, 14))
    torch.save(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), path)
    assert read_load(path, layers=2, experts=2).rows == ((1, 2), (3, 4))
    torch.save({"load": torch.tensor([[1.5, 2.0]])}, path)
    with pytest.raises(SpecError, match=r"recorded\.pt .*1\.5 is not a whole number of tokens"):
        read_load(path)
    records = [{"topk_ids_of_layer": torch.tensor([[[0, 1], [1, 2]]])}]
    torch.save({"records": records, "mode": "per_token"}, path)
    assert read_coactivation(path, (0,), 4, 1).layers


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Path("gone").unlink))
    with pytest.raises(SpecError, match="is not a PyTorch file of tensors and plain values"):
        read_load(path)
