"""Whatever a file holds, a reader answers with an instance or with faults that name the file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.model import ModelSpec
from optimizer.errors import SpecError
from optimizer.readers import catalog
from optimizer.readers.document import Document, load, load_text, parse
from optimizer.readers.huggingface.reader import read_document
from optimizer.readers.read import layout_in, problem_in
from optimizer.verify.claim_table import dimensions
from tests.strategies import broken

CONFIGS = Path(__file__).parents[1] / "data" / "configs"
LAYOUT = load_text(
    """
    problem:
      model: qwen3-30b-a3b
      hardware: h100-sxm-8
      devices: 16
      workload: {kind: serving, phase: decode, input_tokens: 1000, output_tokens: 100}
    layout:
      {convention: folded, tp: 4, cp: 1, dp: 2, pp: 2, ep: 8, etp: 1, edp: 1, batch: 16, prefill_chunk: 512,
       stages: [{first_layer: 0, layers: 24}, {first_layer: 24, layers: 24}]}
    claims: {memory: 19.2 GB, parameters: 30e9, ttft: 8.5 s, memory_utilization: 30%, experts_per_gpu: 2}
    """
).data
Reader = Callable[[Document], object]


def read_config(document: Document) -> object:
    return read_document(document, Path("config.json"))


def read_layout(document: Document) -> object:
    return layout_in(document, claims=dimensions())


def documents() -> dict[str, tuple[Reader, object]]:
    found: dict[str, tuple[Reader, object]] = {"layout": (read_layout, LAYOUT)}
    kinds: tuple[tuple[catalog.Shelf, Reader, tuple[str, ...]], ...] = (
        ("hardware", lambda file: parse(HardwareSpec, file), ("h100-sxm-8", "gb200-nvl72-oversubscribed-2")),
        (
            "models",
            lambda file: parse(ModelSpec, file),
            ("deepseek-v3.2", "gpt-oss-120b", "qwen3-next-80b-a3b", "nemotron-h-56b"),
        ),
        ("scenarios", problem_in, catalog.names("scenarios")[::10]),
    )
    for kind, read, names in kinds:
        for name in names:
            found[name] = (read, load(catalog.path(kind, name)).data)
    for path in sorted(CONFIGS.glob("*.json"))[::6]:
        found[path.name] = (read_config, json.loads(path.read_text()))
    return found


DOCUMENTS = documents()


@pytest.mark.parametrize("name", DOCUMENTS)
@given(data=st.data())
def test_a_broken_document_is_refused_with_a_place(name: str, data: st.DataObject) -> None:
    read, good = DOCUMENTS[name]
    document = Document(data.draw(broken(good)), "d.json", "{}")
    try:
        read(document)
    except SpecError as error:
        for fault in error.faults:
            assert fault.message
            assert "\n" not in str(fault)
            assert fault.path is not None


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_load_or_are_refused(content: bytes) -> None:
    try:
        load_text(content.decode("utf-8", errors="surrogateescape"), "f.yaml")
    except SpecError as error:
        assert all(fault.path == "f.yaml" for fault in error.faults)
