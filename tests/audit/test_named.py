"""With a problem, whatever a claims file can name is found in prose, and a right figure is never refused."""

from fractions import Fraction
from typing import Any, Final

import pytest

from optimizer.audit import audit_document
from optimizer.audit.known_figures import resolve
from optimizer.domain.layout import WrittenLayout
from optimizer.units import Dimension
from optimizer.verify import judge_layout
from optimizer.verify.claim_table import ALIASES, CLAIMS, dimensions, kind_of_claim

PROBLEM: Final[dict[str, Any]] = {
    "model": "deepseek-v3",
    "hardware": "h200-sxm-8",
    "devices": 32,
    "workload": {"kind": "serving", "phase": "aggregated", "input_tokens": 4096, "output_tokens": 1024},
}
LAYOUT: Final = "TP=1, DP=16, EP=16, PP=2.\n\n- Batch size: 64\n"
ASKED: Final = resolve(PROBLEM)
FIGURES: Final = judge_layout(
    ASKED,
    WrittenLayout.model_validate({"convention": "folded", "tp": 1, "dp": 16, "ep": 16, "pp": 2, "batch": 64}).resolve(
        experts=True
    ),
).figures
SCALES: Final = {
    Dimension.BYTES: (10**6, " MB"),
    Dimension.BYTES_PER_SECOND: (10**9, " GB/s"),
    Dimension.FLOPS: (10**12, " TFLOP/s"),
    Dimension.SECONDS: (Fraction(1, 1000), " ms"),
    Dimension.TOKENS_PER_SECOND: (1, " tokens/s"),
    Dimension.PER_SECOND: (1, " requests/s"),
    Dimension.RATIO: (Fraction(1, 100), "%"),
}
NOT_CLAIMS: Final = {
    **dict.fromkeys(("tp", "cp", "dp", "pp", "etp", "ep", "edp", "batch"), "the layout, which figures are judged by"),
    **dict.fromkeys(("gpu_memory", "hbm_bandwidth", "hbm_bytes_per_s", "memory_bandwidth"), "said of the hardware"),
    "hbm_utilization": "in prose as often of its capacity as of its bandwidth",
    "moe_layers": "the word counts all layers as well",
    "kv_cache_room": "read from start-up logs, whose words for it are their own",
}
"""Names that mean something else in prose."""


def written(name: str, dimension: Dimension) -> str | None:
    kind = kind_of_claim(name, ASKED)
    figure = FIGURES.get(kind.readings[0].figure) if kind else None
    if figure is None:
        return None
    value = Fraction(figure.value)
    if dimension is Dimension.DOLLARS:
        return f"${float(value):.4f}"
    if dimension is Dimension.COUNT or (dimension is Dimension.RATIO and value > 1):
        return str(value) if value.denominator == 1 else f"{float(value):.6f}"
    if dimension not in SCALES:
        return None
    scale, unit = SCALES[dimension]
    return f"{float(value / scale):.5f}{unit}"


def last_line(text: str, problem: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    found = audit_document(LAYOUT + text, "x", PROBLEM if problem is None else problem).to_json()
    return [(item["name"], item["verdict"]) for item in found["claims"] if item["line"] > 3]


def test_every_name_of_a_claim_is_found_in_prose() -> None:
    missed, tried = [], 0
    for name, dimension in dimensions(ASKED).items():
        text = written(name, dimension)
        if text is None or ALIASES.get(name, name) in NOT_CLAIMS or name in NOT_CLAIMS:
            continue
        tried += 1
        words = name.replace("_", " ").capitalize()
        if not any(verdict in {"holds", "ambiguous"} for _, verdict in last_line(f"- {words}: {text}\n")):
            missed.append((name, text))
    assert missed == []
    assert tried > 170
    assert set(NOT_CLAIMS) <= set(CLAIMS) | set(ALIASES)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("\n| Figure | Value |\n|-|-|\n| Fabric utilization | 3.1% |\n", "link_utilization"),
        ("The network bandwidth utilisation is 3%.", "link_utilization"),
        ("A step has a prefill chunk of 512 tokens.", "prefill_chunk"),
        ("Each token visits 1.8 nodes.", "nodes_visited"),
        ("On average 1.8 nodes visited by a token.", "nodes_visited"),
        ("**KV cache per sequence**: 312 MB", "kv_cache_per_sequence"),
        ("The inter-node bandwidth is 50 GB/s.", "link_bandwidth"),
        ("`ep_bytes`: 977 MB", "ep_bytes"),
        ("Balance of layer 7: 1.2", "balance_of_layer_7"),
        ("Sharded weights estimated: 9 GB", "sharded_weights"),
        ("Ideal TTFT (no overhead): 200 ms", "ideal_ttft"),
    ],
)
def test_other_spellings(text: str, name: str) -> None:
    assert name in [found for found, _ in last_line(text)]


@pytest.mark.parametrize(
    "text",
    [
        "Memory headroom: 90 GB",
        "Replicated weights: 573 MB",
        "Link bandwidth: 900 GB/s",
        "The network runs at 3.2 Tb/s per node.",
        "FLOPs: 3958 TFLOP/s",
        "Attention parameters per layer: 187M",
        "Weights per device: 33.0 GB",
        "Layers: 58",
        "Experts per layer: 257",
        "Nodes visited: 0.2",
        "Stages: 3",
        "Concurrency: 17",
    ],
)
def test_what_may_mean_something_else_is_not_refused(text: str) -> None:
    assert not [item for item in last_line(f"- {text}\n") if item[1] in {"fails", "impossible"}]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Attention parameters: 99B", "fails"),
        ("Experts parameters: 654B", "holds"),
        ("Network utilization: 140%", "impossible"),
        ("Weights per device: 99 GB", "fails"),
        ("Expert parameters: 44040192", "ambiguous"),
    ],
)
def test_what_means_one_thing_is_judged(text: str, verdict: str) -> None:
    assert [found for _, found in last_line(f"- {text}\n")] == [verdict]


@pytest.mark.parametrize("text", ["The chunk is 512.", "We saw moves of 12 in all."])
def test_one_word_in_a_sentence_is_no_name(text: str) -> None:
    assert last_line(text) == []


def test_without_a_problem_only_what_can_be_counted_is_judged() -> None:
    text = "- Prefill chunk: 512\n- Fabric utilization: 3%\n- Each token visits 1.8 nodes.\n- Ideal step time: 3 ms\n"
    found = audit_document(text, "x").to_json()
    assert [item["name"] for item in found["claims"]] == ["step_time"]
