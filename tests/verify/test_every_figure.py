"""Whatever number stands in a result can be claimed, and the claim holds: a figure added without a claim fails here."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from optimizer.cli.main import run
from optimizer.readers.document import load_text
from optimizer.readers.read import layout_in
from optimizer.verify import judge
from optimizer.verify.claim_table import dimensions

Path_ = tuple[str | int, ...]

NOT_CLAIMED: Final = {
    ("objective", "bound"): "what a search proved of all layouts, not a figure of one: certify judges it",
    ("objective", "gap"): "the same",
    ("accuracy",): "how far measured runs of the kind were from their figures: certify looks it up again",
    ("ties",): "other layouts, priced: certify prices them again",
    ("search",): "how the search went: certify counts the candidates again",
    ("layout", "placement", "tolerance"): "a term of the search, not a figure",
    ("layout", "placement", "layers", "*", "layer"): "names a layer",
    ("layout", "placement", "layers", "*", "devices"): "names experts: the placement that the figures are of",
    ("layout", "placement", "layers", "*", "shares"): "the same",
    ("layout", "placement", "layers", "*", "bound"): "what a search proved of all placements: certify judges it",
    ("layout", "placement", "layers", "*", "gap"): "the same",
    ("layout", "placement", "layers", "*", "nodes_visited", "bound"): "the same",
}
"""The numbers of a result that are no figure of the layout, each with the reason."""
ECHOED: Final = {"problem", "certificate", "conflict"}
"""Parts of a result that repeat the question or prove the answer."""

PLACED: Final = """
model:
  name: four-layers
  hidden_size: 512
  vocab_size: 32000
  blocks:
    dense: {attention: {kind: gqa, heads: 16, kv_heads: 16, head_dim: 32}, ffn: {kind: dense, intermediate: 2048}}
    moe: {attention: {kind: gqa, heads: 16, kv_heads: 16, head_dim: 32},
          ffn: {kind: moe, experts: 16, top_k: 2, intermediate: 1024}}
  layers: [{pattern: [dense], count: 1}, {pattern: [moe], count: 3}]
hardware: seed-64gb
devices: 16
workload: {phase: decode, input_tokens: 4096, output_tokens: 512}
precision: {weights: bf16, kv_cache: bf16}
search: {tp: [1], pp: [1], ep: [16], batch: [64]}
experts: {load: lognormal:0.3, current: current.json, coactivation: tokens.json, balance_allowance: 30%}
"""
SOLVED: Final = {
    "dense": "--model llama-3.1-8b --hardware h100-sxm-8 --devices 4 --isl 2000 --osl 200",
    "experts": "--model mixtral-8x7b --hardware h200-sxm-8 --devices 8 --isl 2000 --osl 200 --ttft 2s --tpot 50ms",
    "latent attention, three stages, two nodes": "--model deepseek-v3 --hardware h800-sxm-8 --devices 32 --isl 4096 "
    "--osl 1024 --ttft 5s --tpot 100ms",
    "prefill": "--model llama-3.1-8b --hardware h100-sxm-8 --devices 4 --isl 2000 --osl 200 --phase prefill",
    "a price": "llama-3.1-70b-h200-cost",
    "headroom": "llama-3.1-70b-h100-8-headroom",
    "measured loads": "qwen3-235b-a22b-placement-h200-16",
    "a placement in service and experts chosen together": "placed.yaml",
}


@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("solved")
    draw = random.Random(7)  # noqa: S311 - tokens, not secrets
    chosen = [[draw.sample(range(16), 2) for _ in range(60)] for _ in range(3)]
    (folder / "tokens.json").write_text(json.dumps({"topk_ids": chosen}))
    order = [draw.sample(range(16), 16) for _ in range(3)]
    (folder / "current.json").write_text(json.dumps([[[expert] for expert in layer] for layer in order]))
    (folder / "placed.yaml").write_text(PLACED)
    return folder


def leaves(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, int | float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if path or key not in ECHOED:
                yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, number))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def excepted(path: Path_) -> bool:
    general = tuple("*" if isinstance(step, int) else step for step in path)
    return any(general[: len(kept)] == kept for kept in NOT_CLAIMED)


def name_of(path: Path_, result: dict[str, Any]) -> str:
    """The claim of a number, by the place where the result has it."""
    layer_of = [layer["layer"] for layer in (result["layout"]["placement"] or {}).get("layers", ())]
    match path:
        case ("objective", "value"):
            return str(result["objective"]["name"])
        case ("layout", "stages", int(number), str(key)):
            return f"{key}_of_stage_{number}"
        case ("layout", "placement", "layers", int(number), "max_over_mean"):
            return f"balance_of_layer_{layer_of[number]}"
        case ("layout", "placement", "layers", int(number), "nodes_visited", "mean"):
            return f"nodes_visited_of_layer_{layer_of[number]}"
        case ("layout", "placement", "workloads", int(load), "max_over_mean", int(number)):
            return f"balance_of_layer_{layer_of[number]}_under_load_{load}"
        case ("figures", "traffic", "tiers", str(tier), "bytes_per_s"):
            return f"{tier}_bytes_per_s"
        case ("figures", "utilization", "links", str(tier)):
            return f"{tier}_utilization"
        case ("figures", "utilization", str(key)):
            return f"{key}_utilization"
        case ("figures", "bounds", str(key)):
            return f"ideal_{key}"
    return str(path[-1])


def written(value: float, *, whole_bytes: bool, factor: float = 1) -> object:
    """As the result prints it; traffic is rounded up to whole bytes there, and what is not true is far off."""
    if factor == 1:
        return {"value": value, "tolerance": 1} if whole_bytes else value
    return {"value": value * factor, "tolerance": "0.0000001%"}


def solved(folder: Path, arguments: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(folder)
    assert run(["solve", *arguments.split(), "--out", "result.json"]) == 0
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


@pytest.mark.parametrize("scenario", SOLVED)
def test_every_number_of_a_result_can_be_claimed(
    scenario: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = solved(folder, SOLVED[scenario], monkeypatch)
    capsys.readouterr()
    claimed = {name_of(path, result): (path, value) for path, value in leaves(result) if not excepted(path)}
    for factor, holds in ((1, True), (1.25, False)):
        claims = {
            name: written(value, whole_bytes=path[:2] == ("figures", "traffic"), factor=factor)
            for name, (path, value) in claimed.items()
            if value or holds
        }
        read = layout_in(load_text(json.dumps(result | {"claims": claims}), "result.json"), claims=dimensions)
        verdicts = {item.claim.name: str(item.verdict) for item in judge(read).claims}
        assert set(verdicts) == set(claims)
        assert {name: (claimed[name], told) for name, told in verdicts.items() if (told == "holds") is not holds} == {}
        assert "unsupported" not in verdicts.values()


def test_the_scenarios_have_every_part_of_a_result(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = solved(folder, SOLVED["a placement in service and experts chosen together"], monkeypatch)
    capsys.readouterr()
    placement = result["layout"]["placement"]
    assert placement["moves"] > 0
    assert any(layer["nodes_visited"]["mean"] > 1 for layer in placement["layers"])
    each = [layer["nodes_visited"]["mean"] for layer in placement["layers"]]
    ratios = [layer["max_over_mean"] for layer in placement["layers"]]
    for name, value, told in (
        ("nodes_visited", sum(each) / len(each), "holds"),
        ("nodes_visited", max(each), "ambiguous"),
        ("balance", max(ratios), "holds"),
        ("balance", sum(ratios) / len(ratios), "ambiguous"),
    ):
        claim = {name: {"value": value, "tolerance": "0.000001%"}}
        read = layout_in(load_text(json.dumps(result | {"claims": claim}), "result.json"), claims=dimensions)
        assert [str(item.verdict) for item in judge(read).claims] == [told], (name, value)
    known = {tuple("*" if isinstance(step, int) else step for step in path) for path, _ in leaves(result)}
    unseen = {kept for kept in NOT_CLAIMED if not any(path[: len(kept)] == kept for path in known)}
    # parts of loads are written as text; ties are of results without a placement
    assert unseen == {("layout", "placement", "layers", "*", "shares"), ("ties",)}
