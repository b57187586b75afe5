"""Errors of deployment documents that are no equations: told, and nobody accused beside them."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.audit_bench import (
    ACCUSATIONS,
    AUTHORS,
    DEPLOYMENTS,
    DEPLOYMENTS_FRESH,
    DEPLOYMENTS_HELD,
    DERIVED,
    UNSEEN,
    UNSEEN_FOURTH,
    UNSEEN_FOURTH_HELD,
    UNSEEN_SECOND,
    UNSEEN_THIRD,
    UNSEEN_THIRD_HELD,
    deployment_errors,
    told_errors,
)
from optimizer.audit import audit_document
from optimizer.audit.deployment import size

FOLDERS = (
    DEPLOYMENTS, DEPLOYMENTS_HELD, DEPLOYMENTS_FRESH, DERIVED, UNSEEN, UNSEEN_THIRD, UNSEEN_SECOND, UNSEEN_THIRD_HELD,
    UNSEEN_FOURTH, UNSEEN_FOURTH_HELD,
)  # fmt: skip
PATHS = sorted(path for folder in FOLDERS for path in folder.glob("*.md"))


def audited(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    labels = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return labels, audit_document(path.read_text(encoding="utf-8"), path.name).to_json()


def verdicts(text: str) -> dict[str, str]:
    return {claim["name"]: claim["verdict"] for claim in audit_document(text, "x").to_json()["claims"]}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_nobody_is_accused_wrongly(path: Path) -> None:
    labels, found = audited(path)
    allowed = {line for error in labels["errors"] for line in error["lines"]} | set(labels["neutral"])
    accused = [item for item in (*found["equations"], *found["claims"]) if item["verdict"] in ACCUSATIONS]
    assert not [item for item in accused if item["line"] not in allowed]
    assert not [item for item in found["contradictions"] if allowed.isdisjoint(item["lines"])]


@pytest.mark.parametrize(
    ("folder", "errors", "least"),
    list(zip(FOLDERS, (19, 21, 24, 40, 39, 33, 25, 33, 35, 35), (16, 15, 20, 34, 28, 26, 16, 17, 15, 7), strict=True)),
)
def test_errors_are_told(folder: Path, errors: int, least: int) -> None:
    pairs = [audited(path) for path in sorted(folder.glob("*.md"))]
    assert sum(len(labels["errors"]) for labels, _ in pairs) == errors
    assert sum(told_errors(*pair) for pair in pairs) >= least


OLDER = 20
"""Authors whose documents are read in the slow tests alone: the later ones stand for them in the quick tests."""
TOLD_AND_ACCUSED = [
    pytest.param(*row, marks=[pytest.mark.slow] if number < OLDER else [])
    for number, row in enumerate(
        zip(
            AUTHORS,
            (
                16,
                15,
                16,
                15,
                11,
                11,
                12,
                15,
                16,
                22,
                11,
                12,
                14,
                11,
                11,
                9,
                11,
                14,
                12,
                7,
                10,
                9,
                9,
                7,
                10,
                7,
                8,
                6,
                8,
                7,
                7,
                7,
                7,
                5,
                8,
                9,
                5,
            ),
            (0, 0, 0, 0, 0, 2, 0, 1, 1, *[0] * 10, 1, 0, 0, 1, 1, *[0] * 12, 3),
            strict=True,
        )
    )
]


@pytest.mark.parametrize(
    ("folder", "least", "most"),
    TOLD_AND_ACCUSED,
    ids=lambda value: getattr(value, "name", ""),
)
def test_authors_who_had_not_seen_it(folder: Path, least: int, most: int) -> None:
    told, false, errors = deployment_errors(folder)
    assert 13 < errors < 30
    assert told >= least
    assert false <= most


def test_a_degree_that_a_sentence_gives_each_instance_excuses_a_command() -> None:
    text = "Llama 3.1 70B, 4 instances, each TP2.\n\n    quantize.py --tp_size 2 --out a\n\nOne of `--tp_size 4`.\n"
    assert verdicts(text).get("tp") != "fails"


def test_a_size_beside_bytes_of_a_token_is_no_slip() -> None:
    assert not audit_document("gpt-oss-120b: 72.8 GB at 73,728 bytes, 987k.\n", "x").to_json()["contradictions"]


def test_a_size_of_all_weights_is_true_of_the_total() -> None:
    assert verdicts("DeepSeek-V3 with TP=8 on 8 H200.\n\nFP8 weights need 671 GB.\n")["weights"] == "holds"


def test_what_is_larger_than_all_devices_does_not_fit() -> None:
    text = "The FP8 build of GLM-5.2 takes ~700 GB and fits 8×H100 (8 × 80 GB = 640 GB)."
    assert verdicts(text)["weights_total"] == "fails"
    # A smaller figure makes the build no smaller; more memory lets it fit.
    assert verdicts(text.replace("700", "600"))["weights_total"] == "fails"
    assert verdicts(text.replace("8×H100 (8 × 80 GB = 640", "8×H200 (8 × 141 GB = 1,128"))["weights_total"] == "holds"


LOG = """# Qwen3-235B-A22B-FP8 on 4 × H100 80GB (vLLM)
TP=4, PP=1, DP=1. max_model_len 40960.
Model loading took {} GiB per GPU.
Available KV cache memory: 8.11 GiB
GPU KV cache size: {} tokens
Maximum concurrency for 40,960 tokens per request: {}x
"""


@pytest.mark.parametrize(
    ("figures", "wrong"),
    [
        (("55.3", "178,880", "4.37"), set()),
        (("27.3", "178,880", "4.37"), {"weights"}),
        (("55.3", "278,880", "6.81"), {"kv_cache_tokens"}),
        (("55.3", "178,880", "8.74"), {"max_concurrency"}),
    ],
)
def test_a_start_up_log_is_judged_line_by_line(figures: tuple[str, ...], wrong: set[str]) -> None:
    found = verdicts(LOG.format(*figures))
    assert {name for name, verdict in found.items() if verdict in ACCUSATIONS} == wrong
    assert found["kv_cache_room_bytes"] == "unsupported"


REFUSED = """# {}

ValueError: To serve at least one request with the models's max seq len ({}), ({} GiB KV cache is needed, which is
larger than the available KV cache memory ({} GiB). Based on the available memory, the
estimated maximum model length is {}.
"""
FIRST_V1 = """# Qwen2.5-32B-Instruct on 2 L40S, vLLM

TP=2.

```
INFO model weights take {}GiB; the rest of the memory reserved for KV Cache is 7.71GiB.
```
"""
TRTLLM = "[TensorRT-LLM][INFO] [MemUsageChange] Allocated {} GiB for max tokens in paged KV cache ({})."


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        # a log of TensorRT-LLM: 28 layers of 2 · 8 · 128 in 16 bits
        (f"# Qwen3-0.6B, one H100, TensorRT-LLM\n\n{TRTLLM.format(68.69, 643136)}", set()),
        (f"# Qwen3-0.6B, one H100, TensorRT-LLM\n\n{TRTLLM.format(68.69, 543136)}", {"kv_cache_tokens"}),
        # vllm issue 32105: eight stages, each asked for the layers of all
        (REFUSED.format("GLM-4.7-FP8, PP=8 on 8 A100, TP=1", 202752, 71.16, 28.57, 81392), set()),
        (
            REFUSED.format("GLM-4.7-FP8, TP=8 on 8 H100", 202752, 71.16, 28.57, 81392),
            {"kv_cache_per_sequence"},
        ),
        (REFUSED.format("Qwen3-32B on one H100, vLLM", 40960, "10.00", 4.45, 18224), set()),
        (REFUSED.format("Qwen3-32B on one H100, vLLM", 40960, "10.00", 4.45, 28224), {"longest_context_tokens"}),
        # layers with windows hold less than all tokens
        (REFUSED.format("Gemma-3-27B-it on one H100, vLLM", 131072, 10.5, 9.2, 111000), set()),
        # vllm issue 15815 (0.8)
        (FIRST_V1.format(30.71), set()),
        (FIRST_V1.format(61.02), {"weights"}),
    ],
)
def test_lines_of_other_logs(text: str, wrong: set[str]) -> None:
    assert {name for name, verdict in verdicts(text).items() if verdict in ACCUSATIONS} == wrong


ON_H200 = "# DeepSeek-R1 on 8 x H200\n\nWe serve DeepSeek-R1 in FP8, 671 GB, on one node of 8 x H200, at TP8.\n\n"
SLATE = (
    "# Nodes\n\nLlama-3.1-405B is big.\n\n| Node | GPUs |\n|---|---|\n| slate | 4 x A100 40GB |\n"
    "| grit | 8 x A100 80GB |\n\n"
)


HYBRID = """# gpt-oss-120b on 1 × H100 80GB (vLLM)
TP=1. max_model_len 131072.
Available KV cache memory: 10 GiB
GPU KV cache size: 145,632 tokens
Maximum concurrency for 131,072 tokens per request: {}x
"""


@pytest.mark.parametrize(
    ("times", "verdict"),
    # 145,632 ÷ 131,072 = 1.11, as engines printed tokens once; else it takes the blocks of every group of layers
    [("2.09", "unsupported"), ("1.11", "holds")],
)
def test_a_hybrid_models_concurrency_is_only_confirmed(times: str, verdict: str) -> None:
    found = verdicts(HYBRID.format(times))
    assert found["max_concurrency"] == verdict
    assert found["kv_cache_tokens"] == "unsupported"


@pytest.mark.parametrize(
    "text",
    [
        "Llama-3.3-70B in BF16 does not fit on one H100.",
        "Llama-3.3-70B in BF16 fits on two H100.",
        f"{ON_H200}Adapters of the BF16 model fit on one card.",
        f"{ON_H200}The BF16 checkpoint is kept on the node's disks and loaded in the node memory.",
        f"{ON_H200}Each rank loads its shard of the BF16 checkpoint on one GPU.",
        f"{ON_H200}The BF16 weights go on two such nodes.",
        f"{ON_H200}The BF16 checkpoint does not fit on one node.",
        f"{ON_H200}The BF16 checkpoint is loaded on one node per site, where the CPU converts it.",
        f"{ON_H200}Each GPU gets 84 GB of FP8 weights. It fits on one GPU.",
        f"{SLATE}The INT4 405B has 203 GB. That fits on a single `grit` node, with room to spare.",
        "Llama-3.3-70B in BF16 would fit on one H100 if we offload half of it.",
        "TP=8, PP=2 on 32 GPUs: two replicas.",
        "The roofline of Llama-3.3-70B in BF16 on 8 H100 is 190 tokens/s for a single user.",
        "Llama-3.3-70B in BF16 on 8 H100 reaches 410 tokens/s for a single user with speculative decoding.",
        '"TP=8, PP=4 on 16 GPUs" is what the ticket says.',
        "With SGLang, TP=8 and DP=8 run on 8 GPUs.",
        "24 GPUs: 2,000 tok/s per replica, 12,000 tok/s in total.\n\nAt $1.10 per GPU-hour: 43.2 M tokens per hour.",
        "DeepSeek-R1 on 8 H200 has 37 GB for the cache: about 526,000 tokens in BF16, or 64 requests of 8,192 tokens.",
    ],
)
def test_what_may_be_right_is_not_accused(text: str) -> None:
    assert not ACCUSATIONS & set(verdicts(text).values())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Llama-3.3-70B in BF16 fits on one H100.", "weights_total"),
        ("The corrected sum of 70.3 GB still fits on one 64 GB device.", "weights_total"),
        ("With 44.1 GB per GPU it fits on the A100 40 GB.", "weights_total"),
        ("- 36 + 5.4 + 2.7 = 44.1 GB per GPU\n- This fits on the A100 40 GB without offloading.", "weights_total"),
        (f"{ON_H200}For the evaluation the BF16 checkpoint is loaded on this same node.", "weights_total"),
        (f"{ON_H200}The upcast to BF16 takes 1,342 GB. It goes on the one node, at night.", "weights_total"),
        (f"{ON_H200}For a demo four borrowed H100 with TP4 hold the FP8 weights.", "weights_total"),
        (f"{SLATE}The INT4 405B has 203 GB. That fits on a single `slate` node, with room.", "weights_total"),
        ("TP=8, PP=4 on 16 GPUs.", "devices"),
        ("A node has 8 GPUs per node.\n\nWe grow to 14 nodes, 116 GPUs.", "devices"),
        ("Llama-3.3-70B in BF16 on 8 H100 reaches 410 tokens/s for a single user.", "throughput"),
        ("With EP=32 Kimi-K2 has 16 experts per layer on each GPU.", "experts_per_gpu"),
    ],
)
def test_what_no_reading_gives_is_accused(text: str, name: str) -> None:
    assert verdicts(text)[name] in ACCUSATIONS


MESHES = (
    "| Name | TP | PP | DP | GPUs used |\n|---|---|---|---|---|\n| all | 8 | 4 | 8 | 256 |\n| less | 8 | 4 | 7 | {} |\n"
)


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [
        ("The 256 GPUs are split by eight-way tensor parallelism, four pipeline stages and {} data-parallel replicas.",
         "four", "eight"),
        ("If memory is short: TP 8, PP 8, DP {}, on the same 256 GPUs.", "8", "4"),
        ("Megatron runs on 64 cards with tensor parallelism of four, a {}-stage pipeline and 4-way DP.", "two", "four"),
        ("- **8 nodes (64 GPUs).** Keep TP 8, PP 4, DP {} so that it loads as it is.", "4", "2"),
        (("```\n--tensor-model-parallel-size 2\n--pipeline-model-parallel-size 2\n```\n\n"
          "With these two degrees, 64 GPUs leave a data-parallel degree of {}."), "32", "16"),
        (MESHES, "240", "224"),
        ("We serve with TP2.\n\nAll {} replicas pack onto one host, which has its 8 GPUs free.\n", "six", "four"),
        ("On H200 servers.\n\nTP 4 instead of TP 8 gives {} replicas on the present four nodes.", "12", "8"),
        ("Seven nodes with eight H200 GPUs each.\n\nOn these two nodes we start {} replicas of TP 4.", "five", "four"),
        ("Eight GPUs per node.\n\nDocument pool: nodes 5 and 6, 16 GPUs.\n\n- TP=8\n- {} replicas behind a proxy\n",
         "4", "2"),
        ("- 2 nodes × 8 H100 = 16 GPUs\n- `tensor_parallel_size: 4`\n- `data_parallel_size: {}`\n", "8", "4"),
        ("Four nodes with eight H200 each, 32 GPUs.\n\nPlan B is TP 8, PP 2, DP {} on this cluster.", "4", "2"),
        ("| Pool | GPUs | Layout | Replicas |\n|---|---|---|---|\n| drill | 16 | TP8 × PP2 | {} |\n", "2", "1"),
    ],
)  # fmt: skip
def test_degrees_copies_and_nodes_give_the_devices(text: str, wrong: str, right: str) -> None:
    assert verdicts(text.format(wrong))["devices"] == "fails"
    assert "fails" not in verdicts(text.format(right)).values()


@pytest.mark.parametrize(
    "text",
    [
        "TP 8 and DP 4 have 64 GPUs, and the pipeline is not said.",
        "Three nodes of 8 GPUs per node.\n\nEach replica runs at TP4 (PP1), so 24 / 4 = 6 replicas, two per node.",
        "| Pool | GPUs | TP | DP |\n|---|---|---|---|\n| Prefill | 32 | 32 | 4 |\n",
        "| Layout | TP | DP | EP | GPUs |\n|---|---|---|---|---|\n| wide | 1 | 16 | 16 | 16 |\n",
        "We serve with TP2.\n\nSix replicas are spread over two hosts of 8 GPUs.\n",
        "We serve with TP2 or TP1.\n\nAll six replicas pack onto a host with its 8 GPUs.\n",
        "A server has 8 GPUs per server.\n\n- 60 cards in all\n- that is covered by 9 servers, one spare\n",
        "A server has 8 GPUs per server.\n\n- 60 cards in all\n- 7 servers are full\n",
        "Two of the four data-parallel replicas were idle on 64 GPUs with TP 8.",
        "Each of the four pipeline stages has twenty layers; 8 GPUs each.",
        "A replica has 8 GPUs, TP 8.\n\n- 3 replicas in Frankfurt\n- 2 replicas in Dublin\n",
        "The pilot had 8 GPUs, TP=4.\n\n- 10 replicas are ordered for the second quarter\n",
        "Eight GPUs per node.\n\nWith 16 cards there is no third node.",
        "Four GPUs per host.\n\nOn the cards of one host TP 4 was slower than four single replicas.",
        "Eight GPUs per node, 32 GPUs.\n\nWhen more nodes arrive we go to TP 8, PP 2, DP 4.",
    ],
)
def test_devices_that_may_be_right(text: str) -> None:
    assert "fails" not in verdicts(text).values()


@pytest.mark.parametrize(
    ("text", "name", "verdict"),
    [
        ("Qwen3-235B-A22B has 235B parameters.", "parameters", "holds"),
        ("Qwen3-235B-A22B has 335B parameters.", "parameters", "fails"),
        ("DeepSeek-V3 activates 57B parameters per token.", "active_parameters", "fails"),
        ("DeepSeek-V3 has 671B parameters, with 57B active parameters per token.", "active_parameters", "fails"),
        ("DeepSeek-V3 has 671B parameters, with 37B active parameters per token.", "active_parameters", "holds"),
        ("DeepSeek-V3 is an MoE of 671B; 57B active parameters.", "active_parameters", "fails"),
        ("We serve DeepSeek-V3.\n\n- Active parameters: 57B\n", "active_parameters", "fails"),
        ("We serve DeepSeek-V3.\n\n- Active parameters: 37B\n", "active_parameters", "holds"),
        ("We left DeepSeek-V3.\n\n# Kimi-K9\n\n- Active parameters: 57B\n", "active_parameters", "unsupported"),
        ("DeepSeek-V3 is smaller than Kimi-K9, with 57B active parameters.", "active_parameters", "unsupported"),
        ("DeepSeek-V3, unlike a rival, which has 57B active parameters.", "active_parameters", "unsupported"),
        ("DeepSeek-V3 has 671B parameters and 37B active parameters.", "parameters", "holds"),
        ("DeepSeek-V3 has 14B parameters in its MTP module.", "parameters", "unsupported"),
        ("Llama-3.3-70B has 70B parameters.", "parameters", "ambiguous"),
        ("We serve Llama-3.3-70B. Its vision encoder has 3B parameters.", "parameters", "unsupported"),
        ("Qwen3-235B-A22B is larger than Llama-3.3-70B with 335B parameters.", "parameters", "unsupported"),
    ],
)
def test_figures_of_the_one_model_named_are_judged_by_the_catalog(text: str, name: str, verdict: str) -> None:
    assert verdicts(text)[name] == verdict


@pytest.mark.parametrize(("gigabytes", "wrong"), [("65", False), ("120", True)])
def test_a_model_is_known_by_its_size_alone(gigabytes: str, wrong: bool) -> None:  # noqa: FBT001
    text = f"Mixtral-8x7B stays. The 4-bit gpt-oss-20b is easy.\n\nAnd the 120b?\n\nIts weights are {gigabytes} GB.\n"
    assert ("weights" in {name for name, verdict in verdicts(text).items() if verdict in ACCUSATIONS}) == wrong


def test_a_size_is_read_however_its_unit_is_capitalised() -> None:
    assert size("80", "gb") == size("80", "Gb") == size("80", "GB") == 80 * 10**9
    assert size("1,024", "gib") == 2**40


def test_degrees_of_several_sentences_are_told_in_the_order_of_their_axes() -> None:
    text = "We train with TP 2 and PP 2.\n\n64 GPUs leave a data-parallel degree of 32.\n"
    (claim,) = [one for one in audit_document(text, "x").to_json()["claims"] if one["verdict"] == "fails"]
    assert claim["substituted"] == "tp 2 × pp 2 × dp 32 = 128"
