"""Expert placements as files hold them: ours, results of a solve, and what engines load.

- ours: ``layers`` with ``layer`` and ``devices``, alone or inside what ``solve --out`` and ``place --out`` wrote; or a
  plain list ``[MoE layer][device][slot]``
- SGLang ``--init-expert-location FILE.json``: ``physical_to_logical_map[layer][slot]`` for all layers, dense ones
  included (github.com/sgl-project/sglang ``srt/eplb/expert_location.py``).
- TensorRT-LLM ``moe_config.load_balancer`` YAML: ``initial_global_assignments`` by the model's layer index
  (github.com/NVIDIA/TensorRT-LLM ``examples/wide_ep/ep_load_balancer``).
- vllm-ascend ``expert_map_path`` JSON: ``layer_list`` by MoE layer, counted from 0
  (github.com/vllm-project/vllm-ascend ``eplb``).

Consecutive slots belong to one device in the two that list slots without devices.
"""

from collections.abc import Mapping, Sequence

from optimizer.errors import SpecError
from optimizer.readers.document import Document
from optimizer.readers.messages import kind_of, shown
from optimizer.readers.places import PathStep

ListedDevices = list[list[int]]
"""Experts of each device of one layer."""

_MOST_DIGITS = 9
_MAP, _ASSIGNMENTS, _LIST = "physical_to_logical_map", "initial_global_assignments", "layer_list"


def sglang_placement(document: Document, devices: int, moe_layers: Sequence[int]) -> dict[int, ListedDevices]:
    """Placement in SGLang's file."""
    rows = document.get((_MAP,))
    if not isinstance(rows, list) or not rows:
        raise document.error(f"no {_MAP}")
    placed = {}
    for layer in moe_layers:
        if layer >= len(rows):
            raise document.error(f"{len(rows)} layers, but layer {layer} is to be placed", (_MAP,))
        placed[layer] = _cut(document, rows[layer], devices, (_MAP, layer))
    return placed


def trtllm_placement(document: Document, devices: int) -> dict[int, ListedDevices]:
    """Placement in TensorRT-LLM's file."""
    layers = document.get((_ASSIGNMENTS,))
    if not isinstance(layers, Mapping) or not layers:
        raise document.error(f"no {_ASSIGNMENTS}")
    placed = {}
    for layer, row in layers.items():
        if not str(layer).isdecimal() or len(str(layer)) > _MOST_DIGITS:
            raise document.error(f"{shown(layer)} is no layer index", (_ASSIGNMENTS, layer))
        placed[int(layer)] = _cut(document, row, devices, (_ASSIGNMENTS, layer))
    return placed


def vllm_ascend_placement(document: Document, moe_layers: Sequence[int]) -> dict[int, ListedDevices]:
    """Placement in vllm-ascend's file; ``moe_layers`` are the model's own indices of its MoE layers."""
    layers = document.get((_LIST,))
    if not isinstance(layers, list) or len(layers) != len(moe_layers):
        count = len(layers) if isinstance(layers, list) else 0
        raise document.error(f"{count} layers in {_LIST}, but the model has {len(moe_layers)} MoE layers")
    placed: dict[int, ListedDevices] = {}
    for number in range(len(layers)):
        at = (_LIST, number, "device_list")
        listed = document.get(at)
        if not isinstance(listed, list):
            raise document.error("no device_list", (_LIST, number))
        placed[moe_layers[number]] = [
            _cut(document, document.get((*at, device, "device_expert")), 1, (*at, device))[0]
            for device in range(len(listed))
        ]
    return placed


def _cut(document: Document, row: object, devices: int, at: tuple[PathStep, ...]) -> ListedDevices:
    experts = _experts(document, row, at)
    if not experts or len(experts) % devices:
        raise SpecError(document.fault(f"{len(experts)} slots do not divide over {devices} devices", at))
    slots = len(experts) // devices
    return [experts[device * slots : (device + 1) * slots] for device in range(devices)]


def _experts(document: Document, row: object, at: tuple[PathStep, ...]) -> list[int]:
    if not isinstance(row, list) or not all(type(expert) is int for expert in row):
        raise document.error("not a list of expert ids", at)
    return row


def _listed(document: Document, at: tuple[PathStep, ...]) -> dict[int, ListedDevices]:
    """Our own form: layers with their devices."""
    layers = document.get((*at, "layers"))
    if not isinstance(layers, list) or not layers:
        raise document.error("no layers", at)
    placed: dict[int, ListedDevices] = {}
    for number in range(len(layers)):
        here = (*at, "layers", number)
        layer = document.get((*here, "layer"))
        if type(layer) is not int or layer in placed:
            raise document.error(f"{shown(layer)} is no layer index, or it is listed twice", here)
        placed[layer] = _devices(document, (*here, "devices"))
    return placed


def _devices(document: Document, at: tuple[PathStep, ...]) -> ListedDevices:
    devices = document.get(at)
    if not isinstance(devices, list) or not devices:
        raise document.error("not a list of devices, each a list of expert ids", at)
    return [_experts(document, experts, (*at, device)) for device, experts in enumerate(devices)]


def placement_in(
    document: Document, at: tuple[PathStep, ...], moe_layers: Sequence[int], devices: int | None
) -> dict[int, ListedDevices]:
    """Placement of every MoE layer in any of the forms; shape alone is checked, not whether it is a good one.

    Parameters
    ----------
    document, at
        Where it stands.
    moe_layers
        The model's own indices of its MoE layers.
    devices
        Devices of the expert mesh, for files that list slots alone; None where they are not known.

    Raises
    ------
    SpecError
        No placement, or not one of this model's layers; with its line.
    """
    data = document.get(at) if at else document.data
    if isinstance(data, list):
        if len(data) != len(moe_layers):
            raise document.error(f"{len(data)} layers placed, but the model has {len(moe_layers)} MoE layers", at)
        return {layer: _devices(document, (*at, number)) for number, layer in enumerate(moe_layers)}
    if not isinstance(data, Mapping):
        raise document.error(f"a placement is wanted, not {kind_of(data)}", at)
    if _LIST in data and not at:
        return vllm_ascend_placement(document, moe_layers)
    if (_MAP in data or _ASSIGNMENTS in data) and not at:
        if devices is None:
            raise document.error("lists slots, not devices: pin search.ep to the devices that share them")
        sglang = _MAP in data
        placed = sglang_placement(document, devices, moe_layers) if sglang else trtllm_placement(document, devices)
    elif "layers" in data:
        placed = _listed(document, at)
    else:
        inner = next((place for place in (("layout", "placement"), ("placement",)) if document.get(place)), None)
        if inner is None or at:
            known = f"layers, layout.placement, {_MAP}, {_ASSIGNMENTS}, {_LIST}"
            raise document.error(f"no expert placement: none of {known}", at)
        placed = _listed(document, inner)
    missing = [layer for layer in moe_layers if layer not in placed]
    odd = sorted(set(placed) - set(moe_layers))
    if missing or odd:
        which = f"layer {missing[0]} is not placed" if missing else f"layer {odd[0]} has no experts in this model"
        raise document.error(which, at)
    return {layer: placed[layer] for layer in moe_layers}
