"""Packing of replicas on the nodes of a rack."""

from __future__ import annotations

import itertools
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from optimizer.cluster import solve_cluster
from optimizer.cluster.lay import _Slots
from optimizer.domain.cluster import Cluster, Demand, GivenRate, Period, Pool, Survive
from optimizer.fleet.ceiling import replica_sizes
from optimizer.fleet.nodes import packed
from tests.cluster.brute_force import random_cluster


def _fits(sizes, free, each):
    """By trying every node, or set of whole nodes, for every replica."""
    if not sizes:
        return True
    size, rest = sizes[0], sizes[1:]
    if size > each:
        whole = [n for n, room in enumerate(free) if room == each]
        return any(
            _fits(rest, [0 if n in nodes else room for n, room in enumerate(free)], each)
            for nodes in itertools.combinations(whole, -(-size // each))
        )
    return any(
        _fits(rest, [room - size if n == node else room for n, room in enumerate(free)], each)
        for node, room in enumerate(free)
        if room >= size
    )


@given(st.lists(st.integers(1, 9), max_size=5), st.lists(st.integers(0, 4), min_size=1, max_size=3))
def test_replicas_are_packed_where_there_is_a_way(sizes, free):
    sizes.sort(reverse=True)
    found = packed(sizes, free, 4)
    assert (found is not None) == _fits(sizes, free, 4)
    if found is not None:
        held = [0] * len(free)
        for size, nodes in zip(sizes, found, strict=True):
            assert len(nodes) == -(-size // 4)
            for node in nodes:
                assert size <= 4 or free[node] == 4
                held[node] += min(size, 4)
        assert all(taken <= room for taken, room in zip(held, free, strict=True))


def test_a_rack_holds_no_more_than_its_nodes_do():
    rows = tuple(
        GivenRate(pool="a", demand=name, role="aggregated", layout="l", devices=2, requests_per_s=Fraction(1))
        for name in ("x", "y")
    )
    pool = Pool(name="a", hardware=None, devices_per_node=3, rack_nodes=2, free=(3,) * 4, price=1, billing="owned")
    cluster = Cluster(
        name="racks", objective="devices", rates=rows, survive=Survive(racks=1), pools=(pool,),
        demands=tuple(Demand(name=name, phase="aggregated", request_rate=None) for name in ("x", "y")),
        periods=(Period(name="always", hours=Fraction(24), rates={"x": Fraction(1), "y": Fraction(2)}),),
    )  # fmt: skip
    # each rack must hold three replicas of two: that is its six devices, but one is left on each of its nodes
    assert solve_cluster(cluster).status == "infeasible"
    wider = cluster.model_copy(update={"pools": (pool.model_copy(update={"devices_per_node": 4, "free": (4,) * 4}),)})
    assert solve_cluster(wider).value == 12


def test_what_a_rack_just_holds_takes_a_run_of_its_pattern_and_more_takes_whole_racks() -> None:
    slots = _Slots({2: [[0, 1]]}, [[2, 3], [4, 5], [6, 7]], 2)
    assert slots.take(2) == [0, 1]
    assert slots.take(3) == [2, 3, 4]
    assert slots.runs == {2: []}
    assert slots.racks == [[6, 7]]


def test_replicas_are_looked_at_up_to_the_largest_that_is_asked_for() -> None:
    pool = Pool(
        name="a", hardware=None, devices_per_node=4, free=(4, 4, 3, 4), price=None, billing="on_demand"
    )  # fmt: skip
    cluster = random_cluster(0).model_copy(update={"pools": (pool,), "replica_devices": 8})
    assert replica_sizes(cluster, pool) == [1, 2, 3, 4, 8]
    assert replica_sizes(cluster.model_copy(update={"replica_devices": 3}), pool) == [1, 2, 3]
