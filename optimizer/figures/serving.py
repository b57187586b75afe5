"""Serving figures of a layout: step times, TTFT, TPOT, throughput, memory; exact.

Definitions, used everywhere (``b`` sequences in flight a rank, ``µ = ceil(b/pp)`` of them in a micro-batch, ``c``
prompt tokens a step, ``P`` computed tokens of a prompt, ``e`` expected tokens a sequence gains per decode step):

- A prompt longer than c is taken in ``n = ceil(P ÷ c)`` even pieces of ``ceil(P ÷ n)`` tokens, one a step; else
  ``m = floor(c ÷ P)`` whole prompts share a step (n = 1). Workspace is that of c tokens, as engines reserve it.
- aggregated, in the steady state of continuous batching: a request keeps its place in the batch while its prompt is
  computed, (n + pp − 1) ÷ pp cycles, and while it decodes, N = (output − 1) ÷ e: T cycles in all. Steps carry the µ
  sequences of a micro-batch (all of them are counted as decoding, those few as well whose prompts a step carries: up to
  1% more than a simulated engine takes), and a share φ = µ·n ÷ (T·m) of them prompt tokens as well; stage time A = D +
  φ·(M − D); requests/s of a rank = b ÷ (T·pp·max A); φ ≤ 1. While a sequence decodes its own prompt is over: it meets
  those of the other b − 1, in a share ψ = (b − 1)·n ÷ (m·pp·N) of its steps, or in all of them; G = D + ψ·(M − D);
  cycle = pp·max G; TPOT = cycle ÷ e.
- decode: φ = 0, no TTFT. prefill: a step takes a piece of each of µ prompts; requests/s of a rank = b ÷ (n·pp·max P).
- TTFT = o + max (k·O + h·M + w·A), of what the engine lets a request wait for (`domain.engines`): its overhead o, and
  k = n + pp − 1 steps O that its own prompt is in; h = w = 0 alone, at random and in phase prefill. No engine waits for
  a chunk to fill: O has the max (1, ceil(φ·m)) prompts that come in a step on average; at random and in phase prefill
  it is M. In a closed loop of b requests a rank w is the steps waited, 0 where b is 1, and h those of the prompts that
  stand ahead: `BURST` of all requests start at once and have (b − 1) ÷ 2 before them on average, n ÷ m steps each.
- Attention data-parallel ranks take their prompts in the same steps, as TensorRT-LLM's `attention_dp_config` has it.
- Requests that come at random at `request_rate` add the mean wait of an M/D/1 queue (Pollaczek–Khinchine,
  deterministic service), ρ·S ÷ (2·(1 − ρ)), S = n·max M ÷ prompts a step (m, or µ in phase prefill). Where more is
  asked than all ranks serve, the load ρ is the rate ÷ their capacity: rate ≤ capacity ⇔ ρ ≤ 1, as S is at most
  1 ÷ a rank's capacity.
- Where requests come at random and decode, sequences in flight follow from the load (Little's law): a rank runs the
  least batch, up to that of the layout, that serves the requests asked of it, and TTFT and steps are of that batch.
  TPOT is of one among as many others as there are on average, those that wait for their first token too (Wolff 1982:
  Poisson arrivals see time averages), no fewer than steps are of and up to the batch. Capacity is of the largest batch
  up to that of the layout that keeps the limits on both. A batch that `search` fixes is in flight whatever the load.
- In a closed loop of `concurrency` requests a rank has its share of them in flight, rounded up, and serves that share.
- Throughput counts output tokens (prompt tokens in phase prefill): requests/s × tokens a request.
- Percentiles follow from how requests arrive (`figures.percentiles`). At random, TTFT has that of the wait in the M/D/1
  queue in place of the mean, and TPOT is of one among as many others as there are at most so much of the time, up to
  the batch: as many prompts as others are met by a request at most, each in the place of one that ends. In a closed
  loop all requests are alike but for the share `BURST`, the i-th of which has i before it; alone they are all alike.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor

from optimizer.domain.layout import Layout
from optimizer.domain.limit_table import first_limits, tightest
from optimizer.domain.limits import PERCENTILES
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import Costs, Imbalance, build_costs
from optimizer.figures.memory import Memory, StageMemory, build_memory
from optimizer.figures.partition import cuts_of
from optimizer.figures.percentiles import growth_of, in_flight, wait
from optimizer.figures.rates import TICKS_PER_SECOND, Rates, ceil_fraction, effective_rates
from optimizer.figures.steps import Steps, share_met, steps_of


@dataclass(frozen=True)
class Evaluation:
    """Exact figures of one layout.

    Durations in seconds as fractions; None where the phase has no such figure, and of TTFT at a load of 1 or more.

    Attributes
    ----------
    running
        Sequences in flight on a rank at the load asked for: those that steps and latencies are of.
    stage_ticks, cycle_ticks
        Mean step A of each stage, and mean step G that a decoding sequence meets.
    capacity_batch, capacity_ticks
        The batch that capacity is of, and its mean step in the slowest stage, in ticks.
    whole_capacity
        Requests/s with the layout's whole batch in flight.
    firsts
        TTFT but for the queue, of so many percent of all requests at most; empty in phase decode.
    service_s
        What a prompt takes the queue, 0 where none queue.
    tpots
        TPOT of so many percent of all requests at most; empty in phase prefill.
    imbalance
        The hottest device's load ÷ mean of each layer that steps were priced at, where a placement is known.
    between
        Where requests come at random, G lies so far from that of the first to that of the second.
    """

    layout: Layout
    shape: Shape
    cuts: tuple[int, ...]
    steps: Steps
    stage_ticks: tuple[Fraction, ...]
    cycle_ticks: tuple[Fraction, ...]
    decode_ticks: tuple[int, ...]
    mixed_ticks: tuple[int, ...]
    own_ticks: tuple[int, ...]
    memory: tuple[StageMemory, ...]
    ttft_s: Fraction | None
    tpot_s: Fraction | None
    queue_s: Fraction
    load: Fraction
    request_capacity: Fraction
    throughput: Fraction
    devices: int
    running: int
    capacity_batch: int
    capacity_ticks: Fraction
    whole_capacity: Fraction
    firsts: Mapping[int, Fraction]
    service_s: Fraction
    tpots: Mapping[int, Fraction]
    imbalance: Imbalance = None
    between: tuple[Fraction, Evaluation, Evaluation] | None = None

    def first_token_s(self, percentile: int | None) -> Fraction | None:
        """TTFT, mean or of so many percent of all requests at most; None where the queue grows without end."""
        if percentile is None or not self.firsts or self.endless:
            return self.ttft_s
        if not self.service_s:
            return self.firsts[percentile]
        return self.firsts[percentile] + wait(self.load, percentile) * self.service_s

    @property
    def endless(self) -> bool:
        """Whether requests arrive as fast as they are served, or faster: they wait longer and longer."""
        return self.load >= 1

    @property
    def memory_bytes(self) -> int:
        """Bytes on the fullest device of all stages."""
        return max(stage.total_bytes for stage in self.memory)

    @property
    def throughput_per_device(self) -> Fraction:
        """Tokens/s and device."""
        return self.throughput / self.devices


BURST = Fraction(1, 10)
"""Share of a closed loop's requests that start at once: load generators send ten for each that is in flight
(InferenceX `benchmark_serving.py --num-prompts 10 · concurrency`; AIPerf and genai-perf alike)."""


@dataclass(frozen=True)
class FirstToken:
    """TTFT but for the queue of random arrivals: `fixed_s` + max over stages of `own`·O + `ahead`·M + `mean`·A."""

    fixed_s: Fraction
    own: int
    ahead: Fraction
    mean: Fraction

    def ticks(self, own: Sequence[int], mixed: Sequence[int], mean: Sequence[Fraction]) -> Fraction:
        """The maximum over stages."""
        return max(self.own * o + self.ahead * m + self.mean * a for o, m, a in zip(own, mixed, mean, strict=True))


def first_token(
    problem: Problem, *, pp: int, batch: int, steps: Steps, hosted: bool = True, percentile: int | None = None
) -> FirstToken:
    """What TTFT is made of at a batch.

    Parameters
    ----------
    hosted
        Whether an engine lets requests wait.
    percentile
        Percent of all requests that have no more before them; None: the mean.
    """
    waiting, passes, nothing = problem.waiting, steps.pieces + pp - 1, Fraction(0)
    if not hosted:
        return FirstToken(nothing, passes, nothing, nothing)
    if not problem.workload.looped or batch == 1:
        return FirstToken(waiting.overhead_s, passes, nothing, nothing)
    ahead = prompts_ahead(batch, percentile) * Fraction(steps.pieces, steps.together)
    return FirstToken(waiting.overhead_s, passes, ahead, waiting.steps)


def prompts_ahead(batch: int, percentile: int | None) -> Fraction:
    """Prompts before a request in a closed loop of so many: of the mean, or of so many percent of them at most."""
    if percentile is None:
        return BURST * (batch - 1) / 2
    within = 1 - (1 - Fraction(percentile, 100)) / BURST
    return Fraction(max(0, ceil_fraction(within * batch) - 1))


DEFAULT_CHUNK = 8192
"""Prompt tokens a step where a layout names none: vLLM's default on large devices."""


def default_chunk(problem: Problem, micro_batch: int) -> int:
    """Prompt tokens a step where a layout names none.

    `DEFAULT_CHUNK`, or what `max_num_batched_tokens` leaves; of shorter prompts as many whole ones as keep φ ≤ 1.
    """
    work = problem.workload
    prompt, stated, most = work.computed_input_tokens, work.max_num_batched_tokens, DEFAULT_CHUNK
    if stated is not None:
        most = work.chunk_within(stated, micro_batch)
    if not work.splits or prompt >= most or not work.mixes:
        return min(most, prompt) if work.splits else prompt
    finished = micro_batch / work.cycles_of_request(1, 1)
    return prompt * max(1, min(ceil_fraction(finished), most // prompt))


def chunk_of(problem: Problem, layout: Layout) -> int:
    """Prompt tokens a step of a layout."""
    return layout.prefill_chunk or default_chunk(problem, layout.micro_batch)


@dataclass(frozen=True)
class Timing:
    """Times of a phase from its stages' times; see the module's definitions."""

    cycle: Fraction
    ttft_s: Fraction | None
    tpot_s: Fraction | None
    queue_s: Fraction
    load: Fraction
    rank_requests: Fraction

    def first_token_s(self, service: Fraction, percentile: int | None) -> Fraction:
        """TTFT, whose part without a queue is `percentile`'s own, where the queue ends.

        Parameters
        ----------
        service
            What a prompt takes the queue, in seconds; 0 where none queue.
        """
        assert self.ttft_s is not None  # noqa: S101 - asked for only where there are prompts
        if percentile is None or not service:
            return self.ttft_s
        return self.ttft_s - self.queue_s + wait(self.load, percentile) * service


def timing(
    problem: Problem,
    *,
    pp: int,
    batch: int,
    steps: Steps,
    slowest: Fraction,
    slowest_met: Fraction,
    slowest_mixed: int | None,
    ranks: int,
    first_s: Fraction | None = None,
) -> Timing:
    """TTFT, TPOT and request capacity of one attention rank.

    Parameters
    ----------
    slowest, slowest_met
        max over stages of A and of G, in ticks (of P with nothing to decode).
    slowest_mixed
        max over stages of M, in ticks; None in phase decode, and where φ ≤ 1 and no queue is asked for.
    ranks
        Attention data-parallel ranks in all, among which `request_rate` is shared.
    first_s
        TTFT but for the queue; None in phase decode.
    """
    work = problem.workload
    cycle, mean_cycle = pp * slowest_met / TICKS_PER_SECOND, pp * slowest / TICKS_PER_SECOND
    requests = work.decoding(batch, ranks) / (work.cycles_of_request(steps.pieces, pp) * mean_cycle)
    tpot = cycle / work.tokens_per_step if work.decodes else None
    queue, load = Fraction(0), Fraction(0)
    if steps.share > 1 and slowest_mixed is not None:
        # no cycle is that of steps more than all of which carry prompts: prompts are what bounds the rank
        requests = min(requests, steps.together * Fraction(TICKS_PER_SECOND, steps.pieces * slowest_mixed))
    rate = work.request_rate
    if rate is not None and rate > requests * ranks:
        load = rate / (requests * ranks)
    if work.queued_rate is not None and slowest_mixed is not None and not load:
        service = service_s(problem, steps, slowest_mixed)
        load = work.queued_rate / ranks * service
        if load < 1:
            queue = load * service / (2 * (1 - load))
    return Timing(cycle, None if first_s is None else first_s + queue, tpot, queue, load, requests)


def service_s(problem: Problem, steps: Steps, slowest_mixed: int) -> Fraction:
    """What a prompt takes the queue of random arrivals, S; 0 where none queue."""
    if problem.workload.queued_rate is None or not slowest_mixed:
        return Fraction(0)
    return steps.pieces * Fraction(slowest_mixed, TICKS_PER_SECOND) / steps.together


def mean_ticks(share: Fraction, decode: Sequence[int], mixed: Sequence[int]) -> tuple[Fraction, ...]:
    """Mean time of each stage over decode and mixed steps, `share` of them mixed."""
    if not mixed:
        return tuple(Fraction(d) for d in decode)
    if not decode:
        return tuple(Fraction(m) for m in mixed)
    return tuple(d + share * (m - d) for d, m in zip(decode, mixed, strict=True))


def evaluate(
    problem: Problem,
    layout: Layout,
    *,
    imbalance: Imbalance = None,
    rates: Rates | None = None,
    costs: Costs | None = None,
    memory: Memory | None = None,
    full: bool = False,
) -> Evaluation:
    """Price a layout, at the load asked for; whether it keeps the limits is not said.

    Parameters
    ----------
    imbalance
        The hottest device's load ÷ mean of each layer, where a placement is known.
    rates
        Achieved rates by default; pass `ideal_rates` for the physical bound.
    costs, memory
        Coefficients of the layout's shape where the caller has them already.
    full
        With the whole batch in flight, whatever the load.
    """
    work = problem.workload
    shape = layout.shape
    rates = rates or effective_rates(problem.priced_hardware)
    costs = costs or build_costs(problem, shape, rates, imbalance)
    memory = memory or build_memory(problem, shape)
    cuts = cuts_of(problem, layout)
    steps = steps_of(work, layout.micro_batch, chunk_of(problem, layout), layout.pp)
    decode = tuple(costs.stages(steps.decode, cuts)) if steps.decode else ()
    mixed = tuple(costs.stages(steps.mixed, cuts)) if steps.mixed else ()
    own = mixed if steps.own == steps.mixed or steps.own is None else tuple(costs.stages(steps.own, cuts))
    mean = mean_ticks(steps.share, decode, mixed)
    met = mean_ticks(share_met(steps, layout.batch), decode, mixed)
    firsts: dict[int | None, Fraction] = {}
    priced, priced_s = None, Fraction(0)
    for share in (None, *PERCENTILES) if mixed else ():
        first = first_token(
            problem, pp=layout.pp, batch=layout.batch, steps=steps, hosted=rates.hosted, percentile=share
        )
        if first != priced:
            priced, priced_s = first, first.fixed_s + first.ticks(own, mixed, mean) / TICKS_PER_SECOND
        firsts[share] = priced_s
    first_s = firsts.pop(None, None)
    times = timing(
        problem, pp=layout.pp, batch=layout.batch, steps=steps, slowest=max(mean), slowest_met=max(met),
        slowest_mixed=max(mixed) if mixed else None, ranks=layout.dp, first_s=first_s,
    )  # fmt: skip
    capacity = times.rank_requests * layout.dp
    evaluation = Evaluation(
        layout=layout, shape=shape, cuts=cuts, steps=steps, stage_ticks=mean, cycle_ticks=met, decode_ticks=decode,
        mixed_ticks=mixed, own_ticks=own, memory=tuple(memory.stages(steps.largest, layout.batch, cuts)),
        ttft_s=None if times.load >= 1 else times.ttft_s, tpot_s=times.tpot_s,
        queue_s=times.queue_s, load=times.load, request_capacity=capacity,
        throughput=capacity * work.tokens_of_request, devices=layout.devices, running=layout.batch,
        capacity_batch=layout.batch, capacity_ticks=max(mean), whole_capacity=capacity,
        firsts={share: value for share, value in firsts.items() if share is not None},
        service_s=service_s(problem, steps, max(mixed, default=0)),
        tpots={} if times.tpot_s is None else dict.fromkeys(PERCENTILES, times.tpot_s), imbalance=imbalance,
    )  # fmt: skip
    in_loop = work.in_flight(layout.dp)
    loaded = work.queued_rate is not None and work.decodes and problem.search.batch is None
    if full or not (loaded or (in_loop is not None and in_loop < layout.batch)):
        return evaluation
    chunk = chunk_of(problem, layout) if work.prompts else None

    def at(batch: int) -> Evaluation:
        changed = layout.model_copy(update={"batch": batch, "prefill_chunk": chunk})
        return evaluate(problem, changed, imbalance=imbalance, rates=rates, costs=costs, memory=memory, full=True)

    if in_loop is not None:
        looped = at(in_loop)
        return replace(
            looped,
            layout=layout,
            steps=replace(looped.steps, largest=evaluation.steps.largest),
            memory=evaluation.memory,
        )
    assert work.queued_rate is not None  # noqa: S101 - by the condition
    return _at_load(problem, evaluation, work.queued_rate, at)


def _at_load(problem: Problem, evaluation: Evaluation, rate: Fraction, at: Callable[[int], Evaluation]) -> Evaluation:
    """A layout with the sequences in flight that a request rate leaves, from its evaluations with a batch in flight.

    Requests/s of whole micro-batches do not fall with the micro-batch, and no step gets shorter with it (both in
    `figures.operating_point`), so that bisection finds the first that serves the rate and the last in time; beside it,
    the largest batch in time of the next. None is where not even the least that serves the rate is, and the layout
    breaks a limit.
    """
    batch, pp, work = evaluation.layout.batch, evaluation.layout.pp, problem.workload
    top = evaluation.layout.micro_batch if evaluation.request_capacity >= rate else batch // pp
    if evaluation.steps.share > 1:  # no more run at a rate that is served than prompts keep up with
        top = min(top, floor(evaluation.layout.micro_batch / evaluation.steps.share))
    if top == 0:
        return evaluation

    def whole(micro: int) -> Evaluation:
        return evaluation if micro * pp >= batch else at(micro * pp)

    if whole(top).request_capacity < rate:
        return evaluation

    def least(micro: int) -> int:
        """The least batch of a micro-batch that serves the rate."""
        cycle = pp * max(whole(micro).stage_ticks) / TICKS_PER_SECOND
        served = rate / evaluation.layout.dp * work.cycles_of_request(evaluation.steps.pieces, pp) * cycle
        return max((micro - 1) * pp + 1, ceil_fraction(served))

    first = bisect_left(range(1, top), x=True, key=lambda micro: whole(micro).request_capacity >= rate) + 1
    running = at(least(first))
    late = first + bisect_left(range(first, top + 1), x=True, key=lambda micro: not _in_time(problem, whole(micro)))
    in_time = [whole(late - 1)] if late > first else []
    if late <= top:
        beyond = range(least(late), min(late * pp, batch))
        kept = bisect_left(beyond, x=True, key=lambda sequences: not _in_time(problem, at(sequences)))
        in_time += [at(beyond[kept - 1])] if kept else []
    busiest = max(in_time, key=lambda full: full.request_capacity, default=whole(top))
    # one that comes meets as many as there are on average, those that wait for their first token among them, and no
    # fewer than steps are of: what is best at the least batch that serves the rate is then best at the load
    latency_s = (running.ttft_s or 0) + (work.output_tokens - 1) * (running.tpot_s or 0)
    met = max(rate / evaluation.layout.dp * latency_s, Fraction(running.running - 1))
    part, fewer, more = met % 1, at(min(batch, floor(met) + 1)), at(min(batch, floor(met) + 2))
    cycles = tuple(a + part * (b - a) for a, b in zip(fewer.cycle_ticks, more.cycle_ticks, strict=True))
    growth = growth_of(fewer.running, max(fewer.cycle_ticks), max(at(1).cycle_ticks))
    return replace(
        running, layout=evaluation.layout, steps=replace(running.steps, largest=evaluation.steps.largest),
        memory=evaluation.memory, request_capacity=busiest.request_capacity, throughput=busiest.throughput,
        capacity_batch=busiest.layout.batch, capacity_ticks=busiest.capacity_ticks,
        whole_capacity=evaluation.request_capacity,
        cycle_ticks=cycles, between=(part, fewer, more),
        tpot_s=pp * max(cycles) / TICKS_PER_SECOND / work.tokens_per_step,
        tpots={
            share: at(min(batch, in_flight(met, growth, share) + 1)).tpot_s or Fraction(0) for share in PERCENTILES
        },
    )  # fmt: skip


def _in_time(problem: Problem, evaluation: Evaluation) -> bool:
    """Whether latencies keep the problem's limits and the queue of prompts does not grow."""
    limits = tightest(problem)
    cycle = evaluation.layout.pp * max(evaluation.cycle_ticks) / TICKS_PER_SECOND
    if evaluation.load >= 1 or (Measure.CYCLE in limits and cycle > limits[Measure.CYCLE]):
        return False
    firsts = ((evaluation.first_token_s(share), limit) for share, limit in first_limits(problem).items())
    return all(value is None or value <= limit for value, limit in firsts)
