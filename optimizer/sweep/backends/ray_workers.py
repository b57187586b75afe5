"""A Ray cluster: one that runs already, or worker processes on this machine. Ray retries the work of a dead worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import ray
from ray.exceptions import RayError, WorkerCrashedError

from optimizer.sweep.answer import Answer, Task, answer, failed
from optimizer.sweep.backends import ATTEMPTS, Workers, given_up

WINDOW = 8
"""Tasks in the cluster at a time, for each of its CPUs."""


def run(tasks: Sequence[Task], place: Workers) -> Iterator[Answer]:
    """Answers in the order they come."""
    ours = not ray.is_initialized()
    if ours:
        cpus = place.jobs if place.address is None else None
        ray.init(address=place.address, num_cpus=cpus, include_dashboard=False, log_to_driver=False)
    try:
        remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(answer)
        window = int(WINDOW * max(1, ray.cluster_resources().get("CPU", 1)))
        waiting = iter(tasks)
        sent = {remote.remote(task): task for task in islice(waiting, window)}
        while sent:
            ready, _ = ray.wait(list(sent), num_returns=1)
            task = sent.pop(ready[0])
            try:
                answered = ray.get(ready[0])
            except WorkerCrashedError:
                answered = given_up(task)
            except RayError as error:
                answered = failed(task, "failed", f"Ray: {type(error).__name__}")
            yield answered
            following = next(waiting, None)
            if following is not None:
                sent[remote.remote(following)] = following
    finally:
        if ours:
            ray.shutdown()
