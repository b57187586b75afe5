"""Few moves: budgets with and without nodes, their bounds, and fewest moves as the last objective; by enumeration."""

import itertools
import json
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from optimizer.certificate.placement import check_placement
from optimizer.errors import SpecError
from optimizer.figures.placement import max_over_mean, moves, violations
from optimizer.figures.placement_bounds.budget import (
    budget_bound,
    layings_within,
    node_moves,
    relief_bound,
    relieves_too_few,
)
from optimizer.placement import PlacementResult
from optimizer.placement.bounds import relief, relieved
from optimizer.placement.moves import align_on_nodes
from optimizer.readers.load_profiles import profile_rows
from tests.placement.enumeration import Placement, best, placed, placements

NONE = Fraction(0)


def accepted(result: PlacementResult, rows: Sequence[Sequence[int]], current: Placement) -> bool:
    written = json.loads(json.dumps(result.to_json()))
    check = check_placement([[row] for row in rows], result.certificate, written, None, [current])
    assert check.reason is None
    return check.accepted


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([(4, 3, 2), (5, 3, 2), (4, 2, 3), (4, 4, 2)]), st.data(), st.integers(0, 4))
def test_bounds_within_a_budget_are_below_every_placement(
    mesh: tuple[int, int, int], data: st.DataObject, budget: int
) -> None:
    experts, devices, slots = mesh
    row = data.draw(st.lists(st.integers(0, 40), min_size=experts, max_size=experts))
    # In service there may be experts twice on a device, and experts missing.
    held = st.lists(st.integers(0, experts - 1), min_size=slots, max_size=slots)
    current = data.draw(st.lists(held, min_size=devices, max_size=devices))
    optimum = best([row], devices, slots, current=tuple(map(tuple, current)), max_moves=budget)
    assume(optimum is not None and sum(row) > 0)
    assert optimum is not None
    for witness in (relief(row, current, budget), *relieved(row, current, budget)):
        bound = budget_bound(row, current, slots, budget, witness, None, None)
        assert bound * devices / sum(row) <= optimum
    every = [relief(row, current, budget) | {"devices": list(some)} for n in range(1, devices + 1)
             for some in itertools.combinations(range(devices), n)]  # fmt: skip
    for witness in every:
        assert budget_bound(row, current, slots, budget, witness, None, None) * devices / sum(row) <= optimum


def test_one_copy_elsewhere_relieves_two_devices() -> None:
    # Expert 0, twice in service, is thinned out to a third by a copy on device 2.
    row, current = [12, 0, 0], [[0, 1], [0, 2], [1, 2]]
    assert best([row], 3, 2, current=tuple(map(tuple, current)), max_moves=1) == 1
    assert relief_bound(row, current, 0, [0, 1]) == 6
    assert relief_bound([60, 40, 40, 0], [[0, 1], [0, 2], [3]], 1, [0, 1]) == Fraction(140 - 40, 2)
    # However thin further copies make an expert, that relieves no more than as many of its copies taken off.
    wide = [[0, 1], [0, 2], [0, 3], [0, 4], [5, 6]]
    assert relief_bound([100, 0, 0, 0, 0, 0, 0], wide, 2, [0, 1, 2, 3]) == Fraction(50, 4)


def test_a_move_can_relieve_two_devices_at_once() -> None:
    # Device 1 gives up one of eleven copies of expert 5 and thins out expert 0 of device 0: 10.5 and 10.5 become 8.8.
    row = [105, 0, 25, 0, 0, 880]
    current = [[0, 1], [5, 2], *[[5, 3 + n % 2] for n in range(10)]]
    after = [[0, 1], [0, 2], *current[2:]]
    tokens = max_over_mean(row, after) * sum(row) / 12
    assert max_over_mean(row, current) * sum(row) / 12 == 105 > tokens
    assert not relieves_too_few(row, current, 1, Fraction(105), [0, 1])
    assert relieves_too_few(row, current, 0, Fraction(105), [0, 1])


def test_without_moves_the_bound_is_the_balance_in_service() -> None:
    row, current = [9, 5, 4, 3, 2, 1], [[0, 1], [2, 3], [4, 5]]
    result = placed([row], 3, 2, current=[current], max_moves=0)
    assert result.max_over_mean == result.bound == Fraction(14 * 3, 24)
    assert result.layers[0].witness["kind"] in {"relief", "relieved"}
    assert accepted(result, [row], current)
    one = placed([row], 3, 2, current=[current], max_moves=1)
    assert 1 <= one.bound <= one.max_over_mean


def test_a_large_layer_within_few_moves_is_bounded_by_more_than_its_mean() -> None:
    before, after = profile_rows("zipf:0.8", 2, 64, 0), profile_rows("zipf:0.8", 2, 64, 1)
    current = placed(before, 16, 5).devices
    bounds = []
    for budget in (0, 1, 2, 4):
        result = placed(after, 16, 5, current=current, max_moves=budget)
        written = json.loads(json.dumps(result.to_json()))
        assert check_placement([after], result.certificate, written, None, current).accepted
        assert not check_placement([after], result.certificate, written).accepted
        bounds.append(result.layers[0].bound)
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[0] > bounds[1] > 1
    free = placed(after, 16, 5).layers[0].bound
    assert bounds[1] > free


@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(0, 6), st.sampled_from([1, 2]))
def test_a_budget_on_nodes_equals_enumeration(data: st.DataObject, budget: int, slots: int) -> None:
    row = data.draw(st.lists(st.integers(1, 40), min_size=4, max_size=4))
    held = st.lists(st.integers(0, 3), min_size=slots, max_size=slots)
    current = tuple(map(tuple, data.draw(st.lists(held, min_size=4, max_size=4))))
    optimum = best([row], 4, slots, node_size=2, groups=2, current=current, max_moves=budget)
    least = min(
        moves(current, placed) for placed in placements(4, 4, slots)
        if not violations(placed, 4, 4, slots, node_size=2, groups=2)
    )  # fmt: skip
    if optimum is None:
        with pytest.raises(SpecError, match=f"{least} would"):
            placed([row], 4, slots, node_size=2, groups=2, hierarchy="node", current=[current], max_moves=budget)
        return
    result = placed(
        [row], 4, slots, node_size=2, groups=2, hierarchy="node", current=[current], max_moves=budget, tolerance=NONE
    )
    assert moves(current, result.devices[0]) <= budget
    assert result.bound <= optimum
    assert result.max_over_mean == optimum
    assert accepted(result, [row], current)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_layings_weigh_moves_exactly(data: st.DataObject) -> None:
    held = st.lists(st.integers(0, 3), min_size=2, max_size=2)
    current = data.draw(st.lists(held, min_size=4, max_size=4))
    valid = [p for p in placements(4, 4, 2) if not violations(p, 4, 4, 2, node_size=2, groups=2)]
    least = min(moves(current, placed) for placed in valid)
    found = layings_within([5, 4, 3, 2], current, 2, 2, 2, None)
    assert found[0][0] == least
    for node in range(2):
        own = current[2 * node : 2 * node + 2]
        mine = [p[:2] for p in placements(2, 2, 2)]
        assert node_moves(own, [0, 1]) == min(moves(own, placed) for placed in mine)


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from(["free", "node"]))
def test_fewest_moves_at_the_best_balance_equal_enumeration(data: st.DataObject, hierarchy: str) -> None:
    row = data.draw(st.lists(st.integers(0, 12), min_size=4, max_size=4))
    current = data.draw(st.sampled_from(list(placements(4, 4, 2))[::7]))
    nodes = {"node_size": 2, "groups": 2} if hierarchy == "node" else {"node_size": None, "groups": None}
    result = placed([row], 4, 2, hierarchy=hierarchy, current=[current], tolerance=NONE, **nodes)  # type: ignore[arg-type]
    valid = [p for p in placements(4, 4, 2) if not violations(p, 4, 4, 2, **nodes)]
    optimum = min(max_over_mean(row, placed) for placed in valid)
    fewest = min(moves(current, placed) for placed in valid if max_over_mean(row, placed) == optimum)
    assert result.max_over_mean == optimum
    assert result.layers[0].moves == moves(current, result.devices[0]) == fewest


@settings(max_examples=40)
@given(st.data())
def test_renumbering_keeps_most_where_it_is(data: st.DataObject) -> None:
    held = st.sets(st.integers(0, 6), min_size=2, max_size=2).map(sorted)
    new, old = (np.array(data.draw(st.lists(held, min_size=4, max_size=4))) for _ in range(2))
    orders = [new[list(order)] for order in itertools.permutations(range(4))]
    aligned = align_on_nodes(new, old, 4).tolist()
    assert moves(old.tolist(), aligned) == min(moves(old.tolist(), order.tolist()) for order in orders)
    on_nodes = [
        np.concatenate([nodes[one][::a], nodes[1 - one][::b]])
        for nodes in [new.reshape(2, 2, 2)] for one in (0, 1) for a in (1, -1) for b in (1, -1)
    ]  # fmt: skip
    aligned = align_on_nodes(new, old, 2)
    assert moves(old.tolist(), aligned.tolist()) == min(moves(old.tolist(), o.tolist()) for o in on_nodes)


def test_a_stale_placement_is_balanced_with_a_fraction_of_its_slots_changed() -> None:
    before = profile_rows("zipf:0.8", 1, 128, 0)
    after = [[tokens + 40 * (n % 7) for n, tokens in enumerate(row)] for row in before]
    current = placed(before, 16, 9).devices
    result = placed(after, 16, 9, current=current)
    assert result.proved
    assert result.layers[0].moves is not None
    assert result.layers[0].moves < 16 * 9 * 0.4
    assert accepted(result, [after[0]], current[0])
