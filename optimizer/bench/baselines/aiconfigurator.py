"""AIConfigurator (PyPI `aiconfigurator`, NVIDIA, Apache-2.0) as a subprocess: same model, hardware and limits.

Its answer is read from ``best_config_topn.csv`` (columns of version 0.12) and priced by our reference at the batch and
chunk it names; where that breaks one of our constraints, at its degrees with the best batch and chunk we can find.
"""

from __future__ import annotations

import csv
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from optimizer.bench.pricing import BudgetedPricer, PricedLayout, better, layout_of
from optimizer.domain.lattice import axes
from optimizer.domain.problem import Problem
from optimizer.domain.shape import Shape
from optimizer.domain.workload import ServingWorkload
from optimizer.errors import StoppedError

MODELS: Final = {
    ("deepseek-v3", "fp8_block"): "deepseek-ai/DeepSeek-V3",
    ("llama-3.1-8b", "bf16"): "meta-llama/Meta-Llama-3.1-8B",
    ("llama-3.1-70b", "bf16"): "meta-llama/Meta-Llama-3.1-70B",
    ("llama-3.1-70b", "fp8"): "nvidia/Llama-3.1-70B-Instruct-FP8",
    ("llama-3.1-405b", "bf16"): "meta-llama/Meta-Llama-3.1-405B",
    ("qwen3-32b", "bf16"): "Qwen/Qwen3-32B",
    ("qwen3-32b", "fp8_block"): "Qwen/Qwen3-32B-FP8",
    ("qwen3-235b-a22b", "bf16"): "Qwen/Qwen3-235B-A22B",
    ("qwen3-235b-a22b", "fp8_block"): "Qwen/Qwen3-235B-A22B-FP8",
    ("gpt-oss-120b", "mxfp4"): "openai/gpt-oss-120b",
}
"""Model path by our catalog name and weight format; those that version 0.12 knows without a network."""
SYSTEMS: Final = {
    "h100-sxm-8": "h100_sxm",
    "h200-sxm-8": "h200_sxm",
    "b200-sxm-8": "b200_sxm",
    "b300-sxm-8": "b300_sxm",
    "gb200-nvl72": "gb200",
    "gb300-nvl72": "gb300",
    "a100-sxm-8": "a100_sxm",
    "l40s-8": "l40s",
}
"""Its systems by our hardware names."""
BACKENDS: Final = {"vllm": "vllm", "sglang": "sglang", "trtllm": "trtllm", "any": "trtllm"}
"""Its backends by our engines; `trtllm` is its own default."""
_COLUMNS: Final = ("tp", "cp", "pp", "moe_tp", "moe_ep", "bs", "ctx_tokens")
NOTHING_FITS: Final = ("does not fit in GPU memory", "No successful experiment runs to compare")
"""What it says where it finds no layout; its exit status is 1 then, as for any other failure."""
_CANNOT: Final = ("is not supported for system", "is not a valid HuggingFace model path")
_TELLING: Final = ("[E]", "error:", "Error")
_OBJECTIVES: Final = ("throughput_per_device", "throughput")


class NotAskable(Exception):  # noqa: N818 - an answer, no error
    """It does not have the model, or its backend not the hardware."""


@dataclass(frozen=True, slots=True)
class CommandArguments:
    """Arguments for its command line."""

    arguments: tuple[str, ...]


def question(problem: Problem) -> CommandArguments | None:
    """The same question in its words; None where it cannot be asked: phase, objective, model or hardware."""
    work, limits = problem.workload, problem.limits
    model = MODELS.get((problem.model.name, str(problem.precision.weights)))
    system = SYSTEMS.get(problem.hardware.name)
    if not isinstance(work, ServingWorkload):
        return None
    askable = work.mixes and problem.objective in _OBJECTIVES and not work.mtp_tokens
    if model is None or system is None or not askable or problem.engine_name not in BACKENDS:
        return None
    command = [
        "cli", "default", "--model-path", model, "--total-gpus", str(problem.devices), "--system", system,
        "--backend", BACKENDS[problem.engine_name], "--serving-mode", "agg", "--top-n", "1", "--no-color",
        "--isl", str(work.input_tokens), "--osl", str(work.output_tokens),
    ]  # fmt: skip
    if limits.ttft is not None:
        command += ["--ttft", f"{float(limits.ttft * 1000):g}"]
    if limits.tpot is not None:
        command += ["--tpot", f"{float(limits.tpot * 1000):g}"]
    if work.prefix_cache_hit:
        command += ["--prefix", str(work.input_tokens - work.computed_input_tokens)]
    return CommandArguments(tuple(command))


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """A worker's degrees and operating point, and its own estimate."""

    shape: Shape
    batch: int
    chunk: int
    tokens_per_s_per_device: float


def read_answer(folder: Path) -> WorkerPlan | None:
    """The first row of the configurations it saved; None where it found nothing."""
    file = next(iter(sorted(folder.rglob("best_config_topn.csv"))), None)
    if file is None:
        return None
    with file.open(encoding="utf-8", newline="") as text:
        row = next(csv.DictReader(text), None)
    if row is None:
        return None
    try:
        count = {name: int(float(row[name] or 1)) for name in _COLUMNS}
        estimate = float(row["tokens/s/gpu"])
    except (KeyError, ValueError) as error:
        raise StoppedError(f"aiconfigurator: {file.name} is not understood: {error}") from None
    shape = Shape(count["tp"], count["cp"], count["moe_tp"], count["moe_ep"], count["pp"])
    return WorkerPlan(shape, count["bs"], max(count["ctx_tokens"], 1), estimate)


def ask(question: CommandArguments, program: str, patience_s: float) -> tuple[WorkerPlan | None, float]:
    """Run the program; its answer and how long the whole process took, in s.

    Raises
    ------
    NotAskable
        It does not have the model or the hardware.
    StoppedError
        The program cannot be run, or runs too long.
    """
    with tempfile.TemporaryDirectory(prefix="shardproof-") as folder:
        begun = time.perf_counter()
        try:
            done = subprocess.run(  # noqa: S603 - a program that the user names, no shell
                [program, *question.arguments, "--save-dir", folder],
                capture_output=True, text=True, timeout=patience_s, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StoppedError(f"aiconfigurator: {error}") from None
        wall_s = time.perf_counter() - begun
        answer = read_answer(Path(folder))
        if answer is None and done.returncode:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            if any(word in line for line in lines for word in _CANNOT):
                raise NotAskable
            if not any(words in line for line in lines for words in NOTHING_FITS):
                telling = next(
                    (line for line in lines if any(word in line for word in _TELLING)), lines[-1] if lines else ""
                )
                raise StoppedError(f"aiconfigurator: exit status {done.returncode}: {telling.strip()}")
        return answer, wall_s


def reprice(problem: Problem, pricer: BudgetedPricer, answer: WorkerPlan) -> tuple[PricedLayout | None, str]:
    """The answer under our figures, and what had to be changed for it to keep our constraints."""
    shape = answer.shape
    replicas = pricer.replicas(shape)
    if not replicas:
        return None, f"its replica of {shape.devices} devices does not fit {problem.devices}"
    layout = layout_of(problem, shape, replicas, answer.chunk, answer.batch)
    estimate = f"its own estimate: {answer.tokens_per_s_per_device:g} tokens/s and device"
    if pricer.valid(layout):
        priced, families = pricer.price(layout)
        if priced is not None:
            return priced, estimate
    else:
        families = {"structure"}
    best: PricedLayout | None = None
    for chunk in axes(problem).chunks:
        candidate = layout_of(problem, shape, replicas, chunk)
        priced = pricer.best_batch(candidate) if pricer.valid(candidate) else None
        if priced is not None and better(problem, priced, best):
            best = priced
    changed = f"batch {answer.batch} with chunks of {answer.chunk} breaks {', '.join(sorted(families))} here"
    return best, f"{estimate}; {changed}" + ("; its degrees with our batch" if best else "")


def propose(
    problem: Problem, pricer: BudgetedPricer, question: CommandArguments, program: str, patience_s: float
) -> tuple[PricedLayout | None, str, float]:
    """Its answer under our figures, a note, and the seconds it took."""
    answer, wall_s = ask(question, program, patience_s)
    if answer is None:
        return None, "it says that nothing fits", wall_s
    priced, note = reprice(problem, pricer, answer)
    return priced, note, wall_s
