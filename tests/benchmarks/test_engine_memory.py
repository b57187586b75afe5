"""Memory against logged values stays within what docs/engines.md says."""

from __future__ import annotations

from statistics import median

from benchmarks.engine_memory import quantile, tables


def test_errors_stay_within_what_is_said_of_them() -> None:
    found = tables()
    most = {
        ("by default", "weights"): (0.002, 0.009),
        ("by default", "room"): (0.01, 0.06),
        ("by default", "tokens"): (0.01, 0.03),
        ("by default", "concurrency"): (0.01, 0.02),
        ("given overheads", "tokens"): (0.005, 0.02),
        ("given overheads", "concurrency"): (0.005, 0.02),
        ("source left out", "tokens"): (0.05, 0.12),
        ("source left out", "concurrency"): (0.05, 0.12),
    }
    for (given, figure), (middle, nine_in_ten) in most.items():
        errors = [one.error for one in found[given] if one.figure == figure]
        assert len(errors) >= 15
        assert median(abs(error) for error in errors) <= middle, (given, figure)
        assert quantile(errors, 0.9) <= nine_in_ten, (given, figure)
