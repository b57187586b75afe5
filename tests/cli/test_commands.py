"""Commands from the command line down: exit status, JSON, standard input, errors, laziness."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from optimizer.cli import main
from optimizer.cli.main import COMMANDS, run
from optimizer.cli.schemas import KINDS, schema_of
from optimizer.domain.engines import ENGINES
from optimizer.domain.objectives import OBJECTIVES
from optimizer.readers.catalog import path
from optimizer.readers.options import PROBLEM_OPTIONS

ROOT = Path(__file__).parents[2]
LAYOUT = """\
problem: seed-b-4x4x2
layout: {tp: 4, pp: 4, dp: 2, ep: 8, batch: 16}
claims: {devices: 32, experts_per_gpu: 2, accuracy: 5%}
"""
SMALL = [
    "solve",
    "--model",
    "llama-3.1-8b",
    "--hardware",
    "h100-sxm-8",
    "--devices",
    "2",
    "--isl",
    "256",
    "--osl",
    "64",
]

Json = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(name="ask")
def ask_fixture(capsys: pytest.CaptureFixture[str]) -> Json:
    def ask(*arguments: str) -> tuple[int, dict[str, Any]]:
        status = run([*arguments, "--json"])
        return status, json.loads(capsys.readouterr().out)

    return ask


@pytest.fixture(name="layout")
def layout_fixture(tmp_path: Path) -> Path:
    file = tmp_path / "layout.yaml"
    file.write_text(LAYOUT)
    return file


def valid(document: dict[str, Any], kind: str) -> None:
    jsonschema.validate(document, schema_of(kind))


@pytest.mark.parametrize(("given", "assumed"), [((), 2), (("--isl", "300"), 1), (("--isl", "300", "--osl", "40"), 0)])
def test_one_line_without_lengths_is_answered_and_says_what_it_assumed(
    ask: Json, capsys: pytest.CaptureFixture[str], given: tuple[str, ...], assumed: int
) -> None:
    line = ["solve", *SMALL[1:7], *given]
    status, answer = ask(*line)
    assert status == 0
    assert len(answer.get("assumed", [])) == assumed
    workload = answer["problem"]["workload"]
    assert workload["input_tokens"] == (300 if given else 1024)
    assert workload["output_tokens"] == (40 if "--osl" in given else 1024)
    run(line)
    assert ("\nassumed  " in capsys.readouterr().out) == (assumed > 0)


def test_a_word_that_is_none_of_an_options_is_told_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SMALL, "--method", "foo"]) == 2
    assert capsys.readouterr().err == "invalid value for '--method': 'foo' is not one of 'branch-and-bound', 'cp-sat'\n"


def test_one_line_names_everything_that_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["solve"]) == 2
    faults = capsys.readouterr().err.splitlines()
    assert [fault.split(":")[0] for fault in faults] == ["--model", "--hardware", "--devices"]


def test_verify_json(ask: Json, layout: Path) -> None:
    status, document = ask("verify", str(layout))
    assert status == 0
    valid(document, "verdict")
    assert [claim["verdict"] for claim in document["claims"]] == ["holds", "ambiguous", "unsupported"]
    layout.write_text(LAYOUT.replace("devices: 32", "devices: 33"))
    assert ask("verify", str(layout))[0] == 1
    layout.write_text(LAYOUT.replace("batch: 16", "batch: 100000"))
    status, document = ask("verify", str(layout))
    assert status == 1
    assert document["feasible"] is False
    assert {violation["family"] for violation in document["violations"]} == {"memory", "batch", "ttft"}
    valid(document, "verdict")


def test_verify_for_people(layout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(layout)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("feasible\n")
    assert "tp=4 cp=1 dp=2 | etp=1 ep=8 edp=1 | pp=4: 32 devices, 1 replica, batch 16 a rank" in out
    assert "\x1b" not in out
    assert run(["verify", str(layout), "--derivations"]) == 0
    assert "tp · cp · dp · pp = 4 · 1 · 2 · 4" in capsys.readouterr().out


PROBLEM = "{model: llama-3.1-8b, hardware: h100-sxm-8, devices: 1, workload: {input_tokens: 1000, output_tokens: 200}}"
CLUSTER = """
pools: {a: {devices_per_node: 4, nodes: 1}}
demands: {x: {workload: {request_rate: 3}}}
rates: rates.csv
"""


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (LAYOUT, ["verify"]),
        (PROBLEM, ["solve", "--tp", "1", "--batch", "8"]),
        (PROBLEM, ["explain", "--tp", "1", "--batch", "8"]),
        (PROBLEM, ["solve", "--tp", "1", "--pool", "h100-sxm-8=1", "--batch", "8"]),
        (CLUSTER, ["solve"]),
        (CLUSTER, ["explain"]),
        (f"problem: {PROBLEM}\ngrid: {{devices: [1]}}", ["sweep"]),
        (PROBLEM.replace("}}", "}, search: {tp: [1], batch: [8]}}"), ["bench", "--methods", "none", "--no-peers"]),
    ],
)
def test_standard_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str, arguments: list[str]
) -> None:
    (tmp_path / "rates.csv").write_text("pool,demand,layout,devices,requests_per_s\na,x,one,1,3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert run([arguments[0], "-", *arguments[1:]]) == 0
    shown = capfd.readouterr()
    assert "empty" not in shown.out + shown.err


def test_solve_writes_what_verify_and_certify_take(ask: Json, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    status, document = ask(*SMALL, "--ttft", "2s", "--out", str(file))
    assert status == 0
    assert document == json.loads(file.read_text())
    valid(document, "result")
    valid(document["certificate"], "certificate")
    assert document["status"] == "optimal"
    status, verdict = ask("verify", str(file))
    assert (status, verdict["feasible"]) == (0, True)
    assert verdict["figures"] == document["figures"]
    status, check = ask("certify", str(file))
    assert (status, check["accepted"]) == (0, True)
    valid(check, "check")
    document["figures"]["memory_bytes"] += 1
    file.write_text(json.dumps(document))
    status, check = ask("certify", str(file))
    assert (status, check["accepted"]) == (1, False)
    valid(check, "check")


def test_solve_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SMALL, "--tp", "1,2", "--top", "2"]) == 0
    out = capsys.readouterr().out
    assert re.match(r"optimal: [0-9.,]+ tokens/s in all\n", out)
    assert "The best 2 layouts" in out
    assert "Time of a step" in out


def test_infeasible_is_a_no(ask: Json) -> None:
    status, document = ask(*SMALL, "--tpot", "1us")
    assert (status, document["status"], document["layout"]) == (1, "infeasible", None)
    valid(document, "result")


def test_catalog(ask: Json, capsys: pytest.CaptureFixture[str]) -> None:
    status, document = ask("catalog")
    assert status == 0
    valid(document, "catalog")
    assert len(document["models"]) >= 45
    assert len(document["hardware"]) >= 35
    assert len(document["scenarios"]) >= 24
    assert "vllm" in document["engines"]
    assert ask("catalog", "models", "llama-2-70b")[1]["parameters"] == 68_976_648_192
    assert ask("catalog", "hardware", "h100-sxm-8")[1]["devices_per_node"] == 8
    assert ask("catalog", "scenario", "seed-b-4x4x2")[1]["devices"] == 32
    assert all(ask("catalog", "engines", name)[1]["rules"] for name in ("vllm", "sglang", "trtllm"))
    assert ask("catalog", "conventions", "product")[1]["device_count"] == "tp · cp · pp · ep · dp"
    assert run(["catalog", "models"]) == 0
    assert "llama-2-70b" in capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_schemas_are_schemas(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", kind]) == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))


def test_a_layout_file_fits_its_schema() -> None:
    from optimizer.readers.document import load_text  # noqa: PLC0415 - beside its only use

    document = load_text(LAYOUT).data
    valid(document, "layout")
    with pytest.raises(jsonschema.ValidationError):
        valid({**document, "layot": {}}, "layout")


def test_the_catalog_fits_its_schemas() -> None:
    from optimizer.readers import catalog  # noqa: PLC0415 - beside its only use
    from optimizer.readers.document import load  # noqa: PLC0415 - beside its only use

    kinds = {
        "models": "model", "hardware": "hardware", "scenarios": "problem", "clusters": "cluster", "layouts": "layout",
    }  # fmt: skip
    for kind, schema in kinds.items():
        validator = jsonschema.Draft202012Validator(schema_of(schema))
        for name in catalog.names(kind):
            document = load(catalog.path(kind, name)).data
            assert [error.message for error in validator.iter_errors(document)] == [], name


def test_a_lone_value_is_a_list_of_one_in_schemas() -> None:
    asked = {"model": "m", "hardware": "h", "devices": 8, "workload": {"input_tokens": 9, "output_tokens": 9}}
    for degree in (5, [5], [1, 2]):
        valid({**asked, "search": {"tp": degree}}, "problem")
    for degree in (0, [0], [], "5"):
        with pytest.raises(jsonschema.ValidationError):
            valid({**asked, "search": {"tp": degree}}, "problem")


def test_the_result_of_a_cluster_fits_its_schema(ask: Json, tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text("pool,demand,layout,devices,requests_per_s\na,x,small,1,9\n")
    (tmp_path / "cluster.yaml").write_text(
        "pools: {a: {devices_per_node: 4, nodes: 2}}\nrates: rates.csv\n"
        "demands: {x: {workload: {input_tokens: 1000, output_tokens: 100, request_rate: 8}}}\n"
    )
    status, document = ask("solve", str(tmp_path / "cluster.yaml"))
    assert status == 0
    assert document["figures"] == {}
    valid(document, "result")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verfy"], "did you mean 'verify'?"),
        (["solve", "--modl", "x"], "no such option: --modl (did you mean '--model'?)"),
        (["solve"], "--model: is required where no problem file is given"),
        (["solve", "no-such-scenario"], "'no-such-scenario' is no scenario of the catalog and no file"),
        (["verify"], "missing argument"),
        (["verify", "/no/such/file.yaml"], "/no/such/file.yaml: no such file"),
        (["catalog", "modles"], "did you mean 'models'?"),
        (["schema", "layuot"], "did you mean 'layout'?"),
        ([*SMALL, "--top", "0"], "invalid value for '--top'"),
        ([*SMALL, "--ttft", "2GB"], "--ttft: '2GB' is a size in bytes, where a time is wanted"),
        ([*SMALL, "--out", "/no/such/folder/x.json"], "/no/such/folder/x.json: cannot be written"),
    ],
)
def test_errors_are_said_once_and_exit_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert run([*arguments, "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    valid(document, "error")
    assert document["exit"] == 2


def test_an_interrupt_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, layout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "_run", interrupted)
    assert run(["verify", str(layout)]) == 3
    assert capsys.readouterr().err == "interrupted before there was an answer\n"


@pytest.mark.parametrize(
    ("stop", "status", "says"),
    [
        (KeyboardInterrupt(), 3, "interrupted before there was an answer\n"),
        (KeyboardInterrupt("terminated"), 3, "terminated before there was an answer\n"),
    ],
)
def test_what_ends_a_command_is_not_a_status_of_typers(
    stop: BaseException, status: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ended() -> int:
        raise stop

    monkeypatch.setattr("optimizer.cli.verify.command", ended)
    assert run(["verify"]) == status
    assert capsys.readouterr().err == says


def test_a_bug_is_no_no(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_: list[str]) -> int:
        raise ZeroDivisionError("of our own making")

    monkeypatch.setattr(main, "_run", broken)
    assert run(["catalog", "--json"]) == 3
    captured = capsys.readouterr()
    assert "Traceback" in captured.err
    document = json.loads(captured.out)
    assert document["errors"][0]["message"] == "a bug: ZeroDivisionError: of our own making"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)
    for name in COMMANDS:
        assert run([name, "--help"]) == 0
    assert run(["--version"]) == 0


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os  # noqa: PLC0415 - beside its only use

    return subprocess.run(
        ["bash", "-c", command],  # noqa: S607 - the user's shell
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHON": sys.executable, **environment},
        check=False,
    )


@pytest.mark.parametrize("command", ["verify LAYOUT", "catalog", "catalog models llama-2-70b", "schema problem"])
def test_light_commands_load_neither_the_solver_nor_numpy(command: str, layout: Path) -> None:
    script = (
        "import sys; from optimizer.cli.main import run; run(sys.argv[1:]); "
        "sys.stderr.write(repr(sorted({m.partition('.')[0] for m in sys.modules} & {'numpy', 'ortools', 'rich'})))"
    )
    arguments = command.replace("LAYOUT", str(layout)).split()
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stderr == "[]"


def test_a_reader_that_leaves_early_is_no_traceback(layout: Path) -> None:
    done = shell(f"$PYTHON -m optimizer verify {layout} --derivations | head -1; exit ${{PIPESTATUS[0]}}")
    assert done.stderr == ""
    assert done.stdout == "feasible\n"
    assert done.returncode in {0, 3}


def test_a_terminal_without_unicode_gets_every_number(layout: Path) -> None:
    done = shell(f"$PYTHON -m optimizer verify {layout}", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "experts resident per layer" in done.stdout


@pytest.mark.parametrize(("limits", "status"), [("", 0), ("--tpot 1us", 1)])
@pytest.mark.parametrize("lines", [0, 1, 2])
def test_a_reader_that_leaves_changes_no_exit_status(limits: str, status: int, lines: int) -> None:
    question = "--model llama-3.1-8b --hardware h100-sxm-8 --devices 1 --isl 1000 --osl 200"
    done = shell(f"$PYTHON -m optimizer solve {question} {limits} | head -n {lines}; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (status, "")


@pytest.mark.parametrize("command", ["solve", "explain"])
@pytest.mark.parametrize(
    ("hardware", "more", "message"),
    [
        ("h20-8", ["--objective", "cost"], "of 'h20-8' has none"),
        ("{free}", ["--objective", "cost"], "costs 0 $/h"),
        ("h100-sxm-8", ["--request-rate", "0"], "--request-rate: must be more than 0"),
    ],
)
def test_costs_need_a_price_and_rates_are_above_zero(
    command: str, hardware: str, more: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    free = tmp_path / "free.yaml"
    text = path("hardware", "h100-sxm-8").read_text(encoding="utf-8")
    free.write_text(text.replace("price: 2.95 $/h", "price: 0 $/h"), encoding="utf-8")
    question = ["--model", "llama-3.1-8b", "--hardware", hardware.format(free=free), "--devices", "2"]
    assert run([command, *question, "--isl", "1000", "--osl", "200", *more]) == 2
    assert message in capsys.readouterr().err


def test_what_is_free_is_no_obstacle_to_other_objectives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    free = tmp_path / "free.yaml"
    text = path("hardware", "h100-sxm-8").read_text(encoding="utf-8")
    free.write_text(text.replace("price: 2.95 $/h", "price: 0 $/h"), encoding="utf-8")
    question = ["--model", "llama-3.1-8b", "--hardware", str(free), "--devices", "2", "--isl", "1000", "--osl", "200"]
    assert run(["solve", *question]) == 0
    assert "cost dollars per million tokens" in capsys.readouterr().out
    assert run(["solve", *question, "--pareto", "cost,tpot"]) == 2


def test_a_conflict_promises_only_what_its_own_limits_allow(capsys: pytest.CaptureFixture[str]) -> None:
    """More memory alone would not do here: TPOT, which is no member of the conflict, stands in the way as well."""
    question = ["--model", "qwen3-30b-a3b", "--hardware", "l40s-8", "--devices", "4", "--isl", "3000", "--osl", "300"]
    question += ["--request-rate", "10", "--tpot", "12 ms"]
    assert run(["explain", *question, "--json"]) == 1
    explained = json.loads(capsys.readouterr().out)
    members = {item["limit"] for item in explained["conflict"]}
    for command in ("solve", "explain"):
        assert run([command, *question]) == 1
        said = capsys.readouterr().out
        assert "something fits" not in said
        assert "leave out any one and the rest of this list can be kept" in said
    assert set(explained["hopeless"]) & members == {"memory"}


ONE = "--model llama-3.1-8b --hardware h100-sxm-8 --devices 1 --isl 1000 --osl 200"


@pytest.mark.parametrize("command", ["solve", "explain"])
@pytest.mark.parametrize(("to", "words"), [(">/dev/full", "no space left on device"), (">&-", "is closed")])
def test_an_answer_that_nobody_can_read_is_no_yes(command: str, to: str, words: str) -> None:
    done = shell(f"$PYTHON -m optimizer {command} {ONE} {to}")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert words in done.stderr


def test_a_result_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    done = shell(f"ulimit -f 4; $PYTHON -B -m optimizer solve {ONE} --out {out}")
    assert done.returncode in {2, 3}
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
    done = shell(f"$PYTHON -m optimizer solve {ONE} --out {tmp_path}/none/result.json")
    assert done.returncode == 2
    assert "result.json: cannot be written: no such file or directory" in done.stderr


def test_names_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[2J\x1b]0;owned\x07"
    file = tmp_path / "p.json"
    question = {"name": name, "model": "llama-3.1-8b", "hardware": "h100-sxm-8", "devices": 1}
    file.write_text(json.dumps(question | {"workload": {"input_tokens": 1000, "output_tokens": 200}}))
    for command in ("solve", "explain"):
        assert run([command, str(file)]) == 0
        captured = capsys.readouterr()
        assert "\x1b" not in captured.out + captured.err
    assert run(["solve", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problem"]["name"] == name


def test_echoes_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "p.yaml"
    for text in (f"model: {'x' * 10**6}", f"{'k' * 10**6}: 1", f"model: [{'9' * 10**6}]", f"{'[' * 10**5}"):
        file.write_text(text)
        assert run(["solve", str(file)]) == 2
        assert all(len(line) < 1500 for line in capsys.readouterr().err.splitlines())
    assert run(["solve", "--model", "m" * 10**5, "--hardware", "h100-sxm-8", "--devices", "1" * 10**4]) == 2
    assert all(len(line) < 1500 for line in capsys.readouterr().err.splitlines())


LLAMA = ["--model", "llama-3.1-8b", "--hardware", "h100-sxm-8", "--devices", "4", "--isl", "1000", "--osl", "200"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ttft", "500"], "--ttft: 500 of what? A unit is wanted: 500s or 500ms"),
        (["--tpot", "0.05"], "--tpot: 0.05 of what? A unit is wanted: 0.05s or 0.05ms"),
        (["--devices", "-4"], "--devices: must be at least 1, not -4"),
        (["--hardware", "h100"], "(did you mean 'h100-sxm-8'?)"),
        (["--hardware", "a100"], "; also a100-pcie-8, a100-sxm-40gb-8 (did you mean 'a100-sxm-8'?)"),
        (["--hardware", "4090"], "(did you mean 'rtx-4090-8'?)"),
        (["--hardware", "mi300"], "(did you mean 'mi300x-8'?)"),
        (["--engine", "vlm"], "(did you mean 'vllm'?)"),
    ],
)
def test_an_option_is_asked_about_by_its_name(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["solve", *LLAMA, *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["solve", "explain"])
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            ["--tp", "3"],
            "tp=3 does not divide the attention heads of block 'layer' of 32; the nearest that divide: 2 and 4",
        ),
        (["--tp", "200"], "the nearest that divide: 32"),
    ],
)
def test_a_degree_that_does_not_divide_says_why_and_what_does(
    command: str, options: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, *LLAMA, *options]) == 1
    assert reason in capsys.readouterr().out


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ("throughput_per_device", r"optimal: [0-9.,]+ tokens/s a device"),
        ("throughput", r"optimal: [0-9.,]+ tokens/s in all"),
        ("ttft", r"optimal: [0-9.,]+ ms to the first token"),
        ("tpot", r"optimal: [0-9.,]+ ms for each output token"),
        ("cost", r"optimal: [0-9.,]+ \$ per million tokens"),
        ("memory_headroom", r"optimal: [0-9.,]+ GB left on the fullest device"),
        ("context", r"optimal: one sequence of [0-9,]+ tokens"),
    ],
)
def test_the_first_line_says_of_what(objective: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["solve", *LLAMA, "--devices", "1", "--objective", objective]) == 0
    out = capsys.readouterr().out
    assert re.match(words, out)
    assert "llama-3.1-8b on 1 device of h100-sxm-8" in out
    assert "pp=1: 1 device, 1 replica, " in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--model", "llama-3.1-70b", "--devices", "5", "--objective", "throughput_per_device"],
            r"1 device: --objective throughput would use 5 devices: [0-9.,]+ tokens/s in all; 3 more would hold a",
        ),
        (
            ["--devices", "3", "--tp", "2"],
            r"1 device: no layout that keeps the limits serves more with them; 1 more would hold another replica$",
        ),
        (
            ["--devices", "3", "--dp", "1", "--tp", "1", "--pp", "1"],
            r"2 devices: no layout that keeps the limits serves more with them$",
        ),
    ],
)
def test_idle_devices_are_named_with_what_would_use_them(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["solve", *LLAMA, "--cp", "1", *options]) == 0
    assert re.search("^idle     .*" + says, capsys.readouterr().out, re.MULTILINE)


def test_help_lists_what_may_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {option.flag: option.help for option in PROBLEM_OPTIONS}
    for name in ("any", *ENGINES):
        assert name in listed["--engine"]
    assert listed["--objective"].endswith(", ".join(OBJECTIVES) + ".")
    assert run(["catalog", "hardware", "h100-sxm-8"]) == 0
    assert "price: 2.95 $/h" in capsys.readouterr().out
    assert run(["catalog", "scenarios", "qwen3-32b-h200-8"]) == 0
    assert "{'" not in capsys.readouterr().out
    assert run(["schema", "grid"]) == 0
    assert '"exclude"' in capsys.readouterr().out
