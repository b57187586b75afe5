"""Co-activation as a person gives it: place, solve, certify, and what is refused."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from optimizer.certificate import certify
from optimizer.cli.main import run
from optimizer.cli.schemas import schema_of
from optimizer.readers.read import Override, read_problem
from tests.placement_end_to_end.test_commands import PROBLEM, document

LAYERS, EXPERTS = 16, 16
DECIDED = ["place", "--model", "seed-b-16l-16e", "--hardware", "seed-64gb", "--ep", "16"]


@pytest.fixture(name="folder", scope="module")
def folder_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("near")
    draw = random.Random(7)  # noqa: S311 - tokens, not secrets
    # Experts of one remainder by four are chosen together, and lie on different nodes in the order of their ids.
    tokens = [
        [sorted(4 * n + topic for n in draw.sample(range(4), 2)) for topic in (draw.randrange(4) for _ in range(40))]
        for _ in range(LAYERS)
    ]
    (folder / "tokens.json").write_text(json.dumps({"topk_ids": tokens}))
    (folder / "problem.yaml").write_text(PROBLEM.replace("ep: [8]", "ep: [16]").replace(
        "redundant_slots: [0, 8]", "coactivation: tokens.json, balance_allowance: 30%"))  # fmt: skip
    return folder


def placed(folder: Path, *arguments: str) -> Any:
    out = folder / "placed.json"
    load = ["--expert-load", "lognormal:0.1", "--coactivation", str(folder / "tokens.json")]
    assert run([*DECIDED, *load, *arguments, "--out", str(out)]) == 0
    return document(out)


def test_tokens_visit_fewer_nodes_and_the_certificate_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = placed(folder, "--balance-allowance", "0.5")
    assert "Nodes visited by a token" in capsys.readouterr().out
    jsonschema.validate(found, schema_of("placement"))
    for before, after in zip(found["before"]["layers"], found["placement"]["layers"], strict=True):
        assert after["nodes_visited"]["bound"] == after["nodes_visited"]["mean"] == 1
        assert before["nodes_visited"] > 1.3
    check = certify(copy.deepcopy(found))
    assert check.accepted, check.reason
    assert "nodes visited by co-activated experts" in check.checked
    assert not certify(found | {"coactivation": None}).accepted
    found["before"]["layers"][3]["nodes_visited"] -= 0.25
    assert certify(found).item == "before.layers[3].nodes_visited"


def test_no_allowance_keeps_the_balance(folder: Path) -> None:
    loads = ["--expert-load", "lognormal:0.1"]
    assert run([*DECIDED, *loads, "--out", str(folder / "plain.json")]) == 0
    plain, near = document(folder / "plain.json"), placed(folder)
    assert near["max_over_mean"] <= max(plain["max_over_mean"], plain["bound"] + 1e-4)
    assert near["certificate"]["balance_allowance"] == "1/10000"


def test_a_solve_counts_nodes_and_a_changed_count_is_rejected(folder: Path) -> None:
    assert run(["solve", str(folder / "problem.yaml"), "--out", str(folder / "result.json")]) == 0
    result = document(folder / "result.json")
    assert certify(copy.deepcopy(result)).accepted
    layers = result["layout"]["placement"]["layers"]
    assert all(1 <= layer["nodes_visited"]["bound"] <= layer["nodes_visited"]["mean"] for layer in layers)
    for entry in (result["layout"]["placement"], result["certificate"]["placements"][0]["placement"]):
        entry["layers"][2]["nodes_visited"]["mean"] -= 0.025
    assert not certify(result).accepted


def test_pairs_and_uniform_are_told_apart(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [[[int(one % 4 == two % 4 and one != two) for two in range(16)] for one in range(16)]] * LAYERS
    (folder / "pairs.json").write_text(json.dumps({"coactivation": pairs}))
    for given in (str(folder / "pairs.json"), "uniform"):
        assert run([*DECIDED, "--expert-load", "uniform", "--coactivation", given, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        for layer in found["placement"]["layers"]:
            visited = layer["nodes_visited"]
            assert visited["mean"] == visited["bound"] == (1.0 if given != "uniform" else (2 * 64 + 56) / 120)
        assert certify(found).accepted


@pytest.mark.parametrize(
    ("experts", "says"),
    [
        ("{load: uniform, coactivation: nope.json}", "experts.coactivation: nope.json: no such file"),
        ("{coactivation: uniform}", "experts.coactivation: needs measured loads"),
        ("{load: uniform, balance_allowance: 1%}", "experts.balance_allowance: what balance may cost"),
        ("{load: uniform, coactivation: uniform, balance_allowance: 2}", "experts.balance_allowance"),
    ],
)
def test_what_is_refused(experts: str, says: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "wrong.yaml"
    path.write_text(PROBLEM.replace("{load: 'zipf:0.8', redundant_slots: [0, 8]}", experts))
    assert run(["solve", str(path)]) == 2
    assert says in capsys.readouterr().err


def test_nodes_need_hardware(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--expert-load", "uniform", "--coactivation", "uniform"]
    assert run(["place", "--model", "seed-b-16l-16e", "--ep", "16", *arguments]) == 2
    assert "nodes visited need --hardware" in capsys.readouterr().err


def test_problems_without_co_activation_keep_their_digest(folder: Path) -> None:
    plain = folder / "plain.yaml"
    plain.write_text(PROBLEM)
    near = Override("--coactivation", ("experts", "coactivation"), "uniform")
    assert read_problem(plain).digest != read_problem(plain, [near]).digest
