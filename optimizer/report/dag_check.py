"""Is a given graph the deployment of given degrees? Every objection names its witness."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any

from optimizer.report.dag import Degrees, Meshes, axes, groups_of


def check_dag(data: object, meshes: Meshes) -> list[str]:
    """Objections to a node-link document: cycles, devices missing or named twice, groups that are not the degrees'.

    Accepts ``edges`` or ``links`` as the key of the edges. An empty list means that it matches.
    """
    degrees = Degrees.of(meshes)
    if not isinstance(data, Mapping):
        return ["no graph: a node-link document is a mapping"]
    nodes, edges = data.get("nodes"), data.get("edges", data.get("links"))
    if not isinstance(nodes, list) or not isinstance(edges, list):
        return ["no graph: `nodes` and `edges` must be lists"]
    if any(not isinstance(node, Mapping) or "id" not in node for node in nodes):
        return ["a node without an id"]
    if any(not isinstance(edge, Mapping) or "source" not in edge or "target" not in edge for edge in edges):
        return ["an edge without source or target"]
    if malformed := [*_malformed(nodes), *_malformed_edges(edges)]:
        return malformed[:20]
    named = Counter(str(node["id"]) for node in nodes)
    found = [f"node {name} is named {count} times" for name, count in named.items() if count > 1]
    pairs = [(str(edge["source"]), str(edge["target"])) for edge in edges]
    found += [f"edge {a} -> {b} names no node" for a, b in pairs if a not in named or b not in named][:20]
    found += _cycle(set(named), [(a, b) for a, b in pairs if a in named and b in named])
    found += _devices([node for node in nodes if node.get("kind") == "device"], degrees)
    found += _groups([node for node in nodes if node.get("kind") == "collective"], degrees)
    found += _stages([node for node in nodes if node.get("kind") == "send"], degrees)
    return [*found, *_connected(nodes, pairs)]


def _malformed(nodes: list[Mapping[str, Any]]) -> Iterator[str]:
    """Nodes whose values are of another kind than a graph's."""
    for node in nodes:
        name, kind = node["id"], node.get("kind")
        if not _is_name(name):
            yield f"node id {name!r} is no name"
        if kind == "device" and not _is_whole(node.get("rank")):
            yield f"node {name}: rank {node.get('rank')!r} is no whole number"
        if kind == "collective":
            ranks = node.get("ranks")
            if not isinstance(ranks, list | tuple) or not all(_is_whole(rank) for rank in ranks):
                yield f"node {name}: ranks {ranks!r} are no list of whole numbers"
        if kind == "send" and not (_is_whole(node.get("source")) and _is_whole(node.get("target"))):
            yield f"node {name}: a transfer needs the ranks `source` and `target`"
        size = node.get("bytes_per_step")
        if size is not None and (not _is_whole(size) or size < 0):
            yield f"node {name}: bytes_per_step {size!r} is no number of bytes"


def _malformed_edges(edges: list[Mapping[str, Any]]) -> Iterator[str]:
    for edge in edges:
        if not (_is_name(edge["source"]) and _is_name(edge["target"])):
            yield f"edge {edge['source']!r} -> {edge['target']!r} names no node"


def _is_name(value: object) -> bool:
    return isinstance(value, str) or _is_whole(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _cycle(names: set[str], edges: list[tuple[str, str]]) -> list[str]:
    """Kahn's algorithm; what it cannot order lies on or behind a cycle."""
    degree = dict.fromkeys(names, 0)
    following: dict[str, list[str]] = {name: [] for name in names}
    for source, target in edges:
        degree[target] += 1
        following[source].append(target)
    ready = deque(name for name, count in degree.items() if count == 0)
    ordered = 0
    while ready:
        ordered += 1
        for target in following[ready.popleft()]:
            degree[target] -= 1
            if degree[target] == 0:
                ready.append(target)
    if ordered == len(names):
        return []
    rest = sorted(name for name, count in degree.items() if count > 0)
    return [f"a cycle among {len(rest)} nodes: {', '.join(rest[:6])}{', ...' if len(rest) > 6 else ''}"]


def _devices(nodes: list[Mapping[str, Any]], degrees: Degrees) -> Iterator[str]:
    ranks = Counter(node.get("rank") for node in nodes)
    yield from (f"device {rank} is named {count} times" for rank, count in ranks.items() if count > 1)
    missing = [rank for rank in range(degrees.devices) if rank not in ranks]
    if missing:
        yield f"{len(missing)} of {degrees.devices} devices are missing, the first is rank {missing[0]}"
    for node in nodes:
        rank = node.get("rank")
        if not isinstance(rank, int) or not 0 <= rank < degrees.devices:
            yield f"device {rank} is none of the {degrees.devices}"
            continue
        wrong = {
            name: node[name] for name, place in degrees.coordinates(rank).items() if node.get(name, place) != place
        }
        if wrong:
            yield f"device {rank} stands at {wrong}, not at {degrees.coordinates(rank)}"


def _groups(nodes: list[Mapping[str, Any]], degrees: Degrees) -> Iterator[str]:
    wanted = Counter(
        (axis.name, ranks)
        for axis in axes(degrees)
        for stage in range(degrees.pp)
        for ranks in groups_of(degrees, axis, stage)
    )
    given = Counter((str(node.get("axis")), tuple(node.get("ranks", ()))) for node in nodes)
    for axis, ranks in wanted - given:
        yield f"no {axis} collective of ranks {_short(ranks)}"
    for axis, ranks in given - wanted:
        yield f"a {axis} collective of ranks {_short(ranks)} that the degrees do not have"


def _stages(nodes: list[Mapping[str, Any]], degrees: Degrees) -> Iterator[str]:
    width = degrees.stage_devices
    wanted = {(rank, rank + width) for rank in range(degrees.devices - width)}
    given = [(node.get("source"), node.get("target")) for node in nodes]
    yield from (f"no transfer from rank {a} to rank {b}" for a, b in sorted(wanted - set(given)))
    yield from (f"a transfer from rank {a} to rank {b} that no stages have" for a, b in given if (a, b) not in wanted)


def _connected(nodes: list[Any], edges: list[tuple[str, str]]) -> Iterator[str]:
    """A node that no edge touches takes no part, unless it is the only one."""
    if len(nodes) < 2:
        return
    touched = {name for edge in edges for name in edge}
    alone = [str(node["id"]) for node in nodes if node.get("kind") != "device" and str(node["id"]) not in touched]
    if alone:
        yield f"{len(alone)} nodes take no part, the first is {alone[0]}"


def _short(ranks: tuple[Any, ...]) -> str:
    return ", ".join(map(str, ranks)) if len(ranks) <= 8 else f"{ranks[0]}, {ranks[1]}, ..., {ranks[-1]} ({len(ranks)})"
