"""Results of load generators, read as they are written.

Formats, by the source that writes them: `vllm bench serve --save-result` (vllm/benchmarks/serve.py) and SGLang's
`bench_serving --output-file` (python/sglang/bench_serving.py; one object a line), whose keys are the same but for the
end-to-end latency; what both print, which TensorRT-LLM's `benchmark_serving` prints too; and the summaries of
`genai-perf profile` (profile_export_genai_perf.json) and AIPerf (profile_export_aiperf.json), which share one form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from optimizer.errors import Fault, SpecError
from optimizer.readers.messages import SYNONYMS, shown
from optimizer.readers.runs.run import DEGREES, RunPlace, WrittenRun, number_of

ENGINES_BY_BACKEND: Final = {
    "vllm": "vllm", "sglang": "sglang", "sglang-native": "sglang", "sglang-oai": "sglang", "sglang-oai-chat": "sglang",
    "vllm-chat": "vllm", "trt": "trtllm", "tensorrt-llm": "trtllm", "tensorrtllm": "trtllm", "trtllm": "trtllm",
}  # fmt: skip
"""Engine of a generator's backend where that names one; `openai` and its like are spoken by all."""

TITLE: Final = "Serving Benchmark Result"
"""What stands above the results that are printed."""
_PRINTED: Final = re.compile(r"^(?P<name>[A-Z][^:\n]*):[ \t]+(?P<value>[-+.\deinfa]+)[ \t]*$", re.MULTILINE)
_PRINTED_KEYS: Final = {
    "Successful requests": "completed",
    "Failed requests": "failed",
    "Maximum request concurrency": "max_concurrency",
    "Max request concurrency": "max_concurrency",
    "Request rate configured (RPS)": "request_rate",
    "Traffic request rate": "request_rate",
    "Total input tokens": "total_input_tokens",
    "Total generated tokens": "total_output_tokens",
    "Request throughput (req/s)": "request_throughput",
    "Mean TTFT (ms)": "mean_ttft_ms",
    "Mean TPOT (ms)": "mean_tpot_ms",
    "Acceptance length": "spec_decode_acceptance_length",
    "Accept length": "accept_length",
}
_MOST_FAILED: Final = 0.01
"""Share of failed requests beyond which times are those of a server that gives up."""
_MILLISECONDS: Final = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "us": 1e-6, "ns": 1e-9}
_LATENCIES: Final = ("time_to_first_token", "inter_token_latency")


def read_log(text: str, source: str) -> Iterator[WrittenRun]:
    """Runs of a result file: JSON, one object a line, or what was printed.

    Raises
    ------
    SpecError
        None of the formats, or a time that is not above 0.
    """
    if text.lstrip()[:1] not in {"{", "["}:
        yield from _printed(text, source)
        return
    faults: list[Fault] = []
    runs = []
    for place, data in _objects(text, source):
        if not isinstance(data, Mapping):
            raise SpecError(place.fault(None, "a mapping is wanted"))
        runs.append(_exported(data, place, faults) if _is_export(data) else _served(data, place, faults))
    if faults:
        raise SpecError(*faults)
    yield from runs


def _objects(text: str, source: str) -> Iterator[tuple[RunPlace, object]]:
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if len(lines) > 1 and all(line.lstrip().startswith("{") and line.rstrip().endswith("}") for _, line in lines):
        for number, line in lines:
            yield RunPlace(source, number), _json(line, source, number)
        return
    data = _json(text, source, 1)
    for entry in data if isinstance(data, list) else [data]:
        yield RunPlace(source), entry


def _json(text: str, source: str, line: int) -> object:
    """Data of a JSON text that begins on a line; generators write ``Infinity`` for a rate without a limit."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        fault = Fault(source, line + error.lineno - 1, error.colno, None, f"not JSON: {error.msg}")
        raise SpecError(fault) from None
    except (RecursionError, ValueError):
        raise SpecError(Fault(source, line, None, None, "nested too deeply, or a number out of range")) from None


def _is_export(data: Mapping[str, Any]) -> bool:
    return any(isinstance(data.get(name), Mapping) for name in _LATENCIES)


def _served(data: Mapping[str, Any], place: RunPlace, faults: list[Fault]) -> WrittenRun:
    """A result of `vllm bench serve` or `bench_serving`."""
    missing = [name for name in ("completed", "total_input_tokens", "total_output_tokens") if not data.get(name)]
    if missing:
        raise SpecError(
            place.fault(
                missing[0],
                "is missing or 0: not a result of vllm bench serve, SGLang's bench_serving, genai-perf or AIPerf",
            )
        )

    def number(name: str, scale: float = 1.0) -> float | None:
        return number_of(data.get(name), name, place, faults, scale)

    completed = number("completed") or 1.0
    rate = _rate(data.get("request_rate"))
    concurrency = number("max_concurrency")
    deployment: dict[str, object] = {
        "model": data.get("model_id"),
        **_deployed(data),
        **_deployed(data.get("server_info")),
    }
    engine = ENGINES_BY_BACKEND.get(str(data.get("backend") or data.get("endpoint_type") or ""))
    if engine is not None:
        deployment["engine"] = engine
    return WrittenRun(
        place=place,
        deployment={name: str(value) for name, value in deployment.items() if value is not None},
        input_tokens=(number("total_input_tokens") or 1.0) / completed,
        output_tokens=(number("total_output_tokens") or 1.0) / completed,
        concurrency=int(concurrency) if concurrency is not None and rate is None else None,
        requests_per_s=number("request_throughput"),
        ttft_s=number("mean_ttft_ms", 1e-3),
        tpot_s=number("mean_tpot_ms", 1e-3),
        unfit=_spoiled(data, completed),
    )


def _rate(stated: object) -> float | None:
    """Requests/s that were asked; None where all that fit were sent at once (``inf``)."""
    try:
        rate = float(stated) if isinstance(stated, int | float | str) else float("inf")
    except (ValueError, OverflowError):
        return None
    return None if rate == float("inf") else rate


def _deployed(data: object) -> dict[str, object]:
    """Degrees and formats that metadata (`--metadata tp=8`) or the server's own description state."""
    if not isinstance(data, Mapping):
        return {}
    settings: dict[str, object] = {}
    for name, value in data.items():
        setting = SYNONYMS.get(name, name)
        if setting in {*DEGREES, "precision", "kv_cache", "convention", "devices", "engine"} and isinstance(
            value, int | str
        ):
            settings[setting] = value
    return settings


def _spoiled(data: Mapping[str, Any], completed: float) -> str:
    failed = data.get("failed")
    if isinstance(failed, int | float) and failed > _MOST_FAILED * completed:
        return f"{shown(failed)} failed requests"
    accepted = data.get("spec_decode_acceptance_length") or data.get("accept_length")
    if isinstance(accepted, int | float) and accepted > 1:
        return "speculative decoding"
    return ""


def _exported(data: Mapping[str, Any], place: RunPlace, faults: list[Fault]) -> WrittenRun:
    """A summary of genai-perf or AIPerf: each metric with its unit and average."""

    def average(name: str, scales: Mapping[str, float] | None = None) -> float | None:
        metric = data.get(name)
        if not isinstance(metric, Mapping):
            return None
        unit = str(metric.get("unit", ""))
        if scales is not None and unit not in scales:
            faults.append(place.fault(f"{name}.unit", f"{unit!r} is no unit of time known here"))
            return None
        return number_of(metric.get("avg"), f"{name}.avg", place, faults, 1.0 if scales is None else scales[unit])

    input_config = data.get("input_config")
    config: Mapping[str, Any] = input_config if isinstance(input_config, Mapping) else {}
    tokens = {name: average(name) for name in ("input_sequence_length", "output_sequence_length")}
    for name, value in tokens.items():
        if value is None:
            raise SpecError(*(faults or [place.fault(name, "is required but missing")]))
    concurrency, rate = _loaded(config, place, faults)
    names = _first(config, ("model_names",), ("endpoint", "model_names"))
    deployment: dict[str, object] = {}
    if isinstance(names, Sequence) and names:
        deployment["model"] = names if isinstance(names, str) else names[0]
    backend = _first(config, ("endpoint", "backend"), ("backend",))
    if str(backend) in ENGINES_BY_BACKEND:
        deployment["engine"] = ENGINES_BY_BACKEND[str(backend)]
    return WrittenRun(
        place=place,
        deployment={name: str(value) for name, value in deployment.items()},
        input_tokens=tokens["input_sequence_length"] or 1.0,
        output_tokens=tokens["output_sequence_length"] or 1.0,
        concurrency=concurrency if rate is None else None,
        requests_per_s=average("request_throughput"),
        ttft_s=average("time_to_first_token", _MILLISECONDS),
        tpot_s=average("inter_token_latency", _MILLISECONDS),
        unfit="cancelled" if data.get("was_cancelled") else "",
    )


def _loaded(config: Mapping[str, Any], place: RunPlace, faults: list[Fault]) -> tuple[int | None, float | None]:
    """Requests in flight and requests/s that the generator was told."""
    stated = {
        name: _first(config, ("loadgen", name), ("perf_analyzer", "stimulus", name), (name,))
        for name in ("concurrency", "request_rate")
    }
    concurrency, rate = (
        number_of(value, name, place, faults) if isinstance(value, int | float) else None
        for name, value in stated.items()
    )
    return None if concurrency is None else int(concurrency), rate


def _first(data: Mapping[str, Any], *paths: tuple[str, ...]) -> object:
    for path in paths:
        value: object = data
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is not None:
            return value
    return None


def _printed(text: str, source: str) -> Iterator[WrittenRun]:
    """What the generators print: each block of `Serving Benchmark Result`."""
    starts = [match.start() for match in re.finditer(TITLE, text)]
    if not starts:
        message = (
            "neither a CSV with the columns of `shardproof calibrate --help`, nor JSON, nor what vllm bench serve or "
            "SGLang's bench_serving print"
        )
        raise SpecError(Fault(source, 1, None, None, message))
    faults: list[Fault] = []
    for start, stop in zip(starts, [*starts[1:], len(text)], strict=True):
        place = RunPlace(source, text.count("\n", 0, start) + 1)
        values = {_PRINTED_KEYS[m["name"]]: m["value"] for m in _PRINTED.finditer(text[start:stop])
                  if m["name"] in _PRINTED_KEYS}  # fmt: skip
        backend = re.search(r"^Backend:[ \t]+(\S+)", text[start:stop], re.MULTILINE)
        data: dict[str, Any] = {
            name: value if name == "request_rate" else _float(value) for name, value in values.items()
        }
        if backend is not None:
            data["backend"] = backend[1]
        yield _served(data, place, faults)
    if faults:
        raise SpecError(*faults)


def _float(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
