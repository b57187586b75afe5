"""Small problems that the tests of the verifier share."""

from __future__ import annotations

from typing import Any

from optimizer.domain.attention import GroupedQueryAttention
from optimizer.domain.feedforward import DenseFeedForward, MixtureOfExperts
from optimizer.domain.hardware import HardwareSpec
from optimizer.domain.model import Block, ModelSpec, Run
from optimizer.domain.problem import Problem

GQA = GroupedQueryAttention(heads=16, kv_heads=4, head_dim=64)
DENSE = ModelSpec(
    name="small-dense",
    hidden_size=1024,
    vocab_size=32000,
    blocks={"dense": Block(attention=GQA, ffn=DenseFeedForward(intermediate=4096))},
    layers=(Run(pattern=("dense",), count=8),),
)
MOE = ModelSpec(
    name="small-moe",
    hidden_size=1024,
    vocab_size=32000,
    blocks={
        "dense": Block(attention=GQA, ffn=DenseFeedForward(intermediate=4096)),
        "moe": Block(
            attention=GQA,
            ffn=MixtureOfExperts(experts=16, top_k=2, intermediate=512, shared_intermediate=512),
        ),
    },
    layers=(Run(pattern=("dense",), count=1), Run(pattern=("moe",), count=7)),
)


def hardware(**device: Any) -> HardwareSpec:
    known = {"value": "80%", "source": "assumed"}
    return HardwareSpec.model_validate(
        {
            "name": "eight-by-two-tiers",
            "device": {
                "name": "toy",
                "memory": "16 GB",
                "exposed_memory": "15 GB",
                "bandwidth": "1 TB/s",
                "peak": {"bf16": "100 TFLOP/s", "fp8": "200 TFLOP/s"},
                **device,
            },
            "devices_per_node": 8,
            "tiers": [
                {
                    "name": "node",
                    "size": 8,
                    "bandwidth": "100 GB/s",
                    "latency": {"value": "2 us", "source": "assumed"},
                    "efficiency": known,
                },
                {
                    "name": "fabric",
                    "bandwidth": "25 GB/s",
                    "latency": {"value": "5 us", "source": "assumed"},
                    "efficiency": known,
                },
            ],
            "efficiency": {
                "compute": {"bf16": known},
                "hbm": known,
                "attention_hbm": known,
                "attention_compute": known,
                "launch": {"value": "3 us", "source": "assumed"},
            },
        }
    )


def problem(
    model: ModelSpec = MOE, *, devices: int = 16, workload: dict[str, Any] | None = None, **more: Any
) -> Problem:
    return Problem.model_validate(
        {
            "name": "example",
            "model": model,
            "hardware": more.pop("hardware", hardware()),
            "devices": devices,
            "workload": {"input_tokens": 512, "output_tokens": 128, **(workload or {})},
            **more,
        }
    )
