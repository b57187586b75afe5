"""Shapes, degrees, contexts and rates that a document says of a known model, in sentences of many kinds."""

import pytest

from optimizer.audit import audit_document

POOL = "# Llama-3.3-70B\n\nThe pool holds 418k tokens: 137 GB over 327,680 bytes.\n\n"
HALVES = (
    "# Llama-3.3-70B, TP2\n\nLeft for the KV cache: 34.0 GiB a GPU, thus 68.0 GiB for the pair. A token costs "
    "163,840 bytes in the FP8 cache, counted over both GPUs. "
)
DESKS = "# Notes\n\n| Name | Model |\n|---|---|\n| Desk | Llama-3.3-70B, FP8, H100 |\n| Mail | Qwen3-8B, L40S |"
WRONG = (
    ("# Qwen3-235B-A22B\n\nUnder EP 4 each GPU owns 16 whole routed experts.", "16 whole routed experts"),
    ("# Qwen3-235B-A22B FP8, H100\n\n## TP4\n\n| Batch | tok/s | ITL |\n|-|-|-|\n| 1 | 910 | 2 ms |\n\n# TP8", "910"),
    ("DeepSeek-V3 has 61 layers and 96 attention heads.", "96 attention heads"),
    ("Qwen3-30B-A3B: 48 layers, 64 experts, eight a token.", "64 experts"),
    ("# Llama-3.1-405B\n\nPP=2 puts 64 layers on each stage.", "64 layers"),
    ("# Kimi-K2\n\nWe run EP16. Sixteen routed experts of each layer are on every rank.", "Sixteen routed experts"),
    ("# Qwen3-32B\n\nOne big engine with --tensor-parallel-size 6 is what we run.", "tensor-parallel-size 6"),
    ("GLM-4.5 shall be served by TP12.", "TP12"),
    ("# Llama-3.1-70B\n\nThe limit is a 200,000-token context.", "200,000"),
    ("Llama-3.1-405B in FP8 on eight H100 gives 97 tokens/s for a lone stream.", "97"),
    ("Llama-3.1-70B in FP8 runs on H100. Four cards read it. A lone user sees 240 tokens/s.", "240"),
    ("Qwen3-32B in FP8 on one L40S card: 15 ms per token.", "15 ms"),
    ("Llama-3.1-405B in FP8: one B200 system reads 70,000 prompt tokens per second.", "70,000"),
    ("Mixtral-8x22B: of the 8 experts, the gate picks 3 of them per token.", "3"),
    ("Kimi-K2 is a top-6 mixture of 384 experts.", "6"),
    ("| | DeepSeek-V3 | Kimi-K2 |\n|---|---|---|\n| Query heads | 128 | 96 |", "96"),
    ("| Model | Layers | KV heads |\n|---|---|---|\n| Qwen3-32B | 62 | 8 |\n| GLM-4.5 | 92 | 8 |", "62"),
    ("# GLM-4.5\n\nWe run EP8. To every accelerator fall 40 routed experts a layer.", "40 routed experts"),
    ("# GLM-4.5\n\nThe experts go expert-parallel over 16 GPUs: 20 of them sit on each card.", "20 of them"),
    ("| Model | EP | Experts per GPU |\n|---|---|---|\n| Kimi-K2 | 32 | 16 |", "16"),
    ("Llama-3.1-8B in BF16 on one L40S: the pilot measured 90 tok/s for one dispatcher.", "90"),
    ("Llama-3.3-70B in BF16 on four H100. We accept it at no less than 150 tok/s on a single stream.", "150"),
    ("Llama-3.3-70B in BF16 on four H100. At bs=1, 2k in / 1k out: 150 tok/s.", "150"),
    ("Llama-3.3-70B in BF16 at TP2 on H100: 90 tok/s for one reader.", "90"),
    ("# GLM-4.5\n\nThe layers go over PP4, 30 layers on each stage.", "30 layers"),
    ("# Llama-3.3-70B\n\nAt TP4, 8 query heads are on each GPU.", "8 query heads"),
    ("# DeepSeek-R1\n\nThe draft has EP32. Every GPU would then keep 16 experts per layer.", "16 experts"),
    ("# gpt-oss-120b\n\nExpert parallelism over 4 cards: each of the four cards owns 16 experts.", "16 experts"),
    ("| Nodes of GLM-4.5 | GPUs (=EP) | Experts per GPU |\n|---|---|---|\n| 4 | 32 | 10 |", "10"),
    ("# Pretraining of Llama-3.1-8B\n\nIn BF16 on H100. The pilot ran at 23,500 tokens per second and GPU.", "23,500"),
    ("Llama-3.3-70B on two H100, TP2. In BF16 a lone user gets 90 tokens/s, in FP8 80.", "90"),
    ("| GPUs | Ceiling, tok/s | Measured, tok/s |\n|---|---|---|\n| 4 | 95 | 131 |\n| 8 | 190 | 98 |", "131"),
    (f"{DESKS}\n\n## Desk\n\nPrefill of two GPUs sustained 41,000 tokens per second.", "41,000"),
    (f"{POOL}Sessions average 6,000 tokens, so a replica has room for about 120 of them.", "120"),
    (f"{HALVES}The 68.0 GiB pool of one replica therefore holds about 891,000 tokens.", "891,000"),
    (f"{POOL}At the mean of 2,560 tokens a replica keeps about 243 requests before it has to preempt.", "243"),
    ("# GLM-4.6 at TP8\n\n- 47,104 bytes of a token, 74.0 GB left a card.\n- So it keeps 785,000 tokens.", "785,000"),
    ("# DeepSeek-R1 on 8 H200, TP8\n\nWith an FP8 cache the same 37 GB hold about 2.1 million tokens.", "2.1 million"),
    ("# Qwen3-32B, one card\n\nA token costs 256 KiB. The 6 GB that are left hold 46,000 tokens.", "46,000"),
    (f"{POOL}A request of 32,768 tokens is long. So a box holds sixteen such requests.", "sixteen"),
    (f"{POOL}So thirteen users at the full 64k context fit.", "thirteen"),
    ("# gpt-oss-120b on RTX PRO 6000 cards\n\nA single chat on one GPU ran at 1,150 tokens/s.", "1,150"),
    ("gpt-oss-120b has 117 B in total and 12 B active.", "12 B active"),
    ("| Model | Parameters | Active |\n|---|---|---|\n| Mixtral-8x22B | 176 B | 39 B |", "176 B"),
    ("gpt-oss-120b has 116.8 B parameters, of which about 12 B are active for a token.", "12 B"),
    ("Kimi-K2 has a trillion parameters. Per token it activates about 37 billion of them.", "37 billion"),
    ("GLM-4.6 has 355 B parameters and activates 22 B.", "22 B"),
    ("# Kimi-K2\n\nIt has 64 attention heads, so at TP=8 each GPU computes 16 of them.", "16 of them"),
    ("# Qwen3-235B-A22B at TP8\n\n- Attention: 96 query heads / 8 = 12 per GPU.", "96 query heads"),
    ("gpt-oss-120b has 128 experts in a layer. A router sends it on: it routes to eight of them.", "eight"),
    ("# Qwen3-32B\n\nAt TP2 a card computes 32 query heads and keeps 2 KV heads.", "2 KV heads"),
    ("# DeepSeek-V3 on 2 nodes of 8 H200, EP=16\n\nA GPU holds 32 of the 256 experts.", "32 of the 256 experts"),
    ("Kimi-K2 in FP8 on H20. The sixteen cards are one. They read 120 thousand tokens per second.", "120 thousand"),
)  # fmt: skip
RIGHT = (
    f"{HALVES}The 68.0 GiB pool of one replica therefore holds about 445,000 tokens.",
    f"{POOL}At the mean of 2,560 tokens a replica keeps about 160 requests before it has to preempt.",
    f"{HALVES}We give half of the 68.0 GiB pool to batch, so it holds 222,000 tokens.",
    f"{HALVES}The 34.0 GiB of a GPU hold 445,000 tokens of a replica.",
    f"{HALVES}In the 68.0 GiB pool 40 requests keep 6,000 tokens each, so 240,000 tokens.",
    "# DeepSeek-R1 on 8 H200, TP8\n\nWith an FP8 cache the same 37 GB hold about 1.05 million tokens.",
    "# Llama-3.1-405B\n\n- A stage keeps half of the layers, 31.5 KiB of a token on each GPU.",
    "gpt-oss-120b has 116.8 B parameters, of which about 5.1 B are active; 3 M active users share it.",
    "Qwen3-235B-A22B activates 22 B parameters; 14.2 B of the active ones are experts.",
    "| | Mixtral-8x7B |\n|---|---|\n| total / active parameters | 46.7 B / 12.9 B |",
    "# DeepSeek-V3\n\nDecode is EP64 on 64 GPUs. Prefill runs on 16 GPUs: 16 experts per GPU.",
    "# Llama-3.3-70B at TP2\n\n8 KV heads and 80 layers; a batch of 64 requests, 32 per GPU.",
    "# Llama-3.1-405B at TP8\n\nWith its 128 query heads a rank works on 16 of them, 51 GB on each card.",
    "DeepSeek-V3 has 61 layers and 128 attention heads, 256 routed experts and one shared expert.",
    "DeepSeek-V3 has 61 layers: 3 dense ones and 58 layers with experts.",
    "Qwen3-30B-A3B: 48 layers, 128 experts, eight a token.",
    "# Llama-3.1-405B\n\nPP=2 puts 63 layers on each stage.",
    "# Kimi-K2\n\nWe run EP16. Twenty-four routed experts of each layer are on every rank.",
    "# Kimi-K2\n\nKimi-K2 on EP16. DeepSeek-V3 puts sixteen routed experts on every rank there.",
    "# Qwen3-32B\n\n--tensor-parallel-size 6 does not divide 64 heads.",
    "GLM-4.5 shall be served by TP8.",
    "# Llama-3.1-8B\n\nThe old Llama-2-13B had 40 KV heads.",
    "Each GPU holds 8 × 58 = 464 experts of DeepSeek-V3.",
    "# Qwen3-32B\n\nWith YaRN we allow a 131,072-token context.",
    "Mixtral-8x22B: of the 8 experts, the gate picks 2 of them per token.",
    "Kimi-K2 is a top-8 mixture of 384 experts; sampling is top-40.",
    "| | DeepSeek-V3 | Kimi-K2 |\n|---|---|---|\n| Query heads | 128 | 64 |",
    "| Model | Layers | KV heads |\n|---|---|---|\n| Qwen3-32B | 64 | 8 |\n| GLM-4.5 | 92 | 8 |",
    "# Plan for Mixtral-8x22B\n\n| Item | 8x7B | 8x22B |\n|---|---|---|\n| Layers | 32 | 56 |",
    "# GLM-4.5\n\nWe run EP8. To every accelerator fall 20 routed experts a layer.",
    "# GLM-4.5\n\nEach card holds 20 routed experts of a layer. In the other test (EP16) it was 10. TP8 today.",
    "DeepSeek-V3 at EP32 with 32 redundant experts: of 288 slots per layer, each GPU has 9.",
    "DeepSeek-V3: EP32 with 32 redundant experts makes 288 slots, 9 on each GPU.",
    "DeepSeek-V3 runs with `--ep-size 8` each GPU keeps 32 routed experts per layer.",
    "# Kimi-K2, EP8\n\n48 experts per GPU: 126.8 + 14.1 = 140.9 GB.",
    "DeepSeek-V3 has 58 MoE layers; the first draft had 60 layers with experts.",
    "# Qwen2.5-7B\n\nThe job had --tensor-parallel-size 8. It crashed: 28 heads must be divisible by 8.",
    "# gpt-oss-120b\n\n`--max-model-len 262144` is refused.",
    "| Part of gpt-oss-120b | Parameters |\n|---|---|\n| LM head | 0.58B |",
    "GLM-4.5 in FP8 on 8 H200. So 1,200 tok/s per user?!",
    "Llama-3.1-405B in FP8 on eight H100. The two GPUs are alike. The server reads 7,800 prompt tokens per second.",
    "Llama-3.3-70B in BF16 on four H100 serves 600 tok/s for 16 users, 60 tok/s for one reader.",
    "Llama-3.3-70B in BF16 on four H100 does up to 95 tok/s for one reader.",
    "Llama-3.1-405B in FP8 on eight H100 gives 60 tokens/s for a lone stream.",
    "Llama-3.1-405B in FP8 on eight H100 gives 97 tokens/s for a lone stream with EAGLE drafts.",
    "Qwen3-32B in FP8 on one L40S card: 45 ms per token.",
    "Llama-3.1-405B in FP8: one B200 system reads 30,000 prompt tokens per second.",
    "Llama-3.1-70B in BF16 on 4 H100. A GPU stores a part; prefill peaks at 21,000 tokens/s on the 4 H100.",
    "# Qwen3-32B fleet\n\nThe fleet has 12 nodes of 8 H100. It takes 900,000 prompt tokens per second at peak.",
    "# Qwen3-32B\n\nTwo H100 per replica, six replicas. Prefill of all is 110k tok/s in FP8.",
    "# DeepSeek-R1, 8 H200\n\n| MTP | tok/s, one user |\n|---|---|\n| off | 98 |\n| on | 1,200 |",
    "# Llama-3.3-70B on four H100\n\nWith prefix caching the box reads 300,000 prompt tokens per second.",
    "# Llama-3.3-70B on four H100\n\nThe bandwidth would give 200 tok/s to one reader on eight of these cards.",
    "# Llama-3.3-70B on 4 H100\n\nThe gateway meters 2.5M tokens per minute across every product.",
    "# Llama-3.3-70B on 4 H100\n\nSpec decode with 4 draft tokens: 180 tok/s at batch 1.",
    "# Llama-3.3-70B on 4 H100\n\n| Draft | tok/s (bs=1) |\n|---|---|\n| none | 70 |\n| EAGLE-3 | 170 |",
    "# Llama-3.3-70B on 4 H100\n\nThe tokenizer handles 1.2M tokens/s on one core.",
    "# Llama-3.3-70B on 4 H100\n\nThe old API gave one user 210 tok/s; ours gives 65.",
    "# Llama-3.3-70B on 4 H100\n\nGroq quotes 280 tok/s per user for it.",
    "# Llama-3.3-70B on 4 H100, TP4\n\nThe 8B draft model alone runs at 400 tok/s for one stream.",
    "# Llama-3.3-70B on 4 H100\n\nTPOT p50 is 14 ms at one stream. A decode step of 2 ms would need 20 cards.",
    "# Llama-3.3-70B on 4 H100\n\nAll-reduce costs 1.2 ms per token.",
    "# Llama-3.3-70B on 4 H100\n\nSampling takes 0.4 ms per token on the host.",
    (
        "# Llama-3.3-70B on 4 H100\n\n| Part | ms per token |\n|---|---|\n| Weights | 10.5 |\n| "
        "All-reduce | 1.9 |\n| Sampling | 0.3 |\n| Total | 12.7 |"
    ),
    "# Pretraining of Llama-3.1-8B\n\nIn BF16 on H100. The pilot ran at 11,500 tokens per second and GPU.",
    "# LoRA tuning of Llama-3.1-8B\n\nOn one H100, BF16. Served, it reads 60,000 prompt tokens per second.",
    "# Llama-3.3-70B on 4 H100\n\nChunked prefill of a 16,000-token prompt adds 0.1 s to the first token of others.",
    "| Chat | Floor, tok/s | Measured, tok/s |\n|---|---|---|\n| all | 20 | 35 |",
    "| GPUs | Ceiling, tok/s | Measured with EAGLE, tok/s |\n|---|---|---|\n| 4 | 95 | 131 |",
    f"{POOL}Sessions average 6,000 tokens, so a replica has room for about 69 of them.",
    f"{POOL}At 32,768 tokens per conversation that is about 12 conversations.",
    f"{POOL}| Sequence length | Sequences |\n|---|---|\n| 8,192 | 51 |\n| 32,768 | 12 |",
    f"{POOL}| Prompt tokens | Requests per day |\n|---|---|\n| 8,192 | 5,000 |\n| 32,768 | 900 |",
    f"{POOL}The acceptance test is: 30 simultaneous sessions of 32,768 tokens.",
    f"{POOL}Our average session is 4,096 tokens. The load test has 200 sessions, so half of them queue.",
    "gpt-oss-120b: one token uses 4/128 of them, 3.6 B parameters.",
    "# GLM-4.5 training\n\nThe run reads 1.1M tokens per second from the data set on 256 H100.",
    "# Kimi-K2 on 16 H20\n\nOne stream: 45 tok/s. Each of the 64 clients: 31 tok/s, 1,984 tok/s in all.",
    "# Mixtral-8x22B, 8x A100\n\nPrefill shows 40k tok/s in the dashboard, but 79% are cache hits.",
    "# Llama-3.1-405B FP8 on 8 H100\n\nMore than 70 tok/s for one user cannot be had.",
    "# Llama-3.1-8B on one H100\n\nBatch 256 gives 14,000 tok/s; per request that is 55 tok/s.",
    "# Llama-3.1-8B on one H100\n\nAt concurrency 1 it is 160 tok/s, at 8 1,150 tok/s, at 64 6,400 tok/s.",
    "# Llama-3.1-8B\n\nServed on L4, L40S and H100: 17, 48 and 160 tok/s for one user in BF16.",
    "# gpt-oss-120b on one H100\n\nbs=1: 210 tok/s. 16 replicas then: 3,360 tok/s for 16 users.",
    (
        "# DeepSeek-V3\n\nOn 8 GPUs with EP8 that is 32 experts a card; a node of the decode pool "
        "(EP144) keeps 2 per GPU with 32 redundant ones."
    ),
    "# DeepSeek-V3, EP32\n\nEach GPU hosts 8 routed experts and the shared one, 9 in all.",
    "# DeepSeek-R1, EP32\n\nWithout redundancy that leaves 8 routed experts on each GPU; 32 spare ones make it 9.",
    "# GLM-4.5\n\nThe 92 layers go over PP4, 23 layers on each stage.",
    "# Llama-3.3-70B\n\nAt TP4 with context parallelism 2, 8 query heads work on each GPU.",
    "# DeepSeek-V3\n\nExpert-parallel on 16 GPUs. Each GPU sends tokens to 8 experts, each node has 128 experts.",
    "| Copies of GLM-4.5 | GPUs | Experts per GPU |\n|---|---|---|\n| 2 | 16 | 20 |",
    "# DeepSeek-V3, EP32\n\nEach GPU runs 9 experts of a layer: eight routed, one shared.",
    "# Qwen3-235B-A22B, EP8\n\nEach card hosts 16 experts per layer, 1,504 experts in all 94 layers.",
    "# Kimi-K2, EP16\n\nIn a step a card sees tokens for 20 of its 24 experts.",
    "# Kimi-K2\n\nHot experts: 12 of the 384 on each card got no token.",
    "# gpt-oss-120b\n\nWith top-4 routing a batch of 128 hits 126 experts of 128 per layer.",
    "# Mixtral-8x22B\n\nThe hottest 2 experts take 31 % of the tokens; the other 6 experts share the rest.",
    "# Llama-3.3-70B, TP4\n\nEach card has 16 query heads and 2 KV heads; with TP8 it would be 8 and 1.",
    "# Llama-3.3-70B\n\nWe freeze the lower 40 layers and train the upper 40 layers.",
    "# Llama-3.3-70B, PP4\n\nStages have 19, 20, 20 and 21 layers.",
    "# Llama-3.3-70B\n\nThe draft has one layer; the reranker beside it has 24 layers and 16 heads.",
    "# Qwen3-32B\n\nOver 8 cards the 64 layers run 128 all-reduces.",
    "# Qwen2.5-7B\n\nTP4 leaves 7 heads per card. TP8 does not work with 28 heads.",
    "# Qwen3-32B\n\nWe asked for --tensor-parallel-size 6 and vLLM refused it.",
    "# GLM-4.5, 8 GPUs, EP8\n\nWe tested 24 redundant experts: 23 per GPU.",
    "# GLM-4.5\n\n| Setting | A | B |\n|---|---|---|\n| EP | 8 | 16 |\n| Experts per GPU | 20 | 10 |",
    (
        "| Model | Layers | Heads | Experts |\n|---|---|---|---|\n| DeepSeek-V3 | 61 | 128 | 256 "
        "|\n| Mixtral-8x7B | 32 | 32 | 8 |"
    ),
    "# Notes\n\n| Model | Experts / top-k |\n|---|---|\n| gpt-oss-120b | 128 / 4 |\n| Kimi-K2 | 384 / 8 |",
    "# GLM-4.5\n\nTop-2 gating was used in GShard; here the gate takes 8 of 160 experts per token.",
    "# Llama-3.3-70B\n\nThe pool is 418,000 tokens. It admits 12 sessions of 32,768 tokens, or 51 of 8,192.",
    (
        "# Llama-3.3-70B\n\nThe cache is 137 GB, 320 KiB per token, 418k tokens per replica. The "
        "four replicas hold 48 sessions of 32k tokens."
    ),
    (
        "# Llama-3.3-70B\n\n"
        "The pool is 418k tokens at 327,680 bytes in 137 GB. Of 60 users with 32k contexts, 12 are served at once."
    ),
    "# Qwen3-32B\n\nNative context is 32,768; with YaRN 131,072. Prompts of 40,000 tokens are cut.",
    "# Mixtral-8x22B\n\nContracts have up to 90,000 tokens and must be cut, since the context is 65,536.",
    "# Llama-3.1-405B\n\nBF16 weights of 812 GB do not fit 8x H100; FP8 fits.",
    "# DeepSeek-R1\n\nA node of 8x H100 with 640 GB cannot hold the 671 GB.",
    "# Llama-3.3-70B\n\nTwo H100 hold the FP8 weights; BF16 runs on four.",
    "# Qwen3-32B\n\nAWQ fits one 24 GB card; the BF16 build takes two L40S.",
    (
        "# Llama-3.3-70B\n\nThe pool holds 418k tokens: 137 GB over 327,680 bytes.\n\n"
        "Twelve sessions of 32,768 tokens each fit; of 8,192 tokens fifty-one."
    ),
    (
        "# Llama-3.3-70B\n\nThe pool holds 418k tokens: 137 GB over 327,680 bytes.\n\n"
        "The scheduler takes up to 256 requests of 32,768 tokens each and preempts what it cannot keep."
    ),
    (
        "# Llama-3.3-70B\n\nThe pool holds 418k tokens: 137 GB over 327,680 bytes.\n\n"
        "Over the day it serves 9,000 requests of 6,000 tokens each."
    ),
    (
        "# Llama-3.3-70B\n\nThe pool holds 418k tokens: 137 GB over 327,680 bytes.\n\n"
        "Three replicas keep 36 sessions of 32,768 tokens each."
    ),
    (
        "# Llama-3.3-70B\n\nThe pool holds 418k tokens: 137 GB over 327,680 bytes.\n\n"
        "We replayed 500 documents of 4,000 tokens each, one after the other."
    ),
    (
        "# Llama-3.3-70B\n\nThe pool holds 418k tokens: 137 GB over 327,680 bytes.\n\n"
        "The archive has 12,000 contracts of 9,000 tokens each."
    ),
    (
        "# Llama-3.3-70B\n\nThe pool holds 418k tokens: 137 GB over 327,680 bytes.\n\n"
        "With an FP8 cache 25 sessions of 32,768 tokens each are held."
    ),
    "# Llama-3.3-70B on 4 H100\n\nA batch of 64 prompts with 8,192 tokens each is read in 25 s.",
    "# Llama-3.3-70B on 4 H100, BF16\n\nThe 40 users at 8k tokens each are served by three replicas.",
    "# Llama-3.3-70B on 4 H100, BF16\n\nTwelve users of 20k tokens each fit beside the weights.",
    "# Llama-3.3-70B on H100\n\nA single BF16 copy at TP2 leaves 8 GB a card: too little.",
    "# Llama-3.3-70B on H100\n\nTP2 in FP8 puts 35.3 GB on each card; TP4 in BF16 puts 35.3 GB on each as well.",
    "# Llama-3.1-405B on MI300X\n\nBF16 at TP8 fits: 102 GB of 192 GB. FP8 at TP4 fits as well.",
    "# Qwen3-235B-A22B\n\nFP8 runs on four H200, BF16 on eight.",
    "# DeepSeek-R1\n\nFP8 fits eight H200 with 1,128 GB; sixteen H100 hold it too.",
    "# Llama-3.1-405B\n\nThe INT4 build (203 GB) takes four H100; we keep the FP8 one on eight.",
    "Llama-3.1-70B on H100.\n\nWe cap at 96 sequences. At the mean context this is 576,000 tokens.",
    "    vllm serve zai-org/GLM-4.5-FP8 --tensor-parallel-size 4\n\nAttention is tensor parallel, 24 query heads each.",
)  # fmt: skip


def _accused(text: str) -> list[str]:
    result = audit_document(text, "note.md")
    return [claim.statement.text for claim in result.claims if claim.verdict.wrong]


@pytest.mark.parametrize(("text", "accused"), WRONG)
def test_what_no_reading_of_the_model_gives_is_accused(text: str, accused: str) -> None:
    assert _accused(text) == [accused]


@pytest.mark.parametrize("text", RIGHT)
def test_what_a_reading_gives_or_another_says_is_not(text: str) -> None:
    assert _accused(text) == []


def test_heads_over_the_one_degree_of_a_clause_are_divided_by_no_other_number() -> None:
    text = "# Qwen3-235B-A22B\n\n- 64 query heads over TP8, hence {} on each GPU; the 4 KV heads are kept twice.\n"
    wrong, right = (audit_document(text.format(heads), "x.md").claims for heads in (16, 8))
    assert any(claim.verdict.wrong for claim in wrong)
    assert not any(claim.verdict.wrong for claim in right)
