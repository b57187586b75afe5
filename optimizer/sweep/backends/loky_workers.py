"""The cores of this machine, through joblib's loky: a process that dies takes nothing with it but what it was at."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from joblib import Parallel, cpu_count, delayed, parallel_config

from optimizer.sweep.answer import Answer, Task, answer
from optimizer.sweep.backends import ATTEMPTS, Workers, given_up


def _marked(task: Task, folder: str) -> Answer:
    """Answer a task; while that lasts, a file says so."""
    mark = Path(folder) / str(task.index)
    mark.touch()
    answered = answer(task)
    mark.unlink()
    return answered


def _pool(tasks: Sequence[Task], jobs: int, folder: str) -> Iterator[Answer]:
    with parallel_config(backend="loky", inner_max_num_threads=1):
        pool = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="3*n_jobs")
        yield from pool(delayed(_marked)(task, folder) for task in tasks)


def run(tasks: Sequence[Task], place: Workers) -> Iterator[Answer]:
    """Answers in the order they come.

    Where a process dies, joblib ends all of them. What they were at is told by the marks; the others go on in a new
    pool, and the marked ones come last, each alone in a pool, so that only what kills its process is given up.
    """
    # One worker would be none: joblib then runs in this process.
    jobs = max(2, place.jobs or cpu_count())
    unanswered = {task.index: task for task in tasks}
    suspects: dict[int, int] = {}
    with tempfile.TemporaryDirectory(prefix="shardproof-") as folder, stopped_in_silence():
        while unanswered:
            suspected = [index for index in unanswered if index in suspects]
            clear = [task for index, task in unanswered.items() if index not in suspects]
            batch = clear or [unanswered[suspected[0]]]
            try:
                for answered in _one_at_a_time(batch, folder) if place.jobs == 1 else _pool(batch, jobs, folder):
                    del unanswered[answered.index]
                    yield answered
            except BrokenProcessPool:
                for index in _blamed(batch, unanswered, folder):
                    suspects[index] = suspects.get(index, 0) + 1
                    if suspects[index] >= ATTEMPTS:
                        yield given_up(unanswered.pop(index))


@contextmanager
def stopped_in_silence() -> Iterator[None]:
    """A pool that is stopped closes what its managing thread reads, which may then print a traceback as it ends."""
    told = threading.excepthook

    def tell(raised: threading.ExceptHookArgs) -> None:
        flags = getattr(raised.thread, "executor_flags", None)
        if not getattr(flags, "shutdown", False):
            told(raised)

    threading.excepthook = tell
    try:
        yield
    finally:
        threading.excepthook = told


def _blamed(batch: Sequence[Task], unanswered: Mapping[int, Task], folder: str) -> list[int]:
    """Tasks that were being answered when a process died; all that were sent where none had begun."""
    marks = list(Path(folder).iterdir())
    for mark in marks:
        mark.unlink()
    begun = [index for mark in marks if (index := int(mark.name)) in unanswered]
    return begun or [task.index for task in batch if task.index in unanswered]


def _one_at_a_time(tasks: Sequence[Task], folder: str) -> Iterator[Answer]:
    """A pool of two workers of which one is busy."""
    for task in tasks:
        yield from _pool([task], 2, folder)
