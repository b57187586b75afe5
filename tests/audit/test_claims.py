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
        "TP 8, PP 4 and DP 16 need more than a partition has.\n\n## Elsewhere\n\nA.\n\nB.\n\nC.\n\nA node has 8 GPUs.",
        "TP=8, DP=20: the optimizer is sharded over all 20 DP ranks.",
        "TP=8, DP=4. We tested on 8 GPUs first, then on 32 GPUs.",
        "TP=8, DP=4 on 32 GPUs; the baseline ran on 16 GPUs.",
        "80 GB GPUs. Checkpoint memory per GPU: 140 GB on disk.",
        "Peak compute 989 TFLOP/s, 8B parameters dense. Throughput 120,000 tokens/s on 8 GPUs.",
        "world_size = tp * pp * dp = 8 * 16 * 8 = 1024\n\n- heads per tp rank = 96 / 8 = 12\n- 6 * 17e9 * 3e9 = 3e20",
        "DP320 works although E % EP == 0 is not needed; it runs on 320 GPUs.",
        "Device memory: 80 GB. Each rank's segment must be aligned to 100 GB of SSD storage, per rank.",
        "HBM bandwidth is 3.35 TB/s. The node sustains 20 TB/s of memory bandwidth over its 8 cards.",
        "HBM bandwidth 3.35 TB/s. The L2 cache delivers 5.5 TB/s of memory bandwidth per GPU.",
        "Peak 989 TFLOP/s dense BF16. In FP8 each GPU reaches 1,400 TFLOP/s per GPU.",
        "TTFT is 15,600 ms on A and 13,189 ms on B. The trace shows 1.5× more round-trips.",
        "14.8k tokens/s per node; 2,800 tokens per second per GPU, 11 tokens per second per user, 7.2x higher.",
    ],
)
def test_nobody_is_accused_for_what_was_not_said(text: str) -> None:
    assert not [name for name, claim in claims(text).items() if claim["verdict"] in {"fails", "impossible"}]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("We run on exactly the 256 GPUs, with tensor parallel 8, pipeline parallel 4, data parallel 16.", "devices"),
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


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "HBM bandwidth is 4.8 TB/s. The profiler shows a sustained 6.1 TB/s of HBM reads on every H200.",
            "achieved_bandwidth",
        ),
        ("Peak is 989 TFLOP/s dense BF16. The model reaches 1,150 TFLOP/s per GPU in BF16.", "achieved_flops"),
    ],
)
def test_a_rate_beyond_the_hardware_is_impossible(text: str, name: str) -> None:
    claim = claims(text)[name]
    assert claim["verdict"] == "impossible"
    assert "beyond the highest" in claim["explanation"]


@pytest.mark.parametrize(
    "text", ["world_size = tp * pp * dp = 1024", "heads per TP rank = 12", "codec cp1254", "E % EP == 0"]
)
def test_what_is_no_degree_is_none(text: str) -> None:
    assert not [fact for fact in audit_document(text, "x").facts if fact.name in {"tp", "pp", "dp", "ep", "cp"}]


def test_two_commands_do_not_contradict_each_other() -> None:
    commands = "".join(f"```bash\nserve \\\n  --tensor-parallel-size {size} \\\n  --port 80\n```\n" for size in (8, 16))
    assert not audit_document(commands, "x").contradictions
