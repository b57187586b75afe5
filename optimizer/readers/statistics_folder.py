"""Expert statistics as TensorRT-LLM writes them: a folder with ``meta_info.json`` and tensors of every rank.

``rank*.safetensors`` holds tokens by expert under ``{iteration}_{layer}``, to be added up over ranks and iterations;
``rank*_raw.safetensors`` the experts that each token chose, ``[tokens, k]`` (github.com/NVIDIA/TensorRT-LLM
``examples/wide_ep/ep_load_balancer``). Layers are the model's own indices.
"""

from __future__ import annotations

import re
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optimizer.errors import Fault, SpecError
from optimizer.readers.document import load
from optimizer.readers.source import is_file

META = "meta_info.json"
_RAW = "_raw.safetensors"
_KEY = re.compile(r"([0-9]+)_([0-9]+)")
_FORMATS = {"I64": "q", "I32": "i", "I16": "h", "U8": "B"}


def is_statistics(path: str | Path) -> bool:
    """Whether a path is such a folder."""
    return is_file(Path(path) / META)


def _fail(shown: object, message: str) -> SpecError:
    return SpecError(Fault(str(shown), None, None, None, message))


def _tensors(path: Path) -> Iterator[tuple[int, list[int], list[int]]]:
    """Layer, shape and numbers of every tensor of a file."""
    try:
        from safetensors import SafetensorError, deserialize  # noqa: PLC0415 - only such folders need it
    except ImportError:
        raise _fail(path, "is read with the package safetensors: pip install 'shardproof[trtllm]'") from None
    try:
        entries: list[tuple[str, dict[str, Any]]]
        entries = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]  # its types are not published
    except (SafetensorError, OSError) as error:
        raise _fail(path, f"cannot be read: {error}") from None
    for name, tensor in sorted(entries):
        match, form = _KEY.fullmatch(name), _FORMATS.get(tensor["dtype"])
        if match is None:
            raise _fail(path, f"{name!r} is not an iteration and a layer, such as 100_3")
        if form is None:
            raise _fail(path, f"{name}: {tensor['dtype']} numbers, but counts are whole: {', '.join(_FORMATS)}")
        numbers = array(form, bytes(tensor["data"]))
        if sys.byteorder == "big":
            numbers.byteswap()
        yield int(match[2]), list(tensor["shape"]), numbers.tolist()


def _files(folder: Path, *, raw: bool) -> list[Path]:
    files = [file for file in sorted(folder.glob("rank*.safetensors")) if file.name.endswith(_RAW) == raw]
    if not files:
        raise _fail(folder, f"holds no {'rank*' + _RAW if raw else 'rank*.safetensors'} beside {META}")
    return files


def folder_loads(folder: str | Path) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Layer indices, and tokens of ``[layer][expert]`` over all iterations and ranks.

    Raises
    ------
    SpecError
        Unreadable, or not of one shape.
    """
    path = Path(folder)
    experts = load(path / META).get(("num_experts",))
    if type(experts) is not int or experts < 1:
        raise _fail(path / META, "num_experts is not a number of experts")
    total: dict[int, list[int]] = {}
    for file in _files(path, raw=False):
        for layer, shape, numbers in _tensors(file):
            if shape != [experts] or min(numbers) < 0:
                raise _fail(file, f"layer {layer}: not tokens of {experts} experts, but numbers of shape {shape}")
            counts = total.setdefault(layer, [0] * experts)
            total[layer] = [before + tokens for before, tokens in zip(counts, numbers, strict=True)]
    layers = tuple(sorted(total))
    if not layers:
        raise _fail(path, "holds no tensors")
    return layers, tuple(tuple(total[layer]) for layer in layers)


def folder_choices(folder: str | Path, experts: int) -> dict[int, Counter[tuple[int, ...]]]:
    """How often tokens of each layer chose which experts, from the raw files.

    Raises
    ------
    SpecError
        Unreadable, or not choices of these experts.
    """
    choices: dict[int, Counter[tuple[int, ...]]] = {}
    for file in _files(Path(folder), raw=True):
        for layer, shape, numbers in _tensors(file):
            if len(shape) != 2 or shape[1] < 1 or not all(-1 <= expert < experts for expert in numbers):
                raise _fail(file, f"layer {layer}: not what tokens chose of experts 0..{experts - 1}, shape {shape}")
            counter, width = choices.setdefault(layer, Counter()), shape[1]
            for first in range(0, len(numbers), width):
                chosen = sorted({expert for expert in numbers[first : first + width] if expert >= 0})
                if chosen:
                    counter[tuple(chosen)] += 1
    return choices
