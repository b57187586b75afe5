"""The launch of a fleet: a folder for each kind of replica, scripts of nodes, and the devices that replicas hold."""

import json
import subprocess
from pathlib import Path

import pytest

from optimizer.cli.main import run
from optimizer.readers.launch.read import launch_from

FLEET = """\
problem:
  pools: {{new: {{hardware: h100-sxm-8, free: [8, 8, 3]}}}}
  demands:
    chat: {{model: llama-3.1-8b, workload: {{input_tokens: 500, output_tokens: 100, request_rate: 4}}}}
    long: {{model: llama-3.1-70b, workload: {{input_tokens: 500, output_tokens: 100, request_rate: 1}}}}
fleet:
  replicas:
    - {{demand: chat, pool: new, layout: {{tp: 1, batch: 8, prefill_chunk: 500}}, count: 2{chat}}}
    - {{demand: long, pool: new, layout: {{tp: 8, pp: 2, batch: 8, prefill_chunk: 500}}{long}}}
"""
PLACES = {
    "chat": ", nodes: [[{node: 2, devices: [1]}], [{node: 2, devices: [2]}]]",
    "long": ", nodes: [[{node: 0, devices: [0, 1, 2, 3, 4, 5, 6, 7]}, {node: 1, devices: [0, 1, 2, 3, 4, 5, 6, 7]}]]",
}


def _export(tmp_path: Path, capsys: pytest.CaptureFixture[str], **places: str) -> tuple[int, str]:
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET.format(**({"chat": "", "long": ""} | places)))
    status = run(["export", str(file), "--engine", "vllm", "--out", str(tmp_path / "out"), "--json"])
    told = capsys.readouterr()
    return status, told.out or told.err


def test_every_replica_is_started_on_the_devices_that_it_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = _export(tmp_path, capsys, **PLACES)
    assert status == 0
    found = json.loads(text)
    chat, long = found["kinds"]
    assert [(c["node"], c["devices"]) for c in chat["commands"]] == [(2, [1]), (2, [2])]
    assert [(c["node"], len(c["devices"])) for c in long["commands"]] == [(0, 8), (1, 8)]
    words = [c["command"] for c in (*chat["commands"], *long["commands"])]
    ports = [own[own.index("--port") + 1] for own in words if "--port" in own]
    assert len(set(ports)) == len(ports) == 3
    read = launch_from(" ".join(chat["commands"][0]["command"]), engine="vllm")
    assert (read.devices, read.operating.max_num_seqs) == (1, 8)
    out = tmp_path / "out"
    script = (out / chat["folder"] / "launch.sh").read_text()
    assert "CUDA_VISIBLE_DEVICES=1 vllm serve llama-3.1-8b" in script
    assert "CUDA_VISIBLE_DEVICES=2 vllm serve llama-3.1-8b" in script
    for script in out.rglob("*.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True)  # noqa: S607 - our own script
    held = {(entry["node"], entry["device"]) for entry in json.loads((out / long["folder"] / "map.json").read_text())}
    assert held == {(node, device) for node in (0, 1) for device in range(8)}
    for node in (0, 1, 2):
        started = [
            line.split()[1] for line in (out / f"new-node-{node}.sh").read_text().splitlines() if "bash " in line
        ]
        assert started
        assert all((out / name).is_file() for name in started)


def test_a_fleet_without_places_is_told_how_to_get_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = _export(tmp_path, capsys)
    assert status == 2
    assert "fleet.replicas[0].nodes" in text
    assert "is missing: a launch is of devices" in text


@pytest.mark.parametrize(
    ("degrees", "why"), [("tp: 16, ep: 2", "cannot be launched: "), ("tp: 8, pp: 3", "24 devices, and 16 are held")]
)
def test_a_layout_that_cannot_be_launched_is_refused_at_its_place(
    degrees: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET.format(**PLACES).replace("tp: 8, pp: 2", degrees))
    assert run(["export", str(file), "--engine", "vllm", "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "fleet.yaml:9:" in told
    assert why in told
    assert not (tmp_path / "out").exists()


def test_one_checkpoint_is_not_given_to_several_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET.format(**PLACES))
    assert run(["export", str(file), "--engine", "vllm", "--model", "a/b", "--out", str(tmp_path / "out")]) == 2
    assert "--model: the fleet serves several models" in capsys.readouterr().err


DISAGGREGATED = """\
problem:
  pools: {a: {hardware: h100-sxm-8, free: [4]}}
  demands:
    chat: {model: llama-3.1-8b, workload: {phase: disaggregated, input_tokens: 500, output_tokens: 100}}
fleet:
  replicas:
    - {demand: chat, role: prefill, pool: a, layout: {tp: 1, batch: 8, prefill_chunk: 500}, count: 2,
       nodes: [[{node: 0, devices: [0]}], [{node: 0, devices: [1]}]]}
    - {demand: chat, role: decode, pool: a, layout: {tp: 2, batch: 8}, nodes: [[{node: 0, devices: [2, 3]}]]}
"""


@pytest.mark.parametrize(
    ("engine", "prefill", "decode"),
    [
        ("vllm", '"kv_role": "kv_producer"', '"kv_role": "kv_consumer"'),
        ("sglang", "--disaggregation-mode prefill", "--disaggregation-mode decode"),
        ("trtllm", "disable_overlap_scheduler: true", "cache_transceiver_config:"),
    ],
)
def test_servers_of_two_roles_are_told_to_hand_caches_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], engine: str, prefill: str, decode: str
) -> None:
    file, out = tmp_path / "fleet.yaml", tmp_path / "out"
    file.write_text(DISAGGREGATED)
    assert run(["export", str(file), "--engine", engine, "--out", str(out), "--json"]) == 0
    first, second = (out / kind["folder"] for kind in json.loads(capsys.readouterr().out)["kinds"])
    told = [
        "".join(path.read_text() for name in ("launch.sh", "trtllm.yaml") if (path := folder / name).exists())
        for folder in (first, second)
    ]
    assert prefill in told[0]
    assert prefill not in told[1]
    assert decode in told[1]
    marks = {"vllm": "VLLM_NIXL_SIDE_CHANNEL_PORT=", "sglang": "--disaggregation-bootstrap-port ", "trtllm": "--port "}
    own = [line.split(marks[engine])[1].split()[0] for line in "".join(told).splitlines() if marks[engine] in line]
    assert len(own) == len(set(own)) == (2 if engine == "sglang" else 3)
    assert all("roles: this is the" in (folder / "differences.md").read_text() for folder in (first, second))
    names = [(folder / "kubernetes.yaml").read_text().split("name: ")[1].split()[0] for folder in (first, second)]
    assert [name.removesuffix("-launch") for name in names] == ["chat-prefill-0", "chat-decode-2"]
    for folder in (first, second):  # vLLM's handshake names localhost unless it is told where others reach it
        manifest = (folder / "kubernetes.yaml").read_text()
        assert ("VLLM_NIXL_SIDE_CHANNEL_HOST" in manifest) == ("status.podIP" in manifest) == (engine == "vllm")
        assert "nodeSelector" in (folder / "differences.md").read_text()
    for script in out.rglob("*.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True)  # noqa: S607 - our own script
