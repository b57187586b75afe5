"""Tokens that vLLM before 0.21 logs of models whose layers keep their cache in several ways: blocks ÷ groups."""

from __future__ import annotations

from typing import Any

import pytest

from optimizer import read_problem
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.groups import groups
from optimizer.figures.partition import even_cuts
from optimizer.figures.room import room_of

GIB = 2**30


def asked(model: str, engine: str, gib: float, length: int = 32_768, **more: Any) -> Problem:
    """A model whose cache has so much room."""
    work = {"input_tokens": 1024, "output_tokens": 1024, "max_model_len": length} | more.pop("workload", {})
    return read_problem({
        "model": model, "hardware": "h200-sxm-8", "devices": 8, "engine": engine, "workload": work,
        "limits": {"kv_cache_memory": int(gib * GIB)}, **more,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("model", "engine", "tp", "gib", "logged", "share"),
    [
        # hf-mem pull request 61: 24.54 GiB; windows have the larger tokens, full layers blocks of twice as many
        ("gemma-4-31b", "vllm@0.20", 1, 24.54, 26_800, 0.001),
        # vllm issue 40691: 16 full layers and three groups of 16 states, in blocks of 784 tokens
        ("qwen3.5-27b", "vllm@0.19", 1, 71.2, 290_864, 0.003),
        # llm-d-planner pull request 205: 52 windows padded to six groups of 10
        ("gemma-3-27b", "vllm@0.19", 1, 19.55, 36_560, 0.003),
    ],
)
def test_logged_tokens(model: str, engine: str, tp: int, gib: float, logged: int, share: float) -> None:
    problem = asked(model, engine, gib)
    found = room_of(problem, Shape(tp, 1, 1, 1, 1), (problem.model.layer_count,))
    assert found.tokens == pytest.approx(logged, rel=share)
    later = problem.changed(engine_name="vllm@0.21")
    newer = room_of(later, Shape(tp, 1, 1, 1, 1), (problem.model.layer_count,))
    assert newer.tokens == int(newer.concurrency * 32_768) > 2 * found.tokens


def test_a_block_of_tokens_is_as_large_as_a_state() -> None:
    """Qwen3.5-27B: 48 heads of 128 · 128 in 32 bits and 3 · 10,240 in 16 bits, of 4,096 bytes a token: 784 tokens."""
    found = groups(asked("qwen3.5-27b", "vllm@0.19", 20), 1)
    assert found is not None
    assert (found.block_tokens, sorted(found.of.values())) == (784, [1, 3])
    assert found.block_bytes == 784 * 4096


@pytest.mark.parametrize(
    ("engine", "tokens", "states"),
    # 377,456 tokens of 262,144 are 491 of 341 blocks: 335 of 784 tokens and 3 · 2 of states (recipes pull request 810)
    [("vllm@0.27", 784, 1), ("vllm@0.28", 784, 2), ("vllm", 832, 3)],
)
def test_a_block_of_a_prefix(engine: str, tokens: int, states: int) -> None:
    found = groups(asked("qwen3.5-27b", engine, 20), 1)
    assert found is not None
    assert (found.block_tokens, found.states) == (tokens, states)


@pytest.mark.parametrize(
    ("model", "engine"),
    [
        ("qwen3-32b", "vllm@0.20"), ("mistral-7b", "vllm@0.20"), ("deepseek-v3.2", "vllm@0.20"),
        ("gemma-3-27b", "vllm@0.9"), ("gpt-oss-120b", "sglang"),
    ],
)  # fmt: skip
def test_layers_that_are_alike_and_other_engines_have_no_groups(model: str, engine: str) -> None:
    assert groups(asked(model, engine, 20, 2048), 1) is None


@pytest.mark.parametrize(
    ("model", "tp", "gib", "logged"),
    [
        ("qwen3.6-27b", 1, 8.82, 184),  # one L40S, vLLM 0.26
        ("qwen3.6-27b", 2, 3.86, 161),  # vllm issue 49064: half of each state and token on two devices
        ("llama-3.1-8b", 1, 8.82, None), ("gpt-oss-120b", 1, 8.82, None),
    ],
)  # fmt: skip
def test_blocks_of_states(model: str, tp: int, gib: float, logged: int | None) -> None:
    """What vLLM logs as available Mamba cache blocks: 16 layers · 784 tokens of 4,096 bytes each."""
    problem = asked(model, "vllm@0.26", gib)
    assert room_of(problem, Shape(tp, 1, 1, 1, 1), (problem.model.layer_count,)).state_blocks == logged


@pytest.mark.parametrize(
    ("model", "engine", "gib", "work", "tokens", "concurrency"),
    [
        # Thor, vLLM 0.19: 448 blocks of 12 layers; 32 and three groups of two states of a sequence
        ("qwen3.5-122b-a10b", "vllm@0.19", 21.43, {"max_model_len": 131_072}, 467_712, "11.79"),
        # with drafts: 462 of 13 layers, whose states have the convolution's rows of two tokens; 63 and 3 · 3
        ("qwen3.5-122b-a10b", "vllm@0.19", 24.05, {"max_model_len": 262_144, "mtp_tokens": 1}, 482_080, "6.42"),
        # one L40S, vLLM 0.26, without prefixes and with a cache of 16 bits: 184 of 168 + 3
        ("qwen3.6-27b", "vllm@0.26", 8.82, {"max_model_len": 131_072, "prefix_caching": False}, 141_036, "1.08"),
        # one RTX 5090, vLLM 0.24 (club-3090 issue 612): 299 of 63 + 3 · 2
        ("qwen3.5-35b-a3b", "vllm@0.24", 5.98, {"max_model_len": 131_072}, 567_978, "4.33"),
        # two RTX 3090 (issue 642), three drafts: 426 of 164 + 3 · 5
        ("qwen3.6-27b", "vllm@0.22", 11.051, {"max_model_len": 262_144, "mtp_tokens": 3}, 623_873, "2.38"),
    ],
)
def test_sequences_are_whole_blocks_of_every_group(
    model: str, engine: str, gib: float, work: dict[str, Any], tokens: int, concurrency: str
) -> None:
    """vLLM's own lines on a Jetson Thor, an L40S (home-ops 13226) and others."""
    cache = {"precision": {"kv_cache": "fp8"}} if work.get("prefix_caching", True) else {}
    problem = asked(model, engine, gib, workload={"prefix_caching": True} | work, **cache)
    tp = 2 if work.get("mtp_tokens") == 3 else 1
    found = room_of(problem, Shape(tp, 1, 1, 1, 1), (problem.model.layer_count,))
    assert (found.tokens, f"{float(found.concurrency):.2f}") == (tokens, concurrency)


def test_the_stage_with_the_largest_groups_decides() -> None:
    """Two stages of a model of 18 full layers and 18 windows: nine of each; a stage of 30 layers has 15 of each."""
    problem = asked("gpt-oss-120b", "vllm@0.20", 20)
    shape = Shape(1, 1, 1, 1, 2)
    even, uneven = (room_of(problem, shape, cuts).tokens for cuts in (even_cuts(36, 2), (6, 30)))
    assert even == 20 * GIB // (9 * 16 * 2048) // 2 * 16
    assert uneven == 20 * GIB // (15 * 16 * 2048) // 2 * 16


def test_drafts_are_layers_of_a_group() -> None:
    """16 full layers and one draft's are no more than a group of 17; 48 states then are three of 17, one padded."""
    drafting = asked("qwen3.6-27b", "vllm@0.20", 10, workload={"mtp_tokens": 1})
    plain, drafted = groups(asked("qwen3.6-27b", "vllm@0.20", 10), 1), groups(drafting, 1)
    assert plain is not None
    assert drafted is not None
    assert sum(plain.of.values()) == sum(drafted.of.values()) == 4
    room, layers = [10 * GIB], [len(plain.layers)]
    assert plain.blocks(room, layers) == 10 * GIB // (16 * plain.block_bytes)
    assert drafted.blocks(room, layers) == 10 * GIB // (17 * drafted.block_bytes)
