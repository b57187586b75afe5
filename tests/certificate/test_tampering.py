"""A result with any one part changed is rejected, with the item that is wrong, and never an exception."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.certificate import certify
from optimizer.cli.main import run
from optimizer.errors import SpecError
from optimizer.readers.document import load_text
from tests.certificate.documents import Json, resealed
from tests.certificate.fleet_documents import FLEETS
from tests.certificate.tampering import MAKERS, covered, document, mutations, uncovered
from tests.strategies import broken

KINDS = list(MAKERS)
RESULTS = [kind for kind in KINDS if kind not in {"placed", "near", *FLEETS}]
AS_GOOD = re.compile(r"witness|(steps|lemmas)[. ]|replicas\.\d+\.nodes[. ]")
"""Changes that may leave a document true: another derivation of the bound, other free devices, another order."""


@pytest.mark.parametrize("kind", KINDS)
def test_untouched_it_is_accepted(kind: str) -> None:
    check = certify(document(kind))
    assert check.accepted, f"{check.item}: {check.reason}"
    if "kind" in document(kind)["certificate"]:
        assert certify(resealed(document(kind))).accepted


def sealable(changed: Json) -> bool:
    if changed.get("schema") != "shardproof/result/1":
        return False
    try:
        resealed(changed)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    return True


def assert_named(changed: Json, original: Json, name: str) -> None:
    """An accepted document differs only in what its check names as not checked."""
    if all(held in original["hold_out"] for held in changed.get("hold_out", ())) and "hold_out" in original:
        changed = changed | {"hold_out": original["hold_out"]}  # which loads are held out is not checked
    # what is said beside the layout may be left out
    beside = {"pareto", "uncertainty", "accuracy", "ties", "conflict", "conflict_proof"}
    changed = {key: own for key, own in original.items() if key in beside} | changed
    named = uncovered(changed)
    assert covered(unordered(changed), named) == covered(unordered(original), named), name


def raised(forged: Json, original: Json, name: str) -> bool:
    """A ceiling that is higher than the least is as true, as long as the bound still follows."""
    match = re.match(r"certificate\.ceilings\.(\d+)\.requests_per_s\b", name)
    if match is None:
        return False
    own, least = (
        Fraction(one["certificate"]["ceilings"][int(match[1])]["requests_per_s"]) for one in (forged, original)
    )
    return own > least


def unordered(found: Any) -> Any:
    """With devices in one order: a placement on devices named otherwise is as good as the first."""
    if isinstance(found, dict):
        return {
            key: sorted(map(unordered, own)) if key == "devices" and isinstance(own, list) else unordered(own)
            for key, own in found.items()
        }
    return list(map(unordered, found)) if isinstance(found, list) else found


SHARES = dict.fromkeys(KINDS, 6) | {"infeasible": 3, "placed": 4, "fleet": 48, "fleet-overlap": 16}
"""One of so many changes of each kind is tried in the quick set, and one of each key."""
MOST = dict.fromkeys(KINDS, 1) | {"fleet": 6, "fleet-lengths": 3}
"""The same of the slow set: tenths of a second each."""


@pytest.mark.parametrize("all_of_them", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_change_of_one_part_is_rejected_or_named(kind: str, *, all_of_them: bool) -> None:
    share = (MOST if all_of_them else SHARES)[kind]
    count, named = 0, uncovered(document(kind))
    for name, changed in mutations(document(kind), share):
        check = certify(changed)
        count += 1
        if check.accepted and AS_GOOD.search(name):
            continue
        if check.accepted:
            assert_named(changed, document(kind), name)
            continue
        assert check.reason, name
        assert check.item, name
        # a forger sets the digest right
        if not name.startswith("certificate") or AS_GOOD.search(name) or not sealable(changed):
            continue
        forged = resealed(changed)
        if kind == "feasible" and name.startswith("certificate.objective.bound"):
            continue  # another bound that nothing exceeds is as true
        if covered(forged, named) != covered(document(kind), named) and certify(forged).accepted:
            if raised(forged, document(kind), name):
                continue
            assert_named(forged, document(kind), name)
    assert count >= 200


@pytest.mark.parametrize("kind", RESULTS)
def test_a_swapped_problem_is_rejected(kind: str) -> None:
    own = document(kind)
    for other in (document(k) for k in RESULTS if k != kind):
        if other["problem"] == own["problem"]:
            continue
        swapped = own | {"problem": other["problem"]}
        assert certify(swapped).item == "certificate.problem_digest"
        claim = own["certificate"] | {"problem_digest": other["problem"]["digest"]}
        check = certify(resealed(swapped | {"certificate": claim}))
        assert not check.accepted
        assert check.item is not None
        assert check.item.startswith("certificate.")
        mixed = own | {"certificate": other["certificate"], "status": other["certificate"]["kind"]}
        assert not certify(mixed).accepted


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_changes_are_rejected(kind: str, data: st.DataObject) -> None:
    changed = data.draw(broken(document(kind)))
    assert isinstance(changed, dict)
    check = certify(changed)
    named = uncovered(document(kind))
    if covered(changed, named) != covered(document(kind), named) and check.accepted:
        assert_named(changed, document(kind), "drawn")
    if not check.accepted:
        assert check.reason
        assert check.item


@pytest.mark.parametrize("junk", [{}, {"schema": "shardproof/result/1"}, [], None, 3, "text", {"certificate": {}}])
def test_what_is_no_result_is_rejected(junk: object) -> None:
    check = certify(junk)  # type: ignore[arg-type]
    assert not check.accepted
    assert check.reason


def test_nesting_without_end_is_rejected() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    own = document("joint")
    for part in ("problem", "figures", "layout", "objective", "search", "certificate"):
        assert not certify(own | {part: deep}).accepted
        if isinstance(own[part], dict):
            key = next(iter(own[part]))
            assert not certify(own | {part: own[part] | {key: deep}}).accepted


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_or_one_with_a_key_twice_is_no_document(kind: str, tmp_path: Path) -> None:
    text = json.dumps(document(kind))
    file = tmp_path / "result.json"
    file.write_text(text)
    assert run(["certify", str(file)]) == 0
    cuts = [1, len(text) // 3, len(text) // 2, len(text) - 2, len(text) - 1]
    doubled = ['{"status": "optimal", ' + text[1:], text.replace('"bound":', '"bound": 0, "bound":', 1)]
    for wrong in [text[:cut] for cut in cuts] + doubled + [text.replace(": 1,", ": NaN,", 1)]:
        with pytest.raises(SpecError):
            load_text(wrong, "result.json")
        file.write_text(wrong)
        assert run(["certify", str(file)]) == 2
