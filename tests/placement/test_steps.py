"""Predicted changes of every potential come true, and the state keeps up with its steps."""

import numpy as np
import pytest

from optimizer.placement.counts import divisor_replicas
from optimizer.placement.descent import deal
from optimizer.placement.exchange import (
    ExchangeStep,
    Groups,
    LayerState,
    MovedExperts,
    Norm,
    Visiting,
    members,
)


@pytest.fixture
def state() -> LayerState:
    rng = np.random.default_rng(3)
    weights = rng.random((2, 10))
    mix = weights.mean(axis=0)[None]
    return LayerState.of(weights, deal(mix, divisor_replicas(mix, 16, 4), 4)[0])


def steps(state: LayerState, potential: Norm | MovedExperts) -> list[tuple[ExchangeStep, float]]:
    slots, allowed = state.replaceable()
    changes = potential.replacements(state, slots)
    found = [
        (ExchangeStep(0.0, int(slots[one]), two, swaps=False), changes[one, two])
        for one, two in zip(*np.nonzero(allowed), strict=True)
    ]
    changes = potential.swaps(state)
    return found + [
        (ExchangeStep(0.0, one, two, swaps=True), changes[one, two])
        for one, two in zip(*np.nonzero(state.swappable()), strict=True)
    ]


@pytest.mark.parametrize("pull", [1.0, np.array([[2.0], [0.5]])])
def test_predicted_changes_of_squares_come_true(state: LayerState, pull: float) -> None:
    check(state, Norm(2.0, pull))


def test_predicted_moves_come_true(state: LayerState) -> None:
    check(state, MovedExperts(members(np.roll(state.held, 1, axis=0), 10)))


def check(state: LayerState, potential: Norm | MovedExperts) -> None:
    before, held = potential.value(state), state.held.copy()
    tried = steps(state, potential)
    for step, change in tried:
        leaving = step.take(state)
        fresh = LayerState.of(state.weights, state.held)
        assert potential.value(state) - before == pytest.approx(change, abs=1e-9)
        assert state.load == pytest.approx(fresh.load)
        assert (state.on == fresh.on).all()
        assert (state.counts == fresh.counts).all()
        assert all(len(set(device)) == 4 for device in state.held.tolist())
        step.undo(state, leaving)
        assert (state.held == held).all()
    assert len({step.swaps for step, _ in tried}) == 2


def test_fewer_visits_are_predicted_where_a_copy_joins_its_group() -> None:
    state = LayerState.of(np.ones((1, 4)), np.array([[0], [1], [2], [3]]))
    visits = Visiting(Groups.of([(5, 0, 2)], 4), np.array([0, 0, 1, 1]))
    before, change = visits.value(state), visits.swaps(state)
    state.swap(1, 2)
    assert change[1, 2] == change[2, 1] == visits.value(state) - before == -5
    assert not change[0, 1]
