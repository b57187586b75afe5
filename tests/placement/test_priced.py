from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]  # ortools ships no types for it

from optimizer.figures.placement import max_over_mean
from optimizer.figures.placement_bounds.balance import bound_of
from optimizer.placement import price_bound
from optimizer.placement.counts import Ints, divisor_replicas
from optimizer.placement.descent import deal
from optimizer.placement.linear_program import solved
from optimizer.placement.price_bound import price, price_and_place

TOLERANCE = 3e-4


def greedy(load: list[int], devices: int, slots: int) -> Ints:
    weights = np.array([load], dtype=np.float64)
    return deal(weights, divisor_replicas(weights, devices * slots, devices), devices)[0]


def hot(seed: int) -> list[int]:
    """48 experts of which a few are hotter than a device of 20 should be."""
    load: list[int] = (10_000 * np.random.default_rng(seed).lognormal(0, 1.2, 48)).astype(np.int64).tolist()
    return load


@pytest.mark.parametrize("seed", range(6))
def test_the_cheapest_copies_place_hot_layers_cooler(seed: int) -> None:
    load, devices, slots = hot(seed), 20, 3
    held = greedy(load, devices, slots)
    before = max_over_mean(load, held.tolist())
    witness, placed = price_and_place(load, held, Fraction(1), tolerance=TOLERANCE, seed=0, deadline=None)
    after = max_over_mean(load, placed.tolist())
    bound = Fraction(1) if witness is None else bound_of(load, devices, slots, witness)
    assert bound <= after < before
    assert sorted(set(placed.ravel().tolist())) == list(range(48))
    assert all(len(set(device)) == slots for device in placed.tolist())


@pytest.mark.parametrize("seed", range(6))
def test_counts_add_up_and_lie_between_bound_and_best(seed: int) -> None:
    load, devices, slots = hot(seed), 20, 3
    mean = Fraction(sum(load), devices)
    high = max_over_mean(load, greedy(load, devices, slots).tolist()) * mean
    priced = price(load, devices, slots, mean, high, TOLERANCE, None)
    assert priced.counts is not None
    assert priced.counts.sum() == pytest.approx(devices * slots)
    assert priced.counts.min() >= 1 - 1e-6


@given(st.lists(st.integers(0, 9), min_size=5, max_size=5).filter(any), st.integers(0, 9))
def test_what_is_given_is_never_made_hotter(load: list[int], seed: int) -> None:
    held = greedy(load, 3, 3)
    _, placed = price_and_place(load, held, Fraction(1), tolerance=TOLERANCE, seed=seed, deadline=None)
    assert max_over_mean(load, placed.tolist()) <= max_over_mean(load, held.tolist())
    assert np.bincount(placed.ravel(), minlength=5).min() >= 1


@pytest.mark.parametrize(("experts", "devices", "sigma", "seed"), [(48, 20, 0.9, 14), (96, 40, 0.9, 15)])
def test_where_the_dual_simplex_method_breaks_down_the_primal_goes_on(
    experts: int, devices: int, sigma: float, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[bool] = []

    def recorded(program: pywraplp.Solver) -> bool:
        outcomes.append(solved(program))
        return outcomes[-1]

    monkeypatch.setattr(price_bound, "solved", recorded)
    load = (2000 * np.random.default_rng(seed).lognormal(0, sigma, experts)).astype(np.int64).tolist()
    mean = Fraction(sum(load), devices)
    high = max_over_mean(load, greedy(load, devices, 3).tolist()) * mean
    assert price(load, devices, 3, mean, high, TOLERANCE, None).counts is not None
    assert outcomes
    assert all(outcomes)
