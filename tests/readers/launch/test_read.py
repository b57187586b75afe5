"""Launch commands that people write: what they mean, and where they are wrong."""

import re
from pathlib import Path
from textwrap import indent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from optimizer.errors import SpecError
from optimizer.readers import catalog, hub
from optimizer.readers.launch.flags import ENGINES, table
from optimizer.readers.launch.problem import pose
from optimizer.readers.launch.read import launch_from, read_launch
from optimizer.readers.read import Override

HERE = Path(__file__).parent
COMMANDS = YAML(typ="safe").load((HERE / "commands.yaml").read_text())
MALFORMED = YAML(typ="safe").load((HERE / "malformed.yaml").read_text())
ONES = dict.fromkeys(("tp", "cp", "dp", "pp", "etp", "ep", "edp"), 1)


def _text(case: dict) -> str:
    return " ".join(case["text"].split()) if case.get("fold") else case["text"]


@pytest.mark.parametrize("case", COMMANDS, ids=lambda case: case["source"])
def test_means(case: dict) -> None:
    launch = read_launch(_text(case), "x")
    assert launch.engine == case["engine"]
    assert dict(launch.degrees) == ONES | case["degrees"]
    for name, value in case.get("point", {}).items():
        found = getattr(launch.operating, name)
        assert (list(found) if isinstance(found, tuple) else found) == value
    for name in ("model", "nodes", "dcp"):
        if name in case:
            assert getattr(launch, name) == case[name]
    if "version" in case:
        assert launch.version == case["version"]
    assert launch.stages == (tuple(case["stages"]) if "stages" in case else None)
    assert set(case.get("ignored", ())) <= {item.flag for item in launch.ignored}


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case["text"][:60])
def test_is_located(case: dict) -> None:
    with pytest.raises(SpecError) as caught:
        read_launch(case["text"], "x")
    fault = caught.value.faults[0]
    assert case["says"] in fault.message
    assert fault.path == "x"
    if "at" in case:
        assert [fault.line, fault.column] == case["at"]
    assert fault.field == case.get("field", fault.field)
    assert fault.suggestion == case.get("suggests", fault.suggestion)


def test_every_place_of_a_manifest_points_into_it() -> None:
    text = next(case["text"] for case in COMMANDS if "llm-d" in case["source"])
    broken = text.replace("--enable-eplb", "--enable-elpb")
    with pytest.raises(SpecError) as caught:
        read_launch(broken, "lws.yaml")
    fault = caught.value.faults[0]
    assert broken.split("\n")[fault.line - 1][fault.column - 1 :].startswith("--enable-elpb")
    assert fault.suggestion == "--enable-eplb"


def test_version_that_is_named_outranks_the_image() -> None:
    text = "docker run vllm/vllm-openai:v0.30.0 --model m --num-scheduler-steps 8"
    with pytest.raises(SpecError, match=r"which 0\.30\.0 does not have"):
        read_launch(text, "x")
    assert read_launch(text, "x", engine="vllm@0.8.5").version == "0.8.5"


def test_bare_arguments_need_an_engine() -> None:
    with pytest.raises(SpecError, match="name the engine"):
        read_launch("--model m --tensor-parallel-size 8", "x")
    assert read_launch("--model m --tensor-parallel-size 8", "x", engine="vllm").degrees["tp"] == 8


def test_servers_on_several_ports_are_replicas() -> None:
    text = "\n".join(f"vllm serve m -tp 4 --port {port} &" for port in (8000, 8001))
    launch = read_launch(text, "x")
    assert (launch.degrees["dp"], launch.degrees["edp"], launch.devices) == (2, 2, 8)


def test_markdown_is_read_by_its_blocks() -> None:
    text = "Don't panic.\n\n```bash\nvllm serve m \\\n  -tp 2 --max-model-lem 4\n```\n"
    with pytest.raises(SpecError) as caught:
        read_launch(text, "README.md")
    assert (caught.value.faults[0].line, caught.value.faults[0].column) == (5, 9)


def test_a_variable_cannot_grow_without_end() -> None:
    text = "A=aaaaaaaaaaaaaaaa\n" + "A=$A$A$A$A$A$A$A$A\n" * 12 + "vllm serve $A"
    with pytest.raises(SpecError, match="grows beyond"):
        read_launch(text, "x")


POD = """kind: Pod
spec:
  containers:
  - name: server
    image: vllm/vllm-openai:v0.30.0
    args: [--model, m, --tensor-parallel-size, 8]
    resources: {limits: {nvidia.com/gpu: 4}}
"""
COMPOSE = """services:
  server:
    image: vllm/vllm-openai:v0.30.0
    command: --model m --tensor-parallel-size 4
    deploy:
      resources:
        reservations:
          devices:
          - device_ids: ["0", "1"]
"""
FEWER = "World size ({}) is larger than the number of available GPUs ({}) in this node"


DEPLOYMENT = """kind: Deployment
spec:
  replicas: 2
  template:
    spec:
      containers:
      - name: server
        image: vllm/vllm-openai:v0.30.0
        args: [--model, m, --tensor-parallel-size, 4]
        resources: {limits: {amd.com/gpu: 4}}
"""
GROUPS = """kind: LeaderWorkerSet
spec:
  replicas: 3
  leaderWorkerTemplate:
    size: 2
    leaderTemplate: {spec: {containers: [{name: a, image: vllm/vllm-openai:v0.30.0, args: [
      --model, m, -tp, 8, -pp, 2, --nnodes, 2, --node-rank, 0, --master-addr, x]}]}}
    workerTemplate: {spec: {containers: [{name: a, image: vllm/vllm-openai:v0.30.0, args: [
      --model, m, -tp, 8, -pp, 2, --nnodes, 2, --node-rank, 1, --master-addr, x, --headless]}]}}
"""


@pytest.mark.parametrize(
    ("text", "devices", "nodes"),
    [
        (DEPLOYMENT, 8, None),
        (DEPLOYMENT.replace("replicas: 2", "replicas: 0"), 4, None),
        (DEPLOYMENT + "---\n" + DEPLOYMENT.replace("replicas: 2", "replicas: 3"), 20, None),
        (GROUPS, 48, 6),
        (COMPOSE.replace("size 4", "size 2").replace("      resources", "      replicas: 3\n      resources"), 6, None),
        ("for i in 0 1 2 3; do CUDA_VISIBLE_DEVICES=$i vllm serve m --port 800$i & done; wait", 4, None),
        ("for i in 0 1; do CUDA_VISIBLE_DEVICES=$((2*i)),$((2*i+1)) vllm serve m -tp 2 & done", 4, None),
        ("for i in 0 1; do vllm serve m -tp 2 --port 8000; done", 2, None),
    ],
)
def test_replicas_that_are_started_are_counted(text: str, devices: int, nodes: int | None) -> None:
    launch = read_launch(text, "x")
    assert (launch.devices, launch.nodes) == (devices, nodes)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (POD, "nvidia.com/gpu"),
        (DEPLOYMENT.replace("size, 4", "size, 8"), "amd.com/gpu"),
        (COMPOSE, "device_ids"),
        (COMPOSE.replace('device_ids: ["0", "1"]', "count: 2"), "count"),
    ],
)
def test_too_few_devices_are_named_as_the_text_does(text: str, field: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_launch(text, "x")
    assert caught.value.faults[0].field == field


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (POD, (7, 42), FEWER.format(8, 4)),
        (COMPOSE, (9, 25), FEWER.format(4, 2)),
        ("CUDA_VISIBLE_DEVICES=0,1 vllm serve m -tp 8", (1, 22), FEWER.format(8, 2)),
        ("docker run --gpus 2 lmsysorg/sglang python -m sglang.launch_server --model-path m --tp 4", (1, 19),
         FEWER.format(4, 2)),
        ("vllm serve m --hf-overrides '{\"rope'", (1, 29), "not valid JSON"),
        ("model: m\ntensor_parallel_size: 8\nenable_attention_dp: maybe\n", (3, 22), "true or false is wanted"),
        ("[parallelism\ntensor_parallel_degree = 8\n", (1, 13), "invalid TOML"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_or_is_cut_off_is_located(text: str, place: tuple[int, int], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_launch(text, "x")
    fault = caught.value.faults[0]
    assert said in fault.message
    assert (fault.line, fault.column) == place


def test_ranks_of_a_group_of_pods_are_shared_out() -> None:
    group = f"kind: LeaderWorkerSet\nleaderWorkerTemplate:\n  size: 2\n  leaderTemplate:\n{indent(POD, '    ')}"
    assert read_launch(group, "x").devices == 8
    with pytest.raises(SpecError, match=re.escape(FEWER.format(8, 4))):
        read_launch(group.replace("size: 2", "size: 1"), "x")


@pytest.mark.parametrize(
    "text",
    [
        POD.replace("4}", "8}"),
        COMPOSE.replace('["0", "1"]', '["0", "1", "2", "3"]'),
        "docker run --gpus all vllm/vllm-openai:v0.30.0 --model m --tensor-parallel-size 8",
        "CUDA_VISIBLE_DEVICES=0,1,2,3 vllm serve m -tp 8 --distributed-executor-backend ray",
        "CUDA_VISIBLE_DEVICES=0,1,2,3 vllm serve m -tp 8 --nnodes 2 --node-rank 0 --master-addr head",
        "vllm serve m --chat-template '{{ x }}'",
    ],
)
def test_what_does_not_is_read(text: str) -> None:
    assert read_launch(text, "x").devices in {1, 4, 8}


def test_a_word_that_is_all_of_its_command_is_not_read_again_and_again() -> None:
    with pytest.raises(SpecError):
        read_launch("<model>```tensor_parallel_size: 4\nvllm serve m\n<model>\\\n EOF ```\n", "x")


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("deepseek-ai/DeepSeek-V3-0324", ("deepseek-v3", None)),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", ("llama-3.3-70b", None)),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", ("qwen2.5-14b", None)),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", ("llama-4-scout", None)),
        ("RedHatAI/Llama-4-Scout-17B-16E-Instruct-quantized.w4a16", ("llama-4-scout", "int4")),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8", ("qwen3-30b-a3b", "fp8")),
        ("Qwen/Qwen3-Coder-480B-A35B-Instruct", ("qwen3-coder-480b-a35b", None)),
        ("Qwen/QwQ-32B", ("qwen2.5-32b", None)),
        ("meta-llama/Meta-Llama-3.1-405B-Instruct-FP8", ("llama-3.1-405b", "fp8")),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", ("qwen3-235b-a22b-fp8", None)),
        ("Qwen/Qwen2.5-72B-Instruct-AWQ", ("qwen2.5-72b", "int4")),
        ("Qwen/Qwen2.5-32B-Instruct-GPTQ-Int8", ("qwen2.5-32b", "int8_g128")),
        ("Intel/Qwen3-235B-A22B-Instruct-2507-int4-AutoRound", ("qwen3-235b-a22b", "int4")),
        ("RedHatAI/Qwen3-32B-FP8-block", ("qwen3-32b", "fp8_block")),
        ("/nvme4/models/DeepSeek-R1-0528", ("deepseek-r1", None)),
        ("openai/gpt-oss-120b", ("gpt-oss-120b", None)),
        ("mistralai/Mistral-Nemo-Instruct-2407", ("mistral-nemo-12b", None)),
        ("RedHatAI/Mistral-Large-Instruct-2407-FP8", ("mistral-large-2", "fp8")),
        ("mistralai/Mistral-Large-3-675B-Instruct-2512", None),
        ("nvidia/Llama-3_3-Nemotron-Super-49B-v1_5", ("nemotron-super-49b", None)),
        ("MiniMaxAI/MiniMax-M1-80k", ("minimax-m1", None)),
        ("baidu/ERNIE-4.5-300B-A47B-Base-PT", ("ernie-4.5-300b-a47b", None)),
        ("XiaomiMiMo/MiMo-7B-RL-Zero", ("mimo-7b", None)),
        ("nvidia/Nemotron-H-56B-Base-8K", ("nemotron-h-56b", None)),
        ("nvidia/Nemotron-H-47B-Base-8K", None),
        ("bigscience/bloomz", ("bloom-176b", None)),
        ("bigscience/bloom-7b1", None),
        ("allenai/OLMo-2-0325-32B-Instruct", ("olmo-2-32b", None)),
        ("allenai/OLMo-2-1124-7B-Instruct", None),
        ("tencent/Tencent-Hunyuan-Large", ("hunyuan-large", None)),
        ("deepseek-ai/DeepSeek-R1-Zero", ("deepseek-r1", None)),
        ("google/gemma-3-27b-pt", ("gemma-3-27b", None)),
        ("nobody/has-heard-of-it", None),
    ],
)
def test_names_of_the_hub(name: str, entry: tuple | None) -> None:
    assert hub.entry_of(name, catalog.names("models")) == entry


@pytest.mark.parametrize("engine", ENGINES)
def test_tables_are_consistent(engine: str) -> None:
    flags = table(engine)
    keys = [flags.versions.index(version) for version in flags.versions]
    assert keys == sorted(keys)
    for flag in flags.flags:
        assert flag.names
        assert flag.takes in {"none", "value", "values", "optional"}
        assert {flag.since, flag.until} - {None} <= set(flags.versions)
        assert flag.until is None or flag.until != flags.newest


PIECES = [
    "vllm serve m", "-tp", "8", "--enable-expert-parallel", "\\\n", "\n", "'", '"', "$X", "${X:-4}", "$((2*4))",
    "<<EOF", "EOF", "#", "--eplb-config", '{"num_redundant_experts": 2}', "--max-model-len", "32k", "&&", "|", "(",
    ")", "A=(", "python -m sglang.launch_server", "trtllm-serve m", "- image: vllm/vllm-openai", "kind: Pod", "args:",
    "<model>", "```", "FROM vllm/vllm-openai", "CMD [", "tensor_parallel_size: 4", "--", "=", "[training]",
]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from([" ", "\n", ""])), max_size=14))
def test_no_text_is_a_bug(pieces: list[tuple[str, str]]) -> None:
    text = "".join(piece + after for piece, after in pieces)
    try:
        read_launch(text, "x")
    except SpecError as error:
        assert error.faults


def test_a_word_that_reads_as_itself_is_not_read_for_ever() -> None:
    with pytest.raises(SpecError):
        read_launch("-tp )8 ${X:-4} ```$XA=( vllm serve m ```args:= = ", "x")


SERVED = {
    "vllm": "vllm serve Qwen/Qwen3-30B-A3B",
    "sglang": "python -m sglang.launch_server --model-path Qwen/Qwen3-30B-A3B",
}


@pytest.mark.parametrize(
    ("engine", "flags", "place", "said"),
    [
        ("vllm", "-tp 16 --nnodes 1", (1, 47), "World size (16) is larger than the number of available GPUs (8)"),
        ("vllm", "-tp 8 -pp 4 --nnodes 2", (1, 52), "stand on 4 nodes"),
        ("vllm", "-dp 16 --data-parallel-size-local 16", (1, 65), "stand on 2 nodes"),
        ("sglang", "--tp 16 --nnodes 1", (1, 81), "16 ranks a node take 16 devices, where it has 8"),
        ("vllm", "-tp 16 --nnodes 2", None, ""),
        ("vllm", "-tp 16 --distributed-executor-backend ray", None, "2 nodes of 8 devices (h100-sxm-8): ranks side by"),
        ("vllm", "-dp 16 --data-parallel-rank 3", None, "2 nodes of 8 devices (h100-sxm-8): ranks side by side"),
        ("vllm", "-tp 16", None, "2 nodes of 8 devices (h100-sxm-8): vllm is told of them by --nnodes 2"),
        ("sglang", "--tp 16", None, "sglang is told of them by --nnodes 2"),
    ],
)
def test_ranks_of_a_node_have_a_device_each(engine: str, flags: str, place: tuple[int, int] | None, said: str) -> None:
    given = [Override("--hardware", ("hardware",), "h100-sxm-8")]
    launch = read_launch(f"{SERVED[engine]} {flags}", "it")
    if place is None:
        notes = [note for note in pose(launch, given).assumed if "nodes of" in note]
        assert len(notes) == bool(said)
        assert said in "".join(notes)
        return
    with pytest.raises(SpecError) as raised:
        pose(launch, given)
    (fault,) = raised.value.faults
    assert said in fault.message
    assert (fault.line, fault.column) == place


TRTLLM = "trtllm-serve Qwen/Qwen3-30B-A3B"


@pytest.mark.parametrize(
    ("command", "devices", "sizes"),
    [
        (f"{SERVED['vllm']} -tp 2", 8, [8]),
        (f"{SERVED['vllm']} -tp 2 --nnodes 1", 8, [8]),
        (f"{SERVED['vllm']} -tp 2 --nnodes 2", 1, []),
        (f"{SERVED['vllm']} -tp 16 --nnodes 4", 4, [4]),
        (f"{SERVED['vllm']} -tp 4 -pp 2 --nnodes 4", 2, [2]),
        (f"{SERVED['vllm']} -dp 8 --data-parallel-size-local 2", 2, [2]),
        (f"{SERVED['sglang']} --tp 4 --nnodes 4", 1, []),
        (f"{SERVED['sglang']} --tp 2 --pp-size 2 --nnodes 2", 2, [2]),
        (f"{TRTLLM} --tp_size 4 --gpus_per_node 2", 2, [2]),
        (f"{TRTLLM} --tp_size 4 --gpus_per_node 8", 8, [8]),
        (f"mpirun -n 4 --npernode 1 trtllm-llmapi-launch {TRTLLM} --tp_size 4", 1, []),
        (f"mpirun -n 8 --map-by ppr:4:node trtllm-llmapi-launch {TRTLLM} --tp_size 4 --pp_size 2", 4, [4]),
        (f"srun -N 2 -n 8 --mpi=pmix trtllm-llmapi-launch {TRTLLM} --tp_size 8", 4, [4]),
    ],
)
def test_groups_lie_on_the_nodes_that_a_command_says(command: str, devices: int, sizes: list[int]) -> None:
    hardware = pose(read_launch(command, "it"), [Override("--hardware", ("hardware",), "h100-sxm-8")]).problem.hardware
    assert hardware.devices_per_node == devices
    assert [tier.size for tier in hardware.tiers] == [*sizes, None]


@pytest.mark.parametrize(
    ("before", "flags", "said"),
    [
        ("", "--tp_size 16 --gpus_per_node 16", "16 ranks a node take 16 devices, where it has 8"),
        ("mpirun -n 16 --npernode 16 ", "--tp_size 16", "16 ranks stand on 2 nodes"),
        ("mpirun -n 4 --npernode 2 ", "--tp_size 4 --gpus_per_node 1", "starts 2 ranks on a node, where gpus_per_node"),
    ],
)
def test_ranks_that_mpi_starts_have_a_device_each(before: str, flags: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        pose(read_launch(f"{before}{TRTLLM} {flags}", "it"), [Override("--hardware", ("hardware",), "h100-sxm-8")])


def test_a_value_that_the_problem_refuses_is_named_by_its_flag() -> None:
    launch = read_launch(f"{SERVED['sglang']} --context-length 99999999", "it")
    with pytest.raises(SpecError) as raised:
        pose(launch, [Override("--hardware", ("hardware",), "h100-sxm-8")])
    assert raised.value.faults[0].field == "--context-length"


@pytest.mark.parametrize("what", ["", "launch.sh", "node-0/launch.sh", "node-1/launch.sh"])
def test_a_folder_of_nodes_is_one_launch(tmp_path: Path, what: str) -> None:
    """As `export` writes it: a script for each node, and one that starts the part of the node it is on."""
    (tmp_path / "launch.sh").write_text(
        '#!/bin/bash\nexec bash "$(dirname "$0")/node-${1:-${NODE_RANK:?the number of this node}}/launch.sh"\n'
    )
    for node in range(2):
        script = tmp_path / f"node-{node}" / "launch.sh"
        script.parent.mkdir()
        start = "" if node == 0 else " --data-parallel-start-rank 8 --headless"
        command = f"{SERVED['vllm']} -dp 16 -ep --data-parallel-size-local 8{start}"
        script.write_text(f'cd "$(dirname "$0")/.."\n{command}\n')
    launch = launch_from(str(tmp_path / what))
    assert (launch.devices, launch.degrees["ep"], launch.nodes) == (16, 16, 2)


def test_nodes_that_contradict_each_other_are_located(tmp_path: Path) -> None:
    (tmp_path / "launch.sh").write_text('bash "$(dirname "$0")/node-$1/launch.sh"\n')
    for node, degree in enumerate((16, 8)):
        script = tmp_path / f"node-{node}" / "launch.sh"
        script.parent.mkdir()
        script.write_text(f"{SERVED['vllm']} -tp {degree} --nnodes 2 --node-rank {node}\n")
    with pytest.raises(SpecError, match=r"node-1/launch.sh:1:12: layout: a second launch with another layout"):
        launch_from(str(tmp_path))


def test_a_folder_of_several_launches_names_them(tmp_path: Path) -> None:
    for name in ("fast", "slow"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "launch.sh").write_text(f"{SERVED['vllm']}\n")
    with pytest.raises(SpecError, match=r"is a folder without a launch.sh; it holds fast, slow: name one"):
        launch_from(str(tmp_path))


@pytest.mark.parametrize(
    ("command", "place", "said"),
    [
        (f"VLLM_PP_LAYER_PARTITION=40,20 {SERVED['vllm']} -pp 2", (1, 61), "40, 20 layers are 60; qwen3-30b-a3b has"),
        (
            f"{SERVED['vllm']} --speculative-config.method mtp --speculative-config.num_speculative_tokens -1",
            (1, 63), "must be at least 0, not -1",
        ),
    ],
)  # fmt: skip
def test_what_the_model_does_not_have_is_located(command: str, place: tuple[int, int], said: str) -> None:
    with pytest.raises(SpecError) as raised:
        pose(read_launch(command, "it"), [Override("--hardware", ("hardware",), "h100-sxm-8")])
    (fault,) = raised.value.faults
    assert said in fault.message
    assert (fault.line, fault.column) == place


ON_HOPPER = {"hardware": "h100-sxm-8"}
SGLANG = "python3 -m sglang.launch_server --model-path"
TOLD_APART = "--prefill-attention-backend triton --decode-attention-backend flashinfer"
REFUSED = [
    ("vllm serve Qwen/Qwen3-8B -tp 2 -ep", {}, (1, 32), "Number of experts in the model must be greater than 0"),
    ("vllm serve Qwen/Qwen3-8B -dp 8 -dpn 0", {}, (1, 37), "Non-MoE models do not support external"),
    ("vllm serve Qwen/Qwen3-30B-A3B -dp 3 -ep --enable-eplb", {}, (1, 41), "Got 128 experts and 3 EP ranks"),
    ("vllm serve Qwen/Qwen3-8B -tp 16 --distributed-executor-backend mp", {}, (1, 64), r"World size \(16\) is larger"),
    ("vllm serve Qwen/Qwen3-8B -dp 16 --distributed-executor-backend uni", {}, (1, 64), r"16 ranks stand on 2 nodes"),
    ("sglang serve Qwen/Qwen3-8B --page-size 64 --chunked-prefill-size 100", {}, (1, 66), "100 % 64 != 0"),
    (
        "docker run sglang:v0.5.2 sglang serve m/DeepSeek-V3 --attention-backend flashmla --chunked-prefill-size 80",
        {"hardware": "h200-sxm-8"}, (1, 105), "80 % 64 != 0",
    ),
    (
        "sglang serve deepseek-ai/DeepSeek-V3.2 --tp 8 --attn-dp-size 8 --chunked-prefill-size 1280",
        {"hardware": "h200-sxm-8"}, (1, 87), r"160 \(1280 over the attention data-parallel ranks\) % 64 != 0",
    ),
    ("sglang serve deepseek-ai/DeepSeek-V4-Flash --tp 8 --chunked-prefill-size 4000", {}, (1, 74), "4000 % 256 != 0"),
    ("sglang serve Qwen/Qwen3-8B --chunked-prefill-size 1000", {"hardware": "b200-sxm-8"}, (1, 51), "1000 % 64 != 0"),
    ("sglang serve Qwen/Qwen3-8B --tp 8 --base-gpu-id 4", {}, (1, 49), "take devices 4 to 11, where it has 8"),
    ("sglang serve Qwen/Qwen3-8B --tp 4 --base-gpu-id 2 --gpu-id-step 2", {}, (1, 49), "take devices 2 to 8"),
    (
        "sglang serve Qwen/Qwen3-30B-A3B-FP8 --tp 4 --ep 4 --moe-runner-backend cutlass", {}, (1, 72),
        "only supported with ep_size == 1, not 4",
    ),
    # kernels of attention: of other devices, and of other models
    (f"{SGLANG} deepseek-ai/DeepSeek-V3 --tp 8 --attention-backend trtllm_mla", {"hardware": "h200-sxm-8"}, None,
     r"TRTLLM MLA backend is only supported on Blackwell GPUs \(SM100/SM12x\)"),
    (f"{SGLANG} deepseek-ai/DeepSeek-V3 --tp 8 --decode-attention-backend cutedsl_mla", {"hardware": "h200-sxm-8"},
     None, "CuteDSL MLA backend is only supported on Blackwell"),
    (f"{SGLANG} Qwen/Qwen3-32B --tp 8 --attention-backend fa3", {"hardware": "b200-sxm-8"}, None,
     "FlashAttention v3 Backend requires SM>=80 and SM<=90"),
    (f"{SGLANG} Qwen/Qwen3-32B --attention-backend triton --prefill-attention-backend fa3", {"hardware": "gb200-nvl72"},
     None, "FlashAttention v3 Backend requires"),
    (f"{SGLANG} deepseek-ai/DeepSeek-V2-Lite --attention-backend fa3", {"hardware": "a100-sxm-8"}, None,
     "FlashAttention v3 Backend requires"),
    (f"{SGLANG} Qwen/Qwen3-8B --attention-backend trtllm_mha", {"hardware": "a100-sxm-8"}, None,
     r"TRTLLM MHA backend for prefill requires Hopper \(SM90\)"),
    (f"docker run sglang:v0.5.15 {SGLANG} Qwen/Qwen3-8B --attention-backend trtllm_mha", {}, None,
     "TRTLLM MHA backend for prefill is only supported on Blackwell"),
    (f"docker run sglang:v0.5.6 {SGLANG} Qwen/Qwen3-8B --decode-attention-backend trtllm_mha", {}, None,
     r"TRTLLM MHA backend is only supported on Blackwell GPUs \(SM100\)"),
    (f"{SGLANG} Qwen/Qwen3-8B --attention-backend trtllm_mla", {"hardware": "b200-sxm-8"}, None,
     "trtllm_mla backend can only be used with MLA models"),
    (f"{SGLANG} deepseek-ai/DeepSeek-V3 --tp 8 --attention-backend trtllm_mha", {"hardware": "b200-sxm-8"}, None,
     "trtllm_mha backend can only be used with non-MLA models"),
    ("vllm serve Qwen/Qwen3-32B --attention-backend FLASHMLA", {}, (1, 47),
     r"Selected backend AttentionBackendEnum.FLASHMLA is not valid for this configuration. Reason: \['non-MLA n"),
    ("vllm serve deepseek-ai/DeepSeek-V3 -tp 8 --attention-backend CUTLASS_MLA", {"hardware": "h200-sxm-8"}, None,
     r"CUTLASS_MLA is not valid for this configuration. Reason: \['compute capability not supported'\]"),
    ("vllm serve deepseek-ai/DeepSeek-V2-Lite --attention-backend FLASH_ATTN", {}, None, "'MLA not supported'"),
    ("VLLM_ATTENTION_BACKEND=FLASHMLA docker run vllm/vllm-openai:v0.12.0 --model deepseek-ai/DeepSeek-V2-Lite",
     {"hardware": "a100-sxm-8"}, None, "'compute capability not supported'"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "asked", "place", "said"), REFUSED, ids=lambda case: str(case)[:60])
def test_what_the_model_or_its_devices_forbid_a_flag_is_located(
    command: str, asked: dict[str, str], place: tuple[int, int], said: str
) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        pose(read_launch(command, "it"), [Override(f"--{n}", (n,), value) for n, value in (ON_HOPPER | asked).items()])
    assert place is None or (caught.value.faults[0].line, caught.value.faults[0].column) == place


ALLOWED = [
    (f"{SGLANG} deepseek-ai/DeepSeek-V3 --tp 8 --attention-backend trtllm_mla", {"hardware": "b200-sxm-8"}),
    (f"{SGLANG} deepseek-ai/DeepSeek-V2-Lite --attention-backend trtllm_mla", {"hardware": "rtx-5090-8"}),
    (f"{SGLANG} deepseek-ai/DeepSeek-V3 --tp 8 --attention-backend fa3", {"hardware": "h200-sxm-8"}),
    (f"{SGLANG} Qwen/Qwen3-8B --attention-backend fa3", {"hardware": "a100-sxm-8"}),
    (f"{SGLANG} Qwen/Qwen3-8B --attention-backend fa3", {"hardware": "l40s-8"}),
    (f"{SGLANG} Qwen/Qwen3-8B --attention-backend fa3 {TOLD_APART}", {"hardware": "b200-sxm-8"}),
    (f"{SGLANG} Qwen/Qwen3-8B --attention-backend trtllm_mha", {}),
    (f"docker run sglang:v0.5.15 {SGLANG} Qwen/Qwen3-8B --decode-attention-backend trtllm_mha", {}),
    (f"{SGLANG} Qwen/Qwen3-8B --attention-backend triton", {"hardware": "mi300x-8"}),
    ("vllm serve deepseek-ai/DeepSeek-V2-Lite --attention-backend FLASHMLA", {}),
    ("vllm serve deepseek-ai/DeepSeek-V2-Lite --attention-backend TRITON_MLA", {"hardware": "a100-sxm-8"}),
    ("vllm serve Qwen/Qwen3-32B --attention-backend FLASHINFER", {"hardware": "b200-sxm-8"}),
    ("vllm serve deepseek-ai/DeepSeek-V3.2 -tp 8 --attention-backend FLASHMLA_SPARSE", {"hardware": "h200-sxm-8"}),
    ("vllm serve Qwen/Qwen3-30B-A3B -tp 2 -ep", {}),
    ("vllm serve Qwen/Qwen3-30B-A3B -dp 8 -ep -dpn 0", {}),
    ("vllm serve Qwen/Qwen3-30B-A3B -dp 3 -ep", {}),
    ("vllm serve Qwen/Qwen3-30B-A3B -dp 4 -ep --enable-eplb", {}),
    ("docker run vllm/vllm-openai:v0.12.0 --model Qwen/Qwen3-8B -dp 8 --data-parallel-rank 0", {}),
    ("vllm serve Qwen/Qwen3-8B -tp 16", {}),
    ("vllm serve Qwen/Qwen3-8B -tp 16 --nnodes 2 --distributed-executor-backend mp", {}),
    ("vllm serve Qwen/Qwen3-8B -dp 16 -dpl 8 --distributed-executor-backend mp", {}),
    ("sglang serve Qwen/Qwen3-8B --chunked-prefill-size 1000", {}),
    ("sglang serve Qwen/Qwen3-8B --page-size 64 --chunked-prefill-size 128", {}),
    ("sglang serve Qwen/Qwen3-8B --page-size 64 --chunked-prefill-size -1", {}),
    ("sglang serve Qwen/Qwen3-8B --page-size 64 --chunked-prefill-size 100 --disaggregation-mode decode", {}),
    ("sglang serve Qwen/Qwen3-8B --page-size 16 --chunked-prefill-size 1040", {"hardware": "b200-sxm-8"}),
    ("sglang serve Qwen/Qwen3-8B --chunked-prefill-size 1000 --attention-backend triton", {"hardware": "b200-sxm-8"}),
    (
        "docker run lmsysorg/sglang:v0.5.6 sglang serve Qwen/Qwen3-8B --chunked-prefill-size 99",
        {"hardware": "b200-sxm-8"},
    ),
    ("sglang serve deepseek-ai/DeepSeek-V3.2 --tp 8 --attn-dp-size 8 --chunked-prefill-size 1536", {}),
    ("sglang serve deepseek-ai/DeepSeek-V3.2 --tp 8 --chunked-prefill-size 1000", {"hardware": "mi300x-8"}),
    ("sglang serve Qwen/Qwen3-8B --tp 4 --base-gpu-id 1 --gpu-id-step 2", {}),
    ("sglang serve Qwen/Qwen3-8B --tp 8 --nnodes 2 --base-gpu-id 4", {}),
    ("sglang serve Qwen/Qwen3-30B-A3B --tp 4 --ep 4 --moe-runner-backend cutlass", {}),
]  # fmt: skip


@pytest.mark.parametrize(("command", "asked"), ALLOWED, ids=lambda case: str(case)[:60])
def test_what_the_model_and_its_devices_allow_is_posed(command: str, asked: dict[str, str]) -> None:
    pose(read_launch(command, "it"), [Override(f"--{n}", (n,), value) for n, value in (ON_HOPPER | asked).items()])


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("vllm serve m --attention-backend flash_attn", None),
        ("vllm serve m --attention-backend TREE_ATTN", "0.30.0"),
        ("vllm serve m -tp 8 -ep --all2all-backend mori", "0.30.0"),
        ("vllm serve m --compilation-config '{\"level\": 3}'", "0.15.1"),
        ('vllm serve m --compilation-config \'{"cudagraph_mode": "NONE", "pass_config": {}}\' -O3', None),
        ("vllm serve m --load-format of_a_plugin", None),
        ("docker run vllm/vllm-openai:v0.22.0 --model m --attention-backend of_between", "0.22.0"),
        ("sglang serve --model-path m --attention-backend cutlass_mla", "0.5.19"),
        ("sglang serve --model-path m --attention-backend $BACKEND", None),
        ("vllm serve m -dp 4 --api-server-count 4", None),
        ("vllm serve m -dp 4 --headless --api-server-count 0", None),
    ],
)
def test_names_are_those_of_a_release_that_has_them(text: str, version: str | None) -> None:
    assert read_launch(text, "x").version == version


def test_a_name_that_is_in_no_list_is_a_doubt_of_what_was_not_read() -> None:
    known = "--attention-backend TREE_ATTN --load-format gguf"
    for flags, told in ((known, 0), ("--attention-backend of_between --load-format of_a_plugin", 2)):
        launch = read_launch(f"docker run vllm/vllm-openai:v0.22.0 --model qwen3-0.6b {flags}", "x")
        doubts = pose(launch, [Override("--hardware", ("hardware",), "h100-sxm-8")]).doubts
        assert [doubt.split()[1].strip(":") for doubt in doubts] == ["of_between", "of_a_plugin"][:told]


@pytest.mark.parametrize(
    ("version", "backend", "model"),
    [
        # from 0.15 on nothing reads the variable
        ("0.33.0", "FLASHMLA", "Qwen/Qwen3-32B"),
        ("0.19.0", "CUTLASS_MLA", "Qwen/Qwen3-32B"),
        # before, what is right for the model is taken, and 0.11.0 falls back
        ("0.12.0", "FLASH_ATTN", "Qwen/Qwen3-32B"),
        ("0.12.0", "FLASHMLA", "deepseek-ai/DeepSeek-V2-Lite"),
        ("0.11.0", "FLASHMLA", "Qwen/Qwen3-32B"),
    ],
)
def test_a_variable_that_nothing_reads_or_that_is_right_is_accepted(version: str, backend: str, model: str) -> None:
    image = f"vllm/vllm-openai:v{version}"
    launch = read_launch(f"VLLM_ATTENTION_BACKEND={backend} docker run {image} --model {model}", "x")
    assert pose(launch, [Override("--hardware", ("hardware",), "h100-sxm-8")]).launch.version == version
