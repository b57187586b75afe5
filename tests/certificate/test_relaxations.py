"""What the checker holds to be least: no layout's coefficients are below those of a relaxation that covers it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest

from optimizer.certificate.goals import goal
from optimizer.certificate.meshes import lattice
from optimizer.certificate.reach import Reach
from optimizer.certificate.relaxed import relaxed, relaxed_between, shape_at
from optimizer.domain.lattice import axes, divides_attention, divides_widths
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.figures.costs import CostBook, Costs
from optimizer.figures.layer import LayerCost, Step
from optimizer.figures.memory import Memory, MemoryBook
from optimizer.figures.rates import effective_rates
from optimizer.figures.serving import evaluate
from optimizer.figures.topology import replicas_that_fit
from tests.small_problems import Priced, blocks, keeps_limits, layouts, small_problem
from tests.solve.joint_problems import joint_problem

PARTS = ("decode", "prefill_flop", "prefill_read", "per_token", "per_prompt", "per_seq", "fixed")
LINEAR = ("flop", "weight", "io", "slack")


STEPS = [Step(seqs, verified * seqs, prompt, min(prompt, 3)) for seqs in (0, 1, 2, 7, 300) for verified in (1, 3)
         for prompt in (0, 1, 2, 4097, 10**6)]  # fmt: skip


def layer_is_below(loose: LayerCost, own: LayerCost) -> Iterator[str]:
    if own.exchange is not None and loose.exchange is None:
        # two micro-batches have coefficients of half a step
        yield from (f"{step}" for step in STEPS if loose.ticks(step) > own.ticks(step))
        return
    if own.exchange is not None and loose.exchange is not None and own.exchange.least(loose.exchange) != loose.exchange:
        yield "exchange"
    yield from (part for part in PARTS if getattr(loose, part) > getattr(own, part))
    own_linears = {linear.name: linear for linear in own.linears}
    for linear in loose.linears:
        other = own_linears[linear.name]
        yield from (
            f"{linear.name}.{part}"
            for part in ("flop", "weight", "io", "slack")
            if getattr(linear, part) > getattr(other, part)
        )
    if loose.experts is not None and own.experts is not None:
        for tokens in (1, 2, 3, 17, 300, 4097, 10**6):
            if loose.experts.ticks(tokens) > own.experts.ticks(tokens):
                yield f"experts of {tokens} tokens"


def is_below(loose: Costs, own: Costs) -> Iterator[str]:
    """Coefficients of a relaxation that are above a layout's; kinds by the layers that they are of."""
    for layer, (a, b) in enumerate(zip(loose.order, own.order, strict=True)):
        yield from (f"layer {layer}: {part}" for part in layer_is_below(loose.kinds[a], own.kinds[b]))
    yield from (f"head.{p}" for p in LINEAR if getattr(loose.head, p) > getattr(own.head, p))


def holds_less(loose: Memory, own: Memory) -> Iterator[str]:
    for name in ("stack_weights", "stack_sequence"):
        if getattr(loose, name)() > getattr(own, name)():
            yield name
    each = ("token_bytes", "sampled_bytes", "hidden_bytes", "sampler_bytes", "reserve_bytes")
    yield from (n for n in each if getattr(loose, n) > getattr(own, n))


def layouts_of(problem: Problem) -> Iterator[tuple[Shape, list[str]]]:
    """Every shape of the lattice that fits the devices, and what a relaxation over it has too much of."""
    own = lattice(problem, axes(problem))
    costs, memory = CostBook(problem, effective_rates(problem.priced_hardware)), MemoryBook(problem)
    sizes = tuple(tier.size for tier in problem.hardware.tiers)
    for tp, cp in product(own.axes.tp, own.axes.cp) if own.axes.pp else ():
        meshes = own.expert_meshes(tp, cp)
        loose = relaxed(problem, tp, cp, own.axes.pp, costs, memory)
        for mesh in meshes:
            flat = shape_at(tp, cp, mesh, 1)
            least = costs.least(flat, own.axes.pp)
            for pp in own.axes.pp:
                shape = shape_at(tp, cp, mesh, pp)
                if replicas_that_fit(sizes, problem.devices, shape.devices) == 0:
                    continue
                found, held = costs.of(shape), memory.memory(shape)
                wrong = [f"attention mesh: {part}" for part in is_below(loose[0], found)]
                wrong += [f"attention mesh: {part}" for part in holds_less(loose[1], held)]
                wrong += [f"mesh pair: {part}" for part in holds_less(memory.memory(flat), held)]
                if not problem.expert_loads:
                    wrong += [f"mesh pair: {part}" for part in is_below(least, found)]
                yield shape, wrong


@pytest.mark.parametrize("first", blocks(0, 4000, 30, quick=60))
def test_relaxations_are_below_all_that_they_cover(first: int) -> None:
    for seed in range(first, first + 30):
        for shape, wrong in layouts_of(small_problem(seed)):
            assert wrong == [], f"seed {seed}, {shape}"


def test_relaxations_are_below_layouts_at_measured_load() -> None:
    for seed in range(200):
        problem = joint_problem(seed)
        for shape, wrong in layouts_of(problem) if problem is not None else ():
            assert wrong == [], f"seed {seed}, {shape}"


@pytest.mark.parametrize("first", range(0, 90, 30))
def test_relaxations_of_many_cp_are_below_each_of_them(first: int) -> None:
    several = 0
    for seed in range(first, first + 30):
        search = {"cp": None, "pp": None, "tp": None, "etp": (1,)}
        problem = small_problem(seed)
        problem = problem.changed(devices=13, search=problem.search.model_copy(update=search), engine_name="megatron")
        own = lattice(problem, axes(problem))
        costs, memory = CostBook(problem, effective_rates(problem.priced_hardware)), MemoryBook(problem)
        for tp, (least, most) in product(own.axes.tp, ((2, 13), (2, 3), (3, 6), (4, 4))):
            loose = relaxed_between(problem, tp, least, most, own.axes.pp, costs, memory)
            for cp in range(least, most + 1):
                for mesh, pp in product(own.expert_meshes(tp, cp), (1, 2)):
                    shape = shape_at(tp, cp, mesh, pp)
                    wrong = [*is_below(loose[0], costs.of(shape)), *holds_less(loose[1], memory.memory(shape))]
                    assert wrong == [], f"seed {seed}, {shape}, {least} to {most}"
                    several += 1
    assert several > 1000


def with_a_fast_fabric(seed: int) -> Problem | None:
    """A problem of one stage whose outer links are the faster ones; None without experts on three ranks' attention."""
    problem = small_problem(seed)
    tiers = problem.hardware.tiers
    if problem.model.moe is None or not divides_attention(problem, 3) or not divides_widths(problem, 3):
        return None
    inner = tiers[0].model_copy(update={"size": 4, "bandwidth": 10**9, "oversubscription": Fraction(1)})
    outer = tiers[-1].model_copy(update={"size": None, "bandwidth": 10**12, "oversubscription": Fraction(1)})
    hardware = problem.hardware.model_copy(update={"tiers": (inner, outer)})
    search = problem.search.model_copy(update={"pp": (1,), "tp": (3,), "ep": None, "etp": None, "cp": (1,)})
    return problem.model_copy(update={"hardware": hardware, "search": search, "devices": 12, "engine_name": "megatron"})


def test_an_expert_mesh_may_carry_a_replica_to_faster_links() -> None:
    wider = 0
    for seed in range(200):
        problem = with_a_fast_fabric(seed)
        for shape, wrong in layouts_of(problem) if problem is not None else ():
            assert wrong == [], f"seed {seed}, {shape}"
            wider += shape.stage_devices > 4
    assert wider > 10


def at_random(problem: Problem, found: list[Priced]) -> Problem | None:
    """The problem where requests come at random at a rate that half of its layouts serve; None without prompts."""
    if not problem.workload.prompts or not found:
        return None
    capacities = sorted(one.evaluation.request_capacity for one in found)
    rate = {"arrival": "poisson", "request_rate": capacities[len(capacities) // 2], "concurrency": None}
    return problem.changed(workload=problem.workload.model_copy(update=rate))


def reaches(problem: Problem, shape: Shape) -> Iterator[Reach]:
    """What the checker asks before it decides a shape, the widest first."""
    costs, memory = CostBook(problem, effective_rates(problem.priced_hardware)), MemoryBook(problem)
    depths, tp, cp = axes(problem).pp, shape.tp, shape.cp
    yield Reach(problem, *relaxed(problem, tp, cp, depths, costs, memory), tp, cp, None, depths[-1])
    flat = replace(shape, pp=1)
    yield Reach(problem, costs.least(flat, depths), memory.memory(flat), tp, cp, None, depths[-1])
    yield Reach(problem, costs.of(shape), memory.memory(shape), tp, cp, shape.pp, shape.pp)


def test_no_bound_dismisses_what_a_layout_reaches() -> None:
    asked = queued = 0
    for seed in range(60):
        small = small_problem(seed)
        found = list(layouts(small, full=True))
        for problem in filter(None, (small, at_random(small, found))):
            goal_, chunks_ = goal(problem, None), sorted(chunk for chunk in axes(problem).chunks if chunk is not None)
            for one in found[:: max(1, len(found) // 12)]:
                own = evaluate(problem, one.evaluation.layout, full=True)
                if not keeps_limits(problem, own):
                    continue
                first = ((share, own.first_token_s(share)) for share in (None, 50, 99) if problem.workload.prompts)
                reached = replace(
                    goal_, above=own.request_capacity / own.devices - Fraction(1, 10**9), memory=own.memory_bytes,
                    cycle=own.tpot_s and own.tpot_s * problem.workload.tokens_per_step, devices=own.devices,
                    first=tuple((share, late) for share, late in first if late is not None),
                )  # fmt: skip
                chunk = own.layout.prefill_chunk
                for reach in reaches(problem, one.shape):
                    assert reach.possible(reached, chunk, own.devices), f"seed {seed}, {own.layout}"
                    for least in chunks_ if chunk is not None else ():
                        ends = sorted((least, chunk))
                        assert reach.possible_between(reached, *ends, own.devices), f"seed {seed}, {own.layout}"
                asked, queued = asked + 1, queued + (own.queue_s > 0)
    assert asked > 300
    assert queued > 60


def test_nothing_is_possible_on_no_device_or_with_more_context_than_the_cache_holds() -> None:
    for seed in range(40):
        problem = small_problem(seed)
        chunk = next(iter(axes(problem).chunks))
        if (one := next(iter(layouts(problem)), None)) is None:
            continue
        own = goal(problem, None)
        for reach in reaches(problem, one.shape):
            assert reach.possible(own, chunk, problem.devices)
            assert not reach.possible(own, chunk, 0)
            assert not reach.possible(replace(own, context=10**12), chunk, problem.devices)


def test_relaxations_give_away_only_what_layouts_differ_in() -> None:
    """Of an attention mesh, matrices other than shared experts are those of every layout that does not overlap."""
    compared = 0
    for seed in range(40):
        problem = small_problem(seed)
        own = lattice(problem, axes(problem))
        costs, memory = CostBook(problem, effective_rates(problem.priced_hardware)), MemoryBook(problem)
        for tp, cp in product(own.axes.tp, own.axes.cp) if own.axes.pp else ():
            loose = relaxed(problem, tp, cp, own.axes.pp, costs, memory)[0]
            for mesh in own.expert_meshes(tp, cp):
                found = costs.of(shape_at(tp, cp, mesh, 1))
                for kind, least in zip(found.order, loose.order, strict=True):
                    held = {linear.name: linear for linear in loose.kinds[least].linears}
                    alike = [one for one in found.kinds[kind].linears if one.name != "shared_experts"]
                    if found.kinds[kind].exchange is None:
                        assert all(held[one.name] == one for one in alike), f"seed {seed}, {mesh}"
                        compared += len(alike)
    assert compared > 500
