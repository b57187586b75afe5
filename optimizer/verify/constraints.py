"""Every constraint family, stated without a solver; the search states them independently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from optimizer.domain.engines import Engine
from optimizer.domain.engines.reservation import GIB
from optimizer.domain.families import Family
from optimizer.domain.layout import Layout
from optimizer.domain.limit_table import bounds_of, tightest
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.figures.bandwidth import fabric_bandwidth
from optimizer.figures.costs import Imbalance
from optimizer.figures.objective import value_of
from optimizer.figures.places import value_with_wait, wait_at_load
from optimizer.figures.reserve import pool_bytes
from optimizer.figures.room import room_of
from optimizer.figures.serving import Evaluation
from optimizer.units import Dimension, format_quantity, plain
from optimizer.verify.structure import structural_violations
from optimizer.verify.violation import Violation, against

__all__ = ["Violation", "priced_violations", "structural_violations", "violations"]

BLOCKING = (Family.MESH, Family.PIPELINE)
"""A layout that violates one of these has no price."""


def memory(problem: Problem, evaluation: Evaluation) -> Iterator[Violation]:
    """Every stage's fullest device holds no more than the exposed memory × utilisation, and than SGLang's share."""
    capacity = problem.capacity_bytes
    for stage, stage_memory in enumerate(evaluation.memory):
        if stage_memory.total_bytes > capacity:
            degrees = evaluation.layout
            experts = f", etp={degrees.etp}, ep={degrees.ep}" if problem.model.moe is not None else ""
            yield Violation(
                Family.MEMORY,
                f"stage {stage} needs {against(stage_memory.total_bytes, capacity, Dimension.BYTES, 'of')} "
                f"at tp={degrees.tp}, cp={degrees.cp}{experts}, pp={degrees.pp}, batch={degrees.batch}",
                {"stage": stage, "needed_bytes": stage_memory.total_bytes, "capacity_bytes": capacity},
            )
    pool = pool_bytes(problem, evaluation.shape)
    for stage, stage_memory in enumerate(evaluation.memory):
        needed = stage_memory.total_bytes - stage_memory.activations_bytes - stage_memory.reserve_bytes
        if pool is not None and needed > pool:
            yield Violation(
                Family.MEMORY,
                f"weights and cache of stage {stage} take {against(needed, pool, Dimension.BYTES, 'of')} within "
                f"mem_fraction_static at batch={evaluation.layout.batch}",
                {"stage": stage, "needed_bytes": needed, "capacity_bytes": pool},
            )


def batch(problem: Problem, evaluation: Evaluation) -> Iterator[Violation]:
    """The engine takes the batch and its steps, and prefill keeps up with it: the queue of prompts does not grow."""
    share, mixed = evaluation.steps.share, evaluation.steps.mixed
    work, step = problem.workload, evaluation.steps.largest
    for name, count, most in (
        ("max_num_seqs", evaluation.layout.batch, work.max_num_seqs),
        ("max_num_batched_tokens", step.tokens, work.max_num_batched_tokens),
    ):
        if most is not None and count > most:
            noun = "sequences of a rank" if name == "max_num_seqs" else (
                f"tokens of a step, {step.decoded:,} of them decoded and {step.prompt:,} of prompts"
            )  # fmt: skip
            yield Violation(Family.BATCH, f"{count:,} {noun}: {name} is {most:,}", {"found": count, name: most})
    if share > 1 and mixed is not None:
        chunk = mixed.prompt
        yield Violation(
            Family.BATCH,
            f"batch={evaluation.layout.batch} finishes requests faster than chunks of {chunk} prompt tokens replace "
            f"them: {plain(share):.4g} chunks a step",
            {"share": share, "batch": evaluation.layout.batch, "prefill_chunk": chunk},
        )
    if mixed is not None and evaluation.load == 1:
        # beyond, the request rate itself is not served
        yield Violation(
            Family.BATCH,
            "prompts arrive as fast as they are computed: the queue grows without end",
            {"load": evaluation.load},
        )


def concurrency(problem: Problem, evaluation: Evaluation) -> Iterator[Violation]:
    """All requests that a closed loop keeps in flight are computed at once."""
    work, layout = problem.workload, evaluation.layout
    looped = work.in_flight(layout.dp)
    if looped is not None and layout.batch < looped:
        yield Violation(
            Family.BATCH,
            f"{layout.batch * layout.dp:,} sequences of all ranks at once, where workload.concurrency keeps "
            f"{work.concurrency:,} requests in flight: how long the others wait is not priced",
            {"found": layout.batch, "concurrency": work.concurrency or 0},
        )


def bounded(problem: Problem, evaluation: Evaluation) -> Iterator[Violation]:
    """Limits on the value of an objective, such as TTFT and TPOT, in the phases that have it."""
    sure = problem.limits.confidence
    for limit, stated in bounds_of(problem):
        row, bound = limit.objective, limit.predicted(problem, stated)
        if row.scale_of(problem).measure is Measure.CONTEXT:
            continue
        value = value_of(row, problem, evaluation)
        if value is not None and not row.keeps(value, bound):
            word = "wanted" if row.maximised else "allowed"
            if bound != stated:
                word += f" for {format_quantity(stated, limit.dimension)} at {float(sure or 0):.0%} confidence"
            yield Violation(
                limit.family,
                f"{row.words} is {against(value, bound, limit.dimension, 'of')} {word}",
                {f"{limit.name}_{limit.unit}": value, f"limit_{limit.unit}": bound},
            )


def places(problem: Problem, evaluation: Evaluation) -> Iterator[Violation]:
    """A limit on TTFT that the wait for a free place breaks, though the queue of prompts does not."""
    on_firsts = [
        (limit, limit.predicted(problem, stated))
        for limit, stated in bounds_of(problem)
        if limit.objective.scale_of(problem).measure is Measure.FIRST
    ]
    wait = wait_at_load(problem, evaluation) if on_firsts else None
    if wait is None:
        return
    for limit, bound in on_firsts:
        value = value_of(limit.objective, problem, evaluation)
        whole = value_with_wait(limit.objective, problem, evaluation, wait)
        if value is None or value > bound or (whole is not None and whole <= bound):
            continue
        beside = "no end" if whole is None else format_quantity(whole - value, limit.dimension)
        yield Violation(
            limit.family,
            f"{limit.objective.words} is {format_quantity(value, limit.dimension)} and {beside} of waiting for one of "
            f"{evaluation.layout.batch:,} places, of {format_quantity(bound, limit.dimension)} allowed: "
            f"{format_quantity(wait.chance, Dimension.RATIO)} of requests find none free",
            {f"{limit.name}_{limit.unit}": value if whole is None else whole, f"limit_{limit.unit}": bound},
        )


def longest(problem: Problem, evaluation: Evaluation) -> Iterator[Violation]:
    """The cache holds one sequence of `max_model_len`, where the engine asks that: it does not start otherwise."""
    length = tightest(problem).get(Measure.CONTEXT)
    if length is None or any(memory(problem, evaluation)):
        return
    room = room_of(problem, evaluation.shape, evaluation.cuts)
    if room.longest_context >= length:
        return
    message = problem.cache.admits_longest.format(
        length=int(length), needed=room.checked_bytes / GIB, room=max(room.checked_room_bytes, 0) / GIB,
        longest=room.longest_context,
    )  # fmt: skip
    yield Violation(
        Family.MEMORY, f"{problem.engine.title} does not start: {message}",
        {"needed_bytes": room.checked_bytes, "room_bytes": room.checked_room_bytes, "longest": room.longest_context},
    )  # fmt: skip


def request_rate(problem: Problem, evaluation: Evaluation) -> Iterator[Violation]:
    """All replicas together serve the wanted request rate."""
    wanted = problem.workload.request_rate
    if wanted is not None and evaluation.request_capacity < wanted:
        served = against(evaluation.request_capacity, wanted, Dimension.PER_SECOND, "of")
        yield Violation(
            Family.REQUEST_RATE,
            f"{evaluation.devices} devices serve {served}",
            {"capacity_per_s": evaluation.request_capacity, "wanted_per_s": wanted},
        )


def bandwidth(problem: Problem, evaluation: Evaluation, imbalance: Imbalance = None) -> Iterator[Violation]:
    """Mean bytes/s of a device over the outermost tier within `limits.fabric_bandwidth`."""
    limit = problem.limits.fabric_bandwidth
    if limit is None:
        return
    used = fabric_bandwidth(problem, evaluation, imbalance)
    if used > limit:
        tier = problem.hardware.tiers[-1].name
        yield Violation(
            Family.BANDWIDTH,
            f"a device sends {against(used, limit, Dimension.BYTES_PER_SECOND, 'of')} allowed over tier {tier!r}",
            {"used_bytes_per_s": used, "limit_bytes_per_s": limit},
        )


def priced_violations(
    problem: Problem, evaluation: Evaluation, imbalance: Imbalance = None, *, waits: bool = True
) -> tuple[Violation, ...]:
    """Every violated constraint on the figures of a layout; `waits`: the wait for a free place among them."""
    return (
        *memory(problem, evaluation),
        *batch(problem, evaluation),
        *concurrency(problem, evaluation),
        *bounded(problem, evaluation),
        *(places(problem, evaluation) if waits else ()),
        *longest(problem, evaluation),
        *request_rate(problem, evaluation),
        *bandwidth(problem, evaluation, imbalance),
    )


def violations(
    problem: Problem,
    layout: Layout,
    evaluation: Evaluation,
    *,
    imbalance: Imbalance = None,
    engines: Sequence[Engine] | None = None,
    waits: bool = True,
) -> tuple[Violation, ...]:
    """Every violated constraint, each with a witness; empty where the layout is feasible.

    Parameters
    ----------
    evaluation
        Figures of `layout`.
    imbalance
        What `evaluation` was priced with.
    engines
        Engines whose rules bind, in place of the problem's.
    waits
        Whether the wait for a free place counts; the search leaves it out, and what it finds is then a bound.
    """
    return (
        *structural_violations(problem, layout, engines=engines),
        *priced_violations(problem, evaluation, imbalance, waits=waits),
    )
