"""`export`: what an engine needs to run a result: launch scripts, its files, ranks on devices, Kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.options import Json
from optimizer.cli.output import emit, emit_json, heading, say
from optimizer.errors import Fault, SpecError

_MOST_LAYERS = 10_000
"""Rows of a placement file: models have a few hundred, and what is stated decides how much is written."""

if TYPE_CHECKING:
    from optimizer.export.launch import Exported
    from optimizer.export.placement import PlacementFile
    from optimizer.readers.document import Document


def command(
    result: Annotated[str, typer.Argument(help="What `solve --out` or `place --out` wrote, a layout file, or `-`.")],
    engine: Annotated[
        str,
        typer.Option(
            help="vllm, sglang, trtllm, megatron or fsdp (vllm@0.30, else the version solved for); vllm-ascend.",
            metavar="NAME",
        ),
    ],
    json: Json = False,
    out: Annotated[str, typer.Option(help="Folder to write to.", metavar="FOLDER")] = ".",
    model: Annotated[
        str | None, typer.Option(help="Checkpoint that the engine loads: a name on the Hub or a path.", metavar="MODEL")
    ] = None,
) -> int:
    """Write the complete launch of a result for an engine, and what the engine cannot be told."""
    from optimizer.readers.document import load  # noqa: PLC0415 - loads when the command runs
    from optimizer.readers.fleet import is_fleet_document  # noqa: PLC0415 - the same

    document = load(result)
    if is_fleet_document(document.data) and document.data.get("fleet") is not None:
        return _fleet(document, engine, out, model, as_json=json)
    data: Any = document.data
    placed = _placement_file(document, engine)
    files = {} if placed is None else {placed.name: placed.text}
    launch = None
    if isinstance(data, dict) and data.get("layout") is not None and engine != "vllm-ascend":
        launch = _launch(document, engine, placed, model)
        files = launch.files
    elif placed is None:
        status = f": its status is {data['status']}" if isinstance(data, dict) and "status" in data else ""
        raise document.error(f"has no layout{status}", ("layout",))
    _write(out, files)
    if json:
        emit_json(_document(engine, list(files), placed, launch))
    else:
        _show(placed, launch)
    return 0


def _fleet(document: Document, engine: str, out: str, model: str | None, *, as_json: bool) -> int:
    """A folder for each kind of replica, and a script for each node."""
    from optimizer.export.fleet import export_fleet, node_scripts  # noqa: PLC0415 - loads when the command runs
    from optimizer.readers.fleet import fleet_in  # noqa: PLC0415 - the same

    name, _, version = engine.partition("@")
    kinds = export_fleet(fleet_in(document), name, version or None, model)
    files = {f"{kind.folder}/{file}": text for kind in kinds for file, text in kind.launch.files.items()}
    files |= dict(node_scripts(kinds))
    _write(out, files)
    if as_json:
        kind_documents = [
            {"folder": kind.folder, "pool": kind.pool} | _document(engine, list(kind.launch.files), None, kind.launch)
            for kind in kinds
        ]
        emit_json({"schema": "shardproof/export/1", "engine": engine, "files": list(files), "kinds": kind_documents})
    for kind in () if as_json else kinds:
        heading(f"{kind.folder}, pool {kind.pool}")
        _show(None, kind.launch)
    return 0


def _write(out: str, files: dict[str, str]) -> None:
    from optimizer.readers.output import write_whole  # noqa: PLC0415 - loads when the command runs

    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise SpecError(Fault(None, None, None, "--out", f"{out} is no folder"))
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, text)
        say(f"wrote {folder / name}")


def _document(engine: str, files: list[str], placed: PlacementFile | None, launch: Exported | None) -> dict[str, Any]:
    """``shardproof/export/1``."""
    document: dict[str, Any] = {"schema": "shardproof/export/1", "engine": engine, "files": files}
    if placed is not None:
        document["use"] = placed.use
    if launch is not None:
        document |= {
            "version": launch.plan.version,
            "environment": dict(launch.environment),
            "commands": [
                {
                    "node": command.node, "instance": command.instance, "devices": list(command.devices),
                    "command": list(command.words),
                }
                for command in launch.commands
            ],
            "differences": list(launch.differences),
        }  # fmt: skip
    return document


def _show(placed: PlacementFile | None, launch: Exported | None) -> None:
    from optimizer.export.launch import shell_line  # noqa: PLC0415 - loads when the command runs

    if launch is None:
        emit("" if placed is None else placed.use)
        return
    for name, value in launch.environment.items():
        emit(f"export {name}={value}")
    for command in launch.commands:
        if command.words:
            first, last = command.devices[0], command.devices[-1]
            emit(f"# node {command.node}, " + (f"device {first}" if first == last else f"devices {first} to {last}"))
            emit(shell_line(command.words))
    if launch.differences:
        heading("What was priced and the engine cannot be told, or does otherwise")
        for line in launch.differences:
            emit(f"  {line}")


def _launch(document: Document, engine: str, placed: PlacementFile | None, model: str | None) -> Exported:
    from optimizer.export.launch import export  # noqa: PLC0415 - loads when the command runs
    from optimizer.export.plan import ExportPlan, prevented  # noqa: PLC0415 - the same
    from optimizer.figures.serving import evaluate  # noqa: PLC0415 - the same
    from optimizer.readers.read import layout_in  # noqa: PLC0415 - the same
    from optimizer.verify.claim_table import dimensions  # noqa: PLC0415 - the same

    read = layout_in(document, claims=dimensions)
    stopped = prevented(read.problem, read.layout)
    if stopped is not None:
        raise document.error(f"cannot be launched: {stopped}", ("layout",))
    name, _, version = engine.partition("@")
    evaluation = evaluate(read.problem, read.layout)
    answer = ExportPlan(
        read.problem, read.layout, evaluation, placed, model,
        placed=_held(document) is not None,
    )  # fmt: skip
    return export(answer, name, version or None)


def _held(document: Document) -> object:
    """The expert placement of a result, or of what `place` wrote."""
    return document.get(("layout", "placement")) or document.get(("placement",))


def _placement_file(document: Document, engine: str) -> PlacementFile | None:
    """The file by which an engine takes the placement of a result; None where there is none, or it takes none."""
    from optimizer.export.placement import FORMATS, placement_file  # noqa: PLC0415 - loads when the command runs

    stated = _held(document)
    if not isinstance(stated, dict):
        return None
    name = engine.partition("@")[0]
    has_layout = document.get(("layout",)) is not None
    if has_layout and (name not in FORMATS or FORMATS[name].file is None):
        return None
    return placement_file(name, *_placement(document))


def _placement(document: Document) -> tuple[dict[int, list[list[int]]], int]:
    """Placement of a result or of `place`, and the layers of the model."""
    from optimizer.readers.placement_file import placement_in  # noqa: PLC0415 - loads when the command runs

    stated = _held(document)
    layers = stated.get("layers") if isinstance(stated, dict) else None
    if not isinstance(layers, list) or not all(isinstance(la, dict) and type(la.get("layer")) is int for la in layers):
        raise document.error("no layers placed", ("layout", "placement"))
    numbers = sorted(layer["layer"] for layer in layers)
    return placement_in(document, (), numbers, None), _model_layers(document, numbers)


def _model_layers(document: Document, placed: list[int]) -> int:
    """Transformer layers, so that dense ones get their rows too."""
    counted = document.get(("model_layers",))
    stages = document.get(("layout", "stages"))
    counts = [stage.get("layers") for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []
    stated = counted if type(counted) is int else sum(count for count in counts if type(count) is int)
    layers = max(1 + placed[-1], stated)
    if layers > _MOST_LAYERS:
        raise document.error(f"{layers} layers, more than {_MOST_LAYERS}", ("model_layers",))
    return layers
