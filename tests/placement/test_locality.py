"""Nodes visited as the second objective: against all placements of tiny layers, and at a real layer's size."""

import copy
import json
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.certificate.placement import check_placement
from optimizer.figures.locality import TokenGroup, nodes_visited
from optimizer.figures.placement import max_over_mean, moves
from optimizer.figures.placement_bounds.locality import best_partners, partners_bound, shared_on
from optimizer.placement import Nearness, PlacementResult
from optimizer.placement.exchange import Groups
from tests.placement.enumeration import placed, placements

NONE = Fraction(0)
MESHES = [(4, 4, 1, 2), (4, 4, 2, 2), (5, 3, 2, 2), (4, 3, 2, 1), (6, 4, 2, 2)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[int], list[TokenGroup], tuple[int, int, int, int]]:
    mesh = draw(st.sampled_from(MESHES))
    experts = mesh[0]
    row = draw(st.lists(st.integers(0, 12), min_size=experts, max_size=experts))
    chosen = st.sets(st.integers(0, experts - 1), min_size=1, max_size=3).map(sorted)
    groups = draw(st.lists(st.tuples(st.integers(1, 5), chosen), min_size=1, max_size=6))
    return row, [(count, *own) for count, own in groups], mesh


def accepted(result: PlacementResult, row: Sequence[int], groups: Sequence[TokenGroup]) -> bool:
    check = check_placement([[row]], result.certificate, json.loads(json.dumps(result.to_json())), [groups])
    assert check.reason is None
    return check.accepted


@settings(max_examples=30, deadline=None)
@given(cases(), st.sampled_from([NONE, Fraction(1, 10), Fraction(1)]))
def test_fewest_nodes_within_the_allowance_equal_enumeration(
    case: tuple[list[int], list[TokenGroup], tuple[int, int, int, int]], allowance: Fraction
) -> None:
    row, groups, (experts, devices, slots, node_size) = case
    near = Nearness("tokens", node_size, [groups], allowance)
    result = placed([row], devices, slots, tolerance=NONE, nearness=near)
    layer = result.layers[0]
    every = [(max_over_mean(row, held), held) for held in placements(experts, devices, slots)]
    best = min(value for value, _ in every)
    fewest = min(nodes_visited(groups, held, experts, node_size) for value, held in every if value <= best + allowance)
    assert layer.max_over_mean <= best + allowance
    assert layer.visits is not None
    assert layer.visits.nodes == nodes_visited(groups, layer.devices, experts, node_size)
    assert layer.visits.bound == layer.visits.nodes == fewest
    assert accepted(result, row, groups)


@settings(max_examples=40, deadline=None)
@given(cases(), st.fractions(0, 2))
def test_partners_bound_is_below_every_placement(
    case: tuple[list[int], list[TokenGroup], tuple[int, int, int, int]], price: Fraction
) -> None:
    _, groups, (experts, devices, slots, node_size) = case
    fewest = min(
        nodes_visited(groups, held, experts, node_size) for held in placements(experts, devices, slots)
    )  # fmt: skip
    assert partners_bound(groups, experts, devices, slots, node_size, price) <= fewest
    assert best_partners(groups, experts, devices, slots, node_size)[0] <= fewest


def test_partners_bound_is_reached_where_cliques_fill_nodes() -> None:
    groups = [(5, 0, 1), (5, 1, 2), (5, 0, 2), (7, 3, 4), (7, 4, 5), (7, 3, 5), (1, 0, 3)]
    bound, witness = best_partners(groups, 6, 6, 1, 3)
    assert bound == nodes_visited(groups, [[0], [1], [2], [3], [4], [5]], 6, 3) == 36 + 2
    assert witness == {"kind": "partners", "price": "1"}


@pytest.mark.parametrize(("size", "nodes", "pairs"), [(8, 1, 28), (8, 2, 12), (8, 3, 7), (8, 8, 0), (2, 1, 1)])
def test_pairs_shared_are_fewest_in_even_parts(size: int, nodes: int, pairs: int) -> None:
    assert shared_on(size, nodes) == pairs


def topics(experts: int, tokens: int, seed: int) -> tuple[list[int], list[TokenGroup]]:
    """Tokens that choose four experts, mostly of one of eight topics."""
    rng = np.random.default_rng(seed)
    own = rng.permutation(experts).reshape(8, -1)
    seen: Counter[tuple[int, ...]] = Counter()
    for _ in range(tokens):
        odds = np.ones(experts)
        odds[own[rng.integers(8)]] = 12.0
        seen[tuple(sorted(rng.choice(experts, 4, replace=False, p=odds / odds.sum()).tolist()))] += 1
    row = [1000 + int(rng.integers(500)) for _ in range(experts)]
    return row, [(count, *chosen) for chosen, count in sorted(seen.items())]


@pytest.mark.parametrize(("devices", "slots"), [(8, 9), (16, 5)])
def test_a_layer_with_topics_visits_fewer_nodes_at_the_same_balance(devices: int, slots: int) -> None:
    row, groups = topics(64, 600, 1)
    plain = placed([row], devices, slots)
    result = placed([row], devices, slots, nearness=Nearness("tokens", 4, [groups], Fraction(1, 100)))
    before = nodes_visited(groups, plain.layers[0].devices, 64, 4)
    visits = result.layers[0].visits
    assert visits is not None
    assert result.max_over_mean <= max(plain.max_over_mean, plain.bound + Fraction(1, 100))
    assert visits.bound <= visits.nodes < 0.9 * before
    assert accepted(result, row, groups)


def test_several_workloads_and_a_budget_of_moves_are_kept() -> None:
    row, groups = topics(32, 300, 2)
    other = row[::-1]
    near = Nearness("tokens", 4, [groups], Fraction(1, 20))
    plain = placed([[row], [other]], 8, 5)
    result = placed([[row], [other]], 8, 5, nearness=near)
    assert result.max_over_mean <= max(plain.max_over_mean, plain.bound + Fraction(1, 20))
    assert result.layers[0].visits is not None
    assert result.layers[0].visits.nodes < nodes_visited(groups, plain.layers[0].devices, 32, 4)
    current = plain.devices[0]
    free = placed([other], 8, 5, nearness=near, current=[current]).layers[0]
    assert free.moves == moves(current, free.devices)
    assert free.visits is not None
    assert free.visits.nodes == nodes_visited(groups, free.devices, 32, 4)
    moved = placed([row], 8, 5, nearness=near, current=[current], max_moves=6)
    assert moves(current, moved.devices[0]) <= 6
    assert moved.layers[0].visits is not None
    assert moved.layers[0].visits.nodes <= nodes_visited(groups, current, 32, 4)


def test_what_is_claimed_of_nodes_visited_is_checked() -> None:
    row, groups = topics(32, 200, 3)
    result = placed([row], 8, 5, nearness=Nearness("tokens", 4, [groups], Fraction(1, 100)))
    certificate, placement = result.certificate, json.loads(json.dumps(result.to_json()))

    def reason(change: dict[str, object], groups: Sequence[TokenGroup] | None = groups) -> str:
        claimed = copy.deepcopy(certificate)
        claimed["layers"][0]["visits"] |= change
        check = check_placement([[row]], claimed, placement, None if groups is None else [groups])
        assert not check.accepted
        return str(check.reason)

    visits = certificate["layers"][0]["visits"]
    assert "nodes are visited, not" in reason({"nodes": visits["nodes"] - 1})
    assert "other nodes visited" in reason({"bound": visits["bound"] - 1})
    assert "proves" in reason({"witness": {"kind": "partners", "price": "0"}})
    assert "unknown kind" in reason({"witness": {"kind": "hope"}})
    assert "without co-activation" in reason({}, None)


@settings(max_examples=30, deadline=None)
@given(cases())
def test_the_search_never_counts_too_few(case: tuple[list[int], list[TokenGroup], tuple[int, int, int, int]]) -> None:
    _, groups, (experts, devices, slots, node_size) = case
    several = [group for group in groups if len(group) > 2]
    found = Groups.of(groups, experts)
    for held in list(placements(experts, devices, slots))[::37]:
        on = np.zeros((experts, -(-devices // node_size)), dtype=bool)
        for device, own in enumerate(held):
            on[list(own), device // node_size] = True
        assert found.total(on) >= nodes_visited(several, held, experts, node_size)
