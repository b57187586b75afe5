"""Where the ranks of a group sit: levels against ranks counted one by one, in the order that each engine has."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest

from optimizer import read_problem
from optimizer.domain.engines import ENGINES
from optimizer.domain.shape import Shape
from optimizer.figures.costs import CostBook
from optimizer.figures.rates import effective_rates
from optimizer.figures.topology import expert_group, levels, outermost_tier

VLLM, SGLANG = ENGINES["vllm"][-1], ENGINES["sglang"][-1]
SHAPES = [
    Shape(tp, 1, *experts, pp) for tp, dp, pp in product([1, 2, 4], [1, 2, 3, 4, 8, 16], [1, 2, 3, 4])
    for experts in ((1, tp * dp), (tp * dp, 1))
]  # fmt: skip


def device(order: tuple[str, ...], shape: Shape, stage: int, rank: int) -> int:
    """Device of a stage's rank: counted along the axes of an order, the fastest last."""
    at, sizes = {"tp": rank % shape.tp, "dp": rank // shape.tp, "cp": 0, "pp": stage}, {"cp": 1}
    found = 0
    for axis in order:
        found = found * sizes.get(axis, getattr(shape, axis)) + at[axis]
    return found


@pytest.mark.parametrize("engine", [VLLM, SGLANG], ids=["vllm", "sglang"])
@pytest.mark.parametrize("size", [2, 4, 6, 8, 16])
def test_experts_are_exchanged_where_their_ranks_are(engine: object, size: int) -> None:
    order, within = engine.order, engine.within_stages  # type: ignore[attr-defined]
    for shape in SHAPES:
        members = shape.etp * shape.ep
        stages = [[device(order, shape, stage, rank) for rank in range(members)] for stage in range(shape.pp)]
        held = {count for ranks in stages for count in Counter(rank // size for rank in ranks).values()}
        inside = held.pop() if len(held) == 1 else 1
        fan_outs = [inside] if inside == members else [inside, members // inside]
        found = levels((size, None), expert_group(shape, shape.along(within)), shape.devices)
        assert [level.fanout for level in found] == [n for n in fan_outs if n > 1], (shape, size)
        apart = any(len({stage[rank] // size for stage in stages}) > 1 for rank in range(members))
        if shape.pp > 1:
            assert outermost_tier((size, None), shape.devices, shape.along(within) * shape.pp) == apart, (shape, size)


@pytest.mark.parametrize(("engine", "exchanged", "sent"), [("sglang", [0], 1), ("vllm", [0, 1], 0)])
def test_a_stage_of_experts_on_two_nodes_is_priced_where_the_engine_puts_it(
    engine: str, exchanged: list[int], sent: int
) -> None:
    """Of 8 data-parallel ranks of two stages vLLM puts four on each node of eight, stages together."""
    problem = read_problem(
        {
            "model": "deepseek-v3", "hardware": "h100-sxm-8", "devices": 16, "engine": engine,
            "workload": {"input_tokens": 4000, "output_tokens": 1000},
        }
    )  # fmt: skip
    shape = Shape(1, 1, 1, 8, 2)
    sizes = tuple(tier.size for tier in problem.hardware.tiers)
    group = expert_group(shape, shape.along(problem.engine.within_stages))
    assert [level.tier for level in levels(sizes, group, shape.devices)] == exchanged
    assert outermost_tier(sizes, 16, shape.along(problem.engine.within_stages) * 2) == sent
    book = CostBook(problem, effective_rates(problem.priced_hardware))
    least = book.least(replace(shape, pp=1), (1, 2, 4))
    for pp in (1, 2, 4):
        deep = book.of(replace(shape, pp=pp))
        assert all(low.per_token <= own.per_token for low, own in zip(least.kinds, deep.kinds, strict=True))
