"""The longest sequence that a layout holds: figure, objective and proof against each other."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optimizer
from optimizer import certify
from optimizer.cli.main import run
from optimizer.declarative import decide
from optimizer.domain.layout import Layout
from optimizer.domain.limit_table import limits_of, with_limits, with_memory
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.errors import SpecError
from optimizer.explain.relax import relax
from optimizer.figures.cache import CacheLayout
from optimizer.figures.memory import build_memory
from optimizer.figures.partition import even_cuts
from optimizer.figures.reserve import beside_bytes
from optimizer.figures.room import longest, longest_context, next_longer, room_of
from optimizer.readers.catalog import load_hardware, load_model
from optimizer.readers.read import Override, read_problem
from optimizer.solve import solve
from optimizer.verify.verdict import judge_layout

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
    assert best.value == 26_288
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


def _admitting(length: int, **changed: Any) -> Problem:
    problem = _problem(objective="throughput", **changed)
    return problem.changed(workload=problem.workload.model_copy(update={"max_model_len": length}))


def test_the_program_that_is_stated_plainly_holds_the_longest_sequence_too() -> None:
    """TP2 serves more and holds 15,168 tokens; two stages hold 26,288."""
    problem = _admitting(16_000)
    own, other = solve(problem).best, decide(problem).best
    assert own is not None
    assert other is not None
    assert own.layout.pp == 2
    assert other[0] == own.value


@pytest.mark.parametrize("objective", ["throughput", "ttft", "memory_headroom", "devices"])
def test_the_longest_sequence_that_is_admitted_binds_every_answer(objective: str) -> None:
    """Two H100 hold 26,288 tokens beside 70B in BF16: an answer holds what it is told to admit, or there is none."""
    asked: dict[str, Any] = {"objective": objective}
    if objective == "devices":
        asked["workload"] = {"input_tokens": 1024, "output_tokens": 1024, "request_rate": "0.1 /s"}
    problem = _problem(**asked)
    for length, status in ((16_000, "optimal"), (26_288, "optimal"), (26_304, "infeasible")):
        work = problem.workload.model_copy(update={"max_model_len": length})
        result = solve(problem.changed(workload=work))
        assert result.status == status
        assert certify(result.to_json()).accepted
        if result.evaluation is not None:
            own = result.evaluation
            assert room_of(result.problem, own.shape, own.cuts).longest_context >= length


def test_what_does_not_hold_the_longest_sequence_is_refused_in_the_engines_words() -> None:
    problem = _admitting(16_000)
    layout = Layout(tp=2, batch=1)
    said = " ".join(str(item) for item in judge_layout(problem, layout).violations)
    assert (
        "does not start: to serve at least one request with the model's max seq len (16000), 2.44 GiB KV cache" in said
    )
    room = room_of(problem, Shape(2, 1, 1, 1, 1), (80,))
    assert f"the estimated maximum model length is {room.longest_context}" in said
    assert room.length == 16_000
    assert room.concurrency < 1
    # SGLang starts all the same
    assert not judge_layout(problem.changed(engine_name="sglang"), layout).violations


def test_explain_says_how_little_more_would_hold_it() -> None:
    """The least memory and share at which a layout holds the longest sequence, not those of its own batch."""
    problem = _admitting(40_000)
    found = {item.limit: item for limit in limits_of(problem) for item in relax(problem, limit)}
    assert found["max_model_len"].new == 26_288
    size = found["memory"].problem.hardware.device.exposed_memory
    share = found["memory_utilization"].problem.memory_utilization
    for enough, less in (
        (with_memory(problem, size), with_memory(problem, size - 1)),
        (
            with_limits(problem, memory_utilization=share),
            with_limits(problem, memory_utilization=share - Fraction(1, 10**9)),
        ),
    ):
        assert (solve(enough).status, solve(less).status) == ("optimal", "infeasible")


def test_requests_longer_than_what_is_admitted_are_an_error() -> None:
    with pytest.raises(SpecError, match="requests of 2,048 tokens are longer than max_model_len 2,047"):
        _problem(workload={"input_tokens": 1024, "output_tokens": 1024, "max_model_len": 2047})


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


@pytest.mark.parametrize(("drafts", "logged", "share"), [(3, 2.34, 0.03), (0, 2.65, 0.02)])
def test_drafts_keep_a_layer_more_and_states_of_every_drafted_token(drafts: int, logged: float, share: float) -> None:
    """club-3090 issue 487: 10.85 GiB hold 2.34 sequences of 262,144 tokens of Qwen3.6-27B with its own drafts.

    Without: 448 blocks of 1,584 tokens of 16 layers, of which a sequence takes 166 and a state in each of three groups.
    """
    model = load_model("qwen3.6-27b")
    problem = Problem.model_validate(
        {
            "name": "p", "hardware": load_hardware("rtx-4090-8"), "devices": 2, "engine_name": "vllm@0.20",
            "model": model.model_copy(update={"precision": model.precision.model_copy(update={"kv_cache": "fp8"})}),
            "workload": {
                "input_tokens": 1024, "output_tokens": 1024, "mtp_tokens": drafts, "max_model_len": 262_144,
                "max_num_batched_tokens": 8192, "max_num_seqs": 2,
            },
            "limits": {"kv_cache_memory": int(10.85 * 2**30)},
        }
    )  # fmt: skip
    found = room_of(problem, Shape(2, 1, 1, 1, 1), (64,))
    assert float(found.concurrency) == pytest.approx(logged, rel=share)


def test_a_draft_layer_of_latent_attention_is_one_layer_more() -> None:
    model, asked = load_model("deepseek-v3"), {"input_tokens": 1024, "output_tokens": 1024}
    problem = Problem.model_validate(
        {"name": "p", "model": model, "hardware": load_hardware("h200-sxm-8"), "devices": 8, "workload": asked}
    )
    drafting = problem.changed(workload=problem.workload.model_copy(update={"mtp_tokens": 1}))
    shape = Shape(8, 1, 8, 1, 1)
    plain, drafted = (build_memory(one, shape).stack_sequence() for one in (problem, drafting))
    assert drafted / plain == pytest.approx(62 / 61, rel=1e-6)


@pytest.mark.parametrize(
    ("model", "engine", "tp", "share", "pool_bytes"),
    [
        # cell_size_bytes of start-up logs: 184320.0 and 737280.0
        ("gemma-4-26b-a4b", "sglang@0.5.15", 1, None, 184_320),
        ("gemma-4-31b", "sglang@0.5.15", 1, None, 737_280),
        ("gemma-4-31b", "sglang", 8, None, 10 * 2048 + Fraction(8, 10) * 50 * 2048),
        # 18 full layers and 18 windows; all alike before 0.5.8, and where it is told that there is one pool
        ("gpt-oss-120b", "sglang", 4, None, 18 * 512 + Fraction(8, 10) * 18 * 512),
        ("gpt-oss-120b", "sglang@0.5.8", 4, None, 18 * 512 + Fraction(8, 10) * 18 * 512),
        ("gpt-oss-120b", "sglang@0.5.7", 4, None, 36 * 512),
        ("gpt-oss-120b", "sglang@0.4.9", 4, "0.5", 36 * 512),
        ("gpt-oss-120b", "sglang", 4, "0.1", 18 * 512 + Fraction(1, 10) * 18 * 512),
        ("gpt-oss-120b", "sglang", 4, "1", 36 * 512),
        ("llama-4-scout", "sglang", 8, None, 12 * 512 + Fraction(8, 10) * 36 * 512),
        ("mimo-v2-flash", "sglang", 8, "0.5", 9 * 320 * 2 + Fraction(1, 2) * 39 * 320 * 2),
        # families that SGLang does not list
        ("gemma-3-27b", "sglang", 4, None, 126_976),
        ("gemma-3-27b", "sglang", 8, "0.5", 63_488),
        ("gemma-2-9b", "sglang@0.5.6", 8, None, 42 * 1024),
        ("mistral-7b", "sglang", 8, None, 32 * 512),
        # no windows: every layer holds every token anyway
        ("llama-3.1-70b", "sglang", 8, "0.5", 80 * 512),
    ],
)
def test_windows_in_a_pool_of_their_own(
    model: str, engine: str, tp: int, share: str | None, pool_bytes: Fraction | int
) -> None:
    """Pools are as large whatever length is asked of them, and hold one sequence as long as their tokens."""
    limits = {"kv_cache_memory": "8 GiB", **({} if share is None else {"window_share": share})}
    shape = Shape(tp, 1, 8 // tp, 1, 1)
    rooms = []
    for length in (4096, 32):
        problem = _problem(model=model, engine=engine, devices=8, limits=limits, objective="throughput",
                           workload={"input_tokens": 16, "output_tokens": 16, "max_model_len": length})  # fmt: skip
        rooms.append(room_of(problem, shape, (problem.model.layer_count,)))
    assert rooms[0].tokens == rooms[1].tokens == 8 * 2**30 // pool_bytes
    assert rooms[0].longest_context == min(rooms[0].tokens, problem.model.max_context or rooms[0].tokens)


@pytest.mark.parametrize(
    ("model", "engine", "share", "token_bytes", "requests"),
    [
        # bytes_per_full_token of start-up logs: 7705.45; 15955.85 of 0.5.12, which counts the layer of drafts
        ("deepseek-v4-flash", "sglang@0.5.15", None, 7705.45, 10),
        ("deepseek-v4-flash", "sglang", None, 7705.45, 256),
        ("deepseek-v4-flash", "sglang@0.5.12", None, 15_955.85 - 58.4, 10),
        ("deepseek-v4-flash", "sglang", "0.8", 3850.25 + 8 * (7705.45 - 3850.25), 10),
        ("deepseek-v4-pro", "sglang", None, 10_993.84, 10),
    ],
)
def test_the_pools_of_deepseek_v4(
    model: str, engine: str, share: str | None, token_bytes: float, requests: int
) -> None:
    """A log of 11.89 GiB with a request table of 10 has 1,641,472 tokens of Flash."""
    limits = {"kv_cache_memory": "12175 MiB", **({} if share is None else {"window_share": share})}
    problem = _problem(model=model, engine=engine, devices=8, limits=limits, objective="throughput",
                       workload={"input_tokens": 16, "output_tokens": 16, "max_num_seqs": requests})  # fmt: skip
    names = problem.model.layer_names
    layout = CacheLayout(problem)
    states = sum(layout.request_bytes(problem.model.blocks[name].attention) for name in names)
    heavy = sum(getattr(problem.model.blocks[name].attention, "compress_ratio", 0) == 128 for name in names)
    assert states == (0 if engine == "sglang@0.5.12" else heavy * 128 * 2 * 512 * 4)
    tokens = room_of(problem, Shape(8, 1, 1, 1, 1), (len(names),)).tokens
    assert tokens == pytest.approx((12175 * 2**20 - (requests + 1) * states) / token_bytes, rel=1e-5)
    if (engine, requests) == ("sglang@0.5.15", 10):
        assert tokens == pytest.approx(1_641_472, rel=1e-3)


@pytest.mark.parametrize(("share", "tokens", "taken"), [
    ("0.8", 64, 80), ("0.8", 128, 160), ("0.8", 150, 160), ("0.8", 161, 161), ("0.1", 1000, 1280), ("0.1", 5000, 5000),
    ("1", 64, 64),
])  # fmt: skip
def test_short_sequences_take_the_pool_of_windows_first(share: str, tokens: int, taken: int) -> None:
    """Of windows of 128 tokens: what they hold, over their share of the pool, is what a sequence takes of the whole."""
    problem = _problem(model="gpt-oss-20b", engine="sglang", limits={"window_share": share})
    layout = CacheLayout(problem)
    full, window = (problem.model.blocks[name].attention for name in ("full_attention", "sliding_attention"))
    assert full is not None
    assert window is not None
    assert layout.steady_bytes(full, tokens, 1) == taken * 2048
    assert layout.steady_bytes(window, tokens, 1) == taken * 2048 * Fraction(share)
    assert layout.admitted_bytes(window, tokens, 1) == layout.steady_bytes(window, tokens, 1)


@pytest.mark.parametrize(("engine", "hardware", "kv_cache", "latent"), [
    ("vllm", "h200-sxm-8", "fp8", 512 + 4 * 4 + 2 * 64), ("vllm", "h200-sxm-8", "bf16", 2 * 576),
    ("sglang", "h200-sxm-8", "fp8", 656), ("sglang@0.5.6", "h100-sxm-8", "fp8", 656),
    ("sglang", "b200-sxm-8", "fp8", 576), ("sglang", "h200-sxm-8", "bf16", 2 * 576),
    ("vllm", "b200-sxm-8", "fp8", 656),
])  # fmt: skip
def test_the_latent_cache_of_sparse_attention(engine: str, hardware: str, kv_cache: str, latent: int) -> None:
    """vLLM's fp8_ds_mla: 656 bytes of a token, 512 values, four 32-bit scales and 64 rotary values in 16 bit.

    vllm/v1/attention/backends/mla/flashmla_sparse.py; the index keys beside it are 128 values and one scale.
    """
    problem = optimizer.read_problem({
        "model": "deepseek-v3.2", "hardware": hardware, "devices": 8, "engine": engine,
        "precision": {"kv_cache": kv_cache}, "workload": {"input_tokens": 1000, "output_tokens": 100},
    })  # fmt: skip
    attention = next(block.attention for block in problem.model.blocks.values())
    assert attention is not None
    for tokens in (64, 6400):
        assert CacheLayout(problem).steady_bytes(attention, tokens, 8) == tokens * (latent + 128 + 4)


@pytest.mark.parametrize("pp", [1, 2, 4])
def test_the_parts_of_the_tightest_stage_are_all_that_the_engine_may_take(pp: int) -> None:
    problem = _problem(devices=8)
    room = room_of(problem, Shape(8 // pp, 1, 1, 1, pp), even_cuts(80, pp))
    held = room.room_bytes + room.weights_bytes + room.reserve_bytes + room.working_bytes
    assert held == problem.capacity_bytes


def test_graphs_grow_with_the_sizes_captured_and_the_layers_held() -> None:
    problem = _problem(devices=8)
    work = problem.workload.model_copy(update={"capture_sizes": (1, 2, 4)})
    problem = problem.changed(workload=work, engine_name="vllm@0.19")
    block, own = next(iter(problem.model.blocks.values())), problem.engine.reservation
    for layers in (0, 1, 80):
        held = beside_bytes(problem, Shape(8, 1, 1, 1, 1), [block] * layers)
        assert held == 3 * (own.graph_bytes + layers * own.graph_layer_bytes) > 0


@pytest.mark.parametrize(
    ("model", "hardware", "room", "working"),
    # TensorRT-LLM's lines: 68.69 GiB for 643,136 tokens; 0.85 GiB of a step of gpt-oss-120b
    [("qwen3-0.6b", "h100-sxm-8", 68.69, None), ("gpt-oss-120b", "gb10", None, 0.85)],
)
def test_tensorrt_llm_profiles_prompts_alone(
    model: str, hardware: str, room: float | None, working: float | None
) -> None:
    problem = _problem(model=model, hardware=hardware, devices=1, engine="trtllm")
    found = room_of(problem, Shape(1, 1, 1, 1, 1), (problem.model.layer_count,))
    if room is not None:
        assert found.room_bytes / 2**30 == pytest.approx(room, rel=0.02)
    if working is not None:
        assert found.working_bytes / 2**30 == pytest.approx(working, abs=0.2)
