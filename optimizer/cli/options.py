"""What several commands take: options that make up or change a problem, and a limit on the time that extras take."""

from __future__ import annotations

import inspect
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from optimizer.domain.limit_table import LIMITS, ObjectiveLimit
from optimizer.domain.limits import LATENCIES
from optimizer.domain.objectives import OBJECTIVES
from optimizer.errors import Fault, SpecError
from optimizer.units import Dimension

if TYPE_CHECKING:
    from optimizer.domain.cluster import Cluster
    from optimizer.domain.problem import Problem
    from optimizer.readers.launch.launch import Launch
    from optimizer.readers.launch.problem import Posed
    from optimizer.readers.read import Override


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


ProblemArgument = Annotated[
    str | None,
    typer.Argument(metavar="PROBLEM", help="Problem file, `-` for standard input, or a scenario of the catalog."),
]


@dataclass(frozen=True)
class ProblemSource:
    """The problem that the command line names; errors come when it is called."""

    file: str | None
    values: Mapping[str, str | None]

    def __call__(self) -> Problem:
        """The problem of a file, changed by options, or of options alone."""
        from optimizer.readers.read import read_problem  # noqa: PLC0415 - the specs load when a command runs

        return read_problem(self.file, overrides_of(self.values))

    def question(self, pools: Sequence[str] = ()) -> Problem | Cluster:
        """As above, or the cluster that the file holds, or that pools and phase make of it."""
        from optimizer.readers.read import read_question  # noqa: PLC0415 - the specs load when a command runs

        return read_question(self.file, overrides_of(self.values), pools)

    def posed(self, command: str, pools: Sequence[str] = ()) -> Posed:
        """The problem of a launch command, changed by options."""
        from optimizer.readers.launch.problem import pose  # noqa: PLC0415 - the specs load when a command runs
        from optimizer.readers.launch.read import launch_from  # noqa: PLC0415 - the same

        if self.file is not None:
            raise SpecError(Fault(None, None, None, "--from", f"stands in place of {self.file}: give one of them"))
        if pools:
            raise SpecError(Fault(None, None, None, "--pool", "a launch command has its own devices: leave it out"))
        devices = self.values.get("devices")
        count = int(devices) if devices is not None and devices.isascii() and devices.isdigit() else None
        launch = launch_from(command, engine=self.values.get("engine"), devices=count)
        stated = {**self.values, "engine": None} if _is_of(launch, self.values.get("engine")) else self.values
        return pose(launch, overrides_of(stated))

    @property
    def assumed(self) -> tuple[str, ...]:
        """What one line leaves out and is taken for granted."""
        from optimizer.readers.read import INPUT_TOKENS, OUTPUT_TOKENS  # noqa: PLC0415 - the specs load with a command

        if self.file is not None or self.values.get("lengths") is not None:
            return ()
        kinds = {"isl": ("input", INPUT_TOKENS), "osl": ("output", OUTPUT_TOKENS)}
        return tuple(
            f"{tokens:,} {kind} tokens a request (--{option})"
            for option, (kind, tokens) in kinds.items()
            if self.values.get(option) is None
        )

    @property
    def content(self) -> dict[str, Any]:
        """What a problem file that says the same would hold."""
        from optimizer.readers.read import problem_content  # noqa: PLC0415 - the specs load when a command runs

        return problem_content(self.file, overrides_of(self.values))


Pools = Annotated[
    list[str] | None,
    typer.Option("--pool", help="A pool of devices in place of --hardware; may be repeated.", metavar="HARDWARE=NODES"),
]


def _is_of(launch: Launch, engine: str | None) -> bool:
    """Whether an engine that was named is that of the command, whose version has been taken from it already."""
    return engine is not None and engine.partition("@")[0] == launch.engine


From = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="A launch command of an engine (vllm serve …), or a file that holds one: a script, a Dockerfile, a "
        "Compose file, a Kubernetes manifest, TensorRT-LLM's YAML; `-` for standard input.",
        metavar="COMMAND",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
JsonLines = Annotated[bool, typer.Option("--json", help="One JSON document a line on standard output.")]


Prepare = Callable[[str | None, dict[str, str | None]], dict[str, str | None]]
"""Values of the options that a command reads in place of those given."""


def _as_given(_file: str | None, values: dict[str, str | None]) -> dict[str, str | None]:
    return values


def takes_a_problem(command: Callable[..., int], *, prepare: Prepare = _as_given) -> Callable[..., int]:
    """Add PROBLEM and its options to a command whose first parameter is a function that reads the problem."""
    return _with_options(command, (_PROBLEM,), prepare)


def takes_problem_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of a problem alone: for a command that reads it from elsewhere."""
    return _with_options(command, (), _as_given)


_PROBLEM: Final = inspect.Parameter(
    "problem", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=ProblemArgument
)


def _with_options(
    command: Callable[..., int], argument: tuple[inspect.Parameter, ...], prepare: Prepare
) -> Callable[..., int]:
    parameters_before = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    added = [
        inspect.Parameter(
            option.parameter,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None,
            annotation=Annotated[
                str | None,
                typer.Option(option.flag, help=option.help, metavar=option.metavar, rich_help_panel="Problem"),
            ],
        )
        for option in PROBLEM_OPTIONS
    ]

    @wraps(command)
    def wrapped(**given: Any) -> int:
        values = {option.parameter: given.pop(option.parameter, None) for option in PROBLEM_OPTIONS}
        file = given.pop("problem", None) if argument else None
        return command(ProblemSource(file, prepare(file, values)), **given)

    parameters = [*argument, *parameters_before, *added]
    wrapped.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": int}
    del wrapped.__wrapped__
    return wrapped


_AT_ONCE_S = 1e-3
LONGEST_LIMIT_S: Final = 10**9
"""Seconds of the longest time limit, more than thirty years: timers of the system take no infinity."""


def time_limit_option(text: str) -> Any:  # noqa: ANN401 - typer's own
    """``--time-limit`` of a command."""
    return typer.Option("--time-limit", help=text, min=0.0, max=LONGEST_LIMIT_S, metavar="SECONDS")


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
        remaining_s, main = self.left(), threading.current_thread() is threading.main_thread()
        if remaining_s is None or not main or not hasattr(signal, "setitimer"):
            yield
            return

        def stop(*_: object) -> None:
            raise TimePassedError

        before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, max(remaining_s, _AT_ONCE_S))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
