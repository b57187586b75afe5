"""A time limit on what a command looks for beside its answer."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_AT_ONCE_S = 1e-3


class TimePassedError(Exception):
    """The time limit has passed."""


@dataclass(frozen=True)
class TimeLimit:
    """Seconds of a command, from when this is made; None: no limit."""

    seconds: float | None
    started: float = field(default_factory=time.monotonic)

    def left(self) -> float | None:
        """Seconds that are left; 0 where the limit has passed."""
        return None if self.seconds is None else max(0.0, self.started + self.seconds - time.monotonic())

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Stop what runs inside once the limit has passed, wherever it stands.

        Needs a platform with interval timers, and the main thread; elsewhere what runs goes on to its end.

        Raises
        ------
        TimePassedError
            When it has passed.
        """
        left, main = self.left(), threading.current_thread() is threading.main_thread()
        if left is None or not main or not hasattr(signal, "setitimer"):
            yield
            return

        def stop(*_: object) -> None:
            raise TimePassedError

        before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, max(left, _AT_ONCE_S))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
