"""`catalog`: what ships with the product."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer.cli.options import Json
from optimizer.cli.output import emit, emit_json, heading, table
from optimizer.errors import Fault, SpecError
from optimizer.units import plain

if TYPE_CHECKING:
    from optimizer.domain.engines.reservation import CacheRules, Reservation

KINDS = ("models", "hardware", "scenarios", "clusters", "engines", "conventions")
_SINGULAR = {
    "model": "models",
    "scenario": "scenarios",
    "cluster": "clusters",
    "engine": "engines",
    "convention": "conventions",
}


def _names() -> dict[str, list[str]]:
    from optimizer.domain.convention import CONVENTIONS  # noqa: PLC0415 - the same
    from optimizer.domain.engines import ANY, ENGINES  # noqa: PLC0415 - the same
    from optimizer.readers import catalog  # noqa: PLC0415 - the specs load when the command runs

    by_kind = {kind: list(catalog.names(kind)) for kind in catalog.KINDS}
    return by_kind | {"engines": [ANY, *ENGINES], "conventions": list(CONVENTIONS)}


def command(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(KINDS)}.", metavar="KIND")] = None,
    name: Annotated[str | None, typer.Argument(help="One entry, shown in full.", metavar="NAME")] = None,
    json: Json = False,
) -> int:
    """List the models, hardware, scenarios, clusters, engines and layout conventions that ship with shardproof."""
    names = _names()
    if kind is not None:
        kind = _SINGULAR.get(kind, kind)
        if kind not in names:
            from optimizer.readers.messages import nearest  # noqa: PLC0415 - only to say what is wrong

            known = [*KINDS, *_SINGULAR]
            message = f"{kind!r} is no kind of the catalog: {', '.join(KINDS)}"
            raise SpecError(Fault(None, None, None, "KIND", message, nearest(kind, known)))
        if name is not None:
            return _one(kind, name, names[kind], json=json)
        names = {kind: names[kind]}
    if json:
        emit_json({"schema": "shardproof/catalog/1", **names})
        return 0
    for shown, entries in names.items():
        heading(f"{shown} ({len(entries)})")
        _columns(entries)
    return 0


def _columns(entries: list[str]) -> None:
    width = max(map(len, entries)) + 2
    number = max(1, 100 // width)
    for first in range(0, len(entries), number):
        emit("  " + "".join(entry.ljust(width) for entry in entries[first : first + number]).rstrip())


def _one(kind: str, name: str, names: list[str], *, json: bool) -> int:
    if name not in names:
        from optimizer.readers import catalog  # noqa: PLC0415 - only to say what is wrong
        from optimizer.readers.messages import nearest  # noqa: PLC0415 - the same

        if kind in catalog.KINDS:
            message, near = catalog.unknown(kind, name)
        else:
            message, near = f"{name!r} is not among the {kind} of the catalog", nearest(name, names)
        raise SpecError(Fault(None, None, None, "NAME", message, near))
    document = _describe(kind, name)
    if json:
        emit_json({"schema": "shardproof/catalog/1", "kind": kind, "name": name, **document})
        return 0
    heading(name)
    if kind in {"hardware", "scenarios"}:
        # What the file says is the clearest form of it.
        if "digest" in document:
            emit(f"digest: {document['digest']}")
        emit(Path(document["file"]).read_text(encoding="utf-8").rstrip())
        return 0
    rows = [[key.replace("_", " "), _text(value)] for key, value in document.items() if not isinstance(value, dict)]
    rows += [
        [f"{key} {inner}".replace("_", " "), _text(inner_value)]
        for key, value in document.items()
        if isinstance(value, dict)
        for inner, inner_value in value.items()
    ]
    table(["", ""], rows)
    return 0


def _text(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _describe(kind: str, name: str) -> dict[str, Any]:
    from optimizer.readers import catalog  # noqa: PLC0415 - the specs load when the command runs

    if kind == "models":
        from optimizer.figures.parameters import parameter_table  # noqa: PLC0415 - one entry asks for it

        model = catalog.load_model(name)
        counted = parameter_table(model)
        return {
            "file": str(catalog.path("models", name)),
            "layers": model.layer_count,
            "hidden_size": model.hidden_size,
            "vocabulary": model.vocab_size,
            "experts": model.moe.experts if model.moe else 0,
            "experts_per_token": model.moe.top_k if model.moe else 0,
            "weights_format": model.precision.weights,
            "parameters": counted.total,
            "active_parameters": counted.active_with_embedding,
            "components": asdict(counted.components),
            "assumed": list(model.assumed),
            "source": model.source,
        }
    if kind == "hardware":
        return {"file": str(catalog.path("hardware", name))} | catalog.load_hardware(name).model_dump(mode="json")
    if kind == "scenarios":
        from optimizer.readers.read import read_problem  # noqa: PLC0415 - one entry asks for it

        problem = read_problem(name)
        return (
            {"file": str(catalog.path("scenarios", name)), "digest": problem.digest}
            | problem.model_dump(mode="json", exclude={"model": True, "hardware": True})
            | {"model": problem.model.name, "hardware": problem.hardware.name}
        )
    if kind == "clusters":
        from optimizer.readers.cluster import cluster_in  # noqa: PLC0415 - one entry asks for it
        from optimizer.readers.document import load  # noqa: PLC0415 - the same

        file = catalog.path("clusters", name)
        cluster = cluster_in(load(file))
        return {
            "file": str(file),
            "digest": cluster.digest,
            "objective": cluster.objective,
            "pools": {pool.name: pool.devices for pool in cluster.pools},
            "demands": [demand.name for demand in cluster.demands],
        }
    if kind == "engines":
        from optimizer.domain.engines import engine_named  # noqa: PLC0415 - one entry asks for it

        engine = engine_named(name)
        return {
            "version": engine.version,
            "stands_for": f"{engine.since} and later" if engine.since else "",
            "union_of": [member.title for member in engine.members],
            "rules": {rule.name: f"{rule.statement} [{rule.source}]" for rule in engine.rules},
            "memory_utilization": float(engine.memory_utilization),
            "reservation": {name: value for name, value in _told(engine.reservation).items() if "error" not in name},
            "cache": _told(engine.cache),
            "flags": dict(engine.flags),
            "source": engine.source,
        }
    from optimizer.domain.convention import CONVENTIONS  # noqa: PLC0415 - one entry asks for it

    rule = next(convention for known, convention in CONVENTIONS.items() if known == name)
    return {"device_count": rule.devices, "engine": rule.engine}


def _told(row: Reservation | CacheRules) -> dict[str, Any]:
    """The numbers and words of an engine's row; what is reckoned of a problem has neither."""
    values = {name: value for name, value in asdict(row).items() if not callable(value)}
    return {name: plain(value) if isinstance(value, Fraction) else value for name, value in values.items()}
