"""Measured co-activation: which experts tokens choose together, from the files that recorders write.

Read is JSON with one of

- ``topk_ids``: the experts that each recorded token chose, ``[layer][token][k]``; also ``records`` of SGLang's
  ``per_token`` recorder (github.com/sgl-project/sglang ``srt/eplb/expert_distribution.py``), each with
  ``topk_ids_of_layer``; -1 pads
- ``coactivation``: how often two experts were chosen by one token, ``[layer][expert][expert]``, symmetric or one half

or the raw files of TensorRT-LLM's statistics folder (`statistics_folder`);
and the word ``uniform`` stands for all pairs equally often, where somebody wants that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from optimizer.domain.coactivation import MOST_COUNT, Coactivation
from optimizer.errors import Fault, SpecError
from optimizer.readers.document import Document, load, load_text
from optimizer.readers.messages import kind_of, shown
from optimizer.readers.pickled import read_pickled
from optimizer.readers.places import PathStep
from optimizer.readers.statistics_folder import folder_choices, is_statistics

UNIFORM = "uniform"
MOST_CHOICES = 4_000_000
"""Most numbers of a file that are kept: they are repeated in results."""


def read_coactivation(source: str | Path, layer_ids: Sequence[int], experts: int, model_layers: int) -> Coactivation:
    """Co-activation of a file, or ``uniform``.

    Parameters
    ----------
    source
        Path of a JSON file, ``-``, or ``uniform``.
    layer_ids
        The model's own indices of its MoE layers; a file may list these or all ``model_layers``.
    experts
        Experts of a layer.

    Raises
    ------
    SpecError
        Unreadable, none of the forms, or not this model's; with the line that is off.
    """
    if str(source) == UNIFORM:
        return Coactivation(name=UNIFORM, measure="uniform")
    name = Path(str(source)).stem
    if is_statistics(source):
        chosen = folder_choices(source, experts)
        if missing := [layer for layer in layer_ids if layer not in chosen]:
            raise SpecError(Fault(str(source), None, None, None, f"holds no choices of layer {missing[0]}"))
        return _counted(name, [chosen[layer] for layer in layer_ids], partial(_too_many, str(source)))
    pickled = read_pickled(str(source), "topk_ids", "records of what tokens chose")
    document = load(source) if pickled is None else load_text(*pickled)
    data = document.data
    if not isinstance(data, Mapping):
        raise document.error(f"an object with topk_ids, records or coactivation is wanted, not {kind_of(data)}")
    if "coactivation" in data:
        pairs = [_pairs(document, at, experts) for at in _layers(document, ("coactivation",), layer_ids, model_layers)]
        _check_size(sum(len(row) for layer in pairs for row in layer), document.error)
        return Coactivation(name=name, measure="pairs", layers=tuple(pairs))
    if "topk_ids" in data:
        places: list[tuple[PathStep, ...]] = [("topk_ids",)]
    elif isinstance(data.get("records"), list) and data["records"]:
        places = [("records", number, "topk_ids_of_layer") for number in range(len(data["records"]))]
    else:
        raise document.error("no co-activation: none of the keys topk_ids, records, coactivation")
    seen: list[Counter[tuple[int, ...]]] = [Counter() for _ in layer_ids]
    for place in places:
        for counter, at in zip(seen, _layers(document, place, layer_ids, model_layers), strict=True):
            counter.update(_tokens(document, at, experts))
    return _counted(name, seen, document.error)


def _too_many(shown: str, message: str) -> SpecError:
    return SpecError(Fault(shown, None, None, None, message))


def _counted(
    name: str, seen: Sequence[Counter[tuple[int, ...]]], fail: Callable[[str], SpecError]
) -> Coactivation:  # fmt: skip
    _check_size(sum(1 + len(chosen) for counter in seen for chosen in counter), fail)
    if not any(seen):
        raise fail("no token chose an expert")
    rows = tuple(tuple((count, *chosen) for chosen, count in sorted(counter.items())) for counter in seen)
    return Coactivation(name=name, measure="tokens", layers=rows)


def _check_size(numbers: int, fail: Callable[[str], SpecError]) -> None:
    if numbers > MOST_CHOICES:
        raise fail(f"{numbers:,} different choices and counts, more than {MOST_CHOICES:,}: give fewer tokens")


def _layers(
    document: Document, at: tuple[PathStep, ...], layer_ids: Sequence[int], model_layers: int
) -> Iterator[tuple[PathStep, ...]]:
    """Places of the MoE layers in a list of them, or of all layers."""
    layers = document.get(at)
    count = len(layers) if isinstance(layers, list) else 0
    if count == len(layer_ids):
        yield from ((*at, number) for number in range(count))
    elif count == model_layers:
        yield from ((*at, number) for number in layer_ids)
    else:
        message = f"{count} layers, but the model has {len(layer_ids)} MoE layers of {model_layers}"
        raise document.error(message, at)


def _tokens(document: Document, at: tuple[PathStep, ...], experts: int) -> Iterator[tuple[int, ...]]:
    tokens = document.get(at)
    if not isinstance(tokens, list):
        raise document.error("not a list of tokens, each a list of the experts it chose", at)
    for number, chosen in enumerate(tokens):
        if not isinstance(chosen, list) or not all(type(e) is int and -1 <= e < experts for e in chosen):
            raise document.error(f"not a list of experts 0..{experts - 1}, or -1 for none", (*at, number))
        distinct = sorted({expert for expert in chosen if expert >= 0})
        if len(distinct) != sum(expert >= 0 for expert in chosen):
            raise document.error("an expert is chosen twice by one token", (*at, number))
        if distinct:
            yield tuple(distinct)


def _pairs(document: Document, at: tuple[PathStep, ...], experts: int) -> tuple[tuple[int, ...], ...]:
    rows: Any = document.get(at)
    if not isinstance(rows, list) or len(rows) != experts:
        count = len(rows) if isinstance(rows, list) else 0
        raise document.error(f"{count} rows, but the model has {experts} experts a layer", at)
    for first, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != experts:
            raise document.error(f"not a list of {experts} counts", (*at, first))
        for second, count in enumerate(row):
            if type(count) is not int or not 0 <= count <= MOST_COUNT:
                raise document.error(f"{shown(count)} is not a count of 0..{MOST_COUNT}", (*at, first, second))
    upper = tuple(tuple(row[first + 1 :]) for first, row in enumerate(rows))
    lower = tuple(tuple(rows[second][first] for second in range(first + 1, experts)) for first in range(experts))
    if upper == lower or not any(map(any, lower)):
        return upper
    if not any(map(any, upper)):
        return lower
    first, second = next(
        (first, second)
        for first in range(experts)
        for second in range(first + 1, experts)
        if rows[first][second] != rows[second][first]
    )
    raise document.error(
        f"experts {first} and {second} are counted {rows[first][second]} and {rows[second][first]} times", (*at, second)
    )
