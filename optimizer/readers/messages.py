"""What pydantic found wrong, in plain words."""

import difflib
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

WANTED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bool_type": "true or false",
        "bool_parsing": "true or false",
        "bytes_type": "text",
        "dataclass_type": "a mapping",
        "dict_type": "a mapping",
        "mapping_type": "a mapping",
        "float_type": "a number",
        "float_parsing": "a number",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "int_parsing": "a whole number",
        "list_type": "a list",
        "tuple_type": "a list",
        "set_type": "a list",
        "frozen_set_type": "a list",
        "iterable_type": "a list",
        "model_type": "a mapping",
        "model_attributes_type": "a mapping",
        "none_required": "nothing",
        "string_type": "text",
        "is_instance_of": "another kind of value",
    }
)
"""What a type error of pydantic asks for."""

SYNONYMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("tensor_parallel", "tensor_parallel_size", "tp_size", "attention_tp"), "tp"),
        **dict.fromkeys(("pipeline_parallel", "pipeline_parallel_size", "pp_size"), "pp"),
        **dict.fromkeys(("data_parallel", "data_parallel_size", "dp_size"), "dp"),
        **dict.fromkeys(("expert_parallel", "expert_parallel_size", "ep_size", "moe_ep"), "ep"),
        **dict.fromkeys(("expert_tensor_parallel", "expert_tensor_parallel_size", "moe_tp"), "etp"),
        **dict.fromkeys(("context_parallel", "context_parallel_size", "cp_size"), "cp"),
        **dict.fromkeys(("batch_size", "max_batch_size", "max_num_seqs", "concurrency"), "batch"),
        **dict.fromkeys(("gpus", "num_gpus", "world_size", "max_devices"), "devices"),
        **dict.fromkeys(("isl", "input_length", "prompt_tokens"), "input_tokens"),
        **dict.fromkeys(("osl", "output_length"), "output_tokens"),
        **dict.fromkeys(("qps", "rps", "rate"), "request_rate"),
        **dict.fromkeys(("itl", "tbt"), "tpot"),
        **dict.fromkeys(("gpu_memory_utilization", "mem_fraction_static"), "memory_utilization"),
        **dict.fromkeys(("slo", "slos", "constraints"), "limits"),
        **dict.fromkeys(("cluster", "device", "gpu"), "hardware"),
    }
)
"""Other tools' names for keys of these files."""

_BOUNDS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "greater_than": ("gt", "must be more than"),
        "greater_than_equal": ("ge", "must be at least"),
        "less_than": ("lt", "must be less than"),
        "less_than_equal": ("le", "must be at most"),
        "multiple_of": ("multiple_of", "must be a multiple of"),
    }
)
_MOST_SHOWN = 40
_SHORT_NAME = 5


def kind_of(value: object) -> str:
    """Plain name of a value of a document, with the value itself where it is short."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {shown(value)}"
    return shown(value)


def shown(value: object) -> str:
    """Text of a value, cut where it is long."""
    if isinstance(value, int | Fraction) and not isinstance(value, bool) and abs(value) > 10**_MOST_SHOWN:
        return "an enormous number"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 3] + "..."


def nearest(name: object, known: list[str], value: object = None) -> str | None:
    """Known name that ``name`` is probably a slip of; of what a whole number stands under, its plural first."""
    if not isinstance(name, str):
        return None
    word = name.casefold().replace("-", "_")
    counts = isinstance(value, int) and not isinstance(value, bool)
    for meant in (f"{word}s", word) if counts else (word,):
        synonym = SYNONYMS.get(meant, meant)
        if synonym in known:
            return synonym
    folded = {option.casefold(): option for option in known}
    # One letter in three may differ in a short name, fewer in a long one, where any two share some.
    likeness = 0.6 if len(name) <= _SHORT_NAME else 0.75
    close = difflib.get_close_matches(name.casefold(), folded, 1, likeness)
    return folded[close[0]] if close else None


def _listed(options: list[str]) -> str:
    return options[0] if len(options) == 1 else f"{', '.join(options[:-1])} or {options[-1]}"


def wanted_message(wanted: list[str], value: object) -> str:
    """Message for a value of none of the wanted kinds."""
    return f"{_listed(list(dict.fromkeys(wanted)))} is wanted, not {kind_of(value)}"


def options_of(error: Mapping[str, Any]) -> list[str]:
    """Values that a literal, enumeration or tag error allows."""
    ctx = error.get("ctx", {})
    expected = str(ctx.get("expected", ctx.get("expected_tags", "")))
    return [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(",") if part.strip()]


def _size_message(kind: str, ctx: Mapping[str, Any]) -> str | None:
    unit = "character" if kind.startswith("string") else "item"
    if kind.endswith("too_short"):
        least = ctx["min_length"]
        if least == 1:
            return "must not be empty"
        return f"must have at least {least} {unit}s"
    if kind.endswith("too_long"):
        most = ctx["max_length"]
        return f"must have at most {most} {unit}{'' if most == 1 else 's'}"
    return None


def message_of(error: Mapping[str, Any]) -> tuple[str, str | None]:
    """Message and suggestion for one error of ``ValidationError.errors()``, its place aside."""
    kind, value, ctx = error["type"], error.get("input"), error.get("ctx", {})
    if kind in WANTED:
        return wanted_message([WANTED[kind]], value), None
    if kind in {"literal_error", "enum", "union_tag_invalid"}:
        options = options_of(error)
        value = ctx.get("tag", value)
        return f"{shown(value)} is not {_listed(options)}", nearest(value, options)
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{words} {ctx[name]}, not {shown(value)}", None
    if kind in {"value_error", "assertion_error"}:
        cause = ctx.get("error")
        return str(cause), getattr(cause, "suggestion", None)
    if kind == "finite_number":
        return f"{shown(value)} is not a finite number", None
    if kind == "string_pattern_mismatch":
        return f"{shown(value)} does not look like {ctx['pattern']}", None
    sized = _size_message(kind, ctx)
    if sized is not None:
        return sized, None
    message = str(error["msg"])
    return message[:1].lower() + message[1:], None
