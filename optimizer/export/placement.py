"""Placement files that engines load, written and read back.

- SGLang ``--init-expert-location FILE.json``: ``physical_to_logical_map[layer][slot]`` for all layers, dense ones
  included (github.com/sgl-project/sglang ``srt/eplb/expert_location.py``).
- TensorRT-LLM ``moe_config.load_balancer`` YAML: ``initial_global_assignments`` by the model's layer index
  (github.com/NVIDIA/TensorRT-LLM ``examples/wide_ep/ep_load_balancer``).
- vllm-ascend ``expert_map_path`` JSON: ``layer_list`` by MoE layer, counted from 0
  (github.com/vllm-project/vllm-ascend ``eplb``).

Consecutive slots belong to one device in all of them.
"""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML

from optimizer.errors import SpecError
from optimizer.spec.document import Document

Placement = Mapping[int, Sequence[Sequence[int]]]
"""Experts of each device, by the model's layer index."""


def placement_of(result: Mapping[str, Any]) -> dict[int, list[list[int]]]:
    """Placement of the ``placement`` object of a result."""
    return {layer["layer"]: [list(held) for held in layer["devices"]] for layer in result["layers"]}


def sglang_text(placement: Placement, transformer_layers: int) -> str:
    """SGLang's file; rows of layers without experts hold slots ``0, 1, ...`` modulo the experts, and are not used."""
    slots = sum(map(len, next(iter(placement.values()))))
    experts = 1 + max(expert for devices in placement.values() for held in devices for expert in held)
    rows = [
        [expert for held in placement[layer] for expert in held]
        if layer in placement
        else [slot % experts for slot in range(slots)]
        for layer in range(transformer_layers)
    ]
    return json.dumps({"physical_to_logical_map": rows}) + "\n"


def sglang_placement(document: Document, devices: int, moe_layers: Sequence[int]) -> dict[int, list[list[int]]]:
    """Placement in SGLang's file."""
    rows = document.get(("physical_to_logical_map",))
    if not isinstance(rows, list) or not rows:
        raise document.error("no physical_to_logical_map")
    placed = {}
    for layer in moe_layers:
        if layer >= len(rows):
            raise document.error(f"{len(rows)} layers, but layer {layer} is to be placed", ("physical_to_logical_map",))
        placed[layer] = _cut(document, rows[layer], devices, ("physical_to_logical_map", layer))
    return placed


def trtllm_text(placement: Placement) -> str:
    """TensorRT-LLM's file, without online updates."""
    slots = sum(map(len, next(iter(placement.values()))))
    data = {
        "num_slots": slots,
        "initial_global_assignments": {
            layer: [expert for held in devices for expert in held] for layer, devices in sorted(placement.items())
        },
        "layer_updates_per_iter": 0,
    }
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.width = 10**6
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()


def trtllm_placement(document: Document, devices: int) -> dict[int, list[list[int]]]:
    """Placement in TensorRT-LLM's file."""
    key = "initial_global_assignments"
    layers = document.get((key,))
    if not isinstance(layers, Mapping) or not layers:
        raise document.error(f"no {key}")
    placed = {}
    for layer, row in layers.items():
        if not str(layer).isdigit():
            raise document.error(f"{layer!r} is no layer index", (key, layer))
        placed[int(layer)] = _cut(document, row, devices, (key, layer))
    return placed


def vllm_ascend_text(placement: Placement) -> str:
    """vllm-ascend's file."""
    layers = [
        {
            "layer_id": number,
            "device_count": len(placement[layer]),
            "device_list": [
                {"device_id": device, "device_expert": list(held)} for device, held in enumerate(placement[layer])
            ],
        }
        for number, layer in enumerate(sorted(placement))
    ]
    return json.dumps({"moe_layer_count": len(layers), "layer_list": layers}) + "\n"


def vllm_ascend_placement(document: Document, moe_layers: Sequence[int]) -> dict[int, list[list[int]]]:
    """Placement in vllm-ascend's file; ``moe_layers`` are the model's own indices of its MoE layers."""
    layers = document.get(("layer_list",))
    if not isinstance(layers, list) or len(layers) != len(moe_layers):
        found = len(layers) if isinstance(layers, list) else 0
        raise document.error(f"{found} layers in layer_list, but the model has {len(moe_layers)} MoE layers")
    placed: dict[int, list[list[int]]] = {}
    for number in range(len(layers)):
        listed = document.get(("layer_list", number, "device_list"))
        if not isinstance(listed, list):
            raise document.error("no device_list", ("layer_list", number))
        placed[moe_layers[number]] = [
            _cut(
                document,
                document.get(("layer_list", number, "device_list", device, "device_expert")),
                1,
                ("layer_list", number, "device_list", device),
            )[0]
            for device in range(len(listed))
        ]
    return placed


def _cut(document: Document, row: object, devices: int, at: tuple[str | int, ...]) -> list[list[int]]:
    if not isinstance(row, list) or not all(type(expert) is int for expert in row):
        raise document.error("not a list of expert ids", at)
    if not row or len(row) % devices:
        raise SpecError(document.fault(f"{len(row)} slots do not divide over {devices} devices", at))
    slots = len(row) // devices
    return [row[device * slots : (device + 1) * slots] for device in range(devices)]
