"""Expert placement files by engine, each read back by the reader that `--current` and `verify` use.

The formats and their sources stand in `readers.placement_file`; consecutive slots belong to one device in all of them.
Flags: SGLang ``server_args.py`` (``--init-expert-location``, ``--ep-num-redundant-experts``), TensorRT-LLM
``moe_config.load_balancer``, vllm-ascend ``eplb_config``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

from optimizer.errors import Fault, InternalError, SpecError
from optimizer.readers.document import load_text
from optimizer.readers.messages import nearest
from optimizer.readers.placement_file import placement_in

Placement = Mapping[int, Sequence[Sequence[int]]]
"""Experts of each device, by the model's layer index."""


def placement_of(result: Mapping[str, Any]) -> dict[int, list[list[int]]]:
    """Placement of the ``placement`` object of a result."""
    return {layer["layer"]: [list(experts) for experts in layer["devices"]] for layer in result["layers"]}


def sglang_text(placement: Placement, transformer_layers: int) -> str:
    """SGLang's file; rows of layers without experts hold slots ``0, 1, ...`` modulo the experts, and are not used."""
    slots = sum(map(len, next(iter(placement.values()))))
    experts = 1 + max(expert for devices in placement.values() for device in devices for expert in device)
    rows = [
        [expert for device in placement[layer] for expert in device]
        if layer in placement
        else [slot % experts for slot in range(slots)]
        for layer in range(transformer_layers)
    ]
    return json.dumps({"physical_to_logical_map": rows}) + "\n"


def trtllm_text(placement: Placement) -> str:
    """TensorRT-LLM's file, without online updates."""
    slots = sum(map(len, next(iter(placement.values()))))
    data = {
        "num_slots": slots,
        "initial_global_assignments": {
            layer: [expert for device in devices for expert in device] for layer, devices in sorted(placement.items())
        },
        "layer_updates_per_iter": 0,
    }
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.width = 10**6
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()


def vllm_ascend_text(placement: Placement) -> str:
    """vllm-ascend's file."""
    layers = [
        {
            "layer_id": number,
            "device_count": len(placement[layer]),
            "device_list": [
                {"device_id": device, "device_expert": list(experts)} for device, experts in enumerate(placement[layer])
            ],
        }
        for number, layer in enumerate(sorted(placement))
    ]
    return json.dumps({"moe_layer_count": len(layers), "layer_list": layers}) + "\n"


@dataclass(frozen=True, slots=True)
class PlacementFormat:
    """How an engine takes a static placement.

    Attributes
    ----------
    file
        Name of the file; None where the engine takes none.
    use
        How the engine is told, ``{file}`` and ``{redundant}`` put in; or why there is no file.
    write
        Text of a placement, for a model of so many layers.
    uneven
        Whether devices may have different numbers of slots.
    """

    file: str | None
    use: str
    write: Callable[[Placement, int], str]
    uneven: bool = False


FORMATS: dict[str, PlacementFormat] = {
    "sglang": PlacementFormat(
        "expert_location.json",
        "--init-expert-location {file} --ep-num-redundant-experts {redundant}",
        sglang_text,
    ),
    "trtllm": PlacementFormat(
        "moe_load_balancer.yaml", "moe_config: {{load_balancer: {file}}}", lambda placed, _layers: trtllm_text(placed)
    ),
    "vllm-ascend": PlacementFormat(
        "expert_map.json",
        '--additional-config {{"eplb_config": {{"expert_map_path": "{file}"}}}}',
        lambda placed, _layers: vllm_ascend_text(placed),
        uneven=True,
    ),
    "vllm": PlacementFormat(
        None,
        "vLLM takes no static expert placement: its EPLB places experts itself while serving (--enable-eplb)",
        lambda _placed, _layers: "",
    ),
}


@dataclass(frozen=True, slots=True)
class PlacementFile:
    """A file to be written, and how the engine is told of it."""

    name: str
    text: str
    use: str


def placement_file(engine: str, placement: Placement, model_layers: int) -> PlacementFile:
    """The file by which an engine takes a placement, read back before it is given out.

    Parameters
    ----------
    placement
        Experts of each device, by the model's layer index.
    model_layers
        Transformer layers of the model, dense ones included.

    Raises
    ------
    SpecError
        An unknown engine, or one that takes no placement.
    """
    if engine not in FORMATS:
        known = ", ".join(FORMATS)
        message = f"{engine!r} is no engine with a placement format; formats: {known}"
        raise SpecError(Fault(None, None, None, "--engine", message, nearest(engine, list(FORMATS))))
    form = FORMATS[engine]
    if form.file is None:
        raise SpecError(Fault(None, None, None, "--engine", form.use))
    counts = {len(device) for placed in placement.values() for device in placed}
    if len(counts) > 1 and not form.uneven:
        message = f"{engine} takes equally many slots on every device, not {min(counts)} on some and {max(counts)}"
        raise SpecError(Fault(None, None, None, "--engine", message))
    text = form.write(placement, model_layers)
    devices = next(iter(placement.values()))
    again = placement_in(load_text(text, form.file), (), sorted(placement), len(devices))
    if again != {layer: [list(device) for device in placed] for layer, placed in placement.items()}:
        raise InternalError(f"{form.file} does not read back as the placement it was written from")
    experts = 1 + max(expert for device in devices for expert in device)
    redundant = sum(map(len, devices)) - experts
    return PlacementFile(form.file, text, form.use.format(file=form.file, redundant=redundant))
