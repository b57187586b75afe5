"""Real clusters on this machine: worker processes, one of them killed mid-run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Killer, grid, poisoned

from optimizer.sweep.answer import ANSWERED
from optimizer.sweep.backends import ATTEMPTS
from optimizer.sweep.grid import Grid
from optimizer.sweep.run import Options, sweep
from optimizer.sweep.table import csv_text, header, rows

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

WORKERS = {"dask": "spawn_main", "ray": "^ray::answer"}
"""What tells a worker process of each cluster by its command line."""


def table(found: Grid, answers: dict[int, dict[str, Any]]) -> str:
    return csv_text(header(found), rows(found, answers))


@pytest.fixture(params=["dask", "ray"])
def cluster(request: pytest.FixtureRequest) -> str:
    pytest.importorskip({"dask": "distributed", "ray": "ray"}[request.param])
    return str(request.param)


@pytest.fixture
def dask_address() -> Iterator[str]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as running:
        yield running.scheduler_address


def test_the_table_is_that_of_loky_with_a_worker_killed(tmp_path: Path, cluster: str) -> None:
    found, killer = grid(tmp_path), Killer(WORKERS[cluster])
    answers = sweep(found, Options(cluster, jobs=2), killer)
    assert killer.killed
    assert table(found, answers) == table(found, sweep(found, Options("loky", jobs=2)))


def test_a_problem_that_kills_its_workers_is_given_up_alone(tmp_path: Path, cluster: str) -> None:
    answers = sweep(poisoned(grid(tmp_path), 4), Options(cluster, jobs=3))
    assert answers[4]["error"] == f"its worker process ended {ATTEMPTS} times"
    assert all(row["status"] in ANSWERED for index, row in answers.items() if index != 4)


def test_a_running_cluster_is_used(tmp_path: Path, dask_address: str) -> None:
    found = grid(tmp_path)
    answers = sweep(found, Options("dask", address=dask_address))
    assert {row["status"] for row in answers.values()} <= ANSWERED
