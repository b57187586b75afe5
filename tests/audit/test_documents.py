"""The labelled documents: every label found, nobody accused wrongly."""

import json
from pathlib import Path

import pytest

from benchmarks.audit_bench import DOCUMENTS, tallies
from optimizer.audit import audit_document

PATHS = sorted(DOCUMENTS.glob("*.md"))


def test_there_are_enough_documents() -> None:
    assert len(PATHS) >= 40


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_verdicts_are_as_labelled(path: Path) -> None:
    labels = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    result = audit_document(path.read_text(encoding="utf-8"), path.name)
    found = result.to_json()
    equations = [(item["line"], item["verdict"]) for item in found["equations"]]
    assert sorted(equations) == sorted(equations)
    assert not [label for label in labels["equations"] if (label["line"], label["verdict"]) not in equations]
    claims = [(item["line"], item["name"], item["verdict"]) for item in found["claims"]]
    assert not [item for item in labels["claims"] if (item["line"], item["name"], item["verdict"]) not in claims]
    assert int(result.exit_status) == labels["exit"]
    assert json.loads(json.dumps(found)) == found


def test_precision_and_recall() -> None:
    for name, tally in tallies().items():
        assert tally.precision == 1, (name, tally.mistakes)
        assert tally.recall >= 0.95, (name, tally.mistakes)
        assert tally.accusation_recall >= 0.95, (name, tally.mistakes)
