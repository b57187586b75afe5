"""The labelled documents: every label found, nobody accused wrongly."""

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.audit_bench import ACCUSATIONS, FOLDERS, MIXED, PLANS, REPORTS, REVIEWS, tallies
from optimizer.audit import audit_document

PATHS = sorted(path for folder in FOLDERS for path in folder.glob("*.md"))


def test_there_are_enough_documents() -> None:
    assert len(PATHS) >= 320


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_verdicts_are_as_labelled(path: Path) -> None:
    labels = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    result = audit_document(path.read_text(encoding="utf-8"), path.name)
    found = result.to_json()
    equations = [(item["line"], item["verdict"]) for item in found["equations"]]
    labelled = [(label["line"], label["verdict"]) for label in labels["equations"]]
    assert not Counter(labelled) - Counter(equations)
    assert not [item for item in Counter(equations) - Counter(labelled) if item[1] in ACCUSATIONS]
    called = Counter(item["line"] for item in found["equations"] if item["called_wrong"])
    assert called == Counter(labels.get("called_wrong", []))
    claims = [(item["line"], item["name"], item["verdict"]) for item in found["claims"]]
    assert not [item for item in labels["claims"] if (item["line"], item["name"], item["verdict"]) not in claims]
    assert int(result.exit_status) == labels.get("told_exit", labels["exit"])
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_precision_and_recall(folder: Path) -> None:
    for name, tally in tallies(folder).items():
        assert tally.precision == 1 or name == "exit", (name, tally.mistakes)
        if name in {"errors", "exit"}:
            continue
        assert tally.recall >= (0.94 if folder == PLANS else 0.95), (name, tally.mistakes)
        assert tally.accusation_recall >= 0.95, (name, tally.mistakes)


def test_errors_that_authors_made_are_told() -> None:
    found = [tallies(folder)["errors"] for folder in (PLANS, REVIEWS, REPORTS, MIXED)]
    assert [tally.labels for tally in found] == [17, 38, 21, 11]
    assert all(tally.found >= least for tally, least in zip(found, (13, 26, 16, 8), strict=True))
