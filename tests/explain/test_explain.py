"""Conflicts are minimal and relaxations exact: on small problems by trying every layout, and on every scenario."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

import optimizer.explain
from optimizer.domain.limit_table import (
    Limit,
    limits_of,
    most_devices,
    with_limits,
    with_memory,
    with_rate,
    with_search,
)
from optimizer.domain.problem import Problem
from optimizer.explain import brief, explain
from optimizer.explain.conflict import conflict
from optimizer.explain.feasible import _First, fits
from optimizer.explain.relax import RATE_PRECISION, Relaxation, relax, values_of
from optimizer.figures.bounds import asks_too_soon
from optimizer.figures.serving import evaluate
from optimizer.readers.read import read_problem
from optimizer.search.search import Search
from optimizer.solve.places import waits
from optimizer.units import Dimension, amount, parse_quantity
from optimizer.verify.constraints import violations
from tests.small_problems import layouts, small_problem

INFEASIBLE = sorted((Path(__file__).parents[2] / "problems" / "scenarios" / "infeasible").glob("*.yaml"))
SLOW = ("bandwidth",)
SCENARIOS = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if any(word in path.stem for word in SLOW) else [])
    for path in INFEASIBLE
]


def any_layout(problem: Problem) -> bool:
    """Whether something fits, by trying every layout."""
    return next(iter(layouts(problem)), None) is not None


SMALL = [p for seed in range(120) if fits(p := small_problem(seed)) is None]


def test_fits_says_what_trying_says() -> None:
    for seed in range(120):
        problem = small_problem(seed)
        found = fits(problem)
        # none may be found that has places enough, where one keeps all limits but for the wait for one
        assert (found is not None) == any_layout(problem) or (found is None and waits(problem))


def test_no_time_that_a_layout_keeps_is_asked_too_soon() -> None:
    for seed in range(40):
        problem = small_problem(seed)
        for one in layouts(problem, full=True):
            found = one.evaluation
            own = with_limits(
                problem, tpot=found.tpot_s, ttft=found.ttft_s, ttft_p50=None, ttft_p90=None, ttft_p99=None
            )
            assert not asks_too_soon(own)
            assert asks_too_soon(with_limits(own, ttft=Fraction(1, 10**9))) or found.ttft_s is None


def test_what_no_number_of_devices_keeps_is_not_looked_for_on_many(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = with_limits(read_problem("llama-3.1-70b-h100-16"), ttft=Fraction(1, 10**6))

    def searched(own: Search) -> None:
        assert own.problem.devices == problem.devices

    monkeypatch.setattr(_First, "run", searched)
    assert fits(problem) is None
    assert fits(with_limits(problem.model_copy(update={"devices": 16_384}), ttft=None, tpot=Fraction(1, 10**6))) is None
    monkeypatch.undo()
    assert [member.limit.name for member in conflict(problem).members] == ["ttft"]


@pytest.mark.parametrize("number", range(0, len(SMALL), 8))
def test_conflicts_of_small_problems_are_minimal(number: int) -> None:
    for problem in SMALL[number : number + 8]:
        found = conflict(problem)
        names = [m.limit.name for m in found.members]
        assert fits(found.alone) is None
        if found.alone.devices == problem.devices and "memory" in names and not waits(found.alone):
            assert not any_layout(found.alone)
        for member in found.members:
            without = member.limit.drop(found.alone)
            assert member.without is not None, names
            own = evaluate(without, member.without.layout)
            assert violations(without, member.without.layout, own, waits=False) == ()


def tightened(problem: Problem, found: Relaxation) -> list[Problem]:
    """The problem with a change one unit smaller than the relaxation's, which must fail."""
    new = found.new
    if found.limit == "devices":
        assert isinstance(new, int)
        return [problem.model_copy(update={"devices": new - 1})]
    if found.limit == "memory":
        exposed = found.problem.hardware.device.exposed_memory
        assert found.problem.capacity_bytes >= new
        share = found.problem.memory_utilization
        return [with_memory(problem, int((new - 1) / share))]  # type: ignore[operator]
    if found.limit == "memory_utilization":
        exposed = problem.hardware.device.exposed_memory
        return [with_limits(problem, memory_utilization=Fraction(new) - Fraction(1, exposed))]  # type: ignore[arg-type]
    if found.limit in {"ttft", "tpot"}:
        return [with_limits(problem, **{found.limit: Fraction(new) * (1 - Fraction(1, 10**15))})]  # type: ignore[arg-type]
    if found.limit == "fabric_bandwidth":
        return [with_limits(problem, fabric_bandwidth=new - 1)]  # type: ignore[operator]
    if found.limit == "request_rate":
        return [with_rate(problem, Fraction(new) * (1 + RATE_PRECISION))]  # type: ignore[arg-type]
    if found.limit.startswith("search."):
        axis = found.limit.removeprefix("search.")
        allowed, added = getattr(problem.search, axis), new
        if not isinstance(added, tuple) or isinstance(added[0], str):
            return []

        def distance(own: int) -> Fraction:
            return min(max(Fraction(own, a), Fraction(a, own)) for a in allowed)

        furthest = max(distance(int(value)) for value in added)
        nearer = [v for v in values_of(problem, axis) if v not in allowed and distance(v) < furthest]
        return [with_search(problem, axis, tuple(nearer))] if nearer else []
    return []


def check(problem: Problem, found: Relaxation) -> None:
    own = found.problem
    layout = found.scored.layout
    priced = evaluate(own, layout)
    assert violations(own, layout, priced) == (), found.limit
    assert fits(own) is not None or waits(own)
    # with the wait for a free place a change is the least of the layouts that were found
    for less in () if waits(own) else tightened(problem, found):
        assert fits(less) is None, (found.limit, found.new)


@pytest.mark.parametrize("number", range(0, len(SMALL), 8))
def test_relaxations_of_small_problems_are_exact(number: int) -> None:
    for problem in SMALL[number : number + 8]:
        for limit in limits_of(problem):
            found = list(relax(problem, limit))
            for one in found:
                check(problem, one)
                if one.limit in {"ttft", "tpot", "request_rate", "memory_utilization"}:
                    assert any_layout(one.problem)
                    assert waits(one.problem) or not any(any_layout(less) for less in tightened(problem, one))
            if not found and limit.name not in {"devices", "memory_utilization"}:
                assert fits(limit.drop(problem)) is None or limit.name == "search.batch", limit.name


def test_a_change_fits_as_it_is_written() -> None:
    tried = 0
    for problem in SMALL[::2]:
        for change in explain(problem).to_json()["relaxations"]:
            name, new = change["limit"], change["to"]
            texts = amount(new, change["unit"], change["from"]).replace(",", ""), repr(new)
            if name not in {"ttft", "tpot", "request_rate", "memory_utilization"}:
                continue
            dimension = {"request_rate": Dimension.PER_SECOND, "memory_utilization": Dimension.RATIO}.get(
                name, Dimension.SECONDS
            )
            for value in (parse_quantity(text, dimension) for text in texts):
                eased = with_rate(problem, value) if name == "request_rate" else with_limits(problem, **{name: value})
                assert any_layout(eased), (name, texts)
                tried += 1
    assert tried > 20


@pytest.mark.parametrize("path", SCENARIOS)
def test_scenarios_are_explained(path: Path) -> None:
    problem = read_problem(path)
    found = explain(problem)
    assert found.status == "infeasible"
    assert found.conflict is not None
    assert found.conflict.members
    assert fits(found.conflict.alone) is None
    for member in found.conflict.members:
        without = member.limit.drop(found.conflict.alone)
        assert member.without is not None
        layout = member.without.layout
        assert violations(without, layout, evaluate(without, layout), waits=False) == ()
    assert found.relaxations
    for one in found.relaxations:
        check(problem, one)
    if found.joint is not None:
        assert found.joint.factor > found.joint.below >= 1
        assert found.joint.factor - found.joint.below <= found.joint.below / 1024
    document = found.to_json()
    assert document["schema"] == "shardproof/explain/1"
    assert [m["limit"] for m in document["conflict"]] == [m["limit"] for m in brief(problem)]
    assert {"limit", "from", "to", "unit", "layout"} <= set(document["relaxations"][0])


def test_interrupted_after_the_conflict_what_is_known_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interrupt comes in the search for the smallest change of the second limit."""
    problem = next(p for p in SMALL if len(list(filter(lambda own: fits(own.drop(p)), limits_of(p)))) > 1)
    looked = []

    def interrupted(problem: Problem, limit: Limit) -> Iterator[Relaxation]:
        looked.append(limit.name)
        if len(looked) > 1:
            raise KeyboardInterrupt
        return relax(problem, limit)

    monkeypatch.setattr(optimizer.explain, "relax", interrupted)
    document = explain(problem).to_json()
    assert document["stopped"]
    assert [one["limit"] for one in document["conflict"]] == [one["limit"] for one in brief(problem)]
    assert {one["limit"] for one in document["relaxations"]} == {looked[0]}


def test_a_feasible_problem_says_what_binds_and_what_more_would_bring() -> None:
    problem = read_problem("llama-3.1-70b-h100-16")
    document = explain(problem).to_json()
    assert document["status"] == "feasible"
    assert document["conflict"] == document["relaxations"] == []
    gains = {one["change"]: one["gain"] for one in document["what_if"]}
    assert all(gain is not None and gain >= 0 for name, gain in gains.items() if "more device" not in name)
    assert gains["10% more memory bandwidth"] > 0
    assert gains["10% more compute"] > 0
    for one in document["binding"]:
        assert one["gain"] > 0
    tight = with_limits(problem, tpot=Fraction(2, 100))
    assert "tpot" in {one["limit"] for one in explain(tight).to_json()["binding"]}


def test_what_one_more_device_brings_is_the_optimum_there() -> None:
    problem = small = next(p for seed in range(200) if fits(p := small_problem(seed)) is not None and p.devices < 5)
    found = explain(small)
    more = explain(problem.model_copy(update={"devices": problem.devices + 1}))
    assert found.what_if[0].change == "one more device"
    assert found.what_if[0].scored is not None
    assert more.best is not None
    assert found.what_if[0].scored.value == more.best.value


def test_any_number_of_devices_has_a_number() -> None:
    problem = small_problem(0)
    assert most_devices(problem) == 16_384
    assert most_devices(problem.model_copy(update={"devices": 4096})) == 65_536


def test_changing_a_problem_forgets_what_was_derived() -> None:
    problem = small_problem(0)
    before = (problem.capacity_bytes, problem.digest)
    other = with_memory(problem, 2 * problem.hardware.device.exposed_memory)
    assert other.capacity_bytes > before[0]
    assert other.digest != before[1]
    assert (problem.capacity_bytes, problem.digest) == before
