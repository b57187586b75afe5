"""Every exported command of every scenario, given to the engine's own argument parser, and the parsed values compared.

Engines are not dependencies: name an interpreter that has their sources, and what is missing is stubbed (CUDA kernels).

    python -m venv engines && engines/bin/pip install torch==2.13.0
    # vLLM and SGLang: wheels unpacked (pip download --no-deps vllm==0.33.0 sglang==0.5.23), and of their requirements
    # transformers<5.21 fastapi<0.137 compressed-tensors==0.17.0 triton openai openai-harmony anthropic mcp uvloop
    # uvicorn apache-tvm-ffi llguidance xgrammar mistral_common numba msgspec pyzmq psutil opencv-python-headless dill
    # py-cpuinfo cachetools blake3 tiktoken partial-json-parser gguf depyf ijson cbor2 pybase64 setproctitle watchfiles
    # python-json-logger prometheus-fastapi-instrumentator opentelemetry-sdk
    # Megatron-LM: a checkout
    python -m benchmarks.engine_parsers --python engines/bin/python --vllm V --sglang S --megatron M

Prints a Markdown table: commands exported and accepted, and those whose parsed degrees and operating point are equal.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterator
from typing import Any

from optimizer.errors import SpecError
from optimizer.export.launch import export
from optimizer.export.plan import ExportPlan
from optimizer.readers import catalog
from optimizer.readers.launch.flags import table
from optimizer.readers.read import Override, read_problem
from optimizer.solve import solve

_LOOP = """
out = []
for argv in json.load(sys.stdin):
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            got = vars(parser.parse_args(argv))
        out.append({k: v for k, v in got.items() if isinstance(v, (int, float, str, bool, type(None)))})
    except SystemExit:
        out.append({"error": said.getvalue()[-200:]})
print("RESULT" + json.dumps(out))
"""

_HEAD = "import contextlib, io, json, sys, types, typing\nsys.path.insert(0, sys.argv[1])\n"

PARSERS = {
    "vllm": _HEAD
    + """
for name in ("_C", "_C_stable_libtorch", "_moe_C", "_moe_C_stable_libtorch"):
    sys.modules["vllm." + name] = types.ModuleType("vllm." + name)
import vllm.platforms
from vllm.platforms.cuda import CudaPlatformBase
from vllm.platforms.interface import DeviceCapability
class Pretended(CudaPlatformBase):
    device_count = classmethod(lambda c: 8)
    get_device_capability = classmethod(lambda c, device_id=0: DeviceCapability(9, 0))
    get_device_name = classmethod(lambda c, device_id=0: "NVIDIA H200")
    get_device_total_memory = classmethod(lambda c, device_id=0: 141 * 10**9)
vllm.platforms._current_platform = Pretended()
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.entrypoints.common.cli_args import make_arg_parser
parser = make_arg_parser(FlexibleArgumentParser())
"""
    + _LOOP,
    "sglang": _HEAD
    + """
import argparse, importlib.machinery
from unittest.mock import MagicMock
class Stubs:
    names = {"sgl_kernel", "flashinfer", "deep_gemm", "sglang_kernel", "flash_attn", "quack", "cutlass"}
    names |= {"tilelang", "cuda"}
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in self.names:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        module = MagicMock(name=spec.name)
        module.__path__, module.__spec__, module.__name__, module.__version__ = [], spec, spec.name, "9.9.9"
        return module
    def exec_module(self, module): pass
sys.meta_path.insert(0, Stubs())
from sglang.srt.server_args import ServerArgs
parser = argparse.ArgumentParser()
ServerArgs.add_cli_args(parser)
"""
    + _LOOP,
    "megatron": _HEAD
    + """
import argparse
if not hasattr(typing, "override"): typing.override = lambda function: function
from megatron.training.arguments import add_megatron_arguments
parser = argparse.ArgumentParser(allow_abbrev=False)
add_megatron_arguments(parser)
"""
    + _LOOP,
}
"""Programs that read lists of arguments and print what the engine's parser makes of each."""

_STARTS = {"vllm": 2, "sglang": 3, "megatron": 0}


def answers(engine: str) -> Iterator[tuple[str, ExportPlan]]:
    """The best layout of each scenario that serves, under the engine's rules."""
    for name in catalog.names("scenarios"):
        try:
            problem = read_problem(name, [Override("--engine", ("engine",), engine)])
            # Placements change no flag but the name of a file.
            plain = problem.changed(experts=None, expert_loads=(), coactivation=None, current_placement=None)
            result = solve(plain)
        except SpecError:
            continue
        if result is not None and result.layout is not None and result.evaluation is not None:
            yield name, ExportPlan(plain, result.layout, result.evaluation)


def _arguments(engine: str, words: tuple[str, ...]) -> list[str]:
    first = words.index("pretrain_gpt.py") + 1 if engine == "megatron" else _STARTS[engine]
    return ["host:1" if "${" in word else word for word in words[first:]]


def _same(engine: str, wanted: dict[str, str | None], parsed: dict[str, Any]) -> bool:
    """Whether every flag's value came out of the parser as it went in."""
    for name, value in wanted.items():
        flag = table(engine).names[name]
        held = next((parsed[own] for own in _destinations(flag.names) if own in parsed), None)
        if held is None or value is None:
            continue
        if flag.kind in {"int", "size", "float"} and float(held) != float(value):
            return False
    return True


def _destinations(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        yield name.lstrip("-").replace("-", "_")


def measure(engine: str, python: str, source: str) -> str:
    """One row of the table."""
    commands: list[tuple[str, list[str], dict[str, str | None]]] = []
    refused = 0
    for name, answer in answers(engine):
        try:
            made = export(answer, engine)
        except SpecError:
            refused += 1
            continue
        commands += [(name, _arguments(engine, one.words), made.plan.arguments) for one in made.commands if one.words]
    ran = subprocess.run(
        [python, "-c", PARSERS[engine], source],
        input=json.dumps([argv for _, argv, _ in commands]), capture_output=True, text=True, check=True,
    )  # fmt: skip
    parsed = json.loads(ran.stdout[ran.stdout.index("RESULT") + len("RESULT") :])
    for (name, argv, _), found in zip(commands, parsed, strict=True):
        if "error" in found:
            print(f"{engine} {name}: {found['error']} {argv}")
    accepted = [(one, found) for one, found in zip(commands, parsed, strict=True) if "error" not in found]
    equal = sum(_same(engine, one[2], found) for one, found in accepted)
    scenarios = len({name for name, _, _ in commands})
    version = table(engine).newest
    return f"| {engine} {version} | {scenarios} | {refused} | {len(commands)} | {len(accepted)} | {equal} |"


def main() -> None:
    """Print the table for the engines whose sources are named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else "")
    parser.add_argument("--python", required=True)
    for engine in PARSERS:
        parser.add_argument(f"--{engine}")
    given = vars(parser.parse_args())
    print("| engine | scenarios | cannot be told | commands | accepted by its parser | parsed values equal |")
    print("| --- | --: | --: | --: | --: | --: |")
    for engine in PARSERS:
        if given[engine] is not None:
            print(measure(engine, given["python"], given[engine]), flush=True)


if __name__ == "__main__":
    main()
