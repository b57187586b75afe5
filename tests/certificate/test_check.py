"""The checker against every layout of small problems: it accepts what is true and names what beats a false claim."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from fractions import Fraction
from functools import cache

import pytest

from optimizer.certificate import certify
from optimizer.certificate.meshes import lattice
from optimizer.certificate.optimality import prove
from optimizer.certificate.verdict import Rejected, equal
from optimizer.domain.lattice import axes
from optimizer.domain.problem import Problem
from optimizer.figures.objective import Scored, better
from optimizer.figures.serving import evaluate
from optimizer.search.search import Search
from optimizer.solve import solve
from optimizer.solve.places import waits
from optimizer.verify.constraints import violations
from tests.certificate.documents import claimed, written
from tests.small_problems import Priced, asked, layouts, small_problem, value

SEEDS = range(70)
BLOCK = 10
BLOCKS = [range(first, first + BLOCK) for first in SEEDS[::BLOCK]]


@cache
def all_layouts(seed: int) -> list[Priced]:
    return list(layouts(small_problem(seed)))


def ranked(problem: Problem, wanted: int) -> tuple[Search, list[Scored]]:
    search = Search(problem, wanted=wanted)
    return search, search.run().best


@pytest.mark.parametrize("seeds", BLOCKS, ids=str)
def test_what_solve_writes_is_accepted(seeds: range) -> None:
    for seed in seeds:
        for number, problem in enumerate(asked(seed)):
            document = written(solve(problem, top=1 + (seed + number) % 3))
            check = certify(document)
            assert check.accepted, f"seed {seed}, {problem.objective}: {check.item}: {check.reason}"
            # the proof leaves out the wait that may keep layouts from a list
            listed = len(document["certificate"]["top"]) > 0 and waits(problem)
            assert check.solver_trusted == (["top"] if listed and document["status"] == "optimal" else [])
            assert check.candidates == document["search"]["candidates"]
            assert (document["status"] == "infeasible") == (not all_layouts(seed))


@pytest.mark.parametrize("seeds", BLOCKS, ids=str)
def test_lattices_of_search_and_checker_are_equal(seeds: range) -> None:
    for seed in seeds:
        problem = small_problem(seed)
        search, _ = ranked(problem, 1)
        assert search.lattice_json() == lattice(problem, axes(problem)).to_json(), f"seed {seed}"


def values_around(seed: int, found: list[Fraction]) -> list[Fraction]:
    """Values that layouts have, just beside them, between them and far off."""
    rng = random.Random(seed)  # noqa: S311 - test data
    some = [*rng.sample(found, min(3, len(found))), max(found), min(found)]
    beside = [v + sign * Fraction(1, 10**k) for v in some for k in (1, 30) for sign in (-1, 1)]
    return [*some, *beside, *(Fraction(a + b, 2) for a, b in itertools.pairwise(some)), Fraction(0)]


def compare_with_brute_force(seed: int) -> None:
    for problem in asked(seed):
        own = lattice(problem, axes(problem))
        found = [value(problem, one.evaluation, problem.objective) for one in all_layouts(seed)]
        if not found:
            assert prove(problem, own, None).counterexample is None, f"seed {seed}"
            continue
        assert prove(problem, own, None).counterexample is not None, f"seed {seed}"
        best = max(found) if problem.objective_row.maximised else min(found)
        for claim in values_around(seed, found):
            counterexample = prove(problem, own, claim).counterexample
            says = f"seed {seed}, {problem.objective}, {claim} with {best}"
            assert (counterexample is not None) == better(problem, best, claim), says
            if counterexample is not None:
                evaluation = evaluate(problem, counterexample.layout)
                reached = value(problem, evaluation, problem.objective)
                # proof and enumeration leave out the wait for a free place, of which the answer's own check asks
                assert not violations(problem, counterexample.layout, evaluation, waits=False), says
                assert better(problem, reached, claim), says


@pytest.mark.parametrize("seeds", BLOCKS, ids=str)
def test_a_value_is_proved_just_where_no_layout_is_better(seeds: range) -> None:
    for seed in seeds:
        compare_with_brute_force(seed)


def at_the_edge(problem: Problem, found: list[Priced]) -> Iterator[tuple[str, Problem, Problem]]:
    """Limits that the best layouts just meet, and the same a hair tighter; memory is that of the problem."""
    work, hair = problem.workload, Fraction(1, 10**24)
    least = {
        name: min((s for one in found if (s := getattr(one.evaluation, name + "_s")) is not None), default=None)
        for name in ("ttft", "tpot")
    }
    for name, seconds in least.items():
        if seconds is not None:
            at, beyond = (
                problem.model_copy(update={"limits": problem.limits.model_copy(update={name: limit})})
                for limit in (seconds, seconds - hair)
            )
            yield name, at, beyond
    most = max(one.evaluation.request_capacity for one in found)
    at, beyond = (
        problem.model_copy(update={"workload": work.model_copy(update={"request_rate": rate})})
        for rate in (most, most + hair)
    )
    yield "request_rate", at, beyond


@pytest.mark.parametrize("seeds", [range(20), range(20, 60)], ids=str)
def test_a_limit_that_is_just_met_dismisses_nothing(seeds: range) -> None:
    met = 0
    for seed in seeds:
        drawn = small_problem(seed)
        if all_layouts(seed) and drawn.workload.request_rate is None:
            own = lattice(drawn, axes(drawn))
            for name, at, beyond in at_the_edge(drawn, all_layouts(seed)):
                fits = prove(at, own, None).counterexample is not None
                assert fits == any(True for _ in layouts(at)), f"seed {seed}, {name}"
                assert prove(beyond, own, None).counterexample is None, f"seed {seed}, {name}"
                met += fits
    assert met >= 5


@pytest.mark.slow
@pytest.mark.parametrize("first", range(70, 3000, 50))
def test_a_value_is_proved_just_where_no_layout_is_better_in_many_problems(first: int) -> None:
    for seed in range(first, first + 50):
        model = small_problem(seed).model
        # what no layer uses constrains degrees all the same, which the enumeration of the tests leaves out
        if set(model.blocks) == set(model.layer_names):
            compare_with_brute_force(seed)
            all_layouts.cache_clear()


@pytest.mark.parametrize("seeds", BLOCKS, ids=str)
def test_a_worse_layout_is_rejected_and_a_better_one_named(seeds: range) -> None:
    rejected = 0
    for seed in seeds:
        for problem in asked(seed):
            _, best = ranked(problem, 1000)
            worse = [s for s in best if s.value != best[0].value]
            for scored in worse[:1] + worse[-1:]:
                document = claimed(problem, "optimal", scored, bound=scored.value)
                check = certify(document)
                assert not check.accepted, f"seed {seed}, {problem.objective}"
                assert check.item == "certificate.objective"
                assert check.reason is not None
                assert "is better" in check.reason
                assert "tp=" in check.reason
                rejected += 1
    assert rejected > 5


@pytest.mark.parametrize("seeds", BLOCKS[:3], ids=str)
def test_what_fits_cannot_be_claimed_infeasible(seeds: range) -> None:
    for seed in seeds:
        problem = small_problem(seed)
        check = certify(claimed(problem, "infeasible"))
        assert check.accepted == (not all_layouts(seed)), f"seed {seed}"
        if all_layouts(seed):
            assert check.item == "certificate.kind"
            assert check.reason is not None
            assert check.reason.endswith("fits")


def several(wanted: int) -> tuple[Problem, list[Scored]]:
    """A problem whose best layouts have values of their own."""
    for seed in SEEDS:
        problem = small_problem(seed)
        _, best = ranked(problem, wanted)
        values = [s.value for s in best]
        if len(values) == wanted == len(set(values)) and any(s.layout.batch > 1 for s in best[:1]):
            return problem, best
    raise AssertionError


def test_a_list_that_leaves_a_layout_out_is_rejected() -> None:
    problem, best = several(4)
    whole = claimed(problem, "optimal", best[0], bound=best[0].value, others=tuple(best[1:]))
    assert certify(whole).accepted
    holed = claimed(problem, "optimal", best[0], bound=best[0].value, others=tuple(best[2:]))
    check = certify(holed)
    assert check.item == "certificate.objective"
    assert check.reason is not None
    # the degrees left out, at any cuts that are better than what is listed next
    degrees = ", ".join(f"{name}={getattr(best[1].layout, name)}" for name in ("tp", "cp", "dp", "pp", "etp", "ep"))
    assert degrees in check.reason
    assert "is better" in check.reason
    swapped = (best[2], best[1], best[3])
    check = certify(claimed(problem, "optimal", best[0], bound=best[0].value, others=swapped))
    assert check.item == "certificate.top[1]"
    twice = (best[1], best[1])
    check = certify(claimed(problem, "optimal", best[0], bound=best[0].value, others=twice))
    assert check.item == "certificate.top[1]"


def test_degrees_that_are_listed_with_a_poor_batch_do_not_hide_their_best() -> None:
    """The best degrees, listed last with one sequence, must not let the second best pass for the best."""
    hidden = 0
    for seed in SEEDS:
        problem = small_problem(seed).model_copy(update={"objective": "throughput_per_device"})
        _, best = ranked(problem, 2)
        if len(best) < 2 or best[0].value == best[1].value or problem.search.batch is not None:
            continue
        redundant = best[0].layout.redundant_slots
        shape = (best[0].layout.tp, best[0].layout.cp, best[0].layout.pp, best[0].layout.etp, best[0].layout.ep)
        poor = [
            one.evaluation
            for one in all_layouts(seed)
            if one.degrees == shape
            and one.shape.redundant == redundant
            and value(problem, one.evaluation, problem.objective) < best[1].value
        ]
        if not poor:
            continue
        search_one = Search(problem.model_copy(update={"search": problem.search.model_copy(
            update={"batch": (poor[0].layout.batch,)})}), wanted=1000)  # fmt: skip
        small = [
            s for s in search_one.run().best
            if (s.layout.tp, s.layout.cp, s.layout.pp, s.layout.etp, s.layout.ep) == shape and s.value < best[1].value
        ]  # fmt: skip
        if not small or small[0].layout.redundant_slots != redundant:
            continue
        check = certify(
            claimed(
                problem, "optimal", best[1], bound=best[1].value,
                others=(small[0],),
            )
        )  # fmt: skip
        assert check.item == "certificate.objective", f"seed {seed}: {check.item}: {check.reason}"
        hidden += 1
    assert hidden >= 3


def test_a_feasible_layout_has_a_true_bound_or_none() -> None:
    problem, best = several(3)
    top, second, third = (s.value for s in best)
    for bound, item in ((None, None), (top, None), (second, "certificate.objective"), (third, "status")):
        check = certify(claimed(problem, "feasible", best[2], bound=bound))
        assert check.item == item
        assert check.accepted == (item is None)
    assert certify(claimed(problem, "optimal", best[2], bound=top)).item == "status"
    worse = min if problem.objective_row.maximised else max
    beyond = worse(third * Fraction(9, 10), third * Fraction(11, 10))
    check = certify(claimed(problem, "feasible", best[2], bound=beyond))
    assert check.item == "certificate.objective.bound"


def test_a_value_of_zero_is_no_optimum_under_a_bound_above_it() -> None:
    """A relative gap to a value of zero is not zero."""
    for seed in SEEDS:
        problem = small_problem(seed).model_copy(update={"objective": "memory_headroom"})
        _, best = ranked(problem, 1000)
        if best and best[0].value > best[-1].value:
            scored = best[-1]
            full = problem.model_copy(
                update={"limits": problem.limits.model_copy(update={"memory_utilization": Fraction(
                    scored.point.memory_bytes, problem.hardware.device.exposed_memory)})}
            )  # fmt: skip
            full = Problem.model_validate({name: getattr(full, name) for name in Problem.model_fields})
            assert full.capacity_bytes == scored.point.memory_bytes
            zero = next((s for s in Search(full, wanted=1000).run().best if s.value == 0), None)
            if zero is None:
                continue
            document = claimed(full, "optimal", zero, bound=Fraction(10**12))
            assert certify(document).item in ("status", "certificate.layout")
            return
    raise AssertionError


def test_a_difference_within_a_list_of_mappings_is_named() -> None:
    with pytest.raises(Rejected, match=r"pools\[1\]\.free: is 3, should be 4"):
        equal("pools", [{"free": 1}, {"free": 3}], ({"free": 1}, {"free": 4}))
    equal("pools", [{"free": 1}], [{"free": 1}])
    for stated, expected in (([], None), ([], {}), ([], [{"free": 1}]), ([{}], []), ([1], [True]), ({}, [])):
        with pytest.raises(Rejected):
            equal("pools", stated, expected)


def test_an_answer_that_proves_nothing_is_no_lie_and_no_proof() -> None:
    check = certify({"schema": "shardproof/result/1", "status": "unknown", "certificate": {}})
    assert (check.accepted, check.item) == (False, "certificate")
    assert "proves nothing" in (check.reason or "")
    assert (
        certify({"schema": "shardproof/result/1", "status": "optimal", "certificate": {}}).item == "certificate.schema"
    )
