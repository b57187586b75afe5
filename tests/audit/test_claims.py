"""Claims of a document that are easily taken for what they are not."""

from typing import Any

import pytest

from optimizer.audit import audit_document


def claims(text: str) -> dict[str, dict[str, Any]]:
    return {claim["name"]: claim for claim in audit_document(text, "x").to_json()["claims"]}


@pytest.mark.parametrize(
    "text",
    [
        "GPU memory 80 GB. Total memory: 640 GB. Memory utilization: 90%.",
        "Memory utilization 104% would mean that it does not fit.",
        "bandwidth utilization goes from 45% to 110% of the old value",
        "80 GB HBM. Without sharding it would need 140 GB per GPU memory.",
        "TP=8, DP=4. We tested on 8 GPUs first, then on 32 GPUs.",
        "TP=8, DP=4 on 32 GPUs; the baseline ran on 16 GPUs.",
        "80 GB GPUs. Checkpoint memory per GPU: 140 GB on disk.",
        "Peak compute 989 TFLOP/s, 8B parameters dense. Throughput 120,000 tokens/s on 8 GPUs.",
    ],
)
def test_nobody_is_accused_for_what_was_not_said(text: str) -> None:
    assert not [name for name, claim in claims(text).items() if claim["verdict"] in {"fails", "impossible"}]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Used: 61.2 GB of 80 GB VRAM, memory utilization 86.5%", "memory_utilization"),
        ("TP=8, PP=2, DP=4.\n\n- Total GPUs: 32", "devices"),
        (
            "24 layers with 64 experts per layer on 48 GPUs; EP=16, PP=3, TP=1, DP=16. 5 experts per GPU",
            "experts_per_gpu",
        ),
    ],
)
def test_what_fits_no_reading_fails(text: str, name: str) -> None:
    assert claims(text)[name]["verdict"] == "fails"


@pytest.mark.parametrize(
    ("text", "name"), [("MFU: 105%", "model_flops_utilization"), ("HBM 80 GB.\n\n- Memory per GPU: 96 GB", "memory")]
)
def test_what_no_hardware_does_is_impossible(text: str, name: str) -> None:
    assert claims(text)[name]["verdict"] == "impossible"


def test_a_degree_in_a_sentence_is_no_count_of_experts() -> None:
    text = "The network has 24 layers with 64 experts per layer on 48 GPUs; EP=16, PP=3, TP=1, DP=16."
    facts = [
        fact["value"] for fact in audit_document(text, "x").to_json()["facts"] if fact["name"] == "experts_per_layer"
    ]
    assert facts == [64]


def test_a_time_is_named_by_the_word_behind_it() -> None:
    assert claims("120 tokens/ms and 8.5s TTFT")["ttft"]["claimed"] == 8.5


def test_experts_that_do_not_divide_leave_the_fullest_rank_one_more() -> None:
    readings = claims("60 experts per layer, EP=16.\n\n- 4 experts per GPU per layer")["experts_per_gpu_per_layer"]
    assert (readings["verdict"], readings["derived"]) == ("holds", 4)
