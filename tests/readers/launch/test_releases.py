"""Which release of an engine a launch is judged by, and the architecture that it is looked up with."""

from __future__ import annotations

import pytest

from optimizer.readers.launch.problem import Posed, pose
from optimizer.readers.launch.read import read_launch
from optimizer.readers.read import Override

SGLANG = "python -m sglang.launch_server --model-path"


def _posed(command: str, *stated: Override) -> Posed:
    return pose(read_launch(command, "it"), [Override("--hardware", ("hardware",), "h200-sxm-8"), *stated])


@pytest.mark.parametrize(
    ("command", "engine"),
    [
        # none is named: by the last that had the model, the first that will, else the newest
        ("vllm serve minimax-m1 -tp 8", "vllm@0.23"),
        ("vllm serve grok-1 -tp 8", "vllm@0.24"),
        ("trtllm-serve google/gemma-4-31b-it --tp_size 4", "trtllm@1.3"),
        ("trtllm-serve falcon-180b --tp_size 8", "trtllm"),
        ("vllm serve deepseek-ai/DeepSeek-V4-Flash -tp 8", "vllm"),
        (f"{SGLANG} bloom-176b --tp 8", "sglang"),
        ("vllm serve unsloth/Llama-3.3-70B-Instruct-bnb-4bit --max-model-len 8192", "vllm@0.27"),
        ("vllm serve Qwen/Qwen3-32B --quantization bitsandbytes", "vllm@0.27"),
        ("vllm serve Qwen/Qwen3-32B --quantization gguf", "vllm@0.23"),
        ("vllm serve Qwen/Qwen3-32B-AWQ", "vllm"),
        (f"{SGLANG} Qwen/Qwen3-32B --quantization bitsandbytes", "sglang"),
        # one is
        ("docker run vllm/vllm-openai:v0.24.0 --model minimax-m1 -tp 8", "vllm@0.24.0"),
        ("docker run nvcr.io/nvidia/tensorrt-llm/release:1.3.0rc15 trtllm-serve Qwen/Qwen3-8B", "trtllm@1.3.0"),
        ("docker run rocm/vllm:rocm7.0.0_vllm_0.11.2_20251210 vllm serve Qwen/Qwen3-8B", "vllm@0.11.2"),
        ("docker run rocm/vllm:rocm6.4_vllm_0.10.1 vllm serve Qwen/Qwen3-8B", "vllm@0.10.1"),
        ("docker run nvcr.io/nvidia/vllm:25.11-py3 vllm serve Qwen/Qwen3-8B", "vllm@0.10.2"),
        ("docker run nvcr.io/nvidia/vllm:26.05-py3 vllm serve Qwen/Qwen3-8B", "vllm@0.20.1"),
        ("docker run nvcr.io/nvidia/vllm:25.08-py3 vllm serve Qwen/Qwen3-8B", "vllm"),
        ("docker run nvcr.io/nvidia/vllm vllm serve Qwen/Qwen3-8B", "vllm"),
        ("docker run rocm/vllm:rocm7.0.0 vllm serve Qwen/Qwen3-8B", "vllm"),
    ],
)
def test_the_release_of_a_launch(command: str, engine: str) -> None:
    posed = _posed(command)
    assert posed.problem.engine_name == engine
    said = [text for text in posed.assumed if "as no release is named" in text]
    assert bool(said) is ("@" in engine and "docker" not in command)


def test_facts_of_tensorrt_llm_before_1_are_the_oldest_known() -> None:
    posed = _posed("docker run nvcr.io/nvidia/tensorrt-llm/release:0.20.0 trtllm-serve Qwen/Qwen3-8B")
    assert "rules and memory of trtllm 1.2, the oldest known, for 0.20.0" in posed.assumed


def test_a_stated_release_stays() -> None:
    assert _posed(
        "vllm serve minimax-m1 -tp 8", Override("--engine", ("engine",), "vllm@0.33")
    ).problem.engine_name == ("vllm@0.33")


@pytest.mark.parametrize(("release", "method", "open_"), [
    ("0.33.0", "bitsandbytes", True), ("0.28.0", "bitsandbytes", True), ("0.27.1", "bitsandbytes", False),
    ("0.24.0", "gguf", True), ("0.23.0", "gguf", False), ("0.33.0", "fp8", False),
])  # fmt: skip
def test_a_method_that_a_release_leaves_to_plugins_is_a_doubt(release: str, method: str, *, open_: bool) -> None:
    posed = _posed(f"docker run vllm/vllm-openai:v{release} --model Qwen/Qwen3-32B --quantization {method}")
    assert any("a plugin has to bring it" in doubt for doubt in posed.doubts) is open_


@pytest.mark.parametrize(
    ("command", "architecture"),
    [
        ("vllm serve Qwen/Qwen3.5-27B", "Qwen3_5ForConditionalGeneration"),
        (
            'vllm serve Qwen/Qwen3.5-27B --hf-overrides \'{"architectures": ["Qwen3_5ForCausalLM"]}\'',
            "Qwen3_5ForCausalLM",
        ),
        ("vllm serve Qwen/Qwen3.5-27B --hf-overrides '{\"rope_theta\": 1}'", "Qwen3_5ForConditionalGeneration"),
        ("vllm serve Qwen/Qwen3.5-27B --model-impl transformers", ""),
        ("vllm serve Qwen/Qwen3.5-27B --model-impl vllm", "Qwen3_5ForConditionalGeneration"),
        (f"{SGLANG} bloom-176b --tp 8 --model-impl transformers", ""),
        ("trtllm-serve bloom-176b --tp_size 8 --backend _autodeploy", ""),
        ("trtllm-serve bloom-176b --tp_size 8 --backend pytorch", "BloomForCausalLM"),
    ],
)
def test_the_architecture_that_is_looked_up(command: str, architecture: str) -> None:
    assert _posed(command).problem.model.architecture == architecture
