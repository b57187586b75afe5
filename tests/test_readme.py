"""README's commands run, and print what README says they print.

``SHARDPROOF_UPDATE_README=1 pytest tests/test_readme.py`` writes the output of today's commands into README.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from optimizer.cli.main import run
from optimizer.domain.convention import CONVENTIONS
from optimizer.domain.problem import ProblemFile
from optimizer.readers.document import load_text, parse
from optimizer.readers.options import PROBLEM_OPTIONS

README = Path(__file__).parents[1] / "README.md"
_TOUR = re.compile(r"^## A tour.*?(?=^## )", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```console\n\$ shardproof (?P<command>[^\n]*)\n(?P<output>.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^```yaml file=(?P<name>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_YAML = re.compile(r"^```yaml\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def timeless(text: str) -> str:
    """Output without what the clock put in it."""
    return re.sub(r"in \d+\.\d\d s$", "in 0.00 s", text, flags=re.MULTILINE)


def test_the_tour_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = README.read_text()
    tour = _TOUR.search(text)
    assert tour is not None
    monkeypatch.chdir(tmp_path)
    for file in _FILE.finditer(tour[0]):
        Path(file["name"]).write_text(file["text"])
    blocks = list(_BLOCK.finditer(tour[0]))
    assert len(blocks) >= 4
    updated = tour[0]
    for block in blocks:
        assert run(shlex.split(block["command"])) in {0, 1}
        printed = capsys.readouterr().out.rstrip("\n") + "\n"
        if os.environ.get("SHARDPROOF_UPDATE_README"):
            updated = updated.replace(block[0], f"```console\n$ shardproof {block['command']}\n{printed}```")
        else:
            assert timeless(printed) == timeless(block["output"]), block["command"]
    if updated != tour[0]:
        README.write_text(text.replace(tour[0], updated))


def test_the_two_commands_stand_on_lines_of_their_own() -> None:
    commands = re.findall(r"^\$ (.*)$", README.read_text(), re.MULTILINE)
    assert "pip install -e '.[test]'" in commands
    assert "pytest -n auto" in commands
    install = next(command for command in commands if command.startswith("pip install . && shardproof solve"))
    known = {option.flag for option in PROBLEM_OPTIONS} | {"--out"}
    assert {word for word in shlex.split(install) if word.startswith("--")} <= known


def test_the_problem_file_of_the_readme_is_one() -> None:
    (problem,) = _YAML.finditer(README.read_text())
    written = parse(ProblemFile, load_text(problem["text"]))
    assert written.engine == "vllm"


def test_every_convention_is_listed() -> None:
    section = README.read_text().split("### Conventions")[1].split("\n## ")[0]
    first_cells = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    assert sorted(name for cell in first_cells for name in re.findall(r"`([a-z-]+)`", cell)) == sorted(CONVENTIONS)


def test_the_other_commands_of_the_readme_run(capsys: pytest.CaptureFixture[str]) -> None:
    text = README.read_text()
    tour = _TOUR.search(text)
    assert tour is not None
    lines = re.findall(r"^\$ shardproof (.*)$", text.replace(tour[0], ""), re.MULTILINE)
    assert len(lines) >= 5
    told = 0
    for line in lines:
        command, _, comment = line.partition("  #")
        assert run(shlex.split(command)) == 0, command
        printed = capsys.readouterr().out
        assert printed
        if re.search(r"\d", comment):  # a comment that states figures quotes the command
            assert comment.strip() in printed, line
            told += 1
    assert told
