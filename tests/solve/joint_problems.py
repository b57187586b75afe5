"""Small problems with measured expert load, and all their layouts with the best of all placements."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from random import Random

from optimizer.domain.layout import Layout, Stage
from optimizer.domain.problem import ExpertLoads, ExpertsSpec, Problem
from optimizer.figures.costs import build_costs
from optimizer.figures.memory import build_memory
from optimizer.figures.rates import effective_rates
from optimizer.figures.serving import Evaluation, evaluate
from optimizer.figures.skew import Skews, StageMesh, load_weights, placeable
from tests.placement.enumeration import best
from tests.small_problems import (
    LARGEST_WORK,
    Priced,
    chunks,
    cuts,
    keeps_limits,
    largest_batch,
    replica_counts,
    shapes,
    small_problem,
    work,
)


def _row(rng: Random, experts: int) -> tuple[int, ...]:
    kind = rng.choice(["even", "skewed", "one", "none"])
    if kind == "none" and rng.random() < 0.3:
        return (0,) * experts
    return tuple(rng.choice([1, 40, 60, 200]) if kind == "skewed" else rng.randint(40, 60) for _ in range(experts))


@cache
def joint_problem(seed: int) -> Problem | None:
    """The small problem of a seed with measured loads; None where it has no or too many experts."""
    problem = small_problem(seed)
    moes = [b.moe for b in problem.model.blocks.values() if b.moe is not None]
    if problem.model.moe is None or len({m.experts for m in moes}) > 1:
        return None
    rng, experts = Random(f"joint {seed}"), problem.model.moe.experts  # noqa: S311 - test data
    if experts > 6 or problem.devices > 6:
        return None
    rows = tuple(_row(rng, experts) for _ in range(problem.model.moe_layer_count))
    loads = [ExpertLoads(name="day", rows=rows)]
    robust = rng.choice(["worst", "mean", "cvar"])
    if rng.random() < 0.3:
        rows = tuple(tuple(max(1, tokens) for tokens in row) for row in rows)
        other = tuple(_row(rng, experts) for _ in range(problem.model.moe_layer_count))
        other = tuple(tuple(max(1, tokens) for tokens in row) for row in other)
        loads = [ExpertLoads(name="day", rows=rows)]
        loads.append(ExpertLoads(name="night", rows=other))
    slots = (0, 1) if rng.random() < 0.3 else (0,)
    spec = ExpertsSpec.model_validate({"redundant_slots": list(slots), "robust": robust})
    own = {name: getattr(problem, name) for name in Problem.model_fields}
    found = Problem.model_validate(own | {"experts": spec, "expert_loads": tuple(loads)})
    return found if work(found) <= LARGEST_WORK else None


def least_imbalance(problem: Problem, mesh: StageMesh) -> list[Fraction]:
    """Least max over mean of each layer, over all placements."""
    ep, redundant = mesh
    own = problem.experts
    assert own is not None
    assert problem.model.moe is not None
    slots = (problem.model.moe.experts + redundant) // ep
    found = []
    for layer in range(problem.model.moe_layer_count):
        rows = [load.rows[layer] for load in problem.expert_loads]
        value = best(rows, ep, slots, robust=own.robust, weights=load_weights(problem))
        assert value is not None
        found.append(value)
    return found


def _stages(parts: Sequence[int]) -> tuple[Stage, ...]:
    return tuple(Stage(first_layer=sum(parts[:i]), layers=n) for i, n in enumerate(parts))


def placed_layouts(problem: Problem) -> Iterator[Priced]:
    """Every layout that keeps every limit with the best placement on its expert mesh."""
    rates = effective_rates(problem.priced_hardware)
    imbalance: dict[StageMesh, list[Fraction]] = {}
    for shape in shapes(problem):
        if not placeable(problem, shape):
            continue
        mesh = (shape.ep, shape.redundant)
        if mesh not in imbalance:
            imbalance[mesh] = least_imbalance(problem, mesh)
        skew = Skews(problem, imbalance).of(shape)
        costs, memory = build_costs(problem, shape, rates, skew), build_memory(problem, shape)
        batches = sorted(set(problem.search.batch or range(1, largest_batch(problem, shape) + 1)))
        ways = list(cuts(problem.model.layer_count, shape.pp))
        for chunk, batch, parts, replicas in itertools.product(
            chunks(problem), batches, ways, replica_counts(problem, shape)
        ):
            layout = Layout(
                tp=shape.tp, cp=shape.cp, dp=shape.dp * replicas, pp=shape.pp, etp=shape.etp, ep=shape.ep,
                edp=shape.edp * replicas, batch=batch, prefill_chunk=chunk, redundant_slots=shape.redundant,
                stages=_stages(parts),
            )  # fmt: skip
            found: Evaluation = evaluate(problem, layout, imbalance=skew, rates=rates, costs=costs, memory=memory)
            if keeps_limits(problem, found):
                yield Priced(shape, found)
