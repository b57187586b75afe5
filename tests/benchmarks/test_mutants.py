"""What the mutants are: enough of every side, each another module, none of a message; how their fates are told."""

from __future__ import annotations

import ast
from pathlib import Path

from benchmarks.mutants import EQUIVALENT, ROOT, SIDES, Fate, importing, mutants, told


def text_of(module: str) -> str:
    return Path(ROOT, "optimizer", f"{module}.py").read_text(encoding="utf-8")


def test_there_are_enough_of_every_side() -> None:
    count = {}
    for name, side in SIDES.items():
        found = [mutant for module in side.modules for mutant in mutants(module, text_of(module), 2)]
        assert all(ast.dump(ast.parse(own.text)) != ast.dump(ast.parse(text_of(own.module))) for own in found)
        assert len({own.name for own in found}) == len(found)
        count[name] = len(found)
    assert sum(count.values()) >= 60
    assert min(count.values()) >= 8


def test_the_tests_of_a_side_exist() -> None:
    for side in SIDES.values():
        assert all(Path(ROOT, name).exists() for name in (*side.quick, *side.long))


def test_equivalent_changes_are_changes_that_there_are() -> None:
    every = {
        own.name for side in SIDES.values() for module in side.modules for own in mutants(module, text_of(module), 999)
    }
    assert set(EQUIVALENT) <= every


def test_messages_and_assertions_stay() -> None:
    text = "def own(a, b):\n    assert a < b\n    if a + b > 3:\n        raise ValueError(f'{a - b}')\n"
    text += "    return min(a, b)\n"
    found = [mutant.change for mutant in mutants("own", text, 9)]
    assert sorted(found) == [
        "own: a + b -> a - b",
        "own: a + b > 3 -> a + b >= 3",
        "own: min(a, b) -> max(a, b)",
    ]


def test_the_files_that_import_a_module_are_asked_those_of_its_folder_first() -> None:
    found = importing("figures/costs")
    assert found[0].startswith("tests/figures/")
    assert "tests/certificate/test_relaxations.py" in found


def test_a_survivor_is_counted_and_one_with_a_reason_is_not(monkeypatch, capsys) -> None:
    fates = [
        Fate("figures", "figures/costs", 1, "own: a < b -> a <= b", by, quick, 1.0)
        for by, quick in (("tests/own.py::test", True), ("", False))
    ]
    assert told(fates) == 1
    assert "the quick tests notice 1 of 2 (50%)" in capsys.readouterr().out
    monkeypatch.setitem(EQUIVALENT, "figures/costs: own: a < b -> a <= b", "they are never equal")
    assert told(fates[1:]) == 0
    assert "equivalent: they are never equal" in capsys.readouterr().out
