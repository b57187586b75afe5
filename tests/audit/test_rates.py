"""Rates and times of tokens that no hardware allows, and those that some reading of their words does."""

import pytest

from optimizer.audit import audit_document

_PLAIN = "# Llama-3.3-70B FP8, TP4 on four H100\n\nNo speculative decoding.\n\n"


def accused(text: str) -> set[str]:
    claims = audit_document(text, "x").to_json()["claims"]
    return {claim["text"] for claim in claims if claim["verdict"] in {"fails", "impossible"}}


_TWO = "# Choice\n\nLlama-3.3-70B, H100.\n\n| | A: BF16 TP4 | B: FP8 TP2 |\n|---|---|---|\n| cards | 4 | 2 |\n\n"
_MOE = "# DeepSeek-R1 on 8 x H200\n\nFP8, TP8.\n\n"


@pytest.mark.parametrize(
    ("text", "figure"),
    [
        ("# Qwen3-14B in BF16 on one A100\n\n| users | tok/s | ITL (ms) |\n|---|---|---|\n| 1 | 140 | 19 |", "140"),
        (_PLAIN + "| bs | out tok/s |\n|---|---|\n| 1 | 410 |\n| 32 | 1,900 |", "410"),
        ("# Bench\n\nLlama-3.1-8B, FP16, on a single L4.\n\nAn idle card with one chat open writes 55 tokens/s.", "55"),
        ("# Qwen3-32B on 2 x L40S\n\nTP2, BF16, no drafts.\n\nA solo session sees 70 tok/s.", "70"),
        (_MOE + "## Prefill\n\nThe node ingests 900,000 tokens/s with the prefix cache disabled.", "900,000"),
        ("# Pretraining Llama-3.1-8B\n\n64 H100, BF16, FSDP.\n\nThe run holds 26,000 tok/s per GPU.", "26,000"),
        (_PLAIN + "A single user waits: 400 output tokens in 1.1 s.", "1.1 s"),
        (_PLAIN + "## Prefill\n\n- 16,000-token prompt: 0.2 s to first token", "0.2 s"),
        (_TWO + "- Option B, one stream: 131 tokens/s", "131"),
        (
            "# Mixtral-8x7B\n\nTP2 on A100, which has no FP8, so BF16.\n\n- decode, batch 1: 240 tokens/s",
            "240",
        ),
    ],
)
def test_what_no_reading_allows_is_accused(text: str, figure: str) -> None:
    assert figure in accused(text)


@pytest.mark.parametrize(
    "text",
    [
        _PLAIN + "| bs | out tok/s |\n|---|---|\n| 1 | 118 |\n| 32 | 1,900 |",
        "# Llama-3.3-70B FP8, TP4 on four H100\n\nWith EAGLE-3 drafts a single user gets 310 tok/s, without them 118.",
        "# Fleet\n\nLlama-3.1-8B on 12 nodes of 8 x H100, FP8, 1 GPU each.\n\nThe fleet reads 9.5 million tokens/s.",
        "# Qwen3-32B\n\nOne stream had 24 tok/s on two L40S with TP2; on H100 with FP8 one stream gets 85 tok/s.",
        _MOE + "With 87% prefix cache hits the node ingests 900,000 prompt tokens/s.",
        "# Llama-3.1-70B\n\nBF16, TP8, H100. That is 45 tok/s for a user and about 2,900 tok/s for the replica.",
        "# Llama-3.3-70B\n\nOn the A100 (TP4) one stream had 45 tok/s; the B200 node at NVFP4 gives it 240 tok/s.",
        _PLAIN + "## Prefill\n\n- 16,000-token prompt: 0.9 s to first token",
        "# Qwen3-235B on H100\n\nOne instance over two nodes, TP8, wrote 14,300 output tokens a second.",
        "# Kimi-K2\n\nTwo nodes of 8 x H200, EP16. The pair prefills 180,000 tokens/s, 11,250 per GPU.",
    ],
)
def test_what_some_reading_allows_is_not(text: str) -> None:
    assert not accused(text)
