"""What stands in more than one place says the same in each."""

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

import optimizer

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_citation_names_the_version() -> None:
    found = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert found is not None
    assert found[1] == optimizer.__version__


def test_the_changelog_opens_with_what_is_not_released() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == optimizer.__version__


def test_the_command_is_a_function_of_the_package() -> None:
    module, _, function = PROJECT["project"]["scripts"]["shardproof"].partition(":")
    assert callable(getattr(__import__(module, fromlist=[function]), function))


def test_every_package_is_typed_and_none_is_a_catch_all() -> None:
    assert (ROOT / "optimizer" / "py.typed").is_file()
    names = {path.stem for path in (ROOT / "optimizer").rglob("*")}
    assert not names & {"utils", "util", "helpers", "helper", "common", "misc"}


@pytest.mark.parametrize("folder", [path for path in (ROOT / "optimizer").rglob("*") if any(path.glob("*.py"))])
def test_a_folder_of_modules_is_a_package(folder: Path) -> None:
    # A folder without __init__.py would fall out of the import contracts.
    assert (folder / "__init__.py").is_file()


def test_a_class_name_has_one_meaning() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "optimizer").rglob("*.py")]
    named = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [name for name, times in named.items() if times > 1] == []


def test_modules_stay_small() -> None:
    lengths = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in (ROOT / "optimizer").rglob("*.py")}
    assert not {name: length for name, length in lengths.items() if length > 500}


def test_the_lowest_releases_that_are_tried_are_those_that_are_declared() -> None:
    """`.ci/lowest.txt` holds what `pyproject.toml` lets in at least, and each has a major release that it stops at."""
    declared = PROJECT["project"]
    wanted = {*declared["dependencies"], *declared["optional-dependencies"]["serve"]}
    wanted |= set(declared["optional-dependencies"]["frame"])
    tried = dict(re.findall(r"^([\w.-]+)==([\d.]+)$", (ROOT / ".ci" / "lowest.txt").read_text(), re.MULTILINE))
    bounds = dict(re.findall(r"^([\w.-]+)>=([\d.]+),<\d+$", each)[0] for each in wanted)
    assert tried.keys() == bounds.keys()
    for name, low in bounds.items():
        assert tried[name].startswith(low), name
