"""The cuts of many pipelines at once against the exact ones of each."""

from __future__ import annotations

import numpy as np
import pytest

from optimizer.figures.partition import Track, best_cuts
from optimizer.search.bottleneck import bottleneck


@pytest.mark.parametrize("seed", range(20))
def test_the_costliest_stage_is_that_of_the_best_cuts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers, kinds, count = int(rng.integers(1, 30)), int(rng.integers(1, 4)), 40
    order = rng.integers(0, kinds, layers)
    costs = rng.integers(0, 1000, (kinds, count))
    last, first = rng.integers(0, 3000, count), rng.integers(0, 3000, count)
    pp = rng.integers(1, layers + 1, count)
    found = bottleneck(order.tolist(), costs.astype(float), last.astype(float), first.astype(float), pp)
    for own in range(count):
        prefix = [0, *np.cumsum(costs[order, own]).tolist()]
        exact = best_cuts([Track(prefix, int(first[own]), int(last[own]), 0, None)], int(pp[own]))
        assert exact is not None
        # raised so often, no bound of so few layers is left short of them
        assert found[own] == pytest.approx(max(exact[1], 1e-9), rel=1e-9, abs=1)


def test_a_bound_that_is_not_raised_to_the_end_stays_below() -> None:
    rng = np.random.default_rng(7)
    costs = rng.integers(1, 10**6, (300, 5)).astype(float)
    pp = np.array([7, 30, 100, 149, 299])
    found = bottleneck(range(300), costs, np.zeros(5), np.zeros(5), pp)
    for own in range(5):
        prefix = [0, *np.cumsum(costs[:, own]).astype(int).tolist()]
        exact = best_cuts([Track(prefix, 0, 0, 0, None)], int(pp[own]))
        assert exact is not None
        assert max(prefix[-1] / pp[own], np.max(costs[:, own])) <= found[own] <= exact[1] * (1 + 1e-9)
