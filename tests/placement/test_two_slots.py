from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.figures.placement_bounds.balance import bound_of
from optimizer.placement.counts import Ints, divisor_replicas, rounded
from optimizer.placement.pairing import GRID, cool_down, hottest
from optimizer.placement.pairing_program import Counted, PairingProgram, decide
from tests.placement.enumeration import placed

DEVICES = 40
NO_VALUES: Ints = np.zeros(0, dtype=np.int64)


def skewed(seed: int, experts: int = 64) -> list[int]:
    """Loads of which a few are many times the mean."""
    load: list[int] = (1000 * np.random.default_rng(seed).lognormal(0, 1, experts)).astype(np.int64).tolist()
    return load


def at(load: list[int], mean_loads: float) -> int:
    return int(mean_loads * sum(load) / DEVICES * GRID) // 2 * 2


@pytest.mark.parametrize("seed", range(5))
def test_rounding_keeps_the_total_and_stays_beside_the_fractions(seed: int) -> None:
    load = skewed(seed)
    program = PairingProgram(load, DEVICES, at(load, 1.3), NO_VALUES)
    outcome = program.solve(program.low, program.high)
    assert isinstance(outcome, Counted)
    mean = outcome.mean(len(load))
    counts = rounded(mean, 8, np.random.default_rng(seed))
    assert (counts.sum(axis=1) == 2 * DEVICES).all()
    assert (abs(counts - mean) < 1 + 1e-6).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from([1.02, 1.1, 1.3]))
def test_tabu_search_keeps_the_total_and_never_returns_something_hotter(seed: int, mean_loads: float) -> None:
    load = skewed(seed)
    weights = np.array(load, dtype=np.float64)
    start = divisor_replicas(weights[None], 2 * DEVICES, DEVICES)[0]
    found = cool_down(
        load, DEVICES, at(load, mean_loads), start, steps=40, rng=np.random.default_rng(seed), deadline=None
    )  # fmt: skip
    assert found.sum() == 2 * DEVICES
    assert found.min() >= 1
    assert found.max() <= DEVICES
    assert hottest(weights, found) <= hottest(weights, start)


def test_tabu_search_closes_half_of_what_greedy_counts_leave() -> None:
    left, after = 0.0, 0.0
    for seed in range(8):
        load = skewed(seed)
        weights = np.array(load, dtype=np.float64) * DEVICES / sum(load)
        start = divisor_replicas(weights[None], 2 * DEVICES, DEVICES)[0]
        low, high = at(load, 1.0), at(load, hottest(weights, start))
        while high - low > at(load, 1e-3):
            middle = (low + high) // 4 * 2
            refuted = decide(load, DEVICES, middle, programs=1, deadline=None).witness is not None
            low, high = (middle, high) if refuted else (low, middle)
        found = cool_down(load, DEVICES, low, start, steps=100, rng=np.random.default_rng(seed), deadline=None)
        bound = low / at(load, 1.0)
        left += hottest(weights, start) - bound
        after += hottest(weights, found) - bound
    assert after < left / 2


@pytest.mark.parametrize("seed", range(40))
def test_a_refutation_proves_what_the_checker_says(seed: int) -> None:
    load = skewed(seed, 52 + seed % 24)
    threshold = at(load, 1.0)
    asked = decide(load, DEVICES, threshold, programs=1, deadline=None)
    assert asked.witness is not None
    assert bound_of(load, DEVICES, 2, asked.witness) == Fraction(threshold * DEVICES, GRID * sum(load))


@pytest.mark.parametrize("scale", [1, 1 << 30, 1 << 45])
def test_loads_too_large_for_the_program_are_placed_all_the_same(scale: int) -> None:
    load = [weight * scale for weight in skewed(3)]
    result = placed([load], DEVICES, 2, solver_bounds=False)
    start = divisor_replicas(np.array([load], dtype=np.float64), 2 * DEVICES, DEVICES)[0]
    mean = sum(load) / DEVICES
    assert float(result.layers[0].max_over_mean) < hottest(np.array(load, dtype=np.float64), start) / mean


@pytest.mark.parametrize("load", [[0, 0, 1], [1, 0, 0], [1, 1, 1], [2, 1, 0]])
def test_loads_of_a_token_or_two_end(load: list[int]) -> None:
    result = placed([load], 2, 2)
    assert result.proved
