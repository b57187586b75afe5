"""Disaggregated fleets of AIConfigurator beside ours: its workers, priced by us, and the best fleet that `solve` finds.

Its answers stand in ``data/aiconfigurator_fleets.csv``, a row a case, so that the comparison runs without it;
``python -m benchmarks.disaggregated --ask PROGRAM`` asks a program of version 0.12 anew and writes them. Each row is
judged by `verify` as a fleet that a person proposes: once at the batches that it names, once with its degrees and
counts at the batch and chunk that serve most by our figures. Beside it stands the answer of `solve` on the same
devices, under the same limits.

Cases: the examples of its README, CLI guide, deployment guide and generator overview (ai-dynamo/aiconfigurator
095f58a, Apache-2.0), then three larger models.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optimizer
from benchmarks import table
from optimizer.bench.baselines.aiconfigurator import BACKENDS, MODELS, SYSTEMS
from optimizer.cluster.columns import columns_of
from optimizer.domain.cluster import Cluster, ReplicaRole
from optimizer.readers.cluster import cluster_in
from optimizer.readers.document import load_text

FILE = Path(__file__).parent / "data" / "aiconfigurator_fleets.csv"
HARDWARE, POOL, DEMAND = "h200-sxm-8", "h200", "chat"
LIMIT_S = 120
"""Seconds that `solve` may take for a case."""
PATIENCE_S = 600
DEGREES = ("tp", "pp", "dp", "moe_tp", "moe_ep", "cp")
ROLES: Mapping[ReplicaRole, str] = {"prefill": "(p)", "decode": "(d)"}


@dataclass(frozen=True)
class Case:
    """A question: tokens, the cached part of a prompt, limits in ms."""

    name: str
    model: str
    weights: str
    devices: int
    engine: str
    input_tokens: int
    output_tokens: int
    prefix: int
    ttft_ms: int
    tpot_ms: int


CASES = (
    Case("README", "qwen3-32b", "fp8_block", 32, "trtllm", 4000, 500, 500, 300, 10),
    Case("README, long prompts", "qwen3-32b", "fp8_block", 32, "trtllm", 8000, 200, 500, 200, 10),
    Case("CLI guide", "qwen3-32b", "fp8_block", 32, "trtllm", 3000, 512, 0, 1000, 10),
    Case("CLI guide, end to end", "qwen3-32b", "fp8_block", 8, "trtllm", 4000, 500, 0, 600, 50),
    Case("deployment guide", "qwen3-32b", "bf16", 16, "trtllm", 5000, 1000, 0, 2000, 50),
    Case("deployment guide, tight", "qwen3-32b", "bf16", 16, "trtllm", 5000, 1000, 0, 200, 8),
    Case("generator overview", "qwen3-32b", "fp8_block", 8, "sglang", 5000, 1000, 0, 2000, 50),
    Case("generator overview, llm-d", "qwen3-32b", "bf16", 32, "vllm", 5000, 1000, 0, 2000, 50),
    Case("Llama-3.1-70B", "llama-3.1-70b", "bf16", 16, "trtllm", 4000, 1000, 0, 2000, 40),
    Case("Qwen3-235B", "qwen3-235b-a22b", "fp8_block", 32, "trtllm", 4000, 1000, 0, 2000, 30),
    Case("DeepSeek-V3", "deepseek-v3", "fp8_block", 64, "sglang", 4000, 1000, 0, 3000, 50),
)

Row = Mapping[str, str]


def ask(case: Case, program: str) -> dict[str, str]:
    """Its best disaggregated answer, by the columns of its own table; empty values where it finds none."""
    with tempfile.TemporaryDirectory(prefix="shardproof-") as folder:
        command = [
            program, "cli", "default", "--serving-mode", "disagg", "--top-n", "1", "--no-color", "--save-dir", folder,
            "--model-path", MODELS[case.model, case.weights], "--system", SYSTEMS[HARDWARE],
            "--backend", BACKENDS[case.engine], "--total-gpus", str(case.devices), "--isl", str(case.input_tokens),
            "--osl", str(case.output_tokens), "--prefix", str(case.prefix), "--ttft", str(case.ttft_ms),
            "--tpot", str(case.tpot_ms),
        ]  # fmt: skip
        subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False)
        file = next(iter(Path(folder).rglob("best_config_topn.csv")), None)
        if file is None:
            return {}
        with file.open(encoding="utf-8", newline="") as text:
            return next(csv.DictReader(text), {})


def columns() -> list[str]:
    """What is kept of its table."""
    parts = [f"{side}{key}" for side in ROLES.values() for key in ("workers", "bs", *DEGREES)]
    return [
        "case", "version", "database", "num_total_gpus", "tokens/s/gpu", "seq/s", "ttft", "tpot", "(p)kvcache", *parts,
    ]  # fmt: skip


def record(program: str) -> None:
    """Ask every case and write the rows."""
    told = subprocess.run([program, "version"], capture_output=True, text=True, check=False)
    version = next((word for word in told.stdout.split() if word[:1].isdigit()), "")
    with FILE.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, columns(), extrasaction="ignore", restval="", lineterminator="\n")
        writer.writeheader()
        for case in CASES:
            found = ask(case, program)
            writer.writerow({**found, "case": case.name, "version": version, "database": found.get("(p)version", "")})


def rows() -> dict[str, Row]:
    """The recorded answers, by case."""
    return {row["case"]: row for row in table(FILE.name)}


def problem_of(case: Case, row: Row) -> dict[str, Any]:
    """The cluster file of a case; the cache in the precision that the answer counts with."""
    kept = row["(p)kvcache"] or ("bf16" if case.weights == "bf16" else "fp8")
    return {
        "name": case.name, "pools": {POOL: {"hardware": HARDWARE, "devices": case.devices}},
        "demands": {
            DEMAND: {
                "model": case.model, "engine": case.engine,
                "precision": {"weights": case.weights, "kv_cache": {"bfloat16": "bf16"}.get(kept, kept)},
                "workload": {
                    "phase": "disaggregated", "input_tokens": case.input_tokens, "output_tokens": case.output_tokens,
                    "prefix_cache_hit": f"{case.prefix}/{case.input_tokens}",
                },
                # kept by predictions, as the other side's are
                "limits": {"ttft": f"{case.ttft_ms} ms", "tpot": f"{case.tpot_ms} ms", "confidence": "none"},
            }
        },
        "replica_devices": case.devices, "objective": "throughput",
    }  # fmt: skip


def degrees_of(case: Case, row: Row, role: ReplicaRole) -> dict[str, int]:
    """A worker's degrees in our words: its data parallelism is that of attention."""
    count = {name: int(float(row.get(f"{ROLES[role]}{name}") or 1)) for name in DEGREES}
    own = {"tp": count["tp"], "cp": count["cp"], "dp": count["dp"], "pp": count["pp"]}
    dense = case.model in {"qwen3-32b", "llama-3.1-70b"}
    return own if dense else own | {"etp": count["moe_tp"], "ep": count["moe_ep"]}


def fleet_of(case: Case, row: Row, layouts: Mapping[ReplicaRole, Mapping[str, int]]) -> dict[str, Any]:
    """The fleet file of its answer: as many of its replicas as the devices hold."""
    held = case.devices // int(row["num_total_gpus"])
    return {
        "problem": problem_of(case, row),
        "fleet": {
            "replicas": [
                {
                    "demand": DEMAND, "role": role, "pool": POOL, "layout": dict(layouts[role]),
                    "count": held * int(row[f"{side}workers"]),
                }
                for role, side in ROLES.items()
            ]
        },
    }  # fmt: skip


def named_layouts(case: Case, row: Row) -> dict[ReplicaRole, dict[str, int]]:
    """Its degrees at its own batches; a prompt is computed in one step, without the part that is cached."""
    return {
        role: degrees_of(case, row, role) | {"batch": int(row[f"{side}bs"]), "prefill_chunk": case.input_tokens}
        for role, side in ROLES.items()
    }


def best_layouts(case: Case, row: Row) -> dict[ReplicaRole, dict[str, int]]:
    """Its degrees at the batch and chunk that serve most here."""
    found = {}
    for role in ROLES:
        problem = problem_of(case, row)
        own = degrees_of(case, row, role)
        problem["demands"][DEMAND]["search"] = {axis: [value] for axis, value in own.items()}
        cluster = cluster_in(load_text(json.dumps(problem), "<values>"))
        known = [column for column in columns_of(cluster).listed if column.role == role]
        best = max(known, key=lambda column: column.requests_per_s, default=None)
        if best is None or best.priced is None:
            return named_layouts(case, row)
        found[role] = own | {"batch": best.priced.batch}
        if best.priced.prefill_chunk is not None:
            found[role]["prefill_chunk"] = best.priced.prefill_chunk
    return found


@dataclass(frozen=True)
class Compared:
    """Tokens/s and device of its own estimate, of its workers priced by us, and of our fleet; None where none is."""

    case: Case
    its_fleet: str
    its_estimate: float | None
    as_named: float | None
    as_best: float | None
    ours: float | None
    our_fleet: str
    wall_s: float


def compare(case: Case, row: Row) -> Compared:
    """Both answers by one pricing."""
    found: list[float | None] = [None, None]
    told, text = None, "nothing fits"
    if row["num_total_gpus"]:
        told = float(row["tokens/s/gpu"]) * _used(case, row) / case.devices
        text = " + ".join(
            f"{case.devices // int(row['num_total_gpus']) * int(row[f'{side}workers'])}{role[0].upper()} "
            f"{_short(degrees_of(case, row, role))}"
            for role, side in ROLES.items()
        )
        found = [_served(case, row, own) for own in (named_layouts(case, row), best_layouts(case, row))]
    cluster: Cluster = cluster_in(load_text(json.dumps(problem_of(case, row)), "<values>"))
    began = time.perf_counter()
    result = optimizer.solve(cluster, time_limit_s=LIMIT_S)
    wall_s = time.perf_counter() - began
    document = result.to_json()
    value = document["objective"]["value"]
    fleet = " + ".join(
        f"{own['count']}{own['role'][0].upper()} {_short(own['layout'])}"
        for own in (document["fleet"] or {"replicas": []})["replicas"]
    )
    ours = None if value is None else value / case.devices
    return Compared(case, text, told, found[0], found[1], ours, fleet or "nothing fits", wall_s)


def _used(case: Case, row: Row) -> int:
    each = int(row["num_total_gpus"])
    return case.devices // each * each


def _served(case: Case, row: Row, layouts: Mapping[ReplicaRole, Mapping[str, int]]) -> float:
    """Output tokens/s and device that `verify` finds the fleet to serve within the limits."""
    judged = optimizer.verify(fleet_of(case, row, layouts))
    return float(judged.to_json()["figures"]["throughput"]) / case.devices


def _short(degrees: Mapping[str, Any]) -> str:
    axes = [f"{axis}{degrees[axis]}" for axis in ("tp", "cp", "dp", "pp", "etp", "ep") if degrees.get(axis, 1) > 1]
    return "".join(axes) or "tp1"


def main() -> None:
    """One line for each case."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--ask", metavar="PROGRAM", help="ask this aiconfigurator anew and record its answers")
    parser.add_argument("cases", nargs="*", help="names of cases; all otherwise")
    options = parser.parse_args()
    if options.ask:
        record(options.ask)
    titles = [
        "case", "devices", "its fleet", "its estimate", "its workers here, its batches", "the same, best batches",
        "our fleet", "ours", "ours ÷ its best", "solve",
    ]  # fmt: skip
    print("| " + " | ".join(titles) + " |")
    print("| --- | --: | --- | --: | --: | --: | --- | --: | --: | --: |")
    recorded = rows()
    for case in CASES:
        if options.cases and case.name not in options.cases:
            continue
        own = compare(case, recorded[case.name])
        its = max(own.as_named or 0, own.as_best or 0)
        ratio = f"{own.ours / its:.2f}" if its and own.ours else ""
        figures = [_text(own.its_estimate), _text(own.as_named), _text(own.as_best)]
        cells = [case.name, str(case.devices), own.its_fleet, *figures, own.our_fleet]
        cells += [_text(own.ours), ratio, f"{own.wall_s:.1f} s"]
        print("| " + " | ".join(cells) + " |", flush=True)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


if __name__ == "__main__":
    sys.exit(main())
