"""Requests of several lengths in one demand: nested buckets, replicas that take what is no longer than theirs."""

from __future__ import annotations

import json
import random
from fractions import Fraction
from itertools import pairwise

import pytest
from ortools.linear_solver import pywraplp

from optimizer.certificate import certify
from optimizer.certificate.statement import sealed
from optimizer.cli.main import run
from optimizer.cluster import solve_cluster
from optimizer.domain.buckets import Bucket
from optimizer.domain.cluster import Cluster, Demand, GivenRate, Period, Pool
from optimizer.fleet.column import given_columns
from optimizer.verify.fleet import routed
from tests.cluster.brute_force import best_of_periods, random_cluster, with_buckets, with_everything

ROLES = {
    "aggregated": ["aggregated"],
    "disaggregated": ["prefill", "decode"],
    "either": ["aggregated", "prefill", "decode"],
}


def _buckets(shares):
    return tuple(
        Bucket(input_tokens=100 * 2**n, output_tokens=10 * 2**n, share=share) for n, share in enumerate(shares)
    )


def _cluster(dice, phase, objective="growth", number=3):
    """Rates that fall with length, as those of real replicas do."""
    weights = [Fraction(dice.randint(1, 5)) for _ in range(number)]
    buckets = _buckets([w / sum(weights) for w in weights])
    rows = []
    for role in ROLES[phase]:
        rates = sorted((Fraction(dice.randint(1, 12)) for _ in buckets), reverse=True)
        rows += [
            GivenRate(pool="a", demand="x", role=role, layout="l", devices=1, requests_per_s=r, bucket=b.name)
            for b, r in zip(buckets, rates, strict=True)
        ]
    return Cluster(
        name="lengths", objective=objective, rates=tuple(rows),
        pools=(Pool(name="a", hardware=None, devices_per_node=4, free=(4, 4, 3), price=1, billing="on_demand"),),
        demands=(Demand(name="x", phase=phase, request_rate=None, buckets=buckets),),
        periods=(Period(name="always", hours=Fraction(24), rates={"x": Fraction(3)}),),
    )  # fmt: skip


def _most_by_flow(demand, columns, replicas):
    """Largest rate of which every request finds a replica, as a linear program over who takes what."""
    solver = pywraplp.Solver.CreateSolver("GLOP")
    rate = solver.NumVar(0, solver.infinity(), "rate")
    supply = {}
    for own in replicas:
        key = (own.role, columns[own.column].bucket)
        supply[key] = supply.get(key, 0) + float(columns[own.column].requests_per_s * own.count)
    sent = {}
    for (role, bucket), room in supply.items():
        taken = [solver.NumVar(0, solver.infinity(), "") for _ in range(bucket + 1)]
        solver.Add(sum(taken) <= room)
        for number, one in enumerate(taken):
            sent.setdefault((role, number), []).append(one)
    for number, bucket in enumerate(demand.buckets):
        whole = sum(sent.get(("aggregated", number), [])) if demand.phase != "disaggregated" else 0
        for role in ("prefill", "decode") if demand.phase != "aggregated" else ("none",):
            solver.Add(whole + sum(sent.get((role, number), [])) >= rate * float(bucket.share))
    solver.Maximize(rate)
    assert solver.Solve() == pywraplp.Solver.OPTIMAL
    return rate.solution_value()


@pytest.mark.parametrize("phase", ROLES)
def test_capacity_is_what_can_be_routed(phase):
    dice = random.Random(phase)  # noqa: S311 - no secrets
    for _ in range(12):
        cluster = _cluster(dice, phase)
        result = solve_cluster(cluster)
        columns = {c.name: c for c in given_columns(cluster)}
        replicas, demand = result.fleet["always"], cluster.demands[0]
        figures = result.verdict.demands["always"]["x"]
        assert float(figures.capacity) == pytest.approx(_most_by_flow(demand, columns, replicas), rel=1e-6)
        # and the routing that is shown serves it: all of every bucket, nothing beyond what replicas serve
        taken = routed(demand, [b.share for b in demand.buckets], figures.capacity, columns, replicas)
        for number, bucket in enumerate(demand.buckets):
            for roles in demand.chains.values():
                assert sum(s for (n, name), s in taken.items() if n == number and columns[name].role in roles) == 1
            assert all(columns[name].bucket >= n for n, name in taken)
            assert bucket.share > 0
        for own in replicas:
            load = sum(
                s * figures.capacity * demand.buckets[n].share for (n, name), s in taken.items() if name == own.column
            )
            assert load <= columns[own.column].requests_per_s * own.count


def test_one_bucket_is_a_demand_of_one_length():
    for seed in range(40):
        plain = random_cluster(seed)
        bucket = (Bucket(input_tokens=7, output_tokens=1, share=Fraction(1)),)
        one = plain.model_copy(
            update={"demands": tuple(d.model_copy(update={"buckets": bucket}) for d in plain.demands)}
        )
        results = solve_cluster(plain), solve_cluster(one)
        assert results[0].status == results[1].status
        assert [r.value for r in results][:1] == [results[1].value]


def _merged(cluster, at):
    """The same with two neighbouring buckets priced as the longer."""
    demand = cluster.demands[0]
    one, other = demand.buckets[at : at + 2]
    both = other.model_copy(update={"share": one.share + other.share})
    rows = tuple(row for row in cluster.rates if row.bucket != one.name)
    buckets = (*demand.buckets[:at], both, *demand.buckets[at + 2 :])
    return cluster.model_copy(update={"demands": (demand.model_copy(update={"buckets": buckets}),), "rates": rows})


def test_fewer_buckets_never_serve_more():
    dice, strictly = random.Random(5), 0  # noqa: S311 - no secrets
    for number in range(30):
        cluster = _cluster(dice, list(ROLES)[number % 3], dice.choice(("growth", "devices", "cost")))
        fine = solve_cluster(cluster)
        for at in range(len(cluster.demands[0].buckets) - 1):
            coarse = solve_cluster(_merged(cluster, at))
            if cluster.objective == "growth":
                assert coarse.value <= fine.value
            else:
                assert coarse.value is None or fine.value <= coarse.value
            strictly += coarse.value != fine.value
    assert strictly > 10


def test_answers_are_certified_and_a_moved_bucket_is_not():
    moved = 0
    for seed in range(30):
        cluster = with_buckets(random_cluster(seed), seed)
        document = json.loads(json.dumps(solve_cluster(cluster).to_json()))
        assert certify(document).accepted
        for column in document["certificate"]["columns"]:
            if "bucket" in column and column["layout"].endswith("20"):
                column["bucket"] -= 1
                document["certificate"] = sealed(document["certificate"])
                assert not certify(document).accepted
                moved += 1
                break
    assert moved > 3


def test_buckets_that_are_not_nested_are_refused():
    shares = (Fraction(1, 2), Fraction(1, 2))
    crossed = tuple(
        Bucket(input_tokens=i, output_tokens=o, share=s) for (i, o), s in zip([(10, 20), (20, 10)], shares, strict=True)
    )
    for buckets in (crossed, _buckets((Fraction(1, 2), Fraction(1, 3))), (_buckets(shares)[0],) * 2):
        with pytest.raises(ValueError, match="buckets:"):
            Demand(name="x", phase="aggregated", request_rate=None, buckets=buckets)


TRACE = "timestamp,input_tokens,output_tokens\n" + "".join(
    f"2026-01-01 00:{m:02}:{s:02},{100 if (m + s) % 3 else 3000},{20 + s}\n" for m in range(4) for s in range(0, 60, 5)
)


def test_a_demand_of_a_trace_is_solved_verified_and_certified(tmp_path, capsys):
    (tmp_path / "trace.csv").write_text(TRACE)
    work = "{phase: aggregated, lengths: trace.csv, buckets: 2}"
    (tmp_path / "cluster.yaml").write_text(
        "pools: {h: {hardware: h100-sxm-8, nodes: 1}}\n"
        f"demands: {{chat: {{model: llama-3.1-8b, workload: {work}, limits: {{ttft: 2 s}}, search: {{pp: 1}}}}}}\n"
        "replica_devices: 1\n"
    )
    out = tmp_path / "fleet.json"
    assert run(["solve", str(tmp_path / "cluster.yaml"), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "rounded up" in shown
    assert "60 s" in shown
    document = json.loads(out.read_text())
    own = document["fleet"]["demands"]["chat"]
    assert own["requests_per_s"] == 12 / 60
    assert sum(bucket["share"] for bucket in own["buckets"].values()) == pytest.approx(1)
    assert all(
        one["input_tokens"] <= two["input_tokens"]
        for one, two in pairwise(document["problem"]["demands"][0]["buckets"])
    )
    assert run(["certify", str(out), "--problem", str(tmp_path / "cluster.yaml")]) == 0
    assert run(["verify", str(out)]) == 0
    (tmp_path / "trace.csv").write_text(TRACE.replace("3000", "3001"))
    assert run(["certify", str(out), "--problem", str(tmp_path / "cluster.yaml")]) == 1


def test_lengths_belong_to_a_cluster(tmp_path, capsys):
    (tmp_path / "trace.csv").write_text(TRACE)
    question = ["solve", "--model", "llama-3.1-8b", "--lengths", str(tmp_path / "trace.csv")]
    assert run([*question, "--hardware", "h100-sxm-8", "--devices", "8"]) == 2
    assert "requests of several lengths" in capsys.readouterr().err
    assert run([*question, "--pool", "h100-sxm-8=1", "--isl", "100"]) == 2
    assert "give either lengths" in capsys.readouterr().err
    (tmp_path / "trace.csv").write_text(TRACE + "2026-01-01 00:05:00,-1,3\n")
    assert run([*question, "--pool", "h100-sxm-8=1"]) == 2
    assert "trace.csv:50:2: input_tokens: '-1' is no whole number" in capsys.readouterr().err
    assert run([*question[:3], "--lengths", "nothing.csv", "--pool", "h100-sxm-8=1"]) == 2
    assert "--lengths: nothing.csv: no such file" in capsys.readouterr().err


def test_the_page_and_a_proposed_fleet_name_buckets(tmp_path, capsys):
    (tmp_path / "h.csv").write_text("input_tokens,output_tokens,weight\n1000,100,3\n8000,400,1\n")
    (tmp_path / "rates.csv").write_text(
        "pool,demand,layout,devices,requests_per_s,bucket\na,x,small,1,9,1000x100\na,x,large,2,2,8000x400\n"
    )
    (tmp_path / "cluster.yaml").write_text(
        "pools: {a: {devices_per_node: 4, nodes: 2}}\nrates: rates.csv\n"
        "demands: {x: {workload: {lengths: h.csv, request_rate: 8}}}\n"
    )
    out = tmp_path / "fleet.json"
    assert run(["solve", str(tmp_path / "cluster.yaml"), "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    assert document["objective"]["value"] == 3  # 6 requests/s of one small replica, 2 of one large
    assert {own["bucket"]: own["count"] for own in document["fleet"]["replicas"]} == {"1000x100": 1, "8000x400": 1}
    page = tmp_path / "fleet.html"
    assert run(["report", str(out), "--out", str(page)]) == 0
    assert "8000x400" in page.read_text()
    fleet = "problem: cluster.yaml\nfleet: {replicas: [%s]}\n"
    small, large = (
        "{demand: x, pool: a, layout: small, bucket: 1000x100}",
        "{demand: x, pool: a, layout: large, count: %d}",
    )
    for listed, status in ((f"{small}, {large % 1}", 0), (small, 1), (large % 3, 1), (large % 4, 0)):
        (tmp_path / "fleet.yaml").write_text(fleet % listed)
        assert run(["verify", str(tmp_path / "fleet.yaml")]) == status, listed
    capsys.readouterr()
    (tmp_path / "fleet.yaml").write_text(fleet % small.replace("1000x100", "1000x101"))
    assert run(["verify", str(tmp_path / "fleet.yaml")]) == 2
    assert "is no bucket of x: 1000x100, 8000x400 (did you mean '1000x100'?)" in capsys.readouterr().err


HOURS = "timestamp,input_tokens,output_tokens\n" + "".join(
    f"2026-01-01 {h:02}:{m:02}:00,{3000 if h >= 12 else 100},50\n" for h in range(24) for m in range(0, 60, 2)
)
DAY = """\
pools: {a: {devices_per_node: 4, nodes: 8, billing: on_demand, price: 1 $/h}}
rates: rates.csv
demands: {x: {workload: {lengths: trace.csv, buckets: 2, window: 10 min%s}}%s}
period_length: %s
objective: cost
"""


def _written_day(folder, work="", demands="", length="12 h"):
    (folder / "trace.csv").write_text(HOURS)
    (folder / "rates.csv").write_text(
        "pool,demand,layout,devices,requests_per_s,bucket\na,x,small,1,0.05,100x50\na,x,large,2,0.05,3000x50\n"
    )
    (file := folder / "cluster.yaml").write_text(DAY % (work, demands, length))
    return str(file)


def test_the_periods_of_a_trace_have_their_own_rates_and_lengths(tmp_path, capsys):
    question, out = _written_day(tmp_path), tmp_path / "fleet.json"
    assert run(["solve", question, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "in period 12:00" in shown
    assert "99% of 71 windows of 600 s" in shown  # the last is not whole
    document = json.loads(out.read_text())
    # one request in two minutes: small replicas by night, large ones by day; with the mean lengths both need both
    assert document["objective"]["value"] == 1.5
    periods = document["fleet"]["periods"]
    assert {name: [own["name"] for own in one["replicas"]] for name, one in periods.items()} == {
        "00:00": ["small@100x50"], "12:00": ["large@3000x50"],
    }  # fmt: skip
    assert [b["share"] for b in periods["12:00"]["demands"]["x"]["buckets"].values()] == [0, 1]
    assert run(["certify", str(out), "--problem", question]) == 0
    assert run(["verify", str(out)]) == 0
    assert run(["report", str(out), "--out", str(tmp_path / "page.html")]) == 0
    (tmp_path / "trace.csv").write_text(HOURS.replace("11:00:00,100", "11:00:00,99"))
    assert run(["certify", str(out), "--problem", question]) == 1
    shares = document["problem"]["periods"][1]["traffic"]["x"]["shares"]
    shares[:] = [1, 0]  # as if the day were short requests too
    out.write_text(json.dumps(document))
    assert run(["certify", str(out)]) in {1, 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": "7 h"}, "trace.csv: a period of 25200 s is no whole part of a day"),
        ({"length": "15 min"}, "a period of 900 s is not whole windows of 600 s"),
        ({"length": "0 h"}, "period_length: must be more than 0"),
        ({"length": "1 h\nperiods: {day: {hours: 1, rates: {x: 1}}}"}, "period_length: give either periods"),
        (
            {"demands": ", y: {workload: {lengths: short.csv, window: 10 min}}"},
            "of y has no whole window from 12:00 on",
        ),
        (
            {"demands": ", y: {workload: {lengths: start.csv, window: 10 min}}"},
            "times of x are dates, those of y count",
        ),
    ],
)
def test_periods_that_traces_do_not_have_are_refused(tmp_path, capsys, changes, message):
    (tmp_path / "short.csv").write_text("".join(HOURS.splitlines(keepends=True)[:200]))
    (tmp_path / "start.csv").write_text(
        "input_tokens,output_tokens,arrival_s\n" + "".join(f"9,9,{s * 60}\n" for s in range(1440))
    )
    question = _written_day(tmp_path, **changes)
    with (tmp_path / "rates.csv").open("a") as file:
        file.write("a,y,l,1,1,\n" if "demands" in changes else "")
    assert run(["solve", question]) == 2
    assert message in capsys.readouterr().err


def test_period_length_needs_a_trace(tmp_path, capsys):
    (tmp_path / "rates.csv").write_text("pool,demand,layout,devices,requests_per_s\na,x,l,1,1\n")
    (tmp_path / "cluster.yaml").write_text(
        "pools: {a: {devices_per_node: 4, nodes: 1}}\nrates: rates.csv\ndemands: {x: {workload: {request_rate: 1}}}\n"
        "period_length: 1 h\n"
    )
    assert run(["solve", str(tmp_path / "cluster.yaml")]) == 2
    assert "cluster.yaml:4:16: period_length: no demand has a trace with times" in capsys.readouterr().err


def test_lengths_of_a_period_are_counted_in_it_as_by_hand():
    dice, matters = random.Random(9), 0  # noqa: S311 - no secrets
    for number in range(16):
        day = with_everything(_cluster(dice, "aggregated", dice.choice(("cost", "growth", "growth")), 2), number)
        pools = tuple(pool.model_copy(update={"free": (3, 2)}) for pool in day.pools)
        own = day.model_copy(update={"survive": None, "max_kinds": None, "pools": pools})
        result, best = solve_cluster(own), best_of_periods(own)
        assert (result.value, result.status) == (best, "infeasible" if best is None else "optimal"), number
        usual = tuple(period.model_copy(update={"traffic": {}}) for period in own.periods)
        matters += best != best_of_periods(own.model_copy(update={"periods": usual}))
    assert matters > 2, matters
