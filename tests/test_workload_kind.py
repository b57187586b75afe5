"""A new kind of work is one class: `solve`, `verify`, `certify`, `explain` and reports honour it with no other change.

The toy embeds a fixed number of texts: prompts alone, each taken whole, with a figure, an objective and a limit of its
own.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import pytest

from optimizer import read_problem
from optimizer.certificate import certify
from optimizer.certificate.statement import exact, sealed
from optimizer.domain.lattice import axes
from optimizer.domain.limit_table import LIMITS
from optimizer.domain.objectives import OBJECTIVES
from optimizer.domain.problem import Problem
from optimizer.domain.workload import WORKLOADS, ServingWorkload
from optimizer.errors import SpecError
from optimizer.explain import explain
from optimizer.report.html import page
from optimizer.report.subject import Subject
from optimizer.solve import solve
from optimizer.verify.verdict import judge_layout
from tests.small_problems import Priced, layouts, small_problem
from tests.toy_workload import DEADLINE, JOB, Embedding, by

TEXTS = 1000


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The class, and the rows of its own."""
    monkeypatch.setitem(WORKLOADS, "embed", Embedding)
    monkeypatch.setitem(OBJECTIVES, JOB.name, JOB)
    LIMITS.append(DEADLINE)
    yield
    LIMITS.remove(DEADLINE)


def jobs() -> Iterator[tuple[Problem, list[Priced]]]:
    """Small problems of the toy, each with every layout that there is, priced as phase prefill prices whole prompts."""
    for seed in range(8):
        problem = small_problem(seed)
        tokens = problem.workload.input_tokens // 16
        if problem.expert_loads or tokens < 2:
            continue
        free = problem.limits.model_copy(update={"ttft": None, "tpot": None})
        alike = ServingWorkload(phase="prefill", input_tokens=tokens)
        listed = {"batch": (1, 2, 3, 5, 8), "prefill_chunk": (tokens,)}
        like = problem.changed(
            workload=alike, limits=free, objective="throughput", search=problem.search.model_copy(update=listed)
        )
        whole = like.search.model_copy(update={"prefill_chunk": None})
        toy = like.changed(workload=Embedding(texts=TEXTS, tokens=tokens), objective="job", search=whole)
        yield toy, list(layouts(like))


def seconds(priced: Priced) -> Fraction:
    return TEXTS / priced.evaluation.request_capacity


def test_the_best_of_its_own_objective_is_found_judged_and_proved() -> None:
    told = 0
    for problem, every in jobs():
        answer = solve(problem)
        document = answer.to_json()
        assert certify(document).accepted
        assert (answer.best is None) == (not every)
        if answer.best is None:
            continue
        told += 1
        assert answer.best.value == min(map(seconds, every))
        verdict = judge_layout(problem, answer.best.layout)
        assert verdict.feasible
        assert verdict.figures["job_s"].value == answer.best.value
        assert document["figures"]["job_s"] == float(answer.best.value)
        assert "processed_tokens_per_s" not in document["figures"]
        slower = {"value": exact(answer.best.value * 2), "bound": exact(answer.best.value * 2)}
        document["certificate"] = sealed(document["certificate"] | {
            "objective": document["certificate"]["objective"] | slower})  # fmt: skip
        assert not certify(document).accepted
    assert told > 2


def test_a_limit_of_its_own_binds_and_is_explained() -> None:
    told = 0
    for problem, every in jobs():
        if not every:
            continue
        free = solve(problem.changed(objective="memory_headroom"))
        assert free.best is not None
        best = min(map(seconds, every))
        loose = TEXTS / free.best.point.timing.rank_requests / free.best.layout.dp
        if loose > best:
            told += 1
            deadline = (loose + best) / 2
            assert {each.family.value for each in judge_layout(by(problem, deadline), free.best.layout).violations} == {
                "limit"
            }
            asked = by(problem.changed(objective="memory_headroom"), deadline)
            found = solve(asked)
            assert found.best is not None
            assert found.best.value == max(
                problem.capacity_bytes - one.evaluation.memory_bytes for one in every if seconds(one) <= deadline
            )
            assert certify(found.to_json()).accepted
            said = explain(by(problem, best / 2))
            assert said.conflict is not None
            assert "deadline" in {member.limit.name for member in said.conflict.members}
            assert {one.new for one in said.relaxations if one.limit == "deadline"} == {best}
    assert told > 1


def test_a_text_is_taken_whole() -> None:
    problem, every = next((one, two) for one, two in jobs() if two)
    tokens = problem.workload.computed_input_tokens
    assert axes(problem).chunks == (tokens,)
    listed = problem.search.model_copy(update={"prefill_chunk": (tokens // 2, tokens)})
    assert axes(problem.changed(search=listed)).chunks == (tokens,)
    cut = every[0].evaluation.layout.model_copy(update={"prefill_chunk": tokens - 1})
    assert [str(one) for one in judge_layout(problem, cut).violations] == [
        f"(batch) prefill_chunk={tokens - 1} cuts a prompt of {tokens:,} tokens, which workload 'embed' takes whole"
    ]


def written(**work: object) -> dict[str, object]:
    return {
        "name": "texts", "model": "llama-3.1-8b", "hardware": "h100-sxm-8", "devices": 8,
        "workload": {"kind": "embed", "texts": 10_000, "tokens": 512} | work, "objective": "job",
    }  # fmt: skip


def test_a_problem_file_states_it() -> None:
    problem = read_problem(written(deadline="60s"))
    assert problem.workload == Embedding(texts=10_000, tokens=512, deadline=Fraction(60))
    assert Problem.model_validate(problem.model_dump(mode="json")).digest == problem.digest
    answer = solve(problem)
    assert answer.best is not None
    assert certify(answer.to_json()).accepted
    assert "10,000 texts of 512 tokens" in page(Subject(answer.to_json(), problem, answer.best.layout, None))
    with pytest.raises(SpecError, match=r"workload\.texts"):
        read_problem(written(texts="many"))
    with pytest.raises(SpecError, match=r"workload\.text: unknown key \(did you mean 'texts'\?\)"):
        read_problem(written(text=3))
    with pytest.raises(SpecError, match=r"workload\.phase"):
        read_problem(written(phase="prefill"))


@pytest.mark.parametrize(
    ("objective", "kind", "said"),
    [
        ("tpot", "embed", "objective 'tpot' has no meaning in workload 'embed': an embedding is all of the answer"),
        ("job", "serving", "objective 'job' is of embed workloads; this is a serving workload"),
    ],
)
def test_an_objective_of_another_kind_is_refused(objective: str, kind: str, said: str) -> None:
    work = {"kind": "embed", "texts": 1, "tokens": 8} if kind == "embed" else {"input_tokens": 8, "output_tokens": 8}
    with pytest.raises(SpecError, match=said):
        read_problem(written() | {"workload": work, "objective": objective})


def test_what_is_of_serving_alone_says_so() -> None:
    with pytest.raises(SpecError, match="of serving workloads alone; this is workload 'embed'"):
        _ = read_problem(written()).serving
