"""Launches that people reported (benchmarks/data/engine_runs.csv): whether they ran, and what the log said."""

from __future__ import annotations

import pytest

from benchmarks.engine_runs import Row, judged, rows

ROWS = rows()
MISSED = {
    "vllm issue 17469": "graphs of 67 sizes beside the share of memory",
    "vllm pull request 20228": "2% of memory beside the share, which graphs do not fit",
    "spark-vllm-docker issue 396": "memory shared with the host",
    "vllm issue 44376": "no part of the log says what held 2.6 GiB",
    "llm-d issue 787": "another sampler",
    "Kimi-K2 issue 51": "of 0.9.2 alone",
    "sglang issue 8362": "while weights were loaded",
}
"""What did not run and is said to fit on a known release, and why as far as it is known."""


def test_enough_is_labelled() -> None:
    assert len(ROWS) >= 60
    assert sum(row["outcome"] != "ran" for row in ROWS) >= 30
    assert all(row["source"] for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['source']}: {row['command'][:70]}")
def test_launch(row: Row) -> None:
    found = judged(row)
    told = " ".join(violation.message for violation in found.verdict.violations)
    if row["outcome"] == "ran":
        assert found.right, told
    elif not found.right:
        assert not found.known or row["source"] in MISSED
    else:
        assert row["says"] in told
    if row["weights_gib"] and found.known:
        assert found.verdict.evaluation is not None
        stage = found.verdict.evaluation.memory[0]
        held = stage.weights_bytes + stage.expert_weights_bytes + stage.replicated_weights_bytes
        assert held / 2**30 == pytest.approx(float(row["weights_gib"]), rel=0.01)
    if row["tokens"] and found.known and row["outcome"] == "ran" and "spark" not in row["source"]:
        assert float(found.verdict.figures["kv_cache_tokens"].value) == pytest.approx(float(row["tokens"]), rel=0.12)


def test_nothing_that_ran_is_refused_and_few_that_died_fit() -> None:
    """The targets are none of either; what is missed is named."""
    own = [one for one in map(judged, ROWS) if one.known]
    assert sum(not one.right for one in own if one.row["outcome"] == "ran") == 0
    assert sum(not one.right for one in own if one.row["outcome"] != "ran") == 8
