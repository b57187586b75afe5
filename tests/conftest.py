"""Settings of every test."""

import os

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure: no deadline. HYPOTHESIS_PROFILE=thorough looks ten times longer.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

LONG = (
    "audit/test_documents.py", "audit/test_robustness.py", "bench/test_run.py", "benchmarks/",
    "certificate/test_check.py", "certificate/test_front.py", "certificate/test_tampering.py", "cli/test_commands.py",
    "cli/test_frontier_and_uncertainty.py", "cluster/", "declarative/", "domain/test_margins.py",
    "explain/test_explain.py", "placement/test_place.py", "placement/test_uneven.py", "placement_end_to_end/",
    "report/test_html.py", "search/test_frontier.py", "solve/", "sweep/", "test_brute_force.py",
    "test_engine_rule_change.py", "test_limit_change.py", "test_never_beaten.py", "test_objective_change.py",
    "test_soak.py", "test_workload_change.py", "test_workload_kind.py", "verify/test_every_figure.py",
)  # fmt: skip
"""Tests that search, place, fork or read large tables for seconds: what ``-m "not slow and not long"`` leaves out."""


SLOW = (
    "certificate/test_check.py", "certificate/test_question.py", "certificate/test_tampering.py",
    "explain/test_explain.py", "solve/test_joint.py", "test_scenarios.py",
)  # fmt: skip
"""Tests that search or check many large lattices: minutes each since every chunk and cp is in them."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long by where it stands."""
    root = os.path.dirname(__file__)  # noqa: PTH120 - once for thousands of items
    for item in items:
        place = os.path.relpath(item.path, root)
        if place.startswith(LONG):
            item.add_marker(pytest.mark.long)
        if place.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
