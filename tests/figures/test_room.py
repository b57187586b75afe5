"""The longest sequence that a layout holds: figure, objective and proof against each other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer import certify
from optimizer.cli.main import run
from optimizer.domain.problem import Problem
from optimizer.figures.memory import build_memory
from optimizer.figures.room import longest, longest_context, next_longer, room_of
from optimizer.figures.serving import even_cuts
from optimizer.figures.shape import Shape
from optimizer.readers.read import Override, read_problem
from optimizer.solve import solve

ASKED: dict[str, Any] = {
    "model": "llama-3.1-70b", "hardware": "h100-sxm-8", "devices": 2, "objective": "context", "engine": "vllm",
}  # fmt: skip


def _problem(**changed: Any) -> Problem:
    return read_problem(None, [Override(f"--{name}", (name,), value) for name, value in (ASKED | changed).items()])


def test_three_options_say_whether_it_fits_and_how_long_a_context() -> None:
    """No lengths and no limits; the longest that is said fits, and one block more does not."""
    problem = _problem()
    best = solve(problem).best
    assert best is not None
    # 131,072 tokens of 320 KiB are 40 GiB, and the weights 66 GiB of each device
    assert best.value == 26_128
    shape = Shape(1, 1, 1, 1, 2)
    memory, cuts = build_memory(problem, shape), best.point.cuts
    assert longest_context(problem, memory, cuts) == best.value
    longer = next_longer(problem, int(best.value))
    assert longer == best.value + 16
    for tokens, fits in ((int(best.value), True), (longer, False)):
        track, first, left = memory.holding(tokens), 0, []
        for layers in cuts:
            left.append(problem.capacity_bytes - track.stage(first, first + layers, 80))
            first += layers
        assert (min(left) >= 0) is fits


def test_steps_in_flight_are_held_in_windows() -> None:
    """vLLM issue 53961: 23.32 GiB for 1,048,576 tokens of DeepSeek-V4-Pro, two steps of 16,384 in flight."""
    asked: dict[str, Any] = {"model": "deepseek-v4-pro", "hardware": "mi300x-8", "devices": 8}
    problem = _problem(**asked, precision={"kv_cache": "fp8"})
    length = {"max_model_len": 2**20, "input_tokens": 1024, "output_tokens": 1024}
    work = problem.workload.model_copy(update=length)
    room = room_of(problem.changed(workload=work), Shape(8, 1, 8, 1, 1), even_cuts(problem.model.layer_count, 1))
    assert room.request_bytes == pytest.approx(23.32 * 2**30, rel=0.001)


@pytest.mark.parametrize(
    ("asked", "status"),
    [({}, "optimal"), ({"devices": 1}, "infeasible"), ({"devices": 8, "engine": "sglang"}, "optimal")],
)
def test_the_longest_context_is_certified(asked: dict[str, Any], status: str) -> None:
    result = solve(_problem(**asked))
    assert result.status == status
    assert certify(result.to_json()).accepted


def test_no_frontier_is_of_the_longest_context(capsys: pytest.CaptureFixture[str]) -> None:
    told = [f"--{name}={value}" for name, value in ASKED.items()]
    assert run(["solve", *told, "--isl", "512", "--osl", "64", "--pareto", "context,throughput", "--json"]) == 2
    assert "no frontier is of 'context'" in json.loads(capsys.readouterr().out)["errors"][0]["message"]


@given(st.integers(0, 200_000))
@settings(max_examples=50)
def test_bisection_finds_the_last_that_holds(most: int) -> None:
    problem = _problem()
    found = longest(problem, lambda tokens: tokens <= most)
    assert found == min(most // 16 * 16, 131_072)
    after = next_longer(problem, found)
    assert after is None or after > most


def test_the_room_is_what_the_longest_context_fills() -> None:
    problem = _problem(devices=8)
    room = room_of(problem, Shape(8, 1, 1, 1, 1), even_cuts(80, 1))
    assert room.longest_context == 131_072
    assert room.tokens == room.room_bytes // room.request_bytes * 2048 + (
        room.room_bytes % room.request_bytes // (room.request_bytes // 128) * 16
    )


@pytest.mark.parametrize(
    ("model", "shape", "shared", "ratio"),
    [
        # every rank has all of the latent; two of eight have the same head of four, and share its tokens out
        ("deepseek-v3", Shape(8, 1, 1, 8, 1), 8, 8),
        ("qwen3-235b-a22b", Shape(8, 1, 1, 8, 1), 2, 2),
        ("llama-3.1-70b", Shape(16, 1, 1, 1, 1), 2, 2),
    ],
)
def test_decode_context_parallelism_splits_the_cache_and_takes_no_devices(
    model: str, shape: Shape, shared: int, ratio: int
) -> None:
    own = _problem(model=model, devices=16)
    split = own.changed(workload=own.workload.model_copy(update={"decode_context_parallel": shared}))
    assert split.engine.accepts(split, shape)
    plain, held = (build_memory(problem, shape).admitted(16_384) for problem in (own, split))
    assert [size / ratio for size in plain] == list(held)
    best = solve(split.changed(objective="memory_headroom")).best
    assert best is not None
    assert best.layout.tp % shared == 0
