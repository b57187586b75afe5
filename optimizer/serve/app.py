"""The server of the what-if page: bound to this machine, behind a token, with nothing fetched from anywhere."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from html import escape
from importlib.resources import files
from json import JSONDecodeError
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from optimizer.domain.engines import ANY, ENGINES
from optimizer.errors import SpecError
from optimizer.serve.question import Control, EditedProblem, answer, as_text, ask, controls, curve, faults

_KEPT = 16
"""Pages kept for the frame that shows them; a browser asks for the newest."""
_TIME_LIMIT_S = 5.0
"""Of one solve; an answer that was cut short says its bound."""
_FRAME_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
)
_PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; frame-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Handler = Callable[[Request], Awaitable[Response]]


def _field(control: Control, value: str) -> str:
    listed = f' list="{control.name}-choices"' if control.choices else ""
    options = "".join(f'<option value="{escape(choice)}">' for choice in control.choices)
    offered = f'<datalist id="{control.name}-choices">{options}</datalist>' if control.choices else ""
    return (
        f'<label for="{control.name}">{escape(control.label)}</label>'
        f'<input id="{control.name}" name="{control.name}" value="{escape(value)}" autocomplete="off" '
        f'placeholder="{escape(control.placeholder)}"{listed}>{offered}<small class="wrong" id="{control.name}-wrong">'
        "</small>"
    )


def _resource(name: str) -> str:
    return files("optimizer.serve").joinpath(name).read_text(encoding="utf-8")


def application(start: Mapping[str, Any], file: str | None, *, token: str, hosts: tuple[str, ...]) -> Starlette:
    """The application that serves the page.

    Parameters
    ----------
    start
        Content of the problem file that the controls start from.
    file
        Its path, for the command line to copy; None where it comes from options.
    token
        What every request must carry, so that no other page can ask.
    hosts
        Values of the Host header that are answered: names of this machine, with the port.
    """
    shown = controls((ANY, *ENGINES))
    pages: OrderedDict[str, str] = OrderedDict()

    def guarded(handler: Handler) -> Handler:
        async def checked(request: Request) -> Response:
            sent = request.headers.get("x-token") or request.query_params.get("token") or ""
            if request.headers.get("host") not in hosts:
                return JSONResponse({"error": "unknown host"}, 421)
            if not secrets.compare_digest(sent.encode(), token.encode()):
                return JSONResponse({"error": "the address that `shardproof serve` printed has a token; use it"}, 403)
            response = await handler(request)
            response.headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
            response.headers["Cache-Control"] = "no-store"
            response.headers["Referrer-Policy"] = "no-referrer"
            response.headers["X-Content-Type-Options"] = "nosniff"
            return response

        return checked

    async def asked(request: Request) -> EditedProblem:
        try:
            texts = await request.json()
        except (JSONDecodeError, UnicodeDecodeError):
            raise SpecError("the controls' values are wanted as JSON") from None
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise SpecError("the controls' values are wanted as texts")
        return ask(start, file, texts, shown)

    async def home(_request: Request) -> Response:
        fields = "".join(f"<div>{_field(control, as_text(start, control))}</div>" for control in shown)
        text = _resource("page.html").replace("<!-- controls -->", fields).replace("TOKEN", escape(token))
        return HTMLResponse(text)

    async def resource(request: Request) -> Response:
        name = request.path_params["name"]
        kinds = {"page.css": "text/css", "page.js": "text/javascript"}
        return Response(_resource(name), media_type=kinds[name]) if name in kinds else Response(status_code=404)

    async def answered(request: Request) -> Response:
        try:
            question = await asked(request)
            content = await run_in_threadpool(answer, question, time_limit_s=_TIME_LIMIT_S)
        except SpecError as error:
            return JSONResponse({"faults": faults(error)}, 422)
        name = secrets.token_urlsafe(8)
        pages[name] = content.pop("page")
        while len(pages) > _KEPT:
            pages.popitem(last=False)
        return JSONResponse(content | {"frame": name, "yaml": question.yaml, "command": question.command(shown)})

    async def frame(request: Request) -> Response:
        text = pages.get(request.path_params["name"])
        if text is None:
            return HTMLResponse("gone", 404)
        return HTMLResponse(text, headers={"Content-Security-Policy": _FRAME_POLICY})

    async def drawn(request: Request) -> Response:
        try:
            points = await run_in_threadpool(curve, await asked(request), time_limit_s=_TIME_LIMIT_S)
        except SpecError as error:
            return JSONResponse({"faults": faults(error)}, 422)
        return JSONResponse({"points": points})

    return Starlette(
        routes=[
            Route("/", guarded(home)),
            Route("/static/{name}", guarded(resource)),
            Route("/answer", guarded(answered), methods=["POST"]),
            Route("/curve", guarded(drawn), methods=["POST"]),
            Route("/frame/{name}", guarded(frame)),
        ]
    )
