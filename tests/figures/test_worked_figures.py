"""The numbers put into each formula give its figure, as the audit reckons what is written."""

from __future__ import annotations

from typing import Any

import pytest

from optimizer import verify
from optimizer.audit import audit_document

_OTHER_UNITS = {"ttft_s", "cost_per_token_dollars"}
"""Their text says n, or dollars a million tokens, beside what it reckons."""
_SERVED = {"input_tokens": 3000, "output_tokens": 500}
_UNEVEN = {"model": "gemma-3-27b", "hardware": "h200-sxm-8", "devices": 6}
_MIXED = {"model": "nemotron-3-nano-30b-a3b", "hardware": "h100-sxm-8", "devices": 4}
_DRAFTING = {"model": "deepseek-v3", "hardware": "h200-sxm-8", "devices": 8, "engine": "vllm"}


@pytest.mark.parametrize(
    ("problem", "workload", "layout"),
    [
        (_UNEVEN, {"phase": "prefill", "input_tokens": 3000, "output_tokens": 1}, {"tp": 2, "pp": 3, "batch": 4}),
        (_MIXED, _SERVED, {"tp": 2, "pp": 2, "batch": 6}),
        (_DRAFTING, _SERVED | {"mtp_tokens": 1, "mtp_acceptance": 0.7}, {"dp": 8, "ep": 8, "batch": 8}),
    ],
)
def test_the_numbers_put_into_a_formula_give_its_figure(
    problem: dict[str, Any], workload: dict[str, Any], layout: dict[str, Any]
) -> None:
    verdict = verify({"problem": problem | {"workload": workload}, "layout": layout})
    worked = [figure for figure in verdict.figures.values() if figure.substituted and figure.name not in _OTHER_UNITS]
    audit = audit_document("\n\n".join(f"{one.substituted} = {one.result_text}" for one in worked), "figures")
    assert [one.text for one in audit.equations if one.verdict.wrong] == []
    assert sum(one.verdict == "holds" for one in audit.equations) > 30
