"""Versions of engines as they are written: ``0.33.0``, ``0.5.3.post1``."""

from __future__ import annotations

import re

_VERSION = re.compile(r"[0-9]+(\.(post)?[0-9]+)*")


def number(version: str) -> tuple[int, ...]:
    """A version as numbers that compare; a post-release comes after its own."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def is_version(text: str) -> bool:
    """Whether a text is a version: whole numbers with dots between, as ``0.5.3`` or ``0.5.3.post1``."""
    return _VERSION.fullmatch(text) is not None


def before(version: str, other: str) -> bool:
    """Whether a version comes before another."""
    return number(version) < number(other)
