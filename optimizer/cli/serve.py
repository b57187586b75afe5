"""`serve`: the report as a what-if page on this machine."""

from __future__ import annotations

import secrets
import socket
import webbrowser
from functools import partial
from typing import Annotated, Final

import typer

from optimizer.cli.options import Json, ProblemSource, takes_a_problem
from optimizer.cli.output import emit, emit_json
from optimizer.errors import Fault, SpecError

_ADDRESS = "127.0.0.1"
_FIRST: Final = {"model": "qwen3-32b", "hardware": "h200-sxm-8", "devices": "8", "isl": "1000", "osl": "500"}
"""What the controls show where nothing is given."""


def _started(file: str | None, values: dict[str, str | None]) -> dict[str, str | None]:
    stated = file is not None or any(text is not None for text in values.values())
    return values if stated else {**values, **_FIRST}


@partial(takes_a_problem, prepare=_started)
def command(
    problem: ProblemSource,
    json: Json = False,
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> int:
    """Answer what-if questions on a page of this machine: controls on the left, the report redrawn on the right."""
    content = problem.content
    problem()
    try:
        import uvicorn  # noqa: PLC0415 - an optional library

        from optimizer.serve import application  # noqa: PLC0415 - the same
    except ImportError as error:
        raise SpecError(f"`shardproof serve` needs {error.name}: pip install 'shardproof[serve]'") from None
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_ADDRESS, port))
    except OSError as error:
        raise SpecError(Fault(None, None, None, "--port", f"{port}: {error.strerror}")) from None
    port = listening.getsockname()[1]
    token = secrets.token_urlsafe(24)
    hosts = (f"{_ADDRESS}:{port}", f"localhost:{port}")
    served = application(content, problem.file, token=token, hosts=hosts)
    address = f"http://{_ADDRESS}:{port}/?token={token}"
    if json:
        emit_json({"schema": "shardproof/serve/1", "address": address})
    else:
        emit(f"{address}\nCtrl-C ends it.")
    if browser:
        webbrowser.open(address)
    uvicorn.Server(uvicorn.Config(served, log_level="warning", access_log=False)).run([listening])
    return 0
