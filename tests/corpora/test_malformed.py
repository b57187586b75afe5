"""Broken files, each refused with its exact words.

``malformed/KIND/`` holds the files, ``malformed/KIND.json`` what each is answered. After a change of wording, run with
``UPDATE_SNAPSHOTS=1`` and read the difference.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer.errors import Exit, SpecError
from optimizer.spec.catalog import load_hardware, load_model
from optimizer.spec.read import read_layout, read_problem
from optimizer.verify.claim_table import dimensions

HERE = Path(__file__).parent / "malformed"
READERS: dict[str, Callable[[Path], object]] = {
    "problems": read_problem,
    "layouts": lambda path: read_layout(path, claims=dimensions()),
    "models": load_model,
    "hardware": load_hardware,
}
FILES = [f"{kind}/{path.name}" for kind in READERS for path in sorted((HERE / kind).iterdir())]
UPDATING = "UPDATE_SNAPSHOTS" in os.environ


def answer(file: str) -> list[str]:
    """What a broken file is answered."""
    read = READERS[file.partition("/")[0]]
    with pytest.raises(SpecError) as caught:
        read(Path(file))
    assert caught.value.exit_status == Exit.WRONG_QUESTION
    return [str(fault) for fault in caught.value.faults]


@pytest.fixture(autouse=True)
def _in_the_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)


@pytest.mark.parametrize("file", FILES)
def test_is_refused_in_these_words(file: str) -> None:
    kind, _, name = file.partition("/")
    snapshot = HERE / f"{kind}.json"
    expected = json.loads(snapshot.read_text()) if snapshot.exists() else {}
    if UPDATING:
        expected[name] = answer(file)
        snapshot.write_text(json.dumps(dict(sorted(expected.items())), indent=1, ensure_ascii=False) + "\n")
    assert answer(file) == expected[name]


@pytest.mark.parametrize("kind", READERS)
def test_no_answer_without_its_file(kind: str) -> None:
    assert set(json.loads((HERE / f"{kind}.json").read_text())) == {path.name for path in (HERE / kind).iterdir()}
