"""Hostile inputs by the hundred thousand through every command's reader, in one process that may take little memory."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer.audit.audit import audit_document
from optimizer.certificate import certify
from optimizer.cli.main import run
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.model import ModelSpec
from optimizer.errors import SpecError
from optimizer.readers import catalog
from optimizer.readers.coactivation import read_coactivation
from optimizer.readers.document import load_text, parse
from optimizer.readers.huggingface.reader import read_document
from optimizer.readers.loads import read_load
from optimizer.readers.placement_file import placement_in
from optimizer.readers.read import layout_in, problem_in
from optimizer.sweep.grid import grid_in
from optimizer.units import Dimension, QuantityError, parse_quantity
from optimizer.verify.claim_table import dimensions
from optimizer.verify.verdict import judge

ROOT = Path(__file__).parents[1]
INPUTS = int(os.environ.get("SHARDPROOF_SOAK", "200000"))
LONGEST_S, MOST_BYTES = 5.0, 2**30
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
SHORT = "--model llama-3.1-8b --hardware h100-sxm-8 --devices 1 --isl 100 --osl 20 --ttft 2s --tp 1 --batch 4"

# What a number, a text or a piece of syntax is replaced with.
NUMBERS = (
    "1e999", "1e999x", "-1", "0", "-0.0", "1e-400", "1" + "0" * 30, "9" * 500, "NaN", "Infinity", "-Infinity", ".inf",
    "1/0", "\u00b2", "1_0", "0x1F", "1.2.3", "1e", "2.5", "1000000000", "true", "null", '"1"', "1e2", "٣", "80 GB",
)  # fmt: skip
MARKS = (
    "{", "}", "[", "]", ":", ",", '"', "'", "\\", "\n", "\t", " ", "#", "&a", "*a", "<<", "---", "!!x", "|", "\x00",
    "\x1b[2J", "\ufeff", "\ud800", "\u2028", "é", "😀", "%", "$", "../", "/dev/zero", "-", "\r", "$\\frac{1}{0}$",
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


class Soak:
    """Readers by name, each with texts that it takes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        results = sorted((ROOT / "tests/corpora/accepted").glob("*.json"))
        configs = sorted((ROOT / "tests/data/configs").glob("*.json"))[::5]
        documents = sorted((ROOT / "tests/corpora").glob("documents*/*.md"))[::12]
        self.kinds: dict[str, tuple[int, list[str], Callable[[str], object]]] = {
            "quantity": (20, ["80 GB", "1.5e3 $/h", "40 requests/s", "30%", "1/3", "$2.5"], self.quantity),
            "problem": (14, self.catalog("scenarios", 9), lambda text: problem_in(load_text(text, "p.yaml"))),
            "model": (10, self.catalog("models", 9), lambda text: parse(ModelSpec, load_text(text, "m.yaml"))),
            "hardware": (8, self.catalog("hardware", 9), lambda text: parse(HardwareSpec, load_text(text, "h.yaml"))),
            "config": (
                10, [path.read_text() for path in configs],
                lambda text: read_document(load_text(text, "config.json"), Path("config.json")),
            ),
            "layout": (4, [LAYOUT], self.layout),
            "load": (8, [json.dumps([[5, 6, 7]] * 2), json.dumps(RECORDS)], lambda text: self.load(text, "l.json")),
            "table": (6, [LOAD_CSV, "5,6,7\n8,9,10\n"], lambda text: self.load(text, "l.csv")),
            "placement": (6, [json.dumps(p) for p in PLACEMENTS], self.placement),
            "coactivation": (4, [json.dumps(c) for c in CHOICES], self.coactivation),
            "grid": (3, [GRID], lambda text: grid_in(load_text(text, "<grid>"))),
            "result": (4, [path.read_text() for path in results], self.result),
            "document": (3, [path.read_text() for path in documents], lambda text: audit_document(text, "d.md")),
            "options": (1, [SHORT], self.options),
        }  # fmt: skip

    @staticmethod
    def catalog(kind: catalog.Kind, each: int) -> list[str]:
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
    def options(text: str) -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            status = run(["solve", *text.replace("\x00", "").split(" ")])
        assert status in {0, 1, 2, 3}
        assert "a bug" not in said.getvalue(), said.getvalue()

    def run(self, inputs: int, seed: int) -> tuple[Counter[str], list[str]]:
        """How many inputs each reader was given, and what went wrong."""
        rng, counts, wrong = random.Random(seed), Counter[str](), list[str]()  # noqa: S311 - a seeded test
        whole = sum(share for share, _, _ in self.kinds.values())
        for name, (share, texts, read) in self.kinds.items():
            for _ in range(-(-inputs * share // whole)):
                text = mutated(rng.choice(texts), rng)
                begun = time.perf_counter()
                try:
                    read(text)
                except SpecError as error:
                    if any("\n" in str(fault) or len(str(fault)) > 3000 for fault in error.faults):
                        wrong.append(f"{name}: {text[:300]!r}: {str(error)[:300]!r}")
                except BaseException as error:  # noqa: BLE001 - whatever else it is, it is a bug
                    wrong.append(f"{name}: {type(error).__name__}: {error}: {text[:2000]!r}"[:3000])
                if (took := time.perf_counter() - begun) > LONGEST_S:
                    wrong.append(f"{name}: {took:.1f} s: {text[:300]!r}")
                counts[name] += 1
        return counts, wrong


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux does")
def test_no_input_ends_in_a_traceback_takes_seconds_or_takes_gigabytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soak = Soak(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    counts, wrong = soak.run(INPUTS, seed=17)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    with capsys.disabled():
        told = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        sys.stdout.write(f"\n{counts.total():,} inputs ({told}), {grown / 2**20:.0f} MiB\n")
    assert wrong == []
    assert grown < MOST_BYTES
