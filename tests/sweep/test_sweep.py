import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from processes import TEXT, Killer, grid, poisoned

from optimizer.cli.main import run as shardproof
from optimizer.errors import InternalError, SpecError
from optimizer.readers.catalog import path as read_catalog_path
from optimizer.readers.read import read_problem
from optimizer.solve import solve
from optimizer.sweep import run as run_module
from optimizer.sweep.answer import ANSWERED, COLUMNS, Task, answer
from optimizer.sweep.backends import ATTEMPTS, Workers, backend, loky_workers
from optimizer.sweep.grid import Grid
from optimizer.sweep.journal import Journal
from optimizer.sweep.run import InterruptedSweepError, Options, key_of, sweep
from optimizer.sweep.table import csv_text, header, rows, write_table

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc")


def here(tasks: list[Task], _: Workers) -> Any:
    """A backend without processes."""
    return map(answer, tasks)


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "backend", lambda _: here)


def table(found: Grid, answers: dict[int, dict[str, Any]]) -> str:
    return csv_text(header(found), rows(found, answers))


@pytest.mark.usefixtures("one_process")
def test_rows_are_what_solve_answers(tmp_path: Path) -> None:
    found = grid(tmp_path)
    answers = sweep(found, Options(check=True))
    assert sorted(answers) == list(range(len(found.cells)))
    for cell in found.cells[::5]:
        file = tmp_path / "problem.yaml"
        file.write_text(json.dumps(cell.question))
        document = solve(read_problem(file)).to_json()
        row = answers[cell.index]
        assert row["status"] == document["status"]
        assert row["value"] == document["objective"]["value"]
        assert row["digest"] == document["problem"]["digest"]
        assert row["certificate"] == "accepted"
        if document["layout"] is not None:
            assert (row["tp"], row["used_devices"]) == (document["layout"]["tp"], document["layout"]["devices"])
            assert row["throughput_tokens_per_s"] == document["figures"]["throughput_tokens_per_s"]
    assert {row["status"] for row in answers.values()} == {"optimal", "infeasible"}


@pytest.mark.usefixtures("one_process")
def test_one_wrong_question_is_its_own_answer(tmp_path: Path) -> None:
    found = grid(tmp_path, TEXT.replace("limits.tpot: [20 ms, 50 ms]", "workload.input_tokens: [1000, 100000]"))
    answers = sweep(found, Options())
    by_labels = {(cell.labels[0], cell.labels[2]): answers[cell.index] for cell in found.cells}
    assert by_labels["llama-3.1-8b", "100000"]["status"] in ANSWERED
    assert by_labels["qwen3-32b", "100000"]["status"] == "error"
    assert "more than the 40960 tokens qwen3-32b can hold" in by_labels["qwen3-32b", "100000"]["error"]


def test_a_fault_of_ours_is_its_own_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("one by nothing")

    monkeypatch.setattr("optimizer.sweep.answer.read_question", broken)
    found = answer(Task(3, "key", {}))
    assert (found.index, found.row["status"], found.row["error"]) == (3, "failed", "ZeroDivisionError: one by nothing")


@pytest.mark.usefixtures("one_process")
def test_finished_problems_are_not_solved_again(tmp_path: Path) -> None:
    found, path = grid(tmp_path), tmp_path / "journal.jsonl"
    options = Options(journal=path)

    def stop(done: int, *_: object) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedSweepError, match="interrupted") as stopped:
        sweep(found, options, stop)
    assert sorted(stopped.value.rows) == [0, 1, 2, 3, 4]
    assert len(path.read_text().splitlines()) == 5
    told: list[int] = []
    answers = sweep(found, options, lambda *words: told.append(words[-1].index))
    assert told == list(range(5, len(found.cells)))
    assert table(found, answers) == table(found, sweep(found, Options()))
    assert sweep(found, options, lambda *_: pytest.fail("solved again")) == answers


@pytest.mark.usefixtures("one_process")
def test_what_a_killed_process_left_of_a_line_is_dropped(tmp_path: Path) -> None:
    found, path = grid(tmp_path), tmp_path / "journal.jsonl"
    whole = sweep(found, Options(journal=path))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    told: list[int] = []
    assert sweep(found, Options(journal=path), lambda *words: told.append(words[-1].index)) == whole
    assert len(told) == len(found.cells) - 3
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.usefixtures("one_process")
def test_other_settings_are_other_answers(tmp_path: Path) -> None:
    found, path = grid(tmp_path), tmp_path / "journal.jsonl"
    sweep(found, Options(journal=path))
    again = sweep(found, Options(journal=path, check=True))
    assert {row["certificate"] for row in again.values()} == {"accepted"}


@pytest.mark.parametrize(
    "text",
    [
        "no json\n", "[]\n", '{"schema": "other/1"}\n', '{"schema": "shardproof/sweep/1"}\n', "[" * 100_000 + "\n",
        *(
            json.dumps(
                {"schema": "shardproof/sweep/1", "settings": "{}", "index": 0, "key": "a", "wall_s": 0.5}
                | {"row": {"status": "optimal", "tp": 1}} | change
            ) + "\n"
            for change in ({"wall_s": "long"}, {"index": None}, {"key": []}, {"row": {"tp": "2"}}, {"row": {"tp": [2]}})
        ),
    ],
)  # fmt: skip
def test_what_is_no_journal_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(SpecError, match="no line of a sweep's journal"):
        Journal(path, "{}")
    assert path.read_text() == text


@pytest.mark.usefixtures("one_process")
def test_the_same_problem_twice_is_solved_once(tmp_path: Path) -> None:
    found = grid(tmp_path, TEXT.replace("[1, 2, 4, 8]", "[1, 1]"))
    told: list[int] = []
    answers = sweep(found, Options(), lambda *words: told.append(words[-1].index))
    assert len(told) * 2 == len(answers) == len(found.cells)


def test_answers_that_do_not_come_back_are_an_internal_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "backend", lambda _: lambda tasks, _: map(answer, tasks[1:]))
    with pytest.raises(InternalError, match="1 of 16 problems"):
        sweep(grid(tmp_path), Options())


def test_loky_gives_the_same_table(tmp_path: Path) -> None:
    found = grid(tmp_path)
    loky = table(found, sweep(found, Options(jobs=2)))
    tasks = [Task(cell.index, key_of(cell.question), cell.question) for cell in found.cells]
    assert loky == table(found, {task.index: answer(task).row for task in tasks})


@LINUX
def test_a_worker_killed_mid_run_loses_nothing(tmp_path: Path) -> None:
    found, killer = grid(tmp_path), Killer("popen_loky_posix")
    answers = sweep(found, Options(jobs=2, journal=tmp_path / "journal.jsonl"), killer)
    assert killer.killed
    assert {row["status"] for row in answers.values()} <= ANSWERED
    assert len(answers) == len(found.cells)


@LINUX
def test_a_problem_that_kills_its_workers_is_given_up_alone(tmp_path: Path) -> None:
    found = poisoned(grid(tmp_path), 4)
    answers = sweep(found, Options(jobs=2))
    assert answers[4]["status"] == "failed"
    assert answers[4]["error"] == f"its worker process ended {ATTEMPTS} times"
    assert all(row["status"] in ANSWERED for index, row in answers.items() if index != 4)


def test_unknown_backend_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError) as refusal:
        backend("dusk")
    assert refusal.value.faults[0].suggestion == "dask"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "optimizer.sweep.backends.ray_workers", raising=False)
    with pytest.raises(SpecError, match=r'pip install "shardproof\[ray\]"'):
        backend("ray")


def test_parquet_without_pyarrow_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SpecError, match=r'pip install "shardproof\[parquet\]"'):
        write_table(tmp_path / "table.parquet", grid(tmp_path), {})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("one_process")
def test_parquet_holds_the_same_as_csv(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    found = grid(tmp_path)
    answers = sweep(found, Options())
    write_table(tmp_path / "table.parquet", found, answers)
    read = parquet.read_table(tmp_path / "table.parquet")
    assert read.column_names == header(found)
    assert [list(row.values()) for row in read.to_pylist()] == rows(found, answers)


def test_an_axis_that_shares_a_column_is_told_apart() -> None:
    cells = Grid("g", ("seed", "status"), ())
    assert header(cells)[:3] == ["index", "seed", "asked_status"]
    assert len(set(header(cells))) == 3 + len(COLUMNS)


@pytest.mark.usefixtures("one_process")
def test_command_writes_the_table_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid(tmp_path, TEXT.replace("[1, 2, 4, 8]", "[1]"))
    out = tmp_path / "table.csv"
    assert shardproof(["sweep", str(tmp_path / "grid.yaml"), "--out", str(out)]) == 0
    read = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["model"] for row in read] == ["llama-3.1-8b"] * 2 + ["qwen3-32b"] * 2
    assert (tmp_path / "table.csv.jsonl").exists()
    capsys.readouterr()
    assert shardproof(["sweep", str(tmp_path / "grid.yaml"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [str(line["value"] or "") for line in lines] == [row["value"] for row in read]


@pytest.mark.usefixtures("one_process")
def test_command_tells_what_has_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = TEXT.replace("input_tokens: 1000,", "input_tokens: 100000,")
    grid(tmp_path, long.replace("[1, 2, 4, 8]", "[1]"))
    assert shardproof(["sweep", str(tmp_path / "grid.yaml")]) == 1
    said = capsys.readouterr()
    assert "2 without an answer" in said.err
    assert "tokens qwen3-32b can hold" in said.err
    assert said.out.startswith("index,model,devices,limits.tpot,digest,status,")


@pytest.mark.usefixtures("one_process")
def test_a_file_that_has_changed_is_another_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    load, journal = tmp_path / "load.json", tmp_path / "journal.jsonl"
    text = """
problem:
  {model: mixtral-8x7b, hardware: h100-sxm-8, workload: {phase: decode, input_tokens: 1000, output_tokens: 200},
   experts: {load: load.json}, search: {tp: 2, ep: 2, pp: 1}}
grid: {devices: [2]}
"""
    model = read_catalog_path("models", "mixtral-8x7b").read_text()
    (tmp_path / "own.yaml").write_text(model)
    for written in (text, text.replace("mixtral-8x7b", "own.yaml")):
        load.write_text(json.dumps([[8, 7, 6, 5, 4, 3, 2, 1]] * 32))
        before = sweep(grid(tmp_path, written), Options(journal=journal))[0]
        load.write_text(json.dumps([[800, 7, 6, 5, 4, 3, 2, 1]] * 32))
        after = sweep(grid(tmp_path, written), Options(journal=journal))[0]
        assert after["digest"] != before["digest"]
        assert after["value"] < before["value"]
    # The model behind the same path.
    (tmp_path / "own.yaml").write_text(model.replace("vocab_size: 32000", "vocab_size: 64000"))
    assert sweep(grid(tmp_path, written), Options(journal=journal))[0]["digest"] != after["digest"]
    # A question that could not be answered is asked again.
    load.unlink()
    assert sweep(grid(tmp_path, written), Options(journal=journal))[0]["status"] == "error"
    load.write_text(json.dumps([[1] * 8] * 32))
    assert sweep(grid(tmp_path, written), Options(journal=journal))[0]["status"] == "optimal"


@LINUX
def test_a_journal_has_one_sweep_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path, "{}"), pytest.raises(SpecError, match="in use by another sweep"):
        Journal(path, "{}")
    Journal(path, "{}").__exit__()


def program(folder: Path, *arguments: str, limit: str = "") -> subprocess.Popen[str]:
    """The command line as a process group of its own; `limit`: what the shell sets before."""
    grid(folder)
    command = [sys.executable, "-m", "optimizer", "sweep", str(folder / "grid.yaml"), *arguments]
    words = ["bash", "-c", f'{limit}; exec "$@"', "bash", *command] if limit else command
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    )


@LINUX
@pytest.mark.parametrize(("number", "how"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_stopped_sweep_keeps_its_answers_and_says_so(tmp_path: Path, number: signal.Signals, how: str) -> None:
    journal, out = tmp_path / "journal.jsonl", tmp_path / "table.csv"
    process = program(tmp_path, "--jobs", "2", "--journal", str(journal), "--out", str(out))
    while not journal.is_file() or b"\n" not in journal.read_bytes():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, number)
    _, said = process.communicate()
    assert "Traceback" not in said
    if process.returncode == 0:
        pytest.skip("it had finished")
    assert process.returncode == 3
    assert f"{how}: " in said
    assert f"of 16 problems are answered; the same command goes on from {journal}" in said
    assert len(out.read_text().splitlines()) == 1 + len(journal.read_text().splitlines())
    assert not list(tmp_path.glob(".*.part"))
    again = program(tmp_path, "--jobs", "2", "--journal", str(journal), "--out", str(out))
    again.communicate()
    assert again.returncode == 0
    assert out.read_text() == table(grid(tmp_path), sweep(grid(tmp_path), Options()))


@LINUX
@pytest.mark.parametrize("blocks", [1, 2])
def test_a_full_disk_loses_nothing_that_was_kept(tmp_path: Path, blocks: int) -> None:
    """A file may grow to so many KiB: what is in the journal then is whole lines but perhaps for the last."""
    journal = tmp_path / "journal.jsonl"
    process = program(tmp_path, "--jobs", "1", "--journal", str(journal), limit=f"ulimit -f {blocks}")
    _, said = process.communicate()
    assert process.returncode == 3, said
    assert "journal.jsonl: cannot be written" in said
    assert "Traceback" not in said
    told: list[int] = []
    answers = sweep(grid(tmp_path), Options(journal=journal), lambda *words: told.append(words[-1].index))
    assert len(told) < len(answers) == 16
    assert table(grid(tmp_path), answers) == table(grid(tmp_path), sweep(grid(tmp_path), Options()))


@LINUX
@pytest.mark.slow
def test_killed_at_any_point_a_sweep_resumes_to_the_same_table(tmp_path: Path) -> None:
    rng, journal, out = random.Random(17), tmp_path / "journal.jsonl", tmp_path / "table.csv"  # noqa: S311 - a test
    begun = time.perf_counter()
    whole = program(tmp_path, "--jobs", "2", "--out", str(out), "--journal", str(tmp_path / "whole.jsonl"))
    whole.communicate()
    wanted, lasts = out.read_text(), time.perf_counter() - begun
    kills = 0
    while kills < 20:
        journal.unlink(missing_ok=True)
        while True:
            process = program(tmp_path, "--jobs", "2", "--out", str(out), "--journal", str(journal))
            try:
                process.wait(rng.uniform(0.3, 0.9) * lasts)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                kills += 1
                continue
            process.communicate()
            break
        assert process.returncode == 0
        assert out.read_text() == wanted


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_only_a_pool_that_is_stopped_ends_in_silence(monkeypatch: pytest.MonkeyPatch, *, stopped: bool) -> None:
    told: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", told.append)

    class Manager(threading.Thread):
        executor_flags = SimpleNamespace(shutdown=stopped)

        def run(self) -> None:
            raise OSError("handle is closed")

    with loky_workers.stopped_in_silence():
        manager = Manager()
        manager.start()
        manager.join()
    assert len(told) == (not stopped)
    assert threading.excepthook == told.append
