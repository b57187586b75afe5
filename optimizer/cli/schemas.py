"""`schema`: JSON Schemas of input files from the models that read them, of output documents as written here."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from optimizer.cli.options import Json
from optimizer.cli.output import emit_json, table
from optimizer.domain.cluster import ClusterFile
from optimizer.domain.fleet import FleetFile
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.layout import Layout, WrittenLayout
from optimizer.domain.model import ModelSpec
from optimizer.domain.problem import ProblemFile
from optimizer.errors import Fault, SpecError
from optimizer.sweep.grid import GridFile
from optimizer.verify.claim_table import dimensions
from optimizer.verify.claims import Verdict

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
KINDS: Final = {
    "model": "model YAML (read)",
    "hardware": "hardware YAML (read)",
    "problem": "problem file (read by solve, explain)",
    "layout": "layout file (read by verify)",
    "cluster": "cluster file (read by solve, explain)",
    "fleet": "fleet file of a cluster (read by verify)",
    "grid": "grid of problems (read by sweep)",
    "claims": "claims of a layout file (read by verify)",
    "result": "solve --json and --out",
    "certificate": "certificate inside a result",
    "placement": "place --json and --out",
    "verdict": "verify --json",
    "audit": "audit --json",
    "check": "certify --json",
    "calibration": "calibrate --json",
    "explain": "explain --json",
    "catalog": "catalog --json",
    "error": "any command --json, where the question is wrong",
}
"""Kinds of file, and what each is."""

_Schema = dict[str, Any]
_NUMBER: Final[_Schema] = {"type": "number"}
_MAYBE: Final[_Schema] = {"type": ["number", "null"]}
_TEXT: Final[_Schema] = {"type": "string"}
_MAYBE_TEXT: Final[_Schema] = {"type": ["string", "null"]}
_WHOLE: Final[_Schema] = {"type": "integer", "minimum": 0}
_QUANTITY: Final[_Schema] = {
    "description": "a quantity: text with its unit, or a number in the base unit",
    "type": ["string", "number"],
}


def _object(required: _Schema, optional: _Schema | None = None, *, closed: bool = False) -> _Schema:
    schema: _Schema = {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }
    return schema | {"additionalProperties": False} if closed else schema


def _list(items: _Schema) -> _Schema:
    return {"type": "array", "items": items}


def _named(name: str, required: _Schema, optional: _Schema | None = None) -> _Schema:
    return _object({"schema": {"const": f"shardproof/{name}/1"}, **required}, optional)


_INTERVAL: Final[_Schema] = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_ACCURACY: Final = _object(
    {"class": _TEXT, "runs": _WHOLE, "source": _TEXT},
    {
        "ttft_interval_s": _INTERVAL, "tpot_interval_s": _INTERVAL, "throughput_interval_tokens_per_s": _INTERVAL,
        "kept": {"type": "object", "additionalProperties": _NUMBER},
    },
)  # fmt: skip
"""How far measured runs of a result's class lie from its times."""


def _claims() -> _Schema:
    value = {
        "anyOf": [
            _QUANTITY,
            _object({"value": _QUANTITY}, {"tolerance": _QUANTITY}, closed=True),
        ]
    }
    known = {name: value | {"description": f"{dimension.noun}"} for name, dimension in sorted(dimensions().items())}
    return {"type": "object", "properties": known, "additionalProperties": value}


def _inlined(schema: _Schema) -> tuple[_Schema, _Schema]:
    definitions = schema.pop("$defs", {})
    return schema, definitions


def _layout_file() -> _Schema:
    problem, more = _inlined(ProblemFile.model_json_schema())
    layout, definitions = _inlined(WrittenLayout.model_json_schema())
    forms = ["object", "array", "string", "null"]
    placement = {"description": "expert placement, or the file that holds it", "type": forms}
    layout["properties"] |= {"devices": _WHOLE, "replicas": _WHOLE, "placement": placement}
    schema = _object(
        {"problem": {"anyOf": [_TEXT, problem]}, "layout": layout},
        {"claims": {"anyOf": [_claims(), {"type": "null"}]}, "placement": placement, "name": _TEXT, "notes": _TEXT},
        closed=True,
    )
    return schema | {"$defs": {**more, **definitions}}


def _fleet_file() -> _Schema:
    cluster, more = _inlined(ClusterFile.model_json_schema())
    fleet, definitions = _inlined(FleetFile.model_json_schema())
    claims = {"type": ["object", "null"], "additionalProperties": _QUANTITY}
    schema = _object(
        {"problem": {"anyOf": [_TEXT, cluster]}, "fleet": fleet},
        {"claims": claims, "name": _TEXT, "notes": _TEXT},
        closed=True,
    )
    return schema | {"$defs": {**more, **definitions}}


def _result_layout() -> _Schema:
    degrees = ("tp", "cp", "dp", "pp", "etp", "ep", "edp", "devices", "replicas", "batch")
    stage = _object({"first_layer": _WHOLE, "layers": {"type": "integer", "minimum": 1}})
    degree_schemas = {name: {"type": "integer", "minimum": 1} for name in degrees}
    assert set(degrees) - {"devices", "replicas"} <= set(Layout.model_fields)  # noqa: S101 - the two agree
    return _object(
        degree_schemas | {"stages": {"anyOf": [_list(stage), {"type": "null"}]}},
        {
            "placement": {"type": ["object", "null"]},
            "prefill_chunk": {"type": ["integer", "null"]},
            "overlap": {"enum": ["two_batch"]},
        },
    )


def _figures() -> _Schema:
    parts = ("weights_bytes", "expert_weights_bytes", "kv_cache_bytes", "activations_bytes", "reserve_bytes")
    axes = ("tp_bytes", "ep_bytes", "pp_bytes", "dp_bytes")
    times = ("ttft_s", "tpot_s", "throughput_tokens_per_s", "throughput_per_device_tokens_per_s")
    return _object(
        {
            "parameters": _WHOLE,
            "active_parameters": _WHOLE,
            "memory_bytes": _WHOLE,
            "memory": _object(dict.fromkeys(parts, _WHOLE), {"replicated_weights_bytes": _WHOLE}),
            **dict.fromkeys(times, _MAYBE),
            "traffic": _object(dict.fromkeys(axes, _NUMBER)),
            "utilization": _object(dict.fromkeys(("memory", "compute", "hbm_bandwidth"), _NUMBER)),
        }
    )


_PLACED: Final = _object(
    {
        "layer": _WHOLE,
        "devices": _list(_list(_WHOLE)),
        **dict.fromkeys(("max_over_mean", "bound", "gap"), _NUMBER),
        "proved": {"type": "boolean"},
    }
)
_READING: Final = _object({"name": _TEXT}, {"derived": _MAYBE, "holds": {"type": "boolean"}})


def _judged() -> _Schema:
    verdict = {"enum": [str(kind) for kind in Verdict]}
    return _object(
        {
            "name": _TEXT,
            "claimed": _MAYBE,
            "derived": _MAYBE,
            "unit": _MAYBE_TEXT,
            "verdict": verdict,
            "ratio": _MAYBE,
            "formula": _MAYBE_TEXT,
            "substituted": _MAYBE_TEXT,
            "readings": _list(_READING),
        },
        {"line": _MAYBE, "column": _MAYBE, "text": _TEXT},
    )


def _nullable(schema: _Schema) -> _Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _documents() -> dict[str, _Schema]:
    limit = _object({"limit": _TEXT}, {"value": {}, "unit": _MAYBE_TEXT})
    relaxed = _object(
        {"limit": _TEXT, "from": {}, "to": {}}, {"unit": _MAYBE_TEXT, "layout": {"type": ["object", "null"]}}
    )
    verdicts = {"enum": [str(kind) for kind in Verdict]}
    fault = _object(
        {
            "path": _MAYBE_TEXT,
            "line": {"type": ["integer", "null"]},
            "column": {"type": ["integer", "null"]},
            "field": _MAYBE_TEXT,
            "message": _TEXT,
            "suggestion": _MAYBE_TEXT,
        }
    )
    return {
        "result": _named(
            "result",
            {
                "status": {"enum": ["optimal", "feasible", "infeasible", "unknown"]},
                "problem": _object({"digest": _TEXT}),
                "objective": _object({"name": _TEXT, "value": _MAYBE, "bound": _MAYBE, "gap": _MAYBE}),
                "layout": _nullable(_result_layout()),
                "figures": {"anyOf": [_figures(), {"type": "null"}, {"type": "object", "maxProperties": 0}]},
                "search": _object({"candidates": _WHOLE, "wall_s": _NUMBER}),
                "certificate": {"type": ["object", "null"]},
            },
            {
                "fleet": {"type": ["object", "null"]},
                "conflict": _list(limit),
                "conflict_proof": {"type": ["object", "null"]},
                "unserved": _list(_TEXT),
                "accuracy": _ACCURACY,
                "ties": _list(
                    _object({"layout": _result_layout(), "redundant": _WHOLE, "value": _NUMBER, "ratio": _NUMBER})
                ),
            },
        ),
        "certificate": _named(
            "certificate",
            {
                "kind": {"enum": ["optimal", "feasible", "infeasible"]},
                "problem_digest": _TEXT,
                "layout": {"type": ["object", "null"]},
                "objective": {"type": "object"},
                "figures": {"type": ["object", "null"]},
                "lattice": {"type": "object"},
                "solver_trusted": _list(_TEXT),
            },
        ),
        "placement": _named(
            "placement",
            {
                "status": {"enum": ["optimal", "feasible"]},
                **dict.fromkeys(("model_layers", "ep", "redundant", "slots_per_device"), _WHOLE),
                **dict.fromkeys(("max_over_mean", "bound", "gap", "wall_s"), _NUMBER),
                "before": _object({"name": {"enum": ["linear", "in service"]}, "layers": _list({"type": "object"})}),
                "placement": _object({"slots_per_device": _WHOLE, "layers": _list(_PLACED), "moves": _MAYBE}),
                "certificate": {"type": "object"},
                "loads": _list(_object({"name": _TEXT, "load": _list(_list(_WHOLE))})),
                "problem": _object({"digest": _TEXT}),
                **dict.fromkeys(("noise", "hold_out", "frontier", "prices"), _list({"type": "object"})),
            },
        ),
        "verdict": _named(
            "verdict",
            {
                "feasible": {"type": "boolean"},
                "violations": _list(_object({"family": _TEXT, "message": _TEXT, "numbers": {"type": "object"}})),
                "figures": {"anyOf": [_figures(), {"type": "object", "additionalProperties": _NUMBER}]},
                "claims": _list(_judged()),
            },
            {
                "fleet": {"type": "object"},
                "not_checked": _list(_TEXT),
                "accuracy": _ACCURACY,
                "fits": {"enum": ["yes", "may not fit", "no"]},
                "doubts": _list(_TEXT),
            },
        ),
        "audit": _named(
            "audit",
            {
                "equations": _list(
                    _object(
                        {"line": _WHOLE, "column": _WHOLE, "text": _TEXT, "verdict": verdicts},
                        {"called_wrong": {"type": "boolean"}},
                    )
                ),
                "facts": _list(_object({"line": _WHOLE, "name": _TEXT, "text": _TEXT})),
                "claims": _list({"type": "object"}),
                "contradictions": _list(_object({"lines": _list(_WHOLE), "name": _TEXT, "explanation": _TEXT})),
                "missing": _list({}),
                "assumed": _list({}),
            },
        ),
        "calibration": _named(
            "calibration",
            {
                "hardware": _TEXT,
                "out": _MAYBE_TEXT,
                "runs": _WHOLE,
                "set_aside": {"type": "object"},
                "first_set_aside": {"type": "object", "additionalProperties": _TEXT},
                "few": {"type": "object"},
                "columns_left_out": {"type": "object", "additionalProperties": _list(_TEXT)},
                "errors": {"type": "object"},
                "groups": _list(
                    _object(
                        {
                            "engine": _TEXT,
                            "weights": _TEXT,
                            "model": _MAYBE_TEXT,
                            "runs": _WHOLE,
                            "factors": {"type": "object"},
                            "errors": {"type": "object"},
                            "source": _TEXT,
                        }
                    )
                ),
            },
        ),
        "check": _named(
            "check",
            {
                "accepted": {"type": "boolean"},
                "problem": _nullable(_object({"name": _TEXT, "digest": _TEXT})),
                "status": _MAYBE_TEXT,
                "objective": {"type": ["object", "null"]},
                "lattice": {"type": ["object", "null"]},
                "reason": _MAYBE_TEXT,
                "item": _MAYBE_TEXT,
                "checked": _list(_TEXT),
                "not_checked": _list(_TEXT),
                "solver_trusted": _list(_TEXT),
                "candidates": _WHOLE,
                "wall_s": _NUMBER,
            },
        ),
        "explain": _named("explain", {"status": _TEXT, "conflict": _list(limit), "relaxations": _list(relaxed)}),
        "catalog": _named("catalog", {}),
        "error": _named("error", {"exit": {"enum": [1, 2, 3]}, "errors": _list(fault)}),
    }


def schema_of(kind: str) -> _Schema:
    """JSON Schema of a kind of file, one of `KINDS`."""
    read: dict[str, Any] = {
        "model": ModelSpec, "hardware": HardwareSpec, "problem": ProblemFile, "cluster": ClusterFile, "grid": GridFile,
    }  # fmt: skip
    if kind in read:
        schema: _Schema = read[kind].model_json_schema()
    elif kind == "layout":
        schema = _layout_file()
    elif kind == "fleet":
        schema = _fleet_file()
    elif kind == "claims":
        schema = _claims()
    else:
        schema = _documents()[kind]
    return {"$schema": DIALECT, "title": f"shardproof {kind}", **{k: v for k, v in schema.items() if k != "title"}}


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
