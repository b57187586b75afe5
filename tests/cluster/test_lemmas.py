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
from optimizer.cluster import solve_cluster
from optimizer.cluster.derive import derive, relaxed_at_root
from optimizer.cluster.integers import IntegerProgram
from optimizer.cluster.lemmas import lemmas_of
from optimizer.fleet.column import given_columns, useful
from optimizer.fleet.program import DerivationError, Lemma, Step, with_lemmas
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


@pytest.mark.parametrize("seed", range(6))
def test_every_lemma_holds_of_the_best_fleet_and_of_others(seed):
    cluster = instance(Size(demands=3, nodes=12), seed)
    program = state(cluster, useful(cluster, given_columns(cluster)), relaxed=True).program
    points = []
    for goal in (program.objective, {name: Fraction(1) for name in program.objective}, {}):
        aimed = copy.copy(program)
        aimed.objective = dict(goal)
        points.append(IntegerProgram(aimed, seed).decide(None, {}).point)
    best = program.value(points[0])
    stronger = with_lemmas(program, lemmas_of(program, best, TOLERANCE, None, 0))
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
        with_lemmas(program, [Lemma({}, (Step(multipliers={}, empty=True),))])
