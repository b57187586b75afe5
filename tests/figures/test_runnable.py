"""The union is never worse than any engine, and says which engines run its answer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from optimizer.cli.main import run
from optimizer.domain.engines import ENGINES
from optimizer.domain.layout import Layout
from optimizer.figures.room import engines_that_run
from optimizer.figures.serving import evaluate
from optimizer.solve import solve
from optimizer.verify.verdict import judge_layout
from tests.verify.examples import MOE, hardware, problem

ASKED = {"devices": 8, "workload": {"input_tokens": 2048, "output_tokens": 256}}


@pytest.mark.parametrize("memory", ["2.6 GB", "3 GB", "15 GB"])
def test_no_engine_beats_the_union(memory: str) -> None:
    own = hardware(exposed_memory=memory)
    union = solve(problem(MOE, **ASKED, hardware=own))
    for name in ENGINES:
        answer = solve(problem(MOE, **ASKED, hardware=own, engine_name=name))
        if answer.best is not None:
            assert union.best is not None
            assert answer.best.value <= union.best.value, name


def test_an_answer_that_no_engine_runs_says_what_each_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    """The union keeps the least that any engine does, so that a full device of it may be too full for each."""
    asked = ["--model", "qwen3-32b", "--hardware", "h200-sxm-8", "--devices", "8", "--isl", "2000", "--osl", "500"]
    assert run(["solve", *asked]) == 0
    told = capsys.readouterr().out
    assert re.search(
        r"run it: none: each keeps more of a device for itself \(vllm lacks [\d.]+ MB, sglang lacks ", told
    )
    assert "`--engine vllm` finds what that one runs." in told
    assert run(["solve", *asked, "--engine", "vllm"]) == 0
    assert "Engines that run it: vllm." in capsys.readouterr().out


def test_a_cache_that_the_engines_own_step_leaves_no_room_for_is_told_at_the_step_that_is_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside an answer of 82 sequences a rank, `0 tokens` alone would say that it does not run."""
    asked = ["--model", "deepseek-v3", "--hardware", "h800-sxm-8", "--devices", "144", "--isl", "4096", "--osl", "1024",
             "--phase", "decode", "--tpot", "50ms", "--engine", "vllm"]  # fmt: skip
    out = tmp_path / "result.json"
    assert run(["solve", *asked, "--out", str(out)]) == 0
    told = re.search(r"Told (\d+) tokens a step, as `export` tells it: [\d,]+ tokens, ([\d.]+) sequences", (
        capsys.readouterr().out
    ))  # fmt: skip
    assert told is not None
    batch = json.loads(out.read_text())["layout"]["batch"]
    assert float(told[2]) >= batch
    assert run(["export", str(out), "--engine", "vllm", "--out", str(tmp_path / "launch")]) == 0
    assert f"--max-num-batched-tokens {told[1]} " in (tmp_path / "launch" / "node-0" / "launch.sh").read_text()


def test_engines_are_named_that_verify_accepts() -> None:
    question = problem(MOE, **ASKED, hardware=hardware(exposed_memory="3 GB"))
    for layout, wanted in (
        (Layout(tp=2, dp=2, etp=1, ep=4), {"vllm", "sglang", "megatron", "fsdp"}),
        (Layout(tp=4, etp=2, ep=2), {"sglang", "trtllm", "megatron"}),
        (Layout(tp=1, dp=3, etp=1, ep=3, edp=1), {"vllm"}),
    ):
        found = set(engines_that_run(question, evaluate(question, layout)))
        judged = {name for name in ENGINES if judge_layout(question.changed(engine_name=name), layout).feasible}
        assert found == judged
        assert found <= wanted
        assert judge_layout(question, layout).figures_document["engines"] == sorted(found, key=list(ENGINES).index)
