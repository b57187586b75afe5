"""Times, rates, traffic, utilisation and cost of a layout, with derivations."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from optimizer.domain.limits import PERCENTILES
from optimizer.domain.problem import Problem
from optimizer.figures.bandwidth import stage_traffic, tier_bandwidth
from optimizer.figures.bounds import COMPUTE, HBM, utilized
from optimizer.figures.derivation_figure import Sheet, shown
from optimizer.figures.goodput import STEPS, goodput
from optimizer.figures.percentiles import wait
from optimizer.figures.places import wait_at_load
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.figures.serving import BURST, Evaluation, chunk_of, first_token
from optimizer.figures.steps import share_met
from optimizer.units import Dimension

AXES = ("tp", "cp", "ep", "pp", "dp")
"""Axes whose traffic is told apart."""
_NO_TRAFFIC = {axis: f"a group of one along {axis} exchanges nothing" for axis in AXES} | {
    "dp": "serving exchanges no gradients"
}
_NO_QUEUE = {
    "alone": "a request meets nobody",
    "closed": "those of a closed loop that stand ahead are in the time to the first token",
    "poisson": "no queue: no request rate is given, or not all of it is served",
}

_CYCLE = (
    "pp · max over stages of (D + ψ · (M − D)) ÷ tokens a sequence gains a step, ψ = min(1, (batch − 1) · n ÷ (prompts "
    "of a step · pp · decode steps)): the prompts of the others in flight, as its own is over"
)
_CYCLE_AT_RANDOM = (
    "pp · mean step among as many others as a request that comes at random meets on average (between the steps of two "
    "whole numbers of them) ÷ tokens a sequence gains a step"
)


def _t(ticks: Fraction | int) -> str:
    return _s(Fraction(ticks) / TICKS_PER_SECOND)


def _s(seconds: Fraction) -> str:
    return shown(seconds, Dimension.SECONDS) if seconds else "0 s"


def _rate(value: Fraction) -> str:
    return shown(value, Dimension.PER_SECOND)


def times(sheet: Sheet, problem: Problem, evaluation: Evaluation, ideal: Evaluation) -> None:
    """Step times, TTFT, TPOT and the latency of a request; bounds are those of the ideal schedule."""
    work, layout, steps = problem.workload, evaluation.layout, evaluation.steps
    slowest = max(evaluation.stage_ticks)
    sheet.put(
        "step_time_s",
        slowest / TICKS_PER_SECOND,
        Dimension.SECONDS,
        "max over stages of D + φ · (M − D)" if steps.decode and steps.mixed else "max over stages of the step's time",
        _mean_step_text(evaluation),
        inputs={"share": steps.share},
        bound=max(ideal.stage_ticks) / TICKS_PER_SECOND,
    )
    gain = work.tokens_per_step
    if evaluation.tpot_s is not None:
        sheet.put(
            "tpot_s",
            evaluation.tpot_s,
            Dimension.SECONDS,
            _cycle_formula(evaluation),
            f"{layout.pp} · {_cycle_text(evaluation)} ÷ {float(gain):.4g}",
            inputs={"pp": layout.pp, "tokens_per_step": gain},
            bound=ideal.tpot_s,
        )
    if evaluation.ttft_s is not None:
        chunk = chunk_of(problem, layout)
        formula = (
            "overhead + (n + pp − 1) · time of the step with its prompt + queue, n = ceil(computed prompt ÷ chunk)"
        )
        substituted = f"{_first_token_text(problem, evaluation, None)} + {_s(evaluation.queue_s)}"
        if work.looped:
            formula = (
                "overhead + (n + pp − 1) · time of the step with its prompt + steps of prompts ahead · time of a step "
                "full of prompts + steps waited · mean step, prompts ahead = "
                f"{BURST} · (batch − 1) ÷ 2, n = ceil(computed prompt ÷ chunk)"
            )
            substituted = substituted.removesuffix(" + 0 s")
        sheet.put(
            "ttft_s",
            evaluation.ttft_s,
            Dimension.SECONDS,
            formula,
            f"{substituted}, n = ceil({work.computed_input_tokens:,} ÷ {chunk:,})",
            inputs={"n": steps.pieces, "pp": layout.pp, "chunk": chunk},
            bound=ideal.ttft_s,
        )
        sheet.put(
            "queue_s",
            evaluation.queue_s,
            Dimension.SECONDS,
            "ρ · S ÷ (2 · (1 − ρ)), mean wait of an M/D/1 queue" if evaluation.queue_s else _NO_QUEUE[work.arrivals],
            _queue_text(evaluation) if evaluation.queue_s else "",
        )
        _late_first_tokens(sheet, problem, evaluation, ideal)
    _late_tokens(sheet, problem, evaluation, ideal)
    if not evaluation.endless:
        _latency(sheet, problem, evaluation, ideal)


def _queue_text(evaluation: Evaluation) -> str:
    """The wait in numbers, with what a prompt takes the queue."""
    load = evaluation.load
    return f"{float(load):.4g} · {_s(evaluation.service_s)} ÷ (2 · {float(1 - load):.4g})"


def _latency(sheet: Sheet, problem: Problem, evaluation: Evaluation, ideal: Evaluation) -> None:
    """The latency of a request."""
    parts = [part for part in (evaluation.ttft_s, _decoding(problem, evaluation)) if part is not None]
    best = [part for part in (ideal.ttft_s, _decoding(problem, ideal)) if part is not None]
    sheet.put(
        "latency_s",
        sum(parts, Fraction(0)),
        Dimension.SECONDS,
        " + ".join(
            name
            for name, part in (("TTFT", evaluation.ttft_s), ("(output tokens − 1) · TPOT", evaluation.tpot_s))
            if part is not None
        ),
        " + ".join(map(_s, parts)),
        bound=sum(best, Fraction(0)),
    )


def _first_token_text(problem: Problem, evaluation: Evaluation, share: int | None) -> str:
    """The numbers of `FirstToken` put in, in the stage where they are most."""
    layout, steps = evaluation.layout, evaluation.steps
    own, mixed, mean = evaluation.own_ticks, evaluation.mixed_ticks, evaluation.stage_ticks
    first = first_token(problem, pp=layout.pp, batch=evaluation.running, steps=steps, percentile=share)
    stage = max(
        range(layout.pp),
        key=lambda i: first.ticks(own[i : i + 1], mixed[i : i + 1], mean[i : i + 1]),
    )
    text = f"{_s(first.fixed_s)} + ({steps.pieces} + {layout.pp} − 1) · {_t(own[stage])}"
    for often, ticks in ((first.ahead, mixed[stage]), (first.mean, mean[stage])):
        text += f" + {float(often):.4g} · {_t(ticks)}" if often else ""
    return text


def _late_first_tokens(sheet: Sheet, problem: Problem, evaluation: Evaluation, ideal: Evaluation) -> None:
    """TTFT that so many percent of all requests have at most; none of a queue that grows without end."""
    work = problem.workload
    for share in PERCENTILES:
        value, inputs = evaluation.first_token_s(share), {"percentile": share}
        if value is None:
            continue
        if evaluation.service_s:
            formula = "TTFT without its queue + wait of an M/D/1 queue (Erlang), in services S, at load ρ"
            text = (
                f"{_s(evaluation.firsts[share])} + {float(wait(evaluation.load, share)):.4g} · "
                f"{_s(evaluation.service_s)}"
            )
        elif work.looped:
            formula = (
                f"as TTFT, prompts ahead = max(0, ceil(batch · (1 − (1 − percentile) ÷ {BURST})) − 1); assumed: the "
                "steps waited are those of the mean"
            )
            text = _first_token_text(problem, evaluation, share)
        else:
            formula, text = f"every request alike: {_NO_QUEUE[work.arrivals]}", _s(value)
        bound = ideal.first_token_s(share)
        sheet.put(f"ttft_p{share}_s", value, Dimension.SECONDS, formula, text, inputs=inputs, bound=bound)


def _late_tokens(sheet: Sheet, problem: Problem, evaluation: Evaluation, ideal: Evaluation) -> None:
    """TPOT that so many percent of all requests have at most."""
    for share, value in evaluation.tpots.items():
        formula, text = "every request alike: the whole batch is in flight", _s(value)
        if evaluation.between is not None:
            formula = f"TPOT among as many others as {share}% of the time at most, at random and up to the batch"
        if problem.workload.mtp_acceptance:
            formula += "; assumed: every request has the mean number of drafted tokens accepted"
        sheet.put(
            f"tpot_p{share}_s", value, Dimension.SECONDS, formula, text, inputs={"percentile": share},
            bound=ideal.tpots[share],
        )  # fmt: skip


def _decoding(problem: Problem, evaluation: Evaluation) -> Fraction | None:
    return None if evaluation.tpot_s is None else (problem.workload.output_tokens - 1) * evaluation.tpot_s


def _mean_step_text(evaluation: Evaluation) -> str:
    return _mean_text(evaluation, evaluation.stage_ticks, evaluation.steps.share)


def _cycle_formula(evaluation: Evaluation) -> str:
    if evaluation.between is not None:
        return _CYCLE_AT_RANDOM
    return _CYCLE if evaluation.steps.mixed else "pp · step time ÷ tokens a sequence gains a step"


def _cycle_text(evaluation: Evaluation) -> str:
    if evaluation.between is not None:
        part, fewer, more = evaluation.between
        stage = max(range(len(evaluation.cycle_ticks)), key=lambda i: evaluation.cycle_ticks[i])
        low, high = (_t(end.cycle_ticks[stage]) for end in (fewer, more))
        return f"({low} + {float(part):.4g} · ({high} − {low}))"
    share = share_met(evaluation.steps, evaluation.running)
    text = _mean_text(evaluation, evaluation.cycle_ticks, share)
    return f"({text})" if evaluation.mixed_ticks else text


def _mean_text(evaluation: Evaluation, stages: Sequence[Fraction], share: Fraction) -> str:
    """A mean step of the slowest stage, `share` of them with prompts."""
    stage = max(range(len(stages)), key=lambda i: stages[i])
    if evaluation.decode_ticks and evaluation.mixed_ticks:
        decode, mixed = evaluation.decode_ticks[stage], evaluation.mixed_ticks[stage]
        return f"{_t(decode)} + {float(share):.4g} · ({_t(mixed)} − {_t(decode)})"
    return _t(stages[stage])


def _concurrency(sheet: Sheet, problem: Problem, evaluation: Evaluation, tokens: int) -> None:
    """Requests in flight, and what a closed loop that keeps every place taken is served; of `tokens` a request."""
    work, rate, name = problem.workload, problem.workload.request_rate, "request rate"
    latency = Fraction(sheet["latency_s"].value)
    places = work.concurrency or evaluation.running * evaluation.layout.dp
    most = places / latency
    if rate is None or (work.arrivals != "poisson" and rate > most):
        rate, name = min((most, "requests/s of the loop"), (evaluation.request_capacity, "request capacity"))
    formula = f"{name} · latency of a request (Little's law)"
    if work.arrivals == "poisson" and work.request_rate is not None:
        formula += ", those that wait for a place among them"
    inputs = {"requests_per_s": rate, "latency_s": latency}
    sheet.put("concurrency", rate * latency, Dimension.COUNT, formula, f"{_rate(rate)} · {_s(latency)}", inputs=inputs)
    if work.concurrency is not None or (work.looped and work.request_rate is None):
        sheet.put(
            "closed_loop_tokens_per_s",
            rate * tokens,
            Dimension.TOKENS_PER_SECOND,
            f"requests in flight, with every place taken, ÷ latency of a request (interactive response time law), at "
            f"most request capacity · {work.counted}",
            f"{_rate(rate)} · {tokens:,}",
            inputs={"places": places, "latency_s": latency},
        )


def _places(sheet: Sheet, problem: Problem, evaluation: Evaluation) -> None:
    """How many requests find every place taken, and how long they wait for one."""
    found, places = wait_at_load(problem, evaluation), evaluation.layout.batch
    if found is None:
        return
    kept = f"{float(found.taken):,.4g} of {places:,} places taken on average, each for {_s(found.kept_s)}"
    sheet.put(
        "place_wait_chance", found.chance, Dimension.RATIO,
        "Erlang's delay formula of the places of a rank; assumed: a request keeps its place as long as with all taken",
        kept, inputs={"places": places, "taken": found.taken},
    )  # fmt: skip
    if found.mean_s is not None:
        sheet.put(
            "place_wait_s", found.mean_s, Dimension.SECONDS,
            "chance · S ÷ (2 · (places − taken)) · correction of M/D/b (Cosmetatos), over all requests; not in TTFT",
            f"{float(found.chance):.4g} · {_s(found.kept_s)} ÷ (2 · ({places:,} − {float(found.taken):,.4g})) · "
            f"{float(found.correction):.4g}",
            inputs={"chance": found.chance, "kept_s": found.kept_s, "places": places, "taken": found.taken},
        )  # fmt: skip


def rates(sheet: Sheet, problem: Problem, evaluation: Evaluation, ideal: Evaluation) -> None:
    """Request capacity, throughput and concurrency."""
    work, layout = problem.workload, evaluation.layout
    cycle, steps = layout.pp * evaluation.capacity_ticks / TICKS_PER_SECOND, evaluation.steps
    sequences = work.decoding(evaluation.capacity_batch, layout.dp)
    batch = f"{float(sequences):,.6g}" if sequences.denominator > 1 else f"{int(sequences):,}"
    prompts = None
    if steps.share > 1 and evaluation.mixed_ticks:
        step_s = Fraction(max(evaluation.mixed_ticks), TICKS_PER_SECOND)
        prompts = layout.dp * steps.together / (steps.pieces * step_s)
    if prompts == evaluation.request_capacity:
        formula = "dp · prompts a step ÷ (n · time of a step with prompt tokens): every step takes prompts (φ > 1)"
        text = f"{layout.dp:,} · {steps.together} ÷ ({steps.pieces} · {_s(step_s)})"
    elif not work.decodes:
        formula = "batch · dp ÷ (n · pp · step time)"
        text = f"{batch} · {layout.dp:,} ÷ ({evaluation.steps.pieces} · {_s(cycle)})"
    else:
        formula = "batch · dp ÷ (pp · step time · cycles in which a request keeps its place)"
        if steps.mixed:
            formula += ", (n + pp − 1) ÷ pp for its prompt and (output tokens − 1) ÷ tokens a step"
        if work.queued_rate is not None:
            formula += ", at a load of 1; limits on TTFT are kept at the rate that is asked for"
        cycles = f"{work.output_tokens - 1:,} ÷ {float(work.tokens_per_step):.4g}"
        if steps.mixed:
            cycles = f"(({steps.pieces:,} + {layout.pp} − 1) ÷ {layout.pp} + {cycles})"
        text = f"{batch} · {layout.dp:,} ÷ ({_s(cycle)} · {cycles})"
    sheet.put(
        "request_capacity_per_s",
        evaluation.request_capacity,
        Dimension.PER_SECOND,
        formula,
        text,
        bound=ideal.request_capacity,
    )
    _places(sheet, problem, evaluation)
    in_time = goodput(problem, evaluation)
    if in_time is not None:
        share, whole = in_time
        sheet.put(
            "goodput_per_s",
            share * whole,
            Dimension.PER_SECOND,
            f"largest part, in 1/{STEPS}, of the capacity with the whole batch in flight that arrives at random and is "
            "served within every limit on latency",
            f"{int(share * STEPS)} / {STEPS} · {_rate(whole)}",
            inputs={"share": share, "requests_per_s": whole},
        )
    tokens = work.tokens_of_request
    sheet.put(
        "throughput_tokens_per_s",
        evaluation.throughput,
        Dimension.TOKENS_PER_SECOND,
        f"requests/s · {work.counted} of a request",
        f"{_rate(evaluation.request_capacity)} · {tokens:,}",
        inputs={"requests_per_s": evaluation.request_capacity, "tokens": tokens},
        bound=ideal.throughput,
    )
    sheet.put(
        "throughput_per_device_tokens_per_s",
        evaluation.throughput_per_device,
        Dimension.TOKENS_PER_SECOND,
        "throughput ÷ devices",
        f"{shown(evaluation.throughput, Dimension.TOKENS_PER_SECOND)} ÷ {evaluation.devices:,}",
        inputs={"throughput": evaluation.throughput, "devices": evaluation.devices},
        bound=ideal.throughput_per_device,
    )
    for figure in work.figures(evaluation):
        sheet.put(figure.name, figure.value, figure.dimension, figure.formula, figure.substituted)
    if not evaluation.endless:
        _concurrency(sheet, problem, evaluation, tokens)
    price = problem.hardware.device.price
    if price is not None:
        hourly = price * evaluation.devices
        sheet.put(
            "cost_per_hour_dollars",
            hourly,
            Dimension.DOLLARS_PER_HOUR,
            "price of a device · devices",
            f"{shown(price, Dimension.DOLLARS_PER_HOUR)} · {evaluation.devices:,}",
        )
        served = (
            evaluation.throughput if work.request_rate is None or evaluation.endless else work.request_rate * tokens
        )
        sheet.put(
            "cost_dollars_per_million_tokens",
            hourly / 3600 / served * 10**6,
            Dimension.DOLLARS,
            "cost per hour ÷ 3600 ÷ tokens/s served · 10⁶",
            f"{shown(hourly, Dimension.DOLLARS_PER_HOUR)} ÷ 3600 ÷ {shown(served, Dimension.TOKENS_PER_SECOND)} · 10⁶",
        )
        sheet.put(
            "cost_per_token_dollars",
            hourly / 3600 / served,
            Dimension.DOLLARS_PER_TOKEN,
            "cost per hour ÷ 3600 ÷ tokens/s served",
            f"{shown(hourly, Dimension.DOLLARS_PER_HOUR)} ÷ 3600 ÷ {shown(served, Dimension.TOKENS_PER_SECOND)}",
        )


def traffic(sheet: Sheet, problem: Problem, evaluation: Evaluation) -> None:
    """Bytes that a device sends in a mean step, by axis and by link tier, in the stage where it is most."""
    stages = stage_traffic(problem, evaluation)
    tiers = problem.hardware.tiers
    for axis in AXES:
        most = max(stages, key=lambda stage: sum(size for (of_axis, _), size in stage.items() if of_axis == axis))
        terms = {tiers[tier].name: size for (of_axis, tier), size in most.items() if of_axis == axis}
        sheet.put(
            f"{axis}_bytes",
            sum(terms.values(), Fraction(0)),
            Dimension.BYTES,
            f"Σ {axis} messages of a stage's mean step, by link tier" if terms else _NO_TRAFFIC[axis],
            " + ".join(f"{shown(size, Dimension.BYTES)} ({name})" for name, size in terms.items()),
            inputs=terms,
        )
    for number, tier in enumerate(tiers):
        sent = max(sum((size for (_, at), size in stage.items() if at == number), Fraction(0)) for stage in stages)
        bandwidth = tier_bandwidth(evaluation, stages, number)
        sheet.put(
            f"{tier.name}_bytes_per_s",
            bandwidth,
            Dimension.BYTES_PER_SECOND,
            "bytes of a mean step over the tier ÷ step time",
            f"{shown(sent, Dimension.BYTES)} ÷ {_t(max(evaluation.stage_ticks))}",
            inputs={"bytes": sent},
            bound=tier.bandwidth,
        )
        sheet.put(
            f"{tier.name}_utilization",
            bandwidth / tier.bandwidth,
            Dimension.RATIO,
            "bytes/s over the tier ÷ rated bandwidth",
            f"{shown(bandwidth, Dimension.BYTES_PER_SECOND)} ÷ {shown(tier.bandwidth, Dimension.BYTES_PER_SECOND)}",
        )


def utilization(sheet: Sheet, problem: Problem, evaluation: Evaluation) -> None:
    """Share of the rated peaks that are in use, on average over the stages."""
    busy = utilized(problem, evaluation)
    slowest = max(evaluation.stage_ticks)
    for name, resource, work in (
        ("compute_utilization", COMPUTE, "FLOPs ÷ peak of their format"),
        ("hbm_utilization", HBM, "bytes read and written ÷ peak bandwidth"),
    ):
        mean = sum(busy[resource], Fraction(0)) / len(busy[resource])
        sheet.put(
            name,
            mean / slowest,
            Dimension.RATIO,
            f"mean over stages of {work} ÷ step time",
            f"{_t(mean)} ÷ {_t(slowest)}",
        )
