"""Expert slots that TensorRT-LLM's load balancer tells: how many a layer has, and which experts they hold at first.

``moe_config.load_balancer`` is a mapping or the name of a YAML file of it (llmapi/llm_args.py MoeLoadBalancerConfig).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from optimizer.domain.problem import Problem
from optimizer.readers.document import Document
from optimizer.readers.launch.flags import Arguments
from optimizer.readers.launch.launch import Launch
from optimizer.readers.launch.shell import Word
from optimizer.readers.placement_file import trtllm_placement
from optimizer.readers.places import PlaceTree

CARRIES: Final = "expert_location"
_SLOTS, _ASSIGNMENTS = "num_slots", "initial_global_assignments"


def balancer_of(arguments: Arguments, source: str, named: Callable[[Word, str], Document]) -> Document | None:
    """What tells the slots: where it stands, or the file that is named there.

    Raises
    ------
    SpecError
        The file is not at hand, or tells no number of slots.
    """
    option = arguments.last(CARRIES)
    if option is None or option.open or not option.values or option.text == "null":
        return None
    word = option.values[0]
    try:
        data = json.loads(word.text)
    except ValueError:
        data = None
    if isinstance(data, Mapping):
        document = Document(data, source, word.text, yaml_places=PlaceTree(word.start))
    else:
        document = named(word, option.flag.name)
    slots = document.get((_SLOTS,))
    if type(slots) is not int or slots < 1:
        raise document.error("is required: a whole number of expert slots of a layer, 1 or more", (_SLOTS,))
    return document


def with_slots(launch: Launch, problem: Problem) -> tuple[Launch, Mapping[str, Any] | None]:
    """The launch with the slots that are redundant in the problem's model, and its placement as a result repeats it.

    Raises
    ------
    SpecError
        Slots are fewer than experts, or a layer's do not hold as many experts as there are slots.
    """
    document, moe = launch.balancer, problem.model.moe
    if document is None or moe is None:
        return launch, None
    slots, ep = document.data[_SLOTS], launch.degrees["ep"]
    if slots < moe.experts:
        raise document.error(f"{slots} slots do not hold the {moe.experts} experts of {problem.model.name}", (_SLOTS,))
    launch = replace(launch, operating=replace(launch.operating, redundant_slots=slots - moe.experts))
    rows: Any = document.get((_ASSIGNMENTS,))
    if rows is None or slots % ep:
        return launch, None
    placed = trtllm_placement(document, ep)
    # a model's own drafts may have experts in layers after the last
    for layer in problem.model.moe_layers:
        if layer not in placed:
            raise document.error(f"layer_idx {layer} not found in `{_ASSIGNMENTS}`.", (_ASSIGNMENTS,))
        if sum(map(len, placed[layer])) != slots:
            message = f"assigns {sum(map(len, placed[layer]))} slots, and `{_SLOTS}` is {slots}"
            raise document.error(message, (_ASSIGNMENTS, next(key for key in rows if int(key) == layer)))
    layers = [{"layer": layer, "devices": placed[layer]} for layer in problem.model.moe_layers]
    return launch, {"slots_per_device": slots // ep, "layers": layers}
