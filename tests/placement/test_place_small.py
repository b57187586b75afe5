import json
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.certificate.placement import check_placement
from optimizer.figures.placement_bounds.balance import bound_of
from optimizer.placement import PlacementResult, Question
from optimizer.placement.bounds import _envelope, _mixed
from optimizer.placement.bounds import counted_bound as layer_bound
from optimizer.placement.counts import divisor_replicas
from optimizer.placement.layer_model import rule
from optimizer.placement.pairing import GRID, hottest
from optimizer.placement.pairing_program import decide
from optimizer.placement.price_bound import price
from tests.placement.enumeration import best, counted_bound, placed, placements

SIZES = [(3, 2, 2), (4, 2, 2), (4, 2, 3), (5, 2, 3), (4, 3, 2), (5, 3, 2), (3, 4, 1), (4, 3, 3)]
NONE = Fraction(0)

Case = tuple[list[int], int, int]


@st.composite
def small(draw: st.DrawFn, sizes: Sequence[tuple[int, int, int]] = SIZES) -> Case:
    experts, devices, slots = draw(st.sampled_from(sizes))
    row = st.lists(st.integers(0, 60), min_size=experts, max_size=experts)
    return draw(row), devices, slots


def accepted(result: PlacementResult, loads: Sequence[Sequence[Sequence[int]]]) -> bool:
    check = check_placement(loads, result.certificate, json.loads(json.dumps(result.to_json())))
    assert check.reason is None
    return check.accepted


@settings(max_examples=40, deadline=None)
@given(small())
def test_placement_equals_enumeration(case: Case) -> None:
    row, devices, slots = case
    result = placed([row], devices, slots, tolerance=NONE)
    optimum = best([row], devices, slots)
    assert result.max_over_mean == optimum
    assert result.bound == optimum
    assert result.proved
    assert accepted(result, [[row]])


@settings(max_examples=60, deadline=None)
@given(small())
def test_quick_bound_is_below_the_optimum(case: Case) -> None:
    row, devices, slots = case
    optimum = best([row], devices, slots)
    assert optimum is not None
    assert 1 <= counted_bound(row, devices, slots) <= optimum


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=4, max_size=4), st.sampled_from([1, 2]))
def test_hierarchical_placement_equals_enumeration(row: list[int], slots: int) -> None:
    result = placed([row], 4, slots, node_size=2, groups=2, hierarchy="node", tolerance=NONE)
    assert result.max_over_mean == best([row], 4, slots, node_size=2, groups=2)
    assert result.proved
    assert accepted(result, [[row]])


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 40), min_size=4, max_size=4), min_size=2, max_size=2),
    st.sampled_from([(2, 3), (3, 2)]),
    st.sampled_from(["worst", "mean"]),
)
def test_robust_placement_equals_enumeration(
    rows: list[list[int]], mesh: tuple[int, int], robust: Literal["worst", "mean"]
) -> None:
    result = placed([[row] for row in rows], *mesh, robust=robust, weights=[2, 1], tolerance=NONE)
    optimum = best(rows, *mesh, robust=robust, weights=[Fraction(2, 3), Fraction(1, 3)])
    assert optimum is not None
    if all(map(sum, rows)):
        assert result.max_over_mean == optimum
    assert result.bound <= optimum <= result.max_over_mean
    assert accepted(result, [[row] for row in rows])


@settings(max_examples=15, deadline=None)
@given(st.data(), st.integers(0, 3))
def test_few_moves_equal_enumeration(data: st.DataObject, budget: int) -> None:
    row = data.draw(st.lists(st.integers(1, 40), min_size=4, max_size=4))
    current = data.draw(st.sampled_from(list(placements(4, 3, 2))))
    result = placed([row], 3, 2, current=[current], max_moves=budget, tolerance=NONE)
    assert result.max_over_mean == best([row], 3, 2, current=current, max_moves=budget)
    assert result.layers[0].moves is not None
    assert result.layers[0].moves <= budget


def near_the_optimum(case: Case, above: int) -> tuple[Fraction, int]:
    """Load of the coolest placement's hottest device, and a threshold so many thousandths above it."""
    row, devices, slots = case
    optimum = best([row], devices, slots)
    assert optimum is not None
    coolest = optimum * Fraction(sum(row), devices)
    return coolest, int(coolest * GRID * (1 + Fraction(above, 1000))) // 2 * 2


LOADED = small([(5, 3, 2), (4, 4, 2), (6, 4, 2)]).filter(lambda case: sum(case[0]) > 0)


@settings(max_examples=25)
@given(LOADED, st.integers(-300, 300))
def test_cases_decide_every_threshold_of_two_slots(case: Case, above: int) -> None:
    row, devices, slots = case
    coolest, threshold = near_the_optimum(case, above)
    decided = decide(row, devices, threshold, programs=400, deadline=None)
    assert (decided.witness is None) != (decided.counts is None)
    if decided.counts is not None:
        assert hottest(np.array(row, dtype=float), decided.counts) * GRID <= threshold + 1e-6
    if Fraction(threshold, GRID) < coolest:
        # The two middle copies may be of one expert, which costs more than folding says.
        if decided.counts is not None:
            assert max(decided.counts) > 1
            return
        assert decided.witness is not None
        assert bound_of(row, devices, slots, decided.witness) * sum(row) == Fraction(threshold, GRID) * devices
    else:
        assert decided.witness is None
        assert decided.counts is not None


@settings(max_examples=25, deadline=None)
@given(LOADED, st.integers(-300, 300))
def test_the_solver_rules_on_thresholds_of_two_slots(case: Case, above: int) -> None:
    row, devices, slots = case
    coolest, threshold = near_the_optimum(case, above)
    start = divisor_replicas(np.array([row], dtype=float), devices * slots, devices)[0]
    ruled = rule(row, devices, threshold, start, work=10.0, seed=0, deadline=None)
    assert ruled.refused == (ruled.counts is None)
    if ruled.refused:
        assert Fraction(threshold, GRID) < coolest
    elif ruled.counts is not None and Fraction(threshold, GRID) < coolest:
        # The two middle copies may be of one expert, which costs more than folding says.
        assert max(ruled.counts) > 1
    else:
        assert ruled.counts is not None
        assert hottest(np.array(row, dtype=float), ruled.counts) * GRID <= threshold + 1e-6


@settings(max_examples=25)
@given(small([(5, 2, 4), (4, 3, 3)]), st.integers(0, 400))
def test_prices_never_refute_the_optimum(case: Case, above: int) -> None:
    row, devices, slots = case
    optimum = best([row], devices, slots)
    assert optimum is not None
    if not sum(row):
        return
    row = [1000 * tokens for tokens in row]
    mean = Fraction(sum(row), devices)
    high = optimum * mean * (1 + Fraction(above, 1000))
    witness = price(row, devices, slots, mean, high, tolerance=0.05, deadline=None).witness
    if witness is not None:
        assert bound_of(row, devices, slots, witness) < optimum


ROWS = st.lists(st.lists(st.integers(0, 40), min_size=5, max_size=5), min_size=2, max_size=3)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.sampled_from([(3, 2), (5, 1), (2, 3)]), st.sampled_from(["worst", "mean"]))
def test_bounds_over_workloads_are_below_the_optimum(
    rows: list[list[int]], mesh: tuple[int, int], robust: Literal["worst", "mean"]
) -> None:
    weights = [Fraction(1, len(rows))] * len(rows)
    optimum = best(rows, *mesh, robust=robust, weights=weights)
    assert optimum is not None
    question = Question([[row] for row in rows], *mesh, robust=robust, weights=weights)
    found = [*_mixed(question, 0), *_envelope(question, 0)]
    assert found or not all(map(sum, rows))
    assert all(1 <= bound <= optimum for bound, _ in found)
    assert max([bound for bound, _ in found], default=1) <= layer_bound(question, 0)[0] <= optimum


def test_one_count_of_copies_must_serve_all_workloads() -> None:
    # Either workload alone is balanced by three copies of its hot expert; seven slots do not hold both.
    loads = [[[90, 1, 1, 1, 1]], [[1, 90, 1, 1, 1]]]
    result = placed(loads, 7, 1)
    assert result.layers[0].witness["kind"] == "envelope"
    assert result.bound == result.max_over_mean == Fraction(45 * 7, 94)
    assert accepted(result, loads)


def test_a_mix_of_workloads_can_be_worse_than_each() -> None:
    # Experts 0 and 1 meet in the mix on whichever device; alone, each workload is even.
    loads = [[[4, 0, 4, 0]], [[0, 4, 4, 0]]]
    result = placed(loads, 2, 2, robust="mean")
    assert accepted(result, loads)
    assert result.bound <= best([load[0] for load in loads], 2, 2, robust="mean")
