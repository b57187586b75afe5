"""Slots that do not divide over the devices, against all placements of tiny layers."""

import itertools
import json
from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.certificate.placement import check_placement
from optimizer.errors import SpecError
from optimizer.figures.placement import linear_placement, max_over_mean, violations
from optimizer.placement import PlacementResult
from optimizer.readers.load_profiles import profile_rows
from tests.placement.enumeration import Placement, placed

NONE = Fraction(0)


def place_unevenly(loads: list[list[list[int]]], devices: int, slots: int, **asked: Fraction) -> PlacementResult:
    return placed(loads, devices, -(-slots // devices), empty_slots=-slots % devices, **asked)


def every(experts: int, slots: list[int]) -> Iterator[Placement]:
    for held in itertools.product(*(itertools.combinations(range(experts), room) for room in slots)):
        if len({expert for device in held for expert in device}) == experts:
            yield held


def accepted(result: PlacementResult, rows: list[list[int]]) -> bool:
    check = check_placement([[row] for row in rows], result.certificate, json.loads(json.dumps(result.to_json())))
    assert check.reason is None
    return check.accepted


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([(3, 3, 4), (4, 3, 5), (4, 3, 7), (5, 4, 6), (5, 2, 7), (5, 3, 5)]), st.data())
def test_uneven_slots_equal_enumeration(mesh: tuple[int, int, int], data: st.DataObject) -> None:
    experts, devices, slots = mesh
    row = data.draw(st.lists(st.integers(0, 40), min_size=experts, max_size=experts))
    result = place_unevenly([[row]], devices, slots, tolerance=NONE)
    room = [slots // devices + (device < slots % devices) for device in range(devices)]
    optimum = min(max_over_mean(row, held) for held in every(experts, room))
    assert [len(held) for held in result.layers[0].devices] == room
    assert result.max_over_mean == optimum
    assert result.bound <= optimum
    if sum(row):
        assert result.proved
    assert accepted(result, [row])


def test_two_workloads_on_uneven_slots() -> None:
    rows = [[9, 5, 4, 3, 2], [1, 2, 9, 4, 4]]
    result = place_unevenly([[row] for row in rows], 3, 7, tolerance=NONE)
    optimum = min(max(max_over_mean(row, held) for row in rows) for held in every(5, [3, 2, 2]))
    assert result.max_over_mean == optimum
    assert accepted(result, rows)


@pytest.mark.parametrize(("devices", "slots"), [(16, 149), (32, 140), (24, 85)])
def test_large_uneven_layers_are_nearly_as_good_as_even_ones(devices: int, slots: int) -> None:
    rows = profile_rows("zipf:0.8", 3, 64, 0)
    result = place_unevenly([rows], devices, slots)
    written = json.loads(json.dumps(result.to_json()))
    assert check_placement([rows], result.certificate, written).accepted
    fewer = placed(rows, devices, slots // devices)
    for layer, even in zip(result.layers, fewer.layers, strict=True):
        assert layer.max_over_mean <= even.max_over_mean + Fraction(1, 1000)
    written["layers"][0]["devices"].reverse()
    assert "fills" in str(check_placement([rows], result.certificate, written).reason)


def test_fewer_slots_than_devices_are_refused() -> None:
    with pytest.raises(SpecError, match="4 redundant would"):
        place_unevenly([[[1, 2, 3]]], 7, 5)


def test_linear_placement_of_uneven_slots() -> None:
    held = linear_placement(5, 3, 3, empty_slots=2)
    assert held == [[0, 1, 2], [3, 4], [0, 1]]
    assert not violations(held, 5, 3, 3, empty_slots=2)
    assert violations(held, 5, 3, 3) == [f"(placement) device {n} fills 2 of 3 slots" for n in (1, 2)]
