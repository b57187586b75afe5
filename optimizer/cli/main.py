"""Entry point: registers the commands, turns every error into its message and exit status."""

from __future__ import annotations

import difflib
import functools
import importlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import typer

from optimizer.cli.output import discard_output, emit_json, flush, say
from optimizer.errors import Exit, Fault, InternalError, ShardproofError, SpecError, StoppedError

COMMANDS: Final[dict[str, str]] = {
    "solve": "optimizer.cli.solve",
    "place": "optimizer.cli.place",
    "verify": "optimizer.cli.verify",
    "certify": "optimizer.cli.certify",
    "explain": "optimizer.cli.explain",
    "export": "optimizer.cli.export",
    "audit": "optimizer.cli.audit",
    "catalog": "optimizer.cli.catalog",
    "schema": "optimizer.cli.schemas",
    "calibrate": "optimizer.cli.calibrate",
    "bench": "optimizer.cli.bench",
    "sweep": "optimizer.cli.sweep",
    "report": "optimizer.cli.report",
    "serve": "optimizer.cli.serve",
}
"""Module of each command, in the order of ``--help``; each has a function ``command`` that returns an exit status."""

ABOUT: Final = "Finds, and proves, the best way to spread a large language model over devices."


def _version(wanted: bool) -> None:
    if wanted:
        from optimizer import __version__  # noqa: PLC0415 - one option asks for it

        sys.stdout.write(f"shardproof {__version__}\n")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Nothing to do before a command."""


def _told(command: Callable[..., Any], stops: list[BaseException]) -> Callable[..., Any]:
    """A command whose ends by a signal or a closed pipe are kept: typer makes statuses of its own of them."""

    @functools.wraps(command)
    def told(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - typer's own
        try:
            return command(*arguments, **options)
        except (KeyboardInterrupt, BrokenPipeError) as stop:
            stops.append(stop)
            return int(Exit.STOPPED)

    return told


def application(names: Sequence[str], stops: list[BaseException] | None = None) -> typer.Typer:
    """Application with these commands; what ended one goes into `stops`."""
    app = typer.Typer(name="shardproof", help=ABOUT, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_root)
    for name in names:
        command: Any = importlib.import_module(COMMANDS[name]).command
        app.command(name)(command if stops is None else _told(command, stops))
    return app


def _usage_error(error: Exception) -> ShardproofError | None:
    """What typer found wrong with the command line; None for any other exception."""
    usage = next((kind for kind in type(error).__mro__ if kind.__name__ == "ClickException"), None)
    if usage is None:
        return None
    formatted: str = error.format_message()  # type: ignore[attr-defined]
    message = re.split(r" Did you mean| \(Possible options", formatted)[0].replace("Value error, ", "").rstrip(".")
    suggestion = next(iter(getattr(error, "possibilities", None) or ()), None)
    unknown = re.fullmatch(r"No such command '(.*)'", message)
    if unknown is not None:
        suggestion = next(iter(difflib.get_close_matches(unknown[1], COMMANDS, 1)), None)
        message += f"; commands: {', '.join(COMMANDS)}"
    return SpecError(Fault(None, None, None, None, message[:1].lower() + message[1:], suggestion))


def _run(arguments: Sequence[str]) -> int:
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    stops: list[BaseException] = []
    app = application([wanted] if wanted in COMMANDS and arguments[0] == wanted else list(COMMANDS), stops)
    try:
        status: Any = app(list(arguments), standalone_mode=False, prog_name="shardproof")
    except typer.Exit as stop:
        return int(stop.exit_code)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except Exception as error:
        usage = _usage_error(error)
        if usage is None:
            raise
        raise usage from None
    if stops:
        raise stops[0]
    return int(status) if isinstance(status, int) else 0


def _report(error: ShardproofError, *, as_json: bool) -> int:
    if as_json:
        emit_json(error.to_json())
    else:
        for fault in error.faults:
            say(str(fault))
    return int(error.exit_status)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status; errors become messages, or JSON where ``--json`` was asked for."""
    as_json = "--json" in arguments
    # Looking for pydantic plugins among all installed packages takes longer than a verdict.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        status = _run(arguments)
        flush()
    except ShardproofError as error:
        return _report(error, as_json=as_json)
    except KeyboardInterrupt as stop:
        how = str(stop) or "interrupted"
        return _report(StoppedError(f"{how} before there was an answer"), as_json=as_json)
    except BrokenPipeError:
        # Whoever read a stream of lines has left before its end: as if the signal had ended the command.
        discard_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        # What the system refuses (no room, no right) and nothing nearer has put in words of its own.
        where = f"{error.filename}: " if error.filename else ""
        return _report(StoppedError(f"{where}{error.strerror or error}"), as_json=as_json)
    except Exception as error:  # noqa: BLE001 - a bug must not exit with 1, which means no
        traceback.print_exc()
        return _report(InternalError(f"a bug: {type(error).__name__}: {error}"), as_json=as_json)
    return status


def _ready_streams() -> str | None:
    """Give closed standard streams somewhere to go, so that no file that is opened later takes their place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    closed = sys.stdout is None
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for the whole run
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - the same
    return "standard output is closed" if closed else None


def _terminated(*_: object) -> None:
    """SIGTERM ends a command as Ctrl-C does: what was computed is kept, no temporary file stays."""
    raise KeyboardInterrupt("terminated")


def main() -> None:
    """Console script."""
    closed = _ready_streams()
    signal.signal(signal.SIGTERM, _terminated)
    status = run(sys.argv[1:])
    if closed is not None and status == 0:
        say(closed)
        status = int(Exit.STOPPED)
    sys.exit(status)


if __name__ == "__main__":
    main()
