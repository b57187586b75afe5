"""Runs a function in a process of its own: its peak memory is its own, and its end ends nothing else."""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from optimizer.errors import ShardproofError

_KIND = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_PRELOADED = ["optimizer.bench.methods"]


@dataclass(frozen=True, slots=True)
class Alone:
    """What became of the function: its result, or why there is none."""

    result: Any
    peak_bytes: int | None
    failure: str | None = None


def peak_bytes() -> int | None:
    """Most memory that this process ever held; None where the system does not tell."""
    try:
        import resource  # noqa: PLC0415 - missing on Windows
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most) if sys.platform == "darwin" else int(most) * 1024


def _serve(pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        answer = Alone(function(*arguments), peak_bytes())
    except (ShardproofError, MemoryError) as error:
        answer = Alone(None, peak_bytes(), f"{type(error).__name__}: {error}")
    with contextlib.suppress(BrokenPipeError):  # whoever asked has been interrupted
        pipe.send(answer)
    pipe.close()


def run_alone(function: Callable[..., Any], *arguments: Any, limit_s: float | None = None) -> Alone:
    """Call a module-level function in a fresh process.

    Parameters
    ----------
    limit_s
        Seconds after which the process is ended.
    """
    context: Any = multiprocessing.get_context(_KIND)
    if _KIND == "forkserver":
        context.set_forkserver_preload(_PRELOADED)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(limit_s):
            process.kill()
            return Alone(None, None, f"stopped after {limit_s:g} s")
        answer: Alone = ours.recv()
    except EOFError:
        process.join()
        return Alone(None, None, f"its process ended with status {process.exitcode}")
    else:
        return answer
    finally:
        ours.close()
        if process.is_alive():
            process.join(5)
            process.kill()
        process.join()
