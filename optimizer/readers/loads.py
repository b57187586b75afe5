"""Measured expert load: how many tokens each expert of each layer was given, from the files that engines write.

Read are JSON ``[layer][expert]``, the same with steps before it, or an object with one of ``load``, ``logical_count``
(the dump of SGLang's expert distribution recorder, github.com/sgl-project/sglang ``srt/eplb``), ``expert_load`` or
``global_expert_load_window`` (vLLM's load windows, github.com/vllm-project/vllm ``distributed/eplb``) and
``load_history`` (one record a step); and CSV, one row a layer or one row for each layer and expert; and the statistics
folder of TensorRT-LLM (`statistics_folder`). ``records`` of SGLang's recorder are counts of slots, put together by its
``last_physical_to_logical_map``. PyTorch files of these are read with PyTorch (`pickled`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimizer.errors import Fault, SpecError
from optimizer.readers.document import Document, load_text
from optimizer.readers.load_profiles import PROFILES, profile_rows
from optimizer.readers.messages import nearest
from optimizer.readers.messages import shown as shown_value
from optimizer.readers.pickled import read_pickled
from optimizer.readers.places import PathStep
from optimizer.readers.source import csv_rows, exists, read_text
from optimizer.readers.statistics_folder import folder_loads, is_statistics

MOST_TOKENS = 10**15
"""Most tokens of one expert; sums over experts and layers then fit 64 bits."""

MOST_CELLS = 10**7
"""Layers × experts of a table that leaves out experts without tokens; no model has a hundredth of it."""

_KEYS = ("load", "logical_count", "expert_load", "global_expert_load_window", "load_history")
_RECORD_KEY = "logical_expert_load"
_MAP, _SLOTS = "last_physical_to_logical_map", "global_physical_count"
_MOST_DIGITS = 100
_COUNT_COLUMNS = ("load", "count", "tokens")

LayerLoads = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class ExpertLoad:
    """Tokens of ``[layer][expert]``; ``layer_ids`` are the model's own layer indices where the file tells them."""

    name: str
    rows: LayerLoads
    layer_ids: tuple[int, ...] | None = None

    @property
    def layers(self) -> int:
        """MoE layers."""
        return len(self.rows)

    @property
    def experts(self) -> int:
        """Experts of a layer."""
        return len(self.rows[0])


@dataclass(frozen=True, slots=True)
class _Table:
    """Rows as read, with the place of each for messages."""

    document: Document
    at: tuple[PathStep, ...]

    def fail(self, message: str, *steps: PathStep) -> SpecError:
        return self.document.error(message, (*self.at, *steps))


def read_load(
    source: str | Path, *, layers: int | None = None, experts: int | None = None, seed: int = 0
) -> ExpertLoad:
    """Load of a file, or of a named profile such as ``zipf:0.8`` for want of a measurement.

    Parameters
    ----------
    source
        Path of a JSON or CSV file or of a statistics folder, ``-`` for standard input, or a profile.
    layers, experts
        MoE layers and experts of a layer of the model. Checked where given; a profile needs both.
    seed
        Of a profile.

    Raises
    ------
    SpecError
        Unreadable, not a load, or not the model's layers and experts; with the line that is off.
    """
    name = str(source)
    if name.partition(":")[0] in PROFILES:
        if layers is None or experts is None:
            raise SpecError(f"experts.load: the profile {name!r} needs the model's layers and experts")
        return ExpertLoad(name, profile_rows(name, layers, experts, seed))
    if name != "-" and not exists(name) and not Path(name).suffix:
        close = nearest(name.partition(":")[0], list(PROFILES))
        known = ", ".join(PROFILES)
        raise SpecError(
            Fault(
                None, None, None, "experts.load", f"{name!r} is neither a file nor one of the profiles {known}", close
            )
        )
    if is_statistics(name):
        ids, rows = folder_loads(name)
        return _check(ExpertLoad(name, rows, ids), layers, experts, name)
    pickled = read_pickled(name, "load", "a dict with logical_count, or the tensor itself")
    text, shown = read_text(source) if pickled is None else pickled
    if text.lstrip()[:1] not in {"[", "{"}:
        return _check(_read_csv(text, shown, experts), layers, experts, shown)
    return _read_json(load_text(text, shown), layers, experts)


def _read_json(document: Document, layers: int | None, experts: int | None) -> ExpertLoad:
    data: Any = document.data
    at: tuple[PathStep, ...] = ()
    ids: tuple[int, ...] | None = None
    if isinstance(data, Mapping) and "records" in data and "last_physical_to_logical_map" in data:
        data = _logical(document, experts)
    elif isinstance(data, Mapping):
        key = next((key for key in _KEYS if key in data), None)
        if key is None:
            raise document.error(f"no expert load: none of the keys {', '.join(_KEYS)}")
        at, ids = (key,), _layer_ids(data)
        data = data[key]
    steps = list(_steps(data, _Table(document, at)))
    rows = _summed(steps)
    first_table = steps[0][0]
    if layers is not None and len(rows) > layers:
        # SGLang counts all transformer layers; the dense ones have rows of zeros.
        live = [index for index, row in enumerate(rows) if any(row)]
        if len(live) <= layers and len(rows) - layers <= next(iter(live), len(rows)):
            ids = tuple(range(len(rows) - layers, len(rows)))
            rows = rows[len(rows) - layers :]
    if layers is not None and len(rows) != layers:
        last = min(len(rows), layers) - 1 if len(rows) < layers else layers
        raise first_table.fail(f"{len(rows)} layers of load, but the model has {layers} MoE layers", last)
    if experts is not None and len(rows[0]) != experts:
        raise first_table.fail(f"{len(rows[0])} experts, but the model has {experts} experts a layer", 0)
    if ids is not None and len(ids) != len(rows):
        raise document.error(f"{len(ids)} layer ids for {len(rows)} layers of load")
    return ExpertLoad(document.source, rows, ids)


def _logical(document: Document, experts: int | None) -> list[list[int]]:
    """Tokens of ``[layer][expert]`` from counts of slots and the expert of each slot."""
    homes, records = document.get((_MAP,)), document.get(("records",))
    table = _Table(document, (_MAP,))
    rows = _rows(homes, table)
    if not isinstance(records, list) or not records:
        raise document.error("no records", ("records",))
    # Every expert has a slot, so that there are at most as many experts as slots.
    most = len(rows[0]) if experts is None else experts
    for layer, slot_experts in enumerate(rows):
        for slot, expert in enumerate(slot_experts):
            if expert >= most:
                whose = f"{most} slots" if experts is None else f"{most} experts a layer of the model"
                raise table.fail(f"expert {expert} in a slot, but there are {whose}", layer, slot)
    total = [[0] * (1 + max(map(max, rows))) for _ in rows]
    for number in range(len(records)):
        at = _Table(document, ("records", number, _SLOTS))
        counted = _rows(document.get(at.at), at)
        if [len(row) for row in counted] != [len(row) for row in rows]:
            raise at.fail(f"not the layers and slots of {_MAP}")
        for row_total, slots, slot_experts in zip(total, counted, rows, strict=True):
            for tokens, expert in zip(slots, slot_experts, strict=True):
                row_total[expert] += tokens
    return total


def _layer_ids(data: Mapping[str, Any]) -> tuple[int, ...] | None:
    holder = data.get("meta", data)
    ids = holder.get("layer_ids") if isinstance(holder, Mapping) else None
    if not isinstance(ids, Sequence) or not all(isinstance(layer, int) for layer in ids):
        return None
    return tuple(ids)


def _steps(data: object, table: _Table) -> Iterator[tuple[_Table, LayerLoads]]:
    """Each step's rows; a load without steps is one step."""
    if not isinstance(data, list) or not data:
        raise table.fail("not a list of layers")
    if isinstance(data[0], Mapping):
        for number, record in enumerate(data):
            step_table = _Table(table.document, (*table.at, number, _RECORD_KEY))
            if not isinstance(record, Mapping) or _RECORD_KEY not in record:
                raise table.fail(f"a record without {_RECORD_KEY}", number)
            yield step_table, _rows(record[_RECORD_KEY], step_table)
    elif isinstance(data[0], list) and data[0] and isinstance(data[0][0], list):
        for number, step in enumerate(data):
            step_table = _Table(table.document, (*table.at, number))
            yield step_table, _rows(step, step_table)
    else:
        yield table, _rows(data, table)


def _summed(steps: Sequence[tuple[_Table, LayerLoads]]) -> LayerLoads:
    total = [list(row) for row in steps[0][1]]
    for table, rows in steps[1:]:
        if len(rows) != len(total):
            raise table.fail(f"{len(rows)} layers, but the first step has {len(total)}")
        for layer, row in enumerate(rows):
            if len(row) != len(total[layer]):
                raise table.fail(f"{len(row)} experts, but the first step has {len(total[layer])}", layer)
            total[layer] = [before + tokens for before, tokens in zip(total[layer], row, strict=True)]
    return tuple(tuple(row) for row in total)


def _rows(data: object, table: _Table) -> LayerLoads:
    if not isinstance(data, list) or not data:
        raise table.fail("not a list of layers")
    for layer, row in enumerate(data):
        if not isinstance(row, list) or not row:
            raise table.fail("not a list of tokens, one number for each expert", layer)
        if len(row) != len(data[0]):
            raise table.fail(f"{len(row)} experts, but the first layer has {len(data[0])}", layer)
    return tuple(
        tuple(_tokens(value, table, layer, expert) for expert, value in enumerate(row))
        for layer, row in enumerate(data)
    )


def _tokens(value: object, table: _Table, layer: int, expert: int) -> int:
    if type(value) is int:
        tokens = value
    elif isinstance(value, float) and value.is_integer():
        tokens = int(value)
    else:
        raise table.fail(f"{shown_value(value)} is not a whole number of tokens", layer, expert)
    if not 0 <= tokens <= MOST_TOKENS:
        raise table.fail(f"{shown_value(tokens)} tokens are outside 0..{MOST_TOKENS}", layer, expert)
    return tokens


def _read_csv(text: str, shown: str, experts: int | None) -> ExpertLoad:
    lines = [(number, row) for number, row in csv_rows(text, shown) if any(map(str.strip, row))]
    if not lines:
        raise SpecError(Fault(shown, 1, 1, None, "no expert load: the file is empty"))
    header = [cell.strip().lower() for cell in lines[0][1]]
    if "expert" in header:
        return ExpertLoad(shown, *_long_csv(lines, header, shown, experts))
    body = lines if all(cell.isdecimal() for cell in header) else lines[1:]
    skip = 1 if header[0] == "layer" else 0
    rows: list[tuple[int, ...]] = []
    ids: list[int] = []
    for number, row in body:
        cells = [_cell(cell, shown, number, column) for column, cell in enumerate(row, 1)]
        ids.append(cells[0])
        rows.append(tuple(cells[skip:]))
        if len(rows[-1]) != len(rows[0]):
            raise SpecError(
                Fault(shown, number, 1, None, f"{len(rows[-1])} experts, but the first layer has {len(rows[0])}")
            )
    if not rows or not rows[0]:
        raise SpecError(Fault(shown, lines[-1][0], 1, None, "no expert load: no rows below the header"))
    return ExpertLoad(shown, tuple(rows), tuple(ids) if skip else None)


def _long_csv(
    lines: Sequence[tuple[int, list[str]]], header: Sequence[str], shown: str, experts: int | None
) -> tuple[LayerLoads, tuple[int, ...]]:
    count = next((name for name in _COUNT_COLUMNS if name in header), None)
    if "layer" not in header or count is None:
        wanted = f"columns layer, expert and one of {', '.join(_COUNT_COLUMNS)} are needed"
        raise SpecError(Fault(shown, lines[0][0], 1, None, wanted))
    columns = [header.index(name) for name in ("layer", "expert", count)]
    layers: dict[int, dict[int, int]] = {}
    for number, row in lines[1:]:
        if len(row) != len(header):
            raise SpecError(Fault(shown, number, 1, None, f"{len(row)} cells, but the header has {len(header)}"))
        layer, expert, tokens = (_cell(row[column], shown, number, column + 1) for column in columns)
        if experts is not None and expert >= experts:
            message = f"expert {expert}, but the model has {experts} experts a layer"
            raise SpecError(Fault(shown, number, columns[1] + 1, None, message))
        counts = layers.setdefault(layer, {})
        if expert in counts:
            raise SpecError(Fault(shown, number, 1, None, f"layer {layer}, expert {expert} again"))
        counts[expert] = tokens
    ids = tuple(sorted(layers))
    width = 1 + max(map(max, layers.values())) if layers else 0
    # Experts that were never chosen may be left out, but not most of them.
    if not width or width > sum(map(len, layers.values())) or len(layers) * width > MOST_CELLS:
        raise SpecError(Fault(shown, lines[-1][0], 1, None, "experts are not numbered from 0 without gaps"))
    return tuple(tuple(layers[layer].get(expert, 0) for expert in range(width)) for layer in ids), ids


def _cell(cell: str, shown: str, line: int, column: int) -> int:
    text = cell.strip()
    if not text.isdecimal() or len(text) > _MOST_DIGITS or int(text) > MOST_TOKENS:
        raise SpecError(Fault(shown, line, column, None, f"{shown_value(text)} is not a whole number of tokens"))
    return int(text)


def _check(load: ExpertLoad, layers: int | None, experts: int | None, shown: str) -> ExpertLoad:
    if layers is not None and load.layers != layers:
        raise SpecError(
            Fault(shown, None, None, None, f"{load.layers} layers of load, but the model has {layers} MoE layers")
        )
    if experts is not None and load.experts != experts:
        raise SpecError(
            Fault(shown, None, None, None, f"{load.experts} experts, but the model has {experts} experts a layer")
        )
    return load
