"""Small results of clusters as the command writes them: priced and given rates, lengths, periods, losses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from fractions import Fraction

from optimizer.cluster import solve_cluster
from optimizer.cluster.result import SolvedFleet
from optimizer.domain.buckets import Bucket
from optimizer.domain.cluster import Cluster, ClusterLimits
from optimizer.explain.cluster import conflict_of
from optimizer.readers.cluster import cluster_in
from optimizer.readers.document import load_text
from tests.certificate.documents import Json
from tests.cluster.brute_force import random_cluster, with_buckets, with_everything, with_racks

PRICED = """\
pools:
  new: {hardware: h100-sxm-8, devices: 2, billing: on_demand, price: 3 $/h}
  old: {hardware: l40s-8, free: [2, 1], price: 1 $/h, billing: spot, availability: 0.9, power: 350 W}
links: {new-old: 24 GB/s}
demands:
  chat:
    model: llama-3.1-8b
    workload: {phase: either, input_tokens: 2000, output_tokens: 200, request_rate: 12}
    limits: {ttft: 400 ms, tpot: 30 ms}
    search: {cp: [1]}
limits: {budget: 30 $/h, power: 3 kW}
survive: {nodes: 1, pool: old}
max_kinds: 2
objective: cost
"""

EXPERTS = """\
pools: {h: {hardware: h200-sxm-8, devices: 4}}
demands:
  chat:
    model: gpt-oss-120b
    workload: {phase: aggregated, input_tokens: 2000, output_tokens: 200, request_rate: 12}
    limits: {tpot: {p90: 100 ms}}
    engine: sglang
    search: {cp: 1, pp: 1, tp: 1, overlap: two_batch, dp: 4}
replica_devices: 4
objective: devices
"""


def _shown(result: SolvedFleet) -> Json:
    beside = conflict_of(result.cluster, result.columns) if result.status == "infeasible" else {}
    found: Json = json.loads(json.dumps(result.to_json() | beside))
    return found


def priced() -> Json:
    """Prefill and decode replicas of two pools, with ceilings."""
    return _shown(solve_cluster(cluster_in(load_text(PRICED))))


def overlapped() -> Json:
    """A replica of experts, whose steps run in two halves."""
    return _shown(solve_cluster(cluster_in(load_text(EXPERTS))))


def lengths() -> Json:
    """Priced replicas for requests of two lengths."""
    cluster = cluster_in(load_text(PRICED))
    shares = (Fraction(2, 3), Fraction(1, 3))
    buckets = tuple(
        Bucket(input_tokens=500 * 4**n, output_tokens=100 * 2**n, share=share) for n, share in enumerate(shares)
    )
    demand = cluster.demands[0].model_copy(update={"buckets": buckets, "phase": "aggregated"})
    alone = {"pools": cluster.pools[:1], "links": {}, "survive": None, "limits": ClusterLimits()}
    return _shown(solve_cluster(cluster.model_copy(update={"demands": (demand,), **alone})))


def _given(made: Callable[[Cluster, int], Cluster | None], fits: Callable[[SolvedFleet], bool]) -> Iterator[Json]:
    for seed in range(400):
        cluster = made(random_cluster(seed), seed)
        if cluster is not None and fits(result := solve_cluster(cluster)):
            yield _shown(result)


def periods() -> Json:
    """Given rates, by day and by night, of requests of several lengths."""

    def everything(cluster: Cluster, seed: int) -> Cluster:
        return with_everything(with_buckets(cluster, seed), seed)

    return next(
        _given(
            everything,
            lambda found: (
                found.status == "optimal"
                and found.cluster.survive is not None
                and any(p.traffic for p in found.cluster.periods)
                and any(c.bucket for c in found.columns)
            ),
        )
    )


def racks() -> Json:
    """Given rates, with a rack lost, and lemmas where the bound needs some."""
    return next(_given(with_racks, lambda found: found.status == "optimal" and bool(found.lemmas)))


def conflict() -> Json:
    """Given rates that no fleet serves within several limits, each of which is needed."""
    wanted = _given(lambda cluster, _: cluster, lambda found: found.status == "infeasible")
    return next(found for found in wanted if found["conflict_proof"] and len(found["conflict"]) > 1)


FLEETS: dict[str, Callable[[], Json]] = {
    "fleet": priced,
    "fleet-overlap": overlapped,
    "fleet-lengths": lengths,
    "fleet-periods": periods,
    "fleet-racks": racks,
    "fleet-infeasible": conflict,
}
"""Makers of results of clusters, by kind."""
