"""`export`: what an engine needs to run a result; its expert placement file, where it has one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.options import Json
from optimizer.cli.output import emit, emit_json, say
from optimizer.errors import SpecError

if TYPE_CHECKING:
    from optimizer.readers.document import Document


def command(
    result: Annotated[str, typer.Argument(help="What `solve --out` or `place --out` wrote, or `-`.")],
    engine: Annotated[str, typer.Option(help="sglang, trtllm or vllm-ascend.", metavar="NAME")],
    json: Json = False,
    out: Annotated[str, typer.Option(help="Folder to write to.", metavar="FOLDER")] = ".",
) -> int:
    """Write the expert placement of a result in the form that an engine loads."""
    from optimizer.export.placement_files import placement_file  # noqa: PLC0415 - loads when the command runs
    from optimizer.readers.document import load  # noqa: PLC0415 - the same
    from optimizer.readers.output import write_whole  # noqa: PLC0415 - the same

    document = load(result)
    file = placement_file(engine, *_placement(document))
    folder = Path(out)
    if not folder.is_dir():
        raise SpecError(f"--out: {out} is no folder")
    write_whole(folder / file.name, file.text)
    say(f"wrote {folder / file.name}")
    if json:
        emit_json({"schema": "shardproof/export/1", "engine": engine, "files": [file.name], "use": file.use})
    else:
        emit(file.use)
    return 0


def _placement(document: Document) -> tuple[dict[int, list[list[int]]], int]:
    """Placement of a result or of `place`, and the layers of the model."""
    from optimizer.readers.placement_file import placement_in  # noqa: PLC0415 - loads when the command runs

    data: Any = document.data
    held = document.get(("layout", "placement")) or document.get(("placement",))
    if not isinstance(data, dict) or not isinstance(held, dict):
        status = f": its status is {data.get('status')}" if isinstance(data, dict) and "status" in data else ""
        raise document.error(f"has no expert placement{status}; measured loads (experts.load) give a result one")
    layers = held.get("layers")
    if not isinstance(layers, list) or not all(isinstance(la, dict) and type(la.get("layer")) is int for la in layers):
        raise document.error("no layers placed", ("layout", "placement"))
    numbers = sorted(layer["layer"] for layer in layers)
    return placement_in(document, (), numbers, None), _model_layers(document, numbers)


def _model_layers(document: Document, placed: list[int]) -> int:
    """Transformer layers, so that dense ones get their rows too."""
    counted = document.get(("model_layers",))
    if type(counted) is int:
        return max(1 + placed[-1], counted)
    stages = document.get(("layout", "stages"))
    counts = [stage.get("layers") for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []
    return max(1 + placed[-1], sum(count for count in counts if type(count) is int))
