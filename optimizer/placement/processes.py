"""Time and processes of a long search: small NumPy steps hold Python's lock, so threads gain little."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

Done = TypeVar("Done")

WORTH_S, WORTH_WARM_S = 2.0, 0.3
"""Seconds left from which processes are worth what they cost: about one to begin, little once they have begun."""

_begun = False


def seconds_left(deadline: float | None) -> float:
    """Seconds until the deadline, ``time.monotonic()``; infinite without one."""
    return float("inf") if deadline is None else deadline - time.monotonic()


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
    global _begun  # noqa: PLW0603 - the pool of processes is one for the whole process as well
    jobs = min(workers(), len(parts))
    if jobs > 1 and seconds_left(deadline) > (WORTH_WARM_S if _begun else WORTH_S):
        from joblib import Parallel, delayed, parallel_config  # noqa: PLC0415 - short searches do without

        try:
            with parallel_config(backend="loky", inner_max_num_threads=1):
                done = Parallel(n_jobs=jobs, batch_size=1, max_nbytes=None)(delayed(work)(*part) for part in parts)
        except BrokenProcessPool:
            # A process was killed; what it did can be done here.
            pass
        else:
            _begun = True
            return list(done)
    return [work(*part) for part in parts]
