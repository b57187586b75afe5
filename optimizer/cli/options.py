"""What several commands take: options that make up or change a problem, and a limit on the time that extras take."""

from __future__ import annotations

import inspect
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from optimizer.errors import Fault, SpecError
from optimizer.readers.options import LONGEST_LIMIT_S, PROBLEM_OPTIONS, overrides_of

if TYPE_CHECKING:
    from optimizer.domain.cluster import Cluster
    from optimizer.domain.problem import Problem
    from optimizer.readers.launch.launch import Launch
    from optimizer.readers.launch.problem import Posed


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
