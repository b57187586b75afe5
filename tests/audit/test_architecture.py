"""Shapes, degrees, contexts and rates that a document says of a known model, in sentences of many kinds."""

import pytest

from optimizer.audit import audit_document

WRONG = (
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
    ("# Sheet for Qwen3-32B\n\n- Q / KV heads: 64 / 16", "16"),
    ("# GLM-4.5\n\nWe run EP8. To every accelerator fall 40 routed experts a layer.", "40 routed experts"),
    ("# GLM-4.5\n\nThe experts go expert-parallel over 16 GPUs: 20 of them sit on each card.", "20 of them"),
    ("| Model | EP | Experts per GPU |\n|---|---|---|\n| Kimi-K2 | 32 | 16 |", "16"),
    ("Llama-3.1-8B in BF16 on one L40S: the pilot measured 90 tok/s for one dispatcher.", "90"),
    ("Llama-3.3-70B in BF16 on four H100. We accept it at no less than 150 tok/s on a single stream.", "150"),
    ("Llama-3.3-70B in BF16 on four H100. At bs=1, 2k in / 1k out: 150 tok/s.", "150"),
    ("Kimi-K2 in FP8 on H20. The sixteen cards are one. They read 120 thousand tokens per second.", "120 thousand"),
)  # fmt: skip
RIGHT = (
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
    "# Sheet for Qwen3-32B\n\n- Q / KV heads: 64 / 8",
    "# GLM-4.5\n\nWe run EP8. To every accelerator fall 20 routed experts a layer.",
    "# GLM-4.5\n\nEach card holds 20 routed experts of a layer. In the other test (EP16) it was 10. TP8 today.",
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
