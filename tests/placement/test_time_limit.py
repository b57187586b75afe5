"""The limit on time is kept to within a tenth, by a clock that moves with the work done and with nothing else."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from optimizer.figures.placement import max_over_mean
from optimizer.placement import Question, effort, place

LIMIT = 4.0
READING, PROGRAM = 0.002, 0.05
"""Seconds that pass between two looks at the clock, and with a linear program."""


class Clock:
    """Seconds of work."""

    def __init__(self) -> None:
        self.now = 1000.0

    def read(self) -> float:
        self.now += READING
        return self.now

    def slow(self, solved: Callable[..., Any]) -> Callable[..., Any]:
        def taking_time(*asked: Any) -> Any:
            self.now += PROGRAM
            return solved(*asked)

        return taking_time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.read)
    for name in ("free_split", "pairing_program", "price_bound"):
        module = importlib.import_module(f"optimizer.placement.{name}")
        monkeypatch.setattr(module, "solved", clock.slow(module.solved))
    monkeypatch.setattr("optimizer.placement.processes.workers", lambda: 1)
    monkeypatch.setattr("optimizer.placement.search.workers", lambda: 1)
    monkeypatch.setattr("optimizer.placement.search.workers", lambda: 1)
    return clock


def loads(layers: int, experts: int, seed: int) -> list[list[int]]:
    random = Random(seed)  # noqa: S311 - loads, no secrets
    return [[int(random.paretovariate(1.2) * 1000) for _ in range(experts)] for _ in range(layers)]


@pytest.mark.parametrize(
    ("devices", "slots", "asked"),
    [
        (24, 2, {}),
        (16, 3, {}),
        (8, 5, {}),
        (8, 5, {"split": "free"}),
        (24, 2, {"split": "free"}),
        (8, 5, {"node_size": 4, "groups": 4, "hierarchy": "node"}),
        (8, 5, {"tolerance": 0}),
    ],
)
def test_it_is_kept(clock: Clock, devices: int, slots: int, asked: dict[str, Any]) -> None:
    question = Question([loads(12, 32, 1)], devices, slots, **asked)
    begun = clock.now
    result = place(question, time_limit_s=LIMIT)
    assert clock.now - begun <= 1.1 * LIMIT
    assert len(result.layers) == 12


def test_several_workloads_keep_it(clock: Clock) -> None:
    question = Question([loads(12, 32, 1), loads(12, 32, 2)], 8, 5, robust="worst")
    begun = clock.now
    place(question, time_limit_s=LIMIT)
    assert clock.now - begun <= 1.1 * LIMIT


def test_splits_have_time_left_when_the_search_takes_all_of_its_own(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = Question([loads(12, 32, 1)], 8, 5, split="free")

    def exhausting(*_: Any, deadline: float, **__: Any) -> Any:
        clock.now = max(clock.now, deadline)
        return search(*_, deadline=deadline, **__)

    module = importlib.import_module("optimizer.placement.place")
    search = module.balance_loads
    monkeypatch.setattr(module, "balance_loads", exhausting)
    begun = clock.now
    split = place(question, time_limit_s=LIMIT)
    assert clock.now - begun <= 1.1 * LIMIT
    assert all(layer.shares is not None for layer in split.layers)
    cooler = [layer.max_over_mean < max_over_mean(row, layer.devices)
              for layer, row in zip(split.layers, question.loads[0], strict=True)]  # fmt: skip
    assert sum(cooler) > LIMIT * (1 - effort.SEARCH_PART) / PROGRAM / 2
