"""A figure that the numbers beside it refute is told; the right one in its place is not."""

import pytest

from benchmarks.audit_bench import ACCUSATIONS
from optimizer.audit import audit_document


def accused(text: str) -> set[int]:
    found = audit_document(text, "x").to_json()
    lines = {item["line"] for item in (*found["equations"], *found["claims"]) if item["verdict"] in ACCUSATIONS}
    return lines | {line for item in found["contradictions"] for line in item["lines"]}


def table(*rows: str) -> str:
    return "\n".join(f"| {row} |" for row in (rows[0], "|".join("---" for _ in rows[0].split("|")), *rows[1:])) + "\n"


DEMAND = table("Consumer | Requests/day", "Web | 148,000", "Desk | 96,500", "Mobile | 61,200", "**Total** | **{}**")
BILL = table("# | Item | Amount", "1 | Servers | 848,000", "2 | NICs | 59,200", " | **Total** | {}")
SHARES = table("Tenant | Tokens | Share", "a | 118M | 46.8%", "b | 74M | 29.4%", "c | 41M | 16.3%", "d | 19M | {}%",
               "Total | 252M | 100.0%")  # fmt: skip
COSTS = "A node costs $28.80 an hour.\n\n" + table(
    "Period | tokens/s | tokens/h | $/M tokens", "Day | 1,500 | 5.40M | $5.33", "Night | 450 | 1.62M | $17.78",
    "Peak | 1,850 | 6.66M | ${}",
)  # fmt: skip
HOURS = table("Pool | tokens/s | M tokens/h", "a | 1,500 | 5.40", "b | 450 | 1.62", "c | 1,850 | {}")
LAYOUTS = table("Nodes | GPUs | Layout", "1 | 8 | TP 8 × PP 1 × DP 1", "4 | 32 | TP 8 × PP 1 × DP {}")
NODE = "Production is two nodes of 8x H100.\n\nThe single staging node is filled with TP=4 and {} replicas.\n"
PREFILL = "The pool has 16 GPUs.\n\nPrefill runs attention as TP4 x DP{}\nover the 16 GPUs of the pool.\n"
CACHE = """This is our sizing.

A cache of 64.9 GB at 48,128 bytes per token holds 1.35M tokens.

At the 32,768-token limit {} full-length requests stay resident.
"""
CARD = """The log gives 7.4 GiB at 36,864 bytes per token, 215k tokens.

One card carries {} sessions at 131,072 each if they share a prefix.
"""
SHARDED = "We have 8x H100 80 GB.\n\nLlama-3.3-70B runs as BF16 replicas at TP{}, each on its own.\n"
RAISED = """DeepSeek-V3 runs with EP16 on 16x H200. We want 32 redundant experts,
which raises this to {} per GPU per layer.
"""
SHAPES_ROW = "We serve Qwen3-32B, FP8 on H100, INT8 on A100, BF16 KV cache.\n\n" + table(
    "Item | Value", "Layers | 64", "KV per token, BF16 | {} KiB"
)
STATIC = """Confirm that the static fraction printed at start-up is {}; with more it has failed.

    python -m sglang.launch_server --model-path zai-org/GLM-4.5-FP8 --tp-size 8 --mem-fraction-static 0.85
"""
FLEET = "We have two nodes of 8x H100, 16 GPUs.\n\nProduction uses {} replicas at TP4.\n"
GPUS_OF_KIND = table("GPU | Count", "H100 | 48", "A100 | 64", "L40S | 24", "All | {}")
BLOCK = "```\nweights   35.3 GB\nruntime    4.0 GB\ncache     32.7 GB\ntotal     {} GB\n```\n"
VLLM = "    vllm serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size 4 "
UTILISED = "Budget: {} x 80 GB a card.\n\n" + VLLM + "--gpu-memory-utilization 0.90\n"
LENGTH = "The context limit is {} tokens.\n\n" + VLLM + "--max-model-len 32768\n"
YAML = "KV cache fraction is {}.\n\n```yaml\nkv_cache_config:\n  free_gpu_memory_fraction: 0.85\n```\n"
ACROSS = (
    table("GPU | $/h", "A100 | 1.60", "L40S | 0.95", "H100 | 2.50", "H200 | 3.40", "MI300X | 2.90", "B200 | 5.20"),
    "\n" + table("GPU | M tokens/h | $/M tokens", "A100 | 3.42 | 0.47", "L40S | 0.86 | 1.10", "H100 | 5.76 | 0.43",
                 "H200 | 8.10 | {}", "MI300X | 7.92 | 0.37", "B200 | 12.96 | 0.40"),
)  # fmt: skip
ALONE = "Llama-3.1-405B in FP8 runs on 8x H200.\n\nA user who has an instance to himself sees {} tokens/s.\n"
USER_ROW = "Llama-3.3-70B in BF16 runs on 4x H100, TP4.\n\n" + table(
    "concurrency | tok/s | note", "1 | {} | warm", "32 | 1,500 | warm"
)


@pytest.mark.parametrize(
    ("text", "right", "wrong", "line"),
    [
        (CACHE, "41", "64", 5),
        (CARD, "1", "16", 3),
        (SHARDED, "4", "1", 3),
        (RAISED, "18", "20", 2),
        (SHAPES_ROW, "256", "128", 6),
        (STATIC, "0.85", "0.88", 3),
        (ALONE, "70", "140", 3),
        (FLEET, "four", "five", 3),
        (USER_ROW, "60", "150", 5),
        ("The node has 8x H100.\n\nOn its 8 GPUs we run TP2 x {}.\n", "4", "3", 3),
        (GPUS_OF_KIND, "136", "146", 6),
        (BLOCK, "72.0", "76.0", 5),
        ("Weights 35.3 GB, runtime 4.0 GB, cache 32.7 GB: {} GB in total.\n", "72.0", "75.0", 1),
        ("16 GPUs at $2.10 per GPU-hour for 730 hours are {} a month.\n", "$24,528", "$34,528", 1),
        ("At $3.20 per GPU-hour a node of 8 GPUs is {} an hour.\n", "$25.60", "$32.00", 1),
        ("The API costs $0.90 per million tokens; at 300M tokens a day we pay {} a day.\n", "$270", "$2,700", 1),
        ("131,072 tokens at 327,680 bytes are {}.\n", "42.9 GB", "42.9 MB", 1),
        (
            "KV is 39.3 GB at 131,072 bytes a token, 300k tokens.\n\nThat is room for {} full 32,768-token contexts.\n",
            "9",
            "24",
            3,
        ),
        ("Llama-3.3-70B in BF16 runs on 4x H100, TP4.\n\nAt concurrency 1 we measured {} tokens/s.\n", "60", "150", 3),
        ("DeepSeek-V3 runs with EP64.\n\n- Experts per GPU and layer: {}\n", "4", "8", 3),
        (UTILISED, "0.90", "0.95", 1),
        (LENGTH, "32,768", "65,536", 1),
        (YAML, "0.85", "0.95", 1),
        (ACROSS[0] + ACROSS[1], "0.42", "0.24", 15),
        ("One step reads 25.8 GB spread over 4 x 864 GB/s, hence at least 7.5 {} per step.\n", "ms", "µs", 1),
        ("The box takes 2,000 W altogether. In 30 days (720 h) that is {} kWh.\n", "1,440", "1,140", 1),
        (DEMAND, "305,700", "315,700", 6),
        (BILL, "907,200", "970,200", 5),
        (SHARES, "7.5", "9.5", 6),
        (COSTS, "4.32", "2.60", 7),
        (HOURS, "6.66", "8.66", 5),
        (LAYOUTS, "4", "8", 4),
        (NODE, "two", "four", 3),
        (PREFILL, "4", "8", 3),
        ("Three nodes cost 3 x $28.80 x 24 = ${} a day.\n", "2,073.60", "691.20", 1),
    ],
)
def test_a_figure_that_others_refute(text: str, right: str, wrong: str, line: int) -> None:
    assert accused(text.format(right)) == set()
    assert line in accused(text.format(wrong))


@pytest.mark.parametrize(
    "text",
    [
        DEMAND.format("101,900"),  # the mean
        DEMAND.format("148,000"),  # the greatest
        DEMAND.format("900,000"),  # nobody added this up
        table("Part | Count | GB", "a | 2 | 10", "b | 1 | 15", "Total | 3 | 35"),  # each part as often as it is there
        table("Batch | tokens/s", "8 | 1000", "16 | 2000", "32 | 3500"),
        CACHE.format(64).replace("stay", "do not stay"),
        CACHE.format(64).replace("At the", "If we had twice the room, at the"),
        CARD.format(2),  # a condition may make room
        STATIC.format(0.88).replace("Confirm", "If you tried 0.85, confirm"),
        STATIC.format(0.88).replace("\n\n", " Others were tried with a static fraction of 0.85.\n\n"),
        FLEET.format("three"),  # one cell is free
        table("Batch | Step | tokens/s", "8 | 19 ms | 421", "32 | 24 ms | 1,333", "64 | 30 ms | 2,133"),
        "The model supports a 131,072 context window.\n\n" + VLLM + "--max-model-len 32768\n",
        "Sequence length of at most 8,192 tokens.\n\n" + VLLM + "--max-num-seqs 64\n",
        CACHE.replace("At the", "Peak traffic is, at the").format(64),
        CACHE.replace("At the", "In the test, at the").format(64),
        "Leaving the A100s saves $1,200 a day; at $1.60 per GPU-hour 32 GPUs cost $1,228.80 a day.\n",
        "We pay $2.10 per GPU-hour for 16 GPUs: $33.60 an hour, $806.40 a day, $24,528 a month.\n",
        "The weights are 810 GB in BF16, 101 GB per GPU on 8 GPUs.\n",
        table("Step | Time", "load | 51 s", "JIT | 200 s", "graphs | 60 s", "Total | 6 min"),
        table("Item | Amount", "a | 848,000", "b | 59,200", "Discount | -20,000", "Total | 887,200"),
        table("Item | Amount", "a | 848,000", "b | 59,200", "Total (incl. 10% tax) | 997,920"),
        "Our node is $20 an hour, theirs $32 an hour.\n",
        "The API costs $0.90 per million tokens against $1.20 for ours.\n",
        UTILISED.format("0.80").replace("Budget", "Before the change"),
        "From 02:10 to 02:47 (37 min), that is 02:47-02:10 = 37 min; 23:50 to 00:20 (30 min).\n",
        "Never eight NICs at 400 Gb/s for 3.2 TB/s.\n",
        "PCIe gives 64 GB/s, the disk 8 GB/s.\n",
        "Two nodes of 8x H100.\n\nTwo replicas of TP=2 run on one node.\n",  # half of it is free
    ],
)
def test_numbers_that_may_be_right(text: str) -> None:
    assert accused(text) == set()
