"""What tests do to worker processes."""

import os
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from optimizer.sweep.answer import Answer
from optimizer.sweep.grid import Cell, Grid, read_grid

TEXT = """
problem:
  workload: {input_tokens: 1000, output_tokens: 200}
  hardware: h100-sxm-8
grid:
  model: [llama-3.1-8b, qwen3-32b]
  devices: [1, 2, 4, 8]
  limits.tpot: [20 ms, 50 ms]
"""


def grid(folder: Path, text: str = TEXT) -> Grid:
    file = folder / "grid.yaml"
    file.write_text(text)
    return read_grid(file)


def poisoned(found: Grid, index: int) -> Grid:
    """The grid with one problem that kills every process that looks at it, but for this one."""
    kill = partial(os.spawnlp, os.P_WAIT, "sh", "sh", "-c", f"[ $PPID = {os.getpid()} ] || kill -9 $PPID")
    bad: Any = SimpleNamespace(get=kill, items=tuple)
    cells = [Cell(c.index, c.labels, bad) if c.index == index else c for c in found.cells]
    return Grid(found.name, found.axes, tuple(cells))


def _parent(process: Path) -> int:
    return int((process / "stat").read_text().rpartition(")")[2].split()[1])


def descendants(words: str) -> list[int]:
    """Processes below this one whose command line has the words, or begins with them after a ``^``."""
    parents, lines = {}, {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                parents[int(process.name)] = _parent(process)
                lines[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, ValueError):
                continue

    def ours(number: int) -> bool:
        while number > 1:
            number = parents.get(number, 0)
            if number == os.getpid():
                return True
        return False

    def named(line: str) -> bool:
        return line.startswith(words[1:]) if words.startswith("^") else words in line

    return [number for number, line in lines.items() if ours(number) and named(line)]


class Killer:
    """Ends a worker after the first answers, once."""

    def __init__(self, words: str, after: int = 2) -> None:
        self.words, self.after, self.killed = words, after, 0

    def __call__(self, done: int, of: int, answer: Answer) -> None:
        if done >= self.after and not self.killed and done < of:
            for number in descendants(self.words)[:1]:
                os.kill(number, signal.SIGKILL)
                self.killed = number
