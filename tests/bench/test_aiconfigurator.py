import stat
import sys
from pathlib import Path

import pytest

from optimizer.bench.baselines import aiconfigurator
from optimizer.bench.methods import Settings, peer
from optimizer.errors import StoppedError
from optimizer.readers.read import Override, read_problem
from optimizer.verify import judge_layout

ROW = {
    "tp": 2,
    "pp": 1,
    "dp": 1,
    "cp": 1,
    "moe_tp": 1,
    "moe_ep": 1,
    "bs": 32,
    "ctx_tokens": 8000,
    "tokens/s/gpu": 737.6,
}
FAKE = """#!{python}
import json, pathlib, sys
arguments = sys.argv[1:]
folder = pathlib.Path(arguments[arguments.index("--save-dir") + 1]) / "Qwen" / "run" / "agg"
pathlib.Path({seen!r}).write_text(json.dumps(arguments))
if {row!r}:
    folder.mkdir(parents=True)
    row = {row!r}
    text = ",".join(row) + "\\n" + ",".join(str(value) for value in row.values()) + "\\n"
    (folder / "best_config_topn.csv").write_text(text)
if {status!r}:
    print("09:05 [main] [E] {words}", file=sys.stderr)
    print("  sys.exit(main())", file=sys.stderr)
sys.exit({status!r})
"""


def fake(folder: Path, row: dict[str, object] | None, status: int = 0, words: str = "it broke") -> str:
    program = folder / "aiconfigurator"
    seen = str(folder / "seen.json")
    text = FAKE.format(python=sys.executable, seen=seen, row=row, status=status, words=words)
    program.write_text(text)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


PROBLEM = read_problem("qwen3-32b-h200-8")


def test_the_same_question_is_asked(tmp_path: Path) -> None:
    outcome = peer(PROBLEM, Settings(500, aiconfigurator=fake(tmp_path, ROW)))
    seen = (tmp_path / "seen.json").read_text()
    for words in (
        '"--model-path", "Qwen/Qwen3-32B-FP8"', '"--total-gpus", "8"', '"--system", "h200_sxm"', '"--isl", "4000"',
        '"--osl", "500"', '"--ttft", "1000"', '"--tpot", "20"', '"--backend", "trtllm"',
    ):  # fmt: skip
        assert words in seen
    assert outcome is not None
    assert outcome.status == "feasible"
    assert outcome.layout is not None
    assert (outcome.layout["tp"], outcome.layout["dp"], outcome.layout["devices"]) == (2, 4, 8)
    assert "737.6" in outcome.note


def test_its_answer_is_priced_as_it_stands_where_it_keeps_our_limits() -> None:
    answer = aiconfigurator.WorkerPlan(aiconfigurator.Shape(2, 1, 1, 1, 1), 2, 512, 1.0)
    pricer = aiconfigurator.BudgetedPricer(PROBLEM, 500)
    found, note = aiconfigurator.reprice(PROBLEM, pricer, answer)
    assert found is not None
    assert (found.layout.batch, found.layout.prefill_chunk) == (2, 512)
    assert "breaks" not in note


def test_its_degrees_are_given_our_batch_where_it_breaks_our_limits() -> None:
    answer = aiconfigurator.WorkerPlan(aiconfigurator.Shape(2, 1, 1, 1, 1), 4096, 8000, 1.0)
    found, note = aiconfigurator.reprice(PROBLEM, aiconfigurator.BudgetedPricer(PROBLEM, 500), answer)
    assert found is not None
    assert judge_layout(PROBLEM, found.layout).feasible
    assert found.layout.batch < 4096
    assert "batch 4096 with chunks of 8000 breaks" in note


def test_a_replica_larger_than_the_cluster_is_no_layout() -> None:
    answer = aiconfigurator.WorkerPlan(aiconfigurator.Shape(8, 1, 1, 1, 2), 1, 512, 1.0)
    found, note = aiconfigurator.reprice(PROBLEM, aiconfigurator.BudgetedPricer(PROBLEM, 500), answer)
    assert found is None
    assert "16 devices does not fit 8" in note


@pytest.mark.parametrize("status", [0, 1])
def test_nothing_found_is_an_answer(tmp_path: Path, status: int) -> None:
    program = fake(tmp_path, None, status, "model does not fit in GPU memory for any parallel config")
    outcome = peer(PROBLEM, Settings(500, aiconfigurator=program))
    assert outcome is not None
    assert (outcome.status, outcome.value) == ("unknown", None)
    assert outcome.note == "it says that nothing fits"


@pytest.mark.parametrize(
    ("row", "status", "words"),
    [
        (None, 3, r"exit status 3: .*\[E\] it broke"),
        ({"tp": 2}, 0, "not understood"),
        ({**ROW, "bs": "many"}, 0, "not understood"),
    ],
)
def test_what_goes_wrong_is_told(tmp_path: Path, row: dict[str, object] | None, status: int, words: str) -> None:
    with pytest.raises(StoppedError, match=words):
        peer(PROBLEM, Settings(500, aiconfigurator=fake(tmp_path, row, status)))


def test_a_missing_program_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match="No such file"):
        peer(PROBLEM, Settings(500, aiconfigurator=str(tmp_path / "none")))


def test_what_it_cannot_be_asked_is_left_out() -> None:
    assert aiconfigurator.question(read_problem("deepseek-v3-decode-h800-320")) is None
    assert aiconfigurator.question(read_problem("llama-3.1-8b-rtx-4090-2")) is None
    tpot = read_problem("qwen3-32b-h200-8", [Override("objective", ("objective",), "tpot")])
    assert aiconfigurator.question(tpot) is None
    assert peer(PROBLEM, Settings(500)) is None


def test_a_backend_that_lacks_the_hardware_is_not_asked(tmp_path: Path) -> None:
    program = fake(tmp_path, None, 1, "Backend trtllm is not supported for system l40s.")
    assert peer(PROBLEM, Settings(500, aiconfigurator=program)) is None
