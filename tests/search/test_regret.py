"""Least worst-case regret over a box of efficiencies, against counting it out, and thresholds that hold and change."""

from __future__ import annotations

from fractions import Fraction

import pytest

from optimizer.domain.problem import Problem
from optimizer.domain.uncertainty import EFFICIENCIES, PRECISION, with_factors
from optimizer.errors import SpecError
from optimizer.figures.rates import effective_rates
from optimizer.search.regret import Robustness, robust
from optimizer.search.search import Search
from tests.small_problems import Priced, layouts, small_problem, value

SHARE = Fraction(1, 5)


def feasible(count: int, devices: int = 4) -> list[Problem]:
    found = []
    for seed in range(400):
        problem = small_problem(seed)
        if problem.devices <= devices and problem.experts is None and Search(problem).run().best:
            found.append(problem)
        if len(found) == count:
            break
    return found


PROBLEMS = feasible(6)


def by_decision(problem: Problem) -> dict[tuple[object, ...], Fraction]:
    """Best value of each decision, over every layout there is."""
    best: dict[tuple[object, ...], Fraction] = {}
    better = max if problem.objective_row.maximised else min
    for one in layouts(problem):
        own = value(problem, one.evaluation, problem.objective)
        best[decision(one)] = better(best.get(decision(one), own), own)
    return best


def decision(one: Priced) -> tuple[object, ...]:
    return (*one.degrees, one.evaluation.layout.prefill_chunk)


def named(found: Robustness) -> tuple[object, ...]:
    own = found.robust.layout
    return (own.tp, own.cp, own.pp, own.etp, own.ep, own.prefill_chunk)


def test_factors_scale_what_they_name_and_end_at_the_peak() -> None:
    problem = PROBLEMS[0]
    plain = effective_rates(problem.hardware)
    faster = effective_rates(with_factors(problem, (("hbm", Fraction(1, 2)), ("latency", Fraction(3)))).hardware)
    assert faster.hbm == plain.hbm / 2
    assert faster.latencies == tuple(3 * v for v in plain.latencies)
    assert (faster.links, faster.launch, faster.compute) == (plain.links, plain.launch, plain.compute)
    capped = effective_rates(with_factors(problem, (("hbm", Fraction(100)),)).hardware)
    assert capped.hbm == problem.hardware.device.bandwidth
    other = effective_rates(
        with_factors(
            problem, tuple((n, Fraction(1, 2)) for n in ("compute", "links", "launch", "attention_hbm"))
        ).hardware
    )
    assert other.links == tuple(v / 2 for v in plain.links)
    assert other.launch == plain.launch / 2
    assert other.attention_hbm == plain.attention_hbm / 2
    assert other.attention_compute == plain.attention_compute / 2


@pytest.mark.parametrize("number", range(len(PROBLEMS)))
def test_worst_regrets_equal_counting(number: int) -> None:
    problem = PROBLEMS[number]
    box = {"hbm": SHARE, "launch": Fraction(1, 3)}
    found = robust(problem, box)
    assert found is not None
    ends = {name: (1 - share, Fraction(1), 1 + share) for name, share in box.items()}
    grid = [(("hbm", a), ("launch", b)) for a in ends["hbm"] for b in ends["launch"]]
    # the grid of `robust` is the centre, the ends alone, and corners: all nine where both matter
    regrets: dict[tuple[object, ...], Fraction | None] = {}
    for factors in grid:
        own = by_decision(with_factors(problem, factors))
        if not own:
            continue
        best = (max if problem.objective_row.maximised else min)(own.values())
        for name in {*regrets, *own}:
            lost = abs(best - own[name]) / (abs(best) or 1) if name in own else None
            held = regrets.get(name, Fraction(0))
            regrets[name] = None if lost is None or held is None else max(held, lost)
    assert regrets[named(found)] == found.robust_regret
    assert found.robust_regret is None or found.nominal_regret is None or found.robust_regret <= found.nominal_regret
    finite = [r for r in regrets.values() if r is not None]
    if finite and found.robust_regret is not None:
        assert min(finite) <= found.robust_regret


@pytest.mark.parametrize("number", range(3))
def test_thresholds_hold_on_one_side_and_change_on_the_other(number: int) -> None:
    problem = PROBLEMS[number]
    found = robust(problem, {"hbm": SHARE, "compute": SHARE})
    assert found is not None
    own = found.nominal.layout
    answer = (own.tp, own.cp, own.pp, own.etp, own.ep, own.prefill_chunk)
    assert {(t.efficiency, t.direction) for t in found.thresholds} == {
        (name, direction) for name in ("hbm", "compute") for direction in ("lower", "higher")
    }
    for threshold in found.thresholds:
        better = max if problem.objective_row.maximised else min
        values = by_decision(with_factors(problem, ((threshold.efficiency, threshold.holds_at),)))
        assert not values or values.get(answer) == better(values.values())
        if threshold.changes_at is not None:
            assert abs(threshold.changes_at - threshold.holds_at) <= PRECISION
            values = by_decision(with_factors(problem, ((threshold.efficiency, threshold.changes_at),)))
            assert values.get(answer) != better(values.values())


def test_json_says_over_what_it_is_proved() -> None:
    found = robust(PROBLEMS[0], SHARE)
    assert found is not None
    document = found.to_json()
    assert document["schema"] == "shardproof/robust/1"
    assert set(document["box"]) == set(EFFICIENCIES)
    assert f"{found.grid} points of the box" in document["proved_over"]
    assert document["same"] == (document["robust"] == document["nominal"])


def test_a_box_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match="unknown efficiency 'fabric'"):
        robust(PROBLEMS[0], {"fabric": SHARE})
    with pytest.raises(SpecError, match="uncertainty of hbm is 1"):
        robust(PROBLEMS[0], {"hbm": Fraction(1)})


def test_nothing_fits_at_the_centre() -> None:
    problem = next(p for seed in range(200) if not Search(p := small_problem(seed)).run().best)
    assert robust(problem, SHARE) is None
