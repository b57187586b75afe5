"""Each constraint family of the CP-SAT model: fits, does not, fits again; and cuts as the reference makes them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from random import Random

import pytest
from ortools.sat.python import cp_model

from optimizer.domain.problem import Problem
from optimizer.figures.objective import Scored
from optimizer.figures.partition import Track, best_cuts
from optimizer.rules import RULES, Devices, MemoryRule, RequestRate, Tpot, Ttft
from optimizer.rules.linear import LARGEST, Rule, floor
from optimizer.rules.pipeline import post_cuts
from optimizer.search.search import Search
from optimizer.solve.master import choose
from tests.small_problems import small_problem


def free(*, rated: bool = False) -> tuple[Problem, list[Scored]]:
    """A problem that nothing but memory and devices limits (and a rate), with several layouts."""
    for seed in range(400):
        problem = small_problem(seed)
        rate = problem.workload.request_rate is not None
        limits = problem.limits.ttft is None and problem.limits.tpot is None
        if problem.workload.phase == "aggregated" and limits and rate == rated:
            found = Search(problem, wanted=50).run().best
            if len(found) > 4:
                return problem, found
    raise AssertionError


def limited(rule: type[Rule], problem: Problem, limit: Fraction) -> Problem:
    """The problem with this limit of a family."""
    if rule is Devices:
        return problem.model_copy(update={"devices": int(limit)})
    if rule is MemoryRule:
        device = problem.hardware.device.model_copy(update={"exposed_memory": int(limit)})
        hardware = problem.hardware.model_copy(update={"device": device})
        limits = problem.limits.model_copy(update={"memory_utilization": Fraction(1)})
        return problem.model_copy(update={"hardware": hardware, "limits": limits})
    if rule is RequestRate:
        return problem.model_copy(update={"workload": problem.workload.model_copy(update={"request_rate": -limit})})
    name = "ttft" if rule is Ttft else "tpot"
    return problem.model_copy(update={"limits": problem.limits.model_copy(update={name: limit})})


def fits(rule: Rule, candidates: Sequence[Scored], chosen: int | None = None) -> bool:
    """Whether the solver finds a candidate, or this one, within the rule."""
    model = cp_model.CpModel()
    literals = [model.new_bool_var(f"c{i}") for i in range(len(candidates))]
    model.add_exactly_one(literals)
    rule.post(model, literals, candidates)
    if chosen is not None:
        model.add(literals[chosen] == 1)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    return solver.solve(model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)


STEP = {Devices: Fraction(1), MemoryRule: Fraction(1), RequestRate: Fraction(1, 10**5), Ttft: Fraction(1, 10**11)}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.family.value)
def test_feasible_infeasible_feasible(rule: type[Rule]) -> None:
    problem, candidates = free(rated=rule is RequestRate)
    coefficients = [rule(problem).coefficient(c) for c in candidates]
    least, most = min(coefficients), max(coefficients)
    step = STEP.get(rule, Fraction(1, 10**11))
    wide = rule(limited(rule, problem, most))
    assert fits(wide, candidates)
    assert all(wide.holds(c) for c in candidates)
    if least > step or rule is RequestRate:
        tight = rule(limited(rule, problem, least - step))
        assert not fits(tight, candidates)
        assert not any(tight.holds(c) for c in candidates)
    exactly = rule(limited(rule, problem, least))
    assert fits(exactly, candidates)
    assert exactly.holds(candidates[coefficients.index(least)])


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.family.value)
def test_the_solver_keeps_what_the_rule_keeps(rule: type[Rule]) -> None:
    problem, candidates = free(rated=rule is RequestRate)
    ordered = sorted({rule(problem).coefficient(c) for c in candidates})
    own = rule(limited(rule, problem, ordered[len(ordered) // 2]))
    for number, candidate in enumerate(candidates):
        if own.holds(candidate):
            assert fits(own, candidates, number)
        elif own.coefficient(candidate) > (own.limit() or 0) + Fraction(1, own.scale):
            assert not fits(own, candidates, number)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.family.value)
def test_the_sentence_names_family_and_numbers(rule: type[Rule]) -> None:
    problem, candidates = free(rated=rule is RequestRate)
    sentence = rule(limited(rule, problem, rule(problem).coefficient(candidates[0]))).sentence(candidates[0])
    assert sentence.startswith(f"({rule.family.value}) ")
    assert any(letter.isdigit() for letter in sentence)


def test_a_limit_that_is_not_set_posts_nothing() -> None:
    problem, candidates = free()
    for rule in (Ttft, Tpot, RequestRate):
        assert rule(problem).limit() is None
        assert rule(problem).post(cp_model.CpModel(), [], candidates) is None
        assert rule(problem).holds(candidates[0])


def test_coefficients_round_down_and_stay_in_range() -> None:
    assert floor(Fraction(7, 2)) == 3
    assert floor(Fraction(-7, 2)) == -4
    assert floor(10**30) == LARGEST


def drawn(rng: Random) -> tuple[list[Track], int]:
    layers = rng.randint(2, 7)
    tracks = []
    for number in range(rng.randint(1, 3)):
        prefix = [0, *itertools.accumulate(rng.randint(0 if number else 1, 40) for _ in range(layers))]
        tracks.append(Track(prefix, rng.randint(0, 20), rng.randint(0, 20), rng.randint(0, 5), None))
    return tracks, rng.randint(1, layers)


def worst(track: Track, cuts: Sequence[int]) -> int:
    edges = [0, *itertools.accumulate(cuts)]
    return max(track.stage(a, b, edges[-1]) for a, b in itertools.pairwise(edges))


def ways(layers: int, stages: int) -> list[tuple[int, ...]]:
    stops = itertools.combinations(range(1, layers), stages - 1)
    return [tuple(b - a for a, b in itertools.pairwise((0, *inner, layers))) for inner in stops]


def cut(tracks: Sequence[Track], stages: int) -> list[int] | None:
    """Stops that the solver finds within the limits of all tracks."""
    model = cp_model.CpModel()
    stops = post_cuts(model, [(track, 1) for track in tracks], stages, "cut")
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    return [solver.value(stop) for stop in stops]


def within(track: Track, limit: int) -> Track:
    return Track(track.prefix, track.first, track.last, track.every, limit)


SLACK = 2
"""What `post_cuts` adds to a limit for roundings."""


def test_cuts_of_the_solver_equal_those_of_the_reference() -> None:
    rng = Random(7)  # noqa: S311 - test data
    for _ in range(120):
        tracks, stages = drawn(rng)
        layers = len(tracks[0].prefix) - 1
        all_cuts = ways(layers, stages)
        limits = [worst(track, rng.choice(all_cuts)) for track in tracks[1:]]
        others = [within(track, limit) for track, limit in zip(tracks[1:], limits, strict=True)]
        allowed = [c for c in all_cuts if all(worst(t, c) <= (t.limit or 0) for t in others)]
        reference = best_cuts([tracks[0], *others], stages)
        if not allowed:
            assert reference is None
            continue
        least = min(worst(tracks[0], c) for c in allowed)
        assert reference is not None
        assert worst(tracks[0], reference[0]) == least
        assert reference[0] in allowed
        # the reference's cuts fit; below the least that any cuts need, nothing does
        found = cut([within(tracks[0], least), *others], stages)
        assert found is not None
        assert found[-1] == layers
        assert all(a < b for a, b in itertools.pairwise([0, *found]))
        loosest = [within(track, (track.limit or 0) + SLACK) for track in others]
        loose = [c for c in all_cuts if all(worst(t, c) <= (t.limit or 0) for t in loosest)]
        floor_ = min(worst(tracks[0], c) for c in loose)
        assert cut([within(tracks[0], floor_ - SLACK), *others], stages) is not None
        assert cut([within(tracks[0], floor_ - SLACK - 1), *others], stages) is None


def test_the_master_chooses_the_first_in_order_whatever_the_order_of_candidates() -> None:
    problem, candidates = free()
    rng = Random(3)  # noqa: S311 - test data
    first = choose(problem, candidates)
    for _ in range(5):
        shuffled = rng.sample(candidates, len(candidates))
        assert choose(problem, shuffled).layout == first.layout
