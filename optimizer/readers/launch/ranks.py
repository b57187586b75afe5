"""Ranks that a launcher starts: torchrun, mpirun, srun, and what their environment says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from optimizer.readers.launch.words import Word


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


def _launcher(words: Sequence[Word]) -> int | None:
    """Where mpirun or srun stands."""
    return next((i for i, w in enumerate(words) if w.text.rsplit("/", 1)[-1] in {"mpirun", "srun", "mpiexec"}), None)


def ranks_of(words: Sequence[Word]) -> int | None:
    """Ranks that mpirun or srun start; None: neither does."""
    at = _launcher(words)
    return None if at is None else _option(words[at:], ("-n", "-np", "--ntasks"))


_RANKS_OF_NODE: Final = (
    "--ntasks-per-node", "--tasks-per-node", "--npernode", "-npernode", "-ppn", "--ppn", "--ranks-per-node",
)  # fmt: skip
"""Options of srun, Open MPI and MPICH that say how many ranks a node has."""


def node_ranks_of(words: Sequence[Word]) -> int | None:
    """Ranks of each node that mpirun or srun start; None: neither is told."""
    at = _launcher(words)
    if at is None:
        return None
    given = words[at + 1 :]
    told = _option(given, _RANKS_OF_NODE)
    mapped = next(
        (match for word in given if (match := re.fullmatch(r"(?:--map-by=)?ppr:(\d+):node.*", word.text))), None
    )
    if told is None and mapped is not None:
        told = int(mapped[1])
    if told is not None:
        return told
    if words[at].text.rsplit("/", 1)[-1] != "srun":
        return _option(given, ("-N",))
    ranks, nodes = ranks_of(words), _option(given, ("-N", "--nodes"))
    return -(-ranks // nodes) if ranks and nodes else None


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
