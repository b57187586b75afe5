"""`calibrate`: a hardware as a person's own runs say it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from optimizer.cli.options import Json
from optimizer.cli.output import emit, emit_json, end_progress, heading, progress_line, say, table
from optimizer.errors import Fault, SpecError
from optimizer.readers.messages import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optimizer.calibrate import Calibrated, RunGroup

_RAN: Final = "What ran, where the files do not say"


def _ran(text: str, metavar: str) -> Any:  # noqa: ANN401 - typer's own
    return typer.Option(help=text, metavar=metavar, rich_help_panel=_RAN)


_ERRORS: Final = ("before", "after", "run_left_out", "layout_left_out", "model_left_out")


def command(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Measured runs: CSV tables (columns model, engine, tp, input_tokens, output_tokens, concurrency, "
            "ttft_ms, tpot_ms and, where they matter, pp, dp, ep, etp, devices, gpu, precision, kv_cache, convention, "
            "requests_per_s), and what vllm bench serve, SGLang's bench_serving, genai-perf and AIPerf wrote or "
            "printed; `-` for standard input."
        ),
    ],
    hardware: Annotated[
        str, typer.Option(help="Catalog name or hardware YAML that the runs were on.", metavar="HARDWARE")
    ],
    out: Annotated[
        str | None, typer.Option(help="Hardware YAML to write, for --hardware of every command.", metavar="FILE")
    ] = None,
    json: Json = False,
    model: Annotated[str | None, _ran("Model that ran.", "MODEL")] = None,
    engine: Annotated[str | None, _ran("vllm, sglang or trtllm.", "NAME")] = None,
    precision: Annotated[
        str | None,
        _ran("Format of the weights; else the model's own.", "FORMAT"),
    ] = None,
    kv_cache: Annotated[str | None, _ran("Format of the KV cache.", "FORMAT")] = None,
    convention: Annotated[
        str | None,
        _ran("How to read the degrees; else etp · ep = tp · dp.", "NAME"),
    ] = None,
    tp: Annotated[str | None, _ran("Tensor parallelism.", "N")] = None,
    pp: Annotated[str | None, _ran("Pipeline stages.", "N")] = None,
    dp: Annotated[str | None, _ran("Attention data parallelism.", "N")] = None,
    ep: Annotated[str | None, _ran("Expert parallelism.", "N")] = None,
    cp: Annotated[str | None, _ran("Context parallelism.", "N")] = None,
) -> int:
    """Fit few factors of a hardware to your own runs: of each engine, weight format and model, with their spread.

    What is written holds the factors, where they come from, and how far measured times lie from predicted ones: limits
    kept with a confidence, and intervals, are from these runs then.
    """
    from optimizer.calibrate import calibrate  # noqa: PLC0415 - loads when the command runs
    from optimizer.calibrate.calibrate import hardware_yaml  # noqa: PLC0415 - the same
    from optimizer.readers.catalog import find, load_hardware  # noqa: PLC0415 - the same
    from optimizer.readers.output import write_whole  # noqa: PLC0415 - the same
    from optimizer.readers.runs import read_runs  # noqa: PLC0415 - the same
    from optimizer.readers.source import read_text  # noqa: PLC0415 - the same

    if out is not None and not out.endswith((".yaml", ".yml")):
        raise SpecError(Fault(None, None, None, "--out", f"{out}: a hardware file ends in .yaml"))
    deployment = {"model": model, "engine": engine, "precision": precision, "kv_cache": kv_cache,
                  "convention": convention, "tp": tp, "pp": pp, "dp": dp, "ep": ep, "cp": cp}  # fmt: skip
    base = load_hardware(hardware)
    calibrated = calibrate(
        read_runs(runs),
        {name: value for name, value in deployment.items() if value is not None},
        base,
        name=f"{base.name}-calibrated" if out is None else Path(out).stem,
        files=", ".join(Path(run).name for run in runs),
        progress=progress_line(quiet=json),
    )
    end_progress()
    if out is not None:
        write_whole(out, hardware_yaml(read_text(find("hardware", hardware))[0], calibrated.hardware))
        say(f"wrote {out}")
    if json:
        emit_json(calibrated.to_json() | {"out": out})
    else:
        _show(calibrated, out)
    return 0


def _show(calibrated: Calibrated, out: str | None) -> None:
    from optimizer.cli.present import counted  # noqa: PLC0415 - needs the figures

    groups = counted(len(calibrated.groups), "group")
    emit(f"calibrated {calibrated.hardware.name}: {counted(calibrated.to_json()['runs'], 'run')} in {groups}")
    for reason, count in calibrated.set_aside.most_common():
        emit(f"set aside  {counted(count, 'run')} from {calibrated.first_set_aside[reason]} on: {reason}")
    for title, count in calibrated.few.items():
        emit(f"too few    {title}: {count}, left as shipped")
    for source, names in calibrated.columns_left_out.items():
        emit(f"left out   columns of {source}: {', '.join(map(shown, names))}")
    for figure in ("tpot_s", "ttft_s"):
        rows = [_row(group.calibration.title, str(group.calibration.runs), group.errors[figure])
                for group in calibrated.groups]  # fmt: skip
        if len(rows) > 1:
            rows.append(_row("all of them", "", calibrated.errors[figure]))
        if any(row[2] for row in rows):
            heading(f"{figure.removesuffix('_s').upper()}: mean error of predicted against measured")
            table(["group", "runs", *(name.replace("_", " ") for name in _ERRORS)], rows, right=range(1, 7))
    heading("Factors on times, with the range that holds each with 90%")
    table(["group", "factor", "", "range"], [row for group in calibrated.groups for row in _factors(group)], right=(2,))
    if out is not None:
        emit()
        emit(f"`--hardware {out}` takes them, for problems of these engines, formats and models")


def _row(title: str, runs: str, errors: Mapping[str, float | None]) -> list[str]:
    return [title, runs, *("" if errors[name] is None else f"{errors[name]:.1%}" for name in _ERRORS)]


def _factors(group: RunGroup) -> list[list[str]]:
    calibration = group.calibration
    rows = [
        [calibration.title, name, f"{float(f.value):.3g}", f"{float(f.low):.3g} to {float(f.high):.3g}"]
        for name, f in calibration.factors.items()
    ]
    return rows or [
        [calibration.title, "none", "", "no factor errs less on runs left out: as shipped, with these runs' spread"]
    ]
