"""Tensors of a step of compressed attention (DeepSeek-V4), and what vLLM gathers its prompts' cache into."""

from __future__ import annotations

from typing import Any

import pytest

from optimizer.domain.attention import CompressedAttention
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.memory import build_memory, compressed_elements
from optimizer.figures.reserve import fixed_bytes, gathered_bytes
from optimizer.readers.read import Override, read_problem

FLASH = CompressedAttention(
    heads=64, head_dim=512, q_lora_rank=1024, o_groups=8, o_lora_rank=1024, window=128, compress_ratio=4
)


def _problem(**changed: Any) -> Problem:
    asked = {"model": "deepseek-v4-flash", "hardware": "b200-sxm-8", "devices": 8, "engine": "vllm@0.25"} | changed
    return read_problem(None, [Override(f"--{name}", (name,), value) for name, value in asked.items()])


def test_a_step_needs_what_was_logged_of_it() -> None:
    """5.30 GiB of 8,224 tokens and 1.39 GiB of 2,048 (DeepSeek-v4-Flash-One-DGX-Spark issue 4)."""
    token = build_memory(_problem(engine="vllm"), Shape(1, 1, 1, 1, 1)).token_bytes
    assert 8_224 * token / 2**30 == pytest.approx(5.30, rel=0.02)
    assert 2_048 * token / 2**30 == pytest.approx(1.39, rel=0.07)


@pytest.mark.parametrize(("tp", "heads"), [(1, 9.5 * 64), (2, 9.5 * 32 + 2 * 32), (8, 9.5 * 8 + 2 * 56)])
def test_the_kernel_reads_and_writes_64_heads_however_few_a_rank_has(tp: int, heads: float) -> None:
    assert compressed_elements(FLASH.keeps, tp) == heads * 512


def test_prompts_are_gathered_for_four_of_the_longest_sequences() -> None:
    """1.03 GiB of vllm issue 51454: 4 · (1,048,576 ÷ 4 + 128 + 8,192) entries of 512 in 16 bits."""
    asked = {"max_model_len": 2**20, "max_num_batched_tokens": 8192, "input_tokens": 1000, "output_tokens": 24}
    problem = _problem(workload=asked)
    assert gathered_bytes(problem) == 4 * (2**18 + 128 + 8192) * 1024
    assert gathered_bytes(_problem(workload=asked, engine="sglang")) == 0
    assert gathered_bytes(_problem(workload=asked | {"max_model_len": 8192}, model="llama-3.1-8b")) == 0
    prefill = _problem(workload=asked | {"phase": "prefill"})
    assert fixed_bytes(prefill, Shape(1, 1, 1, 1, 1)) >= gathered_bytes(prefill)
    stated = _problem(workload=asked, limits={"reserve": "2 GiB"})
    assert fixed_bytes(stated, Shape(1, 1, 1, 1, 1)) == 2 * 2**30
