"""`schema`: the JSON Schema of every file that is read or written."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.options import Json
from optimizer.cli.output import emit_json, table
from optimizer.errors import Fault, SpecError


def command(
    kind: Annotated[str | None, typer.Argument(help="Kind of file; the kinds are listed without it.")] = None,
    json: Json = False,
) -> int:
    """Print the JSON Schema of a kind of file."""
    from optimizer.cli.schemas import KINDS, schema_of  # noqa: PLC0415 - loads the specs

    if kind is None:
        if json:
            emit_json({"schema": "shardproof/schemas/1", "kinds": dict(KINDS)})
        else:
            table(["kind", "what it is"], [list(row) for row in KINDS.items()])
        return 0
    if kind not in KINDS:
        from optimizer.readers.messages import nearest  # noqa: PLC0415 - only to say what is wrong

        message = f"{kind!r} is no kind of file: {', '.join(KINDS)}"
        raise SpecError(Fault(None, None, None, "KIND", message, nearest(kind, list(KINDS))))
    emit_json(schema_of(kind))
    return 0
