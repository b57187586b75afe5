"""Wrong equations that the document puts right itself: those it does, and those that only stand near a right figure."""

import pytest

from optimizer.audit import audit_document

CORRECTED = [
    "**Current**:\n```\n0.62GB (8 × 512 × 2 bytes)\n```\n**Should be**:\n```\n8.2KB (8 × 512 × 2 bytes)\n```",
    "> 256 / 32 = 2 experts\n\nSix lines of something else.\n\nThere are 256 / 32 = 8 of them.",
    '- "400 GB / 16 = 32 GB" **−2**. 25 GB.',
    '"6 × 30.5 = 138 GFLOP." No, 183.',
    'The plan says "8 × 192 = 1,563 GB". ✘ 1,536 GB.',
    "> 22 · 2 = 42 GFLOP per token\n\n**Correct alarm**, it's 44.",
    "- p. 4 — for 384 × 60 = 23,400 read 384 × 60 = 23,040.",
    "You write 384 / 96 = 6. Should be 4: 384 / 96 = 4.",
    "Step: 35.25 GB / 3.35 TB/s = 12.5 ms.\n\nI must have transposed it. It's 35.25 / 3.35 ≈ 10.52 ms.",
    "(2) 16 × 36 = 567\n\nDigits swapped: 16 × 36 is 576.",
    "```diff\n-One expert: 3 × 7168 × 2048 = 14,680,064\n+One expert: 3 × 7168 × 2048 = 44,040,192\n```",
    "```diff\n-- experts: 1,014.7 GB / 128 = 8.93 GB\n```",
    "| printed | should be |\n|---|---|\n| 72 × 186 GB = 12.4 TB | 13.4 TB |",
    "| line | mark |\n|---|---|\n| 126 / 16 = 8.125 | ✘ 7.875 |",
    '| line | mark |\n|---|---|\n| 312 / 6.6 = 74.3k tok/s | "wrong, 47.3k" |',
    "The first review says that 1024 ÷ 64 = 18 experts; it is 16.",
    "`128 · 8 · 7168 · 2 = 14,860,064 B`\n\n→ wrong. Simply twice that, 14,680,064.",
]
NOT_CORRECTED = [
    "- **Expected**: 8 × 4 × 16 = 502 GPUs\n- The script shows 512 GPUs when the calculation should yield 502 GPUs",
    "8 × 4 = 33 GPUs in all.\n\nWe have 8 × 4 = 32 GPUs.",
    "8 × 4 = 33 GPUs. The other pool has 32 GPUs.",
    "8 × 4 = 33, not 32.",
    "> A: 96 / 48 = 3\n\n> B: 96 / 48 = 2",
    "Slide 7 has 7,168 × 8 = 57,344. It must be multiplied by eight: 7,168 × 8 = 458,752.",
    "8 × 4 = 33. Wrong is only the cable plan.",
    "8 × 4 ≠ 32\n\nReally, 8 × 4 ≠ 31",
    "| sum | #77 | me |\n|---|---|---|\n| 48.32 + 24.8 = 74.12 | ✘ | ✔ |",
    "16 × 58 = 928. Wait, 16 × 58 = 938.",
    "8 × 4 = 33. That is wrong for 32 × 2 = 64.",
]


@pytest.mark.parametrize("text", CORRECTED)
def test_what_the_text_corrects_is_its_own_finding(text: str) -> None:
    found = audit_document(text, "x")
    failing = [equation for equation in found.equations if equation.verdict == "fails"]
    assert [equation.called_wrong for equation in failing] == [True]
    assert int(found.exit_status) == 0


@pytest.mark.parametrize("text", NOT_CORRECTED)
def test_a_right_figure_nearby_is_no_correction(text: str) -> None:
    found = audit_document(text, "x")
    failing = [equation for equation in found.equations if equation.verdict == "fails"]
    assert failing
    assert not all(equation.called_wrong for equation in failing)
    assert int(found.exit_status) == 1
