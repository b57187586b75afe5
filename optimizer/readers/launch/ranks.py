"""Ranks that a launcher starts: torchrun, mpirun, srun, and what their environment says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optimizer.readers.launch.shell import Word


def _option(words: Sequence[Word], names: Sequence[str]) -> int | None:
    for index, word in enumerate(words):
        name, equals, value = word.text.partition("=")
        if name.replace("_", "-") not in names:
            continue
        text = value if equals else words[index + 1].text if index + 1 < len(words) else ""
        text = text.rpartition(":")[2]
        if text.isdigit() and len(text) < 9:
            return int(text)
    return None


def ranks_of(words: Sequence[Word]) -> int | None:
    """Ranks that mpirun or srun start; None: neither does."""
    launcher = next(
        (i for i, w in enumerate(words) if w.text.rsplit("/", 1)[-1] in {"mpirun", "srun", "mpiexec"}), None
    )
    if launcher is None:
        return None
    return _option(words[launcher:], ("-n", "-np", "--ntasks"))


def world_of(before: Sequence[Word], environment: Mapping[str, str]) -> int | None:
    """Ranks of a training script: nodes × processes on each; None: not said."""
    per_node = _option(before, ("--nproc-per-node", "--nproc"))
    nodes = _option(before, ("--nnodes", "-N", "--nodes"))
    if per_node is not None:
        return per_node * (nodes or 1)
    ranks = ranks_of(before)
    if ranks is not None:
        return ranks
    for name in ("WORLD_SIZE", "NGPU"):
        value: Any = environment.get(name, "")
        if value.isdigit() and len(value) < 9:
            return int(value)
    return None
