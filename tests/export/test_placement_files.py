import json

import pytest

from optimizer.errors import SpecError
from optimizer.export.placement import (
    placement_of,
    sglang_text,
    trtllm_text,
    vllm_ascend_text,
)
from optimizer.readers.document import load_text
from optimizer.readers.load_profiles import profile_rows
from optimizer.readers.placement_file import sglang_placement, trtllm_placement, vllm_ascend_placement
from tests.placement.enumeration import placed

RESULT = placed(profile_rows("zipf", 2, 8, 0), 4, 3, layer_ids=[1, 2]).to_json()
PLACED = placement_of(RESULT)


def test_sglang_reads_back() -> None:
    text = sglang_text(PLACED, 3)
    assert set(json.loads(text)) == {"physical_to_logical_map"}
    assert [len(row) for row in json.loads(text)["physical_to_logical_map"]] == [12, 12, 12]
    assert sglang_placement(load_text(text, "map.json"), 4, [1, 2]) == PLACED


def test_trtllm_reads_back() -> None:
    document = load_text(trtllm_text(PLACED), "balancer.yaml")
    assert document.data["num_slots"] == 12
    assert document.data["layer_updates_per_iter"] == 0
    assert trtllm_placement(document, 4) == PLACED


def test_vllm_ascend_reads_back() -> None:
    text = vllm_ascend_text(PLACED)
    assert json.loads(text)["layer_list"][0]["device_count"] == 4
    assert vllm_ascend_placement(load_text(text, "map.json"), [1, 2]) == PLACED


def test_broken_files_are_refused() -> None:
    with pytest.raises(SpecError, match="12 slots do not divide over 5 devices"):
        sglang_placement(load_text(sglang_text(PLACED, 3), "map.json"), 5, [1, 2])
    with pytest.raises(SpecError, match="layer 9 is to be placed"):
        sglang_placement(load_text(sglang_text(PLACED, 3), "map.json"), 4, [9])
    with pytest.raises(SpecError, match="no physical_to_logical_map"):
        sglang_placement(load_text("{}", "map.json"), 4, [1])
    with pytest.raises(SpecError, match="not a list of expert ids"):
        trtllm_placement(load_text("initial_global_assignments: {1: [a]}", "b.yaml"), 1)
    with pytest.raises(SpecError, match="no initial_global_assignments"):
        trtllm_placement(load_text("num_slots: 3", "b.yaml"), 1)
    with pytest.raises(SpecError, match="2 layers in layer_list, but the model has 1"):
        vllm_ascend_placement(load_text(vllm_ascend_text(PLACED), "map.json"), [1])
