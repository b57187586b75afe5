"""Whatever a file holds, a reader answers with an instance or with faults that have a place."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.errors import SpecError
from optimizer.spec import catalog
from optimizer.spec.document import Document, load, load_text, parse
from optimizer.spec.hardware import HardwareSpec
from optimizer.spec.huggingface.reader import read_document
from optimizer.spec.layout import WrittenLayout
from optimizer.spec.model import ModelSpec
from optimizer.spec.problem import ProblemFile
from tests.strategies import broken

CONFIGS = Path(__file__).parents[1] / "data" / "configs"
LAYOUT = load_text(
    "{convention: folded, tp: 4, cp: 1, dp: 2, pp: 2, ep: 8, etp: 1, edp: 1, batch: 16, prefill_chunk: 512,"
    " stages: [{first_layer: 0, layers: 30}, {first_layer: 30, layers: 31}]}"
).data


def read_config(document: Document) -> object:
    return read_document(document, Path("config.json"))


def reader(model: type[HardwareSpec | ModelSpec | ProblemFile | WrittenLayout]) -> Callable[[Document], object]:
    return lambda document: parse(model, document)


def documents() -> dict[str, tuple[Callable[[Document], object], object]]:
    found: dict[str, tuple[Callable[[Document], object], object]] = {"layout": (reader(WrittenLayout), LAYOUT)}
    for kind, model, names in (
        ("hardware", HardwareSpec, ("h100-sxm-8", "gb200-nvl72-oversubscribed-2")),
        ("models", ModelSpec, ("deepseek-v3.2", "gpt-oss-120b", "qwen3-next-80b-a3b", "nemotron-h-56b")),
        ("scenarios", ProblemFile, catalog.names("scenarios")[::10]),
    ):
        for name in names:
            found[name] = (reader(model), load(catalog.path(kind, name)).data)
    for path in sorted(CONFIGS.glob("*.json"))[::6]:
        found[path.name] = (read_config, json.loads(path.read_text()))
    return found


DOCUMENTS = documents()


@pytest.mark.parametrize("name", DOCUMENTS)
@given(data=st.data())
def test_a_broken_document_is_refused_with_a_place(name: str, data: st.DataObject) -> None:
    read, good = DOCUMENTS[name]
    document = Document(data.draw(broken(good)), "d.json", "{}", is_json=True)
    try:
        read(document)
    except SpecError as error:
        for fault in error.faults:
            assert fault.message
            assert "\n" not in str(fault)
            assert fault.path in {"d.json", "config.json"}


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_load_or_are_refused(content: bytes) -> None:
    try:
        load_text(content.decode("utf-8", errors="surrogateescape"), "f.yaml")
    except SpecError as error:
        assert all(fault.path == "f.yaml" for fault in error.faults)
