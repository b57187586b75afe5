"""Rows of measured runs as problems and layouts that this product can price."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from optimizer.calibrate.sample import formats_of
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.layout import Layout
from optimizer.domain.model import ModelSpec
from optimizer.domain.problem import Problem
from optimizer.domain.workload import PhaseName, ServingWorkload
from optimizer.readers.document import load, parse

PROBLEMS = Path(__file__).resolve().parents[1] / "problems"

MODELS = {
    "openai/gpt-oss-120b": "gpt-oss-120b",
    "meta-llama/Llama-3.1-70B": "llama-3.1-70b",
    "LLaMA v3.1 70B": "llama-3.1-70b",
    "LLaMA v3.1 8B": "llama-3.1-8b",
    "LLaMA v3.1 405B": "llama-3.1-405b",
    "LLaMA 70B": "llama-2-70b",
    "Qwen/Qwen3-32B": "qwen3-32b",
    "Mixtral 8x7B": "mixtral-8x7b",
    "Mixtral 8x22B": "mixtral-8x22b",
    "Mistral 7B": "mistral-7b",
    "Falcon 180B": "falcon-180b",
    "deepseek-ai/DeepSeek-R1": "deepseek-v3",
    "deepseek-ai/DeepSeek-R1 (row labelled DeepSeek-V3)": "deepseek-v3",
    "MiniMaxAI/MiniMax-M2.5": "minimax-m2.5",
    "moonshotai/Kimi-K2.5": "kimi-k2.5",
    "Qwen/Qwen3-235B-A22B-FP8": "qwen3-235b-a22b-fp8",
    "Qwen/Qwen3.5-397B-A17B": "qwen3.5-397b-a17b",
}
"""Catalog model of each name in a table; DeepSeek-R1 has DeepSeek-V3's shape."""

HARDWARE = {
    "A100": "a100-sxm-8", "H100": "h100-sxm-8", "H200": "h200-sxm-8", "B200": "b200-sxm-8", "B300": "b300-sxm-8",
    "L40S": "l40s-8",
}  # fmt: skip
"""Catalog hardware of each device name's beginning."""

_NO_CONCURRENCY = re.compile(r"_c_tp\d")


@dataclass(frozen=True)
class Run:
    """One measured run.

    Attributes
    ----------
    kind
        `online`: closed loop at `concurrency` requests; `static`: one batch from start to end, prefill included;
        `queued`: all requests at once, batch chosen by the engine; `first token`: prefill of one request.
    layout
        Its batch is the concurrency, shared by the attention data-parallel ranks.
    release
        Version of the engine. Layouts are compared within one alone: the same DeepSeek layouts differ by up to 2.3
        times in TPOT between releases of TensorRT-LLM a week apart, other models' by 1%, as they would with and
        without drafted tokens, of which the sample says nothing.
    suspect
        Why the row is not to be trusted; empty where it is.
    """

    place: str
    kind: str
    model: str
    gpu: str
    engine: str
    release: str
    precision: str
    kv_cache: str
    isl: int
    osl: int
    concurrency: int
    layout: Layout
    devices: int
    ttft_s: float | None
    tpot_s: float | None
    tokens_per_s: float | None
    suspect: str

    @property
    def group(self) -> str:
        """What an error is reported by."""
        return f"{self.model} {self.precision} {self.gpu} {self.engine}"


def _kind(row: dict[str, str]) -> str:
    if row["mode"] == "prefill":
        return "first token"
    if "STATIC" in row["notes"]:
        return "static"
    return "online" if row["concurrency_or_batch"] else "queued"


def _suspect(notes: str) -> str:
    if "TOPOLOGY_SUSPECT" in notes:
        return "attention data parallelism encoded as tp x dp = n squared"
    if "BELOW_ROOFLINE" in notes:
        return "flagged by its collector as below the roofline"
    return "the row's id states no concurrency" if _NO_CONCURRENCY.search(notes) else ""


def _number(text: str, scale: float = 1.0) -> float | None:
    return float(text) * scale if text else None


def read_runs(path: Path) -> Iterator[Run]:
    """Runs of a table whose model and device are known here; the others are skipped."""
    with path.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            gpu = next((short for short in HARDWARE if row["gpu"].startswith(short)), None)
            model = MODELS.get(row["model"])
            if gpu is None or model is None:
                continue
            tp, pp, ep, dp = (int(row[axis] or 1) for axis in ("tp", "pp", "ep", "dp"))
            concurrency = int(row["concurrency_or_batch"] or 0)
            precision = row["precision_weights"].split()[0]
            yield Run(
                place=f"{path.name}:{line}",
                kind=_kind(row),
                model=model,
                gpu=gpu,
                engine=row["engine"].lower().replace("tensorrt-llm", "trtllm"),
                release=row["engine_version"],
                precision="bf16" if precision in {"unlabelled", "fp16"} else precision,
                kv_cache=row["precision_kv"],
                isl=int(row["isl"]),
                osl=int(row["osl"]),
                concurrency=concurrency,
                layout=Layout(tp=tp, dp=dp, pp=pp, etp=tp * dp // ep, ep=ep, batch=max(1, -(-concurrency // dp))),
                devices=int(row["num_gpus"]),
                ttft_s=_number(row["measured_ttft_ms"], 1e-3),
                tpot_s=_number(row["measured_tpot_ms"], 1e-3),
                tokens_per_s=_number(row["measured_output_tok_s_total"]),
                suspect=_suspect(row["notes"]),
            )


@cache
def _model(path: Path) -> ModelSpec | None:
    return parse(ModelSpec, load(path)) if path.exists() else None


@cache
def read_hardware(gpu: str) -> HardwareSpec:
    """The catalog's hardware of a device."""
    return parse(HardwareSpec, load(PROBLEMS / "hardware" / f"{HARDWARE[gpu]}.yaml"))


def problem_of(run: Run, phase: PhaseName, hardware: HardwareSpec) -> Problem | None:
    """The problem that a run answers, on that hardware; None where the catalog lacks its model."""
    model = _model(PROBLEMS / "models" / f"{run.model}.yaml")
    if model is None:
        return None
    precision = formats_of(run.precision, run.kv_cache, model, run.engine).applied_to(model.precision)
    return Problem(
        name=run.place,
        model=model.model_copy(update={"precision": precision}),
        hardware=hardware,
        devices=run.devices,
        workload=ServingWorkload(phase=phase, input_tokens=run.isl, output_tokens=run.osl),
        engine_name=run.engine,
    )
