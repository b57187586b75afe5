"""Time left to a search."""

import time


def seconds_left(deadline: float | None) -> float:
    """Seconds until the deadline, ``time.monotonic()``; infinite without one."""
    return float("inf") if deadline is None else deadline - time.monotonic()
