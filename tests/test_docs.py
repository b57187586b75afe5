"""The documentation says what is there: its code runs, its links lead somewhere, its commands exist."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from optimizer.cli.main import COMMANDS, run

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
GENERATED = {"generated/commands.md", "generated/formats.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith(("http:", "https:")) and target not in GENERATED:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_of_a_page_runs(page: Path) -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(block, str(page), "exec"), names)  # noqa: S102 - it is what the page tells its reader to run


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_exist(page: Path) -> None:
    for command in re.findall(r"^\$ shardproof (\S+)|`shardproof ([a-z]+)", page.read_text(), re.MULTILINE):
        assert (command[0] or command[1]) in COMMANDS


def test_the_jobs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "jobs.md").read_text()
    monkeypatch.chdir(tmp_path)
    for name, content in re.findall(r"^```\w+ file=(\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        Path(name).write_text(content)
    jobs = re.findall(r"^\*\*\d+\. .*?(?=^\*\*\d+\.|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(jobs) == 15
    for job in jobs:
        wanted = 1 if "exit status 1" in job else 0
        for command in re.findall(r"^\$ shardproof (.*)$", job, re.MULTILINE):
            assert run(shlex.split(command)) == wanted, command
            assert capsys.readouterr().out


def test_the_tutorial_runs() -> None:
    names: dict[str, object] = {}
    cells = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text())["cells"]
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "tutorial", "exec"), names)  # noqa: S102 - the reader runs it
    assert names["check"].accepted  # type: ignore[attr-defined]
    assert not names["refused"].accepted  # type: ignore[attr-defined]


def test_folders_that_the_architecture_names_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    folders = re.findall(r"`(optimizer/[a-z]+)`", text)
    assert len(folders) > 5
    assert all((ROOT / folder).is_dir() for folder in folders)
