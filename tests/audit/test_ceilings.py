"""Rates beyond a peak, shares of the only two figures, and figures of one device beside all."""

import pytest

from optimizer.audit import audit_document


def status(text: str) -> int:
    return audit_document(text, "plan.md").exit_status


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [
        ("The peak is 512 × 989 TFLOPS = 506 PFLOPS.\nA token costs 423 GFLOP per token.\n\nThe goal is {} tokens/s.\n",
         "1.3M", "1.1M"),
        ("There are 16 GPUs.\n\n- 180 GB of HBM per GPU, {} over all of it\n", "3.4 TB", "2.88 TB"),
        ("In an hour 12,400 requests arrived and 1,840 of them failed, which is {} % of all.\n", "18.4", "14.8"),
        ("22 B out of 235 B, about {} %.\n", "4", "9"),
    ],
)  # fmt: skip
def test_a_wrong_figure_is_told_and_the_right_one_is_not(text: str, wrong: str, right: str) -> None:
    assert status(text.format(wrong)) == 1
    assert status(text.format(right)) == 0


@pytest.mark.parametrize(
    "text",
    [
        "At most 16,000 tokens/s: 989 TFLOPS over 60 GFLOP per token.\n",
    ],
)
def test_what_may_be_of_another_is_not_accused(text: str) -> None:
    assert status(text) == 0
