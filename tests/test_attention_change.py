"""A new attention kind is one class: nothing tells kinds apart by class or name, and none can be added by half."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

import optimizer
from optimizer.domain import attention
from optimizer.domain.attention import AttentionKind, GroupedQueryAttention, Mamba2
from optimizer.domain.attention.recurrent import Recurrent
from optimizer.readers import catalog
from tests.toy_attention import ENGINES, TWINS

ROOT = Path(optimizer.__file__).parent
CLASSES = {
    name for name, value in vars(attention).items() if isinstance(value, type) and issubclass(value, AttentionKind)
}


@pytest.mark.parametrize(
    "model",
    [
        pytest.param("gpt-oss-120b", id="windows"),
        pytest.param("llama-3.1-8b", id="dense"),
        pytest.param("qwen3-next-80b-a3b", id="beside states, with drafts"),
        pytest.param("deepseek-v3.2", id="latents of an indexer's choice"),
        pytest.param("kimi-linear-48b-a3b", id="latents beside states"),
        pytest.param("deepseek-v4-flash", id="compressed"),
    ],
)
def test_the_same_class_under_another_name_has_the_same_figures_everywhere(model: str, tmp_path: Path) -> None:
    written = re.sub("^name: .*", "name: toy", catalog.path("models", model).read_text(), flags=re.MULTILINE)
    twins = re.sub(rf"(kind: )({'|'.join(TWINS)})\b", lambda found: found[1] + TWINS[found[2]], written)
    assert twins != written
    for name, text in (("original", written), ("twin", twins)):
        (tmp_path / f"{name}.yaml").write_text(text)
    files = [str(tmp_path / f"{name}.yaml") for name in ("original", "twin")]
    told = subprocess.run(
        [sys.executable, "-m", "tests.toy_attention", *files], capture_output=True, check=True, cwd=ROOT.parent
    )
    original, twin = json.loads(told.stdout.decode().replace("_twin", ""))
    for asked in original:
        assert twin[asked] == original[asked], asked
    for engine in ENGINES:
        assert original[f"{engine}: tp=8, cp=1, dcp=1"]["figures"]


@pytest.mark.parametrize(("base", "whole"), [(AttentionKind, GroupedQueryAttention), (Recurrent, Mamba2)])
def test_a_class_that_leaves_out_what_is_asked_of_it_cannot_be_made(
    base: type[AttentionKind], whole: type[AttentionKind]
) -> None:
    assert "keeps" in AttentionKind.__abstractmethods__
    for missing in base.__abstractmethods__:
        said = {name: getattr(whole, name) for name in base.__abstractmethods__ - {missing}}
        half = type("Half", (base,), {"__module__": __name__, "__annotations__": {"mixer": ClassVar}, **said})
        with pytest.raises(TypeError, match=missing):
            half()


def test_nobody_asks_whether_a_kind_has_a_member() -> None:
    """Where it has none of the name, as a new one may not, the answer would be wrong without a word."""
    asks = re.compile(r"(getattr|hasattr)\((\w+\.)*(attention|kept),")
    assert [file.name for file in ROOT.rglob("*.py") if asks.search(file.read_text())] == []


def test_only_readers_of_configurations_name_a_class() -> None:
    named = re.compile(rf"\b({'|'.join({Recurrent.__name__, *CLASSES} - {AttentionKind.__name__})})\b")
    files = {file.relative_to(ROOT).as_posix(): file for file in ROOT.rglob("*.py")}
    found = {place for place, file in files.items() if named.search(file.read_text())}
    assert {place for place in found if not place.startswith(("domain/attention/", "readers/huggingface/"))} == set()
    assert "domain/attention/gqa.py" in found
