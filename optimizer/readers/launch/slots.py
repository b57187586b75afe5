"""Expert slots that an engine is told: how many a layer has, and which experts they hold at first.

TensorRT-LLM's ``moe_config.load_balancer`` is a mapping or the name of a YAML file of it (llmapi/llm_args.py
MoeLoadBalancerConfig), SGLang's ``--init-expert-location`` JSON or the name of a file of it (eplb/expert_location.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.readers.document import Document
from optimizer.readers.launch.flags import Arguments
from optimizer.readers.launch.launch import Launch
from optimizer.readers.launch.words import Word
from optimizer.readers.placement_file import ListedDevices, sglang_placement, trtllm_placement
from optimizer.readers.places import PlaceTree

CARRIES: Final = "expert_location"
_NONE: Final = frozenset({"null", "trivial"})
_SLOTS, _ASSIGNMENTS, _MAP = "num_slots", "initial_global_assignments", "physical_to_logical_map"


def slots_of(arguments: Arguments, source: str, named: Callable[[Word, str], Document]) -> Document | None:
    """What tells the slots: where it stands, or the file that is named there; None where SGLang's is not at hand.

    Raises
    ------
    SpecError
        TensorRT-LLM's file is not at hand, or tells no number of slots.
    """
    option = arguments.last(CARRIES)
    if option is None or option.open or not option.values or option.text in _NONE:
        return None
    word, of_all = option.values[0], not option.flag.name.startswith("--")
    try:
        data = json.loads(word.text)
    except ValueError:
        data = None
    if isinstance(data, Mapping):
        document = Document(data, source, word.text, yaml_places=PlaceTree(word.start))
    elif of_all:
        document = named(word, option.flag.name)
    else:
        try:
            document = named(word, option.flag.name)
        except SpecError:
            # flags say how many slots there are, and a file of PyTorch's is not read
            return None
    slots = document.get((_SLOTS,))
    if of_all and (type(slots) is not int or slots < 1):
        raise document.error("is required: a whole number of expert slots of a layer, 1 or more", (_SLOTS,))
    return document


def with_slots(launch: Launch, problem: Problem, assumed: list[str]) -> tuple[Launch, Mapping[str, Any] | None]:
    """The launch with the slots that are redundant in the problem's model, and its placement as a result repeats it.

    Raises
    ------
    SpecError
        Slots are fewer than experts, or a layer's do not hold as many experts as there are slots.
    """
    document, moe, ep = launch.slots, problem.model.moe, launch.degrees["ep"]
    if moe is None:
        return launch, None
    if document is None:
        told = (option.text for option in launch.given if option.flag.carries == CARRIES and option.text not in _NONE)
        assumed += [f"experts in the order of their ids: {name} is not at hand, or not read" for name in told]
        return launch, None
    slots: Any = document.get((_SLOTS,)) or moe.experts + launch.operating.redundant_slots
    if slots < moe.experts:
        raise document.error(f"{slots} slots do not hold the {moe.experts} experts of {problem.model.name}", (_SLOTS,))
    launch = replace(launch, operating=replace(launch.operating, redundant_slots=slots - moe.experts))
    if slots % ep or not (document.get((_ASSIGNMENTS,)) or document.get((_MAP,))):
        return launch, None
    placed = _placed(document, ep, problem)
    for layer in problem.model.moe_layers:
        # a model's own drafts may have experts in layers after the last
        if layer not in placed:
            raise document.error(f"layer_idx {layer} not found in `{_ASSIGNMENTS}`.", (_ASSIGNMENTS,))
        if (held := sum(map(len, placed[layer]))) != slots:
            raise document.error(f"assigns {held} slots of layer {layer}, where there are {slots}")
    layers = [{"layer": layer, "devices": placed[layer]} for layer in problem.model.moe_layers]
    return launch, {"slots_per_device": slots // ep, "layers": layers}


def _placed(document: Document, ep: int, problem: Problem) -> dict[int, ListedDevices]:
    if document.get((_MAP,)):
        return sglang_placement(document, ep, problem.model.moe_layers)
    return trtllm_placement(document, ep)
