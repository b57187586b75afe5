"""What ships with the product: models, hardware and scenarios, found in a checkout and in an installed wheel."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args

from optimizer.domain.feedforward import DenseFeedForward
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.model import Block, ModelSpec
from optimizer.domain.precision import ModelPrecision
from optimizer.errors import Fault, InternalError, SpecError
from optimizer.readers.document import Document, load, load_text, parse
from optimizer.readers.hub import cached_config, entry_of, how_to_get, is_hub_name, spellings, undescribed
from optimizer.readers.huggingface.reader import config_text, read_document
from optimizer.readers.messages import nearest, shown
from optimizer.readers.places import PathStep
from optimizer.readers.source import exists, is_file, read_text

Shelf = Literal["models", "hardware", "scenarios", "clusters"]
KINDS: Final[tuple[Shelf, ...]] = get_args(Shelf)

Described = TypeVar("Described", ModelSpec, HardwareSpec)

_SHORTEST_PART, _MOST_ALIKE = 3, 4
_CONFIG: Final = "config.json"
_SUFFIXES: Final = (".yaml", ".yml", ".json")
_SINGULAR: Final[dict[Shelf, str]] = {
    "models": "model",
    "hardware": "hardware",
    "scenarios": "scenario",
    "clusters": "cluster",
}


@cache
def root() -> Path:
    """Folder of the catalog: `optimizer/problems` in a wheel, `problems` beside the package in a checkout.

    Raises
    ------
    InternalError
        Neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "problems", package.parent / "problems"):
        if (folder / "models").is_dir():
            return folder
    raise InternalError("the catalog is missing from this installation")


@cache
def names(kind: Shelf) -> tuple[str, ...]:
    """Names of everything of a kind, in order."""
    return tuple(sorted(file.stem for file in (root() / kind).glob("*.yaml")))


def path(kind: Shelf, name: str) -> Path:
    """File of a catalog entry.

    Raises
    ------
    SpecError
        No such entry, with the nearest one.
    """
    if name not in names(kind):
        raise SpecError(Fault(None, None, None, None, *unknown(kind, name)))
    return root() / kind / f"{name}.yaml"


def unknown(kind: Shelf, name: str) -> tuple[str, str | None]:
    """What to say of a name that no entry has, and the entry that was probably meant."""
    reason = undescribed(name) if kind == "models" else None
    if reason is not None:
        return f"{shown(name)} {reason}", None
    noun = _SINGULAR[kind]
    message = (
        f"{shown(name)} is no {noun} of the catalog and no file: `shardproof catalog {kind}` lists {len(names(kind))}"
    )
    folded = name.casefold()
    if folded in names(kind):
        return message, folded
    alike = [entry for entry in names(kind) if entry.startswith(f"{folded}-")]
    alike = alike or [entry for entry in names(kind) if folded in entry] if len(folded) >= _SHORTEST_PART else []
    if alike:
        # A name of several entries: the one most often meant is the module with the fast links.
        alike.sort(key=lambda entry: ("-sxm-" not in entry, len(entry), entry))
        first, *others = alike[: 1 + _MOST_ALIKE]
        return message + (f"; also {', '.join(sorted(others, key=len))}" if others else ""), first
    return message, nearest(name, list(names(kind)))


def unknown_names(stated: Iterable[tuple[str, tuple[PathStep, ...], object]]) -> Iterator[Fault]:
    """Names that options (as they are called, what they are of, their values) give and no entry has."""
    shelves: dict[tuple[PathStep, ...], Shelf] = {("model",): "models", ("hardware",): "hardware"}
    for option, at, value in stated:
        if at in shelves and isinstance(value, str):
            try:
                find(shelves[at], value)
            except SpecError as error:
                yield from (replace(fault, field=option) for fault in error.faults)


def is_path(reference: str | Path) -> bool:
    """Whether a reference means a file rather than a catalog entry."""
    text = str(reference)
    return isinstance(reference, Path) or text == "-" or "/" in text or "\\" in text or text.endswith(_SUFFIXES)


def find(kind: Shelf, reference: str | Path, *, beside: Path | None = None) -> Path:
    """File that a reference means: a path (relative to the folder `beside`), or the name of a catalog entry.

    Raises
    ------
    SpecError
        Neither.
    """
    if is_path(reference):
        file = Path(reference) if str(reference) == "-" or beside is None else beside / reference
        if kind == "models":
            return _model_file(reference, file)
        return file
    name = str(reference)
    if name not in names(kind) and beside is None and is_file(name):
        return Path(name)
    return path(kind, name)


def _model_file(reference: str | Path, file: Path) -> Path:
    """The file itself; the config.json of a folder; or what a name of the Hugging Face Hub stands for."""
    if is_file(file / _CONFIG):
        return file / _CONFIG
    if exists(file) or not isinstance(reference, str) or not is_hub_name(reference):
        return file
    cached = checkpoint(reference)
    if cached is None or (cached.weights is not None and cached.weights != cached.shapes.precision.weights):
        raise SpecError(Fault(None, None, None, None, f"{shown(reference)} {how_to_get(reference)}"))
    return cached.file


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A published checkpoint.

    Attributes
    ----------
    file
        What describes its shapes: its config.json, or an entry of the catalog.
    weights
        Format of its weights, where its name adds one to that.
    context
        Longest sequence by its own config.json; None: not known here.
    precision
        Formats that it was published in, by part, where they are not those of the entry.
    width
        Of its dense feed-forward blocks, where its maker padded them.
    """

    name: str
    file: Path
    weights: str | None
    context: int | None
    precision: Mapping[str, Any] = field(default_factory=dict)
    width: int | None = None

    @property
    def shapes(self) -> ModelSpec:
        """The model that its shapes are of, in the formats, and the padded width, that it was published in."""
        shapes = load_model(self.file)
        if not self.precision:
            return shapes
        own = ModelPrecision.model_validate({**shapes.precision.model_dump(), **self.precision})
        blocks = {name: _padded(block, self.width) for name, block in shapes.blocks.items()}
        return shapes.model_copy(update={"precision": own, "blocks": blocks})

    @property
    def model(self) -> ModelSpec:
        """The model with the checkpoint's own context, under its own name where that or its formats differ."""
        shapes = self.shapes
        if self.context == shapes.max_context and not self.precision:
            return shapes
        return shapes.model_copy(update={"name": self.name, "max_context": self.context})


def checkpoint(name: str) -> Checkpoint | None:
    """A checkpoint by its name; None: it is not known here.

    An entry of the catalog, a download in the cache of the Hugging Face Hub, or one with the shapes of an entry. Its
    context is that of the entry where it has the entry's name, or else that of its row in `checkpoints.csv`: releases
    of the same shapes know other lengths (Qwen2.5-7B 131,072 tokens and its -Instruct 32,768), and may be published in
    other formats (Kimi-K2 in FP8, and its -Thinking with experts in INT4).
    """
    entry = _entry("models", name.rsplit("/", 1)[-1].casefold()) or (cached_config(name) if is_hub_name(name) else None)
    if entry is not None:
        return Checkpoint(name, entry, None, load_model(entry).max_context)
    alike = entry_of(name, names("models"))
    if alike is None:
        return None
    file = path("models", alike[0])
    rows = {spellings(file.stem)[0]: Release(load_model(file).max_context)} | _releases()
    own = name if is_hub_name(name) else Path(name).name
    padded = (key for key, row in rows.items() if row.width and key.rpartition("/")[2] == own.casefold())
    full_name = name if is_hub_name(name) else next(padded, name)  # without an owner: its maker's
    if (quantised := rows.get(full_name.casefold())) is not None:
        return Checkpoint(own, file, None, *quantised)
    release = next((rows[spelling] for spelling in spellings(name) if spelling in rows), Release(None))
    return Checkpoint(own, file, alike[1], release.context, release.precision)


class Release(NamedTuple):
    """What a checkpoint with an entry's shapes has of its own."""

    context: int | None
    precision: Mapping[str, Any] = MappingProxyType({})
    width: int | None = None


def _padded(block: Block, width: int | None) -> Block:
    """A layer whose dense feed-forward block was padded to a width."""
    if width is None or not isinstance(block.ffn, DenseFeedForward):
        return block
    return block.model_copy(update={"ffn": block.ffn.model_copy(update={"intermediate": width})})


@cache
def _releases() -> dict[str, Release]:
    """Checkpoints that have an entry's shapes and another name, by their folded names.

    One that is quantised in its maker's way is known by its maker's name too: others quantise in theirs.
    """
    releases = {}
    with (root() / "models" / "checkpoints.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            names, formats = spellings(row["checkpoint"]), row["precision"].split()
            precision: dict[str, Any] = dict(part.split("=") for part in formats if "=" in part)
            exceptions = tuple(tuple(part.split(":")) for part in formats if ":" in part)
            precision |= {"exceptions": exceptions} if exceptions else {}
            key = row["checkpoint"].casefold() if precision and len(names) > 1 else names[0]
            width = int(row["width"]) if row["width"] else None
            releases[key] = Release(int(row["context"]) if row["context"] else None, precision, width)
    return releases


def load_model(reference: str | Path, *, beside: Path | None = None) -> ModelSpec:
    """Model by catalog name, or from a model file or a Hugging Face config.json; a checkpoint has its own context.

    Parameters
    ----------
    reference
        A catalog name, a name of the Hugging Face Hub that the catalog or the local cache has, or a path.
    beside
        Folder that a relative path starts from; the current one otherwise.

    Raises
    ------
    SpecError
        No such entry or file, or what it says is not understood.
    """
    file = find("models", reference, beside=beside)
    if _ships("models", file) and is_hub_name(reference) and (known := checkpoint(str(reference))) is not None:
        return known.model
    model = (_shipped_model if _ships("models", file) else _read_model)(file)
    return model if file == _entry("models", model.name) else _apart("models", model, Path(file).name)


def _read_model(file: Path) -> ModelSpec:
    document = load_text(*config_text(*read_text(file)))
    return read_document(document, file) if is_hugging_face(document.data) else parse(ModelSpec, document)


_shipped_model: Final = cache(_read_model)
"""An entry of the catalog, read once: it does not change while a command runs."""


def load_hardware(reference: str | Path, *, beside: Path | None = None) -> HardwareSpec:
    """Hardware by catalog name, or from a file; as `load_model`."""
    file = find("hardware", reference, beside=beside)
    hardware = (_shipped_hardware if _ships("hardware", file) else _read_hardware)(file)
    return hardware if file == _entry("hardware", hardware.name) else _apart("hardware", hardware, Path(file).name)


def _read_hardware(file: Path) -> HardwareSpec:
    return parse(HardwareSpec, load(file))


_shipped_hardware: Final = cache(_read_hardware)
"""As `_shipped_model`."""


def _ships(kind: Shelf, file: Path) -> bool:
    return file == _entry(kind, file.stem)


def _entry(kind: Shelf, name: str) -> Path | None:
    return root() / kind / f"{name}.yaml" if name in names(kind) else None


def _apart(kind: Shelf, described: Described, where: str) -> Described:
    """What a file or a problem describes, under a name that tells it from the catalog's own where the two differ."""
    name = described.name
    if name not in names(kind):
        return described
    load_one = load_model if kind == "models" else load_hardware
    return described if described == load_one(name) else described.model_copy(update={"name": f"{name} ({where})"})


def model_in(document: Document, at: tuple[PathStep, ...], *, beside: Path | None = None) -> ModelSpec:
    """Model that a document refers to or describes at `at`; faults point into the document.

    Raises
    ------
    SpecError
        As `load_model`.
    """
    value = document.get(at)
    if isinstance(value, str):
        _check_name("models", value, document, at, beside)
        return load_model(value, beside=beside)
    return _apart("models", parse(ModelSpec, document, at), "as described")


def hardware_in(document: Document, at: tuple[PathStep, ...], *, beside: Path | None = None) -> HardwareSpec:
    """Hardware that a document refers to or describes at `at`; as `model_in`."""
    value = document.get(at)
    if isinstance(value, str):
        _check_name("hardware", value, document, at, beside)
        return load_hardware(value, beside=beside)
    return _apart("hardware", parse(HardwareSpec, document, at), "as described")


def named_in(document: Document, at: tuple[PathStep, ...], kind: Shelf, name: str) -> Document:
    """The entry or file that a document names at `at`, beside itself; that it cannot be read is said of the name."""
    try:
        return load(find(kind, name, beside=document.folder))
    except SpecError as error:
        if any(fault.line is not None for fault in error.faults):
            raise
        fault = error.faults[0]
        message = f"{fault.path}: {fault.message}" if fault.path else fault.message
        raise document.error(message, at, fault.suggestion) from None


def _check_name(kind: Shelf, name: str, document: Document, at: tuple[PathStep, ...], beside: Path | None) -> None:
    if not is_path(name) and name not in names(kind) and (beside is not None or not is_file(name)):
        message, suggestion = unknown(kind, name)
        raise document.error(message, at, suggestion)


def is_hugging_face(data: object) -> bool:
    """Whether a document is a Hugging Face config.json rather than a model of ours."""
    return isinstance(data, dict) and "blocks" not in data and bool({"model_type", "architectures"} & data.keys())
