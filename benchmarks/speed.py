"""How fast: from the shell to the answer, candidates priced a second, light commands, memory, and checks beside solves.

``python -m benchmarks.speed [SCENARIO ...]`` runs the command line as a user would, a process for each measurement, and
prints a Markdown table for each budget; exit status 1 where one is missed. Without scenarios: the whole catalog.

``--beside FOLDER`` times `solve` beside a checkout of another version instead, run by run in turn, by seconds of the
processor, and says how much the lattice grew; exit status 1 where a scenario takes more than `SLOWER` times as long
over a lattice that is not larger.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from optimizer.readers import catalog
from optimizer.readers.read import read_problem

SOLVE_S, LARGE_SOLVE_S = 1.5, 8.0
"""Shell to answer, up to 1,024 devices and beyond."""
CHECK_S, LARGE_CHECK_S = 5.0, 60.0
"""Check of the certificate, likewise."""
SMALL = 1024
LIGHT_S = 0.4
"""`catalog` and `verify`."""
MEMORY_BYTES = 2**30
ROWS_PER_S = 2_000_000
"""Candidates bounded a second on one core."""
ROOT = Path(__file__).resolve().parents[1]
SLOWER = 1.5
"""Times as long as another version, beyond which a scenario is slower."""


@dataclass(frozen=True)
class Ran:
    """One process: seconds from start to end, CPU seconds, most memory, what it printed."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    output: str


def ran(*arguments: str, home: Path = ROOT) -> Ran:
    """Run `shardproof` of a checkout in a process of its own."""
    with tempfile.TemporaryFile() as out:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "optimizer", *arguments], stdout=out, stderr=subprocess.DEVNULL, cwd=home,
            env={**os.environ, "PYTHONPATH": str(home)},
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        scale = 1 if sys.platform == "darwin" else 1024
        return Ran(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * scale, out.read().decode())


def best(times: int, *arguments: str) -> Ran:
    """The fastest of several runs: what else the machine does only ever adds."""
    return min((ran(*arguments) for _ in range(times)), key=lambda run: run.wall_s)


def verdict(wall_s: float, cpu_s: float, budget_s: float) -> str:
    """Whether a budget is held; by CPU time alone where other work kept the cores."""
    if wall_s <= budget_s:
        return "yes"
    busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    return "by CPU time" if busy and cpu_s <= budget_s else "NO"


def row(*cells: object) -> None:
    """One line of a Markdown table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def solves(names: list[str], times: int) -> bool:
    """Every scenario from the shell, and the check of its certificate."""
    row(
        "scenario", "devices", "shell to answer", "CPU", "budget", "search", "check", "check CPU", "peak memory", "held"
    )
    row("---", *["--:"] * 8, "---")
    kept = True
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            devices = read_problem(name).devices
            result = Path(folder) / "result.json"
            solve = best(times, "solve", name, "--out", str(result), "--json")
            check = best(1, "certify", str(result), "--json")
            search_s = json.loads(result.read_text())["search"]["wall_s"]
            check_s = json.loads(check.output)["wall_s"]
            limits = (SOLVE_S, CHECK_S) if devices <= SMALL else (LARGE_SOLVE_S, LARGE_CHECK_S)
            peak = max(solve.peak_bytes, check.peak_bytes)
            held = [verdict(solve.wall_s, solve.cpu_s, limits[0]), verdict(check_s, check.cpu_s, limits[1])]
            held.append("yes" if peak <= MEMORY_BYTES else "NO")
            kept &= "NO" not in held
            row(
                name, f"{devices:,}", f"{solve.wall_s:.2f} s", f"{solve.cpu_s:.2f} s", f"{limits[0]} s",
                f"{search_s:.3f} s", f"{check_s:.2f} s", f"{check.cpu_s:.2f} s", f"{peak / 2**20:,.0f} MiB",
                next((word for word in ("NO", "by CPU time") if word in held), "yes"),
            )  # fmt: skip
    return kept


def lights(times: int) -> bool:
    """Commands that load neither NumPy nor the solver."""
    layout = next(iter(sorted((catalog.root() / "layouts").glob("*.yaml"))))
    print()
    row("command", "process", "CPU", "budget", "peak memory", "held")
    row("---", *["--:"] * 4, "---")
    kept = True
    for arguments in (("catalog",), ("catalog", "models"), ("verify", str(layout)), ("--version",)):
        found = best(times, *arguments)
        held = verdict(found.wall_s, found.cpu_s, LIGHT_S)
        kept &= held != "NO"
        shown = " ".join(Path(word).name for word in arguments)
        peak = f"{found.peak_bytes / 2**20:,.0f} MiB"
        row(f"`{shown}`", f"{found.wall_s:.2f} s", f"{found.cpu_s:.2f} s", f"{LIGHT_S} s", peak, held)
    return kept


def pricing(name: str, times: int) -> bool:
    """Rows whose bounds one core evaluates in a second, on a lattice of all stages and chunks."""
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
    import numpy as np  # noqa: PLC0415 - after the number of threads is set

    from optimizer.domain.lattice import axes  # noqa: PLC0415 - the same
    from optimizer.search.bounds import Bounds  # noqa: PLC0415 - the same
    from optimizer.search.lattice import meshes  # noqa: PLC0415 - the same
    from optimizer.search.pricing import Pricer  # noqa: PLC0415 - the same
    from optimizer.search.rows import Rows  # noqa: PLC0415 - the same
    from optimizer.search.targets import target  # noqa: PLC0415 - the same

    problem = read_problem(name)
    own = axes(problem)
    found, _ = meshes(problem, own)
    pricer, goal = Pricer(problem, found), target(problem, None)
    count, block = 1 << 20, 1 << 15
    rng = np.random.default_rng(0)
    mesh = rng.integers(0, len(found), count)
    pp = rng.choice(np.array(own.pp, dtype=np.int64), count)
    chunk = rng.choice(np.array([c or 0 for c in own.chunks], dtype=np.int64), count)
    devices = np.full(block, float(problem.devices))
    rates = []
    for _ in range(times):
        begun = time.process_time()
        for start in range(0, count, block):
            part = Rows(*(values[start : start + block] for values in (mesh, pp, chunk, chunk)))
            Bounds(pricer, part, own.pp[-1]).reachable(goal, devices)
        rates.append(count / (time.process_time() - begun))
    rate, held = max(rates), max(rates) >= ROWS_PER_S
    print()
    row("lattice", "mesh pairs", "rows priced", "rows/s and core", "budget", "held")
    row("---", *["--:"] * 4, "---")
    row(name, f"{len(found):,}", f"{count:,}", f"{rate:,.0f}", f"{ROWS_PER_S:,}", "yes" if held else "NO")
    return held


def scenario_file(home: Path, name: str) -> Path:
    """The file of a scenario in a checkout, feasible or not."""
    files = (home / "problems/scenarios" / folder / f"{name}.yaml" for folder in ("", "infeasible"))
    return next((file for file in files if file.is_file()), home / f"{name}.yaml")


def compared(names: list[str], times: int, old: Path) -> bool:
    """Every scenario beside another version, whose file of it is asked: least CPU seconds of runs in turn."""
    row("scenario", "candidates before", "now", "grown", "CPU before", "now", "slower", "search before", "now")
    row("---", *["--:"] * 8)
    kept = True
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        for name in names:
            least, counts, searched = [float("inf")] * 2, ["", ""], [float("inf")] * 2
            for _ in range(times):
                for which, home in enumerate((old, ROOT)):
                    result.unlink(missing_ok=True)
                    run = ran("solve", str(scenario_file(home, name)), "--out", str(result), "--json", home=home)
                    if result.exists():
                        search = json.loads(result.read_text())["search"]
                        least[which], counts[which] = min(least[which], run.cpu_s), search["candidates"]
                        searched[which] = min(searched[which], search["wall_s"])
            if "" in counts:
                row(name, *(count or "not solved" for count in counts))
                continue
            before, now = map(int, counts)
            slower = least[1] / least[0]
            kept &= slower <= SLOWER or now > before
            row(
                name, f"{before:,}", f"{now:,}", f"{now / max(before, 1):,.1f}×", f"{least[0]:.2f} s",
                f"{least[1]:.2f} s", f"{slower:.2f}×", f"{searched[0]:.3f} s", f"{searched[1]:.3f} s",
            )  # fmt: skip
    return kept


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*")
    parser.add_argument("--times", type=int, default=2, help="runs of each, of which the fastest counts")
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="a checkout of another version")
    given = parser.parse_args()
    names = given.scenarios or list(catalog.names("scenarios"))
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; the fastest of {given.times} runs\n")
    if given.beside is not None:
        infeasible = sorted(file.stem for file in (ROOT / "problems/scenarios/infeasible").glob("*.yaml"))
        return 0 if compared(given.scenarios or [*names, *infeasible], given.times, given.beside.resolve()) else 1
    held = [
        solves(names, given.times),
        lights(given.times + 1),
        *(pricing(name, 3) for name in ("llama-3.1-70b-h100-16", "deepseek-v3-decode-h800-320")),
    ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
