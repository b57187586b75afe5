"""The proof over layouts that are not listed: ceilings are true, and a fleet of anything below them is bounded."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from fractions import Fraction

import pytest

from optimizer.certificate import certify
from optimizer.certificate.fleet import TOLERANCE
from optimizer.certificate.statement import exact, sealed
from optimizer.cli.cluster import show
from optimizer.cluster import solve_cluster
from optimizer.cluster.columns import columns_of
from optimizer.cluster.integers import IntegerProgram
from optimizer.domain.layout import Layout
from optimizer.fleet.ceiling import Ceiling, copies, replica_sizes
from optimizer.fleet.statement import bounding, shown
from optimizer.readers.cluster import cluster_in
from optimizer.readers.document import load_text
from optimizer.verify.replica import beyond_links, least_transfer, most_served
from tests.cluster.brute_force import best_by_hand, random_cluster

CLUSTER = """\
pools:
  new: {hardware: h100-sxm-8, nodes: 2, billing: on_demand, price: 3 $/h}
  old: {hardware: l40s-8, free: [8, 3], billing: on_demand, price: 1 $/h}
demands:
  chat:
    model: llama-3.1-8b
    workload: {input_tokens: 2000, output_tokens: 200, request_rate: 80}
    limits: {ttft: 1 s, tpot: 30 ms}
objective: cost
"""


@pytest.fixture(scope="module")
def cluster():
    return cluster_in(load_text(CLUSTER))


@pytest.fixture(scope="module")
def result(cluster):
    return solve_cluster(cluster)


def test_the_answer_is_proved_over_every_layout(result):
    assert result.status == "optimal"
    check = certify(json.loads(json.dumps(result.to_json())))
    assert check.accepted, check.reason
    assert any(item.startswith("ceilings") for item in check.checked)
    assert not any("no layout outside them" in item for item in check.not_checked)


def test_no_layout_serves_more_than_its_ceiling(cluster):
    dice = random.Random(5)  # noqa: S311 - no secrets
    found = columns_of(cluster)
    demand = cluster.demands[0]
    tried = 0
    for _ in range(60):
        pool = dice.choice(cluster.pools)
        layout = Layout(
            tp=dice.choice([1, 2, 4, 8]), pp=dice.choice([1, 2, 3, 4]), batch=2 ** dice.randint(0, 9),
            prefill_chunk=dice.choice([200, 500, 1000, 2000]),
        )  # fmt: skip
        top = [c.requests_per_s for c in found.ceilings if c.pool == pool.name and c.devices >= layout.devices][:1]
        column = top and most_served(cluster, demand, "aggregated", pool, layout, Fraction(0), Fraction(500))
        if column:
            tried += 1
            assert column.requests_per_s < top[0]
    assert tried > 15


SPLIT = """\
pools: {h: {hardware: h100-sxm-8, devices: 3}, l: {hardware: l40s-8, devices: 4}}
links: {h-l: 24 GB/s}
demands:
  chat:
    model: llama-3.1-8b
    workload: {phase: disaggregated, input_tokens: 2000, output_tokens: 200, request_rate: 25}
    limits: {ttft: 400 ms, tpot: 30 ms}
    search: {cp: [1, 2]}
objective: devices
"""


@pytest.fixture(scope="module")
def split():
    return cluster_in(load_text(SPLIT))


def test_prefill_and_decode_replicas_have_ceilings_too(split):
    result = solve_cluster(split)
    document = json.loads(json.dumps(result.to_json()))
    check = certify(document)
    assert check.accepted, check.reason
    assert {ceiling.role for ceiling in result.ceilings} == {"prefill", "decode"}
    assert not any("no layout outside them" in item for item in check.not_checked)
    # what is claimed of one role cannot be lowered below what a replica of it serves
    for role in ("prefill", "decode"):
        changed = copy.deepcopy(document)
        entry = next(c for c in changed["certificate"]["ceilings"] if c["role"] == role and c["requests_per_s"] != "0")
        known = max(
            c.requests_per_s for c in result.columns
            if (c.role, c.pool) == (role, entry["pool"]) and c.devices <= entry["devices"]
        )  # fmt: skip
        entry["requests_per_s"] = str(known)
        changed["certificate"] = sealed(changed["certificate"])
        assert "a layout serves it" in certify(changed).reason


def test_no_layout_of_a_role_serves_more_than_its_ceiling_nor_sends_less(split):
    dice = random.Random(3)  # noqa: S311 - no secrets
    found = columns_of(split)
    demand, tried = split.demands[0], {"prefill": 0, "decode": 0}
    for _ in range(80):
        pool, role = dice.choice(split.pools), dice.choice(("prefill", "decode"))
        layout = Layout(
            tp=dice.choice([1, 2, 4]), pp=dice.choice([1, 2]), cp=dice.choice([1, 1, 2]),
            batch=dice.choice([1, 2, 4, 64]),
            prefill_chunk=dice.choice([500, 1000, 2000]) if role == "prefill" else None,
        )  # fmt: skip
        own = [c for c in found.ceilings if (c.role, c.pool) == (role, pool.name) and c.devices >= layout.devices]
        try:
            column = most_served(split, demand, role, pool, layout, Fraction(0), Fraction(500))
        except ValueError:  # cp and decode do not go together
            continue
        if column and own:
            tried[role] += 1
            assert column.requests_per_s < own[0].requests_per_s
            assert column.transfer_s >= least_transfer(split, demand, role, pool, layout.devices)
            # the most that links take is no less than what any replica sends
            assert not beyond_links(split, demand, role, pool, layout.devices, column.requests_per_s)
    assert min(tried.values()) > 8, tried


@pytest.mark.parametrize("change", ["lower", "missing", "none", "smaller"])
def test_ceilings_that_are_not_true_or_not_whole_are_rejected(result, change):
    document = json.loads(json.dumps(result.to_json()))
    claim = document["certificate"]
    own = claim["ceilings"][0]  # of one device, on which a layout serves nearly as much
    if change == "lower":
        own["requests_per_s"] = str(Fraction(own["requests_per_s"]) * Fraction(9, 10))
    elif change == "missing":
        claim["ceilings"] = [c for c in claim["ceilings"] if c["pool"] != "old"]
    elif change == "none":
        claim["ceilings"] = []
    else:
        claim["ceilings"][-1]["devices"] -= 1
    document["certificate"] = sealed(copy.deepcopy(claim))
    check = certify(document)
    assert not check.accepted
    assert check.item.startswith(("certificate.ceilings", "certificate.not_checked"))


LARGE = """\
pools: {new: {hardware: h100-sxm-8, nodes: 1}}
demands:
  chat:
    model: llama-3.3-70b
    workload: {input_tokens: 2000, output_tokens: 200}
    limits: {ttft: 1 s, tpot: 30 ms}
objective: throughput
"""


@pytest.fixture(scope="module")
def large():
    return solve_cluster(cluster_in(load_text(LARGE)))


@pytest.mark.parametrize("lowered", ["what larger replicas serve", "below the ceiling of smaller ones"])
def test_a_ceiling_is_proved_of_larger_replicas_and_where_it_is_lower_of_all(large, lowered):
    document = json.loads(json.dumps(large.to_json()))
    claim = document["certificate"]
    column = max(large.columns, key=lambda c: c.requests_per_s)
    at = next(n for n, c in enumerate(large.ceilings) if c.devices >= column.devices)
    assert 0 < large.ceilings[at - 1].requests_per_s < column.requests_per_s
    own = claim["ceilings"][at]
    if "larger" in lowered:
        own["requests_per_s"] = exact(column.requests_per_s)
    else:
        claim["ceilings"].insert(at + 1, own | {"requests_per_s": exact(column.requests_per_s / 2)})
    document["certificate"] = sealed(copy.deepcopy(claim))
    check = certify(document)
    assert (check.accepted, check.item[:20]) == (False, "certificate.ceilings")
    assert "a layout serves it" in check.reason


def _true_ceilings(cluster):
    """Ceilings of a table of rates, taken from the table itself."""
    for demand in cluster.demands:
        for role in demand.roles:
            for pool in cluster.pools:
                rows = [r for r in cluster.rates if (r.demand, r.role, r.pool) == (demand.name, role, pool.name)]
                for size in replica_sizes(cluster, pool):
                    rate = max((r.requests_per_s for r in rows if r.devices <= size), default=Fraction(0))
                    yield Ceiling(demand.name, role, pool.name, size, rate)


def test_no_fleet_is_beyond_the_bound_of_the_ceilings():
    """Every fleet of a small cluster by hand, against the program that knows only the ceilings of its table."""
    compared = 0
    for seed in range(400):
        cluster = random_cluster(seed)
        sizes = {pool.name: replica_sizes(cluster, pool) for pool in cluster.pools}
        standing = [r for r in cluster.rates if r.devices <= cluster.pool[r.pool].devices]
        if any(row.devices not in sizes[row.pool] for row in standing):
            continue
        best = best_by_hand(cluster)
        if best is None:
            continue
        program = bounding(cluster, list(_true_ceilings(cluster))).program
        point = IntegerProgram(program, 0).decide(None, {}).point
        assert point is not None, seed
        bound = shown(cluster, program.value(point))
        compared += 1
        slack = abs(best) / 10**6
        if cluster.objective in {"growth", "throughput"}:
            assert bound >= best - slack, seed
        else:
            assert bound <= best + slack, seed
    assert compared > 50


def test_copies_stand_where_a_larger_replica_does():
    pool = random_cluster(0).pools[0].model_copy(update={"devices_per_node": 8, "free": (8, 8, 8), "rack_nodes": None})
    assert [copies(pool, 1, 8), copies(pool, 3, 8), copies(pool, 3, 16), copies(pool, 16, 24)] == [8, 2, 4, 1]
    racks = pool.model_copy(update={"rack_nodes": 2})
    assert copies(racks, 8, 24) == 0


def test_ceilings_of_the_bound_come_as_close_as_a_proof_asks(monkeypatch):
    served = CLUSTER.replace("objective: cost", "objective: throughput").replace(", request_rate: 80", "")
    cluster = cluster_in(load_text(served))
    result = solve_cluster(cluster)
    assert result.status == "optimal"
    assert result.bound - result.value <= result.value * TOLERANCE
    assert certify(json.loads(json.dumps(result.to_json()))).accepted
    monkeypatch.setattr("optimizer.cluster.closer", lambda *_: None)
    coarse = solve_cluster(cluster)
    assert coarse.status == "feasible"
    assert coarse.value <= result.value <= result.bound <= coarse.bound


def test_the_verdict_says_what_a_proof_is_over_and_what_is_open(result, capsys):
    show(result, result.to_json())
    whole = capsys.readouterr().out
    assert whole.startswith("optimal: ")
    assert "open is what layouts" not in whole
    part = replace(result, ceilings=(), all_looked_at=False)
    show(part, part.to_json())
    said = capsys.readouterr().out
    assert said.startswith(f"optimal over the {len(result.columns)} kinds of replica that were found: ")
    assert "open is what layouts that are not among them would do, of which no bound is known: the time limit" in said
