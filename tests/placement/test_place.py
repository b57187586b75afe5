import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.baselines.greedy_placement import deviation, eplb
from optimizer.certificate.placement import check_placement
from optimizer.errors import SpecError
from optimizer.figures.placement import max_over_mean, violations
from optimizer.placement import Question
from optimizer.placement import search as search_module
from optimizer.placement.moves import frontier
from optimizer.placement.question import Layer
from optimizer.readers.load_profiles import profile_rows
from optimizer.readers.loads import read_load
from tests.placement.enumeration import counted_bound, placed

LOADS = Path(__file__).parents[2] / "problems" / "loads"
DECODE, PREFILL = (
    read_load(LOADS / f"deepseek-v3-{name}.json").rows for name in ("decode-in1000out1000", "prefill-in4096")
)


def checked(result: Any, loads: Any) -> bool:
    return check_placement(loads, result.certificate, json.loads(json.dumps(result.to_json()))).accepted


@pytest.mark.parametrize(
    ("devices", "slots", "most"),
    [(32, 9, 1e-5), (36, 8, 2e-5), (64, 5, 1e-4), (72, 4, 2e-4)],
)
def test_measured_layers_are_balanced_and_proved(devices: int, slots: int, most: float) -> None:
    result = placed(DECODE, devices, slots)
    for layer, row in zip(result.layers, DECODE, strict=True):
        assert violations(layer.devices, 256, devices, slots) == []
        assert layer.gap <= most
        assert layer.max_over_mean == max_over_mean(row, layer.devices)
    assert checked(result, [DECODE])


@pytest.mark.parametrize(("devices", "slots"), [(32, 8), (32, 9), (96, 3), (144, 2)])
@pytest.mark.parametrize("rows", [DECODE, PREFILL], ids=["decode", "prefill"])
def test_never_worse_than_greedy(rows: Any, devices: int, slots: int) -> None:
    result = placed(rows, devices, slots, time_limit_s=4)
    for layer, row in zip(result.layers, rows, strict=True):
        greedy = eplb(row, devices, slots)
        if not violations(greedy, 256, devices, slots):
            assert layer.max_over_mean <= max_over_mean(row, greedy)
    assert checked(result, [rows])


def test_several_workloads_are_met_better_than_by_their_mean() -> None:
    loads = [DECODE, PREFILL]
    result = placed(loads, 32, 9, robust="worst", time_limit_s=10)
    for number, layer in enumerate(result.layers):
        rows = [load[number] for load in loads]
        spread = deviation(rows, 32, 9)
        worst = max(max_over_mean(row, layer.devices) for row in rows)
        assert worst == layer.max_over_mean
        assert worst < max(max_over_mean(row, spread) for row in rows)
    assert result.to_json()["workloads"][1]["max_over_mean"] == [float(layer.workloads[1]) for layer in result.layers]
    assert checked(result, loads)


@pytest.mark.parametrize("robust", ["mean", "cvar"])
def test_other_objectives_are_checked_too(robust: Any) -> None:
    loads = [profile_rows("zipf", 2, 16, seed) for seed in range(3)]
    result = placed(loads, 4, 6, robust=robust, weights=[1, 2, 3])
    assert checked(result, loads)


def test_groups_kept_on_nodes_cost_what_the_bound_says() -> None:
    free = placed(DECODE, 32, 9)
    result = placed(DECODE, 32, 9, node_size=8, groups=8, hierarchy="node")
    for layer in result.layers:
        assert violations(layer.devices, 256, 32, 9, node_size=8, groups=8) == []
    assert free.max_over_mean < Fraction(1001, 1000) < result.max_over_mean
    assert result.max_over_mean - result.bound <= Fraction(1, 10000)
    assert checked(result, [DECODE])


def test_free_split_is_no_worse_and_adds_up() -> None:
    rows = profile_rows("zipf:1.2", 3, 16, 0)
    even, free = (placed(rows, 4, 5, split=split, time_limit_s=5) for split in ("even", "free"))
    for one, other in zip(even.layers, free.layers, strict=True):
        assert other.max_over_mean <= one.max_over_mean + Fraction(1, 10**6)
    assert checked(free, [rows])


def test_same_seed_same_placement_on_any_number_of_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = profile_rows("lognormal", 40, 32, 1)
    placements = []
    for count in (1, 2, 3):
        monkeypatch.setattr(search_module, "workers", lambda count=count: count)
        placements.append(placed(rows, 8, 5, seed=7).devices)
    assert placements[0] == placements[1] == placements[2]
    alone = placed(rows[5:6], 8, 5, seed=7).devices[0]
    assert alone == placements[0][5]


def test_device_order_follows_the_placement_in_service() -> None:
    before = placed(DECODE, 32, 9)
    after = placed(DECODE, 32, 9, current=before.devices[::-1][::-1], seed=0)
    assert after.to_json()["moves"] == 0


def test_frontier_falls_with_moves_and_reaches_balance() -> None:
    current = placed(DECODE, 32, 9).devices[1:2]
    points = frontier(Layer(Question([PREFILL[1:2]], 32, 9, current=current), 0), 28, goal=1 + 1e-4)
    assert points[0].moves == 0
    assert all(one.moves < two.moves and one.max_over_mean > two.max_over_mean for one, two in pairwise(points))
    assert points[-1].max_over_mean < 1 + (points[0].max_over_mean - 1) / 4


@pytest.mark.parametrize(("devices", "slots"), [(64, 1), (128, 1), (8, 2)])
def test_small_systems(devices: int, slots: int) -> None:
    experts = 16 if devices == 8 else 64
    rows = profile_rows("zipf", 2, experts, 0)
    result = placed(rows, devices, slots)
    for layer in result.layers:
        assert violations(layer.devices, experts, devices, slots) == []
    assert result.proved
    assert checked(result, [rows])


def test_no_load_at_all() -> None:
    result = placed([[0] * 8], 4, 3)
    assert result.max_over_mean == result.bound == 1
    assert result.proved
    assert checked(result, [[[0] * 8]])


def test_one_hot_expert_is_spread_over_all_devices() -> None:
    row = [8000] + [0] * 7
    result = placed([row], 4, 3)
    assert result.max_over_mean == 1
    assert result.layers[0].replica_counts[0] == 4
    assert checked(result, [[row]])


def test_one_hot_expert_without_spare_slots() -> None:
    result = placed([[8000] + [1] * 7], 4, 2)
    assert result.max_over_mean == Fraction(8001 * 4, 8007)
    assert result.proved


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"devices": 3, "slots": 2}, "3 devices x 2 slots = 6 slots cannot hold 8 experts"),
        ({"devices": 4, "slots": 9}, "9 slots per device, but only 8 experts"),
        ({"devices": 0, "slots": 2}, "hold no expert"),
        ({"devices": 4, "slots": 2, "robust": "best"}, "'best' is none of"),
        ({"devices": 4, "slots": 2, "split": "odd"}, "'odd' is none of even, free"),
        ({"devices": 4, "slots": 2, "hierarchy": "rack"}, "'rack' is none of free, node"),
        ({"devices": 4, "slots": 2, "hierarchy": "node"}, "needs the devices of a node"),
        ({"devices": 4, "slots": 2, "hierarchy": "node", "node_size": 3, "groups": 2}, "not whole nodes"),
        ({"devices": 4, "slots": 2, "hierarchy": "node", "node_size": 2, "groups": 3}, "not 3 equal groups"),
        (
            {"devices": 4, "slots": 2, "hierarchy": "node", "node_size": 1, "groups": 2},
            "equally many on each",
        ),
        ({"devices": 4, "slots": 5, "hierarchy": "node", "node_size": 2, "groups": 2}, "experts on a node"),
        ({"devices": 4, "slots": 2, "weights": [1, 2]}, "2 weights for 1 loads"),
        ({"devices": 4, "slots": 2, "max_moves": 3}, "needs a current placement"),
        ({"devices": 4, "slots": 2, "current": []}, "0 layers, but the load has 1"),
        ({"devices": 4, "slots": 2, "current": [[[0]] * 3]}, "3 devices, not 4"),
        ({"devices": 4, "slots": 2, "current": [[[0]] * 4]}, "holds 1, not 2"),
        ({"devices": 4, "slots": 2, "current": [[[0, 99]] * 4]}, "unknown expert 99"),
    ],
)
def test_questions_that_do_not_fit(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        Question([[list(range(8))]], **arguments)


def test_loads_that_do_not_fit_each_other() -> None:
    with pytest.raises(SpecError, match="load 1: 1 layers, but the first load has 2"):
        placed([[[1, 2], [3, 4]], [[1, 2]]], 2, 1)
    with pytest.raises(SpecError, match="layer 1: 3 experts"):
        placed([[1, 2], [3, 4, 5]], 2, 1)
    with pytest.raises(SpecError, match="negative load"):
        placed([[1, -2]], 2, 1)


def test_bound_sees_the_hot_expert() -> None:
    assert counted_bound([100, 1, 1, 1], 7, 1) == Fraction(25 * 7, 103)
    assert counted_bound([0, 0], 2, 1) == 1


def test_two_slots_on_the_solvers_word_say_so() -> None:
    rows = profile_rows("lognormal", 1, 40, 1)
    certified = placed(rows, 24, 2, solver_bounds=False)
    trusting = placed(rows, 24, 2, time_limit_s=600)
    assert trusting.layers[0].gap <= certified.layers[0].gap
    assert trusting.max_over_mean <= certified.max_over_mean
    assert certified.layers[0].witness["kind"] == "pairing"
    assert trusting.layers[0].witness["kind"] == "solver"
    assert trusting.layers[0].witness["checked"]["kind"] == "pairing"
    check = check_placement([rows], trusting.certificate, trusting.to_json())
    assert check.accepted
    assert check.solver_trusted == (0,)
    less = json.loads(json.dumps(trusting.certificate))
    less["layers"][0]["bound"] = "1"
    assert "proved without it" in str(check_placement([rows], less, trusting.to_json()).reason)
    del less["layers"][0]["witness"]["checked"]
    assert "needs the witness" in str(check_placement([rows], less, trusting.to_json()).reason)
