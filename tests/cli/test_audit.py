"""`audit` from the command line down: what it prints, its exit status, standard input, a problem beside it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from optimizer.cli.main import run

WRONG = "# Plan\n\nSo 8 × 4 × 16 × 4 = 512 GPUs, and 8 × 4 = 32.\n"
SYSTEMS = Path(__file__).parents[1] / "corpora" / "systems"


def test_a_wrong_figure_exits_with_1_and_is_quoted_with_its_arithmetic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.md"
    file.write_text(WRONG, encoding="utf-8")
    assert run(["audit", str(file)]) == 1
    out = capsys.readouterr().out
    assert f"{file}:3: So 8 × 4 × 16 × 4 = 512 GPUs, and 8 × 4 = 32." in out
    assert "8 × 4 × 16 × 4 = 2,048" in out
    assert out.rstrip().endswith("1 holds, 1 fails")


def test_what_is_right_exits_with_0(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("8 × 4 = 32\n".encode())))
    assert run(["audit", "-"]) == 0
    assert "holds" in capsys.readouterr().out


def test_the_table_is_all_that_is_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.md"
    file.write_text(WRONG, encoding="utf-8")
    assert run(["audit", str(file), "--table"]) == 1
    out, err = capsys.readouterr()
    assert [line[:2] for line in out.splitlines()] == ["| ", "|-", "| "]
    assert "| 2,048 | fails |" in out
    assert "1 holds, 1 fails" in err


def test_a_problem_with_a_relative_model_path_supplies_what_the_document_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = Path("problems/models")
    shapes = next(path for path in (Path(__file__).parents[2] / models).glob("seed-b*.yaml"))
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems" / "mine.yaml").write_text(shapes.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "problems" / "problem.yaml").write_text(
        "model: mine.yaml\nhardware: seed-64gb\ndevices: 32\n"
        "workload: {kind: serving, phase: decode, input_tokens: 1024, output_tokens: 64}\n"
    )
    (tmp_path / "plan.md").write_text("TP=4, PP=4, DP=2, EP=8.\n\n- Total parameters: 10B parameters\n")
    monkeypatch.chdir(tmp_path)
    assert run(["audit", "plan.md", "--problem", "problems/problem.yaml", "--json"]) == 1
    claim = json.loads(capsys.readouterr().out)["claims"][0]
    assert (claim["name"], claim["verdict"], claim["derived"]) == ("parameters", "fails", 452346368)


def test_json_has_the_parts_of_the_interface(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", str(SYSTEMS / "b.md"), "--problem", "seed-b-4x4x2", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "shardproof/audit/1"
    assert set(found) >= {"equations", "facts", "claims", "contradictions", "missing", "assumed"}
    assert {"name", "claimed", "derived", "unit", "verdict", "ratio", "formula", "substituted", "readings", "line",
            "column", "text"} <= set(found["claims"][0])  # fmt: skip


def test_disputes_and_violations_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", str(SYSTEMS / "b.md"), "--problem", "seed-b-4x4x2"]) == 1
    assert "Disputes\n  lines 10, 11: experts_per_gpu: these count different things" in capsys.readouterr().out
    file = tmp_path / "plan.md"
    file.write_text("---\nproblem: llama-3.1-405b-h100-16\nlayout: {tp: 1, dp: 16, batch: 1}\n---\n\nToo large.\n")
    assert run(["audit", str(file)]) == 1
    out = capsys.readouterr().out
    assert "Violated by the layout" in out
    assert "memory" in out


def test_nothing_in_a_document_steers_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.md"
    file.write_text("8 × 4 = 33 \x1b[2J[bold]x\n", encoding="utf-8")
    assert run(["audit", str(file)]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\x1b[2J[bold]x" in out


def test_standard_input_cannot_be_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "-", "--problem", "-"]) == 2
    assert "standard input" in capsys.readouterr().err


def test_a_missing_document_is_a_wrong_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "nowhere.md"]) == 2
    assert "nowhere.md" in capsys.readouterr().err


def test_neither_numpy_nor_the_solver_is_loaded() -> None:
    document = str(SYSTEMS / "b.md")
    code = (
        "import sys; from optimizer.cli.main import run; "
        f"status = run(['audit', {document!r}, '--problem', 'seed-b-4x4x2', '--json']); "
        "sys.exit(9 if {'numpy', 'ortools'} & set(sys.modules) else status)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "1:2: not valid JSON"),
        ("", "is empty"),
        ("[]", "1:1: a notebook is wanted (a mapping with cells), not a list"),
        ('{"nbformat": 4}', "1:1: cells: is required but missing"),
        ('{"cells": 5}', "1:11: cells: a list is wanted, not 5"),
        ('{"cells": [3]}', "1:12: cells[0]: a cell is wanted (a mapping), not 3"),
        ('{"cells": [{"source": [1]}]}', "1:23: cells[0].source: text is wanted, or a list of its lines"),
    ],
)
def test_a_broken_notebook_is_refused_at_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    file = tmp_path / "plan.ipynb"
    file.write_text(text)
    assert run(["audit", str(file)]) == 2
    assert f"{file}:{'' if told[0].isdigit() else ' '}{told}" in capsys.readouterr().err
    file.rename(file.with_suffix(".md"))
    assert run(["audit", str(file.with_suffix(".md"))]) == 0


def test_a_notebook_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.ipynb"
    file.write_text(
        '{"cells": [\n{"source": ["2 × 8 = 17 GPUs\\n"]},\n{"source": "2 × 8 = 16"}, {"cell_type": "raw"}]}'
    )
    assert run(["audit", str(file)]) == 1
    assert f"{file}:2: " in capsys.readouterr().out
