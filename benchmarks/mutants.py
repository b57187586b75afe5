"""Whether search and checker catch each other: one operator changed at a time, in a copy of the package.

`python -m benchmarks.mutants [EACH] [MODULE ...]` changes EACH places (4 unless given) of every module below, or of
those whose path has one of the words in it, evenly spread. A mutant of the search must write a result that the
unchanged checker rejects, or fail; one of the checker must change its verdict on a result of the corpus or of the
unchanged search; one of the figures, which both sides read, must fail an anchored test; and where neither side notices,
a test of the module itself. Prints every mutant with what caught it, and exits 1 where one survives: equivalent
changes, and bounds that only dismiss less, are told from missing tests by reading them.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIDES = {
    "figures": (
        "figures/serving.py",
        "figures/layer.py",
        "figures/memory.py",
        "figures/costs.py",
        "figures/weights.py",
        "figures/percentiles.py",
        "figures/soonest.py",
    ),
    "search": (
        "search/lattice.py",
        "search/bounds.py",
        "search/pricing.py",
        "search/bottleneck.py",
        "search/archive.py",
        "figures/operating_point.py",
    ),
    "checker": (
        "certificate/decision.py",
        "certificate/goals.py",
        "certificate/reach.py",
        "certificate/aims.py",
        "certificate/relaxed.py",
        "certificate/meshes.py",
        "certificate/front.py",
    ),
}
OWN_TESTS = {
    "figures": ("tests/figures",),
    "search": ("tests/search/test_bottleneck.py", "tests/search/test_archive.py", "tests/test_percentile_limits.py"),
    "checker": (
        "tests/certificate/test_filled.py",
        "tests/certificate/test_longest_step.py",
        "tests/certificate/test_aims.py",
        "tests/certificate/test_meshes.py",
        "tests/certificate/test_relaxations.py",
        "tests/test_limit_change.py",
    ),
}
"""What is tried last."""
LONGEST_S = 900
"""Seconds after which a mutant counts as one that does not end."""
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
_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
}  # fmt: skip


def places(tree: ast.AST) -> list[tuple[ast.AST, str]]:
    """Operators and calls of `min` and `max` that can be changed."""
    found: list[tuple[ast.AST, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS:
            found.append((node, "compare"))
        elif isinstance(node, ast.BinOp) and type(node.op) in _SWAPS and not isinstance(node.left, ast.Constant):
            found.append((node, "operator"))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"min", "max"}:
            found.append((node, "call"))
    return found


def mutants(text: str, each: int) -> Iterator[tuple[str, str]]:
    """What was changed, with the module as text."""
    count = len(places(ast.parse(text)))
    for number in range(min(each, count)):
        tree = ast.parse(text)
        node, kind = places(tree)[number * count // each if count > each else number]
        before = ast.unparse(node)
        if isinstance(node, ast.Compare):
            node.ops[0] = _SWAPS[type(node.ops[0])]()  # type: ignore[assignment]
        elif isinstance(node, ast.BinOp):
            node.op = _SWAPS[type(node.op)]()  # type: ignore[assignment]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            node.func.id = "max" if node.func.id == "min" else "min"
        yield f"line {node.lineno} ({kind}): {before} -> {ast.unparse(node)}", ast.unparse(tree)  # type: ignore[attr-defined]


def run(home: Path, *arguments: str) -> tuple[int, str]:
    """Status and output of a Python program in a copy of the repository."""
    environment = {**os.environ, "PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    try:
        done = subprocess.run(
            command, cwd=home, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST_S
        )
    except subprocess.TimeoutExpired:
        return 1, "no end"
    return done.returncode, done.stdout + done.stderr


def caught(side: str, home: Path, scratch: Path, solved: Path) -> str | None:
    """What notices a mutant; None: nothing."""
    if side == "search":
        if run(home, "-c", SOLVE, str(scratch))[0]:
            return "the search fails"
        if run(ROOT, "-c", CERTIFY, str(scratch))[0]:
            return "the checker"
    if side == "checker":
        folders = (ROOT / "tests/corpora/accepted", ROOT / "tests/corpora/rejected", solved)
        status, said = run(home, "-c", CERTIFY, *map(str, folders))
        if status:
            return said.strip().rpartition("\n")[2][:60]
    for tests in OWN_TESTS[side]:
        if run(home, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", tests)[0]:
            return tests
    return None


def main() -> int:
    """Try every mutant."""
    each, words = int(sys.argv[1]) if len(sys.argv) > 1 else 4, sys.argv[2:]
    tried = survived = 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "copy"
        for part in ("optimizer", "tests", "problems", "benchmarks"):
            shutil.copytree(ROOT / part, home / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", home)
        solved = Path(folder) / "solved"
        solved.mkdir()
        run(ROOT, "-c", SOLVE, str(solved))
        for side, modules in SIDES.items():
            for module in (own for own in modules if not words or any(word in own for word in words)):
                file = home / "optimizer" / module
                text = file.read_text(encoding="utf-8")
                for told, changed in mutants(text, each):
                    file.write_text(changed, encoding="utf-8")
                    scratch = Path(folder) / f"results-{tried}"
                    scratch.mkdir()
                    by = caught(side, home, scratch, solved)
                    tried, survived = tried + 1, survived + (by is None)
                    print(f"{side:8} {module:28} {told[:90]:90} {by or 'SURVIVES'}", flush=True)
                file.write_text(text, encoding="utf-8")
    print(f"{tried} mutants, {survived} survive")
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main())
