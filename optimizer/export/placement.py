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

from optimizer.readers.placement_file import sglang_placement, trtllm_placement, vllm_ascend_placement

__all__ = [
    "Placement", "placement_of", "sglang_placement", "sglang_text", "trtllm_placement", "trtllm_text",
    "vllm_ascend_placement", "vllm_ascend_text",
]  # fmt: skip

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
