"""Where problems are solved: this machine's cores, a Dask cluster or a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from optimizer.errors import Fault, SpecError
from optimizer.readers.messages import nearest
from optimizer.sweep.answer import Answer, Task, failed

ATTEMPTS: Final = 3
"""Workers that may die over one problem before it is given up."""


@dataclass(frozen=True)
class Workers:
    """How many workers, and where.

    Attributes
    ----------
    jobs
        Worker processes on this machine; None: one for each core.
    address
        Of a cluster that runs already; None: one is started here.
    """

    jobs: int | None = None
    address: str | None = None


Backend = Callable[[Sequence[Task], Workers], Iterator[Answer]]

BACKENDS: Final = {"loky": "joblib", "dask": "dask[distributed]", "ray": "ray"}
"""Backends, and what each needs."""
_INSTALL: Final = {"loky": "joblib", "dask": "shardproof[dask]", "ray": "shardproof[ray]"}


def backend(name: str) -> Backend:
    """A backend by name.

    Raises
    ------
    SpecError
        No such backend, or what it needs is not installed.
    """
    if name not in BACKENDS:
        message = f"{name!r} is no backend: {', '.join(BACKENDS)}"
        raise SpecError(Fault(None, None, None, "--backend", message, nearest(name, list(BACKENDS))))
    try:
        run: Backend = import_module(f"optimizer.sweep.backends.{name}_workers").run
    except ImportError as error:
        if (error.name or "").startswith("optimizer"):
            raise
        message = f'{name} needs {BACKENDS[name]}: pip install "{_INSTALL[name]}"'
        raise SpecError(Fault(None, None, None, "--backend", message)) from None
    return run


def given_up(task: Task) -> Answer:
    """The answer to a task that keeps killing its worker."""
    return failed(task, "failed", f"its worker process ended {ATTEMPTS} times")
