"""What beats a value: the limit that the objective becomes, beside the problem's own."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from optimizer import read_problem
from optimizer.certificate.goals import Goal, goal
from optimizer.domain.problem import Problem

GIB = 2**30


def asked(objective: str, **limits: Any) -> Problem:
    """Llama-3.1-8B on four H100, 10 requests/s."""
    problem = read_problem(model="llama-3.1-8b", hardware="h100-sxm-8", devices=4, isl=1000, osl=101)
    work = problem.workload.model_copy(update={"request_rate": Fraction(10), "concurrency": None})
    return problem.changed(objective=objective, workload=work, limits=problem.limits.model_copy(update=limits))


@pytest.mark.parametrize(("objective", "name"), [("ttft", "first"), ("ttft_p99", "first_p99")])
def test_an_earlier_first_token(objective: str, name: str) -> None:
    share = 99 if name == "first_p99" else None
    for limits in ({}, {objective: Fraction(2)}):
        found = goal(asked(objective, **limits), Fraction(1))
        assert dict(found.first) == {share: Fraction(1)}
        assert found.strict == {name}
        assert found.beats_first(share)
    # a value beyond the limit is beaten by all that keeps it
    loose = goal(asked(objective, **{objective: Fraction(1, 2)}), Fraction(1))
    assert dict(loose.first) == {share: Fraction(1, 2)}
    assert not loose.strict


def test_a_limit_on_another_percentile_stays() -> None:
    found = goal(asked("ttft", ttft_p99=Fraction(3)), Fraction(1))
    assert dict(found.first) == {None: Fraction(1), 99: Fraction(3)}
    assert found.strict == {"first"}


def test_a_shorter_cycle() -> None:
    for limits in ({}, {"tpot": Fraction(1, 10)}):
        found = goal(asked("tpot", **limits), Fraction(1, 20))
        assert (found.cycle, found.strict) == (Fraction(1, 20), {"cycle"})
    loose = goal(asked("tpot", tpot=Fraction(1, 30)), Fraction(1, 20))
    assert (loose.cycle, loose.strict) == (Fraction(1, 30), frozenset())


def test_more_tokens_of_each_device_and_of_all() -> None:
    # a request has 101 tokens
    assert goal(asked("throughput_per_device"), Fraction(505)).above == 5
    assert goal(asked("throughput"), Fraction(505)).total_above == 5


def test_fewer_devices_and_more_room() -> None:
    assert goal(asked("devices"), Fraction(3)).devices == 2
    problem = asked("memory_headroom")
    free = Fraction(10 * GIB)
    assert goal(problem, free).memory == problem.capacity_bytes - 10 * GIB - 1


def test_without_a_value_the_limits_are_all() -> None:
    found = goal(asked("ttft", ttft=Fraction(2), tpot=Fraction(1, 10)), None)
    expected = Goal(
        above=None, total_above=None, total=Fraction(10), cycle=Fraction(1, 10), first=((None, Fraction(2)),),
        memory=found.memory, devices=4,
    )  # fmt: skip
    assert found == expected
