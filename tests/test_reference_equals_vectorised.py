"""Floats against the exact reference: step times and memory of random layouts, and bounds that are bounds."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pytest

from optimizer.domain.lattice import axes
from optimizer.domain.layout import Layout
from optimizer.domain.limits import PERCENTILES
from optimizer.domain.model import ModelSpec
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures import topology
from optimizer.figures.costs import build_costs
from optimizer.figures.layer import Step
from optimizer.figures.memory import build_memory
from optimizer.figures.operating_point import OperatingPoints
from optimizer.figures.rates import TICKS_PER_SECOND, effective_rates
from optimizer.figures.serving import evaluate
from optimizer.figures.steps import steps_of
from optimizer.readers import catalog
from optimizer.search.bounds import Bounds
from optimizer.search.lattice import Meshes, meshes, replicas_that_fit
from optimizer.search.pricing import Pricer
from optimizer.search.rows import Rows
from optimizer.search.targets import target
from tests.small_problems import blocks, layouts, replica_counts, shapes, small_problem

CLOSE = 1e-9
MODELS = catalog.names("models")
HARDWARE = catalog.names("hardware")


def big_problem(rng: Random, name: str, hardware: str, devices: int) -> Problem:
    model = catalog.load_model(name)
    phase = rng.choice(["aggregated", "prefill", "decode"])
    longest = model.max_context or 8192
    prompt = max(1, min(rng.choice([1, 100, 4096, 100_000]), longest - 300))
    work: dict[str, Any] = {"phase": phase, "input_tokens": prompt, "output_tokens": rng.choice([2, 17, 257])}
    if model.mtp is not None and phase != "prefill":
        work |= {"mtp_tokens": rng.randint(0, 3), "mtp_acceptance": Fraction(7, 10)}
    if rng.random() < 0.3:
        work["prefix_cache_hit"] = Fraction(rng.randint(1, 9), 10)
    experts = {"redundant_slots": [0, rng.choice([1, 8, 32])]} if model.moe is not None and rng.random() < 0.4 else None
    return Problem.model_validate(
        {
            "name": "random", "model": model, "hardware": catalog.load_hardware(hardware), "devices": devices,
            "workload": work, "engine_name": rng.choice(["any", "vllm", "trtllm"]), "experts": experts,
        }
    )  # fmt: skip


def random_shapes(rng: Random, problem: Problem, count: int) -> list[Shape]:
    """Replicas of the lattice, odd sizes among them, none larger than the devices."""
    own = axes(problem)
    found: list[Shape] = []
    for _ in range(count * 60):
        tp, cp = rng.choice(own.tp), rng.choice(own.cp[:16])
        etp, ep, redundant = rng.choice(own.etp), rng.choice(own.ep), rng.choice(own.redundant)
        split = rng.random() < 0.5
        if split and problem.model.moe is not None:
            cp, etp, ep = 1, 1, rng.choice([e for e in own.ep if e % tp == 0] or [1])
        shape = Shape(tp, cp, etp, ep, rng.choice(own.pp), redundant)
        shape = replace(shape, overlap=split and shape.spread)
        if shape.devices <= problem.devices:
            found.append(shape)
        if len(found) == count:
            break
    return found


def meshes_of(found: list[Shape]) -> Meshes:
    columns = [(s.tp, s.cp, s.etp, s.ep, s.redundant, s.overlap, s.stage_devices, s.dp, s.edp) for s in found]
    return Meshes(*(np.array(column, dtype=np.int64) for column in zip(*columns, strict=True)))


def one_row(pp: int, chunk: int | None) -> Rows:
    return Rows(*(np.array([v], dtype=np.int64) for v in (0, pp, chunk or 0, chunk or 0)))


def close(left: float, right: Fraction | float) -> bool:
    return math.isclose(left, float(right), rel_tol=CLOSE, abs_tol=1e-18)


def check_equal(rng: Random, problem: Problem, count: int) -> int:
    found = random_shapes(rng, problem, count)
    if not found:
        return 0
    pricer = Pricer(problem, meshes_of(found), np.array([s.devices for s in found], dtype=np.int64))
    rates = effective_rates(problem.priced_hardware)
    send_fixed, send_each = pricer.send_fixed, pricer.send_each
    for i, shape in enumerate(found):
        costs, memory = build_costs(problem, shape, rates), build_memory(problem, shape)
        row = np.array([i])
        for _ in range(3):
            seqs = rng.choice([0, 1, 2, 7, 100, 4097, 2**20])
            decoded = seqs * (1 + problem.workload.mtp_tokens)
            prompt = rng.choice([0, 1, 255, 8192, 10**6])
            step = Step(seqs, decoded, prompt, 0 if prompt == 0 else rng.randint(1, 5))
            floats = [np.array([float(v)]) for v in (step.seqs, step.decoded, step.prompt, step.passes)]
            for kind, exact in zip(pricer.kinds, kinds_in_order(problem, costs), strict=True):
                own = float(kind.take(row).seconds(*floats)[0])
                assert close(own, Fraction(exact.ticks(step), TICKS_PER_SECOND)), (shape, step)
        assert close(
            float(pricer.head.take(row).seconds(np.array([5.0]))[0]), Fraction(costs.head.ticks(5), TICKS_PER_SECOND)
        )
        if shape.pp > 1:
            assert close(float(send_fixed[i]), Fraction(costs.send_fixed, TICKS_PER_SECOND))
            assert close(float(send_each[i]), Fraction(costs.send_each, TICKS_PER_SECOND))
        weights = sum(n * float(w[i]) for n, w in zip(pricer.counts, pricer.weights, strict=True))
        weights += float(pricer.input[i] + pricer.output[i]) + (float(pricer.tied[i]) if shape.pp > 1 else 0.0)
        assert close(weights, memory.stack_weights()), shape
        cached = sum(n * float(s[i]) for n, s in zip(pricer.counts, pricer.sequence, strict=True))
        assert close(cached, memory.stack_sequence()), shape
        assert close(float(pricer.working_token[i]), memory.token_bytes), shape
    return len(found)


def kinds_in_order(problem: Problem, costs: Any) -> list[Any]:
    """The reference's layer costs in the pricer's order, that of first occurrence."""
    names = list(dict.fromkeys(problem.model.layer_names))
    first = {name: problem.model.layer_names.index(name) for name in names}
    return [costs.kinds[costs.order[first[name]]] for name in names]


@pytest.mark.parametrize("name", MODELS)
def test_step_times_and_memory_equal_the_reference(name: str) -> None:
    rng = Random(name)  # noqa: S311 - test data
    devices = [1, 8, 13, 64, 641, 4096, 131_072]
    checked = sum(
        check_equal(rng, big_problem(rng, name, rng.choice(HARDWARE), rng.choice(devices)), 4) for _ in range(4)
    )
    assert checked > 0


def test_every_kind_of_attention_is_compared() -> None:
    kinds = {
        block.attention.kind
        for name in MODELS
        for block in catalog.load_model(name).blocks.values()
        if block.attention is not None
    }
    assert kinds >= {"gqa", "mla", "mamba2", "gated_delta_net", "lightning", "compressed"}


def test_replicas_that_fit_equal_the_reference() -> None:
    rng = Random(5)  # noqa: S311 - test data
    for sizes in ((None,), (8, None), (8, 72, None), (3, 12, None), (2, 4, 8, None)):
        for devices in (1, 7, 8, 13, 64, 641, 131_072):
            wanted = np.array([rng.randint(1, 2 * devices) for _ in range(40)] + [1, devices], dtype=np.int64)
            exact = [topology.replicas_that_fit(sizes, devices, int(r)) for r in wanted]
            assert replicas_that_fit(sizes, devices, wanted).tolist() == exact


# bounds


def assert_bounds(problem: Problem, shape: Shape, chunk: int | None, layout: Layout) -> None:
    """No bound of a layout's degrees excludes what the layout reaches, with its pp and with pp open."""
    found = evaluate(problem, layout, full=True)
    if found.steps.share > 1:
        return
    pricer = Pricer(problem, meshes_of([shape]))
    own = axes(problem)
    micro = np.array([float(layout.micro_batch)])
    slack = 1 + CLOSE
    for pp, cut in ((shape.pp, False), (shape.pp, True), (0, False)):
        bounds = Bounds(pricer, one_row(pp, chunk), own.pp[-1], cut=cut)
        turn, cycle, _, share, firsts = bounds.stack(micro, (None, *PERCENTILES))
        kept = problem.workload.cycles_of_request(found.steps.pieces, shape.pp)
        for bound, most in ((turn, kept * max(found.stage_ticks)), (cycle, max(found.cycle_ticks))):
            assert bound[0] <= float(shape.pp * most / TICKS_PER_SECOND) * slack
        if problem.workload.phase == "aggregated":
            assert share[0] <= float(found.steps.share) * slack
            assert not pp or close(float(share[0]), found.steps.share)
        assert bounds.memory(micro)[0] <= found.memory_bytes * slack
        for percentile, first in firsts.items():
            told = found.first_token_s(percentile)
            assert told is None or first[0] <= float(told) * slack
        requests = float(found.request_capacity / layout.devices)
        assert bounds.requests(micro, turn)[0] * slack >= requests


def assert_reachable(problem: Problem, shape: Shape, chunk: int | None, layout: Layout) -> None:
    """A layout that keeps all limits is dismissed by nothing, nor by its own objective as the incumbent."""
    found = evaluate(problem, layout)
    pricer = Pricer(problem, meshes_of([shape]))
    devices = np.array([float(layout.devices)])
    for pp in (shape.pp, 0):
        bounds = Bounds(pricer, one_row(pp, chunk), axes(problem).pp[-1])
        goal = target(problem, None)
        assert bounds.reachable(goal, devices)[0]
        assert bounds.most_requests(goal)[0] * (1 + CLOSE) >= float(found.request_capacity / layout.devices)


@pytest.mark.parametrize("first", blocks(0, 200, 50, quick=50))
def test_bounds_admit_every_layout(first: int) -> None:
    for seed in range(first, first + 50):
        problem = small_problem(seed)
        rng = Random(seed)  # noqa: S311 - test data
        own = axes(problem)
        pool = list(shapes(problem))
        for shape in rng.sample(pool, min(len(pool), 4)):
            for replicas in replica_counts(problem, shape)[-1:]:
                chunk = rng.choice(own.chunks)
                batch = rng.choice([1, 2, 3, 7, 64])
                layout = Layout(
                    tp=shape.tp, cp=shape.cp, dp=shape.dp * replicas, pp=shape.pp, etp=shape.etp, ep=shape.ep,
                    edp=1 if problem.model.moe is None else shape.edp * replicas, batch=batch, prefill_chunk=chunk,
                    redundant_slots=shape.redundant,
                    overlap=shape.overlap_name,
                )  # fmt: skip
                assert_bounds(problem, shape, chunk, layout)


@pytest.mark.parametrize("first", blocks(0, 100, 50, quick=50))
def test_feasible_layouts_are_never_dismissed(first: int) -> None:
    for seed in range(first, first + 50):
        problem = small_problem(seed)
        rng = Random(seed)  # noqa: S311 - test data
        kept = list(layouts(problem))
        for one in rng.sample(kept, min(len(kept), 4)):
            layout = one.evaluation.layout
            assert_reachable(problem, one.shape, layout.prefill_chunk, layout)


@pytest.mark.parametrize("seed", range(12))
def test_bounds_of_large_layouts_are_bounds(seed: int) -> None:
    rng = Random(1000 + seed)  # noqa: S311 - test data
    name = rng.choice(MODELS)
    problem = big_problem(rng, name, rng.choice(HARDWARE), rng.choice([64, 1009, 131_072]))
    rates = effective_rates(problem.priced_hardware)
    for shape in random_shapes(rng, problem, 3):
        pricer = Pricer(problem, meshes_of([shape]))
        for chunk in rng.sample(axes(problem).chunks, 1):
            points = OperatingPoints(
                problem, shape, chunk, 1, build_costs(problem, shape, rates), build_memory(problem, shape)
            )
            exact = points.most_requests()
            for pp in (shape.pp, 0):
                bounds = Bounds(pricer, one_row(pp, chunk), axes(problem).pp[-1])
                bound = float(bounds.most_requests(target(problem, None))[0])
                if exact is not None:
                    each = exact.timing.rank_requests * shape.dp / shape.devices
                    assert bound * (1 + CLOSE) >= float(each), (name, shape)


# extremes


def extreme_model() -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "name": "extreme", "hidden_size": 10**4, "vocab_size": 10**8,
            "blocks": {
                "moe": {
                    "attention": {"kind": "gqa", "heads": 4096, "kv_heads": 4096, "head_dim": 1024},
                    "ffn": {"kind": "moe", "experts": 4096, "top_k": 64, "intermediate": 4096,
                            "shared_intermediate": 4096},
                }
            },
            "layers": [{"pattern": ["moe"], "count": 1000}],
        }
    )  # fmt: skip


@pytest.mark.parametrize("phase", ["aggregated", "prefill", "decode"])
def test_extreme_sizes_do_not_overflow(phase: str) -> None:
    problem = Problem.model_validate(
        {
            "name": "extreme", "model": extreme_model(), "hardware": catalog.load_hardware("h100-sxm-8"),
            "devices": 10**6,
            "workload": {"phase": phase, "input_tokens": 10**8, "output_tokens": 10**8},
            "search": {"tp": [1, 512, 4096], "cp": [1, 8], "etp": [1, 1024], "ep": [1, 4096], "pp": [1, 1000]},
        }
    )  # fmt: skip
    found, _ = meshes(problem, axes(problem))
    assert len(found)
    rates = effective_rates(problem.priced_hardware)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pricer = Pricer(problem, found, found.stage)
        for i in range(len(found)):
            shape = found.shape(i, 1)
            memory, costs = build_memory(problem, shape), build_costs(problem, shape, rates)
            weights = sum(n * float(w[i]) for n, w in zip(pricer.counts, pricer.weights, strict=True))
            assert close(weights + float(pricer.input[i] + pricer.output[i]), memory.stack_weights())
            cached = sum(n * float(s[i]) for n, s in zip(pricer.counts, pricer.sequence, strict=True))
            assert close(cached, memory.stack_sequence())
            steps = steps_of(problem.workload, 2**20, None if phase == "decode" else 10**8, 1)
            step = steps.largest
            floats = [np.array([float(v)]) for v in (step.seqs, step.decoded, step.prompt, step.passes)]
            own = float(pricer.kinds[0].take(np.array([i])).seconds(*floats)[0])
            assert close(own, Fraction(costs.kinds[0].ticks(step), TICKS_PER_SECOND))
