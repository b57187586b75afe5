import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from benchmarks.__main__ import arguments
from optimizer.bench.isolate import run_alone
from optimizer.bench.methods import METHODS, PROGRAM, SOLVE, Settings
from optimizer.bench.record import SCHEMA, Record, from_json
from optimizer.bench.run import margin, named_methods, run
from optimizer.bench.scenarios import scenarios
from optimizer.bench.store import Store
from optimizer.cli.main import run as shardproof
from optimizer.errors import SpecError
from optimizer.readers.read import read_problem

ONE = "llama-3.1-8b-l4-1"
OTHER = "llama-3.1-8b-rtx-4090-2"
ASKED = tuple(name for name in METHODS if name != PROGRAM)
BASELINES = (SOLVE, "brute_force", "rule_of_thumb")


def heavy(megabytes: int) -> int:
    return len(bytearray(b"x" * (megabytes * 2**20)))


def fatal() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refused() -> None:
    raise SpecError("no such thing")


def endless() -> None:
    signal.pause()


def test_sets_are_tags() -> None:
    smoke = scenarios("smoke")
    assert len(smoke) >= 10
    assert all("smoke" in scenario.tags for scenario in smoke)
    assert {s.name for s in smoke} < {s.name for s in scenarios("core")}
    assert all("infeasible" in s.path.parts for s in scenarios("infeasible"))


def test_each_scenario_comes_once() -> None:
    names = [scenario.name for scenario in scenarios("smoke", "core", ONE)]
    assert len(names) == len(set(names))


def test_unknown_set_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError) as refusal:
        scenarios("smokes")
    assert refusal.value.faults[0].suggestion == "smoke"


def test_file_is_a_scenario(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(scenarios(ONE)[0].path.read_text())
    assert [scenario.name for scenario in scenarios(str(file))] == ["own"]


def test_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError) as refusal:
        named_methods(["brute_farce"])
    assert refusal.value.faults[0].suggestion == "brute_force"
    assert named_methods(["rule_of_thumb"]) == (SOLVE, "rule_of_thumb")


def test_peak_memory_is_that_of_the_method_alone() -> None:
    small, large = run_alone(heavy, 1), run_alone(heavy, 150)
    assert (small.result, large.result) == (2**20, 150 * 2**20)
    assert small.peak_bytes is not None
    assert large.peak_bytes is not None
    assert 120 * 2**20 < large.peak_bytes - small.peak_bytes < 400 * 2**20


def test_what_ends_one_method_ends_no_other() -> None:
    assert run_alone(fatal).failure == "its process ended with status -9"
    assert run_alone(refused).failure == "SpecError: no such thing"
    assert run_alone(endless, limit_s=0.2).failure == "stopped after 0.2 s"


def test_the_search_is_proved_checked_and_not_beaten() -> None:
    records = list(run(scenarios(ONE), named_methods(list(METHODS)), Settings(2000)))
    own = records[0]
    assert (own.method, own.status, own.certificate, own.gap) == (SOLVE, "optimal", "accepted", 0.0)
    assert own.work["decided_exactly"] > 0
    assert own.peak_bytes
    plain = ["rule_of_thumb", "powers_of_two", "random_search"]
    assert [r.method for r in records] == [SOLVE, PROGRAM, "brute_force", *plain]
    assert [(r.status, r.exact) for r in records[1:3]] == [("optimal", own.exact)] * 2
    assert all(r.margin is not None and r.margin >= 1 for r in records[1:])


def test_records_survive_json() -> None:
    for record in run(scenarios(ONE), BASELINES, Settings(2000)):
        line = json.loads(json.dumps(record.to_json()))
        assert line["schema"] == SCHEMA
        assert {"scenario", "method", "status", "objective", "gap", "candidates", "wall_s", "peak_bytes"} < line.keys()
        assert from_json(line) == record


def test_infeasible_scenario_is_proved_so_and_baselines_find_nothing() -> None:
    name = scenarios("infeasible")[0].name
    own, thumb = run(scenarios(name), (SOLVE, "rule_of_thumb"), Settings(200))
    assert (own.status, own.certificate) == ("infeasible", "accepted")
    assert (thumb.status, thumb.exact, thumb.margin) == ("unknown", None, None)


@pytest.mark.parametrize(
    ("objective", "own", "other", "expected"),
    [
        ("throughput", 3, 2, 1.5),
        ("throughput", 2, 3, 2 / 3),
        ("tpot", 2, 3, 1.5),
        ("cost", 3, 2, 2 / 3),
        ("devices", 4, 4, 1.0),
        ("memory_headroom", 0, 0, 1.0),
        ("memory_headroom", 5, 0, None),
        ("throughput", 5, None, None),
    ],
)
def test_margin_says_how_many_times_better(objective: str, own: int, other: int | None, expected: float | None) -> None:
    problem = read_problem(ONE).model_copy(update={"objective": objective})
    assert margin(problem, Fraction(own), None if other is None else Fraction(other)) == expected


def stopped(records: Iterator[Record], after: int) -> list[Record]:
    found = [next(records) for _ in range(after)]
    records.close()
    return found


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    store, settings = Store(tmp_path / "history.db"), Settings(2000)
    first = stopped(run(scenarios(ONE), BASELINES, settings, store=store), 2)
    told: list[str] = []

    def tell(_: str, method: str, record: Record | None) -> None:
        if record is None:
            told.append(method)

    again = list(run(scenarios(ONE), BASELINES, settings, store=store, tell=tell))
    assert told == ["rule_of_thumb"]
    assert again[:2] == first
    assert store.records() == again


def program(store: Path) -> subprocess.Popen[bytes]:
    """`bench --store` as a process group of its own."""
    words = [
        "bench",
        ONE,
        OTHER,
        "--methods",
        ",".join(ASKED),
        "--evaluations",
        "200",
        "--no-peers",
    ]
    command = [sys.executable, "-m", "optimizer", *words, "--store", str(store)]
    environment = os.environ | {"TMPDIR": str(store.parent.parent), "PYTHONPATH": str(Path(__file__).parents[2])}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True, env=environment)


def kept(store: Path) -> list[Record]:
    """What a history holds of its only run, which is finished, aside from what it took."""
    with closing(sqlite3.connect(store)) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        assert connection.execute("select count(*), count(finished) from run").fetchone() == (1, 1)
    return [replace(found, wall_s=0.0, check_s=None, peak_bytes=None) for found in Store(store).records()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ends process groups")
@pytest.mark.slow
def test_killed_at_any_point_a_run_resumes_to_the_same_history(tmp_path: Path) -> None:
    rng, store = random.Random(17), tmp_path / "kept" / "history.db"  # noqa: S311 - a test
    whole = tmp_path / "whole" / "history.db"
    whole.parent.mkdir()
    store.parent.mkdir()
    begun = time.perf_counter()
    assert program(whole).wait() == 0
    wanted, lasts = kept(whole), time.perf_counter() - begun
    assert len(wanted) > len(ASKED)
    assert {record.scenario for record in wanted} == {ONE, OTHER}
    kills = stood = 0
    while kills < 20:
        store.unlink(missing_ok=True)
        while True:
            process = program(store)
            try:
                status = process.wait(rng.uniform(0.05, 0.9) * lasts)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
                stood += store.is_file()
                continue
            break
        assert status == 0
        assert kept(store) == wanted
        assert [file.name for file in store.parent.iterdir()] == [store.name]
    assert stood


def test_a_finished_run_is_not_taken_up_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "history.db")
    for _ in range(2):
        told: list[tuple[object, ...]] = []
        list(run(scenarios(ONE), (SOLVE,), Settings(), store=store, tell=lambda *words: told.append(words)))  # noqa: B023
        assert [method for _, method, _ in told] == [SOLVE, SOLVE]


def test_a_changed_problem_is_asked_again(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    text = scenarios(ONE)[0].path.read_text()
    file.write_text(text)
    store = Store(tmp_path / "history.db")
    old = stopped(run(scenarios(str(file)), (SOLVE, "brute_force"), Settings(2000), store=store), 1)
    file.write_text(text + "seed: 7\n")
    new = list(run(scenarios(str(file)), (SOLVE, "brute_force"), Settings(2000), store=store))
    assert new[0].digest != old[0].digest


def test_a_file_that_is_no_history_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    file.write_text("not a database, " * 100)
    with pytest.raises(SpecError, match="no history of benchmarks"):
        Store(file)


def test_command_writes_lines_and_table_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, table = tmp_path / "new.jsonl", tmp_path / "table.md"
    wanted = ["bench", ONE, "--methods", "rule_of_thumb", "--out", str(lines), "--markdown", str(table)]
    assert shardproof([*wanted, "--json"]) == 0
    assert [json.loads(line)["method"] for line in capsys.readouterr().out.splitlines()] == [SOLVE, "rule_of_thumb"]
    assert f"| {ONE} | optimal |" in table.read_text()
    records = [from_json(json.loads(line)) for line in lines.read_text().splitlines()]
    better = replace(records[0], objective={**records[0].objective, "exact": "10000000/1", "value": 1e7})
    lines.write_text(json.dumps(better.to_json()) + "\n")
    assert shardproof(["bench", ONE, "--methods", "none", "--compare", str(lines)]) == 1
    assert "worse: llama-3.1-8b-l4-1 solve: objective 1e+07 →" in capsys.readouterr().err


def test_smoke_is_a_set_with_a_small_budget() -> None:
    assert arguments(["--smoke", "--json"])[:2] == ["bench", "smoke"]
    assert arguments(["core"]) == ["bench", "core"]
