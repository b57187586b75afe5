"""Parts of a long search, each in its own process: small NumPy steps hold Python's lock, so threads gain little."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from optimizer.solve.placement.clock import seconds_left

Done = TypeVar("Done")

WORTH_S = 3.0
"""Seconds left from which processes are worth what they cost to begin, about one."""


def workers() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(work: Callable[..., Done], parts: Sequence[tuple[Any, ...]], *, deadline: float | None) -> list[Done]:
    """``work(*part)`` of every part, in order; in this process where time is short or there is one processor.

    Parameters
    ----------
    work
        A module's own function, whose answer depends on its arguments alone.
    parts
        Arguments; they travel to the processes.
    deadline
        ``time.monotonic()`` at which the search ends, which all processes of a machine share.
    """
    jobs = min(workers(), len(parts))
    if jobs > 1 and seconds_left(deadline) > WORTH_S:
        from joblib import Parallel, delayed, parallel_config  # noqa: PLC0415 - short searches do without

        try:
            with parallel_config(backend="loky", inner_max_num_threads=1):
                found = Parallel(n_jobs=jobs, batch_size=1, max_nbytes=None)(delayed(work)(*part) for part in parts)
        except BrokenProcessPool:
            # A process was killed; what it did can be done here.
            pass
        else:
            return list(found)
    return [work(*part) for part in parts]
