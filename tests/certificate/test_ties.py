"""Layouts of equal throughput: the one on fewer devices is the answer, and the checker accepts no other."""

from __future__ import annotations

from random import Random

import pytest

from optimizer.certificate import certify
from optimizer.domain.attention import GroupedQueryAttention
from optimizer.domain.feedforward import DenseFeedForward
from optimizer.domain.layout import Layout, Stage
from optimizer.domain.model import Block, ModelSpec, Run
from optimizer.domain.precision import ModelPrecision
from optimizer.domain.problem import Problem
from optimizer.figures.objective import Scored
from optimizer.figures.serving import evaluate
from optimizer.search.search import Search
from optimizer.solve import solve
from tests.certificate.documents import claimed, written
from tests.small_problems import GIB, hardware


def tied() -> tuple[Problem, list[Scored]]:
    """Five layers in three or four stages: two in the longest, and a TPOT that leaves one sequence a stage."""
    block = Block(
        attention=GroupedQueryAttention(heads=4, kv_heads=4, head_dim=64), ffn=DenseFeedForward(intermediate=8192)
    )
    own = ModelSpec(
        name="five-layers", hidden_size=1024, vocab_size=1000, tie_embeddings=False, blocks={"b": block},
        layers=(Run(pattern=("b",) * 5),), mtp=None, precision=ModelPrecision(weights="bf16", kv_cache="bf16"),
    )  # fmt: skip
    open_ended = Problem.model_validate(
        {
            "name": "tied", "model": own, "hardware": hardware(Random(1), 64 * GIB, (8, None)), "devices": 4,  # noqa: S311 - test data
            "workload": {"phase": "decode", "input_tokens": 400_000, "output_tokens": 100},
            "search": {"tp": [1], "pp": [3, 4]},
        }
    )  # fmt: skip
    stages = tuple(Stage(first_layer=first, layers=n) for first, n in ((0, 2), (2, 1), (3, 1), (4, 1)))
    deep = Layout(tp=1, cp=1, dp=1, pp=4, etp=1, ep=1, edp=1, batch=4, prefill_chunk=None, stages=stages)
    limits = open_ended.limits.model_copy(update={"tpot": evaluate(open_ended, deep).tpot_s})
    problem = open_ended.model_copy(update={"limits": limits})
    return problem, Search(problem, wanted=2).run().best


def test_fewer_devices_break_a_tie_in_throughput() -> None:
    problem, (first, second) = tied()
    assert problem.objective == "throughput"
    assert first.value == second.value
    assert (first.layout.devices, second.layout.devices) == (3, 4)
    check = certify(written(solve(problem, top=2)))
    assert check.accepted, check.reason


@pytest.mark.parametrize("others", [0, 1])
def test_a_tie_on_more_devices_is_rejected(others: int) -> None:
    problem, (first, second) = tied()
    listed = (first,) * others
    check = certify(claimed(problem, "optimal", second, bound=second.value, others=listed))
    assert check.item == "certificate.objective"
    assert check.reason is not None
    assert check.reason.endswith("is no worse on 3 devices than the layout claimed on 4")
