"""Measured runs are read as they are: one's own tables, and what load generators write."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from optimizer.errors import SpecError
from optimizer.readers.cluster import read_rates
from optimizer.readers.loads import read_load
from optimizer.readers.runs import WrittenRun, read_runs
from optimizer.readers.runs.run import unserved
from optimizer.readers.servegen import read_clients
from optimizer.readers.traces import read_requests

DATA = Path(__file__).parents[1] / "data" / "runs"
HEAD = "model,engine,tp,input_tokens,output_tokens,concurrency,ttft_ms,tpot_ms"


def read(name: str) -> list[WrittenRun]:
    return read_runs([DATA / name])


def of_text(tmp_path: Path, text: str, name: str = "runs.csv") -> list[WrittenRun]:
    file = tmp_path / name
    file.write_text(text)
    return read_runs([file])


def test_a_result_of_vllm_bench_serve() -> None:
    (run,) = read("vllm_bench_serve.json")
    assert run.deployment == {"model": "meta-llama/Llama-3.1-8B-Instruct", "engine": "vllm", "tp": "1"}
    assert (run.input_tokens, run.output_tokens, run.concurrency) == (1024, 256, 32)
    assert (run.ttft_s, run.tpot_s) == (pytest.approx(0.14261), pytest.approx(0.009871))


def test_lines_of_bench_serving_and_what_speculation_spoils() -> None:
    first, second = read("sglang_bench_serving.jsonl")
    assert (first.concurrency, first.deployment, unserved(first)) == (16, {"engine": "sglang"}, "")
    assert (second.concurrency, second.requests_per_s, second.place.line) == (None, 3.995, 2)
    assert unserved(second) == "speculative decoding"


def test_summaries_of_aiperf_and_genai_perf() -> None:
    (new,), (old,) = read("profile_export_aiperf.json"), read("profile_export_genai_perf.json")
    assert new.deployment == {"model": "Qwen/Qwen3-32B"}
    assert old.deployment == {"model": "qwen3-32b", "engine": "trtllm"}
    for run in (new, old):
        assert (run.input_tokens, run.output_tokens, run.concurrency) == (1024, 256, 16)
        assert (run.ttft_s, run.tpot_s) == (pytest.approx(0.1392), pytest.approx(0.01118))


def test_what_was_printed_block_by_block() -> None:
    first, second = read("printed.log")
    assert (first.concurrency, first.input_tokens, first.output_tokens) == (96, 4096, 512)
    assert (first.ttft_s, first.tpot_s) == (pytest.approx(0.26231), pytest.approx(0.03095))
    assert (second.concurrency, second.requests_per_s, second.deployment) == (None, 3.7, {"engine": "sglang"})
    assert second.place.line == 19


def test_a_table_under_our_names_and_under_those_of_published_tables(tmp_path: Path) -> None:
    (own,) = of_text(tmp_path, f"{HEAD}\nqwen3-32b,vllm,2,1024,256,16,100,9.5\n")
    published = (
        "source,model,precision_weights,gpu,num_gpus,engine,tp,pp,ep,dp,mode,isl,osl,concurrency_or_batch,"
        "measured_ttft_ms,measured_tpot_ms,notes\n"
        "x,qwen3-32b (as labelled),fp8 (gemm=fp8),H100 SXM 80GB,2,vLLM,2,1,1,1,aggregated,1024,256,16,100,9.5,c16\n"
        "x,qwen3-32b,fp8,H100 SXM 80GB,2,vLLM,2,1,1,1,prefill,1024,256,1,100,,\n"
    )
    first, second = of_text(tmp_path, published)
    assert (first.input_tokens, first.concurrency, first.tpot_s) == (own.input_tokens, own.concurrency, own.tpot_s)
    assert (first.deployment["model"], first.deployment["precision"]) == ("qwen3-32b", "fp8")
    assert unserved(second) == "mode prefill"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("isl,osl,tptot_ms\n1,2,3\n", "runs.csv:1:3: unknown column 'tptot_ms' (did you mean 'tpot_ms'?)"),
        ("model,engine,ttft_ms\na,b,1\n", "runs.csv:1: column 'input_tokens' is missing"),
        (f"{HEAD}\nq,vllm,1,1024,256,16,0,9\n", "runs.csv:2:7: ttft_ms: must be a number above 0, not 0"),
        (f"{HEAD}\nq,vllm,1,1024,256,16,9,-1\n", "runs.csv:2:8: tpot_ms: must be a number above 0, not -1"),
        (f"{HEAD}\nq,vllm,1,1024,256,16,9,nan\n", "runs.csv:2:8: tpot_ms: must be a number above 0, not nan"),
        (f"{HEAD}\nq,vllm,1,1024,256,1.5,9,9\n", "runs.csv:2:6: concurrency: a whole number is wanted, not 1.5"),
        (f"{HEAD}\nq,vllm,1,,256,1,9,9\n", "runs.csv:2:4: input_tokens: is required but missing"),
        (f"{HEAD}\nq,vllm\n", "runs.csv:2: 2 cells under 8 columns"),
        (f"{HEAD}\n", "runs.csv:1: has no rows"),
        (f"{HEAD},tpot_ms\nq,vllm,1,1024,256,1,9,9,8\n", "runs.csv:1:9: column 'tpot_ms' stands twice"),
        ("Metric,avg,min\nTime To First Token (ms),9,9\n", "runs.csv:1: is a summary of genai-perf or AIPerf"),
        ('{"completed": 3, "total_input_tokens": 3}', "total_output_tokens: is missing or 0: not a result of"),
        ('{"completed": 3,', "not JSON"),
        ("hello\n", "neither a CSV"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        of_text(tmp_path, text)
    assert says in str(caught.value)


def test_times_of_a_log_must_be_above_zero(tmp_path: Path) -> None:
    text = (DATA / "vllm_bench_serve.json").read_text()
    for wrong in ("0", "-2.5", "NaN"):
        with pytest.raises(SpecError, match="mean_tpot_ms: must be a number above 0"):
            of_text(tmp_path, text.replace('"mean_tpot_ms": 9.871', f'"mean_tpot_ms": {wrong}'), "a.json")


LONG_CELL = "x" * 200_000


@pytest.mark.parametrize(
    ("name", "text", "reading"),
    [
        ("runs.csv", f"{HEAD}\nqwen3-32b,vllm,2,1024,256,16,100,{LONG_CELL}\n", lambda file: read_runs([file])),
        ("rates.csv", f"pool,demand,layout,devices,requests_per_s\na,b,c,2,{LONG_CELL}\n", read_rates),
        ("load.csv", f"layer,expert,load\n0,0,{LONG_CELL}\n", lambda file: read_load(file, layers=1, experts=1)),
        ("trace.csv", f"input_tokens,output_tokens\n1,{LONG_CELL}\n", lambda file: read_requests(file, Fraction(1))),
        ("chunk-0-trace.csv", f"0,0,{LONG_CELL}\n", lambda file: read_clients(file.parent)),
    ],
)
def test_a_cell_that_no_table_has_is_told_with_its_line(
    tmp_path: Path, name: str, text: str, reading: Callable[[Path], object]
) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(SpecError, match=rf"{name}:\d: is no CSV: field larger than field limit"):
        reading(file)


@pytest.mark.parametrize(
    ("name", "key", "value", "says"),
    [
        ("vllm_bench_serve.json", "mean_tpot_ms", 10**400, "mean_tpot_ms: is out of range"),
        ("vllm_bench_serve.json", "request_rate", 10**400, None),
        ("vllm_bench_serve.json", "failed", 10**400, None),
        (
            "profile_export_aiperf.json",
            "input_sequence_length",
            {"avg": 10**400},
            "input_sequence_length.avg: is out of",
        ),
        ("profile_export_aiperf.json", "input_config", {"concurrency": float("nan")}, "concurrency: must be a number"),
        ("profile_export_aiperf.json", "input_config", {"request_rate": 10**400}, "request_rate: is out of range"),
    ],
)
def test_a_number_beyond_any_is_no_traceback(
    tmp_path: Path, name: str, key: str, value: object, says: str | None
) -> None:
    text = json.dumps(json.loads((DATA / name).read_text()) | {key: value})
    if says is None:
        assert of_text(tmp_path, text, name)
        return
    with pytest.raises(SpecError, match=says):
        of_text(tmp_path, text, name)
