"""Ratios of two devices against their data sheets."""

import pytest

from optimizer.audit import audit_document


def told(text: str) -> list[str]:
    return [item["name"] for item in audit_document(text, "x").to_json()["contradictions"]]


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [
        ("The H200 is an H100 with other memory: 1.76 times the capacity, {} times the bandwidth.", "1.67", "1.43"),
        ("- memory, MI300X over H200: {}x", "2.4", "1.36"),
        ("The L40S has {}x the bandwidth of an H100.", "0.62", "0.26"),
        ("An H20 offers {}x the memory of an A100.", "3.4", "1.2"),
        ("Per node C leads: a B200 has {} times the bandwidth of an H200.", "2.4", "1.67"),
        ("Against the H200 an MI300X has {} times the bandwidth, for 82 % of the node price.", "1.5", "1.1"),
        ("Going from A100 to B200 buys us {} times the bandwidth.", "6.2", "3.9"),
    ],
)
def test_a_ratio_of_data_sheets_is_told_where_it_is_wrong(text: str, wrong: str, right: str) -> None:
    assert told(text.format(wrong)) == ["ratio"]
    assert not told(text.format(right))


@pytest.mark.parametrize(
    "text",
    [
        "8x H200 have 2.8x the bandwidth of 4x H100.",
        "8 H200 offer 2.8 times the memory of 5 H100.",
        "The H200 decodes 1.9x faster than the H100 since its bandwidth is higher.",
        "H200 vs H100: 1.1x the bandwidth per dollar.",
        "We measured 1.2 times the bandwidth of the H100 on the H200.",
        "The H200 would need 2.4x the bandwidth of the H100 for that.",
        "Compared with the A100 the H100 has 3.2x the FLOPS and 1.6x the bandwidth.",
        "A B200 has 2.4x the memory of an H100 and 2.4x its bandwidth.",
        "H100, H200 and MI300X: 1.2 times the bandwidth each.",
        "A node of H200 has 2.8 times the memory of half a node of H100.",
    ],
)
def test_what_is_no_ratio_of_two_data_sheets_is_not_accused(text: str) -> None:
    assert not told(text)
