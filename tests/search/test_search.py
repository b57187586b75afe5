"""Bounds that leave little to decide exactly, in deep pipelines and over slow links; which meshes share a stage."""

from math import lcm
from pathlib import Path
from random import Random

import numpy as np

from optimizer.domain.model import ModelSpec
from optimizer.domain.problem import Problem
from optimizer.readers.read import read_problem
from optimizer.search.lattice import _numbered, _together
from optimizer.search.search import Search

SLOW_LINKS = Path(__file__).parents[2] / "problems/scenarios/infeasible/pair-bandwidth-rate-deepseek-v3-h800-16.yaml"


def _deep(layers: int) -> Problem:
    """A Llama of so many narrow layers on 32 nodes."""
    problem = read_problem("llama-3.1-70b-h100-16")
    model = problem.model.model_dump() | {"name": "deep", "hidden_size": 2048, "published": None}
    model["layers"] = [{"pattern": ["layer"], "count": layers}]
    model["blocks"]["layer"]["attention"] |= {"heads": 32, "kv_heads": 8}
    model["blocks"]["layer"]["ffn"]["intermediate"] = 8192
    work = problem.workload.model_copy(update={"input_tokens": 2048, "output_tokens": 256})
    return problem.model_copy(
        update={
            "model": ModelSpec.model_validate(model),
            "devices": 256,
            "workload": work,
            "limits": type(problem.limits)(),
        }
    )


def test_of_a_deep_pipeline_few_layouts_are_decided_exactly() -> None:
    # 5,000 layers divide unevenly by most depths, and batches of many stages leave the last micro-batch unfilled
    search = Search(_deep(5000))
    assert search.run().complete
    assert search.tally.exact < 100


def test_where_links_are_slow_few_layouts_are_decided_exactly() -> None:
    # what a replica spans decides which links its stages use: 15,000 rows looked better than they were
    problem = read_problem(SLOW_LINKS)
    unrated = problem.model_copy(update={"workload": problem.workload.model_copy(update={"request_rate": None})})
    search = Search(unrated.model_copy(update={"objective": "throughput"}))
    assert search.run().complete
    assert search.tally.exact < 100


def test_meshes_share_a_stage_where_the_least_common_multiple_fits() -> None:
    for seed in range(50):
        rng = Random(seed)  # noqa: S311 - test data
        devices = rng.randint(1, 200)
        width, size = ([rng.randint(1, devices) for _ in range(rng.randint(1, 40))] for _ in range(2))
        first, second = _together(np.array(width), np.array(size), devices)
        expected = [(a, e) for a, own in enumerate(width) for e, other in enumerate(size) if lcm(own, other) <= devices]
        assert list(zip(first.tolist(), second.tolist(), strict=True)) == expected


def test_values_are_numbered_in_ascending_order() -> None:
    for most in (3, 1000, 1 << 40):
        rng = np.random.default_rng(most)
        values = rng.integers(0, most, 200)
        assert _numbered(values).tolist() == np.unique(values, return_inverse=True)[1].tolist()
