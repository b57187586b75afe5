"""Broken files, each refused with its exact words.

``malformed/KIND/`` holds the files, ``malformed/KIND.json`` what each is answered. After a change of wording, run with
``UPDATE_SNAPSHOTS=1`` and read the difference.
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer.cli.main import run
from optimizer.errors import Exit, Fault, SpecError
from optimizer.readers.catalog import load_hardware, load_model
from optimizer.readers.document import load
from optimizer.readers.read import layout_in, read_problem
from optimizer.verify.claim_table import dimensions

HERE = Path(__file__).parent / "malformed"
READERS: dict[str, Callable[[Path], object]] = {
    "problems": read_problem,
    "layouts": lambda path: layout_in(load(path), claims=dimensions()),
    "models": load_model,
    "hardware": load_hardware,
}
FILES = [f"{kind}/{path.name}" for kind in READERS for path in sorted((HERE / kind).iterdir())]
COMMANDS = {
    "problems": "solve {}",
    "layouts": "verify {}",
    "models": "solve --model {} --hardware h100-sxm-8 --devices 8 --isl 1000 --osl 100",
    "hardware": "solve --model qwen3-30b-a3b --hardware {} --devices 8 --isl 1000 --osl 100",
}
UPDATING = "UPDATE_SNAPSHOTS" in os.environ


def settled(words: list[str]) -> list[str]:
    """The same, but for what grows with the catalog: how much there is, and the list of architectures."""
    words = [re.sub(r"lists \d+", "lists N", line) for line in words]
    return [re.sub(r"((?:supported|understood): \w+), .*?(?= \(|$)", r"\1, ...", line) for line in words]


def answer(file: str) -> list[str]:
    """What a broken file is answered."""
    read = READERS[file.partition("/")[0]]
    with pytest.raises(SpecError) as caught:
        read(Path(file))
    assert caught.value.exit_status == Exit.WRONG_QUESTION
    return settled([str(fault) for fault in caught.value.faults])


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


@pytest.mark.parametrize("file", FILES)
def test_the_command_says_so_and_exits_with_2(file: str, capfd: pytest.CaptureFixture[str]) -> None:
    kind, _, name = file.partition("/")
    expected = json.loads((HERE / f"{kind}.json").read_text())[name]
    command = COMMANDS[kind].format(file).split()
    assert run(command) == Exit.WRONG_QUESTION
    out, err = capfd.readouterr()
    assert (out, settled(err.splitlines())) == ("", expected)
    assert run([*command, "--json"]) == Exit.WRONG_QUESTION
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert (document["schema"], document["exit"], err) == ("shardproof/error/1", 2, "")
    assert settled([str(Fault(**fault)) for fault in document["errors"]]) == expected


@pytest.mark.parametrize("kind", READERS)
def test_no_answer_without_its_file(kind: str) -> None:
    assert set(json.loads((HERE / f"{kind}.json").read_text())) == {path.name for path in (HERE / kind).iterdir()}
