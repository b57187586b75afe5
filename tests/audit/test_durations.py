"""Durations against the clock."""

import pytest

from optimizer.audit import audit_document

TIMELINE = (
    "# Incident\n\n- 13:10 first OOM kill on replica 3\n- 13:18 pager rings, {}\n- 13:52 service declared healthy\n"
)
SPANNED = "# Incident\n\nFrom 19:04 to 20:41 UTC (97 minutes) answers were late.\n\n## Impact\n\n{}\n"
ROWS = "# Incident\n\n| Field | Value |\n|---|---|\n| Started | 13:10 |\n| Ended | 13:52 |\n| Duration | {} |\n"


def told(text: str) -> list[str]:
    """Explanations of the durations that an audit accuses."""
    found = audit_document(text, "x.md").to_json()["contradictions"]
    return [one["explanation"] for one in found if one["name"] == "duration"]


@pytest.mark.parametrize(
    "text",
    [
        "# Review\n\n- Outage window: 22:40 – 00:15 UTC (1 h 15 min)\n",
        "# Review\n\nThe gateway was down between 08:05 and 09:20 CET, i.e. 65 minutes.\n",
        "# Review\n\nService degraded for 1.5 hours (10:00–12:00).\n",
        "# Review\n\nSeverity 2. Start 09:42 UTC, end 11:17 UTC. Duration 75 min. No data lost.\n",
        ROWS.format("52 min"),
        TIMELINE.format("15 min after the first OOM kill"),
        TIMELINE.format("all hands")
        + "\nFor 52 minutes, from the first OOM kill until the service was declared healthy.\n",
        SPANNED.format("Over the 67 minutes of the incident 41,000 turns were asked for."),
        SPANNED.format("The 67-minute outage cost us 1,200 requests."),
    ],
)
def test_a_duration_is_what_lies_between_its_times(text: str) -> None:
    assert len(told(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "# Review\n\n- Outage window: 22:40 – 00:15 UTC (1 h 35 min), of which 20 minutes were total\n",
        "# Review\n\nThe probe runs 08:00 to 09:00, every 15 minutes. We work 09:00 to 17:00, 30 minutes lunch.\n",
        "# Review\n\nFrom 14:00 to 15:00, 20 minutes after the alert, it stood. It runs 01:05-05:00 (about 4 h).\n",
        "# Review\n\nFrom 10:00 to 12:00 two windows of 30 minutes each are free; 01:00 to 03:00 would take 3 hours.\n",
        ROWS.format("42 min"),
        TIMELINE.format("8 min after the first OOM kill") + "\nIt was fine 5 min after the restart.\n",
        SPANNED.format("The 97 minutes of the incident cost us 1,200 requests; last year's outage lasted 3 hours."),
        SPANNED.format("The 10 minutes of the storm after the restart were the worst. A 30-minute outage is allowed."),
        SPANNED.format("From 02:10 to 02:47: 02:47-02:10 = 37 min."),
    ],
)
def test_other_durations_are_left_alone(text: str) -> None:
    assert told(text) == []
