"""A new phase is one row: `solve`, `verify`, `certify` and `explain` honour it without further change."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import pytest
from pydantic.fields import FieldInfo

from optimizer.certificate import certify
from optimizer.certificate.statement import exact, sealed
from optimizer.domain.objectives import OBJECTIVES
from optimizer.domain.problem import Problem, ProblemFile
from optimizer.domain.workload import PHASES, Part, Phase, ServingWorkload
from optimizer.explain import explain
from optimizer.solve import solve
from optimizer.verify.verdict import judge_layout
from tests.small_problems import layouts, small_problem

SCORES = Phase("score", "scores", lambda _: 1, {Part.LATER: "a score is all of the answer"})
RESUMED = Phase("resume", "tokens heard", lambda own: 2 * own.output_tokens, {Part.FIRST: "it was sent before"})
LIKE = {"prefill": SCORES, "decode": RESUMED}
"""Phases that compute the same of a request, and count it otherwise."""


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The rows, and the field that problems write them in."""
    written = ServingWorkload.__pydantic_fields__["phase"]
    for row in LIKE.values():
        monkeypatch.setitem(PHASES, row.name, row)
    _write_in(FieldInfo(annotation=str, default="aggregated"))
    yield
    _write_in(written)


def _write_in(field: FieldInfo) -> None:
    ServingWorkload.__pydantic_fields__["phase"] = field
    for kind in (ServingWorkload, ProblemFile, Problem):
        kind.model_rebuild(force=True)


def asked() -> Iterator[tuple[Problem, Problem]]:
    """Small problems of a role, each with the same of its toy."""
    for seed in range(40):
        problem = small_problem(seed)
        row = LIKE.get(problem.workload.phase)
        if row is not None and not problem.expert_loads:
            problem = problem.changed(objective="throughput", workload=problem.workload.model_copy(
                update={"mtp_tokens": 0, "mtp_acceptance": Fraction(0)}))  # fmt: skip
            yield problem, problem.changed(workload=problem.workload.model_copy(update={"phase": row.name}))


def test_solve_verify_and_certify_count_what_the_row_counts() -> None:
    told = dict.fromkeys((row.name for row in LIKE.values()), 0)
    for problem, toy in asked():
        like, found = solve(problem), solve(toy)
        document = found.to_json()
        assert certify(document).accepted
        assert (like.best is None) == (found.best is None)
        if like.best is None or found.best is None:
            continue
        told[toy.workload.phase] += 1
        assert found.best.layout == like.best.layout
        counted = Fraction(toy.workload.tokens_of_request, problem.workload.tokens_of_request)
        assert found.best.value == like.best.value * counted
        assert found.best.value == max(one.evaluation.throughput for one in layouts(problem)) * counted
        verdict = judge_layout(toy, found.best.layout)
        assert verdict.feasible
        figures = document["figures"]
        assert verdict.figures_document == figures
        assert figures["throughput_tokens_per_s"] == float(found.best.value)
        assert toy.workload.counted in verdict.figures["throughput_tokens_per_s"].formula
        # as the phase that computes the same would count it
        document["certificate"]["objective"] |= {"value": exact(like.best.value), "bound": exact(like.best.value)}
        document["objective"] |= {"value": float(like.best.value), "bound": float(like.best.value)}
        document["certificate"] = sealed(document["certificate"])
        assert not certify(document).accepted
    assert min(told.values()) > 3


def test_what_it_does_not_send_is_no_objective_and_no_limit_binds_it() -> None:
    _, toy = next((one, two) for one, two in asked() if two.workload.phase == "score")
    assert OBJECTIVES["tpot"].unfit(toy.workload) == (
        "objective 'tpot' has no meaning in phase 'score': a score is all of the answer"
    )
    assert OBJECTIVES["ttft"].unfit(toy.workload) is None
    impossible = toy.changed(
        limits=toy.limits.model_copy(update={"ttft": Fraction(1, 10**9), "tpot": Fraction(1, 10**9)})
    )
    said = explain(impossible)
    assert said.status == "infeasible"
    assert said.conflict is not None
    assert "tpot" not in {member.limit.name for member in said.conflict.members}
    assert "ttft" in {one.limit for one in said.relaxations}
