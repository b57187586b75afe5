import numpy as np
import pytest

from optimizer.placement.construct import deal
from optimizer.placement.replicas import divisor_replicas
from optimizer.placement.steps import LayerState, replace, replace_change, swap, swap_change


@pytest.fixture
def state() -> LayerState:
    rng = np.random.default_rng(3)
    weights = rng.random((2, 10))
    mix = weights.mean(axis=0)[None]
    return LayerState.of(weights, deal(mix, divisor_replicas(mix, 16, 4), 4)[0])


def weighted(state: LayerState, omega: np.ndarray) -> float:
    return float((omega * state.load**2).sum())


@pytest.mark.parametrize("kind", ["replace", "swap"])
def test_predicted_changes_come_true(state: LayerState, kind: str) -> None:
    omega = np.random.default_rng(4).random(state.load.shape)
    slots, change = replace_change(state, omega) if kind == "replace" else (np.arange(16), swap_change(state, omega))
    before, held = weighted(state, omega), state.held.copy()
    tried = 0
    for row, column in zip(*np.nonzero(np.isfinite(change)), strict=True):
        (replace if kind == "replace" else swap)(state, int(slots[row]), int(column))
        assert weighted(state, omega) - before == pytest.approx(change[row, column], abs=1e-9)
        assert all(len(set(device)) == 4 for device in state.held.tolist())
        state.held[:] = held
        state.refresh()
        tried += 1
    assert tried > 10
