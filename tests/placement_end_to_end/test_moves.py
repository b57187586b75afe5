"""Re-balancing a running system: budgets on nodes and racks, fewest moves, and the ends of the frontier."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from optimizer.certificate import certify
from optimizer.cli.main import run
from optimizer.figures.placement import linear_placement, moves, violations
from tests.placement_end_to_end.test_commands import DECIDED, EXPERTS, LAYERS, PROBLEM, document

DEEPSEEK = ["place", "--model", "deepseek-v3", "--expert-load", "group:0.3"]
RACKS = ["--hardware", "h100-sxm-8-oversubscribed-4", "--ep", "64", "--hierarchy", "rack"]


def asked(folder: Path, *arguments: object) -> Any:
    out = folder / "placed.json"
    assert run([*map(str, arguments), "--out", str(out)]) == 0
    found = document(out)
    check = certify(copy.deepcopy(found))
    assert check.accepted, check.reason
    return found


def test_fewest_moves_and_both_ends_of_the_frontier(tmp_path: Path) -> None:
    linear = [linear_placement(EXPERTS, 8, 3)] * LAYERS
    (tmp_path / "current.json").write_text(json.dumps(linear))
    current = ["--current", tmp_path / "current.json"]
    found = asked(tmp_path, "place", *DECIDED, "--expert-load", "zipf:0.8", *current, "--frontier")
    free = asked(tmp_path, "place", *DECIDED, "--expert-load", "zipf:0.8")
    after = [layer["devices"] for layer in found["placement"]["layers"]]
    relabelled = [layer["devices"] for layer in free["placement"]["layers"]]
    counted = sum(map(moves, linear, after))
    assert found["placement"]["moves"] == counted < 0.8 * sum(map(moves, linear, relabelled))
    assert found["max_over_mean"] <= max(free["max_over_mean"], free["bound"] + 1e-4)
    first, last = found["frontier"][0], found["frontier"][-1]
    assert first["moves"] == 0
    assert first["mean"] == pytest.approx(sum(layer["max_over_mean"] for layer in found["before"]["layers"]) / LAYERS)
    each = [layer["max_over_mean"] for layer in found["placement"]["layers"]]
    assert last["mean"] <= sum(each) / LAYERS + 1e-12
    assert last["worst"] <= max(each)


def test_a_budget_is_kept_on_racks_and_bounded(tmp_path: Path) -> None:
    free = asked(tmp_path, *DEEPSEEK, *RACKS, "--redundant-slots", 64)
    layers = [layer["devices"] for layer in free["placement"]["layers"]]
    assert not any(violations(held, 256, 64, 5, node_size=32, groups=8) for held in layers)
    (tmp_path / "current.json").write_text(json.dumps(layers))
    budget = ["--current", tmp_path / "current.json", "--max-moves", 3, "--seed", 4]
    found = asked(tmp_path, *DEEPSEEK, *RACKS, *budget)
    after = [layer["devices"] for layer in found["placement"]["layers"]]
    assert max(map(moves, layers, after)) <= 3
    assert not any(violations(held, 256, 64, 5, node_size=32, groups=8) for held in after)
    kinds = {layer["witness"]["kind"] for layer in found["certificate"]["layers"]}
    assert kinds & {"laying", "relief", "relieved"}
    before = [layer["max_over_mean"] for layer in found["before"]["layers"]]
    now = [layer["max_over_mean"] for layer in found["placement"]["layers"]]
    assert all(new <= old for new, old in zip(now, before, strict=True))
    found["certificate"]["max_moves"] = 0
    assert not certify(found).accepted


def test_groups_that_a_budget_cannot_bring_together_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = [[(4 * n + slot) * 37 % 256 for slot in range(4)] for n in range(64)]
    (tmp_path / "current.json").write_text(json.dumps([mixed] * 58))
    arguments = [*DEEPSEEK, *RACKS, "--current", str(tmp_path / "current.json")]
    assert run([*arguments, "--max-moves", "5"]) == 2
    assert "experts.max_moves: 5 moves do not bring the router's groups" in capsys.readouterr().err


def test_a_solve_within_a_budget_is_certified_with_its_bound(tmp_path: Path) -> None:
    layers = [linear_placement(EXPERTS, 8, 3)] * LAYERS
    (tmp_path / "current.json").write_text(json.dumps(layers))
    experts = "load: 'lognormal:0.6', current: current.json, max_moves: 1"
    (tmp_path / "problem.yaml").write_text(PROBLEM.replace("load: 'zipf:0.8', redundant_slots: [0, 8]", experts))
    assert run(["solve", str(tmp_path / "problem.yaml"), "--out", str(tmp_path / "result.json")]) == 0
    result = document(tmp_path / "result.json")
    assert certify(copy.deepcopy(result)).accepted
    placed = result["layout"]["placement"]["layers"]
    assert all(moves(old, layer["devices"]) <= 1 for old, layer in zip(layers, placed, strict=True))
    claims = result["certificate"]["placements"][0]["certificate"]["layers"]
    assert {claim["witness"]["kind"] for claim in claims} & {"relief", "relieved"}
