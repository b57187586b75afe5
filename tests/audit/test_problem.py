"""With a problem the reference judges; a data block wins over prose."""

from typing import Any

from optimizer.audit import audit_document
from optimizer.audit.annotate import annotated, corrected_table

PROBLEM: dict[str, Any] = {
    "model": "mixtral-8x7b",
    "hardware": "h100-sxm-8",
    "devices": 8,
    "workload": {"kind": "serving", "phase": "decode", "input_tokens": 1024, "output_tokens": 128},
}
DATA = """---
problem:
  model: mixtral-8x7b
  hardware: h100-sxm-8
  devices: 8
  workload: {kind: serving, phase: decode, input_tokens: 1024, output_tokens: 128}
layout: {tp: 4, dp: 2, ep: 8, batch: 8}
claims:
  devices: 8
  parameters: 46.7e9
  experts_resident_per_layer: 3
---

The prose says TP=2 and 64 GPUs in total.
"""


def test_a_data_block_is_judged_as_verify_judges_it() -> None:
    found = audit_document(DATA, "x")
    verdicts = {item["name"]: (item["line"], item["verdict"]) for item in found.verified}
    assert verdicts["devices"] == (9, "holds")
    assert verdicts["parameters"] == (10, "holds")
    assert verdicts["experts_resident_per_layer"] == (11, "fails")
    assert found.exit_status == 1


def test_without_a_model_the_block_still_gives_the_degrees() -> None:
    found = audit_document("---\nlayout: {tp: 8, pp: 4, dp: 2}\nclaims:\n  devices: 64\n---\nTP=4.\n", "x").to_json()
    assert [(c["line"], c["verdict"]) for c in found["claims"]] == [(4, "holds")]


def test_a_problem_lets_prose_be_judged_by_the_reference() -> None:
    text = "TP=4, DP=2, EP=8.\n\n- Total parameters: 46.7B\n- Memory per GPU: 600 GB\n- Experts per GPU: 1\n"
    alone = {c["name"]: c["verdict"] for c in audit_document(text, "x").to_json()["claims"]}
    assert alone["parameters"] == "unsupported"
    found = {c["name"]: c["verdict"] for c in audit_document(text, "x", PROBLEM).to_json()["claims"]}
    assert found["parameters"] == "holds"
    assert found["memory"] == "impossible"


def test_figures_that_only_a_problem_can_judge_are_judged_with_one() -> None:
    text = (
        "TP=4, DP=2, EP=8.\n\n- Replicas: 3\n- Nodes: 1\n- KV cache: 131 KB per token\n"
        "- End-to-end latency: 0.1 ms\n- It serves 5 requests/s\n- Load balance: 1.0\n"
    )
    names = {"replicas", "nodes", "kv_cache_per_token", "latency", "request_capacity", "balance"}
    assert not names & {c["name"] for c in audit_document(text, "x").to_json()["claims"]}
    found = {c["name"]: c["verdict"] for c in audit_document(text, "x", PROBLEM).to_json()["claims"]}
    assert names <= set(found)
    assert (found["nodes"], found["balance"], found["latency"]) == ("holds", "holds", "impossible")
    assert (found["replicas"], found["kv_cache_per_token"]) == ("unsupported", "unsupported")


def test_a_wrong_problem_is_reported() -> None:
    found = audit_document("8 × 4 = 32", "x", {**PROBLEM, "model": "no-such-model"})
    assert any("no-such-model" in text for text in found.missing)


def test_terminal_output_quotes_line_verdict_and_arithmetic() -> None:
    result = audit_document("# A\n\nSo 8 × 4 × 16 × 4 = 512 [bold]GPUs[/bold].\n", "plan.md")
    text = "\n".join(annotated(result))
    assert "plan.md:3: So 8 × 4 × 16 × 4 = 512 [bold]GPUs[/bold]." in text
    assert "fails" in text
    assert "8 × 4 × 16 × 4 = 2,048" in text
    assert (
        "| 3 | 8 × 4 × 16 × 4 = 512 [bold]GPUs[/bold] | 2,048 | fails |" in corrected_table(result) or "2,048" in text
    )
    assert "| line | written | follows | verdict | reading |" in corrected_table(result)


def test_nothing_wrong_has_no_table() -> None:
    assert corrected_table(audit_document("8 × 4 = 32", "x")) == ""
