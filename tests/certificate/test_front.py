"""Frontiers and thresholds of results: what the search writes is accepted, and what is missing is found."""

from __future__ import annotations

import copy
import json
from fractions import Fraction

import pytest

from optimizer.certificate import certify
from optimizer.cli.solve import frontier_json
from optimizer.search.regret import robust
from optimizer.solve import solve
from tests.certificate.documents import Json, written
from tests.certificate.tampering import document
from tests.small_problems import small_problem

AIMS = (
    ("throughput_per_device", "tpot"),
    ("throughput", "memory_headroom"),
    ("ttft", "throughput"),
    ("throughput_per_device", "tpot", "ttft"),
    ("devices", "tpot", "memory_headroom"),
)


def with_front(seed: int, aims: tuple[str, ...]) -> Json | None:
    problem = small_problem(seed)
    unfit = {"decode": "ttft", "prefill": "tpot"}.get(problem.workload.phase)
    result = solve(problem)
    if unfit in aims or result.layout is None:
        return None
    stated: Json = json.loads(json.dumps(frontier_json(problem, list(aims), None)))
    return written(result) | {"pareto": stated}


@pytest.mark.parametrize("aims", AIMS, ids="-".join)
def test_a_front_is_accepted_and_a_missing_point_is_found(aims: tuple[str, ...]) -> None:
    fronts, holes = 0, 0
    for seed in range(24):
        own = with_front(seed, aims)
        if own is None:
            continue
        check = certify(own)
        assert check.accepted, f"seed {seed}: {check.item}: {check.reason}"
        assert any(entry.startswith("frontier: ") for entry in check.checked)
        fronts += 1
        points = own["pareto"]["points"]
        for number in {0, len(points) // 2, len(points) - 1} if len(points) > 1 else set():
            holed = copy.deepcopy(own)
            holed["pareto"]["points"].pop(number)
            check = certify(holed)
            assert check.item == "pareto.points", f"seed {seed}, {number}"
            assert "is missing" in str(check.reason)
            holes += 1
    assert fronts >= 3
    assert holes >= 3


def test_points_that_are_dominated_out_of_order_or_twice_are_rejected() -> None:
    own = document("pareto")
    points = own["pareto"]["points"]
    for other in (points[::-1], [points[0], *points], [*points, points[0]]):
        check = certify(own | {"pareto": own["pareto"] | {"points": other}})
        assert str(check.item).startswith("pareto.points["), check.item
    assert certify(own | {"pareto": own["pareto"] | {"points": []}}).item == "pareto.points"
    wrong = own | {"pareto": own["pareto"] | {"objectives": ["tpot_s", "tpot_s"]}}
    assert certify(wrong).item == "pareto.objectives"


def test_thresholds_are_derived_anew() -> None:
    told, moved = 0, 0
    for seed in range(200):
        if told >= 3 and moved >= 2:
            break
        problem = small_problem(seed).model_copy(update={"objective": "throughput_per_device"})
        answer = robust(problem, {"hbm": Fraction(1, 5), "links": Fraction(1, 10)})
        if answer is None:
            continue
        own = written(solve(problem)) | {"uncertainty": json.loads(json.dumps(answer.to_json()))}
        check = certify(own)
        assert check.accepted, f"seed {seed}: {check.item}: {check.reason}"
        assert "uncertainty.robust" in check.not_checked
        told += 1
        for number, entry in enumerate(own["uncertainty"]["thresholds"]):
            changed = copy.deepcopy(own)
            other = changed["uncertainty"]["thresholds"][number]
            if entry["changes_at"] is None:
                continue
            # never, though another layout is better there
            far = 0.5 if entry["direction"] == "lower" else 2.0
            other |= {"holds_at": far, "changes_at": None, "layout": None, "redundant": 0}
            assert certify(changed).item == f"uncertainty.thresholds[{number}].holds_at"
            # later than it is
            step = (entry["changes_at"] - entry["holds_at"]) * 2
            other |= entry | {"holds_at": entry["holds_at"] + step, "changes_at": entry["changes_at"] + step}
            assert not certify(changed).accepted
            # sooner than it is
            other |= entry | {"holds_at": entry["holds_at"] - step, "changes_at": entry["changes_at"] - step}
            assert not certify(changed).accepted
            moved += 1
    assert moved >= 2
