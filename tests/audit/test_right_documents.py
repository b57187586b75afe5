"""Right documents with several pools, phases, launches and totals: nobody is accused in them."""

import pytest

from optimizer.audit import audit_document

DOCUMENTS = [
    """# Training plan

Phase 1 trains on 128 GPUs with TP 8, PP 4 and DP 4.

Phase 2 doubles the data-parallel degree: DP 8, so 256 GPUs.

The evaluation pool has 48 GPUs of its own.
""",
    """# Fleet

All 192 GPUs of the old cluster stay with training. The new one has 24 nodes of 8 H100.

Serving gets 64 GPUs: 8 replicas at TP8.

The other project takes 128 GPUs.
""",
    """# Capacity

| Pool | Nodes | GPUs | Replicas | TP |
|---|---|---|---|---|
| Prefill | 4 | 32 | 8 | 4 |
| Decode | 6 | 48 | 6 | 8 |

We have 80 GPUs, of which 16 are spare next month.

Decode runs with EP48 over its 48 GPUs; prefill with EP4.
""",
    """# Weekly

- Team A: TP8, PP2 on 16 GPUs, two replicas on 32 GPUs
- Team B: 192 GPUs for pretraining, TP4 x PP2 x DP24
- Team C asked for 48 GPUs and got 40.
- Total in use: 264 GPUs, of 320 GPUs in the building.
""",
    """# Kimi-K2 on H200

We run 2 nodes per replica, TP8 and PP2, with three replicas, 48 GPUs.

Next quarter 192 GPUs come, 12 replicas.
Until then 128 GPUs at the partner's site run the FP8 build with DP16 and EP16 in 8 cells.
""",
    """# Scaling

| GPUs | TP | PP | DP | tokens/s |
|---|---|---|---|---|
| 64 | 8 | 2 | 4 | 100k |
| 128 | 8 | 2 | 8 | 197k |
| 192 | 8 | 2 | 12 | 290k |

At 192 GPUs the batch no longer divides; we stay with 128 GPUs.
Six nodes of the 24 were down last week, 144 GPUs remained.
""",
    """# Mixed

The reservation is 12 nodes, 96 GPUs. Two nodes are for evaluation, so training has 80 GPUs: TP 8, PP 2, DP 5.

If a node fails, DP drops to 4 and 64 GPUs run; 16 GPUs idle.
""",
    """# DeepSeek-V3

Prefill: 4 nodes, EP32, DP32 attention. Decode: 18 nodes, EP144.

In all 22 nodes, 176 GPUs. The paper used 2,048 GPUs with PP16, EP64 and ZeRO-1 DP.
""",
    """# Note

Llama 3.1 405B was trained on up to 16,384 GPUs, with TP 8, CP 1, PP 16 and DP 128.
For long context they had CP 16 and DP 8 on the same 16,384 GPUs.
""",
    """# Upgrade

We had 192 GPUs (24 nodes). The tender adds 16 nodes, 128 GPUs. Afterwards there are 40 nodes with 320 GPUs.

Each serving cell takes 48 GPUs: six nodes, TP8 in a node, DP6.

- 320 GPUs / 48 GPUs = 6 cells, 32 GPUs left
""",
    """# Budget

| Item | Qty | GPUs each | GPUs |
|---|---|---|---|
| Training | 16 | 8 | 128 |
| Serving | 8 | 8 | 64 |
| Total | 24 | | 192 |

Training uses TP8, PP4, DP4. Serving is 16 replicas of TP4.
""",
    """# Launch

On two nodes of 8xH100 we start one server per node:

```bash
vllm serve meta-llama/Llama-3.1-405B-Instruct-FP8 --tensor-parallel-size 8 --max-model-len 32768 --max-num-seqs 64
```

The router keeps at most 128 requests.
The batch job uses max-num-seqs 256 on its own node. A request may have 16,384 tokens.
""",
    """# MI300X pool

Six nodes: 48 GPUs. Four replicas per node at TP2, 24 replicas. Two nodes are drained this week: 32 GPUs, 16 replicas.
""",
    """# Site A

There are 16 nodes with 128 GPUs; 4 of the nodes (32 GPUs) are drained.

We ordered 3 more nodes. In sum 152 GPUs.
""",
    """# Qwen3-235B

Current: TP4, 2 replicas, 8 GPUs. Planned: TP8, EP8, 4 replicas on 32 GPUs.

The proposal of the vendor: 24 GPUs with TP4 x DP6.
""",
    """# Plan

| | now | then |
|---|---|---|
| GPUs | 64 | 128 |
| TP | 8 | 8 |
| PP | 2 | 2 |
| DP | 4 | 8 |
| Total weights | 141 GB | 141 GB |
""",
    """# Totals

| Node | GPUs | Jobs | Power kW |
|---|---|---|---|
| a | 8 | 3 | 5.5 |
| b | 8 | 2 | 6.0 |
| c | 4 | 4 | 2.1 |
| Total | 20 | 9 | 13.6 |
| Peak | 20 | 7 | 14.2 |
""",
    """# Memory per GPU

| Part | GB |
|---|---|
| Weights | 44.4 |
| of which experts | 40.1 |
| Activations | 4.0 |
| Total | 48.4 |
| Free | 23.6 |
""",
    """# Cost

Total cost is $480,000 over three years.

| Year | Amount |
|---|---|
| 1 | $200,000 |
| 2 | $150,000 |
| 3 | $130,000 |

Of these the first two years come to $350,000. The contract's total is paid in parts of $130,000.
""",
    """# Incidents

- Node failures: 3
- Network: 2
- Software: 6

Total of 11 incidents, 7 of them at night. Max latency: 30 s. Max latency in the drill: 12 s.
""",
    """# Serving

- Max context: 131,072 (model), we serve 32,768
- Max batch size: 64 for chat
- Max batch size: 16 for code

```bash
vllm serve Qwen/Qwen3-32B --max-model-len 32768 --max-num-seqs 64 --tensor-parallel-size 2
```

The code pool is started with max-num-seqs 16.
Reaching 0.85 of 80 GB is normal; the flag gpu-memory-utilization stays at its default of 0.9.
""",
    """# Two servers

```bash
# chat
CUDA_VISIBLE_DEVICES=0,1,2,3 vllm serve Qwen/Qwen3-32B --tensor-parallel-size 4 --port 8000
# code
CUDA_VISIBLE_DEVICES=4,5 vllm serve Qwen/Qwen2.5-Coder-32B-Instruct --tensor-parallel-size 2 --port 8001
```
""",
    """# Multi-node

Every node has 8 H100.

```bash
# on each of the four nodes
vllm serve meta-llama/Llama-3.1-405B --tensor-parallel-size 8 --pipeline-parallel-size 4
```
""",
    """# Needs

- 24 replicas × 2 cards = 48 cards
- per node 8, so 6 nodes
- we take 7 nodes to have a spare
- 2 nodes are enough for the first month
""",
    """# Diff

```diff
-  - --max-model-len=262144
+  - --max-model-len=32768
   - --tensor-parallel-size=2
 model: Qwen/Qwen3-32B
```
""",
]

SHORT = [
    # a percentage divided; operands; parts of mixed checkpoints; a ratio's own subjects; a day's demand; shares of a
    # token's bytes; requests that are sent; units in a label; money beside a context
    "# Plan\n\nLoad is at most 60 %. With one of four out, 60 / 0.75 = 80 % on the rest.",
    "# Plan\n\nUtilisation 45 % now; 45 / 0.5 = 90 % after the halving.",
    "# Plan\n\nLimit 63 %. Two of nine out: 63 / 0.7 = 90 %.",
    "# gpt-oss-120b\n\n- Experts: 36 x 128 x 3 x 2,880 x 2,880 = 114.7 B params.",
    ("# Qwen3-235B-A22B\n\n- Layers: 94 x 2 x 4 x 128 x 2 = 192,512 bytes a token.\n- Heads: 64 x 128 = 8,192 wide."),
    "# Qwen3-235B-A22B\n\n| | |\n|---|---|\n| experts | 94 x 128 = 12,032 |\n",
    (
        "# Qwen3-235B-A22B FP8\n\n"
        "The FP8 checkpoint takes about 240 GB; only the router and the embeddings stay in BF16."
    ),
    "# Qwen3-235B-A22B FP8\n\nThe weights are 237 GB, since the output head was left at 16 bits.",
    ("# Load\n\nThe rate grows by a factor of 12.4, whereas each reader sees it fall from 80 to 31 tokens per second."),
    "# Load\n\nThroughput is up 5x and latency rises from 20 ms to 45 ms.",
    (
        "# GLM-4.6 FP8 on 8 x H200 141 GB, TP 8\n\n"
        "2,000 users ask ten times a day, 20,000 queries of 2,000 tokens each, so 40 million tokens a day, "
        "463 tokens/s."
    ),
    (
        "# GLM-4.6 FP8 on 8 x H200 141 GB, TP 8\n\n"
        "The ward sends 900 letters of 1,500 tokens each, that is 1.35 million tokens a day."
    ),
    (
        "# GLM-4.6 FP8 on 8 x H200 141 GB, TP 8\n\n"
        "A token takes 376,832 bytes, an eighth of it on each GPU. Of 126.9 GB there remain 76.3 GB for the "
        "cache, which suffices for about 1.62 million tokens."
    ),
    (
        "# Qwen3-32B on 4 x H100 80GB, TP4\n\n"
        "A token takes 2 x 64 x 8 x 128 x 2 = 262,144 bytes, a quarter of it on each GPU. In 40.0 GiB there "
        "is room for roughly 655,000 tokens."
    ),
    (
        "# Qwen3-32B on 4 x H100 80GB, TP4\n\n"
        "With TP 4 the weights are shared.\n\nA token takes 262,144 bytes over the replica. In 40.0 GiB of "
        "each GPU there is room for roughly 655,000 tokens."
    ),
    (
        "# Qwen3-32B on one H100\n\n"
        "The cache holds 40 GiB / 262,144 B = 163,840 tokens.\n\n200 prompts of 4,096 tokens, one output "
        "token, fired at once."
    ),
    (
        "# Qwen3-32B on one H100\n\n"
        "The cache holds 40 GiB / 262,144 B = 163,840 tokens.\n\nWe submit 100 requests of 4,096 tokens at "
        "the same time."
    ),
    ("# Llama 3.1 8B in FP8 on an L4\n\n| | GiB |\n|---|---|\n| weights (8.03 GB) | 7.5 |\n| cache | 10.8 |\n"),
    "# Qwen3-32B in BF16 on 4 x H100 80GB\n\n| part | GiB |\n|---|---|\n| weights (65.5 GB) | 61.0 |\n",
    (
        "# Qwen3-32B on one H100\n\n"
        "It has a longer context and costs EUR 190,000 less. The context of option B costs $180,000 more."
    ),
    "# Qwen3-32B on one H100\n\nThis window and 150,000 requests a day are new.",
]
WRONG = [
    "# Plan\n\nLoad is at most 60 %. With one of four out, 60 / 0.75 = 85 % on the rest.",
    "# Qwen3-235B-A22B\n\n- Layers: 84\n- Experts: 64 per layer",
    "# Qwen3-235B-A22B\n\n- Layers: 94 x 2 x 4 x 128 x 2 = 292,512 bytes a token.",
    (
        "# Qwen3-235B-A22B FP8\n\n"
        "The FP8 checkpoint takes about 470 GB; only the router and the embeddings stay in BF16."
    ),
    "# Load\n\nThe engine is 3.1x faster, from 80 ms to 40 ms.",
    "# Load\n\nLatency went from 80 ms to 40 ms, a 30% reduction.",
    (
        "# Qwen3-32B on 4 x H100 80GB, TP4\n\n"
        "A token takes 2 x 64 x 8 x 128 x 2 = 262,144 bytes, a quarter of it on each GPU. In 40.0 GiB there "
        "is room for roughly 955,000 tokens."
    ),
    ("# Llama 3.1 8B in FP8 on an L4\n\n| | GiB |\n|---|---|\n| weights (8.03 GB) | 4.2 |\n| cache | 10.8 |\n"),
    "# Qwen3-32B on one H100\n\nThe context is 195,000 tokens.",
]


@pytest.mark.parametrize("text", [*DOCUMENTS, *SHORT])
def test_a_right_document_accuses_nobody(text: str) -> None:
    result = audit_document(text, "x.md")
    assert not [claim for claim in result.claims if claim.verdict.wrong]
    assert not [equation for equation in result.equations if equation.verdict.wrong]
    assert not result.contradictions


@pytest.mark.parametrize("text", WRONG)
def test_its_wrong_sibling_is_accused(text: str) -> None:
    result = audit_document(text, "x.md")
    judged = [*(one.verdict for one in result.claims), *(one.verdict for one in result.equations)]
    assert any(verdict.wrong for verdict in judged) or result.contradictions
