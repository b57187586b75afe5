"""From a file to a model, and from what is wrong with it to a line, a column and plain words."""

import io
import os
import stat
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from optimizer.domain.base import FieldError, Spec
from optimizer.domain.quantity import Bytes, Ratio, Seconds
from optimizer.errors import SpecError
from optimizer.readers.document import Document, load, load_text, parse, validate
from optimizer.readers.source import LARGEST_FILE_BYTES
from tests.strategies import documents


class Grouped(Spec):
    kind: Literal["gqa"]
    heads: int = Field(ge=1, le=1024)


class Latent(Spec):
    kind: Literal["mla"]
    rank: int


class Workload(Spec):
    phase: Literal["prefill", "decode"]
    tokens: int = Field(ge=1)
    ttft: Seconds | None = None


class Problem(Spec):
    name: str = Field(min_length=1)
    model: str | Workload
    workload: Workload
    memory: Bytes = 0
    attention: Annotated[Grouped | Latent, Field(discriminator="kind")] | None = None
    tp: int | tuple[int, ...] | None = None
    blocks: dict[str, Workload] = Field(default_factory=dict)
    stages: tuple[Workload, ...] = Field(default=(), max_length=2, strict=False)
    runs: tuple[Workload, ...] = Field(default=(), min_length=1, strict=False)
    share: Ratio | None = None
    on: bool = False

    @model_validator(mode="after")
    def _sensible(self) -> "Problem":
        if self.name == "bad":
            raise FieldError("names must be good", at=("name",), suggestion="good")
        if self.name == "ugly":
            message = "names must be fair"
            raise ValueError(message)
        return self


GOOD = "name: a\nmodel: b\nworkload: {phase: decode, tokens: 1}\n"


def faults_of(text: str, source: str = "p.yaml") -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse(Problem, load_text(text, source))
    return str(caught.value).split("\n")


def test_a_good_file_parses() -> None:
    problem = parse(Problem, load_text(GOOD + "memory: 80 GB\nshare: 90%\nstages: [{phase: decode, tokens: 10e3}]\n"))
    assert problem.memory == 80 * 10**9
    assert problem.stages[0].tokens == 10_000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("memry: 1", "p.yaml:4:1: memry: unknown key (did you mean 'memory'?)"),
        ("zzz: 1", "p.yaml:4:1: zzz: unknown key; the keys here are name, model, workload, memory,"),
        ("slots: [{phase: decode}]", "p.yaml:4:1: slots: unknown key; the keys here"),
        ("tensor_parallel_size: 8", "p.yaml:4:1: tensor_parallel_size: unknown key (did you mean 'tp'?)"),
        ("memory: 80 gb", "p.yaml:4:9: memory: unknown unit 'gb' for a size in bytes"),
        ("memory: 0.5", "p.yaml:4:9: memory: 0.5 is not whole"),
        ("memory: true", "p.yaml:4:9: memory: a size in bytes is wanted, not true or false"),
        ("share: 120%", "p.yaml:4:8: share: 120% is too large: at most 100%"),
        ("on: yes", "p.yaml:4:5: on: true or false is wanted, not the text 'yes'"),
        ("on: 1", "p.yaml:4:5: on: true or false is wanted, not 1"),
        ("tp: x", "p.yaml:4:5: tp: a whole number or a list is wanted, not the text 'x'"),
        ("tp: true", "p.yaml:4:5: tp: a whole number or a list is wanted, not true"),
        ("tp: 1.5", "p.yaml:4:5: tp: a whole number or a list is wanted, not 1.5"),
        ("attention: {kind: gqq}", "p.yaml:4:19: attention.kind: 'gqq' is not gqa or mla (did you mean 'gqa'?)"),
        ("attention: {heads: 1}", "p.yaml:4:12: attention.kind: is required but missing"),
        ("attention: {kind: gqa, hads: 1}", "p.yaml:4:24: attention.hads: unknown key (did you mean 'heads'?)"),
        ("attention: {kind: gqa, heads: 0}", "p.yaml:4:31: attention.heads: must be at least 1, not 0"),
        ("attention: {kind: gqa, heads: 2048}", "p.yaml:4:31: attention.heads: must be at most 1024, not 2048"),
        ("attention: 3", "p.yaml:4:12: attention: a mapping is wanted, not 3"),
        ("blocks: {x: {phase: decode}}", "p.yaml:4:13: blocks.x.tokens: is required but missing"),
        (
            "blocks: {x: {phase: decode, tokens: 1, tfft: 1}}",
            "p.yaml:4:40: blocks.x.tfft: unknown key (did you mean 'ttft'?)",
        ),
        ("blocks: []", "p.yaml:4:9: blocks: a mapping is wanted, not a list"),
        ("stages: {}", "p.yaml:4:9: stages: a list is wanted, not a mapping"),
        (
            "stages: [{phase: decode, tokens: a}]",
            "p.yaml:4:34: stages[0].tokens: a whole number is wanted, not the text",
        ),
        ("stages: [1, 2, 3]", "p.yaml:4:10: stages[0]: a mapping is wanted, not 1"),
    ],
)
def test_one_thing_wrong(line: str, message: str) -> None:
    assert faults_of(GOOD + line)[0].startswith(message)


def test_everything_wrong_is_said_at_once_in_the_order_of_the_file() -> None:
    faults = faults_of("nme: a\nmodel: 3\nworkload: {phase: decod, tokens: 0, ttft: 2 GB}\non: 1\n")
    assert faults == [
        "p.yaml:1:1: nme: unknown key (did you mean 'name'?)",
        "p.yaml:2:8: model: text or a mapping is wanted, not 3",
        "p.yaml:3:19: workload.phase: 'decod' is not prefill or decode (did you mean 'decode'?)",
        "p.yaml:3:34: workload.tokens: must be at least 1, not 0",
        "p.yaml:3:43: workload.ttft: '2 GB' is a size in bytes, where a time is wanted (ns, us, ms, s, min, h)",
        "p.yaml:4:5: on: true or false is wanted, not 1",
    ]


def test_the_branch_of_a_union_that_got_further_speaks() -> None:
    faults = faults_of("name: a\nmodel: {phse: decode, tokens: 1}\nworkload: {phase: decode, tokens: 1}\n")
    assert faults == [
        "p.yaml:2:9: model.phse: unknown key (did you mean 'phase'?)",
    ]


def test_validators_may_point_below_what_they_judge() -> None:
    assert faults_of(GOOD.replace("name: a", "name: bad")) == [
        "p.yaml:1:7: name: names must be good (did you mean 'good'?)"
    ]
    assert faults_of(GOOD.replace("name: a", "name: ugly")) == ["p.yaml:1:1: names must be fair"]


def test_keys_are_listed_once_and_only_close_ones_suggested() -> None:
    keys = "name, model, workload, memory, attention, tp, blocks, stages, runs, share, on"
    assert faults_of(GOOD + "max_position: 1\nfrobnicate: 2\n") == [
        f"p.yaml:4:1: max_position: unknown key; the keys here are {keys}",
        "p.yaml:5:1: frobnicate: unknown key",
    ]


def test_the_keys_listed_are_those_of_the_kind_that_was_chosen() -> None:
    assert faults_of(GOOD + "attention: {kind: mla, rank: 1, frobnicate: 2}") == [
        "p.yaml:4:33: attention.frobnicate: unknown key; the keys here are kind, rank"
    ]
    assert faults_of(
        "name: a\nmodel: {phase: decode, tokens: 1, frobnicate: 2}\nworkload: {phase: decode, tokens: 1}"
    ) == ["p.yaml:2:35: model.frobnicate: unknown key; the keys here are phase, tokens, ttft"]


def test_a_list_is_not_called_short_for_an_item_that_was_refused() -> None:
    assert faults_of(GOOD + "runs: [{phase: decode}]") == ["p.yaml:4:8: runs[0].tokens: is required but missing"]
    assert faults_of(GOOD + "runs: []") == ["p.yaml:4:7: runs: must not be empty"]


def test_an_absent_part_is_missing() -> None:
    document = load_text("a: {b: 1}\n", "l.yaml")
    with pytest.raises(SpecError) as caught:
        parse(Problem, document, at=("a", "problem"))
    assert str(caught.value) == "l.yaml:1:4: a.problem: is required but missing"


def test_empty_text_is_said_to_be_empty() -> None:
    assert faults_of(GOOD.replace("name: a", "name: ''")) == ["p.yaml:1:7: name: must not be empty"]


def test_json_has_places_too() -> None:
    text = '{"name": "a", "model": "b",\n "workload": {"phase": "decode", "tokens": -1}}'
    assert faults_of(text, "p.json") == ["p.json:2:44: workload.tokens: must be at least 1, not -1"]


def test_a_part_of_a_document_parses_with_its_own_places() -> None:
    document = load_text("problem:\n  name: a\n  model: b\n  workload: {phase: decode, tokens: 0}\n", "l.yaml")
    with pytest.raises(SpecError) as caught:
        parse(Problem, document, at=("problem",))
    assert str(caught.value) == "l.yaml:4:37: problem.workload.tokens: must be at least 1, not 0"


def test_what_is_derived_from_a_part_points_to_it() -> None:
    document = load_text("a: 1\nb: 2\n", "l.yaml")
    with pytest.raises(SpecError) as caught:
        validate(Workload, {"phase": "decode", "tokens": "x"}, document, at=("b",))
    assert str(caught.value) == "l.yaml:2:4: b.tokens: a whole number is wanted, not the text 'x'"


def test_faults_and_values_by_path() -> None:
    document = load_text("a: [1, {b: 2}]\n", "l.yaml")
    assert document.get(("a", 1, "b")) == 2
    assert document.get(("a", 5)) is None
    assert str(document.error("is odd", ("a", 1, "b"), "3")) == "l.yaml:1:12: a[1].b: is odd (did you mean '3'?)"
    assert str(document.fault("is odd", ("a",), key=True)) == "l.yaml:1:1: a: is odd"


@pytest.mark.parametrize("text", ["{name: a}", "name: a", '{"name": "a"}', '\n {\n "name": "a"}'])
def test_yaml_and_json_are_told_apart(text: str) -> None:
    assert load_text(text).data == {"name": "a"}


def test_a_json_file_must_be_json() -> None:
    with pytest.raises(SpecError, match="not valid JSON"):
        load_text("name: a", "p.json")


class TestFiles:
    def message(self, path: Path | str) -> str:
        with pytest.raises(SpecError) as caught:
            load(path)
        return str(caught.value)

    def test_good(self, tmp_path: Path) -> None:
        path = tmp_path / "p.yaml"
        path.write_bytes(b"\xef\xbb\xbfname: a\r\n")
        assert load(path).data == {"name": "a"}
        (tmp_path / "p.json").write_bytes(b'\xef\xbb\xbf{"name": "a"}')
        assert load(tmp_path / "p.json").data == {"name": "a"}
        assert load(str(path)).source == str(path)

    def test_missing(self, tmp_path: Path) -> None:
        assert self.message(tmp_path / "x.yaml") == f"{tmp_path}/x.yaml: no such file"

    def test_misspelt(self, tmp_path: Path) -> None:
        (tmp_path / "problem.yaml").touch()
        expected = f"{tmp_path}/problme.yaml: no such file (did you mean '{tmp_path}/problem.yaml'?)"
        assert self.message(tmp_path / "problme.yaml") == expected

    def test_in_no_directory(self, tmp_path: Path) -> None:
        assert self.message(tmp_path / "no" / "x.yaml") == f"{tmp_path}/no/x.yaml: no such file"

    def test_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "f").touch()
        assert self.message(tmp_path / "f" / "x.yaml") == f"{tmp_path}/f/x.yaml: cannot be read: not a directory"

    def test_a_directory(self, tmp_path: Path) -> None:
        assert self.message(tmp_path) == f"{tmp_path}: is a directory, not a file"

    def test_a_name_that_no_file_has(self) -> None:
        assert self.message("a\0b") == "'a\\x00b': is not a file name"
        assert "too long" in self.message("x" * 5000)

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "e.yaml").touch()
        assert self.message(tmp_path / "e.yaml") == f"{tmp_path}/e.yaml: is empty"

    def test_binary(self, tmp_path: Path) -> None:
        (tmp_path / "b").write_bytes(b"\x7fELF\0\0")
        assert self.message(tmp_path / "b") == f"{tmp_path}/b: is a binary file, not text"

    def test_not_utf_8(self, tmp_path: Path) -> None:
        (tmp_path / "l").write_bytes("name: a\nb: é".encode("latin-1"))
        assert self.message(tmp_path / "l") == f"{tmp_path}/l:2:4: is not UTF-8 text"

    def test_endless(self) -> None:
        if not Path("/dev/zero").exists():
            pytest.skip("no /dev/zero")
        assert self.message("/dev/zero") == f"/dev/zero: is larger than {LARGEST_FILE_BYTES // 2**20} MiB"

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
    def test_unreadable(self, tmp_path: Path) -> None:
        path = tmp_path / "u.yaml"
        path.touch()
        path.chmod(0)
        assert self.message(path) == f"{path}: cannot be read: permission denied"
        path.chmod(stat.S_IRUSR)


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(buffer))
    return buffer


def test_a_dash_is_standard_input(stdin: io.BytesIO) -> None:
    stdin.write(b"name: [")
    stdin.seek(0)
    with pytest.raises(SpecError) as caught:
        load("-")
    assert str(caught.value).startswith("<stdin>:1:8: not valid YAML")


def test_standard_input_is_the_same_however_often_a_command_asks(stdin: io.BytesIO) -> None:
    stdin.write(b"name: one")
    stdin.seek(0)
    assert load("-").data == load("-").data == {"name": "one"}


def test_no_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SpecError, match="<stdin>: cannot be read"):
        load("-")


@given(documents)
def test_any_data_parses_or_is_refused_with_a_place(data: object) -> None:
    document = Document(data, "d.json", "{}")
    try:
        parse(Problem, document)
    except SpecError as error:
        assert all(fault.path == "d.json" and fault.line == 1 and fault.message for fault in error.faults)


@given(st.text(alphabet=st.sampled_from("ab01{}[]:,\"'\n &*!|>-?#%@`~\t\\.e+") | st.characters(), max_size=60))
def test_any_text_loads_or_is_refused(text: str) -> None:
    for source in ("f.yaml", "f.json"):
        try:
            load_text(text, source)
        except SpecError as error:
            assert all(fault.path == source for fault in error.faults)
