"""What a pool would have to grow by counts replicas that it has no devices for now, device by device or by nodes."""

import json
from pathlib import Path
from typing import Any

import pytest

from optimizer import explain, solve
from optimizer.cli.main import run


def cluster(pool: dict[str, Any], model: str, **workload: object) -> dict[str, Any]:
    demand = {"model": model, "workload": {"input_tokens": 2000, "output_tokens": 300, **workload}}
    return {"pools": {"a": pool}, "demands": {"chat": demand}, "objective": "devices"}


@pytest.mark.parametrize(
    ("pool", "model", "rate", "limit", "grown"),
    [
        # as many single devices as serve the rate
        ({"hardware": "h100-sxm-8", "devices": 1}, "llama-3.1-8b", 30, "pools.a.devices", 3),
        # a replica of two devices, which one does not hold
        ({"hardware": "a100-sxm-8", "devices": 1}, "qwen2.5-72b", 0.2, "pools.a.devices", 2),
        ({"hardware": "h100-sxm-8", "nodes": 1}, "llama-3.1-405b", 1, "pools.a.nodes", 2),
        # a node whose others are taken: more nodes, not more of its devices
        ({"hardware": "h100-sxm-8", "nodes": 2, "free": [1, 0]}, "llama-3.1-8b", 30, "pools.a.nodes", 3),
    ],
)
def test_a_pool_grows_by_the_least_that_serves(
    pool: dict[str, Any], model: str, rate: float, limit: str, grown: int
) -> None:
    asked = cluster(pool, model, request_rate=rate)
    told = explain(asked)
    assert {entry["limit"] for entry in told.conflict} == {"demands.chat.request_rate", limit}
    (change,) = [entry for entry in told.relaxations if entry["limit"] == limit]
    assert change["to"] == grown
    kind = limit.rpartition(".")[2]
    if "free" not in pool:
        for count, fits in ((grown - 1, False), (grown, True)):
            assert (solve(asked | {"pools": {"a": {**pool, kind: count}}}).status == "optimal") == fits


def test_solve_says_that_it_looked_at_what_the_pools_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cluster.json"
    file.write_text(json.dumps(cluster({"hardware": "h100-sxm-8", "nodes": 1}, "llama-3.1-405b", request_rate=1)))
    assert run(["solve", str(file)]) == 1
    told = capsys.readouterr().out
    assert "No fleet of replicas that the pools hold as they are keeps these together" in told
    assert "chat: no aggregated replica on a: nothing keeps memory and devices\n" in told
    assert run(["explain", str(file)]) == 1
    assert "pools.a.nodes  1 node  2 nodes\n" in capsys.readouterr().out
