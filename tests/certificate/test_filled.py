"""Stages filled by the checker against every way to cut."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest

from optimizer.certificate.decision import _filled, _Stages


@pytest.mark.parametrize("seed", range(20))
def test_stages_are_filled_wherever_some_cuts_keep_all_limits(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - test data
    for _ in range(40):
        layers, stages, kinds = rng.randint(1, 8), rng.randint(1, 4), rng.randint(1, 3)
        order = [rng.randrange(kinds) for _ in range(layers)]
        counts = [order.count(kind) for kind in range(kinds)]
        limits = [
            (
                _Stages([rng.randint(0, 9) for _ in range(kinds)], order, counts, rng.randint(0, 6), rng.randint(0, 6),
                        rng.randint(0, 3)),
                rng.randint(4, 40),
            )
            for _ in range(rng.randint(1, 3))
        ]  # fmt: skip
        some = any(
            all(
                costs.cost(start, stop) <= most
                for costs, most in limits
                for start, stop in zip((0, *ends), (*ends, layers), strict=True)
            )
            for ends in combinations(range(1, layers), stages - 1)
        )
        cuts = _filled(limits, stages)
        assert (cuts is not None) == some
        if cuts is not None:
            assert len(cuts) == stages
            assert sum(cuts) == layers
        for costs, _ in limits:
            # no cuts of so many stages have a dearest that is cheaper
            assert all(
                max(costs.cost(start, stop) for start, stop in zip((0, *ends), (*ends, layers), strict=True))
                >= costs.dearest(stages)
                for ends in combinations(range(1, layers), stages - 1)
            )
