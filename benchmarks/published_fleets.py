"""Published fleets of GPUs by request length, from their own rates and prices, beside the cheapest that there is.

A range of request lengths is a demand, a kind of GPU a pool, and a replica the GPUs that the publisher's own queueing
formula asks for. Which ranges to cut is decided over every cut at the points of the distribution; the program decides
the kinds, and its certificate is checked. Run with ``python -m benchmarks.published_fleets``.

Sources: formulas, profiles and scenarios of fleet-sim (vllm-project/semantic-router 3d48f8c, `src/fleet-sim` and
website/versioned_docs/version-v0.3/fleet-sim/use-cases.md, Apache-2.0; arXiv 2603.16054, 2603.16514), read on
2026-11-28; P99 wait of M/G/c after Kimura 1994. Its A10G profile is that of a 7B model: mixed answers are exact for its
data, not for one model.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import ceil, exp, inf, lgamma, log

from benchmarks import published_ratios, table
from optimizer.certificate import certify
from optimizer.cluster import solve_cluster
from optimizer.domain.cluster import Cluster, Demand, GivenRate, Period, Pool

HOURS_A_YEAR = 8760
BUSIEST = 0.85
"""Largest utilisation that the publisher allows."""
INPUT_SHARE = 0.8
"""Share of a request's tokens that are its prompt."""
SAMPLES, SEED = 3000, 42


@dataclass(frozen=True)
class Gpu:
    """A profile: an iteration takes `base_s` + `each_s` × sequences × mean length ÷ 8192."""

    name: str
    base_s: float
    each_s: float
    chunk: int
    blocks: int
    slots: int
    dollars_per_h: str

    def sequences(self, context: int) -> int:
        """Sequences in flight with a context window."""
        return min(self.slots * 8192 // context, self.blocks // ceil(context / 16))


GPUS = {
    "A10G": Gpu("A10G", 0.012, 0.0009, 256, 32768, 64, "1.01"),
    "A100": Gpu("A100", 0.008, 0.00065, 512, 65536, 128, "2.21"),
    "H100": Gpu("H100", 0.004, 0.00032, 1024, 65536, 256, "4.02"),
}


@dataclass(frozen=True)
class Case:
    """A published fleet and what it was planned for."""

    name: str
    distribution: str
    rate: int
    slo_s: float
    longest: int
    published: str
    published_kilodollars: float


CASES = (
    Case("azure, 100 requests/s", "azure", 100, 0.5, 8192, "19 A10G in two pools", 168),
    Case("azure, 200 requests/s", "azure", 200, 0.5, 8192, "24 A100 in one pool", 465),
    Case("lmsys, 100 requests/s", "lmsys", 100, 0.5, 65536, "A10G short, H100 long", 141),
    Case("agent, 20 requests/s", "agent_heavy", 20, 1.0, 65536, "25 H100 in two pools", 880),
)


@cache
def distribution(name: str) -> tuple[tuple[int, float], ...]:
    """Share of requests of at most so many tokens."""
    rows = [row for row in table("length_distributions.csv") if row["distribution"] == name]
    return tuple((int(row["tokens"]), float(row["share_up_to"])) for row in rows)


def busy_share(servers: int, load: float) -> float:
    """Erlang C: the share of requests that wait."""
    if load >= servers:
        return 1.0
    terms = [k * log(load) - lgamma(k + 1) for k in range(servers)]
    last = servers * log(load) - lgamma(servers + 1) - log(1 - load / servers)
    most = max(*terms, last)
    return exp(last - most) / (sum(exp(term - most) for term in terms) + exp(last - most))


def wait_p99(servers: int, rate: float, served: float, variation: float) -> float:
    """Seconds that 99% of requests wait at most."""
    if rate >= servers * served:
        return inf
    waiting = busy_share(servers, rate / served)
    return 0.0 if waiting <= 0.01 else log(waiting / 0.01) * (1 + variation) / (2 * (servers * served - rate))


@cache
def devices(case: Case, gpu: Gpu, low: int, high: int) -> int | None:
    """GPUs that serve all requests of more than `low` and at most `high` tokens; None where none do."""
    points = distribution(case.distribution)
    shares = {0: 0.0, **dict(points)}
    before, share = shares[low], shares[min(high, points[-1][0])] - shares[low]
    rate = share * case.rate
    if rate <= 0:
        return 0
    inside = [(t, (f - before) / share) for t, f in points if low < t <= high]
    dice, slots = random.Random(SEED), gpu.sequences(high)  # noqa: S311 - the publisher's own sampling
    times, prompts = [], []
    for _ in range(SAMPLES):
        drawn, last = dice.random(), 0
        for tokens, up_to in inside:
            if drawn <= up_to:
                least, most = max(low, 1, last + 1), min(high, tokens)
                length = dice.randint(least, most) if least <= most else high
                prompt = max(1, int(length * INPUT_SHARE))
                steps = ceil(prompt / gpu.chunk)
                step_s = gpu.base_s + gpu.each_s * length / 8192 * slots
                times.append((steps + max(1, length - prompt)) * step_s)
                prompts.append(steps * (gpu.base_s + gpu.each_s))
                break
            last = tokens
    mean = sum(times) / len(times)
    variation = max(0.01, sum(t * t for t in times) / len(times) / mean**2 - 1)
    first = sum(prompts) / len(prompts)
    if first > case.slo_s:
        return None
    served, found = slots / mean, max(1, ceil(rate * mean / slots) + 1)
    while wait_p99(found * slots, rate, served / slots, variation) > case.slo_s - first:
        found += 1
    return max(found, ceil(rate / (served * BUSIEST)))


def _yearly(gpu: Gpu, count: int) -> float:
    return count * float(gpu.dollars_per_h) * HOURS_A_YEAR / 1000


def ranges(case: Case, kinds: Sequence[Gpu], most: int) -> list[tuple[int, int]]:
    """The cheapest cut into at most so many ranges, over every cut at the points of the distribution."""
    ends = [0, *(t for t, _ in distribution(case.distribution) if t < case.longest), case.longest]
    best: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {(0, 0): (0.0, (0,))}
    for number in range(most):
        for start, low in enumerate(ends):
            if (number, start) not in best:
                continue
            cost, cuts = best[number, start]
            for stop in range(start + 1, len(ends)):
                prices = [_yearly(g, n) for g in kinds if (n := devices(case, g, low, ends[stop])) is not None]
                if prices:
                    offer = (cost + min(prices), (*cuts, ends[stop]))
                    key = (number + 1, stop)
                    best[key] = min(best.get(key, offer), offer)
    found = min(best[number, len(ends) - 1] for number in range(1, most + 1) if (number, len(ends) - 1) in best)
    return list(zip(found[1], found[1][1:], strict=False))


def cluster_of(case: Case, kinds: Sequence[Gpu], cuts: Sequence[tuple[int, int]]) -> Cluster:
    """The fleet as a cluster: ranges are demands, kinds of GPU are pools."""
    rows, rates = [], {}
    shares = {0: 0.0, **dict(distribution(case.distribution))}
    top = distribution(case.distribution)[-1][0]
    for low, high in cuts:
        name = f"to{high}"
        rates[name] = Fraction(repr((shares[min(high, top)] - shares[low]) * case.rate)).limit_denominator(10**9)
        for gpu in kinds:
            count = devices(case, gpu, low, high)
            if count:
                rows.append(
                    GivenRate(
                        pool=gpu.name, demand=name, role="aggregated", layout=f"{count}x{gpu.name}", devices=count,
                        requests_per_s=rates[name],
                    )
                )  # fmt: skip
    pools = tuple(
        Pool(
            name=gpu.name, hardware=None, devices_per_node=1, free=(1,) * 400, price=Fraction(gpu.dollars_per_h),
            billing="on_demand",
        )
        for gpu in kinds
    )  # fmt: skip
    return Cluster(
        name=case.name, pools=pools, objective="cost", rates=tuple(rows),
        demands=tuple(Demand(name=name, phase="aggregated", request_rate=None) for name in rates),
        periods=(Period(name="always", hours=Fraction(24), rates=rates),),
    )  # fmt: skip


def main() -> None:
    """One line for each case: published, two pools of the best kinds, and as many pools as help."""
    titles = ["fleet", "published", "k$ a year", "at most two pools", "k$ a year", "at most four pools", "k$ a year"]
    print("| " + " | ".join([*titles, "certificate", "s"]) + " |")
    print("| --- | --- | --: | --- | --: | --- | --: | --- | --: |")
    for case in CASES:
        kinds, started = list(GPUS.values()), time.perf_counter()
        cells = []
        accepted = True
        for most in (2, 4):
            result = solve_cluster(cluster_of(case, kinds, ranges(case, kinds, most)))
            accepted &= certify(json.loads(json.dumps(result.to_json()))).accepted and result.status == "optimal"
            fleet = " + ".join(r.layout for r in next(iter((result.fleet or {}).values()), ()))
            cells += [fleet, f"{float(result.value or 0) * HOURS_A_YEAR / 1000:.1f}"]
        taken = time.perf_counter() - started
        verdict = "accepted" if accepted else "REJECTED"
        row = [case.name, case.published, f"{case.published_kilodollars:g}", *cells, verdict, f"{taken:.1f}"]
        print("| " + " | ".join(row) + " |", flush=True)
    print()
    published_ratios.main()


if __name__ == "__main__":
    sys.exit(main())
