"""Figures of one document that cannot all be right."""

import pytest

from optimizer.audit import audit_document


def told(text: str) -> list[tuple[str, str]]:
    return [(item.name, item.explanation) for item in audit_document(text, "x").contradictions]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "| Severity | Count |\n|-|-|\n| HIGH | 3 |\n| MEDIUM | 4 |\n| LOW | 2 |\n| Total | 10 |",
            ("total", "the parts add up to 9 (3 + 4 + 2), not 10"),
        ),
        (
            "- Maximum concurrency: 40 requests\n\nAt the maximum concurrency of 64 requests the cache is full.",
            ("maximum_concurrency", "two values for maximum concurrency: 40 and 64"),
        ),
        (
            "With a mean context of 9,000 tokens the cache is not the limit.\n\n- Mean context: 6,000 tokens",
            ("mean_context", "two values for mean context: 9,000 and 6,000"),
        ),
    ],
)
def test_what_cannot_be_is_told(text: str, expected: tuple[str, str]) -> None:
    assert told(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "62 GB fits on one 64 GB device.",
        "70.3 GB does not fit on one 64 GB device.",
        "70.3 GB would fit on two 64 GB devices.",
        "70.3 GB fits on a node of 80 GB GPUs.",
        "The reviewer says that 70.3 GB fits on one 64 GB device.",
        "> 70.3 GB fits on one 64 GB device.",
        "65 GB fits in 64 GiB",
        "66 GB fits on one 64 GB device.",
        "- 36 GB per GPU\n- This fits on the A100 40 GB.",
        "- 44.1 GB per GPU\n\nThis needs the H100, since nothing else fits; the A100 has 40 GB.",
        "| Severity | Count |\n|-|-|\n| HIGH | 1 |\n| MEDIUM | 1 |\n| LOW | 2 |\n| Total | 4 |",
        "- Maximum concurrency: 40 requests\n\nIn the prefill pool the maximum concurrency is 64 requests.",
        "- Maximum batch: 40 requests\n- Maximum batch: 4,096 tokens\n",
        "- Max context: 32,768 tokens\n\nAt the max context of 32,768 tokens it is full.",
    ],
)
def test_what_can_be_is_not(text: str) -> None:
    assert audit_document(text, "plan.md").exit_status == 0
    assert told(text) == []


BUDGET = (
    "| Line | GiB |\n|---|---|\n| Weights | 27.4 |\n| Graphs | 3.5 |\n| Buffers | 2.0 |\n| Rest | 1.5 |\n"
    "| Subtotal | {} |\n| Usable | 126.4 |\n"
)
COSTS = (
    "| Line | A | B |\n|---|---|---|\n| Servers | 1,140 | 820 |\n| Network | 152 | 152 |\n| Total | {} | 972 |\n"
    "| Per GPU | 40.4 | 30.4 |\n"
)


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [
        (BUDGET, "37.4", "34.4"),
        (COSTS, "1,392", "1,292"),
    ],
)
def test_a_total_that_its_parts_do_not_give_is_told(text: str, wrong: str, right: str) -> None:
    assert [name for name, _ in told(text.format(wrong))] == ["total"]
    assert told(text.format(right)) == []


@pytest.mark.parametrize(
    "text",
    [
        "| Step | Time |\n|-|-|\n| a | 10 |\n| b | 12 |\n| Total | 22 |\n| of it waiting | 7 |",
        "| Spec | Value |\n|-|-|\n| Layers | 61 |\n| Experts | 256 |\n| Total parameters | 671 |\n| Heads | 128 |",
        "| Item | GB |\n|-|-|\n| All-reduce buffers | 2 |\n| Weights | 40 |\n| Cache | 20 |\n| Total | 62 |",
        "| Item | kW |\n|-|-|\n| A | 30 |\n| B | 6 |\n| of B: fans | 2 |\n| of B: pumps | 4 |\n| Total | 36 |",
        "| nvidia-smi memory | 45.0 GiB |\n|-|-|\n| Reserve observed | 2.0 GiB |",
        "- Layers: 61\n- MoE layers: 58",
        "| State | B |\n|-|-|\n| Weights | 2 |\n| Gradients | 4 |\n| Adam | 12 / 8 = 1.5 |\n| Subtotal | 7.5 |",
        "- Mean context: 6,000 tokens\n\nThe old fleet had a mean context of 9,000 tokens.",
        "| Step | Value |\n|-|-|\n| Working memory | 2.0 GB |\n| Left for cache | 25.1 GB |",
        "- Rent: $32,412\n- Per token: $3.45\n\nElsewhere:\n\n- In: $33,550\n- Out: $20,586\n- Together: $54,136",
        "# Model A\n\n- Layers: 61\n\n# Before the change\n\n- Layers: 48",
    ],
)
def test_values_that_may_be_of_two_things_are_not(text: str) -> None:
    assert told(text) == []


def test_a_product_of_degrees_is_not_judged_by_those_of_a_launch_elsewhere() -> None:
    text = (
        "# DeepSeek-V3 on 32 H800\n\n- TP 4 x PP 2 x DP 4 = 32 GPUs\n\n```\n"
        "vllm serve deepseek-ai/DeepSeek-V3 --tensor-parallel-size 8 --pipeline-parallel-size 4\n```\n"
    )
    found = audit_document(text, "x").to_json()
    assert [item["verdict"] for item in found["equations"]] == ["holds"]
    # The command itself is another one than the text describes: that is told of the command, at its flag.
    assert [(item["name"], item["line"]) for item in found["claims"] if item["verdict"] == "fails"] == [("launch", 6)]
