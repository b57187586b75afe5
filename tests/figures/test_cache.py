"""What each release of vLLM keeps of windows and chunks, and what it asks of one sequence before it starts."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from optimizer import certify, read_problem
from optimizer.domain.attention import GroupedQueryAttention
from optimizer.domain.attention.recurrent import Recurrent
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.cache import CacheLayout
from optimizer.figures.memory import build_memory
from optimizer.figures.partition import even_cuts
from optimizer.figures.room import room_of
from optimizer.solve import solve

GIB = 2**30


def asked(model: str, engine: str, *, hybrid: bool | None = None, **more: Any) -> Problem:
    work = {"input_tokens": 1024, "output_tokens": 1024, "max_num_batched_tokens": 8192} | more.pop("workload", {})
    told = {} if hybrid is None else {"hybrid_cache": hybrid}
    return read_problem({
        "model": model, "hardware": more.pop("hardware", "h200-sxm-8"), "devices": 8, "engine": engine,
        "workload": work | told, **more,
    })  # fmt: skip


def held(problem: Problem, tokens: int, tp: int) -> int:
    """Bytes of a sequence as it is admitted."""
    memory = build_memory(problem, Shape(tp, 1, tp if problem.model.moe else 1, 1, 1))
    return sum(n * size for n, size in zip(memory.counts, memory.admitted(tokens), strict=True))


WHOLE = {
    "gemma-3-27b": 62 * 2 * 16 * 128 * 2,
    "llama-4-scout": 48 * 2 * 1 * 128 * 2,
    "gpt-oss-120b": 36 * 2 * 8 * 64 * 2,
}
"""Bytes of a token where every layer holds it (of Llama 4 on eight ranks: vllm issue 16118, 24 GiB of 1,048,576)."""
RANKS = {"llama-4-scout": 8}


@pytest.mark.parametrize(
    ("model", "engine", "hybrid", "whole"),
    [
        ("gemma-3-27b", "vllm@0.8", None, True),
        ("gemma-3-27b", "vllm@0.9.0", None, True),
        ("gemma-3-27b", "vllm@0.9.0", True, True),  # it has no hybrid allocator
        ("gemma-3-27b", "vllm@0.9.1", None, False),
        ("gemma-3-27b", "vllm@0.12", None, False),
        ("gemma-3-27b", "vllm@0.12", False, True),
        ("gemma-3-27b", "vllm", False, True),
        ("gpt-oss-120b", "vllm@0.6", None, True),
        ("gpt-oss-120b", "vllm@0.10.1", None, False),
        ("llama-4-scout", "vllm@0.8", None, True),
        ("llama-4-scout", "vllm@0.9.2", None, True),
        ("llama-4-scout", "vllm@0.9.2", True, True),
        ("llama-4-scout", "vllm@0.10.0", None, False),
        ("llama-4-scout", "vllm@0.10.1", None, True),
        ("llama-4-scout", "vllm@0.13", None, True),
        ("llama-4-scout", "vllm@0.13", True, False),
        ("llama-4-scout", "vllm@0.14", None, False),
        ("llama-4-scout", "vllm@0.33", False, True),
    ],
)
def test_windows_and_chunks_by_release(model: str, engine: str, *, hybrid: bool | None, whole: bool) -> None:
    tokens, tp = 131_072, RANKS.get(model, 1)
    size = held(asked(model, engine, hybrid=hybrid), tokens, tp)
    assert (size == WHOLE[model] * tokens) is whole
    assert size <= WHOLE[model] * tokens


@pytest.mark.parametrize("engine", ["vllm@0.8", "vllm@0.12", "vllm"])
@pytest.mark.parametrize("model", ["mistral-7b", "llama-3.1-8b", "deepseek-v3"])
def test_layers_that_are_alike_are_kept_as_ever(model: str, engine: str) -> None:
    own, other = (held(asked(model, engine, hybrid=hybrid), 32_768, 1) for hybrid in (None, False))
    assert own == other


def test_a_chunk_is_held_with_the_step_in_whole_blocks() -> None:
    """vLLM ChunkedLocalAttentionSpec: chunk + tokens of a step; a sliding window has one token less, one block more."""
    tokens, each = 1_048_576, 2 * 128 * 2
    chunks = held(asked("llama-4-scout", "vllm@0.14"), tokens, 8)
    assert chunks == (12 * tokens + 36 * (8192 + 8192)) * each
    windows = held(asked("gpt-oss-120b", "vllm@0.14"), 131_072, 8)
    assert windows == (18 * 131_072 + 18 * (-(-(127 + 8192) // 16) + 1) * 16) * 2 * 64 * 2


@pytest.mark.parametrize(("engine", "steps"), [("vllm@0.25.1", 1), ("vllm@0.26", 2), ("vllm@0.29", 2), ("vllm", 2)])
def test_steps_in_flight_by_release(engine: str, steps: int) -> None:
    """vllm issue 49878: 45.79 GiB of Gemma 4 in 0.25.1, 70.79 in 0.26.0, in steps of 32,768 tokens."""
    problem = asked("gemma-4-31b", engine, workload={"max_num_batched_tokens": 32_768})
    assert held(problem, 262_144, 1) / GIB == pytest.approx({1: 45.79, 2: 70.79}[steps], abs=0.01)


@pytest.mark.parametrize(
    ("engine", "asks"), [("vllm@0.13", False), ("vllm@0.14", True), ("vllm@0.16", True), ("vllm@0.17", False)]
)
def test_every_stage_is_asked_for_all_layers(engine: str, *, asks: bool) -> None:
    """vllm issue 32105: 202,752 tokens of 92 layers take 71.16 GiB, of a stage of eight 8.9 or 9.3."""
    problem = asked(
        "glm-4.7", engine, hardware="a100-sxm-8", precision={"weights": "fp8"}, workload={"max_model_len": 202_752},
        limits={"kv_cache_memory": int(28.57 * GIB)},
    )  # fmt: skip
    room = room_of(problem, Shape(1, 1, 1, 1, 8), even_cuts(92, 8))
    assert room.checked_bytes / GIB == pytest.approx(71.16 if asks else 9.28, abs=0.01)
    assert room.longest_context == (81_392 if asks else 202_752)
    assert room.concurrency == Fraction(room.request_room_bytes, room.request_bytes) > 3
    alone = room_of(problem, Shape(8, 1, 8, 1, 1), (92,))
    assert alone.checked_bytes == alone.request_bytes


def test_the_longest_context_of_stages_that_are_asked_for_all_is_proved() -> None:
    found = {}
    for engine in ("vllm@0.13", "vllm@0.14"):
        problem = asked(
            "llama-3.1-70b", engine, hardware="h100-sxm-8", devices=4, objective="context",
            search={"tp": [1], "pp": [4], "dp": [1]},
        )  # fmt: skip
        solution = solve(problem)
        assert solution.best is not None
        assert certify(solution.to_json()).accepted
        found[engine] = int(solution.best.value)
    assert found["vllm@0.14"] < found["vllm@0.13"] == 131_072


@pytest.mark.parametrize(
    ("model", "engine", "hybrid", "starts"),
    [
        ("gemma-3-27b", "vllm@0.8", None, True),  # windows are counted before they are made whole
        ("gemma-3-27b", "vllm@0.12", False, True),
        ("gemma-3-27b", "vllm@0.12", None, False),
        ("gemma-3-27b", "vllm@0.14", False, False),  # and from 0.14 on after
        ("gemma-3-27b", "vllm@0.14", None, True),  # the first group has a window
        ("gemma-3-27b", "vllm@0.18", None, True),
        ("gemma-3-27b", "vllm@0.19", None, False),
        ("gemma-3-27b", "vllm@0.6", None, False),
        ("llama-4-scout", "vllm@0.9.2", None, False),  # chunks are no kind of their own
        ("llama-4-scout", "vllm@0.11", None, True),
        ("qwen3.5-27b", "vllm@0.17", None, True),
        ("qwen3.5-27b", "vllm@0.13", None, False),
        ("qwen3-32b", "vllm@0.17", None, False),
        ("mimo-v2-flash", "vllm@0.17", None, False),  # its first layer holds every token
    ],
)
def test_what_starts_though_it_holds_no_longest_sequence(
    model: str, engine: str, *, hybrid: bool | None, starts: bool
) -> None:
    assert (not asked(model, engine, hybrid=hybrid).cache.admits_longest) is starts


@pytest.mark.parametrize(
    ("model", "engine", "hardware", "told", "states"),
    [
        ("qwen3.6-27b", "vllm@0.12", "h100-sxm-8", True, 1),
        ("qwen3.6-27b", "vllm@0.14", "h100-sxm-8", None, 1),
        ("qwen3.6-27b", "vllm@0.14", "h100-sxm-8", True, 2),
        ("qwen3.6-27b", "vllm@0.27", "h100-sxm-8", None, 1),
        ("qwen3.6-27b", "vllm@0.27", "h100-sxm-8", True, 2),
        ("qwen3.6-27b", "vllm@0.28", "h100-sxm-8", None, 2),
        ("qwen3.6-27b", "vllm", "h100-sxm-8", None, 3),  # FlashInfer's kernels
        ("qwen3.6-27b", "vllm", "a100-sxm-8", None, 2),
        ("qwen3.6-27b", "vllm", "mi300x-8", None, 2),
        ("qwen3.6-27b", "vllm", "h100-sxm-8", False, 1),
        ("qwen3.6-27b", "sglang", "h100-sxm-8", True, 1),
        ("kimi-linear-48b-a3b", "vllm", "h100-sxm-8", None, 2),
        ("nemotron-3-nano-30b-a3b", "vllm", "a100-sxm-8", None, 3),
        ("nemotron-3-nano-30b-a3b", "vllm@0.28", "a100-sxm-8", None, 2),
    ],
)
def test_states_of_a_sequence_whose_prefix_stays(
    model: str, engine: str, hardware: str, *, told: bool | None, states: int
) -> None:
    problem = asked(model, engine, hardware=hardware, workload={"prefix_caching": told})
    layout = CacheLayout(problem)
    kinds = {problem.model.blocks[name].attention for name in problem.model.layer_names}
    (kind,) = (kind for kind in kinds if isinstance(kind, Recurrent))
    one = layout.steady_bytes(kind, 8192, 1)
    assert one == kind.cache_fixed_bytes(8192, 1) > 0
    blocks = layout.state_blocks(1)
    if blocks is None:
        assert (engine, layout.admitted_bytes(kind, 8192, 1)) == ("sglang", states * one)
    else:
        assert blocks.bytes >= one
        assert layout.admitted_bytes(kind, 8192, 1) == states * blocks.bytes * blocks.padded[True]


@pytest.mark.parametrize(("prefixes", "gib"), [(True, 9.29), (False, 9.13)])
def test_a_sequence_that_no_longer_fits_with_its_prefix(*, prefixes: bool, gib: float) -> None:
    """Of 9.28 GiB (vllm pull request 46778): 164 blocks of 1,600 tokens and 3 · (2 + 3 drafts) of states."""
    work = {"prefix_caching": prefixes, "mtp_tokens": 3, "mtp_acceptance": 0.5}
    problem = asked("qwen3.6-27b", "vllm@0.27", workload=work, precision={"kv_cache": "fp8"})
    assert held(problem, 262_144, 1) / GIB == pytest.approx(gib, rel=0.0005)


@pytest.mark.parametrize(
    ("engine", "ahead", "steps"),
    [("vllm", None, 2), ("vllm", True, 2), ("vllm", False, 1), ("vllm@0.26", False, 1), ("vllm@0.25", True, 1)],
)
def test_steps_in_flight(engine: str, *, ahead: bool | None, steps: int) -> None:
    """A window of 1,024 and the largest step, 8,192, for as many as are scheduled and not settled."""
    problem = asked("gemma-3-27b", engine, workload={"async_scheduling": ahead})
    windows = [problem.model.blocks[name].attention for name in problem.model.layer_names]
    window = next(kind for kind in windows if isinstance(kind, GroupedQueryAttention) and kind.window)
    layout = CacheLayout(problem)
    held_tokens = layout.admitted_bytes(window, 131_072, 1) / layout.token_bytes(window, 1)
    assert held_tokens == pytest.approx(1024 + steps * 8192, rel=0.16)  # 52 windows of 6 groups of 10


@pytest.mark.parametrize(("cache", "token_bytes"), [("bf16", 131_072), ("fp8", 65_536), ("nvfp4", 36_864)])
def test_bytes_of_a_token_by_format(cache: str, token_bytes: int) -> None:
    """NVFP4: half a byte an element, and a byte of scale for 16 (vllm 0.33.0 nvfp4_kv_cache_full_dim)."""
    problem = asked("qwen3-32b", "vllm", precision={"kv_cache": cache})
    (kind,) = {problem.model.blocks[name].attention for name in problem.model.layer_names}
    assert 64 * CacheLayout(problem).token_bytes(kind, 2) == token_bytes


@pytest.mark.parametrize(
    ("engine", "kv_cache", "element"), [("vllm", "bf16", 2), ("sglang", "bf16", 2), ("sglang", "fp8", 1)]
)
@pytest.mark.parametrize(("tp", "heads"), [(1, 4), (8, 1)])
def test_keys_of_an_index_of_blocks_are_cached_beside_the_heads(
    engine: str, kv_cache: str, element: int, tp: int, heads: int
) -> None:
    """One key of 128 in 16 bits in each of MiniMax-M3's 57 sparse layers, on every rank (sglang pull request 36549)."""
    problem = asked("minimax-m3", engine, precision={"kv_cache": kv_cache})
    assert held(problem, 1024, tp) == 1024 * (60 * 2 * heads * 128 * element + 57 * 128 * 2)
