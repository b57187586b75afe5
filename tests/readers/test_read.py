"""Problems and layouts from files and options; whatever is wrong is a SpecError with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from optimizer.domain.layout import Layout
from optimizer.errors import SpecError
from optimizer.readers.document import load, load_text
from optimizer.readers.read import Override, layout_in, problem_in, read_problem
from optimizer.verify.claim_table import dimensions
from tests.strategies import documents

KNOWN = dimensions()
INLINE = """\
problem:
  model: llama-2-70b
  hardware: h100-sxm-8
  devices: 16
  workload: {input_tokens: 1000, output_tokens: 100}
layout: {tp: 8, dp: 2, batch: 4}
"""


def messages(error: pytest.ExceptionInfo[SpecError]) -> list[str]:
    return [str(fault) for fault in error.value.faults]


def test_a_layout_with_its_problem_inline() -> None:
    read = layout_in(load_text(INLINE), claims=KNOWN)
    assert read.problem.model.name == "llama-2-70b"
    assert read.layout == Layout(tp=8, dp=2, batch=4)
    assert read.claims == ()


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "problem.yaml").write_text(
        "model: model/config.json\nhardware: h100-sxm-8\nnodes: 2\nworkload: {input_tokens: 100, output_tokens: 10}\n"
    )
    (inner / "model").mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 512, "intermediate_size": 1024,
        "num_attention_heads": 8, "num_key_value_heads": 4, "num_hidden_layers": 4, "vocab_size": 1000,
        "max_position_embeddings": 4096, "torch_dtype": "bfloat16",
    }  # fmt: skip
    (inner / "model" / "config.json").write_text(json.dumps(config))
    (tmp_path / "layout.yaml").write_text("problem: inner/problem.yaml\nlayout: {tp: 4}\n")
    monkeypatch.chdir("/")
    read = layout_in(load(tmp_path / "layout.yaml"), claims=KNOWN)
    assert read.problem.devices == 16
    assert read.problem.model.layer_count == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("layout: {tp: 4}\n", ["<text>:1:1: problem: is required but missing"]),
        (
            INLINE.replace("devices: 16", "device: 16"),
            ["<text>:4:3: problem.device: unknown key (did you mean 'devices'?)"],
        ),
        (
            INLINE.replace("hardware: h100-sxm-8", "device: h100-sxm-8"),
            ["<text>:3:3: problem.device: unknown key (did you mean 'hardware'?)"],
        ),
        (INLINE.replace("layout:", "layot:"), ["<text>:6:1: layot: unknown key (did you mean 'layout'?)"]),
        (
            INLINE.replace("h100-sxm-8", "h100-smx-8"),
            [
                (
                    "<text>:3:13: problem.hardware: 'h100-smx-8' is no hardware of the catalog and no file: "
                    "`shardproof catalog hardware` lists 45 (did you mean 'h100-sxm-8'?)"
                )
            ],
        ),
        (
            INLINE.replace("input_tokens: 1000", "input_tokens: 5000"),
            [
                (
                    "<text>:5:13: problem.workload: input_tokens + output_tokens = 5100 is more than the 4096 tokens "
                    "llama-2-70b can hold"
                )
            ],
        ),
        (
            INLINE.replace("dp: 2", "dp: 2, devices: 32"),
            ["<text>:6:33: layout.devices: is 32, but the degrees give 16"],
        ),
        (
            INLINE.replace("tp: 8", "tp: 8, ep: 3"),
            ["<text>:6:9: layout: tp·cp·dp = 8·1·2 = 16 devices per stage, but etp·ep·edp = 5·3·1 = 15"],
        ),
        (INLINE.replace("dp: 2", "dp: two"), ["<text>:6:21: layout.dp: a whole number is wanted, not the text 'two'"]),
        (
            INLINE + "claims: {ttfft: 3 s, memory: 4 s, tpot: {value: 3 ms, tolerence: 1}}\n",
            [
                "<text>:7:10: claims.ttfft: unknown claim (did you mean 'ttft'?)",
                (
                    "<text>:7:30: claims.memory: '4 s' is a time, where a size in bytes is wanted "
                    "(B, kB, MB, GB, TB, PB, KiB, MiB, GiB)"
                ),
                "<text>:7:55: claims.tpot.tolerence: unknown key (did you mean 'tolerance'?)",
            ],
        ),
        ("[1, 2]", ["<text>:1:1: a layout is wanted (a mapping with problem, layout and claims), not a list"]),
        (
            '{"schema": "shardproof/result/1", "status": "infeasible", "problem": "seed-b-4x4x2", "layout": null}',
            ["<text>:1:96: layout: has no layout: its status is infeasible"],
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, expected: list[str]) -> None:
    with pytest.raises(SpecError) as refused:
        layout_in(load_text(text), claims=KNOWN)
    assert messages(refused) == expected


OPTIONS = {
    "--model": (("model",), "llama-2-70b"),
    "--hardware": (("hardware",), "h100-sxm-8"),
    "--devices": (("devices",), 16),
    "--isl": (("workload", "input_tokens"), 1000),
    "--osl": (("workload", "output_tokens"), 100),
}


def of_options(**changed: Any) -> list[Override]:
    found = {flag: Override(flag, at, value) for flag, (at, value) in OPTIONS.items()}
    for name, override in changed.items():
        found[f"--{name}"] = override
    return list(found.values())


def test_options_alone_make_a_problem() -> None:
    problem = read_problem(None, of_options(ttft=Override("--ttft", ("limits", "ttft"), "2s")))
    assert problem.devices == 16
    assert problem.limits.ttft == 2


def test_what_is_wrong_with_an_option_names_the_option() -> None:
    wrong = of_options(ttft=Override("--ttft", ("limits", "ttft"), "2 GB"), tp=Override("--tp", ("search", "tp"), [0]))
    with pytest.raises(SpecError) as refused:
        read_problem(None, wrong)
    assert messages(refused) == [
        "--ttft: '2 GB' is a size in bytes, where a time is wanted (ns, us, ms, s, min, h)",
        "--tp: must be at least 1, not 0",
    ]
    with pytest.raises(SpecError) as refused:
        read_problem(None, of_options(model=Override("--model", ("model",), "lama-2-70b")))
    assert messages(refused)[0].startswith("--model: 'lama-2-70b' is no model of the catalog")
    assert messages(refused)[0].endswith("(did you mean 'llama-2-70b'?)")
    with pytest.raises(SpecError) as refused:
        read_problem()
    assert messages(refused) == [
        "--model: is required where no problem file is given",
        "--hardware: is required where no problem file is given",
        "--devices: is required where no problem file is given",
    ]


def test_options_change_a_file() -> None:
    plain = read_problem("seed-b-4x4x2")
    changed = read_problem("seed-b-4x4x2", [Override("--nodes", ("nodes",), 2), Override("--tp", ("search", "tp"), 4)])
    assert (plain.devices, changed.devices) == (32, 16)
    assert changed.search.tp == (4,)
    assert changed.limits == plain.limits


@pytest.mark.parametrize("convention", ["folded", "vllm", "megatron", "product"])
def test_a_model_without_experts_may_have_its_expert_mesh_written_as_results_do(convention: str) -> None:
    mesh = f"{{convention: {convention}, tp: 8, dp: 2, etp: 1, ep: 1, edp: 1, batch: 4}}"
    text = INLINE.replace("{tp: 8, dp: 2, batch: 4}", mesh)
    assert layout_in(load_text(text), claims=KNOWN).layout == layout_in(load_text(INLINE), claims=KNOWN).layout
    with pytest.raises(SpecError, match=r"16 devices per stage, but etp·ep·edp = 1·1·1 = 1") as error:
        layout_in(load_text(text.replace("llama-2-70b", "mixtral-8x7b").replace(convention, "folded")), claims=KNOWN)
    assert error.value.faults[0].line is not None


def test_a_problem_repeated_in_full_reads_back_and_a_changed_one_is_refused() -> None:
    problem = read_problem("seed-b-4x4x2")
    full = problem.model_dump(mode="json") | {"digest": problem.digest}
    again = problem_in(load_text(json.dumps(full)))
    assert again == problem
    with pytest.raises(SpecError, match="the problem was changed"):
        problem_in(load_text(json.dumps(full | {"devices": 31})))


@given(documents, documents, documents)
def test_nothing_but_a_spec_error_escapes(problem: object, layout: object, claims: object) -> None:
    base = problem_text = {"problem": "seed-b-4x4x2", "layout": {"tp": 2}}
    for document in (
        {**base, "problem": problem},
        {**base, "layout": layout},
        {**base, "claims": claims},
        {**base, "layout": {"tp": layout, "stages": claims, "convention": problem}},
        {
            "problem": {"model": "seed-b-16l-16e", "hardware": "seed-64gb", "devices": layout, "workload": claims},
            "layout": {},
        },
    ):
        try:
            text = json.dumps(document)
        except (TypeError, ValueError):
            continue
        try:
            layout_in(load_text(text), claims=KNOWN)
        except SpecError as error:
            assert error.faults
    assert problem_text is base
