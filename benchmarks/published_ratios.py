"""Published ratios of prefill to decode machines, and TP = 3, from the papers' own times, beside the best there is.

Every machine (Splitwise) or layout (DistServe) is a row of given rates: requests/s at the mean lengths, by the formulas
below from what the papers' artifacts ship. No trace is replayed: bursts, mixed pools and percentiles of their
simulators are not in these rates, so that what is compared are the fleets, by one set of rates. Printed by
``python -m benchmarks.published_fleets``.

Splitwise (Patel et al., ISCA 2024): medians of `data/perf_model.csv` for BLOOM-176B on 8 devices, counts of machines in
`scripts/run_throughput_{isopower,isocost}.sh`, prices and rated power of `notebooks/utils.py`, mean lengths in
`generate_trace.py` (Mutinifni/splitwise-sim 8f99e7d, MIT). DistServe (Zhong et al., OSDI 2024): fits of
`profiler-a100-80g.distserve.json`, tokens of `max_num_tokens.csv`, `worker.py` and `time_estimator.py`, placements of
`2-start-api-server.py` (LLMServe/DistServe 82831f1, Apache-2.0); mean lengths of ShareGPT and limits as the paper
prints them (Fig. 7, Table 1). Its fits have no OPT-175B, whose placement (TP 3 x PP 3 and TP 4 x PP 3) is priced by
this project's own figures as that of GPT-3 175B, of the same shape.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import optimizer
from optimizer.certificate import certify
from optimizer.cluster import SolvedFleet, solve_cluster
from optimizer.domain.cluster import Cluster, ClusterLimits, Demand, GivenRate, Period, Pool, ReplicaRole
from optimizer.readers.cluster import cluster_in
from optimizer.readers.document import load_text

DEMAND = "requests"


def rounded(value: float) -> Fraction:
    """A rate to six digits after the point."""
    return Fraction(f"{value:.6f}")


def row(pool: str, role: ReplicaRole, layout: str, devices: int, rate: float) -> GivenRate:
    """One replica of the table of rates."""
    return GivenRate(
        pool=pool, demand=DEMAND, role=role, layout=layout, devices=devices, requests_per_s=rounded(rate)
    )  # fmt: skip


def cluster_of(
    name: str, pools: tuple[Pool, ...], rates: tuple[GivenRate, ...], limits: ClusterLimits | None = None
) -> Cluster:
    """The most requests/s that pools serve."""
    return Cluster(
        name=name, pools=pools, objective="throughput", rates=rates, limits=limits or ClusterLimits(),
        demands=(Demand(name=DEMAND, phase="disaggregated", request_rate=None),),
        periods=(Period(name="always", hours=Fraction(24), rates={}),),
    )  # fmt: skip


def pool_of(name: str, free: tuple[int, ...], each: int, price: str | None = None, power: str | None = None) -> Pool:
    """Devices of one kind, paid where used."""
    return Pool(
        name=name, hardware=None, devices_per_node=each, free=free, billing="on_demand",
        price=None if price is None else Fraction(price), power=None if power is None else Fraction(power),
    )  # fmt: skip


def proved(cluster: Cluster) -> tuple[SolvedFleet, bool]:
    """The best fleet, and whether it is optimal with a certificate that is accepted."""
    result = solve_cluster(cluster)
    accepted = certify(json.loads(json.dumps(result.to_json()))).accepted
    return result, accepted and result.status == "optimal"


def shown(result: SolvedFleet) -> str:
    """Replicas of a fleet in one word each."""
    own = next(iter((result.fleet or {}).values()), ())
    return " + ".join(f"{r.count}{r.role[0].upper()} {r.layout}" for r in own)


# Splitwise


PROMPT_MS = {"A100": 534.520337, "H100": 245.973539}
"""Time of a batch of 2,048 prompt tokens, the most that a machine takes at once: between 2,048 × 1 and 512 × 4."""
TOKEN_MS = {"A100": 47.612100, "H100": 35.739242}
"""Time of a token of a batch, which the simulator takes from the fewest tokens measured, 128."""
BATCH_TOKENS = 2048
CACHE_TOKENS = (640e9 - 2 * 176.247e9) / (2 * 70 * 14336 * 2)
"""Tokens of cache beside the weights, both in fp16, on 8 devices of 80 GB: 70 layers of 14,336 channels."""
DOLLARS, WATTS = {"A100": "2.21", "H100": "4.76"}, {"A100": "24.8", "H100": "44"}
"""Of a machine in an hour, and in units of its own that only their ratio matters of."""
LENGTHS = {"conversation": (1155, 211), "code": (2048, 28)}


@dataclass(frozen=True)
class Split:
    """A published choice: prompt and token machines by kind."""

    name: str
    trace: str
    prompt: tuple[str, int]
    token: tuple[str, int]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Its kinds of machine."""
        return tuple(dict.fromkeys((self.prompt[0], self.token[0])))


SPLITS = (
    Split("Splitwise-AA, iso-power", "conversation", ("A100", 45), ("A100", 25)),
    Split("Splitwise-HH, iso-power", "conversation", ("H100", 25), ("H100", 15)),
    Split("Splitwise-HA, iso-power", "conversation", ("H100", 25), ("A100", 26)),
    Split("Splitwise-AA, iso-cost", "conversation", ("A100", 51), ("A100", 35)),
    Split("Splitwise-HA, iso-cost", "conversation", ("H100", 30), ("A100", 21)),
    Split("Splitwise-AA, code", "code", ("A100", 54), ("A100", 10)),
    Split("Splitwise-HH, code", "code", ("H100", 23), ("H100", 10)),
)


def machine_rates(trace: str) -> dict[tuple[str, ReplicaRole], float]:
    """Requests/s of a machine by kind and role."""
    prompt, output = LENGTHS[trace]
    found: dict[tuple[str, ReplicaRole], float] = {}
    for kind, batch_ms in PROMPT_MS.items():
        found[kind, "prefill"] = BATCH_TOKENS / prompt / batch_ms * 1000
        # a request holds its prompt and half of its output on average
        found[kind, "decode"] = CACHE_TOKENS / (prompt + output / 2) / output / TOKEN_MS[kind] * 1000
    return found


def split_cluster(split: Split, *, any_kind: bool = False) -> Cluster:
    """The machines of a published choice, roles left open; or any machines of its cost."""
    rates = machine_rates(split.trace)
    kinds = tuple(PROMPT_MS) if any_kind else split.kinds
    counts = {kind: sum(n for own, n in (split.prompt, split.token) if own == kind) for kind in kinds}
    spent = sum(Fraction(DOLLARS[kind]) * count for kind, count in counts.items())
    most = {kind: int(spent / Fraction(DOLLARS[kind])) if any_kind else counts[kind] for kind in kinds}
    pools = tuple(pool_of(kind, (1,) * most[kind], 1, DOLLARS[kind], WATTS[kind]) for kind in kinds)
    table = tuple(row(kind, role, kind, 1, rate) for (kind, role), rate in rates.items() if kind in kinds)
    return cluster_of(split.name, pools, table, ClusterLimits(budget=spent) if any_kind else None)


def split_served(split: Split) -> float:
    """Requests/s of the published choice by the same rates."""
    rates = machine_rates(split.trace)
    return min(rates[split.prompt[0], "prefill"] * split.prompt[1], rates[split.token[0], "decode"] * split.token[1])


# DistServe


PREFILL = {
    "OPT-13B": {1: (18.10254647, 0.10191226, 7.12226431e-6), 2: (14.74297370, 0.06857721, 2.44957274e-6),
                4: (12.06229703, 0.03808140, 5.22624973e-7)},
    "OPT-66B": {2: (43.05881348, 0.27422929, 2.24780425e-5), 3: (32.99823003, 0.19568257, 1.22052490e-5),
                4: (29.44163604, 0.15135218, 8.31745077e-6), 8: (25.49066238, 0.10659178, 3.39105025e-6)},
}  # fmt: skip
"""By TP: ms of a prompt, a + b·tokens + c·tokens²; divided by the stages of a pipeline, 1 ms more for each."""
DECODE = {
    "OPT-13B": {1: (19.93470262, 6.26935652e-4, 0.03850698), 2: (13.29479635, 3.41092197e-4, 0.06296393),
                4: (10.25623168, 1.87867023e-4, 0.03269273)},
    "OPT-66B": {2: (48.28801549, 9.42434354e-4, 0.12755020), 3: (35.80154395, 5.84500479e-4, 0.09526698),
                4: (30.76028462, 4.51947604e-4, 0.06328420), 8: (23.15511135, 2.26914885e-4, 0.04800638)},
}  # fmt: skip
"""By TP: ms of a step of fewer than 95 sequences, a + b·tokens in the cache + c·sequences; divided by the stages."""
SMALL = 94
"""Sequences of the largest batch that the fit of small batches is for."""
TOKENS = {
    "OPT-13B": {(1, 1): 66144, (1, 2): 163008, (2, 1): 163008, (2, 2): 356752, (1, 4): 356752, (4, 1): 356736},
    "OPT-66B": {(1, 2): 11600, (1, 4): 78512, (2, 1): 11600, (2, 2): 78512, (2, 4): 212320, (3, 1): 45056,
                (3, 2): 145408, (4, 1): 78496, (4, 2): 212320, (8, 1): 212304},
}  # fmt: skip
"""Tokens of cache that fit, by TP and PP, on A100s of 80 GB."""
BATCH_LIMIT = 50_000
"""Tokens of a decode batch that the simulator takes at most."""
INPUT, OUTPUT = 755.5, 200.3


@dataclass(frozen=True)
class Placement:
    """A published placement: (TP, PP) of prefill and decode, limits in ms, devices of its scenario."""

    model: str
    devices: int
    ttft_ms: float
    tpot_ms: float
    prefill: tuple[int, int]
    decode: tuple[int, int]
    published: str


PLACEMENTS = (
    Placement("OPT-13B", 4, 200, 100, (2, 1), (1, 1), "1.56"),
    Placement("OPT-66B", 8, 2500, 150, (4, 1), (2, 2), ""),
    Placement("OPT-66B", 6, 2500, 150, (4, 1), (2, 2), ""),
)


def prefill_rate(model: str, tp: int, pp: int, ttft_ms: float) -> float:
    """Requests/s at which the mean time to the first token keeps its limit, as M/D/1 (the paper's equation 1).

    D + R·D²/(2(1 − R·D)) ≤ limit, where the first stage of D/pp takes the next request: the wait is that of a stage.
    """
    a, b, c = PREFILL[model][tp]
    stage = (a + b * INPUT + c * INPUT * INPUT) / pp + pp
    slack = ttft_ms - stage * pp
    return 0.0 if slack <= 0 else 1000 / stage * (2 * slack) / (stage + 2 * slack)


def decode_rate(model: str, tp: int, pp: int, tpot_ms: float) -> float:
    """Requests/s of the largest batch that memory, the simulator and the limit on a token allow (Little's law)."""
    a, b, c = DECODE[model][tp]
    length = INPUT + OUTPUT / 2
    held = min(TOKENS[model][tp, pp], BATCH_LIMIT * pp) / length
    # a stage works on one of `pp` batches at a time; a token takes all stages
    each = min(held / pp, SMALL, (tpot_ms - a) / (b * length + c))
    return 0.0 if each <= 0 else pp * each / (a + (b * length + c) * each) / OUTPUT * 1000


def placement_cluster(own: Placement) -> Cluster:
    """Every layout with a fit on the devices of a scenario."""
    table = []
    for tp, pp in TOKENS[own.model]:
        if tp in PREFILL[own.model] and tp * pp <= own.devices:
            rates: dict[ReplicaRole, float] = {
                "prefill": prefill_rate(own.model, tp, pp, own.ttft_ms),
                "decode": decode_rate(own.model, tp, pp, own.tpot_ms),
            }
            name = f"tp{tp}pp{pp}" if pp > 1 else f"tp{tp}"
            table += [row("A100", role, name, tp * pp, rate) for role, rate in rates.items() if rate]
    return cluster_of(own.model, (pool_of("A100", (own.devices,), own.devices),), tuple(table))


def placement_served(own: Placement) -> tuple[float, int]:
    """Requests/s of one published pair by the same rates, and its devices."""
    rates = prefill_rate(own.model, *own.prefill, own.ttft_ms), decode_rate(own.model, *own.decode, own.tpot_ms)
    return min(rates), own.prefill[0] * own.prefill[1] + own.decode[0] * own.decode[1]


LARGEST: Mapping[ReplicaRole, Mapping[str, int]] = {"prefill": {"tp": 3, "pp": 3}, "decode": {"tp": 4, "pp": 3}}
"""The published placement of OPT-175B, on the paper's cluster: 9 and 12 devices take two nodes of 8 each."""
LARGEST_BATCHES: Mapping[ReplicaRole, Sequence[int]] = {"prefill": range(1, 13), "decode": range(80, 128, 4)}
LARGEST_PROBLEM: Mapping[str, Any] = {
    "name": "OPT-175B", "pools": {"a100": {"hardware": "a100-sxm-8", "nodes": 4}}, "objective": "throughput",
    "demands": {
        DEMAND: {
            "model": "gpt-3-175b", "limits": {"ttft": "4 s", "tpot": "200 ms"},
            "workload": {"phase": "disaggregated", "input_tokens": 756, "output_tokens": 200},
        }
    },
}  # fmt: skip


def largest_served() -> float:
    """Requests/s of the published placement of OPT-175B, judged by `verify`, at the batches that serve most."""
    most = []
    for role, degrees in LARGEST.items():
        layouts = [{**degrees, "batch": batch, "prefill_chunk": 756} for batch in LARGEST_BATCHES[role]]
        entries = [{"demand": DEMAND, "role": role, "pool": "a100", "layout": layout} for layout in layouts]
        judged = optimizer.verify({"problem": LARGEST_PROBLEM, "fleet": {"replicas": entries}})
        most.append(max(own["requests_per_s"] for own in judged.to_json()["fleet"]["replicas"]))
    return min(most)


def main() -> None:
    """One line for each published choice."""
    print("| choice | published | requests/s by its rates | best of the same machines | requests/s "
          "| best for the same cost | requests/s | certificates |")  # fmt: skip
    print("| --- | --- | --: | --- | --: | --- | --: | --- |")
    for split in SPLITS:
        same, ok = proved(split_cluster(split))
        cost, fine = proved(split_cluster(split, any_kind=True))
        told = f"{split.prompt[1]}P {split.prompt[0]} + {split.token[1]}D {split.token[0]}"
        cells = [split.name, told, f"{split_served(split):.1f}", shown(same), f"{float(same.value or 0):.1f}"]
        cells += [shown(cost), f"{float(cost.value or 0):.1f}", "accepted" if ok and fine else "REJECTED"]
        print("| " + " | ".join(cells) + " |", flush=True)
    print()
    print("| placement | published pair | published | by its rates | best fleet | by its rates | certificate |")
    print("| --- | --- | --: | --: | --- | --: | --- |")
    for own in PLACEMENTS:
        served, devices = placement_served(own)
        best, ok = proved(placement_cluster(own))
        pair = "tp{}pp{} + tp{}pp{}".format(*own.prefill, *own.decode)
        its = f"{served / devices:.2f}" if devices <= own.devices else "does not fit"
        cells = [f"{own.model}, {own.devices} A100", pair, own.published, its, shown(best)]
        cells += [f"{float(best.value or 0) / own.devices:.2f}", "accepted" if ok else "REJECTED"]
        print("| " + " | ".join(cells) + " |", flush=True)
    best, ok = proved(cluster_in(load_text(json.dumps(LARGEST_PROBLEM), "<values>")))
    devices, used = 32, 21
    cells = [f"OPT-175B, {devices} A100", "tp3pp3 + tp4pp3", "", f"{largest_served() / used:.2f}", shown(best)]
    served = float((best.value or 0) / LARGEST_PROBLEM["demands"][DEMAND]["workload"]["output_tokens"])
    cells += [f"{served / devices:.2f}", "accepted" if ok else "REJECTED"]
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
