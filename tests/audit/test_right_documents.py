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


@pytest.mark.parametrize("text", DOCUMENTS, ids=lambda text: text.partition("\n")[0])
def test_a_right_document_accuses_nobody(text: str) -> None:
    result = audit_document(text, "x.md")
    assert not [claim for claim in result.claims if claim.verdict.wrong]
    assert not [equation for equation in result.equations if equation.verdict.wrong]
    assert not result.contradictions
