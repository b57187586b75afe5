"""`certify`: check a result's certificate without the solver."""

from __future__ import annotations

from typing import Annotated

import typer

from optimizer.cli.options import Json
from optimizer.cli.output import emit, emit_json, paint


def command(
    result: Annotated[str, typer.Argument(help="What `solve --out` wrote, or `-` for standard input.")],
    json: Json = False,
) -> int:
    """Check that everything a result claims follows from its problem."""
    from optimizer.certificate.check import certify  # noqa: PLC0415 - loads when the command runs
    from optimizer.certificate.placement_document import SCHEMA, certify_placement  # noqa: PLC0415 - the same
    from optimizer.readers.document import load  # noqa: PLC0415 - the same
    from optimizer.readers.messages import kind_of  # noqa: PLC0415 - the same

    document = load(result)
    if not isinstance(document.data, dict):
        raise document.error(f"a result is wanted (a mapping), not {kind_of(document.data)}")
    is_placement = document.data.get("schema") == SCHEMA
    check = certify_placement(document.data) if is_placement else certify(document.data)
    if json:
        emit_json(check.to_json())
    else:
        verdict = "accepted" if check.accepted else f"rejected: {check.item}: {check.reason}"
        emit(paint(verdict, "bold", "green" if check.accepted else "red"))
        for item in check.checked:
            emit(f"  checked         {item}")
        for item in check.solver_trusted:
            emit(f"  solver-trusted  {item}")
        emit(paint(f"{check.candidates:,} candidates in {check.wall_s:.2f} s", "dim"))
    return 0 if check.accepted else 1
