"""Launches that people reported in public threads: whether they ran, and what the log said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from optimizer.readers.launch.problem import pose
from optimizer.readers.launch.read import read_launch
from optimizer.readers.read import Override
from optimizer.verify.launch import judge_launch

CASES: list[dict[str, Any]] = YAML(typ="safe").load(Path(__file__).with_name("thread_cases.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['thread']}: {case['command'][:60]}")
def test_case(case: dict[str, Any]) -> None:
    given = [Override("--hardware", ("hardware",), case["hardware"])]
    if "engine" in case:
        given.append(Override("--engine", ("engine",), case["engine"]))
    verdict = judge_launch(pose(read_launch(case["command"], "x"), given)).verdict
    told = " ".join(violation.message for violation in verdict.violations)
    assert verdict.feasible is case["runs"], told
    assert case.get("says", "") in told
    if "weights" in case:
        assert verdict.evaluation is not None
        stage = verdict.evaluation.memory[0]
        held = stage.weights_bytes + stage.expert_weights_bytes + stage.replicated_weights_bytes
        assert held / 2**30 == pytest.approx(case["weights"], rel=0.01)
    if "tokens" in case:
        logged, share = case["tokens"]
        assert float(verdict.figures["kv_cache_tokens"].value) == pytest.approx(logged, rel=share)
