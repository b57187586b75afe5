"""The deployment graph and its checker."""

import copy
import json
import xml.etree.ElementTree as ET
from typing import Any

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.domain.layout import Layout
from optimizer.errors import SpecError
from optimizer.report.dag import build_dag, coordinates
from optimizer.report.dag_check import check_dag
from optimizer.report.dag_draw import to_dot, to_svg

EP64_TP2 = Layout(tp=2, dp=64, etp=2, ep=64)
SMALL = Layout(tp=2, cp=1, dp=4, pp=2, etp=1, ep=4, edp=2)


@st.composite
def degrees(draw: st.DrawFn) -> Layout:
    """Two meshes of one size."""
    tp, cp, dp, pp = (draw(st.integers(1, 4)) for _ in range(4))
    width = tp * cp * dp
    etp = draw(st.sampled_from([d for d in range(1, width + 1) if width % d == 0]))
    ep = draw(st.sampled_from([d for d in range(1, width // etp + 1) if width // etp % d == 0]))
    return Layout(tp=tp, cp=cp, dp=dp, pp=pp, etp=etp, ep=ep, edp=width // etp // ep)


@given(degrees())
def test_a_built_graph_passes_its_own_check_and_networkx(mesh: Layout) -> None:
    data = build_dag(mesh, {"tp": 10, "ep": 20}).to_json()
    assert check_dag(data, mesh) == []
    graph = nx.node_link_graph(data, edges="edges")
    assert nx.is_directed_acyclic_graph(graph)
    ranks = [node["rank"] for _, node in graph.nodes(data=True) if node["kind"] == "device"]
    assert sorted(ranks) == list(range(mesh.tp * mesh.cp * mesh.dp * mesh.pp))


JUNK = [None, [], {}, [1], "x", -1, 1e9, True, [[1]], {"a": 1}, float("nan"), "1"]


@given(st.data())
def test_a_malformed_graph_is_objected_to_and_never_crashes(data: st.DataObject) -> None:
    graph = json.loads(json.dumps(build_dag(SMALL, {"tp": 10, "ep": 20}).to_json()))
    part = data.draw(st.sampled_from(["nodes", "edges"]))
    place = data.draw(st.integers(0, len(graph[part]) - 1))
    graph[part][place][data.draw(st.sampled_from(sorted(graph[part][place])))] = data.draw(st.sampled_from(JUNK))
    check_dag(graph, SMALL)
    graph[part][place] = data.draw(st.sampled_from([item for item in JUNK if item != {}]))
    assert check_dag(graph, SMALL)


@pytest.mark.parametrize("graph", [*JUNK, {"nodes": 1, "edges": []}, {"nodes": [1], "edges": []}])
def test_what_is_no_graph_is_told_so(graph: object) -> None:
    assert check_dag(graph, SMALL)


@pytest.mark.parametrize(
    ("kind", "key", "value", "told"),
    [
        ("device", "rank", "0", "no whole number"),
        ("collective", "ranks", 3, "no list of whole numbers"),
        ("collective", "bytes_per_step", -5, "no number of bytes"),
        ("send", "target", None, "needs the ranks"),
    ],
)
def test_a_value_of_the_wrong_kind_names_its_node(kind: str, key: str, value: object, told: str) -> None:
    graph = json.loads(json.dumps(build_dag(SMALL, {"tp": 10, "ep": 20}).to_json()))
    node = next(node for node in graph["nodes"] if node["kind"] == kind)
    node[key] = value
    assert any(told in text and node["id"] in text for text in check_dag(graph, SMALL))


@given(degrees())
def test_every_device_of_a_stage_is_in_one_group_of_each_axis(mesh: Layout) -> None:
    for stage in range(mesh.pp):
        for name in ("tp", "cp", "ep", "etp"):
            ranks = [r for g in build_dag(mesh).groups if g.axis.name == name and g.stage == stage for r in g.ranks]
            assert len(ranks) == len(set(ranks))
            assert len(ranks) in {0, mesh.tp * mesh.cp * mesh.dp}


def test_tp_is_fastest_and_pp_slowest() -> None:
    mesh = Layout(tp=2, cp=3, dp=2, pp=2)
    assert coordinates(mesh, 0) == {"stage": 0, "tp": 0, "cp": 0, "dp": 0}
    assert coordinates(mesh, 1)["tp"] == 1
    assert coordinates(mesh, 2) == {"stage": 0, "tp": 0, "cp": 1, "dp": 0}
    assert coordinates(mesh, 6) == {"stage": 0, "tp": 0, "cp": 0, "dp": 1}
    assert coordinates(mesh, 12)["stage"] == 1


def test_128_devices_have_64_tensor_pairs_and_2_expert_groups() -> None:
    dag = build_dag(EP64_TP2, {"tp_bytes": 4096, "ep_bytes": 8192})
    pairs = [g for g in dag.groups if g.axis.name == "tp"]
    exchanges = [g for g in dag.groups if g.axis.name == "ep"]
    assert [g.ranks for g in pairs[:2]] == [(0, 1), (2, 3)]
    assert len(pairs) == 64
    assert [g.ranks[:3] for g in exchanges] == [(0, 2, 4), (1, 3, 5)]
    assert {len(g.ranks) for g in exchanges} == {64}
    assert {g.bytes for g in pairs} == {4096}
    assert {g.bytes for g in exchanges} == {8192}


def _damaged(change: str) -> dict[str, Any]:
    data = copy.deepcopy(build_dag(SMALL).to_json())
    devices = [node for node in data["nodes"] if node["kind"] == "device"]
    collectives = [node for node in data["nodes"] if node["kind"] == "collective"]
    if change == "cycle":
        edge = data["edges"][0]
        data["edges"].append({"source": edge["target"], "target": edge["source"]})
    elif change == "missing device":
        data["nodes"].remove(devices[3])
        data["edges"] = [e for e in data["edges"] if "device3" not in e.values()]
    elif change == "device twice":
        data["nodes"].append({**devices[0], "id": "again"})
    elif change == "node twice":
        data["nodes"].append(dict(collectives[0]))
    elif change == "wrong group":
        collectives[0]["ranks"][0] = 5
    elif change == "wrong place":
        devices[1]["tp"] = 0
    elif change == "edge to nowhere":
        data["edges"].append({"source": "device0", "target": "nowhere"})
    elif change == "no transfer":
        data["nodes"] = [n for n in data["nodes"] if n["id"] != "send0-8"]
        data["edges"] = [e for e in data["edges"] if "send0-8" not in e.values()]
    elif change == "unconnected":
        data["edges"] = [e for e in data["edges"] if collectives[0]["id"] not in e.values()]
    return data


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        ("cycle", "a cycle among"),
        ("missing device", "1 of 16 devices are missing, the first is rank 3"),
        ("device twice", "device 0 is named 2 times"),
        ("node twice", "is named 2 times"),
        ("wrong group", "no tp collective of ranks 0, 1"),
        ("wrong place", "device 1 stands at {'tp': 0}"),
        ("edge to nowhere", "names no node"),
        ("no transfer", "no transfer from rank 0 to rank 8"),
        ("unconnected", "take no part"),
    ],
)
def test_damage_is_named(change: str, objection: str) -> None:
    found = check_dag(_damaged(change), SMALL)
    assert any(objection in message for message in found), found


@pytest.mark.parametrize("data", [{}, {"nodes": []}, {"nodes": [1], "edges": []}, {"nodes": [], "edges": [{}]}])
def test_what_is_no_graph_is_refused(data: dict[str, Any]) -> None:
    assert check_dag(data, SMALL)


def test_a_graph_of_other_degrees_is_refused() -> None:
    data = build_dag(SMALL).to_json()
    assert check_dag(data, Layout(tp=4, dp=2, pp=2, etp=1, ep=4, edp=2))
    assert check_dag(data, Layout(tp=2, dp=4, pp=1, etp=1, ep=4, edp=2))


def test_meshes_of_different_size_are_refused() -> None:
    with pytest.raises(SpecError, match="devices per stage"):
        build_dag(Layout(tp=2, dp=4, etp=1, ep=3, edp=1))


def test_dot_names_every_device_once_as_a_node() -> None:
    dot = to_dot(build_dag(SMALL, {"pp": 7}))
    for rank in range(16):
        assert dot.count(f'"device{rank}" [label=') == 1
    assert "send, 7 bytes per step" in dot


@pytest.mark.parametrize("mesh", [EP64_TP2, SMALL, Layout(tp=1), Layout(tp=8, dp=2, pp=8)])
def test_svg_is_valid_and_stays_small(mesh: Layout) -> None:
    root = ET.fromstring(to_svg(build_dag(mesh, {"tp": 1})))  # noqa: S314 - our own output
    squares = [t.text for t in root.iter("{http://www.w3.org/2000/svg}title") if (t.text or "").startswith("rank ")]
    drawn = mesh.devices if mesh.pp <= 4 else 2 * mesh.stage_devices
    assert len(squares) == len(set(squares)) == drawn
    assert float(root.attrib["width"]) <= 1000
    assert float(root.attrib["height"]) <= 1000


def test_json_is_plain() -> None:
    data = build_dag(EP64_TP2).to_json()
    assert json.loads(json.dumps(data)) == data
    assert data["graph"]["devices"] == 128


def _graph() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(build_dag(SMALL, TRAFFIC).to_json()))
    return found


TRAFFIC = [{"tp": 10, "ep": 20, "pp": 30}, {"tp": 11, "ep": 21, "pp": 31}]


def _node(graph: dict[str, Any], name: str) -> dict[str, Any]:
    return next(node for node in graph["nodes"] if node["id"] == name)


def _swap_stages(graph: dict[str, Any]) -> None:
    for name, stage in (("device3", 1), ("device11", 0)):
        _node(graph, name)["stage"] = stage


def _set(name: str, **values: object) -> Any:
    return lambda graph: _node(graph, name).update(values)


def _rewired(source: str, target: str, new_source: str, new_target: str) -> Any:
    def change(graph: dict[str, Any]) -> None:
        edge = next(edge for edge in graph["edges"] if (edge["source"], edge["target"]) == (source, target))
        edge.update(source=new_source, target=new_target)

    return change


def _dropped(source: str, target: str) -> Any:
    return lambda graph: graph["edges"].remove({"source": source, "target": target})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_swap_stages, "device 3 stands at {'stage': 1}"),
        (_swap_stages, "device 11 stands at {'stage': 0}"),
        (_set("stage1/tp0", stage=0), "node stage1/tp0: stage is 0, not 1"),
        (_set("stage0/tp0", operation="all-gather"), "node stage0/tp0: operation is 'all-gather', not 'all-reduce'"),
        (_set("stage0/ep1", bytes_per_step=19), "node stage0/ep1: bytes_per_step is 19, not 20"),
        (_set("stage1/tp3", bytes_per_step=10), "node stage1/tp3: bytes_per_step is 10, not 11"),
        (_set("send2-10", axis="tp"), "node send2-10: axis is 'tp', not 'pp'"),
        (_set("send2-10", bytes_per_step=31), "node send2-10: bytes_per_step is 31, not 30"),
        (_set("send2-10", stage=1), "node send2-10: stage is 1, not 0"),
        (_set("stage0/tp0", axis="cp"), "a cp collective of ranks 0, 1 that the degrees do not have"),
        (lambda graph: graph["graph"].update(tp=4), "calls itself {'tp': 4}, not {'tp': 2}"),
        (lambda graph: graph["nodes"].append({**_node(graph, "send2-10"), "id": "b"}), "from rank 2 to rank 10 stands"),
        (
            lambda graph: graph["nodes"].append({**_node(graph, "stage0/tp0"), "id": "b"}),
            "tp collective of ranks 0, 1 s",
        ),
        (lambda graph: graph["edges"][0].update(axis="ep"), "edge device0 -> stage0/tp0: axis is 'ep', not 'tp'"),
        (_rewired("device2", "stage0/tp1", "device4", "stage0/tp1"), "joins nodes that have no rank in common"),
        (_dropped("device2", "stage0/tp1"), "no edge brings rank 2 to stage0/tp1"),
        (_dropped("send0-8", "device8"), "no edge brings rank 8 to device8"),
        (_dropped("stage0/ep0", "send0-8"), "no edge brings rank 0 to send0-8"),
        (_rewired("stage0/ep0", "send0-8", "device0", "send0-8"), "no edge takes rank 0 on from stage0/ep0"),
        (_rewired("stage1/tp0", "stage1/ep0", "device8", "stage1/ep0"), "rank 8 ends in 2 collectives"),
    ],
)
def test_what_a_graph_says_of_its_nodes_and_edges_must_be_so(change: Any, told: str) -> None:
    graph = _graph()
    own = build_dag(SMALL, TRAFFIC)
    assert check_dag(graph, SMALL, own) == []
    change(graph)
    found = check_dag(graph, SMALL, own)
    assert any(told in objection for objection in found), found


def test_what_a_graph_leaves_out_is_no_objection() -> None:
    graph = _graph()
    for node in graph["nodes"]:
        for key in ("stage", "operation", "bytes_per_step", "tp", "ep"):
            node.pop(key, None)
    assert check_dag(graph, SMALL, build_dag(SMALL, TRAFFIC)) == []


@given(degrees(), st.data())
def test_no_edge_can_be_left_out_and_no_word_changed(mesh: Layout, data: st.DataObject) -> None:
    own = build_dag(mesh, {"tp": 5, "cp": 6, "ep": 7, "etp": 8, "pp": 9})
    graph = json.loads(json.dumps(own.to_json()))
    part = data.draw(st.sampled_from([part for part in ("nodes", "edges") if graph[part]]))
    at = data.draw(st.integers(0, len(graph[part]) - 1))
    if part == "edges":
        del graph["edges"][at]
    else:
        node = graph["nodes"][at]
        key = data.draw(st.sampled_from(sorted(set(node) - {"id"})))
        node[key] = node[key] + 1 if isinstance(node[key], int) else [*node[key], 0] if key == "ranks" else "other"
    assert check_dag(graph, mesh, own)
