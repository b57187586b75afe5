"""Slots and placement of a launch, from wherever they stand: TensorRT-LLM's balancer, SGLang's expert locations."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import indent

import pytest

from optimizer.errors import SpecError
from optimizer.readers.launch.problem import Posed, pose
from optimizer.readers.launch.read import read_launch
from optimizer.readers.read import Override
from optimizer.verify.launch import judge_launch

MIXTRAL, LAYERS = "mistralai/Mixtral-8x7B-Instruct-v0.1", 32
ARGUMENTS = "tensor_parallel_size: 4\nmoe_expert_parallel_size: 4\nenable_attention_dp: true\n"


def _arguments(balancer: object) -> str:
    return f"{ARGUMENTS}moe_config: {{load_balancer: {json.dumps(balancer)}}}\n"


def _posed(text: str, folder: Path | None = None) -> Posed:
    launch = read_launch(text, "it", folder=folder)
    assert not launch.ignored
    return pose(launch, [Override("--hardware", ("hardware",), "h100-sxm-8")])


def _served(arguments: str, folder: Path, model: str = MIXTRAL) -> Posed:
    (folder / "args.yaml").write_text(arguments)
    return _posed(f"trtllm-serve {model} --extra_llm_api_options args.yaml", folder)


def _rows(row: list[int], **other: list[int]) -> dict[str, object]:
    rows = {str(layer): row for layer in range(LAYERS)} | {name.removeprefix("at"): row for name, row in other.items()}
    return {"num_slots": 12, "initial_global_assignments": rows}


ORDER = [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3]


def test_slots_beyond_one_each_are_redundant_wherever_they_are_told(tmp_path: Path) -> None:
    told = json.dumps({"num_slots": 12})
    (tmp_path / "balancer.yaml").write_text("num_slots: 12\nlayer_updates_per_iter: 2\n")
    heredoc = f"cat > args.yaml <<EOF\n{_arguments('b.yaml')}EOF\ncat > b.yaml <<EOF\n{told}\nEOF\n"
    serve = f"trtllm-serve {MIXTRAL} --config"
    config = indent(f"args.yaml: |\n{indent(_arguments('/in/b.yaml'), '  ')}b.yaml: '{told}'\n", "  ")
    container = f"spec: {{containers: [{{name: a, args: [trtllm-serve, {MIXTRAL}, --config, /in/args.yaml]}}]}}\n"
    manifest = f"kind: Pod\n{container}---\nkind: ConfigMap\ndata:\n{config}"
    for posed in (
        _served(_arguments({"num_slots": 12}), tmp_path),
        _served(_arguments("balancer.yaml"), tmp_path),
        _posed(f"{heredoc}{serve} args.yaml"),
        _posed(manifest),
        _posed(f"{serve} kept.yaml", _kept(tmp_path)),
    ):
        assert posed.launch.operating.redundant_slots == 4
        assert posed.placement is None


def _kept(folder: Path) -> Path:
    (folder / "kept.yaml").write_text(_arguments(str(folder / "balancer.yaml")))
    return folder


@pytest.mark.parametrize(
    ("balancer", "says"),
    [
        ("nowhere.yaml", "reads 'nowhere.yaml', which is neither written in this text nor found beside it"),
        ({"layer_updates_per_iter": 1}, "num_slots: is required: a whole number of expert slots"),
        ({"num_slots": "12"}, "num_slots: is required"),
        ({"num_slots": 4}, "4 slots do not hold the 8 experts of mixtral-8x7b"),
        (_rows(ORDER[:8]), "assigns 8 slots of layer 0, where there are 12"),
        (_rows(ORDER, at31=ORDER[:4]), "assigns 4 slots of layer 31"),
        ({"num_slots": 12, "initial_global_assignments": {"0": ORDER}}, "layer_idx 1 not found in"),
    ],
)
def test_what_it_refuses_to_load_is_refused(balancer: object, says: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as raised:
        _served(_arguments(balancer), tmp_path)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("balancer", "says"),
    [
        ({"num_slots": 13}, "`num_slots` (13) must be divisible by `ep_size` (4)."),
        (_rows(ORDER, at5=[0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4]), "layer 5"),
        (_rows(ORDER), ""),
        # drafts of the model itself may have a layer of their own
        (_rows(ORDER, at32=ORDER), ""),
        ({"num_slots": 8}, ""),
    ],
)
def test_slots_and_placement_are_judged(balancer: object, says: str, tmp_path: Path) -> None:
    verdict = judge_launch(_served(_arguments(balancer), tmp_path)).verdict
    assert [says in violation.message for violation in verdict.violations] == [True] * bool(says)
    if not says:
        slots = balancer["num_slots"] if isinstance(balancer, dict) else 0
        assert verdict.figures["experts_resident_per_layer"].value == slots // 4


def test_a_placement_is_balanced_by_the_loads_that_were_measured(tmp_path: Path) -> None:
    def hottest(row: list[int]) -> float:
        (tmp_path / "args.yaml").write_text(_arguments(_rows(row)))
        launch = read_launch(f"trtllm-serve {MIXTRAL} --config args.yaml", "it", folder=tmp_path)
        loads = Override("--expert-load", ("experts",), {"load": "zipf:0.8"})
        verdict = judge_launch(pose(launch, [Override("--hardware", ("hardware",), "h100-sxm-8"), loads])).verdict
        assert isinstance(verdict.imbalance, tuple)
        return float(max(verdict.imbalance))

    assert hottest([0, 7, 1, 0, 6, 2, 1, 5, 3, 2, 4, 3]) < hottest(ORDER)


def test_a_model_without_experts_has_no_slots(tmp_path: Path) -> None:
    posed = _served(_arguments({"num_slots": 12}).replace("enable_attention_dp: true\n", ""), tmp_path, "Qwen/Qwen3-8B")
    assert posed.launch.operating.redundant_slots == 0


SGLANG = f"python -m sglang.launch_server --model-path {MIXTRAL} --tp 4 --ep 4 --ep-num-redundant-experts 4"


def test_expert_locations_of_sglang_are_read_where_they_are_at_hand(tmp_path: Path) -> None:
    located = json.dumps({"physical_to_logical_map": [ORDER] * LAYERS})
    (tmp_path / "located.json").write_text(located)
    for told in ("located.json", f"'{located}'"):
        posed = _posed(f"{SGLANG} --init-expert-location {told}", tmp_path)
        assert posed.placement is not None
        assert posed.placement["layers"][-1] == {"layer": 31, "devices": [ORDER[at : at + 3] for at in (0, 3, 6, 9)]}
        assert posed.launch.operating.redundant_slots == 4
    for told, said in (("elsewhere.pt", 1), ("trivial", 0), ("'{\"logical_count\": [[1]]}'", 0)):
        posed = _posed(f"{SGLANG} --init-expert-location {told}", tmp_path)
        assert posed.placement is None
        assert sum("elsewhere.pt is not at hand" in note for note in posed.assumed) == said
        assert posed.launch.operating.redundant_slots == 4


@pytest.mark.parametrize(
    ("rows", "says"),
    [([ORDER[:8]] * LAYERS, "assigns 8 slots of layer 0, where there are 12"), ([ORDER] * 5, "5 layers, but layer 5")],
)
def test_expert_locations_that_are_not_of_the_model_are_refused(
    rows: list[list[int]], says: str, tmp_path: Path
) -> None:
    (tmp_path / "located.json").write_text(json.dumps({"physical_to_logical_map": rows}))
    with pytest.raises(SpecError) as raised:
        _posed(f"{SGLANG} --init-expert-location located.json", tmp_path)
    assert says in str(raised.value)


def test_what_is_wrong_in_a_config_map_has_its_line() -> None:
    container = f"spec: {{containers: [{{name: a, args: [trtllm-serve, {MIXTRAL}, --config, /in/args.yaml]}}]}}\n"
    arguments = indent(_arguments("b.yaml"), "    ")
    files = f"  args.yaml: |\n{arguments}  b.yaml: |\n    num_slots: 4\n"
    text = f"kind: Pod\n{container}---\nkind: ConfigMap\ndata:\n{files}"
    with pytest.raises(SpecError) as raised:
        _posed(text)
    line = raised.value.faults[0].line
    assert line is not None
    assert text.split("\n")[line - 1].strip() == "num_slots: 4"
