"""From a config.json to a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from optimizer.domain.model import ModelSpec
from optimizer.errors import Fault, SpecError
from optimizer.readers.document import Document, load_text
from optimizer.readers.huggingface.config import LARGEST, Config
from optimizer.readers.huggingface.defaults import DEFAULTS
from optimizer.readers.huggingface.families import FAMILIES, WRAPPERS
from optimizer.readers.huggingface.parts import ReadParts, runs_of
from optimizer.readers.huggingface.quantization import precision_of
from optimizer.readers.huggingface.vision import vision_of
from optimizer.readers.messages import nearest, shown
from optimizer.readers.places import LineColumn, PathStep
from optimizer.readers.source import read_text

SUPPORTED: Final = tuple(sorted({*FAMILIES, *WRAPPERS}))
"""Every `model_type` that can be read."""

QUANTIZER_FILE: Final = "hf_quant_config.json"
"""Where modelopt's older exports put what later ones write into config.json."""

_BASES: Final = {"bfloat16": "bf16", "float16": "fp16", "float32": "bf16", "auto": "bf16"}
"""Engines serve checkpoints saved in FP32 in 16 bit (vLLM's `--dtype auto` does)."""
_SCALING: Final = ("yarn", "linear", "dynamic")
"""Kinds of rotary scaling whose factor lengthens the context; the others' is within the positions stated."""
_NOT_FINITE = re.compile(r'"(?:[^"\\]|\\.)*"|(?<![\w.])(?:-?Infinity|NaN)(?![\w.])')


def read_config(
    config: Mapping[str, Any],
    *,
    name: str,
    source: str,
    beside: Mapping[str, Any] | None = None,
    document: Document | None = None,
) -> ModelSpec:
    """Model that a config.json describes.

    Parameters
    ----------
    config
        Content of the file.
    name
        What to call the model.
    source
        Where the file comes from: kept in the model, and shown in messages where there is no `document`.
    beside
        Content of a `hf_quant_config.json` beside it.
    document
        The file's text, for lines and columns in messages.

    Raises
    ------
    SpecError
        An architecture, key or value that is not understood, by name, with what is.
    """
    shown_as = source if document is None else document.source

    def locate(at: Sequence[PathStep], key: bool) -> LineColumn | tuple[None, None]:  # noqa: FBT001 - one kind of caller
        return (None, None) if document is None else document.locate(at, key=key)

    if not isinstance(config, Mapping):
        raise SpecError(Fault(shown_as, None, None, None, "a mapping is wanted: the content of a config.json"))
    outer = Config(config, shown_as, locate)
    kind, text = _text_model(outer)
    family = FAMILIES[kind]
    try:
        reading = family.read(text)
        model = _model(kind, reading, text, outer, tied=family.tied, name=name, source=source)
        quantizer = None if beside is None else Config(beside, QUANTIZER_FILE)
        precision = precision_of(
            text if text.has("quantization_config") else outer,
            model,
            style=family.style,
            base=_base(text, outer),
            beside=None if quantizer is None else quantizer.section("quantization") or quantizer,
        )
    except ValidationError as error:
        problems = "; ".join(str(item["msg"]).removeprefix("Value error, ") for item in error.errors())
        raise SpecError(Fault(shown_as, None, None, None, f"does not describe a {kind} model: {problems}")) from None
    text.finish(kind)
    if text is not outer:
        outer.finish(str(outer.data.get("model_type")))
    return model.model_copy(update={"precision": precision})


def _text_model(outer: Config) -> tuple[str, Config]:
    """Architecture of the language model, and its part of the configuration."""
    kind = outer.text("model_type")
    if kind is None:
        outer.refuse("model_type", f"is required but missing; supported: {', '.join(SUPPORTED)}")
    if kind in FAMILIES and not (kind in WRAPPERS and outer.has("text_config")):
        return kind, outer
    if kind not in WRAPPERS:
        message = (
            f"architecture {shown(kind)} is not supported; supported: {', '.join(SUPPORTED)}; "
            "a YAML of your own describes any other: `shardproof schema model`"
        )
        near = nearest(kind, list(SUPPORTED))
        # Another number is another architecture, no slip of the finger.
        same = near is not None and [*filter(str.isdigit, near)] == [*filter(str.isdigit, kind)]
        outer.refuse("model_type", message, near if same else None)
    text = outer.section("text_config")
    if text is None:
        outer.refuse("text_config", f"is required but missing: {kind} models keep their language model there")
    inner = text.text("model_type") or WRAPPERS[kind][0]
    if inner not in WRAPPERS[kind]:
        text.refuse(
            "model_type", f"{shown(inner)} is not supported inside {kind}; supported: {', '.join(WRAPPERS[kind])}"
        )
    text.leave_to(DEFAULTS.get(inner, {}))
    return inner, text


def _tied(text: Config, outer: Config, *, default: bool) -> bool:
    flags = [part.flag("tie_word_embeddings") for part in (text, outer) if part.has("tie_word_embeddings")]
    return flags[0] if flags else default


def _base(text: Config, outer: Config) -> str:
    """Format of what is not quantised."""
    written = text.text("dtype", "torch_dtype") or outer.text("dtype", "torch_dtype") or "bfloat16"
    if written not in _BASES:
        part = text if text.has("dtype") or text.has("torch_dtype") else outer
        part.refuse("torch_dtype", f"{shown(written)} is not understood; understood: {', '.join(_BASES)}")
    return _BASES[written]


def _context(text: Config) -> int | None:
    """Longest sequence: the positions, or what their scaling makes of them (vLLM config/model.py, max_model_len).

    YaRN scales those of before; Gemma 3 counts the scaled ones, and some kinds of scaling are within the positions.
    """
    positions = text.optional(
        "max_position_embeddings", "max_sequence_length", "max_seq_len", "n_positions", "model_max_length"
    )
    rope = text.data.get("rope_scaling") or text.data.get("rope_parameters")
    if positions is None or not isinstance(rope, Mapping) or "gemma3" in str(text.data.get("model_type")):
        return positions
    kind, factor = rope.get("rope_type", rope.get("type")), rope.get("factor")
    before = rope.get("original_max_position_embeddings") if kind == "yarn" else positions
    if kind not in _SCALING or type(before) is not int or not isinstance(factor, int | float) or not isfinite(factor):
        return positions
    scaled = Fraction(factor) * before
    return int(scaled) if 1 <= scaled <= LARGEST else positions


def _architecture(outer: Config) -> str:
    """The first class that the file names; empty where it names none."""
    named = outer.data.get("architectures")
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""


def _model(
    kind: str, reading: ReadParts, text: Config, outer: Config, *, tied: bool, name: str, source: str
) -> ModelSpec:
    used = {*reading.layers, *([reading.mtp.block] if reading.mtp else [])}
    hidden = text.integer("hidden_size", "n_embd", "d_model", "n_embed")
    vision, assumed = vision_of(outer, hidden)
    fields: dict[str, Any] = {
        "name": name,
        "architecture": _architecture(outer),
        "source": source,
        "hidden_size": hidden,
        "vocab_size": text.integer("vocab_size"),
        "tie_embeddings": _tied(text, outer, default=tied),
        "max_context": _context(text),
        "blocks": {block: spec for block, spec in reading.blocks.items() if block in used},
        "layers": runs_of(reading.layers),
        "mtp": reading.mtp,
        "vision": vision,
        "assumed": assumed,
    }
    model = ModelSpec(**(fields | {key: value for key, value in reading.fields.items() if value is not None}))
    return model.model_copy(update={"family": kind}) if model.windows else model


def read_config_file(path: str | Path, *, name: str | None = None) -> ModelSpec:
    """Model that a config.json file describes; called after its folder unless `name` is given.

    Raises
    ------
    SpecError
        As `read_config`, with line and column; or the file cannot be read.
    """
    return read_document(load_text(*config_text(*read_text(path))), path, name=name)


def config_text(text: str, shown_as: str) -> tuple[str, str]:
    """Text of a JSON file with what Python writes and JSON does not have, ``Infinity`` and ``NaN``, quoted.

    Files in the wild say ``Infinity`` of an unbounded time step, which nothing reads; a field that is read refuses it.
    """
    if not shown_as.endswith(".json") or not text.lstrip().startswith("{"):
        return text, shown_as
    return _NOT_FINITE.sub(lambda match: match[0] if match[0].startswith('"') else f'"{match[0]}"', text), shown_as


def read_document(document: Document, path: str | Path, *, name: str | None = None) -> ModelSpec:
    """Model that an already loaded config.json describes."""
    file = Path(path)
    quantizer = file.with_name(QUANTIZER_FILE)
    beside = None
    if file.name == "config.json" and quantizer.is_file():
        beside = load_text(*read_text(quantizer)).data
    folder = file.resolve().parent.name
    called = name or (folder if file.name == "config.json" and folder else file.stem) or "model"
    return read_config(document.data, name=called, source=document.source, beside=beside, document=document)
