"""Lemmas: rows that are proved of one demand at a time; each holds, and none is believed."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from functools import cache

import pytest

from benchmarks.fleets import Size, instance
from optimizer.certificate import certify
from optimizer.certificate.fleet import TOLERANCE
from optimizer.certificate.statement import sealed
from optimizer.cluster import integers, solve_cluster
from optimizer.cluster.derive import derive, relaxed_at_root
from optimizer.cluster.integers import IntegerProgram
from optimizer.cluster.lemmas import lemmas_of, prove
from optimizer.fleet.column import given_columns, useful
from optimizer.fleet.families import filling
from optimizer.fleet.program import DerivationError, DerivationStep, Lemma, derived_bound, with_lemmas
from optimizer.fleet.statement import state

LARGE = Size(demands=3, pools=3, nodes=999)
SIZES = [LARGE, Size(demands=8), Size(periods=4), Size(demands=3, nodes=40), Size(nodes=1000, lost=1)]


@cache
def _result(size: Size, seed: int = 1):
    return solve_cluster(instance(size, seed))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_many_demands_are_proved_by_a_row_for_each(size):
    result = _result(size)
    assert result.status == "optimal"
    assert result.value * (1 - TOLERANCE) <= result.bound <= result.value
    assert certify(json.loads(json.dumps(result.to_json()))).accepted


def test_without_lemmas_the_tree_is_too_small():
    result = _result(LARGE)
    assert len(result.lemmas) == 3
    assert len(result.steps) == 1
    bare = derive(result.program, result.value, TOLERANCE, None, most=1_001)
    assert bare.bound < result.value * (1 - TOLERANCE)


def test_demands_that_lose_nodes_together_are_proved_where_choices_are_fixed():
    # so many that the ways to fill a node are too many to list
    cluster = instance(Size(demands=6, nodes=40, lost=1), 3)
    program = state(cluster, useful(cluster, given_columns(cluster)), relaxed=True).program
    best = program.value(IntegerProgram(program, 0).decide(None, {}).point)
    found = prove(program, best, TOLERANCE, None, 0)
    assert found.bound == best
    assert derived_bound(with_lemmas(program, found.lemmas), found.steps) == best
    assert any(step.variable is not None and program.variables[step.variable].choice for step in found.steps)
    # rows of choices that are fixed hold where they are not
    assert any(any(program.variables[name].choice for name in lemma.terms) for lemma in found.lemmas)


def test_another_solver_shows_cp_sat_where_to_start(monkeypatch):
    cluster = instance(Size(nodes=12), 1)
    program = state(cluster, useful(cluster, given_columns(cluster)), relaxed=True).program
    best = program.value(IntegerProgram(program, 0).decide(None, {}).point)
    start, done = IntegerProgram(program, 0)._suggested(600)
    assert done
    assert not program.broken(start)
    assert program.value(start) == best
    monkeypatch.setattr(integers, "_PATIENCE_S", 0.0)
    shown = IntegerProgram(program, 0).decide(600, {})
    assert (shown.complete, program.value(shown.point)) == (True, best)


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("seed", range(6))
def test_every_lemma_holds_of_the_best_fleet_and_of_others(seed, lost, monkeypatch):
    monkeypatch.setattr(filling, "MOST_FILLINGS", 0)
    cluster = instance(Size(demands=3, nodes=12, lost=lost), seed)
    program = state(cluster, useful(cluster, given_columns(cluster)), relaxed=True).program
    points = []
    for goal in (program.objective, {name: Fraction(1) for name in program.objective}, {}):
        aimed = copy.copy(program)
        aimed.objective = dict(goal)
        points.append(IntegerProgram(aimed, seed).decide(None, {}).point)
    best = program.value(points[0])
    stronger = with_lemmas(program, lemmas_of(program, best, TOLERANCE, None, 0)[0])
    assert relaxed_at_root(stronger)[1] <= best
    for point in points:
        assert not stronger.broken(point)


def _changed(document, change):
    broken = copy.deepcopy(document)
    change(broken["certificate"])
    broken["certificate"] = sealed(broken["certificate"])
    return certify(broken)


def _no_steps(claim):
    for step in claim["lemmas"][0]["steps"]:
        step.get("multipliers", {}).clear()


def _no_lemma(claim):
    del claim["lemmas"]


def _empty(claim):
    claim["lemmas"] = []


def _cheaper(claim):
    terms = claim["lemmas"][0]["terms"]
    terms.update(dict.fromkeys(terms, "1/1000"))


def _stranger(claim):
    claim["lemmas"][0]["terms"]["replicas[nobody]"] = "1"


def _circular(claim):
    claim["lemmas"][0]["steps"] = [{"multipliers": {"lemma[0]": "1"}, "empty": False}]


def _absurd(claim):
    claim["lemmas"][0]["steps"] = [{"multipliers": {}, "empty": True}]


@pytest.mark.parametrize("change", [_no_steps, _no_lemma, _empty, _cheaper, _stranger, _circular, _absurd])
def test_a_lemma_that_does_not_prove_its_row_is_rejected(change):
    document = json.loads(json.dumps(_result(LARGE).to_json()))
    assert certify(document).accepted
    check = _changed(document, change)
    assert not check.accepted
    assert check.item.startswith(("certificate.steps", "certificate.lemmas", "certificate.objective", "status"))


def test_a_lemma_that_nothing_keeps_is_none():
    program = _result(LARGE).program
    with pytest.raises(DerivationError):
        with_lemmas(program, [Lemma({}, (DerivationStep(multipliers={}, empty=True),))])
