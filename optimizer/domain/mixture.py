"""A problem without a rate as a cluster: one pool and one demand, with several kinds of layout side by side.

What a replica serves is what it does in the problem itself: its own requests in flight, within the same limits.
"""

from __future__ import annotations

from fractions import Fraction

from optimizer.domain.buckets import Bucket
from optimizer.domain.cluster import ALWAYS, Cluster, Demand, Period, Pool
from optimizer.domain.problem import Problem
from optimizer.domain.workload import ServingWorkload

_OF_ALL = ("dp", "edp", "devices")
"""Restrictions of `search` on all replicas of one layout together."""


def as_cluster(problem: Problem) -> Cluster | None:
    """The cluster that mixes layouts for a problem; None where it asks for one kind, or for what no cluster states.

    It asks for several where all devices together are to serve most (`throughput`, aggregated, no rate), and neither
    `max_kinds` nor `search` speaks of one layout. Measured or copied experts, and what an engine is told of its steps,
    are of single problems alone.
    """
    work, hardware = problem.workload, problem.hardware
    if not isinstance(work, ServingWorkload) or not work.mixes or work.request_rate is not None:
        return None
    same = ServingWorkload(
        phase="aggregated", input_tokens=work.input_tokens, output_tokens=work.output_tokens, arrival=work.arrival,
        prefix_cache_hit=work.prefix_cache_hit, mtp_tokens=work.mtp_tokens, mtp_acceptance=work.mtp_acceptance,
    )  # fmt: skip
    if (
        problem.objective != "throughput" or problem.max_kinds == 1 or work != same or problem.experts is not None
        or any(getattr(problem.search, axis) for axis in _OF_ALL)
    ):  # fmt: skip
        return None
    per_node, rack = hardware.devices_per_node, hardware.devices_per_rack
    remainder = problem.devices % per_node
    pool = Pool(
        name=hardware.name, hardware=hardware, devices_per_node=per_node, rack_nodes=rack // per_node if rack else None,
        free=(per_node,) * (problem.devices // per_node) + ((remainder,) if remainder else ()),
        price=hardware.device.price, billing="owned", power=hardware.device.power,
    )  # fmt: skip
    demand = Demand(
        name=problem.model.name.rpartition("/")[2], phase="aggregated", request_rate=None,
        buckets=(Bucket(input_tokens=work.input_tokens, output_tokens=work.output_tokens, share=Fraction(1)),),
        model=problem.model, limits=problem.limits, engine_name=problem.engine_name, search=problem.search,
        prefix_cache_hit=work.prefix_cache_hit, mtp_tokens=work.mtp_tokens, mtp_acceptance=work.mtp_acceptance,
        arrival=work.arrivals,
    )  # fmt: skip
    return Cluster(
        name=problem.name, pools=(pool,), demands=(demand,),
        periods=(Period(name=ALWAYS, hours=Fraction(24), rates={}),), objective="throughput",
        max_kinds=problem.max_kinds, seed=problem.seed,
    )  # fmt: skip
