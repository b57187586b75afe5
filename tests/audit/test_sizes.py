"""Bytes of the cache and of weights that a document says of a known model, in sentences and tables of many kinds."""

import pytest

from optimizer.audit import audit_document

WRONG = (
    ("# Llama-3.3-70B, TP8\n\nEach card keeps 320 KiB of KV cache per token.", "320 KiB"),
    ("# Llama-3.3-70B, TP8\n\nEach card keeps 80 KiB of KV cache per token.", "80 KiB"),
    ("# DeepSeek-V3, TP8\n\nThe latent cache comes to 8.6 KiB per token on every rank.", "8.6 KiB"),
    ("# Qwen3-32B, TP2\n\nOne session of 32,768 tokens takes 16 GiB of cache.", "16 GiB"),
    ("# Qwen3-32B, TP2\n\nA ticket of ten thousand tokens occupies 5.2 GB of the cache.", "5.2 GB"),
    ("| Model | KV per token (KiB) |\n|---|---|\n| Llama-3.3-70B | 320 |\n| Qwen3-32B | 128 |", "128"),
    ("# Kimi-K2\n\nHalf the heads, so the MLA cache is 34.3 KiB per token.", "34.3 KiB"),
    ("| Model | Precision | Weights | TP |\n|---|---|---|---|\n| Qwen2.5-72B | FP8 | 145 GB | 4 |", "145 GB"),
    ("# Mixtral-8x22B on 8 A100\n\nIn FP8, TP8, the weights are 8.8 GB per card.", "8.8 GB"),
    ("# Llama-3.1-8B on L40S\n\nThe weights take 32 GB in BF16.", "32 GB"),
    ("The tagger has 8.2 billion parameters in BF16, 8.2 GB of weights on a card.", "8.2 GB"),
)
RIGHT = (
    "The tagger has 8.2 billion parameters in BF16, 16.4 GB of weights on a card.",
    "It has 13B parameters in BF16: 13 GB of weights on each of two GPUs.",
    "It has 7B parameters in BF16 with 14 GB of weights, and 30 GB of weights for the other.",
    "We compare Nemotron-3-Nano-30B-A3B and Qwen3-32B.\n\nThe cache is 24 KiB per token.",
    "# Llama-3.3-70B\n\nKV cache in BF16: 320 KiB per token for the model; at TP8 each card keeps 40 KiB per token.",
    "# Llama-3.3-70B\n\nAn FP8 cache halves the token from 320 to 160 KiB.",
    "# Qwen3-32B, TP2\n\nOne session of 32,768 tokens takes 8 GiB of cache, 4 GiB on each GPU.",
    "# Qwen3-32B\n\nA request with 16k tokens occupies 4.3 GB of KV cache.",
    "# DeepSeek-V3 TP8\n\n| Layout | KiB per token on one GPU |\n|---|---|\n| TP8 | 68.6 |\n| DP8 attention | 68.6 |",
    (
        "# Qwen3-235B-A22B\n\n"
        "| Layout | KV heads per GPU | KiB per token per GPU |\n|---|---|---|\n| TP4 | 1 | 47 |\n| TP8 | 1 | 47 |"
    ),
    (
        "# gpt-oss-120b\n\n"
        "Counting all layers as full the cache is 72 KiB per token; the windows bring it to 36 KiB per token."
    ),
    "# Llama-3.1-8B\n\nEach replica needs 20 GB of cache for its 8k-token prompts.",
    "# Llama-3.1-8B\n\nA node holds 24 GB of KV cache for 196,608 tokens.",
    "# Llama-3.1-8B\n\nA page of the cache holds 16 tokens and takes 2 MiB.",
    "# Llama-3.1-8B\n\nOne prompt of 8,192 tokens takes 0.4 s to read, a second user needs 16 GB more of cache.",
    "# Llama-3.1-405B in FP8, TP8\n\nWeights per card: 50.7 GB. What is left, 18 GB a card, is for the cache.",
    (
        "# Mixtral-8x22B\n\n"
        "| | BF16 | FP8 |\n|---|---|---|\n| Weights | 282 GB | 141 GB |\n| per GPU at TP8 | 35.2 GB | 17.6 GB |"
    ),
    "# Kimi-K2\n\nThe router's weights take 0.3 GB, the optimizer states are not counted.",
    "# Qwen2.5-72B\n\nThe weights take 145 GB in BF16 and 73 GB in FP8; with AWQ they are 41 GB.",
    (
        "# Llama-3.3-70B on 4 H100\n\n"
        "| Item | GB |\n|---|---|\n| Weights | 35.3 |\n| Weights and buffers | 38.3 |\n| KV cache | 33.7 |"
    ),
    (
        "# Llama-3.3-70B\n\n"
        "| Context | GiB | Sessions |\n|---|---|---|\n| 8,192 | 2.5 | 13 |\n| 32,768 | 10 | 3 |\n\nKV cache, BF16."
    ),
    "# Llama-3.3-70B, KV cache\n\n| Context | Pool GB | Latency ms |\n|---|---|---|\n| 8,192 | 33.7 | 22 |",
    "# DeepSeek-R1\n\nA user said that the cache is 4 MB per token; that is multi-head attention.",
    "# GLM-4.5\n\nWithout grouped heads a token would be 4.3 MiB of cache.",
    "# Llama-3.1-70B\n\nThe draft keeps another 32 KiB per token in its cache.",
    "# Qwen3-30B-A3B\n\nA token's cache is 96 KiB. Qwen3-32B's is 256 KiB per token.",
    "We compare with Llama-2-70B, whose cache is 320 KiB per token, and Mistral-Foo-9B: 144 KiB per token.",
    "# Llama-3.1-8B\n\nEach token moves 4,096 x 2 bytes = 8 KiB per token and layer over the link.",
    (
        "# Llama-3.3-70B\n\n"
        "A conversation of 6,000 tokens takes just under two gigabytes of cache; a longer one of 12,000 takes 3.9 GB."
    ),
    "# Llama-3.3-70B\n\nA swap of a session of 32,768 tokens is 10.7 GB over PCIe, 0.2 s.",
    "# Llama-3.3-70B\n\nOne replica is 4 cards of 80 GB; 20,000 tokens of cache take 6.6 GB.",
    "# Llama-3.1-8B\n\nThe log of one request is 48 KB for 900 tokens of text.",
    (
        "# Gemma-3-27B\n\n"
        "Of the 62 layers ten are full: a token of a long text costs 80 KiB of cache, each token of a window 496 KiB."
    ),
    (
        "# Llama-3.1-405B\n\n"
        "PP2 with TP8: each rank keeps 31.5 KiB of cache per token. TP8 alone: 63 KiB per token on each GPU."
    ),
    (
        "# Notes on serving Llama-3.1-405B\n\n"
        "Two boxes of 8x H100. Weights are 812 GB in BF16; 50.7 GB sit on each of the 16 cards."
    ),
    "# Llama-3.1-405B\n\n- FP8 checkpoint: 410 GB (embeddings stay BF16)\n- per GPU at TP8: 51.3 GB",
    "# Llama-3.3-70B\n\nFP8 weights 70.6 GB. With TP2 a card carries 35.3 GB of weights, with TP4 17.6 GB.",
    "# Llama-3.3-70B, BF16\n\nWeights / GPU: ~35.3 GB (141.2 / 4)\n\nBudget/GPU: 73.6 GB",
    "# Qwen3-235B-A22B FP8, EP8\n\nAttention weights take 8 GB on every card, expert weights 28 GB.",
    "# DeepSeek-V3, DP32 EP32\n\nWeights per GPU: 21 GB of experts and 17 GB replicated: 38 GB of weights.",
    "# Mixtral-8x7B\n\nFP16 weights: 93 GB; GPTQ weights: 24 GB; we keep 2 copies, 186 GB of weights.",
    "# Llama-3.1-8B\n\nWeights in BF16 take 16 GB, the LoRA weights 0.2 GB each.",
    "# Llama-3.1-8B training\n\nWeights 16 GB, gradients 16 GB, optimizer 64 GB: 96 GB.",
    "# GLM-4.5\n\n| Precision | Weights |\n|---|---|\n| BF16 | 710 GB |\n| FP8 | 358 GB |",
    "# GLM-4.5\n\n| | Weights, GB | per card (TP8) |\n|---|---|---|\n| FP8 | 358 | 44.8 |",
    "# gpt-oss-120b\n\nWeights: 65 GB in MXFP4. Dequantised to BF16 they would be 234 GB.",
    (
        "# Qwen2.5-72B\n\n| Option | Weights per GPU | KV per GPU |\n|---|---|---|\n| TP4 BF16 | "
        "36.4 GB | 31 GB |\n| TP8 BF16 | 18.2 GB | 49 GB |"
    ),
    "# Qwen2.5-72B\n\nLoading the weights moves 145 GB over a 5 GB/s link, 29 s.",
    (
        "# Llama-3.3-70B\n\n"
        "KV cache: a token needs 320 KiB, so 1,000 tokens need 0.33 GB, and a session of 6k tokens 2 GB."
    ),
    "# Llama-3.3-70B\n\nPrompts of 4,000 tokens with 500 tokens of answer take 1.5 GB of cache each.",
    "# Llama-3.3-70B\n\nOne session takes 2.7 GB of cache at 8k and 10.7 GB at 32k.",
    "# Llama-3.3-70B\n\nOne replica holds 137 GB of KV cache; a session at 32k tokens takes 10.7 GB of it.",
    "# Llama-3.3-70B\n\nEvery user keeps about 3 GB of cache on average; the longest session has 32,768 tokens.",
    "# Llama-3.3-70B\n\nA user in the 95th percentile needs 5.4 GB of cache (16k tokens).",
    "# Llama-3.3-70B\n\nEach of the 12 sessions of 32,768 tokens takes 10 GiB, 120 GiB in all.",
    "# DeepSeek-R1 on 8 H200\n\nA session of 32k tokens takes 2.3 GB on each card, as every rank keeps the latent.",
    "# DeepSeek-R1 on 8 H200, DP attention\n\nA session of 32k tokens takes 2.3 GB, on one card alone.",
    "# Kimi-K2\n\nThe cache of a token is 68.6 KiB; in FP8 it would be 34.3 KiB.",
    "# Kimi-K2\n\nKimi-K2 has some 32 of 1,026 billion parameters active per token.",
    "# Qwen3-30B-A3B\n\nKV per token: 96 KiB. Per GPU (TP2): 48 KiB. Per GPU (TP4): 24 KiB. Per GPU (TP8): 24 KiB.",
    "# Qwen3-32B\n\nKV cache per token and layer: 4 KiB; 64 layers: 256 KiB.",
    "# Qwen3-32B\n\nOffloading a session of 16k tokens moves 4 GiB over PCIe, 0.08 s at 55 GB/s.",
    "# Qwen3-32B\n\nIn a swap file every block of 16 tokens takes 4 MiB of cache.",
    (
        "# Llama-3.1-8B on 2 L40S\n\n"
        "The first request costs 1 GiB of cache at 8,192 tokens; its prefix of 2,048 tokens is shared."
    ),
    (
        "# Llama-3.3-70B\n\n"
        "A request with 6,000 tokens of prompt and up to 2,000 of answer takes at most 2.7 GB of cache."
    ),
)


def _accused(text: str) -> list[str]:
    return [claim.statement.text for claim in audit_document(text, "note.md").claims if claim.verdict.wrong]


@pytest.mark.parametrize(("text", "accused"), WRONG)
def test_bytes_that_no_reading_gives_are_accused(text: str, accused: str) -> None:
    assert _accused(text) == [accused]


def test_what_a_device_should_hold_is_told_first() -> None:
    text = "Qwen3-32B runs in BF16 at TP 4 on 4x H100.\n\nEach GPU holds 32 GB of weights."
    (claim,) = (claim for claim in audit_document(text, "note.md").claims if claim.verdict.wrong)
    assert claim.derived is not None
    assert claim.derived.substituted == "65.5242… GB ÷ 4"


@pytest.mark.parametrize("text", RIGHT)
def test_bytes_that_a_reading_gives_or_of_something_else_are_not(text: str) -> None:
    assert _accused(text) == []


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("# Llama-3.3-70B\n\nThe cache takes 320 KiB per token.", "holds"),
        ("# Llama-3.3-70B\n\nAn FP8 cache is considered. The cache takes 160 KiB per token.", "ambiguous"),
        ("# Llama-3.3-70B\n\nAn FP8 cache is considered. The cache takes 320 KiB per token.", "ambiguous"),
    ],
)
def test_what_is_true_of_one_width_alone_is_ambiguous(text: str, verdict: str) -> None:
    (claim,) = [one for one in audit_document(text, "x").to_json()["claims"] if one["name"] == "kv_cache_per_token"]
    assert claim["verdict"] == verdict
