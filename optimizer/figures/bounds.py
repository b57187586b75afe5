"""Physical bounds: what the rated peaks allow with zero overhead, one resource at a time.

Two bounds stand beside an estimate. The *ideal* one prices the same schedule at rated peaks without latency, launch or
oversubscription (`rates.ideal_rates`), its tokens routed at random. The *physical* one goes further: compute, memory
bandwidth and every link are busy at the same time, so that a step takes as long as the busiest of them alone; and all
tokens ask the same experts, evenly spread over the ranks and sent nowhere. Nothing faster exists on the stated
hardware for the same layout and batch, whatever a router does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from optimizer.domain.layout import Layout
from optimizer.domain.limit_table import first_limits, tightest
from optimizer.domain.objectives import Measure
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.domain.workload import Part
from optimizer.figures.bandwidth import stage_traffic
from optimizer.figures.costs import Costs, build_costs
from optimizer.figures.layer import Experts, LayerBook, LayerCost, Step
from optimizer.figures.memory import build_memory
from optimizer.figures.partition import cuts_of
from optimizer.figures.rates import FREE, TICKS_PER_SECOND, Rates, effective_rates, ideal_rates
from optimizer.figures.serving import Evaluation, evaluate, first_token, mean_ticks
from optimizer.figures.steps import steps_of

COMPUTE = "compute"
HBM = "memory bandwidth"


Route = Callable[[Experts], Experts]
"""What a router makes of the experts of a layer."""
DECODE_AT_BATCH = "decode at the layout's batch"
"""Reading of a throughput that `throughput_bounds` bounds."""


def link(tier: str) -> str:
    """Name of a link tier as a resource."""
    return f"link {tier!r}"


def _alone(rates: Rates, *, compute: bool) -> Rates:
    """Rates at which only compute, or only memory bandwidth, takes time."""
    chosen = rates.only_compute() if compute else rates.only_memory()
    return replace(chosen, links=tuple(FREE for _ in rates.links))


@dataclass(frozen=True)
class ResourceTicks:
    """Time that each resource alone needs for the mean step of each stage, in ticks, at rated peaks."""

    stages: dict[str, tuple[Fraction, ...]]

    def busiest(self) -> tuple[str, Fraction]:
        """The resource that bounds a step, and how long it needs in the stage where it needs longest."""
        name = max(self.stages, key=lambda resource: max(self.stages[resource]))
        return name, max(self.stages[name])


def _routed(problem: Problem, shape: Shape, route: Route, *, compute: bool) -> Costs:
    """What one resource alone needs for a whole step."""
    whole = replace(shape, overlap=False)
    costs = build_costs(problem, whole, _alone(ideal_rates(problem.priced_hardware), compute=compute))
    kinds = (kind if kind.experts is None else replace(kind, experts=route(kind.experts)) for kind in costs.kinds)
    return replace(costs, kinds=tuple(kinds))


def _mean(problem: Problem, evaluation: Evaluation, route: Route, *, compute: bool) -> tuple[Fraction, ...]:
    costs = _routed(problem, evaluation.shape, route, compute=compute)
    steps, cuts = evaluation.steps, evaluation.cuts
    decode = costs.stages(steps.decode, cuts) if steps.decode else ()
    mixed = costs.stages(steps.mixed, cuts) if steps.mixed else ()
    return mean_ticks(steps.share, decode, mixed)


def utilized(problem: Problem, evaluation: Evaluation) -> dict[str, tuple[Fraction, ...]]:
    """Ticks for which the mean step of each stage has compute and memory bandwidth in use, its tokens routed at random.

    At the layout, batch and chunk of `evaluation`, experts on the mean device.
    """
    return {
        COMPUTE: _mean(problem, evaluation, Experts.balanced, compute=True),
        HBM: _mean(problem, evaluation, Experts.balanced, compute=False),
    }


def demand(problem: Problem, evaluation: Evaluation) -> ResourceTicks:
    """Least time that each resource alone needs, at the layout, batch and chunk of `evaluation`, for any routing."""
    busy = {
        COMPUTE: _mean(problem, evaluation, Experts.least, compute=True),
        HBM: _mean(problem, evaluation, Experts.least, compute=False),
    }
    traffic = stage_traffic(problem, evaluation)
    for number, tier in enumerate(problem.hardware.tiers):
        # a router may choose the experts at hand, so that nothing need be sent to any
        sent = (
            sum((size for (axis, at), size in stage.items() if at == number and axis != "ep"), Fraction(0))
            for stage in traffic
        )
        busy[link(tier.name)] = tuple(size * TICKS_PER_SECOND / tier.bandwidth for size in sent)
    return ResourceTicks(busy)


@dataclass(frozen=True, slots=True)
class Bound:
    """A physical bound of one figure under one reading: the batching and phase it was judged under.

    Attributes
    ----------
    value
        Best value that the resource allows, in the base unit of the figure.
    resource
        What bounds it.
    """

    reading: str
    value: Fraction
    resource: str
    formula: str
    substituted: str


def largest_batch(problem: Problem, layout: Layout) -> int:
    """Most sequences whose weights and cache fit a rank's whole nominal memory, nothing else in it; at least 1."""
    shape = _fewest_slots(problem, layout).shape
    memory = build_memory(problem, shape)
    nothing = (0,) * len(memory.weights)
    memory = replace(memory, admission=nothing, layer_reserve=nothing)
    room = problem.hardware.device.memory
    cuts = cuts_of(problem, layout)
    weights, cached = memory.prefix(0), memory.prefix(1)
    best, first = None, 0
    for number, layers in enumerate(cuts):
        fixed = weights[first + layers] - weights[first]
        fixed += memory.input.total_bytes if number == 0 else 0
        fixed += memory.output.total_bytes if number == len(cuts) - 1 else 0
        per_sequence = cached[first + layers] - cached[first] - (weights[first + layers] - weights[first])
        first += layers
        if per_sequence > 0:
            fits = max(1, (room - fixed) // per_sequence)
            best = fits if best is None else min(best, fits)
    return min(best or 2**20, 2**20)


def _fewest_slots(problem: Problem, layout: Layout) -> Layout:
    """The layout with no more redundant slots than spread its experts evenly: no token needs a further copy."""
    moe = problem.model.moe
    spare = 0 if moe is None else min(layout.redundant_slots, -moe.experts % layout.ep)
    return layout.model_copy(update={"redundant_slots": spare})


def _of_part(problem: Problem, part: Part) -> Problem:
    return problem.model_copy(update={"workload": problem.workload.alone(part)})


def _busiest(problem: Problem, layout: Layout) -> tuple[Evaluation, str, Fraction]:
    """The layout at ideal rates, its bounding resource, and the seconds that one needs for a step."""
    evaluation = evaluate(problem, layout, rates=ideal_rates(problem.priced_hardware))
    resource, ticks = demand(problem, evaluation).busiest()
    return evaluation, resource, ticks / TICKS_PER_SECOND


def throughput_bounds(problem: Problem, layout: Layout) -> tuple[Bound, ...]:
    """Tokens/s in all that the hardware allows, under each batching and phase that a throughput may mean.

    Batch-1 decode, decode at the layout's batch and at the largest possible one count output tokens; prefill counts
    prompt tokens. Cycles are those of the busiest resource alone.
    """
    bounds = []
    batches = {
        "decode, one sequence a rank": 1,
        DECODE_AT_BATCH: layout.batch,
        "decode at the largest batch that memory holds": max(layout.batch, largest_batch(problem, layout)),
    }
    if problem.workload.output_tokens > 1:
        decode = _of_part(problem, Part.LATER)
        for reading, batch in batches.items():
            at = layout.model_copy(update={"batch": batch})
            _, resource, seconds = _busiest(decode, at)
            gain = decode.workload.tokens_per_step
            value = batch * layout.dp * gain / (layout.pp * seconds) if seconds else FREE
            bounds.append(
                Bound(
                    reading,
                    value,
                    resource,
                    "batch · dp · tokens a step ÷ (pp · time of the busiest resource)",
                    f"{batch:,} · {layout.dp:,} · {float(gain):.3g} ÷ ({layout.pp} · {float(seconds) * 1e3:.4g} ms)",
                )
            )
    prefill = _of_part(problem, Part.FIRST)
    prompt = problem.workload.computed_input_tokens
    at = layout.model_copy(update={"batch": layout.pp * max(1, -(-8192 // prompt)), "prefill_chunk": prompt})
    evaluation, resource, seconds = _busiest(prefill, at)
    tokens = at.batch * prefill.workload.tokens_of_request * layout.dp
    value = tokens / (evaluation.steps.pieces * layout.pp * seconds) if seconds else FREE
    bounds.append(
        Bound(
            "prefill",
            value,
            resource,
            "prompt tokens of a cycle ÷ (pp · time of the busiest resource)",
            f"{tokens:,} ÷ ({layout.pp} · {float(seconds) * 1e3:.4g} ms)",
        )
    )
    return tuple(bounds)


def _lone(kind: LayerCost, dp: int, *, reads: bool) -> LayerCost:
    """A layer whose experts serve one attention rank while the others bring nothing."""
    experts = kind.experts
    if experts is None:
        return kind
    shared = dp // experts.ranks
    flop, unit, io = (-(-size // shared) for size in (experts.flop, experts.unit if reads else 0, experts.io))
    return replace(kind, experts=replace(experts, flop=flop, unit=unit, io=io, ranks=1, copies=experts.copies * shared))


def _lone_seconds(problem: Problem, layout: Layout, step: Step, *, reads: bool) -> dict[str, Fraction]:
    """Seconds that compute and memory bandwidth need for one rank's step through all layers."""
    shape = layout.shape
    seconds = {}
    for name, compute in ((COMPUTE, True), (HBM, False)):
        costs = _routed(problem, shape, Experts.least, compute=compute)
        lone = replace(costs, kinds=tuple(_lone(kind, shape.dp, reads=reads) for kind in costs.kinds))
        seconds[name] = Fraction(lone.stack(step), TICKS_PER_SECOND)
    return seconds


def _longest(times: dict[str, Fraction]) -> tuple[str, Fraction]:
    name = max(times, key=lambda resource: times[resource])
    return name, times[name]


def tpot_bound(problem: Problem, layout: Layout) -> Bound:
    """Shortest time per output token: one sequence alone, which passes every stage in turn.

    Tokens drafted and accepted divide the time.
    """
    decode = _of_part(problem, Part.LATER)
    verified = 1 + decode.workload.mtp_tokens
    name, seconds = _longest(_lone_seconds(decode, layout, Step(1, verified, 0, 0), reads=True))
    gain = decode.workload.tokens_per_step
    return Bound(
        "decode of one sequence alone",
        seconds / gain,
        name,
        "time of the busiest resource over all layers ÷ tokens a step",
        f"{float(seconds) * 1e3:.4g} ms ÷ {float(gain):.3g}",
    )


def ttft_bound(problem: Problem, layout: Layout) -> Bound:
    """Shortest time to first token: one prompt alone, its work spread perfectly over all stages of its replica.

    Reading a weight is charged once for the whole prompt, and expert weights not at all.
    """
    prefill = _of_part(problem, Part.FIRST)
    step = Step(0, 0, prefill.workload.computed_input_tokens, 1)
    name, seconds = _longest(_lone_seconds(prefill, layout, step, reads=False))
    return Bound(
        "one prompt alone",
        seconds / layout.pp,
        name,
        "time of the busiest resource over all layers ÷ pp",
        f"{float(seconds) * 1e3:.4g} ms ÷ {layout.pp}",
    )


def least_step_s(problem: Problem) -> Fraction:
    """Seconds that launching the kernels of all layers takes."""
    book, alone = LayerBook(problem, effective_rates(problem.priced_hardware)), Shape(1, 1, 1, 1, 1)
    launches = {name: book.layer(block, alone).fixed for name, block in problem.model.blocks.items()}
    return Fraction(sum(launches[name] for name in problem.model.layer_names), TICKS_PER_SECOND)


def asks_too_soon(problem: Problem) -> bool:
    """Whether a time is limited to less than any layout takes, on any number of devices."""
    step_s, cycle = least_step_s(problem), tightest(problem).get(Measure.CYCLE)
    if cycle is not None and cycle < step_s:
        return True
    steps = steps_of(problem.workload, 1, problem.workload.computed_input_tokens, 1)
    first_s = first_token(problem, pp=1, batch=1, steps=steps).fixed_s + step_s
    return any(limit < first_s for limit in first_limits(problem).values())
