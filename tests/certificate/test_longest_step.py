"""The checker's longest step with prompt tokens is the last tick at which random arrivals are served in time."""

from __future__ import annotations

from fractions import Fraction

import pytest

from optimizer import read_problem
from optimizer.certificate.decision import Decision
from optimizer.certificate.goals import Goal
from optimizer.domain.shape import Shape
from optimizer.figures.costs import build_costs
from optimizer.figures.memory import build_memory
from optimizer.figures.rates import TICKS_PER_SECOND, effective_rates
from optimizer.figures.serving import service_s, timing
from optimizer.figures.steps import steps_of

FIXED = Fraction(1, 200)
BATCH = 6


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("percentile", "limit"), [(None, None), (None, "0.4"), (50, "0.4"), (90, "0.41"), (99, "3")])
@pytest.mark.parametrize(("phase", "chunk"), [("aggregated", 500), ("aggregated", 4000), ("prefill", 1000)])
def test_one_tick_more_is_late(
    phase: str, chunk: int, percentile: int | None, limit: str | None, *, strict: bool
) -> None:
    problem = read_problem(
        model="llama-3.1-8b", hardware="h100-sxm-8", devices=8, isl=1000, osl=50, phase=phase, request_rate=9
    )
    shape = Shape(tp=1, cp=1, pp=2, etp=1, ep=1)
    costs = build_costs(problem, shape, effective_rates(problem.priced_hardware))
    own = Decision(problem, shape, chunk, costs, build_memory(problem, shape))

    def longest(most: Fraction | None) -> int:
        names = frozenset({"first" if percentile is None else f"first_p{percentile}"} if strict else ())
        first = () if most is None else ((percentile, most),)
        return own._longest_mixed(
            BATCH, FIXED, Goal(None, None, Fraction(0), None, first, 0, 8, strict=names), 3, percentile
        )

    steps = steps_of(problem.workload, BATCH // shape.pp, chunk, shape.pp)

    def told(ticks: int) -> tuple[Fraction, Fraction]:
        alone = FIXED + Fraction((steps.pieces + shape.pp - 1) * ticks, TICKS_PER_SECOND)
        found = timing(
            problem, pp=shape.pp, batch=BATCH, steps=steps, slowest=Fraction(1), slowest_met=Fraction(1),
            slowest_mixed=ticks, ranks=3, first_s=alone,
        )  # fmt: skip
        return found.load, found.first_token_s(service_s(problem, steps, ticks), percentile)

    most = longest(None if limit is None else Fraction(limit))
    assert most > TICKS_PER_SECOND // 1000
    (load, first_s), (next_load, next_first_s) = told(most), told(most + 1)
    assert load < 1
    if limit is None:
        assert next_load >= 1
        return
    assert first_s <= Fraction(limit)
    assert next_load >= 1 or next_first_s > Fraction(limit) or (strict and next_first_s == Fraction(limit))
    # what takes exactly the limit does not beat it
    assert longest(first_s) == most - strict
