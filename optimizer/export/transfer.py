"""How prefill and decode servers hand caches on: what an engine is told of its role, and ports of a server's own."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from optimizer.domain.workload import ServingWorkload

NIXL_PORT: Final = 5600
"""Of vLLM's handshake, from which each data-parallel rank of a server counts (VLLM_NIXL_SIDE_CHANNEL_PORT)."""
BOOTSTRAP_PORT: Final = 8998
"""Of SGLang's prefill servers, to which decode servers come (srt/server_args.py --disaggregation-bootstrap-port)."""
_PORTS_OF_A_SERVER: Final = {"sglang": 32}
"""Ports that servers of an engine lie apart. With attention data parallelism one of SGLang takes those from 233 above
its own on for its processes, 7 of them and up to 0.5.2 one more of each rank (srt/server_args.py PortArgs.init_new of
0.4.9 to 0.5.23): 32 apart, these are never another server's."""
_LAST_PORT: Final = 2**16 - 512
_ROLES: Final = {"prefill": "kv_producer", "decode": "kv_consumer"}
_PROXIES: Final = {
    "vllm": "a proxy of its connector, such as its toy_proxy_server.py with --prefiller-hosts and --decoder-hosts",
    "sglang": "sglang_router.launch_router --pd-disaggregation --prefill URL BOOTSTRAP_PORT --decode URL",
    "trtllm": "trtllm-serve disaggregated -c FILE, with the servers' URLs",
}


@dataclass(frozen=True)
class TransferRole:
    """What one role of a disaggregated deployment is told (fields of flags, keys of YAML), and what it is not."""

    fields: Mapping[str, str] = field(default_factory=dict)
    yaml: Mapping[str, Any] = field(default_factory=dict)
    differences: Collection[str] = ()


def role(engine: str, work: ServingWorkload) -> TransferRole:
    """How a server of one phase is told that its caches come from, or go to, servers of the other.

    docs.vllm.ai/features/nixl_connector_usage; docs.sglang.ai/advanced_features/pd_disaggregation;
    TensorRT-LLM examples/disaggregated/README.md.
    """
    other = "decode" if work.phase == "prefill" else "prefill"
    paired = (
        f"roles: this is the {work.phase} side; requests come through what pairs it with {other} servers "
        f"({_PROXIES[engine]}), which is not written"
    )
    if engine == "vllm":
        connector = {"kv_connector": "NixlConnector", "kv_role": _ROLES[work.phase]}
        reached = "transfer: servers on other nodes reach this one at VLLM_NIXL_SIDE_CHANNEL_HOST, its node's address"
        return TransferRole({"kv_transfer": json.dumps(connector)}, differences=(reached, paired))
    if engine == "sglang":
        return TransferRole({"role": work.phase}, differences=(paired,))
    # context servers run without the scheduler's overlap
    told: dict[str, Any] = {"disable_overlap_scheduler": True} if work.phase == "prefill" else {}
    told["cache_transceiver_config"] = {"backend": "DEFAULT", "max_tokens_in_buffer": work.input_tokens}
    return TransferRole(yaml=told, differences=(paired,))


def port_of(engine: str, first: int, instance: int) -> int:
    """A port of an instance: `first` is that of the instance 0."""
    ports = range(first, _LAST_PORT, _PORTS_OF_A_SERVER.get(engine, 1))
    return ports[instance % len(ports)]


def ports_of_its_own(
    arguments: Mapping[str, str | None], instance: int, per_node: int
) -> tuple[dict[str, str], list[str]]:
    """Environment and flags of a server of a role that must differ from those of others on its node."""
    if "--kv-transfer-config" in arguments:
        return {"VLLM_NIXL_SIDE_CHANNEL_PORT": str(NIXL_PORT + instance * per_node)}, []
    if arguments.get("--disaggregation-mode") == "prefill":
        return {}, ["--disaggregation-bootstrap-port", str(port_of("sglang", BOOTSTRAP_PORT, instance))]
    return {}, []


def address_of_a_pod(arguments: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """Environment of a pod of a role: where servers in other pods reach it (vLLM's default is localhost)."""
    if "--kv-transfer-config" not in arguments:
        return []
    return [{"name": "VLLM_NIXL_SIDE_CHANNEL_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
