"""Options that are broken, contradict each other or would be left out are refused by their names."""

from __future__ import annotations

import pytest

import optimizer
from optimizer.cli.main import run
from optimizer.errors import SpecError
from optimizer.readers.options import LONGEST_LIMIT_S

MODEL = ["solve", "--model", "llama-3.1-8b"]
ONE = [*MODEL, "--hardware", "h100-sxm-8", "--devices", "1", "--isl", "64", "--osl", "16"]
POOL = [*MODEL, "--pool", "h100-sxm-8=1"]
COMMAND = ["--from", "vllm serve meta-llama/Llama-3.1-8B-Instruct", "--hardware", "h100-sxm-8"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*ONE, "--ttft", "p99=2s,p99=3s"], "--ttft: p99 is stated twice"),
        ([*ONE, "--tpot", "mean=2s, p50=1s, mean=3s"], "--tpot: mean is stated twice"),
        ([*ONE, "--uncertainty", "hbm=10%,hbm=20%"], "--uncertainty: hbm is stated twice"),
        ([*ONE, "--uncertainty", "10%,hbm=20%"], "--uncertainty: '10%' is of every efficiency"),
        ([*ONE, "--uncertainty", "hbm=10%,20%"], "--uncertainty: '20%' is of every efficiency"),
        ([*ONE, "--uncertainty", "foo=10%"], "--uncertainty: unknown efficiency 'foo'"),
        ([*ONE, "--uncertainty", "100%"], "--uncertainty: uncertainty of hbm"),
        ([*ONE, "--engine", "vllm@"], "--engine: '' in engine 'vllm@' is no version"),
        ([*ONE, "--engine", "sglang@ 0.5"], "--engine: ' 0.5' in engine"),
        ([*ONE, "--engine", "vllm@0_1"], "--engine: '0_1' in engine"),
        (["verify", *COMMAND, "--engine", "vllm@"], "--engine: '' in 'vllm@' is no version"),
        (["verify", *COMMAND, "--engine", "vllm@new"], "--engine: 'new' in 'vllm@new' is no version"),
        ([*ONE, "--prefix-cache-hit", "100%"], "--prefix-cache-hit: must be below 1"),
        ([*ONE[:-1], "1"], "--osl: phase 'aggregated' needs output_tokens of at least 2"),
        ([*ONE, "--arrival", "poisson"], "--arrival: poisson needs request_rate"),
        (["explain", *ONE[1:], "--arrival", "poisson"], "--arrival: poisson needs request_rate"),
        (["verify", *COMMAND, "--arrival", "poisson"], "--arrival: poisson needs request_rate"),
        ([*POOL, "--arrival", "poisson"], "--arrival: changes a problem of one demand on one pool"),
        ([*POOL, "--prefix-cache-hit", "100%"], "--prefix-cache-hit: must be below 1"),
        ([*POOL, "--osl", "1"], "--osl: phase 'aggregated' needs output_tokens of at least 2"),
        ([*POOL, "--engine", "trtllm@"], "--engine: '' in engine 'trtllm@' is no version"),
        ([*POOL, "--hardware", "a100-sxm-8"], "--hardware: give either this, or --pool"),
        ([*POOL, "--devices", "2"], "--devices: give either this, or --pool"),
        ([*POOL, "--nodes", "2"], "--nodes: give either this, or --pool"),
        ([*POOL, "--redundant-slots", "8"], "--redundant-slots: changes a problem of one demand on one pool"),
        ([*POOL, "--arrival", "closed"], "--arrival: changes a problem of one demand on one pool"),
        (["solve", *COMMAND, "--pool", "h100-sxm-8=1"], "--pool: a launch command has its own devices"),
        (["explain", *COMMAND, "--pool", "h100-sxm-8=1"], "--pool: a launch command has its own devices"),
    ],
)
def test_what_would_be_left_out_is_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err.startswith(words)


@pytest.mark.parametrize("options", [["--expert-load", "zipf:0.8"], ["--current", "placement.json"]])
def test_a_fleet_of_options_has_no_measured_experts(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    phases = ["--hardware", "h200-sxm-8", "--devices", "16", "--phase", "disaggregated"]
    assert run(["solve", "--model", "deepseek-v3", *phases, *options]) == 2
    assert capsys.readouterr().err.startswith(f"{options[0]}: changes a problem")


@pytest.mark.parametrize("command", [ONE, ["place", *ONE[1:]], ["sweep", "grid.yaml"], ["bench", "smoke"]])
@pytest.mark.parametrize("seconds", ["inf", "nan", "-1", "1e300"])
def test_a_time_limit_is_a_number_of_seconds(
    command: list[str], seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, f"--time-limit={seconds}"]) == 2
    assert "'--time-limit'" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), -1])
def test_a_time_limit_of_a_program_is_one_too(seconds: float) -> None:
    with pytest.raises(SpecError, match="time_limit_s: a number of seconds from 0"):
        optimizer.solve({}, time_limit_s=seconds)


def test_the_longest_time_limit_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ONE, "--time-limit", str(LONGEST_LIMIT_S)]) == 0
    assert capsys.readouterr().out.startswith("optimal")


def test_percentiles_and_versions_that_are_right_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*ONE, "--ttft", "mean=2s,p99=3s", "--engine", "vllm@0.30", "--prefix-cache-hit", "99%"]) == 0
    assert "vllm@0.30" in capsys.readouterr().out
