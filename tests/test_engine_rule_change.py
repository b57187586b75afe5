"""A new engine rule is one object: lattice, checker, `verify` and `explain` honour it without further change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from optimizer.certificate import certify
from optimizer.domain.engines import ENGINES
from optimizer.domain.engines.rule import EngineRule
from optimizer.domain.families import Family
from optimizer.domain.layout import Layout
from optimizer.explain import explain
from optimizer.solve import solve
from optimizer.verify.verdict import judge_layout
from tests.verify.examples import MOE, problem

TOY = EngineRule(
    name="no_two",
    statement="tp and pp together are not 2",
    reads=("tp", "pp"),
    breach=lambda _, shape: f"tp·pp = {shape.tp * shape.pp}." if shape.tp * shape.pp == 2 else None,
    source="this test",
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ENGINES["vllm"]
    monkeypatch.setitem(ENGINES, "vllm", (*own[:-1], replace(own[-1], rules=(*own[-1].rules, TOY))))


QUESTION = {"devices": 2, "engine_name": "vllm", "workload": {"input_tokens": 512, "output_tokens": 64}}


def test_without_it_two_devices_are_used_together() -> None:
    question = problem(MOE, **QUESTION, search={"devices": 2, "dp": 1})
    answer = solve(question)
    assert answer.status == "optimal"
    assert answer.layout is not None
    assert answer.layout.tp * answer.layout.pp == 2


@pytest.mark.usefixtures("toy")
def test_solve_certify_verify_and_explain_honour_it() -> None:
    question = problem(MOE, **QUESTION, search={"devices": 2, "dp": 1})
    answer = solve(question)
    assert answer.status == "infeasible"
    assert certify(answer.to_json()).accepted
    said = explain(question)
    assert said.conflict is not None
    assert "engine" in {member.limit.name for member in said.conflict.members}
    free = solve(problem(MOE, **QUESTION, search={"devices": 2}))
    assert free.layout is not None
    assert free.layout.tp * free.layout.pp != 2
    assert certify(free.to_json()).accepted
    layout = Layout(tp=2, ep=2)
    verdict = judge_layout(problem(MOE, **QUESTION), layout)
    engine = [str(v) for v in verdict.violations if v.family is Family.ENGINE]
    assert "rule no_two: tp·pp = 2. Nearest that pass: tp=1, tp=4, pp=2." in engine[0]
    assert len(engine) == 1


@pytest.mark.usefixtures("toy")
def test_a_certificate_made_without_it_is_rejected() -> None:
    question = problem(MOE, **QUESTION, search={"devices": 2, "dp": 1})
    own = ENGINES["vllm"]
    ENGINES["vllm"] = (*own[:-1], replace(own[-1], rules=own[-1].rules[:-1]))
    answer = solve(question).to_json()
    ENGINES["vllm"] = own
    check = certify(answer)
    assert not check.accepted
