"""What a load generator measures that keeps a fixed number of requests in flight.

A figure's TTFT is that of a request that finds nobody waiting. A closed loop of c requests queues for prefill: mean
value analysis of a closed network (Reiser and Lavenberg 1980) with one station, the prefill, and a delay, the decode.
Generators of 10·c requests send the first c at once, a tenth of all, which wait (c − 1)/2 prefills in the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.figures.rates import TICKS_PER_SECOND, Rates
from optimizer.figures.serving import Evaluation, evaluate

REQUEST_OVERHEAD_S = 0.080
"""HTTP, tokenisation, scheduling and an eager first step. Fitted with the burst of 1/10 to the TTFT of the 1,236 runs
of aiconfigurator-core 0.12.0 silicon_sample.csv on H100, H200 and B200 on 2026-11-21; engines differ: 40-150 ms."""

_ROUNDS = 4
_FIRST_WAVE = 0.1
_USABLE_PERCENT = 92


@dataclass(frozen=True)
class Loop:
    """Means of a closed loop, and the sequences that decode at a time on one rank."""

    ttft_s: float
    tpot_s: float
    decoding: int


def fitting_batch(problem: Problem, layout: Layout, limit: int, percent: int = _USABLE_PERCENT) -> int:
    """Largest batch of a rank, at most `limit`, that leaves the rest of the device's memory free; at least 1."""
    capacity = problem.hardware.device.exposed_memory * percent // 100
    low, high = 1, limit
    while low < high:
        middle = (low + high + 1) // 2
        needed = evaluate(problem, layout.model_copy(update={"batch": middle})).memory_bytes
        low, high = (middle, high) if needed <= capacity else (low, middle - 1)
    return low


def _waiting(requests: int, service_s: float, step_s: float, decode_s: float) -> tuple[float, float]:
    """Time to the first token and requests that have none yet, by mean value analysis."""
    first, queue = service_s + step_s, 0.0
    for present in range(1, requests + 1):
        first = service_s * (1 + queue) + step_s
        queue = present * first / (first + decode_s)
    return first, queue


def closed_loop(problem: Problem, layout: Layout, rates: Rates, largest: int) -> Loop:
    """Means of a closed loop of `layout.batch` requests a rank, of which memory holds `largest`."""
    work = problem.workload
    requests = layout.batch
    decoding = float(min(requests, largest))
    found: Evaluation
    for _ in range(_ROUNDS):
        found = evaluate(problem, layout.model_copy(update={"batch": max(1, round(decoding))}), rates=rates)
        tpot = float(found.tpot_s or 0)
        step = max(found.decode_ticks) / TICKS_PER_SECOND
        service = found.steps.pieces * (max(found.mixed_ticks) / TICKS_PER_SECOND - step)
        first, queue = _waiting(requests, service, found.steps.pieces * step, (work.output_tokens - 1) * tpot)
        before, decoding = decoding, min(float(largest), requests - queue)
        if abs(before - decoding) < 1:
            break
    burst = _FIRST_WAVE * (requests - 1) / 2 * service
    return Loop(first + burst + REQUEST_OVERHEAD_S, tpot, max(1, round(decoding)))
