"""Whether the tests notice: one operator changed at a time, in a copy of the project.

``python -m benchmarks.mutants [WORD ...] [--each N] [--quick] [--journal FILE]`` changes N places (2 unless given) of
every module below, or of those whose path has one of the words in it; which, the text of the place decides, so that a
change elsewhere in the module moves none. Of each mutant are asked, until something fails: the quick tests (neither
`slow` nor `long`) of the files that import the module and of its side; the other side (a result that a mutant of the
search wrote, by the unchanged checker; the results of the corpus and of the unchanged search, by a mutant of the
checker); the long tests of the same files. Prints a Markdown table, what survives, and the share that the quick tests
alone notice; exit status 1 where one survives that `EQUIVALENT` does not name with its reason. A journal lets a run be
continued.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import cache_from_source
from pathlib import Path

from tests.conftest import LONG

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Side:
    """Modules, and the tests that are asked of each of them after those that import it."""

    modules: tuple[str, ...]
    quick: tuple[str, ...]
    long: tuple[str, ...] = ()


SIDES = {
    "figures": Side(
        (
            "figures/memory", "figures/layer", "figures/costs", "figures/routing", "figures/skew", "figures/serving",
            "figures/percentiles", "figures/bounds", "figures/cache", "figures/room", "figures/reserve",
            "figures/weights", "figures/operating_point", "figures/objective",
        ),
        ("tests/test_scalar_oracle.py", "tests/figures", "tests/test_reference_equals_vectorised.py"),
        ("tests/test_percentile_limits.py", "tests/test_brute_force.py", "tests/test_never_beaten.py"),
    ),
    "search": Side(
        (
            "domain/lattice", "search/lattice", "search/bounds", "search/pricing", "search/bottleneck",
            "search/archive", "search/search", "search/rows", "search/frontier",
        ),
        ("tests/test_reference_equals_vectorised.py", "tests/search", "tests/domain/test_lattice.py"),
        ("tests/test_brute_force.py", "tests/search/test_frontier.py", "tests/test_never_beaten.py",
         "tests/test_percentile_limits.py"),
    ),
    "checker": Side(
        (
            "certificate/meshes", "certificate/decision", "certificate/reach", "certificate/goals",
            "certificate/relaxed", "certificate/aims", "certificate/front", "certificate/optimality",
        ),
        ("tests/certificate/test_corpora.py", "tests/certificate"),
        ("tests/test_brute_force.py", "tests/certificate/test_front.py", "tests/test_limit_change.py"),
    ),
    "engines": Side(
        (
            "domain/engines/checks", "domain/engines/reservation", "domain/engines/vllm", "domain/engines/sglang",
            "domain/engines/trtllm",
        ),
        ("tests/domain/test_engines.py", "tests/verify/test_engine_cases.py", "tests/benchmarks/test_engine_runs.py",
         "tests/figures"),
        ("tests/benchmarks", "tests/test_engine_rule_change.py"),
    ),
    "cluster": Side(
        (
            "cluster/columns", "cluster/integers", "cluster/lay", "cluster/spread", "fleet/program", "fleet/ceiling",
            "fleet/vipr", "fleet/families/capacity", "fleet/families/survival", "certificate/fleet",
        ),
        ("tests/cluster",),
        ("tests/cluster",),
    ),
}  # fmt: skip
EQUIVALENT = {
    "certificate/meshes: lattice: len(axes.cp) >= most -> len(axes.cp) > most":
        "where cp runs just to the most that fits, the formula and the list count the same",
    "search/bottleneck: _cut: stages < len(layers) -> stages <= len(layers)":
        "with a stage for each layer the bound is the costliest layer, which nothing raises",
    "search/bounds: Bounds.reachable: need * ranks * self.turns * limit -> "
    "need * ranks * self.turns // limit":
        "which micro-batch a bound is asked at: at any it dismisses only what cannot be reached",
    "figures/operating_point: OperatingPoints.largest_batch: self.shape.pp * room - self.memory.stack_weights() -> "
    "self.shape.pp * room + self.memory.stack_weights()":
        "an upper end of a bisection: from a larger one it finds the same",
    "search/frontier: _Frontier._sample: (column + 1) % ideal.shape[1] -> (column + 1) // ideal.shape[1]":
        "which boxes are priced first; all that is not beaten is",
}  # fmt: skip
"""Changes that no answer can show, by `Mutant.name`, and why."""

QUICK_ONLY, NOT_SLOW = "not slow and not long", "not slow"
LONGEST_CPU_S = {QUICK_ONLY: 100, NOT_SLOW: 1000}
"""Seconds of the processor after which a mutant counts as one that does not end: twice what a side's tests take."""
SOLVE = """
import json, sys
from pathlib import Path
from optimizer.solve import solve
from tests.small_problems import small_problem
for seed in range(12):
    Path(sys.argv[1], f"{seed}.json").write_text(json.dumps(solve(small_problem(seed)).to_json()))
"""
CERTIFY = """
import json, sys
from pathlib import Path
from optimizer.certificate import certify
for folder in sys.argv[1:]:
    for file in sorted(set(Path(folder).glob("*.json")) - {Path(folder, "expected.json")}):
        if certify(json.loads(file.read_text())).accepted == (Path(folder).name == "rejected"):
            sys.exit(f"a result that is {Path(folder).name}")
"""
PYTEST = """
import resource, sys, pytest
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(pytest.main(sys.argv[2:]))
"""
UNUSABLE, NO_TESTS = 4, 5
"""Pytest's status where it was asked for what there is not, and where nothing was selected."""
_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change: where, and the text of the module with it."""

    module: str
    line: int
    change: str
    text: str

    @property
    def name(self) -> str:
        """What a journal and `EQUIVALENT` call it: without the line, which other changes move."""
        return f"{self.module}: {self.change}"


@dataclass(frozen=True)
class Fate:
    """What became of a mutant: `by` is empty where it survives; CPU seconds until then."""

    side: str
    module: str
    line: int
    change: str
    by: str
    quick: bool
    cpu_s: float


class _Places(ast.NodeVisitor):
    """Operators, comparisons and calls of `min` and `max` of a module, each within its function; no messages."""

    def __init__(self) -> None:
        self.found: list[tuple[ast.expr, str]] = []
        self._within: list[str] = []

    def visit(self, node: ast.AST) -> None:
        """Look at a node and at what is in it."""
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
            return
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            self._within.append(node.name)
            for inner in node.body:
                self.visit(inner)
            self._within.pop()
            return
        operator = (
            node.ops[0] if isinstance(node, ast.Compare) and len(node.ops) == 1
            else node.op if isinstance(node, ast.BinOp | ast.BoolOp)
            else None
        )  # fmt: skip
        call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"min", "max"}
        if isinstance(node, ast.expr) and (call or type(operator) in _SWAPS) and not _of_texts(node):
            self.found.append((node, ".".join(self._within)))
        if not isinstance(node, ast.AnnAssign):
            self.generic_visit(node)
        elif node.value is not None:
            self.visit(node.value)


def _of_texts(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in ast.iter_child_nodes(node))


def _changed(node: ast.expr) -> ast.expr:
    if isinstance(node, ast.Compare):
        node.ops[0] = _SWAPS[type(node.ops[0])]()  # type: ignore[call-overload]
    elif isinstance(node, ast.BinOp | ast.BoolOp):
        node.op = _SWAPS[type(node.op)]()  # type: ignore[assignment]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        node.func.id = "max" if node.func.id == "min" else "min"
    return node


def mutants(module: str, text: str, each: int) -> Iterator[Mutant]:
    """Some changes of a module, those of the least digests first."""
    places = _Places()
    places.visit(ast.parse(text))
    told: dict[str, Mutant] = {}
    lines = text.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:number])) for number in range(len(lines))]
    for node, within in places.found:
        before = ast.unparse(node)
        begin, end = starts[node.lineno - 1] + node.col_offset, starts[(node.end_lineno or 0) - 1]
        end += node.end_col_offset or 0
        after = ast.unparse(_changed(node))
        written = f"({after})" if isinstance(node, ast.BoolOp) else after
        whole = text.encode()[:begin] + written.encode() + text.encode()[end:]
        change = f"{within}: {before} -> {after}"
        told.setdefault(change, Mutant(module, node.lineno, change, whole.decode()))
    order = sorted(told, key=lambda change: hashlib.sha256(f"{module}: {change}".encode()).digest())
    return (told[change] for change in order[:each])


def importing(module: str) -> list[str]:
    """Test files that import a module by its own name, or from its package; those of its folder first."""
    dotted = "optimizer." + module.replace("/", ".")
    package, _, name = dotted.rpartition(".")
    wanted = re.compile(
        rf"^\s*(from {re.escape(dotted)} import|import {re.escape(dotted)}\b"
        rf"|from {re.escape(package)} import (.*\W)?{name}\b)", re.MULTILINE,
    )  # fmt: skip
    folder = f"tests/{module.partition('/')[0]}"
    found = [
        str(file.relative_to(ROOT))
        for file in sorted((ROOT / "tests").rglob("test_*.py"), key=lambda file: file.stat().st_size)
        if wanted.search(file.read_text(encoding="utf-8"))
    ]
    return sorted(found, key=lambda file: not file.startswith(folder))


class Copy:
    """A copy of the project, in which one file at a time is changed."""

    def __init__(self, folder: Path) -> None:
        self.home, self._scratch = folder / "copy", folder / "results"
        for part in ("optimizer", "tests", "problems", "benchmarks", "docs"):
            shutil.copytree(ROOT / part, self.home / part, ignore=shutil.ignore_patterns("__pycache__"))
        for file in (*ROOT.glob("*.toml"), *ROOT.glob("*.md"), ROOT / "justfile"):
            shutil.copy(file, self.home)
        self._solved = folder / "solved"

    def run(self, home: Path, *arguments: str) -> tuple[int, str]:
        """Status and output of a Python program in the copy, or in the project itself."""
        environment = {**os.environ, "PYTHONPATH": str(home)}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=home, env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def failing(self, which: str, files: list[str]) -> str | None:
        """The first test that fails of those that a mark selects; None: none does."""
        # one by one, since pytest asks of a folder before a file of it
        each = [own for name in files for own in (sorted((ROOT / name).rglob("test_*.py")) or [ROOT / name])]
        named_once = dict.fromkeys(str(file.relative_to(ROOT)) for file in each)
        if which == QUICK_ONLY:
            named_once = {name: None for name in named_once if not name.removeprefix("tests/").startswith(LONG)}
        if not named_once:
            return None
        own = ["-q", "-x", "-n0", "-rfE", "-p", "no:cacheprovider", "-m", which, *named_once]
        status, said = self.run(self.home, "-c", PYTEST, str(LONGEST_CPU_S[which]), *own)
        if status in (0, NO_TESTS):
            return None
        if status == UNUSABLE:
            raise SystemExit(said)
        named = re.search(r"^(?:FAILED|ERROR) (tests/.+?)(?: - |$)", said, re.MULTILINE)
        return named[1] if named else "no end" if status < 0 else said.strip().rpartition("\n")[2][:80]

    def failing_anyway(self, tests: list[str]) -> list[str]:
        """Those that fail without a change too: what notices nothing."""
        status, said = self.run(
            self.home, "-c", PYTEST, "-q", "-n0", "-rfE", "-p", "no:cacheprovider", "-m", "", *tests
        )
        return re.findall(r"^(?:FAILED|ERROR) (tests/.+?)(?: - |$)", said, re.MULTILINE) or tests * (status != 0)

    def crossed(self, side: str) -> str | None:
        """What the other side says of a mutant of search or checker."""
        if side == "search":
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch.mkdir()
            if self.run(self.home, "-c", SOLVE, str(self._scratch))[0]:
                return "the search fails"
            if self.run(ROOT, "-c", CERTIFY, str(self._scratch))[0]:
                return "the checker rejects"
        if side == "checker":
            if not self._solved.exists():
                self._solved.mkdir()
                self.run(ROOT, "-c", SOLVE, str(self._solved))
            folders = (ROOT / "tests/corpora/accepted", ROOT / "tests/corpora/rejected", self._solved)
            status, said = self.run(self.home, "-c", CERTIFY, *map(str, folders))
            return said.strip().rpartition("\n")[2][:60] if status else None
        return None

    def fate(self, name: str, mutant: Mutant, *, quick_only: bool) -> Fate:
        """What notices a mutant."""
        side, file = SIDES[name], self.home / "optimizer" / f"{mutant.module}.py"
        kept, begun = file.read_text(encoding="utf-8"), os.times()
        own = importing(mutant.module)
        near = [file for file in own if file.startswith(f"tests/{mutant.module.partition('/')[0]}")]
        try:
            _write(file, mutant.text)
            quick = self.failing(QUICK_ONLY, [*near, *side.quick, *own])
            by = quick
            if by is None and not quick_only:
                by = self.crossed(name) or self.failing(NOT_SLOW, [*own, *side.long])
        finally:
            _write(file, kept)
        ended = os.times()
        cpu_s = ended.children_user + ended.children_system - begun.children_user - begun.children_system
        return Fate(name, mutant.module, mutant.line, mutant.change, by or "", quick is not None, round(cpu_s, 1))


def _write(file: Path, text: str) -> None:
    """Write a module, and forget its bytecode: one of the same second and size would be taken for current."""
    file.write_text(text, encoding="utf-8")
    Path(cache_from_source(str(file))).unlink(missing_ok=True)


def told(fates: list[Fate]) -> int:
    """Print what became of them; how many survive that nothing explains."""
    print("\n| side | module | line | change | noticed by | quick | CPU |\n| --- | --- | --: | --- | --- | --- | --: |")
    for fate in fates:
        reason = EQUIVALENT.get(f"{fate.module}: {fate.change}", "")
        by = fate.by or (f"equivalent: {reason}" if reason else "**survives**")
        change = fate.change.replace("|", "\\|")
        cells = (fate.side, fate.module, fate.line, f"`{change}`", by, "yes" if fate.quick else "no", f"{fate.cpu_s} s")
        print("| " + " | ".join(map(str, cells)) + " |")
    same = sum(not fate.by and f"{fate.module}: {fate.change}" in EQUIVALENT for fate in fates)
    left = [fate for fate in fates if not fate.by and f"{fate.module}: {fate.change}" not in EQUIVALENT]
    quick, real = sum(fate.quick for fate in fates), len(fates) - same
    print(f"\n{len(fates)} mutants, {same} of them equivalent, {len(left)} survive; ", end="")
    print(f"the quick tests notice {quick} of {real} ({100 * quick / max(real, 1):.0f}%)")
    for fate in left:
        print(f"survives: {fate.module}:{fate.line}: {fate.change}")
    return len(left)


def main() -> int:
    """Try every mutant that the journal does not know."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="parts of the paths of modules")
    parser.add_argument("--each", type=int, default=2, help="changes of each module")
    parser.add_argument(
        "--journal", type=Path, help="file to which fates are added, and of which those known are taken"
    )
    parser.add_argument("--quick", action="store_true", help="ask the quick tests alone")
    parser.add_argument("--stop-after", type=float, default=float("inf"), metavar="S", help="seconds of the clock")
    parser.add_argument("--no-check", dest="check", action="store_false", help="take it that the tests pass unchanged")
    given = parser.parse_args()
    known: dict[str, Fate] = {}
    if given.journal is not None and given.journal.exists():
        for line in given.journal.read_text(encoding="utf-8").splitlines():
            fate = Fate(**json.loads(line))
            known[f"{fate.module}: {fate.change}"] = fate
    fates, begun, late = [], time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        for name, side in SIDES.items():
            for module in (own for own in side.modules if not given.words or any(word in own for word in given.words)):
                text = (ROOT / "optimizer" / f"{module}.py").read_text(encoding="utf-8")
                for mutant in mutants(module, text, given.each):
                    if mutant.name in known:
                        fates.append(known[mutant.name])
                        continue
                    if time.monotonic() - begun > given.stop_after:
                        late += 1
                        continue
                    fate = copy.fate(name, mutant, quick_only=given.quick)
                    print(f"{mutant.name} {fate.by or 'SURVIVES'} {fate.cpu_s} s", file=sys.stderr)
                    if given.journal is not None:
                        with given.journal.open("a", encoding="utf-8") as out:
                            out.write(json.dumps(asdict(fate)) + "\n")
                    fates.append(fate)
        tests = sorted({fate.by for fate in fates if fate.by.startswith("tests/")})
        failing = copy.failing_anyway(tests) if given.check and tests else []
    left = told(fates)
    for test in failing:
        print(f"fails without a change too: {test}")
    if late:
        print(f"{late} were not tried: the time was over")
    return int(left > 0 or late > 0 or len(failing) > 0)


if __name__ == "__main__":
    sys.exit(main())
