"""Rows of measured runs as problems and layouts that this product can price."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
_MEASURED = re.compile(r"(?:date=|measured )(\d{4}-\d\d-\d\d)")


@dataclass(frozen=True)
class Aside:
    """Runs of InferenceX that are not what a row of the sample says; its configurations say so.

    Attributes
    ----------
    why
        What they are.
    model, gpus, engine, release
        Which runs; no device: any.
    measured
        Days on which they were measured; empty: any.
    degrees
        tp and ep that they alone have; None: any.
    above
        Requests in flight that the runs without drafting do not exceed.
    dumped
        Whether those of the dump of the database, which has no run that drafted, are among them.
    source
        What says so; names are those of configurations of `SemiAnalysisAI/InferenceX`.
    """

    why: str
    model: str
    gpus: tuple[str, ...]
    engine: str
    release: str
    source: str
    measured: tuple[str, ...] = ()
    degrees: tuple[int, int] | None = None
    above: int = 0
    dumped: bool = False

    def meets(self, run: Run, notes: str) -> bool:
        """Whether a run is one of them."""
        day = _MEASURED.search(notes)
        return (
            (run.model, run.engine, run.release) == (self.model, self.engine, self.release)
            and (not self.gpus or run.gpu in self.gpus)
            and (not self.measured or (day is not None and day[1] in self.measured))
            and self.degrees in (None, (run.layout.tp, run.layout.ep))
            and run.concurrency > self.above
            and (self.dumped or _NUMBERED not in notes)
        )


_NUMBERED, _LABORATORY = "_cfg", "_epnone_"
"""What tells the identifiers of a dump of the database, and of runs that NVIDIA made itself, from the others."""
_DRAFTED = "may have drafted tokens"
ASIDE = (
    Aside(_DRAFTED, "deepseek-v3", (), "trtllm", "1.2.0rc6.post3",
          "dsr1-fp4-b200-trt-mtp, dsr1-fp8-b200-trt-mtp (2026-02-06)"),
    Aside(_DRAFTED, "deepseek-v3", (), "trtllm", "1.1.0rc2.post2",
          "the same and dsr1-fp8-h200-trt-mtp, begun on 2026-01-14", measured=("2026-01-14",)),
    Aside(_DRAFTED, "deepseek-v3", ("H200",), "trtllm", "1.1.0rc2.post2",
          "dsr1-fp8-h200-trt-mtp; without drafting up to 64", measured=("2026-01-28",), above=64),
    Aside(_DRAFTED, "deepseek-v3", ("B200",), "sglang", "0.5.9",
          "dsr1-fp8-b200-sglang and dsr1-fp8-b200-sglang-mtp, both", degrees=(8, 1)),
    Aside(_DRAFTED, "qwen3.5-397b-a17b", ("B200", "B300"), "sglang", "0.5.9",
          "qwen3.5-fp8-b200-sglang-mtp; without drafting tp 4 has ep 4", degrees=(4, 1)),
    Aside("a sweep whose first wave seems to have waited for about a minute", "deepseek-v3", ("B200",), "sglang", "",
          "dsr1-fp4-b200-sglang: mean TTFT 5.5 to 12 s with 4 as with 128 requests in flight, 0.2 to 1.6 s on 0.5.9; a "
          "tenth of the requests is the first wave", measured=("2025-11-10",), dumped=True),
)  # fmt: skip
_POLLED = {"deepseek-v3": "B200"}
"""Models and devices whose launches give SGLang's --scheduler-recv-interval, which is 1 by default: 30, but 10 below 16
requests in flight and with tp 4 in FP8 (InferenceX benchmarks/single_node/dsr1_fp4_b200.sh, dsr1_fp8_b200.sh)."""


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
        Version of the engine. Layouts are compared within one alone.
    polls
        Steps between two looks of the engine for new requests.
    waves
        Whether requests that start together end together: of equal lengths, in an engine that runs prompts first.
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
    polls: int = 1
    waves: bool = False
    suspect: str = ""

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


def _suspect(run: Run, notes: str) -> str:
    layout = run.layout
    # InferenceX spreads experts over all devices or none, attention data parallelism alike; two dumps multiply the two
    launched = layout.ep in (1, run.devices) and 1 in (layout.tp, layout.dp)
    if "TOPOLOGY_SUSPECT" in notes or ("id=" in notes and _LABORATORY not in notes and not launched):
        return "tp x dp = n squared: devices multiplied by EP"
    if "BELOW_ROOFLINE" in notes:
        return "flagged by its collector as below the roofline"
    found = next((aside.why for aside in ASIDE if aside.meets(run, notes)), None)
    if found is not None:
        return found
    return "the row's id states no concurrency" if _NO_CONCURRENCY.search(notes) else ""


def _polls(run: Run) -> int:
    if run.engine != "sglang" or _POLLED.get(run.model) != run.gpu:
        return 1
    return 10 if run.concurrency < 16 or (run.precision, run.layout.tp) == ("fp8", 4) else 30


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
            run = Run(
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
            )
            told = row["notes"]
            waves = run.engine == "sglang" and _LABORATORY in told
            yield replace(run, suspect=_suspect(run, told), polls=_polls(run), waves=waves)


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
