from __future__ import annotations

import json

import pytest

from optimizer.certificate import certify
from optimizer.certificate.fleet import TOLERANCE
from optimizer.cluster import solve_cluster
from tests.cluster.brute_force import (
    best_by_hand,
    best_of_periods,
    random_cluster,
    with_buckets,
    with_everything,
    with_racks,
)
from tests.small_problems import blocks

EACH = 40


@pytest.mark.parametrize("first", blocks(0, 320, EACH, quick=80))
def test_the_answer_is_the_best_of_every_fleet(first):
    _compare({seed: random_cluster(seed) for seed in range(first, first + EACH)})


@pytest.mark.parametrize("first", blocks(1000, 1120, EACH, quick=1040))
def test_the_answer_is_the_best_of_every_fleet_for_requests_of_several_lengths(first):
    clusters = {seed: with_buckets(random_cluster(seed), seed) for seed in range(first, first + EACH)}
    several = {seed: own for seed, own in clusters.items() if any(demand.several for demand in own.demands)}
    assert len(several) > EACH // 2
    _compare(several)


@pytest.mark.parametrize(("first", "lost"), [*((first, True) for first in range(0, 160, EACH)), (0, False)])
def test_the_answer_is_the_best_of_every_fleet_in_racks(first, lost):
    found = {seed: with_racks(random_cluster(seed), seed, lost=lost) for seed in range(first, first + EACH)}
    clusters = {seed: cluster for seed, cluster in found.items() if cluster is not None}
    assert len(clusters) > EACH // 3
    _compare(clusters)


@pytest.mark.parametrize("first", blocks(2000, 2120, EACH, quick=2040))
def test_the_answer_is_the_best_of_every_fleet_where_all_constraints_meet(first):
    clusters = {}
    for seed in range(first, first + EACH):
        own = random_cluster(seed)
        clusters[seed] = with_everything(with_buckets(own, seed) if seed % 2 else own, seed)
    assert sum(any(d.phase != "aggregated" for d in c.demands) for c in clusters.values()) > EACH // 3
    _compare(clusters, best_of_periods)


def _compare(clusters, by_hand=best_by_hand):
    for seed, cluster in clusters.items():
        best, result = by_hand(cluster), solve_cluster(cluster)
        assert result.status == ("infeasible" if best is None else "optimal"), (seed, best, result.status)
        if best is not None:
            assert abs(result.value - best) <= abs(best) * TOLERANCE, (seed, float(result.value), float(best))
        check = certify(json.loads(json.dumps(result.to_json())))
        assert check.accepted, (seed, check.item, check.reason)


def test_the_random_clusters_cover_what_they_should():
    clusters = [random_cluster(seed) for seed in range(320)]
    assert {c.objective for c in clusters} == {"cost", "devices", "growth", "throughput", "power"}
    for share in (
        sum(c.survive is not None for c in clusters),
        sum(c.max_kinds is not None for c in clusters),
        sum(c.limits.budget is not None for c in clusters),
        sum(any(d.phase != "aggregated" for d in c.demands) for c in clusters),
    ):
        assert share > 40
