"""What must not make a fleet worse, and what must change nothing."""

from __future__ import annotations

from fractions import Fraction

import pytest

from optimizer.certificate.fleet import TOLERANCE
from optimizer.cluster import solve_cluster
from optimizer.domain.cluster import FLEET_MAXIMISED, Cluster
from tests.cluster.brute_force import random_cluster

SEEDS = [seed for seed in range(400, 440) if random_cluster(seed).survive is None]


def _better_or_equal(one: Cluster, other: Cluster) -> bool:
    """Whether the first cluster's best is no worse than the second's."""
    first, second = solve_cluster(one).value, solve_cluster(other).value
    if second is None:
        return True
    if first is None:
        return False
    sign = 1 if one.objective in FLEET_MAXIMISED else -1
    return sign * (first - second) >= -abs(second) * TOLERANCE


def _pools(cluster: Cluster, **changes) -> Cluster:
    pools = tuple(p.model_copy(update={k: change(p) for k, change in changes.items()}) for p in cluster.pools)
    return cluster.model_copy(update={"pools": pools})


@pytest.mark.parametrize("seed", SEEDS)
def test_more_of_everything_is_never_worse(seed):
    cluster = random_cluster(seed)
    spare = _pools(cluster, free=lambda p: (*p.free, p.devices_per_node), billing=lambda _: "on_demand")
    assert _better_or_equal(spare, _pools(cluster, billing=lambda _: "on_demand"))
    cheaper = _pools(cluster, price=lambda p: p.price * Fraction(9, 10))
    assert _better_or_equal(cheaper, cluster)
    for looser in (
        {"max_kinds": None}, {"limits": cluster.limits.model_copy(update={"budget": None})},
    ):  # fmt: skip
        assert _better_or_equal(cluster.model_copy(update=looser), cluster)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_equal_halves_of_a_pool_are_the_pool(seed):
    cluster = random_cluster(seed)
    pool = cluster.pools[0]
    half = pool.model_copy(update={"name": "half", "free": pool.free[1:] or (0,)})
    first = pool.model_copy(update={"free": pool.free[:1]})
    rows = tuple(row.model_copy(update={"pool": "half"}) for row in cluster.rates if row.pool == pool.name)
    if any(row.devices > pool.devices_per_node for row in rows):
        return  # a replica over several nodes does not span pools
    split = cluster.model_copy(
        update={"pools": (first, half, *cluster.pools[1:]), "rates": (*cluster.rates, *rows)},
    )
    whole, parts = solve_cluster(cluster), solve_cluster(split)
    assert whole.status == parts.status
    if whole.value is not None:
        assert abs(whole.value - parts.value) <= abs(whole.value) * TOLERANCE


@pytest.mark.parametrize("seed", SEEDS)
def test_the_same_question_has_the_same_answer(seed):
    cluster = random_cluster(seed)
    one, other = solve_cluster(cluster).to_json(), solve_cluster(cluster).to_json()
    del one["search"], other["search"]
    assert one == other
