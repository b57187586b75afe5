"""Requests and tokens that SGLang's cache holds where states of linear attention have a pool of their own."""

from __future__ import annotations

from typing import Any

import pytest

from optimizer import read_problem
from optimizer.domain.shape import Shape
from optimizer.figures.room import Room, room_of

GIB = 2**30


def room(model: str, engine: str, gib: float, tp: int = 1, **work: Any) -> Room:
    """Room of so many GiB for states and tokens."""
    told = {"input_tokens": 1024, "output_tokens": 1024, "max_model_len": 8192} | work
    problem = read_problem({
        "model": model, "hardware": "h100-sxm-8", "devices": 8, "engine": engine, "workload": told,
        "limits": {"kv_cache_memory": int(gib * GIB)},
    })  # fmt: skip
    return room_of(problem, Shape(tp, 1, 1, 1, 1), (problem.model.layer_count,))


@pytest.mark.parametrize(
    ("model", "engine", "gib", "work", "tokens", "requests"),
    [
        # launch logs of Qwen3.8-27B-FP8 on one H100 (124 slots) and of Granite 4.0 H Micro (38, one of them beside it)
        ("qwen3.6-27b", "sglang", 17.92 + 20.16, {"max_num_seqs": 32}, 330_323, 124 // 5),
        ("granite-4.0-h-micro", "sglang@0.5.8", 2.7 + 3.05, {}, 399_740, 38 // 3),
    ],
)
def test_logged_pools(model: str, engine: str, gib: float, work: dict[str, int], tokens: int, requests: int) -> None:
    found = room(model, engine, gib, **work)
    assert found.tokens == pytest.approx(tokens, rel=0.006)
    assert found.requests == requests
    assert found.concurrency == min(found.tokens / 8192, requests)


def test_what_takes_the_room_of_states() -> None:
    usual = room("qwen3.6-27b", "sglang", 40)
    assert usual.requests is not None
    without = room("qwen3.6-27b", "sglang", 40, prefix_caching=False, max_num_seqs=16)
    assert without.requests == 16  # and one slot more
    one = room("qwen3.6-27b", "sglang", 40, prefix_caching=False, max_num_seqs=17)
    state = (without.tokens - one.tokens) * 65_536
    assert state == pytest.approx(48 * (48 * 128 * 128 * 4 + 10_240 * 3 * 2), rel=0.001)
    assert without.tokens * 65_536 + 17 * state == pytest.approx(40 * GIB, rel=0.001)
    drafting = room("qwen3.6-27b", "sglang", 40, mtp_tokens=3, mtp_acceptance=0.5, max_num_seqs=8)
    assert drafting.requests == 8 < usual.requests
    # the states of eight requests' drafts of what would be those of as many as fit
    assert usual.tokens * 16 / 17 < drafting.tokens < usual.tokens * 1.4


@pytest.mark.parametrize(
    ("model", "engine"), [("qwen3.6-27b", "vllm"), ("qwen3.6-27b", "sglang@0.5.2"), ("qwen3-32b", "sglang")]
)
def test_one_pool_of_all(model: str, engine: str) -> None:
    assert room(model, engine, 40).requests is None


def test_a_pool_too_small_for_a_request() -> None:
    found = room("qwen3.6-27b", "sglang", 1)
    assert found.requests == found.concurrency == 0
