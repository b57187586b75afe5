"""The complete launch of a layout: a script for every node, an engine's own files, ranks on devices, Kubernetes."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from optimizer.domain.engines import ENGINES, Engine
from optimizer.domain.fleet import NodeShare
from optimizer.export.plan import ExportPlan, Plan, engine_plan
from optimizer.export.transfer import address_of_a_pod, port_of, ports_of_its_own

ADDRESS: Final = "${HEAD_ADDRESS:?the address of the first node}"
RPC_PORT, RENDEZVOUS_PORT, HTTP_PORT = 13345, 29500, 8000
"""Ports: vLLM's data-parallel coordinator, torch.distributed's rendezvous, the server's."""
ANYWHERE: Final = "0.0.0.0"  # noqa: S104 - requests come from a router in front, often of another node
"""Where servers listen: SGLang (srt/server_args.py) and trtllm-serve (commands/serve.py) hear their host alone."""

IMAGES: Final[Mapping[str, str]] = {
    "vllm": "vllm/vllm-openai:v{version}",
    "sglang": "lmsysorg/sglang:v{version}",
    "trtllm": "nvcr.io/nvidia/tensorrt-llm/release:{version}",
}
"""Containers of the engines that serve."""

ROCM_IMAGE: Final = "vllm/vllm-openai-rocm:v{version}"
"""vLLM's on AMD's devices."""

OF_VENDOR: Final[Mapping[str, tuple[str, str]]] = {
    "AMD": ("amd.com/gpu", "CUDA_VISIBLE_DEVICES"),
    "AWS": ("aws.amazon.com/neuron", "CUDA_VISIBLE_DEVICES"),
    "Google": ("google.com/tpu", "TPU_VISIBLE_CHIPS"),
    "Huawei": ("huawei.com/Ascend910", "ASCEND_RT_VISIBLE_DEVICES"),
    "Intel": ("habana.ai/gaudi", "HABANA_VISIBLE_MODULES"),
    "NVIDIA": ("nvidia.com/gpu", "CUDA_VISIBLE_DEVICES"),
}
"""What a pod asks of its device plugin, and what shows a process some devices of a node (ROCm reads CUDA's)."""

YAML_FILE: Final = "trtllm.yaml"
MOUNTED: Final = "/launch/"
"""Folder of a pod in which it sees the files that its command names."""


@dataclass(frozen=True, slots=True)
class NodeCommand:
    """A command that starts part of an instance on a node.

    Attributes
    ----------
    node, instance
        Node of the cluster, from 0; instance of the engine, from 0.
    rank, of
        The node's number within the instance, and the instance's nodes.
    devices
        Devices of the node that it uses.
    """

    node: int
    instance: int
    rank: int
    of: int
    devices: tuple[int, ...]
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """Files by name, commands in order, and what the engine cannot be told."""

    plan: Plan
    files: dict[str, str]
    commands: tuple[NodeCommand, ...]
    differences: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Home:
    """Devices of one node that an instance runs on; the node's number within the instance."""

    instance: int
    rank: int
    node: int
    devices: tuple[int, ...]


def export(
    answer: ExportPlan,
    engine: str,
    version: str | None = None,
    places: Sequence[Sequence[NodeShare]] = (),
    first: int = 0,
) -> Exported:
    """Everything needed to start a layout on an engine.

    Parameters
    ----------
    places
        Devices of each replica where other replicas stand beside it; side by side from node 0 on where there are none.
    first
        Number of the first instance among all that are started: each has a port of its own.

    Raises
    ------
    SpecError
        The engine cannot run it.
    """
    plan = engine_plan(answer, engine, version)
    per_node = answer.problem.hardware.devices_per_node
    homes = list(_homes(plan, per_node))
    if places:
        plan.instances = len(places)
        homes = [
            Home(first + number, rank, place.node, place.devices)
            for number, shares in enumerate(places)
            for rank, place in enumerate(shares)
        ]
    commands = tuple(_commands(plan, answer, homes))
    files = _named_files(plan, answer)
    nodes = sorted({command.node for command in commands})
    for node in nodes:
        on_node = [command for command in commands if command.node == node]
        name = "launch.sh" if len(nodes) == 1 else f"node-{node}/launch.sh"
        visible = _of_vendor(answer)[1]
        files[name] = _script(plan, on_node, per_node, visible, many=len(nodes) > 1, beside=bool(places))
    if len(nodes) > 1:
        files["launch.sh"] = _dispatcher(nodes)
    files["map.json"] = json.dumps(_ranks(plan, homes, per_node), indent=1) + "\n"
    if engine in IMAGES:
        files["kubernetes.yaml"] = _kubernetes(plan, answer, per_node)
    differences = (*plan.differences, *_placing(plan, answer, per_node))
    files["differences.md"] = _differences(plan, differences)
    return Exported(plan, files, commands, differences, plan.environment)


def _of_vendor(answer: ExportPlan) -> tuple[str, str]:
    return OF_VENDOR.get(answer.problem.hardware.device.vendor, OF_VENDOR["NVIDIA"])


def _image(plan: Plan, answer: ExportPlan) -> str:
    """Container of an engine; of a series its first release."""
    is_rocm = plan.engine == "vllm" and answer.problem.hardware.device.vendor == "AMD"
    image = ROCM_IMAGE if is_rocm else IMAGES[plan.engine]
    return image.format(version=plan.version + (".0" if plan.version.count(".") == 1 else ""))


def _named_files(plan: Plan, answer: ExportPlan, folder: str = "") -> dict[str, str]:
    """Files that the command names, and those that they name, each called by its path in a folder."""
    placed = answer.placement_file
    files = {} if placed is None else {placed.name: placed.text}
    return files | ({YAML_FILE: yaml_text(_moved(plan.yaml, files, folder))} if plan.yaml else {})


def _moved(told: object, files: Collection[str], folder: str) -> object:
    """What an engine is told, with names of files as paths in a folder."""
    if isinstance(told, dict):
        return {key: _moved(value, files, folder) for key, value in told.items()}
    return _path(told, files, folder) if isinstance(told, str) else told


def _path(word: str, files: Collection[str], folder: str) -> str:
    return f"{folder}{word}" if word in files else word


def yaml_text(data: object) -> str:
    """YAML of plain data, keys in their order."""
    yaml = YAML(pure=True)
    yaml.default_flow_style = False
    yaml.width = 10**6
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()


def _flags(plan: Plan) -> list[str]:
    return [word for name, value in plan.arguments.items() for word in ((name,) if value is None else (name, value))]


def _homes(plan: Plan, per_node: int) -> Iterator[Home]:
    """Instances side by side where a node holds several."""
    size = plan.instance.devices
    if size >= per_node:
        nodes = -(-size // per_node)
        for index in range(plan.instances):
            for rank in range(nodes):
                devices = min(per_node, size - rank * per_node)
                yield Home(index, rank, index * nodes + rank, tuple(range(devices)))
        return
    fitting = per_node // size
    for index in range(plan.instances):
        first = index % fitting * size
        yield Home(index, 0, index // fitting, tuple(range(first, first + size)))


def _commands(plan: Plan, answer: ExportPlan, homes: Sequence[Home]) -> Iterator[NodeCommand]:
    for home in homes:
        count = sum(1 for peer in homes if peer.instance == home.instance)
        part = NodeCommand(home.node, home.instance, home.rank, count, home.devices)
        yield replace(part, words=tuple(_STARTERS[plan.engine](plan, answer, part)))


def _vllm(plan: Plan, answer: ExportPlan, part: NodeCommand) -> list[str]:
    rank, count, devices = part.rank, part.of, part.devices
    port, meeting, coordinator = (port_of("vllm", p, part.instance) for p in (HTTP_PORT, RENDEZVOUS_PORT, RPC_PORT))
    words = ["vllm", "serve", answer.model_name, *_flags(plan)]
    instance = plan.instance
    replica = instance.tp * instance.cp * instance.pp
    if count == 1:
        return [*words, "--port", str(port)]
    if instance.dp == 1 or replica > len(devices) or len(devices) % replica:
        # One group of processes over all nodes; each node's share of the ranks follows from its number.
        words += ["--nnodes", str(count), "--node-rank", str(rank), "--master-addr", ADDRESS]
        words += ["--master-port", str(meeting)]
        return [*words, *(["--headless"] if rank else ["--port", str(port)])]
    local = len(devices) // replica
    first = rank * (answer.problem.hardware.devices_per_node // replica)
    words += ["--data-parallel-size-local", str(local), "--data-parallel-address", ADDRESS]
    words += ["--data-parallel-rpc-port", str(coordinator)]
    if rank:
        return [*words, "--data-parallel-start-rank", str(first), "--headless"]
    return [*words, "--port", str(port)]


def _sglang(plan: Plan, answer: ExportPlan, part: NodeCommand) -> list[str]:
    words = ["python3", "-m", "sglang.launch_server", "--model-path", answer.model_name, *_flags(plan)]
    if part.of > 1:
        words += ["--nnodes", str(part.of), "--node-rank", str(part.rank)]
        words += ["--dist-init-addr", f"{ADDRESS}:{port_of('sglang', RENDEZVOUS_PORT, part.instance)}"]
    _, own = ports_of_its_own(plan.arguments, part.instance, answer.problem.hardware.devices_per_node)
    return [*words, *own, "--host", ANYWHERE, "--port", str(port_of("sglang", HTTP_PORT, part.instance))]


def _trtllm(plan: Plan, answer: ExportPlan, part: NodeCommand) -> list[str]:
    port = str(port_of("trtllm", HTTP_PORT, part.instance))
    serve = ["trtllm-serve", answer.model_name, "--config", YAML_FILE, "--host", ANYWHERE, "--port", port]
    if part.of == 1:
        return serve
    hosts = "${HOSTFILE:?a file that names the nodes}"
    ranks = ["mpirun", "-n", str(plan.instance.devices), "--hostfile", hosts, "trtllm-llmapi-launch"]
    return [*ranks, *serve] if part.rank == 0 else []


def _torchrun(part: NodeCommand) -> list[str]:
    words = ["torchrun", "--nproc-per-node", str(len(part.devices))]
    if part.of > 1:
        words += ["--nnodes", str(part.of), "--node-rank", str(part.rank), "--master-addr", ADDRESS]
        words += ["--master-port", str(RENDEZVOUS_PORT)]
    return words


def _megatron(plan: Plan, _answer: ExportPlan, part: NodeCommand) -> list[str]:
    return [*_torchrun(part), "pretrain_gpt.py", *_flags(plan)]


def _torchtitan(plan: Plan, _answer: ExportPlan, part: NodeCommand) -> list[str]:
    return [*_torchrun(part), "-m", "torchtitan.train", *_flags(plan)]


_STARTERS: Final = {
    "vllm": _vllm, "sglang": _sglang, "trtllm": _trtllm, "megatron": _megatron, "torchtitan": _torchtitan,
}  # fmt: skip


def shell_line(words: Sequence[str]) -> str:
    """A command as a shell reads it: a flag and its value on a line."""
    quoted = [word if word.startswith("${") or "${" in word else shlex.quote(word) for word in words]
    quoted = [f'"{word}"' if "${" in word else word for word in quoted]
    lines: list[str] = []
    for word in quoted:
        if word.startswith("-") and lines:
            lines.append(word)
        elif lines:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return " \\\n  ".join(lines)


def _script(
    plan: Plan, commands: Sequence[NodeCommand], per_node: int, visible: str, *, many: bool, beside: bool
) -> str:  # fmt: skip
    lines = ["#!/bin/bash", "set -euo pipefail", 'cd "$(dirname "$0")' + ("/.." if many else "") + '"']
    lines += [f"export {name}={shlex.quote(value)}" for name, value in plan.environment.items()]
    started = [command for command in commands if command.words]
    for command in started:
        background = " &" if len(started) > 1 else ""
        own: dict[str, str] = {}
        if len(started) > 1 or beside:
            own = {visible: ",".join(map(str, command.devices))}
            own |= ports_of_its_own(plan.arguments, command.instance, per_node)[0]
        told = "".join(f"{name}={value} " for name, value in own.items())
        lines.append(f"{told}{shell_line(command.words)}{background}")
    if len(started) > 1:
        lines.append("wait")
    if not started:
        lines.append(": the ranks of this node are started by mpirun on the first")
    return "\n".join(lines) + "\n"


def _dispatcher(nodes: Sequence[int]) -> str:
    return (
        "#!/bin/bash\n"
        f"# Starts the part of one node: its number, 0 to {nodes[-1]}, is the argument or NODE_RANK.\n"
        "set -euo pipefail\n"
        'exec bash "$(dirname "$0")/node-${1:-${NODE_RANK:?the number of this node}}/launch.sh"\n'
    )


def _coordinates(index: int, axes: Sequence[str], sizes: Mapping[str, int]) -> dict[str, int]:
    coordinates = {}
    for axis in reversed(axes):
        index, coordinates[axis] = divmod(index, sizes[axis])
    return coordinates


def _numbering(plan: Plan) -> Engine:
    """The engine that numbers the ranks."""
    return ENGINES["fsdp" if plan.engine == "torchtitan" else plan.engine][-1]


def _ranks(plan: Plan, homes: Sequence[Home], per_node: int) -> list[dict[str, Any]]:
    """Every rank with its coordinates on both meshes, its node and its device there."""
    instance, engine = plan.instance, _numbering(plan)
    sizes = {name: getattr(instance, name) for name in ("tp", "cp", "dp", "pp", "etp", "ep", "edp")}
    home_of = {(home.instance, home.rank): home for home in homes}
    ranks = []
    for index in dict.fromkeys(home.instance for home in homes):
        for rank in range(instance.devices):
            home = home_of[index, rank // per_node]
            coordinates = _coordinates(rank, engine.order, sizes)
            entry: dict[str, Any] = {
                "instance": index, "rank": rank, "node": home.node,
                "device": home.devices[rank % per_node % len(home.devices)], **coordinates,
            }  # fmt: skip
            if instance.etp * instance.ep * instance.edp == instance.stage_devices:
                inner = [axis for axis in engine.order if axis != "pp"]
                within = 0
                for axis in inner:
                    within = within * sizes[axis] + coordinates[axis]
                entry |= _coordinates(within, engine.expert_order, sizes)
            ranks.append(entry)
    return ranks


def _placing(plan: Plan, answer: ExportPlan, per_node: int) -> Iterator[str]:
    layout, size = answer.layout, plan.instance.devices
    if size > per_node and size % per_node:
        yield f"nodes: {size} devices are not whole nodes of {per_node}; the last node is used in part"
    width = layout.tp * layout.cp
    if width > 1 and size > per_node and per_node % width and width < per_node:
        yield f"ranks: tp·cp={width} does not divide a node's {per_node} devices, so that some groups cross nodes"
    priced, numbered = answer.problem.engine, _numbering(plan)
    if size > per_node and priced.places(layout.shape) != numbered.places(layout.shape):
        orders = [" × ".join((*engine.order, "|", *engine.expert_order)) for engine in (numbered, priced)]
        yield f"ranks: {numbered.name} numbers them by {orders[0]}; {orders[1]} was priced".replace("× | ×", "|")
    if plan.engine in IMAGES:
        vendor = answer.problem.hardware.device.vendor
        if vendor not in {"", "NVIDIA"} and not _image(plan, answer).startswith("vllm/vllm-openai-rocm"):
            yield f"image: {_image(plan, answer)} is of NVIDIA's devices; put one for those of {vendor} in its place"
        yield from _pods_that_differ(plan, answer, -(-size // per_node))


def _pods_that_differ(plan: Plan, answer: ExportPlan, nodes: int) -> Iterator[str]:
    """What pods are not told."""
    if plan.engine == "trtllm" and nodes > 1:
        yield "kubernetes: no pods are written: MPI starts TensorRT-LLM's ranks on several nodes (launch.sh)"
        return
    yield (
        f"nodes: pods of kubernetes.yaml take any node with devices to spare; a nodeSelector of your labels keeps "
        f"them to those of {answer.problem.hardware.name}"
    )
    if nodes > 1:
        tiers = answer.problem.hardware.tiers
        tier = next(tier for tier in tiers if not tier.size or tier.size >= plan.instance.devices)
        yield (
            f"network: pods of kubernetes.yaml ask for no device of their node's network (rdma/… by the name of your "
            f"plugin, or hostNetwork), without which ranks reach each other by TCP; {tier.name} at "
            f"{tier.bandwidth * 8 / 10**9:,.0f} Gb/s a device was priced"
        )


def _kubernetes(plan: Plan, answer: ExportPlan, per_node: int) -> str:
    """A LeaderWorkerSet of as many groups as there are instances; of one pod each where a node holds an instance.

    Before it a ConfigMap of the files that its command names, which its pods see.
    """
    size = plan.instance.devices
    nodes = -(-size // per_node)
    name = answer.problem.name.lower().replace("_", "-").replace(".", "-")[:52].strip("-") or "shardproof"
    files = _named_files(plan, answer, MOUNTED)

    def pod(rank: int) -> dict[str, Any]:
        part = NodeCommand(0, 0, rank, nodes, tuple(range(min(per_node, size))))
        words = _STARTERS[plan.engine](plan, answer, part)
        words = [_path(word.replace(ADDRESS, "$(LWS_LEADER_ADDRESS)"), files, MOUNTED) for word in words]
        numbered = {"--node-rank": "$(LWS_WORKER_INDEX)"}
        for index, word in enumerate(words[:-1]):
            if word in numbered:
                words[index + 1] = numbered[word]
        container: dict[str, Any] = {
            "name": plan.engine,
            "image": _image(plan, answer),
            "command": words[:2] if words[:1] == ["vllm"] else words[:3] if words[:1] == ["python3"] else words[:1],
            "resources": {"limits": {_of_vendor(answer)[0]: str(min(per_node, size))}},
        }
        container["args"] = words[len(container["command"]) :]
        return _pod(plan, container, nodes, f"{name}-launch" if files else None)

    if plan.engine == "trtllm" and nodes > 1:
        return "# TensorRT-LLM's ranks on several nodes are started by MPI: see launch.sh and the MPI operator\n"
    if plan.engine == "vllm" and nodes > 2 and plan.instance.dp > 1:
        return _ranked(plan, answer, name, nodes)
    template: dict[str, Any] = {
        "size": nodes,
        "restartPolicy": "RecreateGroupOnPodRestart",
        "workerTemplate": pod(min(1, nodes - 1)),
    }
    if nodes > 1:
        template["leaderTemplate"] = pod(0)
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-launch"},
        "data": {file: LiteralScalarString(text) for file, text in files.items()},
    }
    return (f"{yaml_text(config)}---\n" if files else "") + yaml_text(
        {
            "apiVersion": "leaderworkerset.x-k8s.io/v1",
            "kind": "LeaderWorkerSet",
            "metadata": {"name": name},
            "spec": {"replicas": plan.instances, "leaderWorkerTemplate": template},
        }
    )


def _pod(plan: Plan, container: Mapping[str, Any], nodes: int, config: str | None) -> dict[str, Any]:
    """A pod of one container, with its environment and the files of a ConfigMap.

    Ranks of a pod exchange through /dev/shm, of which a container has 64 MB unless memory is mounted there
    (docs.vllm.ai/deployment/k8s, docs.sglang.ai/references/multi_node_deployment/lws_pd). Memory that a network between
    nodes reads and writes is locked (discuss.vllm.ai/t/1344).
    """
    environment = [{"name": key, "value": value} for key, value in plan.environment.items()]
    environment += address_of_a_pod(plan.arguments)
    mounts = [{"name": "shm", "mountPath": "/dev/shm"}]  # noqa: S108 - of the pod
    volumes: list[dict[str, Any]] = [{"name": "shm", "emptyDir": {"medium": "Memory"}}]
    if config is not None:
        mounts.append({"name": "launch", "mountPath": MOUNTED.rstrip("/")})
        volumes.append({"name": "launch", "configMap": {"name": config}})
    told: dict[str, Any] = {"env": environment} if environment else {}
    if nodes > 1:
        told["securityContext"] = {"capabilities": {"add": ["IPC_LOCK"]}}
    return {"spec": {"containers": [{**container, **told, "volumeMounts": mounts}], "volumes": volumes}}


def _ranked(plan: Plan, answer: ExportPlan, name: str, nodes: int) -> str:
    """Workers whose first data-parallel rank follows from their number, which a shell reckons."""
    per_node = answer.problem.hardware.devices_per_node
    replica = plan.instance.tp * plan.instance.cp * plan.instance.pp
    local = max(1, per_node // replica)
    words = ["vllm", "serve", answer.model_name, *_flags(plan)]
    words += ["--data-parallel-size-local", str(local), "--data-parallel-address", "${LWS_LEADER_ADDRESS}"]
    words += ["--data-parallel-rpc-port", str(RPC_PORT)]
    line = shell_line(words)

    def pod(more: str) -> dict[str, Any]:
        container: dict[str, Any] = {
            "name": "vllm", "image": _image(plan, answer), "command": ["/bin/bash", "-c"],
            "args": [f"exec {line} {more}\n"], "resources": {"limits": {_of_vendor(answer)[0]: str(per_node)}},
        }  # fmt: skip
        return _pod(plan, container, nodes, None)

    rank = f"--data-parallel-start-rank $((LWS_WORKER_INDEX * {local})) --headless"
    return yaml_text(
        {
            "apiVersion": "leaderworkerset.x-k8s.io/v1",
            "kind": "LeaderWorkerSet",
            "metadata": {"name": name},
            "spec": {
                "replicas": plan.instances,
                "leaderWorkerTemplate": {
                    "size": nodes, "restartPolicy": "RecreateGroupOnPodRestart",
                    "leaderTemplate": pod(f"--port {HTTP_PORT}"), "workerTemplate": pod(rank),
                },
            },
        }
    )  # fmt: skip


def _differences(plan: Plan, differences: Sequence[str]) -> str:
    title = f"# What was priced and {plan.engine} {plan.version} cannot be told, or does otherwise"
    return "\n".join([title, "", *(f"- {line}" for line in differences)]) + "\n"
