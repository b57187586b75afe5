"""Engines as data, one file each: rules, what an engine keeps, how it allocates, what its flags are called."""

from __future__ import annotations

from functools import lru_cache

from optimizer.domain.engines import fsdp, megatron, sglang, trtllm, vllm
from optimizer.domain.engines.engine import Engine, Waiting
from optimizer.domain.engines.reservation import CacheRules, Reservation, least_defaults
from optimizer.domain.engines.rule import EngineRule
from optimizer.domain.engines.version import before, is_version, number

ENGINES: dict[str, tuple[Engine, ...]] = {
    engine.RELEASES[0].name: engine.RELEASES for engine in (vllm, sglang, trtllm, megatron, fsdp)
}
"""Releases of each engine, oldest first."""

OLDER: dict[str, tuple[Engine, ...]] = {"vllm": vllm.OLDER}
"""Releases before these: nothing is derived by them unless a launch names one."""

ANY = "any"
"""The union of all engines."""


def engine_named(name: str) -> Engine:
    """An engine by name (`vllm`: its newest release) or name and version (`vllm@0.30`: the release that stands for it).

    Raises
    ------
    ValueError
        An unknown engine, or a version older than any whose facts are known.
    """
    if name == ANY:
        return union(tuple(releases[-1] for releases in ENGINES.values()))
    base, at, version = name.partition("@")
    if base not in ENGINES:
        raise ValueError(f"unknown engine {name!r}; engines: {', '.join((ANY, *ENGINES))} (a version: vllm@0.30)")
    releases = ENGINES[base]
    if not at:
        return releases[-1]
    if not is_version(version):
        raise ValueError(f"{version!r} in engine {name!r} is no version: write {base}@{releases[-1].since}")
    release_number = number(version)
    known = (*OLDER.get(base, ()), *releases)
    fitting = [release for release in known if number(release.since) <= release_number]
    if not fitting:
        raise ValueError(f"engine {name!r}: nothing is known of {base} before {known[0].since}")
    return fitting[-1]


def release_of(name: str, version: str | None) -> Engine:
    """The release of an engine that stands for a version: the oldest that is known for an older one."""
    try:
        return engine_named(f"{name}@{version}" if version else name)
    except ValueError:
        return (*OLDER.get(name, ()), *ENGINES[name])[0]


def _least(reservations: tuple[Reservation, ...]) -> Reservation:
    def least(name: str) -> int:
        values: list[int] = [getattr(reservation, name) for reservation in reservations]
        return min(values)

    return Reservation(
        context_bytes=least("context_bytes"), direct_group_bytes=least("direct_group_bytes"),
        switched_group_bytes=least("switched_group_bytes"), stage_bytes=least("stage_bytes"),
        graph_bytes=least("graph_bytes"), graph_layer_bytes=least("graph_layer_bytes"),
        graph_latent_layer_bytes=least("graph_latent_layer_bytes"), sampler_bytes=least("sampler_bytes"),
        sampler_rows=least("sampler_rows"), workspace_bytes=least("workspace_bytes"),
        gathered_sequences=least("gathered_sequences"),
        defaults=least_defaults([reservation.defaults for reservation in reservations]),
        source="the least that any engine keeps",
    )  # fmt: skip


def _shortest(waits: tuple[Waiting, ...]) -> Waiting:
    return Waiting(
        overhead_s=min(waiting.overhead_s for waiting in waits),
        steps=min(waiting.steps for waiting in waits), source="the least that a request waits in any engine",
    )  # fmt: skip


@lru_cache
def union(members: tuple[Engine, ...]) -> Engine:
    """Accepts what some engine accepts, and keeps no more than the one that keeps least."""
    return Engine(
        name=ANY,
        version="",
        since="",
        rules=(),
        memory_utilization=max(m.memory_utilization for m in members),
        reservation=_least(tuple(m.reservation for m in members)),
        cache=CacheRules(block_tokens=min(m.cache.block_tokens for m in members)),
        waiting=_shortest(tuple(m.waiting for m in members)),
        vocabulary_padding=min(m.vocabulary_padding for m in members),
        source="the least that any engine keeps",
        members=members,
    )


__all__ = ["ANY", "ENGINES", "OLDER", "Engine", "EngineRule", "before", "engine_named", "is_version", "release_of"]
