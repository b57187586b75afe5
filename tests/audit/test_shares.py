"""Shares of a table's total that the text beside it tells."""

import pytest

from optimizer.audit import audit_document

COST = """## Monthly cost

| Line | USD |
|---|---|
| GPU lease, 24 cards | 41,172 |
| Storage | 1,800 |
| Network egress | 2,400 |
| Support | 4,117 |
| **Total** | **49,489** |

"""
POOLS = """## Pools

| pool | GPU | nodes |
|---|---|---|
| chat | H100 80 GB | 12 |
| reason | H200 141 GB | 9 |
| agent | H200 141 GB | 3 |

## Shares

| pool | share of cost | share of tokens |
|---|---|---|
| chat | 42.0% | 55.0% |
| reason | 43.0% | 30.0% |
| agent | 15.0% | 15.0% |

"""


def told(text: str) -> list[str]:
    return [item["explanation"] for item in audit_document(text, "x").to_json()["contradictions"]]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("The lease makes up 69% of the monthly total, so we negotiate it.", "GPU lease, 24 cards is 83.2 %"),
        ("Support is 28 per cent of the cost.", "Support is 8.32 %"),
        ("Storage and support together are 25% of the total.", "Storage + Support is 12 %"),
    ],
)
def test_a_wrong_share_of_a_total_is_told(text: str, why: str) -> None:
    (found,) = told(COST + text)
    assert found.startswith(why)


@pytest.mark.parametrize(
    "text",
    [
        "The lease makes up 83% of the monthly total.",
        "Everything but the lease is 17% of the total.",
        "Storage and egress together are about 8% of the total.",
        "Network takes 12% of the total from reserve.",
        "Support stays below 10% of the total.",
        "Storage grew by 20% of the total.",
        "If storage were 20% of the total we would move.",
        "The storage team keeps 20% of its budget.",
        "Storage costs 30% of the list price.",
        "Support is not 28% of the total.",
    ],
)
def test_a_right_share_or_one_of_something_else_is_not(text: str) -> None:
    assert told(COST + text) == []


def test_rows_are_named_by_what_other_tables_say_of_them() -> None:
    assert told(POOLS + "The two H200 pools are 58.0% of the cost and 45.0% of the tokens.") == []
    (found,) = told(POOLS + "The two H200 pools are 58.0% of the cost and 52.0% of the tokens.")
    assert found.startswith("reason + agent is 45 %")
