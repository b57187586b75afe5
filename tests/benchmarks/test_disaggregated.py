"""Recorded disaggregated fleets of AIConfigurator, priced by us, serve no more than the fleet that `solve` finds."""

import pytest

import optimizer
from benchmarks.disaggregated import CASES, compare, degrees_of, fleet_of, named_layouts, rows

KNOWN = {case.name: case for case in CASES}


def test_every_case_has_a_row_of_one_version():
    found = rows()
    assert list(found) == list(KNOWN)
    assert {row["version"] for row in found.values()} == {"0.12.0"}
    assert sum(bool(row["num_total_gpus"]) for row in found.values()) >= 6


@pytest.mark.parametrize("name", list(KNOWN))
def test_its_workers_take_the_devices_that_it_says(name):
    case, row = KNOWN[name], rows()[name]
    if not row["num_total_gpus"]:
        return
    each = 0
    for role, side in (("prefill", "(p)"), ("decode", "(d)")):
        own = degrees_of(case, row, role)
        devices = own["tp"] * own["cp"] * own["dp"] * own["pp"]
        assert own.get("etp", 1) * own.get("ep", 1) in {1, own["tp"] * own["cp"] * own["dp"]}
        each += devices * int(row[f"{side}workers"])
    assert each == int(row["num_total_gpus"])


def test_its_fleet_is_judged_as_a_person_s_is():
    case = KNOWN["generator overview"]
    judged = optimizer.verify(fleet_of(case, rows()[case.name], named_layouts(case, rows()[case.name])))
    assert judged.feasible
    assert judged.to_json()["figures"]["devices"] == 8
    replicas = judged.fleet_document()["replicas"]
    assert [(own["role"], own["count"]) for own in replicas] == [("prefill", 4), ("decode", 4)]
    assert replicas[1]["layout"]["batch"] == 104


@pytest.mark.parametrize(
    "name",
    [
        "generator overview",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("CLI guide, end to end", "DeepSeek-V3")),
    ],
)
def test_ours_serves_no_less(name):
    own = compare(KNOWN[name], rows()[name])
    assert own.as_named is not None
    assert own.as_best is not None
    assert own.ours is not None
    # columns are within 0.2% of what they could serve
    assert 0 < own.as_named <= own.as_best * 1.002 <= own.ours * 1.004


@pytest.mark.slow
def test_where_it_finds_nothing_there_is_a_fleet():
    own = compare(KNOWN["deployment guide, tight"], rows()["deployment guide, tight"])
    assert own.as_named is None
    assert own.ours is not None
    assert own.ours > 0
