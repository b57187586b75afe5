"""What `solve` answers whole, in little time, interrupted, and twice."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from optimizer import read_problem
from optimizer.certificate import certify
from optimizer.domain.problem import Problem
from optimizer.errors import Exit
from optimizer.figures.objective import better
from optimizer.search.search import Found, Search, Tally
from optimizer.solve import solve
from optimizer.solve.result import proved_bound
from tests.certificate.documents import Json, written
from tests.small_problems import OBJECTIVES, asked, small_problem

ROOT = Path(__file__).parents[2]
SEEDS = range(60)
SCENARIO = ROOT / "problems" / "scenarios" / "deepseek-v3-decode-h800-320.yaml"


def untimed(document: Json) -> Json:
    """Without its wall times."""
    found = json.loads(json.dumps(document))
    found["search"]["wall_s"] = None
    return dict(found)


RUN = """
import hashlib, json
from optimizer.solve import solve
from tests.small_problems import small_problem
from tests.solve.joint_problems import joint_problem
problems = [small_problem(seed) for seed in range(8)] + [p for p in map(joint_problem, range(50)) if p]
for problem in problems:
    document = solve(problem, top=3).to_json()
    document["search"]["wall_s"] = None
    print(hashlib.sha256(json.dumps(document).encode()).hexdigest())
"""


def test_the_same_bytes_whatever_the_order_of_hashes() -> None:
    outputs = []
    for seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", RUN], cwd=ROOT, check=True, capture_output=True, text=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        outputs.append(done.stdout)
    assert len(outputs[0].split()) > 10
    assert outputs[0] == outputs[1] == outputs[2]


def test_twice_in_one_process_is_the_same() -> None:
    for seed in SEEDS[::6]:
        problem = small_problem(seed)
        assert untimed(solve(problem).to_json()) == untimed(solve(problem).to_json())


def no_better(problem: Problem, one: Fraction, other: Fraction) -> bool:
    return one <= other if problem.objective_row.maximised else one >= other


@pytest.mark.parametrize("limit", [0.0, 0.01])
def test_a_time_limit_leaves_a_true_bound(limit: float) -> None:
    feasible = 0
    for seed in SEEDS[:: 3 if limit == 0 else 6]:
        for problem in asked(seed):
            whole, short = solve(problem), solve(problem, time_limit_s=limit, top=1 + seed % 3)
            says = f"seed {seed}, {problem.objective}: {short.status}"
            if short.status == "unknown":
                assert short.exit_status == Exit.STOPPED
                assert short.to_json()["certificate"] == {}
                continue
            check = certify(written(short))
            assert check.accepted, f"{says}: {check.item}: {check.reason}"
            assert check.solver_trusted == []
            if whole.best is None or short.best is None:
                assert whole.status == short.status == "infeasible", says
                continue
            assert short.bound is not None, says
            assert no_better(problem, short.best.value, whole.best.value), says
            assert no_better(problem, whole.best.value, short.bound), says
            assert (short.status == "optimal") == (short.best.value == short.bound), says
            feasible += short.status == "feasible"
    assert feasible > 5 or limit > 0


def test_what_is_left_of_a_search_is_bounded_in_the_objectives_unit() -> None:
    """The raw bound of a search that decided nothing but one layout."""
    checked = set()
    for seed in SEEDS[::2]:
        for problem in asked(seed):
            best = Search(problem).run().best
            search = Search(problem, deadline=0.0)
            search._warm_up = lambda *_: None  # type: ignore[method-assign]
            found = search.run()
            if not best or found.bound is None:
                continue
            worst = Search(problem, wanted=1000).run().best[-1]
            bound = proved_bound(problem, Found([worst], complete=False, bound=found.bound, tally=Tally()))
            assert bound is not None
            assert no_better(problem, best[0].value, bound), f"seed {seed}, {problem.objective}: {bound}"
            checked.add(problem.objective)
    assert checked == set(OBJECTIVES)


@pytest.mark.parametrize("call", [1, 2, 3])
def test_an_interrupt_leaves_the_best_so_far_with_a_true_bound(call: int) -> None:
    stopped = 0
    for seed in SEEDS[:30]:
        problem, calls = small_problem(seed), [0]
        whole = solve(problem)

        def interrupt(_phase: str, _done: int, _of: int, calls: list[int] = calls) -> None:
            calls[0] += 1
            if calls[0] == call:
                raise KeyboardInterrupt

        result = solve(problem, progress=interrupt)
        stopped += calls[0] >= call
        if result.status == "unknown":
            continue
        check = certify(written(result))
        assert check.accepted, f"seed {seed}: {check.item}: {check.reason}"
        if whole.best is not None and result.best is not None and result.bound is not None:
            assert not better(problem, result.best.value, whole.best.value)
            assert not better(problem, whole.best.value, result.bound)
    assert stopped > 0


def test_a_second_interrupt_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def always(_search: Search) -> Found:
        raise KeyboardInterrupt

    monkeypatch.setattr(Search, "run", always)
    with pytest.raises(KeyboardInterrupt):
        solve(small_problem(0))


INTERRUPTED = """
import json, sys, time
from optimizer.solve import solve
from optimizer.readers.read import read_problem

def wait(phase, done, of):
    if phase == "layouts" and not waited:
        waited.append(True)
        print("ready", flush=True)
        time.sleep(600)

waited = []
print(json.dumps(solve(read_problem(sys.argv[1]), progress=wait).to_json()))
"""


def test_ctrl_c_gives_a_layout_and_its_bound() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(SCENARIO)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate()
    assert running.returncode == 0
    document = json.loads(out)
    assert document["status"] in ("feasible", "optimal")
    assert document["objective"]["bound"] is not None
    check = certify(document)
    assert check.accepted, f"{check.item}: {check.reason}"


def test_exit_statuses() -> None:
    statuses = {solve(small_problem(seed)).exit_status for seed in SEEDS}
    assert statuses == {Exit.YES, Exit.NO}


def test_a_list_holds_the_best_layouts_in_order() -> None:
    for seed in SEEDS[::5]:
        document = solve(small_problem(seed), top=5).to_json()
        if "top" in document:
            values = [entry["value"] for entry in document["top"]]
            assert values[0] == document["objective"]["value"]
            assert values == sorted(values, reverse=small_problem(seed).objective_row.maximised)


@pytest.mark.parametrize("tpot", [None, "1 us"])
def test_a_result_goes_to_another_process_and_back(tpot: str | None) -> None:
    asked = read_problem(
        model="qwen3-0.6b", hardware="h100-sxm-8", devices=1, isl=100, osl=10, engine="vllm", tpot=tpot
    )
    result = solve(asked)
    again = pickle.loads(pickle.dumps(result))  # noqa: S301 - our own
    assert again == result
    assert again.to_json() == result.to_json()
