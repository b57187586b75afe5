"""What engines refuse of flags beside degrees: connectors, exclusive ones, TensorRT-LLM's YAML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from optimizer.domain.capability import capability
from optimizer.domain.engines.architectures import OF_ITS_OWN
from optimizer.domain.problem import Problem
from optimizer.readers.launch.checkpoints import Refusal
from optimizer.readers.launch.flags import merged
from optimizer.readers.launch.launch import Launch
from optimizer.readers.messages import nearest, shown

_ROLES: Final = ("kv_producer", "kv_consumer", "kv_both")
_CONNECTORS: Final = frozenset(
    {
        "DecodeBenchConnector", "ExampleConnector", "ExampleHiddenStatesConnector", "FlexKVConnectorV1",
        "HF3FSKVConnector", "HiSparseConnector", "LMCacheConnector", "LMCacheConnectorV1", "LMCacheMPConnector",
        "MoRIIOConnector", "MooncakeConnector", "MooncakeStoreConnector", "MultiConnector", "NixlConnector",
        "NixlPullConnector", "NixlPushConnector", "OffloadingConnector", "P2pNcclConnector", "PyNcclConnector",
        "SharedStorageConnector", "SimpleCPUOffloadConnector", "UMBPStoreConnector",
    }
)  # fmt: skip
"""Names in distributed/kv_transfer/kv_connector/factory.py of vLLM 0.9.2 to 0.33.0, of any of them."""


def connector(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """Connectors of vLLM by name, each with a role (config/kv_transfer.py, kv_connector/factory.py:128)."""
    option = launch.flag("--kv-transfer-config")
    told = merged(launch.given, "kv_transfer")
    if option is None or not told:
        return
    role, name = told.get("kv_role"), told.get("kv_connector")
    if role is not None and role not in _ROLES:
        yield option, f"Unsupported kv_role: {role}. Supported roles are {_ROLES}"
    if name is None:
        return
    if role is None:
        yield option, f"Please specify kv_role when kv_connector is set, supported roles are {_ROLES}"
    own = problem.hardware.device.vendor in OF_ITS_OWN and "kv_connector_module_path" not in told
    if own and name not in _CONNECTORS:
        near = nearest(str(name), sorted(_CONNECTORS))
        yield option, f"Unsupported connector type: {name}" + (f" (did you mean {near!r}?)" if near else "")


_COLON_SINCE: Final = "0.5.10"


def sglang_exclusive(launch: Launch, _: Problem) -> Iterator[Refusal]:
    """Flags of SGLang that exclude each other (0.5.2 and 0.5.10 srt/server_args.py, 0.5.23 srt/arg_groups)."""
    kept, name = launch.flag("--enable-hierarchical-cache"), launch.flag("--served-model-name")
    if kept is not None and launch.flag("--disable-radix-cache") is not None:
        yield kept, "The arguments enable-hierarchical-cache and disable-radix-cache are mutually exclusive"
    if name is not None and ":" in name.text and not launch.before(_COLON_SINCE):
        yield name, f"served_model_name cannot contain a colon (':') character: {shown(name.text)}"
    mixed, chunk = launch.flag("--enable-pdmux"), launch.flag("--chunked-prefill-size")
    if mixed is None:
        return
    if launch.dense["pp"] > 1:
        yield mixed, "PD-Multiplexing is only supported with pipeline parallelism disabled (pp_size=1)."
    if chunk is None or chunk.text != "-1":
        yield mixed, "PD-Multiplexing is not compatible with chunked prefill (--chunked-prefill-size -1)."


_MOE_BACKENDS: Final = (
    "AUTO", "CUTEDSL", "CUTLASS", "DEEPGEMM", "DENSEGEMM", "MARLIN", "MEGAMOE_DEEPGEMM", "TRITON", "TRTLLM", "VANILLA",
    "WIDEEP",
)  # fmt: skip
"""Of `moe_config.backend` (llmapi/llm_args.py of 1.0 to main)."""
_TRTLLM_GEN: Final = ("fp8_block", "mxfp4", "nvfp4")
"""Formats whose experts `TRTLLM` runs by kernels of SM100 and SM103 (fused_moe/fused_moe_trtllm_gen.py)."""
_BLACKWELL: Final = 10


def trtllm_yaml(launch: Launch, problem: Problem) -> Iterator[Refusal]:
    """What TensorRT-LLM's LLM API arguments refuse (llmapi/llm_args.py)."""
    backend, cache = launch.flag("moe_config.backend"), launch.flag("kv_cache_config.dtype")
    own, precision = capability(problem.hardware.device), problem.precision
    if backend is not None and backend.text not in _MOE_BACKENDS:
        yield backend, f"Input should be {', '.join(map(repr, _MOE_BACKENDS))}, not {shown(backend.text)}"
    experts = problem.model.moe is not None and (precision.experts or precision.weights) in _TRTLLM_GEN
    if backend is not None and backend.text == "TRTLLM" and experts and own is not None and own[0] != _BLACKWELL:
        yield backend, f"TRTLLMGenFusedMoE only supports SM100 and SM103, not SM{own[0]}{own[1]}"
    if cache is not None and cache.text == "nvfp4" and own is not None and own[0] < _BLACKWELL:
        yield cache, f"a cache in nvfp4 has kernels from Blackwell on, and this is SM{own[0]}{own[1]}"
    sizes, most = launch.flag("cuda_graph_config.batch_sizes"), launch.flag("cuda_graph_config.max_batch_size")
    if sizes is None or most is None or not most.text.isdigit():
        return
    listed = json.loads(sizes.text)
    if isinstance(listed, list) and listed and int(most.text) and max(listed) != int(most.text):
        yield (
            sizes,
            (
                "Please don't set both cuda_graph_config.batch_sizes and cuda_graph_config.max_batch_size: "
                f"{sizes.text} and {most.text}"
            ),
        )
