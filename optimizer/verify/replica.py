"""One priced replica as a column: what it serves within its demand's limits, the transfer of the cache included.

A request of a disaggregated demand has its KV cache sent from prefill to decode replica once the prompt is computed,
every device sending, and receiving, its own shard over the slowest link from its pool to those that its replica
exchanges caches with: its fabric, or a stated link between pools. The time until the first token counts the slower of
the two; no engine's overlap is credited.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fractions import Fraction

from optimizer.domain.cluster import Cluster, Demand, Pool, ReplicaRole
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.domain.workload import PHASES, ServingWorkload
from optimizer.figures.layer import Step
from optimizer.figures.memory import build_memory
from optimizer.figures.partition import cuts_of
from optimizer.figures.serving import evaluate
from optimizer.fleet.column import Column, column_layout, cost_of, power_of
from optimizer.verify.constraints import BLOCKING, priced_violations, structural_violations
from optimizer.verify.violation import Violation

_DIGITS = 3
"""Digits that a rate keeps beside its first: rounded down, so that what is claimed is served."""
_LOOP_DIGITS = 11
"""The same of a replica whose requests are always in flight: its capacity, whatever rate is asked."""
_HALVINGS, _NEAR = 14, Fraction(1, 2000)
_CLOSE_HALVINGS, _CLOSE = 45, Fraction(1, 10**11)
"""The same where a bound is to be met."""
_FULL = Fraction(999, 1000)
"""Load of a replica from which on its queue says how its rate was rounded, not how long a request waits."""
_UNDIVIDED = Layout(tp=1, prefill_chunk=1)
"""One device that holds all of a request's cache."""


class UnservedError(ValueError):
    """A layout that does not serve a rate within its demand's limits; `violations` says everything that is broken."""

    def __init__(self, message: str, violations: Sequence[Violation] = ()) -> None:
        super().__init__(message)
        self.violations = tuple(violations)


def replica_problem(
    cluster: Cluster, demand: Demand, role: ReplicaRole, pool: Pool, devices: int, bucket: int = 0, *,
    sent_s: Fraction = Fraction(0),
) -> Problem:  # fmt: skip
    """The problem that one replica of a demand and role solves on at most so many devices of a pool.

    Parameters
    ----------
    bucket
        The longest of its demand's buckets that the replica takes; all its requests count as long.
    sent_s
        Seconds of the transfer of the cache, which the limit on the first token leaves for the prompt.

    Raises
    ------
    ValueError
        Where model, hardware and workload do not go together.
    """
    assert demand.model is not None  # noqa: S101 - refused where clusters are read
    assert pool.hardware is not None  # noqa: S101 - the same
    longest = demand.buckets[bucket]
    firsts = {name: max(limit - sent_s, Fraction(0)) for name, limit in demand.limits.on_firsts.items()}
    limits = demand.limits.model_copy(update=firsts)
    return Problem(
        name=cluster.name, model=demand.model, hardware=pool.hardware, devices=devices,
        workload=ServingWorkload(
            phase=role, input_tokens=longest.input_tokens, output_tokens=longest.output_tokens,
            arrival=demand.arrival or "poisson", prefix_cache_hit=demand.prefix_cache_hit, mtp_tokens=demand.mtp_tokens,
            mtp_acceptance=demand.mtp_acceptance,
        ),
        limits=limits, objective="throughput", engine_name=demand.engine_name, search=demand.search,
        seed=cluster.seed,
    )  # fmt: skip


def ceiling_problem(
    cluster: Cluster, demand: Demand, role: ReplicaRole, pool: Pool, devices: int, rate: Fraction,
    sent_s: Fraction | None = None, bucket: int = 0,
) -> Problem:  # fmt: skip
    """The problem that nothing solves where no replica of at most so many devices serves a rate; 0: where none fits.

    A dense model's replica has dp = 1.

    Parameters
    ----------
    sent_s
        Seconds that a prefill replica leaves for the transfer of a cache; None: the least that any takes.
    """
    transfer_s = Fraction(0)
    if role == "prefill":
        transfer_s = least_transfer(cluster, demand, role, pool, devices, bucket) if sent_s is None else sent_s
    problem = replica_problem(cluster, demand, role, pool, devices, bucket, sent_s=transfer_s)
    if problem.model.moe is None and problem.search.dp is None:
        problem = problem.model_copy(update={"search": problem.search.model_copy(update={"dp": (1,)})})
    return at_rate(problem, rate) if rate else problem


def tokens_of_role(demand: Demand, role: ReplicaRole, bucket: int = 0) -> int:
    """Tokens of a request of a bucket that the throughput of a role counts."""
    return PHASES[role].tokens(demand.buckets[bucket])


def at_rate(problem: Problem, rate: Fraction) -> Problem:
    """The same problem at a request rate."""
    return problem.model_copy(update={"workload": problem.workload.model_copy(update={"request_rate": rate})})


def device_link(cluster: Cluster, pool: Pool, peers: Collection[str] | None = ()) -> Fraction:
    """Bytes/s of one device to other nodes: the fabric's, or its share of the slowest link stated to a peer.

    Those that the pool has on its fullest node share a node's link.

    Parameters
    ----------
    peers
        Pools that it exchanges caches with; None: every one.
    """
    assert pool.hardware is not None  # noqa: S101 - refused where clusters are read
    fabric = pool.hardware.tiers[-1]
    links = [Fraction(fabric.bandwidth) * fabric.efficiency.value / fabric.oversubscription]
    for link, speed in cluster.links.items():
        others = cluster.pool if peers is None else peers
        if any(link in {f"{pool.name}-{other}", f"{other}-{pool.name}"} for other in others):
            links.append(Fraction(speed, max(pool.free)))
    return min(links)


def shard_bytes(problem: Problem, layout: Layout) -> int:
    """Bytes of one request's cache on the device that holds most of it, after its prompt."""
    prefill = problem.model_copy(update={"workload": problem.workload.model_copy(update={"phase": "prefill"})})
    memory = build_memory(prefill, layout.shape)
    return max(stage.kv_cache_bytes for stage in memory.stages(Step(0, 0, 1, 1), 1, cuts_of(prefill, layout)))


def transfer_of(
    problem: Problem, cluster: Cluster, pool: Pool, layout: Layout, peers: Collection[str] | None
) -> Fraction:
    """Seconds that a replica takes to send, or receive, the cache of one request."""
    shard = shard_bytes(problem, layout)
    return shard / device_link(cluster, pool, peers) + problem.hardware.tiers[-1].latency.value


def _most_sent(
    cluster: Cluster, problem: Problem, pool: Pool, layout: Layout, peers: tuple[str, ...] | None
) -> Fraction:
    """Requests/s whose caches the links of a replica take."""
    return layout.dp * device_link(cluster, pool, peers) / shard_bytes(problem, layout)


def sends(demand: Demand, role: ReplicaRole) -> bool:
    """Whether replicas of a role send, or receive, the caches of requests."""
    return role != "aggregated" and len(demand.chains) > 1


def least_transfer(
    cluster: Cluster, demand: Demand, role: ReplicaRole, pool: Pool, devices: int, bucket: int = 0
) -> Fraction:
    """Seconds that no replica of at most so many devices goes below: they share the cache of a request at best."""
    if not sends(demand, role):
        return Fraction(0)
    problem = replica_problem(cluster, demand, role, pool, devices, bucket)
    shard = Fraction(shard_bytes(problem, _UNDIVIDED), devices)
    return shard / device_link(cluster, pool) + problem.hardware.tiers[-1].latency.value


def beyond_links(
    cluster: Cluster, demand: Demand, role: ReplicaRole, pool: Pool, devices: int, rate: Fraction, bucket: int = 0
) -> bool:
    """Whether the caches of so many requests/s are more than the links of so many devices take."""
    if not rate or not sends(demand, role):
        return False
    problem = replica_problem(cluster, demand, role, pool, devices, bucket)
    return rate * shard_bytes(problem, _UNDIVIDED) > devices * device_link(cluster, pool)


def priced_column(
    cluster: Cluster, demand: Demand, role: ReplicaRole, pool: Pool, layout: Layout, rate: Fraction,
    sent_s: Fraction = Fraction(0), *, bucket: int = 0, peers: tuple[str, ...] | None = None,
) -> Column:  # fmt: skip
    """The column of a layout at a rate.

    Parameters
    ----------
    sent_s
        Seconds of the slowest transfer that a decode replica of the demand takes; of a prefill replica only.
    peers
        Pools whose replicas it exchanges caches with; None: every one.

    Raises
    ------
    UnservedError
        Where the layout is several replicas, or does not serve the rate within its limits.
    ValueError
        Where model, hardware and workload do not go together.
    """
    problem = replica_problem(cluster, demand, role, pool, layout.devices, bucket)
    broken = structural_violations(problem, layout)
    if layout.replicas != 1:
        raise UnservedError(f"the layout is {layout.replicas} replicas")
    if any(violation.family in BLOCKING for violation in broken):
        raise UnservedError(str(broken[0]), broken)
    transfer = Fraction(0)
    if sends(demand, role):
        transfer = transfer_of(problem, cluster, pool, layout, peers)
        if rate > _most_sent(cluster, problem, pool, layout, peers):
            raise UnservedError(f"{float(rate):g} requests/s send more cache than the link takes")
    if role == "prefill":
        transfer = max(transfer, sent_s)
        problem = replica_problem(cluster, demand, role, pool, layout.devices, bucket, sent_s=transfer)
    problem = at_rate(problem, rate)
    evaluation = evaluate(problem, layout)
    broken += priced_violations(problem, evaluation, waits=False)
    if broken:
        raise UnservedError(str(broken[0]), broken)
    ttft = evaluation.ttft_s
    if evaluation.load >= _FULL and not demand.limits.on_firsts:
        ttft = None
    return Column(
        demand=demand.name, role=role, pool=pool.name,
        layout=column_layout(demand, layout_name(layout), bucket), devices=layout.devices,
        requests_per_s=rate * pool.availability, cost=cost_of(cluster, pool.name, layout.devices),
        power_w=power_of(cluster, pool.name, layout.devices), priced=layout,
        ttft_s=None if ttft is None else ttft + (transfer if role == "prefill" else 0), tpot_s=evaluation.tpot_s,
        transfer_s=transfer, bucket=bucket, peers=peers if sends(demand, role) else None,
    )  # fmt: skip


def most_served(
    cluster: Cluster, demand: Demand, role: ReplicaRole, pool: Pool, layout: Layout, sent_s: Fraction,
    top: Fraction, *, bucket: int = 0, low: Fraction = Fraction(0), closely: bool = False,
    peers: tuple[str, ...] | None = None,
) -> Column | None:  # fmt: skip
    """The column of a layout at the most requests/s that it serves within its limits, by bisection below `top`.

    Parameters
    ----------
    low
        Requests/s from which on to look.
    closely
        To ten digits, not to three.
    """
    if sends(demand, role):
        problem = replica_problem(cluster, demand, role, pool, layout.devices, bucket)
        top = min(top, _most_sent(cluster, problem, pool, layout, peers))
    if demand.loops:
        rate = _rounded(top, _LOOP_DIGITS)
        try:
            return priced_column(cluster, demand, role, pool, layout, rate, sent_s, bucket=bucket, peers=peers)
        except UnservedError:
            return None
    digits, halvings, near = (_LOOP_DIGITS, _CLOSE_HALVINGS, _CLOSE) if closely else (_DIGITS, _HALVINGS, _NEAR)
    high, best = top, None
    for number in range(halvings):
        rate = _rounded((low + high) / 2 if number else top, digits)
        try:
            best, low = (
                priced_column(cluster, demand, role, pool, layout, rate, sent_s, bucket=bucket, peers=peers),
                rate,
            )
        except UnservedError:
            high = rate
        if best is not None and (low == _rounded(top, digits) or high - low <= high * near):
            break
    return best


def _rounded(rate: Fraction, digits: int = _DIGITS) -> Fraction:
    """A rate rounded down to a few digits."""
    scale = Fraction(1)
    while rate * scale < 10**digits:
        scale *= 10
    while rate * scale >= 10 ** (digits + 1):
        scale /= 10
    return Fraction(int(rate * scale)) / scale


def slowest_transfer(cluster: Cluster, columns: Sequence[Column], demand: Demand, bucket: int = 0) -> Fraction:
    """Seconds of the slowest transfer that a decode replica takes of a request of a bucket, or of a shorter one."""
    seconds = [Fraction(0)]
    for column in columns:
        if (column.demand, column.role) != (demand.name, "decode"):
            continue
        if column.bucket <= bucket or column.priced is None:
            seconds.append(column.transfer_s)
            continue
        pool = cluster.pool[column.pool]
        problem = replica_problem(cluster, demand, "decode", pool, column.devices, bucket)
        seconds.append(transfer_of(problem, cluster, pool, column.priced, column.peers))
    return max(seconds)


def layout_name(layout: Layout) -> str:
    """Degrees, batch and chunk that are not 1, in one word."""
    axes = ("tp", "cp", "dp", "pp", "etp", "ep")
    degrees = [f"{name}{value}" for name in axes if (value := getattr(layout, name)) > 1]
    degrees += [f"r{layout.redundant_slots}"] if layout.redundant_slots else []
    degrees += ["overlap"] if layout.overlap != "none" else []
    chunk = "" if layout.prefill_chunk is None else f"c{layout.prefill_chunk}"
    return "-".join([*(degrees or ["tp1"]), f"b{layout.batch}", *([chunk] if chunk else [])])
