"""Start-up logs of vLLM and SGLang, line by line: weights loaded, room for the cache, tokens, concurrency."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

from optimizer.audit.deployed import share_of_weights
from optimizer.audit.deployed_claim import judged_at, priced_on
from optimizer.audit.deployment import Sentence, size
from optimizer.audit.facts import Derivation, JudgedClaim
from optimizer.audit.lexicon import ONE, UNITS
from optimizer.audit.verdict import Verdict, plain
from optimizer.readers.catalog import load_hardware

_LOADED: Final = re.compile(
    r"Model loading took (\d+(?:\.\d+)?) ?(GiB|GB)|Load weight end\..*?mem usage=(\d+(?:\.\d+)?) ?(GB)", re.IGNORECASE
)
_AVAILABLE: Final = re.compile(r"Available KV cache memory: (\d+(?:\.\d+)?) ?(GiB|GB)", re.IGNORECASE)
_CACHED: Final = re.compile(
    r"GPU KV cache size: ([\d,]+) tokens|max_total_num_tokens=(\d+)|KV Cache is allocated\. #tokens: (\d+)",
    re.IGNORECASE,
)
_CONCURRENT: Final = re.compile(r"Maximum concurrency for ([\d,]+) tokens per request: (\d+(?:\.\d+)?)x", re.IGNORECASE)
_LOGGED: Final = Fraction(1, 20)
"""Share by which an engine's pages and groups may differ from bytes over bytes a token."""


def judge_log(found: Sequence[Sentence]) -> Iterator[JudgedClaim]:
    """Lines of a start-up log, each against the model and the lines before it."""
    room: tuple[Fraction, str] | None = None
    cached: int | None = None
    for sentence in found:
        degrees = sentence.known.degrees
        devices = degrees.get("tp", 1) * degrees.get("pp", 1)
        if (match := _LOADED.search(sentence.text)) is not None:
            room = cached = None
            value = size(match[1] or match[3], match[2] or match[4])
            if degrees.get("tp"):
                yield from share_of_weights(sentence, match, value, {"tp": devices}, also=sentence.known.devices)
        if (match := _AVAILABLE.search(sentence.text)) is not None:
            room = size(match[1], match[2]), f"{match[1]} {match[2]}"
            capacity = load_hardware(sentence.known.device).device.memory if sentence.known.device else None
            impossible = capacity is not None and room[0] > capacity
            reading = (
                [Derivation("memory of a device", Fraction(capacity), "device memory", plain(Fraction(capacity)))]
                if capacity
                else []
            )
            yield judged_at(sentence, match, "kv_cache_room_bytes", room[0], UNITS[match[2]],
                        Verdict.IMPOSSIBLE if impossible else Verdict.UNSUPPORTED, reading,
                        "memory left for the cache, not the cache in use")  # fmt: skip
        if (match := _CACHED.search(sentence.text)) is not None:
            cached = int(next(filter(None, match.groups())).replace(",", ""))
            priced = priced_on(sentence.known, degrees["tp"]) if degrees.get("tp") and room else None
            if priced is None or room is None:
                yield judged_at(sentence, match, "kv_cache_tokens", Fraction(cached), ONE, Verdict.UNSUPPORTED, [])
                continue
            each = Fraction(priced[2].figures["kv_cache_bytes_per_token"].value) / degrees.get("pp", 1)
            options = [
                Derivation(name, room[0] * part / each, "memory for the cache ÷ bytes of a token",
                           f"{room[1]} ÷ {plain(each / part)}")
                for name, part in (("a cache of 16 bits", 1), ("a cache of 8 bits", 2))
            ]  # fmt: skip
            options = (
                options[1:]
                if sentence.known.cache == "fp8"
                else options[:1]
                if sentence.known.cache == "bf16"
                else options
            )
            options.sort(key=lambda one: abs(one.value - cached))
            holds = abs(options[0].value - cached) <= options[0].value * _LOGGED
            yield judged_at(
                sentence,
                match,
                "kv_cache_tokens",
                Fraction(cached),
                ONE,
                Verdict.HOLDS if holds else Verdict.FAILS,
                options,
            )
        if (match := _CONCURRENT.search(sentence.text)) is not None and cached is not None:
            length, times = int(match[1].replace(",", "")), Fraction(match[2])
            right = Fraction(cached, length)
            reading = [
                Derivation(
                    "tokens over the length", right, "kv_cache_tokens ÷ max_model_len", f"{cached:,} ÷ {length:,}"
                )
            ]
            verdict = Verdict.HOLDS if abs(right - times) <= max(right * _LOGGED, Fraction(1, 100)) else Verdict.FAILS
            yield judged_at(sentence, match, "max_concurrency", times, ONE, verdict, reading)
