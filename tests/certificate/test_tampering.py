"""A result with any one part changed is rejected, with the item that is wrong, and never an exception."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.certificate.check import certify
from optimizer.cli.main import run
from optimizer.errors import SpecError
from optimizer.readers.document import load_text
from tests.certificate.documents import Json, resealed
from tests.certificate.tampering import MAKERS, covered, document, mutations
from tests.strategies import broken

KINDS = list(MAKERS)


@pytest.mark.parametrize("kind", KINDS)
def test_untouched_it_is_accepted(kind: str) -> None:
    check = certify(document(kind))
    assert check.accepted, f"{check.item}: {check.reason}"
    assert certify(resealed(document(kind))).accepted


def sealable(changed: Json) -> bool:
    try:
        resealed(changed)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    return True


@pytest.mark.parametrize("share", [8, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_change_of_one_part_is_rejected(kind: str, share: int) -> None:
    count = 0
    for name, changed in mutations(document(kind), share):
        check = certify(changed)
        assert not check.accepted, name
        assert check.reason, name
        assert check.item, name
        count += 1
        # a forger sets the digest right; another witness of the same bound is as good as the first
        if not name.startswith("certificate") or "witness" in name or not sealable(changed):
            continue
        forged = resealed(changed)
        if covered(forged) != covered(document(kind)):
            assert not certify(forged).accepted, name
    assert count >= 100


@pytest.mark.parametrize("kind", KINDS)
def test_a_swapped_problem_is_rejected(kind: str) -> None:
    own = document(kind)
    for other in (document(k) for k in KINDS if k != kind):
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
    if covered(changed) != covered(document(kind)):
        assert not check.accepted
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
    doubled = ['{"status": "optimal", ' + text[1:], text.replace('"redundant":', '"redundant": 0, "redundant":', 1)]
    for wrong in [text[:cut] for cut in cuts] + doubled + [text.replace(": 1,", ": NaN,", 1)]:
        with pytest.raises(SpecError):
            load_text(wrong, "result.json")
        file.write_text(wrong)
        assert run(["certify", str(file)]) == 2
