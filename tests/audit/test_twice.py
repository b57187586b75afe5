"""One thing with two values in two places."""

import pytest

from optimizer.audit import audit_document


def told(text: str) -> list[list[int]]:
    """Lines of the two values that an audit tells."""
    found = audit_document(text, "x.md").to_json()["contradictions"]
    return [one["lines"] for one in found if one["explanation"].startswith("two values")]


def document(first: str, second: str, heads: tuple[str, str] = ("Summary", "Details")) -> str:
    return f"# Note\n\n## {heads[0]}\n\n{first}\n\n## {heads[1]}\n\n{second}\n"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("**SLO:** TTFT p95 1.5 s, ITL p95 35 ms.", "Go if a replica keeps the ITL SLO of p95 50 ms for an hour."),
        ("Our objective is a p99 time to first token of 800 ms.", "The 1.2 s TTFT objective (p99) holds to 40 users."),
        ("Product asks for a TPOT of at most 40 ms at p95.", "We scale out when p95 TPOT comes near 30 ms, the limit."),
        (
            "| Gate | Value |\n|---|---|\n| p95 TPOT target | 45 ms |",
            "All of this keeps the target of 60 ms for p95 TPOT.",
        ),
        ("In run 7 the p95 TTFT was 1.8 s.", "- run 7: p95 TTFT 2.6 s, no preemption"),
        ("p99 ITL went from 31 ms to 190 ms at the worst moment.", "At its height the p99 ITL read 260 ms."),
        ("TTFT alert: p95 over 2.0 s for 5 minutes.", "The TTFT alert threshold of 3.0 s is what fired first."),
        (
            "The peak came in week 11, when 1,140 sessions were open.",
            "We start from the 1,410 sessions of the week 11 peak.",
        ),
        ("- busy-hour peak 22 requests/s", "| Item | Value |\n|---|---|\n| Busy-hour peak covered | 28 requests/s |"),
        ("Traffic: mean prompt 1,800 tokens, mean answer 300 tokens.", "With a mean prompt of 2,400 tokens it fits."),
        ("Contract price: $2.90 per GPU-hour.", "| Item | Value |\n|---|---|\n| GPU-hour price | $3.40 |"),
        ("The queue was full, and 1,870 requests ended with a timeout.", "- 2,310 requests failed with HTTP 504."),
    ],
)
def test_two_values_of_one_thing_are_told(first: str, second: str) -> None:
    assert len(told(document(first, second))) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("SLO: TTFT p95 1.5 s for chat.", "SLO of the nightly batch: TTFT p95 4 s."),
        ("Our objective is a p95 TTFT of 2 s.", "At the SLO load the p95 TTFT was 1.4 s, inside our 2 s target."),
        ("TPOT target 40 ms at p95.", "We propose to relax the p95 TPOT target to 50 ms."),
        ("TPOT target 40 ms at p95.", "The p50 TPOT target is 25 ms."),
        ("- chat: TTFT limit p95 1.5 s\n- tools: TTFT limit p95 3 s", "Both hold."),
        ("In run 7 the p95 TTFT was 1.8 s.", "In run 8 the p95 TTFT was 2.6 s. p95 TTFT is 1.1 s since the restart."),
        ("At the worst the p99 ITL was 190 ms.", "On Monday p99 ITL at its worst was 120 ms."),
        ("TTFT alert: p95 over 2.0 s for 5 minutes.", "- [ ] add an alert at p95 TTFT > 5 s"),
        ("The peak came in week 11, with 1,140 sessions.", "The peak of week 12 was 1,410 sessions."),
        (
            "Busy-hour peak 22 requests/s.",
            "We size for a peak of 28 requests/s. Next year the peak may be 40 requests/s.",
        ),
        (
            "Helpdesk: mean prompt 1,800 tokens, mean answer 300 tokens.",
            "Legal: mean prompt 4,800 tokens, mean answer 700 tokens.",
        ),
        ("H100: $2.90 per GPU-hour.", "H200: $3.40 per GPU-hour."),
        ("Our price is $2.90 per GPU-hour.", "The list price is $3.40 per GPU-hour, spot is $1.90 per GPU-hour."),
        ("In all 1,260 requests timed out.", "1,260 of 2,100 requests timed out."),
        ("**Offer A** is six nodes. GPUs: 48.", "**Offer B** is four nodes. GPUs: 32."),
    ],
)
def test_two_things_are_left_alone(first: str, second: str) -> None:
    assert told(document(first, second)) == []


def test_results_are_held_against_limits() -> None:
    heads = ("Targets", "Results against the SLO")
    text = document(
        "- p95 TTFT ≤ 2.0 s\n- peak 22 requests/s", "- p95 TTFT 1.4 s (met)\n- peak throughput 24 requests/s", heads
    )
    assert told(text) == []
    assert len(told(text.replace("Results against the SLO", "Latency goals"))) == 1
