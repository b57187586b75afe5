"""Coefficients that no expert mesh over an attention mesh goes below: one evaluation dismisses them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import floor

from optimizer.certificate.meshes import MeshPair
from optimizer.domain.precision import ACTIVATION_BYTES
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.domain.tensor import TensorRole
from optimizer.figures.costs import CostBook, Costs
from optimizer.figures.layer import Linear, linear_group
from optimizer.figures.memory import Memory, MemoryBook, hidden_elements
from optimizer.figures.rates import TICKS_PER_SECOND
from optimizer.figures.traffic import query_bytes


def relaxed(
    problem: Problem, tp: int, cp: int, depths: Sequence[int], costs: CostBook, memory: MemoryBook
) -> tuple[Costs, Memory]:
    """Coefficients that no expert mesh over this attention mesh goes below.

    Routed experts take the FLOPs of a token's experts shared by tp·cp devices, and no bytes, messages or memory; shared
    experts the lesser of being divided and being whole.
    """
    shape = Shape(tp, cp, 1, 1, 1)
    # an expert mesh may widen the stage, and with it the replica, beyond what depth alone does: past every tier
    wider = [tier.size // shape.stage_devices + 1 for tier in problem.hardware.tiers if tier.size is not None]
    balanced = CostBook(problem, costs.rates) if costs.skews.measured else costs
    least, memory_held = balanced.least(shape, (*depths, *wider)), memory.memory(shape)
    kinds = []
    for kind in least.kinds:
        linears = tuple(_either(problem, costs, shape, group) for group in kind.linears)
        experts = None
        if kind.experts is not None:
            # rounded up a copy's share at a time, of which another mesh may have fewer
            experts = replace(kind.experts.balanced(), flop=max(0, kind.experts.flop - 1), unit=0, io=0)
        kinds.append(replace(kind, linears=linears, experts=experts))
    weights = tuple(replace(w, expert_bytes=0) for w in memory_held.weights)
    act = ACTIVATION_BYTES[problem.precision.activations]
    token, hidden = act * 4 * problem.model.hidden_size / cp, act * hidden_elements(problem) / cp
    output = replace(memory_held.output, expert_bytes=0)
    less = replace(memory_held, weights=weights, output=output, token_bytes=int(token), hidden_bytes=int(hidden))
    return replace(least, kinds=tuple(kinds)), less


def relaxed_between(
    problem: Problem, tp: int, least: int, most: int, depths: Sequence[int], costs: CostBook, memory: MemoryBook
) -> tuple[Costs, Memory]:
    """`relaxed` of every cp from `least`, which is above 1, to `most`.

    Work, cache and workspace are those that the most ranks share, what a rank rounds up and the engine keeps for
    itself those of the fewest. Routed experts take nothing, and of messages those alone are counted that all ranks of
    a sequence exchange: (cp − 1) ÷ cp of them, over the fastest links.
    """
    (widest, memory_held), single = relaxed(problem, tp, most, depths, costs, memory), Shape(1, 1, 1, 1, 1)
    slack, share = least - 1, Fraction(least - 1, least)
    kinds = []
    for number, kind in enumerate(widest.kinds):
        block = problem.model.blocks[problem.model.layer_names[widest.order.index(number)]]
        size = share * query_bytes(problem, tp) * TICKS_PER_SECOND / max(costs.rates.links)
        kinds.append(
            replace(
                kind,
                linears=tuple(replace(group, slack=min(slack, group.slack)) for group in kind.linears),
                experts=None,
                per_token=0,
                per_prompt=0,
                per_seq=floor(size) if block.attention is not None else 0,
                fixed=costs.layers.layer(block, single).fixed,
            )
        )
    narrowest = memory.memory(Shape(tp, least, 1, 1, 1))
    fewest = replace(memory_held, reserve_bytes=narrowest.reserve_bytes, layer_reserve=narrowest.layer_reserve)
    return replace(widest, kinds=tuple(kinds), head=replace(widest.head, slack=slack)), fewest


def _either(problem: Problem, costs: CostBook, shape: Shape, group: Linear) -> Linear:
    """Shared experts: the least coefficients of divided and whole ones."""
    if group.name != TensorRole.SHARED_EXPERTS or shape.tp == 1:
        return group
    flop, io, slack = group.flop, group.io, group.slack
    for block in problem.model.blocks.values():
        tensors = [t for t in block.tensors(problem.model.hidden_size) if t.role is TensorRole.SHARED_EXPERTS]
        if tensors:
            undivided = linear_group(
                group.name, tensors, problem, costs.rates, ranks=1, cp=shape.cp * shape.tp,
                io_elements=2 * problem.model.hidden_size,
            )  # fmt: skip
            if undivided is not None:
                flop, io, slack = min(flop, undivided.flop), min(io, undivided.io), min(slack, undivided.slack)
    return replace(group, flop=flop, io=io, slack=slack)


def shape_at(tp: int, cp: int, mesh: MeshPair, pp: int) -> Shape:
    """The shape of a mesh pair at a pipeline depth."""
    redundant, etp, ep, overlap = mesh
    return Shape(tp, cp, etp, ep, pp, redundant, overlap)
