"""Copies of a problem with something changed."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from optimizer.domain.problem import Problem


def changed(problem: Problem, **update: Any) -> Problem:
    """A copy of a problem with fields replaced, and nothing cached that was derived from the old ones."""
    copy = problem.model_copy(update=update)
    for name in dir(type(problem)):
        if isinstance(getattr(type(problem), name, None), cached_property):
            copy.__dict__.pop(name, None)
    return copy
