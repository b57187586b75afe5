from __future__ import annotations

import json
from pathlib import Path

import pytest

from optimizer.errors import SpecError
from optimizer.readers.coactivation import read_coactivation

MOE = (1, 2)


def written(folder: Path, data: object) -> Path:
    path = folder / "together.json"
    path.write_text(json.dumps(data))
    return path


def test_tokens_are_counted_by_what_they_chose(tmp_path: Path) -> None:
    path = written(tmp_path, {"topk_ids": [[[0, 1], [1, 0], [2, -1]], [[2, 3], [0, 3], [0, 3]]]})
    found = read_coactivation(path, MOE, 4, 3)
    assert (found.name, found.measure) == ("together", "tokens")
    assert found.groups(0, 4) == [(2, 0, 1), (1, 2)]
    assert found.groups(1, 4) == [(2, 0, 3), (1, 2, 3)]


def test_records_of_a_recorder_list_all_layers(tmp_path: Path) -> None:
    records = [{"topk_ids_of_layer": [[[-1, -1]], [[0, 1]], [[2, 3]]]}, {"topk_ids_of_layer": [[], [[0, 1]], [[1, 2]]]}]
    found = read_coactivation(written(tmp_path, {"records": records}), MOE, 4, 3)
    assert found.groups(0, 4) == [(2, 0, 1)]
    assert found.groups(1, 4) == [(1, 1, 2), (1, 2, 3)]


@pytest.mark.parametrize("half", ["both", "upper", "lower"])
def test_pairs_are_read_from_either_half(tmp_path: Path, half: str) -> None:
    rows = [[9, 2, 0], [2, 9, 5], [0, 5, 9]]
    for one in range(3):
        for two in range(3):
            if (half == "upper" and one > two) or (half == "lower" and one < two):
                rows[one][two] = 0
    found = read_coactivation(written(tmp_path, {"coactivation": [rows, rows]}), MOE, 3, 3)
    assert found.measure == "pairs"
    assert found.groups(1, 3) == [(2, 0, 1), (5, 1, 2)]


def test_uniform_is_asked_for_by_name() -> None:
    found = read_coactivation("uniform", MOE, 3, 3)
    assert found.groups(0, 3) == [(1, 0, 1), (1, 0, 2), (1, 1, 2)]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([1], "an object with topk_ids, records or coactivation is wanted"),
        ({"load": []}, "none of the keys topk_ids, records, coactivation"),
        ({"topk_ids": [[[0, 1]]]}, "together.json:1:14: topk_ids: 1 layers, but the model has 2 MoE layers of 3"),
        ({"topk_ids": [[[0, 4]], []]}, "topk_ids[0][0]: not a list of experts 0..3"),
        ({"topk_ids": [[[1, 1]], []]}, "topk_ids[0][0]: an expert is chosen twice"),
        ({"topk_ids": [[[-1]], []]}, "no token chose an expert"),
        ({"coactivation": [[[0]], [[0]]]}, "coactivation[0]: 1 rows, but the model has 4 experts"),
        ({"coactivation": [[[0] * 4, [0] * 4, [1, 0, 0, 0], [0] * 4]] * 2}, None),
        ({"coactivation": [[[0, 2, 0, 0], [1, 0, 0, 0], [0] * 4, [0] * 4]] * 2}, "experts 0 and 1 are counted 2 and 1"),
        ({"coactivation": [[[0, -2, 0, 0]] * 4] * 2}, "coactivation[0][0][1]: -2 is not a count"),
    ],
)
def test_what_is_wrong_is_located(tmp_path: Path, data: object, says: str | None) -> None:
    path = written(tmp_path, data)
    if says is None:
        assert read_coactivation(path, MOE, 4, 3).groups(0, 4) == [(1, 0, 2)]
        return
    with pytest.raises(SpecError) as refused:
        read_coactivation(path, MOE, 4, 3)
    assert says in str(refused.value)
