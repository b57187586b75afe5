"""A new objective is one row: `solve`, `certify`, the frontier and `explain` honour it without further change."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction

import pytest

from optimizer import verify
from optimizer.certificate import certify
from optimizer.certificate.statement import exact, sealed
from optimizer.cli.solve import frontier_json
from optimizer.domain.objectives import OBJECTIVES, Measure, Objective, Scale
from optimizer.domain.problem import Problem
from optimizer.errors import InternalError
from optimizer.explain import explain
from optimizer.figures.objective import objective_of
from optimizer.figures.objective_text import objective_text, titled
from optimizer.figures.serving import evaluate
from optimizer.solve import solve
from optimizer.units import Dimension, amount, named
from optimizer.verify.violation import against
from tests.small_problems import layouts, small_problem
from tests.toy_objectives import ENERGY, INTERACTIVITY, WATTS, a_new_dimension

HELD = Objective(
    "held", "held_kib", "memory held", maximised=False, dimension=Dimension.COUNT,
    scale=lambda _: Scale(Measure.MEMORY, Fraction(1, 1024), Fraction(5)),
)  # fmt: skip


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in (ENERGY, INTERACTIVITY, HELD):
        monkeypatch.setitem(OBJECTIVES, row.name, row)


def best_of_all(problem: Problem) -> Fraction | None:
    """The best value over every layout there is, from figures alone."""
    found = [one.evaluation for one in layouts(problem)]
    if problem.objective == "energy":
        return min((WATTS / own.throughput_per_device for own in found), default=None)
    if problem.objective == "held":
        return min((5 + Fraction(own.memory_bytes, 1024) for own in found), default=None)
    return max((1 / own.tpot_s for own in found if own.tpot_s), default=None)


def asked() -> Iterator[Problem]:
    for seed in range(20):
        problem = small_problem(seed)
        if problem.expert_loads:
            continue
        for row in (ENERGY, INTERACTIVITY, HELD):
            if row.unfit(problem.workload) is None:
                yield problem.changed(objective=row.name)


def test_solve_finds_the_best_of_all_and_certify_refuses_better_and_worse() -> None:
    found, refuted = 0, 0
    for problem in asked():
        best, answer = best_of_all(problem), solve(problem)
        assert (answer.best is None) == (best is None)
        document = answer.to_json()
        assert certify(document).accepted
        if answer.best is None:
            continue
        found += 1
        assert answer.best.value == best
        assert document["objective"]["name"] == problem.objective_row.unit
        priced = evaluate(problem, answer.best.layout)
        assert objective_of(problem, priced) == best
        for sign in (1, -1):
            forged = deepcopy(document)
            claimed = best * (1 + Fraction(sign, 1000))
            forged["certificate"]["objective"] |= {"value": exact(claimed), "bound": exact(claimed)}
            forged["objective"] |= {"value": float(claimed), "bound": float(claimed)}
            forged["certificate"] = sealed(forged["certificate"])
            assert not certify(forged).accepted
        second = solve(problem, top=2).top
        if second and second[0].value != best:
            own = second[0].layout
            degrees = {name: (getattr(own, name),) for name in ("tp", "cp", "pp", "etp", "ep")}
            pinned = problem.changed(search=problem.search.model_copy(update=degrees))
            worse = solve(pinned).to_json()
            assert certify(worse).accepted
            claim = worse | {"problem": document["problem"], "search": document["search"]}
            copied = {name: document["certificate"][name] for name in ("problem_digest", "lattice")}
            claim["certificate"] = sealed(worse["certificate"] | copied)
            check = certify(claim)
            assert not check.accepted
            assert "is better" in str(check.reason)
            refuted += 1
    assert found > 20
    assert refuted > 5


def test_frontier_and_explain_honour_it() -> None:
    feasible = (p for p in map(small_problem, range(40)) if p.workload.phase == "aggregated" and any(layouts(p)))
    problem = next(feasible).changed(objective="energy")
    answer = solve(problem)
    assert answer.best is not None
    document = answer.to_json()
    document["pareto"] = frontier_json(problem, ["energy", "interactivity", "held"], None)
    assert certify(document).accepted
    points = document["pareto"]["points"]
    assert points[0]["values"][0] == float(answer.best.value)
    assert max(p["values"][1] for p in points) == float(best_of_all(problem.changed(objective="interactivity")) or 0)
    document["pareto"]["points"] = points[1:]
    assert not certify(document).accepted
    said = explain(problem).to_json()
    assert said["objective"] == {"name": "energy_j_per_token", "value": float(answer.best.value)}
    assert all(entry["gain"] <= 0 for entry in said["binding"])


def test_its_value_is_a_figure_that_verify_judges_by_the_names_it_has() -> None:
    judged = dict.fromkeys((row.name for row in (ENERGY, INTERACTIVITY, HELD)), 0)
    for problem in asked():
        row, answer = problem.objective_row, solve(problem)
        if answer.best is None or judged[row.name] == 2:
            continue
        judged[row.name] += 1
        document = answer.to_json()
        value = answer.best.value
        assert document["figures"][row.unit] == pytest.approx(float(value))
        figure = answer.derived[row.unit]
        assert (figure.value, figure.dimension) == (value, row.dimension)
        for factor, verdict in ((Fraction(1), "holds"), (Fraction(102, 100), "fails"), (Fraction(98, 100), "fails")):
            claims = dict.fromkeys((row.unit, row.name), float(value * factor))
            said = verify(document | {"claims": claims}).claims
            assert {claim.claim.name: str(claim.verdict) for claim in said} == dict.fromkeys(claims, verdict)
    assert min(judged.values()) == 2


def test_every_page_and_line_says_it_as_its_row_does() -> None:
    with a_new_dimension():
        assert objective_text("energy_j_per_token", 0.4400789) == "energy of a token 440.1 mJ/token"
        assert objective_text("interactivity_tokens_per_s", 52.5) == "52.5 tokens/s for each user"
        assert titled("energy_j_per_token") == "energy of a token (J/token)"
        assert amount(0.5, "j_per_token") == "500 mJ/token"
        assert named("energy_j_per_token") == ("energy", "J/token")
        told = against(Fraction(440_078_9, 10**7), Fraction(440_078_8, 10**7), ENERGY.dimension, "of")
        assert told == "440.0789 mJ/token of 440.0788 mJ/token"
        half = Fraction(1, 2)
        assert against(half, half - Fraction(1, 10**6), Dimension.SECONDS, "of") == "500 ms of 499.999 ms"
        assert against(half, half - Fraction(1, 10**6), Dimension.RATIO, "of") == "50% of 49.9999%"
        assert against(1_234_567, 1_234_566, Dimension.COUNT, "of") == "1,234,567 of 1,234,566"


def test_it_is_refused_where_it_has_no_meaning_and_half_a_row_does_not_run() -> None:
    decode = next(p for p in map(small_problem, range(40)) if p.workload.phase == "prefill")
    assert "the decode role sends the later tokens" in (INTERACTIVITY.unfit(decode.workload) or "")
    problem = small_problem(0)
    with pytest.raises(InternalError, match="does not have the sense"):
        replace(ENERGY, maximised=True).scale_of(problem)
