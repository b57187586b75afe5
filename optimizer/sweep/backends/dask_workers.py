"""A Dask cluster: one that runs already, or worker processes on this machine. Dask moves the work of a dead worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice

import dask
from distributed import Client, KilledWorker, LocalCluster, as_completed

from optimizer.sweep.answer import Answer, Task, answer
from optimizer.sweep.backends import ATTEMPTS, Workers, given_up

WINDOW = 8
"""Tasks in the cluster at a time, for each thread it has."""


def _client(place: Workers, stack: ExitStack) -> Client:
    stack.enter_context(
        dask.config.set(
            {
                "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
                "distributed.worker.daemon": True,
                "distributed.admin.large-graph-warning-threshold": "1GB",
            }
        )
    )
    if place.address is not None:
        return stack.enter_context(Client(place.address))
    cluster = LocalCluster(n_workers=place.jobs, threads_per_worker=1, processes=True, dashboard_address=None)
    return stack.enter_context(Client(stack.enter_context(cluster)))


def run(tasks: Sequence[Task], place: Workers) -> Iterator[Answer]:
    """Answers in the order they come."""
    with ExitStack() as stack:
        client = _client(place, stack)
        window = WINDOW * max(1, sum(client.nthreads().values()))
        waiting = iter(tasks)
        sent = {}

        def send(count: int) -> list[object]:
            new = []
            for task in islice(waiting, count):
                future = client.submit(answer, task, pure=False, key=f"problem-{task.index}-{task.key[:16]}")
                sent[future.key] = task
                new.append(future)
            return new

        done = as_completed(send(window))
        for future in done:
            task = sent.pop(future.key)
            try:
                answered = future.result()
            except KilledWorker:
                answered = given_up(task)
            future.release()
            yield answered
            done.update(send(1))
