"""One problem of a sweep, from its question to its row; what goes wrong with it is its answer."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from pydantic import ValidationError

from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.limit_table import check_bounds
from optimizer.domain.model import ModelSpec
from optimizer.domain.problem import Problem, ProblemFile, resolve
from optimizer.errors import ShardproofError
from optimizer.readers import catalog
from optimizer.readers.document import load_text
from optimizer.readers.read import Override, problem_in, read_problem

COLUMNS: Final[dict[str, type]] = {
    "digest": str, "status": str, "objective": str, "value": float, "bound": float, "gap": float,
    "tp": int, "cp": int, "dp": int, "pp": int, "etp": int, "ep": int, "edp": int, "used_devices": int, "replicas": int,
    "batch": int, "prefill_chunk": int, "overlap": str, "stages": str, "memory_bytes": int, "memory_utilization": float,
    "ttft_s": float, "tpot_s": float, "throughput_tokens_per_s": float, "throughput_per_device_tokens_per_s": float,
    "request_capacity_per_s": float, "candidates": int, "certificate": str, "error": str,
}  # fmt: skip
"""Columns of the table after those of the axes, and what they hold; nothing in them depends on the machine."""

ANSWERED: Final = frozenset({"optimal", "feasible", "infeasible", "unknown"})
"""Status of rows that hold an answer; the others are `error` (a wrong question) and `failed`."""


@dataclass(frozen=True)
class Task:
    """What a worker is sent."""

    index: int
    key: str
    question: Mapping[str, Any]
    time_limit_s: float | None = None
    check: bool = False


@dataclass(frozen=True)
class Answer:
    """What a worker sends back: a value for each of `COLUMNS`, and the seconds it took."""

    index: int
    key: str
    row: dict[str, Any]
    wall_s: float = 0.0


def failed(task: Task, status: str, message: str) -> Answer:
    """The answer to a task that could not be answered."""
    return Answer(task.index, task.key, dict.fromkeys(COLUMNS) | {"status": status, "error": message})


@lru_cache(maxsize=64)
def _model(name: str) -> ModelSpec:
    return catalog.load_model(name)


@lru_cache(maxsize=64)
def _hardware(name: str) -> HardwareSpec:
    return catalog.load_hardware(name)


def read_question(question: Mapping[str, Any]) -> Problem:
    """The problem; models and hardware of the catalog are read once in each process.

    Raises
    ------
    SpecError
        The question is wrong.
    """
    model, hardware = question.get("model"), question.get("hardware")
    if isinstance(model, str) and isinstance(hardware, str) and "experts" not in question:
        try:
            problem = resolve(ProblemFile.model_validate(dict(question)), _model(model), _hardware(hardware))
            check_bounds(problem)
        except (ValidationError, ValueError):
            # The slow way says what is wrong in the words of every other command.
            pass
        else:
            return problem
    if isinstance(model, Mapping) or isinstance(hardware, Mapping):
        return problem_in(load_text(json.dumps(dict(question), default=str), "grid"))
    return read_problem(None, [Override(key, (key,), value) for key, value in question.items()])


def _row(document: Mapping[str, Any], problem: Problem) -> dict[str, Any]:
    objective, layout, figures = document["objective"], document["layout"] or {}, document["figures"] or {}
    stages = layout.get("stages")
    return dict.fromkeys(COLUMNS) | {
        "digest": problem.digest,
        "status": document["status"],
        "objective": objective["name"],
        "value": objective["value"],
        "bound": objective["bound"],
        "gap": objective["gap"],
        "candidates": document["search"]["candidates"],
        "used_devices": layout.get("devices"),
        "stages": None if stages is None else " ".join(str(stage["layers"]) for stage in stages),
        "memory_utilization": figures.get("utilization", {}).get("memory"),
        **{name: layout.get(name) for name in ("tp", "cp", "dp", "pp", "etp", "ep", "edp", "replicas", "batch")},
        "prefill_chunk": layout.get("prefill_chunk"),
        "overlap": layout.get("overlap", "none") if layout else None,
        **{name: figures.get(name) for name in ("memory_bytes", "ttft_s", "tpot_s", "request_capacity_per_s")},
        **{name: figures.get(name) for name in COLUMNS if name.startswith("throughput")},
    }


def _answer(task: Task) -> dict[str, Any]:
    from optimizer.certificate import certify  # noqa: PLC0415 - workers load it once, others never
    from optimizer.solve import solve  # noqa: PLC0415 - the same

    problem = read_question(task.question)
    document = solve(problem, time_limit_s=task.time_limit_s).to_json()
    row = _row(document, problem)
    if task.check and document["certificate"]:
        check = certify(document)
        row["certificate"] = "accepted" if check.accepted else f"rejected: {check.item}"
    return row


def answer(task: Task) -> Answer:
    """Solve one problem; never raises on account of it."""
    begun = time.perf_counter()
    try:
        row = _answer(task)
    except ShardproofError as error:
        return failed(task, "error", str(error))
    except Exception as error:  # noqa: BLE001 - a fault in one problem must not end thousands of others
        return failed(task, "failed", f"{type(error).__name__}: {error}")
    return Answer(task.index, task.key, row, time.perf_counter() - begun)
