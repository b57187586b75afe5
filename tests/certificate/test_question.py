"""What a document is about: the question asked, the catalog's models and hardware, and what a verdict says of it."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from optimizer.certificate import certify
from optimizer.cli.main import run
from optimizer.explain import brief
from optimizer.readers.read import Override, read_problem
from optimizer.search.search import Search
from optimizer.solve import solve
from tests.certificate.documents import claimed, resealed, written
from tests.certificate.tampering import document
from tests.small_problems import small_problem

PROBLEM = """\
name: chat
model: llama-3.1-8b
hardware: h100-sxm-8
devices: 2
workload: {input_tokens: 1000, output_tokens: 200}
"""


@pytest.fixture(name="asked", scope="module")
def asked_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    (folder / "problem.yaml").write_text(PROBLEM)
    (folder / "other.yaml").write_text(PROBLEM.replace("output_tokens: 200", "output_tokens: 100"))
    (folder / "renamed.yaml").write_text(PROBLEM.replace("name: chat", "name: talk"))
    assert run(["solve", str(folder / "problem.yaml"), "--out", str(folder / "result.json")]) == 0
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    capsys.readouterr()
    status = run(["certify", *map(str, arguments), "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_a_result_is_bound_to_the_question_that_was_asked(asked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, check = said(capsys, asked / "result.json", "--problem", asked / "problem.yaml")
    assert (status, check["accepted"], check["problem"]["name"], check["status"]) == (0, True, "chat", "optimal")
    assert not any(entry.startswith(("problem", "whether")) for entry in check["not_checked"])
    status, check = said(capsys, asked / "result.json", "--problem", asked / "other.yaml")
    assert (status, check["item"]) == (1, "problem.workload.output_tokens")
    status, check = said(capsys, asked / "result.json", "--problem", asked / "renamed.yaml")
    assert status == 0
    assert "problem.name" in check["not_checked"]
    status, check = said(capsys, asked / "result.json")
    assert status == 0
    assert "--problem" in check["not_checked"][0]
    assert run(["certify", str(asked / "result.json"), "--problem", str(asked / "none.yaml")]) == 2


def test_a_placement_is_bound_to_the_question_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = PROBLEM.replace("llama-3.1-8b", "seed-b-16l-16e") + "search: {ep: 4}\nexperts: {load: 'zipf:0.8'}\n"
    (tmp_path / "problem.yaml").write_text(text)
    (tmp_path / "other.yaml").write_text(text.replace("zipf:0.8", "zipf:0.7"))
    assert run(["place", str(tmp_path / "problem.yaml"), "--out", str(tmp_path / "placed.json")]) == 0
    assert said(capsys, tmp_path / "placed.json", "--problem", tmp_path / "problem.yaml")[0] == 0
    status, check = said(capsys, tmp_path / "placed.json", "--problem", tmp_path / "other.yaml")
    assert status == 1
    assert check["item"].startswith("problem.expert")


@pytest.mark.parametrize(
    ("part", "at", "value"),
    [
        ("hardware", ("device", "bandwidth"), 10 * 3_350_000_000_000),
        ("hardware", ("device", "memory"), 10 * 2**40),
        ("hardware", ("source",), "hearsay"),
        ("model", ("max_context",), 1_000_000),
        ("model", ("source",), "hearsay"),
    ],
)
def test_a_name_of_the_catalog_means_what_the_catalog_holds(part: str, at: tuple[str, ...], value: object) -> None:
    """A forger solves the changed problem, so that all that follows from it is right."""
    options = (("model", "llama-3.1-8b"), ("hardware", "h100-sxm-8"), ("devices", 1))
    sizes = (("input_tokens", 1000), ("output_tokens", 200))
    problem = read_problem(
        None,
        [*(Override(n, (n,), v) for n, v in options), *(Override(n, ("workload", n), v) for n, v in sizes)],
    )
    own = problem.model_dump(mode="json")
    holder = own[part]
    for step in at[:-1]:
        holder = holder[step]
    holder[at[-1]] = value
    forged = type(problem).model_validate(own)
    check = certify(written(solve(forged)))
    assert not check.accepted
    assert check.item is not None
    assert check.item.startswith(f"problem.{part}.{at[0]}")


def test_hardware_of_ones_own_under_a_name_of_the_catalog_is_told_apart(tmp_path: Path) -> None:
    shipped = Path("problems/hardware/h100-sxm-8.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(shipped.replace("devices_per_node: 8", "devices_per_node: 4"))
    (tmp_path / "copied.yaml").write_text(shipped)
    (tmp_path / "problem.yaml").write_text(PROBLEM.replace("h100-sxm-8", "mine.yaml"))
    problem = read_problem(tmp_path / "problem.yaml")
    assert problem.hardware.name == "h100-sxm-8 (mine.yaml)"
    check = certify(written(solve(problem)))
    assert check.accepted
    assert "problem.hardware: h100-sxm-8 (mine.yaml) is not in the catalog, taken as stated" in check.not_checked
    (tmp_path / "problem.yaml").write_text(PROBLEM.replace("h100-sxm-8", "copied.yaml"))
    assert read_problem(tmp_path / "problem.yaml").hardware.name == "h100-sxm-8"


def test_a_feasible_result_is_not_called_the_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "feasible.json").write_text(json.dumps(document("feasible")))
    assert run(["certify", str(tmp_path / "feasible.json")]) == 0
    text = capsys.readouterr().out
    objective = document("feasible")["objective"]
    assert text.startswith("accepted: feasible\n")
    assert f"{objective['name']} {objective['value']:,.6g}; bound {objective['bound']:,.6g}, gap " in text
    assert "optimality" not in text
    assert "nothing in the lattice is better than it; the layout itself may not be the best" in text
    for line in ("problem ", "digest ", "lattice "):
        assert f"  {line}" in text


def test_a_feasible_result_without_a_bound_says_so() -> None:
    problem = next(p for p in map(small_problem, range(400)) if solve(p).status == "optimal")
    search = Search(problem)
    best = search.run().best[0]
    check = certify(claimed(problem, "feasible", best))
    assert check.accepted
    assert "objective.bound: none is stated" in check.not_checked
    assert check.objective is not None
    assert check.objective["bound"] is None


def infeasible() -> list[Any]:
    """Infeasible problems, each with a conflict."""
    found = []
    for seed in range(150):
        problem = small_problem(seed)
        conflict = json.loads(json.dumps(brief(problem))) if solve(problem).status == "infeasible" else []
        if conflict:
            found.append(written(solve(problem)) | {"conflict": conflict})
    return found


def test_conflicts_are_checked_member_by_member() -> None:
    short, long = 0, 0
    for own in infeasible():
        check = certify(own)
        assert check.accepted, f"{check.item}: {check.reason}"
        assert any(entry.startswith("conflict: ") for entry in check.checked)
        conflict = own["conflict"]
        for number in range(len(conflict)):
            less = copy.deepcopy(own) | {"conflict": conflict[:number] + conflict[number + 1 :]}
            if less["conflict"]:
                assert certify(less).item == "conflict"
                short += 1
        if "devices" not in [entry["limit"] for entry in conflict]:
            devices = {"limit": "devices", "value": own["problem"]["devices"], "unit": "devices"}
            assert str(certify(own | {"conflict": [*conflict, devices]}).item).startswith("conflict[")
            long += 1
        wrong = copy.deepcopy(conflict)
        wrong[0]["limit"] = "patience"
        assert certify(own | {"conflict": wrong}).item == "conflict[0].limit"
        assert certify(own | {"conflict": [*conflict, conflict[-1]]}).item is not None
        assert "conflict: none is stated" in certify(own | {"conflict": []}).not_checked
    assert short >= 5
    assert long >= 1


def test_a_tolerance_is_the_checkers() -> None:
    for tolerance in ("10", "1/1000", "0"):
        own = copy.deepcopy(document("placed"))
        own["certificate"]["tolerance"] = tolerance
        own["placement"]["tolerance"] = float(Fraction(tolerance))
        assert certify(own).item == "certificate.tolerance"
        joint = copy.deepcopy(document("joint"))
        joint["certificate"]["tolerance"] = f"{tolerance}/1" if "/" not in tolerance else tolerance
        assert certify(resealed(joint)).item == "certificate.tolerance"
