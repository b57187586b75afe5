"""`solve --pareto`, `--uncertainty`, the conflict of what does not fit, and what `explain` prints of what does."""

from __future__ import annotations

import json
import signal
import time
from fractions import Fraction
from pathlib import Path

import pytest

import optimizer.explain
import optimizer.search.frontier
from optimizer.certificate import certify
from optimizer.cli.main import run
from optimizer.cli.solve import uncertain_share
from optimizer.errors import SpecError
from optimizer.readers.read import Override, read_problem

ONE_LINE = ["--model", "llama-3.1-8b", "--hardware", "h100-sxm-8", "--devices", "2", "--isl", "500", "--osl", "100"]


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = run(list(arguments))
    captured = capsys.readouterr()
    return int(status), captured.out, captured.err


def test_a_frontier_is_sorted_and_holds_the_optimum(capsys: pytest.CaptureFixture[str]) -> None:
    asked = (*ONE_LINE, "--objective", "throughput_per_device", "--pareto", "throughput_per_device,tpot")
    status, out, _ = answer(capsys, "solve", *asked, "--json")
    document = json.loads(out)
    assert status == 0
    found = document["pareto"]
    assert found["objectives"] == ["throughput_per_device_tokens_per_s", "tpot_s"]
    values = [tuple(point["values"]) for point in found["points"]]
    assert values[0][0] == document["objective"]["value"]
    assert values == sorted(values, reverse=True)
    assert [v[1] for v in values] == sorted((v[1] for v in values), reverse=True)
    status, out, _ = answer(capsys, "solve", *asked)
    assert f"{len(values):,} layouts that nothing beats" in out


def test_an_unknown_objective_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = answer(capsys, "solve", *ONE_LINE, "--pareto", "speed,tpot")
    assert status == 2
    assert "unknown objective 'speed'" in err


def test_uncertainty_names_the_layout_of_least_regret(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = answer(capsys, "solve", *ONE_LINE, "--uncertainty", "hbm=10%", "--json")
    found = json.loads(out)["uncertainty"]
    assert status == 0
    assert found["box"] == {"hbm": 0.1}
    least, nominal = found["robust"]["worst_regret"], found["nominal"]["worst_regret"]
    assert nominal is None or least <= nominal
    status, out, _ = answer(capsys, "solve", *ONE_LINE, "--uncertainty", "hbm=10%")
    assert "If the efficiencies are wrong" in out


def test_shares_are_read_for_all_or_by_name() -> None:
    assert uncertain_share("20%") == Fraction(1, 5)
    assert uncertain_share("hbm=10%, links=0.3") == {"hbm": Fraction(1, 10), "links": Fraction(3, 10)}
    with pytest.raises(SpecError, match="--uncertainty"):
        uncertain_share("2 parsec")


def test_what_does_not_fit_says_which_limits_conflict(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = answer(capsys, "solve", *ONE_LINE, "--tpot", "1us", "--json")
    document = json.loads(out)
    assert status == 1
    assert "tpot" in [item["limit"] for item in document["conflict"]]
    status, out, _ = answer(capsys, "solve", *ONE_LINE, "--tpot", "1us")
    assert "Nothing keeps" in out


def test_explain_tells_what_binds_and_what_more_would_bring(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = answer(capsys, "explain", *ONE_LINE, "--tpot", "6ms")
    assert status == 0
    assert "Limits that bind" in out
    assert "tpot" in out
    assert "10% more memory bandwidth" in out


def test_interrupted_beside_the_answer_the_answer_stands(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(optimizer.search.frontier, "frontier", interrupted)
    status, out, err = answer(capsys, "solve", *ONE_LINE, "--pareto", "throughput_per_device,tpot", "--json")
    document = json.loads(out)
    assert (status, document["status"]) == (0, "optimal")
    assert "pareto" not in document
    assert "left out" in err
    assert certify(document).accepted


def test_interrupted_before_a_conflict_none_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(optimizer.explain, "brief", interrupted)
    status, out, err = answer(capsys, "solve", *ONE_LINE, "--ttft", "1us")
    assert (status, out.splitlines()[0]) == (1, "infeasible")
    assert "Nothing keeps" not in out
    assert "left out" in err


def test_a_time_limit_is_kept_beside_the_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(*_: object) -> None:
        while True:
            time.sleep(0.01)

    monkeypatch.setattr(optimizer.search.frontier, "frontier", endless)
    axes = "throughput_per_device,tpot"
    status, out, err = answer(capsys, "solve", *ONE_LINE, "--pareto", axes, "--time-limit", "3", "--json")
    document = json.loads(out)
    assert (status, document["status"]) == (0, "optimal")
    assert "pareto" not in document
    assert "--time-limit 3 has passed" in err
    assert certify(document).accepted
    monkeypatch.setattr(optimizer.explain, "brief", endless)
    status, out, err = answer(capsys, "solve", *ONE_LINE, "--ttft", "1us", "--time-limit", "3", "--json")
    document = json.loads(out)
    assert (status, document["status"], document["conflict"]) == (1, "infeasible", [])
    assert "--time-limit 3 has passed" in err
    assert "conflict: none is stated" in certify(document).not_checked
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_a_frontier_tells_how_far_it_is_before_its_first_box() -> None:
    options = (("model", "llama-3.1-8b"), ("hardware", "h100-sxm-8"), ("devices", 1))
    sizes = (("input_tokens", 500), ("output_tokens", 100))
    problem = read_problem(
        None, [*(Override(n, (n,), v) for n, v in options), *(Override(n, ("workload", n), v) for n, v in sizes)]
    )
    phases: list[str] = []
    optimizer.search.frontier.frontier(problem, ["ttft", "tpot"], lambda phase, _done, _of: phases.append(phase))
    assert phases[0] != "frontier"
    assert phases[-1] == "frontier"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--pareto", "throughput,tpto"), "--pareto: unknown objective 'tpto'"),
        (("--pareto", "throughput,tpto"), "(did you mean 'tpot'?)"),
        (("--pareto", "tpot"), "--pareto: a frontier is of two or three distinct objectives"),
        (("--uncertainty", "hbm"), "--uncertainty: 'hbm': how much of it? Write hbm=10%, or 10% for all"),
        (("--uncertainty", "20"), "(did you mean '20%'?)"),
        (("--confidence", "90"), "--confidence: 90 is too large: at most 100% (did you mean '90%'?)"),
        (("--memory-utilization", "90"), "(did you mean '90%'?)"),
        (("--phase", "training"), "--phase: training is not priced: phases are aggregated, prefill, decode and"),
    ],
)
def test_an_options_error_names_it_and_what_was_meant(
    more: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is solved."""
    monkeypatch.setattr("optimizer.cli.solve._solved", None)
    status, out, err = answer(capsys, "solve", *ONE_LINE, *more)
    assert (status, out) == (2, "")
    assert says in err


@pytest.mark.parametrize(
    ("text", "command", "says"),
    [
        ('{"schema": "shardproof/result/1", "status": "optimal", "problem": {}}', "solve",
         "1:1: is a result, and a problem is wanted: `shardproof certify`, `verify`, `report` and `export` take it"),
        ("layout: {tp: 2}\nproblem: seed-b-4x4x2", "explain", "is a layout, and a problem is wanted: `shardproof"),
        ("grid: {devices: [1, 2]}\nproblem: seed-b-4x4x2", "solve", "is a grid of problems, and a problem is wanted: "),
        ("layout: {tp: 2}\nproblem: seed-b-4x4x2", "sweep", "is a layout, and a grid is wanted: `shardproof verify`"),
        ('{"schema": "shardproof/result/1", "status": "optimal", "problem": {}}', "sweep", "is a result, and a grid"),
        # a stray key is no other kind of file
        ("{model: llama-3.1-8b, hardware: h100-sxm-8, devices: 1, layout: {}}", "solve", "layout: unknown key"),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_told_what_takes_it(
    text: str, command: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file := tmp_path / "given.yaml").write_text(text)
    status, _, err = answer(capsys, command, str(file))
    assert status == 2
    assert says in err


def test_a_name_that_the_catalog_lacks_is_told_as_an_option_is(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = answer(capsys, "catalog", "hardware", "h100")
    assert status == 2
    assert "NAME: 'h100' is no hardware of the catalog" in err
    assert "(did you mean 'h100-sxm-8'?)" in err
