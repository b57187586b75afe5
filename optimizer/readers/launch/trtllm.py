"""What the options and the YAML of `trtllm-serve` mean (TensorRT-LLM mapping.py, llmapi/llm_args.py).

TP × CP ranks in each of PP stages; attention data parallelism takes the whole TP or none of it; experts divide the same
ranks into MoE TP × MoE EP.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from optimizer.errors import Fault, SpecError
from optimizer.readers.document import Document
from optimizer.readers.launch.flags import Arguments, Given, table, value_of
from optimizer.readers.launch.launch import ACTIVATION_FORMATS, KV_FORMATS, CommandReading, Launch, Operating, meshes
from optimizer.readers.launch.vllm import model_of
from optimizer.readers.launch.words import Word, placed_word
from optimizer.readers.messages import nearest, shown
from optimizer.readers.places import PathStep

SIGNS: Final = frozenset(
    {
        "tensor_parallel_size", "moe_expert_parallel_size", "enable_attention_dp", "kv_cache_config", "moe_config",
        "cuda_graph_config", "max_num_tokens", "pipeline_parallel_size", "moe_tensor_parallel_size",
    }
)  # fmt: skip
"""Keys by which a YAML file is known as LLM API arguments."""


HELIX: Final = "HELIX"
"""Context parallelism of the cache, which goes with expert parallelism."""


def yaml_arguments(document: Document) -> tuple[Given, ...]:
    """Keys of LLM API arguments as flags are given.

    Raises
    ------
    SpecError
        A key that TensorRT-LLM does not have (it refuses extra inputs).
    """
    if not isinstance(document.data, Mapping):
        raise document.error("LLM API arguments are a mapping")
    faults: list[Fault] = []
    arguments = tuple(_walk(document, (), faults))
    if faults:
        raise SpecError(*faults)
    return arguments


def _walk(document: Document, at: tuple[PathStep, ...], faults: list[Fault]) -> Iterator[Given]:
    mapping: Any = document.get(at) if at else document.data
    names = table("trtllm").names
    for key, value in mapping.items():
        dotted = ".".join(map(str, (*at, key)))
        flag = names.get(dotted) or (names.get(f"{at[0]}.*") if at else None)
        inner = any(name.startswith(f"{dotted}.") for name in names if not name.startswith("-"))
        if isinstance(value, Mapping) and inner:
            yield from _walk(document, (*at, key), faults)
            continue
        if flag is None and not inner:
            known = [name for name in names if not name.startswith("-") and "*" not in name]
            faults.append(
                document.fault("TensorRT-LLM has no such argument", (*at, key), nearest(dotted, known), key=True)
            )
            continue
        if flag is None:
            flag = names[f"{dotted}.*"]
        text = value if isinstance(value, str) else plain(value)
        word = placed_word(dotted, document.locate((*at, key), key=True))
        option = Given(flag, word, (Word(text, (), document.locate((*at, key))),))
        try:
            if flag.kind != "flag":
                value_of(flag.kind, text)
            elif not isinstance(value, bool | None):
                faults.append(document.fault(f"true or false is wanted, not {shown(text)}", (*at, key)))
        except ValueError as error:
            faults.append(document.fault(str(error), (*at, key)))
            continue
        yield option


def plain(value: object) -> str:
    """Text of a value of a YAML file."""
    return json.dumps(value, default=float)


def read(command: CommandReading, environment: Mapping[str, str]) -> Launch:
    """Launch that the options of ``trtllm-serve`` and its YAML describe.

    Raises
    ------
    SpecError
        Degrees that contradict each other (mapping.py).
    """
    width, pp, cp = command.degree("tp"), command.degree("pp"), command.degree("cp")
    shared = command.on("dp_attention")
    ep, etp = command.number("ep"), command.number("etp")
    cluster = command.degree("moe_cluster")
    if ep is None:
        ep = 1 if etp is None else max(1, width * cp // etp)
    etp = max(1, width * cp // (ep * cluster)) if etp is None else etp
    if etp * ep * cluster != width * cp:
        message = (
            f"moe_tp_size · moe_ep_size · moe_cluster_size must be equal to moe_world_size, but got "
            f"{etp} · {ep} · {cluster} != {width * cp}"
        )
        command.fault(command.one("ep") or command.one("etp"), message)
    _refusals(command, cp=cp, ep=ep, cluster=cluster, shared=shared)
    operating = _operating(command)
    if operating.all2all == "WIDEEP" and not (shared and width > 1):
        command.fault(command.one("all2all"), "Attention DP should be used with WideEP, on more than one rank")
    stages = _stages(command, pp)
    per_node = command.number("node_devices", needed=False)
    for name in ("config_file", "backend"):
        command.one(name)
    model, place = model_of(command)
    command.raise_faults()
    degrees, dense = meshes(
        tp=1 if shared else width, cp=cp, dp=width if shared else 1, pp=pp, etp=etp * cluster, ep=ep
    )
    return Launch(
        engine="trtllm", source=command.source, version=command.version, model=model, model_place=place,
        degrees=degrees, dense=dense, operating=operating, stages=stages,
        nodes=-(-width * cp * pp // per_node) if per_node else None, node_devices=per_node,
        given=command.arguments.given, ignored=command.ignored(), environment=environment, places=command.places(),
    )  # fmt: skip


def _refusals(command: CommandReading, *, cp: int, ep: int, cluster: int, shared: bool) -> None:
    """What mapping.py refuses of degrees that divide (b35ac1b6)."""
    if cluster > 1 and ep > 1:
        command.fault(command.one("moe_cluster"), f"moe_cluster_size {cluster} wants moe_ep_size 1, not {ep}")
    types = [option.text for option in command.arguments.given if option.word.text == "cp_config.cp_type"]
    cp_type = types[-1].upper() if types else "ULYSSES"
    if cp > 1 and ep > 1 and cp_type != HELIX:
        command.fault(command.one("ep"), f"CP {cp_type} doesn't support MoE tp/ep yet: cp_config.cp_type {HELIX} does")
    head = command.flag("enable_lm_head_tp_in_adp")
    if head is not None and head.text == "true" and not shared:
        command.fault(head, "enable_lm_head_tp_in_adp requires enable_attention_dp")


def _stages(command: CommandReading, pp: int) -> tuple[int, ...] | None:
    layers = command.integers("pp_partition")
    if layers is not None and len(layers) != pp:
        command.fault(command.one("pp_partition"), f"{len(layers)} stages for pipeline_parallel_size {pp}")
    return layers


def _operating(command: CommandReading) -> Operating:
    method, drafted = command.text("draft_method"), command.number("draft_tokens", needed=False)
    of_model = (method or "").upper() == "MTP"
    sizes = command.integers("capture_sizes")
    largest = command.number("max_capture_size", needed=False, least=0)
    if sizes is None and largest:
        sizes = tuple(size for size in (1, 2, 4, *range(8, largest + 1, 8)) if size <= largest)
    graphs = command.one("cuda_graphs")
    command.one("expert_location")
    command.influence(command.arguments.last("draft_model"), "takes")
    return Operating(
        max_num_seqs=command.number("max_num_seqs"), max_num_batched_tokens=command.number("max_num_batched_tokens"),
        max_model_len=command.number("max_model_len"), memory_utilization=command.share("memory_utilization"),
        kv_cache_memory=command.number("kv_cache_memory", needed=False),
        kv_cache=command.choice("kv_cache", KV_FORMATS), activations=command.choice("dtype", ACTIVATION_FORMATS),
        capture_sizes=() if graphs is not None and graphs.text == "null" else sizes,
        draft_tokens=drafted or 0 if of_model else 0, all2all=command.text("all2all"),
        chunked_prefill=command.on("chunked_prefill"),
    )  # fmt: skip


def with_yaml(arguments: Arguments, yaml_options: tuple[Given, ...]) -> Arguments:
    """Options of the command with the keys of its YAML, which outrank them."""
    fields = {option.flag.carries for option in yaml_options if option.flag.carries}
    options = tuple(
        option for option in arguments.given if option.flag.carries not in fields or not option.flag.carries
    )
    return replace(arguments, given=(*options, *yaml_options))
