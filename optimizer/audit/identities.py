"""Figures that follow from others written in the same document by a product: total = each × devices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, product
from typing import Final

from optimizer.audit.facts import MOST_READINGS, Claims, Derivation, Facts
from optimizer.audit.statements import Statement
from optimizer.audit.verdict import plain

BATCH_ONE: Final = "decode at batch 1, one device reading every weight of the model for each token"


@dataclass(frozen=True, slots=True)
class Identity:
    """``name`` is the product of ``times`` over ``over``, each a fact or another claim of the document.

    ``sure``: what it gives, the figure means, so that it holds; else it is one reading of several.
    ``closes``: what differs from its one value fails. ``bounds``: the figure cannot be more.
    """

    names: tuple[str, ...]
    reading: str
    times: tuple[str, ...]
    over: tuple[str, ...] = ()
    constant: int = 1
    sure: bool = False
    closes: bool = False
    bounds: bool = False


_SHAPE: Final = ("expert_matrices", "hidden_size", "expert_hidden_size")
_EXPERT_BYTES: Final = (*_SHAPE, "bytes_per_parameter")
IDENTITIES: Final = (
    Identity(("memory_utilization",), "of the device", ("memory",), ("device_memory",), sure=True, closes=True),
    Identity(("memory_utilization",), "of the device", ("weights",), ("device_memory",), sure=True),
    Identity(("throughput",), "per device, on every device", ("throughput_per_device", "devices"), sure=True,
             closes=True),
    Identity(("experts_total",), "expert instances of the model", ("experts_per_layer", "layers"), sure=True,
             closes=True),
    Identity(("experts_total",), "experts of one layer", ("experts_per_layer",)),
    Identity(("experts_per_gpu_per_layer",), "whole-expert equivalents of one layer", ("experts_per_layer",),
             ("devices",)),
    Identity(("memory", "weights"), "nothing replicated: attention and embeddings too are split over all devices",
             ("parameters", "bytes_per_parameter"), ("devices",)),
    Identity(("memory_total", "weights_total"), "all weights once", ("parameters", "bytes_per_parameter")),
    Identity(("parameters_per_expert",), "one expert", _SHAPE, sure=True, closes=True),
    Identity(("expert_parameters",), "one expert", _SHAPE),
    Identity(("expert_parameters",), "all experts", ("experts_per_layer", "layers", *_SHAPE), sure=True, closes=True),
    Identity(("expert_parameters",), "all experts", ("experts", "devices", *_SHAPE)),
    Identity(("expert_weights",), "experts of a device", ("experts", *_EXPERT_BYTES), sure=True, closes=True),
    Identity(("throughput_per_device",), BATCH_ONE, ("memory_bandwidth", "hbm_bandwidth_utilization"),
             ("parameters", "bytes_per_parameter")),
    Identity(("throughput_per_device",), BATCH_ONE, ("memory_bandwidth",), ("parameters", "bytes_per_parameter")),
    Identity(("throughput_per_device",), "any phase and batch: 2 FLOP per active parameter and token", ("peak_flops",),
             ("active_parameters",), constant=2, bounds=True),
    Identity(("ttft",), "one prompt through one device", ("input_tokens",), ("throughput_per_device",)),
    Identity(("ttft",), "one prompt through every stage in turn", ("input_tokens", "pp"), ("throughput_per_device",)),
    Identity(("ttft",), "every prompt of the batch, the last one's wait", ("batch", "input_tokens"), ("throughput",)),
    Identity(("achieved_bandwidth",), "the highest memory bandwidth written here", ("memory_bandwidth",), bounds=True),
    Identity(("achieved_flops",), "the highest peak written here", ("peak_flops",), bounds=True),
    Identity(("memory", "weights"), "the memory of one device", ("device_memory",), bounds=True),
)  # fmt: skip
"""Arithmetic that authors leave unwritten."""
_TERA: Final = ((Fraction(1), ""), (Fraction(2**40, 10**12), " (TB/s read as TiB/s)"))
_FORMATS: Final = re.compile(r"fp64|fp32|tf32|bf16|fp16|fp8|int8|fp4|nvfp4|mxfp4")
_PHASES: Final = re.compile(r"prefill|decode|prompt|generation|input|output|peak|average|sustained|batch")


def _formats(statement: Statement) -> set[str]:
    return set(_FORMATS.findall(f"{statement.near} {statement.text}".lower()))


class Identities:
    """The identities of one document or section."""

    def __init__(self, facts: Facts, claims: Claims) -> None:
        self.facts = facts
        self.claims = claims
        dense = not any(facts.values(name) for name in ("experts_per_layer", "ep", "experts", "experts_total"))
        self.same = {"active_parameters": "parameters"} if dense and not facts.values("active_parameters") else {}

    def readings(self, claim: Statement) -> Iterator[tuple[Identity, Derivation, bool]]:
        """What each identity of the claim's name gives, and whether that is all it can give."""
        for identity in IDENTITIES:
            if claim.name in identity.names:
                factors = [(name, 1) for name in identity.times] + [(name, -1) for name in identity.over]
                terms = [self._term(name, claim) for name, _ in factors]
                alone = all(len({value for value, _ in term}) == 1 for term in terms)
                for chosen in islice(product(*terms), MOST_READINGS):
                    value = Fraction(1, identity.constant)
                    for (factor, _), (_, sign) in zip(chosen, factors, strict=True):
                        if sign < 0 and not factor:
                            break
                        value *= factor if sign > 0 else 1 / factor
                    else:
                        yield identity, _shown(identity, value, [text for _, text in chosen]), alone

    def missing(self, claim: Statement) -> list[str]:
        """Facts that the claim's identities would need."""
        wanted = [name for one in IDENTITIES if claim.name in one.names for name in (*one.times, *one.over)]
        return [name for name in dict.fromkeys(wanted) if not self._term(name, claim)]

    def _term(self, name: str, claim: Statement) -> list[tuple[Fraction, str]]:
        """Values of a factor: facts of the document, else claims, the nearest first."""
        name = self.same.get(name, name)
        if name == "peak_flops":
            facts = self.facts.statements(name)
            named = _formats(claim)
            if claim.name == "achieved_flops" and (named or any(map(_formats, facts))):
                facts = [fact for fact in facts if named & _formats(fact)]
            highest = self.facts.values(name) if name in self.facts.settled else [fact.value for fact in facts]
            return [(max(highest), plain(max(highest)))] if highest else []
        values = self.facts.values(name)
        if name == "bytes_per_parameter":
            values = values or [value for value in self.facts.values("precision") if value > 0]
            values = values or ([Fraction(2)] if claim.name == "throughput_per_device" else [])
        if name == "memory_bandwidth" and claim.name == "achieved_bandwidth":
            values = values and [max(values)]
        if name == "memory_bandwidth" and claim.name != "achieved_bandwidth":
            return [(value * scale, f"{plain(value)}{told}") for value in values for scale, told in _TERA]
        if values and (name != "experts_total" or claim.name != name):
            return [(value, plain(value)) for value in values]
        near = [item for item in self.claims.near(claim, name) if item is not claim]
        if name == "throughput_per_device" and claim.name == "throughput":
            near = [item for item in near if _PHASES.findall(item.near) == _PHASES.findall(claim.near)]
        if name == "hbm_bandwidth_utilization":
            near = [item for item in near if 0 < item.value <= 1]
        beside = [item for item in near if item.segment == claim.segment]
        return [(item.value, f"{plain(item.value)} (line {item.place.line})") for item in beside or near]


def _shown(identity: Identity, value: Fraction, texts: list[str]) -> Derivation:
    def joined(parts: list[str]) -> str:
        above = " × ".join(parts[: len(identity.times)])
        below = [*([str(identity.constant)] if identity.constant != 1 else []), *parts[len(identity.times) :]]
        return f"{above} / {' / '.join(below)}" if below else above

    return Derivation(identity.reading, value, joined([*identity.times, *identity.over]), joined(texts))
