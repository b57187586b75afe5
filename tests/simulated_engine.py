"""An engine, step by step: places, a budget of prompt tokens, first come first served. It knows no formula of figures.

A step takes a token of every sequence that decodes, then pieces of the prompts whose places are taken, in their order,
then new requests, while the step has prompt tokens left and there are free places (vLLM: vllm/v1/core/sched).
A prompt's last piece gives the first token; a place is free when the last token is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.figures.costs import build_costs
from optimizer.figures.layer import Step
from optimizer.figures.partition import cuts_of
from optimizer.figures.rates import TICKS_PER_SECOND, effective_rates

StepTime = Callable[[int, int, int], float]
"""Seconds of a step with so many sequences that decode, prompt tokens and pieces of prompts."""


@dataclass
class Request:
    """Times of a request, and what is left of it."""

    arrived: float
    prompt: int
    tokens: int
    first: float = 0.0
    last: float = 0.0
    tpot: float = 0.0


def step_time(problem: Problem, layout: Layout) -> StepTime:
    """Steps of any size, of a layout of one stage."""
    cuts = cuts_of(problem, layout)
    costs = build_costs(problem, layout.shape, effective_rates(problem.priced_hardware))

    @cache
    def seconds(decoding: int, prompt: int, passes: int) -> float:
        return float(costs.stages(Step(decoding, decoding, prompt, passes), cuts)[0]) / TICKS_PER_SECOND

    return seconds


def served(
    step_s: StepTime, *, isl: int, osl: int, chunk: int, places: int, count: int, arrivals: Iterable[float] = ()
) -> list[Request]:
    """Requests as they end: `count` of a closed loop that keeps every place taken, or those that arrive."""
    coming = deque(arrivals)
    closed = not coming
    waiting = deque(Request(0.0, isl, osl) for _ in range(places if closed else 0))
    running: list[Request] = []
    done: list[Request] = []
    now = 0.0
    while len(done) < count:
        if not waiting and not running:
            now = max(now, coming[0])
        while coming and coming[0] <= now:
            waiting.append(Request(coming.popleft(), isl, osl))
        decoding, left, pieces = [one for one in running if not one.prompt], chunk, []
        for one in [one for one in running if one.prompt]:
            if left:
                pieces.append((one, min(left, one.prompt)))
                left -= pieces[-1][1]
        while waiting and left and len(running) < places:
            running.append(waiting.popleft())
            pieces.append((running[-1], min(left, isl)))
            left -= pieces[-1][1]
        now += step_s(len(decoding), chunk - left, len(pieces))
        for one, taken in pieces:
            one.prompt -= taken
            if not one.prompt:
                one.first, one.tokens = now, one.tokens - 1
        for one in decoding:
            one.tokens -= 1
        for one in [one for one in running if not one.tokens]:
            one.last, one.tpot = now, (now - one.first) / (osl - 1)
            running.remove(one)
            done.append(one)
            if closed:
                waiting.append(Request(now, isl, osl))
    return done
