"""Calibration: factors that made a set of runs are found again, and what it writes is what commands then price with."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from optimizer import certify, read_problem, solve
from optimizer.calibrate import calibrate
from optimizer.calibrate.fit import LEAST_RUNS, quantiles
from optimizer.calibrate.sample import predicted, samples_of
from optimizer.cli.main import run
from optimizer.cli.schemas import schema_of
from optimizer.domain.calibration import Calibration
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.margins import SHARES, margin_of, quantile
from optimizer.errors import SpecError
from optimizer.figures.serving import evaluate
from optimizer.readers.catalog import load_hardware
from optimizer.readers.runs import WrittenRun, read_runs
from optimizer.readers.runs.run import RunPlace

TRUTH = {"memory": "1.12", "compute": "0.94", "launch": "1.25", "links": "1.1", "waiting": "1.3"}
MODEL = {"model": "llama-3.1-8b", "engine": "vllm"}
H100 = load_hardware("h100-sxm-8")
HEAD = "model,engine,tp,input_tokens,output_tokens,concurrency,ttft_ms,tpot_ms"


def group(factors: Mapping[str, str], **more: object) -> Calibration:
    fitted = {name: {"value": value, "low": value, "high": value} for name, value in factors.items()}
    own = {"engine": "vllm", "weights": "bf16", "model": "llama-3.1-8b", "runs": 9, "factors": fitted, "source": "test"}
    return Calibration.model_validate(own | more)


def machine(factors: Mapping[str, str]) -> HardwareSpec:
    return H100.model_copy(update={"calibration": (group(factors),)})


def measured(own: HardwareSpec, noise: float = 0.0) -> list[WrittenRun]:
    """Runs on a machine, as the model says they go there."""
    dice, runs = np.random.default_rng(1), []
    for tp in (1, 2, 4):
        for length in (256, 2048, 8192):
            for number in (1, 4, 16, 64):
                asked, times = MODEL | {"tp": str(tp)}, {"ttft_s": 1.0, "tpot_s": 1.0}
                # how many decode at a time hangs on the times themselves
                for _ in range(3):
                    made = WrittenRun(RunPlace("made", len(runs)), asked, length, 256, number, None, **times)
                    (sample,) = samples_of([made], {}, H100).samples
                    times = predicted(sample.on(own), sample)
                shaken = {name: time * math.exp(noise * dice.standard_normal()) for name, time in times.items()}
                runs.append(replace(made, **shaken))
    return runs


def test_factors_that_made_the_runs_are_found_again() -> None:
    found = calibrate(measured(machine(TRUTH), 0.02), {}, H100, name="mine", files="made")
    (own,) = found.groups
    assert own.calibration.runs == 36
    for name, value in TRUTH.items():
        fitted = own.calibration.factors[name]  # type: ignore[index]
        assert fitted.low < Fraction(value) < fitted.high, name
        # a ridge of one tenth pulls towards 1 what they tell little of
        assert abs(math.log(fitted.value / Fraction(value))) < 0.09, name
    for errors in own.errors.values():
        before, after, unseen, layouts = (
            errors[name] or 0 for name in ("before", "after", "run_left_out", "layout_left_out")
        )
        assert after <= unseen < 0.04 < before
        assert layouts < before / 2
    assert found.hardware.name == "mine"


def test_runs_of_the_shipped_machine_leave_it_as_it_is() -> None:
    (found,) = calibrate(measured(H100, 0.02), {}, H100, name="mine", files="made").groups
    assert all(abs(math.log(fitted.value)) < 0.02 for fitted in found.calibration.factors.values())
    assert (found.errors["tpot_s"]["run_left_out"] or 0) <= (found.errors["tpot_s"]["before"] or 0)


@pytest.mark.parametrize("name", TRUTH)
def test_each_factor_lengthens_its_own_part(name: str) -> None:
    asked = {"model": "llama-3.1-8b", "devices": 4, "engine": "vllm", "hardware": "h100-sxm-8",
             "workload": {"input_tokens": 2048, "output_tokens": 256}}  # fmt: skip
    problem = read_problem(asked)
    (sample,) = samples_of(
        [WrittenRun(RunPlace("x"), MODEL | {"tp": "4"}, 2048, 256, 64, None, 1.0, 1.0)], {}, H100
    ).samples
    layout = sample.layout
    plain = evaluate(problem, layout)
    slower = evaluate(problem.changed(hardware=machine({name: "2"})), layout)
    whole = evaluate(problem.changed(hardware=machine(dict.fromkeys(TRUTH, "2"))), layout)
    assert plain.ttft_s is not None
    assert slower.ttft_s is not None
    assert plain.tpot_s is not None
    assert slower.tpot_s is not None
    assert plain.ttft_s < slower.ttft_s <= 2 * plain.ttft_s
    if name == "waiting":
        assert slower.tpot_s == plain.tpot_s
    else:
        assert plain.tpot_s < slower.tpot_s < 2 * plain.tpot_s
    # every part twice as long: every step is, but for coefficients that are rounded up to ticks
    assert whole.tpot_s is not None
    assert abs(float(whole.tpot_s / plain.tpot_s) - 2) < 1e-9


def test_a_share_of_a_peak_ends_at_one() -> None:
    fast = machine({"memory": "0.1", "compute": "0.1"}).calibrated(group({"memory": "0.1", "compute": "0.1"}))
    assert fast.efficiency.hbm.value == fast.efficiency.compute["bf16"].value == 1


def test_the_row_that_speaks_of_a_problem_is_found() -> None:
    rows = (group({}, model="a"), group({}, model=None), group({}, engine="sglang", model="a"))
    own = H100.model_copy(update={"calibration": rows})
    assert own.calibration_of(engine="vllm", weights="bf16", model="a") is rows[0]
    assert own.calibration_of(engine="vllm", weights="bf16", model="b") is rows[1]
    assert own.calibration_of(engine="vllm", weights="fp8", model="a") is None
    assert own.calibration_of(engine="sglang", weights="bf16", model="b") is None
    # no engine is named: the one that was measured, where it is one
    assert own.calibration_of(engine="any", weights="bf16", model="b") is rows[1]
    with pytest.raises(ValueError, match="has a row before"):
        HardwareSpec.model_validate(H100.model_dump() | {"calibration": (rows[0], rows[0])})


def test_answers_on_a_calibrated_hardware_are_certified_with_its_own_margins() -> None:
    spread = {"tpot_s": ["0.9", "1", "1.05", "1.1", "1.2"], "ttft_s": ["0.9", "1", "1.1", "1.25", "1.5"]}
    own = H100.model_copy(update={"calibration": (group(TRUTH, **spread),), "name": "mine"})
    asked = {"model": "llama-3.1-8b", "devices": 2, "engine": "vllm", "hardware": own.model_dump(mode="json"),
             "workload": {"input_tokens": 512, "output_tokens": 64},
             "limits": {"ttft": "500 ms", "tpot": "20 ms", "confidence": "90%"}}  # fmt: skip
    problem = read_problem(asked)
    assert problem.sure == {"ttft": Fraction("1.25"), "tpot": Fraction("1.1")}
    assert read_problem(asked | {"engine": "any"}).sure == problem.sure
    result = solve(problem)
    shipped = solve(read_problem(asked | {"hardware": "h100-sxm-8"}))
    assert result.evaluation is not None
    assert shipped.evaluation is not None
    assert result.evaluation.throughput != shipped.evaluation.throughput
    assert certify(result).accepted
    forged = json.loads(json.dumps(result.to_json()))
    forged["problem"]["hardware"]["calibration"][0]["factors"]["memory"]["value"] = 1.5
    assert not certify(forged).accepted


def test_quantiles_lean_on_the_class_until_runs_are_many() -> None:
    shipped = margin_of(moe=False, engine="vllm").tpot_s
    narrow = [0.01 * math.sin(number) for number in range(400)]
    wide, tight = quantiles(narrow[:5], shipped), quantiles(narrow, shipped)
    assert wide[-1] > tight[-1] < Fraction("1.02")
    assert wide[-1] > 1 + (quantile(shipped, 0.95) / quantile(shipped, 0.5) - 1) / 2
    assert list(wide) == sorted(wide)
    assert len(wide) == len(SHARES)


def told(tmp_path: Path, rows: str, *more: str) -> tuple[int, Path]:
    file, out = tmp_path / "runs.csv", tmp_path / "mine.yaml"
    file.write_text(f"{HEAD}\n{rows}")
    return run(["calibrate", str(file), "--hardware", "h100-sxm-8", "--out", str(out), *more]), out


def test_the_command_writes_a_hardware_that_solve_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(
        f"llama-3.1-8b,vllm,{own.deployment['tp']},{own.input_tokens},256,{own.concurrency},"
        f"{(own.ttft_s or 0) * 1e3},{(own.tpot_s or 0) * 1e3}\n"
        for own in measured(machine(TRUTH))
    )
    code, out = told(tmp_path, rows, "--json")
    assert code == 0
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, schema_of("calibration"))
    assert found["errors"]["tpot"]["run_left_out"] < found["errors"]["tpot"]["before"]
    hardware = load_hardware(out)
    assert hardware.name == "mine"
    assert "fitted to 36 runs of runs.csv by shardproof calibrate on " in hardware.calibration[0].source
    assert hardware.model_copy(update={"name": H100.name, "calibration": ()}) == H100
    assert "# dense" in out.read_text()
    asked = ["--model", "llama-3.1-8b", "--devices", "1", "--isl", "512", "--osl", "64", "--engine", "vllm"]
    assert run(["solve", *asked, "--hardware", str(out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    jsonschema.validate(answer, schema_of("result"))
    assert answer["accuracy"]["class"] == "llama-3.1-8b in bf16 on vllm, calibrated"
    assert certify(answer).accepted
    # calibrating what is calibrated starts from the shipped factors again
    assert run(["calibrate", str(tmp_path / "runs.csv"), "--hardware", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"] == found["groups"]


def test_results_of_load_generators_with_the_deployment_by_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = []
    for number, own in enumerate(own for own in measured(machine(TRUTH)) if own.deployment["tp"] == "2"):
        log = tmp_path / f"{number}.json"
        said = {
            "backend": "openai", "model_id": "served-name", "completed": 10, "request_rate": "inf",
            "total_input_tokens": 10 * int(own.input_tokens), "total_output_tokens": 2560,
            "max_concurrency": own.concurrency, "mean_ttft_ms": (own.ttft_s or 0) * 1e3,
            "mean_tpot_ms": (own.tpot_s or 0) * 1e3,
        }  # fmt: skip
        log.write_text(json.dumps(said))
        logs.append(str(log))
    out = str(tmp_path / "mine.yaml")
    asked = ["--hardware", "h100-sxm-8", "--model", "llama-3.1-8b", "--engine", "vllm", "--tp", "2", "--out", out]
    assert run(["calibrate", *logs, *asked]) == 0
    assert "calibrated mine: 12 runs in 1 group" in capsys.readouterr().out
    own = ["--model", "llama-3.1-8b", "--devices", "1", "--isl", "512", "--osl", "64", "--hardware", out]
    assert run(["solve", *own, "--engine", "sglang"]) == 0
    assert "as shipped: mine is calibrated for llama-3.1-8b in bf16 on vllm" in capsys.readouterr().out


GOOD = "llama-3.1-8b,vllm,1,512,64,4,60,9\n"


@pytest.mark.parametrize(
    ("rows", "more", "says"),
    [
        ("llama-3.1-9b,vllm,1,512,64,4,60,9\n", (), "runs.csv:2:1: model: 'llama-3.1-9b' is no model"),
        ("llama-3.1-8b,vlm,1,512,64,4,60,9\n", (), "runs.csv:2:2: engine:"),
        ("llama-3.1-9b,vllm,1,512,64,4,60,9\n" * 3, (), "(and 2 more runs)"),
        (GOOD, ("--precision", "fp9"), "precision: 'fp9' is no format of weights"),
        (GOOD, ("--dp", "x"), "dp: a whole number is wanted, not 'x'"),
        (GOOD, ("--convention", "vllmm"), "convention"),
        ("llama-3.1-405b,vllm,1,512,64,4,60,9\n", (), "tp: 815.3 GB on a device of 85.0 GB"),
        (GOOD + GOOD, (), f"no engine, format and model has the {LEAST_RUNS} runs that a fit needs"),
        ("llama-3.1-8b,vllm,1,512,64,4,60,0.9\n", (), "runs.csv:2, a TPOT that the device's rated bandwidth"),
    ],
)
def test_bad_runs_are_told_with_their_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: str, more: tuple[str, ...], says: str
) -> None:
    code, out = told(tmp_path, rows, *more)
    assert (code, out.exists()) == (2, False)
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (HEAD.replace("concurrency", "concurency"), "runs.csv:1:6: unknown column 'concurency' (did you mean 'conc"),
        (HEAD.replace("concurrency", "users"), "runs.csv:1: column 'concurrency' or 'requests_per_s' is missing"),
        (HEAD.replace("tp,", "TP,"), "runs.csv:1:3: unknown column 'TP' (did you mean 'tp'?)"),
        (HEAD.replace("ttft_ms", "tftt_ms"), "runs.csv:1:7: unknown column 'tftt_ms' (did you mean 'ttft_ms'?)"),
        (HEAD.replace("engine", "enginee"), "runs.csv:1:2: unknown column 'enginee' (did you mean 'engine'?)"),
        (HEAD.replace("engine", "enigne"), "runs.csv:1:2: unknown column 'enigne' (did you mean 'engine'?)"),
        *(
            (HEAD.replace("tp,", f"{slip},"), f"runs.csv:1:3: unknown column '{slip}' (did you mean 'tp'?)")
            for slip in ("tpp", "ttp", "TP", "t_p")
        ),
        (HEAD.replace("tp,", "ddp,"), "runs.csv:1:3: unknown column 'ddp' (did you mean 'dp'?)"),
        (HEAD.replace("model", "mdoel"), "runs.csv:1:1: unknown column 'mdoel' (did you mean 'model'?)"),
    ],
)
def test_a_misspelt_column_is_told_where_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], head: str, says: str
) -> None:
    file = tmp_path / "runs.csv"
    file.write_text(f"{head}\n{GOOD * 6}")
    assert run(["calibrate", str(file), "--hardware", "h100-sxm-8"]) == 2
    assert says in capsys.readouterr().err
    # Other columns are the table's own, also such as resemble one of ours, and degrees go by the engines' names.
    file.write_text(f"{HEAD.replace('tp,', 'tensor_parallel_size,')},ttft_p99_ms,tpot_p90_ms,note,rank,mtp,pd,p\n"
                    "llama-3.1-8b,vllm,2,512,64,4,60,9,70,11,x,5,0,1,9\n")  # fmt: skip
    (found,) = read_runs([str(file)])
    assert found.deployment["tp"] == "2"
    assert found.place.left_out == ("ttft_p99_ms", "tpot_p90_ms", "note", "rank", "mtp", "pd", "p")


def test_an_unknown_model_is_named_where_the_run_is_set_aside_for_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = told(tmp_path, "llama-3.1-9b,vllm,1,512,64,,60,9\n")
    assert code == 2
    assert "runs.csv:2:1: model: 'llama-3.1-9b' is no model" in capsys.readouterr().err
    code, _ = told(tmp_path, GOOD + "llama-3.1-8b,vllm,1,512,64,,60,9\n" * 2)
    assert code == 2
    assert "runs.csv:3, neither a concurrency nor a rate: 2" in capsys.readouterr().err
    other = WrittenRun(RunPlace("t", 5), {"model": "llama-9", "gpu": "H200 SXM 141GB"}, 512, 64, 4, None, 0.05, 0.01)
    found = samples_of([other], {}, H100)
    assert list(found.set_aside) == ["on H200 SXM 141GB, of 'llama-9', which is no model"]
    assert str(found.first[next(iter(found.set_aside))]) == "t:5"


def test_a_layout_that_is_not_of_its_devices_is_refused() -> None:
    own = WrittenRun(
        RunPlace("a.csv", 7, {"devices": 3}), MODEL | {"tp": "2", "devices": "4"}, 512, 64, 4, None, 1.0, 1.0
    )
    with pytest.raises(SpecError, match=r"a.csv:7:3: devices: is 4, but the degrees give 2"):
        samples_of([own], {}, H100)
    missing = WrittenRun(RunPlace("log.json"), {}, 512, 64, 4, None, 1.0, 1.0)
    with pytest.raises(SpecError, match=r"'model' is not said: give --model"):
        samples_of([missing], {}, H100)
    assert samples_of([missing], MODEL, H100).samples


def test_runs_of_another_device_are_set_aside() -> None:
    rows = [
        WrittenRun(RunPlace("t", n), MODEL | {"gpu": gpu}, 512, 64, 4, None, 0.05 + n / 100, 0.01)
        for n, gpu in enumerate(("H100 SXM 80GB", "H100 80GB HBM3", "NVIDIA H100", "H200 SXM 141GB", "H100 PCIe"))
    ]
    found = samples_of(rows, {}, H100)
    assert [own.place.line for own in found.samples] == [0, 1, 2]
    assert found.set_aside == {"on H200 SXM 141GB": 1, "on H100 PCIe": 1}
