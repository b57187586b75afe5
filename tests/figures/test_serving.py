"""Step, queue and expert figures of single layouts: each with what it must be from outside the cost model."""

from fractions import Fraction
from typing import Any

import pytest

from optimizer import read_problem
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.figures.costs import build_costs
from optimizer.figures.derivation import derive
from optimizer.figures.memory import sequence_tokens
from optimizer.figures.rates import TICKS_PER_SECOND, effective_rates, ideal_rates
from optimizer.figures.serving import Evaluation, chunk_of, evaluate
from optimizer.verify.constraints import violations
from tests.simulated_engine import served, step_time

ONE_EXPERT = {
    "name": "one", "hidden_size": 4096, "vocab_size": 32000,
    "blocks": {
        "a": {
            "attention": {"kind": "gqa", "heads": 32, "kv_heads": 8, "head_dim": 128},
            "ffn": {"kind": "moe", "experts": 1, "top_k": 1, "intermediate": 14336},
        }
    },
    "layers": [{"pattern": ["a"], "count": 32}],
}  # fmt: skip


def problem(model: Any, hardware: str, devices: int, **workload: Any) -> Problem:
    return read_problem({"model": model, "hardware": hardware, "devices": devices, "workload": workload})


def layout(**degrees: Any) -> Layout:
    return Layout(**{"tp": 1, "cp": 1, "dp": 1, "pp": 1, "etp": 1, "ep": 1, "edp": 1, "batch": 1} | degrees)


# the queue of prompts


SHORT = {"input_tokens": 32, "output_tokens": 64}


def short_prompts(rate: int, batch: int = 3975, *, full: bool = False) -> Evaluation:
    asked = problem("llama-3.1-8b", "h100-sxm-8", 1, **SHORT, request_rate=rate)
    return evaluate(asked, layout(batch=batch, prefill_chunk=2048), full=full)


def test_a_step_serves_all_the_prompts_that_its_chunk_holds() -> None:
    found = short_prompts(240, full=True)
    assert found.steps.together == 2048 // 32
    assert found.load == 240 * Fraction(found.mixed_ticks[0], TICKS_PER_SECOND) / 64
    assert float(found.load) == pytest.approx(0.537, abs=0.001)
    assert float(found.request_capacity) == pytest.approx(437.12, rel=0.001)
    # the load leaves fewer in flight, so that steps are shorter and prompts wait less
    at_load = short_prompts(240)
    assert at_load.running < 3975
    assert at_load.load < found.load
    assert at_load.request_capacity == found.request_capacity


@pytest.mark.parametrize("batch", [1, 100, 3975])
@pytest.mark.parametrize("rate", [1, 240, 480, 481, 10_000])
def test_load_is_above_one_exactly_where_the_rate_is_not_served(rate: int, batch: int) -> None:
    found = short_prompts(rate, batch)
    assert (found.load <= 1) == (found.request_capacity >= rate)


# what a request waits for


def chat(arrival: str | None = None, batch: int = 64, engine: str = "vllm", **workload: Any) -> Evaluation:
    """Llama-3.1-70B FP8 on two H200: chunks of 8,192 take eight prompts."""
    asked = read_problem(
        {
            "model": "llama-3.1-70b", "hardware": "h200-sxm-8", "devices": 2, "precision": {"weights": "fp8"},
            "engine": engine,
            "workload": {"input_tokens": 1024, "output_tokens": 1024, "arrival": arrival, **workload},
        }
    )  # fmt: skip
    return evaluate(asked, layout(tp=2, etp=2, batch=batch, prefill_chunk=1024))


def test_alone_a_request_waits_for_the_engine_and_its_own_step() -> None:
    found = chat("alone")
    assert found.ttft_s == Fraction(1, 100) + Fraction(found.mixed_ticks[0], TICKS_PER_SECOND)
    assert found.queue_s == 0


def test_in_a_closed_loop_it_waits_for_the_running_batch_and_those_ahead() -> None:
    # 10 ms, 4 mean steps; a tenth of all requests start at once, and of 64 there are 31.5 ahead on average
    found = chat()
    step, mean = (float(Fraction(t) / TICKS_PER_SECOND) for t in (found.mixed_ticks[0], found.stage_ticks[0]))
    assert found.ttft_s is not None
    assert float(found.ttft_s) == pytest.approx(0.010 + (1 + 0.1 * 31.5) * step + 4 * mean, rel=1e-9)
    assert found.ttft_s == chat("closed").ttft_s


def test_the_room_of_a_chunk_makes_no_first_token_later() -> None:
    # one prompt of 1,000 tokens is in a step of 1,000, whatever the engine would take
    asked = problem("llama-3.1-8b", "h100-sxm-8", 1, input_tokens=1000, output_tokens=200, arrival="alone")
    first, *others = (evaluate(asked, layout(prefill_chunk=chunk)) for chunk in (1000, 2000, 8192, 16000))
    assert [other.ttft_s for other in others] == [first.ttft_s] * 3
    assert others[2].mixed_ticks > others[1].mixed_ticks > others[0].mixed_ticks > first.mixed_ticks
    # of short answers many prompts come in a step: 64 sequences of 8 steps each bring 8
    short = problem("llama-3.1-8b", "h100-sxm-8", 1, input_tokens=1000, output_tokens=9)
    eight, sixteen = (evaluate(short, layout(batch=64, prefill_chunk=chunk)) for chunk in (8000, 16000))
    assert eight.own_ticks == eight.mixed_ticks == sixteen.own_ticks < sixteen.mixed_ticks


def test_a_request_that_has_the_loop_to_itself_waits_for_nobody() -> None:
    # Qwen2.5-72B on two H100 at concurrency 1 has its first token after 41.1 ms (tt-inference-server issue 143)
    asked = problem(
        "qwen2.5-72b", "h100-sxm-8", 2, input_tokens=128, output_tokens=128, arrival="closed", concurrency=1
    )
    lone = evaluate(asked, layout(tp=2, etp=2, prefill_chunk=128))
    assert lone.ttft_s is not None
    assert float(lone.ttft_s) == pytest.approx(0.0411, rel=0.05)
    alone = problem("qwen2.5-72b", "h100-sxm-8", 2, input_tokens=128, output_tokens=128, arrival="alone")
    assert lone.ttft_s == evaluate(alone, layout(tp=2, etp=2, prefill_chunk=128)).ttft_s


@pytest.mark.parametrize("prompt", [128, 2048, 8192])
def test_a_request_that_has_the_loop_to_itself_decodes_beside_no_prompt(prompt: int) -> None:
    # DeepSeek-R1 AWQ on eight H100 has 16.1 ms a token after 128 tokens, 16.6 after 8,192, of which the first takes
    # 242 ms (tt-inference-server issue 356)
    told = {"input_tokens": prompt, "output_tokens": 128, "arrival": "closed", "concurrency": 1}
    asked = read_problem(
        {
            "model": "deepseek-r1", "hardware": "h100-sxm-8", "devices": 8, "workload": told,
            "precision": {"weights": "int4"},
        }
    )  # fmt: skip
    short = problem("deepseek-r1", "h100-sxm-8", 8, **told | {"input_tokens": 128})
    short = short.model_copy(update={"precision": asked.precision})
    lone, least = (evaluate(each, layout(tp=8, etp=8, prefill_chunk=2048)) for each in (asked, short))
    assert lone.tpot_s == Fraction(lone.decode_ticks[0], TICKS_PER_SECOND)
    assert lone.tpot_s / least.tpot_s <= Fraction("1.04")  # type: ignore[operator]
    staged = evaluate(asked, layout(tp=2, etp=2, pp=4, prefill_chunk=512))
    assert staged.tpot_s == 4 * Fraction(max(staged.decode_ticks), TICKS_PER_SECOND)


@pytest.mark.parametrize(
    ("tokens", "chunk", "places"),
    [
        ((8000, 10), 2000, 1), ((8000, 10), 2000, 2), ((8000, 10), 2000, 3), ((8000, 50), 2000, 4),
        ((8000, 50), 2000, 13), ((8000, 200), 2000, 8), ((1000, 2), 1000, 1), ((1000, 2), 1000, 2),
        ((1000, 10), 2000, 20), ((1000, 100), 4000, 200), ((1, 2), 64, 64), ((1, 2), 64, 128), ((2000, 200), 2000, 120),
    ],
)  # fmt: skip
def test_a_closed_loop_serves_as_many_as_a_simulated_engine(tokens: tuple[int, int], chunk: int, places: int) -> None:
    """A place is taken by its request's prompt first; a sequence that decodes meets the prompts of the others."""
    isl, osl = tokens
    asked = problem("llama-3.1-8b", "h100-sxm-8", 1, input_tokens=isl, output_tokens=osl)
    own = layout(batch=places, prefill_chunk=chunk)
    found = evaluate(asked, own)
    done = served(step_time(asked, own), isl=isl, osl=osl, chunk=chunk, places=places, count=8 * places)
    settled = done[4 * places :]
    per_second = len(settled) / (settled[-1].last - done[4 * places - 1].last)
    # never more than are served
    assert 0.98 * per_second < float(found.request_capacity) < 1.001 * per_second
    assert float(found.tpot_s or 0) == pytest.approx(sum(one.tpot for one in settled) / len(settled), rel=0.03)
    figures = derive(asked, own, found)
    assert figures["concurrency"].value == places
    # what its requests wait beside their steps is the loop's, and no capacity
    assert figures["closed_loop_tokens_per_s"].value < found.throughput


def test_no_more_requests_are_in_flight_than_there_are_places() -> None:
    """The first report of it: 63,890 of 30,942."""
    asked = problem("llama-3.1-8b", "h100-sxm-8", 2, input_tokens=1, output_tokens=2)
    for batch, chunk in ((15471, 15471), (40, 8), (1, 64)):
        own = layout(dp=2, batch=batch, prefill_chunk=chunk)
        found = evaluate(asked, own)
        assert 0 < derive(asked, own, found)["concurrency"].value <= 2 * batch
        latency = (found.ttft_s or 0) + (found.tpot_s or 0)
        assert found.request_capacity >= derive(asked, own, found)["concurrency"].value / latency


def test_a_closed_loop_waits_longer_with_more_requests() -> None:
    one, eight, more = (found.ttft_s for found in (chat(batch=1), chat(batch=8), chat()))
    assert one is not None
    assert eight is not None
    assert more is not None
    assert one < eight < more


def test_at_random_it_waits_as_in_an_m_d_1_queue() -> None:
    found = chat(request_rate=2)
    service = Fraction(found.mixed_ticks[0], TICKS_PER_SECOND)
    load = 2 * service
    assert found.queue_s == load * service / (2 * (1 - load))
    # alone of as many as the load leaves in flight
    alone = chat("alone", batch=found.running, request_rate=2)
    assert found.running < 64
    assert found.ttft_s is not None
    assert alone.ttft_s is not None
    assert found.ttft_s == alone.ttft_s + found.queue_s


def test_the_ideal_schedule_lets_nobody_wait() -> None:
    asked = problem("llama-3.1-70b", "h200-sxm-8", 2, input_tokens=1024, output_tokens=1024)
    found = evaluate(asked, layout(tp=2, etp=2, batch=64, prefill_chunk=1024), rates=ideal_rates(asked.hardware))
    assert found.ttft_s == Fraction(found.mixed_ticks[0], TICKS_PER_SECOND)


def test_the_measured_first_token_of_llama_70b_on_two_h200() -> None:
    # vLLM, 64 in flight: 573 ms in the median of 12 runs of aiconfigurator-core 0.12.0 silicon_sample.csv
    assert float(chat().ttft_s or 0) == pytest.approx(0.573, rel=0.3)


# pieces of prompts


def prefill(tokens: int, chunk: int | None = None) -> Evaluation:
    asked = problem("llama-3.3-70b", "h100-sxm-8", 8, phase="prefill", input_tokens=tokens, output_tokens=1)
    return evaluate(asked, layout(tp=8, etp=8, prefill_chunk=chunk))


@pytest.mark.parametrize("tokens", [8192, 16384, 100])
def test_one_more_prompt_token_costs_no_more_than_a_step(tokens: int) -> None:
    before, after = prefill(tokens), prefill(tokens + 1)
    assert before.ttft_s is not None
    assert after.ttft_s is not None
    smallest_step = Fraction(prefill(1).mixed_ticks[0], TICKS_PER_SECOND)
    assert before.ttft_s < after.ttft_s <= before.ttft_s + smallest_step * Fraction(11, 10)


def test_pieces_are_even_and_a_chunk_between_even_ones_only_costs_memory() -> None:
    even, odd = prefill(8192, 2731), prefill(8192, 4000)
    assert even.steps.pieces == odd.steps.pieces == 3
    assert even.ttft_s == odd.ttft_s
    assert even.memory_bytes < odd.memory_bytes


def test_a_layout_without_a_chunk_packs_the_prompts_that_keep_up() -> None:
    asked = problem("qwen3-235b-a22b-fp8", "h100-sxm-8", 4, input_tokens=128, output_tokens=128)
    own = layout(tp=4, ep=4, batch=129)
    assert chunk_of(asked, own) == 2 * 128
    assert violations(asked, own, evaluate(asked, own)) == ()
    assert chunk_of(asked, own.model_copy(update={"batch": 128})) == 128
    assert chunk_of(asked, own.model_copy(update={"batch": 10**6})) == 8192


# experts of the hottest device


def decode(model: Any, hardware: str, devices: int, **degrees: Any) -> Evaluation:
    asked = problem(model, hardware, devices, phase="decode", input_tokens=1000, output_tokens=200)
    return evaluate(asked, layout(**degrees))


def experts_s(model: Any, hardware: str, devices: int, **degrees: Any) -> float:
    """Seconds of the routed experts in a decode step."""
    asked = problem(model, hardware, devices, phase="decode", input_tokens=1000, output_tokens=200)
    own = layout(**degrees)
    found = evaluate(asked, own)
    assert found.steps.decode is not None
    costs = build_costs(asked, found.shape, effective_rates(asked.hardware))
    each = [n * k.parts(found.steps.decode)["experts"] for n, k in zip(costs.counts, costs.kinds, strict=True)]
    return sum(each) / TICKS_PER_SECOND


MIXTRAL_EXPERT = 3 * 4096 * 14336 * 2
"""Bytes of one expert."""


def test_a_copy_of_every_expert_does_not_make_one_token_faster() -> None:
    # the device with the token reads its two experts in each of 32 layers, at 82% of 4.8 TB/s
    whole = experts_s("mixtral-8x7b", "h200-sxm-8", 8, tp=8, edp=8)
    assert whole == pytest.approx(32 * 2 * MIXTRAL_EXPERT / (0.82 * 4.8e12), rel=0.01)
    assert whole == pytest.approx(experts_s("mixtral-8x7b", "h200-sxm-8", 8), rel=1e-6)


def test_a_device_that_holds_a_chosen_expert_reads_all_of_it() -> None:
    alone = experts_s("mixtral-8x7b", "h100-sxm-8", 8, tp=8, ep=8)
    assert alone == pytest.approx(32 * MIXTRAL_EXPERT / (0.85 * 3.35e12), rel=0.01)
    tp, ep = (decode("mixtral-8x7b", "h100-sxm-8", 8, tp=8, **d).tpot_s for d in ({"etp": 8}, {"ep": 8}))
    assert tp is not None
    assert ep is not None
    assert tp < ep


def test_a_mixture_of_one_expert_is_a_dense_layer() -> None:
    alone, copied, divided = (
        experts_s(ONE_EXPERT, "h100-sxm-8", 4, **degrees) for degrees in ({}, {"tp": 4, "edp": 4}, {"tp": 4, "etp": 4})
    )
    assert copied == pytest.approx(alone, rel=1e-9)
    assert divided == pytest.approx(alone / 4, rel=1e-3)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_devices_that_share_nothing_are_as_fast_as_one(batch: int) -> None:
    alone = decode("mixtral-8x7b", "h200-sxm-8", 8, batch=batch)
    eight = decode("mixtral-8x7b", "h200-sxm-8", 8, dp=8, edp=8, batch=batch)
    assert eight.tpot_s == alone.tpot_s
    assert eight.memory_bytes == alone.memory_bytes
    assert eight.throughput == 8 * alone.throughput


@pytest.mark.parametrize(("output_tokens", "held"), [(200, 1200), (201, 1216), (216, 1216)])
def test_a_sequence_fills_whole_blocks_of_the_cache(output_tokens: int, held: int) -> None:
    """vLLM's blocks hold 16 tokens."""
    own = read_problem(
        model="llama-3.1-8b", hardware="h100-sxm-8", devices=1, isl=1000, osl=output_tokens, engine="vllm"
    )
    assert sequence_tokens(own) == held
