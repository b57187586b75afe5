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
