"""Tables align, colours appear on terminals only."""

from __future__ import annotations

import sys

import pytest

from optimizer.cli import output
from optimizer.cli.solve import show
from optimizer.domain.margins import accuracy
from optimizer.solve import solve
from tests.small_problems import small_problem


def test_columns_align(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["name", "value"], [["µ", "1"], ["long name", "23"]], right=(1,))
    assert capsys.readouterr().out.splitlines() == ["  name       value", "  µ              1", "  long name     23"]


def test_combining_marks_take_no_column() -> None:
    assert output.width_of("e\N{COMBINING ACUTE ACCENT}x") == 2


def test_colours_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert output.paint("x", "red") == "x"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert output.paint("x", "bold", "red") == "\x1b[1;31mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert output.paint("x", "red") == "x"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert output.paint("x", "red") == "x"


def test_not_a_number_is_no_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        output.json_text({"value": float("nan")})


def test_an_answer_before_any_bound_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    problem, result = next(
        (problem, found)
        for problem, found in ((problem, solve(problem)) for problem in map(small_problem, range(50)))
        if found.status == "optimal"
    )
    document = result.to_json()
    document["status"] = "feasible"
    document["objective"] |= {"bound": None, "gap": None}
    document["accuracy"] = accuracy(problem.margin, document["figures"])
    show(problem, result, document)
    assert "(no bound yet)" in capsys.readouterr().out.splitlines()[0]


def test_sentences_are_broken_between_words_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "problem  qwen3-32b on 8 devices of h200-sxm-8, aggregated, 2,000 in / 500 out, engine any"
    output.prose(line)
    assert capsys.readouterr().out == line + "\n"
    monkeypatch.setattr(output, "is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "40")
    output.prose(line)
    told = capsys.readouterr().out.splitlines()
    assert all(len(part) <= 40 for part in told)
    assert all(part.startswith(" " * 9) for part in told[1:])
    assert " ".join(part.strip() for part in told) == line
    # narrower than any word: nothing is lost
    monkeypatch.setenv("COLUMNS", "5")
    output.prose(line)
    assert capsys.readouterr().out == line + "\n"
