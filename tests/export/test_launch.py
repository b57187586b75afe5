"""A layout that is exported and read back is the same layout; what cannot be told is named."""

import json
import os
import subprocess
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from optimizer import read_problem
from optimizer.cli.main import run
from optimizer.domain.engines import engine_named
from optimizer.domain.fleet import NodeShare
from optimizer.domain.layout import Layout
from optimizer.domain.problem import Problem
from optimizer.errors import SpecError
from optimizer.export.launch import Exported, export
from optimizer.export.placement import PlacementFile, placement_file
from optimizer.export.plan import ExportPlan
from optimizer.figures.partition import cuts_of
from optimizer.figures.serving import evaluate
from optimizer.readers.document import load_text
from optimizer.readers.launch.launch import Launch
from optimizer.readers.launch.problem import pose
from optimizer.readers.launch.read import launch_from, read_launch
from optimizer.readers.read import Override, problem_in

ENGINES = ("vllm", "sglang", "trtllm", "megatron", "fsdp")
POWERS = (1, 2, 4, 8)


def _problem(model: str, phase: str = "aggregated", **more: object) -> Problem:
    data = {
        "model": model, "hardware": "h100-sxm-8", "devices": 512,
        "workload": {"phase": phase, "input_tokens": 1000, "output_tokens": 500, **more},
    }  # fmt: skip
    return problem_in(load_text(json.dumps(data)))


PROBLEMS = {
    (model, phase): _problem(model, phase, **({"mtp_tokens": 1} if model == "deepseek-v3" else {}))
    for model in ("deepseek-v3", "qwen3-235b-a22b", "llama-3.1-70b")
    for phase in ("aggregated", "prefill", "decode")
}


def _answer(problem: Problem, layout: Layout, **more: object) -> ExportPlan:
    return ExportPlan(problem, layout, evaluate(problem, layout), **more)


def _read_back(exported: Exported, engine: str, folder: Path) -> Launch:
    for name, text in exported.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    nodes = sorted(
        (name for name in exported.files if name.startswith("node-")), key=lambda name: int(name[5:].split("/")[0])
    )
    text = "\n".join(exported.files[name] for name in nodes or ["launch.sh"])
    return read_launch(text, "x", engine=engine, devices=None, folder=folder)


def _meant(engine: str, layout: Layout, problem: Problem) -> dict[str, object]:
    """What an engine can be told of a layout."""
    found = layout.model_dump(exclude={"stages", "prefill_chunk", "batch"})
    if engine not in {"megatron", "fsdp"}:
        found |= {"batch": layout.batch}
        if problem.workload.phase != "decode":
            found |= {"prefill_chunk": layout.prefill_chunk}
    if layout.pp > 1 and engine != "fsdp":
        found |= {"stages": cuts_of(problem, layout)}
    return found


@st.composite
def layouts(draw: st.DrawFn, engine: str, problem: Problem) -> Layout:
    """Layouts that an engine can run, of up to 512 devices."""
    tp, dp, pp = (draw(st.sampled_from(POWERS)) for _ in range(3))
    if engine == "trtllm" and draw(st.booleans()):
        tp = 1
    elif engine == "trtllm":
        dp = 1
    copies = draw(st.sampled_from((1, 2)))
    etp = ep = edp = 1
    if problem.model.moe is not None:
        ranks = tp * dp
        ep = ranks if draw(st.booleans()) else 1
        if engine not in {"vllm", "fsdp"}:
            ep = draw(st.sampled_from([p for p in (1, 2, 4, 8, 16, 32, 64) if ranks % p == 0]))
        etp = ranks // ep
        if engine == "fsdp":
            ep, etp = draw(st.sampled_from([p for p in (1, 2, 4, 8, 16, 32, 64) if ranks % p == 0])), 1
            edp = ranks // ep
        edp *= copies
    spread = engine in {"vllm", "sglang"} and dp > 1 and ep == tp * dp
    overlap = draw(st.sampled_from(["none", "two_batch"])) if spread else "none"
    prompt = problem.workload.input_tokens
    chunk = draw(st.integers(300, prompt if problem.workload.phase == "prefill" else 4 * prompt))
    return Layout(
        tp=tp, dp=dp * copies, pp=pp, etp=etp, ep=ep, edp=edp, batch=draw(st.integers(1, 300)), prefill_chunk=chunk,
        overlap=overlap,
    )  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_round_trip(engine: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    problem = PROBLEMS[data.draw(st.sampled_from(sorted(PROBLEMS)))]
    layout = data.draw(layouts(engine, problem))
    release = engine_named(engine)
    if not release.accepts(problem, replace(layout.shape, overlap=layout.shape.overlap and release.overlaps)):
        with pytest.raises(SpecError, match="cannot run this layout"):
            export(_answer(problem, layout), engine)
        return
    exported = export(_answer(problem, layout), engine)
    launch = _read_back(exported, engine, tmp_path_factory.mktemp("x"))
    batch = launch.operating.max_num_seqs or 1
    found = launch.layout(problem.workload, experts=problem.model.moe is not None, batch=batch)
    wanted = _meant(engine, layout, problem)
    told = found.model_dump(include=set(wanted) - {"stages"})
    if "stages" in wanted:
        told["stages"] = launch.stages
    assert told == wanted
    if engine == "vllm":
        assert launch.operating.draft_tokens == problem.workload.mtp_tokens
        assert launch.operating.max_model_len == 1500


@pytest.mark.parametrize("engine", ENGINES)
def test_map_holds_every_rank_once(engine: str) -> None:
    problem = PROBLEMS["deepseek-v3", "prefill"]
    layout = Layout(tp=1, dp=16, pp=2, ep=16, batch=8)
    ranks = json.loads(export(_answer(problem, layout), engine).files["map.json"])
    assert sorted((one["node"], one["device"]) for one in ranks) == [(n, d) for n in range(4) for d in range(8)]
    assert len({(one["dp"], one["pp"], one["ep"], one["etp"]) for one in ranks}) == 32


@pytest.mark.parametrize(("priced", "said"), [("any", 1), ("vllm", 0)])
def test_ranks_that_stand_otherwise_than_was_priced_are_a_difference(priced: str, said: int) -> None:
    problem = PROBLEMS["deepseek-v3", "decode"].changed(engine_name=priced)
    told = export(_answer(problem, Layout(tp=1, dp=16, pp=2, ep=16, batch=8)), "vllm").differences
    assert sum("dp × pp × cp × tp" in line for line in told) == said
    assert not any("ranks:" in line for line in export(_answer(problem, Layout(tp=8, pp=2, etp=8)), "vllm").differences)


def test_instances_on_nodes_of_their_own_are_read_back(tmp_path: Path) -> None:
    """Each of two instances has two nodes: together they have four."""
    layout = Layout(tp=8, pp=2, dp=2, batch=8)
    launch = _read_back(export(_answer(PROBLEMS["llama-3.1-70b", "decode"], layout), "sglang"), "sglang", tmp_path)
    assert (launch.devices, launch.nodes, launch.devices_of_node) == (32, 4, 8)


@pytest.mark.parametrize(("engine", "taken"), [("sglang", (0, *range(233, 247))), ("vllm", (0,)), ("trtllm", (0,))])
def test_no_two_servers_of_a_node_take_one_port(engine: str, taken: tuple[int, ...]) -> None:
    """SGLang's attention data parallelism takes ports from 233 above its own on, wherever other servers are."""
    layout = Layout(tp=1, dp=8, ep=2, edp=4, batch=8) if engine == "sglang" else Layout(tp=1, dp=8, edp=8, batch=8)
    commands = export(_answer(PROBLEMS["qwen3-235b-a22b", "prefill"], layout), engine, first=40).commands
    flags = [dict(pairwise(command.words)) for command in commands]
    ports = [
        int(of[name]) + more
        for of in flags
        for name, above in (("--port", taken), ("--disaggregation-bootstrap-port", (0,)))
        if name in of
        for more in above
    ]
    assert len(set(ports)) == len(ports) >= len(commands)


def test_servers_that_begin_on_one_node_meet_at_ports_of_their_own() -> None:
    problem = PROBLEMS["llama-3.1-70b", "decode"]
    places = [[NodeShare(node=n, devices=(first, first + 1)) for n in (0, 1)] for first in (0, 2)]
    for engine, flag in (("vllm", "--master-port"), ("sglang", "--dist-init-addr")):
        made = export(_answer(problem, Layout(tp=4, dp=2, batch=8)), engine, places=places)
        assert len({dict(pairwise(command.words))[flag] for command in made.commands}) == len(places)


def test_what_pods_over_several_nodes_are_not_told_is_a_difference() -> None:
    problem = PROBLEMS["llama-3.1-70b", "decode"]
    for engine, pp, said in (("vllm", 2, "network"), ("vllm", 1, ""), ("trtllm", 2, "kubernetes"), ("trtllm", 1, "")):
        made = export(_answer(problem, Layout(tp=8, pp=pp, batch=8)), engine)
        kinds = {line.partition(":")[0] for line in made.differences}
        assert kinds & {"network", "kubernetes"} == {said} - {""}
        assert ("nodes" in kinds) is (said != "kubernetes")
        assert ("IPC_LOCK" in made.files["kubernetes.yaml"]) is (said == "network")
    wide = export(_answer(PROBLEMS["deepseek-v3", "decode"], Layout(tp=1, dp=32, ep=32, batch=8)), "vllm")
    assert wide.files["kubernetes.yaml"].count("IPC_LOCK") == 2


def test_tensor_ranks_of_an_expert_are_neighbours_in_sglang_and_not_in_trtllm() -> None:
    problem = PROBLEMS["qwen3-235b-a22b", "decode"]
    layout = Layout(tp=8, etp=2, ep=4, batch=8)
    groups = {}
    for engine in ("sglang", "trtllm"):
        ranks = json.loads(export(_answer(problem, layout), engine).files["map.json"])
        groups[engine] = [one["rank"] for one in ranks if one["etp"] == 0]
    assert groups == {"sglang": [0, 2, 4, 6], "trtllm": [0, 1, 2, 3]}


def test_second_node_of_a_wide_deployment_starts_where_the_first_ends() -> None:
    problem = PROBLEMS["deepseek-v3", "decode"]
    made = export(_answer(problem, Layout(tp=2, dp=8, ep=16, batch=8)), "vllm")
    first, second = made.commands
    assert "--headless" not in first.words
    flags = dict(pairwise(second.words))
    assert (flags["--data-parallel-size"], flags["--data-parallel-size-local"]) == ("8", "4")
    assert flags["--data-parallel-start-rank"] == "4"
    assert flags["--all2all-backend"] == "deepep_low_latency"


@pytest.mark.parametrize("phase", ["aggregated", "prefill", "decode"])
def test_two_batch_overlap_is_told_with_the_backend_that_it_needs(phase: str) -> None:
    problem = PROBLEMS["deepseek-v3", phase]
    answer = _answer(problem, Layout(tp=2, dp=8, ep=16, batch=8, overlap="two_batch"))
    told = export(answer, "vllm").plan.arguments
    assert "--enable-dbo" in told
    assert told["--all2all-backend"] == ("deepep_low_latency" if phase == "decode" else "deepep_high_throughput")
    assert told["--dbo-decode-token-threshold"] == told["--dbo-prefill-token-threshold"] == "2"
    told = export(answer, "sglang").plan.arguments
    assert "--enable-two-batch-overlap" in told
    assert told["--moe-a2a-backend"] == "deepep"
    whole = _answer(problem, Layout(tp=1, dp=16, ep=16, batch=8, overlap="two_batch"))
    assert any("runs a step whole" in line for line in export(whole, "trtllm").differences)


def test_a_chunk_is_whole_pages_of_sglang(tmp_path: Path) -> None:
    """SGLang does not start with others: DeepSeek's sparse attention has pages of 64 tokens."""
    problem = _problem("deepseek-v3.2")
    layout = Layout(tp=1, dp=8, ep=8, batch=8, prefill_chunk=160)
    exported = export(_answer(problem, layout), "sglang")
    assert exported.plan.arguments["--chunked-prefill-size"] == str(8 * 192)
    assert any("160 of a rank were priced" in line and "pages of 64: 192" in line for line in exported.differences)
    launch = _read_back(exported, "sglang", tmp_path)
    pose(
        launch, [Override("--hardware", ("hardware",), "h200-sxm-8"), Override("--model", ("model",), "deepseek-v3.2")]
    )
    whole = export(_answer(problem, layout.model_copy(update={"prefill_chunk": 192})), "sglang")
    assert whole.plan.arguments["--chunked-prefill-size"] == str(8 * 192)
    assert not any("were priced; SGLang takes" in line for line in whole.differences)
    earlier = export(_answer(problem, layout), "sglang", "0.5.2")
    assert earlier.plan.arguments["--chunked-prefill-size"] == str(8 * 160)


@pytest.mark.parametrize(
    ("engine", "model", "layout", "says"),
    [
        ("vllm", "deepseek-v3", {"tp": 32, "ep": 32}, "rule fp8_blocks"),
        ("sglang", "deepseek-v3", {"tp": 8, "ep": 8, "pp": 2}, "rule pipelined_drafts"),
        ("trtllm", "qwen3-235b-a22b", {"dp": 48, "ep": 48}, "rule even_experts"),
        ("megatron", "qwen3-235b-a22b", {"dp": 48, "ep": 48}, "rule even_experts"),
    ],
)
def test_what_the_rules_of_the_engine_refuse_is_not_written(
    engine: str, model: str, layout: dict[str, int], says: str
) -> None:
    problem = PROBLEMS[model, "aggregated"]
    with pytest.raises(SpecError, match=says):
        export(_answer(problem, Layout(**{"tp": 1, "batch": 8, "prefill_chunk": 1000} | layout)), engine)


def test_static_placement_is_a_difference_for_vllm_and_a_file_for_sglang() -> None:
    problem = PROBLEMS["deepseek-v3", "decode"]
    layout = Layout(tp=1, dp=32, ep=32, batch=8, redundant_slots=32)
    file = PlacementFile("expert_location.json", '{"physical_to_logical_map": []}\n', "")
    answer = _answer(problem, layout, placed=True, placement_file=file)
    told = export(replace(answer, placement_file=None), "vllm")
    assert any("takes no static one" in line for line in told.differences)
    assert "expert placement" in told.files["differences.md"]
    assert json.loads(told.plan.arguments["--eplb-config"]) == {"num_redundant_experts": 32}
    by_file = export(answer, "sglang")
    assert by_file.plan.arguments["--init-expert-location"] == "expert_location.json"
    assert not any("takes no static one" in line for line in by_file.differences)
    assert export(answer, "trtllm").plan.yaml["moe_config"]["load_balancer"] == "expert_location.json"


@pytest.mark.parametrize(
    ("engine", "layout", "why"),
    [
        ("vllm", Layout(tp=8, ep=4, etp=2), "EP"),
        ("trtllm", Layout(tp=2, dp=4, ep=8), "all or nothing"),
        ("fsdp", Layout(tp=8, ep=4, etp=2), "divided within"),
    ],
)
def test_layout_that_an_engine_cannot_run_is_refused(engine: str, layout: Layout, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        export(_answer(PROBLEMS["qwen3-235b-a22b", "decode"], layout), engine)


def test_earlier_version_is_told_by_its_own_flags() -> None:
    answer = _answer(PROBLEMS["deepseek-v3", "decode"], Layout(tp=1, dp=16, ep=16, batch=8))
    told = export(answer, "sglang", "0.5.2").plan.arguments
    assert told["--dp-size"] == "16"
    assert "--enable-dp-attention" in told
    assert "--attn-dp-size" not in told


@pytest.mark.parametrize(
    ("solved_for", "told", "version", "image", "reckoned"),
    [
        ("sglang@0.5.6", "sglang", "0.5.6", "v0.5.6", ""),
        ("sglang@0.5.6", "sglang@0.5.23", "0.5.23", "v0.5.23", "reckoned for sglang 0.5.6"),
        ("sglang@0.5.20", "sglang@0.5.23", "0.5.23", "v0.5.23", ""),
        ("vllm@0.10", "vllm", "0.10", "v0.10.0", ""),
        ("vllm@0.10", "sglang", "0.5.23", "v0.5.23", ""),
        ("sglang", "sglang", "0.5.23", "v0.5.23", ""),
        ("any", "vllm", "0.33.0", "v0.33.0", ""),
    ],
)
def test_without_a_version_the_one_that_was_solved_for_is_told(
    solved_for: str, told: str, version: str, image: str, reckoned: str
) -> None:
    problem = PROBLEMS["deepseek-v3", "decode"].changed(engine_name=solved_for)
    engine, _, stated = told.partition("@")
    made = export(_answer(problem, Layout(tp=1, dp=16, ep=16, batch=8)), engine, stated or None)
    assert made.plan.version == version
    assert f"{image}\n" in made.files["kubernetes.yaml"]
    said = [line for line in made.differences if "reckoned" in line]
    assert len(said) == bool(reckoned)
    assert all(reckoned in line for line in said)


def test_the_pool_of_windows_is_told_and_read_back(tmp_path: Path) -> None:
    problem = _problem("gpt-oss-120b", "decode")
    problem = problem.changed(limits=problem.limits.model_copy(update={"window_share": Fraction(1, 4)}))
    made = export(_answer(problem, Layout(tp=4, etp=4, batch=8)), "sglang")
    assert made.plan.arguments["--swa-full-tokens-ratio"] == "0.25"
    assert _read_back(made, "sglang", tmp_path).operating.window_share == Fraction(1, 4)


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm"])
@pytest.mark.parametrize("layout", [Layout(tp=8, pp=2, batch=4), Layout(tp=4, batch=4), Layout(tp=1, dp=4, batch=4)])
def test_kubernetes_reads_back(engine: str, layout: Layout, tmp_path: Path) -> None:
    problem = PROBLEMS["llama-3.1-70b", "aggregated"]
    files = export(_answer(problem, layout), engine).files
    manifest = files["kubernetes.yaml"]
    if manifest.startswith("#"):
        assert layout.devices > 8
        return
    launch = read_launch(manifest, "k.yaml", folder=tmp_path)
    assert launch.degrees["tp"] * launch.degrees["pp"] == layout.tp * layout.pp
    assert launch.degrees["dp"] == layout.dp


@pytest.mark.parametrize(
    ("engine", "placed", "named"),
    [
        ("vllm", None, []),
        ("sglang", None, []),
        ("trtllm", None, ["trtllm.yaml"]),
        ("sglang", "expert_location.json", ["expert_location.json"]),
        ("trtllm", "moe_load_balancer.yaml", ["moe_load_balancer.yaml", "trtllm.yaml"]),
    ],
)
@pytest.mark.parametrize("devices", [8, 16, 32])
def test_a_pod_sees_every_file_that_its_command_names(
    engine: str, placed: str | None, named: list[str], devices: int
) -> None:
    problem, layout = PROBLEMS["deepseek-v3", "decode"], Layout(tp=1, dp=devices, ep=devices, batch=8)
    file = None if placed is None else PlacementFile(placed, "num_slots: 256\n", "")
    files = export(_answer(problem, layout, placed=placed is not None, placement_file=file), engine).files
    assert set(named) <= set(files)
    documents = [document for document in YAML(typ="safe").load_all(files["kubernetes.yaml"]) if document]
    if not documents:
        assert engine == "trtllm"
        assert devices > 8
        return
    template = documents[-1]["spec"]["leaderWorkerTemplate"]
    pods = [template[role]["spec"] for role in ("leaderTemplate", "workerTemplate") if role in template]
    assert len(pods) == min(2, devices // 8)
    held = documents[0]["data"] if documents[0]["kind"] == "ConfigMap" else {}
    assert sorted(held) == named
    for pod in pods:
        (container,) = pod["containers"]
        volumes = {volume.pop("name"): volume for volume in pod["volumes"]}
        mounted = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        files_of_it = {"/launch": {"configMap": {"name": documents[0]["metadata"]["name"]}}} if named else {}
        assert mounted == files_of_it | {"/dev/shm": {"emptyDir": {"medium": "Memory"}}}  # noqa: S108 - of the pod
        # vLLM hears every address; the others only their own host unless they are told
        assert ("--host 0.0.0.0" in " ".join(container["args"])) == (engine != "vllm")
        told = " ".join((*container["args"], *held.values()))
        assert all(told.count(name) == told.count(f"/launch/{name}") > 0 for name in named)


@pytest.mark.parametrize("read", ["", "kubernetes.yaml"])
def test_redundant_experts_and_their_places_read_back(read: str, tmp_path: Path) -> None:
    problem, layout = PROBLEMS["deepseek-v3", "decode"], Layout(tp=1, dp=8, ep=8, batch=8, redundant_slots=32)
    devices = [[(device * 36 + slot) % 256 for slot in range(36)] for device in range(8)]
    file = placement_file("trtllm", dict.fromkeys(problem.model.moe_layers, devices), problem.model.layer_count)
    files = export(_answer(problem, layout, placed=True, placement_file=file), "trtllm").files
    # a manifest goes to the cluster alone
    for name in [read] if read else files:
        (tmp_path / name).write_text(files[name])
    posed = pose(launch_from(str(tmp_path / read)), [Override("--hardware", ("hardware",), "h200-sxm-8")])
    ignored = [item.flag for item in posed.launch.ignored if not item.flag.startswith("cache_transceiver_config.")]
    assert ignored == ["--host", "--port"]
    assert posed.launch.operating.redundant_slots == 32
    assert posed.placement is not None
    assert [layer["devices"] for layer in posed.placement["layers"]] == [devices] * problem.model.moe_layer_count


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm"])
def test_the_script_of_a_node_reads_back(engine: str, tmp_path: Path) -> None:
    layout = Layout(tp=8, pp=2, batch=4)
    for name, text in export(_answer(PROBLEMS["llama-3.1-70b", "aggregated"], layout), engine).files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    degrees = launch_from(str(tmp_path / "node-0" / "launch.sh")).degrees
    assert (degrees["tp"], degrees["pp"], degrees["dp"]) == (8, 2, 1)


@pytest.mark.parametrize("devices", [4, 32])
def test_scripts_are_valid_shell(devices: int, tmp_path: Path) -> None:
    problem = PROBLEMS["deepseek-v3", "decode"]
    made = export(_answer(problem, Layout(tp=1, dp=devices, ep=devices, batch=4)), "vllm")
    for name, text in made.files.items():
        if name.endswith(".sh"):
            subprocess.run(["bash", "-n"], input=text.encode(), check=True)  # noqa: S607 - any bash will do
    stub = tmp_path / "vllm"
    stub.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)
    for name, text in made.files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HEAD_ADDRESS": "10.0.0.1"}
    ran = subprocess.run(
        ["bash", str(tmp_path / "launch.sh"), "0"],  # noqa: S607 - any bash will do
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = [word if "HEAD_ADDRESS" not in word else "10.0.0.1" for word in made.commands[0].words[1:]]
    assert ran.stdout.split("\n")[:-1] == wanted


@pytest.mark.parametrize(("model", "strategy"), [("deepseek-v3", "zigzag"), ("glm-5.1", "interleave")])
def test_prompts_are_divided_by_what_sglang_divides_them_with(model: str, strategy: str, tmp_path: Path) -> None:
    made = export(_answer(_problem(model), Layout(tp=1, cp=8, ep=8, batch=8)), "sglang")
    told = made.plan.arguments
    assert "--enable-prefill-cp" in told
    assert [told.get(name) for name in ("--attn-cp-size", "--cp-strategy")] == ["8", strategy]
    assert _read_back(made, "sglang", tmp_path).degrees["cp"] == 8


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_decode_context_parallelism_reads_back(engine: str, tmp_path: Path) -> None:
    problem = _problem("deepseek-v3", "decode", decode_context_parallel=4)
    made = export(_answer(problem, Layout(tp=8, ep=8, batch=8)), engine)
    assert _read_back(made, engine, tmp_path).dcp == 4


def test_windows_that_are_held_whole_read_back(tmp_path: Path) -> None:
    problem = _problem("gpt-oss-120b", "decode", hybrid_cache=False)
    made = export(_answer(problem, Layout(tp=8, etp=8, batch=8)), "vllm")
    assert _read_back(made, "vllm", tmp_path).operating.hybrid_cache is False


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"stages": []}, "cannot be launched"),
        ({"stages": [{"first_layer": 0, "layers": 5}]}, "cannot be launched"),
        ({"dp": 2_000_000, "edp": 2_000_000}, "cannot be launched"),
    ],
)
def test_a_layout_that_no_devices_hold_is_not_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], says: str
) -> None:
    document = json.loads((Path(__file__).parents[1] / "corpora/accepted/optimal.json").read_text())
    del document["layout"]["devices"], document["layout"]["replicas"]
    document["layout"] |= change
    file = tmp_path / "layout.json"
    file.write_text(json.dumps({"problem": document["problem"], "layout": document["layout"]}))
    assert run(["export", str(file), "--engine", "vllm", "--out", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_placement_of_absurdly_many_layers_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads((Path(__file__).parents[1] / "corpora/accepted/placed.json").read_text())
    file = tmp_path / "placed.json"
    file.write_text(json.dumps(document | {"model_layers": 10**9}))
    assert run(["export", str(file), "--engine", "sglang", "--out", str(tmp_path / "out")]) == 2
    assert "more than 10000" in capsys.readouterr().err


def test_the_engine_admits_no_longer_sequence_than_the_model_holds():
    """A bucket of lengths is priced at its longest prompt with its longest output, which no one request has."""
    problem = PROBLEMS["llama-3.1-70b", "aggregated"]
    holds = problem.model.max_context
    longer = problem.workload.model_copy(update={"input_tokens": holds - 10, "output_tokens": 20})
    answer = _answer(problem, Layout(tp=4, batch=8, prefill_chunk=500))
    assert answer.longest == problem.workload.input_tokens + problem.workload.output_tokens
    assert replace(answer, problem=problem.model_copy(update={"workload": longer})).longest == holds


def test_states_of_prefixes_take_no_room_of_requests(tmp_path: Path) -> None:
    problem = _problem("qwen3.6-27b", "decode")
    made = export(_answer(problem, Layout(tp=4, batch=8)), "sglang")
    assert _read_back(made, "sglang", tmp_path).operating.prefix_caching is False
    for other, engine in ((problem, "vllm"), (_problem("llama-3.1-70b"), "sglang")):
        assert "--disable-radix-cache" not in export(_answer(other, Layout(tp=4, batch=8)), engine).plan.arguments


@pytest.mark.parametrize(
    ("hardware", "resource", "image", "differences"),
    [
        ("h200-sxm-8", "nvidia.com/gpu", "vllm/vllm-openai:v", 0),
        ("mi300x-8", "amd.com/gpu", "vllm/vllm-openai-rocm:v", 0),
        ("gaudi3-8", "habana.ai/gaudi", "vllm/vllm-openai:v", 1),
    ],
)
def test_a_pod_asks_for_devices_of_their_vendor(
    hardware: str, resource: str, image: str, differences: int, tmp_path: Path
) -> None:
    problem = read_problem(model="llama-3.1-70b", hardware=hardware, devices=8, isl=1000, osl=100, engine="vllm")
    made = export(_answer(problem, Layout(tp=8, batch=8)), "vllm")
    manifest = made.files["kubernetes.yaml"]
    (container,) = YAML(typ="safe").load(manifest)["spec"]["leaderWorkerTemplate"]["workerTemplate"]["spec"][
        "containers"
    ]
    assert container["resources"] == {"limits": {resource: "8"}}
    assert container["image"].startswith(image)
    assert sum(line.startswith("image: ") for line in made.differences) == differences
    (tmp_path / "kubernetes.yaml").write_text(manifest)
    found = launch_from(str(tmp_path / "kubernetes.yaml"))
    assert found.devices == 8
