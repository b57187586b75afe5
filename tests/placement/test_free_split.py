"""Freely split loads: the placement is searched for them, and bounds hold however loads are split."""

import json
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.certificate.placement import check_placement
from optimizer.figures.placement import split_device_loads
from optimizer.placement import PlacementResult
from optimizer.placement.free_split import free_shares
from tests.placement.enumeration import Placement, placed, placements

SMALL = Fraction(1, 10**6)


def value(row: list[int], held: Placement) -> Fraction:
    return max(split_device_loads(row, held, free_shares(row, held))) * len(held) / sum(row)


def accepted(result: PlacementResult, row: list[int]) -> bool:
    check = check_placement([[row]], result.certificate, json.loads(json.dumps(result.to_json())))
    assert check.reason is None
    return check.accepted


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([(4, 2, 3), (4, 3, 2), (3, 3, 2)]), st.data())
def test_bound_and_placement_against_enumeration(mesh: tuple[int, int, int], data: st.DataObject) -> None:
    experts, devices, slots = mesh
    row = data.draw(st.lists(st.integers(1, 40), min_size=experts, max_size=experts))
    result = placed([row], devices, slots, split="free", tolerance=SMALL)
    optimum = min(value(row, held) for held in placements(experts, devices, slots))
    assert result.bound <= optimum + SMALL
    assert optimum - SMALL <= result.max_over_mean <= optimum * Fraction(21, 20)
    assert accepted(result, row)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("row", [[1, 1, 5, 7], [8, 10, 1, 2], [2, 1, 9, 12], [6, 37, 3, 26], [7, 7, 1, 32]])
def test_an_exchange_between_two_of_the_hottest_devices_is_found(row: list[int], seed: int) -> None:
    result = placed([row], 3, 2, split="free", tolerance=SMALL, seed=seed)
    assert result.max_over_mean <= min(value(row, held) for held in placements(4, 3, 2)) + SMALL


def test_a_hot_expert_bounds_the_free_split_too() -> None:
    row = [90, 10, 10, 10]
    result = placed([row], 6, 1, split="free")
    assert result.layers[0].witness["kind"] == "count"
    assert result.bound == Fraction(30 * 6, 120)
    assert result.max_over_mean - result.bound < SMALL
    assert accepted(result, row)


def test_exchanges_help_where_the_even_placement_was_not_made_for_the_split() -> None:
    # Evenly split, either placement of the light experts is as good; freely, the hot copies want different neighbours.
    row = [60, 50, 9, 8, 7, 6]
    even = placed([row], 4, 2, tolerance=SMALL)
    free = placed([row], 4, 2, split="free", tolerance=SMALL)
    assert free.max_over_mean <= value(row, even.layers[0].devices)
    optimum = min(value(row, held) for held in placements(6, 4, 2))
    assert free.max_over_mean - optimum <= SMALL
