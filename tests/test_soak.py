"""Hostile inputs by the hundred thousand through every command's reader, in one process that may take little memory.

A few thousand of them are in the default suite; ``SHARDPROOF_SOAK`` says how many the slow test gives.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import deepcopy
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from optimizer.audit.audit import audit_document
from optimizer.bench.compare import read_records, regressions
from optimizer.bench.record import Record
from optimizer.bench.store import Store
from optimizer.calibrate.sample import samples_of
from optimizer.certificate import certify
from optimizer.cli.main import run
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.model import ModelSpec
from optimizer.errors import SpecError
from optimizer.readers import catalog
from optimizer.readers.catalog import load_hardware
from optimizer.readers.cluster import cluster_in, is_cluster, read_rates
from optimizer.readers.coactivation import read_coactivation
from optimizer.readers.document import load_text, parse
from optimizer.readers.fleet import fleet_in, is_fleet_document, unplaced
from optimizer.readers.huggingface.reader import read_document
from optimizer.readers.launch.problem import pose
from optimizer.readers.launch.read import read_launch
from optimizer.readers.lengths import read_lengths
from optimizer.readers.loads import read_load
from optimizer.readers.placement_file import placement_in
from optimizer.readers.read import Override, layout_in, problem_in
from optimizer.readers.runs import read_runs
from optimizer.sweep.answer import COLUMNS, Answer
from optimizer.sweep.grid import grid_in
from optimizer.sweep.journal import Journal
from optimizer.sweep.table import csv_text
from optimizer.units import Dimension, QuantityError, parse_quantity
from optimizer.verify.claim_table import dimensions
from optimizer.verify.launch import judge_launch
from optimizer.verify.proposed import judge_proposed, price
from optimizer.verify.verdict import judge
from tests.cluster.test_verify import CLUSTER
from tests.readers.test_recorded import safetensors

ROOT = Path(__file__).parents[1]
INPUTS = int(os.environ.get("SHARDPROOF_SOAK", "200000"))
LONGEST_S, MOST_BYTES = 5.0, 2**30
"""Seconds of the processor, so that a busy machine is no failure, and memory beside what the process held before."""
LAYOUT = """{"problem": {"model": "mixtral-8x7b", "hardware": "h100-sxm-8", "devices": 8,
 "workload": {"phase": "decode", "input_tokens": 1000, "output_tokens": 100}},
 "layout": {"convention": "folded", "tp": 2, "dp": 2, "pp": 2, "ep": 4, "batch": 16, "prefill_chunk": 512,
  "stages": [{"first_layer": 0, "layers": 16}, {"first_layer": 16, "layers": 16}]},
 "claims": {"memory": "19.2 GB", "parameters": 47e9, "ttft": "8.5 s", "memory_utilization": "30%", "experts_per_gpu": 2}
}
"""
GRID = """
problem: {workload: {input_tokens: 1000, output_tokens: 200}, hardware: h100-sxm-8}
grid: {model: [llama-3.1-8b, qwen3-32b], devices: [1, 2], limits.tpot: [20 ms, 50 ms]}
exclude: [{model: qwen3-32b, devices: 1}]
"""
LOAD_CSV = "layer,expert,load\n" + "".join(f"{i},{j},{i + j}\n" for i in range(3) for j in range(4))
RECORDS = {
    "last_physical_to_logical_map": [[0, 1, 2, 3, 0]] * 2,
    "records": [{"global_physical_count": [[1, 2, 3, 4, 5]] * 2}],
}
PLACEMENTS = (
    {"physical_to_logical_map": [[0, 1, 2, 3]] * 2},
    {"initial_global_assignments": {"0": [0, 1, 2, 3], "1": [3, 2, 1, 0]}},
    {"layer_list": [{"device_list": [{"device_expert": [0, 1]}, {"device_expert": [2, 3]}]}] * 2},
    {"layers": [{"layer": 0, "devices": [[0, 1], [2, 3]]}, {"layer": 1, "devices": [[0, 1], [2, 3]]}]},
)
CHOICES = ({"topk_ids": [[[0, 1], [2, 3]]] * 2}, {"coactivation": [[[0, 3], [3, 0]]] * 2})
RATES = """pool,demand,layout,devices,requests_per_s,role,price,power
a,chat,small,2,1.5,,,
a,code,p,4,2,prefill,3 $/h,1.1 kW
a,code,d,4,2,decode,,
b,chat,small,2,1,,,
"""
FLEET = """
problem: cluster.yaml
fleet:
  replicas:
    - {demand: chat, pool: a, layout: small, count: 6}
    - {demand: code, role: prefill, pool: a, layout: p, count: 2}
    - {demand: code, role: decode, pool: a, layout: d, count: 1,
       nodes: [[{node: 0, devices: [0, 1, 2, 3]}]]}
claims: {cost: 73 $/h, chat.capacity: 13.5, code.capacity: 7 /s, devices: 38}
"""
TRACES = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.68,374,44\r\n2023-11-16 18:16:51,396,109\r\n",
    "".join(
        f'{{"timestamp": {i}000, "input_length": 6758, "output_length": 9, "hash_ids": [0, {i}]}}\n' for i in (1, 99)
    ),
    "input_tokens,output_tokens,weight\n100,20,0.5\n2000,300,3\n",
    "input_tokens,output_tokens,arrival_s\n100,20,0.5\n2000,300,63\n",
    '{"request_id": 0, "type": "text", "input_length": 61, "output_length": 2370, "duration": 14000}\n',
    "Timestamp,Model,Request tokens,Response tokens,Total tokens\n5,ChatGPT,472,18,490\n65,x,10,0,10\n",
)
CLIENT_RATES = "0,0,0,,0,0\n600,2.0,10.4,Weibull,0.35,0.29\n1200,,,,,\n"
CLIENT_LENGTHS = {
    "0": {"input_tokens": "{}", "output_tokens": "{}"},
    "600": {"input_tokens": "{100: 0.25, 200: 0.75}", "output_tokens": "{10: 0.5, 20: 0.5}"},
}
RUNS_CSV = """model,engine,tp,input_tokens,output_tokens,concurrency,ttft_ms,tpot_ms
llama-3.1-8b,vllm,1,1024,256,16,100,9.5
llama-3.1-8b,sglang,2,1024,256,,100,
"""
RECORD = Record(
    "a", "solve", "optimal", {"name": "throughput_tokens_per_s", "value": 1.5, "bound": 1.5, "exact": "3/2"}, 0.0, 12,
    1.5, 2**28, "accepted", {"rows_priced": 12}, 0.5, {"tp": 2, "stages": [{"first_layer": 0}]}, "abc", None, "a note",
)  # fmt: skip
ROW = {"digest": "abc", "status": "optimal", "objective": "tpot_s", "value": 0.5, "gap": 0.0, "tp": 2, "stages": "0-9"}
OPTIONS = (
    "solve --model llama-3.1-8b --hardware h100-sxm-8 --devices 1 --isl 100 --osl 20 --ttft 2s --tp 1 --batch 4",
    "verify --from vllm\u00a0serve\u00a0llama-3.1-8b\u00a0-tp\u00a02 --hardware h100-sxm-8 --isl 100 --osl 20 --json",
    "catalog models llama-3.1-8b --json",
    "schema result",
)

# What a number, a text or a piece of syntax is replaced with.
NUMBERS = (
    "1e999", "1e999x", "-1", "0", "-0.0", "1e-400", "1" + "0" * 30, "9" * 500, "NaN", "Infinity", "-Infinity", ".inf",
    "1/0", "\u00b2", "1_0", "0x1F", "1.2.3", "1e", "2.5", "1000000000", "true", "null", '"1"', "1e2", "٣", "80 GB",
)  # fmt: skip
MARKS = (
    "{", "}", "[", "]", ":", ",", '"', "'", "\\", "\n", "\t", " ", "#", "&a", "*a", "<<", "---", "!!x", "|", "\x00",
    "\x1b[2J", "\ufeff", "\ud800", "\u2028", "é", "😀", "%", "$", "../", "/dev/zero", "-", "\r", "$\\frac{1}{0}$",
)  # fmt: skip


VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 3, 0.5, 10**9, 10**30, 1e300, "", "1e999999999", "1/0", "0/1", "80 GB", "-1 s", [], {}, [[]],
    [0] * 5, {"": 0}, {"a": {"b": []}}, ["x", None], "x" * 5000, "..", "\x1b[2J",
)  # fmt: skip


def mutated(text: str, rng: random.Random) -> str:
    """A text after one to four accidents."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(text) + 1)
        kind = rng.randrange(7)
        if kind == 0:
            text = text[:at] + rng.choice(MARKS) + text[at + rng.randrange(3) :]
        elif kind <= 2:
            end = at
            while end < len(text) and (text[end].isalnum() or text[end] in ".-"):
                end += 1
            start = at
            while start and (text[start - 1].isalnum() or text[start - 1] in ".-"):
                start -= 1
            text = text[:start] + rng.choice(NUMBERS) + text[end:]
        elif kind == 3:
            text = text[: at + 1] + text[at + 1 + rng.randrange(20) :]
        elif kind == 4:
            piece = text[at : at + rng.randrange(60)]
            text = text[:at] + piece * rng.choice((2, 2, 50)) + text[at:]
        elif kind == 5:
            other = rng.randrange(len(text) + 1)
            text = text[:at] + text[other : other + rng.randrange(40)] + text[at:]
        else:
            text = text[:at]
    return text


def places(data: object) -> Iterator[tuple[Any, Any]]:
    """Every container of a document with every key or index of it."""
    for key in data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ():
        yield data, key
        yield from places(data[key])  # type: ignore[index]


def rewritten(data: object, rng: random.Random) -> str:
    """A document, as JSON, after one to three values of it have become others: text that a parser takes."""
    data = deepcopy(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        found = list(places(data))
        if not found:
            break
        (inside, key), (other, its) = rng.choice(found), rng.choice(found)
        kind = rng.randrange(4)
        if kind == 0:
            del inside[key]
        elif kind == 1:
            inside[key] = deepcopy(other[its])
        elif kind == 2 and isinstance(inside[key], int | float) and not isinstance(inside[key], bool):
            inside[key] *= rng.choice((-1, 0, 2, 0.5, 10**6, 10**18))
        else:
            inside[key] = deepcopy(rng.choice(VALUES))
    return json.dumps(data)


class LateError(BaseException):
    """The processor was busy for too long with one input; no reader may take it for a fault."""


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Let this process hold so much memory more, and let a timer of the processor's time end what takes too long."""

    def late(*_: object) -> None:
        raise LateError(f"more than {LONGEST_S:g} s of the processor")

    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    memory, handler = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGPROF, late)
    resource.setrlimit(resource.RLIMIT_AS, (held + MOST_BYTES, memory[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, memory)
        signal.signal(signal.SIGPROF, handler)


@cache
def parsed(text: str) -> object:
    """The document that a text is; None where it is no YAML and no JSON, or a mere scalar."""
    try:
        data: object = load_text(text).data
    except SpecError:
        return None
    return data if isinstance(data, dict | list) else None


class Soak:
    """Readers by name, each with texts that it takes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "rates.csv").write_text(RATES)
        (folder / "cluster.yaml").write_text(CLUSTER)
        (folder / "statistics").mkdir()
        (folder / "statistics" / "meta_info.json").write_text('{"num_experts": 4}')
        counts, choices = folder / "statistics" / "rank0.safetensors", folder / "statistics" / "rank0_raw.safetensors"
        safetensors(counts, {"7_0": [1, 2, 3, 4], "7_1": [5, 5, 5, 5]})
        safetensors(choices, {"7_0": [[0, 1], [1, 0]], "7_1": [[2, 3], [0, -1]]})
        statistics = [file.read_bytes().decode("latin-1") for file in (counts, choices)]
        results = sorted((ROOT / "tests/corpora/accepted").glob("*.json"))
        launches = load_text((ROOT / "tests/readers/launch/commands.yaml").read_text()).data
        configs = sorted((ROOT / "tests/data/configs").glob("*.json"))[::5]
        documents = sorted((ROOT / "tests/corpora").glob("documents*/*.md"))[::12]
        (folder / "clients").mkdir()
        (folder / "clients" / "chunk-0-trace.csv").write_text(CLIENT_RATES)
        (folder / "clients" / "chunk-0-dataset.json").write_text(json.dumps(CLIENT_LENGTHS))
        runs = [file.read_text() for file in sorted((ROOT / "tests/data/runs").iterdir())]
        self.kinds: dict[str, tuple[int, list[str], Callable[[str], object]]] = {
            "quantity": (20, ["80 GB", "1.5e3 $/h", "40 requests/s", "30%", "1/3", "$2.5"], self.quantity),
            "problem": (14, self.catalog("scenarios", 9), lambda text: problem_in(load_text(text, "p.yaml"))),
            "model": (10, self.catalog("models", 9), lambda text: parse(ModelSpec, load_text(text, "m.yaml"))),
            "hardware": (8, self.catalog("hardware", 9), lambda text: parse(HardwareSpec, load_text(text, "h.yaml"))),
            "config": (
                10, [path.read_text() for path in configs],
                lambda text: read_document(load_text(text, "config.json"), Path("config.json")),
            ),
            "layout": (4, [LAYOUT, (ROOT / "tests/corpora/accepted/placed.json").read_text()], self.layout),
            "load": (8, [json.dumps([[5, 6, 7]] * 2), json.dumps(RECORDS)], lambda text: self.load(text, "l.json")),
            "table": (6, [LOAD_CSV, "5,6,7\n8,9,10\n"], lambda text: self.load(text, "l.csv")),
            "placement": (6, [json.dumps(p) for p in PLACEMENTS], self.placement),
            "coactivation": (4, [json.dumps(c) for c in CHOICES], self.coactivation),
            "grid": (3, [GRID], lambda text: grid_in(load_text(text, "<grid>"))),
            "result": (4, [path.read_text() for path in results], self.result),
            "document": (3, [path.read_text() for path in documents], lambda text: audit_document(text, "d.md")),
            "cluster": (6, self.catalog("clusters", 5), self.cluster),
            "fleet": (4, [FLEET], self.fleet),
            "rates": (4, [RATES], self.rates),
            "trace": (6, list(TRACES), self.trace),
            "clients": (3, [CLIENT_RATES, json.dumps(CLIENT_LENGTHS)], self.clients),
            "runs": (5, [RUNS_CSV, *runs], self.runs),
            "launch": (8, [entry["text"] for entry in launches], self.launch),
            "statistics": (4, statistics, self.statistics),
            "record": (3, [json.dumps(RECORD.to_json())], self.record),
            "history": (1, [json.dumps(RECORD.to_json())], self.history),
            "journal": (3, [self.kept()], self.journal),
            "export": (1, [LAYOUT, *(path.read_text() for path in results)], self.export),
            "options": (1, list(OPTIONS), lambda text: self.command(*text.split(" "))),
        }  # fmt: skip

    @staticmethod
    def catalog(kind: catalog.Shelf, each: int) -> list[str]:
        return [catalog.path(kind, name).read_text() for name in catalog.names(kind)[::each]]

    @staticmethod
    def quantity(text: str) -> None:
        for dimension in Dimension:
            with contextlib.suppress(QuantityError):
                parse_quantity(text, dimension)

    @staticmethod
    def layout(text: str) -> None:
        judge(layout_in(load_text(text, "l.json"), claims=dimensions))

    def load(self, text: str, name: str) -> None:
        file = self.folder / name
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        for experts in (None, 3):
            with contextlib.suppress(SpecError):
                read_load(file, layers=2, experts=experts)

    @staticmethod
    def placement(text: str) -> None:
        placement_in(load_text(text, "p.json"), (), (0, 1), 2)

    def coactivation(self, text: str) -> None:
        file = self.folder / "c.json"
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        read_coactivation(file, (0, 1), 4, 2)

    @staticmethod
    def result(text: str) -> None:
        data = load_text(text, "r.json").data
        if isinstance(data, dict):
            certify(data)

    @staticmethod
    def cluster(text: str) -> None:
        document = load_text(text, "c.yaml")
        if is_cluster(document.data):
            cluster_in(document)

    def fleet(self, text: str) -> None:
        document = load_text(text, str(self.folder / "fleet.yaml"))
        if not is_fleet_document(document.data):
            return
        found = fleet_in(document)
        priced = price(found)
        if not unplaced(found):
            judge_proposed(found, priced, priced.fleet)

    def rates(self, text: str) -> None:
        file = self.folder / "own.csv"
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        read_rates(file)

    def trace(self, text: str) -> None:
        file = self.folder / "trace.csv"
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        self.lengths(file)

    def clients(self, text: str) -> None:
        for name, own in (("chunk-0-trace.csv", CLIENT_RATES), ("chunk-0-dataset.json", json.dumps(CLIENT_LENGTHS))):
            file = self.folder / "clients" / name
            file.write_text(text, encoding="utf-8", errors="surrogatepass")
            with contextlib.suppress(SpecError):
                self.lengths(self.folder / "clients")
            file.write_text(own)

    @staticmethod
    def lengths(path: Path) -> None:
        share = Fraction(99, 100)
        read_lengths(path, most=6, window_s=None, quantile=share, with_decode=True, with_rate=False)

    def runs(self, text: str) -> None:
        file = self.folder / "runs.csv"
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        samples_of(read_runs([file]), {"model": "llama-3.1-8b"}, load_hardware("h100-sxm-8"))

    @staticmethod
    def launch(text: str) -> None:
        hardware = Override("--hardware", ("hardware",), "h100-sxm-8")
        judge_launch(pose(read_launch(text, "<text>", devices=8), (hardware,)))

    def statistics(self, text: str) -> None:
        for name, read in (("rank0.safetensors", self.counted), ("rank0_raw.safetensors", self.chosen)):
            (self.folder / "statistics" / name).write_bytes(text.encode("latin-1", errors="replace"))
            with contextlib.suppress(SpecError):
                read(self.folder / "statistics")

    @staticmethod
    def counted(folder: Path) -> None:
        read_load(folder, layers=2, experts=4)

    @staticmethod
    def chosen(folder: Path) -> None:
        read_coactivation(folder, (0, 1), 4, 2)

    def record(self, text: str) -> None:
        file = self.folder / "old.jsonl"
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        regressions(read_records(file), [RECORD])

    def history(self, text: str) -> None:
        store = Store(self.folder / "history.db")
        run_id = store.open_run("q", "v")
        store.put(run_id, RECORD)
        with closing(sqlite3.connect(store.path)) as connection, connection:
            connection.execute("update record set document = ?", (text.encode("utf-8", "replace").decode(),))
        found = store.get(run_id, RECORD.scenario, RECORD.method, RECORD.digest)
        if found is not None:
            regressions([found], [RECORD])

    def journal(self, text: str) -> None:
        file = self.folder / "journal.jsonl"
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        with Journal(file, "{}") as found:
            csv_text(list(COLUMNS), [[answer.row[name] for name in COLUMNS] for answer in found.answers.values()])
            assert all(round(answer.wall_s) + answer.index >= 0 for answer in found.answers.values())

    def kept(self) -> str:
        file = self.folder / "kept.jsonl"
        with Journal(file, "{}") as kept:
            kept.put(Answer(3, "abc", ROW, 1.5))
        return file.read_text() * 2

    def export(self, text: str) -> None:
        file = self.folder / "e.json"
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        for engine in ("vllm", "sglang", "trtllm"):
            self.command("export", str(file), "--engine", engine, "--out", str(self.folder / "out"))

    @staticmethod
    def command(*words: str) -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            status = run([word.replace("\x00", "") for word in words])
        assert status in {0, 1, 2}, (status, said.getvalue())
        assert "Traceback" not in said.getvalue(), said.getvalue()

    def run(self, inputs: int, seed: int) -> tuple[Counter[str], list[str]]:
        """How many inputs each reader was given, and what went wrong."""
        counts, wrong = Counter[str](), list[str]()
        whole = sum(share for share, _, _ in self.kinds.values())
        for name, (share, texts, read) in self.kinds.items():
            # Of each kind a small soak is the beginning of a large one.
            rng = random.Random(f"{seed} {name}")  # noqa: S311 - a seeded test
            for _ in range(-(-inputs * share // whole)):
                text = rng.choice(texts)
                data = parsed(text)
                text = mutated(text, rng) if data is None or rng.random() < 0.5 else rewritten(data, rng)
                try:
                    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
                    try:
                        read(text)
                    finally:
                        signal.setitimer(signal.ITIMER_PROF, 0)
                except SpecError as error:
                    if any("\n" in str(fault) or len(str(fault)) > 3000 for fault in error.faults):
                        wrong.append(f"{name}: {text[:300]!r}: {str(error)[:300]!r}")
                except BaseException as error:  # noqa: BLE001 - whatever else it is, it is a bug
                    wrong.append(f"{name}: {type(error).__name__}: {error}: {text[:2000]!r}"[:3000])
                counts[name] += 1
        return counts, wrong


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
@pytest.mark.parametrize("inputs", [2_000, pytest.param(INPUTS, marks=pytest.mark.slow)])
def test_no_input_ends_in_a_traceback_takes_seconds_or_takes_gigabytes(
    inputs: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    soak = Soak(tmp_path)
    with limited():
        counts, wrong = soak.run(inputs, seed=17)
    with capsys.disabled():
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        sys.stdout.write(f"\n{counts.total():,} inputs ({told})\n")
    assert wrong == []
