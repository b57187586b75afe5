"""The graph of a result: its bytes are those of the figures, its check accepts it and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from optimizer.cli.main import run
from optimizer.domain.layout import WrittenLayout
from optimizer.readers.read import read_problem
from optimizer.report.dag import dag_of, meshes_of
from optimizer.report.dag_check import check_dag
from optimizer.report.subject import Subject


def subject_of(scenario: str, **written: Any) -> Subject:
    problem = read_problem(scenario)
    layout = WrittenLayout.model_validate(written).resolve(experts=problem.model.moe is not None)
    return Subject({}, problem, layout, None)


LAYOUTS = [
    ("seed-b-4x4x2", {"convention": "folded", "tp": 4, "pp": 4, "dp": 2, "ep": 8, "batch": 16}),
    ("seed-a-ep64-tp2", {"convention": "product", "tp": 2, "ep": 64, "batch": 2}),
    ("llama-3.1-405b-h100-16", {"convention": "folded", "tp": 8, "pp": 2, "batch": 4}),
]


@pytest.mark.parametrize(("scenario", "written"), LAYOUTS, ids=[name for name, _ in LAYOUTS])
def test_bytes_are_those_of_the_figures(scenario: str, written: dict[str, Any]) -> None:
    subject = subject_of(scenario, **written)
    dag = dag_of(subject)
    for axis in ("tp", "ep"):
        sizes = [group.bytes or 0 for group in dag.groups if group.axis.name == axis]
        assert max(sizes, default=0) == pytest.approx(float(subject.figures[f"{axis}_bytes"].value), abs=1)
    if dag.sends:
        assert dag.sent_from(0) == pytest.approx(float(subject.figures["pp_bytes"].value), abs=1)


@pytest.mark.parametrize(("scenario", "written"), LAYOUTS, ids=[name for name, _ in LAYOUTS])
def test_a_result_passes_its_own_check_and_names_every_device(scenario: str, written: dict[str, Any]) -> None:
    subject = subject_of(scenario, **written)
    document = json.loads(json.dumps(dag_of(subject).to_json()))
    assert check_dag(document, meshes_of(subject), dag_of(subject)) == []
    assert sum(node["kind"] == "device" for node in document["nodes"]) == subject.layout.devices  # type: ignore[union-attr]


@pytest.fixture(scope="module", name="result")
def result_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dag") / "result.json"
    asked = ["--model", "llama-3.1-8b", "--hardware", "h100-sxm-8", "--devices", "2", "--isl", "256", "--osl", "64"]
    assert run(["solve", *asked, "--out", str(path)]) == 0
    return path


def test_the_command_writes_three_forms_and_judges_one(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = result.with_name("graph.json")
    capsys.readouterr()
    assert run(["report", str(result), "--dag", "json", "--out", str(graph)]) == 0
    assert run(["report", str(result), "--dag", "dot"]) == 0
    assert capsys.readouterr().out.startswith("digraph deployment {")
    assert run(["report", str(result), "--dag", "svg"]) == 0
    assert capsys.readouterr().out.startswith("<svg ")
    assert run(["report", str(result), "--check-dag", str(graph)]) == 0
    assert "accepted: 2 devices" in capsys.readouterr().out


def test_a_graph_of_other_devices_is_rejected(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = result.with_name("other.json")
    graph.write_text(json.dumps(dag_of(subject_of(*LAYOUTS[0][:1], **LAYOUTS[0][1])).to_json()))
    capsys.readouterr()
    assert run(["report", str(result), "--check-dag", str(graph), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["accepted"] is False
    assert any("is none of the 2" in objection for objection in found["objections"])


def test_other_bytes_than_the_layout_moves_are_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question, answer, graph = tmp_path / "problem.yaml", tmp_path / "result.json", tmp_path / "graph.json"
    question.write_text(
        "{model: llama-3.1-8b, hardware: h100-sxm-8, devices: 2, workload: {input_tokens: 256, output_tokens: 64},"
        " search: {tp: 2, batch: 8}}"
    )
    assert run(["solve", str(question), "--out", str(answer)]) == 0
    assert run(["report", str(answer), "--dag", "json", "--out", str(graph)]) == 0
    assert run(["report", str(answer), "--check-dag", str(graph)]) == 0
    written = json.loads(graph.read_text())
    (collective,) = (node for node in written["nodes"] if node["kind"] == "collective")
    collective["bytes_per_step"] += 1
    graph.write_text(json.dumps(written))
    capsys.readouterr()
    assert run(["report", str(answer), "--check-dag", str(graph)]) == 1
    assert f"bytes_per_step is {collective['bytes_per_step']}, not" in capsys.readouterr().out


def test_what_is_no_graph_is_a_wrong_question(result: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = result.with_name("list.json")
    graph.write_text("[1]")
    assert run(["report", str(result), "--check-dag", str(graph)]) == 2
    assert "a graph is wanted" in capsys.readouterr().err
