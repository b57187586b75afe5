from __future__ import annotations

import copy
import json
from fractions import Fraction

import pytest

from optimizer.certificate import certify
from optimizer.certificate.statement import sealed
from optimizer.cluster import solve_cluster
from tests.cluster.brute_force import leaves, random_cluster


def _document(seed: int) -> dict:
    return json.loads(json.dumps(solve_cluster(random_cluster(seed)).to_json()))


def _changed(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 1.001 + 0.001
    if isinstance(value, str) and value.count("/") == 1 and value.replace("/", "").lstrip("-").isdigit():
        return str(Fraction(value) * Fraction(101, 100) + Fraction(1, 1000)).replace("/", "/")
    return f"{value}x"


@pytest.mark.parametrize("seed", [2, 7, 11, 34, 195])
def test_a_document_with_anything_changed_is_rejected(seed):
    document = _document(seed)
    assert certify(document).accepted
    for at, value in list(leaves(document)):
        # times are the search's own; other multipliers may prove as much, other free devices do as well
        if at[-1] in {"wall_s", "name"} or {"steps", "nodes"} & set(at) or at[:2] == ("search", "seconds"):
            continue
        broken = copy.deepcopy(document)
        inner = broken
        for step in at[:-1]:
            inner = inner[step]
        inner[at[-1]] = _changed(value)
        if at[0] == "certificate" and at[-1] != "digest":
            broken["certificate"] = sealed(broken["certificate"])
        assert not certify(broken).accepted, at


@pytest.mark.parametrize("seed", [2, 7, 11])
def test_a_derivation_without_its_multipliers_or_a_better_value_is_rejected(seed):
    document = _document(seed)
    bare = copy.deepcopy(document)
    for step in bare["certificate"]["steps"]:
        if "multipliers" in step:
            step["multipliers"] = {}
    bare["certificate"] = sealed(bare["certificate"])
    assert not certify(bare).accepted
    signed = copy.deepcopy(document)
    for step in signed["certificate"]["steps"]:
        for name, factor in step.get("multipliers", {}).items():
            step["multipliers"][name] = f"-{factor}"
    signed["certificate"] = sealed(signed["certificate"])
    check = certify(signed)
    assert not check.accepted
    assert check.item == "certificate.steps"


def test_a_fleet_that_shares_a_device_is_rejected():
    for document in map(_document, range(60)):
        replicas = document["fleet"]["replicas"] if document["fleet"] else []
        pairs = [(a, b) for a in replicas for b in replicas if a is not b and a["pool"] == b["pool"]]
        for one, other in pairs[:1]:
            one["nodes"][0] = other["nodes"][0]
            assert not certify(document).accepted
