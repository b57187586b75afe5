"""Equations that the text calls wrong: those that are, those that are not, and words that only seem to say so."""

import pytest

from optimizer.audit import audit_document
from optimizer.audit.annotate import annotated, corrected_table


@pytest.mark.parametrize(
    ("text", "called", "status"),
    [
        ("The plan says 8 x 4 x 16 x 4 = 512, which is wrong: it is 2,048.", [True], 0),
        ("8 × 4 = 33 is wrong.", [True], 0),
        ("8 × 4 = 33 (wrong)", [True], 0),
        ("Wrong: 8 × 4 = 33", [True], 0),
        ("The plan wrongly says that 8 × 4 = 33.", [True], 0),
        ("8 × 4 = 33, should be 32.", [True], 0),
        ("8 × 4 = 33 should be 32", [True], 0),
        ('"8 × 4 = 33" is incorrect.', [True], 0),
        ("❌ 8 × 4 = 33", [True], 0),
        ("It is wrong that 8 × 4 = 33.", [True], 0),
        ("8 × 4 = 33 — incorrect, the product is 32.", [True], 0),
        ("8 × 4 = 33 is wrong by one.", [True], 0),
        ("The incorrect equation 8 × 4 = 33 was removed.", [True], 0),
        ("8 × 4 = 33 is not wrong.", [False], 1),
        ("Is 8 × 4 = 33 wrong?", [False], 1),
        ("8 × 4 = 33 is wrong, isn't it?", [False], 1),
        ("The plan was wrong about memory: 8 × 4 = 33.", [False], 1),
        ("If 8 × 4 = 33 is wrong, so is the rest.", [False], 1),
        ('He wrote "8 × 4 = 33 is wrong".', [False], 1),
        ("8 × 4 = 33. The memory is wrong.", [False], 1),
        ("8 × 4 = 33 is wrong, they said, but it is right.", [False], 1),
        ("Nothing is wrong: 8 × 4 = 33.", [False], 1),
        ("8 × 4 = 33 would be wrong.", [False], 1),
        ("8 × 4 = 33 is wrong, it is 34.", [True], 1),
        ("8 × 4 = 33 should be 33.", [False], 1),
        ("2 × 2 = 4 is fine. 8 × 4 = 33 GPUs are needed, and 16 is wrong.", [False, False], 1),
        ("8 × 4 = 32 is wrong.", [True], 1),
        ("The plan says 8 × 4 = 32, which is wrong.", [True], 1),
        ("8 × 4 = 32 is wrong: it is 34.", [True], 1),
        ("8 × 4 = 32 is wrong because EP is folded.", [False], 0),
        ("8 × 4 = 32 is not wrong.", [False], 0),
        ("Is 8 × 4 = 32 wrong?", [False], 0),
        ("The reviewer says that 8 × 4 = 32 is wrong.", [False], 0),
        ("Wrong: 8 × 4 = 32 counts experts twice.", [False], 0),
        ("devices = TP × PP = 8 × 4 = 32 is wrong.", [False], 0),
        ("8 × 4 = 32, not 33.", [False], 0),
        ("8 × 4 = 32 should be 64 with two replicas.", [False], 0),
        ("8 × 4 = 32 is wrong only if CP is used.", [False], 0),
        ("It is not true that 8 × 4 = 32 is wrong.", [False], 0),
        ("~~8 × 4 = 33~~ 8 × 4 = 32", [False], 0),
        ("8 × 4 = 32 (wrong in the first draft)", [False], 0),
        ("The old text said 8 × 4 = 33, not 32.", [False], 1),
        ("8 × 4 = 33 is clearly incorrect", [True], 0),
        ("The plan says 8 × 4 = 33 but it should be 32.", [True], 0),
        ("The claim 8 × 4 = 33 GPUs is wrong", [True], 0),
        ("The check found 8 × 4 = 33 wrong.", [True], 0),
        ("| Equation | Verdict |\n|-|-|\n| 8 × 4 = 33 | wrong |\n", [True], 0),
        ("| Equation | Wrong? |\n|-|-|\n| 8 × 4 = 33 | incorrect |\n", [False], 1),
        ("| Claimed | Check | Status |\n|-|-|-|\n| 31 | 8 × 4 = 33 | Incorrect |\n", [False], 1),
        ("| Wrong | Right |\n|-|-|\n| 8 × 4 = 33 | 8 × 4 = 32 |\n", [True, False], 0),
        ("| Equation | Verdict |\n|-|-|\n| 8 × 4 = 32 | wrong |\n", [False], 0),
        ("| Calculated | Status |\n|-|-|\n| 8 × 4 = 33 | ❌ |\n", [False], 1),
        ("8 × 4 = 33 is false precision.", [False], 1),
        ("8 × 4 = 33; incorrect", [False], 1),
    ],
)
def test_what_the_text_says_of_an_equation(text: str, called: list[bool], status: int) -> None:
    found = audit_document(text, "x")
    assert [equation.called_wrong for equation in found.equations] == called
    assert int(found.exit_status) == status


def test_the_verdict_stays_what_arithmetic_says() -> None:
    found = audit_document("8 × 4 = 33 is wrong, and 3 × 3 = 9 holds.", "x")
    assert [(item["verdict"], item["called_wrong"]) for item in found.to_json()["equations"]] == [
        ("fails", True),
        ("holds", False),
    ]
    assert corrected_table(found) == ""
    text = "\n".join(annotated(found))
    assert "the text calls it wrong" in text
    assert "1 fails, 1 of them called wrong by the text" in text


def test_a_right_equation_that_is_called_wrong_is_told() -> None:
    (told,) = audit_document("The plan says 8 × 4 = 32, which is wrong.", "x").contradictions
    assert (told.name, told.lines) == ("accusation", (1,))
    assert told.explanation == "8 × 4 = 32 is called wrong, but it is right: 8 × 4 = 32"


def test_a_correction_that_is_wrong_too_is_told() -> None:
    found = audit_document("8 × 4 = 33 is wrong, it is 34.", "x")
    assert [item.explanation for item in found.contradictions] == ["34 is given instead, but 8 × 4 = 32"]
    assert not audit_document("8 × 4 = 33 is wrong, it is 32.", "x").contradictions
    assert not audit_document("8 × 4 = 33 is wrong, it is 3 layers short.", "x").contradictions


def test_a_claim_that_fails_beside_it_still_counts() -> None:
    text = "TP=8, PP=4, DP=2.\n\n- Total GPUs: 96\n- 8 × 4 × 2 = 96 is wrong.\n"
    found = audit_document(text, "x")
    assert [equation.called_wrong for equation in found.equations] == [True]
    assert int(found.exit_status) == 1
