"""Several kinds of layout side by side for one problem, against every way to divide its devices."""

from __future__ import annotations

import json
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from optimizer.certificate import certify
from optimizer.cli.main import run
from optimizer.cluster import mix
from optimizer.domain.mixture import as_cluster
from optimizer.domain.problem import Problem
from optimizer.errors import Exit
from optimizer.readers.read import read_problem
from optimizer.search.search import Search
from tests.small_problems import layouts, small_problem

SEEDS = (7, 8, 14, 34, 41, 75, 114, 136, 161, 202, 229, 237, 291, 315, 336, 358)
"""Small problems of phase aggregated that something fits."""
CLOSE = Fraction(1, 10**9)
SCENARIO = ["qwen3-32b-h200-8", "--devices", "7", "--objective", "throughput"]


def mixable(seed: int, devices: int) -> Problem:
    """A small problem that asks for the most throughput, however it is divided."""
    problem = small_problem(seed)
    work = problem.workload
    free = work.model_copy(
        update={"request_rate": None, "arrival": None, "max_num_seqs": None, "max_num_batched_tokens": None}
    )
    limits = problem.limits.model_copy(
        update={
            name: Fraction(int(own * 10**6), 10**6)  # as documents can hold them
            for name in ("ttft", "tpot")
            if (own := getattr(problem.limits, name)) is not None
        }
    )
    found = problem.changed(objective="throughput", workload=free, limits=limits, devices=devices)
    assert as_cluster(found) is not None
    return found


def most_of_each_size(problem: Problem) -> dict[int, Fraction]:
    found: dict[int, Fraction] = {}
    for one in layouts(problem):
        own = one.evaluation
        if own.layout.replicas == 1:
            found[own.devices] = max(found.get(own.devices, Fraction(0)), own.throughput)
    return found


def divided(problem: Problem, served: dict[int, Fraction]) -> Fraction:
    """The most of all ways to fill nodes with replicas, larger ones on whole nodes."""
    each = problem.hardware.devices_per_node
    nodes, rest = divmod(problem.devices, each)

    @cache
    def on_node(free: int) -> Fraction:
        return max((served[s] + on_node(free - s) for s in served if s <= free), default=Fraction(0))

    @cache
    def on_nodes(count: int) -> Fraction:
        best = on_node(each) + on_nodes(count - 1) if count else Fraction(0)
        for size, most in served.items():
            if size > each and size % each == 0 and size // each <= count:
                best = max(best, most + on_nodes(count - size // each))
        return best

    return on_nodes(nodes) + on_node(rest)


@pytest.mark.parametrize("devices", [5, 7])
def test_it_serves_the_most_of_all_divisions(devices: int) -> None:
    better = 0
    for seed in SEEDS:
        problem = mixable(seed, devices)
        alone = Search(problem).run().best[0].value
        expected = divided(problem, most_of_each_size(problem))
        found = mix(problem, alone)
        if expected <= alone * (1 + CLOSE):
            assert found is None, f"seed {seed}"
            continue
        assert found is not None, f"seed {seed}"
        assert found.value is not None
        assert expected * (1 - CLOSE) <= found.value <= expected, f"seed {seed}"
        assert found.status == "optimal", f"seed {seed}"
        assert certify(json.loads(json.dumps(found.to_json()))).accepted, f"seed {seed}"
        better += 1
    assert better > 0


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mixed") / "mixed.json"
    assert run(["solve", *SCENARIO, "--out", str(path)]) == Exit.YES
    return path


def test_the_answer_is_a_fleet_of_several_kinds(answered: Path) -> None:
    document = json.loads(answered.read_text())
    assert document["status"] == "optimal"
    assert document["layout"] is None
    assert sum(own["count"] * own["devices"] for own in document["fleet"]["replicas"]) == 7
    assert len(document["fleet"]["replicas"]) > 1


def test_every_command_takes_it(answered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["certify", str(answered)]) == Exit.YES
    assert run(["verify", str(answered)]) == Exit.YES
    assert run(["report", str(answered), "--out", str(tmp_path / "page.html")]) == Exit.YES
    page = (tmp_path / "page.html").read_text()
    assert all(own["name"] in page for own in json.loads(answered.read_text())["fleet"]["replicas"])
    capsys.readouterr()


def test_the_first_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["solve", *SCENARIO]) == Exit.YES
    assert "with 2 kinds of layout, " in capsys.readouterr().out.splitlines()[0]


def test_one_kind_is_answered_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["solve", *SCENARIO, "--max-kinds", "1"]) == Exit.YES
    assert capsys.readouterr().out.splitlines()[1].startswith("layout   tp=2")
    assert run(["solve", *SCENARIO[:-1], "throughput_per_device"]) == Exit.YES
    assert capsys.readouterr().out.splitlines()[1].startswith("layout ")


def test_the_checker_compares_with_the_problem_asked(answered: Path) -> None:
    document: dict[str, Any] = json.loads(answered.read_text())
    asked = read_problem("qwen3-32b-h200-8").changed(devices=7, objective="throughput")
    assert certify(document, asked).accepted
    assert not certify(document, asked.changed(devices=6)).accepted


def test_the_checker_refuses_a_rate_that_is_not_served(answered: Path) -> None:
    document: dict[str, Any] = json.loads(answered.read_text())
    own = document["certificate"]["columns"][0]
    own["requests_per_s"] = str(Fraction(own["requests_per_s"]) * Fraction(1001, 1000))
    assert not certify(document).accepted


@pytest.mark.parametrize("asked", [["--phase", "prefill", "--osl", "1"], ["--phase", "decode", "--osl", "64"]])
def test_roles_of_one_token_are_of_one_kind(asked: list[str]) -> None:
    given = ["--model", "llama-3.1-8b", "--hardware", "h100-sxm-8", "--devices", "2", "--isl", "1000", *asked]
    assert run(["solve", *given]) == 0
