"""Options that make up or change a problem: on the command line by flag, in a program by the name of an argument."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from optimizer.domain.limit_table import LIMITS, ObjectiveLimit
from optimizer.domain.limits import LATENCIES
from optimizer.domain.objectives import OBJECTIVES
from optimizer.errors import Fault, SpecError
from optimizer.units import Dimension

if TYPE_CHECKING:
    from optimizer.readers.read import Override

LONGEST_LIMIT_S: Final = 10**9
"""Seconds of the longest time limit, more than thirty years: timers of the system take no infinity."""


@dataclass(frozen=True, slots=True)
class ProblemOption:
    """One option: its flag, where in the problem its value goes, and what it means."""

    flag: str
    at: tuple[str, ...]
    help: str
    metavar: str = "TEXT"
    many: bool = False
    unit: str = ""
    """Units that a number on its own leaves open; empty where it does not."""
    name: bool = False
    """A name even where it looks like a number (``4090``)."""

    @property
    def parameter(self) -> str:
        """Name of the Python parameter."""
        return self.flag.removeprefix("--").replace("-", "_")


def _axis(name: str, text: str) -> ProblemOption:
    return ProblemOption(f"--{name.replace('_', '-')}", ("search", name), text, "N[,N...]", many=True)


def _bound(limit: ObjectiveLimit, asked: str) -> ProblemOption:
    metavar, unit = ("TIME", "s or ms") if limit.dimension is Dimension.SECONDS else ("VALUE", "")
    if limit.name in LATENCIES:
        metavar = "TIME|pNN=TIME[,...]"
    at = tuple(limit.at[0].split("."))
    return ProblemOption(f"--{limit.name.replace('_', '-')}", at, asked, metavar, unit=unit)


PROBLEM_OPTIONS: Final = (
    ProblemOption(
        "--model",
        ("model",),
        "Catalog name, Hub name (Qwen/Qwen3-32B), model YAML, or config.json.",
        "MODEL",
        name=True,
    ),
    ProblemOption("--hardware", ("hardware",), "Catalog name or hardware YAML.", "HARDWARE", name=True),
    ProblemOption("--devices", ("devices",), "Most devices that may be used.", "N"),
    ProblemOption("--nodes", ("nodes",), "The same in nodes.", "N"),
    ProblemOption("--isl", ("workload", "input_tokens"), "Input tokens of a request; 1,024 where no file says.", "N"),
    ProblemOption("--osl", ("workload", "output_tokens"), "Output tokens of a request; the same.", "N"),
    ProblemOption(
        "--lengths", ("workload", "lengths"), "Histogram or trace of requests, with --pool.", "FILE", name=True
    ),
    ProblemOption("--phase", ("workload", "phase"), "aggregated, prefill, decode, disaggregated or either.", "PHASE"),
    ProblemOption("--request-rate", ("workload", "request_rate"), "Requests/s to be served.", "RATE"),
    ProblemOption("--arrival", ("workload", "arrival"), "How requests come: alone, closed or poisson.", "HOW"),
    ProblemOption("--concurrency", ("workload", "concurrency"), "Requests that a closed loop keeps in flight.", "N"),
    ProblemOption("--prefix-cache-hit", ("workload", "prefix_cache_hit"), "Share of prompt tokens cached.", "SHARE"),
    ProblemOption("--mtp-tokens", ("workload", "mtp_tokens"), "Tokens drafted a step.", "N"),
    ProblemOption("--mtp-acceptance", ("workload", "mtp_acceptance"), "Chance that one is accepted.", "SHARE"),
    *(_bound(limit, limit.asked) for limit in LIMITS if isinstance(limit, ObjectiveLimit) and limit.asked is not None),
    ProblemOption(
        "--confidence",
        ("limits", "confidence"),
        "Share of measured runs to keep limits on TTFT and TPOT: 80%; none: the prediction alone.",
        "SHARE",
    ),
    ProblemOption("--memory-utilization", ("limits", "memory_utilization"), "Share of memory to use.", "SHARE"),
    ProblemOption(
        "--mem-fraction-static", ("limits", "mem_fraction_static"), "SGLang's share: weights and cache alone.", "SHARE"
    ),
    ProblemOption("--fabric-bandwidth", ("limits", "fabric_bandwidth"), "Most bytes/s over the fabric.", "RATE"),
    ProblemOption(
        "--objective",
        ("objective",),
        f"What to make best, throughput where not stated: {', '.join(OBJECTIVES)}.",
        "NAME",
    ),
    ProblemOption(
        "--engine",
        ("engine",),
        "Engine whose rules bind the layout: any, vllm, sglang, trtllm, megatron or fsdp.",
        "NAME",
    ),
    ProblemOption("--precision", ("precision", "weights"), "Format of the weights, such as fp8.", "FORMAT"),
    ProblemOption("--kv-cache", ("precision", "kv_cache"), "Format of the KV cache.", "FORMAT"),
    ProblemOption("--activations", ("precision", "activations"), "Format of the activations.", "FORMAT"),
    _axis("tp", "Tensor parallelism, one or several values."),
    _axis("cp", "Context parallelism."),
    _axis("dp", "Attention data parallelism."),
    _axis("pp", "Pipeline stages."),
    _axis("etp", "Tensor parallelism of experts."),
    _axis("ep", "Expert parallelism."),
    _axis("edp", "Copies of every expert."),
    _axis("batch", "Sequences in flight a rank."),
    _axis("prefill_chunk", "Prompt tokens a step."),
    ProblemOption(
        "--overlap", ("search", "overlap"), "Exchange of experts: none, two_batch or both.", "NAME[,NAME]", many=True
    ),
    ProblemOption(
        "--expert-load", ("experts", "load"), "Measured expert load: files or profiles.", "FILE[,FILE...]", many=True
    ),
    ProblemOption("--load-weights", ("experts", "weights"), "Weight of each load.", "N[,N...]", many=True),
    ProblemOption(
        "--redundant-slots", ("experts", "redundant_slots"), "Expert slots beyond one each.", "N[,N...]", many=True
    ),
    ProblemOption("--robust", ("experts", "robust"), "Over several loads: worst, mean or cvar.", "NAME"),
    ProblemOption("--split", ("experts", "split"), "Load over copies: even or free.", "NAME"),
    ProblemOption("--hierarchy", ("experts", "hierarchy"), "free, or node or rack: router groups stay on one.", "NAME"),
    ProblemOption("--current", ("experts", "current"), "Expert placement in service.", "FILE"),
    ProblemOption("--max-moves", ("experts", "max_moves"), "Most experts of a layer to load anew.", "N"),
    ProblemOption(
        "--coactivation", ("experts", "coactivation"), "Experts chosen together: a file, or uniform.", "FILE"
    ),
    ProblemOption(
        "--balance-allowance", ("experts", "balance_allowance"), "Balance given up for fewer nodes visited.", "SHARE"
    ),
    ProblemOption("--max-kinds", ("max_kinds",), "Kinds of layout side by side at most; 1: one kind.", "N"),
    ProblemOption("--seed", ("seed",), "Seed; the same one gives the same layout.", "N"),
)
"""In the order of ``--help``."""


def value_of(option: ProblemOption, text: str) -> Any:  # noqa: ANN401 - what the problem file would hold
    """What a problem file would hold in place of the text: whole numbers as such, lists where there are commas."""
    if option.many:
        parts = [_whole(part.strip()) for part in text.split(",")]
        return parts if len(parts) > 1 else parts[0]
    if option.name:
        return text
    if option.unit and "=" in text:
        return {name: value_of(option, value) for name, value in named_parts(text, option.flag)}
    if option.unit and _NUMBER.fullmatch(text.strip()):
        first, second = option.unit.split(" or ")
        message = f"{text} of what? A unit is wanted: {text}{first} or {text}{second}"
        raise SpecError(Fault(None, None, None, option.flag, message))
    return _whole(text)


def named_parts(text: str, flag: str) -> list[tuple[str, str]]:
    """``name=value`` of each part between commas; the value is empty where a part has no ``=``.

    Raises
    ------
    SpecError
        A name stands twice.
    """
    parts = [(name.strip(), value.strip()) for name, _, value in (part.partition("=") for part in text.split(","))]
    names = [name for name, _ in parts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SpecError(Fault(None, None, None, flag, f"{twice} is stated twice"))
    return parts


_NUMBER: Final = re.compile(r"[-+]?[0-9_]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?")


def _whole(text: str) -> int | str:
    digits = text.replace("_", "").removeprefix("-")
    is_integer = digits.isascii() and digits.isdigit() and len(digits) < 100
    return int(text.replace("_", "")) if is_integer else text


def overrides_of(values: Mapping[str, str | None]) -> tuple[Override, ...]:
    """Overrides for the options that were given."""
    from optimizer.readers.read import Override  # noqa: PLC0415 - the specs load when a command runs

    return tuple(
        Override(option.flag, option.at, value_of(option, text))
        for option in PROBLEM_OPTIONS
        if (text := values.get(option.parameter)) is not None
    )
