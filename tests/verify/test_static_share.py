"""SGLang's share of memory in a problem file: solved, verified, certified, exported and read back alike."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from optimizer.certificate import certify
from optimizer.domain.engines.reservation import GIB
from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.figures.serving import evaluate
from optimizer.readers.launch.problem import pose
from optimizer.readers.launch.read import read_launch
from optimizer.readers.read import Override, read_problem
from optimizer.solve import solve
from optimizer.verify.constraints import violations
from optimizer.verify.launch import judge_launch
from tests.certificate.documents import written

CONTEXT = GIB // 4 + 185 * GIB // 100
"""Of a rank over NVLink: its context and its communicators."""


def problem(share: str, more: dict[tuple[str, ...], str] | None = None) -> Problem:
    """Qwen3-30B-A3B on two H100, where the share decides the batch."""
    given: dict[tuple[str, ...], object] = {
        ("model",): "qwen3-30b-a3b", ("hardware",): "h100-sxm-8", ("devices",): 2, ("engine",): "sglang",
        ("limits", "mem_fraction_static"): share,
    }  # fmt: skip
    given |= {("search", name): value for name, value in {"tp": 2, "cp": 1, "prefill_chunk": 2048}.items()}
    return read_problem(None, [Override(f"--{at[-1]}", at, value) for at, value in (given | (more or {})).items()])


@pytest.mark.parametrize("share", ["0.4", "0.5", "0.6"])
def test_the_best_batch_is_the_most_that_the_share_holds(share: str) -> None:
    asked = problem(share)
    result = solve(asked)
    assert result.best is not None
    layout = result.best.layout
    pool = Fraction(share) * (asked.hardware.device.exposed_memory - CONTEXT)
    more = layout.model_copy(update={"batch": layout.batch + 1})
    for one, fits in ((layout, True), (more, False)):
        (stage,) = evaluate(asked, one).memory
        held = stage.total_bytes - stage.activations_bytes - stage.reserve_bytes
        assert (held <= pool) is fits
        told = [found.message for found in violations(asked, one, evaluate(asked, one))]
        assert [message for message in told if "mem_fraction_static" in message] == ([] if fits else told)


def test_a_certificate_does_not_stand_under_a_smaller_share() -> None:
    document = written(solve(problem("0.5")))
    assert certify(document).accepted
    assert document["problem"]["limits"]["mem_fraction_static"] == 0.5
    document["problem"]["limits"]["mem_fraction_static"] = 0.45
    assert not certify(document).accepted


def test_a_launch_is_judged_as_the_problem_that_says_the_same() -> None:
    """At the same share the same cache: `verify --from` and a problem file are one judgement."""
    command = "python3 -m sglang.launch_server --model-path Qwen/Qwen3-30B-A3B --tp 2 --mem-fraction-static 0.7"
    posed = pose(read_launch(command, "it"), [Override("--hardware", ("hardware",), "h100-sxm-8")])
    assert posed.problem.limits.mem_fraction_static == Fraction(7, 10)
    judged = judge_launch(posed).verdict
    own = evaluate(problem("0.7"), judged.layout)
    assert judged.feasible
    (stage,) = own.memory
    held = stage.weights_bytes + stage.expert_weights_bytes + stage.replicated_weights_bytes
    room = Fraction(7, 10) * (posed.problem.hardware.device.exposed_memory - CONTEXT) - held
    assert float(judged.figures["kv_cache_room_bytes"].value) == pytest.approx(float(room), abs=1)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({("engine",): "vllm"}, "is SGLang's share of memory; engine vllm takes memory_utilization"),
        ({("limits", "memory_utilization"): "0.9"}, "give one of them"),
        ({("limits", "mem_fraction_static"): "0"}, "mem_fraction_static: "),
        ({("limits", "mem_fraction_static"): "1.2"}, "mem_fraction_static: "),
    ],
)
def test_what_no_engine_would_take_is_located(limits: dict[tuple[str, ...], str], said: str) -> None:
    with pytest.raises(SpecError) as raised:
        problem("0.7", limits)
    assert said in str(raised.value)


def test_the_scenario_of_the_readme_reads(tmp_path: Path) -> None:
    file = tmp_path / "problem.yaml"
    file.write_text(
        "name: it\nmodel: qwen3-30b-a3b\nhardware: h100-sxm-8\ndevices: 2\nengine: sglang\n"
        "workload: {input_tokens: 2000, output_tokens: 500}\nlimits: {mem_fraction_static: 85%}\n"
    )
    assert read_problem(file).limits.mem_fraction_static == Fraction(85, 100)
