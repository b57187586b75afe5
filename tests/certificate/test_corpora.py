"""Results that ship with their verdicts: true ones, false ones, and what is no result.

After a change of figures or of the format, `python -m tests.certificate.corpus` writes them anew; a changed form needs
another number in the schema's name.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from optimizer.certificate import certify
from optimizer.cli.main import run
from optimizer.readers.document import load
from tests.certificate.corpus import EXPECTED, HERE, accepted, malformed, rejected
from tests.certificate.documents import Json, answer

ACCEPTED = sorted((HERE / "accepted").glob("*.json"))
REJECTED: dict[str, str] = json.loads((HERE / "rejected" / EXPECTED).read_text())
MALFORMED: dict[str, str] = json.loads((HERE / "malformed_results" / EXPECTED).read_text())


def read(path: Path) -> Json:
    found: Json = load(path).data
    return found


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_true_results_are_accepted(path: Path) -> None:
    check = certify(read(path))
    assert check.accepted, f"{check.item}: {check.reason}"
    assert check.solver_trusted == []
    assert run(["certify", str(path)]) == 0


@pytest.mark.parametrize("name", REJECTED)
def test_false_results_are_rejected_for_what_is_false(name: str) -> None:
    check = certify(read(HERE / "rejected" / f"{name}.json"))
    assert not check.accepted
    assert check.reason
    assert check.item is not None
    assert check.item.startswith(REJECTED[name])
    assert run(["certify", str(HERE / "rejected" / f"{name}.json")]) == 1


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_result_is_answered_so(name: str) -> None:
    path = HERE / "malformed_results" / f"{name}.json"
    assert answer(path) == MALFORMED[name]
    assert run(["certify", str(path)]) in (1, 2)


def test_every_file_has_a_verdict() -> None:
    assert {path.stem for path in ACCEPTED} == set(accepted())
    for folder, known in (("rejected", REJECTED), ("malformed_results", MALFORMED)):
        found = {path.stem for path in (HERE / folder).glob("*.json")} - {Path(EXPECTED).stem}
        assert found == set(known)
    assert set(rejected()) == set(REJECTED)
    assert set(malformed()) == set(MALFORMED)


def form(data: object) -> object:
    """Keys and types of a document, whatever its numbers; of a list the forms that occur in it."""
    if isinstance(data, dict):
        return {key: form(value) for key, value in data.items()}
    if isinstance(data, list):
        return sorted({json.dumps(form(value), sort_keys=True) for value in data})
    return type(data).__name__


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_the_form_of_results_changes_only_with_the_schema(path: Path) -> None:
    old, new = read(path), accepted()[path.stem]
    if (old["schema"], old["certificate"].get("schema")) == (new["schema"], new["certificate"].get("schema")):
        for part in {"certificate", "objective", "layout", "figures", "search", "placement", "before"} & old.keys():
            assert form(old[part]) == form(new[part]), part
        assert old.keys() == new.keys()
