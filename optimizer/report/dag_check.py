"""Is a given graph the deployment of given degrees? Every objection names its witness."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from optimizer.domain.layout import Layout
from optimizer.report.dag import DEGREES, SEND_AXIS, Dag, build_dag, checked, coordinates

DagNode = Mapping[str, Any]
Ranks = tuple[int, ...]


def check_dag(data: object, layout: Layout, expected: Dag | None = None) -> list[str]:
    """Objections to a node-link document: cycles, devices missing or named twice, groups that are not the degrees'.

    Accepts ``edges`` or ``links`` as the key of the edges. What a graph leaves out (a stage, an operation, bytes) is no
    objection; what it says must be so. An empty list means that it matches.

    Parameters
    ----------
    expected
        The layout's own graph, for the bytes of a step; without it, bytes are not compared.
    """
    degrees = checked(layout)
    dag_expected = expected or build_dag(degrees)
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
    faults = [f"node {name} is named {count} times" for name, count in named.items() if count > 1]
    pairs = [(str(edge["source"]), str(edge["target"])) for edge in edges]
    faults += [f"edge {a} -> {b} names no node" for a, b in pairs if a not in named or b not in named][:20]
    faults += _cycle(set(named), [(a, b) for a, b in pairs if a in named and b in named])
    faults += _devices([node for node in nodes if node.get("kind") == "device"], degrees)
    faults += _groups([node for node in nodes if node.get("kind") == "collective"], dag_expected)
    faults += _sends([node for node in nodes if node.get("kind") == "send"], dag_expected)
    faults += _header(data.get("graph"), degrees)
    return [*faults, *_connected(nodes, pairs), *_edges(nodes, edges, degrees)]


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
    unordered = sorted(name for name, count in degree.items() if count > 0)
    return [f"a cycle among {len(unordered)} nodes: {', '.join(unordered[:6])}{', ...' if len(unordered) > 6 else ''}"]


def _devices(nodes: list[Mapping[str, Any]], degrees: Layout) -> Iterator[str]:
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
        places = coordinates(degrees, rank)
        wrong = {name: node[name] for name, place in places.items() if node.get(name, place) != place}
        if wrong:
            yield f"device {rank} stands at {wrong}, not at {places}"


def _header(graph: object, degrees: Layout) -> Iterator[str]:
    """Degrees that the graph says of itself."""
    if isinstance(graph, Mapping):
        names = (*DEGREES, "devices")
        wrong = {name: graph[name] for name in names if name in graph and graph[name] != getattr(degrees, name)}
        if wrong:
            yield f"the graph calls itself {wrong}, not { ({name: getattr(degrees, name) for name in wrong}) }"


def _counted(wanted: Collection[Any], counts: Counter[Any], named: Callable[..., str], foreign: str) -> Iterator[str]:
    """What is missing, what the layout does not have, and what stands there more than once."""
    yield from (f"no {named(*key)}" for key in sorted(set(wanted) - counts.keys()))
    for key, count in counts.items():
        if key not in wanted:
            yield f"a {named(*key)} that {foreign}"
        elif count > 1:
            yield f"the {named(*key)} stands there {count} times"


def _groups(nodes: list[DagNode], dag: Dag) -> Iterator[str]:
    wanted = {(group.axis.name, group.ranks): group for group in dag.groups}
    counts = Counter(_group(node) for node in nodes)
    yield from _counted(
        wanted, counts, lambda axis, ranks: f"{axis} collective of ranks {_short(ranks)}", "the degrees do not have"
    )
    for node in nodes:
        group = wanted.get(_group(node))
        if group is not None:
            derived = {"stage": group.stage, "operation": group.axis.operation, "bytes_per_step": group.bytes}
            yield from _otherwise(node, derived)


def _group(node: DagNode) -> tuple[str, Ranks]:
    return str(node.get("axis")), tuple(node.get("ranks", ()))


def _sends(nodes: list[DagNode], dag: Dag) -> Iterator[str]:
    wanted = set(dag.sends)
    counts = Counter((node.get("source"), node.get("target")) for node in nodes)
    yield from _counted(wanted, counts, lambda a, b: f"transfer from rank {a} to rank {b}", "no stages have")
    for node in nodes:
        source, target = node.get("source"), node.get("target")
        if isinstance(source, int) and (source, target) in wanted:
            stage = source // dag.degrees.stage_devices
            yield from _otherwise(node, {"axis": SEND_AXIS, "stage": stage, "bytes_per_step": dag.sent_from(source)})


def _otherwise(node: DagNode, derived: Mapping[str, object]) -> Iterator[str]:
    """What a node says that is not so; nothing is known where the layout's own value is None."""
    for key, value in derived.items():
        stated = node.get(key)
        if stated is not None and value is not None and (stated != value or isinstance(stated, bool)):
            yield f"node {node['id']}: {key} is {stated!r}, not {value!r}"


def _ranks_of(node: DagNode) -> Ranks:
    if node.get("kind") == "device":
        return (node["rank"],)
    if node.get("kind") == "send":
        return (node["source"], node["target"])
    return tuple(node.get("ranks", ())) if node.get("kind") == "collective" else ()


def _edges(nodes: list[DagNode], edges: list[DagNode], degrees: Layout) -> Iterator[str]:
    """An edge joins nodes of one rank; a rank enters all its nodes but its first, and leaves all but its last."""
    ranks_of = {str(node["id"]): frozenset(_ranks_of(node)) for node in nodes}
    axis_of = {str(node["id"]): node.get("axis") for node in nodes if node.get("axis") is not None}
    entered: dict[str, set[int]] = {}
    leaving: dict[str, set[int]] = {}
    for edge in edges:
        source, target = str(edge["source"]), str(edge["target"])
        shared = ranks_of.get(source, frozenset()) & ranks_of.get(target, frozenset())
        if ranks_of.get(source) and ranks_of.get(target) and not shared:
            yield f"edge {source} -> {target} joins nodes that have no rank in common"
        entered.setdefault(target, set()).update(shared)
        leaving.setdefault(source, set()).update(shared)
        between = [axis_of[name] for name in (source, target) if name in axis_of]
        if edge.get("axis") is not None and between and edge["axis"] not in between:
            yield f"edge {source} -> {target}: axis is {edge['axis']!r}, not {between[-1]!r}"
    ends: Counter[int] = Counter()
    final = degrees.devices - degrees.stage_devices
    for node in nodes:
        kind, name = node.get("kind"), str(node["id"])
        if kind == "device" and node["rank"] >= degrees.stage_devices:
            into = ranks_of[name]
        else:
            into = (
                ranks_of[name]
                if kind == "collective"
                else frozenset((node["source"],))
                if kind == "send"
                else frozenset()
            )
        if missing := sorted(into - entered.get(name, set())):
            yield f"no edge brings rank {missing[0]} to {name}"
        if kind == "collective":
            stays = ranks_of[name] - leaving.get(name, set())
            ends.update(stays)
            if early := sorted(rank for rank in stays if rank < final):
                yield f"no edge takes rank {early[0]} on from {name}"
    several = sorted(rank for rank, count in ends.items() if rank >= final and count > 1)
    if several:
        yield f"rank {several[0]} ends in {ends[several[0]]} collectives"


def _connected(nodes: list[Any], edges: list[tuple[str, str]]) -> Iterator[str]:
    """A node that no edge touches takes no part, unless it is the only one."""
    if len(nodes) < 2:
        return
    touched = {name for edge in edges for name in edge}
    isolated = [str(node["id"]) for node in nodes if node.get("kind") != "device" and str(node["id"]) not in touched]
    if isolated:
        yield f"{len(isolated)} nodes take no part, the first is {isolated[0]}"


def _short(ranks: tuple[Any, ...]) -> str:
    return ", ".join(map(str, ranks)) if len(ranks) <= 8 else f"{ranks[0]}, {ranks[1]}, ..., {ranks[-1]} ({len(ranks)})"
