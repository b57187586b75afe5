"""Settings of every test."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure: no deadline. HYPOTHESIS_PROFILE=thorough looks ten times longer.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("default"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

LONG = (
    "audit/test_deployments.py::test_errors", "audit/test_deployments.py::test_nobody", "audit/test_documents.py",
    "audit/test_named.py", "audit/test_robustness.py", "bench/test_baselines.py", "bench/test_run.py", "benchmarks/",
    "calibrate/test_calibrate.py", "certificate/test_check.py", "certificate/test_corpora.py::test_every_file",
    "certificate/test_corpora.py::test_the_form", "certificate/test_front.py::test_a_front",
    "certificate/test_front.py::test_thresholds", "certificate/test_independence.py::test_certify",
    "certificate/test_meshes.py::test_as_many_as_there_are_of_models",
    "certificate/test_relaxations.py::test_relaxations_of_many_cp", "certificate/test_tampering.py",
    "cli/test_commands.py", "cli/test_frontier_and_uncertainty.py",
    "cli/test_launch.py::test_a_flag_that_is_not_given", "cli/test_launch.py::test_explain",
    "cli/test_launch.py::test_sglang_takes_no_more", "cli/test_launch.py::test_the_static",
    "cluster/test_brute_force.py::test_the_answer_is_the_best_of_every_fleet_t",
    "cluster/test_brute_force.py::test_the_answer_is_the_best_of_every_fleet_w", "cluster/test_buckets.py",
    "cluster/test_ceilings.py", "cluster/test_certificate.py", "cluster/test_cli.py",
    "cluster/test_conflict.py::test_a_", "cluster/test_flow.py", "cluster/test_lemmas.py", "cluster/test_mix.py",
    "cluster/test_priced.py", "cluster/test_spread.py", "cluster/test_verify.py",
    "corpora/test_malformed.py::test_the_command", "declarative/", "domain/test_engines.py::test_a_rule_depends",
    "domain/test_margins.py", "explain/test_explain.py", "export/test_launch.py::test_round",
    "figures/test_overlap.py::test_a_step", "figures/test_overlap.py::test_no_layer",
    "figures/test_pairings.py::test_a_leaf", "figures/test_percentiles.py::test_requests_of",
    "figures/test_room.py::test_explain", "figures/test_room.py::test_the_longest",
    "figures/test_room.py::test_the_program", "placement/test_free_split.py", "placement/test_locality.py",
    "placement/test_moves.py", "placement/test_place.py", "placement/test_place_small.py", "placement/test_priced.py",
    "placement/test_time_limit.py", "placement/test_uneven.py", "placement_end_to_end/",
    "readers/huggingface/test_refusals.py::test_no_configuration", "readers/test_fuzz.py",
    "readers/test_lengths.py::test_memory", "readers/test_loads.py::test_sizes", "readers/test_read.py::test_nothing",
    "report/test_html.py", "search/test_attention.py::test_sieved", "search/test_attention.py::test_without_time",
    "search/test_frontier.py", "search/test_regret.py", "solve/", "sweep/",
    "test_attention_change.py::test_the_same", "test_brute_force.py",
    "test_concurrency.py::test_more", "test_concurrency.py::test_solve", "test_docs.py::test_the_jobs",
    "test_engine_rule_change.py", "test_limit_change.py", "test_never_beaten.py", "test_objective_change.py",
    "test_percentile_limits.py", "test_readme.py::test_the_other", "test_readme.py::test_the_tour",
    "test_reference_equals_vectorised.py::test_extreme", "test_reference_equals_vectorised.py::test_feasible",
    "test_soak.py", "test_units.py::test_every_unit", "test_units.py::test_what_is_printed",
    "test_workload_change.py", "test_workload_kind.py", "verify/test_claims.py::test_every_figure",
    "verify/test_claims.py::test_times", "verify/test_constraints.py::test_a_breach", "verify/test_every_figure.py",
    "verify/test_verdict.py::test_redundant",
)  # fmt: skip
"""Files, or single tests, that take seconds: what ``-m "not slow and not long"`` leaves out."""


SLOW = (
    "certificate/test_check.py", "certificate/test_question.py", "certificate/test_tampering.py",
    "explain/test_explain.py", "solve/test_joint.py", "test_scenarios.py",
)  # fmt: skip
"""Tests that search or check many large lattices: minutes each since every chunk and cp is in them."""


_ROOT = os.path.dirname(__file__)  # noqa: PTH120 - once for thousands of items


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out whole files that the marks asked for leave out: drawing their problems takes seconds."""
    left_out = {"not slow": SLOW, "not slow and not long": SLOW + LONG}.get(config.option.markexpr, ())
    place = os.path.relpath(collection_path, _ROOT)
    # what is named is collected
    named = any(place in argument.partition("::")[0] for argument in config.args)
    return True if left_out and place.startswith(left_out) and place.endswith(".py") and not named else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes long by where it stands."""
    for item in items:
        place = f"{os.path.relpath(item.path, _ROOT)}::{item.name}"
        if place.startswith(LONG):
            item.add_marker(pytest.mark.long)
        if place.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
